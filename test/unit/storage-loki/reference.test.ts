import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { HOSTILE_TEXTS } from '../../../core/testkit/hostile-texts.js';
import { hour, plainFrame, sampleFrame } from '../../../core/testkit/samples.js';
import type { LokiServer } from '../../support/loki-server/loki-server.js';
import {
  ALPHA,
  create,
  EVERYTHING,
  isCode,
  never,
  read,
  type Setup,
  using,
  versionFrame,
  WRITE,
} from './opened-storage.js';

const SETUP: Setup = { options: { reference: { source: 'openstack' } } };

function isoText(index: number): string {
  return new Date(hour(index) * 1000).toISOString().replace('.000Z', '+00:00');
}

function line(index: number, type: string, rest: Readonly<Record<string, unknown>>): string {
  return JSON.stringify({
    start: isoText(index),
    end: isoText(index + 1),
    type,
    unit: 'u',
    description: null,
    qty: 1,
    price: 0.1,
    groupby: {},
    metadata: {},
    ...rest,
  });
}

/** What CloudKitty pushed for one project and hour: lines have the time of the period's end. */
function fill(server: LokiServer, project: string, index: number, tenant?: string): void {
  const time = BigInt(hour(index + 1)) * 1_000_000_000n;
  const calendar = { day_of_the_year: '1', week_of_the_year: '00', month: '1', year: '2026' };
  const lines = [
    line(index, 'instance', {
      groupby: { id: 'a', project_id: project, ...calendar },
      metadata: { flavor: 'm1', size: 5 },
      description: 'text',
    }),
    line(index, 'cpu', { qty: 2.0, price: 0.2, groupby: { id: 'b', project_id: project } }),
  ];
  server.fill(
    { service: 'cloudkitty', project_id: project },
    lines.map((text) => ({ time, line: text })),
    tenant,
  );
}

async function everyPoint(storage: Parameters<typeof read>[0]): Promise<readonly string[]> {
  const frames = await read(storage);
  return frames.flatMap(({ scope, period, points }) =>
    points.map(({ descriptor }) => `${scope.id} ${(period.begin - hour(0)) / 3600} ${descriptor.metric}`),
  );
}

