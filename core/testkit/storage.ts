import assert from 'node:assert/strict';
import {
  type Calendar,
  type Decimal,
  type Frame,
  type GroupKey,
  isRatecatError,
  type PointQuery,
  type RatedPoint,
  type SqlDatabase,
  type Storage,
  type StorageCapabilities,
  type StoredFrame,
  type TimeUnit,
  type TotalPage,
  type TotalQuery,
  type WriteContext,
} from '../plugin-api/index.js';
import type { TestFunction } from './definition.js';
import { utcCalendar } from './fakes.js';
import { HOSTILE_TEXTS } from './hostile-texts.js';
import {
  HOUR,
  hour,
  plainFrame,
  SAMPLE_START,
  type SampleFrame,
  type SamplePoint,
  SampleRandom,
  sampleFrame,
  samplePoint,
  sampleSeed,
} from './samples.js';
import { StorageModel } from './storage-model.js';
import { testRetention } from './storage-retention.js';

export interface OpenedStorage {
  /** Started, empty, and of this test alone. */
  readonly storage: Storage;
  /** The core's database, for a storage that joins its transactions. */
  readonly database?: SqlDatabase | undefined;
  /** Waits until what was written can be read, for storages that take a moment. */
  settle?(): Promise<void>;
  close(): Promise<void>;
}

export interface StorageTest {
  readonly test: TestFunction;
  /** What the tests are called after: `storage sql on SQLite`. */
  readonly label: string;
  /** Called once for every test. */
  open(): Promise<OpenedStorage>;
  /** The calendar that the storage was given; default: UTC. */
  readonly calendar?: Calendar | undefined;
  /** Steps of the random test; default 60. */
  readonly steps?: number | undefined;
}

const never = new AbortController().signal;
const EVERYTHING: PointQuery = { visible: 'all', begin: 0, end: 4_102_444_800 };
const DAY = 24;

/** The conformance suite of storages. What a storage does not declare is not asked of it. */
export function testStorage(suite: StorageTest): void {
  const check = (name: string, body: (bench: Bench) => Promise<void>) =>
    suite.test(`${suite.label}: ${name}`, async () => {
      const opened = await suite.open();
      try {
        await body(new Bench(opened, suite.calendar ?? utcCalendar));
      } finally {
        await opened.close();
      }
    });

  testReplacing(check);
  testReading(check);
  testTotals(check);
  testDeleting(check);
  testIsolation(check);
  testTransactions(check);
  const seed = sampleSeed();
  check(`random replaces and deletes agree with a plain model (RATECAT_SEED=${seed})`, (bench) =>
    replayRandomly(bench, new SampleRandom(seed), suite.steps ?? 60),
  );
  testRetention(suite);
}

type Check = (name: string, body: (bench: Bench) => Promise<void>) => void;

/** A storage beside a model that is told the same. */
class Bench {
  readonly storage: Storage;
  readonly database: SqlDatabase | undefined;
  readonly model: StorageModel;
  readonly #opened: OpenedStorage;
  #generation = 0;

  constructor(opened: OpenedStorage, calendar: Calendar) {
    this.#opened = opened;
    this.storage = opened.storage;
    this.database = opened.database;
    this.model = new StorageModel(calendar);
  }

  get can(): StorageCapabilities {
    return this.storage.capabilities;
  }

