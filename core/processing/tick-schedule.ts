import { CronTime } from 'cron';
import { DateTime } from 'luxon';
import type { Instant } from '../plugin-api/index.js';

/** When scopes are fetched and due periods looked for. `cron` computes instants; waiting is the clock's business. */
export interface TickSchedule {
  /** The first instant of the schedule after `now`. */
  next(now: Instant): Instant;
  /** Longest distance between two instants, seconds. */
  readonly longestWait: number;
}

/** After 400 years the calendar repeats itself, days of the week included. */
const CALENDAR_CYCLE_SECONDS = 146_097 * 86_400;

/** The instants of a cron expression (with seconds, UTC). @throws Error when the expression is malformed. */
export function cronSchedule(expression: string, longestWait: number): TickSchedule {
  const time = new CronTime(expression, 'UTC');
  return {
    longestWait,
    next: (now) => {
      // `cron` refuses instants that are far ahead of the machine's own clock, which is not the clock that counts here.
      const start = DateTime.fromSeconds(now - CALENDAR_CYCLE_SECONDS, { zone: 'UTC' });
      return Math.floor(time.getNextDateFrom(start).toSeconds()) + CALENDAR_CYCLE_SECONDS;
    },
  };
}

/** Once per period, at its boundary; periods that cron cannot express are counted from the epoch. */
export function periodSchedule(periodSeconds: number): TickSchedule {
  const expression = cronExpression(periodSeconds);
  if (expression !== undefined) return cronSchedule(expression, periodSeconds);
  return { longestWait: periodSeconds, next: (now) => (Math.floor(now / periodSeconds) + 1) * periodSeconds };
}

function cronExpression(periodSeconds: number): string | undefined {
  const divides = (whole: number) => whole % periodSeconds === 0;
  if (periodSeconds < 60 && divides(60)) return `*/${periodSeconds} * * * * *`;
  if (periodSeconds % 60 === 0 && periodSeconds < 3600 && divides(3600))
    return `0 */${periodSeconds / 60} * * * *`;
  if (periodSeconds % 3600 === 0 && periodSeconds < 86_400 && divides(86_400)) {
    return `0 0 */${periodSeconds / 3600} * * *`;
  }
  return periodSeconds === 86_400 ? '0 0 0 * * *' : undefined;
}
