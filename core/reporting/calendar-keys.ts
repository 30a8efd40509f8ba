export type CalendarUnit = 'day' | 'week' | 'month' | 'year';

const MS_PER_DAY = 86_400_000;

/**
 * The part of a date (YYYYMMDD) as the reference's collectors write it (spec: metrics, calendar attributes): day of the year
 * and month without padding, two digits for the week, which begins on Sunday, with 00 before the first one.
 */
export function calendarText(unit: CalendarUnit, day: number): string {
  const year = Math.floor(day / 10_000);
  if (unit === 'year') return String(year).padStart(4, '0');
  const month = Math.floor(day / 100) % 100;
  if (unit === 'month') return String(month);
  const dayOfYear = utcDay(year, month, day % 100) - utcDay(year, 1, 1) + 1;
  if (unit === 'day') return String(dayOfYear);
  // 1970-01-01 was a Thursday.
  const weekday = (((utcDay(year, month, day % 100) + 4) % 7) + 7) % 7;
  return String(Math.floor((dayOfYear + 6 - weekday) / 7)).padStart(2, '0');
}

/** Days since 1970-01-01. */
function utcDay(year: number, month: number, day: number): number {
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  return date.getTime() / MS_PER_DAY;
}
