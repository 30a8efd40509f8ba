import type { Instant, Scope, SqlDatabase, SqlReader, SqlRow, SqlTransaction } from '../plugin-api/index.js';
import { type ScopeSelection, selectionConditions } from './scope-selection.js';

/**
 * - active: rated as its periods become due.
 * - stuck: the next period failed repeatedly; tried again slowly, the reason is stored.
 * - gone: the fetcher no longer lists the scope and every period up to then is rated.
 */
export type ScopeCondition = 'active' | 'stuck' | 'gone';

/** One row of the scope table: what is known about a scope of a source. */
export interface ScopeState {
  readonly row: number;
  readonly source: string;
  readonly scope: Scope;
  readonly fetcher: string;
  readonly collector: string;
  /** Everything before this instant is rated; undefined before the first look at the scope. */
  readonly watermark: Instant | undefined;
  /** Begin of the newest committed period. */
  readonly lastBegin: Instant | undefined;
  readonly active: boolean;
  readonly toggledAt: Instant;
  readonly condition: ScopeCondition;
  readonly reason: string | undefined;
  readonly firstSeen: Instant;
  /** Since when the fetcher no longer lists it. */
  readonly missingSince: Instant | undefined;
  readonly owner: string | undefined;
  readonly heartbeat: number;
  readonly fence: number;
  readonly commitSequence: number;
  readonly commitId: string | undefined;
  readonly failures: number;
  readonly lastErrorAt: Instant | undefined;
  readonly retryAt: Instant | undefined;
}

const COLUMNS = `id, source, scope_key, scope_id, name, fetcher, collector, watermark, last_begin, active, toggled_at, state,
  reason, first_seen, missing_since, owner, heartbeat, fence, commit_seq, commit_id, failures, last_error_at, retry_at`;

export interface PipelineIdentity {
  readonly source: string;
  readonly fetcher: string;
  readonly collector: string;
}

/** Reads and writes scope rows. Nothing here needs the lease; what does is in `leases.ts` and `period-commit.ts`. */
export class ScopeStates {
  readonly #database: SqlDatabase;

  constructor(database: SqlDatabase) {
    this.#database = database;
  }

