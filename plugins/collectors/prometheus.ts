import { z } from 'zod';
import {
  Attributes,
  type Collected,
  type Collector,
  type CollectRequest,
  DataError,
  Decimal,
  definePlugin,
  type Instant,
  type Metric,
  mapInSlices,
  type Period,
  type Sample,
  type Scope,
  type StrictArithmetic,
} from '../../core/plugin-api/index.js';
import { excerpt } from '../../core/upstream/index.js';
import {
  checkPrometheus,
  labelOf,
  PrometheusClient,
  prometheusSecrets,
  prometheusShape,
  type VectorElement,
} from '../shared/prometheus-client.js';
import { promqlLabel, promqlSelector } from '../shared/promql.js';

const AGGREGATIONS = ['avg', 'count', 'max', 'min', 'stddev', 'stdvar', 'sum'] as const;
const FUNCTIONS = ['abs', 'ceil', 'exp', 'floor', 'ln', 'log2', 'log10', 'round', 'sqrt'] as const;
const RANGE_FUNCTIONS = ['changes', 'delta', 'deriv', 'idelta', 'irate', 'rate'] as const;

/** `extra_args` of a metric: metrics-conf.md §2. */
export const prometheusMetricOptions = z
  .strictObject({
    aggregation_method: z.enum(AGGREGATIONS).default('max'),
    query_function: z.enum(FUNCTIONS).optional(),
    // CloudKitty also lists `irange`, which no Prometheus knows.
    range_function: z.enum(RANGE_FUNCTIONS).optional(),
    query_prefix: z.string().default(''),
    query_suffix: z.string().default(''),
  })
  .prefault({});

export type PrometheusMetricOptions = z.output<typeof prometheusMetricOptions>;

/** The PromQL of one metric, scope and period; to be evaluated at the end of the period. Source: collectors.md §3.3. */
export function prometheusQuery(
  metric: Metric<PrometheusMetricOptions>,
  scope: Scope,
  period: Period,
): string {
  const { aggregation_method, query_function, range_function, query_prefix, query_suffix } = metric.options;
  const seconds = Math.abs(period.end - period.begin);
  const selector = `${promqlSelector(metric.name, [[scope.key, scope.id]])}[${seconds}s]`;
  const overTime = `${range_function ?? `${aggregation_method}_over_time`}(${selector})`;
  const applied = query_function === undefined ? overTime : `${query_function}(${overTime})`;
  const labels = [...groupbyOf(metric, scope), ...metric.metadata].map(promqlLabel).join(', ');
  const aggregated = `${aggregation_method}(${applied}) by (${labels})`;
  return [query_prefix, aggregated, query_suffix].filter((part) => part !== '').join(' ');
}

/** One instant query per metric, scope and period, over a range vector of the whole period. */
export class PrometheusCollector implements Collector<PrometheusMetricOptions> {
  readonly metricOptions = prometheusMetricOptions;
  readonly strictArithmetic: StrictArithmetic = {
    significantDigits: 9,
    rounding: 'half-up',
    roundsSample: true,
    binarySample: false,
  };
  readonly #client: PrometheusClient;

  constructor(client: PrometheusClient) {
    this.#client = client;
  }

  async collect(request: CollectRequest<PrometheusMetricOptions>, signal: AbortSignal): Promise<Collected> {
    const { metric, scope, period } = request;
    const elements = await this.#client.query(prometheusQuery(metric, scope, period), period.end, signal);
    if (elements.length === 0) return await this.#nothing(metric, period, signal);
    return { kind: 'measured', samples: await toSamples(elements, request, signal) };
  }

  async earliest(_scope: Scope, signal: AbortSignal): Promise<Instant | undefined> {
    return await this.#client.earliest(signal);
  }

  async stop(): Promise<void> {
    await this.#client.close();
  }

  /** An empty answer is only "nothing was used" if the server was there to see it. */
  async #nothing(metric: Metric, period: Period, signal: AbortSignal): Promise<Collected> {
    const earliest = await this.#client.earliest(signal);
    if (earliest !== undefined && period.begin < earliest) {
      const since = new Date(earliest * 1000).toISOString();
      return { kind: 'unmeasurable', reason: `Prometheus has no data from before ${since}` };
    }
    if (!(await this.#client.recordedAnything(metric.name, period, signal))) {
      return {
        kind: 'unmeasurable',
        reason: 'Prometheus recorded nothing at all in this period: it was down, or the data has expired',
      };
    }
    return { kind: 'nothing' };
  }
}

