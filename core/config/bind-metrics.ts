import type { Collector, Metric } from '../plugin-api/index.js';
import type { MetricsFile } from './load-metrics.js';
import type { MetricDefinition } from './metric-definition.js';
import { configError } from './problems.js';
import { validateOptions } from './validate-options.js';

/** A definition together with the metric as its collector sees it. */
export interface BoundMetric<Options = unknown> {
  readonly definition: MetricDefinition;
  readonly metric: Metric<Options>;
}

/**
 * Validates the `extra_args` of all metrics with their collector's schema and appends the scope key, then the
 * collector's own keys, to `groupby` (the order matters for the text of queries).
 * @throws ConfigError RATECAT_CONFIG_INVALID that lists every problem of every metric.
 */
export async function bindMetrics<Options>(
  file: MetricsFile,
  collector: Pick<Collector<Options>, 'metricOptions' | 'requiredGroupby'>,
  scopeKey: string,
): Promise<readonly BoundMetric<Options>[]> {
  const checked = await Promise.all(
    file.metrics.map(async (definition) => ({
      definition,
      options: await validateOptions(collector.metricOptions, definition.extraArgs),
    })),
  );
  const problems = checked.flatMap(({ options }) => options.problems ?? []);
  if (problems.length > 0) throw configError(problems);
  return checked.flatMap(({ definition, options }) => {
    if (options.problems !== undefined) return [];
    const required = collector.requiredGroupby?.(options.value) ?? [];
    return [{ definition, metric: toMetric(definition, options.value, [scopeKey, ...required]) }];
  });
}

function toMetric<Options>(
  definition: MetricDefinition,
  options: Options,
  appended: readonly string[],
): Metric<Options> {
  const { name, ratedName, unit, groupby, metadata, description } = definition;
  return {
    name,
    ratedName,
    unit,
    groupby: [...new Set([...groupby, ...appended])],
    metadata,
    description,
    options,
  };
}
