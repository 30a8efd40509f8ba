import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type Collected,
  type Collector,
  Decimal,
  type Metric,
  type PluginContext,
  type RatecatError,
  type Sample,
} from '../../../core/plugin-api/index.js';
import { createPlugin } from '../../../core/testkit/definition.js';
import { fakeContext, RecordingLogger } from '../../../core/testkit/fakes.js';
import { sampleSeed } from '../../../core/testkit/samples.js';
import { combine, onlyThePeriod } from '../../../plugins/collectors/gnocchi/measures.js';
import {
  type GnocchiMetricOptions,
  gnocchiMetricOptions,
} from '../../../plugins/collectors/gnocchi/metric-options.js';
import gnocchi from '../../../plugins/collectors/gnocchi.js';
import { type CannedAnswer, CannedHttp } from '../../support/canned-http.js';

const never = new AbortController().signal;
const BEGIN = Date.UTC(2019, 0, 1) / 1000;
const period = { begin: BEGIN, end: BEGIN + 3600 };
const scope = { key: 'project_id', id: 'p1' };
const BASIC = {
  gnocchi_auth_type: 'basic',
  gnocchi_user: 'admin',
  gnocchi_endpoint: 'http://gnocchi.test:8041/',
};

interface Setup {
  readonly extra?: object;
  readonly groupby?: readonly string[];
  readonly metadata?: readonly string[];
  readonly name?: string;
  readonly context?: Partial<PluginContext>;
}

function metricOf({ extra, groupby, metadata, name }: Setup): Metric<GnocchiMetricOptions> {
  return {
    name: name ?? 'cpu',
    ratedName: 'instance',
    unit: 'instance',
    groupby: groupby ?? ['id', 'project_id'],
    metadata: metadata ?? [],
    description: undefined,
    options: gnocchiMetricOptions.parse({ resource_type: 'instance', ...extra }),
  };
}

async function ask(
  answer: CannedAnswer | string,
  setup: Setup = {},
): Promise<{ collected: Collected; http: CannedHttp }> {
  const http = new CannedHttp(typeof answer === 'string' ? () => answer : answer);
  const collector = (await createPlugin({
    definition: gnocchi,
    options: BASIC,
    context: fakeContext({ http, ...setup.context }),
  })) as Collector<GnocchiMetricOptions>;
  const collected = await collector.collect({ metric: metricOf(setup), scope, period }, never);
  return { collected, http };
}

async function samplesOf(answer: CannedAnswer | string, setup: Setup = {}): Promise<readonly Sample[]> {
  const { collected } = await ask(answer, setup);
  assert.equal(collected.kind, 'measured');
  return (collected as { samples: readonly Sample[] }).samples;
}

async function failure(answer: CannedAnswer | string, setup: Setup = {}): Promise<RatecatError> {
  return await ask(answer, setup).then(
    ({ collected }) => assert.fail(JSON.stringify(collected)),
    (error) => error,
  );
}

/** A group in JSON text, so that the literals of numbers are exactly those written here. */
function group(attributes: object, ...measures: string[]): string {
  return `{"group":${JSON.stringify(attributes)},"measures":{"measures":{"aggregated":[${measures.join(',')}]}}}`;
}

/** `[time, granularity, value]`, the time as minutes after the begin of the period. */
function at(minutes: number, granularity: number, value: string): string {
  return `["${new Date((BEGIN + minutes * 60) * 1000).toISOString().replace('.000Z', '+00:00')}",${granularity}.0,${value}]`;
}

const one = (...measures: string[]) => `[${group({ id: 'r1', project_id: 'p1' }, ...measures)}]`;
const strict = { context: { compat: 'strict' as const } };

test('the call is that of the reference: parameters by name, encoded, and its body', async () => {
  const { http } = await ask('[]', { extra: { force_granularity: 300, aggregation_method: 'mean' } });
  const [request] = http.requests;
  assert.equal(request!.method, 'POST');
  assert.equal(
    request!.url,
    'http://gnocchi.test:8041/v1/aggregates?details=False&granularity=300&groupby=id&groupby=project_id' +
      '&start=2019-01-01T00%3A00%3A00%2B00%3A00&stop=2019-01-01T01%3A00%3A00%2B00%3A00&use_history=True',
  );
  assert.equal(request!.headers?.authorization, `basic ${btoa('admin:')}`);
  assert.deepEqual(JSON.parse(request!.body!), {
    operations: ['aggregate', 'max', ['metric', 'cpu', 'mean']],
    resource_type: 'instance',
    search: { and: [{ '=': { type: 'instance' } }, { '=': { project_id: 'p1' } }] },
  });
});

