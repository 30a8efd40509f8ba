import assert from 'node:assert/strict';
import { describe, it, test } from 'node:test';
import { migrate } from '../../core/database/migrate.js';
import { type ClosableDatabase, openDatabase } from '../../core/database/open-database.js';
import {
  type Calendar,
  Decimal,
  type Frame,
  type GroupKey,
  type PointQuery,
  type RatedPoint,
  type SqlDatabase,
  type SqlTransaction,
  type Storage,
  type TimeUnit,
} from '../../core/plugin-api/index.js';
import { testDefinition } from '../../core/testkit/definition.js';
import { fakeContext, utcCalendar } from '../../core/testkit/fakes.js';
import { hour, SampleRandom, sampleFrame, samplePoint, sampleSeed } from '../../core/testkit/samples.js';
import { testStorage } from '../../core/testkit/storage.js';
import sql from '../../plugins/storage/sql/index.js';
import { describeOnEngines } from '../support/engines.js';
import { storedDifferences } from '../unit/storage-sql/stored-differences.js';

const never = new AbortController().signal;
const EVERYTHING: PointQuery = { visible: 'all', begin: 0, end: 4_102_444_800 };
const WRITE = { fence: 1, generation: 1, snapshot: 'a'.repeat(64) };
const DAY = 24;

interface Opened {
  readonly database: ClosableDatabase;
  readonly storage: Storage;
  close(): Promise<void>;
}

async function open(url: string, calendar: Calendar = utcCalendar): Promise<Opened> {
  const database = await openDatabase(url);
  await migrate(database, [{ module: 'storage-sql', migrations: sql.migrations ?? [] }]);
  return { database, storage: newStorage(database, calendar), close: () => database.close() };
}

/** As another process has it: nothing is remembered. */
function newStorage(database: SqlDatabase, calendar: Calendar = utcCalendar): Storage {
  return sql.create({}, fakeContext({ database, calendar }));
}

async function using(url: string | Promise<string>, body: (opened: Opened) => Promise<void>): Promise<void> {
  const opened = await open(await url);
  try {
    await body(opened);
  } finally {
    await opened.close();
  }
}

/** Nine hours ahead: days and months begin in the afternoon of the day before in UTC. */
const seoulCalendar: Calendar = {
  timeZone: 'Asia/Seoul',
  slice(instant: number, unit: Exclude<TimeUnit, 'period'>) {
    const { begin, end } = utcCalendar.slice(instant + 9 * 3600, unit);
    return { begin: begin - 9 * 3600, end: end - 9 * 3600 };
  },
  day: (instant) => utcCalendar.day(instant + 9 * 3600),
  month: (instant) => utcCalendar.month(instant + 9 * 3600),
};

testDefinition({
  test,
  definition: sql,
  kind: 'storage',
  context: fakeContext({ database: {} as SqlDatabase }),
});

describe('storage sql in memory', () => {
  testStorage({
    test: it,
    label: 'storage sql with days of Seoul',
    calendar: seoulCalendar,
    open: () => open('sqlite::memory:', seoulCalendar),
  });
});

