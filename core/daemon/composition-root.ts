import 'reflect-metadata';
import { mkdir } from 'node:fs/promises';
import { type DependencyContainer, instanceCachingFactory, container as rootContainer } from 'tsyringe';
import { type Auth, createAuth } from '../api/auth/create-auth.js';
import { OsloCors } from '../api/cors.js';
import { OsloHealthCheck } from '../api/health.js';
import { proxyOrigins } from '../api/origin.js';
import { OwnRoutes } from '../api/own/own-api.js';
import { ApiServer, type Served } from '../api/server.js';
import type { ApiServices, SourceFacts } from '../api/services.js';
import { V1Api } from '../api/v1/v1-api.js';
import { V2Api } from '../api/v2/v2-api.js';
import type { Config } from '../config/config.js';
import { configError, type Problem } from '../config/problems.js';
import type { ModuleMigrations } from '../database/migrate.js';
import { CORE_MIGRATIONS } from '../database/migrations/core.js';
import { type ClosableDatabase, openDatabase } from '../database/open-database.js';
import { httpFactory } from '../loading/http-client.js';
import { type ContextParts, pluginContext } from '../loading/plugin-context.js';
import { Budgets } from '../notifications/budgets.js';
import { Deliverer, type NamedNotifier } from '../notifications/deliverer.js';
import { type NotificationMetrics, noNotificationMetrics } from '../notifications/notification-metrics.js';
import { Outbox } from '../notifications/outbox.js';
import {
  type Calendar,
  type Clock,
  ConfigError,
  type HttpFactory,
  type Instant,
  isRatecatError,
  type Storage,
  UnavailableError,
} from '../plugin-api/index.js';
import { PeriodProcessor } from '../processing/period-processor.js';
import type { Pipeline } from '../processing/pipeline.js';
import { PipelineProcessor } from '../processing/pipeline-processor.js';
import { noMetrics, type ProcessingMetrics } from '../processing/processing-metrics.js';
import { Processor } from '../processing/processor.js';
import { Reprocessor } from '../processing/reprocessor.js';
import { type ScopeLag, scopeLag } from '../processing/scope-lag.js';
import { ScopeWorker } from '../processing/scope-worker.js';
import { StartClock } from '../processing/start-clock.js';
import { Sweeper } from '../processing/sweeper.js';
import { periodSchedule } from '../processing/tick-schedule.js';
import { boundedBy } from '../processing/time-limit.js';
import { TrustedTime } from '../processing/trusted-time.js';
import { ModuleStates } from '../rating/module-states.js';
import { type LoadedModule, RuleSets } from '../rating/rule-sets.js';
import { Explainer } from '../reporting/explainer.js';
import { Retention } from '../retention/retention.js';
import { RetentionTimer } from '../retention/retention-timer.js';
import { leaseOwner } from '../scopes/lease-owner.js';
import { Leases } from '../scopes/leases.js';
import { ReprocessTasks } from '../scopes/reprocess-tasks.js';
import { ScopeReset } from '../scopes/scope-reset.js';
import { type ScopeState, ScopeStates } from '../scopes/scope-states.js';
import { billingCalendar } from './billing-calendar.js';
import { buildPipelines, type PreparedPlugins } from './build-pipelines.js';
import type { DaemonLogger } from './logger.js';
import { measuredDatabase, measuredHttp, type NeighbourMetrics } from './measured-neighbours.js';
import { systemClock } from './system-clock.js';
import { TOKENS } from './tokens.js';

/** What every command needs: the database, the storage and the services on them. */
export interface Services {
  readonly database: ClosableDatabase;
  readonly calendar: Calendar;
  readonly storage: Storage;
  readonly states: ScopeStates;
  readonly moduleStates: ModuleStates;
  readonly modules: readonly LoadedModule[];
  readonly rules: RuleSets;
  readonly explainer: Explainer;
  readonly reset: ScopeReset;
}

