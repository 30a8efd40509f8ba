import { DataError, isRatecatError, RejectedError, UnavailableError } from '../plugin-api/index.js';
import type { MysqlHost, MysqlUrl } from './database-url.js';

/** What the driver throws. */
export interface MysqlError extends Error {
  readonly code?: string;
  readonly errno?: number;
  readonly fatal?: boolean;
}

/**
 * What an error means for the work in hand.
 * - `again`: the engine has rolled back, or asks to; the transaction may run again on the same connection.
 * - `elsewhere`: this node does not serve now; run again, preferably on another host.
 * - `lost`: the connection is gone, and with it whatever was not committed.
 * - `failed`: running it again would fail again.
 */
export type MysqlFailure = 'again' | 'elsewhere' | 'lost' | 'failed';

/** Deadlock or failed certification, lock time-out, error during COMMIT, record changed since the snapshot, KILL QUERY. */
const AGAIN = new Set([1213, 1205, 1180, 1020, 1317]);
/** Node not synced with its cluster, or read-only. */
const ELSEWHERE = new Set([1047, 1290, 1836]);
/** Shutdown, killed, idle for too long, packets lost on the way. */
const LOST = new Set([1053, 1927, 4031, 1152, 1158, 1159, 1160, 1161, 1184]);
const LOST_CODES = new Set([
  'PROTOCOL_CONNECTION_LOST',
  'PROTOCOL_SEQUENCE_TIMEOUT',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENETDOWN',
]);

export function classify(error: unknown): MysqlFailure {
  const { errno, code, fatal } = error as MysqlError;
  if (errno !== undefined && AGAIN.has(errno)) return 'again';
  if (errno !== undefined && ELSEWHERE.has(errno)) return 'elsewhere';
  if (fatal === true || LOST.has(errno ?? 0) || LOST_CODES.has(code ?? '')) return 'lost';
  return 'failed';
}

const TLS_REQUIRED = 3159;
const REFUSED = new Set([1044, 1045, 1130, 1142, 1143, 1227, 1251, 1698, 1820, 1862, TLS_REQUIRED]);
const UNKNOWN_DATABASE = 1049;
/** The driver's, when a server asks for the password itself; it does not get it. */
const CLEAR_PASSWORD_WANTED = 'MYSQL_CLEAR_PASSWORD_NOT_ENABLED';
/** Disk full, table full. */
const FULL = new Set([1021, 1114]);
const READ_ONLY = new Set([1036, 1290, 1792, 1836]);
const LOCKED = new Set([1205, 1213, 1317]);
const PACKET_TOO_LARGE = 1153;
const OVERFLOW = new Set([1264, 1690]);
const CONSTRAINTS: ReadonlyMap<number, string> = new Map([
  [1062, 'unique'],
  [1586, 'unique'],
  [1216, 'foreign-key'],
  [1217, 'foreign-key'],
  [1451, 'foreign-key'],
  [1452, 'foreign-key'],
  [1048, 'not-null'],
  [1364, 'not-null'],
  [3819, 'check'],
  [4025, 'check'],
  [1265, 'value'],
  [1292, 'value'],
  [1366, 'value'],
  [1406, 'value'],
]);

/** The error of the contract that an operator or a caller can act upon. */
export function translateMysqlError(error: unknown, url: MysqlUrl, sql?: string): unknown {
  if (isRatecatError(error) || !isMysqlError(error)) return error;
  const errno = error.errno ?? 0;
  const options = { cause: error };
  const where = describe(url);
  const constraint = CONSTRAINTS.get(errno);
  if (constraint !== undefined) {
    return new DataError('RATECAT_DATABASE_CONSTRAINT', `The database refused a row: ${error.message}.`, {
      cause: error,
      details: { constraint },
    });
  }
  if (OVERFLOW.has(errno)) {
    return new DataError(
      'RATECAT_NUMBER_OVERFLOW',
      `A number does not fit its column: ${error.message}.`,
      options,
    );
  }
  if (REFUSED.has(errno) || errno === UNKNOWN_DATABASE || isTlsFailure(error)) return refused(error, url);
  if (errno === PACKET_TOO_LARGE) {
    return new DataError(
      'RATECAT_DATABASE_PACKET_TOO_LARGE',
      `${where} refused a packet (${error.message}). Raise max_allowed_packet on the server, to 16M or more.`,
      options,
    );
  }
  if (FULL.has(errno) || /\berr(?:or|code|no):? "?28\b|No space left/i.test(error.message)) {
    return new UnavailableError(
      'RATECAT_DATABASE_FULL',
      `The server of ${where} has no space left (${error.message}). Free space on its disk.`,
      options,
    );
  }
  if (READ_ONLY.has(errno)) {
    return new UnavailableError(
      'RATECAT_DATABASE_READ_ONLY',
      `${where} is read-only (${error.message}). Connect to the primary server, or switch read_only off.`,
      options,
    );
  }
  if (LOCKED.has(errno)) {
    return new UnavailableError(
      'RATECAT_DATABASE_BUSY',
      `A transaction on ${where} was blocked by others again and again (${error.message}).`,
      options,
    );
  }
  if (classify(error) !== 'failed') return unavailable(where, error);
  return new Error(
    `${where} refused a statement (${errno}: ${error.message}): ${(sql ?? 'unknown').replace(/\s+/g, ' ').slice(0, 300)}`,
    options,
  );
}

