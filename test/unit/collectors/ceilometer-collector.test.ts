import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type {
  Collected,
  Collector,
  Metric,
  PluginContext,
  RatecatError,
  Sample,
  Scope,
} from '../../../core/plugin-api/index.js';
import { canonicalJson, Decimal } from '../../../core/plugin-api/index.js';
import { createPlugin } from '../../../core/testkit/definition.js';
import { fakeContext, RecordingLogger } from '../../../core/testkit/fakes.js';
import { sampleSeed } from '../../../core/testkit/samples.js';
import {
  type CeilometerMetricOptions,
  ceilometerMetricOptions,
} from '../../../plugins/collectors/ceilometer/metric-options.js';
import ceilometer from '../../../plugins/collectors/ceilometer.js';
import { collectorOver, exchanges, LOGIN } from '../../golden/ceilometer.js';
import { type CannedAnswer, CannedHttp } from '../../support/canned-http.js';
import { SampleStore } from '../../support/fake-ceilometer.js';

const never = new AbortController().signal;
const BEGIN = Date.UTC(2017, 2, 1, 1) / 1000;
const HOUR = 3600;
const period = { begin: BEGIN, end: BEGIN + HOUR };
const scope: Scope = { key: 'project_id', id: 'p1' };

interface Setup {
  readonly meter?: string;
  readonly extra?: object;
  readonly groupby?: readonly string[];
  readonly metadata?: readonly string[];
  readonly context?: Partial<PluginContext>;
  /** Options of the plugin. */
  readonly options?: object;
  readonly scope?: Scope;
}

function metricOf({ meter, extra, groupby, metadata }: Setup): Metric<CeilometerMetricOptions> {
  return {
    name: meter ?? 'volume.size',
    ratedName: 'rated',
    unit: 'unit',
    groupby: groupby ?? ['resource_id', 'project_id'],
    metadata: metadata ?? [],
    description: undefined,
    options: ceilometerMetricOptions.parse(extra ?? {}),
  };
}

async function ask(
  answer: CannedAnswer,
  setup: Setup = {},
): Promise<{ readonly collected: Collected; readonly asked: readonly string[] }> {
  const { collector, asked } = await collectorOver(answer, setup.context, setup.options);
  const request = { metric: metricOf(setup), scope: setup.scope ?? scope, period };
  return { collected: await collector.collect(request, never), asked: asked() };
}

async function samplesOf(answer: CannedAnswer, setup: Setup = {}): Promise<readonly Sample[]> {
  const { collected } = await ask(answer, setup);
  return collected.kind === 'measured' ? collected.samples : assert.fail(JSON.stringify(collected));
}

async function failure(answer: CannedAnswer, setup: Setup = {}): Promise<RatecatError> {
  return await ask(answer, setup).then(
    ({ collected }) => assert.fail(JSON.stringify(collected)),
    (error) => error,
  );
}

const strict = { context: { compat: 'strict' as const } };
const asIncrease = { meter: 'network.incoming.bytes' };

/** One row of statistics in JSON text, so that numbers are exactly those written here. */
function row(id: string, numbers = '"max":1.0', owner = '"project_id":"p1"'): string {
  return `{"groupby":{"resource_id":${JSON.stringify(id)},${owner}},"unit":"GB",${numbers}}`;
}

function resource(id: string, metadata: object = {}, more: object = {}): object {
  return { resource_id: id, project_id: 'p1', user_id: 'u1', metadata, ...more };
}

/** Statistics, and resources whether they are asked for one by one or as a list. */
function answering(rows: readonly string[], resources: readonly object[] = []): CannedAnswer {
  return (_, url) => {
    if (url.pathname.endsWith('/statistics')) return `[${rows.join(',')}]`;
    if (url.pathname === '/v2/resources') return JSON.stringify(resources);
    const id = decodeURIComponent(url.pathname.split('/').at(-1)!);
    const found = resources.find((one) => (one as { resource_id: string }).resource_id === id);
    if (found !== undefined) return JSON.stringify(found);
    return {
      status: 404,
      body: '{"error_message":{"faultcode":"Client","faultstring":"Resource Not Found"}}',
    };
  };
}

