import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { type Clock, describeError, type Logger } from '../plugin-api/index.js';

/** Tells the service manager something: assignments such as `READY=1`, together in one message (sd_notify(3)). */
export type Notify = (assignments: readonly string[]) => Promise<void>;

/** What a service manager that started this process left in its environment. */
export interface ServiceEnvironment {
  /** Where it listens; undefined without a service manager that wants to hear from this process. */
  readonly socket: string | undefined;
  /** It gives this process up after so long without a sign of life; undefined where it does not watch. */
  readonly watchdogMs: number | undefined;
}

/** A barrier inside systemd-notify waits for the service manager for up to five seconds. */
const NOTIFY_MS = 10_000;
/** How often the status line is looked at, at least. */
const STATUS_MS = 30_000;
/** What the end of the parts may take beyond the time for the work under way. */
const STOP_MARGIN_SECONDS = 15;
const LONGEST_STATUS = 200;

/**
 * Takes the variables of the protocol out of the environment, so that no process that is started from here speaks in the
 * name of this one.
 */
export function takeServiceEnvironment(
  environment: NodeJS.ProcessEnv,
  pid = process.pid,
): ServiceEnvironment {
  const { NOTIFY_SOCKET: socket, WATCHDOG_USEC: watchdog, WATCHDOG_PID: watched } = environment;
  delete environment.NOTIFY_SOCKET;
  delete environment.WATCHDOG_USEC;
  delete environment.WATCHDOG_PID;
  if (socket === undefined || socket === '') return { socket: undefined, watchdogMs: undefined };
  const isMeant = watched === undefined || watched === String(pid);
  const isLimit = watchdog !== undefined && /^[1-9]\d{0,15}$/.test(watchdog);
  return { socket, watchdogMs: isMeant && isLimit ? Number(watchdog) / 1000 : undefined };
}

/**
 * Sends with the program `systemd-notify`, which is wherever systemd is: Node has no datagram sockets of the Unix kind. It
 * returns when the service manager has read the message, so that messages arrive in the order in which they were sent.
 */
export function systemdNotify(socket: string, program = 'systemd-notify'): Notify {
  const run = promisify(execFile);
  return async (assignments) => {
    await run(program, assignments, {
      env: { NOTIFY_SOCKET: socket, PATH: process.env.PATH },
      timeout: NOTIFY_MS,
      killSignal: 'SIGKILL',
    });
  };
}

export interface ServiceManagerParts {
  /** Undefined: nobody listens, and nothing is sent. */
  readonly notify: Notify | undefined;
  readonly watchdogMs: number | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
  /** One line about what the daemon is doing. */
  status(): string;
  /** Why the work does not go on, if it does not: the watchdog is then left to run out. Asked before every sign of life. */
  stalled(): string | undefined;
}

/**
 * Tells systemd, or whatever else speaks its protocol, how this process is: ready, alive, stopping. A message that cannot be
 * delivered is a line in the log and nothing more. None of the methods waits or throws.
 */
export class ServiceManager {
  readonly #parts: ServiceManagerParts;
  readonly #end = new AbortController();
  #queue: Promise<void> = Promise.resolve();
  #waiting = 0;
  #isReady = false;
  #isStopping = false;
  #told = '';
  #complaint: string | undefined;
  #isMute = false;

  constructor(parts: ServiceManagerParts) {
    this.#parts = parts;
  }

  /** The work is going on. From now on signs of life are sent, at least twice as often as the watchdog asks for. */
  ready(): void {
    if (this.#parts.notify === undefined || this.#isReady || this.#isStopping) return;
    this.#isReady = true;
    this.#send('READY=1', ...this.#status());
    void this.#report();
  }

  /** Reads something again while the work goes on. @throws what `work` throws. */
  async reload(work: () => Promise<void>): Promise<void> {
    const isTold = this.#isReady && !this.#isStopping;
    // Microseconds of CLOCK_MONOTONIC; Type=notify-reload tells by it which reload is meant.
    if (isTold) this.#send('RELOADING=1', `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`);
    try {
      await work();
    } finally {
      if (isTold && !this.#isStopping) this.#send('READY=1');
    }
  }

  /** The end begins; what is under way may take this long. */
  stopping(graceSeconds: number): void {
    if (this.#isStopping) return;
    this.#isStopping = true;
    const microseconds = (graceSeconds + STOP_MARGIN_SECONDS) * 1_000_000;
    this.#send('STOPPING=1', `EXTEND_TIMEOUT_USEC=${microseconds}`, 'STATUS=stopping');
  }

  /** No more signs of life; returns when everything is delivered. */
  async end(): Promise<void> {
    this.#end.abort(new Error('the daemon ends'));
    await this.#queue;
  }

  async #report(): Promise<void> {
    const { clock, watchdogMs } = this.#parts;
    for (;;) {
      try {
        await clock.sleep(
          Math.min(STATUS_MS, (watchdogMs ?? Number.POSITIVE_INFINITY) / 2),
          this.#end.signal,
        );
      } catch {
        return;
      }
      // A service manager that is slow to listen must not be told the same many times.
      if (this.#waiting === 0) this.#send(...this.#signOfLife(), ...this.#status());
    }
  }

  #signOfLife(): readonly string[] {
    const { watchdogMs, logger } = this.#parts;
    // A stop has its own limit of time, and whoever stops does not begin anything.
    const complaint = this.#isStopping ? undefined : this.#parts.stalled();
    if (complaint !== undefined && this.#complaint === undefined)
      logger.error('the work does not go on', { reason: complaint });
    if (complaint === undefined && this.#complaint !== undefined) logger.info('the work goes on again');
    this.#complaint = complaint;
    return watchdogMs === undefined || complaint !== undefined ? [] : ['WATCHDOG=1'];
  }

  #status(): readonly string[] {
    if (this.#isStopping) return [];
    const what = this.#complaint === undefined ? this.#parts.status() : `stalled: ${this.#complaint}`;
    const text = what.replace(/\p{Cc}/gu, ' ').slice(0, LONGEST_STATUS);
    if (text === this.#told) return [];
    this.#told = text;
    return [`STATUS=${text}`];
  }

  #send(...assignments: readonly string[]): void {
    const { notify, logger } = this.#parts;
    if (notify === undefined || assignments.length === 0) return;
    this.#waiting++;
    this.#queue = this.#queue
      .then(() => notify(assignments))
      .then(
        () => {
          this.#isMute = false;
        },
        (error: unknown) => {
          const fields = { error: describeError(error) };
          if (!this.#isMute)
            logger.warn(
              "the service manager cannot be told; is the program 'systemd-notify' installed?",
              fields,
            );
          this.#isMute = true;
        },
      )
      .then(() => {
        this.#waiting--;
      });
  }
}
