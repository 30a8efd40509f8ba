import assert from 'node:assert/strict';
import {
  type Calendar,
  type GroupKey,
  type Instant,
  isRatecatError,
  type KeptLimits,
  type MetricLimits,
  type PointQuery,
  type ScopeSelector,
  type Storage,
  type TotalQuery,
} from '../plugin-api/index.js';
import type { TestFunction } from './definition.js';
import { utcCalendar } from './fakes.js';
import {
  HOUR,
  hour,
  plainFrame,
  type SampleFrame,
  SampleRandom,
  sampleFrame,
  sampleSeed,
} from './samples.js';
import { StorageModel } from './storage-model.js';

const never = new AbortController().signal;
const EVERYTHING: PointQuery = { visible: 'all', begin: 0, end: 4_102_444_800 };
const SCOPES = ['alpha', 'beta', 'gamma'];
const METRICS = ['image', 'instance', 'volume'];
const MONTHS = 5;

interface RetentionTest {
  readonly test: TestFunction;
  readonly label: string;
  readonly calendar?: Calendar | undefined;
  open(): Promise<{ readonly storage: Storage; settle?(): Promise<void>; close(): Promise<void> }>;
}

type Retaining = Required<Pick<Storage, 'keptFrom' | 'storedMonths' | 'retain' | 'thin'>> & Storage;

