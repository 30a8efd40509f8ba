import assert from 'node:assert/strict';
import { after, beforeEach, describe, test } from 'node:test';
import { Decimal } from '../../core/plugin-api/index.js';
import { describeOnEngines, type TestEngine } from '../support/engines.js';
import {
  type Answer,
  ConfigApi,
  clearRules,
  HOST,
  NOW,
  openHashmapDatabase,
} from '../unit/hashmap/config-api.js';
import { documentOf } from '../unit/hashmap/vector-document.js';
import { frameOf, scopeOf, vectorCases } from '../unit/hashmap/vectors.js';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const ABSENT = '9b0f1d52-7f3c-4b44-9ad6-51d6b8b6f001';
const HOUR = 3600;

let api: ConfigApi;

describeOnEngines('hashmap', (engine) => {
  useDatabase(engine);
  describe('types, services, groups', testNames);
  describe('fields', testFields);
  describe('groups and their rules', testGroups);
  describe('creating mappings', testCreating);
  describe('changing and deleting mappings', testChanging);
  describe('listing mappings', testListing);
  describe('thresholds', testThresholds);
  describe('rating with stored rules', testStoredRules);
});

/** One database for all tests of an engine, emptied before each. */
function useDatabase(engine: TestEngine): void {
  let first: ConfigApi | undefined;
  beforeEach(async () => {
    first ??= new ConfigApi(await openHashmapDatabase(await engine.newDatabase()));
    await clearRules(first.database);
    api = new ConfigApi(first.database);
  });
  after(() => first?.database.close());
}

function assertFault(answer: Answer, status: number, text: string | RegExp): void {
  const { body } = answer;
  assert.equal(answer.status, status, JSON.stringify(body));
  assert.deepEqual(Object.keys(body), ['faultcode', 'faultstring', 'debuginfo']);
  assert.equal(body.faultcode, 'Client');
  assert.equal(body.debuginfo, null);
  if (typeof text === 'string') assert.equal(body.faultstring, text);
  else assert.match(body.faultstring, text);
}

async function makeService(name = 'instance'): Promise<string> {
  return (await api.create('/services', { name })).service_id;
}

async function makeField(service: string, name = 'flavor'): Promise<string> {
  return (await api.create('/fields', { name, service_id: service })).field_id;
}

async function makeGroup(name = 'discount'): Promise<string> {
  return (await api.create('/groups', { name })).group_id;
}

function date(instant: number): string {
  return new Date(instant * 1000).toISOString().slice(0, 19);
}

function testNames(): void {
  test('the types are flat and rate', async () => {
    assert.deepEqual(await api.request('GET', '/types'), {
      status: 200,
      location: undefined,
      body: ['flat', 'rate'],
    });
  });

  for (const [noun, table, id] of [
    ['service', 'services', 'service_id'],
    ['group', 'groups', 'group_id'],
  ] as const) {
    test(`a ${noun} is created, listed, read and deleted`, async () => {
      const created = await api.request('POST', `/${table}`, { name: 'instance' });
      assert.equal(created.status, 201);
      const uuid = created.body[id];
      assert.match(uuid, UUID);
      assert.equal(created.location, `${HOST}/${table}/${uuid}`);
      assert.deepEqual(created.body, { [id]: uuid, name: 'instance' });
      assert.deepEqual((await api.request('GET', `/${table}`)).body, { [table]: [created.body] });
      assert.deepEqual((await api.request('GET', `/${table}/${uuid}`)).body, created.body);
      const deleted = await api.request('DELETE', `/${table}/${uuid}`);
      assert.deepEqual(deleted, { status: 204, location: undefined, body: undefined });
      assertFault(
        await api.request('GET', `/${table}/${uuid}`),
        404,
        `No such ${noun}: None (UUID: ${uuid})`,
      );
      assertFault(
        await api.request('DELETE', `/${table}/${uuid}`),
        404,
        `No such ${noun}: None (UUID: ${uuid})`,
      );
    });

    test(`a second ${noun} of one name is a conflict that names the first`, async () => {
      const first = (await api.create(`/${table}`, { name: 'a' }))[id];
      const capital = noun === 'service' ? 'Service' : 'Group';
      const second = await api.request('POST', `/${table}`, { name: 'a' });
      assertFault(second, 409, `${capital} a already exists (UUID: ${first})`);
      for (const other of ['A', 'a ', 'á', '']) await api.create(`/${table}`, { name: other });
    });

    test(`a ${noun} is refused without name, with a wrong type and with an unknown attribute`, async () => {
      const missing = "Invalid input for field/attribute name. Value: 'None'. Mandatory field missing.";
      assertFault(await api.request('POST', `/${table}`, {}), 400, missing);
      assertFault(await api.request('POST', `/${table}`, { name: null }), 400, missing);
      assertFault(
        await api.request('POST', `/${table}`, { name: Decimal.ONE }),
        400,
        /Wrong type\. Expected '<class 'str'>', got '<class 'int'>'/,
      );
      assertFault(await api.request('POST', `/${table}`, { name: 'x'.repeat(256) }), 400, /Longer than 255/);
      assertFault(
        await api.request('POST', `/${table}`, { name: 'a', color: 'red' }),
        400,
        `Unknown attribute for argument ${noun}_data: color`,
      );
      assertFault(await api.request('POST', `/${table}`), 400, `Missing argument: "${noun}_data"`);
      assertFault(await api.request('POST', `/${table}`, ['a']), 400, 'Request is not in valid JSON format');
      assertFault(await api.request('GET', `/${table}?name=a`), 400, 'Unknown argument: "name"');
    });

    test(`a ${noun} can be deleted by an id in the body, as the client does`, async () => {
      const uuid = (await api.create(`/${table}`, { name: 'a' }))[id];
      assertFault(await api.request('DELETE', `/${table}`), 400, `Missing argument: "${id}"`);
      assert.equal((await api.request('DELETE', `/${table}`, { [id]: uuid })).status, 204);
      assert.deepEqual((await api.request('GET', `/${table}`)).body, { [table]: [] });
    });
  }

  test('deleting a service removes its fields and all rules', async () => {
    const service = await makeService();
    const field = await makeField(service);
    await api.create('/mappings', { cost: '1', service_id: service });
    const gone = await api.create('/mappings', { cost: '1', field_id: field, value: 'a' });
    await api.request('DELETE', `/mappings/${gone.mapping_id}`);
    await api.create('/thresholds', { cost: '1', level: '1', field_id: field });
    await api.request('DELETE', `/services/${service}`);
    assert.deepEqual((await api.request('GET', '/mappings?deleted=true')).body, { mappings: [] });
    assert.deepEqual((await api.request('GET', '/thresholds')).body, { thresholds: [] });
    assertFault(await api.request('GET', `/fields/${field}`), 404, `No such field: ${field}`);
  });
}

