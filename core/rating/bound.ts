/**
 * Waits for work of a plugin as long as it may take, and not longer.
 * @throws UnavailableError RATECAT_TIMEOUT that names `what` when it takes longer.
 */
export type Bound = <T>(
  what: string,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
) => Promise<T>;

/** For commands that a person waits for and can end. */
export const unbounded: Bound = (_what, signal, work) => work(signal);
