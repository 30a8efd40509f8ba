import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { STEERING } from '../config/human-text.js';
import type { ClosableDatabase } from '../database/closable-database.js';
import { type MysqlUrl, parseDatabaseUrl, type SqliteUrl } from '../database/database-url.js';
import {
  ConfigError,
  describeError,
  isRatecatError,
  RejectedError,
  type SqlDatabase,
  UnavailableError,
} from '../plugin-api/index.js';
import {
  type DatabaseTarget,
  grantPattern,
  literal,
  NOTHING,
  type PlannedStep,
  PRIVILEGES,
  planDatabase,
  type ServerState,
} from './database-plan.js';
import { setupRefused } from './setup-refused.js';
import type { Steps } from './setup-steps.js';
import { shellWord } from './shell-command.js';

const LOCK_TIMEOUT_MS = 30_000;
/** Everybody may log in to it, and it always exists. */
const NEUTRAL_DATABASE = 'information_schema';
const OF_THE_SERVER = new Set(['mysql', 'information_schema', 'performance_schema', 'sys']);
const EXAMPLE =
  'for instance mysql://root:PASSWORD@db.example:3306, or mysql://root@localhost/?unix_socket=/run/mysqld/mysqld.sock';

export interface DatabaseWishes {
  /** `database.url` of the configuration. */
  readonly url: string;
  /** Relative SQLite files lie here. */
  readonly dataFolder: string;
  /** As `database.url`, of somebody who may create databases and users; its database may be left out. */
  readonly adminUrl: string | undefined;
  /** From where the user may log in. Default: `localhost` over a socket, else `%`. */
  readonly clientHost: string | undefined;
}

/**
 * Makes the database of the configuration and its user, or repairs them.
 * @throws ConfigError RATECAT_DATABASE_URL_INVALID, RATECAT_ADMIN_CREDENTIALS, RATECAT_SETUP_REFUSED
 * @throws RejectedError RATECAT_DATABASE_REFUSED when the server refuses the administrator or a statement.
 * @throws UnavailableError when the server does not answer or a folder cannot be made.
 */
export async function createDatabase(wishes: DatabaseWishes, steps: Steps): Promise<void> {
  const url = parseDatabaseUrl(wishes.url, wishes.dataFolder);
  if (url.engine === 'sqlite') return await makeFolder(url, steps);
  const target = targetOf(url, wishes);
  const admin = adminUrl(url, wishes.adminUrl);
  if (admin === undefined) return await withoutServer(target, steps);
  const server = await logInAsAdmin(admin);
  try {
    await refuseOwnAccount(server, target);
    for (const step of planDatabase(target, await stateOf(server, target)))
      await perform(server, steps, step, target);
    await prove(target, steps);
  } finally {
    await server.close();
  }
}

async function makeFolder({ path }: SqliteUrl, steps: Steps): Promise<void> {
  if (path === ':memory:') return await steps.already('a database in memory, which needs nothing');
  const folder = dirname(path);
  if (existsSync(folder)) await steps.already(`folder ${folder}`);
  else {
    await steps.perform({
      what: `folder ${folder}`,
      outcome: 'done',
      script: [`mkdir -p -m 0750 -- ${shellWord(folder)}`],
      apply: () => newFolder(folder),
    });
  }
  if (existsSync(path)) await steps.already(`file ${path}`);
}

async function newFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o750 });
  } catch (error) {
    throw new UnavailableError(
      'RATECAT_DATA_FOLDER',
      `The folder ${folder} cannot be created (${(error as NodeJS.ErrnoException).code}). Check the permissions of the folder above it, or name another file in database.url.`,
      { cause: error },
    );
  }
}

