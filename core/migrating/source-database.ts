import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import type Database from 'better-sqlite3';
import { type DatabaseUrl, type MysqlUrl, parseDatabaseUrl } from '../database/database-url.js';
import { SqliteDatabase } from '../database/sqlite-driver.js';
import { translateSqliteError } from '../database/sqlite-errors.js';
import {
  ConfigError,
  isRatecatError,
  type SqlRow,
  type SqlValue,
  UnavailableError,
} from '../plugin-api/index.js';

/** A database of somebody else: there is no way to write to it. */
export interface SourceDatabase {
  readonly engine: 'sqlite' | 'mysql';
  /** The same for every URL of the database, whatever user and password; holds no secret. */
  readonly identity: string;
  query(sql: string, parameters?: readonly SqlValue[]): Promise<readonly SqlRow[]>;
  /** Rows one by one, without holding the whole answer in memory. */
  iterate(sql: string, parameters?: readonly SqlValue[]): AsyncIterable<SqlRow>;
  close(): Promise<void>;
}

/** Without an index the engine sorts everything before the first row comes. */
const STATEMENT_TIMEOUT_MS = 6 * 3600 * 1000;
const LOCK_TIMEOUT_MS = 30_000;

/**
 * Opens CloudKitty's database for reading. Relative SQLite files lie in `folder`.
 * @throws ConfigError RATECAT_MIGRATE_URL_INVALID, whose text never holds the password.
 * @throws UnavailableError RATECAT_MIGRATE_SOURCE_ABSENT, and as `openDatabase` does.
 */
export async function openSource(url: string, folder: string): Promise<SourceDatabase> {
  const parsed = parseUrl(url, folder);
  const identity = createHash('sha256')
    .update(JSON.stringify(placeOf(parsed)))
    .digest('hex');
  if (parsed.engine === 'mysql') return openMysqlSource(parsed, identity);
  if (!existsSync(parsed.path)) {
    throw new UnavailableError(
      'RATECAT_MIGRATE_SOURCE_ABSENT',
      `There is no database ${parsed.path}. Give --from the path of CloudKitty's database: sqlite:///var/lib/cloudkitty/cloudkitty.sqlite`,
    );
  }
  return new SqliteSource(parsed.path, identity);
}

function parseUrl(url: string, folder: string): DatabaseUrl {
  try {
    return parseDatabaseUrl(url, folder);
  } catch (error) {
    if (!isRatecatError(error)) throw error;
    const message = error.message.replace(
      /^database\.url is wrong/,
      "The URL of CloudKitty's database is wrong",
    );
    throw new ConfigError('RATECAT_MIGRATE_URL_INVALID', message);
  }
}

function placeOf(url: DatabaseUrl): unknown {
  return url.engine === 'sqlite' ? url.path : [url.hosts, url.database];
}

async function openMysqlSource(url: MysqlUrl, identity: string): Promise<SourceDatabase> {
  const { openMysql } = await import('../database/mysql-database.js');
  const database = await openMysql(url, {
    lockTimeoutMs: LOCK_TIMEOUT_MS,
    statementTimeoutMs: STATEMENT_TIMEOUT_MS,
    maxConnections: 4,
  });
  return {
    engine: 'mysql',
    identity,
    query: (sql, parameters) => database.query(sql, parameters),
    iterate: (sql, parameters) => database.iterate(sql, parameters),
    close: () => database.close(),
  };
}

/** A file that is opened for reading only; its journal mode and everything else stay as they are. */
class SqliteSource implements SourceDatabase {
  readonly engine = 'sqlite';
  readonly identity: string;
  readonly #path: string;

  constructor(path: string, identity: string) {
    this.#path = path;
    this.identity = identity;
  }

  async query(sql: string, parameters: readonly SqlValue[] = []): Promise<readonly SqlRow[]> {
    return this.#connected((database) =>
      prepared(database, sql)
        .all(...parameters)
        .map(withNumbers),
    );
  }

  /** On a connection of its own: one that is being read serves nothing else. */
  async *iterate(sql: string, parameters: readonly SqlValue[] = []): AsyncGenerator<SqlRow, void, void> {
    const database = this.#open();
    try {
      for (const row of prepared(database, sql).iterate(...parameters)) yield withNumbers(row);
    } catch (error) {
      throw translateSqliteError(error, this.#path, sql);
    } finally {
      database.close();
    }
  }

  async close(): Promise<void> {
    // Every call closes what it opens.
  }

  #connected<T>(work: (database: Database.Database) => T): T {
    const database = this.#open();
    try {
      return work(database);
    } catch (error) {
      throw translateSqliteError(error, this.#path);
    } finally {
      database.close();
    }
  }

  #open(): Database.Database {
    try {
      const database = new SqliteDatabase(this.#path, { readonly: true, timeout: LOCK_TIMEOUT_MS });
      database.defaultSafeIntegers(true);
      return database;
    } catch (error) {
      throw translateSqliteError(error, this.#path);
    }
  }
}

function prepared(database: Database.Database, sql: string): Database.Statement<unknown[], SqlRow> {
  return database.prepare<unknown[], SqlRow>(sql).raw(true);
}

function withNumbers(row: SqlRow): SqlRow {
  return row.map((value) => {
    if (typeof value !== 'bigint') return value;
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : value;
  });
}
