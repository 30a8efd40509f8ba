import type { Instant, Scope, SqlDatabase, SqlReader, SqlRow, SqlTransaction } from '../plugin-api/index.js';

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

  /** Writes a failure; `condition` says whether it still counts as passing. */
  async recordFailure(row: number, fence: number, failure: ScopeFailure): Promise<void> {
    await this.#database.transaction((tx) =>
      tx.execute(
        `UPDATE ratecat_scopes SET failures = ?, state = ?, reason = ?, last_error_at = ?, retry_at = ?
         WHERE id = ? AND fence = ?`,
        [failure.failures, failure.condition, failure.reason, failure.at, failure.retryAt, row, fence],
      ),
    );
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
