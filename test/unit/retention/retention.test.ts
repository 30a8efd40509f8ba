import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Storage } from '../../../core/plugin-api/index.js';
import { policyOf } from '../../../core/retention/policies.js';
import { RetentionTimer } from '../../../core/retention/retention-timer.js';
import { RecordingLogger, VirtualClock } from '../../../core/testkit/fakes.js';
import {
  count,
  dyingDatabase,
  FOREVER,
  type History,
  hourOf,
  keptSums,
  month,
  never,
  openHistory,
  storageOn,
} from './history.js';

async function using(body: (history: History) => Promise<void>): Promise<void> {
  const history = await openHistory();
  try {
    await body(history);
  } finally {
    await history.close();
  }
}

/** A frame with two metrics in the middle of each month. */
async function fill({ store }: History, scopes = ['alpha', 'beta'], months = 12): Promise<void> {
  for (const scope of scopes) {
    for (let index = 0; index < months; index++) {
      const points = ['instance', 'volume'].flatMap((metric) =>
        ['a', 'b'].map((id) => ({ metric, groupby: { id: `${id}-${index}` }, price: `0.${index + 1}7` })),
      );
      await store({ scope, hour: hourOf(index, 300), points });
    }
  }
}

async function limits(storage: Storage) {
  const kept = await storage.keptFrom!('all', never);
  return kept.map(({ scope, metric, points, dailySums, monthlySums }) => [
    scope.id,
    metric ?? '*',
    ...[points, dailySums, monthlySums].map((at) => (at === 0 ? 0 : new Date(at * 1000).getUTCMonth() + 1)),
  ]);
}

describe('the policy of a scope and metric', () => {
  const policies = [
    { ...FOREVER, scopes: ['vip-*'] },
    { ...FOREVER, metrics: ['image.*', '*.size'], points: 3 },
    { ...FOREVER, scopes: ['test-*-old', 'exact'], points: 1 },
    { ...FOREVER, points: 13 },
  ];

  it('is the first one that fits', () => {
    const points = (scope: string, metric: string) => policyOf(policies, scope, metric)?.points;
    assert.equal(points('vip-1', 'image.size'), Number.POSITIVE_INFINITY);
    assert.equal(points('x', 'image.size'), 3);
    assert.equal(points('x', 'volume.size'), 3);
    assert.equal(points('test-7-old', 'cpu'), 1);
    assert.equal(points('test-old', 'cpu'), 13);
    assert.equal(points('exact', 'cpu'), 1);
    assert.equal(points('exactly', 'cpu'), 13);
    assert.equal(policyOf([], 'x', 'cpu'), undefined);
  });

  it('takes * for any run of characters and everything else for itself', () => {
    const fits = (pattern: string, text: string) =>
      policyOf([{ ...FOREVER, scopes: [pattern] }], text, 'm') !== undefined;
    for (const [pattern, text] of [
      ['*', ''],
      ['a*', 'a'],
      ['*a*', 'bab'],
      ['a*b*c', 'a-b-b-c'],
      ['a**c', 'ac'],
      ['a.c', 'a.c'],
      ['a*a', 'aa'],
    ] as const)
      assert.ok(fits(pattern, text), `${pattern} ${text}`);
    for (const [pattern, text] of [
      ['', 'a'],
      ['a*a', 'a'],
      ['a*b*c', 'a-c'],
      ['a*bc*c', 'abc'],
      ['a.c', 'abc'],
      ['A*', 'a'],
    ] as const)
      assert.ok(!fits(pattern, text), `${pattern} ${text}`);
  });
});

