import { DataError, Decimal, type Instant, type JsonValue, type SqlRow } from '../plugin-api/index.js';
import type { SourceDatabase } from './source-database.js';
import { optionalNumber, optionalText, type SourceSchema, type SourceTable } from './source-schema.js';

export interface HashmapRules {
  /** As `ratecat rules import` reads it. */
  readonly document: JsonValue;
  /** CloudKitty's ids by path of the document. */
  readonly ids: ReadonlyMap<string, string>;
  /** Mappings and thresholds in it. */
  readonly rules: number;
  /** Mappings that were deleted: they never rate again. */
  readonly deleted: number;
}

interface Rule {
  /** CloudKitty's public id. */
  readonly id: string;
  readonly parent: string;
  /** Rules of one key replace one another while both are valid. */
  readonly key: string;
  readonly start: Instant;
  readonly end: Instant;
  readonly body: Readonly<Record<string, JsonValue>>;
}

/** Before every date that a rule can have, and after. */
const ALWAYS = { start: Number.NEGATIVE_INFINITY, end: Number.POSITIVE_INFINITY };

/**
 * CloudKitty's hashmap rules as a price list, in the order in which CloudKitty reads them.
 * @throws DataError RATECAT_MIGRATE_RULE_INVALID for a rule without a cost, level, value or parent.
 */
export async function readHashmap(source: SourceDatabase, schema: SourceSchema): Promise<HashmapRules> {
  const reader = new HashmapReader(source, schema);
  return reader.read();
}

class HashmapReader {
  readonly #source: SourceDatabase;
  readonly #schema: SourceSchema;

  constructor(source: SourceDatabase, schema: SourceSchema) {
    this.#source = source;
    this.#schema = schema;
  }

  async read(): Promise<HashmapRules> {
    const services = await this.#schema.rows('hashmap_services', ['id', 'name', 'service_id'], 'id');
    const fields = await this.#schema.rows('hashmap_fields', ['id', 'name', 'field_id', 'service_id'], 'id');
    const groupRows = await this.#schema.rows('hashmap_groups', ['id', 'name', 'group_id'], 'id');
    const groups = new Map(groupRows.map(([id, name]) => [String(id), String(name)]));
    const mappings = byParent(await this.#mappings(groups));
    const thresholds = byParent(await this.#thresholds(groups));
    const ids = new Map(groupRows.map(([, , id], index) => [`groups[${index}]`, String(id)]));
    const bodies = (rules: readonly Rule[] = [], path: string) => {
      for (const [index, { id }] of rules.entries()) ids.set(`${path}[${index}]`, id);
      return rules.map(({ body }) => body);
    };
    const parentBody = (parent: string, [, name, id]: SqlRow, path: string) => {
      ids.set(path, String(id));
      return {
        name: String(name),
        mappings: bodies(mappings.get(parent), `${path}.mappings`),
        thresholds: bodies(thresholds.get(parent), `${path}.thresholds`),
      };
    };
    const document = {
      groups: [...groups.values()],
      services: services.map((service, index) => ({
        ...parentBody(`service ${String(service[0])}`, service, `services[${index}]`),
        fields: fields
          .filter((field) => field[3] === service[0])
          .map((field, place) =>
            parentBody(`field ${String(field[0])}`, field, `services[${index}].fields[${place}]`),
          ),
      })),
    };
    const rules = [...mappings.values(), ...thresholds.values()].reduce((sum, list) => sum + list.length, 0);
    return { document, ids, rules, deleted: await this.#deleted() };
  }

  async #mappings(groups: ReadonlyMap<string, string>): Promise<readonly Rule[]> {
    const table = 'hashmap_mappings';
    const rows = await this.#alive(table, [
      'mapping_id',
      ...this.#common(table),
      'value',
      this.#schema.instant(table, 'start'),
      this.#schema.instant(table, 'end'),
      this.#schema.column(table, 'name'),
      this.#schema.column(table, 'description'),
    ]);
    return rows.map((row) => {
      const name = `mapping ${String(row[0])}`;
      const { parent, isField, body, key } = readCommon(row, name, groups);
      const value = optionalText(row[7]);
      if (isField && (value === undefined || value === ''))
        throw invalid(name, 'it is on a field and has no value');
      const start = optionalNumber(row[8]);
      const end = optionalNumber(row[9]);
      const ruleName = optionalText(row[10]);
      const description = optionalText(row[11]);
      return {
        id: String(row[0]),
        parent,
        key: JSON.stringify([key, isField ? value! : '']),
        start: start ?? ALWAYS.start,
        end: end ?? ALWAYS.end,
        body: {
          ...(isField ? { value: value! } : {}),
          ...body,
          ...(start === undefined ? {} : { start: dateOf(start) }),
          ...(end === undefined ? {} : { end: dateOf(end) }),
          ...(ruleName === undefined || ruleName === '' ? {} : { name: ruleName }),
          ...(description === undefined ? {} : { description }),
        },
      };
    });
  }

