/**
 * Runs a function over all items, at most `limit` at a time, and gives the results in the order of the items. The first
 * failure aborts the rest and is what the caller gets.
 */
export async function concurrently<T, R>(
  items: readonly T[],
  limit: number,
  run: (item: T, signal: AbortSignal) => Promise<R>,
  signal: AbortSignal,
): Promise<R[]> {
  signal.throwIfAborted();
  const stop = new AbortController();
  const onAbort = () => stop.abort(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  const results: R[] = new Array(items.length);
  let next = 0;
  const worker = async () => {
    while (next < items.length) {
      stop.signal.throwIfAborted();
      const index = next++;
      results[index] = await run(items[index]!, stop.signal);
    }
  };
  try {
    await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker));
    return results;
  } catch (error) {
    stop.abort(error);
    throw error;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
