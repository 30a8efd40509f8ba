import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type BoundMetric, bindMetrics } from '../../core/config/bind-metrics.js';
import { parseMetrics } from '../../core/config/load-metrics.js';
import type { Collector, Decimal, Period, Sample } from '../../core/plugin-api/index.js';
import { canonicalJson, Decimal as Exact } from '../../core/plugin-api/index.js';
import { compileConversion, Rational } from '../../core/processing/quantity-conversion.js';
import type { CeilometerMetricOptions } from '../../plugins/collectors/ceilometer/metric-options.js';
import { flattened, recordedData, SampleStore } from '../support/fake-ceilometer.js';
import {
  collectorOver,
  documentedMetrics,
  type Exchange,
  type ExpectedEntries,
  exchanges,
  expectedEntries,
} from './ceilometer.js';

const never = new AbortController().signal;
const RECORDED = exchanges();
const { projects } = recordedData();
/** A frame always has a scope, and no metric has a filter of its own in the query. */
const REACHABLE = expectedEntries().filter(({ project, filter }) => project !== null && filter === undefined);

interface Point {
  readonly desc: string;
  readonly quantity: string;
  readonly unit: string;
}

async function boundMetrics(
  collector: Collector<CeilometerMetricOptions>,
): Promise<ReadonlyMap<string, BoundMetric<CeilometerMetricOptions>>> {
  const bound = await bindMetrics(await parseMetrics(documentedMetrics()), collector, 'project_id');
  return new Map(bound.map((one) => [one.metric.ratedName, one]));
}

async function collected(
  collector: Collector<CeilometerMetricOptions>,
  {
    service,
    project,
    period,
  }: { readonly service: string; readonly project: string; readonly period: Period },
  compat: 'strict' | 'fixed',
): Promise<readonly Point[]> {
  const bound = (await boundMetrics(collector)).get(service)!;
  const scope = { key: 'project_id', id: project };
  const answer = await collector.collect({ metric: bound.metric, scope, period }, never);
  if (answer.kind !== 'measured') return [];
  const convert = conversionOf(bound, compat, collector);
  return answer.samples.map((sample) => pointOf(sample, convert, bound.metric.unit)).sort(byText);
}

function conversionOf(
  { definition }: BoundMetric<CeilometerMetricOptions>,
  compat: 'strict' | 'fixed',
  collector: Collector<CeilometerMetricOptions>,
): (value: Decimal) => Decimal {
  const { factor, offset, mutate } = definition;
  return compileConversion(
    {
      factor: Rational.parse(factor.text),
      offset: Rational.parse(offset.text),
      factorIsText: true,
      mutate,
    },
    compat,
    collector.strictArithmetic,
  );
}

function pointOf(sample: Sample, convert: (value: Decimal) => Decimal, unit: string): Point {
  const desc = Object.fromEntries([...sample.metadata, ...sample.groupby]);
  return { desc: canonicalJson(desc), quantity: convert(sample.value).toString(), unit };
}

function byText(left: Point, right: Point): number {
  return left.desc < right.desc ? -1 : left.desc > right.desc ? 1 : 0;
}

function wanted({ entries = [] }: ExpectedEntries): readonly Point[] {
  return entries
    .map(({ desc, qty, unit }) => ({
      desc: canonicalJson(desc as Parameters<typeof canonicalJson>[0]),
      quantity: Exact.parse(qty).toString(),
      unit,
    }))
    .sort(byText);
}

function seconds(time: string): number {
  return Date.parse(time) / 1000;
}

/** Answers exactly what was recorded, and nothing that was not. */
function replaying(data: Exchange['data']) {
  const known = new Map(
    RECORDED.filter((exchange) => exchange.data === data && exchange.client === 'collector').map((one) => [
      one.path,
      one,
    ]),
  );
  return (_: unknown, { pathname, search }: URL) => {
    const found = known.get(`${pathname}${search}`);
    assert.ok(found !== undefined, `never asked by the reference: ${pathname}${search}`);
    return { status: found.status, body: found.raw };
  };
}

test('strict: the recorded exchanges give the entries of the reference, asked for in the same words', async () => {
  assert.equal(REACHABLE.length, 62);
  for (const expected of REACHABLE) {
    const { data, service, project, begin, end, requests } = expected;
    const { collector, asked } = await collectorOver(replaying(data), { compat: 'strict' });
    const period = { begin: seconds(begin), end: seconds(end) };
    const label = `${service} of ${project} at ${begin} (${data})`;
    const points = await collected(collector, { service, project: project!, period }, 'strict');
    assert.deepEqual(points, wanted(expected), label);
    const recorded = requests.map((name) => RECORDED.find((one) => one.name === name)!.path);
    assert.deepEqual([...asked()].sort(), [...recorded].sort(), label);
  }
});

test('strict: a server with the same samples gives the entries of the reference', async () => {
  const store = new SampleStore(recordedData());
  for (const expected of REACHABLE.filter(({ data }) => data === 'full')) {
    const { collector } = await collectorOver((_, url) => store.respond(`${url.pathname}${url.search}`), {
      compat: 'strict',
    });
    const { service, project, begin, end } = expected;
    const period = { begin: seconds(begin), end: seconds(end) };
    const points = await collected(collector, { service, project: project!, period }, 'strict');
    assert.deepEqual(points, wanted(expected), `${service} of ${project} at ${begin}`);
  }
});

