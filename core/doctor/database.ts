import { existsSync } from 'node:fs';
import type { Config } from '../config/config.js';
import { allMigrations, composeServices, type Services } from '../daemon/composition-root.js';
import type { LifecycleStack } from '../daemon/lifecycle.js';
import type { DaemonLogger } from '../daemon/logger.js';
import { type DatabaseUrl, parseDatabaseUrl } from '../database/database-url.js';
import { pendingMigrations } from '../database/migrate.js';
import { describe } from '../database/mysql-errors.js';
import { type ClosableDatabase, openDatabase } from '../database/open-database.js';
import type { Clock, SqlDatabase } from '../plugin-api/index.js';
import type { Configured } from './configuration.js';
import { lookAtPrivileges } from './database-privileges.js';
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