describeOnEngines('storage sql', (engine) => {
  testStorage({ test: it, label: 'storage sql', open: async () => open(await engine.newDatabase()) });

  const seed = sampleSeed();
  it(`roll-ups equal the sums of the points after any sequence of writes (RATECAT_SEED=${seed})`, () =>
    using(engine.newDatabase(), async ({ database, storage }) => {
      const random = new SampleRandom(seed);
      for (let step = 0; step < 120; step++) {
        await randomWrite(step % 40 === 39 ? newStorage(database) : storage, database, random);
        if (step % 8 === 7)
          assert.deepEqual(await storedDifferences(database, utcCalendar), [], `step ${step}`);
      }
      await storage.deletePeriods(EVERYTHING, {}, never);
      while ((await storage.sweep!(never)) > 0);
      for (const table of ['frames', 'points', 'daily', 'daily_metrics', 'monthly'])
        assert.deepEqual(await database.query(`SELECT * FROM ratecat_sql_${table}`), [], table);
    }));

  it(`groups by attributes equal the sums of the periods as attributes come and go (RATECAT_SEED=${seed})`, () =>
    using(engine.newDatabase(), async ({ storage }) => {
      const random = new SampleRandom(seed);
      const groupby = (['project', 'flavor', 'zone'] as const).map(
        (name) => ({ kind: 'attribute', name }) as const,
      );
      for (let step = 0; step < 60; step++) {
        // At first every attribute is the same throughout its scope; one after the other begins to vary, or goes missing.
        const variants = 1 + Math.floor(step / 15);
        const points = Array.from({ length: 1 + random.below(4) }, (_, id) => ({
          metric: random.pick(['cpu', 'disk']),
          groupby: {
            id: `${id}`,
            project: 'p',
            ...(random.below(3) < variants - 1 ? { zone: random.pick(['x', '']) } : {}),
          },
          metadata: { flavor: `f${random.below(variants)}` },
          price: random.decimal(),
        }));
        const frame = sampleFrame({ scope: random.pick(['a', 'b']), hour: random.below(70 * DAY), points });
        await storage.replacePeriod(frame, WRITE, never);
        for (const keys of [[groupby[0]!], [groupby[1]!, { kind: 'type' } as const], groupby]) {
          const { rows } = await storage.total({ ...EVERYTHING, groupby: keys }, never);
          const found = rows.map(({ group, price, points }) => [group, price.toString(), points]);
          assert.deepEqual(found, await sumsOfPeriods(storage, keys), `step ${step}`);
        }
      }
    }));

  it('groups by attributes of many scopes, asked again after some of them changed', () =>
    using(engine.newDatabase(), async ({ storage }) => {
      const write = (scope: number, hour: number) => {
        const points = [{ groupby: { project: `p-${scope}` }, price: '1' }];
        return storage.replacePeriod(sampleFrame({ scope: `s-${scope}`, hour, points }), WRITE, never);
      };
      const count = async () => {
        const query = { ...EVERYTHING, groupby: [{ kind: 'attribute', name: 'project' }] } as const;
        const { rows } = await storage.total(query, never);
        return rows.map(({ group, points }) => `${group} ${points}`).sort();
      };
      const scopes = Array.from({ length: 150 }, (_, index) => index);
      for (const scope of scopes) await write(scope, 0);
      assert.deepEqual(await count(), scopes.map((scope) => `p-${scope} 1`).sort());
      const changed = scopes.filter((scope) => scope % 3 === 0);
      for (const scope of changed) {
        const points = [{ metric: 'volume', groupby: { project: `p-${scope}` } }];
        await storage.replacePeriod(sampleFrame({ scope: `s-${scope}`, hour: 1, points }), WRITE, never);
      }
      assert.deepEqual(
        await count(),
        scopes.map((scope) => `p-${scope} ${changed.includes(scope) ? 2 : 1}`).sort(),
      );
    }));

  it('groups by attributes see a descriptor that another process adds while they read', () =>
    using(engine.newDatabase(), async ({ database, storage }) => {
      await storage.replacePeriod(sampleFrame({ points: [{ metadata: { flavor: 'small' } }] }), WRITE, never);
      let interfere = async () => {};
      const reader = newStorage({
        dialect: database.dialect,
        transaction: (work, signal) => database.transaction(work, signal),
        query: (text, parameters) => database.query(text, parameters),
        async *iterate(text, parameters, signal) {
          if (text.includes('daily') || text.includes('monthly')) await interfere();
          yield* database.iterate(text, parameters, signal);
        },
      });
      const total = async () => {
        const query = { ...EVERYTHING, groupby: [{ kind: 'attribute', name: 'flavor' }] } as const;
        const { rows } = await reader.total(query, never);
        return rows.map(({ group, points }) => `${group} ${points}`);
      };
      assert.deepEqual(await total(), ['small 1']);
      for (const [index, added] of [
        { scope: 'alpha' },
        { scope: 'new' },
        { scope: 'alpha', metric: 'new' },
      ].entries()) {
        interfere = async () => {
          interfere = async () => {};
          const point = { metric: added.metric ?? 'instance', metadata: { flavor: `large-${index}` } };
          await storage.replacePeriod(
            sampleFrame({ ...added, hour: 1 + index, points: [point] }),
            WRITE,
            never,
          );
        };
        assert.ok((await total()).includes(`large-${index} 1`), `${index}`);
      }
    }));

  it('a steady period costs the same few statements however many points and periods there are', () =>
    using(engine.newDatabase(), async ({ database, storage }) => {
      const costs: number[] = [];
      for (const resources of [10, 400]) {
        const points = Array.from({ length: resources }, (_, index) => ({
          groupby: { id: `server-${index}` },
        }));
        const first = sampleFrame({ scope: `with-${resources}`, points });
        for (const index of [0, 1, 2, 40, 90]) {
          const { begin, end } = sampleFrame({ hour: index }).period;
          const frame = { ...first, period: { begin, end } };
          const statements = await recordStatements(database, storage, frame);
          if (index > 1) costs.push(statements.length);
        }
      }
      assert.deepEqual(new Set(costs).size, 1, `statements per period: ${costs.join(', ')}`);
      assert.ok(costs[0]! <= 8, `${costs[0]} statements`);
    }));

  it('two writers of one scope in two processes do not disturb each other', () =>
    using(engine.newDatabase(), async ({ database, storage }) => {
      const other = newStorage(database);
      const descriptors = Array.from({ length: 30 }, (_, index) =>
        samplePoint({ groupby: { id: `server-${index}` } }),
      );
      for (let index = 0; index < 12; index++) {
        const points = descriptors.slice(index, index + 8 + (index % 5));
        await (index % 3 === 1 ? other : storage).replacePeriod(
          sampleFrame({ hour: index, points }),
          WRITE,
          never,
        );
      }
      assert.deepEqual(await storedDifferences(database, utcCalendar), []);
      const page = await storage.total(
        { ...EVERYTHING, groupby: [{ kind: 'attribute', name: 'id' }] },
        never,
      );
      assert.equal(page.total, 21);
    }));

  it('writers of one scope at the same time leave every period whole', () =>
    using(engine.newDatabase(), async ({ database, storage }) => {
      const other = newStorage(database);
      const frame = (index: number, size: number) =>
        sampleFrame({
          hour: index % 4,
          points: Array.from({ length: size }, (_, id) => ({
            groupby: { id: `r-${id + index}` },
            price: `${index}.5`,
          })),
        });
      await Promise.all(
        Array.from({ length: 16 }, (_, index) =>
          (index % 2 === 0 ? storage : other).replacePeriod(
            frame(index, 3 + (index % 6)),
            WRITE,
            new AbortController().signal,
          ),
        ),
      );
      assert.deepEqual(await storedDifferences(database, utcCalendar), []);
      const page = await storage.total({ ...EVERYTHING, groupby: [{ kind: 'time', unit: 'period' }] }, never);
      assert.equal(page.total, 4);
    }));

  it('a delete beside writers of the same scope takes exactly what it removes out of the sums', () =>
    using(engine.newDatabase(), async ({ database, storage }) => {
      const other = newStorage(database);
      const points = Array.from({ length: 40 }, (_, id) => ({ groupby: { id: `r-${id}` }, price: '0.5' }));
      const queries = [{}, { begin: hour(1), end: hour(3) }, { metrics: ['instance'] }];
      for (let round = 0; round < 12; round++) {
        const replacing = Array.from({ length: 4 }, (_, index) =>
          storage.replacePeriod(
            sampleFrame({ hour: index, points: points.slice(round + index) }),
            WRITE,
            new AbortController().signal,
          ),
        );
        const query = { ...EVERYTHING, ...queries[round % 3] };
        await Promise.all([...replacing, other.deletePeriods(query, {}, new AbortController().signal)]);
        assert.deepEqual(await storedDifferences(database, utcCalendar), [], `round ${round}`);
      }
    }));

  it('readers see a period whole between any two statements of its replacement', () =>
    using(engine.newDatabase(), async ({ database, storage }) => {
      await storage.replacePeriod(uniformFrame('1'), WRITE, never);
      let looks = 0;
      const look = async () => {
        looks++;
        assert.equal(await uniformPrice(storage), '1');
      };
      await database.transaction((tx) => {
        const watched = beforeStatements(tx, look);
        return storage.replacePeriod(uniformFrame('2'), { ...WRITE, tx: watched }, never);
      });
      assert.ok(looks > 5);
      assert.equal(await uniformPrice(storage), '2');
    }));

  it('readers see a period whole when it is replaced before each of their statements', () =>
    using(engine.newDatabase(), async ({ database, storage }) => {
      let version = 1;
      await storage.replacePeriod(uniformFrame('1'), WRITE, never);
      const replace = async () => storage.replacePeriod(uniformFrame(String(++version)), WRITE, never);
      const reader = newStorage({
        dialect: database.dialect,
        transaction: (work, signal) => database.transaction(work, signal),
        query: async (text, parameters) => {
          await replace();
          return database.query(text, parameters);
        },
        async *iterate(text, parameters, signal) {
          await replace();
          yield* database.iterate(text, parameters, signal);
        },
      });
      await uniformPrice(reader);
      assert.ok(version > 6, `${version} versions`);
    }));

  it('a period that overlaps another one is refused and says what to do', () =>
    using(engine.newDatabase(), async ({ database, storage }) => {
      for (const index of [0, 1, 5]) await storage.replacePeriod(sampleFrame({ hour: index }), WRITE, never);
      const overlapping = [
        [hour(0), hour(2)],
        [hour(0), hour(0) + 60],
        [hour(0) + 60, hour(0) + 120],
        [hour(1) + 60, hour(3)],
        [hour(4), hour(7)],
        [hour(-1), hour(0) + 1],
      ];
      for (const [begin, end] of overlapping) {
        const frame = { ...sampleFrame(), period: { begin: begin!, end: end! } };
        await assert.rejects(storage.replacePeriod(frame, WRITE, never), {
          code: 'RATECAT_PERIOD_OVERLAP',
          kind: 'data',
        });
      }
      for (const [begin, end] of [
        [hour(2), hour(5)],
        [hour(6), hour(7)],
        [hour(-1), hour(0)],
      ]) {
        const frame = { ...sampleFrame(), period: { begin: begin!, end: end! } };
        await storage.replacePeriod(frame, WRITE, never);
      }
      assert.equal(await storage.countPoints(EVERYTHING, never), 6);
      assert.deepEqual(await storedDifferences(database, utcCalendar), []);
    }));

  it('the upgrade makes the sums that an older database lacks', () =>
    using(engine.newDatabase(), async ({ database, storage }) => {
      for (const [begin, scope] of [
        [0, 'a'],
        [30, 'a'],
        [0, 'b'],
      ] as const) {
        const points = [
          { price: '0.1' },
          { metric: 'volume', price: '2' },
          { groupby: { id: 'second' }, price: '0.2' },
        ];
        await storage.replacePeriod(sampleFrame({ scope, points, hour: begin }), WRITE, never);
      }
      const { statements } = sql.migrations!.find(({ name }) => name === '0002-daily-metrics')!;
      await database.transaction((tx) => tx.execute('UPDATE ratecat_sql_daily_metrics SET points = 77'));
      // An interrupted migration starts anew.
      for (const sql of [...statements(database.dialect), ...statements(database.dialect)])
        await database.transaction((tx) => tx.execute(sql));
      assert.deepEqual(await storedDifferences(database, utcCalendar), []);
      assert.equal(await storage.countPoints(EVERYTHING, never), 9);
    }));

  it('sums that hold less than the points stop a write instead of going below nothing', () =>
    using(engine.newDatabase(), async ({ database, storage }) => {
      const frame = sampleFrame({ points: [{}, { metric: 'volume' }] });
      await storage.replacePeriod(frame, WRITE, never);
      await database.transaction((tx) => tx.execute('DELETE FROM ratecat_sql_daily'));
      await assert.rejects(storage.replacePeriod({ ...frame, points: [] }, WRITE, never), {
        code: 'RATECAT_ROLL_UP_BROKEN',
      });
      const frames = await database.query('SELECT points FROM ratecat_sql_frames');
      assert.deepEqual(
        frames.map(([points]) => Number(points)),
        [2],
      );
    }));

  it('a scope id that does not fit is refused', () =>
    using(engine.newDatabase(), async ({ storage }) => {
      const frame = sampleFrame({ scope: 'x'.repeat(513) });
      await assert.rejects(storage.replacePeriod(frame, WRITE, never), { code: 'RATECAT_SCOPE_TOO_LONG' });
      await storage.replacePeriod(sampleFrame({ scope: '🐈'.repeat(256) }), WRITE, never);
    }));
});

