import assert from 'node:assert/strict';
import { test } from 'node:test';
import { z } from 'zod';
import { openDatabase } from '../../core/database/open-database.js';
import {
  Attributes,
  type CompiledRating,
  Decimal,
  definePlugin,
  type Frame,
  type JsonValue,
  type Migration,
  type RatedPoint,
  type RatingModule,
} from '../../core/plugin-api/index.js';
import { testRating } from '../../core/testkit/rating.js';

/** A right module: the price is quantity × cost of the rules; it keeps its one rule in a table. */
const good: RatingModule = {
  description: 'Multiplies.',
  hotConfig: true,
  async loadRules(database, signal) {
    signal.throwIfAborted();
    const rows = await database.query('SELECT cost FROM ratecat_sample_costs ORDER BY id');
    return rows.map(([cost]) => String(cost));
  },
  compile: (rules) => multiplier(rules),
};

const migrations: readonly Migration[] = [
  {
    name: '0001-create',
    statements: (sql) => [
      `CREATE TABLE IF NOT EXISTS ratecat_sample_costs (id ${sql.autoId}, cost ${sql.decimal} NOT NULL)${sql.tableOptions()}`,
    ],
  },
];

function multiplier(rules: JsonValue): CompiledRating {
  const cost = Decimal.parse(String((rules as readonly string[])[0] ?? '0'));
  return {
    rate(frame, signal) {
      signal.throwIfAborted();
      const points = frame.points.map((point) => ({
        ...point,
        price: point.price.plus(point.quantity.times(cost)),
      }));
      return { ...frame, points };
    },
    explain: (point) => [{ text: `× ${cost}`, price: point.price.plus(point.quantity.times(cost)) }],
  };
}

function pointOf(quantity: string): RatedPoint {
  const descriptor = {
    metric: 'a',
    unit: 'u',
    groupby: Attributes.from({ id: quantity }),
    metadata: Attributes.EMPTY,
    description: undefined,
  };
  return { descriptor, quantity: Decimal.parse(quantity), price: Decimal.ONE };
}

const frame: Frame<RatedPoint> = {
  source: 'test',
  scope: { key: 'project_id', id: 'alpha' },
  period: { begin: 0, end: 3600 },
  points: ['1', '2', '3'].map(pointOf),
  gaps: [{ metric: 'b', reason: 'not measured' }],
};

/** Names of the conformance tests that a module fails. */
async function failuresOf(changes: Partial<RatingModule>, definitionChanges: Record<string, unknown> = {}) {
  const bodies = new Map<string, () => void | Promise<void>>();
  testRating({
    test: (name, body) => bodies.set(name, body),
    definition: definePlugin({
      kind: 'rating',
      name: 'sample',
      options: z.strictObject({}),
      migrations,
      create: () => ({ ...good, ...changes }),
      ...definitionChanges,
    }),
    samples: [{ name: 'x2', rules: ['2'], frame }],
    openDatabase: async () => {
      const database = await openDatabase('sqlite::memory:');
      return { database, close: () => database.close() };
    },
    storeRules: async (tx, count) => {
      for (let index = 0; index < count; index++)
        await tx.execute('INSERT INTO ratecat_sample_costs (cost) VALUES (?)', ['2']);
    },
  });
  const failed: string[] = [];
  for (const [name, body] of bodies) {
    try {
      await body();
    } catch {
      failed.push(name);
    }
  }
  return failed;
}

/** The good module with another way of rating. */
function rating(
  change: (compiled: CompiledRating, rules: JsonValue) => Partial<CompiledRating>,
): Partial<RatingModule> {
  return {
    compile: (rules) => {
      const compiled = multiplier(rules);
      return { ...compiled, ...change(compiled, rules) };
    },
  };
}

async function assertCaught(expected: RegExp, ...changes: Parameters<typeof failuresOf>): Promise<void> {
  const failures = await failuresOf(...changes);
  assert.ok(
    failures.some((name) => expected.test(name)),
    `no failure like ${expected} among: ${failures.join('; ')}`,
  );
}

test('a module that keeps the contract passes every test of the suite', async () => {
  assert.deepEqual(await failuresOf({}), []);
});