  write(snapshot = 'snapshot-1'): WriteContext {
    return { fence: 1, generation: ++this.#generation, snapshot };
  }

  async replace(
    sample: SampleFrame | Frame<RatedPoint>,
    snapshot = 'snapshot-1',
  ): Promise<Frame<RatedPoint>> {
    const frame = 'period' in sample ? sample : sampleFrame(sample);
    await this.storage.replacePeriod(frame, this.write(snapshot), never);
    this.model.replace(frame, snapshot);
    await this.settle();
    return frame;
  }

  async delete(query: Partial<PointQuery>): Promise<void> {
    await this.storage.deletePeriods({ ...EVERYTHING, ...query }, {}, never);
    this.model.delete({ ...EVERYTHING, ...query });
    await this.settle();
  }

  async settle(): Promise<void> {
    await this.#opened.settle?.();
  }

  async read(
    query: Partial<PointQuery> & { offset?: number; limit?: number } = {},
  ): Promise<readonly StoredFrame[]> {
    const frames: StoredFrame[] = [];
    for await (const frame of this.storage.readPeriods({ ...EVERYTHING, ...query }, never))
      frames.push(frame);
    return frames;
  }

  async checkRead(query: Partial<PointQuery> & { offset?: number; limit?: number } = {}): Promise<void> {
    const expected = this.model.read({ ...EVERYTHING, ...query });
    this.#same((await this.read(query)).map(plainFrame), expected.map(plainFrame), query);
    const { offset: _offset, limit: _limit, ...unpaged } = query;
    const count = await this.storage.countPoints({ ...EVERYTHING, ...unpaged }, never);
    assert.equal(count, this.model.count({ ...EVERYTHING, ...unpaged }), describe(query));
  }

  total(query: Partial<TotalQuery> = {}): Promise<TotalPage> {
    return this.storage.total({ ...EVERYTHING, groupby: [], ...query }, never);
  }

  async checkTotal(query: Partial<TotalQuery> = {}): Promise<void> {
    const expected = this.model.total({ ...EVERYTHING, groupby: [], ...query });
    const actual = await this.total(query);
    assert.equal(actual.total, expected.total, describe(query));
    this.#same(actual.rows.map(plainTotal), expected.rows.map(plainTotal), query);
  }

  async checkScopes(query: Partial<PointQuery> = {}): Promise<void> {
    const found = await this.storage.scopesWithData({ ...EVERYTHING, ...query }, never);
    const names = found.map(({ source, scope }) => `${source} ${scope.key} ${scope.id}`).sort();
    assert.deepEqual(names, this.model.scopes({ ...EVERYTHING, ...query }));
  }

  /** Everything that readers can ask, in one go. */
  async checkAll(): Promise<void> {
    await this.checkRead();
    for (const groupby of this.groupings()) await this.checkTotal({ groupby });
    await this.checkScopes();
  }

  groupings(): readonly (readonly GroupKey[])[] {
    return GROUPINGS.filter((keys) =>
      keys.every((key) => key.kind !== 'time' || this.can.timeGroups.includes(key.unit)),
    );
  }

  /** Where sums are not exact, they still agree in their first digits. */
  #same(actual: unknown, expected: unknown, query: unknown): void {
    const compared = this.can.exactSums ? [actual, expected] : [roundNumbers(actual), roundNumbers(expected)];
    assert.deepEqual(compared[0], compared[1], describe(query));
  }
}

function describe(query: unknown): string {
  return `answer to ${JSON.stringify(query)}`;
}

function plainTotal(total: TotalPage['rows'][number]): unknown {
  const { begin, end, quantity, price, points, group } = total;
  return { begin, end, quantity: quantity.toString(), price: price.toString(), points, group: [...group] };
}

function roundNumbers(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (_name, item) =>
      typeof item === 'string' && /^-?\d+(\.\d+)?$/.test(item) ? Number(item).toPrecision(9) : item,
    ),
  );
}

const TYPE: GroupKey = { kind: 'type' };
const SCOPE: GroupKey = { kind: 'scope' };
const time = (unit: TimeUnit): GroupKey => ({ kind: 'time', unit });
const attribute = (name: string): GroupKey => ({ kind: 'attribute', name });

const GROUPINGS: readonly (readonly GroupKey[])[] = [
  [],
  [TYPE],
  [SCOPE],
  [SCOPE, TYPE],
  [attribute('id')],
  [attribute('flavor'), TYPE],
  [attribute('absent')],
  [time('period')],
  [time('day')],
  [time('week')],
  [time('month')],
  [time('year')],
  [TYPE, time('day'), time('month')],
  [time('week'), time('month'), SCOPE],
  [time('month'), TYPE],
  [time('year'), time('month'), SCOPE],
  [time('period'), attribute('id'), TYPE],
  [SCOPE, attribute('flavor'), time('week')],
];

// ------------------------------------------------------------------------------------------------------- replacing