interface Reading {
  readonly seconds: number;
  readonly value: number;
  readonly id?: string;
  readonly type?: string;
  readonly metadata?: object;
}

/** Readings at seconds after the begin of the period. */
function stored(readings: readonly Reading[]): SampleStore {
  const store = new SampleStore();
  store.samples = readings.map(
    ({ seconds, value, id = 'r1', type = 'cumulative', metadata = {} }, index) => ({
      series: {
        meter: 'network.incoming.bytes',
        type,
        unit: 'B',
        resource_id: id,
        user_id: 'u1',
        project_id: 'p1',
        first: 0,
        offset_seconds: 0,
        values: [],
        metadata: [],
      },
      at: Math.round((BEGIN + seconds) * 1000),
      value,
      metadata,
      id: index,
    }),
  );
  return store;
}

const over =
  (store: SampleStore): CannedAnswer =>
  (_, { pathname, search }) =>
    store.respond(`${pathname}${search}`);

async function increaseOf(readings: readonly Reading[], setup: Setup = asIncrease): Promise<string[]> {
  return (await samplesOf(over(stored(readings)), setup)).map(({ value }) => value.toString());
}

// ---------------------------------------------------------------------------------------------------------- requests

test('fixed asks for the half-open period, and for whose the rows are', async () => {
  const { asked } = await ask(answering([row('v1')], [resource('v1')]), { metadata: ['name'] });
  const conditions =
    'q.field=timestamp&q.field=project&q.field=timestamp&q.op=ge&q.op=eq&q.op=lt&q.type=&q.type=&q.type=' +
    '&q.value=2017-03-01T01%3A00%3A00Z&q.value=p1&q.value=2017-03-01T02%3A00%3A00Z';
  assert.deepEqual(asked, [
    `/v2/meters/volume.size/statistics?${conditions}&groupby=resource_id&groupby=project_id`,
    `/v2/resources?${conditions}&limit=1000&meter_links=0`,
  ]);
});

test('resources are not asked for when nothing of them is wanted', async () => {
  const { asked } = await ask(answering([row('v1')]), {
    groupby: ['resource_id', 'volume_id', 'project_id'],
  });
  assert.equal(asked.length, 1);
});

test('scopes can be users: their name in queries and groups is another', async () => {
  const ofUser = { scope: { key: 'user_id', id: 'u1' }, groupby: ['user_id'] };
  const { asked, collected } = await ask(answering([row('v1', '"max":1.0', '"user_id":"u1"')]), ofUser);
  assert.match(asked[0]!, /q\.field=timestamp&q\.field=user&.*groupby=resource_id&groupby=user_id$/);
  assert.equal(collected.kind, 'measured');
});

test('a scope without an id is refused, because Ceilometer would answer for everybody', async () => {
  for (const compat of ['strict', 'fixed'] as const) {
    const error = await failure(answering([row('v1')]), {
      scope: { key: 'project_id', id: '' },
      context: { compat },
    });
    assert.equal(error.code, 'RATECAT_SCOPE_NOT_MEASURABLE');
    assert.equal(error.kind, 'rejected');
  }
});

test('a scope key that Ceilometer does not know is refused at the start', async () => {
  const started = (scopeKey: string) =>
    createPlugin({
      definition: ceilometer,
      options: LOGIN,
      context: fakeContext({ pipeline: { name: 'main', scopeKey, periodSeconds: HOUR } }),
    });
  for (const scopeKey of ['project_id', 'tenant_id', 'user_id']) await started(scopeKey);
  await assert.rejects(started('domain_id'), { code: 'RATECAT_SCOPE_NOT_MEASURABLE', kind: 'config' });
});

