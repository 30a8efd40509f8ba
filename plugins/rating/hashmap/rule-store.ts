/** The stored rules, for the configuration API and for documents. Rating reads them through `loadRules`. */
import { randomUUID } from 'node:crypto';
import {
  Decimal,
  type Instant,
  type SqlReader,
  type SqlRow,
  type SqlTransaction,
  type SqlValue,
} from '../../../core/plugin-api/index.js';
import type { CostType } from './rules.js';

/** `id` is internal and orders by creation; `uuid` is what clients see. */
export interface StoredName {
  readonly id: number;
  readonly uuid: string;
  readonly name: string;
}

export interface StoredField extends StoredName {
  readonly service: StoredKey;
  readonly position: number;
}

/** A reference to a service, field or group. */
export interface StoredKey {
  readonly id: number;
  readonly uuid: string;
}

export interface StoredRule {
  readonly id: number;
  readonly uuid: string;
  readonly position: number;
  readonly type: CostType;
  readonly cost: Decimal;
  readonly service: StoredKey | undefined;
  readonly field: StoredKey | undefined;
  readonly group: StoredKey | undefined;
  readonly tenant: string | null;
}

export interface StoredMapping extends StoredRule {
  readonly value: string | null;
  readonly name: string;
  readonly description: string | null;
  readonly createdAt: Instant;
  readonly start: Instant;
  readonly end: Instant | null;
  readonly deletedAt: Instant | null;
  readonly createdBy: string;
  readonly updatedBy: string | null;
  readonly deletedBy: string | null;
}

export interface StoredThreshold extends StoredRule {
  readonly level: Decimal;
}

/** What is written of a rule; ids are internal. */
export interface RuleColumns {
  readonly type: CostType;
  readonly cost: Decimal;
  readonly serviceId: number | null;
  readonly fieldId: number | null;
  readonly groupId: number | null;
  readonly tenant: string | null;
}

export interface MappingColumns extends RuleColumns {
  readonly value: string | null;
  readonly name: string;
  readonly description: string | null;
  readonly start: Instant;
  readonly end: Instant | null;
}

export interface ThresholdColumns extends RuleColumns {
  readonly level: Decimal;
}

/** A part of a WHERE clause over the aliases `rule`, `service`, `field` and `rule_group`. */
export interface Condition {
  readonly sql: string;
  readonly parameters: readonly SqlValue[];
}

export function condition(sql: string, ...parameters: readonly SqlValue[]): Condition {
  return { sql, parameters };
}

export const ALIVE = condition('rule.deleted_at IS NULL');

const PARENT_COLUMNS =
  'rule.id, rule.position, rule.map_type, rule.cost, rule.tenant_id, ' +
  'service.id, service.service_id, field.id, field.field_id, rule_group.id, rule_group.group_id';
const PARENT_JOINS =
  'LEFT JOIN ratecat_hashmap_services service ON service.id = rule.service_id ' +
  'LEFT JOIN ratecat_hashmap_fields field ON field.id = rule.field_id ' +
  'LEFT JOIN ratecat_hashmap_groups rule_group ON rule_group.id = rule.group_id';
const PARENT_WIDTH = 11;

/** Makes this transaction the only one that changes rules until it ends; the first statement of every writer. */
export async function takeTurn(tx: SqlTransaction): Promise<void> {
  await tx.execute('UPDATE ratecat_hashmap_lock SET turn = turn + 1 WHERE id = 1');
}

// ------------------------------------------------------------------------------------------ services, fields, groups

export type NamedTable = 'services' | 'groups';
const PUBLIC_ID = {
  services: 'service_id',
  groups: 'group_id',
  fields: 'field_id',
  mappings: 'mapping_id',
  thresholds: 'threshold_id',
} as const;

export type RuleTable = keyof typeof PUBLIC_ID;

export async function readNames(reader: SqlReader, table: NamedTable): Promise<readonly StoredName[]> {
  const rows = await reader.query(
    `SELECT id, ${PUBLIC_ID[table]}, name FROM ratecat_hashmap_${table} ORDER BY id`,
  );
  return rows.map(toName);
}

export async function findName(
  reader: SqlReader,
  table: NamedTable,
  by: 'uuid' | 'name',
  value: string,
): Promise<StoredName | undefined> {
  const column = by === 'uuid' ? PUBLIC_ID[table] : 'name';
  const rows = await reader.query(
    `SELECT id, ${PUBLIC_ID[table]}, name FROM ratecat_hashmap_${table} WHERE ${column} = ?`,
    [value],
  );
  return rows.map(toName)[0];
}

export async function insertName(
  tx: SqlTransaction,
  table: NamedTable,
  name: string,
  uuid: string,
): Promise<StoredName> {
  const { insertId } = await tx.execute(
    `INSERT INTO ratecat_hashmap_${table} (${PUBLIC_ID[table]}, name) VALUES (?, ?)`,
    [uuid, name],
  );
  return { id: insertId, uuid, name };
}