test('prices that change from call to call are caught', async () => {
  let calls = 0;
  await assertCaught(
    /the same frame has the same prices/,
    rating(() => ({
      rate: (given) => ({
        ...given,
        points: given.points.map((point) => ({ ...point, price: Decimal.fromInteger(calls++) })),
      }),
    })),
  );
});

test('a module that changes the frame it was given is caught', async () => {
  await assertCaught(
    /the frame it was given stays as it was/,
    rating(() => ({
      rate(given) {
        for (const point of given.points) (point as { price: Decimal }).price = Decimal.ZERO;
        return given;
      },
    })),
  );
});

test('another scope, lost gaps and another order are caught', async () => {
  const kept = /source, scope, period, gaps and the order/;
  await assertCaught(
    kept,
    rating(() => ({ rate: (given) => ({ ...given, scope: { key: 'x', id: 'y' } }) })),
  );
  await assertCaught(
    kept,
    rating(() => ({ rate: (given) => ({ ...given, gaps: [] }) })),
  );
  await assertCaught(
    kept,
    rating(() => ({ rate: (given) => ({ ...given, points: given.points.toReversed() }) })),
  );
});

test('prices that depend on the other points are caught', async () => {
  await assertCaught(
    /in one frame or point by point/,
    rating(() => ({
      rate: (given) => ({
        ...given,
        points: given.points.map((point, index) => ({ ...point, price: Decimal.fromInteger(index) })),
      }),
    })),
  );
});

test('a module that ignores the signal is caught', async () => {
  await assertCaught(
    /an aborted signal ends rating/,
    rating(() => ({ rate: (given) => given })),
  );
  await assertCaught(/an aborted signal ends loading/, { loadRules: async () => [] });
});

test('an explanation that ends elsewhere is caught', async () => {
  await assertCaught(
    /an explanation ends at the price/,
    rating(() => ({ explain: () => [{ text: 'free', price: Decimal.ZERO }] })),
  );
});

test('a module that writes into its rules is caught', async () => {
  await assertCaught(/compiling leaves the rules/, {
    compile(rules) {
      (rules as string[]).push('3');
      return multiplier(rules);
    },
  });
});

test('a query per rule is caught', async () => {
  await assertCaught(/the same number of queries/, {
    async loadRules(database) {
      const costs: string[] = [];
      for (const [id] of await database.query('SELECT id FROM ratecat_sample_costs'))
        costs.push(
          String((await database.query('SELECT cost FROM ratecat_sample_costs WHERE id = ?', [id!]))[0]![0]),
        );
      return costs;
    },
  });
});

test('migrations that cannot run again or take a name of others are caught', async () => {
  const create = (statement: string) => ({ migrations: [{ name: '0001', statements: () => [statement] }] });
  await assertCaught(
    /migrations may run again/,
    {},
    create('CREATE TABLE ratecat_sample_costs (id INTEGER PRIMARY KEY, cost TEXT)'),
  );
  await assertCaught(
    /touch only tables of the plugin/,
    {},
    create('CREATE TABLE IF NOT EXISTS ratecat_scopes (id INTEGER PRIMARY KEY)'),
  );
  await assertCaught(/touch only tables of the plugin/, {}, { migrations: [...migrations, ...migrations] });
});

test('a definition of another kind, without a name or with loose options is caught', async () => {
  await assertCaught(/made by definePlugin/, {}, { kind: 'storage' });
  await assertCaught(/made by definePlugin/, {}, { name: '' });
  await assertCaught(/made by definePlugin/, {}, { apiVersion: 2 });
  await assertCaught(/the option schema/, {}, { options: z.unknown() });
  await assertCaught(/create gives an object of its kind/, {}, { create: () => ({}) });
});

test('routes that are there twice or lie elsewhere are caught', async () => {
  const route = (path: string) => ({ method: 'GET' as const, path, handle: async () => ({ status: 200 }) });
  const routes = /configuration routes are distinct/;
  await assertCaught(routes, { configRoutes: [route('/a/:id'), route('/a/:name')] });
  await assertCaught(routes, { configRoutes: [route('a')] });
  await assertCaught(routes, { configRoutes: [route('/a/')] });
});
