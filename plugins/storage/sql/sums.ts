import type { Calendar, Instant, Period, SqlDatabase, SqlRow } from '../../../core/plugin-api/index.js';
import { Conditions, chunks } from '../../shared/sql-conditions.js';
import { instantOfDay, type RangePlan } from './range-plan.js';
import type { Sum } from './roll-ups.js';
import type { ScopeRows } from './scopes.js';
import { digest, storedDecimal } from './stored-values.js';

/** What the sums are kept apart by. */
export interface SumKeys {
  readonly scope: boolean;
  readonly metric: boolean;
  readonly descriptor: boolean;
  readonly time: 'none' | 'period' | 'day' | 'month' | 'year';
}

export interface SumSelection {
  readonly scopes: ScopeRows;
  /** Absent: all. */
  readonly metrics?: readonly string[] | undefined;
  /** Absent: all. */
  readonly descriptors?: readonly number[] | undefined;
}

/** A sum and the keys that were asked for; the others are 0 or empty. The same keys may come several times. */
export interface SumRow extends Sum {
  readonly scope: number;
  readonly metric: string;
  readonly descriptor: number;
  /** Some instant of the slice of time; with `period`, its begin. */
  readonly instant: Instant;
  /** With `period`, its end. */
  readonly end: Instant;
}

/** The months with sums, as YYYYMM. */
export interface StoredExtent {
  readonly oldest: number;
  readonly newest: number;
  /** Retention dropped nothing from here on; 0 when it never dropped anything. */
  readonly keptFrom: Instant;
}

/** More descriptors than this are not named to the engine: their sums are picked out of all sums. */
const MAX_NAMED_DESCRIPTORS = 1024;

/** Columns of the table that a part of the range is read from. */
interface Source {
  readonly from: string;
  readonly scope: string;
  readonly metric: string;
  readonly metricHash: string;
  readonly descriptor: string;
  readonly amount: string;
  readonly points: string;
  readonly time: string;
  readonly end: string;
  readonly conditions: Conditions;
  instant(time: number): Instant;
}

/** Reads the sums of a plan, each part with one statement and so from one state of the database. */
export class SumReader {
  readonly #database: SqlDatabase;
  readonly #calendar: Calendar;

  constructor(database: SqlDatabase, calendar: Calendar) {
    this.#database = database;
    this.#calendar = calendar;
  }

