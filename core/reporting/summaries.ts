import {
  type Calendar,
  compareText,
  type Decimal,
  type GroupKey,
  type Instant,
  type PointQuery,
  type Storage,
  type TimeUnit,
  type Total,
} from '../plugin-api/index.js';
import { type CalendarUnit, calendarText } from './calendar-keys.js';

/** What rows are kept apart by. */
export type SummaryKey =
  | { readonly kind: 'type' }
  | { readonly kind: 'attribute'; readonly name: string }
  /** Part of the date, as a text that comes again every year: `5` for the fifth of January. */
  | { readonly kind: 'calendar'; readonly unit: CalendarUnit };

export interface SummaryQuery extends PointQuery {
  readonly keys: readonly SummaryKey[];
  /** One row for each stored period; begin and end of the row are those of the period. */
  readonly byPeriod: boolean;
  readonly offset: number;
  readonly limit: number;
}

export interface SummaryRow {
  readonly begin: Instant;
  readonly end: Instant;
  readonly quantity: Decimal;
  readonly price: Decimal;
  readonly points: number;
  /** One text for each key; `''` where points lack the attribute. */
  readonly group: readonly string[];
}

export interface SummaryPage {
  /** Rows before paging. */
  readonly total: number;
  readonly rows: readonly SummaryRow[];
}

/** Sums by attribute, type, part of the date and period; rows in order of their groups, then of time. */
export class Summaries {
  readonly #storage: Storage;
  readonly #calendar: Calendar;

  constructor(storage: Storage, calendar: Calendar) {
    this.#storage = storage;
    this.#calendar = calendar;
  }

  /** Units of time that the query needs and the storage cannot group by. */
  missingUnits({ keys, byPeriod }: Pick<SummaryQuery, 'keys' | 'byPeriod'>): readonly TimeUnit[] {
    const { timeGroups } = this.#storage.capabilities;
    return storageKeys(keys, byPeriod).flatMap((key) =>
      key.kind === 'time' && !timeGroups.includes(key.unit) ? [key.unit] : [],
    );
  }

  async page(query: SummaryQuery, signal: AbortSignal): Promise<SummaryPage> {
    const { keys, byPeriod, offset, limit, ...points } = query;
    const groupby = storageKeys(keys, byPeriod);
    if (!keys.some((key) => key.kind === 'calendar')) {
      const page = await this.#storage.total({ ...points, groupby, offset, limit }, signal);
      // The period comes last in the order of the storage, and is no part of the group here.
      return {
        total: page.total,
        rows: page.rows.map((row) => ({ ...row, group: row.group.slice(0, keys.length) })),
      };
    }
    const { rows } = await this.#storage.total({ ...points, groupby }, signal);
    const folded = this.#fold(query, rows);
    return { total: folded.length, rows: folded.slice(offset, offset + limit) };
  }

  /** Adds up slices of time that the calendar calls by the same text: day 5 of every year. */
  #fold(query: SummaryQuery, rows: readonly Total[]): readonly SummaryRow[] {
    const groups = new Map<string, SummaryRow>();
    for (const row of rows) {
      const group = query.keys.map((key, place) =>
        key.kind === 'calendar' ? this.#calendarText(key.unit, row.group[place]!) : row.group[place]!,
      );
      const { begin, end } = query.byPeriod ? row : query;
      const name = JSON.stringify([group, query.byPeriod ? begin : 0]);
      const sum = groups.get(name);
      groups.set(name, {
        begin,
        end: Math.max(end, sum?.end ?? end),
        quantity: sum === undefined ? row.quantity : sum.quantity.plus(row.quantity),
        price: sum === undefined ? row.price : sum.price.plus(row.price),
        points: row.points + (sum?.points ?? 0),
        group,
      });
    }
    return [...groups.values()].sort(compareRows);
  }

  /** `sliceBegin` is the text of an instant, as storages give it. */
  #calendarText(unit: CalendarUnit, sliceBegin: string): string {
    return calendarText(unit, this.#calendar.day(Date.parse(sliceBegin) / 1000));
  }
}

function storageKeys(keys: readonly SummaryKey[], byPeriod: boolean): readonly GroupKey[] {
  const mapped = keys.map((key): GroupKey => {
    if (key.kind !== 'calendar') return key;
    // Weeks of this calendar do not begin when those of the billing calendar do.
    return { kind: 'time', unit: key.unit === 'week' ? 'day' : key.unit };
  });
  return byPeriod ? [...mapped, { kind: 'time', unit: 'period' }] : mapped;
}

function compareRows(left: SummaryRow, right: SummaryRow): number {
  for (const [place, text] of left.group.entries()) {
    const order = compareText(text, right.group[place]!);
    if (order !== 0) return order;
  }
  return left.begin - right.begin;
}
