import { isAbsolute, join } from 'node:path';
import { ConfigError } from '../plugin-api/index.js';

export type DatabaseUrl = SqliteUrl | MysqlUrl;

export interface SqliteUrl {
  readonly engine: 'sqlite';
  /** Absolute, or `:memory:`. */
  readonly path: string;
}

export interface MysqlUrl {
  readonly engine: 'mysql';
  /** Tried in this order. */
  readonly hosts: readonly MysqlHost[];
  readonly user: string;
  readonly password: string;
  readonly database: string;
  readonly tls: MysqlTls | undefined;
}

export interface MysqlHost {
  readonly host: string;
  readonly port: number;
  /** Path of a socket, in place of host and port. */
  readonly socket?: string | undefined;
}

export interface MysqlTls {
  /** Paths of PEM files. */
  readonly ca?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  /** `identity`: authority and host name; `authority`: who signed it, whatever the name; `none`: encryption only. */
  readonly verify: 'identity' | 'authority' | 'none';
}

const EXAMPLES =
  'Write sqlite:ratecat.db, sqlite:///var/lib/ratecat/ratecat.db or mysql://user:password@host:3306/database ' +
  '(percent-encode special characters of user and password)';
const MYSQL_SCHEME = /^(?:mysql|mariadb)(?:\+\w+)?:\/\//;
const DEFAULT_PORT = 3306;
/** Parameters that other programs write and that have no meaning here. */
const IGNORED_PARAMETERS = new Set(['charset', 'use_unicode', 'binary_prefix', 'autocommit', 'plugin']);
const KNOWN_PARAMETERS = new Set(['ssl', 'ssl_ca', 'ssl_cert', 'ssl_key', 'ssl_verify', 'unix_socket']);

/**
 * Reads `sqlite:file`, `sqlite:///absolute/file`, `sqlite::memory:` or `mysql://user:password@host:port,host:port/database?ssl_ca=…`
 * (also `mysql+pymysql://`, `mariadb://`). Relative files lie in `folder`.
 * @throws ConfigError RATECAT_DATABASE_URL_INVALID, whose text never holds the password.
 */
export function parseDatabaseUrl(url: string, folder: string): DatabaseUrl {
  if (url.startsWith('sqlite:')) return parseSqlite(url.slice('sqlite:'.length), folder);
  if (MYSQL_SCHEME.test(url)) return parseMysql(url.replace(MYSQL_SCHEME, ''));
  const scheme = /^[\w+.-]{1,30}(?=:)/.exec(url)?.[0];
  throw invalid(scheme === undefined ? 'it has no scheme' : `'${scheme}:' is not a supported engine`);
}

function parseSqlite(rest: string, folder: string): SqliteUrl {
  if (rest === ':memory:') return { engine: 'sqlite', path: ':memory:' };
  const path = decode(rest.replace(/^\/\/+(?=\/)/, ''), 'path');
  if (path === '' || path.startsWith('//')) {
    throw invalid(
      'it names no file; an absolute path follows three slashes, a relative one follows the colon',
    );
  }
  if (/[?\0]/.test(path)) throw invalid('parameters are not supported for sqlite');
  return { engine: 'sqlite', path: isAbsolute(path) ? path : join(folder, path) };
}

function parseMysql(rest: string): MysqlUrl {
  const [, authority = '', database = '', parameters = ''] =
    /^([^/]*)\/?([^?/]*)(?:\?(.*))?$/s.exec(rest) ?? [];
  const at = authority.lastIndexOf('@');
  const [user = '', password = ''] = splitOnce(authority.slice(0, Math.max(at, 0)), ':');
  if (user === '') throw invalid('it names no user');
  if (database === '') throw invalid('it names no database');
  const options = parseParameters(parameters);
  const hosts = authority.slice(at + 1).split(',');
  return {
    engine: 'mysql',
    hosts: options.has('unix_socket')
      ? [{ host: 'localhost', port: DEFAULT_PORT, socket: options.get('unix_socket') }]
      : hosts.map(parseHost),
    user: decode(user, 'user'),
    password: decode(password, 'password'),
    database: decode(database, 'database'),
    tls: parseTls(options),
  };
}

function splitOnce(text: string, separator: string): readonly string[] {
  const place = text.indexOf(separator);
  return place === -1 ? [text] : [text.slice(0, place), text.slice(place + 1)];
}

function parseHost(text: string): MysqlHost {
  const match = /^(\[[\da-fA-F:.]+\]|[^\s:[\]@]+)(?::(\d{1,5}))?$/.exec(text.trim());
  const port = Number(match?.[2] ?? DEFAULT_PORT);
  if (match === null || port < 1 || port > 65_535) {
    throw invalid(
      'a host is missing or malformed; several hosts are separated by commas: host1:3306,host2:3306',
    );
  }
  return { host: match[1]!.replace(/^\[|\]$/g, ''), port };
}

function parseParameters(text: string): ReadonlyMap<string, string> {
  const parameters = new Map<string, string>();
  for (const pair of text.split('&').filter((part) => part !== '')) {
    const [name = '', value = ''] = splitOnce(pair, '=');
    if (IGNORED_PARAMETERS.has(name)) continue;
    if (!KNOWN_PARAMETERS.has(name)) {
      throw invalid(
        `'${name.slice(0, 40)}' is not a parameter; known are ${[...KNOWN_PARAMETERS].join(', ')}`,
      );
    }
    parameters.set(name, decode(value, name));
  }
  return parameters;
}

function parseTls(parameters: ReadonlyMap<string, string>): MysqlTls | undefined {
  const names = [...parameters.keys()].filter((name) => name.startsWith('ssl'));
  if (names.length === 0 || parameters.get('ssl') === 'false') return undefined;
  return {
    ca: parameters.get('ssl_ca'),
    cert: parameters.get('ssl_cert'),
    key: parameters.get('ssl_key'),
    verify: verification(parameters.get('ssl_verify') ?? 'true'),
  };
}

function verification(value: string): MysqlTls['verify'] {
  if (value === 'true' || value === 'identity') return 'identity';
  if (value === 'ca') return 'authority';
  if (value === 'false' || value === 'none') return 'none';
  throw invalid("ssl_verify is 'true' (authority and host name), 'ca' (authority only) or 'false'");
}

function decode(text: string, what: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw invalid(`the percent-encoding of its ${what} is malformed`);
  }
}

function invalid(problem: string): ConfigError {
  return new ConfigError('RATECAT_DATABASE_URL_INVALID', `database.url is wrong: ${problem}. ${EXAMPLES}.`);
}
