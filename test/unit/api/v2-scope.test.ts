import assert from 'node:assert/strict';
import { after, before, beforeEach, it } from 'node:test';
import { V2Api } from '../../../core/api/v2/v2-api.js';
import { member, read, request } from '../../support/api.js';
import { describeOnEngines } from '../../support/engines.js';
import { storedPrices } from '../../support/stored-prices.js';
import { DAY, frame, HOUR, MONDAY, type OpenedV2, openV2, point, push, time } from './v2-support.js';

const PIPELINE = { source: 'default', fetcher: 'source', collector: 'prometheus' };
const NOTHING = 'No resource found for provided filters.';

describeOnEngines('/v2/scope', (engine) => {
  let api: OpenedV2;
  let url: string;
  before(async () => {
    url = await engine.newDatabase();
    api = await openV2({ url });
  });
  after(() => api.close());
  beforeEach(async () => {
    await api.database.transaction((tx) => tx.execute('DELETE FROM ratecat_scopes'));
    const scopes = ['a', 'b', 'c'].map((id) => ({ key: 'project_id', id }));
    await api.services.states.add(PIPELINE, scopes, MONDAY);
    await api.database.transaction(async (tx) => {
      await tx.execute('UPDATE ratecat_scopes SET watermark = ?', [MONDAY + DAY]);
      await tx.execute("UPDATE ratecat_scopes SET active = 0 WHERE scope_id = 'c'");
    });
  });

  const ids = async (query: string) => {
    const got = await api.call('GET', `/v2/scope${query}`);
    return got.status === 404 ? [] : got.json.results.map((one: { scope_id: string }) => one.scope_id);
  };
  const send = (method: string, body: unknown) => api.call(method, '/v2/scope', { body });
  const watermark = async (id: string) => (await api.services.states.find({ ids: [id] }))[0]?.watermark;

  it('lists scopes with the former name of the timestamp beside the new one', async () => {
    const got = await api.call('GET', '/v2/scope?scope_id=a');
    assert.equal(
      got.text,
      '{"results": [{"scope_id": "a", "scope_key": "project_id", "fetcher": "source", "collector": "prometheus", "state": "2026-01-06T00:00:00+00:00", "last_processed_timestamp": "2026-01-06T00:00:00+00:00", "active": true, "scope_activation_toggle_date": "2026-01-05T00:00:00+00:00"}]}',
    );
  });

  it('filters by any of several values and pages', async () => {
    assert.deepEqual(await ids(''), ['a', 'b', 'c']);
    assert.deepEqual(await ids('?scope_id=a,b&scope_id=c&active=1'), ['a', 'b']);
    assert.deepEqual(await ids('?active=0'), ['c']);
    assert.deepEqual(await ids('?active=0,1'), ['a', 'b', 'c']);
    assert.deepEqual(await ids('?active=2'), []);
    assert.deepEqual(await ids('?limit=1&offset=1'), ['b']);
    assert.deepEqual(await ids('?offset=3'), []);
    assert.deepEqual(await ids(`?offset=${'9'.repeat(40)}&limit=${'9'.repeat(40)}`), []);
    assert.deepEqual(await ids('?collector=gnocchi'), []);
    assert.deepEqual(await ids('?scope_id='), []);
    assert.deepEqual(await ids("?scope_id=a'%20OR%20'1'='1"), []);
    assert.deepEqual(await ids('?scope_id=A'), [], 'ids are compared letter by letter');
    const many = Array.from({ length: 1001 }, (_, id) => id).join(',');
    assert.equal((await api.call('GET', `/v2/scope?scope_id=${many}`)).status, 400);
  });

  it('is for admins', async () => {
    const identity = member('a');
    const calls: readonly (readonly [string, unknown])[] = [
      ['GET', undefined],
      ['PUT', { scope_id: 'a', last_processed_timestamp: time(MONDAY) }],
      ['PATCH', { scope_id: 'a', active: false }],
      ['POST', { scope_id: 'n' }],
    ];
    for (const [method, body] of calls) {
      const got = await api.call(method, '/v2/scope', { identity, ...(body === undefined ? {} : { body }) });
      assert.deepEqual(
        [got.status, got.json.message],
        [403, 'You are not authorized to perform this action'],
      );
    }
    assert.equal(await watermark('a'), MONDAY + DAY);
  });

  it('resets scopes and deletes what is stored from there on, pushed points too', async () => {
    const of = (project: string, id: string) => ({ m: [point({ groupby: { project_id: project, id } })] });
    await push(api, [
      frame(MONDAY, of('a', 'kept')),
      frame(MONDAY + 2 * HOUR, of('a', 'gone')),
      frame(MONDAY + 2 * HOUR, of('b', 'other')),
    ]);
    const got = await send('PUT', { scope_id: ['a'], last_processed_timestamp: time(MONDAY + 2 * HOUR) });
    assert.deepEqual([got.status, got.text], [202, '{}']);
    assert.deepEqual([await watermark('a'), await watermark('b')], [MONDAY + 2 * HOUR, MONDAY + DAY]);
    const left = (await storedPrices(url)).map(({ id }) => id).sort();
    assert.deepEqual(left, ['kept', 'other']);
    const audit = await api.database.query("SELECT author FROM ratecat_audit WHERE action = 'scope.reset'");
    assert.deepEqual(audit.at(-1), ['admin-user']);
  });

  it('takes the former name of the timestamp, offsets, and lists with commas', async () => {
    assert.equal((await send('PUT', { scope_id: 'a,b', state: '2026-01-05T12:00:00+02:00' })).status, 202);
    assert.deepEqual([await watermark('a'), await watermark('b')], [MONDAY + 10 * HOUR, MONDAY + 10 * HOUR]);
  });

  it('refuses what would leave periods out, and then changes no scope at all', async () => {
    await api.database.transaction((tx) =>
      tx.execute("UPDATE ratecat_scopes SET watermark = NULL WHERE scope_id = 'b'"),
    );
    const refused = [
      [{ scope_id: 'a', last_processed_timestamp: time(MONDAY + 2 * DAY) }, /rated up to/],
      [{ scope_id: 'a', last_processed_timestamp: time(MONDAY + 60) }, /lies inside a period/],
      [{ scope_id: 'a,b', last_processed_timestamp: time(MONDAY) }, /nothing is rated yet/],
      [{ all_scopes: true, last_processed_timestamp: time(MONDAY + 2 * DAY) }, /nothing to reset/],
    ] as const;
    for (const [body, reason] of refused) {
      const got = await send('PUT', body);
      assert.equal(got.status, 400);
      assert.match(got.json.message, reason);
      assert.equal(await watermark('a'), MONDAY + DAY);
    }
  });

  it('resets all active scopes that are rated so far, and lets the others go on from where they are', async () => {
    await api.database.transaction((tx) =>
      tx.execute("UPDATE ratecat_scopes SET watermark = ? WHERE scope_id = 'b'", [MONDAY]),
    );
    const got = await send('PUT', { all_scopes: 'yes', last_processed_timestamp: time(MONDAY + HOUR) });
    assert.equal(got.status, 202, got.text);
    assert.deepEqual(
      [await watermark('a'), await watermark('b'), await watermark('c')],
      [MONDAY + HOUR, MONDAY, MONDAY + DAY],
    );
  });

  it('resets more than a hundred scopes at once', async () => {
    const many = Array.from({ length: 130 }, (_, id) => ({ key: 'project_id', id: `m${id}` }));
    await api.services.states.add(PIPELINE, many, MONDAY);
    await api.database.transaction((tx) =>
      tx.execute('UPDATE ratecat_scopes SET watermark = ?', [MONDAY + DAY]),
    );
    assert.equal((await send('PUT', { all_scopes: true, state: time(MONDAY) })).status, 202);
    const states = await api.services.states.find({ active: true });
    assert.equal(states.length, 132);
    assert.ok(states.every((state) => state.watermark === MONDAY));
  });

  it('refuses incomplete resets as the reference does', async () => {
    const of = async (body: unknown) => {
      const got = await send('PUT', body);
      return [got.status, got.json.message];
    };
    const at = { last_processed_timestamp: time(MONDAY) };
    assert.deepEqual(await of(at), [400, 'Either all_scopes or a scope_id should be specified.']);
    assert.deepEqual(await of({ ...at, scope_id: [] }), [
      400,
      'Either all_scopes or a scope_id should be specified.',
    ]);
    assert.deepEqual(await of({ ...at, all_scopes: false }), [
      400,
      'Either all_scopes or a scope_id should be specified.',
    ]);
    assert.match(String((await of({ scope_id: 'a' }))[1]), /cannot be empty\/None/);
    assert.match(
      String((await of({ ...at, scope_id: 'a', all_scopes: true }))[1]),
      /two or more values.*\[<scope_selector>\]/,
    );
    assert.match(
      String((await of({ scope_id: 'a', last_processed_timestamp: null }))[1]),
      /expected dt_from_iso/,
    );
    assert.deepEqual(await of({ ...at, scope_id: 'nobody' }), [404, NOTHING]);
    assert.deepEqual(await of({ ...at, scope_id: 'c' }), [404, NOTHING]);
    assert.equal((await of({ ...at, scope_id: 5 }))[0], 400);
  });

  it('switches a scope on and off, with the date only when it really changes', async () => {
    const off = await send('PATCH', { scope_id: 'a', active: false });
    assert.deepEqual([off.status, off.json.active], [200, false]);
    const date = off.json.scope_activation_toggle_date;
    assert.ok(Date.parse(date) > MONDAY * 1000);
    const again = await send('PATCH', { scope_id: 'a', active: null });
    assert.deepEqual([again.json.active, again.json.scope_activation_toggle_date], [false, date]);
    const word = await send('PATCH', { scope_id: ['a'], active: 'false' });
    assert.equal(word.json.active, true, 'any text that is not empty is true');
    const same = await send('PATCH', { scope_id: 'b', active: true, fetcher: '', collector: '' });
    assert.equal(same.json.scope_activation_toggle_date, time(MONDAY).replace('Z', '+00:00'));
  });

  it('renames fetcher and collector, but not the scope key', async () => {
    const got = await send('PATCH', {
      scope_id: 'a',
      fetcher: 'keystone',
      collector: 'gnocchi',
      scope_key: 'project_id',
    });
    assert.deepEqual([got.json.fetcher, got.json.collector], ['keystone', 'gnocchi']);
    assert.deepEqual(await ids('?collector=gnocchi'), ['a']);
    const key = await send('PATCH', { scope_id: 'a', scope_key: 'tenant_id' });
    assert.equal(key.status, 400);
    assert.match(key.json.message, /cannot be changed/);
    assert.equal((await send('PATCH', { scope_id: 'a', fetcher: 'x'.repeat(41) })).status, 400);
  });

  it('patches one scope only', async () => {
    assert.deepEqual((await send('PATCH', { scope_id: 'nobody' })).json, { message: NOTHING });
    await api.services.states.add(
      { ...PIPELINE, source: 'second' },
      [{ key: 'project_id', id: 'a' }],
      MONDAY,
    );
    const got = await send('PATCH', { scope_id: 'a', active: false });
    assert.deepEqual(
      [got.status, got.json.message],
      [404, 'Too many resources found with the same scope_id: a.'],
    );
    assert.equal(
      (await send('PATCH', { scope_id: 'a', last_processed_timestamp: time(MONDAY) })).status,
      400,
    );
  });

  it('creates a scope that is rated from the time on', async () => {
    const got = await send('POST', { scope_id: 'new', last_processed_timestamp: time(MONDAY) });
    assert.equal(got.status, 200);
    assert.deepEqual(
      [got.json.scope_key, got.json.collector, got.json.active, got.json.last_processed_timestamp],
      ['project_id', 'prometheus', true, '2026-01-05T00:00:00+00:00'],
    );
    const [state] = await api.services.states.find({ ids: ['new'] });
    assert.deepEqual([state!.source, state!.watermark, state!.lastBegin], ['default', MONDAY, MONDAY - HOUR]);
    const again = await send('POST', { scope_id: 'new', last_processed_timestamp: time(MONDAY) });
    assert.deepEqual(
      [again.status, again.json.message],
      [404, 'Cannot create a scope with an already existing scope_id: new.'],
    );
  });

  it('means the begin of the last rated period by the timestamp in strict mode, and leaves it un-rated', async () => {
    const { services } = api;
    const strict = new V2Api({ ...services, compat: 'strict' });
    const call = async (method: string, body?: unknown) =>
      read(await strict.handle(request(method, '/v2/scope', body === undefined ? {} : { body })));
    await api.database.transaction((tx) =>
      tx.execute('UPDATE ratecat_scopes SET last_begin = ?', [MONDAY + DAY - HOUR]),
    );
    const stateOf = async (id: string) => {
      const [state] = await services.states.find({ ids: [id] });
      return [state!.watermark, state!.lastBegin];
    };
    const shown = (await call('GET')).json.results[0].last_processed_timestamp;
    assert.equal(shown, '2026-01-05T23:00:00+00:00');
    const order = { scope_id: 'a', last_processed_timestamp: time(MONDAY + 2 * HOUR) };
    assert.equal((await call('PUT', order)).status, 202);
    assert.deepEqual(await stateOf('a'), [MONDAY + 3 * HOUR, MONDAY + 2 * HOUR]);
    const all = { all_scopes: true, last_processed_timestamp: time(MONDAY + 3 * HOUR) };
    assert.equal((await call('PUT', all)).status, 202);
    assert.deepEqual(await stateOf('a'), [MONDAY + 3 * HOUR, MONDAY + 2 * HOUR], 'is not sent forward');
    assert.deepEqual(await stateOf('b'), [MONDAY + 4 * HOUR, MONDAY + 3 * HOUR]);
    const made = await call('POST', { scope_id: 'new', last_processed_timestamp: time(MONDAY) });
    assert.equal(made.json.last_processed_timestamp, '2026-01-05T00:00:00+00:00');
    assert.deepEqual(await stateOf('new'), [MONDAY + HOUR, MONDAY]);
  });

  it('creates a scope without a time as if the fetcher had listed it', async () => {
    const got = await send('POST', { scope_id: 'later', active: false, fetcher: 'mine' });
    assert.deepEqual(
      [got.status, got.json.last_processed_timestamp, got.json.active, got.json.fetcher],
      [200, null, false, 'mine'],
    );
  });

  it('refuses a scope that exists, nobody would rate, or whose periods would begin at odd times', async () => {
    const at = { last_processed_timestamp: time(MONDAY) };
    assert.equal((await send('POST', { ...at, scope_id: 'a' })).status, 404);
    assert.equal((await send('POST', { ...at, scope_id: 'c' })).status, 404, 'an inactive one exists too');
    assert.equal((await send('POST', { ...at, scope_id: 'n', scope_key: 'tenant_id' })).status, 400);
    assert.equal(
      (await send('POST', { scope_id: 'n', last_processed_timestamp: time(MONDAY + 60) })).status,
      400,
    );
    assert.equal((await send('POST', { ...at, scope_id: '' })).status, 400);
    assert.equal((await send('POST', { ...at, scope_id: 'x'.repeat(257) })).status, 400);
    assert.deepEqual(await ids(''), ['a', 'b', 'c']);
  });

  it('creates a scope once when many ask at once', async () => {
    const order = { scope_id: 'race', last_processed_timestamp: time(MONDAY) };
    const answers = await Promise.all(Array.from({ length: 12 }, () => send('POST', order)));
    assert.deepEqual(answers.map(({ status }) => status).sort(), [
      200,
      ...Array.from({ length: 11 }, () => 404),
    ]);
  });
});
