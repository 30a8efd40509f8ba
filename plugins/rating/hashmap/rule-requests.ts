/** What requests about mappings and thresholds have in common. */
import { Decimal, type JsonValue, type SqlReader } from '../../../core/plugin-api/index.js';
import {
  badRequest,
  type ConfigCall,
  invalid,
  type ModelBody,
  notFound,
  ok,
} from '../../shared/config-call.js';
import { groupBody, requireField, requireName } from './name-routes.js';
import { type Condition, condition, findName, type RuleColumns, type StoredRule } from './rule-store.js';
import type { CostType } from './rules.js';

/** Ids of a new rule as the request names them. */
export interface RequestedParents {
  readonly serviceUuid: string | null;
  readonly fieldUuid: string | null;
  readonly groupUuid: string | null;
}

export function requestedParents(model: ModelBody): RequestedParents {
  return {
    serviceUuid: model.uuid('service_id'),
    fieldUuid: model.uuid('field_id'),
    groupUuid: model.uuid('group_id'),
  };
}

/** An absent type is `flat`. */
export function costType(model: ModelBody): CostType {
  const value = model.value('type');
  if (value === undefined || value === 'flat') return 'flat';
  if (value === 'rate') return 'rate';
  if (value === null) throw badRequest('No mapping type: None');
  throw invalid('type', value, 'Value should be one of: flat, rate');
}

export function checkOneParent({ serviceUuid, fieldUuid }: RequestedParents): void {
  if (serviceUuid !== null && fieldUuid !== null) throw badRequest('You can only specify one parent.');
  if (serviceUuid === null && fieldUuid === null) throw badRequest('You must specify one parent.');
}

/** Internal ids; what does not exist is a bad request here, not a missing resource. */
export async function findParents(
  tx: SqlReader,
  { serviceUuid, fieldUuid, groupUuid }: RequestedParents,
): Promise<Pick<RuleColumns, 'serviceId' | 'fieldId' | 'groupId'>> {
  const field = fieldUuid === null ? null : await requireField(tx, fieldUuid, badRequest);
  const service = serviceUuid === null ? null : await requireName(tx, 'service', serviceUuid, badRequest);
  const group = groupUuid === null ? null : await requireName(tx, 'group', groupUuid, badRequest);
  return { serviceId: service?.id ?? null, fieldId: field?.id ?? null, groupId: group?.id ?? null };
}

export const RULE_FILTERS = [
  'service_id',
  'field_id',
  'group_id',
  'no_group',
  'tenant_id',
  'filter_tenant',
] as const;

/** A service wins over a field, a group over `no_group`; the tenant only counts with `filter_tenant`. */
export function ruleConditions(call: ConfigCall): Condition[] {
  const conditions: Condition[] = [];
  const service = call.text('service_id');
  const field = call.text('field_id');
  const group = call.text('group_id');
  if (service !== undefined) conditions.push(condition('service.service_id = ?', service));
  else if (field !== undefined) conditions.push(condition('field.field_id = ?', field));
  if (group !== undefined) conditions.push(condition('rule_group.group_id = ?', group));
  else if (call.flag('no_group')) conditions.push(condition('rule.group_id IS NULL'));
  if (call.flag('filter_tenant')) conditions.push(tenantCondition(call.text('tenant_id')));
  return conditions;
}

function tenantCondition(tenant: string | undefined): Condition {
  return tenant === undefined ? condition('rule.tenant_id IS NULL') : condition('rule.tenant_id = ?', tenant);
}

/** The group of a rule; none, also when the rule does not exist, is not found. */
export async function answerGroup(tx: SqlReader, rule: StoredRule | undefined, noun: string, uuid: string) {
  const group = rule?.group === undefined ? undefined : await findName(tx, 'groups', 'uuid', rule.group.uuid);
  if (group === undefined) throw notFound(`${noun} has no group (UUID: ${uuid})`);
  return ok(groupBody(group));
}

export function ruleBody(rule: StoredRule): Record<string, JsonValue> {
  return {
    service_id: rule.service?.uuid ?? null,
    field_id: rule.field?.uuid ?? null,
    group_id: rule.group?.uuid ?? null,
    tenant_id: rule.tenant,
  };
}

/** With the scale of the reference's column, in its notation. */
export function wireDecimal(value: Decimal, places: number): string {
  return Decimal.of(value.scaled(places), -places).toReferenceNotation();
}

/** `field '<uuid>'` or `service '<uuid>'`, as conflicts name the parent. */
export function parentText({ serviceUuid, fieldUuid }: RequestedParents): string {
  return fieldUuid === null ? `service '${serviceUuid}'` : `field '${fieldUuid}'`;
}
