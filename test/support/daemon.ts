import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** The built program: what a user runs. */
export const PROGRAM = join(ROOT, 'dist/bin/ratecat.js');

export interface Finished {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A command that a failed test left running would keep the run from ending. */
const LONGEST_MS = 1_200_000;

/** A command of the built program, from start to end. */
export class Command {
  readonly child: ChildProcess;
  readonly finished: Promise<Finished>;
  stdout = '';
  stderr = '';

  constructor(args: readonly string[], environment: NodeJS.ProcessEnv = {}, cwd?: string) {
    this.child = spawn(process.execPath, [PROGRAM, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: LONGEST_MS,
      killSignal: 'SIGKILL',
      env: {
        ...process.env,
        NODE_OPTIONS: '',
        RATECAT_CONFIG: '',
        // Of the shipped example: any free port, so that tests do not meet.
        RATECAT_API_PORT: '0',
        RATECAT_METRICS_PORT: '0',
        ...environment,
      },
      ...(cwd === undefined ? {} : { cwd }),
    });
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
    });
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.finished = once(this.child, 'close').then(([code, signal]) => ({
      code: code as number | null,
      signal: signal as NodeJS.Signals | null,
      stdout: this.stdout,
      stderr: this.stderr,
    }));
  }

  /** Waits until stdout or stderr matches; fails when the command ends or the time is over, which ends the command. */
  async until(pattern: RegExp, timeoutMs = 60_000): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    while (!pattern.test(this.stdout) && !pattern.test(this.stderr)) {
      if (this.child.exitCode !== null)
        throw new Error(`ended without ${pattern}:\n${this.stdout}${this.stderr}`);
      if (Date.now() > deadline) {
        this.child.kill('SIGKILL');
        throw new Error(`no ${pattern} in time:\n${this.stdout}${this.stderr}`.slice(-4000));
      }
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Finished> {
    this.child.kill(signal);
    return this.finished;
  }
}

export function ratecat(...args: readonly string[]): Promise<Finished> {
  return new Command(args).finished;
}

/** Ports are for the tests that ask for them. */
const WITHOUT_PORTS = { api: { enabled: false }, metrics_server: { enabled: false } };

/** Writes a config (and the files it names) into a folder; gives the path of the config. */
export async function writeConfig(
  folder: string,
  config: object,
  files: Readonly<Record<string, object>> = {},
): Promise<string> {
  for (const [name, content] of Object.entries(files))
    await writeFile(join(folder, name), stringify(content));
  const path = join(folder, 'ratecat.yml');
  await writeFile(path, stringify({ ...WITHOUT_PORTS, ...config }));
  return path;
}
