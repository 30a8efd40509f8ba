import type { Calendar, Instant, Period } from '../../../core/plugin-api/index.js';

/** What the sums of a range are read from; the parts touch and do not overlap. */
export interface RangePlan {
  /** Months as YYYYMM that lie wholly in the range. */
  readonly months: readonly number[];
  /** Days as YYYYMMDD, likewise, outside of these months. */
  readonly days: readonly number[];
  /** What remains; each within one day, unless everything is read from the points. */
  readonly edges: readonly Period[];
}

/** Splits a range so that it is read from the coarsest table that `level` allows. */
export function planRange(
  { begin, end }: Period,
  calendar: Calendar,
  level: 'points' | 'days' | 'months',
): RangePlan {
  if (begin >= end) return { months: [], days: [], edges: [] };
  if (level === 'points') return { months: [], days: [], edges: [{ begin, end }] };
  const first = calendar.slice(begin, 'day');
  const firstMidnight = first.begin === begin ? begin : first.end;
  const lastMidnight = calendar.slice(end, 'day').begin;
  if (firstMidnight > lastMidnight) return { months: [], days: [], edges: [{ begin, end }] };
  return {
    ...wholeSlices({ begin: firstMidnight, end: lastMidnight }, calendar, level === 'months'),
    edges: [
      { begin, end: firstMidnight },
      { begin: lastMidnight, end },
    ].filter((edge) => edge.begin < edge.end),
  };
}

function wholeSlices(range: Period, calendar: Calendar, useMonths: boolean): Omit<RangePlan, 'edges'> {
  const months: number[] = [];
  const days: number[] = [];
  for (let at = range.begin; at < range.end; ) {
    const month = useMonths ? calendar.slice(at, 'month') : undefined;
    if (month?.begin === at && month.end <= range.end) {
      months.push(calendar.month(at));
      at = month.end;
    } else {
      days.push(calendar.day(at));
      at = calendar.slice(at, 'day').end;
    }
  }
  return { months, days };
}

/** The largest part of a range that can hold data, when the oldest and the newest stored month (YYYYMM) are these. */
export function clampRange(
  range: Period,
  calendar: Calendar,
  { oldest, newest }: { readonly oldest: number; readonly newest: number },
): Period {
  return {
    begin: Math.max(range.begin, monthOf(oldest, calendar).begin),
    end: Math.min(range.end, monthOf(newest, calendar).end),
  };
}

/** The month YYYYMM. */
export function monthOf(month: number, calendar: Calendar): Period {
  return calendar.slice(instantOfDay(month * 100 + 1, calendar), 'month');
}

/** The days YYYYMMDD of the month YYYYMM, and of short months some that do not exist. */
export function daysOf(month: number): readonly number[] {
  return Array.from({ length: 31 }, (_, index) => month * 100 + index + 1);
}

/** An instant within the day YYYYMMDD. */
export function instantOfDay(day: number, calendar: Calendar): Instant {
  const year = Math.floor(day / 10_000);
  const month = Math.floor(day / 100) % 100;
  const noon = Date.UTC(year, month - 1, day % 100, 12) / 1000;
  // Zones reach from −12 to +14 hours, so noon in UTC may belong to the day after.
  return calendar.day(noon) > day ? noon - 12 * 3600 : noon;
}