function testFields(): void {
  test('a field is created, listed by service in both ways, read and deleted', async () => {
    const service = await makeService();
    await makeField(await makeService('volume'), 'flavor');
    const created = await api.request('POST', '/fields', { name: 'flavor', service_id: service });
    assert.equal(created.status, 201);
    const { field_id } = created.body;
    assert.equal(created.location, `${HOST}/fields/${field_id}`);
    assert.deepEqual(created.body, { field_id, name: 'flavor', service_id: service });
    for (const target of [`/fields?service_id=${service}`, `/services/${service}/fields`])
      assert.deepEqual((await api.request('GET', target)).body, { fields: [created.body] });
    for (const target of [`/fields/${field_id}`, `/services/fields/${field_id}`])
      assert.deepEqual((await api.request('GET', target)).body, created.body);
    assert.equal((await api.request('DELETE', '/fields', { field_id })).status, 204);
    assertFault(await api.request('DELETE', `/fields/${field_id}`), 404, `No such field: ${field_id}`);
  });

  test('the list needs a service, and is empty for one that does not exist', async () => {
    assertFault(await api.request('GET', '/fields'), 400, 'Missing argument: "service_id"');
    await makeField(await makeService('instance'));
    assert.deepEqual((await api.request('GET', '/fields?service_id=instance')).body, { fields: [] });
    assert.deepEqual((await api.request('GET', '/fields', { service_id: ABSENT })).body, { fields: [] });
  });

  test('names are unique below one service; the service must exist', async () => {
    const service = await makeService();
    const field = await makeField(service);
    const again = await api.request('POST', '/fields', { name: 'flavor', service_id: service });
    assertFault(again, 409, `Field flavor already exists (UUID: ${field})`);
    await makeField(await makeService('volume'));
    const orphan = await api.request('POST', '/fields', { name: 'a', service_id: ABSENT });
    assertFault(orphan, 400, `No such service: None (UUID: ${ABSENT})`);
    const malformed = await api.request('POST', '/fields', { name: 'a', service_id: 'x' });
    assertFault(
      malformed,
      400,
      "Invalid input for field/attribute service_id. Value: 'x'. Invalid UUID, got 'x'",
    );
  });
}

