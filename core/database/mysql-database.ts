import type { BulkInsert, SqlResult, SqlRow, SqlTransaction, SqlValue } from '../plugin-api/index.js';
import { AsyncMutex } from './async-mutex.js';
import type { ClosableDatabase } from './closable-database.js';
import type { MysqlUrl } from './database-url.js';
import { mysqlDialect } from './dialects.js';
import { backOffMs, pause } from './event-loop.js';
import type { MysqlConnection } from './mysql-connection.js';
import { classify, type MysqlFailure, translateMysqlError, unknownCommit } from './mysql-errors.js';
import { MysqlPool } from './mysql-pool.js';

export interface MysqlOptions {
  readonly lockTimeoutMs: number;
  readonly connectTimeoutMs?: number | undefined;
  readonly statementTimeoutMs?: number | undefined;
  readonly maxConnections?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

const DEFAULT_CONNECT_TIMEOUT_MS = 10_000;
const DEFAULT_STATEMENT_TIMEOUT_MS = 120_000;
const DEFAULT_MAX_CONNECTIONS = 10;
/** Deadlocks end by themselves once the rivals are spread out; a lock time-out may happen twice. */
const MAX_CONFLICTS = 20;
const MAX_CONFLICT_LOCK_TIMEOUTS = 2;
/** A server that cuts every connection will not stop doing so; the caller backs off for longer. */
const MAX_LOST_CONNECTIONS = 3;
const FIRST_BACK_OFF_MS = 5;
const MAX_BACK_OFF_MS = 500;

/**
 * Connects to the first host that answers.
 * @throws UnavailableError RATECAT_DATABASE_UNAVAILABLE
 * @throws RejectedError RATECAT_DATABASE_REFUSED when the credentials or the database are refused.
 */
export async function openMysql(url: MysqlUrl, options: MysqlOptions): Promise<MysqlDatabase> {
  const pool = new MysqlPool(url, {
    lockTimeoutMs: options.lockTimeoutMs,
    connectTimeoutMs: options.connectTimeoutMs ?? DEFAULT_CONNECT_TIMEOUT_MS,
    statementTimeoutMs: options.statementTimeoutMs ?? DEFAULT_STATEMENT_TIMEOUT_MS,
    // The heartbeat of a long migration needs a connection beside it.
    maxConnections: Math.max(2, options.maxConnections ?? DEFAULT_MAX_CONNECTIONS),
  });
  pool.release(await pool.acquire(options.signal));
  return new MysqlDatabase(url, pool, options.lockTimeoutMs);
}

export class MysqlDatabase implements ClosableDatabase {
  readonly dialect = mysqlDialect;
  readonly #url: MysqlUrl;
  readonly #pool: MysqlPool;
  readonly #lockTimeoutMs: number;

  constructor(url: MysqlUrl, pool: MysqlPool, lockTimeoutMs: number) {
    this.#url = url;
    this.#pool = pool;
    this.#lockTimeoutMs = lockTimeoutMs;
  }

  async query(sql: string, parameters: readonly SqlValue[] = []): Promise<readonly SqlRow[]> {
    return this.#retrying(async (connection) => ({ result: await connection.query(sql, parameters) }), sql);
  }