function targetOf(url: MysqlUrl, { clientHost }: DatabaseWishes): DatabaseTarget {
  const { user, password, database, hosts } = url;
  if (password === '') {
    throw new ConfigError(
      'RATECAT_DATABASE_URL_INVALID',
      `database.url has no password for the user '${user}'. Write mysql://${encodeURIComponent(user)}:PASSWORD@…, with any password: the user is given it.`,
    );
  }
  if (OF_THE_SERVER.has(database.toLowerCase())) {
    throw setupRefused(
      `database.url names '${database}', which belongs to the database server itself. Name a database of Ratecat's own, such as 'ratecat'.`,
    );
  }
  // No need for them, and shown SQL could steer a terminal with them.
  if (`${user}${database}${clientHost ?? ''}`.search(STEERING) >= 0) {
    throw setupRefused(
      'A name in database.url, or --client-host, has characters in it that steer a terminal. Choose another one.',
    );
  }
  const isLocal = hosts.every(({ socket }) => socket !== undefined);
  return { url, user, clientHost: clientHost ?? (isLocal ? 'localhost' : '%') };
}

/** Without a URL, root over the socket that the configuration names: there the server trusts the system's root. */
function adminUrl(url: MysqlUrl, written: string | undefined): MysqlUrl | undefined {
  if (written !== undefined) return parseAdminUrl(written);
  if (url.hosts.some(({ socket }) => socket === undefined)) return undefined;
  return { ...url, user: 'root', password: '', database: NEUTRAL_DATABASE };
}

function parseAdminUrl(text: string): MysqlUrl {
  const whole = text.replace(/^([\w+]+:\/\/[^/?]*)\/?(?=\?|$)/, `$1/${NEUTRAL_DATABASE}`);
  try {
    const parsed = parseDatabaseUrl(whole, '.');
    if (parsed.engine === 'mysql') return { ...parsed, database: NEUTRAL_DATABASE };
  } catch (error) {
    const problem = describeError(error)
      .replace(/^database\.url is wrong: /, '')
      .replace(/\. Write .*$/s, '');
    throw adminCredentials(`the administrator's URL is wrong: ${problem}`);
  }
  throw adminCredentials("the administrator's URL is one of SQLite, the configuration's is not");
}

function adminCredentials(problem: string): ConfigError {
  return new ConfigError(
    'RATECAT_ADMIN_CREDENTIALS',
    `There are no administrator credentials: ${problem}. Give a file whose first line is a URL with --admin-url-file, or set RATECAT_ADMIN_URL: ${EXAMPLE}.`,
  );
}

/** Nobody to ask: all statements, each harmless when it is repeated. */
async function withoutServer(target: DatabaseTarget, steps: Steps): Promise<void> {
  if (!steps.isDryRun) throw adminCredentials('none were given, and database.url names no unix_socket');
  for (const step of planDatabase(target, NOTHING)) {
    if (step.kind !== 'there')
      await steps.perform({
        what: step.what,
        outcome: step.kind,
        script: step.shown,
        apply: async () => undefined,
      });
  }
}

async function logInAsAdmin(url: MysqlUrl): Promise<ClosableDatabase> {
  try {
    return await open(url);
  } catch (error) {
    if (!isRefusal(error)) throw error;
    throw new RejectedError(
      'RATECAT_DATABASE_REFUSED',
      `The database server refuses the administrator '${url.user}' (${serverSays(error)}). Check --admin-url-file or RATECAT_ADMIN_URL; root over a unix_socket has to be root of the system too.`,
    );
  }
}

async function open(url: MysqlUrl): Promise<ClosableDatabase> {
  // Loaded on demand, as for every other command.
  const { openMysql } = await import('../database/mysql-database.js');
  return await openMysql(url, { lockTimeoutMs: LOCK_TIMEOUT_MS });
}

/** Otherwise a slip in `database.url` would change the password of whoever administers the server. */
async function refuseOwnAccount(server: SqlDatabase, { user, clientHost }: DatabaseTarget): Promise<void> {
  const [row] = await server.query('SELECT CURRENT_USER()');
  const own = String(row?.[0]);
  const isOwn = own.slice(0, own.lastIndexOf('@')) === user;
  const powers = await server.query(
    "SELECT 1 FROM information_schema.user_privileges WHERE grantee = ? AND privilege_type <> 'USAGE' LIMIT 1",
    [`'${user}'@'${clientHost}'`],
  );
  if (!isOwn && powers.length === 0) return;
  throw setupRefused(
    `database.url names the user '${user}', who has rights on the whole database server. Name a user of Ratecat's own, such as 'ratecat': it is created.`,
  );
}