  /** Undefined when nothing is stored. */
  async extent(): Promise<StoredExtent | undefined> {
    const rows = await this.#database.query(
      `SELECT (SELECT MIN(month) FROM ratecat_sql_monthly), (SELECT MAX(month) FROM ratecat_sql_monthly),
       (SELECT MAX(points_from) FROM ratecat_sql_kept)`,
    );
    const [oldest, newest, keptFrom] = rows[0]!;
    if (oldest === null) return undefined;
    return { oldest: Number(oldest), newest: Number(newest), keptFrom: Number(keptFrom ?? 0) };
  }

  async *read(
    plan: RangePlan,
    selection: SumSelection,
    keys: SumKeys,
    signal: AbortSignal,
  ): AsyncGenerator<SumRow, void, void> {
    for (const months of chunks(plan.months))
      yield* this.#readFrom(this.#monthly(months, keys), selection, keys, signal);
    const needsDescriptors = keys.metric || selection.metrics !== undefined;
    const isByDescriptor = keys.descriptor || selection.descriptors !== undefined;
    for (const days of chunks(plan.days)) {
      const source = isByDescriptor
        ? this.#daily(days, keys, needsDescriptors)
        : this.#dailyMetrics(days, keys);
      yield* this.#readFrom(source, selection, keys, signal);
    }
    for (const edge of plan.edges) {
      yield* this.#readFrom(pointSource(edge, keys, needsDescriptors), selection, keys, signal);
    }
  }

  async *#readFrom(
    source: Source,
    { scopes, metrics, descriptors }: SumSelection,
    keys: SumKeys,
    signal: AbortSignal,
  ): AsyncGenerator<SumRow, void, void> {
    const { conditions } = source;
    if (scopes !== 'all') conditions.addIn(source.scope, scopes);
    if (metrics !== undefined && descriptors === undefined)
      conditions.addIn(source.metricHash, metrics.map(digest));
    const isNamed = descriptors !== undefined && descriptors.length <= MAX_NAMED_DESCRIPTORS;
    if (isNamed) conditions.addIn(source.descriptor, descriptors);
    const picked = descriptors === undefined || isNamed ? undefined : new Set(descriptors);
    const sql = sumStatement(
      source,
      { ...keys, descriptor: keys.descriptor || picked !== undefined },
      (amount) => this.#database.dialect.sum(amount),
    );
    for await (const row of this.#database.iterate(sql, conditions.parameters, signal)) {
      // Without keys there is one row, also for nothing.
      if (row[6] === null || picked?.has(Number(row[2])) === false) continue;
      yield toSumRow(row, source);
    }
  }

  #monthly(months: readonly number[], { time }: SumKeys): Source {
    return {
      from: 'ratecat_sql_monthly r',
      scope: 'r.scope',
      metric: 'r.metric',
      metricHash: 'r.metric_hash',
      descriptor: '0',
      amount: 'r',
      points: 'SUM(r.points)',
      time: { none: '0', period: '0', day: '0', month: 'r.month', year: '(r.month - r.month % 100)' }[time],
      end: '0',
      conditions: new Conditions().addIn('r.month', months),
      instant: (month) => this.#instant(month * 100),
    };
  }

  #dailyMetrics(days: readonly number[], { time }: SumKeys): Source {
    return {
      from: 'ratecat_sql_daily_metrics r',
      scope: 'r.scope',
      metric: 'r.metric',
      metricHash: 'r.metric_hash',
      descriptor: '0',
      ...this.#ofDays(days, time),
    };
  }

  #daily(days: readonly number[], { time }: SumKeys, needsDescriptors: boolean): Source {
    return {
      from: `ratecat_sql_daily r${needsDescriptors ? ' JOIN ratecat_sql_descriptors d ON d.id = r.descriptor' : ''}`,
      scope: 'r.scope',
      metric: 'd.metric',
      metricHash: 'd.metric_hash',
      descriptor: 'r.descriptor',
      ...this.#ofDays(days, time),
    };
  }

  #ofDays(days: readonly number[], time: SumKeys['time']) {
    return {
      amount: 'r',
      points: 'SUM(r.points)',
      time: {
        none: '0',
        period: '0',
        day: 'r.day',
        month: '(r.day - r.day % 100)',
        year: '(r.day - r.day % 10000)',
      }[time],
      end: '0',
      conditions: new Conditions().addIn('r.day', days),
      instant: (day: number) => this.#instant(day),
    };
  }

  /** Of a year or month given by its number with zeros, the first day. */
  #instant(day: number): Instant {
    if (day === 0) return 0;
    const month = day % 10_000 === 0 ? day + 100 : day;
    return instantOfDay(month % 100 === 0 ? month + 1 : month, this.#calendar);
  }
}

function pointSource(edge: Period, { time }: SumKeys, needsDescriptors: boolean): Source {
  const isByPeriod = time === 'period';
  return {
    from: `ratecat_sql_frames f JOIN ratecat_sql_points p ON p.frame = f.id${
      needsDescriptors ? ' JOIN ratecat_sql_descriptors d ON d.id = p.descriptor' : ''
    }`,
    scope: 'f.scope',
    metric: 'd.metric',
    metricHash: 'd.metric_hash',
    descriptor: 'p.descriptor',
    amount: 'p',
    points: 'COUNT(*)',
    time: isByPeriod ? 'f.period_begin' : '0',
    end: isByPeriod ? 'MAX(f.period_end)' : '0',
    conditions: new Conditions()
      .add('f.period_begin >= ? AND f.period_begin < ?', edge.begin, edge.end)
      .add('f.scope > 0'),
    instant: (begin) => (isByPeriod ? begin : edge.begin),
  };
}

function sumStatement(source: Source, keys: SumKeys, sum: (expression: string) => string): string {
  const groups = [
    ...(keys.scope ? [source.scope] : []),
    ...(keys.metric ? [source.metricHash] : []),
    ...(keys.descriptor ? [source.descriptor] : []),
    ...(source.time === '0' ? [] : [source.time]),
  ];
  const columns = [
    keys.scope ? source.scope : '0',
    keys.metric ? `MIN(${source.metric})` : "''",
    keys.descriptor ? source.descriptor : '0',
    source.time,
    source.end,
    source.points,
    sum(`${source.amount}.quantity`),
    sum(`${source.amount}.price`),
  ];
  const groupBy = groups.length === 0 ? '' : `GROUP BY ${groups.join(', ')}`;
  return `SELECT ${columns.join(', ')} FROM ${source.from} ${source.conditions.where} ${groupBy}`;
}

function toSumRow(row: SqlRow, source: Source): SumRow {
  return {
    scope: Number(row[0]),
    metric: String(row[1]),
    descriptor: Number(row[2]),
    instant: source.instant(Number(row[3])),
    end: Number(row[4]),
    points: Number(row[5]),
    quantity: storedDecimal(row[6]!),
    price: storedDecimal(row[7]!),
  };
}
