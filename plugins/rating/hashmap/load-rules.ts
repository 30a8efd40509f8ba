import { compareText, Decimal, type SqlReader, type SqlRow } from '../../../core/plugin-api/index.js';
import type {
  CostRule,
  CostType,
  HashmapRules,
  MappingRule,
  ParentRules,
  ServiceRules,
  ThresholdRule,
} from './rules.js';

/** All rules that are not deleted, in five queries however many there are. */
export async function loadRules(database: SqlReader, signal: AbortSignal): Promise<HashmapRules> {
  const rows = async (sql: string) => {
    signal.throwIfAborted();
    return database.query(sql);
  };
  const services = await rows('SELECT id, name FROM ratecat_hashmap_services ORDER BY id');
  const fields = await rows('SELECT id, name, service_id FROM ratecat_hashmap_fields ORDER BY position, id');
  const groups = new Map(
    (await rows('SELECT id, name FROM ratecat_hashmap_groups')).map(([id, name]) => [id, String(name)]),
  );
  const mappings = await rows(
    `SELECT service_id, field_id, mapping_id, map_type, cost, group_id, tenant_id, value, starts_at, ends_at
     FROM ratecat_hashmap_mappings WHERE deleted_at IS NULL ORDER BY position, id`,
  );
  const thresholds = await rows(
    `SELECT service_id, field_id, threshold_id, map_type, cost, group_id, tenant_id, level
     FROM ratecat_hashmap_thresholds ORDER BY position, id`,
  );
  const rulesByParent = new RulesByParent();
  for (const row of mappings) rulesByParent.of(row).mappings.push(toMapping(row, groups));
  for (const row of thresholds) rulesByParent.of(row).thresholds.push(toThreshold(row, groups));
  return assemble(services, fields, rulesByParent);
}

interface RuleLists {
  readonly mappings: MappingRule[];
  readonly thresholds: ThresholdRule[];
}

class RulesByParent {
  readonly #lists = new Map<string, RuleLists>();

  /** Rows begin with the service and the field; one of the two is null. */
  of([service, field]: SqlRow): RuleLists {
    return this.get(field === null ? `service ${service}` : `field ${field}`);
  }

  get(parent: string): RuleLists {
    const known = this.#lists.get(parent);
    if (known !== undefined) return known;
    const lists = { mappings: [], thresholds: [] };
    this.#lists.set(parent, lists);
    return lists;
  }
}

function assemble(
  services: readonly SqlRow[],
  fields: readonly SqlRow[],
  rules: RulesByParent,
): HashmapRules {
  const fieldsByService = new Map<unknown, ParentRules[]>();
  for (const [id, name, service] of fields) {
    const field = { name: String(name), ...rules.get(`field ${id}`) };
    const siblings = fieldsByService.get(service);
    if (siblings === undefined) fieldsByService.set(service, [field]);
    else siblings.push(field);
  }
  const assembled = services.map(
    ([id, name]): ServiceRules => ({
      name: String(name),
      ...rules.get(`service ${id}`),
      fields: fieldsByService.get(id) ?? [],
    }),
  );
  // Services do not compete, so their order is that of their names: equal rules are equal data.
  return { services: assembled.sort((left, right) => compareText(left.name, right.name)) };
}

type GroupNames = ReadonlyMap<unknown, string>;

function toMapping(row: SqlRow, groups: GroupNames): MappingRule {
  const [service, , , , , , , value, start, end] = row;
  return {
    ...toCostRule(row, groups),
    ...(service !== null || value === null ? {} : { value: String(value) }),
    start: Number(start),
    ...(end === null ? {} : { end: Number(end) }),
  };
}

function toThreshold(row: SqlRow, groups: GroupNames): ThresholdRule {
  return { ...toCostRule(row, groups), level: canonicalDecimal(row[7]) };
}

function toCostRule(row: SqlRow, groups: GroupNames): CostRule {
  const [, , id, type, cost, groupId, tenant] = row;
  const group = groups.get(groupId);
  return {
    id: String(id),
    type: type as CostType,
    cost: canonicalDecimal(cost),
    ...(group === undefined ? {} : { group }),
    ...(tenant === null ? {} : { tenant: String(tenant) }),
  };
}

/** The same text on every engine, whatever scale its column has. */
function canonicalDecimal(value: unknown): string {
  return Decimal.parse(String(value)).toString();
}
