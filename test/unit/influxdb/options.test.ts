import assert from 'node:assert/strict';
import { test } from 'node:test';
import influxdb from '../../../plugins/storage/influxdb/index.js';

async function problems(options: unknown): Promise<readonly string[]> {
  const result = await influxdb.options['~standard'].validate(options);
  return (result.issues ?? []).map(({ path = [] }) => path.map(String).join('.'));
}

test("the options are those of CloudKitty's section, with its defaults", async () => {
  const result = await influxdb.options['~standard'].validate({});
  assert.ok(result.issues === undefined);
  const { host, port, use_ssl, database, retention_policy, reference } = result.value;
  assert.deepEqual(
    { host, port, use_ssl, database, retention_policy, reference },
    {
      host: 'localhost',
      port: 8086,
      use_ssl: false,
      database: 'cloudkitty',
      retention_policy: 'autogen',
      reference: undefined,
    },
  );
  assert.deepEqual(influxdb.secretOptions, ['password']);
});

test('what cannot be meant is refused by name', async () => {
  assert.deepEqual(await problems({ host: 'http://influx:8086' }), ['host']);
  assert.deepEqual(await problems({ host: 'influx/evil' }), ['host']);
  assert.deepEqual(await problems({ port: 0 }), ['port']);
  assert.deepEqual(await problems({ database: '' }), ['database']);
  assert.deepEqual(await problems({ reference: {} }), ['reference.source']);
  assert.deepEqual(await problems({ reference: { source: 'openstack', scope: 'x' } }), ['reference']);
  assert.deepEqual(await problems({ host: '::1', port: 1, use_ssl: true, reference: { source: 'a' } }), []);
});
