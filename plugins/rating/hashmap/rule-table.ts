/** Rules of one scope that are active at one instant, arranged for look-up. */
import { Decimal } from '../../../core/plugin-api/index.js';
import type { FieldNumber } from './field-value.js';
import type { CostRule, CostType, HashmapRules, MappingRule, ParentRules, ThresholdRule } from './rules.js';

/** Internal name of the group of rules without group. A named group of this name is the same group. */
export const DEFAULT_GROUP = '_DEFAULT_';

export interface Charge {
  readonly group: string;
  readonly type: CostType;
  readonly cost: Decimal;
  readonly rule: CostRule;
}

export interface LevelCharge extends Charge {
  readonly level: Decimal;
}

/** Thresholds of one group below one parent, in ascending order of level. */
type Ladder = readonly LevelCharge[];

export interface FieldTable {
  readonly name: string;
  /** By text of the field: where in `charges` its mappings are. */
  readonly choices: ReadonlyMap<string, number>;
  /** The mappings of one value each, one per group at most. The first list is empty: no mapping has the value. */
  readonly charges: readonly (readonly Charge[])[];
  readonly thresholds: Thresholds;
}

export interface ServiceTable {
  readonly name: string;
  /** One per group at most. */
  readonly charges: readonly Charge[];
  readonly thresholds: Thresholds;
  readonly fields: readonly FieldTable[];
}

export type RuleTable = ReadonlyMap<string, ServiceTable>;

/** True when the mapping applies to a period that begins at `instant`. */
export function isActive(rule: MappingRule, instant: number): boolean {
  return rule.start <= instant && (rule.end === undefined || rule.end > instant);
}

/** The table of a scope (undefined: global rules only) for periods that begin at `instant`. */
export function buildRuleTable(rules: HashmapRules, tenant: string | undefined, instant: number): RuleTable {
  const table = new Map<string, ServiceTable>();
  for (const service of rules.services) {
    table.set(service.name, {
      name: service.name,
      charges: buildCharges(service, tenant, instant).map((entry) => entry.charge),
      thresholds: new Thresholds(buildLadders(service, tenant)),
      fields: service.fields.map((field) => buildField(field, tenant, instant)),
    });
  }
  return table;
}

/** The thresholds below one parent. Numbers between two neighbouring levels reach the same ones. */
export class Thresholds {
  readonly #ladders: readonly Ladder[];
  /** Distinct levels of all groups, ascending. */
  readonly #levels: readonly Decimal[];
  readonly #reached: (readonly LevelCharge[] | undefined)[] = [];

  constructor(ladders: readonly Ladder[]) {
    this.#ladders = ladders;
    this.#levels = distinctLevels(ladders);
  }

  /** Number of distinct levels. */
  get size(): number {
    return this.#levels.length;
  }

  /** How many of the distinct levels the number reaches. */
  countReached(number: FieldNumber): number {
    if (number === 'infinity') return this.#levels.length;
    if (number === '-infinity') return 0;
    return countUpTo(this.#levels, (level) => level.compare(number) <= 0);
  }

  /** Per group the highest threshold among the `count` lowest levels. */
  reached(count: number): readonly LevelCharge[] {
    this.#reached[count] ??= this.#ladders.flatMap((ladder) => {
      const highest = count === 0 ? undefined : this.#levels[count - 1]!;
      const charge = ladder.findLast(({ level }) => highest !== undefined && level.compare(highest) <= 0);
      return charge === undefined ? [] : [charge];
    });
    return this.#reached[count];
  }
}

/** Length of the leading part of a list for which `holds` is true. */
export function countUpTo<T>(items: readonly T[], holds: (item: T) => boolean): number {
  let low = 0;
  let high = items.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (holds(items[middle]!)) low = middle + 1;
    else high = middle;
  }
  return low;
}

function buildField(field: ParentRules, tenant: string | undefined, instant: number): FieldTable {
  const choices = new Map<string, number>();
  const charges: Charge[][] = [[]];
  for (const { value, charge } of buildCharges(field, tenant, instant)) {
    const choice = choices.get(value) ?? charges.push([]) - 1;
    choices.set(value, choice);
    charges[choice]!.push(charge);
  }
  return { name: field.name, choices, charges, thresholds: new Thresholds(buildLadders(field, tenant)) };
}

interface ValueCharge {
  readonly value: string;
  readonly charge: Charge;
}

/** Group after group in the order of their first rule; of one group and value, the last rule entered stays. */
function buildCharges(parent: ParentRules, tenant: string | undefined, instant: number): ValueCharge[] {
  const groups = new Map<string, Map<string, ValueCharge>>();
  for (const rule of inOrderOfEntry(parent.mappings, tenant)) {
    if (!isActive(rule, instant)) continue;
    const value = rule.value ?? '';
    const charge = toCharge(rule);
    groupOf(groups, charge.group).set(value, { value, charge });
  }
  return [...groups.values()].flatMap((values) => [...values.values()]);
}

function buildLadders(parent: ParentRules, tenant: string | undefined): Ladder[] {
  const groups = new Map<string, Map<string, LevelCharge>>();
  for (const rule of inOrderOfEntry(parent.thresholds, tenant)) {
    const charge = toLevelCharge(rule);
    groupOf(groups, charge.group).set(charge.level.toString(), charge);
  }
  return [...groups.values()].map((levels) =>
    [...levels.values()].sort((left, right) => left.level.compare(right.level)),
  );
}

function groupOf<T>(groups: Map<string, Map<string, T>>, name: string): Map<string, T> {
  const known = groups.get(name);
  if (known !== undefined) return known;
  const group = new Map<string, T>();
  groups.set(name, group);
  return group;
}

/** Global rules first, then the tenant's: so the tenant's replace them. */
function inOrderOfEntry<T extends CostRule>(rules: readonly T[], tenant: string | undefined): readonly T[] {
  const global = rules.filter((rule) => rule.tenant === undefined);
  return tenant === undefined ? global : [...global, ...rules.filter((rule) => rule.tenant === tenant)];
}

function toCharge(rule: CostRule): Charge {
  return { group: rule.group ?? DEFAULT_GROUP, type: rule.type, cost: plainDecimal(rule.cost), rule };
}

function toLevelCharge(rule: ThresholdRule): LevelCharge {
  return { ...toCharge(rule), level: plainDecimal(rule.level) };
}

/** Without trailing zeros: small coefficients compute faster, and the value decides, not the scale. */
function plainDecimal(text: string): Decimal {
  return Decimal.parse(Decimal.parse(text).toString());
}

function distinctLevels(ladders: readonly Ladder[]): Decimal[] {
  const levels = new Map<string, Decimal>();
  for (const ladder of ladders)
    for (const charge of ladder) levels.set(charge.level.toString(), charge.level);
  return [...levels.values()].sort((left, right) => left.compare(right));
}
