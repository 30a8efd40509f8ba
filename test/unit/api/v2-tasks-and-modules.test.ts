import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { member, request } from '../../support/api.js';
import { describeOnEngines } from '../../support/engines.js';
import { DAY, HOUR, MONDAY, type OpenedV2, openV2, time } from './v2-support.js';

describeOnEngines('/v2/task/reprocesses', (engine) => {
  let api: OpenedV2;
  before(async () => {
    api = await openV2({ url: await engine.newDatabase() });
    const scopes = ['a', 'b', 'off'].map((id) => ({ key: 'project_id', id }));
    await api.services.states.add({ source: 'default', fetcher: 'f', collector: 'c' }, scopes, MONDAY);
    await api.database.transaction(async (tx) => {
      await tx.execute('UPDATE ratecat_scopes SET watermark = ?', [MONDAY + 10 * DAY]);
      await tx.execute("UPDATE ratecat_scopes SET active = 0 WHERE scope_id = 'off'");
    });
  });
  after(() => api.close());

  const order = (change: object = {}) => ({
    scope_ids: ['a'],
    start_reprocess_time: time(MONDAY),
    end_reprocess_time: time(MONDAY + DAY),
    reason: 'price fix',
    ...change,
  });
  const send = (change: object = {}, options = {}) =>
    api.call('POST', '/v2/task/reprocesses', { body: order(change), ...options });
  const list = async (target = '') => (await api.call('GET', `/v2/task/reprocesses${target}`)).json.results;

  it('refuses what cannot be reprocessed, with the words of the reference, and stores nothing', async () => {
    const refused: readonly (readonly [object, RegExp])[] = [
      [{ scope_ids: ['ALL', 'a'] }, /^Cannot use 'ALL' with scope ID \[\['ALL', 'a'\]\]\./],
      [{ reason: ' \n' }, /^Empty or blank reason text is not allowed\./],
      [
        { end_reprocess_time: time(MONDAY - HOUR) },
        /^End reprocessing timestamp \[2026-01-05 00:00:00\+00:00\] cannot be/,
      ],
      [
        { start_reprocess_time: time(MONDAY + 60) },
        /window near the provided one is \['2026-01-05 00:00:00\+00:00', '2026-01-06 /,
      ],
      [
        { start_reprocess_time: time(MONDAY + 60), end_reprocess_time: time(MONDAY + 120) },
        /\['2026-01-05 00:00:00\+00:00', '2026-01-05 01:00:00\+00:00'\]/,
      ],
      [
        { scope_ids: 'a,nobody,off' },
        /^Scopes \['nobody', 'off'\] scheduled to reprocess \[start=2026-01-05 00:00:00/,
      ],
      [
        { start_reprocess_time: time(MONDAY + 11 * DAY), end_reprocess_time: time(MONDAY + 12 * DAY) },
        /\[start=2026-01-16 00:00:00\+00:00\] for scope \[\{'id': \d+, 'identifier': 'a', 'active': True\}\] starting after/,
      ],
      [
        { end_reprocess_time: time(MONDAY + 11 * DAY) },
        /\[end=2026-01-16 .* ending after the last possible timestamp \[2026-01-15 /,
      ],
      [{ reason: 'lost race' }, /^Somebody was faster\.$/],
      [{ start_reprocess_time: null }, /expected dt_from_iso_as_utc \(path: '\['start_reprocess_time'\]'\)$/],
      [{ scope_ids: [5] }, /expected str/],
      [{ colour: 'red' }, /extra keys not allowed/],
    ];
    for (const [change, reason] of refused) {
      const got = await send(change);
      assert.equal(got.status, 400, JSON.stringify(change));
      assert.match(got.json.message, reason);
    }
    assert.equal((await send({}, { identity: member('a') })).status, 403);
    assert.deepEqual(await list(), []);
  });

  it('schedules windows, lists the newest first, and refuses windows that touch', async () => {
    const got = await send();
    assert.deepEqual([got.status, got.text], [202, '{}']);
    assert.equal((await send({ scope_ids: 'b', reason: 5 })).status, 202);
    for (const [begin, end] of [
      [0, 1],
      [1, 2],
      [0, 0],
    ] as const) {
      const touching = {
        start_reprocess_time: time(MONDAY + begin * DAY),
        end_reprocess_time: time(MONDAY + end * DAY),
      };
      assert.match(
        (await send(touching)).json.message,
        /already has a schedule for a similar time range \[2026-01-05T00:00:00\+0000 - /,
      );
    }
    assert.equal(
      (
        await send({
          start_reprocess_time: time(MONDAY + 2 * DAY),
          end_reprocess_time: time(MONDAY + 2 * DAY),
        })
      ).status,
      202,
    );
    assert.deepEqual(await list('?limit=1'), [
      {
        scope_id: 'a',
        reason: 'price fix',
        start_reprocess_time: '2026-01-07T00:00:00',
        end_reprocess_time: '2026-01-07T00:00:00',
        current_reprocess_time: '',
      },
    ]);
    assert.deepEqual(
      (await list('?order=AsC')).map((task: { scope_id: string }) => task.scope_id),
      ['a', 'b', 'a'],
    );
    assert.equal((await list('?scope_ids=b,nobody')).length, 1);
    assert.equal((await list('/a?scope_ids=b')).length, 2);
    assert.equal((await list('/b%2Cc')).length, 0);
    assert.deepEqual(await list('/nobody'), []);
  });

  it('schedules all active scopes or none', async () => {
    const later = {
      start_reprocess_time: time(MONDAY + 4 * DAY),
      end_reprocess_time: time(MONDAY + 5 * DAY),
    };
    assert.equal((await send({ scope_ids: 'ALL', ...later })).status, 202);
    assert.match((await send({ scope_ids: [], ...later })).json.message, /already has a schedule/);
    const part = { start_reprocess_time: time(MONDAY), end_reprocess_time: time(MONDAY) };
    assert.equal((await send({ scope_ids: ['a', 'b'], ...part })).status, 400);
    assert.equal((await list()).length, 5);
  });

  it('refuses other orders, methods and addresses', async () => {
    const bad = await api.call('GET', '/v2/task/reprocesses?order=sideways');
    assert.deepEqual(
      [bad.status, bad.json.message],
      [400, "The order [sideways] is not valid. Accepted values are ['asc', 'desc']."],
    );
    assert.equal((await api.call('POST', '/v2/task/reprocesses/a', { body: order() })).status, 405);
    for (const path of [
      '/v2/task',
      '/v2/task/reprocesses/',
      '/v2/task/reprocesses/a/b',
      '/v2/task/reprocesses/a%2Fb',
    ])
      assert.equal((await api.call('GET', path)).status, 404, path);
    assert.equal((await api.call('GET', '/v2/task/reprocesses', { identity: member('a') })).status, 403);
  });
});

describeOnEngines('/v2/rating/modules', (engine) => {
  let api: OpenedV2;
  before(async () => {
    api = await openV2({ url: await engine.newDatabase() });
  });
  after(() => api.close());

  const put = (id: string, body: unknown, options = {}) =>
    api.call('PUT', `/v2/rating/modules/${id}`, { body, ...options });
  const get = async (id: string) => (await api.call('GET', `/v2/rating/modules/${id}`)).json;

  it('lists modules to everybody, but shows and changes one for admins only', async () => {
    const identity = member('p');
    const got = await api.call('GET', '/v2/rating/modules?whatever=1', { identity });
    assert.ok(
      got.text.startsWith(
        '{"modules": [{"module_id": "hashmap", "description": "HashMap rating module.", "enabled": false, "hot_config": true, "priority": 1}',
      ),
    );
    assert.equal((await api.call('GET', '/v2/rating/modules/hashmap', { identity })).status, 403);
    assert.equal((await put('hashmap', { enabled: true }, { identity })).status, 403);
  });

  it('changes state and priority, one without the other, and tells the processors once', async () => {
    const { moduleStates } = api.services;
    const before = await moduleStates.revision();
    const got = await put('hashmap', { enabled: 'on', priority: 7 });
    assert.deepEqual([got.status, got.text], [204, '']);
    assert.deepEqual(await get('hashmap'), {
      module_id: 'hashmap',
      description: 'HashMap rating module.',
      enabled: true,
      hot_config: true,
      priority: 7,
    });
    assert.equal((await put('hashmap', { enabled: true })).status, 204);
    assert.equal((await put('hashmap', {})).status, 204);
    assert.equal(await moduleStates.revision(), before + 1, 'what changes nothing is no change');
    await put('hashmap', { enabled: null, priority: -1 });
    assert.deepEqual([(await get('hashmap')).enabled, (await get('hashmap')).priority], [false, -1]);
    await put('hashmap', { priority: 0 });
    assert.equal((await get('hashmap')).priority, 1);
  });

  it('accepts changes of a module that is always on, without effect', async () => {
    assert.equal((await put('noop', { enabled: false, priority: 9 })).status, 204);
    const { enabled, priority } = await get('noop');
    assert.deepEqual([enabled, priority], [true, 1]);
  });

  it('refuses what is no state, and unknown modules', async () => {
    for (const body of [
      { enabled: 'perhaps' },
      { priority: '2' },
      { priority: 1.5 },
      { priority: 2 ** 40 },
      { colour: 1 },
      [],
    ])
      assert.equal((await put('hashmap', body)).status, 400, JSON.stringify(body));
    const unknown = await put('nope', {});
    assert.deepEqual([unknown.status, unknown.json.message], [404, "Module 'nope' not found"]);
    assert.equal((await api.call('GET', '/v2/rating/modules/__proto__')).status, 404);
  });

  it('answers HEAD like GET, OPTIONS with the methods, and other methods with 405', async () => {
    const options = await api.v2.handle(request('OPTIONS', '/v2/rating/modules/hashmap'));
    assert.deepEqual([options.status, options.headers?.allow], [200, 'GET, PUT, HEAD, OPTIONS']);
    assert.equal((await api.call('HEAD', '/v2/rating/modules')).status, 200);
    const wrong = await api.call('DELETE', '/v2/rating/modules');
    assert.deepEqual([wrong.status, wrong.headers.allow], [405, 'GET, HEAD, OPTIONS']);
    assert.equal(wrong.text, '{"message": "The method is not allowed for the requested URL."}');
    const routes = await Promise.all(
      ['/v2/rating/modules/x', '/v2/rating/modules/y', '/v2/nothing/z'].map(
        async (path) => (await api.v2.handle(request('GET', path))).route,
      ),
    );
    assert.deepEqual(routes, ['/v2/rating/modules/:id', '/v2/rating/modules/:id', undefined]);
  });
});
