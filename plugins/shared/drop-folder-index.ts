import type Database from 'better-sqlite3';
import type { Instant, Period } from '../../core/plugin-api/index.js';
import type { DropSample } from './drop-folder-records.js';
import { SqliteDatabase } from './sqlite-driver.js';

/**
 * Samples of the accepted files, found by scope, metric and time. A file's samples count from the moment when its row says
 * `accepted`; before that they are invisible, and a crash leaves rows that the next pick-up removes.
 */
export class DropFolderIndex {
  readonly #database: Database.Database;
  readonly #statements: ReturnType<typeof prepare>;

  constructor(path: string) {
    this.#database = new SqliteDatabase(path, { timeout: 10_000 });
    this.#database.pragma('journal_mode = WAL');
    this.#database.pragma('synchronous = NORMAL');
    this.#database.pragma('cache_size = -16000'); // KiB: files of many scopes touch the whole index
    this.#database.exec(TABLES);
    this.#statements = prepare(this.#database);
  }

  close(): void {
    this.#database.close();
  }

  /** What became of a file of this content, if one was there. */
  outcome(hash: string): FileOutcome | undefined {
    const row = this.#statements.fileByHash.get(hash) as { state: string } | undefined;
    return row === undefined || row.state === 'loading' ? undefined : (row.state as FileOutcome);
  }

