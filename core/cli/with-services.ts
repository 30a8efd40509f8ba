import { existsSync } from 'node:fs';
import type { Config } from '../config/config.js';
import {
  allMigrations,
  composeServices,
  openConfiguredDatabase,
  refusePending,
  type Services,
} from '../daemon/composition-root.js';
import { LifecycleStack } from '../daemon/lifecycle.js';
import { DaemonLogger } from '../daemon/logger.js';
import { parseDatabaseUrl } from '../database/database-url.js';
import { pendingMigrations } from '../database/migrate.js';
import { UnavailableError } from '../plugin-api/index.js';
import type { Cli } from './cli.js';
import { type OpenedConfig, openConfig } from './open-config.js';

export interface Session extends OpenedConfig {
  readonly services: Services;
  /** Never aborted: Ctrl-C ends a command at once, and transactions are whole or not at all. */
  readonly signal: AbortSignal;
}

/** Runs a command on the database of the configuration; storage and rating modules are started for it. */
export async function withServices<T>(cli: Cli, use: (session: Session) => Promise<T>): Promise<T> {
  const opened = await openConfig(cli);
  const { config, plugins } = opened;
  refuseAbsent(config);
  const logger = DaemonLogger.create({ level: 'warn', format: config.log.format });
  const stack = new LifecycleStack(logger);
  const { signal } = new AbortController();
  try {
    const database = await openConfiguredDatabase(config);
    stack.closes('database', () => database.close());
    refusePending(await pendingMigrations(database, allMigrations(plugins)));
    const services = composeServices({ config, plugins, logger }, database);
    await stack.start(`storage plugin '${config.storage.plugin}'`, services.storage, signal);
    for (const { name, module } of services.modules)
      await stack.start(`rating plugin '${name}'`, module, signal);
    return await use({ ...opened, services, signal });
  } finally {
    await stack.stop();
  }
}

/** A command that reads must not leave an empty database behind where somebody mistyped a folder. */
export function refuseAbsent(config: Config): void {
  if (!config.database.url.startsWith('sqlite:')) return;
  const parsed = parseDatabaseUrl(config.database.url, config.dataFolder);
  if (parsed.engine !== 'sqlite' || parsed.path === ':memory:' || existsSync(parsed.path)) return;
  throw new UnavailableError(
    'RATECAT_DATABASE_ABSENT',
    `There is no database at ${parsed.path} yet. 'ratecat up' makes it; or name the right place with --config or --data-dir.`,
  );
}
