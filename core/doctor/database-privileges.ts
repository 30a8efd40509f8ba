import type { Config } from '../config/config.js';
import { parseDatabaseUrl } from '../database/database-url.js';
import { isRatecatError, type SqlDatabase } from '../plugin-api/index.js';
import { grantPattern, quoted } from '../setup/database-plan.js';
import type { Say } from './examination.js';

/** Statements that need the right and touch no row. */
const PROBES: readonly (readonly [privilege: string, sql: string])[] = [
  [
    'INSERT',
    'INSERT INTO ratecat_revisions (name, value) SELECT name, value FROM ratecat_revisions WHERE 1 = 0',
  ],
  ['UPDATE', 'UPDATE ratecat_revisions SET value = value WHERE 1 = 0'],
  ['DELETE', 'DELETE FROM ratecat_revisions WHERE 1 = 0'],
];

/** Whether the user of the database may do what the daemon does, and what the next upgrade does. Writes nothing. */
export async function lookAtPrivileges(database: SqlDatabase, config: Config, say: Say): Promise<void> {
  const lacking: string[] = [];
  for (const [privilege, sql] of PROBES) {
    try {
      await database.transaction((tx) => tx.execute(sql));
    } catch (error) {
      if (!isRatecatError(error) || error.code !== 'RATECAT_DATABASE_REFUSED') throw error;
      lacking.push(privilege);
    }
  }
  if (lacking.length > 0) {
    say.fail('database-privilege-missing', `the user of the database may not ${lacking.join(', ')}`, {
      fix: await grant(lacking, database, config),
      kind: 'rejected',
    });
    return;
  }
  const forUpgrades = await missingForUpgrades(database, config);
  if (forUpgrades.length === 0) {
    say.ok('database-writable', 'this user may read and write the tables');
    return;
  }
  say.warn(
    'database-privilege-for-upgrades',
    `the user of the database may not ${forUpgrades.join(', ')}: the next upgrade of the tables will be refused`,
    { fix: await grant(forUpgrades, database, config) },
  );
}

async function grant(
  privileges: readonly string[],
  database: SqlDatabase,
  { database: { url }, dataFolder }: Config,
): Promise<string> {
  const parsed = parseDatabaseUrl(url, dataFolder);
  if (parsed.engine === 'sqlite') return `Give this user the right to write ${parsed.path} and its folder.`;
  const on = quoted(grantPattern(parsed.database));
  return `Run as an administrator of the database: GRANT ${privileges.join(', ')} ON ${on}.* TO ${await account(database)};`;
}

/** Of several accounts with the user's name, the one that the server took. */
async function account(database: SqlDatabase): Promise<string> {
  const [row] = await database.query('SELECT CURRENT_USER()');
  const text = String(row?.[0]);
  const at = text.lastIndexOf('@');
  return `${quoted(text.slice(0, at))}@${quoted(text.slice(at + 1))}`;
}

const FOR_UPGRADES = ['CREATE', 'ALTER', 'INDEX', 'DROP'];

/** Nothing also where the server does not say it in a form that is understood, such as rights by roles. */
async function missingForUpgrades(
  database: SqlDatabase,
  { database: { url }, dataFolder }: Config,
): Promise<readonly string[]> {
  const parsed = parseDatabaseUrl(url, dataFolder);
  if (parsed.engine !== 'mysql') return [];
  const grants = (await database.query('SHOW GRANTS')).map((row) => String(row[0]));
  const applying = grants
    .flatMap((line) => privilegesOn(line, parsed.database))
    .filter((privilege) => privilege !== 'USAGE');
  if (applying.length === 0 || applying.includes('ALL PRIVILEGES') || grants.some(grantsRole)) return [];
  return FOR_UPGRADES.filter((privilege) => !applying.includes(privilege));
}

function privilegesOn(line: string, database: string): readonly string[] {
  const match = /^GRANT (.+?) ON (?:([`"])((?:(?!\2).|\2\2)+)\2|\*)\.\* TO /.exec(line);
  if (match === null) return [];
  const [, privileges = '', quote = '', written] = match;
  if (written !== undefined && !matches(database, written.replaceAll(quote.repeat(2), quote))) return [];
  return privileges.split(',').map((privilege) => privilege.trim().toUpperCase());
}

/** Names in grants are patterns: `_` is any character and `%` any number of them, unless a backslash stands before. */
function matches(database: string, pattern: string): boolean {
  const parts = pattern.match(/\\[\\_%]|[\s\S]/gu) ?? [];
  const source = parts.map((part) => {
    if (part === '_') return '.';
    if (part === '%') return '.*';
    return part.at(-1)!.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');
  });
  return new RegExp(`^${source.join('')}$`, 'su').test(database);
}

function grantsRole(line: string): boolean {
  return /^GRANT [^ ]+ TO /.test(line);
}
