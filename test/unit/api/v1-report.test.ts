import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import fc from 'fast-check';
import { framesJson } from '../../../core/api/v1/frames-json.js';
import { V1Api } from '../../../core/api/v1/v1-api.js';
import type { StoredFrame } from '../../../core/plugin-api/index.js';
import { sampleSeed } from '../../../core/testkit/samples.js';
import { ADMIN, member, read, request } from '../../support/api.js';
import { describeOnEngines } from '../../support/engines.js';
import { DAY, fault, HOUR, MONDAY, type OpenedV1, openV1, point, store } from './v1-support.js';

const RANGE = 'begin=2026-01-05T00:00:00&end=2026-01-06T00:00:00';
const NO_MATCH = 'begin=2020-01-05&end=2020-01-06';

describeOnEngines('/v1/report and /v1/storage', (engine) => {
  let api: OpenedV1;
  let permissive: V1Api;
  before(async () => {
    api = await openV1({ url: await engine.newDatabase() });
    permissive = new V1Api({ ...api.services, policy: { allows: () => true } });
    for (const hour of [0, 1]) {
      await store(api, {
        tenant: 'demo',
        begin: MONDAY + hour * HOUR,
        points: [
          point('compute', {
            qty: '1',
            price: '0.1',
            groupby: { project_id: 'demo', id: 'vm1' },
            metadata: { flavor: 'tiny', id: 'hidden' },
          }),
          point('compute', { qty: '2.5', price: '1.337', groupby: { project_id: 'demo', id: 'vm2' } }),
          point('volume', { qty: '10', price: '2.5', groupby: { project_id: 'demo', id: 'vol1' } }),
        ],
      });
      await store(api, {
        tenant: 'other',
        begin: MONDAY + hour * HOUR,
        points: [
          point('compute', {
            qty: '3',
            price: '0.1234567890123456789',
            groupby: { project_id: 'other', id: 'vm3' },
          }),
          point('volume', { qty: '20.000000001', price: '0', groupby: { project_id: 'other', id: 'vol2' } }),
        ],
      });
    }
    await store(api, {
      source: 'api',
      tenant: 'demo',
      begin: MONDAY + 2 * HOUR,
      points: [point('pushed', { price: '0.000004' })],
    });
    await store(api, { tenant: 'demo', begin: MONDAY + 40 * DAY, points: [point('later', { price: '7' })] });
    const pipeline = { source: 'default', fetcher: 'source', collector: 'prometheus' };
    await api.services.states.add(
      pipeline,
      ['demo', 'other', 'idle'].map((id) => ({ key: 'project_id', id })),
      MONDAY,
    );
  });
  after(() => api.close());

  const get = async (path: string, identity = ADMIN) => api.call('GET', path, { identity });
  const text = async (path: string, identity = ADMIN) => (await get(path, identity)).text;

  it('adds up what a period cost, exactly, and prints it as a float in a text', async () => {
    assert.equal(await text(`/v1/report/total?${RANGE}&all_tenants=true`), '"8.120917578024692"');
    assert.equal(await text(`/v1/report/total?${RANGE}&tenant_id=demo`), '"7.874004"');
    assert.equal(await text(`/v1/report/total?${RANGE}`, member('demo')), '"7.874004"');
    assert.equal(
      await text(`/v1/report/total?${RANGE}&all_tenants=1&service=compute`),
      '"3.1209135780246915"',
    );
    assert.equal(await text(`/v1/report/total?${RANGE}&tenant_id=other&service=volume`), '"0.0"');
    assert.equal(await text(`/v1/report/total?${RANGE}&tenant_id=nope`), '"0"');
    assert.equal(await text(`/v1/report/total?${NO_MATCH}&all_tenants=true`), '"0"');
    assert.equal(await text('/v1/report/total?begin=2026-01-06&end=2026-01-05&all_tenants=true'), '"0"');
  });

  it('summarises by tenant and type wherever the words occur, and rounds to five places', async () => {
    const row = (tenant: string, type: string, rate: string) =>
      `{"begin": "2026-01-05T00:00:00", "end": "2026-01-06T00:00:00", "tenant_id": "${tenant}", "res_type": "${type}", "rate": "${rate}"}`;
    const summary = async (query: string, identity = ADMIN) =>
      text(`/v1/report/summary?${RANGE}${query}`, identity);
    const rows = (...all: string[]) => `{"summary": [${all.join(', ')}]}`;
    assert.equal(await summary('&all_tenants=true'), rows(row('ALL', 'ALL', '8.12092')));
    assert.equal(
      await summary('&all_tenants=true&groupby=tenant_id'),
      rows(row('demo', 'ALL', '7.874'), row('other', 'ALL', '0.24691')),
    );
    assert.equal(
      await summary('&all_tenants=true&groupby=res_type,tenant_id'),
      rows(
        row('demo', 'compute', '2.874'),
        row('demo', 'pushed', '0.0'),
        row('demo', 'volume', '5.0'),
        row('other', 'compute', '0.24691'),
        row('other', 'volume', '0'),
      ),
    );
    const own = rows(
      row('ALL', 'compute', '2.874'),
      row('ALL', 'pushed', '0.0'),
      row('ALL', 'volume', '5.0'),
    );
    assert.equal(await summary('&groupby=xres_typex', member('demo')), own);
    assert.equal(await summary('&groupby=res_type&tenant_id=demo'), own);
    assert.equal(
      await summary('&groupby=nope&tenant_id=demo&service=volume'),
      rows(row('ALL', 'ALL', '5.0')),
    );
    assert.equal(await summary('&tenant_id=nope'), '{"summary": []}');
  });

  it('takes the current month of the billing time zone by default', async () => {
    const clock = { ...api.services.clock, now: () => (MONDAY + 3 * DAY) * 1000 };
    const calendar = api.services.calendar;
    const january = new V1Api({ ...api.services, clock, calendar });
    const answer = await read(await january.handle(request('GET', '/v1/report/summary?all_tenants=true')));
    assert.deepEqual(answer.json.summary[0], {
      begin: '2026-01-01T00:00:00',
      end: '2026-02-01T00:00:00',
      tenant_id: 'ALL',
      res_type: 'ALL',
      rate: '8.12092',
    });
    const half = await read(
      await january.handle(
        request('GET', '/v1/report/summary?all_tenants=true&begin=2026-01-05T00:30:00.25'),
      ),
    );
    assert.deepEqual(
      [half.json.summary[0].begin, half.json.summary[0].rate],
      ['2026-01-05T00:30:00.250000', '4.06046'],
    );
  });

  it('lists every known scope as a tenant, whatever the period', async () => {
    assert.equal(await text('/v1/report/tenants'), '["demo", "other", "idle"]');
    assert.equal(await text(`/v1/report/tenants?${NO_MATCH}`), '["demo", "other", "idle"]');
    assert.equal((await get('/v1/report/tenants?begin=nope')).status, 400);
    assert.equal((await get('/v1/report/tenants', member('demo'))).status, 403);
  });

  it('shows frames by scope and metric, descriptions overlaid by groupby, numbers as float texts', async () => {
    const answer = await get(`/v1/storage/dataframes?begin=2026-01-05&end=2026-01-05T01:00:00`);
    const head = (tenant: string) =>
      `{"begin": "2026-01-05T00:00:00", "end": "2026-01-05T01:00:00", "tenant_id": "${tenant}", "resources": [`;
    const resource = (rating: string, service: string, desc: string, volume: string) =>
      `{"rating": "${rating}", "service": "${service}", "desc": {${desc}}, "volume": "${volume}"}`;
    const frames = [
      `${head('demo')}${resource('0.1', 'compute', '"flavor": "tiny", "id": "vm1", "project_id": "demo"', '1.0')}, ` +
        `${resource('1.337', 'compute', '"project_id": "demo", "id": "vm2"', '2.5')}]}`,
      `${head('demo')}${resource('2.5', 'volume', '"project_id": "demo", "id": "vol1"', '10.0')}]}`,
      `${head('other')}${resource('0.12345678901234568', 'compute', '"project_id": "other", "id": "vm3"', '3.0')}]}`,
      `${head('other')}${resource('0.0', 'volume', '"project_id": "other", "id": "vol2"', '20.000000001')}]}`,
    ];
    assert.equal(answer.text, `{"dataframes": [${frames.join(', ')}]}`);
    assert.equal(answer.headers['content-type'], 'application/json');
  });

  it('keeps a period together as the reference does where it is to be reproduced', async () => {
    const strict = new V1Api({ ...api.services, compat: 'strict' });
    const { json } = await read(await strict.handle(request('GET', `/v1/storage/dataframes?${RANGE}`)));
    const shown = json.dataframes.map(
      (frame: { begin: string; tenant_id: string; resources: { service: string }[] }) => [
        frame.begin.slice(11, 13),
        frame.tenant_id,
        frame.resources.map(({ service }) => service).join(),
      ],
    );
    assert.deepEqual(shown, [
      ['00', 'demo', 'compute,compute,compute'],
      ['00', 'demo', 'volume,volume'],
      ['01', 'demo', 'compute,compute,compute'],
      ['01', 'demo', 'volume,volume'],
      ['02', 'demo', 'pushed'],
    ]);
  });

  it('filters frames by tenant and type', async () => {
    const frames = async (query: string, identity = ADMIN) =>
      (await get(`/v1/storage/dataframes?${RANGE}${query}`, identity)).json.dataframes.map(
        ({ tenant_id, resources }: { tenant_id: string; resources: { service: string }[] }) =>
          `${tenant_id} ${resources[0]!.service}`,
      );
    assert.deepEqual(await frames('&tenant_id=other&resource_type=compute'), [
      'other compute',
      'other compute',
    ]);
    assert.deepEqual(await frames('&resource_type=pushed'), ['demo pushed']);
    assert.deepEqual(await frames('', member('other')), [
      'other compute',
      'other volume',
      'other compute',
      'other volume',
    ]);
    assert.deepEqual(await frames('&tenant_id=nope'), []);
    assert.equal(await text(`/v1/storage/dataframes?${NO_MATCH}`), '{"dataframes": []}');
  });

  it('refuses to show other projects, or all of them, to members', async () => {
    const identity = member('demo');
    for (const [path, rule] of [
      ['/v1/report/total?tenant_id=other', 'report:get_total'],
      ['/v1/report/total?all_tenants=false', 'report:get_total'],
      ['/v1/report/summary?all_tenants=true', 'report:get_summary'],
      ['/v1/storage/dataframes?tenant_id=other', 'storage:list_data_frames'],
    ] as const) {
      const answer = await get(path, identity);
      assert.deepEqual(
        [answer.status, answer.text],
        [403, fault(`Policy doesn't allow ${rule} to be performed.`)],
      );
    }
    assert.equal((await get(`/v1/report/total?${RANGE}`, member(undefined))).status, 403);
  });

  it('shows no trace of other projects to members, even under a policy that allows everything', async () => {
    const seed = sampleSeed();
    const identity = fc.constantFrom(member('demo'), member(undefined), member('nope'), member(''));
    const path = fc.constantFrom('report/total', 'report/summary', 'storage/dataframes', 'report/tenants');
    const query = fc.record(
      {
        tenant_id: fc.constantFrom('other', '', 'demo', 'OTHER', "other' OR 1=1", '%'),
        all_tenants: fc.constantFrom('true', '0', ''),
        service: fc.constantFrom('compute', 'volume', ''),
        resource_type: fc.constantFrom('compute', ''),
        groupby: fc.constantFrom('tenant_id', 'res_type', 'tenant_id,res_type'),
      },
      { requiredKeys: [] },
    );
    await fc.assert(
      fc.asyncProperty(path, identity, query, async (place, who, parts) => {
        const search = new URLSearchParams(parts as Record<string, string>);
        if (place !== 'report/tenants') search.set('begin', '2026-01-05');
        if (place !== 'report/tenants') search.set('end', '2026-02-05');
        const answer = await read(
          await permissive.handle(request('GET', `/v1/${place}?${search}`, { identity: who })),
        );
        if (answer.status === 400) return;
        assert.equal(answer.status, 200);
        const isOwn = who.projectId === 'demo';
        assert.doesNotMatch(answer.text, /other|vm3|vol2|0\.24691|0\.123|3\.12|8\.12/);
        if (!isOwn) assert.doesNotMatch(answer.text, /demo|vm1|[1-9]\.|idle/);
      }),
      { numRuns: 150, seed },
    );
  });

  it('names a date that it cannot read', async () => {
    for (const path of ['report/total', 'report/summary', 'report/tenants', 'storage/dataframes']) {
      const answer = await get(`/v1/${path}?begin=nope`);
      const reason = 'unable to convert to datetime. Error: Unknown string format: nope';
      assert.deepEqual(
        [answer.status, answer.text],
        [400, fault(`Invalid input for field/attribute begin. Value: 'nope'. ${reason}`)],
      );
    }
  });
});

it('frames of any number are sent in parts of bounded length', async () => {
  const points = Array.from({ length: 1000 }, (_, place) => point('m', { groupby: { id: `vm${place}` } }));
  async function* frames(): AsyncGenerator<StoredFrame> {
    for (let hour = 0; hour < 50; hour++) {
      const period = { begin: hour * HOUR, end: (hour + 1) * HOUR };
      yield { source: 's', scope: { key: 'k', id: 'i' }, period, points, gaps: [], snapshot: '' };
    }
  }
  const parts: string[] = [];
  for await (const part of framesJson(frames(), { joinsScopes: false })) parts.push(part);
  assert.ok(parts.length > 20 && parts.every((part) => part.length < 66_000), `${parts.length} parts`);
  const { dataframes } = JSON.parse(parts.join(''));
  assert.equal(dataframes.length, 50);
  assert.equal(dataframes[49].resources[999].desc.id, 'vm999');
});
