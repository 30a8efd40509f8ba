import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, rmdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT } from '../daemon.js';

const BOOT = join(ROOT, 'test/fixtures/systemd/boot.sh');
const BOOTED_MS = 60_000;

/** Whether systemd's own programs are here; where `CI` is set their absence is an error. */
export function systemdInstalled(): boolean {
  const programs = ['/usr/bin/systemd-analyze', '/usr/bin/systemd-notify', '/usr/bin/python3'];
  return all(
    programs.map((path) => [existsSync(path), `${path} is there ('sudo .ci/install-services' installs it)`]),
  );
}

/** Whether a systemd can be booted here; where `CI` is set it must be possible. */
export function systemdBootable(): boolean {
  return all([
    [existsSync('/lib/systemd/systemd'), "systemd is installed ('sudo .ci/install-services' installs it)"],
    [process.getuid?.() === 0, 'the tests run as root'],
    [hierarchy() !== undefined, 'a cgroup hierarchy of version 2 is mounted'],
  ]);
}

function all(conditions: readonly (readonly [holds: boolean, what: string])[]): boolean {
  const failed = conditions.filter(([holds]) => !holds).map(([, what]) => what);
  if (failed.length === 0) return true;
  const reason = `needed: ${failed.join('; ')}`;
  if (process.env.CI !== undefined && process.env.CI !== '') throw new Error(`tests cannot run, ${reason}`);
  process.stderr.write(`NOT RUN in ${process.argv[1] ?? 'this file'}, ${reason}\n`);
  return false;
}

function hierarchy(): string | undefined {
  return /^\S+ (\S+) cgroup2 rw/m.exec(readFileSync('/proc/mounts', 'utf8'))?.[1];
}

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A real systemd, process 1 of namespaces of its own. */
export class Systemd {
  readonly #unshare: ChildProcess;
  readonly #cgroup: string;
  readonly #folder: string;
  readonly #pid: number;

  private constructor(unshare: ChildProcess, cgroup: string, folder: string, pid: number) {
    this.#unshare = unshare;
    this.#cgroup = cgroup;
    this.#folder = folder;
    this.#pid = pid;
  }

  static async boot(): Promise<Systemd> {
    const folder = await mkdtemp(join(tmpdir(), 'ratecat-systemd-'));
    const cgroup = join(hierarchy()!, `ratecat-test-${process.pid}`);
    await mkdir(cgroup);
    const namespaces = '--mount --pid --cgroup --uts --ipc --fork --kill-child'.split(' ');
    const unshare = spawn(
      'sh',
      [
        '-c',
        'echo $$ > "$0/cgroup.procs" && exec unshare "$@"',
        cgroup,
        ...namespaces,
        BOOT,
        folder,
        ROOT,
        process.execPath,
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    let complaints = '';
    unshare.stderr!.setEncoding('utf8').on('data', (text: string) => {
      complaints += text;
    });
    const deadline = Date.now() + BOOTED_MS;
    for (;;) {
      const pid = await childOf(unshare.pid!);
      const system = pid === undefined ? undefined : new Systemd(unshare, cgroup, folder, pid);
      const state = (await system?.run('systemctl', 'is-system-running'))?.stdout.trim();
      if (state === 'running' || state === 'degraded') return system!;
      if (unshare.exitCode !== null || Date.now() > deadline) {
        unshare.kill('SIGKILL');
        await cleanUp(cgroup, folder);
        throw new Error(`systemd did not boot (${state ?? 'no answer'}): ${complaints}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** Runs a program as root beside the services. */
  run(...command: readonly string[]): Promise<Ran> {
    const where = ['-t', String(this.#pid), '-m', '-p', '-C', '-u', '-i', '-r', '-w'];
    return new Promise((resolve) => {
      execFile(
        'nsenter',
        [...where, 'env', 'SYSTEMD_PAGER=', 'LC_ALL=C.UTF-8', ...command],
        { cwd: '/', encoding: 'utf8', timeout: 120_000, maxBuffer: 64 * 1024 * 1024 },
        (error, stdout, stderr) =>
          resolve({ code: error === null ? 0 : Number(error.code ?? 1), stdout, stderr }),
      );
    });
  }

  /** Runs lines of shell as root; fails with what they said when one of them fails. */
  async shell(script: string): Promise<string> {
    const { code, stdout, stderr } = await this.run('bash', '-euc', script);
    if (code !== 0) throw new Error(`exit code ${code} of ${script}\n${stdout}${stderr}`);
    return stdout;
  }

  /** One property of a unit. */
  async property(unit: string, name: string): Promise<string> {
    return (await this.shell(`systemctl show --value -p ${name} ${unit}`)).trim();
  }

  async journal(unit: string): Promise<string> {
    return this.shell(`journalctl --sync; journalctl --no-pager -o cat -u ${unit}`);
  }

  async stop(): Promise<void> {
    const ended = once(this.#unshare, 'exit');
    this.#unshare.kill('SIGKILL');
    await ended;
    await cleanUp(this.#cgroup, this.#folder);
  }
}

async function childOf(pid: number): Promise<number | undefined> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
  const [first] = text.split(' ').filter(Boolean).map(Number);
  if (first === undefined) return undefined;
  const name = await readFile(`/proc/${first}/comm`, 'utf8').catch(() => '');
  return name.trim() === 'systemd' ? first : undefined;
}

async function cleanUp(cgroup: string, folder: string): Promise<void> {
  await writeFile(join(cgroup, 'cgroup.kill'), '1').catch(() => undefined);
  const deadline = Date.now() + 10_000;
  while (existsSync(cgroup) && Date.now() < deadline) {
    await removeGroup(cgroup).catch(() => new Promise((resolve) => setTimeout(resolve, 50)));
  }
  await rm(folder, { recursive: true, force: true });
}

async function removeGroup(cgroup: string): Promise<void> {
  for (const entry of await readdir(cgroup, { withFileTypes: true }))
    if (entry.isDirectory()) await removeGroup(join(cgroup, entry.name));
  await rmdir(cgroup);
}