async function randomWrite(storage: Storage, database: SqlDatabase, random: SampleRandom): Promise<void> {
  const index = 30 * DAY + random.below(2 * DAY);
  const action = random.below(12);
  if (action === 0) await storage.sweep!(never);
  else if (action < 4) {
    const begin = hour(index);
    const metrics = random.pick([undefined, ['instance'], ['volume', 'image']]);
    const query = { visible: 'all', begin, end: begin + random.below(40 * 3600), metrics } as const;
    await storage.deletePeriods(query, {}, never);
  } else {
    const points = Array.from({ length: random.below(9) }, () => ({
      metric: random.pick(['instance', 'volume', 'image']),
      groupby: { id: `r-${random.below(5)}` },
      quantity: random.decimal(),
      price: random.decimal(),
    }));
    const frame = sampleFrame({ hour: index, scope: random.pick(['alpha', 'beta']), points });
    if (action < 10) await storage.replacePeriod(frame, WRITE, never);
    else await rollBack(storage, database, frame);
  }
}

async function rollBack(storage: Storage, database: SqlDatabase, frame: Frame<RatedPoint>): Promise<void> {
  const undone = new Error('undone on purpose');
  const work = database.transaction(async (tx) => {
    await storage.replacePeriod(frame, { ...WRITE, tx }, never);
    throw undone;
  });
  await assert.rejects(work, (error) => error === undone);
}

