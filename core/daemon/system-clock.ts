import { setTimeout as wait } from 'node:timers/promises';
import type { Clock } from '../plugin-api/index.js';

/** Timers of Node fire at once beyond 2^31 milliseconds. */
const LONGEST_TIMER_MS = 2_000_000_000;

/** The machine's clocks. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  async sleep(milliseconds, signal) {
    try {
      await wait(Math.min(Math.max(0, milliseconds), LONGEST_TIMER_MS), undefined, { signal });
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    }
  },
};
