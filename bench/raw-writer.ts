/** Writes prepared rows by the driver alone: statements prepared once, parameters flat, nothing computed in between. */
import type Database from 'better-sqlite3';
import mysql, { type Connection, type ExecuteValues } from 'mysql2/promise';
import { SqliteDatabase } from '../core/database/sqlite-driver.js';
import type { SqlValue } from '../core/plugin-api/index.js';
import type { RawFrame, RawInsert } from './raw-frames.js';

/** A frame in the shape that its engine's driver takes. */
export interface PreparedFrame {
  readonly points: number;
  readonly blocks: readonly Block[];
}

interface Block {
  readonly sql: string;
  readonly values: readonly unknown[];
}

export interface RawWriter {
  prepare(frames: readonly RawFrame[]): readonly PreparedFrame[];
  /** One transaction. */
  write(frame: PreparedFrame): Promise<void>;
  close(): Promise<void>;
}

/** Rows per statement: the measured optimum of each engine. */
const SQLITE_ROWS = 64;
const MYSQL_ROWS = 1000;

export class SqliteRawWriter implements RawWriter {
  readonly #database: Database.Database;
  readonly #statements = new Map<string, Database.Statement>();

  constructor(path: string) {
    this.#database = new SqliteDatabase(path);
    this.#database.pragma('journal_mode = WAL');
    this.#database.pragma('synchronous = FULL');
  }

  prepare(frames: readonly RawFrame[]): readonly PreparedFrame[] {
    const excluded = (column: string) => `${column}=excluded.${column}`;
    return prepareAll(
      frames,
      SQLITE_ROWS,
      sqliteValue,
      (key, columns) => ` ON CONFLICT (${key.join(',')}) DO UPDATE SET ${columns.map(excluded).join(',')}`,
    );
  }

  async write({ blocks }: PreparedFrame): Promise<void> {
    this.#database.exec('BEGIN IMMEDIATE');
    for (const { sql, values } of blocks) this.#statement(sql).run(values);
    this.#database.exec('COMMIT');
  }

  async close(): Promise<void> {
    this.#database.close();
  }

  #statement(sql: string): Database.Statement {
    const statement = this.#statements.get(sql) ?? this.#database.prepare(sql);
    this.#statements.set(sql, statement);
    return statement;
  }
}

export class MysqlRawWriter implements RawWriter {
  readonly #connection: Connection;

  private constructor(connection: Connection) {
    this.#connection = connection;
  }

  static async open(url: string): Promise<MysqlRawWriter> {
    return new MysqlRawWriter(await mysql.createConnection({ uri: url, maxPreparedStatements: 250 }));
  }

  prepare(frames: readonly RawFrame[]): readonly PreparedFrame[] {
    const newValue = (column: string) => `${column}=VALUES(${column})`;
    return prepareAll(
      frames,
      MYSQL_ROWS,
      mysqlValue,
      (_key, columns) => ` ON DUPLICATE KEY UPDATE ${columns.map(newValue).join(',')}`,
    );
  }

  async write({ blocks }: PreparedFrame): Promise<void> {
    await this.#connection.query('START TRANSACTION');
    for (const { sql, values } of blocks) await this.#connection.execute(sql, values as ExecuteValues);
    await this.#connection.query('COMMIT');
  }

  async close(): Promise<void> {
    await this.#connection.end();
  }
}

type OnConflict = (key: readonly string[], columns: readonly string[]) => string;

function prepareAll(
  frames: readonly RawFrame[],
  rowsPerStatement: number,
  value: (value: SqlValue) => unknown,
  onConflict: OnConflict,
): readonly PreparedFrame[] {
  return frames.map(({ points, inserts }) => ({
    points,
    blocks: inserts.flatMap((insert) => [...blocksOf(insert, rowsPerStatement, value, onConflict)]),
  }));
}

function* blocksOf(
  { table, columns, rows, replaces }: RawInsert,
  most: number,
  value: (value: SqlValue) => unknown,
  onConflict: OnConflict,
): Generator<Block> {
  const row = `(${columns.map(() => '?').join(',')})`;
  const conflict = replaces === undefined ? '' : onConflict(replaces.key, replaces.columns);
  for (let start = 0; start < rows.length; start += most) {
    const some = rows.slice(start, start + most);
    const places = Array.from({ length: some.length }, () => row).join(',');
    const sql = `INSERT INTO ${table} (${columns.join(',')}) VALUES ${places}${conflict}`;
    yield { sql, values: some.flat().map(value) };
  }
}

/** The driver stores numbers as floating point. */
function sqliteValue(value: SqlValue): unknown {
  return typeof value === 'number' ? BigInt(value) : value;
}

function mysqlValue(value: SqlValue): unknown {
  return value instanceof Uint8Array ? Buffer.from(value) : value;
}
