import mysql, { type Connection, type ConnectionOptions, type FieldPacket } from 'mysql2';
import { type BulkInsert, type SqlResult, type SqlRow, type SqlValue } from '../plugin-api/index.js';
import type { MysqlHost, MysqlUrl } from './database-url.js';
import { MYSQL_COLLATION, mysqlDialect } from './dialects.js';
import { exactInteger } from './exact-integer.js';
import { blockSize, flatValues, insertStatements } from './insert-statement.js';
import { classify, packetTooLarge } from './mysql-errors.js';
import { nameForCertificate, tlsOptions } from './mysql-tls.js';

export interface MysqlConnectionOptions {
  readonly lockTimeoutMs: number;
  readonly connectTimeoutMs: number;
  readonly statementTimeoutMs: number;
}

const MAX_CACHED_STATEMENTS = 250;
const KEEP_ALIVE_DELAY_MS = 10_000;
const ROWS_PER_INSERT = 1_000;
const MAX_PARAMETERS = 65_535;
const STREAM_ROWS = 500;
/** Command, statement number and flags. */
const PACKET_OVERHEAD = 64;
/** A report may be read slowly; the server would cut the connection after one minute. */
const SLOW_READER_SECONDS = 600;
const TYPE_LONGLONG = 8;
const TYPE_NEWDECIMAL = 246;

/**
 * With these a statement means the same as on SQLite: values that do not fit are refused, `||` concatenates, double quotes
 * enclose identifiers, a backslash is a character like any other.
 */
const SQL_MODE = [
  'STRICT_ALL_TABLES',
  'NO_ENGINE_SUBSTITUTION',
  'ERROR_FOR_DIVISION_BY_ZERO',
  'ONLY_FULL_GROUP_BY',
  'ANSI_QUOTES',
  'PIPES_AS_CONCAT',
  'NO_BACKSLASH_ESCAPES',
].join(',');

/** Statements that the binary protocol serves; the others (DDL, transaction control) travel as text. */
const PREPARABLE = /^\s*(?:SELECT|INSERT|UPDATE|DELETE|REPLACE|WITH)\b/i;

/** One connection. Its calls must not overlap: its owner sees to that. Errors come out as the driver makes them. */
export class MysqlConnection {
  readonly #connection: Connection;
  readonly #statementTimeoutMs: number;
  #maxPacketBytes = 1024 * 1024;
  #isBroken = false;
  #abandon: ((reason: unknown) => void) | undefined;

  private constructor(connection: Connection, statementTimeoutMs: number) {
    this.#connection = connection;
    this.#statementTimeoutMs = statementTimeoutMs;
    const broken = () => {
      this.#isBroken = true;
    };
    // Without a listener an error of an idle connection would end the process.
    connection.on('error', broken).on('end', broken);
  }

  /** Connects and prepares the session. */
  static async open(
    url: MysqlUrl,
    host: MysqlHost,
    options: MysqlConnectionOptions,
    signal?: AbortSignal,
  ): Promise<MysqlConnection> {
    const driver = mysql.createConnection(await driverOptions(url, host, options.connectTimeoutMs));
    nameForCertificate(driver, host);
    const connection = new MysqlConnection(driver, options.statementTimeoutMs);
    try {
      await connection.#connect(options.connectTimeoutMs, signal);
      await connection.#prepareSession(options, signal);
      return connection;
    } catch (error) {
      connection.destroy();
      throw error;
    }
  }

  get isUsable(): boolean {
    return !this.#isBroken;
  }

  async query(
    sql: string,
    parameters: readonly SqlValue[],
    signal?: AbortSignal,
  ): Promise<readonly SqlRow[]> {
    const { rows, fields } = await this.#statement(sql, parameters, signal);
    if (!Array.isArray(rows)) return [];
    const convert = integerConverter(fields);
    if (convert !== undefined) for (const row of rows) convert(row);
    return rows;
  }

  async execute(sql: string, parameters: readonly SqlValue[], signal?: AbortSignal): Promise<SqlResult> {
    const { rows } = await this.#statement(sql, parameters, signal);
    if (Array.isArray(rows)) return { affected: rows.length, insertId: 0 };
    const { affectedRows, insertId } = rows as { affectedRows: number; insertId: number };
    return { affected: affectedRows, insertId: Number(insertId) };
  }

