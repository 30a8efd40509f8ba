import { type Clock, UnavailableError } from '../plugin-api/index.js';
import type { Bound } from '../rating/bound.js';

/** One reason for all: without it each abort would build an exception with its stack. */
const DONE = new Error('the work is done');

/**
 * Runs `work` with a signal that is aborted after the limit or with the outer signal, whichever comes first.
 * @throws UnavailableError RATECAT_TIMEOUT after the limit, also when `work` ignores its signal.
 */
export async function withTimeLimit<T>(
  what: string,
  milliseconds: number,
  clock: Clock,
  outer: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  outer.throwIfAborted();
  const inner = new AbortController();
  const timer = new AbortController();
  const abort = () => inner.abort(outer.reason);
  outer.addEventListener('abort', abort, { once: true });
  const aborted = new Promise<never>((_, reject) => {
    inner.signal.addEventListener('abort', () => reject(inner.signal.reason), { once: true });
  });
  aborted.catch(noop);
  clock
    .sleep(milliseconds, timer.signal)
    .then(
      () =>
        inner.abort(
          new UnavailableError('RATECAT_TIMEOUT', `${what} gave no answer within ${milliseconds / 1000} s.`),
        ),
      noop,
    );
  try {
    return await Promise.race([work(inner.signal), aborted]);
  } finally {
    timer.abort(DONE);
    outer.removeEventListener('abort', abort);
  }
}

/** The limit in the form in which rating takes it. */
export function boundedBy(milliseconds: number, clock: Clock): Bound {
  return (what, signal, work) => withTimeLimit(what, milliseconds, clock, signal, work);
}

/** The race's loser is dealt with by the winner. */
function noop(): void {
  // Intentionally empty: the outcome is reported through the race.
}
