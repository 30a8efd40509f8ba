import { existsSync } from 'node:fs';
import type { Config } from '../config/config.js';
import { allMigrations, composeServices, type Services } from '../daemon/composition-root.js';
import type { LifecycleStack } from '../daemon/lifecycle.js';
import type { DaemonLogger } from '../daemon/logger.js';
import { type DatabaseUrl, parseDatabaseUrl } from '../database/database-url.js';
import { pendingMigrations } from '../database/migrate.js';
import { describe } from '../database/mysql-errors.js';
import { type ClosableDatabase, openDatabase } from '../database/open-database.js';
import { type Clock, isRatecatError, type SqlDatabase } from '../plugin-api/index.js';
import type { Configured } from './configuration.js';
import type { Examination, Say } from './examination.js';

/** Somebody is waiting in front of a terminal. */
const PATIENCE_MS = 5_000;

export interface DatabaseFindings {
  readonly database: SqlDatabase | undefined;
  /** Present when the tables are those of this version. */
  readonly services: Services | undefined;
}

export interface DatabaseParts {
  readonly logger: DaemonLogger;
  readonly clock: Clock;
  /** Closes what is opened here. */
  readonly stack: LifecycleStack;
}

/** Whether the database answers, has the tables of this version, and lets this user write. Writes nothing. */
export async function lookAtDatabase(
  examination: Examination,
  configured: Configured | undefined,
  { logger, clock, stack }: DatabaseParts,
): Promise<DatabaseFindings> {
  const area = 'database';
  const database = await examination.look(
    { area, what: 'the server or file', needs: { config: configured } },
    async (got, say, signal) => {
      const opened = await reach(got.config.config, say, signal);
      if (opened !== undefined) stack.closes('database', () => opened.close());
      return opened;
    },
  );
  const schema = await examination.look(
    { area, what: 'the tables', needs: { config: configured, database } },
    async (got, say) => lookAtTables(got.database, got.config, say),
  );
  await examination.look(
    { area, what: 'the privileges', needs: { config: configured, database, schema } },
    async (got, say) => lookAtPrivileges(got.database, got.config.config, say),
  );
  const services = await examination.look(
    { area, what: 'the storage', needs: { config: configured, database, schema } },
    async (got, _, signal) => {
      const { config, plugins } = got.config;
      const composed = composeServices({ config, plugins, logger, clock }, got.database);
      await stack.start(`storage plugin '${config.storage.plugin}'`, composed.storage, signal);
      for (const { name, module } of composed.modules)
        await stack.start(`rating plugin '${name}'`, module, signal);
      return composed;
    },
  );
  return { database, services };
}

/** A database that is only looked at must not come into being by that. */
async function reach(
  { database: { url }, dataFolder }: Config,
  say: Say,
  signal: AbortSignal,
): Promise<ClosableDatabase | undefined> {
  const parsed = parseDatabaseUrl(url, dataFolder);
  if (parsed.engine === 'sqlite' && parsed.path !== ':memory:' && !existsSync(parsed.path)) {
    say.fail('database-absent', `there is no database at ${parsed.path} yet`, {
      fix: "Run 'ratecat up' or 'ratecat dbsync upgrade', which make it; or correct database.url or data_folder.",
      kind: 'unavailable',
    });
    return undefined;
  }
  const opened = await openDatabase(url, {
    folder: dataFolder,
    lockTimeoutMs: PATIENCE_MS,
    connectTimeoutMs: PATIENCE_MS,
    maxConnections: 4,
    signal,
  });
  const isSqlite = opened.dialect.engine === 'sqlite';
  const [row] = await opened.query(isSqlite ? 'SELECT sqlite_version()' : 'SELECT VERSION()');
  say.ok('database-reachable', `${shown(parsed)} answers (${isSqlite ? 'SQLite ' : ''}${String(row?.[0])})`);
  return opened;
}

function shown(parsed: DatabaseUrl): string {
  return parsed.engine === 'sqlite' ? parsed.path : describe(parsed);
}

async function lookAtTables(
  database: SqlDatabase,
  { plugins }: Configured,
  say: Say,
): Promise<true | undefined> {
  const migrations = allMigrations(plugins);
  const pending = await pendingMigrations(database, migrations);
  if (pending.length === 0) {
    const count = migrations.reduce((sum, module) => sum + module.migrations.length, 0);
    say.ok('schema-current', `the tables are those of this version (${count} migrations)`);
    return true;
  }
  const names = pending.map(({ module, name }) => `${module} ${name}`).join(', ');
  say.fail('schema-old', `the tables are not those of this version; missing: ${names}`, {
    fix: "Run 'ratecat dbsync upgrade' with the same configuration.",
    kind: 'config',
  });
  return undefined;
}

/** Statements that need the right and touch no row. */
const PROBES: readonly (readonly [privilege: string, sql: string])[] = [
  [
    'INSERT',
    'INSERT INTO ratecat_revisions (name, value) SELECT name, value FROM ratecat_revisions WHERE 1 = 0',
  ],
  ['UPDATE', 'UPDATE ratecat_revisions SET value = value WHERE 1 = 0'],
  ['DELETE', 'DELETE FROM ratecat_revisions WHERE 1 = 0'],
];

async function lookAtPrivileges(database: SqlDatabase, config: Config, say: Say): Promise<void> {
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
      fix: grant(lacking, config),
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
    { fix: grant(forUpgrades, config) },
  );
}

function grant(privileges: readonly string[], { database, dataFolder }: Config): string {
  const parsed = parseDatabaseUrl(database.url, dataFolder);
  if (parsed.engine === 'sqlite') return `Give this user the right to write ${parsed.path} and its folder.`;
  return `Run as an administrator of the database: GRANT ${privileges.join(', ')} ON \`${parsed.database}\`.* TO '${parsed.user}'@'%';`;
}

const FOR_UPGRADES = ['CREATE', 'ALTER', 'INDEX', 'DROP'];

/** Nothing also where the server does not say it in a form that is understood, such as rights by roles. */
async function missingForUpgrades(database: SqlDatabase, config: Config): Promise<readonly string[]> {
  if (database.dialect.engine !== 'mysql') return [];
  const parsed = parseDatabaseUrl(config.database.url, config.dataFolder);
  const name = parsed.engine === 'mysql' ? parsed.database : '';
  const grants = (await database.query('SHOW GRANTS')).map((row) => String(row[0]));
  const applying = grants.flatMap((line) => privilegesOn(line, name));
  if (applying.length === 0 || applying.includes('ALL PRIVILEGES') || grants.some(grantsRole)) return [];
  return FOR_UPGRADES.filter((privilege) => !applying.includes(privilege));
}

function privilegesOn(line: string, database: string): readonly string[] {
  const match = /^GRANT (.+?) ON (?:`((?:[^`]|``)+)`|\*)\.\* TO /.exec(line);
  if (match === null) return [];
  // Names in grants are patterns; those with wildcards are believed to mean this database.
  const pattern = match[2]?.replaceAll('\\_', '_');
  if (pattern !== undefined && pattern !== database && !pattern.includes('%')) return [];
  return match[1]!.split(',').map((privilege) => privilege.trim().toUpperCase());
}

function grantsRole(line: string): boolean {
  return /^GRANT [^ ]+ TO /.test(line);
}