describe('a retention plan', () => {
  it('names what would be dropped by scope and metric, in the order of their names, and changes nothing', () =>
    using(async (history) => {
      await fill(history, ['beta', 'alpha']);
      const before = await keptSums(history.storage);
      const plan = await history.retention([{ points: 3 }]).plan(never);
      assert.equal(plan.reference, month(12));
      assert.deepEqual(
        plan.metrics.map(({ scope, metric, after, points, bytes }) => [
          scope.id,
          metric,
          after.points,
          points,
          bytes > 0,
        ]),
        ['alpha', 'beta'].flatMap((scope) =>
          ['instance', 'volume'].map((metric) => [scope, metric, month(9), 18, true]),
        ),
      );
      assert.equal(plan.orders.length, 2);
      assert.deepEqual(await limits(history.storage), []);
      assert.equal(await keptSums(history.storage), before);
    }));

  it('is empty without policies, and where the first policy that fits keeps everything', () =>
    using(async (history) => {
      await fill(history);
      assert.deepEqual((await history.retention([]).plan(never)).metrics, []);
      const some = await history.retention([{ scopes: ['alpha'] }, { points: 1 }]).plan(never);
      assert.deepEqual([...new Set(some.metrics.map(({ scope }) => scope.id))], ['beta']);
    }));

  it('has one limit for what all metrics have in common, and further ones for those that are kept shorter', () =>
    using(async (history) => {
      await fill(history, ['alpha']);
      await history.retention([{ metrics: ['volume'], points: 2 }, { points: 6 }]).apply('tester', never);
      assert.deepEqual(await limits(history.storage), [
        ['alpha', '*', 7, 0, 0],
        ['alpha', 'volume', 11, 0, 0],
      ]);
      assert.equal(await count(history.database, 'ratecat_sql_points'), 6 * 2 + 2 * 2);
    }));

  it('does not go beyond what may still be written: the next period, late data, orders to rate again', () =>
    using(async (history) => {
      await fill(history, ['alpha', 'beta', 'gamma', 'delta']);
      await history.rated('alpha', month(4) + 3600);
      await history.rated('beta', month(5));
      const row = await history.rated('gamma', month(12));
      await history.tasks.create([
        { row, begin: month(2) + 7200, end: month(3), reason: 'prices', author: 'tester' },
      ]);
      const plan = await history.retention([{ points: 1 }], { lookBackPeriods: 24 }).plan(never);
      const after = new Map(plan.metrics.map(({ scope, after: { points } }) => [scope.id, points]));
      assert.deepEqual(
        [...after],
        [
          ['alpha', month(3)],
          ['beta', month(4)],
          ['delta', month(11)],
          ['gamma', month(2)],
        ],
      );
    }));

  it('counts back from the newest month with points when the clock is ahead of it', () =>
    using(async (history) => {
      await fill(history, ['alpha'], 6);
      const plan = await history.retention([{ points: 2 }], { now: month(1000) }).plan(never);
      assert.equal(plan.reference, month(6));
      assert.equal(plan.metrics[0]!.after.points, month(4));
    }));

  it('refuses a storage that cannot drop points', () =>
    using(async (history) => {
      const storage = { keptFrom: async () => [] } as Partial<Storage> as Storage;
      const retention = history.retention([{ points: 2 }], { storage });
      await assert.rejects(retention.plan(never), { code: 'RATECAT_RETENTION_UNSUPPORTED' });
    }));
});