test('without a granularity none is sent, and a rate across resources starts one granularity earlier', async () => {
  const { http } = await ask('[]', { extra: { force_granularity: 0, re_aggregation_method: 'rate:mean' } });
  assert.deepEqual(http.asked('granularity'), [null]);
  assert.deepEqual(http.asked('start'), ['2019-01-01T00:00:00+00:00']);
  const rate = { aggregation_method: 'rate:mean', re_aggregation_method: 'rate:sum', force_granularity: 300 };
  assert.deepEqual((await ask('[]', { extra: rate })).http.asked('start'), ['2018-12-31T23:55:00+00:00']);
  const onlyInner = { aggregation_method: 'rate:mean', force_granularity: 300 };
  assert.deepEqual((await ask('[]', { extra: onlyInner })).http.asked('start'), [
    '2019-01-01T00:00:00+00:00',
  ]);
});

test('custom_query replaces the operations in the order of the reference', async () => {
  const custom_query = '(* (aggregate RE_AGGREGATION_METHOD (metric METRIC_NAME AGGREGATION_METHOD)) -1)';
  const operations = async (name: string) => {
    const { http } = await ask('[]', { name, extra: { custom_query, aggregation_method: 'mean' } });
    return JSON.parse(http.requests[0]!.body!).operations;
  };
  assert.equal(await operations('test'), '(* (aggregate max (metric test mean)) -1)');
  assert.equal(await operations('$&'), '(* (aggregate max (metric $& mean)) -1)');
  await assert.rejects(operations('x) (metric y max'), { code: 'RATECAT_METRIC_NAME_INVALID' });
});

test('values keep their literal, whatever a float would make of it', async () => {
  for (const literal of ['300.0', '0.1', '0', '-0.0', '12345678901234567890.123456789', '1e-7', '1E+3']) {
    const [sample] = await samplesOf(one(at(0, 3600, literal)));
    assert.ok(sample!.value.equals(Decimal.parse(literal)), literal);
  }
});

test('the point carries the group as it is, with null and numbers, and always its scope', async () => {
  const answer = `[${group({ id: 'r1', user_id: null, vcpus: 2 }, at(0, 3600, '1'))}]`;
  const [sample] = await samplesOf(answer, { groupby: ['id', 'user_id', 'vcpus', 'missing', 'project_id'] });
  assert.equal(
    sample!.groupby.canonical(),
    '{"id":"r1","missing":"","project_id":"p1","user_id":null,"vcpus":2}',
  );
});

test('strict takes the first sub-sample only, fixed takes all of the period', async () => {
  const hour = one(...Array.from({ length: 12 }, (_, index) => at(index * 5, 300, `${index + 1}.0`)));
  const value = async (aggregation_method: string, setup: Setup = {}) =>
    (
      await samplesOf(hour, { ...setup, extra: { force_granularity: 300, aggregation_method } })
    )[0]!.value.toString();
  assert.equal(await value('mean', strict), '1');
  for (const [method, expected] of [
    ['mean', '6.5'],
    ['median', '6.5'],
    ['std', '6.5'],
    ['95pct', '6.5'],
    ['rate:mean', '6.5'],
    ['sum', '78'],
    ['count', '78'],
    ['rate:sum', '78'],
    ['max', '12'],
    ['rate:max', '12'],
    ['min', '1'],
    ['first', '1'],
    ['last', '12'],
  ] as const) {
    assert.equal(await value(method), expected, method);
  }
});

test('an average that never ends is rounded half-even at 28 digits', () => {
  const measure = (value: string) => ({ begin: BEGIN, seconds: 300, value: Decimal.parse(value) });
  const average = (...values: string[]) => combine(values.map(measure), 'mean')!.toString();
  assert.equal(average('1', '0', '0'), '0.3333333333333333333333333333');
  assert.equal(average('-2', '0', '0'), '-0.6666666666666666666666666667');
  assert.equal(average('0', '0'), '0');
  assert.equal(average('1e30', '2e30'), '1500000000000000000000000000000');
});

