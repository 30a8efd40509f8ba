import assert from 'node:assert/strict';
import { test } from 'node:test';
import type {
  Collected,
  Collector,
  CollectRequest,
  Metric,
  PluginContext,
  RatecatError,
  Sample,
} from '../../../core/plugin-api/index.js';
import { createPlugin } from '../../../core/testkit/definition.js';
import { fakeContext, RecordingLogger } from '../../../core/testkit/fakes.js';
import prometheus, {
  type PrometheusMetricOptions,
  prometheusMetricOptions,
  prometheusQuery,
} from '../../../plugins/collectors/prometheus.js';
import { type CannedAnswer, CannedHttp } from '../../support/canned-http.js';

const never = new AbortController().signal;
const BEGIN = Date.UTC(2026, 0, 1) / 1000 - 7200;
const period = { begin: BEGIN, end: BEGIN + 3600 };
const scope = { key: 'project_id', id: 'X' };
const URL_BASE = 'http://prometheus.test:9090/api/v1';

function metricWith(extra: object = {}, more: Partial<Metric> = {}): Metric<PrometheusMetricOptions> {
  return {
    name: 'http_requests_total',
    ratedName: 'http_requests_total',
    unit: 'request',
    groupby: ['foo', 'bar', 'project_id'],
    metadata: ['code'],
    description: undefined,
    ...more,
    options: prometheusMetricOptions.parse(extra),
  };
}

/** An answer with one element per given sample; the labels fit the metric. */
function vector(...values: unknown[]): string {
  return success({
    resultType: 'vector',
    result: values.map((value, index) => ({
      metric: { foo: `f${index}`, bar: 'b', project_id: 'X', code: '200' },
      value: [period.end, value],
    })),
  });
}

function success(data: unknown, more: object = {}): string {
  return JSON.stringify({ status: 'success', data, ...more });
}

const EMPTY = success({ resultType: 'vector', result: [] });

async function collectorFor(
  answer: CannedAnswer,
  options: object = {},
  context: Partial<PluginContext> = {},
): Promise<{ collector: Collector<PrometheusMetricOptions>; http: CannedHttp }> {
  const http = new CannedHttp(answer);
  const collector = await createPlugin({
    definition: prometheus,
    options: { url: URL_BASE, ...options },
    context: fakeContext({ http, ...context }),
  });
  return { collector: collector as Collector<PrometheusMetricOptions>, http };
}

async function collect(
  answer: CannedAnswer | string,
  more: { metric?: Metric<PrometheusMetricOptions>; options?: object; context?: Partial<PluginContext> } = {},
): Promise<Collected> {
  const canned = typeof answer === 'string' ? () => answer : answer;
  const { collector } = await collectorFor(canned, more.options, more.context);
  const request: CollectRequest<PrometheusMetricOptions> = {
    metric: more.metric ?? metricWith(),
    scope,
    period,
  };
  return await collector.collect(request, never);
}

async function samples(...values: unknown[]): Promise<readonly Sample[]> {
  const collected = await collect(vector(...values));
  assert.equal(collected.kind, 'measured');
  return (collected as { samples: readonly Sample[] }).samples;
}

async function failure(answer: CannedAnswer | string, more = {}): Promise<RatecatError> {
  return await collect(answer, more).then(
    (collected) => assert.fail(`collected ${JSON.stringify(collected)}`),
    (error) => error,
  );
}

const SELECTOR = 'http_requests_total{project_id="X"}[3600s]';
const BY = 'by (foo, bar, project_id, code)';

for (const [extra, query] of [
  [{ aggregation_method: 'avg' }, `avg(avg_over_time(${SELECTOR})) ${BY}`],
  [{ aggregation_method: 'avg', query_function: 'abs' }, `avg(abs(avg_over_time(${SELECTOR}))) ${BY}`],
  [{ aggregation_method: 'avg', range_function: 'delta' }, `avg(delta(${SELECTOR})) ${BY}`],
  [
    { aggregation_method: 'avg', range_function: 'delta', query_function: 'abs' },
    `avg(abs(delta(${SELECTOR}))) ${BY}`,
  ],
  [
    {
      aggregation_method: 'avg',
      range_function: 'delta',
      query_function: 'abs',
      query_prefix: 'p',
      query_suffix: 's',
    },
    `p avg(abs(delta(${SELECTOR}))) ${BY} s`,
  ],
  [{}, `max(max_over_time(${SELECTOR})) ${BY}`],
  [
    { query_suffix: '* on (domain) group_left() libvirt_domain_vcpu_maximum' },
    `max(max_over_time(${SELECTOR})) ${BY} * on (domain) group_left() libvirt_domain_vcpu_maximum`,
  ],
] as const) {
  test(`extra_args ${JSON.stringify(extra)} give the query of the reference`, () => {
    assert.equal(prometheusQuery(metricWith(extra), scope, period), query);
  });
}

