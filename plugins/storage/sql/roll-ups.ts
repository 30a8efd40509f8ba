import {
  type Calendar,
  DataError,
  Decimal,
  type Instant,
  type SqlTransaction,
} from '../../../core/plugin-api/index.js';
import { digest } from './stored-values.js';

export interface Sum {
  readonly quantity: Decimal;
  readonly price: Decimal;
  readonly points: number;
}

interface Change extends Sum {
  readonly metric: string;
}

/** The slices of the roll-ups that a period belongs to. */
export interface RollUpSlice {
  readonly scope: number;
  readonly day: number;
  readonly month: number;
}

export function rollUpSlice(calendar: Calendar, scope: number, instant: Instant): RollUpSlice {
  return { scope, day: calendar.day(instant), month: calendar.month(instant) };
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
  async apply(tx: SqlTransaction, slice: RollUpSlice): Promise<void> {
    const changes = [...this.#daily].filter(([, change]) => isChange(change));
    // Ascending keys: neighbours in the table, and one order for all writers.
    changes.sort(([left], [right]) => left - right);
    await tx.insertRows({
      ...DAILY,
      rows: changes.map(([descriptor, { quantity, price, points }]) => [
        slice.day,
        slice.scope,
        descriptor,
        quantity.toStored().toString(),
        price.toStored().toString(),
        points,
      ]),
    });
    if (changes.some(([, { points }]) => points < 0))
      await dropEmpty(tx, 'daily', 'day', slice.day, slice.scope);
    const monthly = new MonthlyChanges();
    for (const [, change] of changes) monthly.add(change.metric, change);
    await monthly.apply(tx, slice);
  }
}

/** What changes in the sums of one scope and month. */
export class MonthlyChanges {
  readonly #sums = new Map<string, Sum>();

  add(metric: string, { quantity, price, points }: Sum): void {
    const sum = this.#sums.get(metric) ?? { quantity: Decimal.ZERO, price: Decimal.ZERO, points: 0 };
    this.#sums.set(metric, {
      quantity: sum.quantity.plus(quantity),
      price: sum.price.plus(price),
      points: sum.points + points,
    });
  }

  subtract(metric: string, { quantity, price, points }: Sum): void {
    this.add(metric, { quantity: quantity.negated(), price: price.negated(), points: -points });
  }

  /** @throws DataError RATECAT_ROLL_UP_BROKEN when more would be taken away than is there, RATECAT_NUMBER_OVERFLOW. */
  async apply(tx: SqlTransaction, { scope, month }: Omit<RollUpSlice, 'day'>): Promise<void> {
    const changes = [...this.#sums].filter(([, sum]) => isChange(sum));
    await tx.insertRows({
      ...MONTHLY,
      rows: changes.map(([metric, { quantity, price, points }]) => [
        month,
        scope,
        digest(metric),
        metric,
        quantity.toStored().toString(),
        price.toStored().toString(),
        points,
      ]),
    });
    if (changes.some(([, { points }]) => points < 0)) await dropEmpty(tx, 'monthly', 'month', month, scope);
  }
}

const SUMS = { addDecimal: ['quantity', 'price'], addInteger: ['points'] } as const;

const DAILY = {
  table: 'ratecat_sql_daily',
  columns: ['day', 'scope', 'descriptor', 'quantity', 'price', 'points'],
  onConflict: { ...SUMS, key: ['day', 'scope', 'descriptor'] },
} as const;

const MONTHLY = {
  table: 'ratecat_sql_monthly',
  columns: ['month', 'scope', 'metric_hash', 'metric', 'quantity', 'price', 'points'],
  onConflict: { ...SUMS, key: ['month', 'scope', 'metric_hash'] },
} as const;

function isChange({ quantity, price, points }: Sum): boolean {
  return points !== 0 || !quantity.isZero || !price.isZero;
}

/** Removes sums of nothing. A negative count means that roll-ups and points disagree: better no write than a wrong one. */
async function dropEmpty(
  tx: SqlTransaction,
  table: 'daily' | 'monthly',
  column: 'day' | 'month',
  slice: number,
  scope: number,
): Promise<void> {
  const where = `WHERE ${column} = ? AND scope = ?`;
  const broken = await tx.query(`SELECT COUNT(*) FROM ratecat_sql_${table} ${where} AND points < 0`, [
    slice,
    scope,
  ]);
  if (Number(broken[0]![0]) > 0) {
    throw new DataError(
      'RATECAT_ROLL_UP_BROKEN',
      `The ${table} sums of ${column} ${slice}, scope row ${scope}, hold less than the stored points. ` +
        'Somebody else changed these tables; nothing was written. Restore the database from a backup.',
    );
  }
  await tx.execute(`DELETE FROM ratecat_sql_${table} ${where} AND points = 0`, [slice, scope]);
}
