import { execFile, execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { ROOT } from '../daemon.js';
import { run, smallDisk } from '../small-disk.js';

const BASE_SCRIPT = join(ROOT, 'test/fixtures/containers/base.sh');
const BASE = 'localhost/ratecat-test-base';
const DISK_MIB = 3072;
const LIMIT_MS = 300_000;

/** Number of the user and the group that the image runs as. */
export const IMAGE_USER = 10001;

/** As an orchestrator should run it: nothing writable but volumes, no capabilities. */
const CONFINED = [
  '--read-only',
  '--read-only-tmpfs=false',
  '--cap-drop=all',
  '--security-opt=no-new-privileges',
  // Podman's own are higher than a machine may permit.
  '--ulimit=nofile=4096:4096',
  '--ulimit=nproc=4096:4096',
];

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Buildah and podman with a storage of their own, in memory. There is an image that stands for the official ones of Node: the
 * files of this machine's own Debian packages, its node and its npm.
 */
export class Containers {
  readonly #disk: Awaited<ReturnType<typeof smallDisk>>;
  readonly #cgroup = `ratecat-test-containers-${process.pid}`;
  readonly #names: string[] = [];

  private constructor(disk: Awaited<ReturnType<typeof smallDisk>>) {
    this.#disk = disk;
  }

  static async open(): Promise<Containers> {
    const containers = new Containers(await smallDisk(DISK_MIB));
    try {
      mkdirSync(containers.#path('tmp'));
      run('sh', BASE_SCRIPT, containers.#path('base'), process.execPath);
      run('tar', '-C', containers.#path('base'), '-cf', containers.#path('base.tar'), '.');
      await containers.#does('podman', 'import', '-q', containers.#path('base.tar'), BASE);
      return containers;
    } catch (error) {
      await containers.close();
      throw error;
    }
  }

  /** Builds an image of the checkout from the Containerfile. */
  async build(tag: string, ...args: readonly string[]): Promise<string> {
    const { stdout, stderr } = await this.#does(
      'buildah',
      'build',
      // Without namespaces of its own, which not every machine permits.
      '--isolation=chroot',
      '--network=host',
      '--layers=false',
      `--build-arg=BUILD_IMAGE=${BASE}`,
      `--build-arg=BASE_IMAGE=${BASE}`,
      `--secret=id=npmrc,src=${this.#npmConfiguration()}`,
      `--volume=${this.#npmCache()}:/root/.npm`,
      `--tag=${tag}`,
      ...args,
      `--file=${join(ROOT, 'packaging/container/Containerfile')}`,
      ROOT,
    );
    return stdout + stderr;
  }

  /** A folder on this machine that the image's user owns. */
  async volume(): Promise<string> {
    const folder = await mkdtemp(this.#path('volume-'));
    chownSync(folder, IMAGE_USER, IMAGE_USER);
    return folder;
  }

  podman(...args: readonly string[]): Promise<Ran> {
    return this.#run('podman', args);
  }

  /** Runs a container to its end, confined. */
  once(...args: readonly string[]): Promise<Ran> {
    return this.podman('run', '--rm', `--cgroup-parent=/${this.#cgroup}`, ...CONFINED, ...args);
  }

  /** Starts a container in the background, confined; `close` ends what still runs. */
  async start(name: string, ...args: readonly string[]): Promise<void> {
    this.#names.push(name);
    await this.#does(
      'podman',
      'run',
      '--detach',
      `--name=${name}`,
      `--cgroup-parent=/${this.#cgroup}`,
      ...CONFINED,
      ...args,
    );
  }

  /** What a container has said so far, on stdout and stderr. */
  async logs(name: string): Promise<string> {
    const { stdout, stderr } = await this.podman('logs', name);
    return stdout + stderr;
  }

  /** Asks it to stop as its image wants to be asked; gives its exit code (137 when it had to be killed). */
  async stop(name: string, graceSeconds: number): Promise<number> {
    await this.#does('podman', 'stop', `--time=${graceSeconds}`, name);
    const { stdout } = await this.#does('podman', 'inspect', '--format={{.State.ExitCode}}', name);
    return Number(stdout);
  }

  async close(): Promise<void> {
    for (const name of this.#names) await this.podman('rm', '--force', '--time=0', '--ignore', name);
    await this.#disk.remove();
    for (const hierarchy of hierarchies()) removeGroups(join(hierarchy, this.#cgroup));
  }

  #path(name: string): string {
    return join(this.#disk.folder, name);
  }

  async #does(program: 'buildah' | 'podman', ...args: readonly string[]): Promise<Ran> {
    const ran = await this.#run(program, args);
    if (ran.code !== 0)
      throw new Error(`${program} ${args.join(' ')}: exit code ${ran.code}\n${ran.stdout}${ran.stderr}`);
    return ran;
  }

  #run(program: 'buildah' | 'podman', args: readonly string[]): Promise<Ran> {
    const storage = [
      `--root=${this.#path('storage')}`,
      `--runroot=${this.#path('run')}`,
      '--storage-driver=overlay',
    ];
    const engine =
      program === 'podman' ? ['--cgroup-manager=cgroupfs', '--runtime=runc', '--events-backend=none'] : [];
    return new Promise((resolve) => {
      execFile(
        program,
        [...storage, ...engine, ...args],
        {
          encoding: 'utf8',
          timeout: LIMIT_MS,
          maxBuffer: 64 * 1024 * 1024,
          env: { ...process.env, TMPDIR: this.#path('tmp') },
        },
        (error, stdout, stderr) =>
          resolve({ code: error === null ? 0 : Number(error.code ?? 1), stdout, stderr }),
      );
    });
  }

  /** How this machine reaches its registry, in one file. */
  #npmConfiguration(): string {
    const file = this.#path('npmrc');
    writeFileSync(file, npmConfiguration());
    return file;
  }

  /**
   * npm's cache with the compiled SQLite of this checkout, where the install script of better-sqlite3 keeps what it has
   * downloaded once: neither a download nor a compiler is needed.
   */
  #npmCache(): string {
    const cache = this.#path('npm-cache');
    const modules = join(ROOT, 'node_modules/better-sqlite3');
    const { version } = JSON.parse(readFileSync(join(modules, 'package.json'), 'utf8')) as {
      version: string;
    };
    const platform = `${process.platform}-${process.arch}`;
    const name = `better-sqlite3-v${version}-node-v${process.versions.modules}-${platform}.tar.gz`;
    const url = `https://github.com/WiseLibs/better-sqlite3/releases/download/v${version}/${name}`;
    const digest = createHash('sha512').update(url).digest('hex').slice(0, 6);
    mkdirSync(join(cache, '_prebuilds'), { recursive: true });
    const file = join(cache, '_prebuilds', `${digest}-${name.replace(/[^a-zA-Z0-9.]+/g, '-')}`);
    run('tar', '-czf', file, '-C', modules, 'build/Release/better_sqlite3.node');
    return cache;
  }
}

/** The user's settings of npm and those of the machine. */
export function npmConfiguration(): string {
  return (['userconfig', 'globalconfig'] as const)
    .map((which) => {
      const place = npmSetting(which);
      try {
        return readFileSync(place, 'utf8');
      } catch {
        return '';
      }
    })
    .join('\n');
}

function npmSetting(name: string): string {
  return output('npm', 'config', 'get', name).trim();
}

function output(program: string, ...args: readonly string[]): string {
  return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
}

function hierarchies(): readonly string[] {
  return [...readFileSync('/proc/mounts', 'utf8').matchAll(/^\S+ (\S+) cgroup2? /gm)].map(([, at]) => at!);
}

/** A group of processes that have ended, with the groups inside. */
function removeGroups(group: string): void {
  if (!existsSync(group)) return;
  for (const entry of readdirSync(group, { withFileTypes: true }))
    if (entry.isDirectory()) removeGroups(join(group, entry.name));
  rmdirSync(group);
}
