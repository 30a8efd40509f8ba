import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type HttpResponse, isRatecatError } from '../../../core/plugin-api/index.js';
import { fakeContext } from '../../../core/testkit/fakes.js';
import { InfluxClient } from '../../../plugins/storage/influxdb/client.js';

const never = new AbortController().signal;
const OPTIONS = {
  host: 'influx',
  port: 8086,
  use_ssl: false,
  username: 'joe',
  password: 's3cret',
  database: 'cloud"kitty',
  retention_policy: 'autogen',
  insecure: false,
  timeout: 60,
  max_response_mib: 64,
};

/** A client whose server gives this one answer to everything. */
function client(answer: Partial<HttpResponse>): InfluxClient {
  const request = async () => ({ status: 200, headers: {}, body: '', ...answer });
  const http = { client: () => ({ request, close: async () => {} }) };
  return new InfluxClient(OPTIONS, fakeContext({ http }));
}

const chunk = (statement_id: number, values: readonly unknown[], partial = false) =>
  `${JSON.stringify({
    results: [
      {
        statement_id,
        series: [{ name: 'x', columns: ['time', 'v'], values, ...(partial ? { partial } : {}) }],
        ...(partial ? { partial } : {}),
      },
    ],
  })}\n`;

function failing(code: string, kind: string) {
  return (error: unknown) => {
    assert.ok(isRatecatError(error), String(error));
    assert.deepEqual([error.code, error.kind], [code, kind]);
    assert.ok(!error.message.includes('s3cret'));
    return true;
  };
}

test('chunks of several statements are put together', async () => {
  const body = `${chunk(0, [[1, 'a']], true)}${chunk(0, [[2, 'b']])}{"results":[{"statement_id":1}]}\n`;
  const [first, second] = await client({ body }).query(['SELECT 1', 'SELECT 2'], never);
  assert.deepEqual(first!.values, [
    [1, 'a'],
    [2, 'b'],
  ]);
  assert.deepEqual(second, { columns: [], values: [] });
});

test('an answer that ends before its end is never taken for the whole', async () => {
  const whole = chunk(0, [[1, 'a']]);
  for (const body of [
    '',
    chunk(0, [[1, 'a']], true),
    whole.replace('"statement_id":0', '"statement_id":1'),
    whole,
  ])
    await assert.rejects(
      client({ body }).query(body === whole ? ['SELECT 1', 'SELECT 2'] : ['SELECT 1'], never),
      failing('RATECAT_INFLUXDB_CUT', 'unavailable'),
    );
});

test('what InfluxDB says is an error of whoever must act', async () => {
  const cases: readonly (readonly [Partial<HttpResponse>, string, string])[] = [
    [
      { status: 401, body: '{"error":"authorization failed for s3cret"}' },
      'RATECAT_UPSTREAM_REJECTED',
      'rejected',
    ],
    [{ status: 404, body: '{"error":"no such"}' }, 'RATECAT_INFLUXDB_DATABASE', 'rejected'],
    [{ status: 503, body: 'engine is closed' }, 'RATECAT_UPSTREAM_UNAVAILABLE', 'unavailable'],
    [
      { body: '{"results":[{"statement_id":0,"error":"timeout s3cret"}]}' },
      'RATECAT_UPSTREAM_UNAVAILABLE',
      'unavailable',
    ],
    [{ body: '{"error":"timeout"}' }, 'RATECAT_UPSTREAM_UNAVAILABLE', 'unavailable'],
    [
      { body: '{"results":[{"statement_id":0,"error":"database not found: x"}]}' },
      'RATECAT_INFLUXDB_DATABASE',
      'rejected',
    ],
    [{ body: '<html>' }, 'RATECAT_UPSTREAM_MALFORMED', 'data'],
    [{ body: '[]' }, 'RATECAT_UPSTREAM_MALFORMED', 'data'],
    [{ body: '{"results":[{"series":5}]}' }, 'RATECAT_UPSTREAM_MALFORMED', 'data'],
  ];
  for (const [answer, code, kind] of cases)
    await assert.rejects(client(answer).query(['SELECT 1'], never), failing(code, kind));
});

test('a write that is not taken whole is an error, which names a field of another type', async () => {
  const body = JSON.stringify({
    error:
      'partial write: field type conflict: input field "a "b"" on measurement "dataframes" is type string, already exists as type float dropped=1',
  });
  await assert.rejects(client({ status: 400, body }).write('x', never), (error) => {
    assert.ok(isRatecatError(error));
    assert.deepEqual([error.code, error.details.field], ['RATECAT_INFLUXDB_REFUSED', 'a "b"']);
    return true;
  });
  const tooLong = client({ status: 413, body: 'too large' }).write('x', never);
  await assert.rejects(tooLong, failing('RATECAT_INFLUXDB_REFUSED', 'data'));
  const odd = client({ status: 200, body: '{}' }).write('x', never);
  await assert.rejects(odd, failing('RATECAT_UPSTREAM_REJECTED', 'rejected'));
  await client({ status: 204 }).write('x', never);
});

test('names of the configuration are quoted', () => {
  assert.equal(client({}).source('dataframes'), '"cloud\\"kitty"."autogen"."dataframes"');
});