/** What the processor needs beyond that. */
export interface ProcessingServices extends Services {
  readonly pipelines: readonly Pipeline[];
  readonly processor: Processor;
  readonly notifiers: readonly NamedNotifier[];
  /** The API on the same services, for the process that serves it too. */
  api(): ApiServer;
  /** What the metrics files say that is probably not meant. */
  readonly warnings: readonly Problem[];
}

/** What a process needs that serves the API. */
export interface ApiProcessServices extends Services {
  readonly api: ApiServer;
  readonly apiServices: ApiServices;
}

export interface CompositionParts {
  readonly config: Config;
  readonly plugins: PreparedPlugins;
  readonly logger: DaemonLogger;
  readonly version?: string;
  readonly clock?: Clock;
  readonly metrics?: ProcessingMetrics;
  /** Hears how long upstreams and the database take. */
  readonly neighbours?: NeighbourMetrics;
  /** Hears what becomes of notifications. */
  readonly notifications?: NotificationMetrics;
  readonly onServed?: (served: Served) => void;
  /** Takes the place of the configured one: tests know who is asking. */
  readonly auth?: Auth;
}

/** Every migration of a configuration: the core's, then the storage's, then those of the rating modules. */
export function allMigrations(plugins: PreparedPlugins): readonly ModuleMigrations[] {
  const modules = [plugins.storage, ...plugins.rating].filter(
    ({ definition }) => definition.migrations !== undefined,
  );
  const named = new Map(
    modules.map(({ definition }) => [`${definition.kind}/${definition.name}`, definition.migrations!]),
  );
  return [
    { module: 'core', migrations: CORE_MIGRATIONS },
    ...[...named].map(([module, migrations]) => ({ module, migrations })),
  ];
}

/** The API on an open database, without a processor. */
export function composeApi(parts: CompositionParts, database: ClosableDatabase): ApiProcessServices {
  return apiServicesOf(register(parts, database));
}

/** Opens the database that the config names; the folder of a SQLite file is made. */
export async function openConfiguredDatabase(
  config: Config,
  signal?: AbortSignal,
): Promise<ClosableDatabase> {
  await makeDataFolder(config.dataFolder);
  return openDatabase(config.database.url, { folder: config.dataFolder, signal });
}

async function makeDataFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o750 });
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown error';
    throw new UnavailableError(
      'RATECAT_DATA_FOLDER',
      `The data folder ${folder} cannot be created (${code}). Give the daemon's user the right to write there, or set data_folder.`,
      { cause: error },
    );
  }
}

/** The services on an open database. */
export function composeServices(parts: CompositionParts, database: ClosableDatabase): Services {
  return servicesOf(register(parts, database));
}

/** The services and a processor over all pipelines. The only place that knows the container. */
export async function composeProcessor(
  parts: CompositionParts,
  database: ClosableDatabase,
): Promise<ProcessingServices> {
  const container = register(parts, database);
  const { pipelines, warnings } = await buildPipelines(
    parts.config,
    parts.plugins,
    contextParts(parts, container.resolve(TOKENS.calendar)),
  );
  container.register(TOKENS.pipelines, { useValue: pipelines });
  return {
    ...servicesOf(container),
    pipelines,
    warnings,
    processor: container.resolve(TOKENS.processor),
    notifiers: container.resolve(TOKENS.notifiers),
    api: () => container.resolve(TOKENS.apiServer),
  };
}

/**
 * Builds the pipelines without a database, to see whether they can be built. Gives the warnings.
 * @throws ConfigError RATECAT_CONFIG_INVALID with the problems of all pipelines.
 */
