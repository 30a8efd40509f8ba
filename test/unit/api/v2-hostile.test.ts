import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import fc from 'fast-check';
import { pythonLiteral } from '../../../core/api/v2/python-literal.js';
import { Decimal } from '../../../core/plugin-api/index.js';
import { sampleSeed } from '../../../core/testkit/samples.js';
import { member, read, request } from '../../support/api.js';
import { describeOnEngines } from '../../support/engines.js';
import { frame, HOUR, MONDAY, type OpenedV2, openV2, point, push, WEEK } from './v2-support.js';

const PATHS = [
  '/v2/dataframes',
  '/v2/scope',
  '/v2/summary',
  '/v2/rating/modules',
  '/v2/rating/modules/hashmap',
  '/v2/rating/modules/%00',
  '/v2/rating/modules/%',
  '/v2/task/reprocesses',
  '/v2/task/reprocesses/x',
  '/v2',
  '/v2/',
  '/v2/nothing',
];
const METHODS = [
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'PATCH',
  'DELETE',
  'OPTIONS',
  'TRACE',
  '__proto__',
  'constructor',
];
const KEYS = [
  'begin',
  'end',
  'filters',
  'groupby',
  'limit',
  'offset',
  'custom_fields',
  'response_format',
  'scope_id',
  'scope_ids',
  'scope_key',
  'fetcher',
  'collector',
  'active',
  'all_scopes',
  'last_processed_timestamp',
  'state',
  'enabled',
  'priority',
  'start_reprocess_time',
  'end_reprocess_time',
  'reason',
  'order',
  'dataframes',
  '__proto__',
  'constructor',
  'toString',
  '',
];
const TEXTS = [
  '',
  ' ',
  '0',
  '-1',
  '1e400',
  'NaN',
  'a:b',
  'a:b:c',
  ':',
  'type:x',
  'time',
  'time-d',
  'time-',
  'ALL',
  'ALL,a',
  'null',
  '\u0000',
  '2026-01-05T00:00:00',
  '9999-12-31T23:59:59',
  '0001-01-01',
  '{{7*7}}',
  "'; DROP TABLE ratecat_scopes; --",
  '"',
  '\\',
  '\r\nX: y',
  '😀',
  '\ud800',
  '__proto__',
  'SUM(qty)',
  'COUNT(price) AS x',
  'x'.repeat(5000),
  ','.repeat(200),
  '%',
  '../../etc/passwd',
];