const UNIFORM_POINTS = 300;

function uniformFrame(price: string): Frame<RatedPoint> {
  const points = Array.from({ length: UNIFORM_POINTS }, (_, id) => ({ groupby: { id: `r-${id}` }, price }));
  return sampleFrame({ hour: 3, points });
}

/** The one price of all points that readers see, which is also what their sums say. */
async function uniformPrice(storage: Storage): Promise<string> {
  const found: string[] = [];
  for await (const { points } of storage.readPeriods(EVERYTHING, never)) {
    const prices = new Set(points.map((point) => point.price.toString()));
    assert.equal(prices.size, 1, `a mixture of ${[...prices].join(', ')}`);
    assert.equal(points.length, UNIFORM_POINTS);
    found.push(...prices);
  }
  assert.equal(found.length, 1);
  for (const groupby of [
    [],
    [{ kind: 'time', unit: 'period' }],
    [{ kind: 'attribute', name: 'unit' }],
  ] as const) {
    const { rows } = await storage.total({ ...EVERYTHING, groupby }, never);
    assert.equal(rows[0]?.points, UNIFORM_POINTS);
    assert.equal(Number(rows[0].price.toString()) % UNIFORM_POINTS, 0);
  }
  return found[0]!;
}

function beforeStatements(
  tx: SqlTransaction,
  act: (statement: string) => Promise<void> | void,
): SqlTransaction {
  return {
    dialect: tx.dialect,
    async query(text, parameters) {
      await act(text);
      return tx.query(text, parameters);
    },
    async execute(text, parameters) {
      await act(text);
      return tx.execute(text, parameters);
    },
    async insertRows(insert) {
      await act(`INSERT INTO ${insert.table}`);
      return tx.insertRows(insert);
    },
  };
}