function testReplacing(check: Check): void {
  check('a frame comes back as it was stored', async (bench) => {
    await bench.replace(
      {
        points: [
          { metric: 'cpu', unit: 'core', description: 'cores in use', quantity: '0.1', price: '1e-28' },
          {
            metric: 'instance',
            groupby: { id: 'a', size: samplePoint({ quantity: '1.0' }).quantity },
            metadata: {},
          },
          { metric: 'instance', groupby: {}, metadata: { on: true, off: null, tags: ['x', { y: 'z' }] } },
          { metric: 'volume', quantity: '-3', price: '-0.000001' },
        ],
      },
      'snapshot-7',
    );
    await bench.checkAll();
  });

  check('replacePeriod called twice leaves one copy', async (bench) => {
    const frame = await bench.replace({ points: [{}, { metric: 'volume' }] });
    await bench.replace(frame);
    await bench.checkAll();
    assert.equal((await bench.read())[0]?.points.length, 2);
  });

  check('replacing leaves exactly the new points, be they other, fewer, more or none', async (bench) => {
    const point = (index: number): SamplePoint => ({
      groupby: { id: `server-${index}` },
      price: `0.${index + 1}`,
    });
    await bench.replace({ hour: 1, points: [point(7)] });
    for (const indexes of [[0, 1, 2], [3], [2, 1, 0, 4, 5], [], [0, 1], [1, 0], [0, 1]]) {
      await bench.replace({ points: indexes.map(point) }, `snapshot-${indexes.length}`);
      await bench.checkAll();
    }
    await bench.replace({ points: [{ ...point(0), quantity: '2' }, point(1)] });
    await bench.checkAll();
  });

  check('an empty frame leaves an empty period', async (bench) => {
    await bench.replace({ points: [] });
    await bench.checkAll();
    assert.equal((await bench.read()).length, 1);
    assert.deepEqual(await bench.total(), { total: 0, rows: [] });
  });

  check('gaps come back and are not points', async (bench) => {
    const gaps = [{ metric: 'volume', reason: 'the source keeps no data that old, it said "gone"' }];
    await bench.replace({ points: [{}], gaps });
    await bench.replace({ hour: 1, points: [], gaps });
    await bench.checkAll();
    await bench.checkRead({ metrics: ['volume'] });
    await bench.replace({ hour: 1, points: [{ metric: 'volume' }] });
    await bench.checkAll();
  });

  check('points of one frame with equal descriptors are all kept', async (bench) => {
    await bench.replace({ points: [{ price: '1' }, { price: '2' }, { price: '1' }] });
    await bench.checkAll();
    assert.equal(await bench.storage.countPoints(EVERYTHING, never), 3);
  });

  check('sources, scope keys and scope ids are kept apart', async (bench) => {
    await bench.replace({ source: 'openstack', points: [{ price: '1' }] });
    await bench.replace({ source: 'kubernetes', points: [{ price: '2' }] });
    await bench.replace({ source: 'api', points: [{ price: '4' }] });
    await bench.replace({ scopeKey: 'namespace', points: [{ price: '8' }] });
    await bench.replace({ scope: 'Alpha', points: [{ price: '16' }] });
    await bench.replace({ source: 'api', points: [{ price: '32' }] });
    await bench.checkAll();
  });

  check('an overflowing number is refused and nothing is stored', async (bench) => {
    if (!bench.can.exactSums) return;
    const frame = sampleFrame({ points: [{}, { price: `1${'0'.repeat(30)}` }] });
    await assert.rejects(bench.storage.replacePeriod(frame, bench.write(), never), isDataError);
    await bench.checkAll();
  });

  check('numbers keep 28 places, rounded half-even, and all their digits', async (bench) => {
    if (!bench.can.exactSums) return;
    await bench.replace({
      points: [
        {
          metric: 'tiny',
          quantity: '0.00000000000000000000000000005',
          price: '0.00000000000000000000000000015',
        },
        { metric: 'huge', quantity: `${'9'.repeat(30)}.${'9'.repeat(28)}`, price: `-${'9'.repeat(30)}` },
        { metric: 'long', quantity: '1e-28', price: '123456789012345678.1234567890123456789012345678' },
      ],
    });
    await bench.checkAll();
  });

  check('a sum that overflows is refused, and the sums stay as they were', async (bench) => {
    if (!bench.can.exactSums) return;
    const half = `6${'0'.repeat(29)}`;
    await bench.replace({ points: [{ price: half }] });
    for (const points of [[{ price: half }], [{ price: half }, { price: half }]]) {
      const frame = sampleFrame({ hour: 1, points });
      await assert.rejects(bench.storage.replacePeriod(frame, bench.write(), never), isDataError);
    }
    await bench.checkAll();
  });
}

function isDataError(error: unknown): boolean {
  return isRatecatError(error) && error.kind === 'data';
}

// --------------------------------------------------------------------------------------------------------- reading