  /** Every scope of a source, or of all sources, in order of id. */
  async list(source?: string): Promise<readonly ScopeState[]> {
    const where = source === undefined ? '' : 'WHERE source = ?';
    const rows = await this.#database.query(
      `SELECT ${COLUMNS} FROM ratecat_scopes ${where} ORDER BY id`,
      source === undefined ? [] : [source],
    );
    return rows.map(toState);
  }

  async get(row: number, reader: SqlReader = this.#database): Promise<ScopeState | undefined> {
    const rows = await reader.query(`SELECT ${COLUMNS} FROM ratecat_scopes WHERE id = ?`, [row]);
    return rows[0] === undefined ? undefined : toState(rows[0]);
  }

  /**
   * Scopes that fulfil every condition, in order of id.
   * @throws DataError RATECAT_SELECTION_TOO_LONG when a condition names more values than engines take.
   */
  async find(
    selection: ScopeSelection,
    page: { readonly offset?: number; readonly limit?: number } = {},
    reader: SqlReader = this.#database,
  ): Promise<readonly ScopeState[]> {
    const { where, parameters } = selectionConditions(selection);
    const rows = await reader.query(
      `SELECT ${COLUMNS} FROM ratecat_scopes ${where} ORDER BY id LIMIT ? OFFSET ?`,
      [...parameters, page.limit ?? Number.MAX_SAFE_INTEGER, page.offset ?? 0],
    );
    return rows.map(toState);
  }

  /**
   * Adds a scope that an operator names; undefined when the source has it already and it is active, or has rated anything.
   * A scope that a fetcher listed a moment ago but nobody has looked at yet is given what the order says.
   */
  async create(order: NewScope): Promise<ScopeState | undefined> {
    const { pipeline, scope, watermark, active, now } = order;
    return this.#database.transaction(async (tx) => {
      // Everybody who creates scopes waits here for one another.
      await tx.insertRows(CREATIONS);
      const identity = [pipeline.source, scope.key, scope.id];
      const known = await tx.query(
        'SELECT id FROM ratecat_scopes WHERE source = ? AND scope_key = ? AND scope_id = ?',
        identity,
      );
      if (known.length > 0) return undefined;
      await tx.insertRows({
        table: 'ratecat_scopes',
        columns: ['source', 'scope_key', 'scope_id', 'fetcher', 'collector', 'toggled_at', 'first_seen'],
        rows: [[...identity, pipeline.fetcher, pipeline.collector, now, now]],
        onConflict: { key: ['source', 'scope_key', 'scope_id'] },
      });
      await tx.execute(
        `UPDATE ratecat_scopes SET active = ?, watermark = ?, last_begin = ?
         WHERE source = ? AND scope_key = ? AND scope_id = ? AND watermark IS NULL`,
        [active ? 1 : 0, watermark ?? null, order.lastBegin ?? null, ...identity],
      );
      const [created] = await this.find(
        { sources: [identity[0]!], keys: [scope.key], ids: [scope.id] },
        {},
        tx,
      );
      const detail = JSON.stringify({ watermark: watermark ?? null, active });
      await this.audit(
        { at: now, row: created!.row, action: 'scope.create', author: order.author, detail },
        tx,
      );
      return created;
    });
  }

  /** Switches a scope on or off and renames where it comes from; what is undefined stays. Gives the row after it. */
  async change(row: number, change: ScopeChange): Promise<ScopeState | undefined> {
    return this.#database.transaction(async (tx) => {
      // Locks the row until the end.
      await tx.execute('UPDATE ratecat_scopes SET active = active WHERE id = ?', [row]);
      const before = await this.get(row, tx);
      if (before === undefined) return undefined;
      const { at, author, ...wanted } = change;
      const active = wanted.active ?? before.active;
      const fetcher = wanted.fetcher ?? before.fetcher;
      const collector = wanted.collector ?? before.collector;
      const isSwitched = active !== before.active;
      if (!isSwitched && fetcher === before.fetcher && collector === before.collector) return before;
      const toggledAt = isSwitched ? at : before.toggledAt;
      await tx.execute(
        'UPDATE ratecat_scopes SET active = ?, toggled_at = ?, fetcher = ?, collector = ? WHERE id = ?',
        [active ? 1 : 0, toggledAt, fetcher, collector, row],
      );
      const detail = JSON.stringify({ active, fetcher, collector });
      await this.audit({ at, row, action: 'scope.change', author, detail }, tx);
      return { ...before, active, toggledAt, fetcher, collector };
    });
  }

  /** Adds scopes that were never seen; existing rows stay as they are. */
  async add(pipeline: PipelineIdentity, scopes: readonly Scope[], now: Instant): Promise<void> {
    if (scopes.length === 0) return;
    await this.#database.transaction((tx) =>
      tx.insertRows({
        table: 'ratecat_scopes',
        columns: [
          'source',
          'scope_key',
          'scope_id',
          'name',
          'fetcher',
          'collector',
          'toggled_at',
          'first_seen',
        ],
        rows: scopes.map((scope) => [
          pipeline.source,
          scope.key,
          scope.id,
          scope.name?.slice(0, 255) ?? null,
          pipeline.fetcher,
          pipeline.collector,
          now,
          now,
        ]),
        onConflict: { key: ['source', 'scope_key', 'scope_id'] },
      }),
    );
  }

  async rename(row: number, name: string): Promise<void> {
    await this.#update('name = ?', row, [name.slice(0, 255)]);
  }

  /** The fetcher lists the scope again. */
  async markPresent(row: number): Promise<void> {
    await this.#database.transaction((tx) =>
      tx.execute(
        `UPDATE ratecat_scopes SET missing_since = NULL, reason = CASE WHEN state = 'gone' THEN NULL ELSE reason END,
         state = CASE WHEN state = 'gone' THEN 'active' ELSE state END WHERE id = ?`,
        [row],
      ),
    );
  }

  /** The fetcher no longer lists the scope; periods up to `since` are still rated. */
  async markMissing(row: number, since: Instant): Promise<void> {
    await this.#database.transaction((tx) =>
      tx.execute('UPDATE ratecat_scopes SET missing_since = ? WHERE id = ? AND missing_since IS NULL', [
        since,
        row,
      ]),
    );
  }

  async markGone(row: number, reason: string): Promise<void> {
    await this.#update("state = 'gone', reason = ?", row, [reason]);
  }

  /**
   * Writes a failure; `condition` says whether it still counts as passing.
   * @param within joins the transaction when the failure was written.
   */
  async recordFailure(
    row: number,
    fence: number,
    failure: ScopeFailure,
    within?: (tx: SqlTransaction) => Promise<void>,
  ): Promise<void> {
    await this.#database.transaction(async (tx) => {
      const { affected } = await tx.execute(
        `UPDATE ratecat_scopes SET failures = ?, state = ?, reason = ?, last_error_at = ?, retry_at = ?
         WHERE id = ? AND fence = ?`,
        [failure.failures, failure.condition, failure.reason, failure.at, failure.retryAt, row, fence],
      );
      if (affected === 1) await within?.(tx);
    });
  }

  async audit(entry: AuditEntry, tx?: SqlTransaction): Promise<void> {
    const write = (target: SqlTransaction) =>
      target.execute('INSERT INTO ratecat_audit (at, scope, action, author, detail) VALUES (?, ?, ?, ?, ?)', [
        entry.at,
        entry.row ?? null,
        entry.action,
        entry.author,
        entry.detail,
      ]);
    if (tx === undefined) await this.#database.transaction(write);
    else await write(tx);
  }

  async #update(assignment: string, row: number, values: readonly string[]): Promise<void> {
    await this.#database.transaction((tx) =>
      tx.execute(`UPDATE ratecat_scopes SET ${assignment} WHERE id = ?`, [...values, row]),
    );
  }
}

