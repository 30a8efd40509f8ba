import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createPlugin } from '../../../core/testkit/definition.js';
import { fakeContext } from '../../../core/testkit/fakes.js';
import gnocchi from '../../../plugins/fetchers/gnocchi.js';
import { type CannedAnswer, CannedHttp } from '../../support/canned-http.js';

async function fetchWith(answer: CannedAnswer, options: object = {}) {
  const http = new CannedHttp(answer);
  const fetcher = await createPlugin({
    definition: gnocchi,
    options: { gnocchi_auth_type: 'basic', gnocchi_endpoint: 'http://g:8041', ...options },
    context: fakeContext({ http }),
  });
  const scopes = await fetcher.fetchScopes(new AbortController().signal);
  return { ids: scopes.map(({ id }) => id), http };
}

test('asks for what is not known yet until a query adds nothing', async () => {
  const pages = ['[{"project_id":"b"},{"project_id":"a"},{"project_id":null},{}]', '[]'];
  const { ids, http } = await fetchWith(() => pages.shift() ?? '[]');
  assert.deepEqual(ids, ['b', 'a']);
  assert.deepEqual(
    http.requests.map(({ body }) => JSON.parse(body!)),
    [{}, { not: { in: { project_id: ['a', 'b'] } } }],
  );
  assert.equal(http.requests[0]!.url, 'http://g:8041/v1/search/resource/generic?details=true');
});

test('ends when no resource has the attribute, and when the server ignores the filter', async () => {
  const without = await fetchWith(() => '[{"id":"r1"},{"id":"r2"}]');
  assert.deepEqual(without.ids, []);
  assert.equal(without.http.requests.length, 1);
  const deaf = await fetchWith(() => '[{"project_id":"a"}]');
  assert.deepEqual(deaf.ids, ['a']);
  assert.equal(deaf.http.requests.length, 2);
});

test('searches each type for what the types before did not have', async () => {
  const { ids, http } = await fetchWith(
    (request, url) => {
      const known = JSON.stringify(JSON.parse(request.body!));
      const own = url.pathname.endsWith('/volume%2Fx') ? 'v' : 'i';
      return known.includes(`"${own}"`) ? '[]' : `[{"tenant":"${own}"}]`;
    },
    { resource_types: 'instance, volume/x', scope_attribute: 'tenant' },
  );
  assert.deepEqual(ids, ['i', 'v']);
  assert.equal(http.requests.length, 4);
});

test('hostile ids and attributes stay data', async () => {
  const hostile = ['"}}', '__proto__', '\u0000', "' or 1=1"];
  const answers = [JSON.stringify(hostile.map((id) => Object.fromEntries([['constructor', id]]))), '[]'];
  const { ids, http } = await fetchWith(() => answers.shift() ?? '[]', { scope_attribute: 'constructor' });
  assert.deepEqual(ids, hostile);
  assert.deepEqual(JSON.parse(http.requests[1]!.body!), {
    not: { in: { constructor: [...hostile].sort() } },
  });
  assert.deepEqual((await fetchWith(() => '[{}]', { scope_attribute: 'constructor' })).ids, []);
});

test('anything that is not a list of resources throws', async () => {
  for (const body of ['', '{}', 'null', '[1]', '[null]', '[{"project_id":{}}]', '[{"project_id":"a"}'])
    await assert.rejects(
      fetchWith(() => body),
      { code: 'RATECAT_UPSTREAM_MALFORMED' },
      body,
    );
  await assert.rejects(
    fetchWith(() => ({ status: 404 })),
    { kind: 'rejected' },
  );
  await assert.rejects(
    fetchWith(() => ({ status: 500 })),
    { kind: 'unavailable' },
  );
});

test('an empty list of types is refused', async () => {
  const result = await gnocchi.options['~standard'].validate({
    gnocchi_auth_type: 'basic',
    gnocchi_endpoint: 'http://g',
    resource_types: [],
  });
  assert.match(JSON.stringify(result.issues), /generic means all/);
});
