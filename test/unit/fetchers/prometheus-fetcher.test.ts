import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RatecatError } from '../../../core/plugin-api/index.js';
import { createPlugin } from '../../../core/testkit/definition.js';
import { fakeContext } from '../../../core/testkit/fakes.js';
import prometheus, { scopesQuery } from '../../../plugins/fetchers/prometheus.js';
import { type CannedAnswer, CannedHttp } from '../../support/canned-http.js';

const never = new AbortController().signal;

async function fetchWith(answer: CannedAnswer, options: object = {}) {
  const http = new CannedHttp(answer);
  const fetcher = await createPlugin({
    definition: prometheus,
    options: { url: 'http://p:9090/api/v1', metric: 'vm', ...options },
    context: fakeContext({ http }),
  });
  return { scopes: await fetcher.fetchScopes(never), http };
}

function series(...metrics: object[]): string {
  const result = metrics.map((metric) => ({ metric, value: [1, '1'] }));
  return JSON.stringify({ status: 'success', data: { resultType: 'vector', result } });
}

test('the query is that of the reference, with values escaped', () => {
  const base = { metric: 'vm', scope_attribute: 'project_id', filters: {} };
  assert.equal(scopesQuery(base), 'max(vm) by (project_id)');
  assert.equal(
    scopesQuery({ ...base, filters: { a: '1', b: '2"\\' } }),
    'max(vm{a="1", b="2\\"\\\\"}) by (project_id)',
  );
});

test('gives each value of the label once, and skips series without it', async () => {
  const { scopes, http } = await fetchWith(
    () => series({ project_id: 'a' }, { project_id: 'b' }, {}, { project_id: '' }, { project_id: 'a' }),
    { scope_attribute: 'project_id' },
  );
  assert.deepEqual(scopes, [
    { key: 'project_id', id: 'a' },
    { key: 'project_id', id: 'b' },
  ]);
  assert.deepEqual(http.asked('query'), ['max(vm) by (project_id)']);
  assert.deepEqual(http.asked('time'), [null]);
});

test('no series are no scopes; anything that is not an answer throws', async () => {
  assert.deepEqual((await fetchWith(() => series())).scopes, []);
  for (const answer of [
    '',
    '{}',
    '{"status":"success","data":{}}',
    '{"status":"success"}',
    series().slice(0, -1),
  ]) {
    await assert.rejects(
      fetchWith(() => answer),
      (error: RatecatError) => error.kind === 'data',
      answer,
    );
  }
  const error = JSON.stringify({ status: 'error', errorType: 'bad_data', error: 'parse error' });
  await assert.rejects(
    fetchWith(() => error),
    { code: 'RATECAT_QUERY_REFUSED' },
  );
});

test('a metric must be named', async () => {
  const result = await prometheus.options['~standard'].validate({ url: 'http://p' });
  assert.match((result.issues ?? []).map(({ path }) => path?.join('.')).join(), /metric/);
});
