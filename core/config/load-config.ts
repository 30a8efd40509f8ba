import { resolve } from 'node:path';
import { Decimal } from '../plugin-api/index.js';
import { checkShape } from './check-shape.js';
import type {
  ApiConfig,
  BudgetConfig,
  CollectConfig,
  Config,
  KeystoneAuthConfig,
  PipelineConfig,
  PluginConfig,
} from './config.js';
import { type ConfigChecks, configRelations, mixedForms, periodWarnings } from './config-relations.js';
import {
  instantOf,
  SHORT_FORM_KEYS,
  severalPipelinesSchema,
  shortFormSchema,
  type WrittenConfig,
  type WrittenPipeline,
  type WrittenPlugin,
} from './config-schema.js';
import type { Environment } from './environment.js';
import { type ConfigPath, configError, type Problem, TOP } from './problems.js';
import { withSecretFiles } from './secret-files.js';
import { isSecretName } from './secret-names.js';
import { folderOf, optionsSource } from './validate-options.js';
import {
  inspectYaml,
  keyPositionOf,
  nodeAt,
  withFollowing,
  type YamlDocument,
  yamlDocument,
} from './yaml-document.js';
import type { MapNode } from './yaml-tree.js';

export interface LoadSettings extends ConfigChecks {
  /** Takes the place of `data_folder`; relative to the working directory. */
  readonly dataFolder?: string | undefined;
}

export interface LoadedConfig {
  readonly config: Config;
  /** Things that work but are probably not meant. */
  readonly warnings: readonly Problem[];
}

/** Reading takes time in proportion: a start with a wrong file must end within a second. */
const MAX_BYTES = 128 * 1024;

/**
 * Reads the configuration of the daemon: every default filled in, `${NAME}` and `*_file` secrets resolved.
 * @throws ConfigError RATECAT_CONFIG_INVALID that lists every problem with file, line and column.
 */
export async function loadConfig(
  file: string,
  environment: Environment,
  settings: LoadSettings = {},
): Promise<LoadedConfig> {
  const inspected = await inspectYaml(file, { maxBytes: MAX_BYTES, environment });
  const root = mapping(inspected.document);
  const folder = folderOf(file);
  const secrets = await withSecretFiles(root, { file, folder, path: [], isSecret });
  const document = yamlDocument(file, secrets.node);
  const several = root.entries.has('pipelines');
  const mixed = several ? mixedForms(document) : [];
  const checked = await checkSchema(document, several);
  const problems = withFollowing(
    [...inspected.problems, ...secrets.problems],
    [...mixed, ...(checked.problems ?? []), ...configRelations(document, folder, settings)],
  );
  if (checked.value === undefined || problems.length > 0) throw configError(problems);
  const config = toConfig(document, folder, checked.value, settings);
  return { config, warnings: periodWarnings(document, config) };
}

function isSecret(path: ConfigPath): boolean {
  return isSecretName(String(path.at(-1))) || (path.length === 2 && path.join('.') === 'database.url');
}

function mapping(document: YamlDocument): MapNode {
  if (document.root.kind === 'map') return document.root;
  const message = 'the top level must be a mapping of `key: value` lines';
  throw configError([
    document.problem([], message, 'the examples in the config folder show what belongs here'),
  ]);
}

interface Written {
  readonly common: WrittenConfig;
  readonly pipelines: readonly { readonly path: ConfigPath; readonly pipeline: WrittenPipeline }[];
}

type CheckedConfig =
  | { readonly value: Written; readonly problems?: undefined }
  | { readonly value?: undefined; readonly problems: readonly Problem[] };

