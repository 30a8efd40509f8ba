import type { MysqlUrl } from '../database/database-url.js';
import { MYSQL_COLLATION } from '../database/dialects.js';

/** All that `ratecat dbsync upgrade` and the daemon ever do in their database. */
export const PRIVILEGES: readonly string[] = [
  'SELECT',
  'INSERT',
  'UPDATE',
  'DELETE',
  'CREATE',
  'ALTER',
  'DROP',
  'INDEX',
  'REFERENCES',
];

/** What stands for the password where SQL is shown. */
const SHOWN_PASSWORD = 'PASSWORD';

export interface Account {
  readonly user: string;
  /** From where the user may come: `%`, `localhost`, an address or a pattern of them. */
  readonly clientHost: string;
}

export interface DatabaseTarget extends Account {
  readonly url: MysqlUrl;
}

/** What a server has. Nothing, when there is no telling. */
export interface ServerState {
  readonly engine: 'mariadb' | 'mysql' | 'unknown';
  readonly database: { readonly characterSet: string } | undefined;
  /** `usable` when it logs in with the password of the URL. */
  readonly account: 'absent' | 'other password' | 'usable';
  readonly privileges: readonly string[];
  /** `_` and `%` in the database's name of a GRANT are themselves: only MySQL with partial_revokes. */
  readonly literalGrants: boolean;
}

export const NOTHING: ServerState = {
  engine: 'unknown',
  database: undefined,
  account: 'absent',
  privileges: [],
  literalGrants: false,
};

export type PlannedStep =
  | { readonly kind: 'there'; readonly what: string }
  | {
      readonly kind: 'done' | 'changed';
      readonly what: string;
      /** With the real password. */
      readonly sql: string;
      /** To be shown: without it. */
      readonly shown: readonly string[];
    };

/** What is to be done for a target in the state that was found. Pure. */
export function planDatabase(target: DatabaseTarget, state: ServerState): readonly PlannedStep[] {
  return [databaseStep(target, state), accountStep(target, state), privilegesStep(target, state)];
}

function databaseStep({ url }: DatabaseTarget, { engine, database }: ServerState): PlannedStep {
  const what = `database ${quoted(url.database)}`;
  if (database !== undefined) {
    // Another program's tables may be in it; Ratecat's own name their character set.
    const other =
      database.characterSet === 'utf8mb4' ? '' : `, whose character set ${database.characterSet} may stay`;
    return { kind: 'there', what: `${what}${other}` };
  }
  const sql = `CREATE DATABASE IF NOT EXISTS ${quoted(url.database)} CHARACTER SET utf8mb4 COLLATE ${collation(engine)}`;
  return { kind: 'done', what: `${what}, utf8mb4`, sql, shown: [`${sql};`] };
}

function collation(engine: ServerState['engine']): string {
  if (engine === 'unknown') return MYSQL_COLLATION;
  return engine === 'mariadb' ? 'utf8mb4_nopad_bin' : 'utf8mb4_0900_bin';
}

function accountStep(target: DatabaseTarget, { account }: ServerState): PlannedStep {
  const what = `user ${accountName(target)}`;
  if (account === 'usable') return { kind: 'there', what: `${what}, with the password of database.url` };
  const verb = account === 'absent' ? 'CREATE USER IF NOT EXISTS' : 'ALTER USER';
  const sql = (password: string) => `${verb} ${accountName(target)} IDENTIFIED BY ${literal(password)}`;
  return {
    kind: account === 'absent' ? 'done' : 'changed',
    what: account === 'absent' ? what : `${what}: the password of database.url, was another one`,
    sql: sql(target.url.password),
    shown: [`-- ${SHOWN_PASSWORD}: the password of database.url`, `${sql(SHOWN_PASSWORD)};`],
  };
}

function privilegesStep(target: DatabaseTarget, { privileges, literalGrants }: ServerState): PlannedStep {
  const missing = PRIVILEGES.filter((privilege) => !privileges.includes(privilege));
  const { database } = target.url;
  const on = `of ${accountName(target)} on ${quoted(database)}`;
  if (missing.length === 0) return { kind: 'there', what: `privileges ${on}` };
  const pattern = quoted(literalGrants ? database : grantPattern(database));
  const sql = `GRANT ${missing.join(', ')} ON ${pattern}.* TO ${accountName(target)}`;
  const outcome = privileges.length === 0 ? 'done' : 'changed';
  return { kind: outcome, what: `privileges ${missing.join(', ')} ${on}`, sql, shown: [`${sql};`] };
}

/** The database's name in a GRANT is a pattern: unescaped, `a_b` would open `axb` too. */
export function grantPattern(database: string): string {
  return database.replace(/[\\_%]/g, '\\$&');
}

function accountName({ user, clientHost }: Account): string {
  return `${quoted(user)}@${quoted(clientHost)}`;
}

/** An identifier. Users are written so as well: unlike in a text, a backslash is itself whatever the mode of the session. */
export function quoted(name: string): string {
  return `\`${name.replaceAll('`', '``')}\``;
}

/** For sessions with NO_BACKSLASH_ESCAPES, as Ratecat's own are. */
export function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