/** What is asked of storages that can drop points and keep sums, and of those that can erase a scope. */
export function testRetention(suite: RetentionTest): void {
  const check = (name: string, body: (bench: RetentionBench) => Promise<void>) =>
    suite.test(`${suite.label}: ${name}`, async () => {
      const opened = await suite.open();
      try {
        await body(
          new RetentionBench(opened.storage, suite.calendar ?? utcCalendar, () => opened.settle?.()),
        );
      } finally {
        await opened.close();
      }
    });

  check('retention has all of its parts or none', async ({ storage }) => {
    const parts = [storage.keptFrom, storage.storedMonths, storage.retain, storage.thin];
    assert.equal(new Set(parts.map((part) => part === undefined)).size, 1);
  });

  const seed = sampleSeed();
  check(`after thinning every answer is what it was, or a refusal (RATECAT_SEED=${seed})`, (bench) =>
    bench.canRetain() ? thinAtRandom(bench, new SampleRandom(seed)) : Promise.resolve(),
  );

  check('before the limits nothing is written or deleted; behind them everything goes on', async (bench) => {
    if (!bench.canRetain()) return;
    const first = (bench.month(1) - hour(0)) / HOUR;
    await bench.replace({ hour: 10 });
    await bench.replace({ hour: first });
    await bench.retain('alpha', [bench.limits(1)]);
    for (let step = 0; step < 2; step++) {
      for (const at of [5, 10, first - 1])
        await assert.rejects(bench.replace({ hour: at }), refusal('RATECAT_PERIOD_THINNED', bench.month(1)));
      for (const begin of [0, hour(10), hour(first - 1)])
        await assert.rejects(bench.delete({ begin }), refusal('RATECAT_POINTS_DROPPED', bench.month(1)));
      await bench.checkSums();
      await bench.thinAll();
    }
    await bench.replace({ hour: first, points: [{ price: '7' }, { metric: 'volume' }] });
    await bench.replace({ hour: 10, scope: 'beta' });
    await bench.checkSums();
    await bench.delete({ begin: hour(first) });
    await bench.checkSums();
    await bench.replace({ hour: first + 1 });
    await bench.checkSums();
  });

  check('sums are dropped when they are not kept either, and refused from then on', async (bench) => {
    if (!bench.canRetain()) return;
    for (let day = 0; day < 30 * MONTHS; day += 9)
      for (const scope of SCOPES) await bench.replace({ hour: day * 24 + 5, scope });
    await bench.retain('alpha', [
      { ...bench.limits(3), dailySums: bench.month(2), monthlySums: bench.month(1) },
    ]);
    const alpha = { visible: [selector('alpha')] };
    for (let step = 0; step < 2; step++) {
      await bench.checkTotal({ ...alpha, begin: bench.month(1) });
      await bench.checkTotal({ begin: bench.month(1), groupby: [SCOPE, time('month')] });
      await bench.checkTotal({ ...alpha, begin: bench.month(2), groupby: [time('day'), TYPE] });
      await bench.checkTotal({ visible: [selector('beta')], groupby: [time('day'), TYPE] });
      const ask = (query: Partial<TotalQuery>) => bench.total({ ...alpha, ...query });
      await assert.rejects(ask({}), refusal('RATECAT_POINTS_DROPPED', bench.month(1)));
      await assert.rejects(
        ask({ begin: bench.month(1), groupby: [time('day')] }),
        refusal('RATECAT_POINTS_DROPPED', bench.month(2)),
      );
      await assert.rejects(
        ask({ begin: bench.month(1) + 24 * HOUR }),
        refusal('RATECAT_POINTS_DROPPED', bench.month(2)),
      );
      await assert.rejects(
        ask({ begin: bench.month(2), groupby: [time('period')] }),
        refusal('RATECAT_POINTS_DROPPED', bench.month(3)),
      );
      await bench.thinAll();
    }
  });

  check('what a thinned scope always was is still known after its descriptors are gone', async (bench) => {
    if (!bench.canRetain()) return;
    const point = (id: string) => ({ groupby: { project_id: 'alpha', id }, metadata: { flavor: id } });
    await bench.replace({ hour: 1, points: [point('old-1'), point('old-2')] });
    await bench.replace({ hour: 40 * 24, points: [point('new')] });
    await bench.retain('alpha', [bench.limits(1)]);
    await bench.thinAll();
    await bench.checkTotal({ groupby: [attribute('project_id'), TYPE] });
    await bench.checkTotal({ groupby: [attribute('absent'), time('day')] });
    // Constant among what is left, but not among what was dropped.
    for (const name of ['id', 'flavor'])
      await assert.rejects(
        bench.total({ groupby: [attribute(name)] }),
        refusal('RATECAT_POINTS_DROPPED', bench.month(1)),
      );
    await bench.checkTotal({ begin: bench.month(1), groupby: [attribute('flavor'), attribute('id')] });
    await bench.replace({ hour: 41 * 24, points: [point('old-1')] });
    await bench.checkTotal({ begin: bench.month(1), groupby: [attribute('flavor'), attribute('id')] });
  });

  check('months are told with what was rated in them, thinned or not', async (bench) => {
    if (!bench.canRetain()) return;
    for (const at of [1, 2, 40 * 24, 41 * 24])
      await bench.replace({ hour: at, points: [{}, { metric: 'volume' }] });
    const expected = ['instance', 'volume'].flatMap((metric) =>
      [0, 1].map((month) => ['alpha', metric, bench.month(month), 2]),
    );
    assert.deepEqual(await bench.months(), expected);
    await bench.retain('alpha', [{ ...bench.limits(1), metric: 'volume' }]);
    await bench.thinAll();
    assert.deepEqual(await bench.months(), expected);
  });

  check('an erased scope leaves nothing, and others everything', async (bench) => {
    const { storage } = bench;
    if (storage.erase === undefined) return;
    await bench.fill(new SampleRandom(7), 60);
    const source = 'openstack';
    for (const scope of ['alpha', 'nobody', 'alpha']) {
      const erased = { source, scope: { key: 'project_id', id: scope } };
      for (let step = 0; (await storage.erase(erased, never)) > 0; step++)
        assert.ok(step < 10_000, 'erase never says that there is no more');
      while (storage.sweep !== undefined && (await storage.sweep(never)) > 0);
    }
    bench.model.delete({ ...EVERYTHING, visible: [selector('alpha')] });
    await bench.checkSums();
    await bench.checkRead({});
    await bench.replace({ hour: 3 });
    await bench.checkSums();
    await bench.checkRead({});
  });
}

/** A storage that is thinned beside a model that keeps everything. */
class RetentionBench {
  readonly storage: Storage;
  readonly model: StorageModel;
  readonly #calendar: Calendar;
  readonly #settle: () => Promise<void> | undefined;
  readonly #kept = new Map<string, Instant>();
  #generation = 0;

  constructor(storage: Storage, calendar: Calendar, settle: () => Promise<void> | undefined) {
    this.storage = storage;
    this.model = new StorageModel(calendar);
    this.#calendar = calendar;
    this.#settle = settle;
  }

  canRetain(): this is { readonly storage: Retaining } {
    return this.storage.retain !== undefined;
  }

