import type { ApiServer, Served } from '../api/server.js';
import type { Config } from '../config/config.js';
import { formatProblem } from '../config/problems.js';
import { migrate, pendingMigrations } from '../database/migrate.js';
import type { NotificationMetrics } from '../notifications/notification-metrics.js';
import { type Clock, isRatecatError } from '../plugin-api/index.js';
import type { ProcessingMetrics } from '../processing/processing-metrics.js';
import type { PreparedPlugins } from './build-pipelines.js';
import {
  allMigrations,
  composeApi,
  composeProcessor,
  openConfiguredDatabase,
  type ProcessingServices,
  refusePending,
} from './composition-root.js';
import { LifecycleStack } from './lifecycle.js';
import type { DaemonLogger } from './logger.js';
import type { NeighbourMetrics } from './measured-neighbours.js';
import { addModuleStates, type ImportedFile, importConfiguredRules } from './prepare-rules.js';
import { systemClock } from './system-clock.js';

export interface DaemonParts {
  readonly config: Config;
  readonly plugins: PreparedPlugins;
  readonly logger: DaemonLogger;
  /** Brings the tables up to date; without, a database that needs it is refused. */
  readonly migrates: boolean;
  /** Serves the API in this process, as configured. */
  readonly servesApi?: boolean;
  readonly version?: string;
  readonly onServed?: (served: Served) => void;
  readonly metrics?: ProcessingMetrics;
  readonly neighbours?: NeighbourMetrics;
  readonly notifications?: NotificationMetrics;
  readonly clock?: Clock;
}

/** Tells the world how the start went on. */
export interface DaemonEvents {
  /** The database has its tables, module states and first rules. */
  prepared?(services: ProcessingServices, imported: readonly ImportedFile[]): void | Promise<void>;
  /** The API answers at this URL. */
  listening?(url: string): void;
  /** Everything is started. */
  ready?(): void;
}

/**
 * The daemon's life: database → tables → plugins → processor, and back in reverse, the database last. Ends when `stop` is
 * aborted and what was under way is finished or abandoned whole.
 * @throws what kept it from starting, after stopping what had started.
 */
export async function runDaemon(parts: DaemonParts, events: DaemonEvents, stop: AbortSignal): Promise<void> {
  await withPrepared(parts, stop, async (services, stack) => {
    const { config, logger } = parts;
    const { storage, modules, pipelines, notifiers, processor } = services;
    await stack.start(`storage plugin '${config.storage.plugin}'`, storage, stop);
    for (const { name, module } of modules) await stack.start(`rating plugin '${name}'`, module, stop);
    await events.prepared?.(services, await importConfiguredRules(config, services, clockOf(parts)));
    if (parts.servesApi === true) await startApi(services.api(), stack, events, stop);
    for (const { source, fetcherName, collectorName, fetcher, collector } of pipelines) {
      await stack.start(`fetcher plugin '${fetcherName}' of pipeline '${source}'`, fetcher, stop);
      await stack.start(`collector plugin '${collectorName}' of pipeline '${source}'`, collector, stop);
    }
    for (const { name, notifier } of notifiers) await stack.start(`notifier '${name}'`, notifier, stop);
    events.ready?.();
    logger.debug('started', { pipelines: pipelines.length });
    await processor.run(stop);
  });
}

/**
 * Serves the API alone, on a database that is prepared already, until `stop` is aborted.
 * @throws what kept it from starting, after stopping what had started.
 */
export async function runApi(parts: DaemonParts, events: DaemonEvents, stop: AbortSignal): Promise<void> {
  const { config, plugins, logger } = parts;
  const stack = new LifecycleStack(logger, clockOf(parts));
  try {
    const database = await openConfiguredDatabase(config, stop);
    stack.closes('database', () => database.close());
    refusePending(await pendingMigrations(database, allMigrations(plugins)));
    const services = composeApi(parts, database);
    await addModuleStates(config, plugins, services.moduleStates);
    await stack.start(`storage plugin '${config.storage.plugin}'`, services.storage, stop);
    for (const { name, module } of services.modules)
      await stack.start(`rating plugin '${name}'`, module, stop);
    await startApi(services.api, stack, events, stop);
    events.ready?.();
    if (!stop.aborted)
      await new Promise((resolve) => stop.addEventListener('abort', resolve, { once: true }));
  } catch (error) {
    if (!stop.aborted || (isRatecatError(error) && !error.retryable)) throw error;
  } finally {
    await stack.stop();
  }
}

async function startApi(
  api: ApiServer,
  stack: LifecycleStack,
  events: DaemonEvents,
  stop: AbortSignal,
): Promise<void> {
  await stack.start('the API', api, stop);
  events.listening?.(api.address);
}

/** The part of the start that is done once for all worker processes. */
export async function prepareForWorkers(
  parts: DaemonParts,
  events: DaemonEvents,
  stop: AbortSignal,
): Promise<void> {
  await withPrepared(parts, stop, async (services) => {
    await events.prepared?.(services, await importConfiguredRules(parts.config, services, clockOf(parts)));
  });
}

/** Brings database and module states in order. */
export async function prepareDatabase(
  parts: DaemonParts,
  services: Pick<ProcessingServices, 'database' | 'moduleStates'>,
  signal?: AbortSignal,
): Promise<void> {
  const { config, plugins, logger } = parts;
  const migrations = allMigrations(plugins);
  if (parts.migrates) {
    await migrate(services.database, migrations, {
      signal,
      onApplied: ({ module, name }) => logger.debug('migrated', { module, migration: name }),
    });
  } else refusePending(await pendingMigrations(services.database, migrations));
  await addModuleStates(config, plugins, services.moduleStates);
}

async function withPrepared(
  parts: DaemonParts,
  stop: AbortSignal,
  use: (services: ProcessingServices, stack: LifecycleStack) => Promise<void>,
): Promise<void> {
  const { config, logger } = parts;
  const stack = new LifecycleStack(logger, clockOf(parts));
  try {
    const database = await openConfiguredDatabase(config, stop);
    stack.closes('database', () => database.close());
    const services = await composeProcessor(parts, database);
    for (const warning of services.warnings)
      logger.warn('configuration', { problem: formatProblem(warning) });
    await prepareDatabase(parts, services, stop);
    await use(services, stack);
  } catch (error) {
    // Asked to stop while starting: that is what happened, whatever was interrupted by it.
    if (!stop.aborted || (isRatecatError(error) && !error.retryable)) throw error;
  } finally {
    await stack.stop();
  }
}

function clockOf(parts: DaemonParts): Clock {
  return parts.clock ?? systemClock;
}