function testGroups(): void {
  test('rules of a group are listed in both ways; an unknown group has none', async () => {
    const service = await makeService();
    const group = await makeGroup();
    const mapping = await api.create('/mappings', { cost: '1', service_id: service, group_id: group });
    const threshold = await api.create('/thresholds', {
      cost: '1',
      level: '2',
      service_id: service,
      group_id: group,
    });
    for (const target of [`/groups/${group}/mappings`, `/groups/mappings?group_id=${group}`])
      assert.deepEqual((await api.request('GET', target)).body, { mappings: [mapping] });
    for (const target of [`/groups/${group}/thresholds`, `/groups/thresholds?group_id=${group}`])
      assert.deepEqual((await api.request('GET', target)).body, { thresholds: [threshold] });
    assert.deepEqual((await api.request('GET', `/groups/${ABSENT}/mappings`)).body, { mappings: [] });
    assertFault(await api.request('GET', '/groups/mappings'), 400, 'Missing argument: "group_id"');
    const expected = { group_id: group, name: 'discount' };
    assert.deepEqual((await api.request('GET', `/mappings/${mapping.mapping_id}/group`)).body, expected);
    assert.deepEqual(
      (await api.request('GET', `/mappings/group?mapping_id=${mapping.mapping_id}`)).body,
      expected,
    );
    assert.deepEqual(
      (await api.request('GET', `/thresholds/${threshold.threshold_id}/group`)).body,
      expected,
    );
  });

  test('a rule without group, or no rule at all, has no group', async () => {
    const mapping = await api.create('/mappings', { cost: '1', service_id: await makeService() });
    for (const id of [mapping.mapping_id, ABSENT])
      assertFault(
        await api.request('GET', `/mappings/${id}/group`),
        404,
        `Mapping has no group (UUID: ${id})`,
      );
    assertFault(
      await api.request('GET', `/thresholds/${ABSENT}/group`),
      404,
      `Threshold has no group (UUID: ${ABSENT})`,
    );
  });

  for (const [how, target, body] of [
    ['by default', '', undefined],
    ['with an empty recursive in the query', '?recursive=', undefined],
    ['with recursive false in the body', '', { recursive: false }],
    ['with the word no in the body', '', { recursive: 'no' }],
  ] as const) {
    test(`deleting a group ${how} moves its rules to the default group`, async () => {
      const service = await makeService();
      const group = await makeGroup();
      await api.create('/mappings', { cost: '1', service_id: service, group_id: group });
      await api.create('/thresholds', { cost: '1', level: '2', service_id: service, group_id: group });
      assert.equal((await api.request('DELETE', `/groups/${group}${target}`, body)).status, 204);
      const { mappings } = (await api.request('GET', '/mappings')).body;
      assert.deepEqual(
        mappings.map((mapping) => mapping.group_id),
        [null],
      );
      const { thresholds } = (await api.request('GET', '/thresholds')).body;
      assert.deepEqual(
        thresholds.map((threshold) => threshold.group_id),
        [null],
      );
    });
  }

  test('deleting a group recursively removes its rules, deleted mappings too', async () => {
    const service = await makeService();
    const group = await makeGroup();
    const mapping = await api.create('/mappings', { cost: '1', service_id: service, group_id: group });
    await api.create('/mappings', { cost: '2', service_id: service });
    await api.request('DELETE', `/mappings/${mapping.mapping_id}`);
    await api.request('DELETE', '/groups', { group_id: group, recursive: true });
    const { mappings } = (await api.request('GET', '/mappings?deleted=1')).body;
    assert.equal(mappings.length, 1);
    assert.equal(mappings[0]!.group_id, null);
    const other = await makeGroup('other');
    assertFault(await api.request('DELETE', `/groups/${other}`, { recursive: 'maybe' }), 400, /recursive/);
  });

  test('any text of recursive in the query is true, the word false included', async () => {
    const service = await makeService();
    const group = await makeGroup();
    await api.create('/mappings', { cost: '1', service_id: service, group_id: group });
    assert.equal((await api.request('DELETE', `/groups/${group}?recursive=false`)).status, 204);
    assert.deepEqual((await api.request('GET', '/mappings')).body.mappings, []);
  });

  test('an object in the place of an id is a bad request, whatever it calls its members', async () => {
    const hostile = { toString: 'x', valueOf: 1 };
    assertFault(await api.request('DELETE', '/groups', { group_id: hostile }), 400, /Wrong type/);
    assertFault(await api.request('GET', '/mappings', { service_id: [hostile] }), 400, /Wrong type/);
  });
}

