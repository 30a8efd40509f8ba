/** Which stored rule a listed one changes. */
import { Decimal } from '../../../core/plugin-api/index.js';
import type { ListedMapping, ListedThreshold } from './price-list.js';
import {
  generatedName,
  type MappingColumns,
  type RuleColumns,
  type StoredMapping,
  type StoredRule,
  type StoredThreshold,
  type ThresholdColumns,
} from './rule-store.js';

/** Internal ids of what a rule belongs to; one of the two is null. */
export interface Parent {
  readonly serviceId: number | null;
  readonly fieldId: number | null;
}

/** A listed rule, what is to be written of it, and the stored rule that it changes, if there is one. */
export interface Pair<L, S, C> {
  readonly listed: L;
  readonly columns: C;
  readonly stored: S | undefined;
}

export type MappingPair = Pair<ListedMapping, StoredMapping, MappingColumns>;
export type ThresholdPair = Pair<ListedThreshold, StoredThreshold, ThresholdColumns>;

export interface Placement<L> {
  readonly listed: L;
  readonly parent: Parent;
  readonly groupId: number | null;
}

/** Pairs, and the stored rules that nothing listed changes. */
export interface Pairing<P, S> {
  readonly pairs: readonly P[];
  readonly unlisted: readonly S[];
}

/** A name is the firmest hint; then what the mapping applies to and since when. */
export function pairMappings(
  placements: readonly Placement<ListedMapping>[],
  stored: readonly StoredMapping[],
): Pairing<MappingPair, StoredMapping> {
  const byName = new Map(stored.map((mapping) => [mapping.name, mapping]));
  const named = placements.map(({ listed }) =>
    listed.name === undefined ? undefined : byName.get(listed.name),
  );
  const taken = new Set(named);
  const free = new Queues(
    stored.filter((mapping) => !taken.has(mapping)),
    (mapping) => mappingIdentity(storedMappingColumns(mapping)),
  );
  const pairs = placements.map((placement, index) => {
    const columns = mappingColumns(placement);
    const match = named[index] ?? free.take(mappingIdentity(columns));
    const name = placement.listed.name ?? match?.name ?? generatedName();
    return { listed: placement.listed, columns: { ...columns, name }, stored: match };
  });
  return { pairs, unlisted: free.rest() };
}

export function pairThresholds(
  placements: readonly Placement<ListedThreshold>[],
  stored: readonly StoredThreshold[],
): Pairing<ThresholdPair, StoredThreshold> {
  const free = new Queues(stored, (threshold) => thresholdIdentity(storedThresholdColumns(threshold)));
  const pairs = placements.map((placement) => {
    const columns = { ...ruleColumns(placement), level: Decimal.parse(placement.listed.level) };
    return { listed: placement.listed, columns, stored: free.take(thresholdIdentity(columns)) };
  });
  return { pairs, unlisted: free.rest() };
}

export function storedMappingColumns(stored: StoredMapping): MappingColumns {
  const { value, name, description, start, end } = stored;
  return { ...storedRuleColumns(stored), value, name, description, start, end };
}

export function storedThresholdColumns(stored: StoredThreshold): ThresholdColumns {
  return { ...storedRuleColumns(stored), level: stored.level };
}

/** True when writing the columns would change nothing. */
export function sameColumns<C extends RuleColumns>(left: C, right: C): boolean {
  return columnsText(left) === columnsText(right);
}

/** Columns in the order of their names; decimals print without their scale. */
function columnsText(columns: RuleColumns): string {
  const entries = Object.entries(columns).sort(([a], [b]) => (a < b ? -1 : 1));
  // Below a service a missing value and an empty one are the same.
  return JSON.stringify(entries.map(([name, value]) => [name, name === 'value' ? (value ?? '') : value]));
}

function mappingColumns(placement: Placement<ListedMapping>): MappingColumns {
  const { value, start, end, description } = placement.listed;
  return {
    ...ruleColumns(placement),
    value: value ?? '',
    name: '',
    description: description ?? null,
    start,
    end: end ?? null,
  };
}

function ruleColumns({ listed, parent, groupId }: Placement<ListedMapping | ListedThreshold>): RuleColumns {
  const { serviceId, fieldId } = parent;
  const { type, cost, tenant } = listed;
  return { type, cost: Decimal.parse(cost), serviceId, fieldId, groupId, tenant: tenant ?? null };
}

function storedRuleColumns({ type, cost, service, field, group, tenant }: StoredRule): RuleColumns {
  return {
    type,
    cost,
    serviceId: service?.id ?? null,
    fieldId: field?.id ?? null,
    groupId: group?.id ?? null,
    tenant,
  };
}

function mappingIdentity({ serviceId, fieldId, groupId, tenant, value, start }: MappingColumns): string {
  return JSON.stringify([serviceId, fieldId, groupId, tenant, value ?? '', start]);
}

function thresholdIdentity({ serviceId, fieldId, groupId, tenant, level }: ThresholdColumns): string {
  return JSON.stringify([serviceId, fieldId, groupId, tenant, level]);
}

/** Items by key, taken in their order. */
class Queues<T> {
  readonly #queues = new Map<string, T[]>();

  constructor(items: readonly T[], keyOf: (item: T) => string) {
    for (const item of items) {
      const queue = this.#queues.get(keyOf(item));
      if (queue === undefined) this.#queues.set(keyOf(item), [item]);
      else queue.push(item);
    }
  }

  take(key: string): T | undefined {
    return this.#queues.get(key)?.shift();
  }

  rest(): T[] {
    return [...this.#queues.values()].flat();
  }
}
