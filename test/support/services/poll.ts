import { setTimeout as delay } from 'node:timers/promises';

const PAUSE_MS = 50;

export interface PollOptions {
  /** Ends the sentence "timed out after N ms waiting for …". */
  readonly what: string;
  readonly timeoutMs: number;
}

/** Asks until there is an answer; a probe that throws has none yet, and its last error becomes the cause of the time-out. */
export async function poll<Answer>(
  probe: () => Promise<Answer | undefined>,
  { what, timeoutMs }: PollOptions,
): Promise<Answer> {
  const deadline = performance.now() + timeoutMs;
  let cause: unknown;
  while (performance.now() < deadline) {
    try {
      const answer = await probe();
      if (answer !== undefined) return answer;
    } catch (error) {
      if (error instanceof StopPolling) throw error;
      cause = error;
    }
    await delay(PAUSE_MS);
  }
  throw new Error(`timed out after ${timeoutMs} ms waiting for ${what}`, { cause });
}

/** Thrown by a probe that knows that asking again is of no use. */
export class StopPolling extends Error {}