function testCreating(): void {
  test('a mapping has every attribute, decimals with their scale and dates without offset', async () => {
    const service = await makeService();
    const answer = await api.request('POST', '/mappings', { cost: '0.25', service_id: service });
    assert.equal(answer.status, 201);
    const { mapping_id, name, ...rest } = answer.body;
    assert.match(mapping_id, UUID);
    assert.match(name, /^[0-9a-f]{32}$/);
    assert.equal(answer.location, `${HOST}/mappings/${mapping_id}`);
    assert.deepEqual(rest, {
      value: '',
      type: 'flat',
      cost: '0.2500000000000000000000000000',
      service_id: service,
      field_id: null,
      group_id: null,
      tenant_id: null,
      created_at: '2026-01-01T00:00:00',
      start: '2026-01-01T00:00:00',
      end: null,
      description: null,
      deleted: null,
      created_by: 'operator',
      updated_by: null,
      deleted_by: null,
    });
    assert.deepEqual((await api.request('GET', `/mappings/${mapping_id}`)).body, answer.body);
  });

  test('what the Python client sends, with nulls and a JSON number, is taken', async () => {
    const field = await makeField(await makeService());
    const mapping = await api.create('/mappings', {
      cost: Decimal.parse('0.1'),
      value: 'm1.small',
      service_id: null,
      group_id: null,
      field_id: field,
      tenant_id: null,
      type: 'rate',
      name: '0123456789abcdef01234567',
    });
    assert.equal(mapping.cost, '0.1000000000000000000000000000');
    assert.equal(mapping.name, '0123456789abcdef01234567');
  });

  test('strict mode reads a JSON number through its binary value, but a text as it is', async () => {
    api = new ConfigApi(api.database, 'strict');
    const service = await makeService();
    const number = await api.create('/mappings', { cost: Decimal.parse('0.1'), service_id: service });
    assert.equal(number.cost, '0.1000000000000000055511151231');
    const body = { cost: '0.1', service_id: service, group_id: await makeGroup() };
    assert.equal((await api.create('/mappings', body)).cost, '0.1000000000000000000000000000');
  });

  test('costs are rounded to 28 decimals and written in the notation of the reference', async () => {
    const service = await makeService();
    const written: Record<string, string> = {
      '0': '0E-28',
      '0.0000001': '1.000000000000000000000E-7',
      '0.00000000000000000000000000005': '1E-28',
      '-999999999999.5': '-999999999999.5000000000000000000000000000',
    };
    for (const [cost, expected] of Object.entries(written)) {
      const group = await makeGroup(cost);
      assert.equal(
        (await api.create('/mappings', { cost, service_id: service, group_id: group })).cost,
        expected,
      );
    }
  });

  test('dates alone mean the first second for a start and the last for an end; offsets become UTC', async () => {
    const service = await makeService();
    const mapping = await api.create('/mappings', {
      cost: '1',
      service_id: service,
      start: '2027-01-01',
      end: '2027-01-31',
    });
    assert.equal(mapping.start, '2027-01-01T00:00:00');
    assert.equal(mapping.end, '2027-01-31T23:59:59');
    const zoned = await api.create('/mappings', {
      cost: '1',
      service_id: service,
      start: '2027-06-01T02:00:00+02:00',
      end: '2027-06-02T00:00:00.5Z',
    });
    assert.equal(zoned.start, '2027-06-01T00:00:00');
    assert.equal(zoned.end, '2027-06-02T00:00:00');
  });

  test('an end without a start counts from now', async () => {
    const service = await makeService();
    const early = { cost: '1', service_id: service, end: date(NOW - 1) };
    assertFault(
      await api.request('POST', '/mappings', early),
      400,
      'Cannot create a rule with start after end. start=[2026-01-01 00:00:00] end=[2025-12-31 23:59:59].',
    );
    assert.equal((await api.create('/mappings', { ...early, end: date(NOW + 1) })).start, date(NOW));
  });

  test('a start in the past needs force, whose every text counts', async () => {
    const body = { cost: '1', service_id: await makeService(), start: '2020-01-01' };
    const text =
      'Cannot create a rule with start in the past. start=[2020-01-01 00:00:00] current time=[2026-01-01 00:00:00].';
    for (const query of ['', '?force='])
      assertFault(await api.request('POST', `/mappings${query}`, body), 400, text);
    for (const [place, force] of ['true', 'false', '0'].entries()) {
      const later = { ...body, tenant_id: `tenant ${place}` };
      assert.equal((await api.request('POST', `/mappings?force=${force}`, later)).status, 201);
    }
  });

  test('a mapping has one parent, and a value exactly below a field', async () => {
    const service = await makeService();
    const field = await makeField(service);
    const refused: readonly (readonly [Record<string, unknown>, string])[] = [
      [{ service_id: service, field_id: field }, 'You can only specify one parent.'],
      [{}, 'You must specify one parent.'],
      [{ service_id: service, value: 'a' }, "You can't specify a value and a service_id."],
      [{ field_id: field }, 'You must specify a value for a field mapping.'],
      [{ field_id: field, value: '' }, 'You must specify a value for a field mapping.'],
      [{ field_id: ABSENT, value: 'a' }, `No such field: ${ABSENT}`],
      [{ service_id: ABSENT }, `No such service: None (UUID: ${ABSENT})`],
      [{ service_id: service, group_id: ABSENT }, `No such group: None (UUID: ${ABSENT})`],
    ];
    for (const [body, text] of refused)
      assertFault(await api.request('POST', '/mappings', { cost: '1', ...body }), 400, text);
    assert.deepEqual((await api.request('GET', '/mappings')).body, { mappings: [] });
  });

  test('malformed attributes are refused by name', async () => {
    const service_id = await makeService();
    const refused: readonly (readonly [Record<string, unknown>, RegExp])[] = [
      [{}, /attribute cost\. Value: 'None'\. Mandatory field missing/],
      [{ cost: null }, /attribute cost\. Value: 'None'\. Mandatory field missing/],
      [{ cost: 'much' }, /attribute cost\. Value: 'much'/],
      [{ cost: true }, /attribute cost/],
      [{ cost: 'NaN' }, /attribute cost/],
      [{ cost: '1000000000000' }, /More than 12 digits before the point/],
      [{ cost: '1e400' }, /More than 12 digits/],
      [
        { cost: '1', type: 'linear' },
        /attribute type\. Value: 'linear'\. Value should be one of: flat, rate/,
      ],
      [{ cost: '1', type: null }, /No mapping type: None/],
      [{ cost: '1', group_id: 'x' }, /Invalid UUID, got 'x'/],
      [{ cost: '1', start: 'tomorrow' }, /attribute start\. Value: 'tomorrow'/],
      [{ cost: '1', end: '2027-02-30' }, /attribute end/],
      [{ cost: '1', name: 'n'.repeat(33) }, /attribute name/],
      [{ cost: '1', description: 'd'.repeat(257) }, /attribute description/],
      [{ cost: '1', tenant_id: { id: 'a' } }, /Wrong type\. Expected '<class 'str'>', got '<class 'dict'>'/],
      [{ cost: '1', price: '2' }, /Unknown attribute for argument mapping_data: price/],
    ];
    for (const [body, text] of refused)
      assertFault(await api.request('POST', '/mappings', { service_id, ...body }), 400, text);
    assertFault(
      await api.request('POST', '/mappings?hurry=1', { cost: '1', service_id }),
      400,
      'Unknown argument: "hurry"',
    );
  });

  test('the same key at the same time is a conflict, by any other key it is not', async () => {
    const service = await makeService();
    const field_id = await makeField(service);
    const group_id = await makeGroup();
    const body = { cost: '1', field_id, value: 'm1.small' };
    await api.create('/mappings', body);
    assertFault(
      await api.request('POST', '/mappings', { ...body, cost: '2' }),
      409,
      `Mapping 'm1.small' already exists for field '${field_id}', tenant: 'None'`,
    );
    await api.create('/mappings', { ...body, tenant_id: 'alpha' });
    assertFault(
      await api.request('POST', '/mappings', { ...body, tenant_id: 'alpha' }),
      409,
      `Mapping 'm1.small' already exists for field '${field_id}', tenant: 'alpha'`,
    );
    await api.create('/mappings', { ...body, group_id });
    await api.create('/mappings', { ...body, value: 'M1.small' });
    await api.create('/mappings', { cost: '1', service_id: service });
    assertFault(
      await api.request('POST', '/mappings', { cost: '1', service_id: service, value: null }),
      409,
      `Mapping 'None' already exists for service '${service}', tenant: 'None'`,
    );
  });

  test('validity is half-open: rules that touch are accepted, rules that overlap are not', async () => {
    const service_id = await makeService();
    const post = (start: number, end: number | null) =>
      api.request('POST', '/mappings', {
        cost: '1',
        service_id,
        start: date(NOW + start),
        end: end === null ? null : date(NOW + end),
      });
    assert.equal((await post(100, 200)).status, 201);
    assert.equal((await post(200, 300)).status, 201);
    assert.equal((await post(0, 100)).status, 201);
    assert.equal((await post(150, null)).status, 409);
    assert.equal((await post(250, 400)).status, 409);
    assert.equal((await post(0, null)).status, 409);
    assert.equal((await post(300, null)).status, 201);
    assert.equal((await post(900, 901)).status, 409);
  });

  test('names of mappings are unique until one is deleted', async () => {
    const one = await makeService('one');
    const two = await makeService('two');
    const first = await api.create('/mappings', { cost: '1', service_id: one, name: 'base' });
    const second = { cost: '1', service_id: two, name: 'base' };
    assertFault(
      await api.request('POST', '/mappings', second),
      409,
      `Mapping '' already exists for service '${two}', tenant: 'None'`,
    );
    await api.request('DELETE', `/mappings/${first.mapping_id}`);
    await api.create('/mappings', second);
  });

  test('without a token the author is unknown', async () => {
    const service = await makeService();
    api.userId = undefined;
    assert.equal((await api.create('/mappings', { cost: '1', service_id: service })).created_by, 'unknown');
  });

  test('what is created is what rating sees', async () => {
    const service = await makeService();
    const field = await makeField(service);
    const group = await makeGroup();
    const mapping = await api.create('/mappings', {
      cost: '0.50',
      field_id: field,
      value: 'a',
      group_id: group,
      tenant_id: 't',
    });
    const threshold = await api.create('/thresholds', {
      cost: '2',
      level: '1.50',
      type: 'rate',
      service_id: service,
    });
    assert.deepEqual(await api.rules(), {
      services: [
        {
          name: 'instance',
          mappings: [],
          thresholds: [{ id: threshold.threshold_id, type: 'rate', cost: '2', level: '1.5' }],
          fields: [
            {
              name: 'flavor',
              mappings: [
                {
                  id: mapping.mapping_id,
                  type: 'flat',
                  cost: '0.5',
                  group: 'discount',
                  tenant: 't',
                  value: 'a',
                  start: NOW,
                },
              ],
              thresholds: [],
            },
          ],
        },
      ],
    });
  });
}