export async function readFields(reader: SqlReader, where?: Condition): Promise<readonly StoredField[]> {
  const rows = await reader.query(
    `SELECT field.id, field.field_id, field.name, field.position, service.id, service.service_id
     FROM ratecat_hashmap_fields field JOIN ratecat_hashmap_services service ON service.id = field.service_id
     ${where === undefined ? '' : `WHERE ${where.sql}`} ORDER BY field.position, field.id`,
    where?.parameters ?? [],
  );
  return rows.map((row) => ({
    ...toName(row),
    position: Number(row[3]),
    service: { id: Number(row[4]), uuid: String(row[5]) },
  }));
}

export async function insertField(
  tx: SqlTransaction,
  service: StoredKey,
  name: string,
  position: number,
  uuid: string,
): Promise<StoredField> {
  const { insertId } = await tx.execute(
    'INSERT INTO ratecat_hashmap_fields (field_id, name, service_id, position) VALUES (?, ?, ?, ?)',
    [uuid, name, service.id, position],
  );
  return { id: insertId, uuid, name, service: { id: service.id, uuid: service.uuid }, position };
}

/** Removes the row; the database removes what depends on it, or takes rules out of a removed group. */
export async function deleteRow(
  tx: SqlTransaction,
  table: NamedTable | 'fields' | 'thresholds',
  id: number,
): Promise<void> {
  await tx.execute(`DELETE FROM ratecat_hashmap_${table} WHERE id = ?`, [id]);
}

/** Removes every rule of a group for good, deleted mappings too. */
export async function deleteRulesOfGroup(tx: SqlTransaction, group: StoredKey): Promise<void> {
  for (const table of ['mappings', 'thresholds'])
    await tx.execute(`DELETE FROM ratecat_hashmap_${table} WHERE group_id = ?`, [group.id]);
}

// ------------------------------------------------------------------------------------------------------------ rules

export async function readMappings(
  reader: SqlReader,
  conditions: readonly Condition[] = [],
): Promise<readonly StoredMapping[]> {
  const rows = await reader.query(
    `SELECT ${PARENT_COLUMNS}, rule.mapping_id, rule.value, rule.name, rule.description, rule.created_at,
       rule.starts_at, rule.ends_at, rule.deleted_at, rule.created_by, rule.updated_by, rule.deleted_by
     FROM ratecat_hashmap_mappings rule ${PARENT_JOINS} ${whereClause(conditions)}`,
    conditions.flatMap(({ parameters }) => parameters),
  );
  return rows.map(toMapping);
}

export async function readThresholds(
  reader: SqlReader,
  conditions: readonly Condition[] = [],
): Promise<readonly StoredThreshold[]> {
  const rows = await reader.query(
    `SELECT ${PARENT_COLUMNS}, rule.threshold_id, rule.level
     FROM ratecat_hashmap_thresholds rule ${PARENT_JOINS} ${whereClause(conditions)}`,
    conditions.flatMap(({ parameters }) => parameters),
  );
  return rows.map((row) => ({
    ...toRule(row),
    uuid: String(row[PARENT_WIDTH]),
    level: Decimal.parse(String(row[PARENT_WIDTH + 1])),
  }));
}

export interface Authorship {
  readonly now: Instant;
  readonly author: string;
}

/** A rule to be added, its public id, and its place among the others. */
export interface Placed<T> {
  readonly uuid: string;
  readonly position: number;
  readonly columns: T;
}

export async function insertMappings(
  tx: SqlTransaction,
  mappings: readonly Placed<MappingColumns>[],
  { now, author }: Authorship,
): Promise<void> {
  await tx.insertRows({
    table: 'ratecat_hashmap_mappings',
    columns: ['mapping_id', 'position', 'created_at', 'created_by', ...Object.keys(MAPPING_COLUMNS)],
    rows: mappings.map(({ uuid, position, columns }) => [
      uuid,
      position,
      now,
      author,
      ...Object.values(MAPPING_COLUMNS).map((read) => read(columns)),
    ]),
  });
}

export async function updateMapping(
  tx: SqlTransaction,
  id: number,
  mapping: MappingColumns,
  author: string,
): Promise<void> {
  const assignments = Object.keys(MAPPING_COLUMNS).map((column) => `${column} = ?`);
  await tx.execute(
    `UPDATE ratecat_hashmap_mappings SET ${assignments.join(', ')}, updated_by = ? WHERE id = ?`,
    [...Object.values(MAPPING_COLUMNS).map((read) => read(mapping)), author, id],
  );
}

/** Marks a mapping as deleted; it stays readable. */
export async function deleteMapping(tx: SqlTransaction, id: number, { now, author }: Authorship) {
  await tx.execute('UPDATE ratecat_hashmap_mappings SET deleted_at = ?, deleted_by = ? WHERE id = ?', [
    now,
    author,
    id,
  ]);
}

export async function insertThresholds(
  tx: SqlTransaction,
  thresholds: readonly Placed<ThresholdColumns>[],
): Promise<void> {
  await tx.insertRows({
    table: 'ratecat_hashmap_thresholds',
    columns: ['threshold_id', 'position', ...Object.keys(THRESHOLD_COLUMNS)],
    rows: thresholds.map(({ uuid, position, columns }) => [
      uuid,
      position,
      ...Object.values(THRESHOLD_COLUMNS).map((read) => read(columns)),
    ]),
  });
}

