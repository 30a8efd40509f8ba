import { parseDatabaseUrl } from '../database/database-url.js';
import { describeError } from '../plugin-api/index.js';
import { decoded } from './import-keystone.js';
import { type ImportSession, Secret } from './import-session.js';
import type { Setting } from './oslo-config.js';

const TARGET = ['database', 'url'];
const ENGINES = 'Ratecat keeps its data in SQLite, MySQL, MariaDB or Galera';
/** Of SQLAlchemy's drivers for MySQL; they have no meaning here. */
const MEANINGLESS =
  /^(charset|use_unicode|binary_prefix|autocommit|plugin|host|read_timeout|write_timeout|connect_timeout)$/;

/** What SQLAlchemy connects to, as Ratecat's `database.url`. */
export function importDatabase(session: ImportSession): void {
  const setting = session.config.find('database', 'connection');
  if (setting === undefined) return;
  const scheme = /^[\w+.-]+(?=:)/.exec(setting.text)?.[0]?.toLowerCase() ?? '';
  if (scheme.startsWith('sqlite')) importSqlite(session, setting);
  else if (/^(mysql|mariadb)(\+\w+)?$/.test(scheme)) importMysql(session, setting);
  else refuse(session, setting, scheme);
}

function refuse(session: ImportSession, setting: Setting, scheme: string): void {
  const engine = /^[a-z0-9+]{1,30}$/.test(scheme) ? `'${scheme}'` : 'the URL';
  session.warn(
    setting,
    `${engine} is no engine that Ratecat knows, so the result has a SQLite file`,
    `${ENGINES}; create a database there and put its URL into database.url`,
  );
  session.ignored(setting, `${ENGINES}; see the warning`);
  session.set(TARGET, 'sqlite:ratecat.db');
}

/** SQLAlchemy: three slashes and a relative path, four and an absolute one. */
function importSqlite(session: ImportSession, setting: Setting): void {
  const path = decoded(setting.text.replace(/^[\w+.-]+:(\/\/\/?)?/, '').replace(/\?.*$/s, ''));
  if (path === '' || path === ':memory:') {
    session.set(TARGET, 'sqlite:ratecat.db');
    session.mapped(setting, TARGET, 'a database in memory would be lost, so it is a file of data_folder');
    return;
  }
  session.set(TARGET, path.startsWith('/') ? `sqlite://${path}` : `sqlite:${path}`);
  if (path.startsWith('/')) session.mapped(setting, TARGET, 'the same file; its tables are left alone');
  else {
    session.mapped(setting, TARGET, 'a relative path begins at data_folder');
    session.warn(setting, 'a relative path begins at data_folder', 'write the absolute path to be sure');
  }
}

function importMysql(session: ImportSession, setting: Setting): void {
  const url = mysqlUrl(setting.text);
  const fault = url === undefined ? 'it is no URL' : faultOf(url.text);
  if (url === undefined || fault !== undefined) {
    session.problem(
      setting,
      `the URL cannot be taken over: ${fault}`,
      'write mysql://user:password@host:3306/database',
    );
    return;
  }
  const dropped = url.dropped.length === 0 ? '' : `, without ${url.dropped.join(', ')}`;
  session.set(TARGET, new Secret('database-url', url.text));
  session.mapped(
    setting,
    TARGET,
    `the same database, whose tables are left alone${dropped}; kept apart from the configuration`,
  );
}

/** Says what is wrong in words that do not show the URL. */
function faultOf(url: string): string | undefined {
  try {
    parseDatabaseUrl(url, '/');
    return undefined;
  } catch (error) {
    return describeError(error).replace(/^database\.url is wrong: /, '');
  }
}

interface MysqlUrl {
  readonly text: string;
  /** Parameters without a counterpart. */
  readonly dropped: readonly string[];
}

/** The URL with each part encoded anew: SQLAlchemy takes more than RFC 3986 allows. */
function mysqlUrl(text: string): MysqlUrl | undefined {
  // The last @ ends the password, as a password may hold one; the database follows the first / behind it.
  const parts = /^[\w+]+:\/\/(?:(.*)@)?([^@/?]*)(?:\/([^?]*))?(?:\?(.*))?$/s.exec(text);
  if (parts === null) return undefined;
  const [, login = '', hosts = '', database = '', query = ''] = parts;
  const [user = '', ...password] = login.split(':');
  const written = new URLSearchParams(query);
  const named = written.getAll('host');
  const { parameters, dropped } = parametersOf(written);
  const encode = (part: string) => encodeURIComponent(decoded(part));
  const secret = password.length === 0 ? '' : `:${encode(password.join(':'))}`;
  const at = hosts === '' ? named.join(',') : hosts;
  const search = parameters.length === 0 ? '' : `?${parameters.join('&')}`;
  return { text: `mysql://${encode(user)}${secret}@${at}/${encode(database)}${search}`, dropped };
}

function parametersOf(written: URLSearchParams): {
  readonly parameters: readonly string[];
  readonly dropped: string[];
} {
  const parameters: string[] = [];
  const dropped: string[] = [];
  for (const name of ['ssl_ca', 'ssl_cert', 'ssl_key', 'unix_socket']) {
    const value = written.get(name);
    if (value) parameters.push(`${name}=${encodeURIComponent(value)}`);
  }
  const verification = sslVerification(written);
  if (verification !== undefined) parameters.push(verification);
  const read =
    /^(ssl|ssl_ca|ssl_cert|ssl_key|unix_socket|ssl_verify_cert|ssl_verify_identity|ssl_check_hostname|ssl_disabled)$/;
  for (const name of new Set(written.keys())) {
    if (!read.test(name) && !MEANINGLESS.test(name)) dropped.push(name.replace(/[^\w.-]/g, '?').slice(0, 40));
  }
  return { parameters, dropped };
}

/** As the drivers verify: with an authority the certificate, and the host's name only when asked for. */
function sslVerification(written: URLSearchParams): string | undefined {
  const isTrue = (name: string) => /^(true|1|yes|on)$/i.test(written.get(name) ?? '');
  if (isTrue('ssl_disabled')) return 'ssl=false';
  const usesTls = [...written.keys()].some((name) => name.startsWith('ssl'));
  if (!usesTls) return undefined;
  if (isTrue('ssl_verify_identity') || isTrue('ssl_check_hostname')) return 'ssl_verify=true';
  const verifies = written.has('ssl_verify_cert') ? isTrue('ssl_verify_cert') : written.has('ssl_ca');
  return verifies ? 'ssl_verify=ca' : 'ssl_verify=false';
}