function testChanging(): void {
  async function planned(body: Record<string, unknown> = {}) {
    return api.create('/mappings', {
      cost: '1',
      service_id: await makeService(),
      start: date(NOW + HOUR),
      ...body,
    });
  }

  async function running(body: Record<string, unknown> = {}) {
    const mapping = await api.create('/mappings', { cost: '1', service_id: await makeService(), ...body });
    api.now = NOW + HOUR;
    return mapping;
  }

  const put = (mapping: { mapping_id: string }, body: Record<string, unknown>) =>
    api.request('PUT', `/mappings/${mapping.mapping_id}`, body);
  const read = async (mapping: { mapping_id: string }) =>
    (await api.request('GET', `/mappings/${mapping.mapping_id}`)).body;

  test('a planned rule takes cost, dates and description and ignores the rest', async () => {
    const mapping = await planned({ description: 'first', end: date(NOW + 9 * HOUR) });
    const answer = await put(mapping, {
      cost: '2',
      type: 'rate',
      tenant_id: 'x',
      name: 'y',
      start: date(NOW + 2 * HOUR),
    });
    assert.deepEqual(answer, {
      status: 302,
      location: `${HOST}/mappings/${mapping.mapping_id}`,
      body: undefined,
    });
    const changed = {
      cost: '2.0000000000000000000000000000',
      start: date(NOW + 2 * HOUR),
      end: null,
      description: null,
      updated_by: 'operator',
    };
    assert.deepEqual(await read(mapping), { ...mapping, ...changed });
  });

  test('a planned rule keeps its start when none is given, and cannot start in the past or after its end', async () => {
    const mapping = await planned();
    await put(mapping, { cost: '1', end: date(NOW + 2 * HOUR) });
    assert.equal((await read(mapping)).start, date(NOW + HOUR));
    assertFault(
      await put(mapping, { cost: '1', start: date(NOW - 1) }),
      400,
      /^Cannot create a rule with start in the past/,
    );
    assertFault(
      await put(mapping, { cost: '1', end: date(NOW + 1) }),
      400,
      /^Cannot create a rule with start after end/,
    );
    assertFault(await put(mapping, { end: null }), 400, /attribute cost.*Mandatory field missing/);
  });

  test('a planned rule cannot be moved over another one of its key', async () => {
    const mapping = await planned({ end: date(NOW + 2 * HOUR) });
    await api.create('/mappings', { cost: '9', service_id: mapping.service_id, start: date(NOW + 3 * HOUR) });
    assert.equal((await put(mapping, { cost: '1', end: date(NOW + 4 * HOUR) })).status, 409);
    assert.equal((await put(mapping, { cost: '1', end: date(NOW + 3 * HOUR) })).status, 302);
  });

  test('a running rule may only be given an end', async () => {
    const mapping = await running({ type: 'rate' });
    const text =
      /^You are allowed to update only the attribute \[end\] as this rule is already running as it started on \[2026-01-01 00:00:00\]$/;
    for (const change of [
      { cost: '2' },
      { cost: '0' },
      { type: undefined },
      { tenant_id: 'x' },
      { description: 'x' },
      { start: date(NOW + 2 * HOUR) },
      { group_id: ABSENT },
    ]) {
      const body: Record<string, unknown> = { cost: '1', type: 'rate', ...change };
      if ('type' in change) delete body.type;
      assertFault(await put(mapping, body), 400, text);
    }
    assertFault(
      await put(mapping, { cost: '1', type: 'rate', end: date(NOW + 1) }),
      400,
      'End date must be in the future. end=[2026-01-01 00:00:01] current time=[2026-01-01 01:00:00]',
    );
    assert.equal((await put(mapping, { cost: '1.0', type: 'rate', end: date(NOW + 5 * HOUR) })).status, 302);
    assert.deepEqual(await read(mapping), { ...mapping, end: date(NOW + 5 * HOUR), updated_by: 'operator' });
  });

  test('a rule that began this very second is running', async () => {
    const mapping = await api.create('/mappings', { cost: '1', service_id: await makeService() });
    assertFault(
      await put(mapping, { cost: '2' }),
      400,
      /^You are allowed to update only the attribute \[end\]/,
    );
    assert.equal((await put(mapping, { cost: '1', end: date(NOW + HOUR) })).status, 302);
  });

  test('the client sends the whole object back and repeats it after the 302', async () => {
    const mapping = await running();
    const body = { ...mapping, end: date(NOW + 5 * HOUR) };
    for (let round = 0; round < 3; round++)
      assert.equal((await api.request('PUT', '/mappings', body)).status, 302);
    assert.equal((await read(mapping)).end, date(NOW + 5 * HOUR));
  });

  test('a running rule with an end is final', async () => {
    const mapping = await running({ end: date(NOW + 2 * HOUR) });
    const text = 'Cannot update a rule that was already processed and has a defined end date.';
    assertFault(await put(mapping, { cost: '1', end: date(NOW + 3 * HOUR) }), 400, text);
    assertFault(await put(mapping, { cost: '2', end: date(NOW + 2 * HOUR) }), 400, text);
    assertFault(await put(mapping, { cost: '1' }), 400, text);
  });

  test('a deleted rule is kept for reading, hidden in lists and gone for changes', async () => {
    const mapping = await planned();
    api.userId = 'cleaner';
    assert.equal((await api.request('DELETE', `/mappings/${mapping.mapping_id}`)).status, 204);
    assertFault(
      await api.request('DELETE', '/mappings', { mapping_id: mapping.mapping_id }),
      404,
      `No such mapping: ${mapping.mapping_id}`,
    );
    assertFault(await put(mapping, { cost: '1' }), 404, `No such mapping: ${mapping.mapping_id}`);
    const deleted = { ...mapping, deleted: date(NOW), deleted_by: 'cleaner' };
    assert.deepEqual(await read(mapping), deleted);
    assert.deepEqual((await api.request('GET', '/mappings')).body, { mappings: [] });
    assert.deepEqual((await api.request('GET', '/mappings?deleted=true')).body, { mappings: [deleted] });
    assert.deepEqual(await api.rules(), {
      services: [{ name: 'instance', mappings: [], thresholds: [], fields: [] }],
    });
  });

  test('an unknown mapping is not found', async () => {
    const text = `No such mapping: ${ABSENT}`;
    assertFault(await api.request('GET', `/mappings/${ABSENT}`), 404, text);
    assertFault(await put({ mapping_id: ABSENT }, { cost: '1' }), 404, text);
    assertFault(await api.request('DELETE', `/mappings/${ABSENT}`), 404, text);
    assertFault(await api.request('DELETE', '/mappings'), 400, 'Missing argument: "mapping_id"');
    assertFault(await api.request('PUT', '/mappings', { cost: '1' }), 400, 'Missing argument: "mapping_id"');
  });
}

