import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises';

/** Longest stretch of synchronous work, in milliseconds, before timers and sockets get their turn. */
const SLICE_MS = 6;

/** Tells long synchronous work when to let the event loop run. */
export class Slice {
  #end = performance.now() + SLICE_MS;

  get isOver(): boolean {
    return performance.now() >= this.#end;
  }

  async breathe(): Promise<void> {
    await nextTurn();
    this.#end = performance.now() + SLICE_MS;
  }
}

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
