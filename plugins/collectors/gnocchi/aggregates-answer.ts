import {
  Attributes,
  type AttributeValue,
  DataError,
  Decimal,
  type Metric,
  RejectedError,
} from '../../../core/plugin-api/index.js';
import { excerpt, malformed, refusal } from '../../../core/upstream/index.js';
import { isObject, parseExactJson, propertyOf } from '../../shared/exact-json.js';
import type { GnocchiAnswer } from '../../shared/gnocchi-client.js';
import type { Measure } from './measures.js';
import type { GnocchiCollectRequest } from './metric-options.js';

/** One resource (or one revision of it) with its measures. */
export interface Group {
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly measures: readonly Measure[];
}

export function readGroups(answer: GnocchiAnswer, request: GnocchiCollectRequest): Group[] {
  const { call, response } = answer;
  const body = parseExactJson(call, response.body);
  if (!Array.isArray(body)) throw malformed(call, 'is not a list of groups');
  const seen = new Set<string>();
  return body.map((item: unknown) => {
    const group = readGroup(item, call, request);
    refuseOtherScope(group, request);
    const key = Attributes.from(group.attributes as Record<string, AttributeValue>).canonical();
    if (seen.has(key)) throw duplicated(request.metric, key);
    seen.add(key);
    return group;
  });
}

function readGroup(item: unknown, call: string, { metric }: GnocchiCollectRequest): Group {
  const attributes = isObject(item) ? item.group : undefined;
  if (!isObject(attributes)) throw malformed(call, 'has an element without a group');
  const outer = isObject(item) ? item.measures : undefined;
  const inner = isObject(outer) ? outer.measures : undefined;
  const aggregated = isObject(inner) ? inner.aggregated : undefined;
  if (!Array.isArray(aggregated)) throw malformed(call, 'has a group without measures.measures.aggregated');
  return { attributes, measures: aggregated.map((tuple) => readMeasure(tuple, call, metric)) };
}

function readMeasure(tuple: unknown, call: string, metric: Metric): Measure {
  if (!Array.isArray(tuple) || tuple.length !== 3)
    throw malformed(call, 'has a measure that is not a triple');
  const [time, granularity, value] = tuple as [unknown, unknown, unknown];
  const begin = typeof time === 'string' ? Date.parse(time) / 1000 : Number.NaN;
  if (!Number.isFinite(begin)) throw malformed(call, 'has a measure without a time');
  if (!(granularity instanceof Decimal)) throw malformed(call, 'has a measure without a granularity');
  if (value instanceof Decimal && Number.isFinite(Number(value.toString()))) {
    return { begin, seconds: Number(granularity.toString()), value };
  }
  throw new DataError(
    'RATECAT_SAMPLE_NOT_A_NUMBER',
    `Metric ${metric.name} has the value ${excerpt(String(value))} at ${String(time)}, which cannot be priced. Repair what pushes the measures.`,
    { details: { metric: metric.name } },
  );
}

function refuseOtherScope({ attributes }: Group, { metric, scope }: GnocchiCollectRequest): void {
  const answered = propertyOf(attributes, scope.key);
  if (answered === undefined || answered === null || answered === '' || keyOf(answered) === scope.id) return;
  throw new DataError(
    'RATECAT_SAMPLE_OF_OTHER_SCOPE',
    `Metric ${metric.name} was asked for ${scope.key} '${excerpt(scope.id)}', but the answer has data of '${excerpt(keyOf(answered))}'. Check what sits between Ratecat and Gnocchi.`,
    { details: { metric: metric.name } },
  );
}

function duplicated(metric: Metric, group: string): DataError {
  return new DataError(
    'RATECAT_SERIES_DUPLICATED',
    `Metric ${metric.name} has two answers for the same group ${excerpt(group)}. Check what sits between Ratecat and Gnocchi.`,
    { details: { metric: metric.name } },
  );
}

/** Gnocchi says "unknown metric" in two ways; both mean that no resource of the scope has it. */
export function saysMetricIsUnknown({ response, call }: GnocchiAnswer): boolean {
  const description = describedProblem(response.body, call);
  if (response.status === 404) return typeof description === 'string' && UNKNOWN_METRIC.test(description);
  return isObject(description) && String(description.cause).includes('Metrics not found');
}

const UNKNOWN_METRIC = /Metric .* does not exist/s;

function describedProblem(body: string, call: string): unknown {
  if (!body.startsWith('{')) return undefined;
  const parsed = parseExactJson(call, body);
  return isObject(parsed) ? parsed.description : undefined;
}

export function queryRefused(answer: GnocchiAnswer, metric: Metric): Error {
  const { response, call } = answer;
  const description = describedProblem(response.body, call);
  if (description === undefined) return refusal(call, response);
  const said = excerpt(typeof description === 'string' ? description : JSON.stringify(description));
  return new RejectedError(
    'RATECAT_QUERY_REFUSED',
    `Gnocchi refused the query for metric ${metric.name} (${response.status}: ${said}). Check resource_type, groupby, aggregation_method and force_granularity of the metric: the archive policy must keep both.`,
    { details: { metric: metric.name } },
  );
}

/** The text of an attribute, to compare and to look up with. */
export function keyOf(value: unknown): string {
  if (typeof value === 'string') return value;
  return value instanceof Decimal ? value.toFixedScale() : JSON.stringify(value ?? null);
}