describe('beside lines of the reference in Loki', () => {
  it('they are read as periods of their scope, with floats as their shortest decimals', () =>
    using(async (storage, server) => {
      for (const [project, index] of [
        ['alpha', 0],
        ['alpha', 1],
        ['beta', 0],
      ] as const)
        fill(server, project, index);
      await storage.replacePeriod(sampleFrame({ hour: 2, points: [{ price: '1e-20' }] }), WRITE, never);
      const frames = await read(storage, { visible: ALPHA });
      assert.deepEqual(
        frames.map(({ period, points }) => [period.begin, period.end, points.length]),
        [
          [hour(0), hour(1), 2],
          [hour(1), hour(2), 2],
          [hour(2), hour(3), 1],
        ],
      );
      const { points, ...plain } = plainFrame(frames[0]!) as { points: readonly unknown[] };
      assert.deepEqual(plain, {
        source: 'openstack',
        scope: ['project_id', 'alpha'],
        period: [hour(0), hour(1)],
        snapshot: '',
        gaps: [],
      });
      const [cpu, instance] = frames[0]!.points;
      assert.equal(points.length, 2);
      assert.deepEqual(
        [cpu, instance].map((point) => [
          point!.descriptor.metric,
          point!.quantity.toString(),
          point!.price.toString(),
          Object.fromEntries(point!.descriptor.groupby),
          Object.keys(Object.fromEntries(point!.descriptor.metadata)),
        ]),
        [
          ['cpu', '2', '0.2', { id: 'b', project_id: 'alpha' }, []],
          ['instance', '1', '0.1', { id: 'a', project_id: 'alpha' }, ['flavor', 'size']],
        ],
      );
    }, SETUP));

  it('they are in every kind of report, by the begin of their period', () =>
    using(async (storage, server) => {
      for (const index of [0, 1, 2]) fill(server, 'alpha', index);
      await storage.replacePeriod(versionFrame(1, ['a'], 3), WRITE, never);
      const range = { begin: hour(1), end: hour(4) };
      const rowsOf = async (groupby: Parameters<typeof storage.total>[0]['groupby']) =>
        (await storage.total({ visible: ALPHA, ...range, groupby }, never)).rows.map(
          ({ group, points, price }) => [...group, points, price.toString()],
        );
      assert.deepEqual(await rowsOf([]), [[5, '1.7']]);
      assert.deepEqual(await rowsOf([{ kind: 'scope' }]), [['alpha', 5, '1.7']]);
      assert.deepEqual(await rowsOf([{ kind: 'attribute', name: 'id' }]), [
        ['a', 3, '1.3'],
        ['b', 2, '0.4'],
      ]);
      assert.equal((await rowsOf([{ kind: 'time', unit: 'period' }])).length, 3);
      const filters = [{ name: 'flavor', values: ['m1'], in: 'metadata' as const }];
      assert.equal(await storage.countPoints({ visible: ALPHA, ...range, filters }, never), 2);
      assert.equal(await storage.countPoints({ visible: ALPHA, begin: hour(0), end: hour(1) }, never), 2);
    }, SETUP));

  it('they are totalled by metric, day and month of the begin of their period', () =>
    using(async (storage, server) => {
      for (const index of [0, 23, 24, 743, 744]) fill(server, 'alpha', index);
      const rowsOf = async (groupby: Parameters<typeof storage.total>[0]['groupby']) =>
        (await storage.total({ ...EVERYTHING, groupby }, never)).rows.map(({ group, points, price }) => [
          ...group,
          points,
          price.toString(),
        ]);
      assert.deepEqual(await rowsOf([{ kind: 'type' }]), [
        ['cpu', 5, '1'],
        ['instance', 5, '0.5'],
      ]);
      assert.deepEqual(await rowsOf([{ kind: 'time', unit: 'day' }]), [
        ['2026-01-01T00:00:00Z', 4, '0.6'],
        ['2026-01-02T00:00:00Z', 2, '0.3'],
        ['2026-01-31T00:00:00Z', 2, '0.3'],
        ['2026-02-01T00:00:00Z', 2, '0.3'],
      ]);
      assert.deepEqual(await rowsOf([{ kind: 'time', unit: 'month' }]), [
        ['2026-01-01T00:00:00Z', 8, '1.2'],
        ['2026-02-01T00:00:00Z', 2, '0.3'],
      ]);
    }, SETUP));

  it('they belong to a range in which their period begins, although their time is its end', () =>
    using(async (storage, server) => {
      for (const index of [0, 1, 743, 744]) fill(server, 'alpha', index);
      const cases: readonly (readonly [number, number, readonly number[]])[] = [
        [hour(0), hour(1), [0]],
        [hour(0), hour(0) + 1, [0]],
        [hour(0) + 1, hour(1), []],
        [hour(0) + 1, hour(1) + 1, [1]],
        [hour(1), hour(2), [1]],
        [hour(1), hour(1), []],
        [hour(2), hour(3), []],
        [hour(0), hour(744), [0, 1, 743]],
        [hour(744), hour(1_416), [744]],
      ];
      for (const [begin, end, indices] of cases) {
        const what = `${begin} ${end}`;
        const frames = await read(storage, { visible: ALPHA, begin, end });
        assert.deepEqual(
          frames.map(({ period }) => (period.begin - hour(0)) / 3600),
          indices,
          what,
        );
        assert.equal(
          await storage.countPoints({ visible: 'all', begin, end }, never),
          2 * indices.length,
          what,
        );
      }
    }, SETUP));

  it('a delete of a month removes its last hour, and not that of the month before', () =>
    using(async (storage, server) => {
      for (const index of [743, 744, 1_415, 1_416]) fill(server, 'alpha', index);
      await storage.deletePeriods({ visible: ALPHA, begin: hour(744), end: hour(1_416) }, {}, never);
      const left = (await read(storage)).map(({ period }) => (period.begin - hour(0)) / 3600);
      assert.deepEqual(left, [743, 1_416]);
    }, SETUP));

  it('amounts are the shortest decimals of their floats, however they are written', () =>
    using(async (storage, server) => {
      const time = BigInt(hour(1)) * 1_000_000_000n;
      const amounts = ['1e-07', '0.30000000000000004', '1e+21', '5.0', '-2.50'];
      const lines = amounts.map((amount, index) => {
        const text = line(0, `m${index}`, { qty: 'AMOUNT', groupby: { project_id: 'alpha' } });
        return { time, line: text.replace('"AMOUNT"', amount) };
      });
      server.fill({ service: 'cloudkitty', project_id: 'alpha' }, lines);
      const [frame] = await read(storage);
      assert.deepEqual(
        frame!.points.map(({ quantity }) => quantity.toString()),
        ['0.0000001', '0.30000000000000004', '1000000000000000000000', '5', '-2.5'],
      );
    }, SETUP));

  it('points without a project are those of the scope with the empty id', () =>
    using(async (storage, server) => {
      const time = BigInt(hour(1)) * 1_000_000_000n;
      fill(server, 'alpha', 0);
      server.fill({ service: 'cloudkitty' }, [{ time, line: line(0, 'cpu', {}) }]);
      const countOf = (...ids: readonly string[]) =>
        storage.countPoints({ ...EVERYTHING, visible: ids.map((id) => ({ key: 'project_id', id })) }, never);
      assert.deepEqual(
        await Promise.all([countOf(''), countOf('', 'alpha'), countOf('alpha'), countOf('other')]),
        [1, 3, 2, 0],
      );
    }, SETUP));

  it('they and streams of Ratecat with the same labels are told apart', () =>
    using(
      async (storage, server) => {
        for (const index of [0, 1]) fill(server, 'alpha', index);
        await storage.replacePeriod(versionFrame(1, ['x'], 1), WRITE, never);
        await storage.replacePeriod(versionFrame(2, ['x', 'y', 'z'], 2), WRITE, never);
        // Nothing of this source hides lines of CloudKitty, so it must not be taken for one.
        await storage.replacePeriod({ ...versionFrame(3, ['x'], 3), source: 'elsewhere' }, WRITE, never);
        assert.deepEqual(await everyPoint(storage), [
          'alpha 0 cpu',
          'alpha 0 instance',
          'alpha 1 instance',
          'alpha 2 instance',
          'alpha 2 instance',
          'alpha 2 instance',
          'alpha 3 instance',
        ]);
      },
      { options: { stream: { service: 'cloudkitty' }, reference: { source: 'openstack' } } },
    ));

  it('periods of several lengths are read in order of their begins, page by page', () =>
    using(
      async (storage, server) => {
        const ends = new Map<number, string[]>();
        const add = (index: number, hours: number, id: string) => {
          const text = line(index, 'cpu', { end: isoText(index + hours), groupby: { project_id: id } });
          ends.set(index + hours, [...(ends.get(index + hours) ?? []), text]);
        };
        for (let index = 0; index < 48; index++) add(index, 1, 'hourly');
        for (let index = 0; index < 48; index += 6) add(index, 6, 'six');
        for (let index = 0; index < 48; index += 24) add(index, 24, 'daily');
        for (const [index, texts] of ends) {
          const time = BigInt(hour(index)) * 1_000_000_000n;
          server.fill(
            { service: 'cloudkitty' },
            texts.map((text) => ({ time, line: text })),
          );
        }
        const order = (await read(storage)).map(({ period, scope }) => `${period.begin} ${scope.id}`);
        assert.equal(order.length, 58);
        assert.deepEqual(order, [...order].sort());
        const noon = await read(storage, { begin: hour(12), end: hour(13) });
        assert.deepEqual(
          noon.map(({ scope, period }) => [scope.id, period.end]),
          [
            ['hourly', hour(13)],
            ['six', hour(18)],
          ],
        );
      },
      { options: { reference: { source: 'openstack', period: 86_400 }, max_entries: 10 } },
    ));

  it('a page of a report begins and ends amid periods', () =>
    using(async (storage, server) => {
      for (const index of [0, 1, 2]) fill(server, 'alpha', index);
      const page = await read(storage, { offset: 1, limit: 3 });
      assert.deepEqual(
        page.flatMap(({ period, points }) =>
          points.map(({ descriptor }) => `${(period.begin - hour(0)) / 3600} ${descriptor.metric}`),
        ),
        ['0 instance', '1 cpu', '1 instance'],
      );
    }, SETUP));

  it('a period that Ratecat stores takes their place, others and other sources do not', () =>
    using(async (storage, server) => {
      for (const index of [0, 1]) fill(server, 'alpha', index);
      fill(server, 'beta', 0);
      await storage.replacePeriod(sampleFrame({ source: 'elsewhere', hour: 1 }), WRITE, never);
      assert.equal((await everyPoint(storage)).length, 7);
      await storage.replacePeriod(versionFrame(1, ['x']), WRITE, never);
      assert.deepEqual(
        (await everyPoint(storage)).filter((text) => / 0 /.test(text)).map((text) => text.split(' ')[0]),
        ['alpha', 'beta', 'beta'],
      );
      await storage.replacePeriod(versionFrame(2, []), WRITE, never);
      assert.deepEqual(
        (await everyPoint(storage)).filter((text) => /alpha 0/.test(text)),
        [],
      );
    }, SETUP));

  it('deleted periods are hidden for good, also those that Ratecat had taken over, until they are stored again', () =>
    using(async (storage, server, setup) => {
      for (const index of [0, 1, 2]) fill(server, 'alpha', index);
      fill(server, 'beta', 0);
      await storage.replacePeriod(versionFrame(1, ['x']), WRITE, never);
      await storage.deletePeriods({ visible: ALPHA, begin: hour(0), end: hour(2) }, {}, never);
      const left = ['beta 0 cpu', 'beta 0 instance', 'alpha 2 cpu', 'alpha 2 instance'];
      assert.deepEqual(await everyPoint(storage), left);
      const another = await create(server, setup);
      assert.deepEqual(await everyPoint(another), left);
      await another.deletePeriods({ visible: ALPHA, begin: hour(0), end: hour(2) }, {}, never);
      await another.replacePeriod(versionFrame(2, ['y'], 1), WRITE, never);
      assert.equal((await everyPoint(another)).length, 5);
      await another.stop?.();
      assert.equal(
        server
          .tenant()
          .all()
          .filter(({ labels }) => labels.service === 'cloudkitty').length,
        8,
      );
    }, SETUP));

  it('a delete by metric or attribute leaves the rest of their period', () =>
    using(async (storage, server) => {
      for (const index of [0, 1]) fill(server, 'alpha', index);
      fill(server, 'beta', 0);
      await storage.deletePeriods({ ...EVERYTHING, visible: ALPHA, metrics: ['cpu'] }, {}, never);
      const filters = [{ name: 'size', values: ['5'], in: 'metadata' as const }];
      await storage.deletePeriods({ visible: ALPHA, begin: hour(1), end: hour(2), filters }, {}, never);
      assert.deepEqual(await everyPoint(storage), ['alpha 0 instance', 'beta 0 cpu', 'beta 0 instance']);
    }, SETUP));

  it('hostile ids are read and asked for as they are', () =>
    using(async (storage, server) => {
      const ids = [...new Set(HOSTILE_TEXTS)]
        .filter((id) => !/\p{Cs}/u.test(id) && id !== '' && id.length <= 512)
        .slice(0, 60);
      for (const id of ids) fill(server, id, 0);
      assert.deepEqual(
        (await storage.scopesWithData(EVERYTHING, never)).map(({ scope }) => scope.id).sort(),
        [...ids].sort(),
      );
      for (const id of ids)
        assert.equal(
          await storage.countPoints({ ...EVERYTHING, visible: [{ key: 'project_id', id }] }, never),
          2,
          JSON.stringify(id),
        );
    }, SETUP));

  it('hostile ids are asked for together, by Loki or, when they are too many, here', () =>
    using(async (storage, server) => {
      const ids = [...new Set(HOSTILE_TEXTS)].filter((id) => !/\p{Cs}/u.test(id) && id !== '');
      for (const id of ids) fill(server, id, 0);
      await storage.countPoints(EVERYTHING, never);
      for (const size of [20, 60]) {
        for (let begin = 0; begin < ids.length; begin += size) {
          const some = ids.slice(begin, begin + size);
          const visible = some.map((id) => ({ key: 'project_id', id }));
          server.calls.length = 0;
          assert.equal(
            await storage.countPoints({ ...EVERYTHING, visible }, never),
            2 * some.length,
            JSON.stringify(some),
          );
          const queries = server.calls.map(({ parameters }) => parameters.get('query') ?? '');
          if (some.length > 50) assert.ok(queries.every((query) => !query.includes('project_id')));
          else if (some.join('').length < 500)
            assert.ok(queries.some((query) => query.includes('project_id')));
        }
      }
    }, SETUP));

  it('another attribute can name the scope, and other streams and tenants are not seen', () =>
    using(
      async (storage, server) => {
        const time = BigInt(hour(1)) * 1_000_000_000n;
        const one = (domain: string) => line(0, 'cpu', { groupby: { domain_id: domain, project_id: 'p' } });
        server.fill({ app: 'ck', project_id: 'p' }, [{ time, line: one('d1') }]);
        server.fill({ app: 'ck', project_id: 'p' }, [{ time, line: one('d1') }], 'other');
        fill(server, 'alpha', 0);
        server.fill({ app: 'ck' }, [{ time, line: line(0, 'cpu', { metadata: { domain_id: 'd2' } }) }]);
        const scopes = (await storage.scopesWithData(EVERYTHING, never)).map(
          ({ scope }) => `${scope.key} ${scope.id}`,
        );
        assert.deepEqual(scopes.sort(), ['domain_id d1', 'domain_id d2']);
        assert.equal(
          await storage.countPoints({ ...EVERYTHING, visible: [{ key: 'domain_id', id: 'd1' }] }, never),
          1,
        );
        assert.equal(await storage.countPoints({ ...EVERYTHING, visible: ALPHA }, never), 0);
      },
      { options: { reference: { source: 'openstack', scope_key: 'domain_id', stream: { app: 'ck' } } } },
    ));

  it('of what CloudKitty stored twice, equal lines of one time count once as in Loki, and others twice', () =>
    using(async (storage, server) => {
      fill(server, 'alpha', 0);
      fill(server, 'alpha', 0);
      assert.equal(await storage.countPoints(EVERYTHING, never), 2);
      const time = BigInt(hour(1)) * 1_000_000_000n;
      const again = line(0, 'cpu', { qty: 2, price: 0.25, groupby: { id: 'b', project_id: 'alpha' } });
      server.fill({ service: 'cloudkitty', project_id: 'alpha' }, [{ time, line: again }]);
      const { rows } = await storage.total({ ...EVERYTHING, groupby: [{ kind: 'type' }] }, never);
      assert.deepEqual(
        rows.map(({ group, price }) => [group[0], price.toString()]),
        [
          ['cpu', '0.45'],
          ['instance', '0.1'],
        ],
      );
    }, SETUP));

  it('long histories are read page by page, in order', () =>
    using(
      async (storage, server) => {
        for (let index = 0; index < 40; index++)
          for (const id of ['alpha', 'beta', 'gamma']) fill(server, id, index);
        const frames = await read(storage);
        assert.equal(frames.length, 120);
        assert.ok(frames.every(({ points }) => points.length === 2));
        const order = frames.map(({ period, scope }) => `${period.begin} ${scope.id}`);
        assert.deepEqual(order, [...order].sort());
      },
      { options: { reference: { source: 'openstack' }, max_entries: 10, shard_days: 1 } },
    ));

  it('more lines of one time than an answer holds are an error that says so', () =>
    using(
      async (storage, server) => {
        const time = BigInt(hour(1)) * 1_000_000_000n;
        const lines = Array.from({ length: 25 }, (_, index) => ({
          time,
          line: line(0, 'cpu', { groupby: { id: `${index}`, project_id: 'alpha' } }),
        }));
        server.fill({ service: 'cloudkitty', project_id: 'alpha' }, lines.slice(0, 9));
        server.fill({ service: 'cloudkitty', project_id: 'beta' }, lines.slice(9, 18));
        assert.equal(await storage.countPoints(EVERYTHING, never), 18, 'stream by stream they fit');
        server.fill({ service: 'cloudkitty', project_id: 'alpha' }, lines.slice(18));
        await assert.rejects(read(storage), isCode('RATECAT_LOKI_LIMIT', 'max_entries', '2026-01-01T01:00'));
      },
      { options: { reference: { source: 'openstack' }, max_entries: 10 } },
    ));

  it('what is no point of a period is told, with the line', async () => {
    const time = BigInt(hour(1)) * 1_000_000_000n;
    const long = JSON.stringify({
      start: isoText(0),
      end: isoText(2),
      type: 'cpu',
      qty: 1,
      price: 1,
      groupby: { project_id: 'alpha' },
    });
    await Promise.all(
      [
        ['no JSON', 'no JSON'],
        ['{"type":"cpu"}', 'no point of a period'],
        ['[]', 'no point of a period'],
        [long, 'reference.period'],
      ].map(([text, words]) =>
        using(async (storage, server) => {
          server.fill({ service: 'cloudkitty' }, [{ time, line: text! }]);
          await assert.rejects(read(storage), isCode('RATECAT_LOKI_DAMAGED', words!));
        }, SETUP),
      ),
    );
  });

  it('where there are none, Loki is asked for streams once in a while and for lines never', () =>
    using(async (storage, server) => {
      assert.deepEqual(await read(storage), []);
      server.calls.length = 0;
      assert.deepEqual(await read(storage), []);
      assert.ok(server.calls.length <= 3 && server.calls.every(({ path }) => path === 'series'));
    }, SETUP));

  it('without the option they are not read', () =>
    using(async (storage, server) => {
      fill(server, 'alpha', 0);
      assert.deepEqual(await read(storage), []);
      await storage.deletePeriods(EVERYTHING, {}, never);
      assert.equal(server.tenant().all().length, 2);
    }));
});