test('the endpoint may end in /v2 and a slash, and is the public one unless said otherwise', async () => {
  const urls = async (options: object) => {
    const endpoints = ['public', 'internal'].map((name) => ({
      interface: name,
      region: 'One',
      url: `http://${name}.test:8777/metering/v2/`,
    }));
    const token = { user: { id: 'u' }, catalog: [{ type: 'metering', endpoints }] };
    const http = new CannedHttp((_, url) =>
      url.pathname.endsWith('/auth/tokens')
        ? { status: 201, headers: { 'x-subject-token': 't' }, body: JSON.stringify({ token }) }
        : '[]',
    );
    const collector = (await createPlugin({
      definition: ceilometer,
      options: { ...LOGIN, ...options },
      context: fakeContext({ http }),
    })) as Collector<CeilometerMetricOptions>;
    await collector.collect({ metric: metricOf({}), scope, period }, never);
    return http.requests.at(-1)!.url.replace(/\?.*/, '');
  };
  assert.equal(await urls({}), 'http://public.test:8777/metering/v2/meters/volume.size/statistics');
  assert.match(await urls({ interface: 'internalURL', region_name: 'One' }), /^http:\/\/internal\.test/);
  await assert.rejects(urls({ region_name: 'Two' }), { code: 'RATECAT_ENDPOINT_MISSING' });
});

test('extra_args: only known quantities, and attributes with at least one field', () => {
  const refuses = (extra: object) => assert.ok(!ceilometerMetricOptions.safeParse(extra).success);
  refuses({ quantity: 'median' });
  refuses({ attributes: { name: [] } });
  refuses({ attributes: { name: 'display_name' } });
  refuses({ resource_key: '' });
  refuses({ transformer: 'compute' });
  assert.deepEqual(ceilometerMetricOptions.parse({}), {});
});

// -------------------------------------------------------------------------------------------------------- quantities

test('each quantity is the column of that name, and presence is one', async () => {
  const numbers = '"max":3.5,"min":1.5,"avg":2.25,"sum":9.0,"count":4';
  for (const [quantity, expected] of [
    ['max', '3.5'],
    ['min', '1.5'],
    ['avg', '2.25'],
    ['sum', '9'],
    ['count', '4'],
    ['presence', '1'],
  ] as const) {
    const [sample] = await samplesOf(answering([row('v1', numbers)]), { extra: { quantity } });
    assert.equal(sample!.value.toString(), expected, quantity);
  }
});

test('values keep their literal in fixed, and are binary floats in strict', async () => {
  for (const literal of ['20.0', '0.1', '0', '1.4567901103456776e+16', '12345678901234567890.123456789']) {
    const [sample] = await samplesOf(answering([row('v1', `"max":${literal}`)]));
    assert.ok(sample!.value.equals(Decimal.parse(literal)), literal);
    const [binary] = await samplesOf(answering([row('v1', `"max":${literal}`)], [resource('v1')]), strict);
    assert.ok(binary!.value.equals(Decimal.parse(literal).throughBinary()), literal);
  }
});

test('a value that is no number is refused, and so are two values for one resource', async () => {
  for (const value of ['null', '"12"', '1e999', '{}', 'true']) {
    const error = await failure(answering([row('v1', `"max":${value}`)]));
    assert.equal(error.code, 'RATECAT_SAMPLE_NOT_A_NUMBER', value);
  }
  assert.equal((await failure(answering([row('v1', '"min":1.0')]))).code, 'RATECAT_SAMPLE_NOT_A_NUMBER');
  assert.equal((await failure(answering([row('v1'), row('v1')]))).code, 'RATECAT_SERIES_DUPLICATED');
});