function testReading(check: Check): void {
  check('a row belongs to the range when begin <= start of its period < end', async (bench) => {
    for (let index = 0; index < 3; index++)
      await bench.replace({ hour: index, points: [{ price: `${10 ** index}` }] });
    for (const begin of [hour(0) - 1, hour(0), hour(0) + 1, hour(1)])
      for (const end of [hour(1), hour(1) + 1, hour(2), hour(3), hour(1) - 1]) {
        await bench.checkRead({ begin, end });
        await bench.checkTotal({ begin, end });
        await bench.checkScopes({ begin, end });
      }
  });

  check('frames come in order of begin, source and scope', async (bench) => {
    for (const index of [2, 0, 1]) {
      for (const scope of ['gamma', 'alpha', 'beta'])
        for (const source of ['openstack', 'api']) await bench.replace({ hour: index, scope, source });
    }
    await bench.checkRead();
  });

  check('pages put together give everything, however large they are', async (bench) => {
    await storeSeveralDays(bench);
    const whole = (await bench.read())
      .flatMap((frame) => frame.points.length)
      .reduce((sum, points) => sum + points, 0);
    for (const limit of [1, 7, 64, whole, whole * 10]) {
      for (let offset = 0; offset <= whole; offset += Math.max(limit, Math.ceil(whole / 6)))
        await bench.checkRead({ offset, limit });
    }
    await bench.checkRead({ offset: whole + 1, limit: 10 });
    await bench.checkRead({ limit: 0 });
    await bench.checkRead({ metrics: ['volume'], offset: 3, limit: 5 });
    await bench.checkRead({
      filters: [{ name: 'id', values: ['r-1', 'r-2'], in: 'any' }],
      offset: 5,
      limit: 9,
    });
  });

  check('no page is cut at some built-in limit', async (bench) => {
    const many = Array.from({ length: 6_100 }, (_, index) => ({ groupby: { id: `server-${index}` } }));
    await bench.replace({ points: many });
    await bench.replace({ hour: 1, points: many.slice(0, 50) });
    await bench.checkRead();
    await bench.checkRead({ offset: 6_090, limit: 20 });
    await bench.checkTotal({ groupby: [attribute('id')] });
    await bench.checkTotal({ groupby: [attribute('id')], offset: 6_000, limit: 1_000 });
    const values = many.slice(0, 3_000).map(({ groupby }) => groupby.id);
    await bench.checkTotal({ filters: [{ name: 'id', values, in: 'groupby' }] });
    await bench.checkRead({ filters: [{ name: 'id', values, in: 'groupby' }], offset: 2_990, limit: 30 });
  });

  check('filters by metric and attribute agree with the model', async (bench) => {
    await storeSeveralDays(bench);
    for (const query of FILTERED) {
      const usesMetadata = query.filters?.some((filter) => filter.in !== 'groupby') ?? false;
      if (usesMetadata && !bench.can.metadataFilters) continue;
      await bench.checkRead(query);
      await bench.checkTotal({ ...query, groupby: [TYPE, SCOPE] });
      await bench.checkTotal({ ...query, begin: hour(5), end: hour(60), groupby: [attribute('id')] });
      await bench.checkScopes(query);
    }
  });

  check('the group of rows without an attribute is found by the filter for empty text', async (bench) => {
    await bench.replace({ points: [{ groupby: { id: '' } }, { groupby: { id: 'a' } }, { groupby: {} }] });
    await bench.checkTotal({ groupby: [attribute('id')] });
    await bench.checkRead({ filters: [{ name: 'id', values: [''], in: 'groupby' }] });
    await bench.checkRead({ filters: [{ name: 'id', values: ['', 'a'], in: 'groupby' }] });
  });

  check('attributes that are no text are grouped and filtered by their JSON', async (bench) => {
    const decimal = (text: string): Decimal => samplePoint({ quantity: text }).quantity;
    const values = [
      decimal('1'),
      decimal('1.0'),
      decimal('5e3'),
      '1',
      true,
      'true',
      null,
      ['a', 'b'],
      { b: '1', a: true },
    ];
    await bench.replace({ points: values.map((value) => ({ groupby: { id: value } })) });
    await bench.checkAll();
    for (const text of ['1', '1.0', '5000', '5e3', 'true', 'null', '["a","b"]', '{"a":true,"b":"1"}'])
      await bench.checkRead({ filters: [{ name: 'id', values: [text], in: 'groupby' }] });
  });

  check('hostile text arrives unchanged and is compared as it is', async (bench) => {
    const texts = [...HOSTILE_TEXTS, 'x'.repeat(500), 'case', 'CASE', 'Case', 'blank', 'blank ', ' blank'];
    const points = texts.map((text) => ({
      groupby: { id: text, [text]: 'name' },
      metadata: { [`m${text}`]: text },
    }));
    await bench.replace({ points });
    await bench.checkRead();
    await bench.checkTotal({ groupby: [attribute('id')] });
    for (const text of [
      'case',
      'blank',
      'blank ',
      "'; DROP TABLE ratecat_scopes; --",
      '%',
      '_',
      '__proto__',
      '\\',
    ])
      await bench.checkRead({ filters: [{ name: 'id', values: [text], in: 'groupby' }] });
    await bench.checkTotal({ groupby: [attribute('__proto__'), attribute('constructor')] });
  });

  check('hostile names of scopes, metrics and units are only names', async (bench) => {
    const names = [
      'a',
      'A',
      'a ',
      ' a',
      "'; DROP TABLE x; --",
      '%',
      '__proto__',
      '🐈',
      'é',
      'e\u0301',
      '"',
      '\\',
      'x'.repeat(256),
    ];
    for (const name of names) {
      const points = [{ metric: name, unit: name, description: name }];
      await bench.replace({ scope: name, points, gaps: [{ metric: name, reason: name }] });
    }
    await bench.checkRead();
    await bench.checkTotal({ groupby: [SCOPE, TYPE] });
    await bench.checkScopes();
    for (const name of names) {
      await bench.checkRead({ visible: [{ key: 'project_id', id: name }] });
      await bench.checkRead({ metrics: [name] });
      await bench.checkTotal({ metrics: [name], groupby: [SCOPE] });
    }
  });

  check('an aborted signal ends every call with its reason', async (bench) => {
    await storeSeveralDays(bench);
    const reason = new Error('the caller went away');
    const aborted = AbortSignal.abort(reason);
    const isReason = (error: unknown) => error === reason;
    const { storage } = bench;
    const frame = sampleFrame({ points: [{ price: '1000' }] });
    await assert.rejects(storage.replacePeriod(frame, bench.write(), aborted), isReason);
    await assert.rejects(storage.deletePeriods(EVERYTHING, {}, aborted), isReason);
    await assert.rejects(storage.total({ ...EVERYTHING, groupby: [] }, aborted), isReason);
    await assert.rejects(storage.countPoints(EVERYTHING, aborted), isReason);
    await assert.rejects(storage.scopesWithData(EVERYTHING, aborted), isReason);
    await assert.rejects(async () => {
      for await (const _ of storage.readPeriods(EVERYTHING, aborted)) assert.fail('a frame was given');
    }, isReason);
    await bench.checkAll();
  });

  check('a reader that stops early leaves the storage in order', async (bench) => {
    await storeSeveralDays(bench);
    for await (const frame of bench.storage.readPeriods(EVERYTHING, never)) {
      assert.ok(frame.points.length > 0);
      break;
    }
    await bench.replace({ points: [] });
    await bench.checkAll();
  });
}

