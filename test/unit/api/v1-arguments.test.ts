import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { nakedTime } from '../../../core/api/utc-time.js';
import { parseLenientDate } from '../../../core/api/v1/lenient-date.js';
import { pythonRepr } from '../../../core/api/v1/python-repr.js';
import { Decimal } from '../../../core/plugin-api/index.js';
import { sampleSeed } from '../../../core/testkit/samples.js';
import { read, request } from '../../support/api.js';
import { fault, HASHMAP, type OpenedV1, openV1 } from './v1-support.js';

const FORM = { 'content-type': 'application/x-www-form-urlencoded' };

describe('arguments of /v1', () => {
  let api: OpenedV1;
  before(async () => {
    api = await openV1();
  });
  after(() => api.close());

  it('takes arguments from the address, the query, a JSON object and a form, on every method', async () => {
    const put = (service: string) =>
      api.call('POST', '/v1/collector/mappings', { body: { service, collector: 'c' } });
    const deletions = [
      () => api.call('DELETE', '/v1/collector/mappings/s'),
      () => api.call('DELETE', '/v1/collector/mappings?service=s'),
      () => api.call('DELETE', '/v1/collector/mappings', { body: { service: 's' } }),
      () => api.call('DELETE', '/v1/collector/mappings/', { raw: 'service=s', headers: FORM }),
    ];
    for (const remove of deletions) {
      await put('s');
      assert.equal((await remove()).status, 204);
      assert.equal((await remove()).status, 404);
    }
    const got = await api.call('GET', '/v1/collector/states/', { body: { name: 'gnocchi' } });
    assert.deepEqual(got.json, { name: 'gnocchi', enabled: false });
  });

  it('lets the address win over the query where both name an argument', async () => {
    const got = await api.call('GET', '/v1/rating/modules/hashmap?module_id=noop');
    assert.equal(got.json.module_id, 'hashmap');
    const list = await api.call('GET', '/v1/rating/modules/?module_id=hashmap');
    assert.deepEqual([list.status, list.text], [400, fault('Unknown argument: "module_id"')]);
  });

  it('names unknown and missing arguments and attributes', async () => {
    const cases = [
      ['GET', '/v1/info/metrics?x=1', undefined, 'Unknown argument: "x"'],
      ['GET', '/v1/info/metrics', { x: 1 }, 'Unknown argument: "x"'],
      ['GET', '/v1/storage/dataframes?limit=5', undefined, 'Unknown argument: "limit"'],
      ['POST', '/v1/collector/mappings', {}, 'Missing argument: "collector"'],
      ['GET', '/v1/collector/states', undefined, 'Missing argument: "name"'],
      ['PUT', '/v1/collector/states', { enabled: true }, 'Missing argument: "name"'],
      ['PUT', '/v1/rating/modules/hashmap', undefined, 'Missing argument: "module"'],
      ['POST', '/v1/rating/quote', { x: 1 }, 'Unknown attribute for argument res_data: x'],
      [
        'POST',
        '/v1/rating/quote',
        { resources: [{ x: 1 }] },
        'Unknown attribute for argument res_data.resources: x',
      ],
      [
        'PUT',
        '/v1/rating/modules/hashmap',
        { module_id: 5 },
        "Invalid input for field/attribute module_id. Value: '5'. Wrong type. Expected '<class 'str'>', got '<class 'int'>'",
      ],
    ] as const;
    for (const [method, path, body, text] of cases) {
      const answer = await api.call(method, path, body === undefined ? {} : { body });
      assert.deepEqual([answer.status, answer.json.faultstring], [400, text], `${method} ${path}`);
    }
  });

  it('answers 415 to bodies of other types', async () => {
    const refused = ['application/xml', 'text/xml', 'text/plain', 'multipart/form-data', ''];
    for (const type of refused)
      for (const path of ['/v1/rating/quote', `${HASHMAP}/services`]) {
        const answer = await api.call('POST', path, { raw: '{}', headers: { 'content-type': type } });
        assert.deepEqual([answer.status, answer.json.faultstring], [415, `Unknown mimetype: ${type}`]);
      }
    const accepted = ['application/json; charset=utf-8', 'application/javascript', 'TEXT/JAVASCRIPT'];
    for (const type of accepted) {
      const answer = await api.call('POST', '/v1/rating/quote', {
        raw: '{"resources": []}',
        headers: { 'content-type': type },
      });
      assert.equal(answer.text, '"0"', type);
    }
  });

  it('answers 400 to whatever is no clean JSON object', async () => {
    const bodies = [
      'nonsense',
      '{',
      '[]',
      '5',
      '"text"',
      'true',
      '{"name": "a", "name": "b"}',
      '{"__proto__": {"name": "x"}}',
      `${'['.repeat(100_000)}`,
      `{"name": ${'['.repeat(40)}${']'.repeat(40)}}`,
      '{"name": "\\ud800"}',
      '{"name": 1e999999999}',
      '{"name": NaN}',
      "{'name': 'x'}",
      '\ufeff{"name": "x"',
    ];
    const targets = [
      ['POST', `${HASHMAP}/services`],
      ['POST', `${HASHMAP}/mappings`],
      ['PUT', `${HASHMAP}/thresholds`],
      ['DELETE', `${HASHMAP}/groups`],
      ['PUT', '/v1/rating/modules/hashmap'],
      ['POST', '/v1/rating/quote'],
      ['POST', '/v1/collector/mappings'],
      ['GET', '/v1/report/total'],
    ] as const;
    for (const raw of bodies)
      for (const [method, path] of targets) {
        const answer = await api.call(method, path, { raw });
        assert.equal(answer.status, 400, `${method} ${path} ${raw.slice(0, 40)}`);
        assert.equal(answer.json.faultcode, 'Client');
      }
  });

  it('answers 400 to bytes that are no UTF-8', async () => {
    const whole = {
      ...request('POST', '/v1/rating/quote', { raw: '{}' }),
      body: Buffer.from([0x7b, 0xff, 0x7d]),
    };
    assert.equal((await read(await api.v1.handle(whole))).status, 400);
  });

  it('never fails for any JSON in any place', async () => {
    const seed = sampleSeed();
    const targets = [
      [
        'PUT',
        '/v1/rating/modules/hashmap',
        ['module_id', 'enabled', 'priority', 'description', 'hot-config'],
      ],
      ['POST', '/v1/rating/quote', ['resources', 'service', 'volume', 'desc']],
      ['POST', '/v1/collector/mappings', ['collector', 'service']],
      ['PUT', '/v1/collector/states/x', ['name', 'enabled']],
      ['GET', '/v1/report/summary', ['begin', 'end', 'tenant_id', 'service', 'all_tenants', 'groupby']],
      ['POST', `${HASHMAP}/services`, ['name', 'service_id']],
      ['POST', `${HASHMAP}/fields`, ['name', 'service_id']],
      [
        'POST',
        `${HASHMAP}/mappings`,
        ['cost', 'value', 'service_id', 'field_id', 'start', 'end', 'type', 'name'],
      ],
      ['PUT', `${HASHMAP}/mappings`, ['mapping_id', 'cost', 'start', 'end']],
      ['POST', `${HASHMAP}/thresholds`, ['level', 'cost', 'service_id', 'tenant_id']],
      ['DELETE', `${HASHMAP}/groups`, ['group_id', 'recursive']],
      ['GET', `${HASHMAP}/mappings`, ['service_id', 'deleted', 'start', 'description', 'is_active']],
    ] as const;
    const anyValue = fc.oneof(
      fc.jsonValue({ maxDepth: 3 }),
      fc.constantFrom('1', '2026-01-01', 'flat', true, null),
    );
    const call = fc.constantFrom(...targets).chain(([method, path, names]) =>
      fc.tuple(
        fc.constant(method),
        fc.constant(path),
        fc.dictionary(fc.constantFrom(...(names as readonly string[])), anyValue, {
          noNullPrototype: true,
        }),
      ),
    );
    await fc.assert(
      fc.asyncProperty(call, async ([method, path, body]) => {
        const wrapped = path.endsWith('quote') ? { resources: [body] } : body;
        const { status } = await api.call(method, path, { body: wrapped });
        assert.ok(status < 500, `${method} ${path} ${JSON.stringify(wrapped)}: ${status}`);
      }),
      { numRuns: 400, seed },
    );
  });

  it('does not hang on patterns and numbers that are made to', async () => {
    const service = (await api.call('POST', `${HASHMAP}/services`, { body: { name: 'slow' } })).json
      .service_id;
    await api.call('POST', `${HASHMAP}/mappings`, {
      body: { service_id: service, cost: '1', description: 'a'.repeat(256) },
    });
    const started = performance.now();
    const pattern = encodeURIComponent('%a'.repeat(300) + 'b');
    const found = await api.call('GET', `${HASHMAP}/mappings?description=${pattern}`);
    assert.deepEqual(found.json, { mappings: [] });
    await api.call('POST', '/v1/rating/quote', {
      raw: `{"resources": [{"service": "x", "volume": "1e6000"}, {"service": "x", "volume": ${'9'.repeat(5000)}}]}`,
    });
    await api.call('GET', `/v1/report/total?begin=${encodeURIComponent(' '.repeat(8000))}x`);
    assert.ok(performance.now() - started < 2000, 'took too long');
  });
});