test('rows of another project are refused, in statistics and in samples', async () => {
  const error = await failure(answering([row('v1', '"max":1.0', '"project_id":"p2"')]));
  assert.equal(error.code, 'RATECAT_SAMPLE_OF_OTHER_SCOPE');
  const store = stored([{ seconds: 0, value: 1 }]);
  const respond: CannedAnswer = (_, url) => {
    const { body } = store.respond(`${url.pathname}${url.search}`);
    return body.replaceAll('"project_id":"p1"', '"project_id":"p2"');
  };
  assert.equal((await failure(respond, asIncrease)).code, 'RATECAT_SAMPLE_OF_OTHER_SCOPE');
});

test('answers of another form are refused', async () => {
  for (const body of ['{}', 'null', '"x"', '[1]', '[{}]', '[{"groupby":null,"max":1.0}]', '[', '<html>']) {
    assert.equal((await failure(() => body)).code, 'RATECAT_UPSTREAM_MALFORMED', body);
  }
  for (const row of [
    {},
    { resource_id: 'r1', project_id: 'p1' },
    { resource_id: 'r1', project_id: 'p1', timestamp: 'yesterday', message_id: 'm', counter_volume: 1 },
    { resource_id: 'r1', project_id: 'p1', timestamp: '2017-03-01T01:00:00+09:00', message_id: 'm' },
    { resource_id: 'r1', project_id: 'p1', timestamp: '2017-03-01T01:00:00', counter_volume: 1 },
  ]) {
    const body = JSON.stringify([row]);
    const { code } = await failure(() => body, asIncrease);
    assert.ok(code === 'RATECAT_UPSTREAM_MALFORMED' || code === 'RATECAT_SAMPLE_OF_OTHER_SCOPE', body);
  }
});

test('points come in the order of the ids of their resources', async () => {
  const found = await samplesOf(answering(['v2', 'v10', 'v1'].map((id) => row(id))));
  assert.deepEqual(
    found.map(({ groupby }) => groupby.get('resource_id')),
    ['v1', 'v10', 'v2'],
  );
});

// --------------------------------------------------------------------------------------------------------- increases

test('an increase is the sum of the steps that end in the period', async () => {
  const readings = [-600, 0, 600, 3599].map((seconds, index) => ({ seconds, value: 100 + index * 10 }));
  assert.deepEqual(await increaseOf([...readings, { seconds: 3600, value: 1000 }]), ['30']);
});

test('the very first sample of a counter is its start, and counts nothing', async () => {
  assert.deepEqual(await increaseOf([{ seconds: 60, value: 5000 }]), ['0']);
});

test('a sample before the period counts however old it is', async () => {
  const old = { seconds: -86_400, value: 100 };
  assert.deepEqual(await increaseOf([old, { seconds: 60, value: 130 }, { seconds: 120, value: 131 }]), [
    '31',
  ]);
});

test('of many samples at the same time before the period the greatest is the one before', async () => {
  const crowd = Array.from({ length: 40 }, (_, index) => ({ seconds: -7200, value: 100 + index }));
  assert.deepEqual(await increaseOf([...crowd, { seconds: 60, value: 150 }]), ['11']);
});

test('a counter that began again counts from zero', async () => {
  const readings = [500, 600, 40, 45].map((value, index) => ({ seconds: index * 600, value }));
  assert.deepEqual(await increaseOf(readings), ['145']);
});

test('two readings at the same time are no restart, whichever comes first', async () => {
  const [a, b] = [
    { seconds: 600, value: 110 },
    { seconds: 600, value: 112 },
  ];
  for (const pair of [
    [a, b],
    [b, a],
  ])
    assert.deepEqual(await increaseOf([{ seconds: 0, value: 100 }, ...pair, { seconds: 900, value: 113 }]), [
      '13',
    ]);
});

test('deltas are added up, and gauges are refused', async () => {
  const readings = (type: string) => [-60, 60, 120].map((seconds) => ({ seconds, value: 7, type }));
  assert.deepEqual(await increaseOf(readings('delta')), ['14']);
  const error = await failure(over(stored(readings('gauge'))), asIncrease);
  assert.equal(error.code, 'RATECAT_METER_NOT_A_COUNTER');
  assert.match(error.message, /'gauge'.*extra_args\.quantity/);
});