const FILTERED: readonly Partial<PointQuery>[] = [
  { metrics: ['volume'] },
  { metrics: ['volume', 'instance', 'absent'] },
  { metrics: [] },
  { filters: [{ name: 'id', values: ['r-1'], in: 'groupby' }] },
  { filters: [{ name: 'id', values: ['r-1', 'r-3', 'nobody'], in: 'any' }] },
  { filters: [{ name: 'id', values: [], in: 'groupby' }] },
  { filters: [{ name: 'flavor', values: ['f-0'], in: 'metadata' }] },
  { filters: [{ name: 'flavor', values: ['f-0'], in: 'groupby' }] },
  { filters: [{ name: 'flavor', values: ['f-1'], in: 'any' }] },
  {
    metrics: ['instance'],
    filters: [
      { name: 'id', values: ['r-1', 'r-2'], in: 'groupby' },
      { name: 'flavor', values: ['f-0', 'f-1'], in: 'any' },
    ],
  },
  { filters: [{ name: 'r-1', values: ['id'], in: 'any' }] },
];

/** 65 hours from the last evening of a month on, two scopes, two metrics, four resources. */
async function storeSeveralDays(bench: Bench): Promise<void> {
  for (let index = 0; index < 65; index += 5) {
    for (const scope of ['alpha', 'beta']) {
      const points = [0, 1, 2, 3].flatMap((resource) =>
        ['instance', 'volume'].map((metric) => ({
          metric,
          groupby: { id: `r-${resource}` },
          metadata: { flavor: `f-${resource % 2}` },
          quantity: `${index}.${resource}`,
          price: `0.00${index + resource}7`,
        })),
      );
      await bench.replace({ hour: 31 * DAY - 20 + index, scope, points });
    }
  }
}

// ---------------------------------------------------------------------------------------------------------- totals

