import { scopeRecovered } from '../notifications/events.js';
import type { Outbox } from '../notifications/outbox.js';
import {
  type Clock,
  DataError,
  type Instant,
  type SqlDatabase,
  type SqlTransaction,
  type Storage,
} from '../plugin-api/index.js';
import { isoTime } from './iso-time.js';
import { PUSHED_SOURCE, supersedePushes } from './pushed-frames.js';
import type { ScopeState, ScopeStates } from './scope-states.js';

/** After every period that will ever be stored. */
const END_OF_TIME = 2 ** 52;

export interface ResetOrder {
  /** Everything from here on is deleted and rated anew. */
  readonly to: Instant;
  readonly periodSeconds: number;
  /** `strict` leaves the period at the instant un-rated, as the reference does. */
  readonly compat: 'strict' | 'fixed';
  readonly author: string;
  readonly reason: string;
}

/**
 * Sends a scope back to an earlier instant: one transaction raises the fence (so that whoever is rating the scope cannot
 * write any more), sets the watermark and deletes what is stored from there on. The reference takes the instant as the begin of
 * the last rated period and so never rates the one it has just deleted there (spec: processor, "Scope reset"); `strict`
 * leaves that hole, `fixed` rates the period again.
 */
export class ScopeReset {
  readonly #database: SqlDatabase;
  readonly #states: ScopeStates;
  readonly #storage: Storage;
  readonly #clock: Clock;
  readonly #outbox: Outbox | undefined;

  constructor(database: SqlDatabase, states: ScopeStates, storage: Storage, clock: Clock, outbox?: Outbox) {
    this.#database = database;
    this.#states = states;
    this.#storage = storage;
    this.#clock = clock;
    this.#outbox = outbox;
  }

  /**
   * @throws DataError RATECAT_RESET_REFUSED when the instant lies ahead of what is rated or inside a period, or when the
   *   storage cannot delete one scope alone.
   */
  async reset(state: ScopeState, order: ResetOrder, signal: AbortSignal): Promise<void> {
    this.check(state, order);
    const { joinsCoreTransaction } = this.#storage.capabilities;
    if (!joinsCoreTransaction) {
      // The fence comes first: nothing can be written between the deletion and the new watermark.
      await this.#database.transaction((tx) => this.#move(tx, state, order));
      await this.#delete(state, order.to, undefined, signal);
      return;
    }
    await this.#database.transaction(async (tx) => {
      await this.#move(tx, state, order);
      await this.#delete(state, order.to, tx, signal);
    }, signal);
  }

  /** Whether the scope, as it was read, can be reset so. @throws DataError RATECAT_RESET_REFUSED */
  check(state: ScopeState, order: Pick<ResetOrder, 'to' | 'periodSeconds' | 'compat'>): void {
    const { to, periodSeconds } = order;
    const refuse = (why: string) =>
      new DataError('RATECAT_RESET_REFUSED', `Scope '${state.scope.id}': ${why}`);
    if (!this.#storage.capabilities.filteredDelete) {
      throw refuse('this storage cannot delete the periods of a single scope.');
    }
    if (state.watermark === undefined) throw refuse('nothing is rated yet, so there is nothing to reset.');
    if (watermarkAfter(order) > state.watermark) {
      throw refuse(`it is rated up to ${isoTime(state.watermark)}; a reset cannot go beyond that.`);
    }
    if ((state.watermark - to) % periodSeconds !== 0) {
      const earlier = state.watermark - Math.ceil((state.watermark - to) / periodSeconds) * periodSeconds;
      throw refuse(`${isoTime(to)} lies inside a period; the begin of that period is ${isoTime(earlier)}.`);
    }
  }

  async #move(tx: SqlTransaction, state: ScopeState, order: ResetOrder): Promise<void> {
    const watermark = watermarkAfter(order);
    await tx.execute(
      `UPDATE ratecat_scopes SET fence = fence + 1, owner = NULL, commit_seq = commit_seq + 1, watermark = ?,
       last_begin = ?, state = 'active', reason = NULL, failures = 0, retry_at = NULL WHERE id = ?`,
      [watermark, watermark - order.periodSeconds, state.row],
    );
    await supersedePushes(tx, state.scope);
    await tx.execute('DELETE FROM ratecat_fingerprints WHERE scope = ? AND period_begin >= ?', [
      state.row,
      order.to,
    ]);
    const detail = JSON.stringify({ from: state.watermark, to: order.to, watermark, reason: order.reason });
    const at = Math.floor(this.#clock.now() / 1000);
    await this.#states.audit({ at, row: state.row, action: 'scope.reset', author: order.author, detail }, tx);
    if (state.condition === 'stuck')
      await this.#outbox?.add(tx, scopeRecovered(state.source, state.scope, watermark, 'reset'));
  }

  async #delete(
    { source, scope }: ScopeState,
    from: Instant,
    tx: SqlTransaction | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const { key, id } = scope;
    const visible = [
      { source, key, id },
      { source: PUSHED_SOURCE, key, id },
    ];
    await this.#storage.deletePeriods({ visible, begin: from, end: END_OF_TIME }, { tx }, signal);
  }
}

/** Where rating goes on after a reset. */
export function watermarkAfter({
  to,
  periodSeconds,
  compat,
}: Pick<ResetOrder, 'to' | 'periodSeconds' | 'compat'>): Instant {
  return compat === 'strict' ? to + periodSeconds : to;
}
