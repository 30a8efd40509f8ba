import {
  type Calendar,
  DataError,
  Decimal,
  type Frame,
  type Gap,
  type Instant,
  type RatedPoint,
} from '../../../core/plugin-api/index.js';
import type { Owner } from './owner.js';

/** Exact sums of one metric of a period. */
export interface MetricSum {
  readonly metric: string;
  readonly points: number;
  readonly quantity: Decimal;
  readonly price: Decimal;
}

/** A whole period: its points carry this version. */
export interface Committed {
  readonly version: string;
  readonly end: Instant;
  readonly scopeName?: string | undefined;
  readonly snapshot: string;
  readonly gaps: readonly Gap[];
  readonly metrics: readonly MetricSum[];
}

/** A period that is stored, or was begun: then it has nothing committed. */
export interface KnownPeriod extends Owner {
  readonly begin: Instant;
  readonly state: { readonly committed?: Committed | undefined };
}

/** @throws DataError RATECAT_NUMBER_OVERFLOW when a sum does not fit. */
export function sumsOf(points: readonly RatedPoint[]): readonly MetricSum[] {
  const stored = points.map((point) => ({
    ...point,
    quantity: point.quantity.toStored(),
    price: point.price.toStored(),
  }));
  return uncheckedSums(stored).map(checkedSum);
}

export function uncheckedSums(points: readonly RatedPoint[]): readonly MetricSum[] {
  const sums = new Map<string, MetricSum>();
  for (const { descriptor, quantity, price } of points) {
    const { metric } = descriptor;
    sums.set(metric, plus(sums.get(metric), { metric, points: 1, quantity, price }));
  }
  return [...sums.values()];
}

export function plus(left: MetricSum | undefined, right: MetricSum): MetricSum {
  if (left === undefined) return right;
  return {
    metric: right.metric,
    points: left.points + right.points,
    quantity: left.quantity.plus(right.quantity),
    price: left.price.plus(right.price),
  };
}

export function checkedSum(sum: MetricSum): MetricSum {
  return { ...sum, quantity: sum.quantity.toStored(), price: sum.price.toStored() };
}

/** What a frame commits. @throws DataError RATECAT_NUMBER_OVERFLOW when a sum does not fit. */
export function committedOf(
  { scope, period, gaps, points }: Frame<RatedPoint>,
  { version, snapshot }: Pick<Committed, 'version' | 'snapshot'>,
): Committed {
  return { version, snapshot, end: period.end, scopeName: scope.name, gaps, metrics: sumsOf(points) };
}

/** A committed period as it is written into JSON. */
export interface StoredCommitted extends Omit<Committed, 'gaps' | 'metrics'> {
  readonly gaps?: readonly Gap[];
  readonly metrics: readonly (readonly [string, number, string, string])[];
}

export function toStoredCommitted({ gaps, metrics, ...plain }: Committed): StoredCommitted {
  return {
    ...plain,
    ...(gaps.length === 0 ? {} : { gaps: gaps.map(({ metric, reason }) => ({ metric, reason })) }),
    metrics: metrics.map((sum) => [sum.metric, sum.points, sum.quantity.toString(), sum.price.toString()]),
  };
}

export function fromStoredCommitted({ gaps = [], metrics, ...plain }: StoredCommitted): Committed {
  return {
    ...plain,
    gaps,
    metrics: metrics.map(([metric, points, quantity, price]) => ({
      metric,
      points,
      quantity: Decimal.parse(quantity),
      price: Decimal.parse(price),
    })),
  };
}

/** Points that a period has; of some metrics alone where they are given. */
export function expectedPoints(
  { metrics }: Pick<Committed, 'metrics'>,
  wanted: readonly string[] | undefined,
): number {
  return metrics.reduce(
    (sum, { metric, points }) => sum + (wanted === undefined || wanted.includes(metric) ? points : 0),
    0,
  );
}

/** @throws DataError RATECAT_PERIOD_OVERLAP when a stored period of the scope has another length there. */
export function refuseOverlap({ scope, period }: Frame<RatedPoint>, around: readonly KnownPeriod[]): void {
  for (const { begin, state } of around) {
    const end = state.committed?.end;
    if (end === undefined || (begin === period.begin && end === period.end)) continue;
    if (begin >= period.end || end <= period.begin) continue;
    throw new DataError(
      'RATECAT_PERIOD_OVERLAP',
      `The period ${isoTime(period.begin)} to ${isoTime(period.end)} of ${scope.key} '${scope.id}' overlaps the stored one from ${isoTime(begin)} to ${isoTime(end)}: both would count the same usage. Delete the stored range first, or use its period length.`,
    );
  }
}

/**
 * A metric's sum over a billing day has the digits of every other stored number, so that reports can be stored anywhere.
 * @throws DataError RATECAT_NUMBER_OVERFLOW
 */
export function refuseOverflow(
  { period }: Frame<RatedPoint>,
  metrics: readonly MetricSum[],
  around: readonly KnownPeriod[],
  calendar: Calendar,
): void {
  const day = calendar.slice(period.begin, 'day');
  const sums = new Map<string, MetricSum>();
  for (const { begin, state } of around) {
    if (begin === period.begin || begin < day.begin || begin >= day.end) continue;
    for (const sum of state.committed?.metrics ?? []) sums.set(sum.metric, plus(sums.get(sum.metric), sum));
  }
  for (const sum of metrics) checkedSum(plus(sums.get(sum.metric), sum));
}

/** An instant for messages. */
export function isoTime(instant: Instant): string {
  return new Date(instant * 1000).toISOString();
}
