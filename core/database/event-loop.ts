import { setTimeout as delay } from 'node:timers/promises';

/** Waits; rejects with the signal's own reason when aborted. */
export async function pause(milliseconds: number, signal?: AbortSignal): Promise<void> {
  try {
    await delay(milliseconds, undefined, signal === undefined ? {} : { signal });
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  }
}

/** Pause before attempt number `attempt` (from 0): doubles up to the limit, spread at random so that rivals part. */
export function backOffMs(attempt: number, firstMs: number, limitMs: number): number {
  const full = Math.min(limitMs, firstMs * 2 ** Math.min(attempt, 20));
  return full * (0.5 + Math.random() / 2);
}