/** One entry per call to the database, whatever its number of rows. */
async function recordStatements(
  database: SqlDatabase,
  storage: Storage,
  frame: Frame<RatedPoint>,
): Promise<readonly string[]> {
  const statements: string[] = [];
  await database.transaction((tx) => {
    const watched = beforeStatements(tx, (statement) => void statements.push(statement));
    return storage.replacePeriod(frame, { ...WRITE, tx: watched }, never);
  });
  return statements;
}

test('an SQLite file takes at most 60 bytes per stored point of steady resources', () =>
  using('sqlite::memory:', async ({ database, storage }) => {
    const resources = 500;
    const hours = 48;
    const descriptors = Array.from({ length: resources }, (_, index) =>
      samplePoint({
        groupby: {
          id: `4f7e0a6e-5d1c-4b7e-9a51-${String(index).padStart(12, '0')}`,
          project_id: 'f'.repeat(32),
        },
        metadata: { flavor: 'm1.small', availability_zone: 'nova' },
      }),
    );
    for (let index = 0; index < hours; index++) {
      const points = descriptors.map((point, place) => ({
        ...point,
        quantity: samplePoint({ quantity: `${1 + ((place + index) % 4)}` }).quantity,
        price: samplePoint({ price: `0.0${1000 + place}` }).price,
      }));
      await storage.replacePeriod(sampleFrame({ hour: index, points }), WRITE, never);
    }
    const [pages] = (await database.query('PRAGMA page_count'))[0]!;
    const [size] = (await database.query('PRAGMA page_size'))[0]!;
    const perPoint = (Number(pages) * Number(size)) / (resources * hours);
    assert.ok(perPoint <= 60, `${perPoint.toFixed(1)} bytes per point`);
  }));

