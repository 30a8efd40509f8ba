import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  Decimal,
  type Instant,
  type Period,
  type Storage,
  type TotalQuery,
} from '../../../core/plugin-api/index.js';
import type { ScopeState } from '../../../core/scopes/scope-states.js';
import { type ComparedPeriod, ShadowComparison } from '../../../core/shadow/comparison.js';
import type { Counterpart, ScopeSum } from '../../../core/shadow/counterpart.js';

const HOUR = 3600;
const START = Date.UTC(2026, 0, 31) / 1000;
const { signal } = new AbortController();

interface Row {
  readonly scopeId: string;
  readonly begin: Instant;
  readonly metric?: string;
  readonly quantity: string;
  readonly price: string;
  readonly points?: number;
}

/** Two programs that have rated; `theirs` and `own` are rows, the maps how far. */
class World {
  readonly theirs: Row[] = [];
  readonly own: Row[] = [];
  readonly theirFrontiers = new Map<string, Instant>();
  readonly ownFrontiers = new Map<string, Instant>();
  readonly asked: TotalQuery[] = [];
  share = '0';
  quantityStep = '0';

  comparison(since: Instant): ShadowComparison {
    const world = this;
    const counterpart: Counterpart = {
      get precision() {
        return { quantity: Decimal.parse(world.quantityStep), share: Decimal.parse(world.share) };
      },
      frontiers: async () => new Map(this.theirFrontiers),
      sums: async (period) => within(this.theirs, period).map(sumOf),
      close: async () => undefined,
    };
    const storage = {
      total: async (query: TotalQuery) => {
        this.asked.push(query);
        const ids = query.visible === 'all' ? [] : query.visible.map(({ id }) => id);
        const rows = within(this.own, query)
          .filter(({ scopeId }) => ids.includes(scopeId))
          .map((row) => ({
            ...sumOf(row),
            points: row.points ?? 1,
            group: [row.scopeId, row.metric ?? 'cpu'],
          }));
        return { total: rows.length, rows };
      },
    } as unknown as Storage;
    const states = {
      list: async () =>
        [...this.ownFrontiers].map(
          ([id, watermark]) =>
            ({ source: 'main', scope: { key: 'project_id', id }, watermark }) as ScopeState,
        ),
    };
    const place = { source: 'main', scopeKey: 'project_id', periodSeconds: HOUR };
    return new ShadowComparison({ ...place, counterpart, storage, states }, since);
  }
}

function within(rows: readonly Row[], { begin, end }: Period): readonly Row[] {
  return rows.filter((row) => begin <= row.begin && row.begin < end);
}

function sumOf({ scopeId, metric = 'cpu', quantity, price }: Row): ScopeSum {
  return { scopeId, metric, quantity: Decimal.parse(quantity), price: Decimal.parse(price) };
}

async function roundOf(comparison: ShadowComparison): Promise<readonly ComparedPeriod[]> {
  const periods: ComparedPeriod[] = [];
  for await (const compared of comparison.round(signal)) periods.push(compared);
  return periods;
}

function verdicts(periods: readonly ComparedPeriod[]): readonly string[] {
  return periods.flatMap(({ period, sums }) =>
    sums.map(
      ({ scopeId, metric, verdict }) => `${(period.begin - START) / HOUR} ${scopeId} ${metric} ${verdict}`,
    ),
  );
}

/** One scope, one period; gives the verdict. */
async function verdictOf(
  theirs: Partial<Row>,
  own: Partial<Row>,
  precision: { readonly share?: string; readonly quantityStep?: string } = {},
): Promise<readonly string[]> {
  const world = Object.assign(new World(), precision);
  const row = { scopeId: 'a', begin: START, quantity: '1', price: '1' };
  world.theirs.push({ ...row, ...theirs });
  world.own.push({ ...row, ...own });
  world.theirFrontiers.set('a', START + HOUR);
  world.ownFrontiers.set('a', START + HOUR);
  const periods = await roundOf(world.comparison(START));
  return periods.flatMap(({ sums }) => sums.map(({ verdict }) => verdict));
}

