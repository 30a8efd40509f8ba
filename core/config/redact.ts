import type { JsonValue } from '../plugin-api/index.js';
import type {
  BudgetConfig,
  Config,
  NotifierConfig,
  PipelineConfig,
  PluginConfig,
  RatingModuleConfig,
} from './config.js';
import { formatPath } from './problems.js';
import { isSecretName, MASK, maskUrls } from './secret-names.js';

/**
 * The configuration in effect, in the form of the file, for people to read: secrets are `***`.
 * @param secretPaths paths as problems print them (`collector.options.api_key`), beside names that look like secrets.
 */
export function redactConfig(config: Config, secretPaths: readonly string[] = []): JsonValue {
  return mask(toWritten(config), [], new Set(secretPaths));
}

function mask(
  value: JsonValue,
  path: readonly (string | number)[],
  secretPaths: ReadonlySet<string>,
): JsonValue {
  if (path.length > 0 && (isSecretName(String(path.at(-1))) || secretPaths.has(formatPath(path))))
    return MASK;
  if (typeof value === 'string') return maskUrls(value);
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) {
    return (value as readonly JsonValue[]).map((item, index) => mask(item, [...path, index], secretPaths));
  }
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, item]) => item !== undefined)
      .map(([key, item]) => [key, mask(item as JsonValue, [...path, key], secretPaths)]),
  );
}

function toWritten(config: Config): JsonValue {
  const { processor, retry } = config;
  const short = config.pipelines[0]?.path.length === 0;
  return {
    compat: config.compat,
    data_folder: config.dataFolder,
    database: { url: config.database.url },
    billing: { timezone: config.billing.timeZone },
    log: { ...config.log },
    processor: {
      workers: processor.workers,
      concurrent_scopes: processor.concurrentScopes,
      concurrent_metrics: processor.concurrentMetrics,
      lease_seconds: processor.leaseSeconds,
      collect_ahead: processor.collectAhead,
      max_points_ahead: processor.maxPointsAhead,
      metric_timeout: processor.metricTimeoutSeconds,
      scope_list_max_shrink: processor.scopeListMaxShrink,
      graceful_stop: processor.gracefulStopSeconds,
    },
    retry: {
      first_seconds: retry.firstSeconds,
      max_seconds: retry.maxSeconds,
      stuck_after: retry.stuckAfter,
    },
    storage: writtenPlugin(config.storage),
    rating: config.rating.map(writtenModule),
    ...(short ? writtenPipeline(config.pipelines[0]!) : { pipelines: config.pipelines.map(writtenPipeline) }),
    ...(config.notifications.length === 0
      ? {}
      : { notifications: config.notifications.map(writtenNotifier) }),
    ...(config.budgets.length === 0 ? {} : { budgets: config.budgets.map(writtenBudget) }),
  };
}

function writtenNotifier(notifier: NotifierConfig) {
  return {
    ...writtenPlugin(notifier),
    name: notifier.name,
    events: notifier.events,
    keep_events: notifier.keepEvents,
    keep_days: notifier.keepDays,
  };
}

function writtenBudget(budget: BudgetConfig) {
  return {
    name: budget.name,
    scope: budget.scope,
    scope_key: budget.scopeKey,
    amount: budget.amount.toString(),
    period: budget.period,
    // Plain numbers, as the file has them; a percentage is small.
    thresholds: budget.thresholds.map(Number),
    forecast: budget.forecast,
  };
}

function writtenPlugin({ plugin, options }: PluginConfig) {
  return { plugin, options: options.value };
}

function writtenModule(module: RatingModuleConfig) {
  return {
    ...writtenPlugin(module),
    enabled: module.enabled,
    priority: module.priority,
    rules: module.rulesFile,
  };
}

function writtenPipeline({ name, collect, fetcher, collector }: PipelineConfig) {
  return {
    name,
    collect: {
      period: collect.periodSeconds,
      wait_periods: collect.waitPeriods,
      scope_key: collect.scopeKey,
      metrics: collect.metricsFile,
      look_back: collect.lookBackPeriods,
      start: collect.start === undefined ? undefined : new Date(collect.start * 1000).toISOString(),
      skip_datapoints_expression: collect.skipExpression,
    },
    fetcher: writtenPlugin(fetcher),
    collector: writtenPlugin(collector),
  };
}
