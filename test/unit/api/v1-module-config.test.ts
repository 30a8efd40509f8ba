import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { V1Api } from '../../../core/api/v1/v1-api.js';
import {
  type ConfigRequest,
  type ConfigRoute,
  DataError,
  Decimal,
  type RatingModule,
  UnavailableError,
} from '../../../core/plugin-api/index.js';
import { member, read, request } from '../../support/api.js';
import { describeOnEngines } from '../../support/engines.js';
import { ABSENT, fault, HASHMAP, type OpenedV1, openV1 } from './v1-support.js';

const PROBE = '/v1/rating/module_config/probe';

describeOnEngines('/v1/rating/module_config', (engine) => {
  let api: OpenedV1;
  let probed: V1Api;
  let last: ConfigRequest | undefined;
  before(async () => {
    api = await openV1({ url: await engine.newDatabase() });
    const write = (request: ConfigRequest) =>
      request.tx.insertRows({
        table: 'ratecat_collector_mappings',
        columns: ['service', 'collector'],
        rows: [[request.parameters.id ?? 'none', 'probe']],
      });
    const route = (
      method: ConfigRoute['method'],
      path: string,
      handle: ConfigRoute['handle'],
    ): ConfigRoute => ({
      method,
      path,
      handle,
    });
    const saying = (name: string) => async (request: ConfigRequest) => {
      last = request;
      return { status: 200, body: { route: name, parameters: request.parameters } };
    };
    const module: RatingModule = {
      description: 'Probe.',
      hotConfig: true,
      compile: () => ({ rate: (frame) => frame }),
      configRoutes: [
        route('GET', '/:id', saying('parameter')),
        route('GET', '/fixed', saying('fixed')),
        route('GET', '/:id/sub', saying('sub of parameter')),
        route('GET', '/fixed/:id', saying('parameter of fixed')),
        route('POST', '/echo', saying('echo')),
        route('POST', '/write/:id', async (request) => {
          await write(request);
          return { status: 201, headers: { Location: `${request.url}/x` }, body: { π: 'é' } };
        }),
        route('PUT', '/write/:id', async (request) => {
          await write(request);
          return { status: 409, body: { faultcode: 'Client', faultstring: 'no', debuginfo: null } };
        }),
        route('DELETE', '/write/:id', async () => ({ status: 204 })),
        route('GET', '/bad-data', async () => {
          throw new DataError('RATECAT_TEST', 'this cannot be stored');
        }),
        route('GET', '/gone', async () => {
          throw new UnavailableError('RATECAT_TEST', 'not now');
        }),
      ],
    };
    probed = new V1Api({ ...api.services, modules: [...api.services.modules, { name: 'probe', module }] });
  });
  after(() => api.close());

  const call = async (...parameters: Parameters<typeof request>) =>
    read(await probed.handle(request(...parameters)));
  const revision = () => api.services.moduleStates.revision();
  const isWritten = async (service: string) =>
    (await api.call('GET', `/v1/collector/mappings/${service}`)).status === 200;

  it('prefers fixed words to parameters, and hands parameters over decoded', async () => {
    const shown = async (path: string) => (await call('GET', `${PROBE}${path}`)).json;
    assert.equal((await shown('/fixed')).route, 'fixed');
    assert.equal((await shown('/fixed/')).route, 'fixed');
    assert.equal((await shown('/fixed/sub')).route, 'parameter of fixed');
    assert.deepEqual(await shown('/other/sub'), { route: 'sub of parameter', parameters: { id: 'other' } });
    assert.deepEqual(await shown('/%C3%A9%2F%20x'), { route: 'parameter', parameters: { id: 'é/ x' } });
    assert.equal((await call('GET', `${PROBE}/a/b/c`)).status, 404);
    assert.equal((await call('PATCH', `${PROBE}/fixed`)).status, 405);
  });

  it('hands over query, body with exact numbers, caller and the absolute address', async () => {
    await call('POST', `${PROBE}/echo/?a=1&b=2&a=3`, {
      raw: '{"n": 0.10, "big": 12345678901234567890123}',
      origin: 'https://rating.example:8889',
      identity: { ...member('demo'), isAdmin: true },
    });
    assert.deepEqual(
      [...last!.query],
      [
        ['a', ['1', '3']],
        ['b', ['2']],
      ],
    );
    assert.deepEqual(last!.body, { n: Decimal.of(10n, -2), big: Decimal.parse('12345678901234567890123') });
    assert.deepEqual(last!.caller, { userId: 'user-of-demo', projectId: 'demo' });
    assert.equal(last!.url, `https://rating.example:8889${PROBE}/echo/`);
    await probed.handle({ ...request('POST', `${PROBE}/echo`), prefix: '/rating-api' });
    assert.equal(last!.url, `http://127.0.0.1:8889/rating-api${PROBE}/echo`);
    await call('POST', `${PROBE}/echo`, {
      raw: 'x=1&y=%C3%A9',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
    });
    assert.deepEqual(
      [[...last!.query], last!.body],
      [
        [
          ['x', ['1']],
          ['y', ['é']],
        ],
        undefined,
      ],
    );
  });

  it('stores a change together with the number that tells processors of it', async () => {
    const first = await revision();
    const created = await call('POST', `${PROBE}/write/kept`);
    assert.deepEqual([created.status, created.text], [201, '{"\\u03c0": "\\u00e9"}']);
    assert.equal(created.headers.Location, `http://127.0.0.1:8889${PROBE}/write/kept/x`);
    assert.equal(await isWritten('kept'), true);
    assert.equal(await revision(), first + 1);
    const removed = await call('DELETE', `${PROBE}/write/kept`);
    assert.deepEqual([removed.status, removed.text, removed.headers['content-type']], [204, '', undefined]);
    assert.equal(await revision(), first + 2);
  });

  it('takes everything back when the module refuses, and tells nobody of reads', async () => {
    const first = await revision();
    const refused = await call('PUT', `${PROBE}/write/refused`);
    assert.deepEqual([refused.status, refused.text], [409, fault('no')]);
    assert.equal(await isWritten('refused'), false);
    await call('GET', `${PROBE}/fixed`);
    assert.equal(await revision(), first);
  });

  it('blames the caller for data that cannot be stored, and nobody else', async () => {
    const answer = await call('GET', `${PROBE}/bad-data`);
    assert.deepEqual([answer.status, answer.text], [400, fault('this cannot be stored')]);
    await assert.rejects(call('GET', `${PROBE}/gone`), /not now/);
  });

  it('answers 409 for modules without configuration, to everybody', async () => {
    for (const method of ['GET', 'POST', 'DELETE'])
      for (const identity of [member('demo'), member(undefined, [])]) {
        const answer = await api.call(method, '/v1/rating/module_config/noop/', { identity });
        assert.deepEqual([answer.status, answer.text], [409, fault('Module is not configurable')]);
      }
  });

  it('asks the policy before anything else', async () => {
    const description = "Policy doesn't allow rating:module_config to be performed.";
    const identity = member('demo');
    for (const [method, path] of [
      ['GET', HASHMAP],
      ['GET', `${HASHMAP}/types`],
      ['GET', `${HASHMAP}/nope`],
      ['GET', `${HASHMAP}/services?unknown=1`],
      ['POST', `${HASHMAP}/services`],
      ['HEAD', `${HASHMAP}/services`],
    ] as const) {
      const answer = await api.call(method, path, { identity, raw: 'nonsense' });
      assert.deepEqual(
        [answer.status, answer.text],
        [403, `{"code": 403, "title": "Forbidden", "description": "${description}"}`],
        `${method} ${path}`,
      );
    }
  });

  it('serves the whole life of hashmap rules', async () => {
    const created = await api.call('POST', `${HASHMAP}/services/`, { body: { name: 'compute' } });
    const { service_id } = created.json;
    assert.equal(created.text, `{"service_id": "${service_id}", "name": "compute"}`);
    assert.equal(created.headers.Location, `http://127.0.0.1:8889${HASHMAP}/services/${service_id}`);
    const field = (await api.call('POST', `${HASHMAP}/fields`, { body: { name: 'flavor', service_id } }))
      .json;
    const mapping = await api.call('POST', `${HASHMAP}/mappings`, {
      raw: `{"field_id": "${field.field_id}", "value": "m1", "cost": 0.1}`,
    });
    assert.equal(mapping.json.cost, '0.1000000000000000000000000000');
    assert.equal(mapping.json.created_by, 'admin-user');
    const threshold = await api.call('POST', `${HASHMAP}/thresholds`, {
      body: { service_id, level: 4, cost: '1' },
    });
    assert.equal(threshold.json.level, '4.00000000');
    const put = await api.call('PUT', `${HASHMAP}/thresholds`, {
      body: { ...threshold.json, cost: '2' },
    });
    assert.deepEqual(
      [put.status, put.text, put.headers],
      [302, '', { Location: `http://127.0.0.1:8889${HASHMAP}/thresholds` }],
    );
    const listed = await api.call('GET', `${HASHMAP}/services/${service_id}/fields`);
    assert.deepEqual(listed.json, { fields: [field] });
    assert.equal((await api.call('GET', `${HASHMAP}/fields/?service_id=compute`)).text, '{"fields": []}');
    const removed = await api.call('DELETE', `${HASHMAP}/services/`, { body: { service_id } });
    assert.deepEqual([removed.status, removed.text], [204, '']);
    for (const [path, text] of [
      [`services/${service_id}`, `No such service: None (UUID: ${service_id})`],
      [`fields/${field.field_id}`, `No such field: ${field.field_id}`],
      [`mappings/${ABSENT}`, `No such mapping: ${ABSENT}`],
      [`mappings/${ABSENT}/group`, `Mapping has no group (UUID: ${ABSENT})`],
      [`thresholds/${ABSENT}`, `No such threshold: ${ABSENT}`],
      [`groups/${ABSENT}`, `No such group: None (UUID: ${ABSENT})`],
    ]) {
      const answer = await api.call('GET', `${HASHMAP}/${path}`);
      assert.deepEqual([answer.status, answer.text], [404, fault(text!)]);
    }
  });
});
