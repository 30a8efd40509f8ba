import {
  type Clock,
  ConfigError,
  DataError,
  type SqlDatabase,
  type SqlTransaction,
  type Storage,
} from '../plugin-api/index.js';
import { isoTime } from '../scopes/iso-time.js';
import { PUSHED_SOURCE } from '../scopes/pushed-frames.js';
import type { ScopeState, ScopeStates } from '../scopes/scope-states.js';

const STEP_ROWS = 1_000;
const LEAST_PAUSE_MS = 5;

export interface EraseOrder {
  readonly key: string;
  readonly id: string;
  /** Absent: every source, frames pushed from outside included. */
  readonly source?: string | undefined;
  readonly author: string;
  /** Stops the scope when it is active. */
  readonly force: boolean;
}

export interface EraserParts {
  readonly database: SqlDatabase;
  readonly storage: Storage;
  readonly states: ScopeStates;
  readonly clock: Clock;
}

/**
 * Removes everything about a scope, in small steps: the same order again goes on where one was stopped. The scope is switched
 * off first, with its fence raised, so that nobody who was rating it can write; its own row goes last.
 */
export class ScopeEraser {
  readonly #parts: EraserParts;

  constructor(parts: EraserParts) {
    this.#parts = parts;
  }

  /**
   * Gives the number of rows removed; 0 when there was nothing of the scope.
   * @throws DataError RATECAT_ERASE_REFUSED when the scope is active and `force` is not said.
   * @throws ConfigError RATECAT_ERASE_UNSUPPORTED
   */
  async erase(
    order: EraseOrder,
    signal: AbortSignal,
    onRows: (rows: number) => void = () => undefined,
  ): Promise<number> {
    const { storage, states } = this.#parts;
    if (storage.erase === undefined) {
      throw new ConfigError(
        'RATECAT_ERASE_UNSUPPORTED',
        "The configured storage cannot erase a scope. Use the storage 'sql', or delete the scope with the means of the storage.",
      );
    }
    const { key, id, source } = order;
    const sources = source === undefined ? undefined : [source];
    const found = await states.find({ ids: [id], keys: [key], sources });
    const matching = found.filter(({ scope }) => scope.id === id && scope.key === key);
    for (const state of matching) if (!order.force) refuseActive(state);
    for (const state of matching) await this.#stop(state);
    let rows = 0;
    const count = (removed: number) => {
      rows += removed;
      if (removed > 0) onRows(rows);
    };
    const named = source === undefined ? [...matching.map((state) => state.source), PUSHED_SOURCE] : [source];
    for (const from of new Set(named)) {
      const scope = { source: from, scope: { key, id } };
      await this.#repeat(() => storage.erase!(scope, signal), count, signal);
    }
    await this.#repeat(async () => (await storage.sweep?.(signal)) ?? 0, count, signal);
    for (const state of matching) {
      for (const remove of REMOVALS)
        await this.#repeat(() => this.#transaction((tx) => remove(tx, state), signal), count, signal);
    }
    if (rows > 0 || matching.length > 0) count(await this.#finish(matching, order, signal));
    return rows;
  }

  #transaction(work: (tx: SqlTransaction) => Promise<number>, signal: AbortSignal): Promise<number> {
    return this.#parts.database.transaction(work, signal);
  }

  /** A worker that holds the scope loses it: its commit asks for the fence and for an active scope. */
  async #stop({ row }: ScopeState): Promise<void> {
    await this.#parts.database.transaction((tx) =>
      tx.execute(
        `UPDATE ratecat_scopes SET active = 0, fence = fence + 1, owner = NULL, commit_seq = commit_seq + 1, toggled_at = ?,
         reason = ? WHERE id = ?`,
        [Math.floor(this.#parts.clock.now() / 1000), 'is being erased', row],
      ),
    );
  }

  /** The last step: the scope's rows, and in place of all that was noted of it one line that tells nothing about it. */
  #finish(states: readonly ScopeState[], { author, id }: EraseOrder, signal: AbortSignal): Promise<number> {
    return this.#parts.database.transaction(async (tx) => {
      let removed = await removeEvents(tx, id);
      for (const { row } of states)
        removed += (await tx.execute('DELETE FROM ratecat_scopes WHERE id = ?', [row])).affected;
      const at = Math.floor(this.#parts.clock.now() / 1000);
      const detail = 'a scope was erased, with everything that was stored and noted of it';
      await this.#parts.states.audit({ at, action: 'scope.erased', author, detail }, tx);
      return removed;
    }, signal);
  }

  async #repeat(
    step: () => Promise<number>,
    count: (removed: number) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const { clock } = this.#parts;
    for (;;) {
      const begin = clock.monotonic();
      const removed = await step();
      if (removed === 0) return;
      count(removed);
      await clock.sleep(Math.max(LEAST_PAUSE_MS, clock.monotonic() - begin), signal);
    }
  }
}

/** A scope that is switched off, or gone and rated to its end, is not active. */
function refuseActive({ active, condition, scope, source, watermark }: ScopeState): void {
  if (!active || condition === 'gone') return;
  const rated = watermark === undefined ? 'not rated yet' : `rated up to ${isoTime(watermark)}`;
  throw new DataError(
    'RATECAT_ERASE_REFUSED',
    `Scope '${scope.id}' of '${source}' is active (${rated}); nothing was erased. Switch it off first, or say --force. ` +
      'Take it out of the fetcher too, or it comes back as a new scope.',
  );
}

type Removal = (tx: SqlTransaction, state: ScopeState) => Promise<number>;

const REMOVALS: readonly Removal[] = [
  async (tx, { row }) => {
    const bound = await tx.query(
      `SELECT period_begin FROM ratecat_fingerprints WHERE scope = ? ORDER BY period_begin LIMIT 1 OFFSET ${STEP_ROWS}`,
      [row],
    );
    const before = bound[0]?.[0] ?? 2 ** 52;
    const sql = 'DELETE FROM ratecat_fingerprints WHERE scope = ? AND period_begin < ?';
    return (await tx.execute(sql, [row, before])).affected;
  },
  (tx, { row }) => removeByIds(tx, 'ratecat_reprocess_tasks', row),
  (tx, { row }) => removeByIds(tx, 'ratecat_audit', row),
];

async function removeByIds(
  tx: SqlTransaction,
  table: 'ratecat_reprocess_tasks' | 'ratecat_audit',
  row: number,
): Promise<number> {
  const rows = await tx.query(`SELECT id FROM ${table} WHERE scope = ? LIMIT ${STEP_ROWS}`, [row]);
  if (rows.length === 0) return 0;
  const ids = rows.map(([id]) => Number(id));
  return (await tx.execute(`DELETE FROM ${table} WHERE id IN (${ids.join(', ')})`)).affected;
}

/** Events about the scope that were not delivered yet. */
async function removeEvents(tx: SqlTransaction, id: string): Promise<number> {
  const sql = 'DELETE FROM ratecat_outbox WHERE INSTR(content, ?) > 0';
  return (await tx.execute(sql, [JSON.stringify(id)])).affected;
}
