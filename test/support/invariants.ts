import assert from 'node:assert/strict';
import { openDatabase } from '../../core/database/open-database.js';
import { Decimal, type SqlDatabase } from '../../core/plugin-api/index.js';
import { assertWhole, type Whole } from './small-daemon.js';

/**
 * Everything that must hold whatever happened: each period exactly once and whole, with the prices that its collector makes
 * necessary; every roll-up equal to the sum of its rows, to the last digit; every watermark at the end of what is stored;
 * nothing left over. Read with plain SQL, and summed up here. Gives the number of periods per scope.
 */
export async function assertInvariants(url: string, whole: Whole): Promise<readonly number[]> {
  const periods = await assertWhole(url, whole);
  const database = await openDatabase(url);
  try {
    await assertSums(database);
    await assertWatermarks(database);
    const orphans = await database.query(
      'SELECT COUNT(*) FROM ratecat_sql_points p LEFT JOIN ratecat_sql_frames f ON f.id = p.frame WHERE f.id IS NULL',
    );
    assert.deepEqual(orphans, [[0]], 'points without a period');
  } finally {
    await database.close();
  }
  return periods;
}

type Sums = Map<string, { quantity: Decimal; price: Decimal; points: number }>;

/** Days and months as the roll-ups name them, in UTC. */
async function assertSums(database: SqlDatabase): Promise<void> {
  const rows = await database.query(
    `SELECT f.scope, f.period_begin, p.descriptor, d.metric, p.quantity, p.price, 1
     FROM ratecat_sql_points p JOIN ratecat_sql_frames f ON f.id = p.frame
     JOIN ratecat_sql_descriptors d ON d.id = p.descriptor`,
  );
  const expected = { daily: newSums(), dailyMetrics: newSums(), monthly: newSums() };
  for (const [scope, begin, descriptor, metric, ...values] of rows) {
    const day = new Date(Number(begin) * 1000).toISOString().slice(0, 10).replaceAll('-', '');
    const month = day.slice(0, 6);
    add(expected.daily, `${day} ${scope} ${descriptor}`, values);
    add(expected.dailyMetrics, `${day} ${scope} ${metric}`, values);
    add(expected.monthly, `${month} ${scope} ${metric}`, values);
  }
  const stored = async (columns: string, table: string) => {
    const sums = newSums();
    const found = await database.query(`SELECT ${columns}, quantity, price, points FROM ${table}`);
    for (const [time, scope, what, ...values] of found) {
      const key = `${time} ${scope} ${what}`;
      assert.ok(!sums.has(key), `${table} has ${key} twice`);
      // A sum that has become empty may stay behind.
      if (Number(values[2]) !== 0) add(sums, key, values);
    }
    return sums;
  };
  assert.deepEqual(
    text(await stored('day, scope, descriptor', 'ratecat_sql_daily')),
    text(expected.daily),
    'sums per day and resource',
  );
  assert.deepEqual(
    text(await stored('day, scope, metric', 'ratecat_sql_daily_metrics')),
    text(expected.dailyMetrics),
    'sums per day and metric',
  );
  assert.deepEqual(
    text(await stored('month, scope, metric', 'ratecat_sql_monthly')),
    text(expected.monthly),
    'sums per month',
  );
}

function newSums(): Sums {
  return new Map();
}

function add(sums: Sums, key: string, [quantity, price, points]: readonly unknown[]): void {
  const before = sums.get(key) ?? { quantity: Decimal.ZERO, price: Decimal.ZERO, points: 0 };
  sums.set(key, {
    quantity: before.quantity.plus(Decimal.parse(String(quantity))),
    price: before.price.plus(Decimal.parse(String(price))),
    points: before.points + Number(points),
  });
}

function text(sums: Sums): readonly string[] {
  return [...sums]
    .map(([key, { quantity, price, points }]) => `${key} ${quantity} ${price} ${points}`)
    .sort();
}

async function assertWatermarks(database: SqlDatabase): Promise<void> {
  const rows = await database.query(
    `SELECT c.scope_id, c.watermark, MAX(f.period_end), SUM(f.points) - (
       SELECT COUNT(*) FROM ratecat_sql_points p JOIN ratecat_sql_frames g ON g.id = p.frame WHERE g.scope = s.id)
     FROM ratecat_scopes c JOIN ratecat_sql_scopes s ON s.scope_id = c.scope_id AND s.source = c.source
     JOIN ratecat_sql_frames f ON f.scope = s.id GROUP BY c.scope_id, c.watermark, s.id`,
  );
  for (const [scope, watermark, end, missing] of rows) {
    assert.equal(Number(watermark), Number(end), `watermark of ${scope}`);
    assert.equal(Number(missing), 0, `points that the periods of ${scope} speak of`);
  }
}
