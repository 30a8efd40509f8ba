/** How long code of a plugin may take before the daemon has started: what hangs there must not hang the daemon. */
const LOAD_LIMIT_MS = 20_000;

/** @throws Error after the limit. Also keeps the process alive for an answer that nothing in it waits for. */
export async function withinLoadLimit<T>(what: string, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_, reject) => {
    const late = () => reject(new Error(`${what} did not end within ${LOAD_LIMIT_MS / 1000} s`));
    timer = setTimeout(late, LOAD_LIMIT_MS);
  });
  try {
    return await Promise.race([work, limit]);
  } finally {
    clearTimeout(timer);
  }
}
