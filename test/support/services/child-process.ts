import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, closeSync, constants, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { poll, StopPolling } from './poll.js';
import { sessionMembers, signalProcess, signalSession } from './process-session.js';
import { removeAllServiceFolders } from './service-folder.js';

/** Debian's programs must run with Debian's python3, whatever the user put in front of it. */
const DEBIAN_PATH = '/usr/sbin:/usr/bin:/sbin:/bin';
const START_TIMEOUT_MS = 60_000;
const GRACEFUL_STOP_MS = 15_000;
const KILL_TIMEOUT_MS = 15_000;
const LOG_LINES_IN_ERRORS = 25;

export interface Command {
  /** Names the log file and appears in errors. */
  readonly name: string;
  /** Absolute path, see `findProgram`. */
  readonly program: string;
  readonly arguments: readonly string[];
  /** Working folder, home and place of the log file. */
  readonly folder: string;
  readonly environment?: Readonly<Record<string, string>>;
  /** Runs as this user; only root may ask for it. */
  readonly user?: string | undefined;
  /** Runs in this network namespace; only root may ask for it. */
  readonly namespace?: string | undefined;
}

interface Running {
  readonly child: ChildProcess;
  /** Process id, process group and session of everything that the command starts. */
  readonly session: number;
}

const running = new Set<ServiceProcess>();

/** Path of an installed program; without it the tests fail, they are never skipped. */
export function findProgram(program: string, product: string): string {
  const found = DEBIAN_PATH.split(':')
    .map((folder) => join(folder, program))
    .find(isExecutable);
  if (found === undefined) {
    throw new Error(
      `${product} is not installed: run .ci/install-services as root (no ${program} in ${DEBIAN_PATH})`,
    );
  }
  return found;
}

/** A program that keeps running, in a session of its own that can be ended as a whole and started again. */
export class ServiceProcess {
  readonly #command: Command;
  readonly #isReady: () => Promise<boolean>;
  #running: Running | undefined;

  constructor(command: Command, isReady: () => Promise<boolean>) {
    this.#command = command;
    this.#isReady = isReady;
  }

  get isRunning(): boolean {
    return this.#running !== undefined && !hasExited(this.#running.child);
  }

