import { type Clock, describeError, type Logger, type Storage } from '../plugin-api/index.js';

const PAUSE_MS = 60_000;

/** Reclaims what deletions left in the storage, a small step at a time, beside the rating. */
export class Sweeper {
  readonly #storage: Storage;
  readonly #clock: Clock;
  readonly #logger: Logger;

  constructor(storage: Storage, clock: Clock, logger: Logger) {
    this.#storage = storage;
    this.#clock = clock;
    this.#logger = logger;
  }

  /** Works until `stop` is aborted; a failed step is tried again after the pause. */
  async run(stop: AbortSignal): Promise<void> {
    if (this.#storage.sweep === undefined) return;
    while (!stop.aborted) {
      try {
        await this.#clock.sleep(PAUSE_MS, stop);
        while ((await this.#storage.sweep(stop)) > 0) stop.throwIfAborted();
      } catch (error) {
        if (stop.aborted) return;
        this.#logger.warn('deleted rows could not be reclaimed yet', { error: describeError(error) });
      }
    }
  }
}