  async insertRows(insert: BulkInsert, signal?: AbortSignal): Promise<void> {
    const { rows, columns } = insert;
    const fullBlock = Math.max(1, Math.min(ROWS_PER_INSERT, Math.floor(MAX_PARAMETERS / columns.length)));
    const statement = insertStatements(mysqlDialect, insert);
    for (let start = 0; start < rows.length; ) {
      const fitting = rowsThatFit(rows, start, fullBlock, this.#maxPacketBytes / 2);
      const count = blockSize(fitting, fullBlock);
      if (count === 1) this.#assertFits('', rows[start]!);
      const values = flatValues(rows, start, count, binaryParameter);
      await this.#command((done) => this.#connection.execute({ sql: statement(count), values }, done), {
        timeoutMs: this.#statementTimeoutMs,
        signal,
      });
      start += count;
    }
  }

  /** Rows one by one; the server is held back while the reader is busy. A reader that stops early costs the connection. */
  async *stream(
    sql: string,
    parameters: readonly SqlValue[],
    signal?: AbortSignal,
  ): AsyncGenerator<SqlRow, void, void> {
    signal?.throwIfAborted();
    let convert: ((row: SqlRow) => void) | undefined;
    let isComplete = false;
    const command = this.#connection.execute({ sql, values: parameters.map(typedParameter) });
    command.on('fields', (fields: FieldPacket[] | undefined) => {
      convert = integerConverter(fields);
    });
    const stream = command.stream({ highWaterMark: STREAM_ROWS });
    const abort = () => stream.destroy(signal?.reason);
    signal?.addEventListener('abort', abort, { once: true });
    try {
      for await (const row of stream) {
        convert?.(row);
        yield row;
        signal?.throwIfAborted();
      }
      signal?.throwIfAborted();
      isComplete = true;
    } catch (error) {
      isComplete = classify(error) === 'failed' && signal?.aborted !== true && isServerError(error);
      throw error;
    } finally {
      signal?.removeEventListener('abort', abort);
      if (!isComplete) this.destroy();
    }
  }

  /** Cuts the connection; the server rolls back. */
  destroy(reason: unknown = new Error('The connection was closed.')): void {
    this.#isBroken = true;
    this.#connection.destroy();
    this.#abandon?.(reason);
  }

  /** Takes leave of the server. */
  async close(): Promise<void> {
    if (this.#isBroken) return this.destroy();
    this.#isBroken = true;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, 1_000);
      this.#connection.end(() => {
        clearTimeout(timer);
        resolve();
      });
    });
    this.#connection.destroy();
  }

  #connect(timeoutMs: number, signal: AbortSignal | undefined): Promise<unknown> {
    return this.#command((done) => this.#connection.connect(done), { timeoutMs, signal });
  }

  async #prepareSession(options: MysqlConnectionOptions, signal: AbortSignal | undefined): Promise<void> {
    const text = (sql: string) => this.#text(sql, options.connectTimeoutMs, signal);
    await text(`SET NAMES utf8mb4 COLLATE ${MYSQL_COLLATION}`);
    await text(
      `SET SESSION sql_mode = '${SQL_MODE}', time_zone = '+00:00', autocommit = 1, ` +
        `net_write_timeout = ${SLOW_READER_SECONDS}, ` +
        `innodb_lock_wait_timeout = ${Math.max(1, Math.round(options.lockTimeoutMs / 1000))}`,
    );
    await text('SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED');
    const { rows } = await text(
      "SHOW SESSION VARIABLES WHERE Variable_name IN ('max_allowed_packet', 'wsrep_on', 'wsrep_sync_wait')",
    );
    const variables = new Map((rows as unknown as [string, string][]).map(([name, value]) => [name, value]));
    this.#maxPacketBytes = Number(variables.get('max_allowed_packet') ?? this.#maxPacketBytes);
    // In a Galera cluster a read on another node than the write may miss it, unless the session asks to wait.
    if (variables.get('wsrep_on') === 'ON') await text('SET SESSION wsrep_sync_wait = 1');
  }

  async #statement(
    sql: string,
    parameters: readonly SqlValue[],
    signal: AbortSignal | undefined,
  ): Promise<Answer> {
    if (!PREPARABLE.test(sql)) {
      if (parameters.length > 0)
        throw new Error(`This kind of statement takes no parameters: ${sql.slice(0, 100)}`);
      // Building an index on a big table may take hours.
      return this.#text(sql, undefined, signal);
    }
    this.#assertFits(sql, parameters);
    const values = parameters.map(typedParameter);
    return this.#command((done) => this.#connection.execute({ sql, values }, done), {
      timeoutMs: this.#statementTimeoutMs,
      signal,
    });
  }

  /** The server would cut the connection, which looks like a fault of the network. */
  #assertFits(sql: string, values: readonly SqlValue[]): void {
    let bound = 3 * sql.length;
    for (const value of values) bound += valueBytes(value);
    if (bound <= this.#maxPacketBytes) return;
    // Text and values travel in packets of their own.
    const bytes = Math.max(
      Buffer.byteLength(sql),
      values.reduce<number>((sum, value) => sum + exactBytes(value), 0),
    );
    if (bytes + PACKET_OVERHEAD > this.#maxPacketBytes) throw packetTooLarge(bytes, this.#maxPacketBytes);
  }

  #text(sql: string, timeoutMs: number | undefined, signal: AbortSignal | undefined): Promise<Answer> {
    return this.#command((done) => this.#connection.query({ sql }, done), { timeoutMs, signal });
  }

  /** The driver never calls back on a connection that we cut, so time-out and abort settle the promise themselves. */
  #command(start: (done: Done) => void, { timeoutMs, signal }: CommandLimits): Promise<Answer> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const settle = () => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', abort);
        this.#abandon = undefined;
      };
      const fail = (error: unknown) => {
        settle();
        if (classify(error) === 'lost') this.#isBroken = true;
        reject(error);
      };
      const abort = () => this.destroy(signal?.reason);
      const timer =
        timeoutMs === undefined
          ? undefined
          : setTimeout(() => this.destroy(timeoutError(timeoutMs)), timeoutMs);
      this.#abandon = fail;
      signal?.addEventListener('abort', abort, { once: true });
      start((error, rows, fields) => {
        if (error !== null && error !== undefined) return fail(error);
        settle();
        resolve({ rows: rows as Answer['rows'], fields: fields as FieldPacket[] | undefined });
      });
    });
  }
}

