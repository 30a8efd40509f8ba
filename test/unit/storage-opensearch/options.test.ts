import assert from 'node:assert/strict';
import { test } from 'node:test';
import elasticsearch from '../../../plugins/storage/elasticsearch.js';
import opensearch from '../../../plugins/storage/opensearch/index.js';

const DEFINITIONS = [elasticsearch, opensearch];

async function problems(
  definition: (typeof DEFINITIONS)[number],
  options: unknown,
): Promise<readonly string[]> {
  const result = await definition.options['~standard'].validate(options);
  return (result.issues ?? []).map(({ path = [] }) => path.map(String).join('.'));
}

test("the options are those of CloudKitty's sections, with their defaults", async () => {
  for (const definition of DEFINITIONS) {
    const result = await definition.options['~standard'].validate({});
    assert.ok(result.issues === undefined);
    const { host, index_name, insecure, cafile, scroll_duration, reference } = result.value;
    assert.deepEqual(
      { host, index_name, insecure, cafile, scroll_duration, reference },
      {
        host: 'http://localhost:9200',
        index_name: 'cloudkitty',
        insecure: false,
        cafile: undefined,
        scroll_duration: 30,
        reference: undefined,
      },
    );
    assert.ok(definition.secretOptions?.includes('password'));
  }
  assert.ok(elasticsearch.secretOptions?.includes('api_key'));
});

test('what cannot be meant is refused by name', async () => {
  for (const definition of DEFINITIONS) {
    const refused = (options: unknown) => problems(definition, options);
    for (const host of [
      'search',
      'ftp://search',
      'http://joe:secret@search',
      'http://search?x=1',
      'http://search/#x',
    ])
      assert.deepEqual(await refused({ host }), ['host'], host);
    for (const index_name of [
      '',
      'Cloud',
      '_all',
      '*',
      'a,b',
      'a/b',
      '../x',
      '.ds-x',
      'a b',
      '-a',
      'a'.repeat(300),
    ])
      assert.deepEqual(await refused({ index_name }), ['index_name'], index_name);
    assert.deepEqual(await refused({ period_index_name: 'A' }), ['period_index_name']);
    assert.deepEqual(await refused({ scroll_duration: 0 }), ['scroll_duration']);
    assert.deepEqual(await refused({ reference: {} }), ['reference.source']);
    assert.deepEqual(await refused({ reference: { source: 'a', index_name: '*' } }), [
      'reference.index_name',
    ]);
    assert.deepEqual(await refused({ host: 'https://[::1]:9200/search', index_name: 'a.b-c_1' }), []);
  }
  assert.deepEqual(await problems(elasticsearch, { api_key: 'a', username: 'b' }), ['api_key']);
  assert.deepEqual(await problems(opensearch, { api_key: 'a' }), ['']);
});