test('fixed: every sample counts in one hour, and counters by what they grew', async () => {
  const store = new SampleStore(recordedData());
  const { collector } = await collectorOver((_, url) => store.respond(`${url.pathname}${url.search}`));
  const quantities = async (service: string, project: string, hour: number) => {
    const begin = Date.UTC(2017, 2, 1, hour) / 1000;
    const period = { begin, end: begin + 3600 };
    const points = await collected(collector, { service, project: projects[project]!, period }, 'fixed');
    return points.map(({ quantity }) => quantity);
  };
  const hours = async (service: string, project: string) =>
    await Promise.all([-1, 0, 1, 2, 3, 4].map((hour) => quantities(service, project, hour)));
  // One more sample stands at 03:00, which begins the fourth hour; none stands before 00:00.
  assert.deepEqual(await hours('compute', 'A'), [[], ['1', '1'], ['1', '1'], ['1', '1'], ['1', '1'], []]);
  // Resized to 20 at 01:30; the second volume begins at 01:00, which is no longer the first hour.
  assert.deepEqual(await hours('volume', 'A'), [[], ['10'], ['20', '1'], ['20', '1'], ['20', '1'], []]);
  assert.deepEqual(await hours('network.floating', 'B'), [[], ['1'], ['1'], ['1'], ['1'], []]);
  // The counter of the third interface is beyond 2^53; that of the first began again at 02:10.
  assert.deepEqual(await hours('network.bw.in', 'A'), [
    [],
    ['0', '5000.000036', '6.172835'],
    ['0', '6000.000042', '7.407402'],
    ['0', '6000.000042', '6.172835'],
    ['0', '1000.000008', '1.234567'],
    [],
  ]);
  assert.deepEqual(await hours('network.bw.in', 'B'), [
    [],
    ['0.000005'],
    ['0.000006'],
    ['0.000006'],
    ['0.000001'],
    [],
  ]);
});

test('fixed: an instance is described as it was, before and after it was resized', async () => {
  const store = new SampleStore(recordedData());
  const { collector } = await collectorOver((_, url) => store.respond(`${url.pathname}${url.search}`));
  const flavors = async (hour: number) => {
    const begin = Date.UTC(2017, 2, 1, hour) / 1000;
    const period = { begin, end: begin + 3600 };
    const points = await collected(collector, { service: 'compute', project: projects.A!, period }, 'fixed');
    return points.map(({ desc }) => (JSON.parse(desc) as { flavor: string }).flavor).sort();
  };
  assert.deepEqual(await flavors(0), ['m1.small', 'm1.small']);
  assert.deepEqual(await flavors(1), ['m1.large', 'm1.small']);
});

// ------------------------------------------------------------------------------------------- the server of the tests

/** Queries that the server of the tests takes: no metadata, no periods, no aggregates of one's own. */
const SPOKEN = /^\/v2\/(?:resources(?:[/?]|$)|meters\/[^/?]+(?:\/statistics)?(?:\?|$))/;
const UNSPOKEN =
  /resources\/$|metadata|period=|aggregate|nonsense|=source|timestamp&q\.op=eq|yesterday|\+01|%2B01/;

function spoken({ name, method, path, data, headers }: Exchange): boolean {
  const plain = headers['X-Roles'] === undefined || headers['X-Roles'] === 'admin';
  return (
    method === 'GET' &&
    data === 'full' &&
    plain &&
    !name.startsWith('bad-') &&
    SPOKEN.test(path) &&
    !UNSPOKEN.test(path)
  );
}

test('the server of these tests answers as the recorded one did', async () => {
  const store = new SampleStore(recordedData());
  const comparable = RECORDED.filter(spoken);
  assert.ok(comparable.length >= 90, String(comparable.length));
  for (const { name, path, status, raw } of comparable) {
    const answer = store.respond(path);
    assert.equal(answer.status, status, name);
    if (status === 200)
      assert.deepEqual(comparedBody(JSON.parse(answer.body)), comparedBody(JSON.parse(raw)), name);
  }
});

/** Without ids and links, rounding of sums, and Python's notation of lists; rows in the order of what they are about. */
function comparedBody(body: unknown): unknown {
  const rows = (Array.isArray(body) ? body : [body]).map((row) =>
    comparedRow(row as Record<string, unknown>),
  );
  return rows.map((row) => JSON.stringify(row)).sort();
}

const LEFT_OUT = new Set(['links', 'message_id', 'recorded_at']);

function comparedRow(row: Record<string, unknown>): unknown {
  const entries = Object.entries(row)
    .filter(([name]) => !LEFT_OUT.has(name))
    .map(([name, value]) => {
      if (name === 'sum' || name === 'avg') return [name, Number(value).toPrecision(12)] as const;
      if (name === 'metadata' || name === 'resource_metadata')
        return [name, comparedMetadata(value as object)] as const;
      return [name, value] as const;
    });
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}

function comparedMetadata(metadata: object): object {
  const entries = Object.entries(metadata).filter(([, value]) => !String(value).startsWith('['));
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}

test('metadata is flattened as the recorded server did it', () => {
  const nested = { 'OS-EXT-AZ:availability_zone': 'nova', a: { b: { c: null }, d: true }, e: 1 };
  assert.deepEqual(flattened(nested), {
    'OS-EXT-AZ.availability_zone': 'nova',
    'a.b:c': 'None',
    'a.d': 'True',
    e: '1',
  });
});