  get pid(): number {
    if (this.#running === undefined) throw new Error(`${this.#command.name} is not running`);
    return this.#running.session;
  }

  /** Throws with the end of the log when the service has ended by itself or was killed. */
  assertRunning(): void {
    if (!this.isRunning) throw failure(this.#command, 'does not run');
  }

  /** Resolves when the service answers; otherwise throws with the end of its log and leaves nothing running. */
  async start(): Promise<void> {
    if (this.isRunning) throw new Error(`${this.#command.name} runs already`);
    await this.kill(); // what a crashed service may have left
    const { child, session } = spawnCommand(this.#command);
    this.#running = { child, session };
    running.add(this);
    try {
      await poll(() => this.#probe(child), { what: 'an answer', timeoutMs: START_TIMEOUT_MS });
    } catch (error) {
      await this.kill();
      throw failure(this.#command, 'did not come up', error);
    }
  }

  /** Signals every process of the service at once and resolves when none is left. */
  async kill(signal: 'SIGKILL' | 'SIGABRT' = 'SIGKILL'): Promise<void> {
    if (this.#running === undefined) return;
    const current = this.#running;
    await poll(
      async () => {
        signalSession(current.session, signal);
        return isGone(current);
      },
      { what: `the end of ${this.#command.name} after ${signal}`, timeoutMs: KILL_TIMEOUT_MS },
    );
    this.#forget();
  }

  /** Asks the service to end, kills what is left of it after the time, and resolves when nothing is left. */
  async stop(gracefulMs = GRACEFUL_STOP_MS): Promise<void> {
    if (this.#running === undefined) return;
    const current = this.#running;
    if (!hasExited(current.child)) signalProcess(current.session, 'SIGTERM');
    try {
      await poll(async () => isGone(current), { what: 'a graceful end', timeoutMs: gracefulMs });
    } catch {
      await this.kill();
    }
    this.#forget();
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  /** For the end of this process, when nothing can be waited for any more. */
  abandon(): void {
    if (this.#running !== undefined) signalSession(this.#running.session, 'SIGKILL');
  }

  async #probe(child: ChildProcess): Promise<true | undefined> {
    if (hasExited(child)) throw new StopPolling(`it ended with ${describeExit(child)}`);
    return (await this.#isReady()) ? true : undefined;
  }

  #forget(): void {
    this.#running = undefined;
    running.delete(this);
  }
}

/** Runs a program to its end; throws with the end of its log unless it succeeds. */
export async function runCommand(command: Command, timeoutMs = START_TIMEOUT_MS): Promise<void> {
  const { child, session } = spawnCommand(command);
  const abandon = () => signalSession(session, 'SIGKILL');
  process.once('exit', abandon);
  try {
    await poll(async () => hasExited(child) || undefined, { what: 'its end', timeoutMs });
  } catch (error) {
    throw failure(command, 'did not finish', error);
  } finally {
    abandon();
    process.removeListener('exit', abandon);
  }
  if (child.exitCode !== 0) throw failure(command, `ended with ${describeExit(child)}`);
}

function spawnCommand(command: Command): Running {
  const log = openSync(logFile(command), 'a');
  // The kernel ends the service when this process dies, even by SIGKILL, when no handler of ours can run.
  const guard = ['--pdeathsig', 'KILL', ...asUser(command.user), '--'];
  const inNamespace =
    command.namespace === undefined ? [] : ['/usr/sbin/ip', 'netns', 'exec', command.namespace];
  const [first, ...rest] = [...inNamespace, '/usr/bin/setpriv', ...guard, command.program];
  const child = spawn(first!, [...rest, ...command.arguments], {
    cwd: command.folder,
    env: serviceEnvironment(command),
    stdio: ['ignore', log, log],
    detached: true,
  });
  closeSync(log);
  // A test that forgets to stop its services still ends; the exit handler then ends the services.
  child.unref();
  if (child.pid === undefined) throw failure(command, 'could not be started');
  return { child, session: child.pid };
}

function asUser(user: string | undefined): readonly string[] {
  return user === undefined ? [] : ['--reuid', user, '--regid', user, '--init-groups'];
}

/** Nothing is inherited: proxies, OS_* and PYTHON* variables of the user would change what the services do. */
function serviceEnvironment({ folder, environment }: Command): NodeJS.ProcessEnv {
  return { PATH: DEBIAN_PATH, LC_ALL: 'C.UTF-8', HOME: folder, PYTHONWARNINGS: 'ignore', ...environment };
}

function failure(command: Command, what: string, cause?: unknown): Error {
  const reason = cause instanceof Error ? `: ${cause.message}` : '';
  return new Error(`${command.name} ${what}${reason}. The end of its log:\n${logTail(command)}`, { cause });
}

function logTail(command: Command): string {
  return readFileSync(logFile(command), 'utf8').trimEnd().split('\n').slice(-LOG_LINES_IN_ERRORS).join('\n');
}

function logFile({ folder, name }: Command): string {
  return join(folder, `${name}.log`);
}

function hasExited(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

function describeExit(child: ChildProcess): string {
  return child.signalCode === null ? `exit code ${child.exitCode}` : `signal ${child.signalCode}`;
}

function isGone({ child, session }: Running): true | undefined {
  return hasExited(child) && sessionMembers(session).length === 0 ? true : undefined;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

process.once('exit', () => {
  for (const service of running) service.abandon();
  removeAllServiceFolders();
});
for (const [signal, exitCode] of [
  ['SIGHUP', 129],
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  process.once(signal, () => process.exit(exitCode));
}