async function checkSchema(document: YamlDocument, several: boolean): Promise<CheckedConfig> {
  const top = { file: document.file, path: [], at: TOP };
  const secretNames = ['url'];
  if (!several) {
    const checked = await checkShape(shortFormSchema, { ...top, node: document.root }, { secretNames });
    if (checked.problems !== undefined) return { problems: checked.problems };
    return { value: { common: checked.value, pipelines: [{ path: [], pipeline: checked.value }] } };
  }
  const node = without(document.root as MapNode, SHORT_FORM_KEYS);
  const checked = await checkShape(severalPipelinesSchema, { ...top, node }, { secretNames });
  if (checked.problems !== undefined) return { problems: checked.problems };
  const pipelines = checked.value.pipelines.map((pipeline, index) => ({
    path: ['pipelines', index],
    pipeline,
  }));
  return { value: { common: checked.value, pipelines } };
}

function without(node: MapNode, keys: readonly string[]): MapNode {
  return { ...node, entries: new Map([...node.entries].filter(([key]) => !keys.includes(key))) };
}

// --------------------------------------------------------------- the one place where written names become the code's own

function toConfig(document: YamlDocument, folder: string, written: Written, settings: LoadSettings): Config {
  const { common } = written;
  const dataFolder =
    settings.dataFolder === undefined ? resolve(folder, common.data_folder) : resolve(settings.dataFolder);
  const plugin = (value: WrittenPlugin, path: ConfigPath) => toPlugin(document, folder, value, path);
  return {
    file: document.file,
    folder,
    compat: common.compat,
    dataFolder,
    database: { url: common.database.url },
    billing: { timeZone: common.billing.timezone },
    log: common.log,
    api: toApi(common.api, folder),
    metricsServer: {
      enabled: common.metrics_server.enabled,
      host: common.metrics_server.host,
      port: common.metrics_server.port,
      processorPort: common.metrics_server.processor_port,
    },
    processor: toProcessor(common.processor),
    retry: {
      firstSeconds: common.retry.first_seconds,
      maxSeconds: common.retry.max_seconds,
      stuckAfter: common.retry.stuck_after,
    },
    storage: plugin(common.storage, ['storage']),
    retention: {
      automatic: common.retention.automatic,
      policies: common.retention.policies.map(({ daily_sums, monthly_sums, ...policy }) => ({
        scopes: policy.scopes,
        metrics: policy.metrics,
        points: policy.points,
        dailySums: daily_sums,
        monthlySums: monthly_sums,
      })),
    },
    rating: common.rating.map((module, index) => ({
      ...plugin(module, ['rating', index]),
      enabled: module.enabled,
      priority: module.priority,
      rulesFile: module.rules === undefined ? undefined : resolve(folder, module.rules),
    })),
    pipelines: written.pipelines.map(
      ({ path, pipeline }): PipelineConfig => ({
        path,
        name: pipeline.name,
        collect: toCollect(pipeline.collect, folder),
        fetcher: plugin(pipeline.fetcher, [...path, 'fetcher']),
        collector: plugin(pipeline.collector, [...path, 'collector']),
      }),
    ),
    notifications: common.notifications.map((notifier, index) => ({
      ...plugin(notifier, ['notifications', index]),
      name: notifier.name ?? notifier.plugin.slice(0, 64),
      events: notifier.events,
      keepEvents: notifier.keep_events,
      keepDays: notifier.keep_days,
    })),
    budgets: common.budgets.map((budget, index) => toBudget(document, budget, ['budgets', index])),
  };
}

/** Numbers come from their literals: a JavaScript number would round them. */
function toBudget(
  document: YamlDocument,
  written: WrittenConfig['budgets'][number],
  path: ConfigPath,
): BudgetConfig {
  const exact = (inner: ConfigPath) => {
    const node = nodeAt(document.root, [...path, ...inner]);
    return Decimal.parse(node?.kind === 'scalar' ? node.text.trim() : '');
  };
  const thresholds = (written.thresholds ?? []).map((_, index) => exact(['thresholds', index]));
  const ascending = [...thresholds].sort((left, right) => left.compare(right));
  return {
    name: written.name ?? written.scope.slice(0, 64),
    scope: written.scope,
    scopeKey: written.scope_key,
    amount: exact(['amount']),
    period: written.period,
    thresholds:
      written.thresholds === undefined
        ? [Decimal.of(100n, 0)]
        : ascending.filter((value, index) => index === 0 || !value.equals(ascending[index - 1]!)),
    forecast: written.forecast,
  };
}