function testTotals(check: Check): void {
  check('totals by every kind of group agree with the model', async (bench) => {
    await storeSeveralDays(bench);
    await bench.replace({ hour: 31 * DAY, source: 'api', scope: 'beta', points: [{ metric: 'pushed' }] });
    await bench.checkAll();
    const ranges = [
      [hour(31 * DAY - 20), hour(31 * DAY + 45)],
      [hour(31 * DAY - 7), hour(31 * DAY + 26)],
      [hour(31 * DAY - 7), hour(31 * DAY - 5)],
      [hour(31 * DAY), hour(32 * DAY)],
      [hour(31 * DAY), hour(59 * DAY)],
      [hour(0), hour(31 * DAY)],
      [hour(30 * DAY + 12), hour(59 * DAY)],
      [hour(31 * DAY), hour(31 * DAY)],
    ] as const;
    for (const [begin, end] of ranges)
      for (const groupby of bench.groupings()) await bench.checkTotal({ begin, end, groupby });
  });

  check('rows of totals are sorted by group before they are paged', async (bench) => {
    await storeSeveralDays(bench);
    const groupby = [attribute('id'), TYPE, SCOPE];
    for (let offset = 0; offset < 18; offset += 4) await bench.checkTotal({ groupby, offset, limit: 4 });
    await bench.checkTotal({ groupby, offset: 3 });
    await bench.checkTotal({ groupby, limit: 0 });
    await bench.checkTotal({ groupby, offset: 100, limit: 4 });
  });

  check('the sum of the rows is the total, to the last digit', async (bench) => {
    if (!bench.can.exactSums) return;
    const random = new SampleRandom(20_260_101);
    for (let index = 0; index < 40; index++) {
      const points = [1, 2, 3].map(() => ({ quantity: random.decimal(), price: random.decimal() }));
      await bench.replace({ hour: index * 20, points });
    }
    await bench.checkTotal();
    await bench.checkTotal({ begin: hour(3), end: hour(777) });
    for (const groupby of bench.groupings()) await bench.checkTotal({ groupby });
  });

  check('groups whose texts run together stay apart', async (bench) => {
    const pairs = [
      ['a', 'bc'],
      ['ab', 'c'],
      ['a,b', 'c'],
      ['a', 'b,c'],
      ['', 'abc'],
      ['abc', ''],
      ['a"', 'b'],
      ['a', '"b'],
    ];
    await bench.replace({ points: pairs.map(([id, flavor]) => ({ groupby: { id: id!, flavor: flavor! } })) });
    await bench.checkTotal({ groupby: [attribute('id'), attribute('flavor')] });
  });

  check('nothing stored gives no rows', async (bench) => {
    for (const groupby of bench.groupings())
      assert.deepEqual(await bench.total({ groupby }), { total: 0, rows: [] });
    assert.deepEqual(await bench.read(), []);
    assert.equal(await bench.storage.countPoints(EVERYTHING, never), 0);
    assert.deepEqual(await bench.storage.scopesWithData(EVERYTHING, never), []);
  });
}

// -------------------------------------------------------------------------------------------------------- deleting

function testDeleting(check: Check): void {
  check('deletePeriods removes whole periods of the range at once', async (bench) => {
    await storeSeveralDays(bench);
    await bench.delete({ begin: hour(31 * DAY - 6), end: hour(31 * DAY + 13) });
    await bench.checkAll();
    await bench.delete({ begin: hour(31 * DAY - 6), end: hour(31 * DAY + 13) });
    await bench.checkAll();
    await bench.delete({ begin: hour(32 * DAY), end: hour(40 * DAY) });
    await bench.checkAll();
    await bench.delete({});
    await bench.checkAll();
  });

  check('a deleted period can be stored again', async (bench) => {
    await storeSeveralDays(bench);
    await bench.delete({});
    await storeSeveralDays(bench);
    await bench.checkAll();
  });

  check('deletePeriods honours the visible scopes', async (bench) => {
    if (!bench.can.filteredDelete) return;
    await storeSeveralDays(bench);
    await bench.replace({ hour: 31 * DAY, source: 'api', scope: 'alpha', points: [{ metric: 'pushed' }] });
    await bench.delete({ visible: [] });
    await bench.delete({ visible: [{ key: 'domain_id', id: 'alpha' }] });
    await bench.checkAll();
    await bench.delete({ visible: [{ source: 'openstack', key: 'project_id', id: 'alpha' }] });
    await bench.checkAll();
    await bench.delete({ visible: [{ key: 'project_id', id: 'alpha' }] });
    await bench.checkAll();
  });

  check('deletePeriods by metric and attribute removes just the matching points', async (bench) => {
    if (!bench.can.filteredDelete) return;
    await storeSeveralDays(bench);
    await bench.delete({ metrics: ['volume'], begin: hour(31 * DAY - 12), end: hour(31 * DAY + 30) });
    await bench.checkAll();
    await bench.delete({ filters: [{ name: 'id', values: ['r-2'], in: 'groupby' }] });
    await bench.checkAll();
    await bench.delete({ metrics: ['absent'] });
    await bench.delete({ metrics: [] });
    await bench.checkAll();
    // What was thinned out can be replaced like any other period.
    await bench.replace({ hour: 31 * DAY, points: [{ groupby: { id: 'r-2' } }] });
    await storeSeveralDays(bench);
    await bench.checkAll();
  });

  check('sweep comes to an end and changes nothing that can be read', async (bench) => {
    if (bench.storage.sweep === undefined) return;
    await storeSeveralDays(bench);
    await bench.delete({ begin: hour(31 * DAY - 6), end: hour(31 * DAY + 13) });
    await storeSeveralDays(bench);
    await bench.delete({ begin: 0, end: hour(31 * DAY) });
    for (let calls = 0; (await bench.storage.sweep(never)) > 0; calls++) {
      assert.ok(calls < 10_000, 'sweep never says that there is no more');
      await bench.checkRead();
    }
    await bench.checkAll();
    await storeSeveralDays(bench);
    await bench.checkAll();
  });
}

