import { describeError, type Logger } from '../plugin-api/index.js';

const NUMBERS: Readonly<Record<string, number>> = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 };

export interface SignalOptions {
  readonly logger: Logger;
  /** Seconds that a stop may take before what is under way is abandoned. */
  readonly graceSeconds: number;
  /** Runs at SIGHUP. */
  reload(): Promise<void>;
  /** Runs just before the process is left in the middle of its work. */
  beforeExit(): void;
  /** A worker leaves Ctrl-C and SIGHUP to its parent, which tells it what to do. */
  readonly isWorker: boolean;
}

/**
 * Signals of the daemon: the first SIGINT or SIGTERM asks it to stop, the second leaves at once, SIGHUP reloads. Whatever is
 * abandoned is whole in the database or not there at all, and is done at the next start.
 */
export class DaemonSignals {
  readonly #options: SignalOptions;
  readonly #stop = new AbortController();
  readonly #handlers: readonly (readonly [NodeJS.Signals, () => void])[];
  #deadline: NodeJS.Timeout | undefined;

  constructor(options: SignalOptions) {
    this.#options = options;
    const interrupt = options.isWorker ? () => undefined : () => this.#signal('SIGINT');
    const hangUp = options.isWorker ? () => undefined : () => this.reload();
    this.#handlers = [
      ['SIGINT', interrupt],
      ['SIGTERM', () => this.#signal('SIGTERM')],
      ['SIGHUP', hangUp],
    ];
    for (const [signal, handler] of this.#handlers) process.on(signal, handler);
  }

  /** Aborted when the daemon is to stop. */
  get stop(): AbortSignal {
    return this.#stop.signal;
  }

  /** Asks for the end, as a first signal does; asking again changes nothing. */
  requestStop(reason: string): void {
    if (this.#stop.signal.aborted) return;
    const { logger, graceSeconds } = this.#options;
    logger.info('stopping', { reason });
    this.#stop.abort(new Error(`stopping: ${reason}`));
    this.#deadline = setTimeout(() => {
      logger.warn('the stop took too long; what was under way is abandoned and done at the next start', {
        seconds: graceSeconds,
      });
      this.#leave(0);
    }, graceSeconds * 1000).unref();
  }

  reload(): void {
    const { logger, reload } = this.#options;
    reload().catch((error: unknown) =>
      logger.error('reloading failed; everything stays as it was', { error: describeError(error) }),
    );
  }

  /** Gives the signals back to Node. */
  dispose(): void {
    clearTimeout(this.#deadline);
    for (const [signal, handler] of this.#handlers) process.off(signal, handler);
  }

  #signal(signal: NodeJS.Signals): void {
    if (this.#stop.signal.aborted) this.#leave(128 + NUMBERS[signal]!);
    else this.requestStop(signal);
  }

  #leave(code: number): void {
    this.#options.beforeExit();
    process.exit(code);
  }
}
