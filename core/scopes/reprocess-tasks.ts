import {
  type Clock,
  DataError,
  type Instant,
  type Period,
  type Scope,
  type SqlDatabase,
  type SqlRow,
  type SqlTransaction,
} from '../plugin-api/index.js';
import { isoTime } from './iso-time.js';
import type { Lease } from './leases.js';
import { selectionConditions } from './scope-selection.js';

/** A window of a scope that is to be rated anew. */
export interface ReprocessTask {
  readonly id: number;
  readonly row: number;
  readonly source: string;
  readonly scope: Scope;
  readonly begin: Instant;
  readonly end: Instant;
  readonly reason: string;
  /** End of the newest period that was rated again; undefined before the first. */
  readonly current: Instant | undefined;
  readonly createdAt: Instant;
  /** Why the task does not get on, or which of its periods could not be rated anew. */
  readonly failure: string | undefined;
}

/** A task as the processor needs it. */
export interface PendingTask extends ReprocessTask {
  /** Failures in a row. */
  readonly failures: number;
  readonly retryAt: Instant | undefined;
}

/** An order to rate the periods of a scope that begin in `[begin, end)` anew. */
export interface NewReprocessTask {
  readonly row: number;
  readonly begin: Instant;
  readonly end: Instant;
  readonly reason: string;
  readonly author: string;
}

export interface ReprocessQuery {
  readonly scopeIds?: readonly string[];
  /** By creation. */
  readonly order: 'asc' | 'desc';
  readonly offset: number;
  readonly limit: number;
}

/** What the API needs of the reprocessing service. */
export interface ReprocessRegister {
  /** All or none. @throws DataError RATECAT_REPROCESS_OVERLAP */
  create(tasks: readonly NewReprocessTask[]): Promise<void>;
  list(query: ReprocessQuery): Promise<readonly ReprocessTask[]>;
  unfinished(row?: number): Promise<readonly ReprocessTask[]>;
}

/** How far a task has come, as part of the transaction that brought it there. */
export interface TaskStep {
  readonly task: PendingTask;
  /** Everything of the window before this instant is done. */
  readonly to: Instant;
  /** A period that was left as it is stored, in words. */
  readonly kept?: string | undefined;
}

export interface TaskFailure {
  readonly failures: number;
  readonly failure: string;
  readonly retryAt: Instant;
}

const TABLES = 'ratecat_reprocess_tasks t JOIN ratecat_scopes s ON s.id = t.scope';
const COLUMNS = `t.id, t.scope, s.source, s.scope_key, s.scope_id, s.name, t.begin_at, t.end_at, t.reason, t.current_at,
  t.created_at, t.failure, t.kept, t.failures, t.retry_at`;

/** Who creates tasks takes turns by this row: an overlap that another process is about to write is seen. */
const CREATIONS = {
  table: 'ratecat_revisions',
  columns: ['name', 'value'],
  rows: [['reprocess-creations', 1]],
  onConflict: { key: ['name'], addInteger: ['value'] },
} as const;

/** The order book of windows that are to be rated anew. Rows are never deleted. */
export class ReprocessTasks implements ReprocessRegister {
  readonly #database: SqlDatabase;
  readonly #clock: Clock;

  constructor(database: SqlDatabase, clock: Clock) {
    this.#database = database;
    this.#clock = clock;
  }