test('statements of a period and of a summary search by index and never scan a table', () =>
  using('sqlite::memory:', async ({ database, storage }) => {
    const points = Array.from({ length: 20 }, (_, index) => ({ groupby: { id: `r-${index}` } }));
    for (let index = 0; index < 60; index++)
      await storage.replacePeriod(
        sampleFrame({ hour: index, scope: `s-${index % 3}`, points }),
        WRITE,
        never,
      );
    const frame = sampleFrame({ hour: 3, scope: 's-0', points: [{ groupby: { id: 'r-1' }, price: '7' }] });
    const statements = [...(await recordStatements(database, storage, frame))];
    const watched: SqlDatabase = {
      dialect: database.dialect,
      transaction: (work, signal) => database.transaction(work, signal),
      query: (text, parameters) => {
        statements.push(text);
        return database.query(text, parameters);
      },
      iterate: (text, parameters, signal) => {
        statements.push(text);
        return database.iterate(text, parameters, signal);
      },
    };
    const reader = newStorage(watched);
    const range = { begin: hour(5), end: hour(50), visible: [{ key: 'project_id', id: 's-1' }] };
    await reader.total({ ...range, groupby: [{ kind: 'attribute', name: 'id' }] }, never);
    await reader.total({ ...range, groupby: [{ kind: 'time', unit: 'period' }] }, never);
    await reader.total({ ...range, begin: hour(0), end: hour(31 * DAY), groupby: [{ kind: 'type' }] }, never);
    for await (const _ of reader.readPeriods(range, never)) statements.push('SELECT 1');
    assert.ok(statements.length > 15);
    for (const statement of new Set(statements)) {
      if (statement.startsWith('INSERT')) continue;
      const parameters = Array.from(statement.matchAll(/\?/g), () => 1);
      const plan = await database.query(`EXPLAIN QUERY PLAN ${statement}`, parameters);
      for (const [, , , detail] of plan) assert.doesNotMatch(String(detail), /^SCAN (?!CONSTANT)/, statement);
    }
  }));

/** What `total` should give, from the points alone. */
async function sumsOfPeriods(storage: Storage, keys: readonly GroupKey[]) {
  const sums = new Map<string, { readonly group: readonly string[]; price: Decimal; points: number }>();
  for await (const frame of storage.readPeriods(EVERYTHING, never)) {
    for (const { descriptor, price } of frame.points) {
      const group = keys.map((key) => {
        if (key.kind !== 'attribute') return descriptor.metric;
        return String(descriptor.groupby.get(key.name) ?? descriptor.metadata.get(key.name) ?? '');
      });
      const text = JSON.stringify(group);
      const sum = sums.get(text) ?? { group, price: Decimal.ZERO, points: 0 };
      sums.set(text, { group, price: sum.price.plus(price), points: sum.points + 1 });
    }
  }
  const sorted = [...sums.values()].sort((left, right) => {
    const place = left.group.findIndex((value, index) => value !== right.group[index]);
    return left.group[place]! < right.group[place]! ? -1 : 1;
  });
  return sorted.map(({ group, price, points }) => [group, price.toString(), points]);
}
