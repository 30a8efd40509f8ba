import { setMaxListeners } from 'node:events';
import { type Clock, UnavailableError } from '../plugin-api/index.js';
import type { Bound } from '../rating/bound.js';

/** One reason for all: without it each abort would build an exception with its stack. */
const DONE = new Error('the work is done');

/**
 * Pieces of work that fail together, each with a time limit, under one signal. It is aborted with the outer signal, when a
 * limit is over, and by `end`. Signals are dear: one of its own for each piece would cost more than many a piece does.
 */
export class LimitedWork {
  readonly #clock: Clock;
  readonly #outer: AbortSignal;
  readonly #inner = new AbortController();
  // Not AbortSignal.any: an outer signal that lives on would keep something of every signal it was combined with.
  readonly #follow = () => this.#inner.abort(this.#outer.reason);

  constructor(clock: Clock, outer: AbortSignal) {
    outer.throwIfAborted();
    this.#clock = clock;
    this.#outer = outer;
    // Each piece listens, and so does what it waits for.
    setMaxListeners(0, this.#inner.signal);
    outer.addEventListener('abort', this.#follow, { once: true });
  }

  /** @throws UnavailableError RATECAT_TIMEOUT after the limit, also when `work` ignores the signal. */
  async run<T>(what: string, milliseconds: number, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { signal } = this.#inner;
    signal.throwIfAborted();
    return new Promise((resolve, reject) => {
      let isOpen = true;
      const close = () => {
        isOpen = false;
      };
      const onLimit = () => {
        if (!isOpen) return;
        const seconds = milliseconds / 1000;
        const error = new UnavailableError('RATECAT_TIMEOUT', `${what} gave no answer within ${seconds} s.`);
        // First here: the others fail because of this one.
        reject(error);
        this.#inner.abort(error);
      };
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
      this.#clock.sleep(milliseconds, signal).then(onLimit, noop);
      work(signal).then(resolve, reject).finally(close);
    });
  }

  /** Ends the timers and whatever still listens to the signal; to be called once, whatever happened. */
  end(reason: unknown = DONE): void {
    this.#outer.removeEventListener('abort', this.#follow);
    this.#inner.abort(reason);
  }
}

/**
 * Runs `work` with a signal that is aborted after the limit or with the outer signal, whichever comes first, and when the
 * work is over.
 * @throws UnavailableError RATECAT_TIMEOUT after the limit, also when `work` ignores its signal.
 */
export async function withTimeLimit<T>(
  what: string,
  milliseconds: number,
  clock: Clock,
  outer: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const limited = new LimitedWork(clock, outer);
  try {
    return await limited.run(what, milliseconds, work);
  } finally {
    limited.end();
  }
}

/** The limit in the form in which rating takes it. */
export function boundedBy(milliseconds: number, clock: Clock): Bound {
  return (what, signal, work) => withTimeLimit(what, milliseconds, clock, signal, work);
}

/** A sleep that is called off. */
function noop(): void {
  // Intentionally empty: the work was over first.
}