export async function tryPipelines(parts: CompositionParts): Promise<readonly Problem[]> {
  const { config, plugins } = parts;
  const context = contextParts(parts, billingCalendar(config.billing.timeZone));
  const warnings: Problem[] = [];
  const problems: Problem[] = [];
  for (const pipeline of plugins.pipelines) {
    try {
      warnings.push(
        ...(await buildPipelines(config, { ...plugins, pipelines: [pipeline] }, context)).warnings,
      );
    } catch (error) {
      const found = isRatecatError(error) ? (error.details.problems as readonly Problem[]) : undefined;
      if (found === undefined) throw error;
      problems.push(...found);
    }
  }
  if (problems.length > 0) throw configError(problems);
  return warnings;
}

function servicesOf(container: DependencyContainer): Services {
  return {
    database: container.resolve(TOKENS.database),
    calendar: container.resolve(TOKENS.calendar),
    storage: container.resolve(TOKENS.storage),
    states: container.resolve(TOKENS.states),
    moduleStates: container.resolve(TOKENS.moduleStates),
    modules: container.resolve(TOKENS.modules),
    rules: container.resolve(TOKENS.rules),
    explainer: container.resolve(TOKENS.explainer),
    reset: container.resolve(TOKENS.reset),
  };
}

function apiServicesOf(container: DependencyContainer): ApiProcessServices {
  return {
    ...servicesOf(container),
    api: container.resolve(TOKENS.apiServer),
    apiServices: container.resolve(TOKENS.apiServices),
  };
}

