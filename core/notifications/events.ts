import { Decimal, type Frame, type Instant, type RatedPoint, type Scope } from '../plugin-api/index.js';
import type { NewEvent } from './outbox.js';

/** An instant for receivers: `2025-01-01T00:00:00Z`. */
export function instantText(instant: Instant): string {
  return new Date(instant * 1000).toISOString().replace('.000Z', 'Z');
}

function scopeOf(source: string, { key, id, name }: Scope) {
  return { source, key, id, ...(name === undefined ? {} : { name }) };
}

/** @param reason why a period that was rated before was rated once more. */
export function periodCommitted(
  frame: Frame<RatedPoint>,
  snapshot: string,
  reason: string | undefined,
): NewEvent {
  const price = frame.points.reduce((sum, point) => sum.plus(point.price.toStored()), Decimal.ZERO);
  return {
    type: 'rating.period.committed',
    severity: 'info',
    scope: scopeOf(frame.source, frame.scope),
    payload: {
      begin: instantText(frame.period.begin),
      end: instantText(frame.period.end),
      price: price.toString(),
      points: frame.points.length,
      gaps: frame.gaps.map(({ metric, reason }) => ({ metric, reason })),
      snapshot,
      rated_again: reason !== undefined,
      reason,
    },
  };
}

export interface StuckScope {
  readonly failures: number;
  readonly reason: string;
  readonly code: string | undefined;
  readonly ratedUpTo: Instant | undefined;
}

export function scopeStuck(source: string, scope: Scope, stuck: StuckScope): NewEvent {
  const { failures, reason, code, ratedUpTo } = stuck;
  return {
    type: 'rating.scope.stuck',
    severity: 'error',
    scope: scopeOf(source, scope),
    payload: {
      failures,
      reason,
      code,
      rated_up_to: ratedUpTo === undefined ? undefined : instantText(ratedUpTo),
    },
  };
}

/** A scope is no longer stuck: its next period was rated, or it was reset. */
export function scopeRecovered(
  source: string,
  scope: Scope,
  ratedUpTo: Instant,
  how: 'rated' | 'reset',
): NewEvent {
  return {
    type: 'rating.scope.recovered',
    severity: 'info',
    scope: scopeOf(source, scope),
    payload: { rated_up_to: instantText(ratedUpTo), how },
  };
}

export interface RulesChangeFacts {
  /** Rating module whose rules or state changed. */
  readonly module: string;
  /** What was done: `rules imported`, `POST /services`, `enabled`. */
  readonly action: string;
  readonly author: string | undefined;
  /** The counter of changes after this one. */
  readonly revision: number;
}

export function rulesChanged({ module, action, author, revision }: RulesChangeFacts): NewEvent {
  return {
    type: 'rating.rules.changed',
    severity: 'info',
    scope: undefined,
    payload: { module, action, author, revision },
  };
}

export interface BudgetReached {
  readonly id: string;
  readonly budget: string;
  readonly kind: 'threshold' | 'forecast';
  /** Percent of the amount; undefined for a forecast. */
  readonly threshold: Decimal | undefined;
  readonly amount: Decimal;
  readonly spent: Decimal;
  /** Price of the whole budget period at the present rate; forecasts only. */
  readonly projected: Decimal | undefined;
  readonly unit: 'day' | 'month';
  readonly begin: Instant;
  readonly end: Instant;
  readonly ratedUpTo: Instant;
}

export function budgetReached(source: string, scope: Scope, reached: BudgetReached): NewEvent {
  const { id, budget, kind, threshold, amount, spent, projected, unit, begin, end, ratedUpTo } = reached;
  return {
    id,
    type: 'rating.budget.reached',
    severity: 'warn',
    scope: scopeOf(source, scope),
    payload: {
      budget,
      kind,
      threshold_percent: threshold?.toString(),
      amount: amount.toString(),
      spent: spent.toString(),
      projected: projected?.toString(),
      period: unit,
      begin: instantText(begin),
      end: instantText(end),
      rated_up_to: instantText(ratedUpTo),
    },
  };
}