export async function updateThreshold(
  tx: SqlTransaction,
  id: number,
  threshold: ThresholdColumns,
): Promise<void> {
  const assignments = Object.keys(THRESHOLD_COLUMNS).map((column) => `${column} = ?`);
  await tx.execute(`UPDATE ratecat_hashmap_thresholds SET ${assignments.join(', ')} WHERE id = ?`, [
    ...Object.values(THRESHOLD_COLUMNS).map((read) => read(threshold)),
    id,
  ]);
}

export async function setPosition(
  tx: SqlTransaction,
  table: 'fields' | 'mappings' | 'thresholds',
  id: number,
  position: number,
): Promise<void> {
  await tx.execute(`UPDATE ratecat_hashmap_${table} SET position = ? WHERE id = ?`, [position, id]);
}

/** Every public id of a table, those of deleted mappings too. */
export async function readPublicIds(reader: SqlReader, table: RuleTable): Promise<ReadonlySet<string>> {
  const rows = await reader.query(`SELECT ${PUBLIC_ID[table]} FROM ratecat_hashmap_${table}`);
  return new Set(rows.map(([id]) => String(id)));
}

/** A position behind all present ones. */
export async function nextPosition(
  tx: SqlReader,
  table: 'fields' | 'mappings' | 'thresholds',
): Promise<number> {
  const rows = await tx.query(`SELECT MAX(position) FROM ratecat_hashmap_${table}`);
  const last = rows[0]?.[0] ?? null;
  return last === null ? 1 : Number(last) + 1;
}

/** A name for a mapping whose author gave none. */
export function generatedName(): string {
  return randomUUID().replaceAll('-', '');
}

/** True for names that `generatedName` could have made. */
export function isGeneratedName(name: string): boolean {
  return /^[0-9a-f]{32}$/.test(name);
}

const RULE_COLUMNS = {
  map_type: (rule: RuleColumns): SqlValue => rule.type,
  cost: (rule: RuleColumns): SqlValue => rule.cost.toString(),
  service_id: (rule: RuleColumns): SqlValue => rule.serviceId,
  field_id: (rule: RuleColumns): SqlValue => rule.fieldId,
  group_id: (rule: RuleColumns): SqlValue => rule.groupId,
  tenant_id: (rule: RuleColumns): SqlValue => rule.tenant,
} as const;

const MAPPING_COLUMNS = {
  ...RULE_COLUMNS,
  value: (mapping: MappingColumns): SqlValue => mapping.value,
  name: (mapping: MappingColumns): SqlValue => mapping.name,
  description: (mapping: MappingColumns): SqlValue => mapping.description,
  starts_at: (mapping: MappingColumns): SqlValue => mapping.start,
  ends_at: (mapping: MappingColumns): SqlValue => mapping.end,
} as const;

const THRESHOLD_COLUMNS = {
  ...RULE_COLUMNS,
  level: (threshold: ThresholdColumns): SqlValue => threshold.level.toString(),
} as const;

function whereClause(conditions: readonly Condition[]): string {
  const where = conditions.length === 0 ? '' : `WHERE ${conditions.map(({ sql }) => sql).join(' AND ')} `;
  return `${where}ORDER BY rule.position, rule.id`;
}

function toName([id, uuid, name]: SqlRow): StoredName {
  return { id: Number(id), uuid: String(uuid), name: String(name) };
}

function toKey(id: SqlValue | undefined, uuid: SqlValue | undefined): StoredKey | undefined {
  return id === null ? undefined : { id: Number(id), uuid: String(uuid) };
}

function toRule(row: SqlRow): Omit<StoredRule, 'uuid'> {
  const [id, position, type, cost, tenant] = row;
  return {
    id: Number(id),
    position: Number(position),
    type: type as CostType,
    cost: Decimal.parse(String(cost)),
    tenant: nullableText(tenant),
    service: toKey(row[5], row[6]),
    field: toKey(row[7], row[8]),
    group: toKey(row[9], row[10]),
  };
}

function toMapping(row: SqlRow): StoredMapping {
  const [uuid, value, name, description, createdAt, start, end, deletedAt, createdBy, updatedBy, deletedBy] =
    row.slice(PARENT_WIDTH);
  return {
    ...toRule(row),
    uuid: String(uuid),
    value: nullableText(value),
    name: String(name),
    description: nullableText(description),
    createdAt: Number(createdAt),
    start: Number(start),
    end: nullableInstant(end),
    deletedAt: nullableInstant(deletedAt),
    createdBy: String(createdBy),
    updatedBy: nullableText(updatedBy),
    deletedBy: nullableText(deletedBy),
  };
}

function nullableText(value: SqlValue | undefined): string | null {
  return value === null || value === undefined ? null : String(value);
}

function nullableInstant(value: SqlValue | undefined): Instant | null {
  return value === null || value === undefined ? null : Number(value);
}
