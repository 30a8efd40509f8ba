import {
  type Clock,
  DataError,
  type Instant,
  type SqlDatabase,
  type SqlTransaction,
  type Storage,
} from '../plugin-api/index.js';
import { isoTime } from './iso-time.js';
import type { ScopeState, ScopeStates } from './scope-states.js';

/** Frames pushed from outside; they belong to a scope whatever pipeline rates it. */
const PUSHED = 'api';
/** After every period that will ever be stored. */
const END_OF_TIME = 2 ** 52;

export interface ResetOrder {
  /** Everything from here on is deleted and rated anew. */
  readonly to: Instant;
  readonly periodSeconds: number;
  readonly author: string;
  readonly reason: string;
}

/**
 * Sends a scope back to an earlier instant: one transaction raises the fence (so that whoever is rating the scope cannot
 * write any more), sets the watermark and deletes what is stored from there on. Unlike the reference, which leaves the period
 * at the instant itself empty, that period is rated again.
 */
export class ScopeReset {
  readonly #database: SqlDatabase;
  readonly #states: ScopeStates;
  readonly #storage: Storage;
  readonly #clock: Clock;

  constructor(database: SqlDatabase, states: ScopeStates, storage: Storage, clock: Clock) {
    this.#database = database;
    this.#states = states;
    this.#storage = storage;
    this.#clock = clock;
  }

  /**
   * @throws DataError RATECAT_RESET_REFUSED when the instant lies ahead of what is rated or inside a period, or when the
   *   storage cannot delete one scope alone.
   */
  async reset(state: ScopeState, order: ResetOrder, signal: AbortSignal): Promise<void> {
    this.#check(state, order);
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

  #check(state: ScopeState, { to, periodSeconds }: ResetOrder): void {
    const refuse = (why: string) =>
      new DataError('RATECAT_RESET_REFUSED', `Scope '${state.scope.id}': ${why}`);
    if (!this.#storage.capabilities.filteredDelete) {
      throw refuse('this storage cannot delete the periods of a single scope.');
    }
    if (state.watermark === undefined) throw refuse('nothing is rated yet, so there is nothing to reset.');
    if (to > state.watermark) {
      throw refuse(`it is rated up to ${isoTime(state.watermark)}; a reset cannot go beyond that.`);
    }
    if ((state.watermark - to) % periodSeconds !== 0) {
      const earlier = state.watermark - Math.ceil((state.watermark - to) / periodSeconds) * periodSeconds;
      throw refuse(`${isoTime(to)} lies inside a period; the begin of that period is ${isoTime(earlier)}.`);
    }
  }

  async #move(tx: SqlTransaction, state: ScopeState, order: ResetOrder): Promise<void> {
    await tx.execute(
      `UPDATE ratecat_scopes SET fence = fence + 1, owner = NULL, commit_seq = commit_seq + 1, watermark = ?,
       last_begin = ?, state = 'active', reason = NULL, failures = 0, retry_at = NULL WHERE id = ?`,
      [order.to, order.to - order.periodSeconds, state.row],
    );
    await tx.execute('DELETE FROM ratecat_fingerprints WHERE scope = ? AND period_begin >= ?', [
      state.row,
      order.to,
    ]);
    const detail = JSON.stringify({ from: state.watermark, to: order.to, reason: order.reason });
    const at = Math.floor(this.#clock.now() / 1000);
    await this.#states.audit({ at, row: state.row, action: 'scope.reset', author: order.author, detail }, tx);
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
      { source: PUSHED, key, id },
    ];
    await this.#storage.deletePeriods({ visible, begin: from, end: END_OF_TIME }, { tx }, signal);
  }
}