function register(parts: CompositionParts, opened: ClosableDatabase): DependencyContainer {
  const { config, plugins, logger } = parts;
  const database =
    parts.neighbours === undefined
      ? opened
      : measuredDatabase(opened, parts.neighbours, parts.clock ?? systemClock);
  const container = rootContainer.createChildContainer();
  const once = <T>(
    token: Parameters<typeof container.register<T>>[0],
    make: (from: DependencyContainer) => T,
  ) => container.register<T>(token, { useFactory: instanceCachingFactory(make) });

  container.register(TOKENS.config, { useValue: config });
  container.register(TOKENS.logger, { useValue: logger });
  container.register(TOKENS.clock, { useValue: parts.clock ?? systemClock });
  container.register(TOKENS.database, { useValue: database });
  container.register(TOKENS.processingMetrics, { useValue: parts.metrics ?? noMetrics });
  once(TOKENS.calendar, () => billingCalendar(config.billing.timeZone));
  once(TOKENS.storage, (from) =>
    plugins.storage.create(
      pluginContext(contextParts(parts, from.resolve(TOKENS.calendar)), plugins.storage, { database }),
    ),
  );
  once(TOKENS.modules, (from) =>
    plugins.rating.map((plugin) => ({
      name: plugin.definition.name,
      module: plugin.create(
        pluginContext(contextParts(parts, from.resolve(TOKENS.calendar)), plugin, { database }),
      ),
    })),
  );
  once(TOKENS.states, () => new ScopeStates(database));
  once(TOKENS.outbox, (from) => new Outbox(outboxRoutes(config), from.resolve(TOKENS.clock)));
  once(TOKENS.moduleStates, (from) => new ModuleStates(database, from.resolve(TOKENS.outbox)));
  once(TOKENS.time, (from) => new TrustedTime(from.resolve(TOKENS.clock), logger));
  once(
    TOKENS.leases,
    (from) => new Leases(database, from.resolve(TOKENS.clock), leaseOwner(), config.processor.leaseSeconds),
  );
  once(
    TOKENS.rules,
    (from) =>
      new RuleSets(
        database,
        from.resolve(TOKENS.moduleStates),
        from.resolve(TOKENS.modules),
        from.resolve(TOKENS.clock),
        boundedBy(config.processor.metricTimeoutSeconds * 1000, from.resolve(TOKENS.clock)),
      ),
  );
  once(TOKENS.explainer, (from) => new Explainer(from.resolve(TOKENS.storage), from.resolve(TOKENS.rules)));
  once(
    TOKENS.reset,
    (from) =>
      new ScopeReset(
        database,
        from.resolve(TOKENS.states),
        from.resolve(TOKENS.storage),
        from.resolve(TOKENS.clock),
        from.resolve(TOKENS.outbox),
      ),
  );
  once(
    TOKENS.budgets,
    (from) =>
      new Budgets({
        budgets: config.budgets,
        storage: from.resolve(TOKENS.storage),
        database,
        outbox: from.resolve(TOKENS.outbox),
        calendar: from.resolve(TOKENS.calendar),
        clock: from.resolve(TOKENS.clock),
        logger,
      }),
  );
  once(TOKENS.notifiers, (from) =>
    plugins.notifiers.map(({ config: written, notifier }) => ({
      name: written.name,
      notifier: notifier.create(
        pluginContext(contextParts(parts, from.resolve(TOKENS.calendar)), notifier, {}),
      ),
      keepEvents: written.keepEvents,
      keepSeconds: written.keepDays * 86_400,
    })),
  );
  once(TOKENS.deliverers, (from) =>
    from.resolve(TOKENS.notifiers).map(
      (target) =>
        new Deliverer({
          target,
          database,
          clock: from.resolve(TOKENS.clock),
          logger,
          metrics: parts.notifications ?? noNotificationMetrics,
          owner: from.resolve(TOKENS.leases).owner,
          leaseSeconds: config.processor.leaseSeconds,
          random: Math.random,
          bound: boundedBy(DELIVERY_LIMIT_MS, from.resolve(TOKENS.clock)),
        }),
    ),
  );
  once(TOKENS.reprocessTasks, (from) => new ReprocessTasks(database, from.resolve(TOKENS.clock)));
  once(
    TOKENS.auth,
    (from) =>
      parts.auth ??
      createAuth(config.api, { http: httpOf(parts), clock: from.resolve(TOKENS.clock), logger }),
  );
  once(TOKENS.apiServices, (from) => ({
    ...servicesOf(from),
    compat: config.compat,
    logger,
    clock: from.resolve(TOKENS.clock),
    reprocessTasks: from.resolve(TOKENS.reprocessTasks),
    policy: from.resolve(TOKENS.auth).policy,
    sources: sourceFacts(plugins),
  }));
  once(TOKENS.apiServer, (from) => apiServer(parts, from));
  once(
    TOKENS.processor,
    (from) =>
      new Processor(
        from.resolve(TOKENS.pipelines).map((pipeline) => pipelineProcessor(pipeline, from)),
        new Sweeper(from.resolve(TOKENS.storage), from.resolve(TOKENS.clock), logger),
        new StartClock({
          database,
          clock: from.resolve(TOKENS.clock),
          time: from.resolve(TOKENS.time),
          logger,
          compat: config.compat,
        }),
        [...from.resolve(TOKENS.deliverers), ...retentionTimers(config, from)],
      ),
  );
  return container;
}

function retentionTimers(config: Config, from: DependencyContainer): readonly RetentionTimer[] {
  if (!config.retention.automatic || config.retention.policies.length === 0) return [];
  const clock = from.resolve(TOKENS.clock);
  const retention = new Retention({
    config,
    storage: from.resolve(TOKENS.storage),
    states: from.resolve(TOKENS.states),
    tasks: from.resolve(TOKENS.reprocessTasks),
    calendar: from.resolve(TOKENS.calendar),
    clock,
  });
  return [new RetentionTimer(retention, from.resolve(TOKENS.database), clock, from.resolve(TOKENS.logger))];
}

/** For one batch; receivers confirm within milliseconds. */
const DELIVERY_LIMIT_MS = 60_000;

function outboxRoutes({ notifications }: Config) {
  return notifications.map(({ name, events }) => ({ notifier: name, types: new Set(events) }));
}