test('the query is evaluated at the end of the period, at <url>/query', async () => {
  const { collector, http } = await collectorFor(() => vector('1'));
  await collector.collect({ metric: metricWith(), scope, period }, never);
  const url = new URL(http.requests[0]!.url);
  assert.equal(url.origin + url.pathname, `${URL_BASE}/query`);
  assert.equal(url.searchParams.get('query'), `max(max_over_time(${SELECTOR})) ${BY}`);
  assert.equal(url.searchParams.get('time'), '2025-12-31T23:00:00+00:00');
});

test('a server without a path gets /api/v1, and both spellings of the options work', async () => {
  for (const options of [
    { url: 'http://p:9090/', user: 'u', password: 'p@ss' },
    {
      url: undefined,
      prometheus_url: 'http://p:9090/api/v1/',
      prometheus_user: 'u',
      prometheus_password: 'p@ss',
    },
  ]) {
    const { collector, http } = await collectorFor(() => vector('1'), options);
    await collector.collect({ metric: metricWith(), scope, period }, never);
    assert.ok(http.requests[0]!.url.startsWith('http://p:9090/api/v1/query?'));
    assert.equal(http.requests[0]!.headers?.authorization, `Basic ${btoa('u:p@ss')}`);
  }
});

test('values of labels are escaped, odd names are quoted', () => {
  const odd = { key: 'project id', id: 'a\\b"c\nd' };
  const metric = metricWith({}, { name: 'http.requests', groupby: ['project id', 'ok'], metadata: [] });
  assert.equal(
    prometheusQuery(metric, odd, period),
    'max(max_over_time({"http.requests", "project id"="a\\\\b\\"c\\nd"}[3600s])) by ("project id", ok)',
  );
});

test('half a surrogate pair cannot be sent and is refused', () => {
  assert.throws(() => prometheusQuery(metricWith(), { ...scope, id: 'a\ud800' }, period), {
    code: 'RATECAT_TEXT_NOT_UNICODE',
  });
});

test('samples carry the text of the source as exact decimals', async () => {
  const texts = [
    '0',
    '-0',
    '1',
    '0.1',
    '-3.25',
    '1e+06',
    '12345678901234567890.5',
    '4.9e-324',
    '1.7976931348623157e+308',
  ];
  const found = await samples(...texts);
  assert.deepEqual(
    found.slice(0, 7).map(({ value }) => value.toString()),
    ['0', '0', '1', '0.1', '-3.25', '1000000', '12345678901234567890.5'],
  );
  assert.equal(found[7]!.value.exponent, -325);
  assert.equal(found.length, texts.length);
});

test('labels become groupby and metadata, missing ones are empty texts', async () => {
  const collected = await collect(
    success({ resultType: 'vector', result: [{ metric: { foo: '1' }, value: [period.end, '2'] }] }),
  );
  assert.equal(collected.kind, 'measured');
  const [sample] = (collected as { samples: readonly Sample[] }).samples;
  assert.deepEqual(
    [...sample!.groupby],
    [
      ['foo', '1'],
      ['bar', ''],
      ['project_id', 'X'],
    ],
  );
  assert.deepEqual([...sample!.metadata], [['code', '']]);
});

test('a result without the scope label belongs to the scope that was asked for', async () => {
  for (const metric of [{}, { project_id: '' }]) {
    const collected = await collect(
      success({ resultType: 'vector', result: [{ metric, value: [period.end, '2'] }] }),
    );
    const [sample] = (collected as { samples: readonly Sample[] }).samples;
    assert.equal(sample!.groupby.get('project_id'), 'X');
  }
});

test('labels named like members of objects are only labels', async () => {
  const names = ['__proto__', 'constructor', 'toString', 'project_id'];
  const answer = `{"status":"success","data":{"resultType":"vector","result":[
    {"metric":{"__proto__":"p","constructor":"c","project_id":"X"},"value":[${period.end},"1"]}]}}`;
  const collected = await collect(answer, {
    metric: metricWith({}, { groupby: names, metadata: ['valueOf'] }),
  });
  const [sample] = (collected as { samples: readonly Sample[] }).samples;
  assert.deepEqual(
    [...sample!.groupby].map(([, value]) => value),
    ['p', 'c', '', 'X'],
  );
  assert.equal(sample!.metadata.get('valueOf'), '');
  assert.equal(({} as Record<string, unknown>).p, undefined);
});

