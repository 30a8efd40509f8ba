import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { BudgetConfig } from '../../../core/config/config.js';
import type { ClosableDatabase } from '../../../core/database/open-database.js';
import { Budgets, matches } from '../../../core/notifications/budgets.js';
import { Outbox } from '../../../core/notifications/outbox.js';
import { Decimal, type Storage, type TotalQuery } from '../../../core/plugin-api/index.js';
import { RecordingLogger, utcCalendar } from '../../../core/testkit/fakes.js';
import { newDatabase } from './world.js';

const signal = new AbortController().signal;
const HOUR = 3600;
const MAY = Date.UTC(2026, 4, 1) / 1000;
const JUNE = Date.UTC(2026, 5, 1) / 1000;

function budget(change: Partial<BudgetConfig> = {}): BudgetConfig {
  return {
    name: 'team',
    scope: '*',
    scopeKey: undefined,
    amount: Decimal.parse('100'),
    period: 'month',
    thresholds: ['50', '80', '100'].map(Decimal.parse),
    forecast: false,
    ...change,
  };
}

/** A storage in which every hour costs what the test says. */
class Spending {
  readonly hours = new Map<number, Decimal>();
  readonly queries: TotalQuery[] = [];
  fails = false;

  readonly storage = {
    total: async (query: TotalQuery) => {
      if (this.fails) throw new Error('the storage is away');
      this.queries.push(query);
      const prices = [...this.hours].filter(([begin]) => begin >= query.begin && begin < query.end);
      const price = prices.reduce((sum, [, cost]) => sum.plus(cost), Decimal.ZERO);
      const row = { begin: query.begin, end: query.end, price, quantity: Decimal.ZERO, points: 1, group: [] };
      return { total: prices.length === 0 ? 0 : 1, rows: prices.length === 0 ? [] : [row] };
    },
  } as unknown as Storage;
}

class BudgetWorld {
  readonly spending = new Spending();
  readonly logger = new RecordingLogger();
  readonly database: ClosableDatabase;
  readonly budgets: readonly BudgetConfig[];
  now = JUNE;
  current: Budgets;

  constructor(database: ClosableDatabase, budgets: readonly BudgetConfig[]) {
    this.database = database;
    this.budgets = budgets;
    this.current = this.#start();
  }

  static async create(...budgets: readonly BudgetConfig[]): Promise<BudgetWorld> {
    return new BudgetWorld(await newDatabase(), budgets);
  }

  /** As after the end of the process. */
  restart(): void {
    this.current = this.#start();
  }

  async commit(begin: number, price: string, scope = 'a', source = 'default'): Promise<void> {
    this.spending.hours.set(begin, Decimal.parse(price));
    const period = { begin, end: begin + HOUR };
    await this.current.afterCommit({ source, scope: { key: 'project_id', id: scope }, period }, signal);
  }

  /** `budget kind threshold spent begin` of every event, in order. */
  async alerts(): Promise<readonly string[]> {
    const rows = await this.database.query('SELECT content FROM ratecat_outbox ORDER BY id');
    return rows.map(([content]) => {
      const { payload } = JSON.parse(String(content)) as { readonly payload: Record<string, string> };
      const { budget: name, kind, threshold_percent: threshold, spent, begin } = payload;
      return [name, kind, threshold ?? payload.projected, spent, begin!.slice(0, 10)].join(' ');
    });
  }

  #start(): Budgets {
    return new Budgets({
      budgets: this.budgets,
      storage: this.spending.storage,
      database: this.database,
      outbox: new Outbox([{ notifier: 'bus', types: new Set(['rating.budget.reached']) }], { now: () => 0 }),
      calendar: utcCalendar,
      clock: { now: () => this.now * 1000 },
      logger: this.logger,
    });
  }
}