  async #thresholds(groups: ReadonlyMap<string, string>): Promise<readonly Rule[]> {
    const table = 'hashmap_thresholds';
    const rows = await this.#alive(table, ['threshold_id', ...this.#common(table), 'level']);
    return rows.map((row) => {
      const name = `threshold ${String(row[0])}`;
      const { parent, body, key } = readCommon(row, name, groups);
      const level = decimalText(row[7], name, 'level');
      const id = String(row[0]);
      return { id, parent, key: JSON.stringify([key, level]), ...ALWAYS, body: { level, ...body } };
    });
  }

  #common(table: SourceTable): readonly string[] {
    const column = (name: string) => this.#schema.column(table, name);
    return ['cost', 'map_type', 'service_id', 'field_id', column('group_id'), column('tenant_id')];
  }

  async #alive(table: SourceTable, columns: readonly string[]): Promise<readonly SqlRow[]> {
    if (!this.#schema.has(table)) return [];
    const alive = this.#schema.type(table, 'deleted') === undefined ? '' : 'WHERE deleted IS NULL';
    return this.#source.query(`SELECT ${columns.join(', ')} FROM ${table} ${alive} ORDER BY id`);
  }

  async #deleted(): Promise<number> {
    if (this.#schema.type('hashmap_mappings', 'deleted') === undefined) return 0;
    const rows = await this.#source.query('SELECT COUNT(*) FROM hashmap_mappings WHERE deleted IS NOT NULL');
    return Number(rows[0]![0]);
  }
}

/** Rules by parent; those that are valid together with an earlier one of their key say so. */
function byParent(rules: readonly Rule[]): ReadonlyMap<string, readonly Rule[]> {
  const lists = new Map<string, Rule[]>();
  const former = new Map<string, Rule[]>();
  for (const rule of rules) {
    const key = `${rule.parent} ${rule.key}`;
    const same = former.get(key) ?? [];
    former.set(key, same);
    const overlaps = same.some((other) => other.start < rule.end && rule.start < other.end);
    same.push(rule);
    const list = lists.get(rule.parent) ?? [];
    lists.set(rule.parent, list);
    list.push(overlaps ? { ...rule, body: { ...rule.body, overlaps: true } } : rule);
  }
  return lists;
}

function readCommon(
  [, cost, type, service, field, group, tenant]: SqlRow,
  name: string,
  groups: ReadonlyMap<string, string>,
) {
  const isField = field !== null;
  if (!isField && service === null) throw invalid(name, 'it is on no service and on no field');
  const groupName = groups.get(String(group));
  const scope = optionalText(tenant);
  return {
    isField,
    parent: isField ? `field ${String(field)}` : `service ${String(service)}`,
    key: JSON.stringify([groupName ?? null, scope ?? null]),
    body: {
      type: String(type),
      cost: decimalText(cost, name, 'cost'),
      ...(groupName === undefined ? {} : { group: groupName }),
      ...(scope === undefined ? {} : { tenant: scope }),
    },
  };
}

function decimalText(value: SqlRow[number] | undefined, name: string, what: string): string {
  const decimal = value === null || value === undefined ? undefined : Decimal.tryParse(String(value));
  if (decimal === undefined) throw invalid(name, `its ${what} is ${String(value)}`);
  return decimal.toString();
}

function dateOf(instant: Instant): string {
  return new Date(instant * 1000).toISOString().replace('.000Z', 'Z');
}

function invalid(rule: string, problem: string): DataError {
  return new DataError(
    'RATECAT_MIGRATE_RULE_INVALID',
    `The hashmap ${rule} of CloudKitty cannot rate anything: ${problem}. No rule was taken over. Correct or delete it in ` +
      'CloudKitty and start again.',
  );
}