test('a counter without a sample in the period has no point', async () => {
  const { collected } = await ask(over(stored([{ seconds: -60, value: 1 }])), asIncrease);
  assert.deepEqual(collected, { kind: 'nothing' });
});

test('the microsecond decides to which period a sample belongs', async () => {
  const sample = (time: string, volume: string, id: string) =>
    `{"resource_id":"r1","project_id":"p1","user_id":null,"resource_metadata":{},"counter_type":"cumulative",` +
    `"counter_volume":${volume},"timestamp":"${time}","message_id":"${id}"}`;
  const body = [
    sample('2017-03-01T01:00:00', '10.0', 'c'),
    sample('2017-03-01T00:59:59.999999', '7.0', 'b'),
    sample('2017-03-01T00:59:59', '4.0', 'a'),
  ];
  const [found] = await samplesOf(() => `[${body.join(',')}]`, asIncrease);
  assert.equal(found!.value.toString(), '3');
});

test('samples that are not in order are refused: a page could not be continued', async () => {
  const store = stored([0, 600].map((seconds) => ({ seconds, value: 1 })));
  const reversed: CannedAnswer = (_, url) =>
    JSON.stringify(JSON.parse(store.respond(`${url.pathname}${url.search}`).body).reverse());
  assert.equal((await failure(reversed, asIncrease)).code, 'RATECAT_UPSTREAM_MALFORMED');
});

test('strict takes the greatest value of a counter unless told otherwise', async () => {
  const store = stored([0, 600, 3600].map((seconds, index) => ({ seconds, value: 100 + index })));
  const strictly = async (extra: object) =>
    (await samplesOf(over(store), { ...asIncrease, ...strict, extra })).map(({ value }) => value.toString());
  assert.deepEqual(await strictly({}), ['102']);
  assert.deepEqual(await strictly({ quantity: 'increase' }), ['1']);
});

test('an increase describes its resource as the newest sample of the period does', async () => {
  const states = ['small', 'large', 'huge'].map((size, index) => ({
    seconds: [0, 3000, 3600][index]!,
    value: index,
    metadata: { flavor: { name: size } },
  }));
  const [found] = await samplesOf(over(stored(states)), {
    ...asIncrease,
    metadata: ['flavor.name', 'user_id'],
  });
  assert.equal(found!.metadata.canonical(), '{"flavor.name":"large","user_id":"u1"}');
});

test('whatever the samples, the pages and the periods: increases add up to the growth of the counter', async () => {
  const seed = sampleSeed();
  const reading = fc.record({
    // Few different times, so that many samples share one and pages end inside of it.
    seconds: fc.integer({ min: -20, max: 40 }).map((n) => n * 200),
    id: fc.constantFrom('r1', 'r2', 'r3'),
    grown: fc.integer({ min: 0, max: 1000 }),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(reading, { maxLength: 60 }),
      fc.integer({ min: 2, max: 9 }),
      async (drawn, pageSize) => {
        const counters = new Map<string, number>();
        const ordered = [...drawn].sort((a, b) => a.seconds - b.seconds);
        const readings = ordered.map(({ seconds, id, grown }) => {
          counters.set(id, (counters.get(id) ?? 50) + grown);
          return { seconds, id, value: counters.get(id)! };
        });
        const { collector } = await collectorOver(over(stored(readings)), {}, { page_size: pageSize });
        const sums = new Map<string, Decimal>();
        for (let begin = BEGIN - 2 * HOUR; begin < BEGIN + 3 * HOUR; begin += HOUR) {
          const own = { begin, end: begin + HOUR };
          const answer = await collector.collect({ metric: metricOf(asIncrease), scope, period: own }, never);
          for (const { groupby, value } of answer.kind === 'measured' ? answer.samples : []) {
            const id = groupby.get('resource_id') as string;
            sums.set(id, (sums.get(id) ?? Decimal.ZERO).plus(value));
          }
        }
        for (const id of counters.keys()) {
          const values = readings.filter((one) => one.id === id).map(({ value }) => value);
          const growth = Math.max(...values) - Math.min(...values);
          assert.equal(sums.get(id)?.toString(), String(growth), `${id}, seed ${seed}`);
        }
      },
    ),
    { seed, numRuns: 150 },
  );
});

