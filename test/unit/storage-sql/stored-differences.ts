import { type Calendar, Decimal, type SqlDatabase, type SqlValue } from '../../../core/plugin-api/index.js';

interface Sum {
  quantity: Decimal;
  price: Decimal;
  points: number;
}

/**
 * Where the tables of the sql storage contradict each other: roll-ups against the points they sum up, counts against rows,
 * points without frame or descriptor. It shares no code with the storage.
 */
export async function storedDifferences(
  database: SqlDatabase,
  calendar: Calendar,
): Promise<readonly string[]> {
  const daily = new Map<string, Sum>();
  const dailyMetrics = new Map<string, Sum>();
  const monthly = new Map<string, Sum>();
  const counts = new Map<number, number>();
  const points = await database.query(
    `SELECT f.id, f.scope, f.period_begin, p.descriptor, p.quantity, p.price, d.metric, d.scope, p.frame
     FROM ratecat_sql_points p LEFT JOIN ratecat_sql_frames f ON f.id = p.frame
     LEFT JOIN ratecat_sql_descriptors d ON d.id = p.descriptor`,
  );
  const differences: string[] = [];
  for (const [frame, scope, begin, descriptor, quantity, price, metric, owner, id] of points) {
    if (frame === null) differences.push(`points of the missing frame ${id}`);
    else if (metric === null) differences.push(`points of the missing descriptor ${descriptor}`);
    else if (Number(scope) > 0) {
      if (owner !== scope)
        differences.push(`descriptor ${descriptor} belongs to scope ${owner}, not ${scope}`);
      counts.set(Number(frame), (counts.get(Number(frame)) ?? 0) + 1);
      add(daily, [calendar.day(Number(begin)), scope!, descriptor!], quantity!, price!, 1);
      add(dailyMetrics, [calendar.day(Number(begin)), scope!, metric!], quantity!, price!, 1);
      add(monthly, [calendar.month(Number(begin)), scope!, metric!], quantity!, price!, 1);
    }
  }
  const frames = await database.query('SELECT id, points FROM ratecat_sql_frames WHERE scope > 0');
  for (const [id, count] of frames) {
    const found = counts.get(Number(id)) ?? 0;
    if (found !== Number(count)) differences.push(`frame ${id} counts ${count} points and has ${found}`);
  }
  return [
    ...differences,
    ...(await compare(database, daily, 'day, scope, descriptor', 'daily')),
    ...(await compare(database, dailyMetrics, 'day, scope, metric', 'daily_metrics')),
    ...(await compare(database, monthly, 'month, scope, metric', 'monthly')),
  ];
}

function add(
  sums: Map<string, Sum>,
  key: readonly SqlValue[],
  quantity: SqlValue,
  price: SqlValue,
  points: number,
) {
  const text = JSON.stringify(key.map(String));
  const sum = sums.get(text) ?? { quantity: Decimal.ZERO, price: Decimal.ZERO, points: 0 };
  sums.set(text, {
    quantity: sum.quantity.plus(Decimal.parse(String(quantity))),
    price: sum.price.plus(Decimal.parse(String(price))),
    points: sum.points + points,
  });
}

async function compare(
  database: SqlDatabase,
  expected: Map<string, Sum>,
  key: string,
  table: string,
): Promise<readonly string[]> {
  const stored = new Map<string, Sum>();
  const rows = await database.query(`SELECT ${key}, quantity, price, points FROM ratecat_sql_${table}`);
  for (const row of rows) add(stored, row.slice(0, 3), row[3]!, row[4]!, Number(row[5]));
  const differences: string[] = [];
  for (const name of new Set([...stored.keys(), ...expected.keys()])) {
    const [is, should] = [text(stored.get(name)), text(expected.get(name))];
    if (is !== should) differences.push(`${table} ${name}: is ${is}, should be ${should}`);
  }
  return differences;
}

function text(sum: Sum | undefined): string {
  return sum === undefined ? 'absent' : `${sum.quantity} × ${sum.price} (${sum.points})`;
}
