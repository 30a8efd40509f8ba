import type { Decimal, Descriptor, RatedPoint } from '../../../core/plugin-api/index.js';
import { type NumberReader, type Selection, selectedRules, selectRules } from './field-match.js';
import { GroupStates, type PricePlan, planOf, priceOf } from './price-plan.js';
import type { RuleTable, ServiceTable } from './rule-table.js';

/** What is remembered of a descriptor: the rules that apply, and the last quantity with what it came to. */
interface Memo {
  readonly rules: AppliedRules;
  lastQuantity: Decimal | undefined;
  lastPrice: Decimal | undefined;
}

/** Descriptors matched before shared rule sets are collected anew: values that come and go must not fill the memory. */
const MATCHES_PER_GENERATION = 200_000;

/** Rates points by one table. A descriptor is matched to its rules once. */
export class FrameRater {
  readonly table: RuleTable;
  readonly #readNumber: NumberReader;
  readonly #memos = new WeakMap<Descriptor, Memo>();
  readonly #roots = new Map<ServiceTable, AppliedRules>();
  #matches = 0;

  constructor(table: RuleTable, readNumber: NumberReader) {
    this.table = table;
    this.#readNumber = readNumber;
  }

  /** Points from `begin` to before `end`, with prices. */
  rate(points: readonly RatedPoint[], begin: number, end: number): RatedPoint[] {
    const rated: RatedPoint[] = [];
    for (let index = begin; index < end; index++) rated.push(this.#ratePoint(points[index]!));
    return rated;
  }

  #ratePoint(point: RatedPoint): RatedPoint {
    const { descriptor, quantity } = point;
    const memo = this.#memos.get(descriptor) ?? this.#match(descriptor);
    if (memo === undefined) return point;
    return { descriptor, quantity, price: priceOfMemo(memo, quantity, point.price) };
  }

  #match(descriptor: Descriptor): Memo | undefined {
    const service = this.table.get(descriptor.metric);
    if (service === undefined) return undefined;
    if (++this.#matches % MATCHES_PER_GENERATION === 0) this.#roots.clear();
    let rules = this.#rootOf(service);
    for (const field of service.fields) rules = rules.and(selectRules(field, descriptor, this.#readNumber));
    const memo: Memo = { rules, lastQuantity: undefined, lastPrice: undefined };
    this.#memos.set(descriptor, memo);
    return memo;
  }

  #rootOf(service: ServiceTable): AppliedRules {
    const known = this.#roots.get(service);
    if (known !== undefined) return known;
    const root = new AppliedRules(service, []);
    this.#roots.set(service, root);
    return root;
  }
}

/** A set of rules that apply together; all descriptors with the same set share it. */
class AppliedRules {
  readonly #service: ServiceTable;
  /** Field by field, in the order in which they are considered. */
  readonly #selections: readonly Selection[];
  readonly #next = new Map<Selection, AppliedRules>();
  /** By the number of service levels that the quantity reaches. */
  readonly #plans: (PricePlan | undefined)[] = [];

  constructor(service: ServiceTable, selections: readonly Selection[]) {
    this.#service = service;
    this.#selections = selections;
  }

  /** This set and the selected rules of the next field. */
  and(selection: Selection): AppliedRules {
    const known = this.#next.get(selection);
    if (known !== undefined) return known;
    const next = new AppliedRules(this.#service, [...this.#selections, selection]);
    this.#next.set(selection, next);
    return next;
  }

  planFor(quantity: Decimal): PricePlan {
    const { thresholds } = this.#service;
    const reached = thresholds.size === 0 ? 0 : thresholds.countReached(quantity);
    this.#plans[reached] ??= planOf(this.#groups(reached));
    return this.#plans[reached];
  }

  /** Applies the rules in CloudKitty's order: service mappings, service thresholds, then field by field. */
  #groups(reached: number) {
    const { charges, thresholds, fields } = this.#service;
    const states = new GroupStates();
    for (const charge of charges) states.apply(charge);
    for (const charge of thresholds.reached(reached)) states.consider(charge, 'service');
    this.#selections.forEach((selection, index) => {
      const match = selectedRules(fields[index]!, selection);
      for (const charge of match.charges) states.apply(charge);
      for (const charge of match.reached) states.consider(charge, 'field');
    });
    return states.all;
  }
}

function priceOfMemo(memo: Memo, quantity: Decimal, formerPrice: Decimal): Decimal {
  if (!formerPrice.isZero) return priceOf(memo.rules.planFor(quantity), quantity, formerPrice);
  const last = memo.lastQuantity;
  if (last?.coefficient === quantity.coefficient && last.exponent === quantity.exponent)
    return memo.lastPrice!;
  const price = priceOf(memo.rules.planFor(quantity), quantity, formerPrice);
  memo.lastQuantity = quantity;
  memo.lastPrice = price;
  return price;
}