// ------------------------------------------------------------------------------------------------------- isolation

function testIsolation(check: Check): void {
  check('nothing of a scope that is not visible is ever given', async (bench) => {
    const MARKER = 'secret-of-beta';
    await storeSeveralDays(bench);
    const points = [{ metric: MARKER, unit: MARKER, groupby: { id: MARKER }, metadata: { flavor: MARKER } }];
    for (const hidden of [
      { scope: 'beta' },
      { scope: 'alpha', scopeKey: 'domain_id' },
      { scope: 'Alpha' },
      { scope: 'alpha ' },
    ])
      await bench.replace({ ...hidden, hour: 31 * DAY, source: 'openstack', points });
    await bench.replace({ source: MARKER, hour: 31 * DAY, points });
    const visible = [{ source: 'openstack', key: 'project_id', id: 'alpha' }];
    const queries: readonly Partial<PointQuery>[] = [
      {},
      { metrics: [MARKER, 'instance'] },
      { filters: [{ name: 'id', values: [MARKER, 'r-1'], in: 'any' }] },
      { filters: [{ name: 'flavor', values: [MARKER], in: 'any' }] },
    ];
    for (const query of queries) {
      const answers = [
        (await bench.read({ ...query, visible })).map(plainFrame),
        await bench.storage.scopesWithData({ ...EVERYTHING, ...query, visible }, never),
      ];
      for (const groupby of bench.groupings())
        answers.push((await bench.total({ ...query, visible, groupby })).rows.map(plainTotal));
      assert.ok(!JSON.stringify(answers).includes(MARKER), describe(query));
      await bench.checkRead({ ...query, visible });
      for (const groupby of bench.groupings()) await bench.checkTotal({ ...query, visible, groupby });
      await bench.checkScopes({ ...query, visible });
    }
  });

  check('a selector without a source sees the scope in every source', async (bench) => {
    await storeSeveralDays(bench);
    await bench.replace({ hour: 31 * DAY, source: 'api', scope: 'alpha', points: [{ metric: 'pushed' }] });
    for (const visible of [
      [{ key: 'project_id', id: 'alpha' }],
      [
        { key: 'project_id', id: 'alpha' },
        { source: 'openstack', key: 'project_id', id: 'beta' },
      ],
      [
        { source: 'api', key: 'project_id', id: 'alpha' },
        { key: 'project_id', id: 'nobody' },
      ],
    ]) {
      await bench.checkRead({ visible });
      await bench.checkScopes({ visible });
      for (const groupby of bench.groupings()) await bench.checkTotal({ visible, groupby });
    }
  });

  check('an empty list of visible scopes shows nothing', async (bench) => {
    await storeSeveralDays(bench);
    const visible: PointQuery['visible'] = [];
    assert.deepEqual(await bench.read({ visible }), []);
    assert.deepEqual(await bench.total({ visible, groupby: [SCOPE] }), { total: 0, rows: [] });
    assert.equal(await bench.storage.countPoints({ ...EVERYTHING, visible }, never), 0);
    assert.deepEqual(await bench.storage.scopesWithData({ ...EVERYTHING, visible }, never), []);
  });

  check('a visible list of many scopes is honoured', async (bench) => {
    await storeSeveralDays(bench);
    const nobodies = Array.from({ length: 2_500 }, (_, index) => ({
      key: 'project_id',
      id: `nobody-${index}`,
    }));
    await bench.checkRead({ visible: [...nobodies, { key: 'project_id', id: 'beta' }] });
    await bench.checkTotal({ visible: [...nobodies, { key: 'project_id', id: 'beta' }], groupby: [SCOPE] });
  });
}

// ---------------------------------------------------------------------------------------------------- transactions