function toSamples(
  elements: readonly VectorElement[],
  { metric, scope, period }: CollectRequest<PrometheusMetricOptions>,
  signal: AbortSignal,
): Promise<Sample[]> {
  const groupby = groupbyOf(metric, scope);
  const seen = new Map<string, VectorElement[]>();
  const toSample = (element: VectorElement): Sample => {
    refuseOtherScope(element, metric, scope);
    refuseOtherTime(element, metric, period);
    const groupbyValues = groupby.map((label) => labelOf(element, label) || defaultOf(label, scope));
    const metadataValues = metric.metadata.map((label) => labelOf(element, label) ?? '');
    refuseDuplicate(seen, JSON.stringify([groupbyValues, metadataValues]), element, metric);
    return {
      groupby: Attributes.of(groupby, groupbyValues),
      metadata: Attributes.of(metric.metadata, metadataValues),
      value: numberOf(element, metric),
    };
  };
  return mapInSlices(elements, toSample, signal);
}

/** The same array for every point of a metric, the scope key always in it. */
function groupbyOf(metric: Metric, scope: Scope): readonly string[] {
  return metric.groupby.includes(scope.key) ? metric.groupby : [...metric.groupby, scope.key];
}

/** An aggregation or a suffix may lose the scope label; the point still belongs to the scope that was asked for. */
function defaultOf(label: string, scope: Scope): string {
  return label === scope.key ? scope.id : '';
}

function numberOf(element: VectorElement, metric: Metric): Decimal {
  const value = Decimal.tryParse(element.value);
  // Samples are 64-bit floats: a text beyond their range is as little a number as NaN.
  if (value !== undefined && Number.isFinite(Number(element.value))) return value;
  throw new DataError(
    'RATECAT_SAMPLE_NOT_A_NUMBER',
    `Metric ${metric.name} has the value '${excerpt(element.value)}' for ${showLabels(element)}, which cannot be priced. Repair the exporter, or keep such series out with extra_args (e.g. query_suffix: '>= 0').`,
    { details: { metric: metric.name } },
  );
}

function refuseOtherScope(element: VectorElement, metric: Metric, scope: Scope): void {
  const answered = labelOf(element, scope.key);
  if (answered === undefined || answered === '' || answered === scope.id) return;
  throw new DataError(
    'RATECAT_SAMPLE_OF_OTHER_SCOPE',
    `Metric ${metric.name} was asked for ${scope.key} '${excerpt(scope.id)}', but the answer has data of '${excerpt(answered)}'. Check query_prefix and query_suffix: they must not bring in other scopes.`,
    { details: { metric: metric.name } },
  );
}

function refuseOtherTime(element: VectorElement, metric: Metric, period: Period): void {
  if (element.timestamp >= period.begin && element.timestamp <= period.end) return;
  throw new DataError(
    'RATECAT_SAMPLE_OUTSIDE_PERIOD',
    `Metric ${metric.name} has a sample of ${element.timestamp} for the period ${period.begin} to ${period.end}. Check the clock of the server and caches between it and Ratecat.`,
    { details: { metric: metric.name } },
  );
}

/** Two points of one description are told apart by labels that the metric does not name; equal ones are a contradiction. */
function refuseDuplicate(
  seen: Map<string, VectorElement[]>,
  key: string,
  element: VectorElement,
  metric: Metric,
): void {
  const alike = seen.get(key);
  if (alike === undefined) {
    seen.set(key, [element]);
    return;
  }
  const labels = canonicalLabels(element);
  if (alike.every((other) => canonicalLabels(other) !== labels)) {
    alike.push(element);
    return;
  }
  throw new DataError(
    'RATECAT_SERIES_DUPLICATED',
    `Metric ${metric.name} has two values for the same labels ${showLabels(element)}. Check for duplicate scrape targets or replicas without deduplication.`,
    { details: { metric: metric.name } },
  );
}

/** A label with an empty value is the same as no label. */
function canonicalLabels(element: VectorElement): string {
  const labels = Object.entries(element.metric).filter(([, value]) => value !== '');
  return JSON.stringify(labels.sort(([left], [right]) => (left < right ? -1 : 1)));
}

function showLabels(element: VectorElement): string {
  return excerpt(JSON.stringify(element.metric));
}

const options = z.strictObject(prometheusShape).superRefine(checkPrometheus);

export default definePlugin({
  kind: 'collector',
  name: 'prometheus',
  options,
  secretOptions: prometheusSecrets,
  create: (settings, context) => new PrometheusCollector(new PrometheusClient(settings, context)),
});
