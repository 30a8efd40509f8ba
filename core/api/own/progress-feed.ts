import {
  type Clock,
  describeError,
  type Instant,
  isRatecatError,
  type Logger,
  type Scope,
} from '../../plugin-api/index.js';
import type { ScopeCondition, ScopeState, ScopeStates } from '../../scopes/scope-states.js';
import type { LagOf } from './scope-states.js';

/** One scope, as of the newest look at the table. */
export interface ScopeProgress {
  readonly source: string;
  readonly scope: Scope;
  readonly condition: ScopeCondition;
  readonly periodsBehind: number;
  readonly secondsBehind: number;
  /** Seconds by which the watermark has moved on since the feed began to look. */
  readonly ratedSeconds: number;
}

export interface ProgressListener {
  progress(scopes: readonly ScopeProgress[], now: Instant): void;
  /** The database does not answer; called once until it does again. */
  unavailable(code: string): void;
}

const PAUSE_MS = 1_000;

interface Seen {
  readonly watermark: Instant | undefined;
  readonly ratedSeconds: number;
}

export interface ProgressFeedParts {
  readonly states: Pick<ScopeStates, 'list'>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly lagOf: LagOf;
}

/** Looks at the scope table once a second for all listeners together, and not at all while there are none. */
export class ProgressFeed {
  readonly #parts: ProgressFeedParts;
  readonly #listeners = new Set<ProgressListener>();
  #polling: AbortController | undefined;
  #seen = new Map<number, Seen>();
  #newest: { readonly scopes: readonly ScopeProgress[]; readonly now: Instant } | undefined;

  constructor(parts: ProgressFeedParts) {
    this.#parts = parts;
  }

  get listeners(): number {
    return this.#listeners.size;
  }

  /** Gives what ends it. */
  listen(listener: ProgressListener): () => void {
    this.#listeners.add(listener);
    if (this.#polling === undefined) void this.#poll();
    else if (this.#newest !== undefined) listener.progress(this.#newest.scopes, this.#newest.now);
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size > 0) return;
      this.#polling?.abort();
      this.#polling = undefined;
      this.#newest = undefined;
      this.#seen = new Map();
    };
  }

  async #poll(): Promise<void> {
    const { clock, states } = this.#parts;
    const polling = new AbortController();
    this.#polling = polling;
    const { signal } = polling;
    for (let isDown = false; !signal.aborted; ) {
      try {
        const rows = await states.list();
        if (signal.aborted) return;
        isDown = false;
        this.#publish(rows);
      } catch (error) {
        if (!isDown && !signal.aborted) this.#publishOutage(error);
        isDown = true;
      }
      await clock.sleep(PAUSE_MS, signal).catch(() => undefined);
    }
  }

  #publish(rows: readonly ScopeState[]): void {
    const now = Math.floor(this.#parts.clock.now() / 1000);
    const seen = new Map<number, Seen>();
    const scopes = rows.map((state) => {
      const ratedSeconds = moved(this.#seen.get(state.row), state.watermark);
      seen.set(state.row, { watermark: state.watermark, ratedSeconds });
      return this.#progressOf(state, now, ratedSeconds);
    });
    this.#seen = seen;
    this.#newest = { scopes, now };
    for (const listener of this.#listeners) listener.progress(scopes, now);
  }

  #publishOutage(error: unknown): void {
    this.#parts.logger.warn('progress cannot be read', { reason: describeError(error) });
    this.#newest = undefined;
    const code = isRatecatError(error) ? error.code : 'RATECAT_REQUEST_FAILED';
    for (const listener of this.#listeners) listener.unavailable(code);
  }

  #progressOf(state: ScopeState, now: Instant, ratedSeconds: number): ScopeProgress {
    const { source, scope, condition } = state;
    const lag = this.#parts.lagOf(state, now);
    return {
      source,
      scope,
      condition,
      periodsBehind: lag.periods ?? 0,
      secondsBehind: lag.seconds,
      ratedSeconds,
    };
  }
}

/** A reset, which moves the watermark back, is no progress and does not undo any. */
function moved(before: Seen | undefined, watermark: Instant | undefined): number {
  if (before === undefined) return 0;
  const { watermark: from, ratedSeconds } = before;
  return ratedSeconds + (from === undefined || watermark === undefined ? 0 : Math.max(0, watermark - from));
}