test('a page full of one instant is left by asking for a longer one', async () => {
  const crowd = Array.from({ length: 9 }, (_, index) => ({ seconds: 600, value: 5, id: `r${index}` }));
  const before = crowd.map((one) => ({ ...one, seconds: 0, value: 3 }));
  const { collected, asked } = await ask(over(stored([...before, ...crowd])), {
    ...asIncrease,
    options: { page_size: 2 },
  });
  assert.equal(collected.kind === 'measured' ? collected.samples.length : 0, 9);
  const limits = asked.filter((target) => !target.includes('q.field=resource')).map(limitOf);
  assert.ok(Math.max(...limits) > 9, String(limits));
});

function limitOf(target: string): number {
  return Number(new URL(target, 'http://x.invalid').searchParams.get('limit'));
}

// --------------------------------------------------------------------------------------------------------- resources

test('the first field that a resource has gives the attribute; an empty text is a value', async () => {
  const setup = { meter: 'cpu', metadata: ['name', 'flavor', 'image_id', 'no_such', 'image.name'] };
  const metadata = { display_name: '', instance_type: 'm1', 'image.id': null, 'image.name': 'None' };
  const [found] = await samplesOf(answering([row('i1')], [resource('i1', metadata)]), setup);
  assert.equal(
    found!.metadata.canonical(),
    '{"flavor":"m1","image.name":"None","image_id":null,"name":"","no_such":null}',
  );
});

test('user metadata is one map without its prefix, whatever its keys are called', async () => {
  const body = JSON.stringify([resource('i1')]).replace(
    '"metadata":{}',
    '"metadata":{"user_metadata.a":"1","user_metadata.__proto__":"2","user_metadata":"3","other":"4"}',
  );
  const answer: CannedAnswer = (_, url) => (url.pathname === '/v2/resources' ? body : `[${row('i1')}]`);
  const [found] = await samplesOf(answer, {
    meter: 'cpu',
    metadata: ['metadata', '__proto__', 'constructor'],
  });
  assert.equal(canonicalJson(found!.metadata.get('metadata')!), '{"__proto__":"2","a":"1"}');
  assert.equal(found!.metadata.get('__proto__'), null);
  assert.equal(found!.metadata.get('constructor'), null);
});

test('extra_args name attributes and the key of the resource anew', async () => {
  const setup = {
    meter: 'disk.root.size',
    groupby: ['machine', 'project_id'],
    metadata: ['owner', 'user_id'],
    extra: { resource_key: 'machine', attributes: { owner: ['user_metadata.owner', 'display_name'] } },
  };
  const state = resource('d1', { display_name: 'db' });
  const [found] = await samplesOf(answering([row('d1')], [state]), setup);
  assert.equal(found!.groupby.canonical(), '{"machine":"d1","project_id":"p1"}');
  assert.equal(found!.metadata.canonical(), '{"owner":"db","user_id":"u1"}');
});

test('fixed: a resource that is not found keeps its point, with a warning', async () => {
  const logger = new RecordingLogger();
  const setup = { metadata: ['size'], context: { logger } };
  const found = await samplesOf(answering([row('v1'), row('v2')], [resource('v2', { size: '7' })]), setup);
  assert.deepEqual(
    found.map(({ metadata }) => metadata.get('size')),
    [null, '7'],
  );
  assert.deepEqual(
    logger.lines.map(({ level, fields }) => [level, fields.resource]),
    [['warn', 'v1']],
  );
});