it('each threshold is told once, when the exact sum reaches it', async () => {
  const world = await BudgetWorld.create(budget());
  await world.commit(MAY, '49.9999999999999999999999999999');
  assert.deepEqual(await world.alerts(), []);
  await world.commit(MAY + HOUR, '0.0000000000000000000000000001');
  assert.deepEqual(await world.alerts(), ['team threshold 50 50 2026-05-01']);
  await world.commit(MAY + 2 * HOUR, '29');
  await world.commit(MAY + 3 * HOUR, '30');
  await world.commit(MAY + 4 * HOUR, '30');
  assert.deepEqual((await world.alerts()).slice(1), [
    'team threshold 80 109 2026-05-01',
    'team threshold 100 109 2026-05-01',
  ]);
});

it('a restart, a second processor and a period that is rated again repeat nothing', async () => {
  const world = await BudgetWorld.create(budget());
  await world.commit(MAY, '60');
  world.restart();
  await world.commit(MAY + HOUR, '1');
  await world.commit(MAY, '10');
  await world.commit(MAY, '60');
  await world.commit(MAY + HOUR, '1', 'a', 'other pipeline');
  assert.deepEqual(await world.alerts(), ['team threshold 50 60 2026-05-01']);
});

it('two processors that judge at the same time tell it once', async () => {
  const world = await BudgetWorld.create(budget());
  const first = world.current;
  world.restart();
  world.spending.hours.set(MAY, Decimal.parse('60'));
  const committed = {
    source: 'default',
    scope: { key: 'project_id', id: 'a' },
    period: { begin: MAY, end: MAY + HOUR },
  };
  await Promise.all([first.afterCommit(committed, signal), world.current.afterCommit(committed, signal)]);
  assert.equal((await world.alerts()).length, 1);
  const said = world.logger.lines.filter(({ message }) => message === 'a budget is reached');
  assert.equal(said.length, 1);
});

it('every month, scope and budget counts for itself', async () => {
  const world = await BudgetWorld.create(
    budget({ thresholds: [Decimal.parse('100')] }),
    budget({ name: 'daily', period: 'day', amount: Decimal.parse('10'), thresholds: [Decimal.parse('100')] }),
    budget({ name: 'of b', scope: 'b', thresholds: [Decimal.parse('1')] }),
  );
  await world.commit(JUNE - HOUR, '100');
  await world.commit(JUNE, '9');
  await world.commit(JUNE + HOUR, '91');
  assert.deepEqual(await world.alerts(), [
    'team threshold 100 100 2026-05-01',
    'daily threshold 100 100 2026-05-31',
    'team threshold 100 100 2026-06-01',
    'daily threshold 100 100 2026-06-01',
  ]);
  world.spending.hours.clear();
  await world.commit(JUNE, '1', 'b');
  assert.deepEqual((await world.alerts()).slice(4), ['of b threshold 1 1 2026-06-01']);
});

it('an amount that is changed begins anew', async () => {
  const world = await BudgetWorld.create(budget({ thresholds: [Decimal.parse('50')] }));
  await world.commit(MAY, '60');
  const raised = new BudgetWorld(world.database, [
    budget({ amount: Decimal.parse('110.00'), thresholds: [Decimal.parse('50')] }),
  ]);
  raised.spending.hours.set(MAY, Decimal.parse('60'));
  await raised.commit(MAY + HOUR, '0');
  await raised.commit(MAY + 2 * HOUR, '0');
  assert.equal((await world.alerts()).length, 2);
});

it('the last period of a month is judged although the process ended right after it', async () => {
  const world = await BudgetWorld.create(budget({ thresholds: [Decimal.parse('100')] }));
  await world.commit(JUNE - 2 * HOUR, '99');
  // Committed, but the process is killed before it is judged.
  world.spending.hours.set(JUNE - HOUR, Decimal.parse('1'));
  world.restart();
  await world.commit(JUNE, '0');
  assert.deepEqual(await world.alerts(), ['team threshold 100 100 2026-05-01']);
});