  /**
   * Notes all tasks or none, each with an audit row. A window without length is finished at once.
   * @throws DataError RATECAT_REPROCESS_OVERLAP when an unfinished task of the same scope row has an instant in common; the
   *   ends of both windows count (spec: API v2, "Reprocessing tasks").
   */
  async create(tasks: readonly NewReprocessTask[]): Promise<void> {
    if (tasks.length === 0) return;
    const now = Math.floor(this.#clock.now() / 1000);
    await this.#database.transaction(async (tx) => {
      await tx.insertRows(CREATIONS);
      await refuseOverlaps(tx, tasks);
      await tx.insertRows({
        table: 'ratecat_reprocess_tasks',
        columns: [
          'scope',
          'begin_at',
          'end_at',
          'reason',
          'author',
          'created_at',
          'current_at',
          'finished',
          'failures',
        ],
        rows: tasks.map(({ row, begin, end, reason, author }) => {
          const isEmpty = end <= begin;
          return [
            row,
            begin,
            end,
            reason,
            author.slice(0, 255),
            now,
            isEmpty ? end : null,
            isEmpty ? 1 : 0,
            0,
          ];
        }),
      });
      await tx.insertRows({
        table: 'ratecat_audit',
        columns: ['at', 'scope', 'action', 'author', 'detail'],
        rows: tasks.map(({ row, begin, end, reason, author }) => {
          const detail = JSON.stringify({ begin: isoTime(begin), end: isoTime(end), reason });
          return [now, row, 'reprocess.create', author.slice(0, 255), detail];
        }),
      });
    });
  }

  /** Finished tasks included. @throws DataError RATECAT_SELECTION_TOO_LONG */
  async list({ scopeIds, order, offset, limit }: ReprocessQuery): Promise<readonly ReprocessTask[]> {
    const { where, parameters } = selectionConditions({ ids: scopeIds });
    const rows = await this.#database.query(
      `SELECT ${COLUMNS} FROM ${TABLES} ${where} ORDER BY t.id ${order === 'asc' ? 'ASC' : 'DESC'} LIMIT ? OFFSET ?`,
      [...parameters, limit, offset],
    );
    return rows.map(toTask);
  }

  /** Tasks that are not finished, of one scope row or of all, oldest first. */
  async unfinished(row?: number): Promise<readonly PendingTask[]> {
    const which = row === undefined ? '' : ' AND t.scope = ?';
    const rows = await this.#database.query(
      `SELECT ${COLUMNS} FROM ${TABLES} WHERE t.finished = 0${which} ORDER BY t.id`,
      row === undefined ? [] : [row],
    );
    return rows.map(toTask);
  }

  /** Unfinished tasks of the scopes of a source, oldest first. */
  async unfinishedOf(source: string): Promise<readonly PendingTask[]> {
    const rows = await this.#database.query(
      `SELECT ${COLUMNS} FROM ${TABLES} WHERE t.finished = 0 AND s.source = ? ORDER BY t.id`,
      [source],
    );
    return rows.map(toTask);
  }

  /** Notes why a task did not get on and when it is tried again; nothing when the lease is lost. */
  async recordFailure(
    { id, row }: PendingTask,
    lease: Lease,
    { failures, failure, retryAt }: TaskFailure,
  ): Promise<void> {
    await this.#database.transaction((tx) =>
      tx.execute(
        `UPDATE ratecat_reprocess_tasks SET failures = ?, failure = ?, retry_at = ?
         WHERE id = ? AND finished = 0 AND EXISTS (SELECT 1 FROM ratecat_scopes WHERE id = ? AND fence = ?)`,
        [failures, failure, retryAt, id, row, lease.fence],
      ),
    );
  }
}

/** Moves a task on, inside the transaction of a commit. False when it is not where it was read. */
export async function advanceTask(tx: SqlTransaction, { task, to, kept }: TaskStep): Promise<boolean> {
  const { id, current, end } = task;
  const { affected } = await tx.execute(
    `UPDATE ratecat_reprocess_tasks SET current_at = ?, finished = ?, kept = COALESCE(?, kept), failures = 0,
     failure = NULL, retry_at = NULL
     WHERE id = ? AND finished = 0 AND ${current === undefined ? 'current_at IS NULL' : 'current_at = ?'}`,
    [to, to >= end ? 1 : 0, kept ?? null, id, ...(current === undefined ? [] : [current])],
  );
  return affected === 1;
}

/** @throws DataError RATECAT_REPROCESS_OVERLAP */
async function refuseOverlaps(tx: SqlTransaction, tasks: readonly NewReprocessTask[]): Promise<void> {
  const [only, ...others] = tasks;
  const one = only !== undefined && others.length === 0;
  const rows = await tx.query(
    `SELECT scope, begin_at, end_at FROM ratecat_reprocess_tasks WHERE finished = 0${one ? ' AND scope = ?' : ''}`,
    one ? [only.row] : [],
  );
  const taken = new Map<number, Period[]>();
  const take = (row: number, window: Period) => {
    const windows = taken.get(row);
    if (windows === undefined) taken.set(row, [window]);
    else windows.push(window);
  };
  for (const [row, begin, end] of rows) take(Number(row), { begin: Number(begin), end: Number(end) });
  for (const { row, begin, end } of tasks) {
    const other = taken.get(row)?.find((window) => window.begin <= end && begin <= window.end);
    if (other !== undefined) throw await overlap(tx, row, { begin, end }, other);
    take(row, { begin, end });
  }
}

async function overlap(tx: SqlTransaction, row: number, window: Period, other: Period): Promise<DataError> {
  const [found] = await tx.query('SELECT scope_id FROM ratecat_scopes WHERE id = ?', [row]);
  const say = ({ begin, end }: Period) => `${isoTime(begin)} to ${isoTime(end)}`;
  return new DataError(
    'RATECAT_REPROCESS_OVERLAP',
    `Scope '${String(found?.[0] ?? row)}' cannot be rated anew for ${say(window)}: a task for ${say(other)} is not finished. Wait for it, or choose a window that does not touch it.`,
  );
}

function toTask(row: SqlRow): PendingTask {
  const text = (index: number) => (row[index] === null ? undefined : String(row[index]));
  const integer = (index: number) => (row[index] === null ? undefined : Number(row[index]));
  const notes = [text(11), text(12)].filter((note) => note !== undefined);
  return {
    id: Number(row[0]),
    row: Number(row[1]),
    source: String(row[2]),
    scope: { key: String(row[3]), id: String(row[4]), name: text(5) },
    begin: Number(row[6]),
    end: Number(row[7]),
    reason: String(row[8]),
    current: integer(9),
    createdAt: Number(row[10]),
    failure: notes.length === 0 ? undefined : notes.join('; '),
    failures: Number(row[13]),
    retryAt: integer(14),
  };
}
