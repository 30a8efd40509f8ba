import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { Decimal } from '../../../core/plugin-api/index.js';
import { describeOnEngines } from '../../support/engines.js';
import { HOUR, MONDAY, type OpenedOwn, type OwnAnswer, openOwn } from './own-support.js';

const RANGE = 'begin=2026-01-05&end=2026-01-06';

interface PointJson {
  readonly scope: string;
  readonly begin: string;
  readonly quantity: string;
  readonly price: string;
  readonly metadata: { readonly flavor: string };
}

describeOnEngines('reports of /ratecat/v1', (engine) => {
  let api: OpenedOwn;
  before(async () => {
    api = await openOwn({ url: await engine.newDatabase() });
  });
  after(() => api.close());

  it('gives points with every digit of their numbers as texts', async () => {
    const { status, json, text, headers } = await api.get(
      `/dataframes?${RANGE}&scope=alpha&filter=flavor=big`,
    );
    assert.equal(status, 200);
    assert.equal(headers['content-type'], 'application/json; charset=utf-8');
    assert.deepEqual([json.begin, json.end], ['2026-01-05T00:00:00Z', '2026-01-06T00:00:00Z']);
    assert.deepEqual(json.dataframes[0], {
      begin: '2026-01-05T00:00:00Z',
      end: '2026-01-05T01:00:00Z',
      source: json.dataframes[0].source,
      scope_key: 'project_id',
      scope: 'alpha',
      metric: 'instance',
      unit: 'instance',
      description: null,
      quantity: '2',
      price: '0.6666666666666666666666666666',
      groupby: { id: 'alpha-2', project_id: 'alpha' },
      metadata: { flavor: 'big', size: 1.1, note: 'note of alpha' },
    });
    assert.ok(text.includes('"size":1.10'), 'numbers among attributes keep their digits');
    assert.equal(json.dataframes.length, 2);
  });

  it('gives the same points page by page as at once', async () => {
    const whole = (await api.get(`/dataframes?${RANGE}`)).json;
    assert.equal(whole.dataframes.length, 12);
    assert.equal(whole.next_offset, null);
    for (const limit of [1, 4, 5, 11, 12]) {
      const points: unknown[] = [];
      for (let offset: number | null = 0; offset !== null; ) {
        const { json: page }: OwnAnswer = await api.get(
          `/dataframes?${RANGE}&limit=${limit}&offset=${offset}`,
        );
        assert.ok(page.dataframes.length <= limit);
        points.push(...page.dataframes);
        offset = page.next_offset;
      }
      assert.deepEqual(points, whole.dataframes, `limit ${limit}`);
    }
  });

  it('sums exactly what the points say, however it is grouped', async () => {
    const { dataframes } = (await api.get(`/dataframes?${RANGE}`)).json as { dataframes: PointJson[] };
    const expected = (keyOf: (point: PointJson) => readonly string[]) => {
      const sums = new Map<string, Decimal>();
      for (const point of dataframes) {
        const key = JSON.stringify(keyOf(point));
        sums.set(key, (sums.get(key) ?? Decimal.ZERO).plus(Decimal.parse(point.price)));
      }
      return Object.fromEntries([...sums].map(([key, sum]) => [key, sum.toString()]));
    };
    const groupings: readonly (readonly [string, (point: PointJson) => readonly string[]])[] = [
      ['', () => []],
      ['scope', ({ scope }) => [scope]],
      ['flavor,scope', ({ scope, metadata }) => [metadata.flavor, scope]],
      ['time,type', ({ begin }) => [begin, 'instance']],
      ['time-d', () => ['2026-01-05T00:00:00Z']],
      ['nothing', () => ['']],
    ];
    for (const [keys, keyOf] of groupings) {
      const parameter = keys === '' ? '' : `&group_by=${keys}`;
      const { json } = await api.get(`/summary?${RANGE}${parameter}`);
      const rows = json.rows as { group: string[]; price: string }[];
      const given = Object.fromEntries(
        rows.map(({ group, price }) => [JSON.stringify(group.map(asInstant)), price]),
      );
      assert.deepEqual(given, expected(keyOf), keys);
      assert.deepEqual([json.total_rows, json.next_offset], [rows.length, null]);
      assert.deepEqual(json.group_by, keys === '' ? [] : keys.split(','));
    }
  });

  it('pages sums', async () => {
    const whole = (await api.get(`/summary?${RANGE}&group_by=flavor,time`)).json;
    const first = (await api.get(`/summary?${RANGE}&group_by=flavor,time&limit=4`)).json;
    const second = (await api.get(`/summary?${RANGE}&group_by=flavor,time&limit=4&offset=4`)).json;
    assert.deepEqual([first.total_rows, first.next_offset, second.next_offset], [6, 4, null]);
    assert.deepEqual([...first.rows, ...second.rows], whole.rows);
    const beyond = (await api.get(`/summary?${RANGE}&group_by=flavor&offset=99`)).json;
    assert.deepEqual([beyond.rows, beyond.next_offset], [[], null]);
  });

  it('takes values of one attribute as alternatives, and different attributes together', async () => {
    const count = async (query: string) =>
      (await api.get(`/dataframes?${RANGE}&${query}`)).json.dataframes.length;
    assert.equal(await count('filter=flavor=big&filter=flavor=small'), 8);
    assert.equal(await count('filter=flavor=big&filter=id=alpha-2'), 2);
    assert.equal(await count('filter=flavor=big&filter=id=alpha-1'), 0);
    assert.equal(await count('metric=nothing'), 0);
    assert.equal(await count('metric=instance&metric=nothing&scope=alpha&scope=beta'), 12);
    assert.equal(await count('scope=gamma'), 0);
  });

  it('looks at the current month where no range is given', async () => {
    const { json } = await api.get('/summary');
    assert.deepEqual([json.begin, json.end], ['2026-01-01T00:00:00Z', '2026-02-01T00:00:00Z']);
    assert.equal(json.rows[0].points, 12);
    assert.deepEqual((await api.get('/summary?end=2025-06-15')).json.begin, '2025-06-01T00:00:00Z');
  });

  it('shows every project its own points and nothing of another', async () => {
    for (const [token, other] of [
      ['alpha', 'beta'],
      ['beta', 'alpha'],
    ] as const) {
      for (const path of [
        `/dataframes?${RANGE}`,
        `/dataframes?${RANGE}&scope=${other}&scope=${token}`,
        `/summary?${RANGE}&group_by=scope,note,id`,
        `/explain?${RANGE}`,
        '/scopes',
      ]) {
        const { status, text } = await api.get(path, token);
        assert.equal(status, 200, path);
        assert.ok(text.includes(token), path);
        assert.ok(!text.includes(other), `${path}: ${text}`);
      }
      const foreign = await api.get(`/dataframes?${RANGE}&scope=${other}`, token);
      assert.deepEqual(foreign.json.dataframes, []);
      assert.deepEqual((await api.get(`/summary?${RANGE}&scope=${other}`, token)).json.rows, []);
      assert.deepEqual((await api.get(`/explain?${RANGE}&scope=${other}`, token)).json.points, []);
      assert.deepEqual((await api.get(`/scopes?scope=${other}`, token)).json.scopes, []);
    }
  });

  it('refuses roles that the policy does not let read', async () => {
    for (const path of ['/dataframes', '/summary', '/explain', '/scopes', '/progress']) {
      for (const token of ['norole'] as const) {
        const { status, json } = await api.get(path, token);
        assert.deepEqual([status, json.error.code], [403, 'RATECAT_REQUEST_FORBIDDEN'], `${path} ${token}`);
      }
    }
    const unscoped = await api.get(`/dataframes?${RANGE}`, 'unscoped');
    assert.ok(unscoped.status === 403 || unscoped.json.dataframes.length === 0);
  });

  it('explains prices step by step, and they agree', async () => {
    const { status, json } = await api.get(`/explain?${RANGE}&scope=beta&filter=flavor=secret-flavor`);
    assert.equal(status, 200);
    assert.deepEqual([json.points.length, json.is_complete], [2, true]);
    const [point] = json.points;
    assert.deepEqual([point.price, point.recomputed, point.agrees], ['21', '21', true]);
    assert.equal(point.modules[0].module, 'hashmap');
    assert.match(point.modules[0].steps.map(({ text }: { text: string }) => text).join(), /flat 7/);
    assert.match(point.snapshot, /^[0-9a-f]{64}$/);
  });

  it('explains the period that holds an instant, or else the newest', async () => {
    const begins = async (query: string) => {
      const { json } = await api.get(`/explain?${query}`);
      return [...new Set((json.points as PointJson[]).map(({ begin }) => begin))];
    };
    assert.deepEqual(await begins('begin=2026-01-05T00:59:59Z'), ['2026-01-05T00:00:00Z']);
    assert.deepEqual(await begins('begin=2026-01-05T01:00:00Z'), ['2026-01-05T01:00:00Z']);
    assert.deepEqual(await begins(''), ['2026-01-05T01:00:00Z']);
    assert.deepEqual(await begins('begin=2026-01-04T23:59:59Z'), []);
  });

  it('names the range that was asked for, or else the period that it explained', async () => {
    const range = async (query: string) => {
      const { json } = await api.get(`/explain?${query}`);
      return [json.begin, json.end];
    };
    assert.deepEqual(await range('begin=2026-01-05T00:00:00Z&end=2026-02-01'), [
      '2026-01-05T00:00:00Z',
      '2026-02-01T00:00:00Z',
    ]);
    const first = ['2026-01-05T00:00:00Z', '2026-01-05T01:00:00Z'];
    assert.deepEqual(await range('begin=2026-01-05T00:59:59Z'), first);
    assert.deepEqual(await range('begin=2026-01-05T00:00:00Z&limit=1'), first);
    assert.deepEqual(await range(''), ['2026-01-05T01:00:00Z', '2026-01-05T02:00:00Z']);
    const nothing = '2026-01-04T23:59:59Z';
    assert.deepEqual(await range(`begin=${nothing}`), [nothing, nothing]);
  });

  it('says when there was more to explain', async () => {
    for (const [limit, isComplete] of [
      [1, false],
      [3, false],
      [11, false],
      [12, true],
      [13, true],
    ] as const) {
      const { json } = await api.get(`/explain?${RANGE}&limit=${limit}`);
      assert.deepEqual([json.points.length, json.is_complete], [Math.min(limit, 12), isComplete]);
    }
    const newest = (await api.get('/explain?limit=2')).json;
    assert.deepEqual([newest.points.length, newest.is_complete], [2, false]);
  });

  it('leaves pushed points out of explanations, and says so when rules of the time are missing', async () => {
    const { services } = api;
    const { signal } = new AbortController();
    const frame = (source: string, id: string) => ({
      source,
      scope: { key: 'project_id', id },
      period: { begin: MONDAY + 5 * HOUR, end: MONDAY + 6 * HOUR },
      gaps: [],
      points: [],
    });
    const [point] = await collect(services.storage.readPeriods({ ...firstHour(), visible: 'all' }, signal));
    const write = { fence: 0, generation: 1, snapshot: '' };
    await services.storage.replacePeriod({ ...frame('api', 'alpha'), points: point!.points }, write, signal);
    const range = 'begin=2026-01-05T05:00:00Z&end=2026-01-05T06:00:00Z';
    assert.deepEqual((await api.get(`/explain?${range}`)).json.points, []);
    assert.equal((await api.get(`/dataframes?${range}`)).json.dataframes.length, 3);
    const source = services.sources[0]!.name;
    await services.storage.replacePeriod({ ...frame(source, 'alpha'), points: point!.points }, write, signal);
    const missing = await api.get(`/explain?${range}`);
    assert.deepEqual([missing.status, missing.json.error.code], [422, 'RATECAT_SNAPSHOT_MISSING']);
    for (const from of ['api', source])
      await services.storage.replacePeriod(frame(from, 'alpha'), write, signal);
  });

  it('lists scopes with lag and last error, messages for administrators only', async () => {
    const { json } = await api.get('/scopes');
    const [alpha, beta] = json.scopes;
    assert.deepEqual([alpha.scope, alpha.name, alpha.condition], ['alpha', 'Project alpha', 'active']);
    assert.deepEqual(
      [alpha.rated_up_to, alpha.periods_behind, alpha.last_error],
      ['2026-01-05T02:00:00Z', 0, null],
    );
    assert.deepEqual(
      [beta.condition, beta.failures, beta.last_error, beta.owner, beta.retry_at, beta.last_error_at],
      [
        'stuck',
        6,
        'http://10.0.0.7 answered 500',
        'host:1:abc',
        '2026-01-05T02:01:00Z',
        '2026-01-05T01:59:00Z',
      ],
    );
    assert.ok(beta.periods_behind > 0 && beta.seconds_behind >= 0);
    const own = (await api.get('/scopes', 'beta')).json.scopes;
    assert.deepEqual(
      [own.length, own[0].condition, own[0].last_error, own[0].owner],
      [1, 'stuck', null, null],
    );
    const stuck = (await api.get('/scopes?condition=stuck')).json.scopes;
    assert.deepEqual(
      stuck.map(({ scope }: { scope: string }) => scope),
      ['beta'],
    );
    const paged = (await api.get('/scopes?limit=1')).json;
    assert.deepEqual([paged.scopes.length, paged.next_offset], [1, 1]);
    assert.deepEqual((await api.get('/scopes?limit=1&offset=1')).json.next_offset, null);
    assert.deepEqual((await api.get('/scopes?source=nobody')).json.scopes, []);
  });
});

function firstHour() {
  return { begin: MONDAY, end: MONDAY + 1 };
}

async function collect<T>(items: AsyncIterable<T>): Promise<readonly T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

function asInstant(text: string): string {
  return text.replace('.000Z', 'Z');
}
