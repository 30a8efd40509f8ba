import type { Decimal, Instant, Period } from '../plugin-api/index.js';

/** A running CloudKitty, as far as it has rated. */
export interface Counterpart {
  readonly precision: Precision;
  /** By scope id, the first instant that is not rated yet. */
  frontiers(signal: AbortSignal): Promise<ReadonlyMap<string, Instant>>;
  /** Sums of what begins in the period. */
  sums(period: Period, signal: AbortSignal): Promise<readonly ScopeSum[]>;
  close(): Promise<void>;
}

/** How exactly CloudKitty keeps what it has computed. Anything within it is no difference of prices. */
export interface Precision {
  /** Of the quantity of one point, absolute. */
  readonly quantity: Decimal;
  /** Of any sum, as a share of it. */
  readonly share: Decimal;
}

export interface Sums {
  readonly quantity: Decimal;
  readonly price: Decimal;
}

export interface ScopeSum extends Sums {
  readonly scopeId: string;
  readonly metric: string;
}