test('combining agrees with sums and extremes of whole numbers, for any order of the answer', () => {
  const values = fc.array(fc.integer({ min: -1_000_000, max: 1_000_000 }), { minLength: 1, maxLength: 12 });
  fc.assert(
    fc.property(values, fc.integer(), (numbers, seed) => {
      const measures = numbers.map((number, index) => ({
        begin: BEGIN + index * 300,
        seconds: 300,
        value: Decimal.fromInteger(number),
      }));
      const shuffled = measures.map((_, index) => measures[(index + Math.abs(seed)) % measures.length]!);
      const result = (method: string) => Number(combine(onlyThePeriod(shuffled, period), method)!.toString());
      const sum = numbers.reduce((total, number) => total + number, 0);
      assert.equal(result('sum'), sum);
      assert.equal(result('max'), Math.max(...numbers));
      assert.equal(result('min'), Math.min(...numbers));
      assert.equal(result('first'), numbers[0]);
      assert.equal(result('last'), numbers.at(-1));
      assert.ok(Math.abs(result('mean') - sum / numbers.length) < 1e-6);
    }),
    { seed: sampleSeed() },
  );
});

test('of several granularities the coarsest within the period counts, neighbours of the period never', async () => {
  const answer = one(at(0, 86400, '99'), at(0, 3600, '7'), at(0, 300, '1'), at(5, 300, '2'));
  const setup = { extra: { force_granularity: 0, aggregation_method: 'sum' } };
  assert.equal((await samplesOf(answer, setup))[0]!.value.toString(), '7');
  assert.equal((await samplesOf(answer, { ...setup, ...strict }))[0]!.value.toString(), '99');
  const shifted = one(at(-5, 300, '50'), at(0, 300, '1'), at(55, 300, '2'), at(60, 300, '70'));
  assert.equal((await samplesOf(shifted, setup))[0]!.value.toString(), '3');
  assert.equal(
    (await samplesOf(one(at(-30, 3600, '5')), setup))[0]!.value.toString(),
    '5',
    'a bucket that overlaps',
  );
});

test('groups without measures are left out, no groups at all are nothing', async () => {
  const answer = `[${group({ id: 'r1', project_id: 'p1' })},${group({ id: 'r2', project_id: 'p1' }, at(0, 3600, '0.0'))}]`;
  const found = await samplesOf(answer);
  assert.deepEqual(
    found.map(({ groupby, value }) => [groupby.get('id'), value.isZero]),
    [['r2', true]],
  );
  assert.equal((await ask('[]')).collected.kind, 'nothing');
  assert.equal((await ask(one())).collected.kind, 'nothing');
});

test('an unknown metric is nothing with a warning, in both ways that Gnocchi says it', async () => {
  for (const [status, description] of [
    [404, 'Metric 0b7c does not exist'],
    [400, { cause: 'Metrics not found', detail: ['cpu'] }],
  ] as const) {
    const logger = new RecordingLogger();
    const body = JSON.stringify({ code: status, title: 'x', description });
    const { collected } = await ask(() => ({ status, body }), { context: { logger } });
    assert.equal(collected.kind, 'nothing');
    assert.equal(logger.lines.filter(({ level }) => level === 'warn').length, 1);
  }
});

test('any other refusal is an error that says why, never nothing', async () => {
  for (const [status, description] of [
    [400, { cause: "Metrics can't being aggregated", reason: 'Granularities are missing' }],
    [400, 'Resource type instance does not exist'],
    [404, { cause: 'Metrics with unknown aggregation', detail: [] }],
    [404, 'The resource could not be found.'],
  ] as const) {
    const error = await failure(() => ({ status, body: JSON.stringify({ code: status, description }) }));
    assert.equal(error.code, 'RATECAT_QUERY_REFUSED', JSON.stringify(description));
    assert.equal(error.kind, 'rejected');
    assert.match(error.message, /metric cpu .*(Granular|type|aggregation|found)/);
  }
  assert.equal((await failure(() => ({ status: 404, body: '<html>' }))).code, 'RATECAT_UPSTREAM_REJECTED');
  assert.equal((await failure(() => ({ status: 400, body: '' }))).code, 'RATECAT_UPSTREAM_REJECTED');
  assert.equal((await failure(() => ({ status: 503, body: '' }))).code, 'RATECAT_UPSTREAM_UNAVAILABLE');
  assert.equal((await failure(() => ({ status: 401, body: '' }))).code, 'RATECAT_AUTH_REJECTED');
});

