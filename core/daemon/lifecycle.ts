import {
  type Clock,
  describeError,
  isRatecatError,
  type Lifecycle,
  type Logger,
  PluginError,
} from '../plugin-api/index.js';
import { withTimeLimit } from '../processing/time-limit.js';
import { systemClock } from './system-clock.js';

interface Started {
  readonly name: string;
  readonly part: Lifecycle;
}

export interface LifecycleLimits {
  readonly startMs: number;
  readonly stopMs: number;
}

const LIMITS: LifecycleLimits = { startMs: 60_000, stopMs: 10_000 };

/** Starts parts in order and stops them in reverse, each once; a failed start stops what had started. */
export class LifecycleStack {
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #limits: LifecycleLimits;
  readonly #started: Started[] = [];

  constructor(logger: Logger, clock: Clock = systemClock, limits: LifecycleLimits = LIMITS) {
    this.#logger = logger;
    this.#clock = clock;
    this.#limits = limits;
  }

  /**
   * @throws UnavailableError RATECAT_TIMEOUT when the part hangs.
   * @throws PluginError RATECAT_PLUGIN_START_FAILED when it throws something that explains nothing.
   */
  async start(name: string, part: Lifecycle, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    try {
      await withTimeLimit(
        `The start of ${name}`,
        this.#limits.startMs,
        this.#clock,
        signal,
        async (limited) => part.start?.(limited),
      );
    } catch (error) {
      if (signal.aborted || isRatecatError(error)) throw error;
      throw new PluginError(
        'RATECAT_PLUGIN_START_FAILED',
        `${name} cannot start: ${describeError(error)}. Report it to the plugin's author if its options are right.`,
        { cause: error },
      );
    }
    this.#started.push({ name, part });
  }

  /** Something to be closed in its turn although it needs no start. */
  closes(name: string, stop: () => Promise<void>): void {
    this.#started.push({ name, part: { stop } });
  }

  async stop(): Promise<void> {
    const never = new AbortController().signal;
    for (let entry = this.#started.pop(); entry !== undefined; entry = this.#started.pop()) {
      const { name, part } = entry;
      try {
        await withTimeLimit(`The end of ${name}`, this.#limits.stopMs, this.#clock, never, async () =>
          part.stop?.(),
        );
      } catch (error) {
        this.#logger.warn('a part could not be stopped cleanly', { part: name, error: describeError(error) });
      }
    }
  }
}
