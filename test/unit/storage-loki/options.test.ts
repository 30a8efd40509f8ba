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

test('limits have their defaults, and what CloudKitty stored is not read unless asked for', async () => {
  const result = await loki.options['~standard'].validate({});
  assert.ok(result.issues === undefined);
  const { max_entries, max_line_kib, max_response_mib, reference } = result.value;
  assert.deepEqual(
    { max_entries, max_line_kib, max_response_mib, reference },
    { max_entries: 5_000, max_line_kib: 256, max_response_mib: 64, reference: undefined },
  );
});

test('numbers are taken up to their limits and no further', async () => {
  const allowed: readonly (readonly [string, number, number])[] = [
    ['shard_days', 1, 30],
    ['max_entries', 10, 1_000_000],
    ['max_line_kib', 16, 4_096],
  ];
  for (const [name, least, most] of allowed) {
    for (const value of [least, most])
      assert.deepEqual(await refused({ [name]: value }), [], `${name} ${value}`);
    for (const value of [least - 1, most + 1, least + 0.5, -least, Number.NaN, `${least}`, null])
      assert.deepEqual(await refused({ [name]: value }), [name], `${name} ${value}`);
  }
  for (const name of ['timeout', 'max_response_mib']) {
    assert.deepEqual(await refused({ [name]: 0.25 }), []);
    for (const value of [0, -1, '60']) assert.deepEqual(await refused({ [name]: value }), [name]);
  }
  for (const period of [1, 3_600, 2_678_400])
    assert.deepEqual(await refused({ reference: { source: 'a', period } }), []);
  for (const period of [0, 2_678_401, 0.5, '3600'])
    assert.deepEqual(await refused({ reference: { source: 'a', period } }), ['reference.period']);
});

test('a tenant is one tenant, as long as Loki allows', async () => {
  assert.deepEqual(await refused({ tenant: 'x'.repeat(150) }), []);
  for (const tenant of ['...', '.a', 'a..b', '0']) assert.deepEqual(await refused({ tenant }), [], tenant);
  for (const tenant of ['.', 'é', 'a\\b', '\u0000', 'a\n', 5, null])
    assert.deepEqual(await refused({ tenant }), ['tenant'], String(tenant));
});

test('labels of streams are those that Loki takes, for those of CloudKitty too', async () => {
  const most = Object.fromEntries(Array.from({ length: 10 }, (_, index) => [`l${index}`, 'x']));
  const good = [most, { _a: 'x'.repeat(1_024) }, { service: '"} or {a=~".+' }];
  const bad: readonly (readonly [unknown, string])[] = [
    [{}, ''],
    [{ ...most, more: 'x' }, ''],
    [{ a: '' }, '.a'],
    [{ a: 'x'.repeat(1_025) }, '.a'],
    [{ a: 5 }, '.a'],
    ['service:cloudkitty', ''],
    [null, ''],
  ];
  for (const stream of good) {
    assert.deepEqual(await refused({ stream }), []);
    assert.deepEqual(await refused({ reference: { source: 'a', stream } }), []);
  }
  for (const [stream, where] of bad) {
    assert.deepEqual(await refused({ stream }), [`stream${where}`]);
    assert.deepEqual(await refused({ reference: { source: 'a', stream } }), [`reference.stream${where}`]);
  }
  const reserved = { ratecat_owner: 'x' };
  assert.deepEqual(await refused({ reference: { source: 'a', stream: reserved } }), [
    'reference.stream.ratecat_owner',
  ]);
});

test('a misspelt key is refused where it is', async () => {
  for (const name of ['max_entires', 'Url', 'shard_day', 'buffer_size', 'content_type'])
    assert.deepEqual(await refused({ [name]: 1 }), ['']);
  for (const name of ['scope', 'periods', 'index_name', 'tenant'])
    assert.deepEqual(await refused({ reference: { source: 'a', [name]: 'x' } }), ['reference']);
  for (const reference of [{ source: '' }, { source: 'a', scope_key: '' }]) {
    const [name] = Object.entries(reference).find(([, value]) => value === '')!;
    assert.deepEqual(await refused({ reference }), [`reference.${name}`]);
  }
  for (const reference of ['openstack', [], null, true])
    assert.deepEqual(await refused({ reference }), ['reference']);
});
