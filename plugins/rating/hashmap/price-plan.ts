/** What the rules make of a point, as far as it does not depend on the exact quantity. */
import { Decimal } from '../../../core/plugin-api/index.js';
import type { Charge, LevelCharge } from './rule-table.js';

/** The part of one group: `r = product × quantity`, then the service threshold. */
interface PlanStep {
  /** rate × flat, rounded; field thresholds are in it. */
  readonly product: Decimal;
  readonly serviceThreshold: Pick<Charge, 'type' | 'cost'> | undefined;
}

export interface PricePlan {
  readonly steps: readonly PlanStep[];
  /** The first group adds nothing, which still rounds the former price. */
  readonly roundsFormerPrice: boolean;
}

export interface GroupState {
  readonly group: string;
  flat: Decimal;
  rate: Decimal;
  threshold: LevelCharge | undefined;
  thresholdScope: 'service' | 'field';
}

const NO_LEVEL = Decimal.fromInteger(-1);

/** Groups in the order in which their first rule applied; that is the order in which they are added up. */
export class GroupStates {
  readonly #states = new Map<string, GroupState>();

  get all(): readonly GroupState[] {
    return [...this.#states.values()];
  }

  /** Multiplies a rate, or takes a flat that is above the group's. False when the flat is not. */
  apply(charge: Charge): boolean {
    const state = this.#stateOf(charge.group);
    if (charge.type === 'rate') state.rate = state.rate.times(charge.cost).round();
    else if (charge.cost.compare(state.flat) > 0) state.flat = charge.cost;
    else return false;
    return true;
  }

  /** Takes a threshold whose level is above that of the group's present one (above -1 at first). False when it is not. */
  consider(charge: LevelCharge, scope: 'service' | 'field'): boolean {
    const state = this.#stateOf(charge.group);
    if (charge.level.compare(state.threshold?.level ?? NO_LEVEL) <= 0) return false;
    state.threshold = charge;
    state.thresholdScope = scope;
    return true;
  }

  #stateOf(group: string): GroupState {
    let state = this.#states.get(group);
    if (state === undefined) {
      state = { group, flat: Decimal.ZERO, rate: Decimal.ONE, threshold: undefined, thresholdScope: 'field' };
      this.#states.set(group, state);
    }
    return state;
  }
}

/** Reduces the groups to what depends on the quantity. */
export function planOf(states: readonly GroupState[]): PricePlan {
  const steps = states.map(planStep);
  return {
    steps: steps.filter(hasEffect),
    roundsFormerPrice: steps[0] !== undefined && !hasEffect(steps[0]),
  };
}

/** The price after adding every group, rounded to 28 significant digits after every operation. */
export function priceOf(plan: PricePlan, quantity: Decimal, formerPrice: Decimal): Decimal {
  let price = plan.roundsFormerPrice ? formerPrice.round() : formerPrice;
  for (const step of plan.steps) price = sum(price, amountOf(step, quantity));
  return price;
}

/** rate × flat of a group, field thresholds included. */
export function productOf(state: GroupState): Decimal {
  let { flat, rate } = state;
  if (state.thresholdScope === 'field') {
    if (state.threshold?.type === 'rate') rate = rate.times(state.threshold.cost).round();
    // Without a threshold zero is added, which rounds.
    else flat = flat.plus(state.threshold?.cost ?? Decimal.ZERO).round();
  }
  return rate.times(flat).round();
}

function planStep(state: GroupState): PlanStep {
  return {
    product: withoutTrailingZeros(productOf(state)),
    serviceThreshold: state.thresholdScope === 'service' ? state.threshold : undefined,
  };
}

function hasEffect(step: PlanStep): boolean {
  return !step.product.isZero || step.serviceThreshold?.type === 'flat';
}

function amountOf(step: PlanStep, quantity: Decimal): Decimal {
  const amount = step.product.times(quantity).round();
  const threshold = step.serviceThreshold;
  if (threshold === undefined) return amount;
  return (threshold.type === 'flat' ? amount.plus(threshold.cost) : amount.times(threshold.cost)).round();
}

function sum(price: Decimal, amount: Decimal): Decimal {
  // Both are rounded already, so adding to zero changes nothing.
  return price.isZero ? amount : price.plus(amount).round();
}

function withoutTrailingZeros(value: Decimal): Decimal {
  return Decimal.parse(value.toString());
}
