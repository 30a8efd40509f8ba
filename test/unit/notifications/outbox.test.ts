import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { ClosableDatabase } from '../../../core/database/open-database.js';
import { Outbox } from '../../../core/notifications/outbox.js';
import { Attributes, Decimal, type Storage } from '../../../core/plugin-api/index.js';
import { PeriodCommit, type RatedFrame } from '../../../core/processing/period-commit.js';
import { ModuleStates } from '../../../core/rating/module-states.js';
import { Leases } from '../../../core/scopes/leases.js';
import { ScopeReset } from '../../../core/scopes/scope-reset.js';
import { ScopeStates } from '../../../core/scopes/scope-states.js';
import { VirtualClock } from '../../../core/testkit/fakes.js';
import { newDatabase } from './world.js';

const signal = new AbortController().signal;
const HOUR = 3600;
const BEGIN = Date.UTC(2026, 0, 1) / 1000;
const ALL = [
  'rating.period.committed',
  'rating.scope.stuck',
  'rating.scope.recovered',
  'rating.rules.changed',
  'rating.budget.reached',
] as const;

/** A storage that stores nothing, or fails at the end of the transaction. */
function storage(failure?: Error): Storage {
  return {
    capabilities: { joinsCoreTransaction: true, filteredDelete: true },
    replacePeriod: async () => {
      if (failure !== undefined) throw failure;
    },
    deletePeriods: async () => undefined,
  } as unknown as Storage;
}

async function setUp(types: readonly (typeof ALL)[number][] = ALL) {
  const database = await newDatabase();
  const clock = new VirtualClock();
  const outbox = new Outbox([{ notifier: 'bus', types: new Set(types) }], clock);
  const states = new ScopeStates(database);
  const pipeline = { source: 'default', fetcher: 'static', collector: 'file' };
  await states.add(pipeline, [{ key: 'project_id', id: 'a' }], BEGIN);
  const [state] = await states.list();
  const lease = (await new Leases(database, clock, 'test', 60).take(state!))!;
  const commit = (failure?: Error) => new PeriodCommit(database, storage(failure), clock, outbox);
  await commit().begin(lease, BEGIN);
  return { database, clock, outbox, states, lease, commit };
}

function rated(hour: number): RatedFrame {
  const point = (price: string) => ({
    descriptor: {
      metric: 'cpu',
      unit: 'core',
      groupby: Attributes.EMPTY,
      metadata: Attributes.EMPTY,
      description: undefined,
    },
    quantity: Decimal.ONE,
    price: Decimal.parse(price),
  });
  return {
    frame: {
      source: 'default',
      scope: { key: 'project_id', id: 'a', name: 'Team A' },
      period: { begin: BEGIN + hour * HOUR, end: BEGIN + (hour + 1) * HOUR },
      points: [point('0.1'), point('0.2')],
      gaps: [{ metric: 'ram', reason: 'no data' }],
    },
    snapshot: 'abc',
    fingerprint: undefined,
  };
}

async function events(database: ClosableDatabase) {
  const rows = await database.query(
    'SELECT notifier, type, severity, content FROM ratecat_outbox ORDER BY id',
  );
  return rows.map(([notifier, type, severity, content]) => ({
    notifier,
    type,
    severity,
    ...(JSON.parse(String(content)) as {
      readonly scope?: object;
      readonly payload: Record<string, unknown>;
    }),
  }));
}

it('a committed period and its event are one transaction', async () => {
  const { database, lease, commit } = await setUp();
  const failure = new Error('the disk is full');
  await assert.rejects(commit(failure).advance(rated(0), lease, 0, signal), failure);
  assert.deepEqual(await events(database), [], 'no event without the period');
  await commit().advance(rated(0), lease, 0, signal);
  await assert.rejects(commit().advance(rated(0), lease, 0, signal), { code: 'RATECAT_LEASE_LOST' });
  assert.deepEqual(await events(database), [
    {
      notifier: 'bus',
      type: 'rating.period.committed',
      severity: 'info',
      scope: { source: 'default', key: 'project_id', id: 'a', name: 'Team A' },
      payload: {
        begin: '2026-01-01T00:00:00Z',
        end: '2026-01-01T01:00:00Z',
        price: '0.3',
        points: 2,
        gaps: [{ metric: 'ram', reason: 'no data' }],
        snapshot: 'abc',
        rated_again: false,
      },
    },
  ]);
});

