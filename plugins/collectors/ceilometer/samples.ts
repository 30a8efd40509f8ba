import { compareText, DataError, Decimal, type Period } from '../../../core/plugin-api/index.js';
import { excerpt, malformed } from '../../../core/upstream/index.js';
import { concurrently } from '../../shared/concurrently.js';
import { propertyOf } from '../../shared/exact-json.js';
import type { CeilometerClient, Condition, Row } from './client.js';
import { type Owner, utc, within } from './conditions.js';
import type { CeilometerRequest } from './metric-options.js';
import { type Resource, readResource } from './resources.js';
import { readNumber, refuseOtherScope } from './statistics.js';

/** One reading of a meter, with its resource as it was then. */
export interface MeterSample {
  readonly resource: Resource;
  /** UTC as `2017-03-01T00:00:07.250000`: the order of the texts is the order of the times. */
  readonly time: string;
  readonly value: Decimal;
  /** `cumulative`, `delta` or `gauge`. */
  readonly type: string;
  readonly key: string;
}

/** The growth of one resource's counter within a period, and its resource as the newest sample describes it. */
export interface Increase {
  readonly resource: Resource;
  readonly value: Decimal;
}

/** How far back the sample before a period is looked for with all resources at once: three polls of ten minutes. */
const LOOK_BACK_SECONDS = 1800;

/**
 * How much each counter grew within the period: the sum of the steps that end in it. A step from the last sample before the
 * period counts in full, so that the increases of consecutive periods add up to the growth of the counter. A step down is a
 * counter that began again at zero. The very first sample of a counter is no step.
 */
export async function readIncreases(
  client: CeilometerClient,
  request: CeilometerRequest,
  owner: Owner,
  signal: AbortSignal,
): Promise<readonly Increase[]> {
  const { metric, period } = request;
  const wider = { begin: period.begin - LOOK_BACK_SECONDS, end: period.end };
  const samples = await readSamples(client, request, owner, wider, signal);
  const counters = [...byResource(samples).values()].filter((own) =>
    own.some((sample) => isWithin(sample, period)),
  );
  return await concurrently(
    counters,
    client.concurrency,
    async (own, limited) => {
      const first = own[0]!;
      const before =
        isWithin(first, period) && first.type === 'cumulative'
          ? await sampleBefore(client, request, owner, first, limited)
          : undefined;
      const value = growth(before === undefined ? own : [before, ...own], period, metric.name);
      return { resource: own.at(-1)!.resource, value };
    },
    signal,
  );
}

/** The sum of the steps that end in the period. Samples in the order of time. */
export function growth(samples: readonly MeterSample[], period: Period, metric: string): Decimal {
  let sum = Decimal.ZERO;
  samples.forEach((sample, index) => {
    if (!isWithin(sample, period)) return;
    const before = samples[index - 1];
    if (sample.type === 'delta') sum = sum.plus(sample.value);
    else if (sample.type !== 'cumulative') throw noCounter(metric, sample);
    else if (before !== undefined) sum = sum.plus(step(before.value, sample.value));
  });
  return sum;
}

function step(before: Decimal, now: Decimal): Decimal {
  return now.compare(before) < 0 ? now : now.minus(before);
}

function isWithin({ time }: MeterSample, { begin, end }: Period): boolean {
  return time >= microseconds(utc(begin))! && time < microseconds(utc(end))!;
}

/** In the order of time; readings of the same time in the order of their values, so that none looks like a restart. */
function byResource(samples: readonly MeterSample[]): ReadonlyMap<string, readonly MeterSample[]> {
  const ordered = [...samples].sort((a, b) => compareText(a.time, b.time) || a.value.compare(b.value));
  const groups = new Map<string, MeterSample[]>();
  for (const sample of ordered) {
    const group = groups.get(sample.resource.id);
    if (group === undefined) groups.set(sample.resource.id, [sample]);
    else group.push(sample);
  }
  return groups;
}

// ---------------------------------------------------------------------------------------------------------- reading

/**
 * All samples of the owner within a period. Ceilometer gives the newest first and knows no pages, so each further one begins
 * at the oldest time of the one before; what stands on both is taken once.
 */
