import type { Calendar, Instant } from '../../../core/plugin-api/index.js';

/** Attributes that CloudKitty's collectors add to every point, and by which it groups days, weeks, months and years. */
export const CALENDAR_TAGS = ['day_of_the_year', 'month', 'week_of_the_year', 'year'] as const;

const DAY_MS = 86_400_000;

/**
 * Values of `CALENDAR_TAGS` for a period's begin: day of the year and month without padding, the week, which begins on Sunday,
 * in two digits. Source: CloudKitty's metrics, calendar attributes.
 */
export function calendarTags(begin: Instant, calendar: Calendar): readonly string[] {
  const date = calendar.day(begin);
  const year = Math.floor(date / 10_000);
  const month = Math.floor(date / 100) % 100;
  const day = Date.UTC(year, month - 1, date % 100) / DAY_MS;
  const dayOfYear = day - Date.UTC(year, 0, 1) / DAY_MS + 1;
  // 1970-01-01 was a Thursday.
  const weekday = (((day + 4) % 7) + 7) % 7;
  const week = Math.floor((dayOfYear + 6 - weekday) / 7);
  return [String(dayOfYear), String(month), String(week).padStart(2, '0'), String(year).padStart(4, '0')];
}