  /** Begin of a month, counted from that of the first sample period. */
  month(index: number): Instant {
    let { begin } = this.#calendar.slice(hour(0), 'month');
    for (let i = 0; i < index; i++) begin = this.#calendar.slice(begin, 'month').end;
    return begin;
  }

  isRagged(at: Instant): boolean {
    return this.#calendar.slice(at, 'day').begin !== at;
  }

  limits(month: number): MetricLimits {
    const none: KeptLimits = { points: 0, dailySums: 0, monthlySums: 0 };
    return { ...none, metric: undefined, points: this.month(month), since: this.month(0) };
  }

  async fill(random: SampleRandom, frames: number): Promise<void> {
    for (let index = 0; index < frames; index++) {
      const points = Array.from({ length: random.below(8) }, () => ({
        metric: random.pick(METRICS),
        groupby: { id: `r-${random.below(4)}`, project_id: 'one' },
        metadata: { flavor: random.pick(['small', 'large']) },
        quantity: random.decimal(),
        price: random.decimal(),
      }));
      await this.replace({ hour: random.below(MONTHS * 30 * 24), scope: random.pick(SCOPES), points });
    }
  }

  async replace(sample: SampleFrame): Promise<void> {
    const frame = sampleFrame(sample);
    const write = { fence: 1, generation: ++this.#generation, snapshot: 'snapshot-1' };
    await this.storage.replacePeriod(frame, write, never);
    this.model.replace(frame, 'snapshot-1');
    await this.#settle();
  }

  async delete(query: Partial<PointQuery>): Promise<void> {
    await this.storage.deletePeriods({ ...EVERYTHING, ...query }, {}, never);
    this.model.delete({ ...EVERYTHING, ...query });
    await this.#settle();
  }

  async retain(scope: string, limits: readonly MetricLimits[]): Promise<void> {
    const order = { source: 'openstack', scope: { key: 'project_id', id: scope }, limits };
    await this.storage.retain!(order, never);
    for (const { metric, points } of limits) {
      const key = JSON.stringify([scope, metric]);
      this.#kept.set(key, Math.max(points, this.#kept.get(key) ?? 0));
    }
    await this.#settle();
  }

  /** From when everything that is asked about has its points. */
  keptFrom(scopes: readonly string[], metrics: readonly string[] | undefined): Instant {
    let latest = 0;
    for (const [key, from] of this.#kept) {
      const [scope, metric] = JSON.parse(key) as [string, string | null];
      const isAsked = metric === null || metrics === undefined || metrics.includes(metric);
      if (isAsked && scopes.includes(scope)) latest = Math.max(latest, from);
    }
    return latest;
  }

  async thinAll(): Promise<void> {
    for (let step = 0; (await this.storage.thin!(never)) > 0; step++)
      assert.ok(step < 100_000, 'thin never says that there is no more');
    while (this.storage.sweep !== undefined && (await this.storage.sweep(never)) > 0);
    await this.#settle();
  }

  total(query: Partial<TotalQuery>) {
    return this.storage.total({ ...EVERYTHING, groupby: [], ...query }, never);
  }

  async checkTotal(query: Partial<TotalQuery>): Promise<void> {
    const { rows } = await this.total(query);
    const expected = this.model.total({ ...EVERYTHING, groupby: [], ...query });
    assert.deepEqual(rows.map(plainTotal), expected.rows.map(plainTotal), JSON.stringify(query));
  }

  async checkRead(query: Partial<PointQuery>): Promise<void> {
    const frames: unknown[] = [];
    for await (const frame of this.storage.readPeriods({ ...EVERYTHING, ...query }, never))
      frames.push(plainFrame(frame));
    const expected = this.model.read({ ...EVERYTHING, ...query }).map(plainFrame);
    assert.deepEqual(frames, expected, JSON.stringify(query));
  }

  /** Everything that can be asked of sums, for as long as these are kept. */
  async checkSums(query: Partial<TotalQuery> = {}): Promise<void> {
    for (const groupby of SUM_GROUPS) await this.checkTotal({ ...query, groupby });
    const asked = { ...EVERYTHING, ...query };
    assert.equal(await this.storage.countPoints(asked, never), this.model.count(asked));
    const found = await this.storage.scopesWithData(asked, never);
    const names = found.map(({ source, scope }) => `${source} ${scope.key} ${scope.id}`).sort();
    assert.deepEqual(names, this.model.scopes(asked));
  }

  async months(): Promise<readonly unknown[]> {
    const months: unknown[] = [];
    for await (const { scope, metric, month, points } of this.storage.storedMonths!(never))
      months.push([scope.id, metric, month.begin, points]);
    return months.sort((left, right) => (JSON.stringify(left) < JSON.stringify(right) ? -1 : 1));
  }
}

const TYPE: GroupKey = { kind: 'type' };
const SCOPE: GroupKey = { kind: 'scope' };
const attribute = (name: string): GroupKey => ({ kind: 'attribute', name });

function time(unit: 'period' | 'day' | 'week' | 'month' | 'year'): GroupKey {
  return { kind: 'time', unit };
}

const SUM_GROUPS: readonly (readonly GroupKey[])[] = [
  [],
  [TYPE],
  [SCOPE, TYPE],
  [time('day'), SCOPE],
  [time('week')],
  [time('month'), TYPE],
  [time('year')],
];
const FINE_GROUPS: readonly (readonly GroupKey[])[] = [
  [time('period')],
  [attribute('id')],
  [attribute('flavor'), time('day')],
];

/** Raises limits and thins by some steps, over and over; after each round every question is answered as ever, or refused. */
async function thinAtRandom(bench: RetentionBench, random: SampleRandom): Promise<void> {
  await bench.fill(random, 150);
  for (let round = 0; round < 12; round++) {
    const limits = { ...bench.limits(random.below(MONTHS)), metric: random.pick([undefined, ...METRICS]) };
    await bench.retain(random.pick(SCOPES), [limits]);
    for (let steps = random.below(20); steps > 0; steps--) await bench.storage.thin!(never);
    for (let question = 0; question < 12; question++) await ask(bench, random);
  }
  await bench.thinAll();
  await bench.checkSums();
  for (let question = 0; question < 40; question++) await ask(bench, random);
}

async function ask(bench: RetentionBench, random: SampleRandom): Promise<void> {
  const scopes = random.pick([SCOPES, [random.pick(SCOPES)]]);
  const metrics = random.pick([undefined, [random.pick(METRICS)], ['image', 'volume']]);
  const begin = random.pick([0, bench.month(random.below(MONTHS)), hour(random.below(MONTHS * 30 * 24))]);
  const end = random.pick([EVERYTHING.end, begin + random.below(90) * 24 * HOUR]);
  const filters = random.pick([undefined, undefined, [{ name: 'id', values: ['r-1'], in: 'any' as const }]]);
  const groupby = random.pick([...SUM_GROUPS, ...FINE_GROUPS]);
  const visible = scopes === SCOPES ? ('all' as const) : scopes.map(selector);
  const query = { visible, begin, end, metrics, filters, groupby };
  const kept = bench.keptFrom(scopes, metrics);
  const isRagged = [begin, end].some((at) => bench.isRagged(at) && at < kept);
  const needsPoints = FINE_GROUPS.includes(groupby) || filters !== undefined || isRagged;
  await answered(() => bench.checkTotal(query), begin >= end || !needsPoints || begin >= kept, kept);
  await answered(() => bench.checkRead(query), begin >= end || begin >= kept, kept);
}

/** What must be answered is; anything else is right or refused, never wrong. */
async function answered(question: () => Promise<void>, isDue: boolean, kept: Instant): Promise<void> {
  try {
    await question();
  } catch (error) {
    if (isDue || !isRatecatError(error)) throw error;
    assert.equal(error.code, 'RATECAT_POINTS_DROPPED');
    assert.equal(error.details.keptFrom, kept, error.message);
  }
}

function refusal(code: string, keptFrom: Instant) {
  return (error: unknown) => {
    assert.ok(isRatecatError(error), String(error));
    assert.equal(error.code, code);
    assert.equal(error.details.keptFrom, keptFrom);
    assert.ok(error.message.includes(new Date(keptFrom * 1000).toISOString().slice(0, 10)), error.message);
    return true;
  };
}

function selector(id: string): ScopeSelector {
  return { key: 'project_id', id };
}

function plainTotal({
  begin,
  end,
  quantity,
  price,
  points,
  group,
}: Awaited<ReturnType<Storage['total']>>['rows'][number]) {
  return { begin, end, quantity: quantity.toString(), price: price.toString(), points, group: [...group] };
}