async function stateOf(server: SqlDatabase, target: DatabaseTarget): Promise<ServerState> {
  const { user, clientHost, url } = target;
  const [version] = await server.query('SELECT VERSION()');
  const [schema] = await server.query(
    'SELECT default_character_set_name FROM information_schema.schemata WHERE schema_name = ?',
    [url.database],
  );
  const accounts = await server.query('SELECT 1 FROM mysql.user WHERE user = ? AND host = ?', [
    user,
    clientHost,
  ]);
  const literalGrants = await hasLiteralGrants(server);
  return {
    engine: /mariadb/i.test(String(version?.[0])) ? 'mariadb' : 'mysql',
    database: schema === undefined ? undefined : { characterSet: String(schema[0]) },
    account: accounts.length === 0 ? 'absent' : (await logsIn(target)) ? 'usable' : 'other password',
    privileges: await privilegesOf(server, target, literalGrants),
    literalGrants,
  };
}

async function hasLiteralGrants(server: SqlDatabase): Promise<boolean> {
  const [row] = await server.query("SHOW VARIABLES LIKE 'partial_revokes'");
  return row?.[1] === 'ON';
}

async function privilegesOf(
  server: SqlDatabase,
  { user, clientHost, url }: DatabaseTarget,
  literalGrants: boolean,
): Promise<readonly string[]> {
  const columns = PRIVILEGES.map((privilege) => `${privilege}_priv`);
  const [row] = await server.query(
    `SELECT ${columns.join(', ')} FROM mysql.db WHERE user = ? AND host = ? AND db = ?`,
    [user, clientHost, literalGrants ? url.database : grantPattern(url.database)],
  );
  return PRIVILEGES.filter((_, index) => row?.[index] === 'Y');
}

async function logsIn({ url }: DatabaseTarget): Promise<boolean> {
  try {
    await (await open({ ...url, database: NEUTRAL_DATABASE })).close();
    return true;
  } catch (error) {
    if (isRefusal(error)) return false;
    throw error;
  }
}

async function perform(
  server: SqlDatabase,
  steps: Steps,
  step: PlannedStep,
  { url }: DatabaseTarget,
): Promise<void> {
  if (step.kind === 'there') return await steps.already(step.what);
  await steps.perform({
    what: step.what,
    outcome: step.kind,
    script: step.shown,
    apply: async () => {
      try {
        await server.query(step.sql);
      } catch (error) {
        throw refusedStatement(step, error, url.password);
      }
    },
  });
}

/** What the server says may quote the statement, and with it the password. */
function refusedStatement(step: { readonly what: string }, error: unknown, password: string): unknown {
  if (isRatecatError(error) && error.kind !== 'rejected') return error;
  const said = [literal(password).slice(1, -1), password].reduce(
    (text, secret) => text.replaceAll(secret, '***'),
    serverSays(error),
  );
  return new RejectedError(
    'RATECAT_DATABASE_REFUSED',
    `The database server refuses to make ${step.what} (${said}). The administrator needs CREATE, CREATE USER, SELECT on the database 'mysql', and the right to grant.`,
  );
}

/** The server's own words: what Ratecat says around them is meant for the daemon's log-in. */
function serverSays(error: unknown): string {
  const { cause, message } = error as Error;
  return cause instanceof Error ? cause.message : message;
}

function isRefusal(error: unknown): boolean {
  return isRatecatError(error) && error.code === 'RATECAT_DATABASE_REFUSED';
}

/** A more special account, such as an anonymous one of 'localhost', may come before the one that was made. */
async function prove(target: DatabaseTarget, steps: Steps): Promise<void> {
  const { url, user, clientHost } = target;
  await steps.perform({
    what: `log-in of '${user}' tried`,
    outcome: 'done',
    script: [],
    apply: async () => {
      try {
        await (await open(url)).close();
      } catch (error) {
        if (!isRefusal(error)) throw error;
        throw new RejectedError(
          'RATECAT_DATABASE_REFUSED',
          `Everything is set up, but the server refuses '${user}' (${serverSays(error)}). The account is '${user}'@'${clientHost}': give the address that this host comes from with --client-host, and look for other accounts: SELECT user, host FROM mysql.user WHERE user IN ('', ${literal(user)});`,
        );
      }
    },
  });
}
