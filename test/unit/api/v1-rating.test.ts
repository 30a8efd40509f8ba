import assert from 'node:assert/strict';
import { after, before, beforeEach, it } from 'node:test';
import { quoteText } from '../../../core/api/v1/quote.js';
import { V1Api } from '../../../core/api/v1/v1-api.js';
import { Decimal } from '../../../core/plugin-api/index.js';
import { Quotes } from '../../../core/rating/quotes.js';
import { member, read, request } from '../../support/api.js';
import { describeOnEngines } from '../../support/engines.js';
import { fault, HASHMAP, type OpenedV1, openV1 } from './v1-support.js';

describeOnEngines('/v1/rating/modules', (engine) => {
  let api: OpenedV1;
  before(async () => {
    api = await openV1({ url: await engine.newDatabase() });
  });
  after(() => api.close());
  beforeEach(() => api.services.moduleStates.set('hashmap', { enabled: false, priority: 1 }));

  const HASHMAP_MODULE = '/v1/rating/modules/hashmap';
  const put = (body: object, path = HASHMAP_MODULE) =>
    api.call('PUT', path, { body: { module_id: 'hashmap', ...body } });
  const revision = () => api.services.moduleStates.revision();

  it('lists modules by name with their states', async () => {
    const { text } = await api.call('GET', '/v1/rating/modules/');
    const hashmap =
      '{"module_id": "hashmap", "description": "HashMap rating module.", "enabled": false, "hot-config": true, "priority": 1}';
    const noop =
      '{"module_id": "noop", "description": "Dummy test module.", "enabled": true, "hot-config": false, "priority": 1}';
    assert.equal(text, `{"modules": [${hashmap}, ${noop}]}`);
    assert.equal((await api.call('GET', `${HASHMAP_MODULE}?module_id=hashmap`)).text, hashmap);
    const unknown = await api.call('GET', '/v1/rating/modules/nope');
    assert.deepEqual([unknown.status, unknown.text], [404, fault('Module not found.')]);
  });

  it('changes what is given, and sends the caller to the same address', async () => {
    const answer = await put({ enabled: true });
    assert.deepEqual([answer.status, answer.text], [302, 'null']);
    assert.equal(answer.headers.location, `http://127.0.0.1:8889${HASHMAP_MODULE}`);
    await put({ priority: 42 });
    const { json } = await api.call('GET', HASHMAP_MODULE);
    assert.deepEqual([json.enabled, json.priority], [true, 42]);
  });

  it('writes once, however often clients repeat the request after the 302', async () => {
    const first = await revision();
    for (let round = 0; round < 31; round++)
      assert.equal((await put({ enabled: true, priority: 7 })).status, 302);
    assert.equal(await revision(), first + 1);
    await put({});
    await put({ enabled: null, priority: null });
    assert.equal(await revision(), first + 1);
  });

  it('reads values as the reference does', async () => {
    const read = async () => (await api.call('GET', HASHMAP_MODULE)).json;
    for (const [priority, stored] of [
      ['11', 11],
      [11.9, 11],
      [-1, -1],
      [-1.5, -1],
      [' +1_0 ', 10],
      [true, 1],
      [0, 1],
    ] as const) {
      assert.equal((await put({ priority })).status, 302);
      assert.equal((await read()).priority, stored, String(priority));
    }
    for (const [enabled, stored] of [
      ['yes', true],
      ['off', false],
      [1, true],
      [0, false],
    ] as const) {
      await put({ enabled });
      assert.equal((await read()).enabled, stored, String(enabled));
    }
    await put({ description: 'changed', 'hot-config': false });
    assert.deepEqual(
      [(await read()).description, (await read())['hot-config']],
      ['HashMap rating module.', true],
    );
  });

  it('names what is wrong with a value', async () => {
    const whole = (value: string) =>
      `Invalid input for field/attribute module. Value: '{'module_id': 'hashmap', ${value}}'. `;
    const refused = [
      [{ priority: 'high' }, `${whole("'priority': 'high'")}invalid literal for int() with base 10: 'high'`],
      [{ enabled: 'perhaps' }, `${whole("'enabled': 'perhaps'")}Value not an unambiguous boolean: perhaps`],
      [{ nope: 1 }, 'Unknown attribute for argument module: nope'],
      [{ hot_config: true }, 'Unknown attribute for argument module: hot_config'],
      [
        { module_id: undefined },
        "Invalid input for field/attribute module_id. Value: 'None'. Mandatory field missing.",
      ],
    ] as const;
    for (const [body, text] of refused) {
      const answer = await put(body);
      assert.deepEqual([answer.status, answer.json.faultstring], [400, text]);
    }
    for (const priority of [1e10, -1e300, '99999999999999999999', [1], {}])
      assert.equal((await put({ priority })).status, 400, String(priority));
  });

  it('lets the address say which module, and the body where the address does not', async () => {
    await put({ module_id: 'noop', priority: 8 });
    assert.equal((await api.call('GET', HASHMAP_MODULE)).json.priority, 8);
    const answer = await put({ priority: 9 }, '/v1/rating/modules/');
    assert.deepEqual(
      [answer.status, answer.headers.location],
      [302, 'http://127.0.0.1:8889/v1/rating/modules/'],
    );
    assert.equal((await api.call('GET', HASHMAP_MODULE)).json.priority, 9);
    assert.equal((await put({}, '/v1/rating/modules/nope')).status, 404);
  });

  it('lets noop be changed and stay as it is', async () => {
    assert.equal((await put({ enabled: false, priority: 5 }, '/v1/rating/modules/noop')).status, 302);
    const { json } = await api.call('GET', '/v1/rating/modules/noop');
    assert.deepEqual([json.enabled, json.priority], [true, 1]);
  });

  it('makes processors look at the rules again', async () => {
    const first = await revision();
    const answer = await api.call('GET', '/v1/rating/reload_modules');
    assert.deepEqual([answer.status, answer.text, answer.headers['content-type']], [204, '', undefined]);
    assert.equal(await revision(), first + 1);
  });

  it('is for admins', async () => {
    const identity = member('demo');
    const refused = async (method: string, path: string, rule: string, body?: object) => {
      const answer = await api.call(method, path, { identity, ...(body === undefined ? {} : { body }) });
      assert.deepEqual(
        [answer.status, answer.text],
        [403, fault(`Policy doesn't allow ${rule} to be performed.`)],
      );
    };
    await refused('GET', '/v1/rating/modules', 'rating:list_modules');
    await refused('GET', '/v1/rating/modules/nope', 'rating:get_module');
    await refused('PUT', HASHMAP_MODULE, 'rating:update_module', { module_id: 'x' });
    await refused('GET', '/v1/rating/reload_modules', 'rating:module_config');
  });
});

