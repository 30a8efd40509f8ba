/** The narrow SQL layer that storages and rating modules see. One SQL for SQLite and MySQL/MariaDB. */

/** Decimals travel as text, instants as integers. */
export type SqlValue = string | number | bigint | null | Uint8Array;
export type SqlRow = readonly SqlValue[];

export interface SqlReader {
  readonly dialect: SqlDialect;
  /** Rows as arrays in the order of the select list. Integers come back as numbers (bigint beyond 2^53), decimals as text. */
  query(sql: string, parameters?: readonly SqlValue[]): Promise<readonly SqlRow[]>;
}

export interface SqlTransaction extends SqlReader {
  execute(sql: string, parameters?: readonly SqlValue[]): Promise<SqlResult>;
  /** Many rows by few prepared statements; yields to the event loop between slices. */
  insertRows(insert: BulkInsert): Promise<void>;
}

export interface SqlResult {
  /** Rows that matched the WHERE clause of an update or delete, or were inserted. */
  readonly affected: number;
  readonly insertId: number;
}

export interface SqlDatabase extends SqlReader {
  /**
   * Runs `work` in one transaction. Deadlocks, lock time-outs and certification failures run it again, so `work` must have
   * no effect outside the transaction.
   * @throws UnavailableError RATECAT_DATABASE_UNAVAILABLE when the engine cannot be reached.
   */
  transaction<T>(work: (tx: SqlTransaction) => Promise<T>, signal?: AbortSignal): Promise<T>;
  /** Rows one by one, without holding the whole answer in memory. */
  iterate(sql: string, parameters?: readonly SqlValue[], signal?: AbortSignal): AsyncIterable<SqlRow>;
}

export interface BulkInsert {
  readonly table: string;
  readonly columns: readonly string[];
  readonly rows: readonly SqlRow[];
  /** What to do when the primary or a unique key exists; absent: the statement fails. */
  readonly onConflict?: ConflictRule | undefined;
}

export interface ConflictRule {
  /** Columns of the key that may already exist. */
  readonly key: readonly string[];
  /** Decimal columns to which the new value is added, exactly. */
  readonly addDecimal?: readonly string[];
  /** Integer columns to which the new value is added. */
  readonly addInteger?: readonly string[];
  /** Columns that take the new value. With none of the three the existing row is kept. */
  readonly replace?: readonly string[];
}

/** What differs between the engines. */
export interface SqlDialect {
  readonly engine: 'sqlite' | 'mysql';
  /** Column type of an auto-incremented integer primary key, `PRIMARY KEY` included. */
  readonly autoId: string;
  readonly integer: string;
  /** DECIMAL(58,28), or text on an engine without exact decimals. */
  readonly decimal: string;
  /** Text of any length. */
  readonly longText: string;
  /** Text with binary comparison. */
  text(length: number): string;
  /** Fixed-length binary. */
  binary(length: number): string;
  /** Appended to CREATE TABLE; `compact` asks for a table clustered on its primary key. */
  tableOptions(options?: { readonly compact?: boolean }): string;
  /** Expression for the exact sum of a decimal expression; NULL over no rows. The text it yields parses with Decimal. */
  sum(expression: string): string;
  /** `CREATE INDEX` that may run twice. */
  createIndex(name: string, table: string, columns: string, unique?: boolean): string;
}

export interface Migration {
  /** Sorts and identifies: `0001-create`. Never changes once released. */
  readonly name: string;
  /** Each statement must be safe to run again: an interrupted migration is repeated from its first statement. */
  statements(dialect: SqlDialect): readonly string[];
}
