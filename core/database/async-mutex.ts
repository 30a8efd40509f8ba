/** How long a caller may wait for its turn. */
export interface TurnLimit {
  readonly milliseconds: number;
  error(): Error;
}

/** Lets one caller at a time through, in the order of asking. */
export class AsyncMutex {
  #held = false;
  readonly #waiting: (() => void)[] = [];

  /** Resolves with the release function once the caller is alone; rejects with the signal's reason when aborted first. */
  async acquire(signal?: AbortSignal, limit?: TurnLimit): Promise<() => void> {
    signal?.throwIfAborted();
    if (this.#held) await this.#wait(signal, limit);
    this.#held = true;
    let released = false;
    return () => {
      if (released) return;
      released = true;
      this.#next();
    };
  }

  async run<T>(work: () => T | Promise<T>, signal?: AbortSignal, limit?: TurnLimit): Promise<T> {
    const release = await this.acquire(signal, limit);
    try {
      return await work();
    } finally {
      release();
    }
  }

  #wait(signal: AbortSignal | undefined, limit: TurnLimit | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = () => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', abort);
      };
      const admit = () => {
        settle();
        resolve();
      };
      const leave = (reason: unknown) => {
        settle();
        this.#waiting.splice(this.#waiting.indexOf(admit), 1);
        reject(reason);
      };
      const abort = () => leave(signal?.reason);
      const timer = limit && setTimeout(() => leave(limit.error()), limit.milliseconds);
      signal?.addEventListener('abort', abort, { once: true });
      this.#waiting.push(admit);
    });
  }

  /** Hands over without freeing in between, so that nobody overtakes the one who waits. */
  #next(): void {
    const admit = this.#waiting.shift();
    if (admit === undefined) this.#held = false;
    else admit();
  }
}
