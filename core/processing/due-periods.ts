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
 * @param first begin of the first period that the scope ever has, while that is not rated: the reference does not wait for it.
 */
export function dueAt(begin: Instant, rule: PeriodRule, first?: Instant): Instant {
  if (rule.compat === 'strict')
    return begin === first ? begin : begin + rule.waitPeriods * rule.periodSeconds + 1;
  return begin + Math.max(1, rule.waitPeriods) * rule.periodSeconds;
}

/** Begin of the first period that a scope ever has; undefined when a period of it was rated or it has no begin yet. */
export function firstPeriodOf(state: {
  readonly watermark: Instant | undefined;
  readonly lastBegin: Instant | undefined;
}): Instant | undefined {
  return state.lastBegin === undefined ? state.watermark : undefined;
}

/** Periods from the watermark on that are due at `now`, oldest first, at most `limit`. */
export function duePeriods(
  watermark: Instant,
  now: Instant,
  rule: PeriodRule,
  limit: number,
  first?: Instant,
): readonly Period[] {
  const periods: Period[] = [];
  for (
    let begin = watermark;
    periods.length < limit && dueAt(begin, rule, first) <= now;
    begin += rule.periodSeconds
  ) {
    periods.push(periodAt(begin, rule));
  }
  return periods;
}

/** How many periods from the watermark on are due at `now`. */
export function dueCount(watermark: Instant, now: Instant, rule: PeriodRule, first?: Instant): number {
  const waited = dueAt(watermark, rule);
  if (now >= waited) return Math.floor((now - waited) / rule.periodSeconds) + 1;
  return now >= dueAt(watermark, rule, first) ? 1 : 0;
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