function toApi(written: WrittenConfig['api'], folder: string): ApiConfig {
  const file = (path: string | undefined) => (path === undefined ? undefined : resolve(folder, path));
  return {
    enabled: written.enabled,
    host: written.host,
    port: written.port,
    auth: written.auth,
    allowInsecureBind: written.allow_insecure_bind,
    keystone: written.keystone === undefined ? undefined : toKeystoneAuth(written.keystone, folder),
    policyFile: file(written.policy_file),
    policyFolders: written.policy_dirs.map((path) => resolve(folder, path)),
    cors: {
      allowedOrigins: written.cors.allowed_origins,
      allowCredentials: written.cors.allow_credentials,
      maxAgeSeconds: written.cors.max_age,
    },
    tls:
      written.tls === undefined
        ? undefined
        : {
            certFile: resolve(folder, written.tls.cert_file),
            keyFile: resolve(folder, written.tls.key_file),
          },
    trustedProxies: written.trusted_proxies,
    healthcheckDisableFile: resolve(folder, written.healthcheck_disable_file),
    maxBodyBytes: written.max_body_mib * 1024 * 1024,
    maxHeaderBytes: written.max_header_kib * 1024,
    requestTimeoutSeconds: written.request_timeout,
    rateLimitPerMinute: written.rate_limit,
    refusedRateLimitPerMinute: written.refused_rate_limit,
    anonymousQuotes: written.anonymous_quotes,
  };
}

function toKeystoneAuth(
  written: NonNullable<WrittenConfig['api']['keystone']>,
  folder: string,
): KeystoneAuthConfig {
  const { cafile, certfile, keyfile } = written;
  const file = (path: string | undefined) => (path === undefined ? undefined : resolve(folder, path));
  return {
    session: { ...written, cafile: file(cafile), certfile: file(certfile), keyfile: file(keyfile) },
    wwwAuthenticateUri: written.www_authenticate_uri ?? written.auth_url ?? '',
    interface: written.interface,
    region: written.region_name,
    tokenCacheSeconds: written.token_cache_time,
    serviceTokenRoles: written.service_token_roles,
    serviceTokenRolesRequired: written.service_token_roles_required,
    serviceType: written.service_type,
  };
}

function toProcessor(written: WrittenConfig['processor']): Config['processor'] {
  return {
    workers: written.workers,
    concurrentScopes: written.concurrent_scopes,
    concurrentMetrics: written.concurrent_metrics,
    leaseSeconds: written.lease_seconds,
    collectAhead: written.collect_ahead,
    maxPointsAhead: written.max_points_ahead,
    metricTimeoutSeconds: written.metric_timeout,
    scopeListMaxShrink: written.scope_list_max_shrink,
    gracefulStopSeconds: written.graceful_stop,
  };
}

function toCollect(written: WrittenPipeline['collect'], folder: string): CollectConfig {
  return {
    periodSeconds: written.period,
    waitPeriods: written.wait_periods,
    scopeKey: written.scope_key,
    metricsFile: resolve(folder, written.metrics),
    lookBackPeriods: written.look_back,
    start: written.start === undefined ? undefined : instantOf(written.start),
    skipExpression: written.skip_datapoints_expression,
  };
}

function toPlugin(
  document: YamlDocument,
  folder: string,
  written: WrittenPlugin,
  path: ConfigPath,
): PluginConfig {
  const optionsPath = [...path, 'options'];
  const at = keyPositionOf(document.root, optionsPath, document.locate(path));
  const node = nodeAt(document.root, optionsPath);
  const options = optionsSource({ file: document.file, path: optionsPath, at, node }, folder);
  return { plugin: written.plugin, options };
}