for (const [what, body, code] of [
  ['an empty body', '', 'MALFORMED'],
  ['a page', '<html>', 'MALFORMED'],
  ['null', 'null', 'MALFORMED'],
  ['an object', '{}', 'MALFORMED'],
  ['a list of null', '[null]', 'MALFORMED'],
  ['a list of numbers', '[1]', 'MALFORMED'],
  ['a group without measures', '[{"group":{"id":"a"}}]', 'MALFORMED'],
  ['a group that is a list', '[{"group":[],"measures":{"measures":{"aggregated":[]}}}]', 'MALFORMED'],
  ['measures by metric', '[{"group":{},"measures":{"measures":{"cpu":{"mean":[]}}}}]', 'MALFORMED'],
  ['a pair', one('["2019-01-01T00:00:00+00:00",1.0]'), 'MALFORMED'],
  ['a time that is none', one('["yesterday",300.0,1.0]'), 'MALFORMED'],
  ['a granularity that is text', one('["2019-01-01T00:00:00+00:00","300",1.0]'), 'MALFORMED'],
  ['the token NaN', one(at(0, 300, 'NaN')), 'MALFORMED'],
  ['the same key twice', '[{"group":{},"group":{"a":1}}]', 'MALFORMED'],
  ['nesting without end', '['.repeat(100_000), 'MALFORMED'],
  ['null as a value', one(at(0, 300, 'null')), 'NOT_A_NUMBER'],
  ['text as a value', one(at(0, 300, '"NaN"')), 'NOT_A_NUMBER'],
  ['a value beyond floats', one(at(0, 300, '1e400')), 'NOT_A_NUMBER'],
  ['the same group twice', one(at(0, 300, '1')).replace(/^\[(.*)\]$/, '[$1,$1]'), 'DUPLICATED'],
  ['another scope', `[${group({ id: 'a', project_id: 'p2' }, at(0, 300, '1'))}]`, 'OTHER_SCOPE'],
] as const) {
  test(`${what} is an error of data (${code})`, async () => {
    for (const setup of [{}, strict]) {
      const error = await failure(body, setup);
      assert.ok(error.code.endsWith(code), `${error.code}: ${error.message}`);
      assert.equal(error.kind, 'data');
    }
  });
}

test('an answer that is cut at any byte is malformed at each', async () => {
  const groups = Array.from({ length: 20 }, (_, index) =>
    group({ id: `r${index}`, project_id: 'p1' }, at(0, 300, '1.5')),
  );
  const whole = `[${groups.join(',')}]`;
  for (let length = 0; length < whole.length; length++) {
    assert.equal(
      (await failure(whole.slice(0, length))).code,
      'RATECAT_UPSTREAM_MALFORMED',
      `cut at ${length}`,
    );
  }
});

// ------------------------------------------------------------------------------------------------------------ metadata

const measured = `[${['r1', 'r2'].map((id) => group({ id, project_id: 'p1' }, at(0, 3600, '1'))).join(',')}]`;

/** Measures of r1 and r2, and a search that knows the given resources. */
function knowing(...resources: object[]): CannedAnswer {
  return (_, url) => {
    if (url.pathname.endsWith('/aggregates')) return measured;
    return url.searchParams.has('marker') ? '[]' : JSON.stringify(resources);
  };
}

