import { access, constants, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import {
  type BulkInsert,
  isRatecatError,
  Slice,
  type SqlReader,
  type SqlResult,
  type SqlRow,
  type SqlTransaction,
  type SqlValue,
  UnavailableError,
} from '../plugin-api/index.js';
import { AsyncMutex, type TurnLimit } from './async-mutex.js';
import type { ClosableDatabase } from './closable-database.js';
import { sqliteDialect } from './dialects.js';
import { backOffMs, pause } from './event-loop.js';
import { SqliteConnection } from './sqlite-connection.js';
import { closedError, fileError, isBusy, sqliteCode, translateSqliteError } from './sqlite-errors.js';

const FIRST_BACK_OFF_MS = 1;
const MAX_BACK_OFF_MS = 25;
const MAX_IDLE_READERS = 4;
const ROWS_PER_LOOK = 64;
/** A transaction locks others out while it lets the event loop run: short ones go through in one go. */
const TRANSACTION_SLICE_MS = 20;
/** Transactions take turns; one that waits this long is stuck behind work that waits for it. */
const TURN_LIMIT_MS = 120_000;

export interface SqliteOptions {
  /** How long to wait for another process that writes, in milliseconds. */
  readonly lockTimeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Opens a database file, creating it when missing, or an empty database for `:memory:`.
 * @throws UnavailableError RATECAT_DATABASE_UNAVAILABLE, RATECAT_DATABASE_READ_ONLY, RATECAT_DATABASE_BUSY
 * @throws RejectedError RATECAT_DATABASE_REFUSED when the file is something else.
 */
export async function openSqlite(path: string, options: SqliteOptions): Promise<SqliteDatabase> {
  if (path !== ':memory:') await prepareFile(path);
  let connection: SqliteConnection | undefined;
  try {
    connection = new SqliteConnection(path);
    const writer = connection;
    await retryWhileBusy(
      () => writer.exec('PRAGMA journal_mode = WAL'),
      options.lockTimeoutMs,
      options.signal,
    );
    // In this mode the engine's default would skip the sync at COMMIT.
    writer.exec('PRAGMA synchronous = FULL');
    return new SqliteDatabase(path, writer, options.lockTimeoutMs);
  } catch (error) {
    connection?.close();
    throw translateSqliteError(error, path);
  }
}

/** Creates a missing file, closed to strangers: it holds what everybody pays. The engine gives its log the same mode. */
async function prepareFile(path: string): Promise<void> {
  try {
    const file = await open(path, 'a', 0o640);
    await file.close();
    // The log lies beside the file, so the folder counts as much as the file.
    await access(dirname(path), constants.W_OK);
  } catch (error) {
    throw fileError(path, error as NodeJS.ErrnoException);
  }
}

/** Runs a synchronous call again while another connection is in the way; waits outside the engine. */
async function retryWhileBusy<T>(call: () => T, limitMs: number, signal?: AbortSignal): Promise<T> {
  const deadline = performance.now() + limitMs;
  for (let attempt = 0; ; attempt++) {
    try {
      return call();
    } catch (error) {
      if (!isBusy(error) || performance.now() >= deadline) throw error;
    }
    await pause(backOffMs(attempt, FIRST_BACK_OFF_MS, MAX_BACK_OFF_MS), signal);
  }
}

/**
 * One writing connection, behind a mutex; reads on connections of their own, which see the last committed state. A database
 * in memory has only the one connection, so there a read waits for a running transaction.
 */
export class SqliteDatabase implements ClosableDatabase {
  readonly dialect = sqliteDialect;
  readonly #path: string;
  readonly #writer: SqliteConnection;
  readonly #writing = new AsyncMutex();
  readonly #idleReaders: SqliteConnection[] = [];
  readonly #lockTimeoutMs: number;
  #isClosed = false;

  constructor(path: string, writer: SqliteConnection, lockTimeoutMs: number) {
    this.#path = path;
    this.#writer = writer;
    this.#lockTimeoutMs = lockTimeoutMs;
  }

  async query(sql: string, parameters: readonly SqlValue[] = []): Promise<readonly SqlRow[]> {
    return this.#read((connection) => connection.readAll(sql, parameters), sql);
  }

  async *iterate(
    sql: string,
    parameters: readonly SqlValue[] = [],
    signal?: AbortSignal,
  ): AsyncGenerator<SqlRow, void, void> {
    signal?.throwIfAborted();
    if (this.#isInMemory) {
      yield* inSlices(await this.query(sql, parameters), signal);
      return;
    }
    const connection = this.#acquireReader();
    try {
      yield* inSlices(await this.#startReading(connection, sql, parameters), signal);
    } catch (error) {
      throw translateSqliteError(error, this.#path, sql);
    } finally {
      this.#releaseReader(connection);
    }
  }

  async transaction<T>(work: (tx: SqlTransaction) => Promise<T>, signal?: AbortSignal): Promise<T> {
    return this.#writing.run(
      async () => {
        await this.#begin(signal);
        const transaction = new SqliteTransaction(this.#path, this.#writer, signal);
        try {
          const result = await work(transaction);
          await transaction.end();
          signal?.throwIfAborted();
          await this.#commit();
          // Whoever waits for the lock gets a chance before the next transaction takes it.
          if (!this.#isInMemory) await nextTurn();
          return result;
        } catch (error) {
          await transaction.end();
          this.#rollBack(error);
          throw translateSqliteError(error, this.#path);
        }
      },
      ...this.#turn(signal),
    );
  }

  /** Waits for the running transaction; reads that still run end on their own connection. */
  async close(): Promise<void> {
    await this.#writing.run(() => {
      if (this.#isClosed) return;
      this.#isClosed = true;
      for (const reader of this.#idleReaders.splice(0)) reader.close();
      this.#writer.close();
    });
  }

  /** Rows of which the first has been found: from there on no lock can be in the way. */
  async #startReading(connection: SqliteConnection, sql: string, parameters: readonly SqlValue[]) {
    return retryWhileBusy(() => {
      const rows = connection.rows(sql, parameters);
      return startingWith(rows.next(), rows);
    }, this.#lockTimeoutMs);
  }

  get #isInMemory(): boolean {
    return this.#path === ':memory:';
  }

  async #begin(signal: AbortSignal | undefined): Promise<void> {
    if (this.#isClosed) throw closedError(this.#path);
    try {
      await retryWhileBusy(() => this.#writer.exec('BEGIN IMMEDIATE'), this.#lockTimeoutMs, signal);
    } catch (error) {
      throw translateSqliteError(error, this.#path);
    }
  }

  #rollBack(reason: unknown): void {
    if (!this.#writer.inTransaction) return;
    try {
      this.#writer.exec('ROLLBACK');
    } catch (error) {
      throw new AggregateError([reason, error], 'A failed transaction could not be rolled back.', {
        cause: error,
      });
    }
  }

  async #commit(): Promise<void> {
    try {
      await retryWhileBusy(() => this.#writer.exec('COMMIT'), this.#lockTimeoutMs);
    } catch (error) {
      // After a failed sync nobody knows which frames of the log will be found again.
      if (sqliteCode(error)?.startsWith('SQLITE_IOERR') === true) throw unknownCommit(this.#path, error);
      throw error;
    }
  }

  async #read<T>(work: (connection: SqliteConnection) => Promise<T>, sql: string): Promise<T> {
    if (this.#isInMemory) return this.#readWriter(work, sql);
    const connection = this.#acquireReader();
    try {
      return await retryRead(() => work(connection), this.#lockTimeoutMs);
    } catch (error) {
      throw translateSqliteError(error, this.#path, sql);
    } finally {
      this.#releaseReader(connection);
    }
  }

  async #readWriter<T>(work: (connection: SqliteConnection) => Promise<T>, sql: string): Promise<T> {
    return this.#writing.run(
      async () => {
        if (this.#isClosed) throw closedError(this.#path);
        try {
          return await work(this.#writer);
        } catch (error) {
          throw translateSqliteError(error, this.#path, sql);
        }
      },
      ...this.#turn(),
    );
  }

  #turn(signal?: AbortSignal): [AbortSignal | undefined, TurnLimit] {
    return [signal, { milliseconds: TURN_LIMIT_MS, error: () => turnError(this.#path) }];
  }

  /** A connection of one's own: a shared one would show every reader the state that the slowest of them began with. */
  #acquireReader(): SqliteConnection {
    if (this.#isClosed) throw closedError(this.#path);
    const idle = this.#idleReaders.pop();
    if (idle !== undefined) return idle;
    try {
      const reader = new SqliteConnection(this.#path);
      reader.exec('PRAGMA query_only = ON');
      return reader;
    } catch (error) {
      throw translateSqliteError(error, this.#path);
    }
  }

  #releaseReader(reader: SqliteConnection): void {
    if (this.#isClosed || this.#idleReaders.length >= MAX_IDLE_READERS) reader.close();
    else this.#idleReaders.push(reader);
  }
}

class SqliteTransaction implements SqlTransaction, SqlReader {
  readonly dialect = sqliteDialect;
  readonly #path: string;
  readonly #connection: SqliteConnection;
  readonly #signal: AbortSignal | undefined;
  readonly #statements = new AsyncMutex();
  readonly #slice = new Slice(TRANSACTION_SLICE_MS);
  #isOver = false;

  constructor(path: string, connection: SqliteConnection, signal: AbortSignal | undefined) {
    this.#path = path;
    this.#connection = connection;
    this.#signal = signal;
  }

  async query(sql: string, parameters: readonly SqlValue[] = []): Promise<readonly SqlRow[]> {
    return this.#statement(() => this.#connection.readAll(sql, parameters, this.#signal), sql);
  }

  async execute(sql: string, parameters: readonly SqlValue[] = []): Promise<SqlResult> {
    return this.#statement(() => this.#connection.run(sql, parameters), sql);
  }

  async insertRows(insert: BulkInsert): Promise<void> {
    if (insert.rows.length === 0) return;
    await this.#statement(() => this.#connection.insertRows(insert, this.#signal));
  }

  /** Waits for statements that the work did not await, and refuses later ones. */
  async end(): Promise<void> {
    await this.#statements.run(() => {
      this.#isOver = true;
    });
  }

  async #statement<T>(work: () => T | Promise<T>, sql?: string): Promise<T> {
    return this.#statements.run(async () => {
      if (this.#isOver)
        throw new Error('The transaction is over: a statement came after its work had ended.');
      this.#signal?.throwIfAborted();
      // A full disk may make the engine roll back by itself; what follows must not run outside a transaction.
      if (!this.#connection.inTransaction) throw new Error('The engine has rolled the transaction back.');
      try {
        return await work();
      } catch (error) {
        throw translateSqliteError(error, this.#path, sql);
      } finally {
        // Statements of this engine are done before anything is awaited, however many follow each other.
        if (this.#slice.isOver) await this.#slice.breathe();
      }
    });
  }
}

function* startingWith(first: IteratorResult<SqlRow>, rest: Iterator<SqlRow>): Generator<SqlRow, void, void> {
  try {
    for (let next = first; next.done !== true; next = rest.next()) yield next.value;
  } finally {
    rest.return?.();
  }
}

async function* inSlices(rows: Iterable<SqlRow>, signal?: AbortSignal): AsyncGenerator<SqlRow, void, void> {
  const slice = new Slice();
  let count = 0;
  for (const row of rows) {
    yield row;
    if (++count % ROWS_PER_LOOK === 0 && slice.isOver) await slice.breathe();
    signal?.throwIfAborted();
  }
}

function turnError(path: string): Error {
  return new UnavailableError(
    'RATECAT_DATABASE_BUSY',
    `A transaction on ${path} waited ${TURN_LIMIT_MS / 1000} s for another one of this process. Either the disk is very ` +
      'slow, or the work of a transaction waits for something that itself needs a transaction.',
  );
}

/** Reading has no effect, so all of it can run again. */
async function retryRead<T>(read: () => Promise<T>, limitMs: number): Promise<T> {
  const deadline = performance.now() + limitMs;
  for (let attempt = 0; ; attempt++) {
    try {
      return await read();
    } catch (error) {
      if (!isBusy(error) || performance.now() >= deadline) throw error;
    }
    await pause(backOffMs(attempt, FIRST_BACK_OFF_MS, MAX_BACK_OFF_MS));
  }
}

function unknownCommit(path: string, cause: unknown): Error {
  if (isRatecatError(cause)) return cause;
  return new UnavailableError(
    'RATECAT_COMMIT_UNKNOWN',
    `Syncing the database ${path} failed at the end of a transaction: it may or may not have been kept. Check the disk.`,
    { cause, details: { ambiguous: true } },
  );
}
