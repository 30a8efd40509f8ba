import { type BoundMetric, bindMetrics } from '../config/bind-metrics.js';
import type { Config, NotifierConfig, PipelineConfig } from '../config/config.js';
import { loadMetrics, type MetricDefinition, type NumberText } from '../config/load-metrics.js';
import { configError, type Problem } from '../config/problems.js';
import { type ContextParts, pluginContext } from '../loading/plugin-context.js';
import { type PreparedPlugin, preparePlugin } from '../loading/prepare-plugin.js';
import {
  describeError,
  type JsonValue,
  type PluginKind,
  type StrictArithmetic,
} from '../plugin-api/index.js';
import { metricFacts } from '../processing/descriptor-dictionary.js';
import type { Pipeline, PipelineSettings, ProcessingMetric } from '../processing/pipeline.js';
import { compileConversion, Rational } from '../processing/quantity-conversion.js';
import { compileSkipExpression } from '../processing/skip-expression.js';

/** Every plugin of a config, found and with checked options. */
export interface PreparedPlugins {
  readonly storage: PreparedPlugin<'storage'>;
  readonly rating: readonly PreparedPlugin<'rating'>[];
  readonly pipelines: readonly {
    readonly config: PipelineConfig;
    readonly fetcher: PreparedPlugin<'fetcher'>;
    readonly collector: PreparedPlugin<'collector'>;
  }[];
  readonly notifiers: readonly {
    readonly config: NotifierConfig;
    readonly notifier: PreparedPlugin<'notifier'>;
  }[];
}

/** @throws ConfigError RATECAT_CONFIG_INVALID that lists what is wrong with any plugin or its options. */
export async function preparePlugins(config: Config): Promise<PreparedPlugins> {
  const problems: Problem[] = [];
  const prepare = async <K extends PluginKind>(
    kind: K,
    written: { readonly plugin: string; readonly options: Config['storage']['options'] },
  ): Promise<PreparedPlugin<K>> => {
    const result = await preparePlugin(kind, written, config.folder);
    problems.push(...result.problems);
    return result.plugin as PreparedPlugin<K>;
  };
  const prepared: PreparedPlugins = {
    storage: await prepare('storage', config.storage),
    rating: await Promise.all(config.rating.map((module) => prepare('rating', module))),
    pipelines: await Promise.all(
      config.pipelines.map(async (pipeline) => ({
        config: pipeline,
        fetcher: await prepare('fetcher', pipeline.fetcher),
        collector: await prepare('collector', pipeline.collector),
      })),
    ),
    notifiers: await Promise.all(
      config.notifications.map(async (written) => ({
        config: written,
        notifier: await prepare('notifier', written),
      })),
    ),
  };
  if (problems.length > 0) throw configError(problems);
  return prepared;
}

/** What a bad skip expression says, or undefined: for the loaders of config and metrics files. */
export function checkExpression(text: string): string | undefined {
  try {
    compileSkipExpression(text);
    return undefined;
  } catch (error) {
    return describeError(error);
  }
}

/** Builds the pipelines: plugins made, metrics files read and bound to their collectors. No I/O but reading files. */
export async function buildPipelines(
  config: Config,
  prepared: PreparedPlugins,
  context: ContextParts,
): Promise<{ readonly pipelines: readonly Pipeline[]; readonly warnings: readonly Problem[] }> {
  const pipelines: Pipeline[] = [];
  const warnings: Problem[] = [];
  for (const { config: written, fetcher, collector } of prepared.pipelines) {
    const facts = {
      name: written.name,
      scopeKey: written.collect.scopeKey,
      periodSeconds: written.collect.periodSeconds,
    };
    const made = collector.create(pluginContext(context, collector, { pipeline: facts }));
    const file = await loadMetrics(written.collect.metricsFile, { checkExpression });
    warnings.push(...file.warnings);
    const bound = await bindMetrics(file, made, facts.scopeKey);
    const { skipExpression } = written.collect;
    pipelines.push({
      source: written.name,
      scopeKey: facts.scopeKey,
      fetcherName: fetcher.definition.name,
      collectorName: collector.definition.name,
      fetcher: fetcher.create(pluginContext(context, fetcher, { pipeline: facts })),
      collector: made,
      metrics: bound.map((metric) => processingMetric(metric, config, made.strictArithmetic, skipExpression)),
      settings: settings(config, written),
      rules: {
        source: written.name,
        content: {
          compat: config.compat,
          metrics: bound.map(({ definition }) =>
            metricRules(definition, definition.skipExpression ?? skipExpression),
          ),
        },
      },
    });
  }
  return { pipelines, warnings };
}

function settings(config: Config, pipeline: PipelineConfig): PipelineSettings {
  const { processor, retry, compat } = config;
  const { collect } = pipeline;
  return {
    periods: { periodSeconds: collect.periodSeconds, waitPeriods: collect.waitPeriods, compat },
    start: collect.start,
    concurrentScopes: processor.concurrentScopes,
    concurrentMetrics: processor.concurrentMetrics,
    metricTimeoutMs: processor.metricTimeoutSeconds * 1000,
    collectAhead: processor.collectAhead,
    maxPointsAhead: Math.floor(processor.maxPointsAhead / processor.concurrentScopes),
    lookBack: collect.lookBackPeriods,
    leaseSeconds: processor.leaseSeconds,
    retry,
    maxShrink: processor.scopeListMaxShrink,
  };
}

function processingMetric(
  { metric, definition }: BoundMetric,
  config: Config,
  arithmetic: StrictArithmetic | undefined,
  skipByDefault: string | undefined,
): ProcessingMetric {
  const convert = compileConversion(
    {
      factor: Rational.parse(definition.factor.text),
      offset: Rational.parse(definition.offset.text),
      factorIsText: readsAsBinary(definition.factor),
      offsetIsText: readsAsBinary(definition.offset),
      mutate: definition.mutate,
      mutateMap: definition.mutateMap,
    },
    config.compat,
    arithmetic,
  );
  const skip = definition.skipExpression ?? skipByDefault;
  return {
    metric,
    facts: metricFacts(metric.ratedName, metric.unit, metric.description),
    // What is rated is what is stored, so that a price can be recomputed from its row to the last digit. The reference
    // rates the unrounded quantity.
    convert: config.compat === 'strict' ? convert : (value) => convert(value).toStored(),
    skip: skip === undefined ? undefined : compileSkipExpression(skip),
  };
}

/** The reference reads everything but a YAML integer as a binary float. */
function readsAsBinary({ text, written }: NumberText): boolean {
  return written === 'text' || /[.eE]/.test(text);
}

/** What of a metric decides quantities: part of the rule snapshot. */
function metricRules(definition: MetricDefinition, skip: string | undefined): JsonValue {
  return {
    key: definition.key,
    unit: definition.unit,
    factor: definition.factor.text,
    offset: definition.offset.text,
    groupby: definition.groupby,
    metadata: definition.metadata,
    mutate: definition.mutate,
    mutateMap: definition.mutateMap?.map(({ from, to }) => [from.toString(), to.toString()]),
    skip,
    extraArgs: definition.extraArgs.value,
  };
}