async function readSamples(
  client: CeilometerClient,
  request: CeilometerRequest,
  owner: Owner,
  period: Period,
  signal: AbortSignal,
): Promise<readonly MeterSample[]> {
  const [since, who, until] = within(period, owner) as readonly [Condition, Condition, Condition];
  const found = new Map<string, MeterSample>();
  let newest = until;
  let limit = client.pageSize;
  for (;;) {
    const page = await samplePage(
      client,
      request,
      owner,
      { conditions: [since, who, newest], limit },
      signal,
    );
    const before = found.size;
    for (const sample of page) found.set(sample.key, sample);
    if (page.length !== limit) return [...found.values()];
    // A page that is full of one instant can only be left by a longer one.
    if (found.size === before) limit *= 2;
    newest = { field: 'timestamp', op: 'le', value: `${page.at(-1)!.time}Z` };
  }
}

/** Samples of one counter that are asked for to find its newest one: enough for readings of the same time. */
const NEWEST_LIMIT = 8;

/**
 * The newest sample of a counter before its first one in a period, however old; of several at the same time the greatest,
 * as in the order of `byResource`.
 */
async function sampleBefore(
  client: CeilometerClient,
  request: CeilometerRequest,
  owner: Owner,
  first: MeterSample,
  signal: AbortSignal,
): Promise<MeterSample | undefined> {
  const conditions: readonly Condition[] = [
    owner.condition,
    { field: 'resource', op: 'eq', value: first.resource.id },
    { field: 'timestamp', op: 'lt', value: utc(request.period.begin) },
  ];
  for (let limit = NEWEST_LIMIT; ; limit *= 4) {
    const page = await samplePage(client, request, owner, { conditions, limit }, signal);
    const newest = page.filter(({ time }) => time === page[0]!.time);
    if (newest.length === limit) continue;
    return newest.toSorted((a, b) => b.value.compare(a.value))[0];
  }
}

async function samplePage(
  client: CeilometerClient,
  request: CeilometerRequest,
  owner: Owner,
  asked: { readonly conditions: readonly Condition[]; readonly limit: number },
  signal: AbortSignal,
): Promise<readonly MeterSample[]> {
  const { call, rows } = await client.list(
    {
      path: ['meters', request.metric.name],
      conditions: asked.conditions,
      parameters: [['limit', String(asked.limit)]],
    },
    signal,
  );
  const samples = rows.map((row) => {
    refuseOtherScope(request, propertyOf(row, owner.group));
    return readSample(call, row, request.metric.name);
  });
  if (samples.some((sample, index) => index > 0 && sample.time > samples[index - 1]!.time))
    throw malformed(call, 'does not have the newest sample first');
  return samples;
}

function readSample(call: string, row: Row, metric: string): MeterSample {
  const resource = readResource(call, row, 'resource_metadata');
  const time = microseconds(propertyOf(row, 'timestamp'));
  if (time === undefined) throw malformed(call, 'has a sample without a time');
  const messageId = propertyOf(row, 'message_id');
  if (typeof messageId !== 'string') throw malformed(call, 'has a sample without a message_id');
  return {
    resource,
    time,
    value: readNumber(propertyOf(row, 'counter_volume'), metric, resource.id),
    type: String(propertyOf(row, 'counter_type')),
    key: JSON.stringify([messageId, resource.id, time]),
  };
}

const TIME = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?(?:Z|\+00:00)?$/;

/** Ceilometer leaves out microseconds that are zero, and the zone. */
function microseconds(time: unknown): string | undefined {
  const match = typeof time === 'string' ? TIME.exec(time) : null;
  return match === null ? undefined : `${match[1]}.${(match[2] ?? '').padEnd(6, '0')}`;
}

function noCounter(metric: string, { type, resource }: MeterSample): DataError {
  return new DataError(
    'RATECAT_METER_NOT_A_COUNTER',
    `Metric ${metric} is to be rated by its increase, but for resource '${excerpt(resource.id)}' Ceilometer calls it '${excerpt(type)}' and not 'cumulative' or 'delta'. Set extra_args.quantity of the metric to max, avg or presence.`,
    { details: { metric } },
  );
}