function testListing(): void {
  async function names(query: string): Promise<readonly string[]> {
    const answer = await api.request('GET', `/mappings${query}`);
    assert.equal(answer.status, 200, JSON.stringify(answer.body));
    return answer.body.mappings.map((mapping) => mapping.name);
  }

  test('filters combine as those of the reference', async () => {
    const service = await makeService();
    const field = await makeField(service);
    const group = await makeGroup();
    await api.create('/mappings', {
      cost: '1',
      service_id: service,
      name: 'on-service',
      description: 'Base_Fee',
    });
    await api.create('/mappings', {
      cost: '1',
      service_id: service,
      group_id: group,
      name: 'grouped',
      end: date(NOW + HOUR),
    });
    await api.create('/mappings', {
      cost: '1',
      field_id: field,
      value: 'a',
      tenant_id: 't',
      name: 'on-field',
    });
    await api.create('/mappings', {
      cost: '1',
      field_id: field,
      value: 'b',
      start: date(NOW + HOUR),
      name: 'later',
    });
    assert.deepEqual(await names(''), ['on-service', 'grouped', 'on-field', 'later']);
    assert.deepEqual(await names(`?service_id=${service}`), ['on-service', 'grouped']);
    assert.deepEqual(await names(`?service_id=${service}&field_id=${field}`), ['on-service', 'grouped']);
    assert.deepEqual(await names(`?field_id=${field}`), ['on-field', 'later']);
    assert.deepEqual(await names(`?group_id=${group}`), ['grouped']);
    assert.deepEqual(await names(`?service_id=${service}&no_group=True`), ['on-service']);
    assert.deepEqual(await names('?tenant_id=t'), ['on-service', 'grouped', 'on-field', 'later']);
    assert.deepEqual(await names('?filter_tenant=True&tenant_id=t'), ['on-field']);
    assert.deepEqual(await names('?filter_tenant=true'), ['on-service', 'grouped', 'later']);
    assert.deepEqual(await names('?is_active=1'), ['on-service', 'grouped', 'on-field']);
    assert.deepEqual(await names(`?start=${date(NOW + 1)}`), ['later']);
    assert.deepEqual(await names('?end=2030-01-01'), ['grouped']);
    assert.deepEqual(await names('?description=base'), ['on-service']);
    assert.deepEqual(await names('?description=b%25f_e'), ['on-service']);
    assert.deepEqual(await names('?description=(base'), []);
    assert.deepEqual(await names('?created_by=operator&all=false').then((found) => found.length), 4);
    assert.deepEqual(await names('?updated_by=operator'), []);
    assert.deepEqual(await names(`?service_id=${ABSENT}`), []);
    for (const target of [`/services/${service}/mappings`, `/services/mappings?service_id=${service}`])
      assert.equal((await api.request('GET', target)).body.mappings.length, 2);
    assertFault(await api.request('GET', '/mappings?color=red'), 400, 'Unknown argument: "color"');
    assertFault(await api.request('GET', '/mappings?start=soon'), 400, /attribute start\. Value: 'soon'/);
  });
}