for (const text of [
  'NaN',
  '+Inf',
  '-Inf',
  'Inf',
  '1e400',
  '-1e999',
  '0x1p3',
  '0x10',
  '',
  ' ',
  '1 ',
  '1,5',
  'one',
  '1e99999',
]) {
  test(`the value '${text}' is an error that names metric, labels and remedy`, async () => {
    const error = await failure(vector('1', text));
    assert.equal(error.code, 'RATECAT_SAMPLE_NOT_A_NUMBER');
    assert.equal(error.kind, 'data');
    assert.match(error.message, /http_requests_total/);
    assert.match(error.message, /"foo":"f1"/);
    assert.match(error.message, /query_suffix/);
  });
}

test('the same series twice is an error, also with labels in another order', async () => {
  const answer = (first: object, second: object) =>
    success({
      resultType: 'vector',
      result: [first, second].map((metric) => ({ metric, value: [period.end, '1'] })),
    });
  const error = await failure(answer({ foo: '1', bar: '2' }, { bar: '2', foo: '1', code: '' }));
  assert.equal(error.code, 'RATECAT_SERIES_DUPLICATED');
  assert.match(error.message, /http_requests_total.*"foo":"1"/);
  const told = await collect(answer({ foo: '1', more: 'a' }, { foo: '1', more: 'b' }));
  assert.equal((told as { samples: readonly Sample[] }).samples.length, 2);
});

test('data of another scope is refused', async () => {
  const answer = success({
    resultType: 'vector',
    result: [{ metric: { project_id: 'Y' }, value: [period.end, '1'] }],
  });
  assert.equal((await failure(answer)).code, 'RATECAT_SAMPLE_OF_OTHER_SCOPE');
});

test('a sample from outside the period is refused', async () => {
  for (const time of [period.begin - 1, period.end + 1, 0, -1, 1e300]) {
    const answer = success({ resultType: 'vector', result: [{ metric: {}, value: [time, '1'] }] });
    assert.equal((await failure(answer)).code, 'RATECAT_SAMPLE_OUTSIDE_PERIOD', String(time));
  }
});