/** Connecting failed. `failures` holds one error per host that was tried. */
export function connectError(url: MysqlUrl, failures: readonly (readonly [MysqlHost, unknown])[]): Error {
  const decisive = failures.find(([, error]) => isRefusal(error));
  if (decisive !== undefined) return refused(decisive[1] as MysqlError, url);
  const reasons = failures.map(([host, error]) => `${address(host)}: ${reason(error)}`).join('; ');
  return new UnavailableError(
    'RATECAT_DATABASE_UNAVAILABLE',
    `The database server does not answer (${reasons}). Check that it runs, that host and port in database.url are right, ` +
      'and that no firewall is in the way.',
    { cause: failures.at(-1)?.[1] },
  );
}

/** Somebody has to correct the URL, or what it is about. */
function isRefusal(error: unknown): boolean {
  return isRefusedByServer(error) || isTlsFailure(error as MysqlError);
}

/** The server knows us and says no: another host would say the same. Each host has a certificate of its own, though. */
export function isRefusedByServer(error: unknown): boolean {
  const { errno, code } = error as MysqlError;
  return errno === UNKNOWN_DATABASE || REFUSED.has(errno ?? 0) || code === CLEAR_PASSWORD_WANTED;
}

export function unknownCommit(url: MysqlUrl, cause: unknown): Error {
  return new UnavailableError(
    'RATECAT_COMMIT_UNKNOWN',
    `The connection to ${describe(url)} was lost while a transaction was being committed: it may or may not have been kept.`,
    { cause, details: { ambiguous: true } },
  );
}

/** One value, or one row, is too large for the server; what is only much is split. */
export function packetTooLarge(bytes: number, limit: number, cause?: unknown): Error {
  return new DataError(
    'RATECAT_DATABASE_PACKET_TOO_LARGE',
    `The database takes at most ${limit} bytes at once, and one row or statement has ${bytes}. Raise max_allowed_packet ` +
      'on the server, to 16M or more; new connections take it up by themselves.',
    { cause },
  );
}

export function closedError(url: MysqlUrl): Error {
  return new UnavailableError(
    'RATECAT_DATABASE_UNAVAILABLE',
    `The connection to ${describe(url)} is closed already.`,
  );
}

/** `database 'rating' on db1:3306, db2:3306`; never the password. */
export function describe({ database, hosts }: MysqlUrl): string {
  return `database '${database}' on ${hosts.map(address).join(', ')}`;
}

function address({ host, port, socket }: MysqlHost): string {
  return socket ?? `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

function reason(error: unknown): string {
  const { code, message } = error as MysqlError;
  if (code === 'ECONNREFUSED') return 'connection refused';
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return 'host name not found';
  if (code === 'ETIMEDOUT') return 'no answer in time';
  return message || code || 'unknown error';
}

function refused(error: MysqlError, url: MysqlUrl): Error {
  const where = describe(url);
  if (error.errno === UNKNOWN_DATABASE) {
    return new RejectedError(
      'RATECAT_DATABASE_REFUSED',
      `The server has no ${where}. Create it: CREATE DATABASE \`${url.database}\` CHARACTER SET utf8mb4;`,
      { cause: error },
    );
  }
  if (isTlsFailure(error)) {
    return new RejectedError(
      'RATECAT_DATABASE_REFUSED',
      `TLS with ${where} failed (${error.code}: ${error.message}). Check ssl_ca, ssl_cert, ssl_key and ssl_verify in database.url.`,
      { cause: error },
    );
  }
  if (error.code === CLEAR_PASSWORD_WANTED) {
    return new RejectedError(
      'RATECAT_DATABASE_REFUSED',
      `The server of ${where} wants the password in clear (mysql_clear_password), which is never sent. ` +
        `Give user '${url.user}' another authentication plugin, and make sure that this is the right server.`,
      { cause: error },
    );
  }
  const withoutTls = url.tls === undefined ? ' If the server asks for TLS, add ?ssl_ca=FILE.' : '';
  return new RejectedError(
    'RATECAT_DATABASE_REFUSED',
    `${where} refused user '${url.user}' (${error.errno}: ${error.message}). Check user and password in database.url, ` +
      `and grant the user all privileges on \`${url.database}\`.${withoutTls}`,
    { cause: error },
  );
}

function unavailable(where: string, cause: MysqlError): Error {
  return new UnavailableError(
    'RATECAT_DATABASE_UNAVAILABLE',
    `The connection to ${where} was lost (${cause.message}). Check the server and the network.`,
    { cause },
  );
}

function isTlsFailure({ code }: MysqlError): boolean {
  return /^(?:ERR_TLS|ERR_SSL|HANDSHAKE_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_|CERT_|ERR_OSSL)/.test(code ?? '');
}

function isMysqlError(error: unknown): error is MysqlError {
  if (!(error instanceof Error)) return false;
  const { errno, code } = error as MysqlError;
  return typeof errno === 'number' || LOST_CODES.has(code ?? '') || isTlsFailure(error);
}
