import {
  type Calendar,
  compareText,
  Decimal,
  type Descriptor,
  describedAttribute,
  type GroupKey,
  type Instant,
  type Period,
  type TimeUnit,
  type Total,
  type TotalPage,
  type TotalQuery,
} from '../../../core/plugin-api/index.js';
import { attributeText } from './attribute-text.js';
import type { MetricSum } from './committed.js';
import type { Owner } from './owner.js';
import type { OwnPeriod, PeriodReader, Stored } from './period-reader.js';

/** From fine to coarse. */
export const TIME_UNITS: readonly TimeUnit[] = ['period', 'day', 'week', 'month', 'year'];

/** What is summed: a metric of a period, or a point of it. */
interface Part extends MetricSum {
  readonly descriptor?: Descriptor;
}

/** Exact sums by group, computed here: sums of a server that adds binary floats are not exact. */
export class TotalReader<P extends OwnPeriod> {
  readonly #periods: PeriodReader<P>;
  readonly #calendar: Calendar;

  constructor(periods: PeriodReader<P>, calendar: Calendar) {
    this.#periods = periods;
    this.#calendar = calendar;
  }

  async read(query: TotalQuery, signal: AbortSignal): Promise<TotalPage> {
    signal.throwIfAborted();
    const needsPoints =
      (query.filters ?? []).length > 0 || query.groupby.some(({ kind }) => kind === 'attribute');
    const groups = new Map<string, Total>();
    const parts = needsPoints ? this.#points(query, signal) : this.#sums(query, signal);
    for await (const [stored, some] of parts) this.#add(groups, query, stored, some);
    const rows = [...groups.values()].sort((left, right) => compareGroups(left.group, right.group));
    const offset = query.offset ?? 0;
    return { total: rows.length, rows: rows.slice(offset, offset + (query.limit ?? rows.length)) };
  }

  /** A period's markers hold its sums by metric. */
  async *#sums(
    query: TotalQuery,
    signal: AbortSignal,
  ): AsyncGenerator<readonly [Stored<P>, readonly Part[]]> {
    const wanted = query.metrics === undefined ? undefined : new Set(query.metrics);
    for await (const stored of this.#periods.periods(query, signal))
      yield [stored, stored.metrics.filter(({ metric }) => wanted?.has(metric) ?? true)];
  }

  async *#points(
    query: TotalQuery,
    signal: AbortSignal,
  ): AsyncGenerator<readonly [Stored<P>, readonly Part[]]> {
    const periods = this.#periods.periods(query, signal);
    for await (const { stored, points } of this.#periods.load(periods, query, signal)) {
      yield [
        stored,
        points.map(({ descriptor, quantity, price }) => ({
          metric: descriptor.metric,
          points: 1,
          quantity,
          price,
          descriptor,
        })),
      ];
    }
  }

  #add(groups: Map<string, Total>, query: TotalQuery, stored: Stored<P>, parts: readonly Part[]): void {
    if (parts.length === 0) return;
    const times = query.groupby.map((key) => (key.kind === 'time' ? this.#timeText(stored, key.unit) : ''));
    const { begin, end } = this.#slice(stored, query);
    for (const part of parts) {
      const group = query.groupby.map((key, place) => groupText(key, stored, part, times[place]!));
      const key = JSON.stringify(group);
      const sum = groups.get(key);
      groups.set(key, {
        begin,
        end: Math.max(end, sum?.end ?? end),
        quantity: part.quantity.plus(sum?.quantity ?? Decimal.ZERO),
        price: part.price.plus(sum?.price ?? Decimal.ZERO),
        points: part.points + (sum?.points ?? 0),
        group,
      });
    }
  }

  #timeText(stored: Stored<P>, unit: TimeUnit): string {
    return isoSeconds(this.#unitSlice(stored, unit).begin);
  }

  /** The finest slice of the groups, or the range that was asked for. */
  #slice(stored: Stored<P>, query: TotalQuery): Period {
    const units = query.groupby.flatMap((key) => (key.kind === 'time' ? [key.unit] : []));
    const finest = TIME_UNITS.find((unit) => units.includes(unit));
    return finest === undefined ? query : this.#unitSlice(stored, finest);
  }

  #unitSlice({ begin, end }: Stored<P>, unit: TimeUnit): Period {
    return unit === 'period' ? { begin, end } : this.#calendar.slice(begin, unit);
  }
}

function groupText(key: GroupKey, { scope }: Owner, part: Part, time: string): string {
  switch (key.kind) {
    case 'type':
      return part.metric;
    case 'scope':
      return scope.id;
    case 'time':
      return time;
    case 'attribute':
      return part.descriptor === undefined
        ? ''
        : attributeText(describedAttribute(part.descriptor, key.name));
  }
}

function isoSeconds(instant: Instant): string {
  return new Date(instant * 1000).toISOString().replace('.000Z', 'Z');
}

function compareGroups(left: readonly string[], right: readonly string[]): number {
  for (let place = 0; place < left.length; place++) {
    const order = compareText(left[place]!, right[place]!);
    if (order !== 0) return order;
  }
  return 0;
}