describeOnEngines('/v1/rating/quote', (engine) => {
  let api: OpenedV1;
  let strict: V1Api;
  before(async () => {
    api = await openV1({ url: await engine.newDatabase() });
    strict = new V1Api({ ...api.services, compat: 'strict' });
    await api.services.moduleStates.set('hashmap', { enabled: true, priority: 5 });
    const create = async (path: string, body: object) =>
      (await api.call('POST', `${HASHMAP}/${path}`, { body })).json;
    const compute = (await create('services', { name: 'compute' })).service_id;
    const flavor = (await create('fields', { name: 'flavor_id', service_id: compute })).field_id;
    const { group_id } = await create('groups', { name: 'extra' });
    await create('mappings', { service_id: compute, cost: '0.5' });
    await create('mappings', { field_id: flavor, value: '2', cost: '1.25' });
    await create('mappings', {
      field_id: flavor,
      value: '3',
      cost: '0.1234567890123456789012345679',
      group_id,
    });
    await create('mappings', { service_id: compute, cost: '1000', tenant_id: 'admin-project' });
    const volume = (await create('services', { name: 'volume' })).service_id;
    await create('mappings', { service_id: volume, cost: '0.05' });
    await create('mappings', {
      service_id: volume,
      cost: '0.1',
      start: '2020-01-01',
      end: '2020-02-01',
      tenant_id: 'x',
    });
  });
  after(() => api.close());

  const quote = (resources: unknown, area: V1Api = api.v1) =>
    area
      .handle(
        request('POST', '/v1/rating/quote/', { body: { resources }, identity: member('demo', ['reader']) }),
      )
      .then(read);
  const one = async (resource: object, area?: V1Api) =>
    (await quote([{ service: 'compute', volume: 1, ...resource }], area)).text;

  it('sums the prices of all resources as a text with the digits of the reference', async () => {
    assert.equal(await one({ desc: { metadata: { flavor_id: '2' } } }), '"1.250000000000000000000000000"');
    assert.equal(await one({ desc: { groupby: { flavor_id: '2' } } }), '"1.250000000000000000000000000"');
    assert.equal(await one({}), '"0.5000000000000000000000000000"');
    assert.equal(await one({ volume: '2.5' }), '"1.250000000000000000000000000"');
    const two = [
      { service: 'volume', volume: 10 },
      { service: 'compute', volume: '1', desc: { metadata: { flavor_id: '3' } } },
      { service: 'volume', volume: '0.5', desc: null },
    ];
    // 0.5 + 0.5 + 0.1234567890123456789012345679 + 0.025, at 28 digits
    assert.equal((await quote(two)).text, '"1.148456789012345678901234568"');
  });

  it('is 0 for nothing', async () => {
    assert.equal((await quote([])).text, '"0"');
    assert.equal(await one({ service: 'unknown' }), '"0"');
    assert.equal(await one({ volume: 0 }), '"0"');
  });

  it('never applies what holds for one project only', async () => {
    const answer = await api.call('POST', '/v1/rating/quote', {
      body: {
        resources: [{ service: 'compute', volume: 1, desc: { groupby: { project_id: 'admin-project' } } }],
      },
    });
    assert.equal(answer.text, '"0.5000000000000000000000000000"');
  });

  it('takes a flat description as metadata, but not where the reference is to be reproduced', async () => {
    const flat = { desc: { flavor_id: '2', vcpus: 1, disk_total: 20, source: null, shared: true } };
    assert.equal(await one(flat), '"1.250000000000000000000000000"');
    assert.equal(await one(flat, strict), '"0.5000000000000000000000000000"');
  });

  it('reads numbers, not texts, through floats where the reference is to be reproduced', async () => {
    assert.equal(await one({ volume: 0.1 }), '"0.0500000000000000000000000000"');
    assert.equal(await one({ volume: 0.1 }, strict), '"0.05000000000000000277555756156"');
    assert.equal(await one({ volume: '0.1' }, strict), '"0.0500000000000000000000000000"');
  });

  it('follows changed rules and modules at once', async () => {
    const { json } = await api.call('POST', `${HASHMAP}/services`, { body: { name: 'new' } });
    assert.equal(await one({ service: 'new' }), '"0"');
    await api.call('POST', `${HASHMAP}/mappings`, { body: { service_id: json.service_id, cost: '3' } });
    assert.equal(await one({ service: 'new' }), '"3.000000000000000000000000000"');
    await api.services.moduleStates.set('hashmap', { enabled: false, priority: 5 });
    assert.equal(await one({ service: 'new' }), '"0"');
    await api.services.moduleStates.set('hashmap', { enabled: true, priority: 5 });
  });

  it('answers 400 to what is no resource', async () => {
    const refused: readonly unknown[] = [
      null,
      'text',
      { service: 'compute' },
      [5],
      [null],
      [{ volume: 1 }],
      [{ service: 5, volume: 1 }],
      [{ service: 'compute' }],
      ...['lots', '', 'NaN', 'Infinity', true, [1], {}, '1e5000'].map((volume) => [
        { service: 'compute', volume },
      ]),
      ...[[1], 'x', 5, { groupby: 5 }, { metadata: [1] }, { a: [1] }].map((desc) => [
        { service: 'compute', volume: 1, desc },
      ]),
    ];
    for (const resources of refused) {
      const answer = await quote(resources);
      assert.deepEqual([answer.status, answer.json.faultcode], [400, 'Client'], JSON.stringify(resources));
    }
  });

  it('gives each resource its own price in the order of the request', async () => {
    const quotes = new Quotes(api.services.rules, api.services.clock);
    const resources = ['volume', 'compute', 'unknown', 'compute'].map((metric, place) => ({
      metric,
      quantity: Decimal.fromInteger(place + 1),
    }));
    const { total, resources: priced } = await quotes.quote(resources, new AbortController().signal);
    assert.deepEqual(
      priced.map(({ price }) => price.toString()),
      ['0.05', '1', '0', '2'],
    );
    assert.equal(total.toString(), '3.05');
  });
});

it('quotes are written with 28 digits, no more than 28 places and no exponent before the seventh place', () => {
  const texts = [
    ['0', '0'],
    ['-2', '-2.000000000000000000000000000'],
    ['0.001', '0.0010000000000000000000000000'],
    ['12345678901234567890123456789', '1.234567890123456789012345679E+28'],
    ['1234567890123456789012345678', '1234567890123456789012345678'],
    ['0.0000001', '1.000000000000000000000E-7'],
    ['2.3369999999999999662492200514', '2.336999999999999966249220051'],
    ['1e-40', '1E-40'],
  ];
  for (const [value, text] of texts) assert.equal(quoteText(Decimal.parse(value!)), text);
});