  /**
   * Begins a file; gives the number under which its samples are added. Files are loaded one after another by the holder of
   * the pick-up lock, so whatever is unfinished now was interrupted, and the samples of a file have adjoining numbers.
   */
  begin(hash: string, name: string, now: Instant): number {
    for (const file of this.#statements.unfinished.all() as FileRows[]) {
      this.#removeSamples(file);
      this.#statements.deleteFile.run(file.id);
    }
    return Number(this.#statements.insertFile.run(hash, name, now).lastInsertRowid);
  }

  add(file: number, samples: readonly NumberedSample[]): void {
    this.#database.transaction(() => {
      for (const { line, sample } of samples) {
        const { scope, metric, at, quantity, attributes } = sample;
        this.#statements.insertSample.run(file, line, scope, metric, at, quantity, attributes);
      }
    })();
  }

  /** Makes the file's samples count, in one durable transaction with the scopes that they are of. */
  finish(file: number, outcome: FileOutcome, summary: FileSummary, now: Instant): void {
    const { first, last, samples, rejected, scopes } = summary;
    // Samples written before are made durable with this commit: they are earlier in the same log.
    this.#database.pragma('synchronous = FULL');
    try {
      this.#database
        .transaction(() => {
          this.#statements.finishFile.run(outcome, first ?? null, last ?? null, samples, rejected, file);
          for (const [id, { name, from, until }] of scopes) {
            this.#statements.upsertScope.run(id, name ?? null, from, until, now);
          }
        })
        .immediate();
    } finally {
      this.#database.pragma('synchronous = NORMAL');
    }
  }

  /** Scopes of which a sample was taken, or a file accepted, since the instant. */
  scopes(since: Instant): readonly { readonly id: string; readonly name: string | null }[] {
    return this.#statements.scopes.all(since, since) as { id: string; name: string | null }[];
  }

  /** Time of the first sample of a scope. */
  firstSample(scope: string): Instant | undefined {
    return (this.#statements.scope.get(scope) as { first_at: number } | undefined)?.first_at;
  }

  /** True when one accepted file has samples from the period's begin or before to its end or after. */
  isCovered(period: Period): boolean {
    return this.#statements.covering.get(period.begin, period.end) !== undefined;
  }

  /** The highest number of an accepted file: reading up to it gives one answer however long reading takes. */
  lastAccepted(): number {
    return (this.#statements.lastAccepted.get() as { id: number | null }).id ?? 0;
  }

  /** The next samples in order of time, after `cursor`. */
  read(query: SampleQuery, cursor: SampleCursor | undefined, limit: number): readonly StoredSample[] {
    const { scope, metric, period, lastFile } = query;
    const { at, id } = cursor ?? { at: period.begin, id: 0 };
    return this.#statements.samples.all(scope, metric, at, id, period.end, lastFile, limit) as StoredSample[];
  }

  /** Remembers that a period of the scope was answered: samples that come for it now are late. */
  markAnswered(scope: string, period: Period): void {
    const known = this.answeredUntil(scope);
    if (known !== undefined && known.until >= period.end) return;
    this.#statements.upsertAnswered.run(scope, period.end, period.end - period.begin);
  }

  answeredUntil(scope: string): { readonly until: Instant; readonly seconds: number } | undefined {
    return this.#statements.answered.get(scope) as { until: number; seconds: number } | undefined;
  }

  /** Samples before this instant may have been removed because of their age. */
  keptFrom(): Instant {
    return Number((this.#statements.setting.get('kept_from') as { value: string } | undefined)?.value ?? 0);
  }

  /** Removes files of which every sample is older than the instant; true when there may be more. */
  removeOld(before: Instant): boolean {
    const old = this.#statements.oldFile.get(before) as (FileRows & { last_at: number }) | undefined;
    if (old === undefined) return false;
    // Said before it is done: a period must not look empty in between.
    this.#statements.upsertSetting.run('kept_from', String(Math.max(this.keptFrom(), old.last_at + 1)));
    this.#removeSamples(old);
    this.#statements.markRemoved.run(old.id);
    return true;
  }

  #removeSamples({ first_row, last_row }: FileRows): void {
    const last = last_row ?? (this.#statements.lastRow.get() as { id: number | null }).id ?? 0;
    for (let from = first_row; from <= last; from += DELETE_STEP) {
      this.#statements.deleteSamples.run(from, Math.min(from + DELETE_STEP - 1, last));
    }
  }
}

/** The samples of a file; `last_row` is null while it is loaded. */
interface FileRows {
  readonly id: number;
  readonly first_row: number;
  readonly last_row: number | null;
}

export type FileOutcome = 'accepted' | 'rejected';

export interface NumberedSample {
  readonly line: number;
  readonly sample: DropSample;
}

export interface FileSummary {
  /** Time of the first sample, and the latest end. */
  readonly first: Instant | undefined;
  readonly last: Instant | undefined;
  readonly samples: number;
  readonly rejected: number;
  readonly scopes: ReadonlyMap<string, ScopeSpan>;
}

export interface ScopeSpan {
  readonly name: string | undefined;
  readonly from: Instant;
  readonly until: Instant;
}

export interface SampleQuery {
  readonly scope: string;
  readonly metric: string;
  readonly period: Period;
  readonly lastFile: number;
}

export interface SampleCursor {
  readonly at: Instant;
  readonly id: number;
}

export interface StoredSample extends SampleCursor {
  readonly quantity: string;
  readonly attributes: string;
}

const DELETE_STEP = 5000;

const TABLES = `
  CREATE TABLE IF NOT EXISTS files (
    id INTEGER PRIMARY KEY AUTOINCREMENT, hash TEXT NOT NULL UNIQUE, name TEXT NOT NULL, state TEXT NOT NULL,
    received_at INTEGER NOT NULL, first_row INTEGER NOT NULL, last_row INTEGER, first_at INTEGER, last_at INTEGER, samples INTEGER, rejected INTEGER);
  CREATE INDEX IF NOT EXISTS files_by_time ON files (last_at, first_at);
  CREATE TABLE IF NOT EXISTS samples (
    id INTEGER PRIMARY KEY, file INTEGER NOT NULL, line INTEGER NOT NULL, scope TEXT NOT NULL, metric TEXT NOT NULL,
    at INTEGER NOT NULL, quantity TEXT NOT NULL, attributes TEXT NOT NULL);
  CREATE INDEX IF NOT EXISTS samples_by_scope ON samples (scope, metric, at);
  CREATE TABLE IF NOT EXISTS scopes (
    id TEXT PRIMARY KEY, name TEXT, first_at INTEGER NOT NULL, last_at INTEGER NOT NULL, seen_at INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS answered (scope TEXT PRIMARY KEY, until INTEGER NOT NULL, seconds INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);`;

function prepare(database: Database.Database) {
  const sql = (text: string) => database.prepare(text);
  return {
    fileByHash: sql('SELECT state FROM files WHERE hash = ?'),
    unfinished: sql(`SELECT id, first_row, last_row FROM files WHERE state = 'loading'`),
    insertFile: sql(`
      INSERT INTO files (hash, name, state, received_at, first_row)
      VALUES (?, ?, 'loading', ?, (SELECT coalesce(max(id), 0) + 1 FROM samples))`),
    insertSample: sql(
      'INSERT INTO samples (file, line, scope, metric, at, quantity, attributes) VALUES (?, ?, ?, ?, ?, ?, ?)',
    ),
    finishFile: sql(`
      UPDATE files SET state = ?, first_at = ?, last_at = ?, samples = ?, rejected = ?,
        last_row = (SELECT coalesce(max(id), 0) FROM samples) WHERE id = ?`),
    upsertScope: sql(`
      INSERT INTO scopes (id, name, first_at, last_at, seen_at) VALUES (?, ?, ?, ?, ?)
      ON CONFLICT (id) DO UPDATE SET name = coalesce(excluded.name, name), first_at = min(first_at, excluded.first_at),
        last_at = max(last_at, excluded.last_at), seen_at = max(seen_at, excluded.seen_at)`),
    scopes: sql('SELECT id, name FROM scopes WHERE last_at >= ? OR seen_at >= ? ORDER BY id'),
    scope: sql('SELECT first_at FROM scopes WHERE id = ?'),
    covering: sql(
      `SELECT 1 FROM files WHERE state = 'accepted' AND first_at <= ? AND last_at >= ? AND samples > 0 LIMIT 1`,
    ),
    lastAccepted: sql(`SELECT max(id) AS id FROM files WHERE state = 'accepted'`),
    samples: sql(`
      SELECT s.id, s.at, s.quantity, s.attributes FROM samples AS s JOIN files AS f ON f.id = s.file
      WHERE s.scope = ? AND s.metric = ? AND (s.at, s.id) > (?, ?) AND s.at < ?
        AND f.state = 'accepted' AND f.id <= ?
      ORDER BY s.at, s.id LIMIT ?`),
    upsertAnswered: sql(`
      INSERT INTO answered (scope, until, seconds) VALUES (?, ?, ?)
      ON CONFLICT (scope) DO UPDATE SET until = excluded.until, seconds = excluded.seconds
      WHERE excluded.until > until`),
    answered: sql('SELECT until, seconds FROM answered WHERE scope = ?'),
    setting: sql('SELECT value FROM settings WHERE name = ?'),
    upsertSetting: sql(
      'INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value',
    ),
    oldFile: sql(
      `SELECT id, first_row, last_row, last_at FROM files WHERE state = 'accepted' AND samples > 0 AND last_at < ? ORDER BY last_at LIMIT 1`,
    ),
    markRemoved: sql('UPDATE files SET samples = 0 WHERE id = ?'),
    deleteFile: sql('DELETE FROM files WHERE id = ?'),
    deleteSamples: sql('DELETE FROM samples WHERE id BETWEEN ? AND ?'),
    lastRow: sql('SELECT max(id) AS id FROM samples'),
  };
}

/**
 * The right to pick files up, held by one process of all that share the folder. The kernel takes the lock away from a
 * process that dies, so there is nothing to clean up and nothing to guess about.
 */
export class PickUpLock {
  readonly #database: Database.Database;

  constructor(path: string) {
    this.#database = new SqliteDatabase(path, { timeout: 0 });
  }

  /** False when another one holds it. */
  tryTake(): boolean {
    try {
      this.#database.exec('BEGIN EXCLUSIVE');
      return true;
    } catch (error) {
      if ((error as { code?: string }).code?.startsWith('SQLITE_BUSY')) return false;
      throw error;
    }
  }

  release(): void {
    this.#database.exec('ROLLBACK');
  }

  close(): void {
    this.#database.close();
  }
}