test('metadata is searched around the period and put beside the measures', async () => {
  const setup = { metadata: ['flavor', 'vcpus', 'gone'] };
  const { collected, http } = await ask(
    knowing({ id: 'r1', flavor: 'm1', vcpus: 2.5 }, { id: 'r2', flavor: null }),
    setup,
  );
  assert.deepEqual(
    (collected as { samples: readonly Sample[] }).samples.map(({ metadata }) => metadata.canonical()),
    ['{"flavor":"m1","gone":"","vcpus":2.5}', '{"flavor":null,"gone":"","vcpus":""}'],
  );
  const [, search, next] = http.requests;
  assert.equal(search!.url, 'http://gnocchi.test:8041/v1/search/resource/instance?sort=id%3Aasc');
  assert.ok(next!.url.endsWith('?sort=id%3Aasc&marker=r2'));
  assert.deepEqual(JSON.parse(search!.body!), {
    and: [
      { or: [{ '=': { ended_at: null } }, { '>=': { ended_at: '2018-12-31T23:00:00+00:00' } }] },
      { '<=': { started_at: '2019-01-01T02:00:00+00:00' } },
      { '=': { project_id: 'p1' } },
    ],
  });
});

test('a point whose resource is not found is kept with empty metadata; strict drops it; both warn', async () => {
  for (const [compat, ids] of [
    ['fixed', ['r1', 'r2']],
    ['strict', ['r2']],
  ] as const) {
    const logger = new RecordingLogger();
    const found = await samplesOf(knowing({ id: 'r2', flavor: 'm2' }), {
      metadata: ['flavor'],
      context: { compat, logger },
    });
    assert.deepEqual(
      found.map(({ groupby }) => groupby.get('id')),
      ids,
    );
    assert.equal(found.at(-1)!.metadata.get('flavor'), 'm2');
    const warnings = logger.lines.filter(({ level }) => level === 'warn');
    assert.deepEqual(
      warnings.map(({ fields }) => fields.resource),
      ['r1'],
    );
  }
});

test('a resource that was dated after its usage, or moved to another project, is found by its id; strict has no such search', async () => {
  const answer: CannedAnswer = (request, url) => {
    if (url.pathname.endsWith('/aggregates')) return measured;
    if (url.searchParams.has('marker')) return '[]';
    const isById = JSON.stringify(request).includes('\\"in\\"');
    return JSON.stringify([isById ? { id: 'r1', flavor: 'm1' } : { id: 'r2', flavor: 'm2' }]);
  };
  const { collected, http } = await ask(answer, { metadata: ['flavor'] });
  assert.deepEqual(
    (collected as { samples: readonly Sample[] }).samples.map(({ metadata }) => metadata.get('flavor')),
    ['m1', 'm2'],
  );
  const bodies = http.requests.map(({ body }) => JSON.parse(body ?? 'null'));
  assert.deepEqual(bodies.filter((body) => 'in' in body).at(0), { in: { id: ['r1'] } });
  const found = await samplesOf(answer, { metadata: ['flavor'], ...strict });
  assert.deepEqual(
    found.map(({ groupby }) => groupby.get('id')),
    ['r2'],
  );
});

test('a server that ignores the marker does not keep the search going', async () => {
  const { http } = await ask(
    (_, url) => (url.pathname.endsWith('/aggregates') ? measured : '[{"id":"r1"},{"id":"r2"}]'),
    {
      metadata: ['flavor'],
    },
  );
  assert.equal(http.requests.length, 3);
});

test('links that lead in a circle are an error', async () => {
  const headers = { link: '<http://x/v1/search/resource/instance?marker=r1>; rel="next"' };
  const circle: CannedAnswer = (_, url) =>
    url.pathname.endsWith('/aggregates') ? measured : { body: '[{"id":"r1"}]', headers };
  assert.equal((await failure(circle, { metadata: ['flavor'] })).code, 'RATECAT_UPSTREAM_MALFORMED');
});

test('no metadata and no measures ask for no resources', async () => {
  assert.equal((await ask(measured)).http.requests.length, 1);
  assert.equal((await ask('[]', { metadata: ['flavor'] })).http.requests.length, 1);
});

test('a search that fails is an error, not missing metadata', async () => {
  const failing =
    (status: number): CannedAnswer =>
    (_, url) =>
      url.pathname.endsWith('/aggregates') ? measured : { status, body: '' };
  assert.equal((await failure(failing(500), { metadata: ['a'] })).kind, 'unavailable');
  assert.equal((await failure(failing(404), { metadata: ['a'] })).kind, 'rejected');
});

// ----------------------------------------------------------------------------------------------------------- revisions

