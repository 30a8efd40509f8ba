import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createPlugin } from '../../../core/testkit/definition.js';
import { fakeContext } from '../../../core/testkit/fakes.js';
import source from '../../../plugins/fetchers/source.js';

async function fetchWith(options: unknown) {
  const fetcher = await createPlugin({ definition: source, options, context: fakeContext() });
  return await fetcher.fetchScopes(new AbortController().signal);
}

async function issuesOf(options: unknown): Promise<string> {
  const result = await source.options['~standard'].validate(options);
  return JSON.stringify(result.issues ?? []);
}

test('gives the list, with names where they are given', async () => {
  assert.deepEqual(await fetchWith({ scopes: ['a', { id: 'b', name: 'Team B' }] }), [
    { key: 'project_id', id: 'a' },
    { key: 'project_id', id: 'b', name: 'Team B' },
  ]);
});

test("takes CloudKitty's option and its comma-separated text", async () => {
  assert.deepEqual(
    (await fetchWith({ sources: 'a, b,' })).map(({ id }) => id),
    ['a', 'b'],
  );
});

test('refuses a list that cannot be meant', async () => {
  assert.match(await issuesOf({}), /must list the scope ids/);
  assert.match(await issuesOf({ scopes: [] }), /at least one scope/);
  assert.match(await issuesOf({ scopes: ['a', 'a'] }), /'a' is listed twice/);
  assert.match(await issuesOf({ scopes: [''] }), /must not be empty/);
  assert.match(await issuesOf({ scopes: [17] }), /quotes/);
  assert.match(await issuesOf({ scopes: ['a'], sources: ['b'] }), /give one of them/);
  assert.match(await issuesOf({ scops: ['a'] }), /scops/);
});