test('strict: a resource that is not found, or has a slash in its id, makes the metric unused', async () => {
  const logger = new RecordingLogger();
  const setup = { context: { logger, compat: 'strict' as const } };
  const unknown = await ask(answering([row('v1'), row('v2')], [resource('v2')]), setup);
  assert.deepEqual(unknown.collected, { kind: 'nothing' });
  const slash = exchanges().find(({ name }) => name === 'resource-slash-escaped-once')!;
  const answer: CannedAnswer = (_, url) =>
    url.pathname.endsWith('/statistics')
      ? `[${row('p1/glance')}]`
      : { status: slash.status, body: slash.raw };
  const { collected, asked } = await ask(answer, setup);
  assert.deepEqual(collected, { kind: 'nothing' });
  assert.equal(asked[1], '/v2/resources/p1%2Fglance');
  assert.deepEqual(
    logger.lines.map(({ fields }) => fields.resource),
    ['v1', 'p1/glance'],
  );
});

test('fixed: a slash in an id does no harm', async () => {
  const answer = answering([row('p1/glance')], [resource('p1/glance', { size: '7' })]);
  const [found] = await samplesOf(answer, { metadata: ['size'] });
  assert.equal(found!.metadata.get('size'), '7');
});

test('strict: an answer about another resource, or from a proxy, is refused', async () => {
  const other: CannedAnswer = (_, url) =>
    url.pathname.endsWith('/statistics') ? `[${row('v1')}]` : JSON.stringify(resource('v2'));
  assert.equal((await failure(other, strict)).code, 'RATECAT_UPSTREAM_MALFORMED');
  const proxy: CannedAnswer = (_, url) =>
    url.pathname.endsWith('/statistics') ? `[${row('v1')}]` : { status: 404, body: '<html>no</html>' };
  assert.equal((await failure(proxy, strict)).code, 'RATECAT_UPSTREAM_REJECTED');
});

test('a list of resources as long as its limit is asked for again with a higher one', async () => {
  const ids = Array.from({ length: 20 }, (_, index) => `v${index + 10}`);
  const states = ids.map((id) => resource(id, { size: id }));
  const answer: CannedAnswer = (_, url) =>
    url.pathname === '/v2/resources'
      ? JSON.stringify(states.slice(0, Number(url.searchParams.get('limit'))))
      : `[${ids.map((id) => row(id)).join(',')}]`;
  const setup = { metadata: ['size'], options: { page_size: 5 } };
  const { collected, asked } = await ask(answer, setup);
  assert.deepEqual(asked.slice(1).map(limitOf), [5, 20, 80]);
  assert.ok(collected.kind === 'measured' && collected.samples.every(({ metadata }) => metadata.get('size')));
});

test('metrics of one scope and period that are asked for at the same time share the list of resources', async () => {
  const { collector, asked } = await collectorOver(answering([row('v1')], [resource('v1')]));
  const metric = metricOf({ metadata: ['size'] });
  await Promise.all([1, 2, 3].map(() => collector.collect({ metric, scope, period }, never)));
  assert.equal(asked().filter((target) => target.startsWith('/v2/resources')).length, 1);
  await collector.collect({ metric, scope, period }, never);
  assert.equal(asked().filter((target) => target.startsWith('/v2/resources')).length, 2);
});