function testTransactions(check: Check): void {
  const joined = (name: string, body: (bench: Bench, database: SqlDatabase) => Promise<void>) =>
    check(name, async (bench) => {
      if (!bench.can.joinsCoreTransaction) return;
      assert.ok(bench.database, 'a storage that joins transactions is opened with its database');
      await body(bench, bench.database);
    });
  const undone = new Error('undone on purpose');

  joined('what is written in a transaction that is rolled back was never there', async (bench, database) => {
    await bench.replace({ points: [{ groupby: { id: 'known' } }] });
    // The same objects are stored again after the roll-back: nothing may be remembered of their first time.
    const frame = sampleFrame({
      hour: 1,
      points: ['known', 'new', 'newer'].map((id) => ({ groupby: { id } })),
    });
    const elsewhere = sampleFrame({
      hour: 1,
      scope: 'beta',
      points: ['other', 'new'].map((id) => ({ groupby: { id } })),
    });
    for (let attempt = 0; attempt < 2; attempt++) {
      await assert.rejects(
        database.transaction(async (tx) => {
          await bench.storage.replacePeriod(frame, { ...bench.write(), tx }, never);
          await bench.storage.replacePeriod(frame, { ...bench.write(), tx }, never);
          await bench.storage.replacePeriod(elsewhere, { ...bench.write(), tx }, never);
          await bench.storage.deletePeriods({ ...EVERYTHING, end: hour(1) }, { tx }, never);
          throw undone;
        }),
        (error) => error === undone,
      );
      await bench.checkAll();
    }
    await bench.replace(elsewhere);
    await bench.replace(frame);
    await bench.replace({ ...frame, period: { begin: hour(2), end: hour(3) } });
    await bench.checkAll();
  });

  joined(
    'several frames and a delete in one transaction become visible together',
    async (bench, database) => {
      await bench.replace({ hour: 5 });
      const frames = [0, 1].map((index) =>
        sampleFrame({ hour: index, points: [{ groupby: { id: 'a' } }, { price: '3' }] }),
      );
      await database.transaction(async (tx) => {
        for (const frame of frames)
          await bench.storage.replacePeriod(frame, { ...bench.write('s'), tx }, never);
        await bench.storage.deletePeriods({ ...EVERYTHING, begin: hour(5) }, { tx }, never);
      });
      for (const frame of frames) bench.model.replace(frame, 's');
      bench.model.delete({ ...EVERYTHING, begin: hour(5) });
      await bench.checkAll();
      for (const frame of frames) await bench.replace({ ...frame, points: frame.points.slice(1) });
      await bench.checkAll();
    },
  );
}

// ---------------------------------------------------------------------------------------------------------- random

/** Replaces, deletes, sweeps and reprocesses at random around the turn of a month, checking some answers at each step. */
async function replayRandomly(bench: Bench, random: SampleRandom, steps: number): Promise<void> {
  const first = 30 * DAY;
  const frames = () => first + random.below(2 * DAY);
  for (let step = 0; step < steps; step++) {
    const action = random.below(10);
    if (action < 7) await bench.replace(randomFrame(random, frames()), `snapshot-${random.below(3)}`);
    else if (action < 9) await randomDelete(bench, random, frames());
    else await bench.storage.sweep?.(never);
    const [begin, end] = [hour(frames()), hour(frames())].sort((a, b) => a - b) as [number, number];
    const groupby = random.pick(bench.groupings());
    await bench.checkTotal({ groupby });
    await bench.checkTotal({ begin, end, groupby });
    await bench.checkRead(
      random.below(2) === 0 ? { begin, end } : { offset: random.below(20), limit: random.below(30) },
    );
  }
  await bench.checkAll();
}

function randomFrame(random: SampleRandom, index: number): SampleFrame {
  const points = Array.from({ length: random.below(6) }, () => ({
    metric: random.pick(['instance', 'volume', 'image']),
    groupby: { id: `r-${random.below(4)}` },
    metadata: { flavor: `f-${random.below(2)}` },
    quantity: random.decimal(),
    price: random.decimal(),
  }));
  const scope = random.pick(['alpha', 'beta']);
  return { hour: index, scope, source: random.pick(['openstack', 'api']), points };
}

async function randomDelete(bench: Bench, random: SampleRandom, index: number): Promise<void> {
  const begin = SAMPLE_START + index * HOUR;
  const range = { begin, end: begin + random.below(30) * HOUR };
  if (!bench.can.filteredDelete) return bench.delete(range);
  const visible = random.pick<PointQuery['visible']>(['all', [{ key: 'project_id', id: 'alpha' }]]);
  const metrics = random.pick([undefined, ['volume'], ['instance', 'image']]);
  const filters = random.pick([
    undefined,
    undefined,
    [{ name: 'id', values: ['r-1', 'r-2'], in: 'any' as const }],
  ]);
  await bench.delete({ ...range, visible, metrics, filters });
}
