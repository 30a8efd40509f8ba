/**
 * The raw limit: rows that the product has written, read back into arrays, to be written again by the driver alone. Same
 * tables, same descriptors, same roll-ups, one transaction per frame; no decimal, no hash and no look-up is computed.
 */
import { Decimal, type SqlDatabase, type SqlRow, type SqlValue } from '../core/plugin-api/index.js';
import { utcCalendar } from '../core/testkit/fakes.js';

export interface RawInsert {
  readonly table: string;
  readonly columns: readonly string[];
  readonly rows: readonly SqlRow[];
  /** Key, and columns that take the new value when it exists. */
  readonly replaces?: { readonly key: readonly string[]; readonly columns: readonly string[] } | undefined;
}

/** What one transaction writes. */
export interface RawFrame {
  readonly points: number;
  readonly inserts: readonly RawInsert[];
}

const SCOPES = ['id', 'identity', 'source', 'scope_key', 'scope_id'];
const DESCRIPTORS = [
  'id',
  'scope',
  'hash',
  'metric_hash',
  'metric',
  'unit',
  'groupby',
  'metadata',
  'description',
];
const FRAMES = ['id', 'scope', 'period_begin', 'period_end', 'points', 'snapshot', 'gaps'];
const POINTS = ['frame', 'ordinal', 'descriptor', 'quantity', 'price'];
const SUMS = ['quantity', 'price', 'points'];
const DAILY = ['day', 'scope', 'descriptor', ...SUMS];
const DAILY_METRICS = ['day', 'scope', 'metric_hash', 'metric', ...SUMS];
const MONTHLY = ['month', 'scope', 'metric_hash', 'metric', ...SUMS];

/** All frames of a database of the `sql` storage, in the order in which they were written. */
export async function readRawFrames(database: SqlDatabase): Promise<readonly RawFrame[]> {
  const scopes = await rowsById(database, 'scopes', SCOPES);
  const descriptors = await rowsById(database, 'descriptors', DESCRIPTORS);
  const newScopes = new Map(scopes);
  const newDescriptors = new Map(descriptors);
  const sums = new RunningSums(descriptors);
  const raw: RawFrame[] = [];
  for (const frame of await database.query(
    `SELECT ${FRAMES.join(',')} FROM ratecat_sql_frames ORDER BY id`,
  )) {
    const points = await readPoints(database, frame[0]!);
    const ids = points.map((point) => point[2]!);
    const inserts: RawInsert[] = [
      { table: 'ratecat_sql_scopes', columns: SCOPES, rows: take(newScopes, [frame[1]!]) },
      { table: 'ratecat_sql_descriptors', columns: DESCRIPTORS, rows: take(newDescriptors, ids) },
      { table: 'ratecat_sql_frames', columns: FRAMES, rows: [frame] },
      { table: 'ratecat_sql_points', columns: POINTS, rows: points },
      ...sums.add(Number(frame[1]), Number(frame[2]), points),
    ];
    raw.push({ points: points.length, inserts: inserts.filter(({ rows }) => rows.length > 0) });
  }
  return raw;
}

async function readPoints(database: SqlDatabase, frame: SqlValue): Promise<readonly SqlRow[]> {
  const rows = await database.query(
    `SELECT ${POINTS.join(',')} FROM ratecat_sql_points WHERE frame = ? ORDER BY ordinal`,
    [frame],
  );
  return rows.map(([id, ordinal, descriptor, quantity, price]) => [
    id!,
    ordinal!,
    descriptor!,
    Decimal.parse(String(quantity)).toString(),
    Decimal.parse(String(price)).toString(),
  ]);
}

async function rowsById(
  database: SqlDatabase,
  table: string,
  columns: readonly string[],
): Promise<ReadonlyMap<SqlValue, SqlRow>> {
  const rows = await database.query(`SELECT ${columns.join(',')} FROM ratecat_sql_${table}`);
  return new Map(rows.map((row) => [row[0]!, row]));
}

/** Rows that no former frame has taken. */
function take(left: Map<SqlValue, SqlRow>, ids: readonly SqlValue[]): readonly SqlRow[] {
  const rows: SqlRow[] = [];
  for (const id of ids) {
    const row = left.get(id);
    if (row !== undefined) rows.push(row);
    left.delete(id);
  }
  return rows;
}

interface Sum {
  readonly quantity: Decimal;
  readonly price: Decimal;
  readonly points: number;
}

/** The roll-ups as they stand after each frame: the raw writer puts them in place of the old ones. */
class RunningSums {
  readonly #descriptors: ReadonlyMap<SqlValue, SqlRow>;
  readonly #daily = new Map<string, Sum>();
  readonly #dailyMetrics = new Map<string, Sum>();
  readonly #monthly = new Map<string, Sum>();

  constructor(descriptors: ReadonlyMap<SqlValue, SqlRow>) {
    this.#descriptors = descriptors;
  }

  add(scope: number, begin: number, points: readonly SqlRow[]): readonly RawInsert[] {
    const day = utcCalendar.day(begin);
    const month = utcCalendar.month(begin);
    const daily = new Map<number, SqlRow>();
    const dailyMetrics = new Map<string, SqlRow>();
    const monthly = new Map<string, SqlRow>();
    for (const point of points) {
      const descriptor = Number(point[2]);
      const row = this.#descriptors.get(descriptor)!;
      const metric = String(row[4]);
      const value = {
        quantity: Decimal.parse(String(point[3])),
        price: Decimal.parse(String(point[4])),
        points: 1,
      };
      const daySum = raise(this.#daily, `${day}/${descriptor}`, value);
      const metricSum = raise(this.#dailyMetrics, `${day}/${scope}/${metric}`, value);
      const monthSum = raise(this.#monthly, `${month}/${scope}/${metric}`, value);
      daily.set(descriptor, [day, scope, descriptor, ...texts(daySum)]);
      dailyMetrics.set(metric, [day, scope, row[3]!, metric, ...texts(metricSum)]);
      monthly.set(metric, [month, scope, row[3]!, metric, ...texts(monthSum)]);
    }
    return [
      {
        table: 'ratecat_sql_daily',
        columns: DAILY,
        rows: [...daily].sort(([left], [right]) => left - right).map(([, row]) => row),
        replaces: { key: ['day', 'scope', 'descriptor'], columns: SUMS },
      },
      {
        table: 'ratecat_sql_daily_metrics',
        columns: DAILY_METRICS,
        rows: [...dailyMetrics.values()],
        replaces: { key: ['day', 'scope', 'metric_hash'], columns: SUMS },
      },
      {
        table: 'ratecat_sql_monthly',
        columns: MONTHLY,
        rows: [...monthly.values()],
        replaces: { key: ['month', 'scope', 'metric_hash'], columns: SUMS },
      },
    ];
  }
}

function raise(sums: Map<string, Sum>, key: string, value: Sum): Sum {
  const former = sums.get(key);
  const sum =
    former === undefined
      ? value
      : {
          quantity: former.quantity.plus(value.quantity),
          price: former.price.plus(value.price),
          points: former.points + value.points,
        };
  sums.set(key, sum);
  return sum;
}

function texts({ quantity, price, points }: Sum): SqlRow {
  return [quantity.toString(), price.toString(), points];
}