it('a period that is rated again says so, with the reason', async () => {
  const { database, lease, commit } = await setUp();
  await commit().advance(rated(0), lease, 0, signal);
  await commit().replace(rated(0), lease, 'late data', signal);
  const [, again] = await events(database);
  assert.equal(again?.payload.rated_again, true);
  assert.equal(again?.payload.reason, 'late data');
});

it('the first period after a scope was stuck says that it is well again, behind the period', async () => {
  const { database, lease, commit } = await setUp();
  await commit().advance(rated(0), lease, 0, signal, true);
  await commit().advance(rated(1), lease, 0, signal);
  const found = await events(database);
  assert.deepEqual(
    found.map(({ type }) => type),
    ['rating.period.committed', 'rating.scope.recovered', 'rating.period.committed'],
  );
  assert.deepEqual(found[1]?.payload, { rated_up_to: '2026-01-01T01:00:00Z', how: 'rated' });
});

it('a scope that is reset while it is stuck is well again', async () => {
  const { database, clock, outbox, states, lease, commit } = await setUp(['rating.scope.recovered']);
  await commit().advance(rated(0), lease, 0, signal);
  const reset = new ScopeReset(database, states, storage(), clock, outbox);
  const order = { to: BEGIN, periodSeconds: HOUR, compat: 'fixed', author: 'test', reason: 'test' } as const;
  const [state] = await states.list();
  await reset.reset({ ...state!, condition: 'stuck' }, order, signal);
  assert.deepEqual((await events(database))[0]?.payload, {
    rated_up_to: '2026-01-01T00:00:00Z',
    how: 'reset',
  });
});

it('a failure that is written without the lease tells nothing', async () => {
  const { database, outbox, states, lease } = await setUp();
  const failure = { failures: 5, condition: 'stuck', reason: 'down', at: BEGIN, retryAt: BEGIN } as const;
  const event = { type: 'rating.scope.stuck', severity: 'error', scope: undefined, payload: {} } as const;
  for (const fence of [lease.fence - 1, lease.fence])
    await states.recordFailure(lease.row, fence, failure, (tx) => outbox.add(tx, event));
  assert.equal((await events(database)).length, 1);
});

it('a change of a module is told, and one that changes nothing is not', async () => {
  const { database, outbox } = await setUp();
  const states = new ModuleStates(database, outbox);
  await states.change('hashmap', { enabled: true });
  await states.change('hashmap', { enabled: true });
  await database.transaction((tx) =>
    states.changed(tx, { module: 'hashmap', action: 'POST /services', author: 'u1' }),
  );
  assert.deepEqual(
    (await events(database)).map(({ payload }) => payload),
    [
      { module: 'hashmap', action: 'state', revision: 1 },
      { module: 'hashmap', action: 'POST /services', author: 'u1', revision: 2 },
    ],
  );
});

it('each notifier has a row for what it asks for, and nobody has one for the rest', async () => {
  const database = await newDatabase();
  const outbox = new Outbox(
    [
      { notifier: 'all', types: new Set(ALL) },
      { notifier: 'rules', types: new Set(['rating.rules.changed']) },
    ],
    { now: () => 1.5 },
  );
  await new ModuleStates(database, outbox).set('noop', { enabled: true, priority: 1 });
  const ids = await database.query('SELECT notifier, event_id FROM ratecat_outbox ORDER BY id');
  assert.deepEqual(
    ids.map(([notifier]) => notifier),
    ['all', 'rules'],
  );
  assert.equal(ids[0]![1], ids[1]![1], 'it is one event');
});

it('without notifiers nothing is written', async () => {
  const { database, lease, commit } = await setUp([]);
  await commit().advance(rated(0), lease, 0, signal, true);
  assert.deepEqual(await events(database), []);
});