test('strict: never more questions at once than http_pool_maxsize, and none after one has failed', async () => {
  const ids = Array.from({ length: 30 }, (_, index) => `v${index}`);
  let [now, most, begun] = [0, 0, 0];
  const slow = {
    client: () => ({
      close: () => Promise.resolve(),
      request: async (request: { readonly url: string }, signal: AbortSignal) => {
        signal.throwIfAborted();
        const url = new URL(request.url);
        if (url.pathname.endsWith('/auth/tokens')) return await login();
        if (url.pathname.endsWith('/statistics'))
          return { status: 200, headers: {}, body: `[${ids.map((id) => row(id)).join(',')}]` };
        begun++;
        most = Math.max(most, ++now);
        await new Promise((resolve) => setImmediate(resolve));
        now--;
        const id = url.pathname.split('/').at(-1)!;
        if (id === 'v12') return { status: 503, headers: {}, body: 'down' };
        return { status: 200, headers: {}, body: JSON.stringify(resource(id)) };
      },
    }),
  };
  const login = async () => {
    const endpoints = [{ interface: 'public', url: 'http://ceilometer.test:8777' }];
    const token = { user: { id: 'u' }, catalog: [{ type: 'metering', endpoints }] };
    return { status: 201, headers: { 'x-subject-token': 't' }, body: JSON.stringify({ token }) };
  };
  const collector = (await createPlugin({
    definition: ceilometer,
    options: { ...LOGIN, http_pool_maxsize: 4 },
    context: fakeContext({ http: slow, compat: 'strict' }),
  })) as Collector<CeilometerMetricOptions>;
  const error = await collector.collect({ metric: metricOf({}), scope, period }, never).then(
    () => assert.fail('it has answered'),
    (caught: RatecatError) => caught,
  );
  assert.equal(error.code, 'RATECAT_UPSTREAM_UNAVAILABLE');
  assert.ok(error.retryable);
  assert.equal(most, 4);
  assert.ok(begun < 20, `${begun} questions`);
});

// ------------------------------------------------------------------------------------------------------------ errors

/** The recorded answer in place of every answer. */
function recorded(name: string): CannedAnswer {
  const { status, raw } = exchanges().find((exchange) => exchange.name === name)!;
  return () => ({ status, body: raw });
}

test('recorded refusals are told apart, and Ceilometer is quoted', async () => {
  for (const [name, code, message] of [
    ['bad-timestamp', 'RATECAT_QUERY_REFUSED', /invalid timestamp format/],
    ['bad-groupby', 'RATECAT_QUERY_REFUSED', /Invalid groupby fields/],
    ['gnocchi-statistics', 'RATECAT_UPSTREAM_REJECTED', /configured to use Gnocchi.*collector gnocchi/],
    ['gnocchi-statistics-no-accept', 'RATECAT_UPSTREAM_REJECTED', /410/],
    ['not-found', 'RATECAT_UPSTREAM_REJECTED', /404: Not Found/],
    ['no-token', 'RATECAT_AUTH_REJECTED', /role 'admin'/],
    ['member-other-project', 'RATECAT_AUTH_REJECTED', /role 'admin' on the project/],
  ] as const) {
    const error = await failure(recorded(name));
    assert.equal(error.code, code, name);
    assert.match(error.message, message, name);
    assert.equal(error.kind, 'rejected', name);
    assert.ok(!error.retryable, name);
  }
});

test('recorded empty answers are nothing: an unknown meter, a project without samples', async () => {
  for (const name of ['stats-unknown-meter', 'stats-empty-with-project'])
    assert.deepEqual((await ask(recorded(name))).collected, { kind: 'nothing' }, name);
});

test('what may pass is tried again, a missing role is not', async () => {
  for (const status of [429, 500, 502, 503, 504]) {
    const error = await failure(() => ({ status, body: '' }));
    assert.ok(error.retryable, String(status));
  }
  const forbidden = await failure(() => ({ status: 403, body: '{}' }));
  assert.equal(forbidden.code, 'RATECAT_ROLE_MISSING');
});

test('errors name the request without its query, which holds ids', async () => {
  const { message } = await failure(() => ({ status: 500, body: 'oops' }));
  assert.match(
    message,
    /GET http:\/\/ceilometer\.test:8777\/v2\/meters\/volume\.size\/statistics was answered/,
  );
  assert.doesNotMatch(message, /q\.value|p1/);
});

test('a meter with signs of a URL in its name stays one part of the path', async () => {
  const { asked } = await ask(() => '[]', { meter: 'a/b?c#d' });
  assert.match(asked[0]!, /^\/v2\/meters\/a%2Fb%3Fc%23d\/statistics\?/);
});