function apiServer(parts: CompositionParts, from: DependencyContainer): ApiServer {
  const { config, logger, version = '', onServed } = parts;
  const { api } = config;
  const services = from.resolve(TOKENS.apiServices);
  return new ApiServer({
    config: api,
    logger,
    clock: from.resolve(TOKENS.clock),
    authenticator: from.resolve(TOKENS.auth).authenticator,
    cors: new OsloCors(api.cors),
    health: new OsloHealthCheck(api.healthcheckDisableFile),
    originOf: proxyOrigins(api.trustedProxies),
    v1: new V1Api(services),
    v2: new V2Api(services),
    own: new OwnRoutes(services, {
      anonymousQuotes: api.anonymousQuotes,
      version,
      lagOf: lagOfScopes(config),
    }),
    ...(onServed === undefined ? {} : { onServed }),
  });
}

/** How far a scope is behind, by the rule of its pipeline. */
function lagOfScopes({ pipelines, compat }: Config): (state: ScopeState, now: Instant) => ScopeLag {
  const rules = new Map(
    pipelines.map(({ name, collect: { periodSeconds, waitPeriods } }) => [
      name,
      { periodSeconds, waitPeriods, compat },
    ]),
  );
  return (state, now) => scopeLag(state, rules.get(state.source), now);
}

function sourceFacts({ pipelines }: PreparedPlugins): readonly SourceFacts[] {
  return pipelines.map(({ config: { name, collect }, fetcher, collector }) => ({
    name,
    scopeKey: collect.scopeKey,
    periodSeconds: collect.periodSeconds,
    fetcher: fetcher.definition.name,
    collector: collector.definition.name,
    metricsFile: collect.metricsFile,
  }));
}

function pipelineProcessor(pipeline: Pipeline, from: DependencyContainer): PipelineProcessor {
  const database = from.resolve(TOKENS.database);
  const clock = from.resolve(TOKENS.clock);
  const shared = {
    pipeline,
    states: from.resolve(TOKENS.states),
    tasks: from.resolve(TOKENS.reprocessTasks),
    leases: from.resolve(TOKENS.leases),
    clock,
    time: from.resolve(TOKENS.time),
    logger: from.resolve(TOKENS.logger),
    metrics: from.resolve(TOKENS.processingMetrics),
  };
  const periods = new PeriodProcessor(
    pipeline,
    from.resolve(TOKENS.rules),
    database,
    from.resolve(TOKENS.storage),
    clock,
    { outbox: from.resolve(TOKENS.outbox), budgets: from.resolve(TOKENS.budgets) },
  );
  const reprocessor = new Reprocessor({
    ...shared,
    periods,
    storage: from.resolve(TOKENS.storage),
    random: Math.random,
  });
  const worker = new ScopeWorker({
    ...shared,
    periods,
    reprocessor,
    database,
    calendar: from.resolve(TOKENS.calendar),
    random: Math.random,
    outbox: from.resolve(TOKENS.outbox),
  });
  return new PipelineProcessor({
    ...shared,
    worker,
    schedule: periodSchedule(pipeline.settings.periods.periodSeconds),
  });
}

function contextParts(parts: CompositionParts, calendar: Calendar): ContextParts {
  return {
    logger: parts.logger,
    clock: parts.clock ?? systemClock,
    calendar,
    http: httpOf(parts),
    compat: parts.config.compat,
    dataFolder: parts.config.dataFolder,
    configFolder: parts.config.folder,
  };
}

function httpOf({ neighbours, clock = systemClock }: CompositionParts): HttpFactory {
  return neighbours === undefined ? httpFactory : measuredHttp(httpFactory, neighbours, clock);
}

/** @throws ConfigError RATECAT_DATABASE_OLD when migrations wait to be applied. */
export function refusePending(pending: readonly { readonly module: string; readonly name: string }[]): void {
  if (pending.length === 0) return;
  const names = pending.map(({ module, name }) => `${module} ${name}`).join(', ');
  throw new ConfigError(
    'RATECAT_DATABASE_OLD',
    `The database is not prepared for this version (missing: ${names}). Run 'ratecat dbsync upgrade' with the same config.`,
  );
}
