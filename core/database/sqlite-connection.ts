import type Database from 'better-sqlite3';
import type { BulkInsert, SqlResult, SqlRow, SqlValue } from '../plugin-api/index.js';
import { DataError, Slice } from '../plugin-api/index.js';
import { SQLITE_ADD, SQLITE_SUM, sqliteDialect } from './dialects.js';
import { exactInteger } from './exact-integer.js';
import { addDecimalText, ExactSum } from './exact-sum.js';
import { blockSize, flatValues, insertStatements } from './insert-statement.js';
import { SqliteDatabase } from './sqlite-driver.js';
import { translateSqliteError } from './sqlite-errors.js';

/** Waiting inside the engine blocks the event loop: wait there only for the briefest of locks. */
const BUSY_TIMEOUT_MS = 2;
const MAX_CACHED_STATEMENTS = 200;
/** Rows per INSERT: the measured optimum; more rows per statement are slower again. */
const ROWS_PER_INSERT = 64;
const MAX_PARAMETERS = 32_766;
/** Rows read between two looks at the clock. */
const ROWS_PER_LOOK = 64;
/** A log that grew beyond this while a long reader kept it is cut when it is reset. */
const MAX_LOG_BYTES = 64 * 1024 * 1024;

type Statement = Database.Statement<unknown[], SqlRow>;

/** One connection to an SQLite file. Its calls must not overlap: its owner sees to that. */
export class SqliteConnection {
  readonly #path: string;
  readonly #database: Database.Database;
  readonly #statements = new Map<string, Statement>();

  /** Opens the file, or an empty database in memory for `:memory:`. Throws the engine's own error. */
  constructor(path: string) {
    this.#path = path;
    this.#database = new SqliteDatabase(path, { timeout: BUSY_TIMEOUT_MS });
    try {
      this.#database.defaultSafeIntegers(true);
      this.#database.pragma('foreign_keys = ON');
      this.#database.pragma(`journal_size_limit = ${MAX_LOG_BYTES}`);
      registerDecimalFunctions(this.#database);
    } catch (error) {
      this.#database.close();
      throw error;
    }
  }

  get inTransaction(): boolean {
    return this.#database.inTransaction;
  }

  /** The engine's own errors come out of here untranslated, so that callers can tell a lock from a failure. */
  exec(sql: string): void {
    this.#database.exec(sql);
  }

  run(sql: string, parameters: readonly SqlValue[]): SqlResult {
    return this.#run(sql, bindable(parameters));
  }

  #run(sql: string, bound: readonly SqlValue[]): SqlResult {
    try {
      const statement = this.#statement(sql);
      if (statement.reader) return { affected: statement.all(bound).length, insertId: 0 };
      const { changes, lastInsertRowid } = statement.run(bound);
      return { affected: changes, insertId: changes === 0 ? 0 : Number(lastInsertRowid) };
    } catch (error) {
      throw translateSqliteError(error, this.#path, sql);
    }
  }

  /** Reads row by row. The rows come from the state of the database at the first one. */
  *rows(sql: string, parameters: readonly SqlValue[]): IterableIterator<SqlRow> {
    for (const row of this.#statement(sql).iterate(bindable(parameters))) yield withNumbers(row);
  }

  /** All rows; lets the event loop run in between. */
  async readAll(
    sql: string,
    parameters: readonly SqlValue[],
    signal?: AbortSignal,
  ): Promise<readonly SqlRow[]> {
    const rows: SqlRow[] = [];
    const slice = new Slice();
    for (const row of this.#statement(sql).iterate(bindable(parameters))) {
      rows.push(withNumbers(row));
      if (rows.length % ROWS_PER_LOOK === 0 && slice.isOver) {
        await slice.breathe();
        signal?.throwIfAborted();
      }
    }
    return rows;
  }

  async insertRows(insert: BulkInsert, signal?: AbortSignal): Promise<void> {
    const block = Math.max(1, Math.min(ROWS_PER_INSERT, Math.floor(MAX_PARAMETERS / insert.columns.length)));
    const statement = insertStatements(sqliteDialect, insert);
    const slice = new Slice();
    for (let start = 0; start < insert.rows.length; ) {
      const count = blockSize(insert.rows.length - start, block);
      this.#run(statement(count), flatValues(insert.rows, start, count, bindableValue));
      start += count;
      if (slice.isOver) {
        await slice.breathe();
        signal?.throwIfAborted();
      }
    }
  }

  close(): void {
    this.#statements.clear();
    this.#database.close();
  }

  #statement(sql: string): Statement {
    const cached = this.#statements.get(sql);
    if (cached !== undefined) return cached;
    const statement = this.#database.prepare<unknown[], SqlRow>(sql);
    if (statement.reader) statement.raw(true);
    if (this.#statements.size >= MAX_CACHED_STATEMENTS) {
      this.#statements.delete(this.#statements.keys().next().value!);
    }
    this.#statements.set(sql, statement);
    return statement;
  }
}

/** The binding stores numbers as floating point; integers travel as bigint to stay integers. */
function bindable(parameters: readonly SqlValue[]): readonly SqlValue[] {
  return parameters.map(bindableValue);
}

function bindableValue(value: SqlValue): SqlValue {
  return typeof value === 'number' ? BigInt(exactInteger(value)) : value;
}

/** In place: the row was made for us. */
function withNumbers(row: SqlRow): SqlRow {
  const values = row as SqlValue[];
  for (let index = 0; index < values.length; index++) {
    const value = values[index];
    if (typeof value !== 'bigint') continue;
    const number = Number(value);
    if (Number.isSafeInteger(number)) values[index] = number;
  }
  return values;
}

function registerDecimalFunctions(database: Database.Database): void {
  database.aggregate<ExactSum>(SQLITE_SUM, {
    deterministic: true,
    start: () => new ExactSum(),
    step: (sum: ExactSum, value: unknown) => {
      if (typeof value === 'string') sum.add(value);
      else if (value !== null) sum.add(exactText(value));
      return sum;
    },
    result: (sum) => sum.result(),
  });
  database.function(SQLITE_ADD, { deterministic: true }, (left: unknown, right: unknown) =>
    left === null || right === null ? null : addDecimalText(exactText(left), exactText(right)),
  );
}

function exactText(value: unknown): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'bigint') return value.toString();
  throw new DataError(
    'RATECAT_NUMBER_MALFORMED',
    `The database holds ${typeof value === 'number' ? `the inexact number ${value}` : 'bytes'} where a decimal belongs.`,
  );
}