describe('what is compared', () => {
  it('is each period of a scope that both have rated, once, as soon as both have', async () => {
    const world = new World();
    for (const hour of [0, 1, 2, 3])
      for (const rows of [world.theirs, world.own])
        rows.push({ scopeId: 'a', begin: START + hour * HOUR, quantity: '1', price: String(hour) });
    world.theirFrontiers.set('a', START + 2 * HOUR);
    world.ownFrontiers.set('a', START + 4 * HOUR);
    const comparison = world.comparison(START);
    assert.deepEqual(verdicts(await roundOf(comparison)), ['0 a cpu equal', '1 a cpu equal']);
    assert.deepEqual(verdicts(await roundOf(comparison)), []);
    world.theirFrontiers.set('a', START + 3 * HOUR);
    assert.deepEqual(verdicts(await roundOf(comparison)), ['2 a cpu equal']);
  });

  it('is compared again when the round broke off before the period was told', async () => {
    const world = new World();
    world.theirs.push({ scopeId: 'a', begin: START, quantity: '1', price: '1' });
    world.own.push({ scopeId: 'a', begin: START, quantity: '1', price: '1' });
    world.theirFrontiers.set('a', START + HOUR);
    world.ownFrontiers.set('a', START + HOUR);
    const comparison = world.comparison(START);
    for await (const _ of comparison.round(signal)) break;
    assert.deepEqual(verdicts(await roundOf(comparison)), ['0 a cpu equal']);
    assert.deepEqual(verdicts(await roundOf(comparison)), []);
  });

  it('begins with the first whole period after the given instant, where the watermark puts periods', async () => {
    const world = new World();
    const shift = 900;
    for (const hour of [0, 1, 2])
      world.own.push({ scopeId: 'a', begin: START + shift + hour * HOUR, quantity: '1', price: '1' });
    world.theirFrontiers.set('a', START + shift + 3 * HOUR);
    world.ownFrontiers.set('a', START + shift + 3 * HOUR);
    const periods = await roundOf(world.comparison(START + shift + 1));
    assert.deepEqual(
      periods.map(({ period }) => period.begin - START),
      [shift + HOUR, shift + 2 * HOUR],
    );
  });

  it('leaves scopes out that only one side has, and names them', async () => {
    const world = new World();
    for (const [rows, frontiers, other] of [
      [world.theirs, world.theirFrontiers, 'old'],
      [world.own, world.ownFrontiers, 'new'],
    ] as const)
      for (const scopeId of ['both', other]) {
        rows.push({ scopeId, begin: START, quantity: '1', price: '1' });
        frontiers.set(scopeId, START + HOUR);
      }
    const comparison = world.comparison(START);
    assert.deepEqual(verdicts(await roundOf(comparison)), ['0 both cpu equal']);
    assert.deepEqual(comparison.strangers, { onlyCloudkitty: ['old'], onlyRatecat: ['new'] });
  });

  it('asks for a bounded number of scopes at a time, and for those of the pipeline only', async () => {
    const world = new World();
    for (let index = 0; index < 1201; index++) {
      const id = `scope-${index}`;
      world.theirFrontiers.set(id, START + HOUR);
      world.ownFrontiers.set(id, START + HOUR);
      world.own.push({ scopeId: id, begin: START, quantity: '1', price: '1' });
      world.theirs.push({ scopeId: id, begin: START, quantity: '1', price: '1' });
    }
    const [compared] = await roundOf(world.comparison(START));
    assert.equal(compared?.sums.length, 1201);
    assert.ok(compared.sums.every(({ verdict }) => verdict === 'equal'));
    assert.deepEqual(
      world.asked.map(({ visible }) => visible.length),
      [500, 500, 201],
    );
    assert.ok(
      world.asked.every(
        ({ visible }) => visible !== 'all' && visible.every(({ source }) => source === 'main'),
      ),
    );
  });
});

describe('the verdict', () => {
  it('tells the last digit', async () => {
    assert.deepEqual(await verdictOf({ price: '0.10' }, { price: '0.1' }), ['equal']);
    assert.deepEqual(await verdictOf({ price: '0.1' }, { price: '0.1000000000000000000000000001' }), [
      'different',
    ]);
    assert.deepEqual(await verdictOf({ quantity: '2' }, { quantity: '3' }), ['different']);
  });

  it('takes nothing on one side for zero', async () => {
    assert.deepEqual(await verdictOf({ metric: 'disk', quantity: '0', price: '0' }, {}), [
      'different',
      'equal',
    ]);
    assert.deepEqual(await verdictOf({ metric: 'disk' }, {}), ['different', 'different']);
  });

  it('knows how far floats may be off, and no further', async () => {
    const share = '1e-6';
    assert.deepEqual(await verdictOf({ price: '1.000001' }, { price: '1' }, { share }), ['rounding']);
    assert.deepEqual(await verdictOf({ price: '1.0000011' }, { price: '1' }, { share }), ['different']);
    assert.deepEqual(await verdictOf({ price: '-1.0000011' }, { price: '-1' }, { share }), ['different']);
    assert.deepEqual(await verdictOf({ price: '1' }, { price: '-1' }, { share }), ['different']);
  });

  it('allows one step of rounding for each point of the quantity, and none of the price', async () => {
    const quantityStep = '0.00001';
    const near = { quantity: '1.00003' };
    assert.deepEqual(await verdictOf(near, { points: 3 }, { quantityStep }), ['rounding']);
    assert.deepEqual(await verdictOf(near, { points: 2 }, { quantityStep }), ['different']);
    assert.deepEqual(await verdictOf({ price: '1.00001' }, { points: 9 }, { quantityStep }), ['different']);
  });
});
