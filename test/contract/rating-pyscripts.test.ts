import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { type ClosableDatabase, openDatabase } from '../../core/database/open-database.js';
import type { ConfigResponse, JsonValue, RatingModule } from '../../core/plugin-api/index.js';
import { fakeContext } from '../../core/testkit/fakes.js';
import { testRating } from '../../core/testkit/rating.js';
import pyscripts from '../../plugins/rating/pyscripts/index.js';
import { describeOnEngines } from '../support/engines.js';
import { frameOf, vectorCases } from '../unit/hashmap/vectors.js';

const HOST = 'https://rating.example/v1/rating/module_config/pyscripts';
/** 2026-01-01T00:00:00Z */
const NOW = 1_767_225_600;
const DAY = 86_400;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/;

testRating({
  test,
  definition: pyscripts,
  samples: vectorCases.slice(0, 3).map((vector) => ({ name: vector.id, rules: [], frame: frameOf(vector) })),
});

type Body = Readonly<Record<string, unknown>>;

describeOnEngines('pyscripts', (engine) => {
  let database: ClosableDatabase;
  let module: RatingModule;
  let now = NOW;

  before(async () => {
    database = await openDatabase(await engine.newDatabase());
    for (const migration of pyscripts.migrations!)
      for (const statement of migration.statements(database.dialect))
        await database.transaction((tx) => tx.execute(statement));
    module = pyscripts.create({}, fakeContext());
  });
  after(() => database.close());

  async function call(
    method: string,
    path: string,
    { body, query = {} }: { body?: Body; query?: Readonly<Record<string, string>> } = {},
  ): Promise<Omit<ConfigResponse, 'body'> & { readonly body: Body }> {
    const [, uuid] = /^\/scripts\/(.+)$/.exec(path) ?? [];
    const pattern = uuid === undefined ? path : '/scripts/:script_id';
    const route = module.configRoutes!.find((one) => one.method === method && one.path === pattern)!;
    const response = await database.transaction((tx) =>
      route.handle(
        {
          parameters: uuid === undefined ? {} : { script_id: uuid },
          query: new Map(Object.entries(query).map(([name, value]) => [name, [value]])),
          body,
          url: `${HOST}${path}`,
          caller: { userId: 'operator', projectId: undefined },
          now,
          newId: randomUUID,
          tx,
        },
        new AbortController().signal,
      ),
    );
    return { ...response, body: (response.body ?? {}) as Body };
  }

  const create = (name: string, more: Body = {}) =>
    call('POST', '/scripts', { body: { name, data: 'price = 1', ...more } });

  test('a script is stored with the checksum of its source, and given back', async () => {
    const created = await create('first', { data: '' });
    assert.equal(created.status, 201);
    assert.match(String(created.body.script_id), UUID);
    assert.equal(created.headers?.Location, `${HOST}/scripts/${String(created.body.script_id)}`);
    // SHA-512 of nothing.
    assert.match(String(created.body.checksum), /^cf83e1357eefb8bd.*927da3e$/);
    assert.equal(created.body.start, '2026-01-01T00:00:00');
    assert.equal(created.body.created_by, 'operator');
    const read = await call('GET', `/scripts/${String(created.body.script_id)}`);
    assert.deepEqual(read.body, created.body);
  });

  test('a name is taken once, until its script is deleted', async () => {
    const { body } = await create('unique');
    const again = await create('unique');
    assert.equal(again.status, 409);
    assert.equal(again.body.faultstring, `Script unique already exists (UUID: ${String(body.script_id)})`);
    assert.equal((await call('DELETE', `/scripts/${String(body.script_id)}`)).status, 204);
    assert.equal((await call('GET', `/scripts/${String(body.script_id)}`)).status, 404);
    assert.equal((await call('DELETE', `/scripts/${String(body.script_id)}`)).status, 404);
    assert.equal((await create('unique')).status, 201);
  });

  test('what only the server sets, or what is missing, is refused', async () => {
    assert.match(
      String((await create('x', { checksum: 'abc' })).body.faultstring),
      /Cannot set read only field/,
    );
    assert.equal((await call('POST', '/scripts', { body: { name: 'x' } })).status, 400);
    assert.equal((await call('POST', '/scripts', { body: { data: 'x' } })).status, 400);
    assert.equal((await create('x', { colour: 'red' })).status, 400);
    assert.equal((await create('past', { start: '2025-01-01' })).status, 400);
    assert.equal((await create('order', { start: '2026-02-01', end: '2026-01-15' })).status, 400);
    assert.equal((await create('huge', { data: '€'.repeat(400_000) })).status, 400);
    for (const end of ['9999-12-31T23:59:59-23:59', '0000-01-01T00:00:00', '2030-01-01T00:00:00+99:99'])
      assert.equal((await create('dates', { end })).status, 400, end);
    const forced = await call('POST', '/scripts', {
      body: { name: 'forced', data: '', start: '2025-01-01' },
      query: { force: 'yes' },
    });
    assert.equal(forced.status, 201);
  });

  test('a script that has not begun may change, a running one may only end, an ended one not at all', async () => {
    now = NOW;
    const { body } = await create('planned', { start: '2026-01-02T00:00:00' });
    const path = `/scripts/${String(body.script_id)}`;
    const change = (more: Body) => call('PUT', path, { body: { name: 'planned', ...more } });
    const planned = await change({ data: 'price = 2', start: '2026-01-02T00:00:00' });
    assert.equal(planned.status, 201);
    assert.equal(planned.body.data, 'price = 2');
    now = NOW + 2 * DAY;
    assert.match(
      String((await change({ data: 'price = 3' })).body.faultstring),
      /update only the attribute \[end\]/,
    );
    assert.match(String((await change({ end: '2026-01-01' })).body.faultstring), /must be in the future/);
    // Clients send the whole script back.
    const ended = await change({ data: 'price = 2', start: '2026-01-02T00:00:00', end: '2026-02-01' });
    assert.equal(ended.body.end, '2026-02-01T23:59:59');
    assert.equal((await change({ end: '2026-02-01' })).status, 201, 'the same once more');
    const late = await change({ end: '2026-03-01' });
    assert.equal(
      late.body.faultstring,
      'Cannot update a rule that was already processed and has a defined end date.',
    );
    now = NOW;
  });

  test('lists leave out the source, the deleted and what is not in force, as asked', async () => {
    now = NOW + 400 * DAY;
    await create('now');
    await create('later', { start: '2030-01-01' });
    const names = async (query: Readonly<Record<string, string>>) =>
      ((await call('GET', '/scripts', { query })).body.scripts as Body[]).map(({ name }) => name);
    assert.ok((await names({ is_active: 'true' })).includes('now'));
    assert.ok(!(await names({ is_active: 'true' })).includes('later'));
    assert.ok((await names({ deleted: 'true' })).filter((name) => name === 'unique').length === 2);
    const [script] = (await call('GET', '/scripts', { query: { no_data: 'true' } })).body.scripts as Body[];
    assert.equal('data' in script!, false);
    now = NOW;
  });

  test('a period in which a script is in force is refused, others pass unpriced', async () => {
    const rules: JsonValue = await module.loadRules!(database, new AbortController().signal);
    const compiled = module.compile(rules, undefined);
    const frame = frameOf(vectorCases[0]!);
    const at = (begin: number) => ({ ...frame, period: { begin, end: begin + 3600 } });
    const { signal } = new AbortController();
    assert.throws(() => compiled.rate(at(NOW + DAY), signal), {
      code: 'RATECAT_SCRIPTS_UNSUPPORTED',
      message: /is in force at 2026-01-02T00:00:00\.000Z.*modules disable pyscripts/,
    });
    assert.throws(() => compiled.quote!(at(NOW + DAY), signal), {
      code: 'RATECAT_SCRIPTS_UNSUPPORTED',
      message: /^A script is in force, and/,
    });
    const early = at(NOW - 800 * DAY);
    assert.equal(compiled.rate(early, signal), early);
  });
});
