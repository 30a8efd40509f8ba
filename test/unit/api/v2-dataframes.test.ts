import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { member, read, request } from '../../support/api.js';
import { describeOnEngines } from '../../support/engines.js';
import { DAY, frame, HOUR, MONDAY, type OpenedV2, openV2, point, push, time, WEEK } from './v2-support.js';

describeOnEngines('/v2/dataframes', (engine) => {
  let api: OpenedV2;
  before(async () => {
    api = await openV2({ url: await engine.newDatabase() });
  });
  after(() => api.close());

  it('gives back what was pushed, numbers as floats and attributes with their types', async () => {
    const groupby = { project_id: 'alpha', id: 'vm1', number: 5, ratio: 0.5, list: ['a', 1], nothing: null };
    const metadata = { flavor: 'm1.tiny', deep: { yes: true } };
    const pushed = await push(api, [
      frame(MONDAY, { compute: [point({ qty: '2', price: 0.1, groupby, metadata })] }),
    ]);
    assert.deepEqual([pushed.status, pushed.text], [204, '']);
    assert.equal(pushed.headers['content-type'], 'application/json');
    const got = await api.call('GET', `/v2/dataframes?${WEEK}&filters=project_id:alpha`);
    assert.equal(got.status, 200);
    assert.match(
      got.text,
      /^\{"total": 1, "dataframes": \[\{"period": \{"begin": "2026-01-05T00:00:00\+00:00", /,
    );
    assert.match(got.text, /"vol": \{"unit": "GiB", "qty": 2\.0\}, "rating": \{"price": 0\.1\}/);
    assert.match(got.text, /"number": 5[,}]/);
    const [stored] = got.json.dataframes[0].usage.compute;
    assert.deepEqual(stored.groupby, groupby);
    assert.deepEqual(stored.metadata, metadata);
  });

  it('keeps the digits of numbers that no float holds', async () => {
    const exact =
      '{"vol": {"unit": "", "qty": 0.1234567890123456789012345678}, "groupby": {"project_id": "exact"}, "metadata": []}';
    const period = `"period": {"begin": "${time(MONDAY)}", "end": "${time(MONDAY + HOUR)}"}`;
    const raw = `{"dataframes": [{${period}, "usage": {"x": [${exact}]}}]}`;
    assert.equal((await api.call('POST', '/v2/dataframes', { raw })).status, 204);
    const query = { visible: [{ key: 'project_id', id: 'exact' }], begin: MONDAY, end: MONDAY + HOUR };
    const { signal } = new AbortController();
    for await (const stored of api.services.storage.readPeriods(query, signal)) {
      assert.deepEqual(
        stored.points.map((one) => [one.quantity.toString(), one.price.toString(), one.descriptor.unit]),
        [['0.1234567890123456789012345678', '0', 'undefined']],
      );
    }
  });

  it('merges the points of one period over scopes into one frame, and pages by points', async () => {
    const begin = MONDAY + DAY;
    const of = (project: string, id: string) => point({ groupby: { project_id: project, id } });
    await push(api, [
      frame(begin, { a: [of('p', '1'), of('q', '2')], b: [of('p', '3')] }),
      frame(begin + HOUR, { a: [of('q', '4')] }),
    ]);
    const range = `begin=${time(begin)}&end=${time(begin + DAY)}`;
    const whole = (await api.call('GET', `/v2/dataframes?${range}`)).json;
    assert.equal(whole.total, 4);
    assert.deepEqual(
      whole.dataframes.map((one: { usage: object }) => Object.keys(one.usage).sort()),
      [['a', 'b'], ['a']],
    );
    const ids: string[] = [];
    for (let offset = 0; offset < 4; offset++) {
      const page = (await api.call('GET', `/v2/dataframes?${range}&limit=1&offset=${offset}`)).json;
      assert.equal(page.total, 4);
      assert.equal(page.dataframes.length, 1);
      for (const list of Object.values(page.dataframes[0].usage) as { groupby: { id: string } }[][])
        for (const one of list) ids.push(one.groupby.id);
    }
    assert.deepEqual(ids.sort(), ['1', '2', '3', '4']);
    const past = await api.call('GET', `/v2/dataframes?${range}&offset=99`);
    assert.equal(past.text, '{"total": 4, "dataframes": []}');
  });

  it('filters by parts of the date, and pages over the gaps between them as though there were none', async () => {
    const begin = MONDAY + 3650 * DAY;
    const of = (id: string) => point({ groupby: { project_id: 'dated', id } });
    for (const [place, days] of [0, 40, 365, 366, 400].entries())
      await push(api, [frame(begin + days * DAY, { a: [of(`${place}a`), of(`${place}b`)] })]);
    const range = `begin=${time(begin)}&end=${time(begin + 800 * DAY)}`;
    const idsOf = async (query: string) => {
      const got = await api.call('GET', `/v2/dataframes?${range}&${query}`);
      if (got.status === 404) return got.status;
      const usages = got.json.dataframes.map(({ usage }: { usage: object }) => Object.values(usage));
      const points = usages.flat(2) as { groupby: { id: string } }[];
      return [got.json.total, ...points.map(({ groupby }) => groupby.id)];
    };
    assert.deepEqual(await idsOf('filters=month:1'), [6, '0a', '0b', '2a', '2b', '3a', '3b']);
    assert.deepEqual(await idsOf('filters=month:2,year:2036'), [2, '1a', '1b']);
    assert.deepEqual(await idsOf('filters=month:1,id:2b'), [1, '2b']);
    assert.equal(await idsOf('filters=month:7'), 404);
    assert.equal(await idsOf('filters=month:nothing'), 404);
    const pages = [];
    for (let offset = 0; offset < 8; offset += 3) {
      const page = await idsOf(`filters=month:1&limit=3&offset=${offset}`);
      pages.push(page);
    }
    assert.deepEqual(pages, [[6, '0a', '0b', '2a'], [6, '2b', '3a', '3b'], [6]]);
  });

  it('answers 404 where nothing matches', async () => {
    const got = await api.call('GET', `/v2/dataframes?${WEEK}&filters=project_id:nobody`);
    assert.deepEqual([got.status, got.text], [404, '{"message": "No resource found for provided filters."}']);
  });

  it('hides points without a scope from everybody but admins', async () => {
    const begin = MONDAY + 3 * DAY;
    await push(api, [
      frame(begin, { orphan: [point({ groupby: { id: 'o' } }), point({ groupby: { project_id: null } })] }),
    ]);
    const range = `begin=${time(begin)}&end=${time(begin + DAY)}`;
    assert.equal((await api.call('GET', `/v2/dataframes?${range}`)).json.total, 2);
    for (const project of ['alpha', '__UNDEF__', '']) {
      const got = await api.call('GET', `/v2/dataframes?${range}`, { identity: member(project) });
      assert.notEqual(got.json.total, 2, project);
    }
  });

  it('shows others than admins their own project, whatever they filter by', async () => {
    const begin = MONDAY + 4 * DAY;
    const of = (project: string) => point({ groupby: { project_id: project } });
    await push(api, [frame(begin, { m: [of('mine'), of('theirs')] })]);
    const range = `begin=${time(begin)}&end=${time(begin + DAY)}`;
    const identity = member('mine');
    for (const filters of ['', '&filters=project_id:theirs', '&filters=type:m,project_id:theirs']) {
      const got = (await api.call('GET', `/v2/dataframes?${range}${filters}`, { identity })).json;
      assert.equal(got.total, 1);
      assert.equal(got.dataframes[0].usage.m[0].groupby.project_id, 'mine');
    }
    const nobody = await api.call('GET', `/v2/dataframes?${range}`, { identity: member(undefined) });
    assert.deepEqual([nobody.status, nobody.text], [200, '{"total": 0, "dataframes": []}']);
  });

  it('refuses frames with any defect whole and says which frame', async () => {
    const good = frame(MONDAY, { m: [point({ groupby: { project_id: 'defect' } })] });
    const { period } = good;
    const defects: readonly unknown[] = [
      { usage: {} },
      { period },
      { period: { begin: time(MONDAY) }, usage: {} },
      { period: { begin: time(MONDAY), end: time(MONDAY) }, usage: {} },
      { period: { begin: time(MONDAY), end: time(MONDAY - HOUR) }, usage: {} },
      { period: { ...period, zone: 'UTC' }, usage: {} },
      { period: { begin: MONDAY, end: MONDAY + HOUR }, usage: {} },
      { period, usage: [] },
      { period, usage: { m: 'points' } },
      { period, usage: { m: [null] } },
      { period, usage: { m: { a: 1 } } },
      { period, usage: {}, more: 1 },
      { period, usage: { m: [{ ...point(), description: 'x' }] } },
      { period, usage: { m: [{ ...point(), vol: { unit: 'x' } }] } },
      { period, usage: { m: [{ ...point(), groupby: ['a'] }] } },
      { period, usage: { m: [{ ...point(), rating: { price: 1, currency: 'EUR' } }] } },
      { period, usage: { m: [{ vol: { unit: 'x', qty: 1 }, groupby: {} }] } },
      ...[null, true, 'many', 'NaN', 'Infinity', '-inf', '', [], {}, `1${'0'.repeat(30)}`, '1e31'].map(
        (qty) => ({
          period,
          usage: { m: [point({ qty })] },
        }),
      ),
      { period, usage: { m: [point({ price: null })] } },
      { period, usage: { m: [point({ unit: null })] } },
      { period, usage: { m: [point({ unit: 5 })] } },
      null,
      'frame',
      [],
    ];
    for (const bad of defects) {
      const got = await push(api, [good, bad]);
      assert.equal(got.status, 400, JSON.stringify(bad));
      assert.match(got.json.message, / : not a valid value \(path: '\['dataframes', 1\]'\)$/);
    }
    assert.equal((await api.call('GET', `/v2/dataframes?${WEEK}&filters=project_id:defect`)).status, 404);
  });

  it('accepts empty usage, empty lists and empty objects in place of lists', async () => {
    const usage = [{}, { m: [] }, { m: {} }];
    assert.equal(
      (
        await push(
          api,
          usage.map((one, hour) => frame(MONDAY + hour * HOUR, one)),
        )
      ).status,
      204,
    );
  });

  it('checks the body before the policy, and the policy before emptiness', async () => {
    const identity = member('alpha');
    const as = (body: unknown) => api.call('POST', '/v2/dataframes', { body, identity });
    assert.equal((await as({})).status, 400);
    assert.equal((await as({ dataframes: [] })).status, 403);
    assert.equal((await push(api, [])).json.message, 'Parameter dataframes must not be empty.');
  });

  it('refuses a period that overlaps a stored one of another length, and says so', async () => {
    const begin = MONDAY + 5 * DAY;
    const of = (qty: number) => ({ m: [point({ qty, groupby: { project_id: 'overlap' } })] });
    assert.equal((await push(api, [frame(begin, of(1))])).status, 204);
    const got = await push(api, [frame(begin + DAY, of(7)), frame(begin, of(2), 2 * HOUR)]);
    assert.equal(got.status, 400);
    assert.match(got.json.message, /overlaps the stored period/);
    const stored = await api.call('GET', `/v2/dataframes?${WEEK}&filters=project_id:overlap`);
    assert.equal(stored.json.total, 1, 'the request is stored whole or not at all');
  });

  it('refuses scope ids and sums that the storage cannot keep', async () => {
    const long = { m: [point({ groupby: { project_id: 'x'.repeat(600) } })] };
    assert.equal((await push(api, [frame(MONDAY, long)])).status, 400);
    const huge = { m: [point({ qty: `9${'0'.repeat(29)}`, groupby: { project_id: 'huge' } })] };
    assert.equal((await push(api, [frame(MONDAY, huge)])).status, 204);
    assert.equal((await push(api, [frame(MONDAY + HOUR, huge)])).status, 400);
    assert.equal((await api.call('GET', `/v2/dataframes?${WEEK}&filters=project_id:huge`)).json.total, 1);
  });

  it('sends long answers in parts that make one JSON document', async () => {
    const begin = MONDAY + 6 * DAY;
    const points = Array.from({ length: 2000 }, (_, id) =>
      point({
        qty: id,
        groupby: { project_id: 'long', id: String(id) },
        metadata: { text: 'x'.repeat(200) },
      }),
    );
    await push(api, [frame(begin, { m: points.slice(0, 1500), n: points.slice(1500) })]);
    const target = `/v2/dataframes?${WEEK}&filters=project_id:long&limit=100000`;
    const response = await api.v2.handle(request('GET', target));
    assert.notEqual(typeof response.body, 'string');
    const got = (await read(response)).json;
    assert.deepEqual(
      [got.total, got.dataframes[0].usage.m.length, got.dataframes[0].usage.n.length],
      [2000, 1500, 500],
    );
    const head = await api.v2.handle(request('HEAD', target));
    assert.deepEqual([head.status, head.body], [200, '']);
  });

  it('reports the current month of the billing time zone by default', async () => {
    const now = Date.UTC(2026, 0, 31, 23, 59) / 1000;
    const clock = { ...api.services.clock, now: () => now * 1000 };
    const seoul = await openV2({
      clock,
      change: { billing: { timezone: 'Asia/Seoul' } },
      url: await engine.newDatabase(),
    });
    try {
      // In Seoul it is February; the month begins nine hours before that of UTC.
      const begin = Date.UTC(2026, 0, 31, 15) / 1000;
      const of = (id: string) => ({ m: [point({ groupby: { project_id: 'p', id } })] });
      await push(seoul, [frame(begin - HOUR, of('before')), frame(begin, of('first'))]);
      const got = (await seoul.call('GET', '/v2/dataframes')).json;
      assert.deepEqual(
        got.dataframes.map((one: { period: object }) => one.period),
        [{ begin: '2026-01-31T15:00:00+00:00', end: '2026-01-31T16:00:00+00:00' }],
      );
    } finally {
      await seoul.close();
    }
  });
});
