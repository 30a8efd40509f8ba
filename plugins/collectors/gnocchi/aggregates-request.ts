import { ConfigError, type Metric } from '../../../core/plugin-api/index.js';
import { excerpt } from '../../../core/upstream/index.js';
import { isoInstant } from '../../shared/iso-instant.js';
import type { GnocchiCollectRequest, GnocchiMetricOptions } from './metric-options.js';

/** Parameters in the order of their names. */
export function aggregatesQuery({
  metric,
  period,
}: GnocchiCollectRequest): ReadonlyArray<readonly [string, string]> {
  const { force_granularity, re_aggregation_method } = metric.options;
  const start = re_aggregation_method.startsWith('rate:') ? period.begin - force_granularity : period.begin;
  return [
    ['details', 'False'],
    ...(force_granularity > 0 ? [['granularity', String(force_granularity)] as const] : []),
    ...metric.groupby.map((attribute) => ['groupby', attribute] as const),
    ['start', isoInstant(start)],
    ['stop', isoInstant(period.end)],
    ['use_history', 'True'],
  ];
}

export function aggregatesBody({ metric, scope }: GnocchiCollectRequest): unknown {
  const { resource_type } = metric.options;
  return {
    operations: operations(metric),
    resource_type,
    search: { and: [{ '=': { type: resource_type } }, { '=': { [scope.key]: scope.id } }] },
  };
}

function operations({ name, options }: Metric<GnocchiMetricOptions>): unknown {
  const { aggregation_method, re_aggregation_method, custom_query } = options;
  if (custom_query === '') {
    return ['aggregate', re_aggregation_method, ['metric', name, aggregation_method]];
  }
  if (/[\s()"']/.test(name)) {
    throw new ConfigError(
      'RATECAT_METRIC_NAME_INVALID',
      `The metric name '${excerpt(name)}' cannot stand in a custom_query: blanks, quotes and parentheses would change the query. Rename the metric in Gnocchi or do without custom_query.`,
    );
  }
  return custom_query
    .replaceAll('RE_AGGREGATION_METHOD', () => re_aggregation_method)
    .replaceAll('AGGREGATION_METHOD', () => aggregation_method)
    .replaceAll('METRIC_NAME', () => name);
}