  async *iterate(
    sql: string,
    parameters: readonly SqlValue[] = [],
    signal?: AbortSignal,
  ): AsyncGenerator<SqlRow, void, void> {
    const attempts = new Attempts(this.#lockTimeoutMs);
    for (;;) {
      const connection = await this.#pool.acquire(signal);
      let hasBegun = false;
      try {
        for await (const row of connection.stream(sql, parameters, signal)) {
          hasBegun = true;
          yield row;
        }
        return;
      } catch (error) {
        // What the reader has seen cannot be taken back.
        if (hasBegun || signal?.aborted === true || !attempts.mayRepeat(classify(error))) {
          throw translateMysqlError(error, this.#url, sql);
        }
        this.#learn(classify(error));
      } finally {
        this.#pool.release(connection);
      }
      await attempts.backOff(signal);
    }
  }

  async transaction<T>(work: (tx: SqlTransaction) => Promise<T>, signal?: AbortSignal): Promise<T> {
    return this.#retrying((connection) => this.#attempt(connection, work, signal), undefined, signal);
  }

  /** Waits for the work in hand. */
  async close(): Promise<void> {
    await this.#pool.close();
  }

  async #retrying<T>(
    work: (connection: MysqlConnection) => Promise<Outcome<T>>,
    sql?: string,
    signal?: AbortSignal,
  ): Promise<T> {
    const attempts = new Attempts(this.#lockTimeoutMs);
    for (;;) {
      const outcome = await this.#onConnection(work, sql, signal);
      if ('result' in outcome) return outcome.result;
      const failure = classify(outcome.repeatable);
      this.#learn(failure);
      if (!attempts.mayRepeat(failure)) throw translateMysqlError(outcome.repeatable, this.#url, sql);
      await attempts.backOff(signal);
    }
  }

  async #onConnection<T>(
    work: (connection: MysqlConnection) => Promise<Outcome<T>>,
    sql: string | undefined,
    signal: AbortSignal | undefined,
  ): Promise<Outcome<T>> {
    const connection = await this.#pool.acquire(signal);
    try {
      return await work(connection);
    } catch (error) {
      if (signal?.aborted === true || classify(error) === 'failed') {
        throw translateMysqlError(error, this.#url, sql);
      }
      return { repeatable: error };
    } finally {
      this.#pool.release(connection);
    }
  }

  async #attempt<T>(
    connection: MysqlConnection,
    work: (tx: SqlTransaction) => Promise<T>,
    signal: AbortSignal | undefined,
  ): Promise<Outcome<T>> {
    await connection.execute('BEGIN', [], signal);
    const transaction = new MysqlTransaction(this.#url, connection, signal);
    let result: T;
    try {
      result = await work(transaction);
      await transaction.end();
      signal?.throwIfAborted();
    } catch (error) {
      await transaction.end();
      await rollBack(connection);
      signal?.throwIfAborted();
      // The work may have wrapped the failure; what the engine said decides.
      if (transaction.failure !== undefined) return { repeatable: transaction.failure };
      throw error;
    }
    if (transaction.failure !== undefined) {
      await rollBack(connection);
      return { repeatable: transaction.failure };
    }
    return (await this.#commit(connection, transaction)) ?? { result };
  }

  /** Not abortable: an aborted COMMIT would leave open what has become of it. */
  async #commit(
    connection: MysqlConnection,
    transaction: MysqlTransaction,
  ): Promise<{ readonly repeatable: unknown } | undefined> {
    try {
      await connection.execute('COMMIT', []);
      return undefined;
    } catch (error) {
      const failure = classify(error);
      if (failure === 'lost' && transaction.hasWritten) {
        connection.destroy();
        throw unknownCommit(this.#url, error);
      }
      await rollBack(connection);
      if (failure === 'failed') throw error;
      return { repeatable: error };
    }
  }

  #learn(failure: MysqlFailure): void {
    if (failure === 'lost') this.#pool.dropIdle();
    else if (failure === 'elsewhere') this.#pool.avoidHost();
  }
}

type Outcome<T> = { readonly result: T } | { readonly repeatable: unknown };

/** Counts what went wrong for one piece of work, and says whether trying again makes sense. */
class Attempts {
  #conflicts = 0;
  #losses = 0;
  readonly #conflictsUntil: number;

  constructor(lockTimeoutMs: number) {
    this.#conflictsUntil = performance.now() + MAX_CONFLICT_LOCK_TIMEOUTS * lockTimeoutMs;
  }

  mayRepeat(failure: MysqlFailure): boolean {
    if (failure === 'failed') return false;
    if (failure === 'again') {
      return ++this.#conflicts <= MAX_CONFLICTS && performance.now() < this.#conflictsUntil;
    }
    return ++this.#losses <= MAX_LOST_CONNECTIONS;
  }

  backOff(signal?: AbortSignal): Promise<void> {
    return pause(backOffMs(this.#conflicts + this.#losses - 1, FIRST_BACK_OFF_MS, MAX_BACK_OFF_MS), signal);
  }
}

class MysqlTransaction implements SqlTransaction {
  readonly dialect = mysqlDialect;
  readonly #url: MysqlUrl;
  readonly #connection: MysqlConnection;
  readonly #signal: AbortSignal | undefined;
  readonly #statements = new AsyncMutex();
  #isOver = false;
  #failure: unknown;
  #hasWritten = false;

  constructor(url: MysqlUrl, connection: MysqlConnection, signal: AbortSignal | undefined) {
    this.#url = url;
    this.#connection = connection;
    this.#signal = signal;
  }

  /** The error after which the whole transaction must run again. */
  get failure(): unknown {
    return this.#failure;
  }

  get hasWritten(): boolean {
    return this.#hasWritten;
  }

  async query(sql: string, parameters: readonly SqlValue[] = []): Promise<readonly SqlRow[]> {
    return this.#statement(() => this.#connection.query(sql, parameters, this.#signal), sql);
  }

  async execute(sql: string, parameters: readonly SqlValue[] = []): Promise<SqlResult> {
    this.#hasWritten = true;
    return this.#statement(() => this.#connection.execute(sql, parameters, this.#signal), sql);
  }

  async insertRows(insert: BulkInsert): Promise<void> {
    if (insert.rows.length === 0) return;
    this.#hasWritten = true;
    await this.#statement(
      () => this.#connection.insertRows(insert, this.#signal),
      `INSERT INTO ${insert.table} …`,
    );
  }

  /** Waits for statements that the work did not await, and refuses later ones. */
  async end(): Promise<void> {
    await this.#statements.run(() => {
      this.#isOver = true;
    });
  }

  async #statement<T>(work: () => Promise<T>, sql: string): Promise<T> {
    return this.#statements.run(async () => {
      if (this.#isOver)
        throw new Error('The transaction is over: a statement came after its work had ended.');
      // The engine has rolled back already: what followed would be committed on its own.
      if (this.#failure !== undefined) throw translateMysqlError(this.#failure, this.#url);
      try {
        return await work();
      } catch (error) {
        if (this.#signal?.aborted !== true && classify(error) !== 'failed') this.#failure = error;
        throw translateMysqlError(error, this.#url, sql);
      }
    });
  }
}

/** A connection that cannot even roll back is cut, which does it as well. */
async function rollBack(connection: MysqlConnection): Promise<void> {
  if (!connection.isUsable) return;
  try {
    await connection.execute('ROLLBACK', []);
  } catch (error) {
    connection.destroy(error);
  }
}