it('a judgement that failed is made up for, also when the next month has begun', async () => {
  const world = await BudgetWorld.create(budget({ thresholds: [Decimal.parse('100')] }));
  await world.commit(JUNE - 2 * HOUR, '1');
  world.spending.fails = true;
  await world.commit(JUNE - HOUR, '99');
  await world.commit(JUNE, '100');
  assert.deepEqual(await world.alerts(), []);
  assert.ok(world.logger.lines.some(({ message }) => message === 'a budget could not be judged yet'));
  world.spending.fails = false;
  await world.commit(JUNE + HOUR, '0');
  assert.deepEqual(await world.alerts(), [
    'team threshold 100 100 2026-05-01',
    'team threshold 100 100 2026-06-01',
  ]);
});

it('a forecast is told once, after a tenth of the month, while the amount is not reached', async () => {
  const world = await BudgetWorld.create(
    budget({ thresholds: [], forecast: true, amount: Decimal.parse('744') }),
  );
  // 31 days have 744 hours: one per hour is exactly the amount, a little more is too much.
  for (let hour = 0; hour < 74; hour++) world.spending.hours.set(MAY + hour * HOUR, Decimal.ONE);
  await world.commit(MAY + 73 * HOUR, '5');
  assert.deepEqual(await world.alerts(), [], 'less than a tenth is rated');
  await world.commit(MAY + 73 * HOUR, '1');
  await world.commit(MAY + 74 * HOUR, '1');
  assert.deepEqual(await world.alerts(), [], 'exactly the amount');
  await world.commit(MAY + 75 * HOUR, '1.0000000000000000000000000001');
  await world.commit(MAY + 76 * HOUR, '700');
  assert.deepEqual(await world.alerts(), ['team forecast 744 76.0000000000000000000000000001 2026-05-01']);
});

it('sums come from one question about the whole month, and none once everything is told', async () => {
  const world = await BudgetWorld.create(budget());
  await world.commit(MAY + HOUR, '200');
  const [query] = world.spending.queries;
  assert.deepEqual(query, {
    visible: [{ key: 'project_id', id: 'a' }],
    begin: MAY,
    end: JUNE,
    groupby: [],
  });
  const asked = world.spending.queries.length;
  await world.commit(MAY + 2 * HOUR, '1');
  assert.equal(world.spending.queries.length, asked);
});

it('months that ended long ago are not judged, and what was told about them is forgotten', async () => {
  const world = await BudgetWorld.create(budget());
  world.now = JUNE + 399 * 86_400;
  await world.commit(MAY, '100');
  assert.equal((await world.alerts()).length, 3);
  world.now = JUNE + 401 * 86_400;
  world.restart();
  await world.commit(MAY, '100');
  await world.commit(world.now, '1');
  assert.equal((await world.alerts()).length, 3);
  const rows = await world.database.query('SELECT COUNT(*) FROM ratecat_budget_alerts');
  assert.deepEqual(rows, [[0]]);
});

it('patterns match whole ids', () => {
  const match = (scope: string, id: string, scopeKey?: string) =>
    matches(budget({ scope, scopeKey }), { key: 'project_id', id });
  for (const [pattern, id] of [
    ['*', ''],
    ['*', 'x'],
    ['a', 'a'],
    ['a*', 'ab'],
    ['*a', 'ba'],
    ['a*c*e', 'abcde'],
    ['a**b', 'ab'],
    ['.*', '.x'],
  ] as const)
    assert.ok(match(pattern, id), `${pattern} ${id}`);
  for (const [pattern, id] of [
    ['a', 'ab'],
    ['a', 'A'],
    ['a*', 'ba'],
    ['ab*ba', 'aba'],
    ['a*c*c', 'abc'],
    ['.*', 'x'],
  ] as const)
    assert.ok(!match(pattern, id), `${pattern} ${id}`);
  assert.ok(match('*', 'x', 'project_id'));
  assert.ok(!match('*', 'x', 'domain_id'));
});