for (const [type, kind, code] of [
  ['timeout', 'unavailable', 'RATECAT_UPSTREAM_UNAVAILABLE'],
  ['canceled', 'unavailable', 'RATECAT_UPSTREAM_UNAVAILABLE'],
  ['unavailable', 'unavailable', 'RATECAT_UPSTREAM_UNAVAILABLE'],
  ['internal', 'unavailable', 'RATECAT_UPSTREAM_UNAVAILABLE'],
  ['execution', 'data', 'RATECAT_QUERY_FAILED'],
  ['bad_data', 'rejected', 'RATECAT_QUERY_REFUSED'],
  ['not_acceptable', 'rejected', 'RATECAT_QUERY_REFUSED'],
] as const) {
  test(`status error of type ${type} is ${kind}, whatever the HTTP status, and names the query`, async () => {
    const body = JSON.stringify({ status: 'error', errorType: type, error: 'line 1\nline 2' });
    for (const status of [200, 400, 422, 500, 503]) {
      const error = await failure(() => ({ status, body }));
      assert.equal(error.code, code, `${status}`);
      assert.equal(error.kind, kind);
      assert.match(error.message, /max\(max_over_time\(http_requests_total/);
      assert.match(error.message, /line 1 line 2/);
    }
  });
}

for (const [status, code] of [
  [301, 'RATECAT_UPSTREAM_REJECTED'],
  [401, 'RATECAT_AUTH_REJECTED'],
  [403, 'RATECAT_AUTH_REJECTED'],
  [404, 'RATECAT_UPSTREAM_REJECTED'],
  [418, 'RATECAT_UPSTREAM_REJECTED'],
  [429, 'RATECAT_UPSTREAM_UNAVAILABLE'],
  [500, 'RATECAT_UPSTREAM_UNAVAILABLE'],
  [502, 'RATECAT_UPSTREAM_UNAVAILABLE'],
  [503, 'RATECAT_UPSTREAM_UNAVAILABLE'],
  [504, 'RATECAT_UPSTREAM_UNAVAILABLE'],
] as const) {
  test(`status ${status} with a proxy's page is ${code}`, async () => {
    const page = { status, body: '<html>\u001b[31mBad\nGateway</html>', headers: { 'retry-after': '7' } };
    const error = await failure(() => page, { options: { user: 'joe', password: 's3cret' } });
    assert.equal(error.code, code);
    assert.doesNotMatch(error.message, /s3cret|\p{Cc}/u);
    if (status === 429) assert.equal(error.details.retryAfterSeconds, 7);
  });
}

for (const [what, body] of [
  ['an empty body', ''],
  ['a page with status 200', '<html></html>'],
  ['null', 'null'],
  ['a list', '[]'],
  ['an object without status', '{}'],
  ['an unknown status', '{"status":"fine","data":{"resultType":"vector","result":[]}}'],
  ['no data', success(undefined)],
  ['data null', success(null)],
  ['result null', success({ resultType: 'vector', result: null })],
  ['result as an object', success({ resultType: 'vector', result: {} })],
  ['a matrix', success({ resultType: 'matrix', result: [] })],
  ['a scalar', success({ resultType: 'scalar', result: [1, '1'] })],
  ['a string', success({ resultType: 'string', result: [1, 'x'] })],
  ['an element that is null', success({ resultType: 'vector', result: [null] })],
  ['an element without metric', success({ resultType: 'vector', result: [{ value: [1, '1'] }] })],
  ['labels as a list', success({ resultType: 'vector', result: [{ metric: ['a'], value: [1, '1'] }] })],
  [
    'a label that is a number',
    success({ resultType: 'vector', result: [{ metric: { a: 1 }, value: [1, '1'] }] }),
  ],
  ['no value', success({ resultType: 'vector', result: [{ metric: {} }] })],
  ['a histogram', success({ resultType: 'vector', result: [{ metric: {}, histogram: [1, {}] }] })],
  ['a value of one part', success({ resultType: 'vector', result: [{ metric: {}, value: [1] }] })],
  [
    'a value of three parts',
    success({ resultType: 'vector', result: [{ metric: {}, value: [1, '1', '2'] }] }),
  ],
  [
    'a value that is a JSON number',
    success({ resultType: 'vector', result: [{ metric: {}, value: [1, 1] }] }),
  ],
  ['a value that is null', success({ resultType: 'vector', result: [{ metric: {}, value: [1, null] }] })],
  ['a time that is text', success({ resultType: 'vector', result: [{ metric: {}, value: ['1', '1'] }] })],
  ['very deep nesting', '['.repeat(100_000)],
] as const) {
  test(`${what} is malformed`, async () => {
    const error = await failure(body);
    assert.equal(error.code, 'RATECAT_UPSTREAM_MALFORMED');
    assert.equal(error.kind, 'data');
  });
}

test('an answer of 10 kB that is cut at any byte is malformed at each', async () => {
  const whole = vector(...Array.from({ length: 90 }, (_, index) => String(index + 0.5)));
  assert.ok(whole.length >= 8_000 && whole.length < 12_000, String(whole.length));
  let cut = '';
  const { collector } = await collectorFor(() => cut);
  for (let length = 0; length < whole.length; length++) {
    cut = whole.slice(0, length);
    await assert.rejects(
      collector.collect({ metric: metricWith(), scope, period }, never),
      (error: RatecatError) => error.code === 'RATECAT_UPSTREAM_MALFORMED',
      `cut at ${length}`,
    );
  }
});

test('warnings are logged, and refused where the options say so', async () => {
  const answer = success(JSON.parse(vector('1')).data, { warnings: ['store \n is away'], infos: ['x'] });
  const logger = new RecordingLogger();
  assert.equal((await collect(answer, { context: { logger } })).kind, 'measured');
  assert.deepEqual(
    logger.lines.map(({ level, fields }) => [level, fields.warnings]),
    [['warn', ['store is away']]],
  );
  const error = await failure(answer, { options: { refuse_warnings: true } });
  assert.equal(error.code, 'RATECAT_UPSTREAM_PARTIAL');
  assert.equal(error.kind, 'unavailable');
});

// ------------------------------------------------------------------------------------------- nothing, or nobody looked

interface Memory {
  readonly lowest?: string;
  readonly headMs?: number;
  readonly labelsBefore?: readonly string[];
  readonly upThen?: boolean;
  readonly metricThen?: boolean;
  readonly upNow?: boolean;
}

/** A server that has nothing for the scope, and the given things to say about itself. */
function remembering(memory: Memory): CannedAnswer {
  const found = success({ resultType: 'vector', result: [{ metric: {}, value: [1, '3'] }] });
  return (_, url) => {
    const query = url.searchParams.get('query') ?? '';
    if (url.pathname.endsWith('/status/tsdb'))
      return memory.headMs === undefined
        ? { status: 404 }
        : success({ headStats: { minTime: memory.headMs } });
    if (url.pathname.endsWith('/labels')) return success(memory.labelsBefore ?? []);
    if (query.includes('lowest_timestamp') && memory.lowest !== undefined)
      return success({ resultType: 'vector', result: [{ metric: {}, value: [1, memory.lowest] }] });
    if (query.startsWith('count(count_over_time(up[')) return memory.upThen ? found : EMPTY;
    if (query.startsWith('count(count_over_time(')) return memory.metricThen ? found : EMPTY;
    return query === 'count(up)' && memory.upNow ? found : EMPTY;
  };
}

test('an empty answer is nothing when the server was there to see it', async () => {
  assert.deepEqual(await collect(remembering({ upThen: true, upNow: true })), { kind: 'nothing' });
  assert.deepEqual(await collect(remembering({ metricThen: true, upNow: true })), { kind: 'nothing' });
  assert.deepEqual(await collect(remembering({})), { kind: 'nothing' });
});

test('an empty answer is unmeasurable when the server recorded nothing at all', async () => {
  const collected = await collect(remembering({ upNow: true }));
  assert.equal(collected.kind, 'unmeasurable');
  assert.match((collected as { reason: string }).reason, /recorded nothing at all/);
});

test('an empty answer is unmeasurable when the oldest data is younger than the period', async () => {
  const collected = await collect(remembering({ lowest: String(period.begin + 60), upThen: true }));
  assert.equal(collected.kind, 'unmeasurable');
  assert.match((collected as { reason: string }).reason, /no data from before 2025-12-31T22:01:00/);
});

test('an empty answer is not known while the server cannot say what it recorded', async () => {
  const error = await failure((_, url) => (url.search.includes('count') ? { status: 503 } : EMPTY));
  assert.equal(error.kind, 'unavailable');
});

test('the first instant comes from the server itself, or from its open block, or is unknown', async () => {
  const earliest = async (memory: Memory) =>
    (await collectorFor(remembering(memory))).collector.earliest!(scope, never);
  assert.equal(await earliest({ lowest: '1767220000.75' }), 1_767_220_000);
  assert.equal(await earliest({ headMs: 1_767_220_000_500 }), 1_767_220_000);
  assert.equal(await earliest({ headMs: 1_767_220_000_500, labelsBefore: ['job'] }), undefined);
  assert.equal(
    await earliest({ lowest: '9.223372036854776e+15', headMs: Number('9223372036854775807') }),
    undefined,
  );
  assert.equal(await earliest({ lowest: 'NaN' }), undefined);
  assert.equal(await earliest({}), undefined);
});

test('what was found out about the server is asked once for many scopes', async () => {
  const { collector, http } = await collectorFor(remembering({ upThen: true }));
  await Promise.all(
    Array.from({ length: 50 }, (_, index) =>
      collector.collect({ metric: metricWith(), scope: { ...scope, id: `s${index}` }, period }, never),
    ),
  );
  const first = http.requests.length;
  assert.ok(first <= 50 + 4, String(first));
  await collector.collect({ metric: metricWith(), scope, period }, never);
  assert.equal(http.requests.length, first + 1);
});

test('options and extra_args are checked with messages that help', async () => {
  const issues = async (schema: typeof prometheus.options | typeof prometheusMetricOptions, value: unknown) =>
    ((await schema['~standard'].validate(value)).issues ?? [])
      .map(({ path, message }) => `${path?.join('.')} ${message}`)
      .join('; ');
  assert.match(await issues(prometheus.options, {}), /url is required, e\.g\./);
  assert.match(await issues(prometheus.options, { url: 'localhost:9090' }), /must be an http or https URL/);
  assert.match(
    await issues(prometheus.options, { url: 'http://a', prometheus_url: 'http://b' }),
    /given twice/,
  );
  assert.match(await issues(prometheus.options, { url: 'http://a', colour: 1 }), /colour/);
  assert.match(await issues(prometheusMetricOptions, { range_function: 'irange' }), /range_function .*irate/);
  assert.match(await issues(prometheusMetricOptions, { agregation_method: 'sum' }), /agregation_method/);
  assert.equal(await issues(prometheusMetricOptions, undefined), '');
});

test('the arithmetic of the reference is declared: 9 digits, half up, the sample first', async () => {
  const { collector } = await collectorFor(() => EMPTY);
  assert.deepEqual(collector.strictArithmetic, {
    significantDigits: 9,
    rounding: 'half-up',
    roundsSample: true,
    binarySample: false,
  });
});
