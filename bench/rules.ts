/** Loading the price list: number of queries and time, by number of rules. */
import { migrate } from '../core/database/migrate.js';
import type { JsonValue, SqlReader } from '../core/plugin-api/index.js';
import { fakeContext } from '../core/testkit/fakes.js';
import hashmap from '../plugins/rating/hashmap/index.js';
import type { BenchEngine } from './engines.js';
import { type Figure, median } from './figures.js';

const signal = new AbortController().signal;
const SERVICES = 10;
const ROUNDS = 15;

export async function benchRules(engine: BenchEngine): Promise<readonly Figure[]> {
  const few = await measure(engine, 100);
  const many = await measure(engine, 1000);
  return [
    {
      id: `rules.${engine.id}.loadMs`,
      what: `${engine.label}: loading 1,000 rules`,
      value: many.loadMs,
      unit: 'ms',
      target: { atMost: 20 },
      note: `compiling for one scope: ${many.compileMs.toFixed(1)} ms`,
    },
    {
      id: `rules.${engine.id}.queries`,
      what: `${engine.label}: queries for 1,000 rules`,
      value: many.queries,
      unit: 'queries',
      target: { atMost: few.queries },
      note: `${few.queries} for 100 rules`,
    },
  ];
}

async function measure(
  engine: BenchEngine,
  rules: number,
): Promise<{ readonly loadMs: number; readonly compileMs: number; readonly queries: number }> {
  const database = await (await engine.newDatabase()).open();
  try {
    await migrate(database, [{ module: 'rating/hashmap', migrations: hashmap.migrations! }]);
    const module = hashmap.create({}, fakeContext());
    await database.transaction((tx) =>
      module.rulesDocument!.write(priceList(rules), tx, { mode: 'replace', now: 0, author: 'bench' }),
    );
    let queries = 0;
    const counting: SqlReader = {
      dialect: database.dialect,
      query(sql, parameters) {
        queries++;
        return database.query(sql, parameters);
      },
    };
    const loadMs: number[] = [];
    const compileMs: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const begin = performance.now();
      const loaded = await module.loadRules!(counting, signal);
      const middle = performance.now();
      module.compile(loaded, { key: 'project_id', id: 'alpha' });
      loadMs.push(middle - begin);
      compileMs.push(performance.now() - middle);
    }
    return { loadMs: median(loadMs), compileMs: median(compileMs), queries: queries / ROUNDS };
  } finally {
    await database.close();
  }
}

/** As many services and fields, mappings in the fields, a tenth of them thresholds. */
function priceList(rules: number): JsonValue {
  const perService = rules / SERVICES;
  const thresholds = perService / 10;
  const services = Array.from({ length: SERVICES }, (_, service) => [
    `service-${service}`,
    {
      thresholds: Array.from({ length: thresholds }, (_, i) => ({
        level: `${10 * (i + 1)}`,
        type: 'rate',
        cost: '0.9',
      })),
      fields: {
        flavor: {
          mappings: Array.from({ length: perService - thresholds }, (_, i) => ({
            value: `m1.flavor-${i}`,
            type: 'flat',
            cost: `0.0${i}7`,
          })),
        },
      },
    },
  ]);
  return { services: Object.fromEntries(services) };
}