test('without all revisions each resource is one point: newest attributes, sum of the revisions', async () => {
  const revision = (id: string, hour: string, flavor: string, ...measures: string[]) =>
    group({ id, project_id: 'p1', revision_start: `2019-01-01T${hour}:00:00+00:00`, flavor }, ...measures);
  const answer = `[${[
    revision('b', '00', 'only', at(0, 3600, '5')),
    revision('a', '02', 'newest', at(0, 3600, '0.2')),
    revision('a', '01', 'older', at(0, 3600, '0.1')),
    revision('a', '00', 'oldest'),
  ].join(',')}]`;
  const setup = {
    groupby: ['id', 'project_id', 'revision_start', 'flavor'],
    extra: { use_all_resource_revisions: false },
  };
  const values = async (more: Setup = {}) =>
    (await samplesOf(answer, { ...setup, ...more })).map(({ groupby, value }) => [
      groupby.get('id'),
      groupby.get('flavor'),
      value.toString(),
    ]);
  assert.deepEqual(await values(), [
    ['a', 'newest', '0.3'],
    ['b', 'only', '5'],
  ]);
  // The reference adds binary floats.
  assert.deepEqual(await values(strict), [
    ['a', 'newest', '0.30000000000000004'],
    ['b', 'only', '5'],
  ]);
  assert.equal((await samplesOf(answer, { ...setup, extra: {} })).length, 3);
});

test('sub-samples of revisions fill the period instead of being added', async () => {
  const half = (from: number, flavor: string) =>
    group(
      { id: 'a', project_id: 'p1', revision_start: `2019-01-01T00:${from + 10}:00+00:00`, flavor },
      ...Array.from({ length: 6 }, (_, index) => at(from + index * 5, 300, '4')),
    );
  const [sample, ...others] = await samplesOf(`[${half(0, 'small')},${half(30, 'big')}]`, {
    groupby: ['id', 'project_id', 'revision_start', 'flavor'],
    extra: { use_all_resource_revisions: false, force_granularity: 300, aggregation_method: 'mean' },
  });
  assert.equal(others.length, 0);
  assert.equal(sample!.value.toString(), '4');
  assert.equal(sample!.groupby.get('flavor'), 'big');
});

test('groupby gets the resource key, and the begin of revisions where they are merged', async () => {
  const collector = await createPlugin({ definition: gnocchi, options: BASIC, context: fakeContext() });
  const required = (extra: object) =>
    collector.requiredGroupby?.(gnocchiMetricOptions.parse({ resource_type: 'x', ...extra }) as never);
  assert.deepEqual(required({}), ['id']);
  assert.deepEqual(required({ resource_key: 'name', use_all_resource_revisions: false }), [
    'name',
    'revision_start',
  ]);
  assert.deepEqual(collector.strictArithmetic, {
    significantDigits: 28,
    rounding: 'half-even',
    roundsSample: false,
    binarySample: true,
  });
});

test('options and extra_args are checked with messages that help', async () => {
  const issues = async (schema: typeof gnocchi.options | typeof gnocchiMetricOptions, value: unknown) =>
    ((await schema['~standard'].validate(value)).issues ?? [])
      .map(({ path, message }) => `${path?.join('.')} ${message}`)
      .join('; ');
  const extra = (value: object) => issues(gnocchiMetricOptions, { resource_type: 'instance', ...value });
  assert.match(await issues(gnocchiMetricOptions, {}), /resource_type/);
  assert.match(await extra({ aggregation_method: 'average' }), /must be one of mean, sum.*1pct to 99pct/);
  assert.match(await extra({ re_aggregation_method: '95pct' }), /must be one of/);
  assert.match(await extra({ force_granularity: -1 }), /force_granularity/);
  assert.match(await extra({ granularity: 300 }), /granularity/);
  for (const name of ['mean', 'rate:last', '1pct', '99pct', 'rate:50pct'])
    assert.equal(await extra({ aggregation_method: name }), '');
  for (const name of ['0pct', '100pct', '05pct', 'rate:', 'rate:rate:mean'])
    assert.notEqual(await extra({ aggregation_method: name }), '', name);
  assert.match(await issues(gnocchi.options, {}), /auth_url is required/);
  assert.match(await issues(gnocchi.options, { gnocchi_auth_type: 'basic' }), /gnocchi_endpoint is required/);
});