describeOnEngines('hostile input', (engine) => {
  let api: OpenedV2;
  before(async () => {
    api = await openV2({ url: await engine.newDatabase() });
    const scopes = ['a', 'b'].map((id) => ({ key: 'project_id', id }));
    await api.services.states.add({ source: 'default', fetcher: 'f', collector: 'c' }, scopes, MONDAY);
    await push(api, [frame(MONDAY, { m: [point({ groupby: { project_id: 'a' } })] })]);
  });
  after(() => api.close());

  const words = fc.oneof(fc.constantFrom(...TEXTS), fc.string({ unit: 'binary', maxLength: 30 }));
  const queries = fc.array(fc.tuple(fc.constantFrom(...KEYS), words), { maxLength: 5 });
  const values: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
    value: fc.oneof(
      { depthSize: 'small' },
      words,
      fc.constantFrom(null, true, false, 0, 1, -1, 0.5, 1e308),
      fc.array(tie('value'), { maxLength: 3 }),
      fc.dictionary(
        fc.oneof(fc.constantFrom(...KEYS, 'period', 'usage', 'vol', 'qty'), words),
        tie('value'),
        { maxKeys: 4 },
      ),
    ),
  })).value;
  const bodies = fc.option(fc.dictionary(fc.constantFrom(...KEYS), values, { maxKeys: 4 }), {
    nil: undefined,
  });

  it('is answered with a status below 500 and well-formed JSON', async () => {
    const statuses = new Map<number, number>();
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...METHODS),
        fc.constantFrom(...PATHS),
        queries,
        bodies,
        fc.boolean(),
        async (method, path, query, body, isAdmin) => {
          const target = `${path}?${new URLSearchParams(query)}`;
          const response = await api.v2.handle(
            request(method, target, {
              ...(body === undefined ? {} : { body }),
              ...(isAdmin ? {} : { identity: member('a') }),
            }),
          );
          const got = await read(response);
          const said = `${method} ${target} ${JSON.stringify(body)} gave ${got.status} ${got.text.slice(0, 300)}`;
          assert.ok(got.status >= 200 && got.status < 500, said);
          assert.ok(got.text.length < 100_000, said);
          for (const value of Object.values(got.headers)) assert.match(value, /^[\x20-\x7e]*$/, said);
          statuses.set(got.status, (statuses.get(got.status) ?? 0) + 1);
        },
      ),
      { seed: sampleSeed(), numRuns: engine.name === 'sqlite' ? 3000 : 600 },
    );
    for (const status of [200, 400, 403, 404, 405])
      assert.ok(statuses.has(status), `no ${status} in ${[...statuses]}`);
  });

  it('that is no plain JSON is refused', async () => {
    const refused: readonly (string | Buffer)[] = [
      '',
      '{',
      '{"dataframes": []} x',
      '{"dataframes": [], "dataframes": [1]}',
      '{"__proto__": {"dataframes": []}}',
      '{"dataframes": [{"\\u005f_proto__": 1}]}',
      `{"dataframes": ${'['.repeat(100_000)}${']'.repeat(100_000)}}`,
      `{"dataframes": ${'['.repeat(40)}${']'.repeat(40)}}`,
      '{"dataframes": [NaN]}',
      '{"dataframes": [1e7000]}',
      '{"dataframes": [1e-500]}',
      `{"dataframes": [${'9'.repeat(20_000)}]}`,
      '{"dataframes": ["\\ud800"]}',
      Buffer.from([0x7b, 0xff, 0x7d]),
    ];
    for (const body of refused) {
      const sent = { ...request('POST', '/v2/dataframes', { raw: '' }), body: Buffer.from(body) };
      const got = await read(await api.v2.handle(sent));
      assert.deepEqual(
        [got.status, got.json.message],
        [400, 'The browser (or proxy) sent a request that this server could not understand.'],
        String(body).slice(0, 60),
      );
    }
    for (const raw of ['[]', 'null', '"text"', '5']) {
      const got = await api.call('POST', '/v2/dataframes', { raw });
      assert.match(got.json.message, / : expected a dictionary \(path: '\[\]'\)$/);
    }
  });

  it('with another content type is refused', async () => {
    const send = (type: string) =>
      api.call('POST', '/v2/dataframes', { raw: '{"dataframes": []}', headers: { 'content-type': type } });
    for (const type of [
      'text/plain',
      'application/xml',
      'application/x-www-form-urlencoded',
      '',
      'application/jsonx',
    ])
      assert.equal((await send(type)).status, 415, type);
    for (const type of ['application/json; charset=utf-8', 'APPLICATION/JSON', 'application/vnd.x+json'])
      assert.equal((await send(type)).json.message, 'Parameter dataframes must not be empty.', type);
  });

  it('in names and values of points comes back as it was sent', async () => {
    const names = TEXTS.filter((text) => text !== '\ud800' && text !== '__proto__');
    const groupby = Object.fromEntries([
      ['project_id', 'hostile'],
      ...names.map((name, place) => [`g${name}`, names[place]]),
    ]);
    const metadata = Object.fromEntries(names.map((name) => [`m${name}`, name]));
    const points = names.map((unit) => point({ unit, groupby, metadata }));
    const usage = Object.fromEntries(names.map((metric) => [metric, points]));
    assert.equal((await push(api, [frame(MONDAY + HOUR, usage)])).status, 204);
    const got = await api.call('GET', `/v2/dataframes?${WEEK}&filters=project_id:hostile&limit=10000`);
    assert.deepEqual(Object.keys(got.json.dataframes[0].usage).sort(), [...names].sort());
    for (const list of Object.values(got.json.dataframes[0].usage) as (typeof points)[]) {
      assert.deepEqual(
        list.map(({ vol }) => vol.unit),
        names.map((unit) => (unit === '' ? 'undefined' : unit)),
      );
      assert.deepEqual([list[0]!.groupby, list[0]!.metadata], [groupby, metadata]);
    }
    const grouped = await api.call(
      'GET',
      `/v2/summary?${WEEK}&filters=project_id:hostile&groupby=type&limit=1000`,
    );
    assert.deepEqual(grouped.json.results.map((row: unknown[]) => row[4]).sort(), [...names].sort());
  });

  it('in a push that is refused does not become a long answer', async () => {
    const usage = { m: Array.from({ length: 500 }, () => ({ ...point(), extra: 'x'.repeat(500) })) };
    const got = await push(api, [frame(MONDAY, usage)]);
    assert.equal(got.status, 400);
    assert.ok(got.text.length < 10_000);
  });

  it('of many groupby keys, filters and values is bounded', async () => {
    const many = Array.from({ length: 2000 }, (_, place) => `k${place}`);
    const keys = await api.call('GET', `/v2/summary?${WEEK}&groupby=${many.join(',')}`);
    assert.equal(keys.status, 400);
    const filters = many.map((name) => `${name}:x`).join(',');
    for (const path of ['summary', 'dataframes'])
      assert.equal((await api.call('GET', `/v2/${path}?${WEEK}&filters=${filters}`)).status, 400);
    const some = many
      .slice(0, 64)
      .map((name) => `${name}:x`)
      .join(',');
    assert.equal((await api.call('GET', `/v2/summary?${WEEK}&filters=${some}`)).json.total, 0);
    const types = many.map((name) => `type:${name}`).join(',');
    assert.equal((await api.call('GET', `/v2/summary?${WEEK}&filters=${types}`)).json.total, 0);
  });
});

it('Python literals of input look as Python prints them', () => {
  // What `repr` of Python 3 gives.
  const expected: readonly (readonly [unknown, string])[] = [
    [{ a: [1, 'x'].map(String), b: null, c: true }, "{'a': ['1', 'x'], 'b': None, 'c': True}"],
    ["it's", '"it\'s"'],
    ['both \' and "', "'both \\' and \"'"],
    ['\n\r\t\\\u0000\u007f\u00a0é\u200b😀', "'\\n\\r\\t\\\\\\x00\\x7f\\xa0é\\u200b😀'"],
    [[Decimal.parse('1'), Decimal.parse('1.50'), Decimal.parse('1e-7')], '[1, 1.5, 1e-07]'],
    [[], '[]'],
    [{}, '{}'],
  ];
  for (const [value, literal] of expected) assert.equal(pythonLiteral(value), literal);
});
