import { isRatecatError } from '../plugin-api/index.js';

export interface RetryRule {
  readonly firstSeconds: number;
  readonly maxSeconds: number;
  /** Failures in a row after which a scope counts as stuck. */
  readonly stuckAfter: number;
}

/**
 * Seconds to wait after the n-th failure in a row (1, 2, …): doubled each time up to the maximum, then shortened by up to a
 * half at random, so that many scopes do not come back at once. `random` gives [0, 1).
 */
export function retryDelaySeconds(failures: number, rule: RetryRule, random: () => number): number {
  const ceiling = Math.min(rule.maxSeconds, rule.firstSeconds * 2 ** Math.min(failures - 1, 30));
  return Math.max(1, Math.round(ceiling * (1 - random() / 2)));
}

/** Whether waiting alone can help. What needs a person is tried again at the slowest pace. */
export function waitingMayHelp(error: unknown): boolean {
  return !isRatecatError(error) || error.retryable;
}
