/** How a price comes about, told rule by rule. */
import {
  type Decimal,
  describedAttribute,
  type ExplanationStep,
  type JsonValue,
  type RatedPoint,
} from '../../../core/plugin-api/index.js';
import { type NumberReader, selectedRules, selectRules } from './field-match.js';
import { fieldText } from './field-value.js';
import { type GroupState, GroupStates, productOf } from './price-plan.js';
import {
  type Charge,
  DEFAULT_GROUP,
  type FieldTable,
  type LevelCharge,
  type ServiceTable,
} from './rule-table.js';

/** Steps in the order of rating: service mappings, service thresholds, fields, then one sum per group. */
export function explainPoint(
  service: ServiceTable | undefined,
  point: RatedPoint,
  readNumber: NumberReader,
): readonly ExplanationStep[] {
  const { metric } = point.descriptor;
  if (service === undefined)
    return [{ text: `no rules for metric '${metric}': the price stays`, price: point.price }];
  const explanation = new Explanation(point);
  explanation.service(service);
  for (const field of service.fields) explanation.field(field, readNumber);
  return explanation.steps();
}

class Explanation {
  readonly #point: RatedPoint;
  readonly #states = new GroupStates();
  readonly #steps: ExplanationStep[] = [];
  #price: Decimal;

  constructor(point: RatedPoint) {
    this.#point = point;
    this.#price = point.price;
  }

  service(service: ServiceTable): void {
    for (const charge of service.charges) this.#mapping(charge, `metric ${service.name}`);
    const { quantity } = this.#point;
    const { thresholds } = service;
    for (const charge of thresholds.reached(thresholds.countReached(quantity)))
      this.#threshold(charge, 'service', `quantity ${quantity}`);
  }

  field(field: FieldTable, readNumber: NumberReader): void {
    const { descriptor } = this.#point;
    const value = describedAttribute(descriptor, field.name);
    if (value === undefined) return;
    const subject = `${field.name}=${fieldText(value)}`;
    const match = selectedRules(field, selectRules(field, descriptor, readNumber));
    for (const charge of match.charges) this.#mapping(charge, subject);
    for (const charge of match.reached) this.#threshold(charge, 'field', subject);
  }

  /** Adds up the groups; without any, says so. */
  steps(): readonly ExplanationStep[] {
    const states = this.#states.all;
    for (const state of states) this.#addGroup(state);
    if (states.length === 0) this.#say('no rule applies: the price stays');
    return this.#steps;
  }

  #mapping(charge: Charge, subject: string): void {
    const taken = this.#states.apply(charge);
    const suffix = taken ? '' : ': not above the flat of its group';
    this.#say(
      `${charge.type} ${charge.cost} for ${subject} (${groupLabel(charge.group)})${suffix}`,
      charge.rule,
    );
  }

  #threshold(charge: LevelCharge, scope: 'service' | 'field', subject: string): void {
    const taken = this.#states.consider(charge, scope);
    const suffix = taken ? '' : ': not above the level that its group has';
    this.#say(
      `${charge.type} ${charge.cost} from level ${charge.level} for ${subject} (${groupLabel(charge.group)})${suffix}`,
      charge.rule,
    );
  }

  #addGroup(state: GroupState): void {
    const { quantity } = this.#point;
    const product = productOf(state);
    let amount = product.times(quantity).round();
    let text = `${groupLabel(state.group)}: ${factors(state)} × quantity ${quantity}`;
    if (state.threshold !== undefined && state.thresholdScope === 'service') {
      const { type, cost } = state.threshold;
      amount = (type === 'flat' ? amount.plus(cost) : amount.times(cost)).round();
      text = type === 'flat' ? `${text} + ${cost}` : `${text} × ${cost}`;
    }
    this.#price = this.#price.plus(amount).round();
    this.#say(`${text} = ${amount}`);
  }

  #say(text: string, rule?: Charge['rule']): void {
    this.#steps.push({
      text,
      ...(rule === undefined ? {} : { rule: rule as unknown as JsonValue }),
      price: this.#price,
    });
  }
}

function factors(state: GroupState): string {
  const { threshold } = state;
  const fieldThreshold = state.thresholdScope === 'field' ? threshold : undefined;
  const flat = fieldThreshold?.type === 'flat' ? `(${state.flat} + ${fieldThreshold.cost})` : `${state.flat}`;
  const rate = fieldThreshold?.type === 'rate' ? `${state.rate} × ${fieldThreshold.cost}` : `${state.rate}`;
  return `rate ${rate} × flat ${flat}`;
}

function groupLabel(group: string): string {
  return group === DEFAULT_GROUP ? 'group default' : `group ${group}`;
}
