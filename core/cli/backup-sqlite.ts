import { open, rename, rm, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type Database from 'better-sqlite3';
import { SqliteDatabase } from '../database/sqlite-driver.js';
import { sqliteCode, translateSqliteError } from '../database/sqlite-errors.js';
import { UsageError } from './cli.js';

/** Pages copied before the process looks for signals again: some milliseconds' worth. */
const PAGES_PER_STEP = 1024;
/** Waits for the locks of a database that is being opened or recovered by somebody else. */
const BUSY_TIMEOUT_MS = 30_000;

export interface SqliteBackup {
  readonly bytes: number;
}

/**
 * Copies a database that others write to into a file of its own, as of one moment. The file appears under its name when it is
 * whole, synced and checked.
 * @throws UsageError when the file is there and is not to be replaced, or cannot be made.
 * @throws UnavailableError, RejectedError as the database does: RATECAT_DATABASE_FULL of the place of the copy,
 *   RATECAT_DATABASE_CORRUPT when the copy does not pass the engine's check.
 */
export async function backUpSqlite(
  database: string,
  file: string,
  { isReplacing }: { readonly isReplacing: boolean },
): Promise<SqliteBackup> {
  await refuseTaken(database, file, isReplacing);
  const part = `${file}.part-${process.pid}`;
  await makeFile(part);
  try {
    await copy(database, part);
    check(part, database);
    await sync(part);
    await rename(part, file);
    await sync(dirname(resolve(file)));
    return { bytes: (await stat(file)).size };
  } finally {
    for (const rest of [part, `${part}-journal`]) await rm(rest, { force: true });
  }
}

async function refuseTaken(database: string, file: string, isReplacing: boolean): Promise<void> {
  const [own, target] = await Promise.all([database, file].map((path) => stat(path).catch(() => undefined)));
  if (target === undefined) return;
  if (target.ino === own?.ino && target.dev === own.dev)
    throw new UsageError(`${file} is the database itself. Name another file for its copy.`);
  if (!target.isFile()) throw new UsageError(`${file} is no file. Name a file for the copy.`);
  if (!isReplacing)
    throw new UsageError(`${file} is there already. Name another file, or replace it with --force.`);
}

/** Closed to strangers, as the database is: it holds what everybody pays. */
async function makeFile(part: string): Promise<void> {
  try {
    await (await open(part, 'w', 0o600)).close();
  } catch (error) {
    throw new UsageError(`${part} cannot be written (${(error as NodeJS.ErrnoException).code}).`);
  }
}

async function copy(database: string, part: string): Promise<void> {
  let source: Database.Database | undefined;
  try {
    source = new SqliteDatabase(database, { readonly: true, fileMustExist: true, timeout: BUSY_TIMEOUT_MS });
    // Without a transaction that stays open, each write of a processor would make the copy begin anew.
    source.exec('BEGIN');
    source.prepare('SELECT count(*) FROM sqlite_schema').get();
    await source.backup(part, { progress: () => PAGES_PER_STEP });
  } catch (error) {
    const isOfCopy = /^SQLITE_(FULL|READONLY|IOERR_WRITE)/.test(sqliteCode(error) ?? '');
    throw translateSqliteError(error, isOfCopy ? part : database);
  } finally {
    source?.close();
  }
}

function check(part: string, database: string): void {
  const copied = new SqliteDatabase(part, { fileMustExist: true });
  try {
    // One file, without a log beside it; the daemon that restores it switches back.
    copied.pragma('journal_mode = DELETE');
    const found = copied.pragma('integrity_check(1)', { simple: true });
    if (found !== 'ok') throw Object.assign(new Error(String(found)), { code: 'SQLITE_CORRUPT' });
  } catch (error) {
    throw translateSqliteError(error, database);
  } finally {
    copied.close();
  }
}

/** What has a name after the loss of power must be on the disk before. */
async function sync(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