function testThresholds(): void {
  test('a threshold is created, listed, read and deleted', async () => {
    const service = await makeService();
    const answer = await api.request('POST', '/thresholds', {
      level: '200',
      cost: '0.9',
      type: 'rate',
      service_id: service,
    });
    assert.equal(answer.status, 201);
    const { threshold_id, ...rest } = answer.body;
    assert.equal(answer.location, `${HOST}/thresholds/${threshold_id}`);
    assert.deepEqual(rest, {
      level: '200.00000000',
      type: 'rate',
      cost: '0.9000000000000000000000000000',
      service_id: service,
      field_id: null,
      group_id: null,
      tenant_id: null,
    });
    assert.deepEqual((await api.request('GET', `/thresholds/${threshold_id}`)).body, answer.body);
    assert.deepEqual((await api.request('GET', `/thresholds?service_id=${service}`)).body, {
      thresholds: [answer.body],
    });
    assert.equal((await api.request('DELETE', '/thresholds', { threshold_id })).status, 204);
    assertFault(
      await api.request('DELETE', `/thresholds/${threshold_id}`),
      404,
      `No such threshold: ${threshold_id}`,
    );
    assertFault(
      await api.request('GET', `/thresholds/${threshold_id}`),
      404,
      `No such threshold: ${threshold_id}`,
    );
  });

  test('level and cost are needed, and one parent', async () => {
    const service_id = await makeService();
    const field_id = await makeField(service_id);
    const post = (body: Record<string, unknown>) => api.request('POST', '/thresholds', body);
    assertFault(await post({ cost: '1', service_id }), 400, /attribute level\. Value: 'None'\. Mandatory/);
    assertFault(await post({ cost: '1', level: null, service_id }), 400, /attribute level/);
    assertFault(await post({ level: '1', service_id }), 400, /attribute cost/);
    assertFault(await post({ level: '1', cost: '1' }), 400, 'You must specify one parent.');
    assertFault(
      await post({ level: '1', cost: '1', service_id, field_id }),
      400,
      'You can only specify one parent.',
    );
    assertFault(
      await post({ level: '1', cost: '1', service_id: ABSENT }),
      400,
      `No such service: None (UUID: ${ABSENT})`,
    );
    assertFault(
      await post({ level: '1', cost: '1', service_id, name: 'a' }),
      400,
      'Unknown attribute for argument threshold_data: name',
    );
    assertFault(
      await post({ level: '1', cost: '1', service_id, value: 'a' }),
      400,
      'Unknown attribute for argument threshold_data: value',
    );
  });

  test('a tenant has a level of one parent once; global rules may repeat it', async () => {
    const service_id = await makeService();
    const body = { cost: '1', level: '5', service_id };
    await api.create('/thresholds', body);
    await api.create('/thresholds', body);
    await api.create('/thresholds', { ...body, tenant_id: 't' });
    const again = await api.request('POST', '/thresholds', { ...body, level: '5.0', tenant_id: 't' });
    assertFault(
      again,
      409,
      `Threshold '5' already exists for service '${service_id}', tenant: 'None'`.replace("'5'", "'5.0'"),
    );
    await api.create('/thresholds', { ...body, level: '6', tenant_id: 't' });
  });

  test('a change replaces level, cost, type and tenant by what is given or by defaults', async () => {
    const service_id = await makeService();
    const group_id = await makeGroup();
    const body = { cost: '1', level: '5', type: 'rate', tenant_id: 't', service_id, group_id };
    const { threshold_id } = await api.create('/thresholds', body);
    const answer = await api.request('PUT', `/thresholds/${threshold_id}`, { level: '7', cost: '2' });
    assert.deepEqual(answer, {
      status: 302,
      location: `${HOST}/thresholds/${threshold_id}`,
      body: undefined,
    });
    const changed = {
      threshold_id,
      level: '7.00000000',
      type: 'flat',
      cost: '2.0000000000000000000000000000',
      service_id,
      field_id: null,
      group_id,
      tenant_id: null,
    };
    assert.deepEqual((await api.request('GET', `/thresholds/${threshold_id}`)).body, changed);
    const other = await makeGroup('other');
    for (let round = 0; round < 2; round++)
      assert.equal((await api.request('PUT', '/thresholds', { ...changed, group_id: other })).status, 302);
    assert.equal((await api.request('GET', `/thresholds/${threshold_id}`)).body.group_id, other);
    const missing = await api.request('PUT', `/thresholds/${threshold_id}`, {
      level: '7',
      cost: '2',
      group_id: ABSENT,
    });
    assertFault(missing, 400, `No such group: None (UUID: ${ABSENT})`);
    assertFault(
      await api.request('PUT', `/thresholds/${ABSENT}`, { level: '7', cost: '2' }),
      404,
      `No such threshold: ${ABSENT}`,
    );
    assertFault(
      await api.request('PUT', `/thresholds/${threshold_id}`, { cost: '2' }),
      400,
      /attribute level/,
    );
  });

  test('a change cannot take the level that the tenant has already', async () => {
    const service_id = await makeService();
    await api.create('/thresholds', { cost: '1', level: '5', tenant_id: 't', service_id });
    const { threshold_id } = await api.create('/thresholds', {
      cost: '1',
      level: '6',
      tenant_id: 't',
      service_id,
    });
    const answer = await api.request('PUT', `/thresholds/${threshold_id}`, {
      level: '5',
      cost: '1',
      tenant_id: 't',
    });
    assertFault(
      answer,
      409,
      `Threshold '5' already exists for Threshold_id '${threshold_id}', tenant: 'None'`,
    );
  });
}

