import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { member } from '../../support/api.js';
import { describeOnEngines } from '../../support/engines.js';
import { fault, type OpenedV1, openV1 } from './v1-support.js';

describeOnEngines('/v1/collector', (engine) => {
  let api: OpenedV1;
  before(async () => {
    api = await openV1({ url: await engine.newDatabase() });
  });
  after(() => api.close());

  const MAPPINGS = '/v1/collector/mappings';

  it('is a stub', async () => {
    const answer = await api.call('GET', '/v1/collector');
    assert.deepEqual([answer.status, answer.text, answer.headers['content-type']], [204, '', undefined]);
  });

  it('keeps one collector per service', async () => {
    assert.equal((await api.call('GET', MAPPINGS)).text, '{"mappings": []}');
    const created = [
      await api.call('POST', `${MAPPINGS}/gnocchi/compute`),
      await api.call('POST', MAPPINGS, { body: { collector: 'prometheus', service: 'volume' } }),
      await api.call('POST', `${MAPPINGS}?collector=prometheus&service=compute`),
    ];
    assert.deepEqual(
      created.map(({ status, text }) => `${status} ${text}`),
      [
        '200 {"service": "compute", "collector": "gnocchi"}',
        '200 {"service": "volume", "collector": "prometheus"}',
        '200 {"service": "compute", "collector": "prometheus"}',
      ],
    );
    assert.equal((await api.call('GET', `${MAPPINGS}/compute`)).text, created[2]!.text);
    assert.equal((await api.call('GET', `${MAPPINGS}?collector=prometheus`)).json.mappings.length, 2);
    assert.equal((await api.call('GET', `${MAPPINGS}?collector=gnocchi`)).text, '{"mappings": []}');
  });

  it('forgets a mapping once', async () => {
    await api.call('POST', `${MAPPINGS}/gnocchi/gone`);
    const removed = await api.call('DELETE', `${MAPPINGS}/gone`);
    assert.deepEqual([removed.status, removed.text], [204, '']);
    for (const method of ['GET', 'DELETE']) {
      const answer = await api.call(method, `${MAPPINGS}/gone`);
      assert.deepEqual([answer.status, answer.text], [404, fault('No mapping for service: gone')]);
    }
    assert.equal((await api.call('DELETE', MAPPINGS)).text, fault('Missing argument: "service"'));
  });

  it('keeps states that share the table of the modules without touching them', async () => {
    const paths = [
      '/v1/collector/states/hashmap',
      '/v1/collector/hashmap/states',
      '/v1/collector/states?name=hashmap',
    ];
    for (const path of paths)
      assert.equal((await api.call('GET', path)).text, '{"name": "hashmap", "enabled": false}', path);
    const before = (await api.services.moduleStates.all()).get('hashmap');
    for (const [place, path] of paths.entries()) {
      const enabled = place % 2 === 0;
      const answer = await api.call('PUT', path, { body: { enabled } });
      assert.equal(answer.text, `{"name": "hashmap", "enabled": ${enabled}}`);
      assert.equal((await api.call('GET', paths[0]!)).json.enabled, enabled);
    }
    const named = await api.call('PUT', '/v1/collector/states', {
      body: { name: 'by-body', enabled: 'yes' },
    });
    assert.equal(named.text, '{"name": "by-body", "enabled": true}');
    const states = await api.services.moduleStates.all();
    assert.deepEqual(states.get('hashmap'), before);
    assert.equal(states.get('collector_by-body')?.enabled, true);
    assert.ok((await api.call('GET', '/v1/rating/modules')).text.indexOf('collector_') < 0);
  });

  it('refuses states that are no clear yes or no, as the reference words it', async () => {
    const refused = [
      [
        { enabled: 'perhaps' },
        "Invalid input for field/attribute infos. Value: '{'enabled': 'perhaps'}'. Value not an unambiguous boolean: perhaps",
      ],
      [{}, "Invalid input for field/attribute enabled. Value: 'None'. Mandatory field missing."],
      [
        { enabled: null },
        "Invalid input for field/attribute enabled. Value: 'None'. Mandatory field missing.",
      ],
      [{ enabled: true, x: 1 }, 'Unknown attribute for argument infos: x'],
    ] as const;
    for (const [body, text] of refused) {
      const answer = await api.call('PUT', '/v1/collector/states/gnocchi', { body });
      assert.deepEqual([answer.status, answer.json.faultstring], [400, text]);
    }
  });

  it('takes any name that the tables hold and no longer one', async () => {
    const names = ['Ωmega 💶', "'; DROP TABLE x --", 'COMPUTE', 'compute ', 'x'.repeat(255)];
    for (const name of names) {
      const answer = await api.call('POST', MAPPINGS, { body: { collector: 'c', service: name } });
      assert.equal(answer.status, 200, name);
      assert.equal((await api.call('GET', `${MAPPINGS}/${encodeURIComponent(name)}`)).json.service, name);
    }
    const long = 'x'.repeat(256);
    assert.equal((await api.call('POST', MAPPINGS, { body: { collector: 'c', service: long } })).status, 400);
    assert.equal(
      (await api.call('PUT', `/v1/collector/states/${long}`, { body: { enabled: true } })).status,
      400,
    );
    assert.equal((await api.call('GET', `/v1/collector/states/${long}`)).json.enabled, false);
  });

  it('is for admins', async () => {
    const identity = member('demo');
    const calls = [
      ['GET', MAPPINGS, 'list_mappings', undefined],
      ['GET', `${MAPPINGS}/x`, 'get_mapping', undefined],
      ['POST', `${MAPPINGS}/x/y`, 'manage_mapping', undefined],
      ['DELETE', `${MAPPINGS}/x`, 'manage_mapping', undefined],
      ['GET', '/v1/collector/states/x', 'get_state', undefined],
      ['PUT', '/v1/collector/states/x', 'update_state', { enabled: true }],
    ] as const;
    for (const [method, path, rule, body] of calls) {
      const answer = await api.call(method, path, { identity, ...(body === undefined ? {} : { body }) });
      assert.deepEqual(
        [answer.status, answer.text],
        [403, fault(`Policy doesn't allow collector:${rule} to be performed.`)],
      );
    }
  });
});
