import type { Clock, Instant, Logger } from '../plugin-api/index.js';

/** A wall clock that runs ahead of the monotonic one by more than this is not believed at once. */
const TOLERANCE_MS = 60_000;
/** How long a new wall-clock time must hold before it is believed. */
export const CONFIRM_MS = 600_000;

/**
 * The wall clock as far as it can be believed. A period rated too early would be stored as "nothing used", so a clock that
 * suddenly runs ahead has to keep its time for ten minutes; until then time goes on at the monotonic pace. A clock that
 * goes back is believed at once: waiting costs nothing. What the clock shows at the start is judged by `start-clock.ts`.
 */
export class TrustedTime {
  readonly #clock: Clock;
  readonly #logger: Logger;
  #offset: number;
  #doubtedOffset: number | undefined;
  #doubtedSince = 0;

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock;
    this.#logger = logger;
    this.#offset = clock.now() - clock.monotonic();
  }

  /** Whole seconds since the epoch. */
  now(): Instant {
    const monotonic = this.#clock.monotonic();
    const offset = this.#clock.now() - monotonic;
    if (offset <= this.#offset + TOLERANCE_MS) this.#believe(offset);
    else if (this.#doubtedOffset === undefined || Math.abs(offset - this.#doubtedOffset) > TOLERANCE_MS) {
      this.#doubt(offset, monotonic);
    } else if (monotonic - this.#doubtedSince >= CONFIRM_MS) this.#believe(offset);
    return Math.floor((this.#offset + monotonic) / 1000);
  }

  /**
   * Goes on from the time of another clock, because the wall clock is not believed at the start: its time has to hold for ten
   * minutes, as after a jump.
   * @param milliseconds since the epoch, by the other clock.
   */
  doubtFrom(milliseconds: number): void {
    const monotonic = this.#clock.monotonic();
    this.#offset = milliseconds - monotonic;
    this.#doubtedOffset = this.#clock.now() - monotonic;
    this.#doubtedSince = monotonic;
  }

  #believe(offset: number): void {
    const back = this.#offset - offset;
    if (back > TOLERANCE_MS) {
      this.#logger.warn('the clock went back; rating waits until it reaches the last rated period', {
        seconds: Math.round(back / 1000),
      });
    }
    this.#offset = offset;
    this.#doubtedOffset = undefined;
  }

  #doubt(offset: number, monotonic: number): void {
    this.#doubtedOffset = offset;
    this.#doubtedSince = monotonic;
    this.#logger.warn('the clock jumped ahead; the new time must hold before periods are rated by it', {
      seconds: Math.round((offset - this.#offset) / 1000),
      confirmSeconds: CONFIRM_MS / 1000,
    });
  }
}
