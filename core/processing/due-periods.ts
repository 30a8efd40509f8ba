import type { Calendar, Instant, Period } from '../plugin-api/index.js';

export interface PeriodRule {
  readonly periodSeconds: number;
  /** Periods to wait after a period began before it is rated. */
  readonly waitPeriods: number;
  readonly compat: 'strict' | 'fixed';
}

/** The period that follows a watermark. */
export function periodAt(watermark: Instant, rule: PeriodRule): Period {
  return { begin: watermark, end: watermark + rule.periodSeconds };
}

/**
 * When the period that begins at `begin` may be rated. The reference waits `wait_periods` from the period's begin, and
 * strictly longer (spec: processor, "Which timestamp comes next"); `fixed` never rates a period that is still open.
 */
export function dueAt(begin: Instant, rule: PeriodRule): Instant {
  if (rule.compat === 'strict') return begin + rule.waitPeriods * rule.periodSeconds + 1;
  return begin + Math.max(1, rule.waitPeriods) * rule.periodSeconds;
}

/** Periods from the watermark on that are due at `now`, oldest first, at most `limit`. */
export function duePeriods(
  watermark: Instant,
  now: Instant,
  rule: PeriodRule,
  limit: number,
): readonly Period[] {
  const periods: Period[] = [];
  for (
    let begin = watermark;
    periods.length < limit && dueAt(begin, rule) <= now;
    begin += rule.periodSeconds
  ) {
    periods.push(periodAt(begin, rule));
  }
  return periods;
}

/** How many periods from the watermark on are due at `now`. */
export function dueCount(watermark: Instant, now: Instant, rule: PeriodRule): number {
  const first = dueAt(watermark, rule);
  return now < first ? 0 : Math.floor((now - first) / rule.periodSeconds) + 1;
}

/**
 * Where a new scope starts: at the begin of the current month of the billing time zone, as in the reference; `fixed` does
 * not start before the source can answer. Periods keep the phase of the month's begin.
 */
export function firstBegin(
  now: Instant,
  earliest: Instant | undefined,
  rule: PeriodRule,
  calendar: Calendar,
): Instant {
  const monthBegin = calendar.slice(now, 'month').begin;
  if (rule.compat === 'strict' || earliest === undefined || earliest <= monthBegin) return monthBegin;
  const periods = Math.ceil((earliest - monthBegin) / rule.periodSeconds);
  return monthBegin + periods * rule.periodSeconds;
}

/** The first instant of the grid of `phase` that is not before `instant`. */
export function alignUp(instant: Instant, phase: Instant, periodSeconds: number): Instant {
  return phase + Math.ceil((instant - phase) / periodSeconds) * periodSeconds;
}
