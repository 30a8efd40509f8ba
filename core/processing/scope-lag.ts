import type { Instant } from '../plugin-api/index.js';
import type { ScopeState } from '../scopes/scope-states.js';
import { dueAt, dueCount, firstPeriodOf, type PeriodRule } from './due-periods.js';

export interface ScopeLag {
  /** Due periods that are not rated; undefined when nobody can say: the source is not configured, or nobody has looked yet. */
  readonly periods: number | undefined;
  /** How long the oldest of them has been due. */
  readonly seconds: number;
}

/** How far a scope is behind. `rule` is that of its source, where it is configured. */
export function scopeLag(state: ScopeState, rule: PeriodRule | undefined, now: Instant): ScopeLag {
  const { watermark, active, condition } = state;
  if (rule === undefined || watermark === undefined) return { periods: undefined, seconds: 0 };
  if (!active || condition === 'gone') return { periods: 0, seconds: 0 };
  const first = firstPeriodOf(state);
  return {
    periods: dueCount(watermark, now, rule, first),
    seconds: Math.max(0, now - dueAt(watermark, rule, first)),
  };
}