describe('lenient dates', () => {
  const accepted: readonly (readonly [string, string])[] = [
    ['2026-01-05', '2026-01-05T00:00:00'],
    ['2026-01-05T10:20:30', '2026-01-05T10:20:30'],
    ['2026-01-05 10:20:30', '2026-01-05T10:20:30'],
    ['2026-01-05T10:20', '2026-01-05T10:20:00'],
    ['2026-01-05T10:20:30.5', '2026-01-05T10:20:30.500000'],
    ['2026-01-05T10:20:30.123456789', '2026-01-05T10:20:30.123456'],
    ['2026-01-05T10:20:30Z', '2026-01-05T10:20:30'],
    ['2026-01-05T10:20:30+02:00', '2026-01-05T08:20:30'],
    ['2026-01-05T10:20:30-0230', '2026-01-05T12:50:30'],
    ['2026-01-05T10:20:30+02', '2026-01-05T08:20:30'],
    // A `+` that was not escaped arrives as a blank.
    ['2026-01-05T10:20:30 02:00', '2026-01-05T08:20:30'],
    ['20260105', '2026-01-05T00:00:00'],
    ['20260105T102030', '2026-01-05T10:20:30'],
    ['20260105T102030Z', '2026-01-05T10:20:30'],
    ['20260105 10:20', '2026-01-05T10:20:00'],
    ['2026/1/5', '2026-01-05T00:00:00'],
    ['1/5/2026', '2026-01-05T00:00:00'],
    ['25/1/2026', '2026-01-25T00:00:00'],
    ['July 1 2019', '2019-07-01T00:00:00'],
    ['Jul 1st, 2019 10:00 pm', '2019-07-01T22:00:00'],
    ['1 July 2019', '2019-07-01T00:00:00'],
    ['Mon, 05 Jan 2026 10:20:30 GMT', '2026-01-05T10:20:30'],
    ['  2026-01-05  ', '2026-01-05T00:00:00'],
    ['2024-02-29', '2024-02-29T00:00:00'],
    ['0099-01-01', '0099-01-01T00:00:00'],
  ];
  for (const [text, expected] of accepted) {
    it(`reads ${text}`, () => {
      assert.equal(nakedTime(parseLenientDate(text)!), expected);
    });
  }

  it('refuses what is no full date', () => {
    for (const text of [
      'nope',
      '',
      '2026',
      '2026-01',
      '2026-02-30',
      '2025-02-29',
      '2026-13-01',
      '2026-01-05T24:00:00',
      '2026-01-05T10:60',
      '10:00',
      '2026-01-05T10:20:30+25:00',
      '0001-01-01T00:00:00+01:00',
      '9999-12-31T23:59:59-01:00',
      '10000-01-01',
      '2026-01-05x',
      '13/13/2026',
      '0 July 2019',
      'Smarch 1 2019',
      '13:00 pm',
      '2026-01-05 13:00 pm',
      '１2026-01-05',
      '2026-01-05T10:20:30 and more',
    ])
      assert.equal(parseLenientDate(text), undefined, text);
  });

  it('reads back every instant that it writes, and no text makes it fail', () => {
    const seed = sampleSeed();
    fc.assert(
      fc.property(fc.integer({ min: -62_135_596_800, max: 253_402_300_799 }), (instant) => {
        assert.equal(parseLenientDate(nakedTime(instant)), instant);
      }),
      { seed },
    );
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[0-9T:. +-]{0,40}$/)), (text) => {
        const found = parseLenientDate(text);
        assert.ok(found === undefined || Number.isFinite(found));
      }),
      { seed },
    );
  });
});

describe('values in error texts', () => {
  it('are written as Python writes them', () => {
    const value = {
      a: "it's",
      b: 'say "x" \'y\'',
      c: [true, null, Decimal.parse('1'), Decimal.parse('1.50')],
      d: '\n\\\u0001',
    };
    assert.equal(
      pythonRepr(value),
      `{'a': "it's", 'b': 'say "x" \\'y\\'', 'c': [True, None, 1, 1.5], 'd': '\\n\\\\\\x01'}`,
    );
  });
});