function testStoredRules(): void {
  test('every vector has the prices of the reference when its rules come from the database', async () => {
    api = new ConfigApi(api.database, 'strict');
    const { rulesDocument } = api.module;
    const signal = new AbortController().signal;
    for (const vector of vectorCases.filter(({ expected }) => expected.error === undefined)) {
      await api.database.transaction((tx) =>
        rulesDocument!.write(documentOf(vector), tx, { mode: 'replace', now: NOW, author: 'test' }),
      );
      const compiled = api.module.compile(await api.rules(), scopeOf(vector));
      const rated = await compiled.rate(frameOf(vector), signal);
      assert.deepEqual(
        rated.points.map(({ price }) => price.toString()),
        vector.expected.prices!.map((price) => Decimal.parse(price).toString()),
        vector.id,
      );
    }
  });

  test('concurrent writers of one rule make one rule', async () => {
    const service = await makeService();
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => api.request('POST', '/mappings', { cost: '1', service_id: service })),
    );
    assert.deepEqual(answers.map(({ status }) => status).sort(), [
      201,
      ...Array.from({ length: 7 }, () => 409),
    ]);
  });

  test('a thousand rules load in a fraction of a second', async () => {
    const mappings = Array.from({ length: 1000 }, (_, index) => ({ value: `v${index}`, cost: '1' }));
    const document = { services: { instance: { fields: { flavor: { mappings } } } } };
    await api.database.transaction((tx) =>
      api.module.rulesDocument!.write(document, tx, { mode: 'replace', now: NOW, author: 'test' }),
    );
    await api.rules();
    const begin = performance.now();
    const rules = await api.rules();
    const milliseconds = performance.now() - begin;
    assert.equal(JSON.stringify(rules).match(/"cost"/g)!.length, 1000);
    // Some ten milliseconds; one query per rule would take far longer than this.
    assert.ok(milliseconds < 500, `${milliseconds} ms`);
  });
}
