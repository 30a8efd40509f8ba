import type { ClosableDatabase } from './closable-database.js';
import { parseDatabaseUrl } from './database-url.js';

export type { ClosableDatabase } from './closable-database.js';

export interface OpenDatabaseOptions {
  /** Relative SQLite files lie here; by default the working folder. */
  readonly folder?: string | undefined;
  /** How long a statement waits for another process's lock, in milliseconds. */
  readonly lockTimeoutMs?: number | undefined;
  /** MySQL: how long to wait for one host to accept a connection, in milliseconds. */
  readonly connectTimeoutMs?: number | undefined;
  /** MySQL: a statement without an answer for this long counts as a lost connection. Not applied to DDL. */
  readonly statementTimeoutMs?: number | undefined;
  /** MySQL: most connections at a time. */
  readonly maxConnections?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

const DEFAULT_LOCK_TIMEOUT_MS = 30_000;

/**
 * Opens the database and proves that it answers.
 * @throws ConfigError RATECAT_DATABASE_URL_INVALID
 * @throws UnavailableError RATECAT_DATABASE_UNAVAILABLE, RATECAT_DATABASE_READ_ONLY, RATECAT_DATABASE_BUSY
 * @throws RejectedError RATECAT_DATABASE_REFUSED when credentials, database name or file are refused.
 */
export async function openDatabase(
  url: string,
  options: OpenDatabaseOptions = {},
): Promise<ClosableDatabase> {
  const parsed = parseDatabaseUrl(url, options.folder ?? process.cwd());
  const lockTimeoutMs = options.lockTimeoutMs ?? DEFAULT_LOCK_TIMEOUT_MS;
  // The drivers are loaded on demand: each costs start-up time, and one of them is never used.
  if (parsed.engine === 'sqlite') {
    const { openSqlite } = await import('./sqlite-database.js');
    return openSqlite(parsed.path, { lockTimeoutMs, signal: options.signal });
  }
  const { openMysql } = await import('./mysql-database.js');
  return openMysql(parsed, { ...options, lockTimeoutMs });
}