interface Answer {
  readonly rows: SqlRow[] | object;
  readonly fields: FieldPacket[] | undefined;
}

interface CommandLimits {
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

type Done = (error: Error | null, rows?: unknown, fields?: unknown) => void;

function timeoutError(timeoutMs: number): Error {
  return Object.assign(new Error(`no answer for ${timeoutMs} ms`), { code: 'ETIMEDOUT', fatal: true });
}

function isServerError(error: unknown): boolean {
  return typeof (error as { errno?: unknown }).errno === 'number';
}

async function driverOptions(
  url: MysqlUrl,
  host: MysqlHost,
  connectTimeout: number,
): Promise<ConnectionOptions> {
  return {
    ...(host.socket === undefined ? { host: host.host, port: host.port } : { socketPath: host.socket }),
    user: url.user,
    password: url.password,
    database: url.database,
    ...(url.tls === undefined ? {} : { ssl: await tlsOptions(url.tls) }),
    connectTimeout,
    charset: 'utf8mb4_bin',
    timezone: 'Z',
    dateStrings: true,
    supportBigNumbers: true,
    rowsAsArray: true,
    maxPreparedStatements: MAX_CACHED_STATEMENTS,
    enableKeepAlive: true,
    keepAliveInitialDelay: KEEP_ALIVE_DELAY_MS,
    // Matched rather than changed rows; and no server may ask for a local file.
    flags: ['FOUND_ROWS', '-LOCAL_FILES'],
  };
}

/** The driver would send numbers as floating point, which LIMIT refuses and which turns arithmetic inexact. */
function typedParameter(value: SqlValue) {
  if (typeof value === 'number') return mysql.TypedParameter.LONGLONG(exactInteger(value));
  if (typeof value === 'bigint') return mysql.TypedParameter.LONGLONG(value);
  return binaryParameter(value);
}

/** In an INSERT the column's type decides, so there a safe integer may travel as floating point, which is quicker. */
function binaryParameter(value: SqlValue): string | number | bigint | null | Buffer {
  if (typeof value === 'number') return exactInteger(value);
  if (!(value instanceof Uint8Array)) return value;
  return Buffer.isBuffer(value) ? value : Buffer.from(value.buffer, value.byteOffset, value.byteLength);
}

/** The driver gives integers beyond 2^53, and sums of integers, as text. */
function integerConverter(fields: readonly FieldPacket[] | undefined): ((row: SqlRow) => void) | undefined {
  const columns = (fields ?? []).flatMap(({ columnType, decimals }, index) =>
    columnType === TYPE_LONGLONG || (columnType === TYPE_NEWDECIMAL && decimals === 0) ? [index] : [],
  );
  if (columns.length === 0) return undefined;
  return (row) => {
    const values = row as SqlValue[];
    for (const column of columns) {
      const value = values[column];
      if (typeof value === 'string') values[column] = integer(value);
    }
  };
}

function integer(text: string): number | bigint {
  const number = Number(text);
  return Number.isSafeInteger(number) ? number : BigInt(text);
}

/** How many rows from `start` fit a packet; at least one, so that the server can say what is wrong with it. */
function rowsThatFit(rows: readonly SqlRow[], start: number, most: number, maxBytes: number): number {
  const end = Math.min(rows.length, start + most);
  let bytes = 0;
  for (let index = start; index < end; index++) {
    for (const value of rows[index]!) bytes += valueBytes(value);
    if (bytes > maxBytes) return Math.max(1, index - start);
  }
  return end - start;
}

/** An upper bound: type, length and at most three bytes per UTF-16 unit. */
function valueBytes(value: SqlValue): number {
  if (typeof value === 'string') return 12 + 3 * value.length;
  return value instanceof Uint8Array ? 12 + value.byteLength : 24;
}

function exactBytes(value: SqlValue): number {
  return typeof value === 'string' ? 12 + Buffer.byteLength(value) : valueBytes(value);
}
