import {
  type Calendar,
  DataError,
  type Decimal,
  eachInSlices,
  type Instant,
  mapInSlices,
  type SqlRow,
  type SqlTransaction,
} from '../../../core/plugin-api/index.js';
import { Conditions, chunks } from '../../shared/sql-conditions.js';
import { digest } from './stored-values.js';

export interface Sum {
  readonly quantity: Decimal;
  readonly price: Decimal;
  readonly points: number;
}

interface Change extends Sum {
  readonly metric: string;
}

/** The scope and day that a change of the sums belongs to. */
export interface RollUpSlice {
  readonly scope: number;
  /** YYYYMMDD */
  readonly day: number;
}

export function rollUpSlice(calendar: Calendar, scope: number, instant: Instant): RollUpSlice {
  return { scope, day: calendar.day(instant) };
}

/** What changes in the sums of one scope and day. */
export class RollUpChanges {
  readonly #daily = new Map<number, Change>();

  add(descriptor: number, metric: string, { quantity, price, points }: Sum): void {
    const change = this.#daily.get(descriptor);
    this.#daily.set(
      descriptor,
      change === undefined
        ? { metric, quantity, price, points }
        : {
            metric,
            quantity: change.quantity.plus(quantity),
            price: change.price.plus(price),
            points: change.points + points,
          },
    );
  }

  subtract(descriptor: number, metric: string, { quantity, price, points }: Sum): void {
    this.add(descriptor, metric, { quantity: quantity.negated(), price: price.negated(), points: -points });
  }

  /** @throws DataError RATECAT_ROLL_UP_BROKEN when more would be taken away than is there, RATECAT_NUMBER_OVERFLOW. */
  async apply(tx: SqlTransaction, { scope, day }: RollUpSlice, signal?: AbortSignal): Promise<void> {
    const changes = [...this.#daily].filter(([, change]) => isChange(change));
    // Ascending keys: neighbours in the table, and one order for all writers.
    changes.sort(([left], [right]) => left - right);
    const toRow = ([descriptor, sum]: readonly [number, Sum]): SqlRow => [
      day,
      scope,
      descriptor,
      ...sumValues(sum),
    ];
    await tx.insertRows({ ...DAILY, rows: await mapInSlices(changes, toRow, signal) });
    if (changes.some(([, { points }]) => points < 0)) await dropEmpty(tx, 'daily', 'day', scope, [day]);
    const metrics = new MetricChanges();
    await eachInSlices(changes, ([, change]) => metrics.add(day, change.metric, change), signal);
    await metrics.apply(tx, scope);
  }
}

/** What changes in the sums of metrics by day and by month, of one scope. */
export class MetricChanges {
  readonly #daily = new SumsByMetric();
  readonly #monthly = new SumsByMetric();

  add(day: number, metric: string, sum: Sum): void {
    this.#daily.add(day, metric, sum);
    this.#monthly.add(Math.floor(day / 100), metric, sum);
  }

  subtract(day: number, metric: string, { quantity, price, points }: Sum): void {
    this.add(day, metric, { quantity: quantity.negated(), price: price.negated(), points: -points });
  }

  /** @throws DataError RATECAT_ROLL_UP_BROKEN when more would be taken away than is there, RATECAT_NUMBER_OVERFLOW. */
  async apply(tx: SqlTransaction, scope: number): Promise<void> {
    const daily = this.#daily.changes();
    const monthly = this.#monthly.changes();
    await tx.insertRows({ ...DAILY_METRICS, rows: metricRows(scope, daily) });
    await tx.insertRows({ ...MONTHLY, rows: metricRows(scope, monthly) });
    await dropEmpty(tx, 'daily_metrics', 'day', scope, shrunken(daily));
    await dropEmpty(tx, 'monthly', 'month', scope, shrunken(monthly));
  }
}

interface MetricSum {
  /** Day or month. */
  readonly slice: number;
  readonly metric: string;
  quantity: Decimal;
  price: Decimal;
  points: number;
}

class SumsByMetric {
  readonly #sums = new Map<string, MetricSum>();

  add(slice: number, metric: string, { quantity, price, points }: Sum): void {
    const key = `${slice} ${metric}`;
    const sum = this.#sums.get(key);
    if (sum === undefined) {
      this.#sums.set(key, { slice, metric, quantity, price, points });
      return;
    }
    sum.quantity = sum.quantity.plus(quantity);
    sum.price = sum.price.plus(price);
    sum.points += points;
  }

  changes(): readonly MetricSum[] {
    return [...this.#sums.values()].filter(isChange);
  }
}

function metricRows(scope: number, sums: readonly MetricSum[]): readonly SqlRow[] {
  return sums.map((sum) => [sum.slice, scope, digest(sum.metric), sum.metric, ...sumValues(sum)]);
}

/** The slices from which something was taken away. */
function shrunken(sums: readonly MetricSum[]): readonly number[] {
  return [...new Set(sums.filter(({ points }) => points < 0).map(({ slice }) => slice))];
}

const SUMS = { addDecimal: ['quantity', 'price'], addInteger: ['points'] } as const;

const DAILY = {
  table: 'ratecat_sql_daily',
  columns: ['day', 'scope', 'descriptor', 'quantity', 'price', 'points'],
  onConflict: { ...SUMS, key: ['day', 'scope', 'descriptor'] },
} as const;

const DAILY_METRICS = {
  table: 'ratecat_sql_daily_metrics',
  columns: ['day', 'scope', 'metric_hash', 'metric', 'quantity', 'price', 'points'],
  onConflict: { ...SUMS, key: ['day', 'scope', 'metric_hash'] },
} as const;

const MONTHLY = {
  table: 'ratecat_sql_monthly',
  columns: ['month', 'scope', 'metric_hash', 'metric', 'quantity', 'price', 'points'],
  onConflict: { ...SUMS, key: ['month', 'scope', 'metric_hash'] },
} as const;

function sumValues({ quantity, price, points }: Sum): SqlRow {
  return [quantity.toStored().toString(), price.toStored().toString(), points];
}

function isChange({ quantity, price, points }: Sum): boolean {
  return points !== 0 || !quantity.isZero || !price.isZero;
}

/** Removes sums of nothing. A negative count means that roll-ups and points disagree: better no write than a wrong one. */
async function dropEmpty(
  tx: SqlTransaction,
  table: 'daily' | 'daily_metrics' | 'monthly',
  column: 'day' | 'month',
  scope: number,
  slices: readonly number[],
): Promise<void> {
  for (const some of chunks(slices)) {
    const { where, parameters } = new Conditions().addIn(column, some).add('scope = ?', scope);
    const broken = await tx.query(
      `SELECT MIN(${column}) FROM ratecat_sql_${table} ${where} AND points < 0`,
      parameters,
    );
    const slice = broken[0]![0];
    if (slice !== null) {
      throw new DataError(
        'RATECAT_ROLL_UP_BROKEN',
        `The ${table} sums of ${column} ${slice}, scope row ${scope}, hold less than the stored points. ` +
          'Somebody else changed these tables; nothing was written. Restore the database from a backup.',
      );
    }
    await tx.execute(`DELETE FROM ratecat_sql_${table} ${where} AND points = 0`, parameters);
  }
}