describe('applied retention', () => {
  it('drops points, resources and sums of resources, and keeps every other sum', () =>
    using(async (history) => {
      await fill(history);
      const before = await keptSums(history.storage);
      const { rows } = await history.retention([{ points: 3 }]).apply('tester', never);
      assert.ok(rows >= 2 * 9 * (4 + 4));
      assert.equal(await keptSums(storageOn(history.database)), before);
      for (const [table, left] of [
        ['points', 2 * 3 * 4],
        ['frames', 2 * 3],
        ['daily', 2 * 3 * 4],
        ['descriptors', 2 * 3 * 4],
        ['daily_metrics', 2 * 12 * 2],
        ['monthly', 2 * 12 * 2],
      ] as const)
        assert.equal(await count(history.database, `ratecat_sql_${table}`), left, table);
    }));

  it('drops sums too where these have a limit of their own', () =>
    using(async (history) => {
      await fill(history, ['alpha']);
      await history.retention([{ points: 2, dailySums: 5, monthlySums: 8 }]).apply('tester', never);
      assert.deepEqual(await limits(history.storage), [['alpha', '*', 11, 8, 5]]);
      assert.equal(await count(history.database, 'ratecat_sql_daily_metrics'), 5 * 2);
      assert.equal(await count(history.database, 'ratecat_sql_monthly'), 8 * 2);
    }));

  it('does nothing when it is applied again, and goes on a month later', () =>
    using(async (history) => {
      await fill(history, ['alpha']);
      const policies = [{ points: 3 }];
      await history.retention(policies).apply('tester', never);
      const again = await history.retention(policies).apply('tester', never);
      assert.deepEqual([again.rows, again.plan.metrics.length], [0, 0]);
      assert.equal(await count(history.database, 'ratecat_audit', "action = 'retention.limits'"), 1);
      await history.store({ scope: 'alpha', hour: hourOf(12, 5) });
      const later = await history.retention(policies, { now: month(13) }).apply('tester', never);
      assert.equal(
        later.plan.metrics.reduce((sum, { points }) => sum + points, 0),
        4,
      );
      assert.deepEqual(await limits(history.storage), [['alpha', '*', 11, 0, 0]]);
    }));

  it('never gives back what was dropped when a policy is made longer', () =>
    using(async (history) => {
      await fill(history, ['alpha']);
      await history.retention([{ points: 3 }]).apply('tester', never);
      const { plan } = await history.retention([{ points: 9 }]).apply('tester', never);
      assert.deepEqual(plan.orders, []);
      assert.deepEqual(await limits(history.storage), [['alpha', '*', 10, 0, 0]]);
    }));

  it('killed before any of its statements, it is finished by the next run with the same result', async () => {
    let wanted = '';
    for (let statement = 0, isFinished = false; !isFinished; statement += 3) {
      await using(async (history) => {
        await fill(history, ['alpha'], 4);
        const questions = { visible: 'all', begin: month(2), end: month(12) } as const;
        const before = await keptSums(history.storage, questions);
        const policies = [{ metrics: ['volume'], points: 1, dailySums: 2 }, { points: 2 }];
        const dying = dyingDatabase(history.database, statement);
        const killed = history.retention(policies, { storage: storageOn(dying) });
        await killed.apply('tester', never).catch(() => undefined);
        isFinished = !dying.isDead;
        assert.equal(await keptSums(storageOn(history.database), questions), before);
        await history.retention(policies).apply('tester', never);
        const result = [];
        for (const table of ['points', 'frames', 'daily', 'descriptors', 'daily_metrics', 'monthly'])
          result.push([table, await count(history.database, `ratecat_sql_${table}`)]);
        assert.equal(await keptSums(history.storage, questions), before);
        wanted ||= JSON.stringify(result);
        assert.equal(JSON.stringify(result), wanted, `killed before statement ${statement}`);
      });
    }
  });
});

describe('the daily run', () => {
  it('is made once a day by one of two processes, and again after a failure', () =>
    using(async (history) => {
      const clock = new VirtualClock(month(12) * 1000);
      const logger = new RecordingLogger();
      let runs = 0;
      let failures = 1;
      const retention = {
        apply: async () => {
          runs++;
          if (failures-- > 0) throw new Error('no luck');
          return { plan: { metrics: [], orders: [], reference: 0 }, rows: 1 };
        },
      };
      const stop = new AbortController();
      const timers = [1, 2].map(() =>
        new RetentionTimer(retention as never, history.database, clock, logger).run(stop.signal),
      );
      const advance = async (hours: number) => {
        const until = clock.monotonic() + hours * 3_600_000;
        do {
          // Until both sleep again.
          while (clock.sleeping < 2) await new Promise((resolve) => setImmediate(resolve));
        } while (clock.wakeNext(until));
      };
      await advance(6);
      assert.equal(runs, 2);
      assert.equal(logger.lines.filter(({ level }) => level === 'warn').length, 1);
      await advance(15);
      assert.equal(runs, 2);
      await advance(48);
      assert.equal(runs, 4);
      stop.abort(new Error('stopping'));
      await Promise.all(timers);
      assert.equal(clock.sleeping, 0);
    }));
});