export interface NewScope {
  readonly pipeline: PipelineIdentity;
  readonly scope: Scope;
  /** Absent: the processor decides where the scope starts. */
  readonly watermark?: Instant | undefined;
  readonly lastBegin?: Instant | undefined;
  readonly active: boolean;
  readonly now: Instant;
  readonly author: string;
}

export interface ScopeChange {
  readonly active?: boolean | undefined;
  readonly fetcher?: string | undefined;
  readonly collector?: string | undefined;
  readonly at: Instant;
  readonly author: string;
}

export interface ScopeFailure {
  readonly failures: number;
  readonly condition: ScopeCondition;
  readonly reason: string;
  readonly at: Instant;
  readonly retryAt: Instant;
}

export interface AuditEntry {
  readonly at: Instant;
  readonly row?: number;
  readonly action: string;
  readonly author: string;
  readonly detail: string;
}

/** A row whose only purpose is that writers of it take turns. */
const CREATIONS = {
  table: 'ratecat_revisions',
  columns: ['name', 'value'],
  rows: [['scope-creations', 1]],
  onConflict: { key: ['name'], addInteger: ['value'] },
} as const;

function toState(row: SqlRow): ScopeState {
  const text = (index: number) => (row[index] === null ? undefined : String(row[index]));
  const integer = (index: number) => (row[index] === null ? undefined : Number(row[index]));
  return {
    row: Number(row[0]),
    source: String(row[1]),
    scope: { key: String(row[2]), id: String(row[3]), name: text(4) },
    fetcher: String(row[5]),
    collector: String(row[6]),
    watermark: integer(7),
    lastBegin: integer(8),
    active: Number(row[9]) !== 0,
    toggledAt: Number(row[10]),
    condition: String(row[11]) as ScopeCondition,
    reason: text(12),
    firstSeen: Number(row[13]),
    missingSince: integer(14),
    owner: text(15),
    heartbeat: Number(row[16]),
    fence: Number(row[17]),
    commitSequence: Number(row[18]),
    commitId: text(19),
    failures: Number(row[20]),
    lastErrorAt: integer(21),
    retryAt: integer(22),
  };
}
