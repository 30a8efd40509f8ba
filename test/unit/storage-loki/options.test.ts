import assert from 'node:assert/strict';
import { test } from 'node:test';
import loki from '../../../plugins/storage/loki/index.js';

async function refused(options: unknown): Promise<readonly string[]> {
  const result = await loki.options['~standard'].validate(options);
  return (result.issues ?? []).map(({ path = [] }) => path.map(String).join('.'));
}

test("the options are those of CloudKitty's section, with their defaults", async () => {
  const result = await loki.options['~standard'].validate({ reference: { source: 'openstack' } });
  assert.ok(result.issues === undefined);
  const { url, tenant, stream, shard_days, insecure, cafile, certfile, keyfile, timeout, reference } =
    result.value;
  assert.deepEqual(
    { url, tenant, stream, shard_days, insecure, cafile, certfile, keyfile, timeout, reference },
    {
      url: 'http://localhost:3100/loki/api/v1',
      tenant: 'cloudkitty',
      stream: { service: 'ratecat' },
      shard_days: 30,
      insecure: false,
      cafile: undefined,
      certfile: undefined,
      keyfile: undefined,
      timeout: 60,
      reference: {
        source: 'openstack',
        scope_key: 'project_id',
        stream: { service: 'cloudkitty' },
        period: 3_600,
      },
    },
  );
});

test('what cannot be meant is refused by name', async () => {
  for (const url of ['loki', 'ftp://loki', 'http://joe:secret@loki', 'http://loki?x=1', 'http://loki/#x', ''])
    assert.deepEqual(await refused({ url }), ['url'], url);
  for (const tenant of ['', 'a|b', '..', 'a/b', 'a b', 'a\r\nx: y', 'x'.repeat(151)])
    assert.deepEqual(await refused({ tenant }), ['tenant'], tenant);
  assert.deepEqual(await refused({ stream: {} }), ['stream']);
  assert.deepEqual(await refused({ stream: { a: '' } }), ['stream.a']);
  for (const name of ['ratecat', 'ratecat_owner', '__name__', 'a-b', '1a', 'a b', 'a"}'])
    assert.equal((await refused({ stream: { [name]: 'x' } })).length, 1, name);
  const many = Object.fromEntries(Array.from({ length: 11 }, (_, index) => [`l${index}`, 'x']));
  assert.deepEqual(await refused({ stream: many }), ['stream']);
  for (const shard_days of [0, 31, 1.5]) assert.deepEqual(await refused({ shard_days }), ['shard_days']);
  assert.deepEqual(await refused({ max_entries: 9 }), ['max_entries']);
  assert.deepEqual(await refused({ max_line_kib: 15 }), ['max_line_kib']);
  assert.deepEqual(await refused({ reference: {} }), ['reference.source']);
  assert.deepEqual(await refused({ reference: { source: 'a', period: 0 } }), ['reference.period']);
  assert.deepEqual(await refused({ max_entires: 100 }), ['']);
  assert.deepEqual(
    await refused({ url: 'https://[::1]:3100/api/logs/v1/ck/loki/api/v1', tenant: "a!-_.*'()" }),
    [],
  );
});
