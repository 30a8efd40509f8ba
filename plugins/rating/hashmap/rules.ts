/** The rules of hashmap as plain data: what a snapshot holds and what `compile` reads. */
import { DataError, Decimal, type JsonValue } from '../../../core/plugin-api/index.js';

export type CostType = 'flat' | 'rate';

/** What mappings and thresholds have in common. */
export interface CostRule {
  /** Public id of the stored rule; absent when the rule comes from a document. */
  readonly id?: string;
  readonly type: CostType;
  /** Canonical decimal text. */
  readonly cost: string;
  /** Name of the group; absent: the default group. */
  readonly group?: string;
  /** Scope the rule is limited to; absent: every scope. */
  readonly tenant?: string;
}

export interface MappingRule extends CostRule {
  /** Text of the field that the mapping applies to; absent below a service. */
  readonly value?: string;
  /** First instant at which the rule is valid; epoch seconds. */
  readonly start: number;
  /** First instant at which the rule is no longer valid; absent: open. */
  readonly end?: number;
}

export interface ThresholdRule extends CostRule {
  /** Canonical decimal text. */
  readonly level: string;
}

/** Rules below one parent, each list in order of creation: a later rule of the same key replaces the former one. */
export interface ParentRules {
  readonly name: string;
  readonly mappings: readonly MappingRule[];
  readonly thresholds: readonly ThresholdRule[];
}

export interface ServiceRules extends ParentRules {
  /** In order of creation: of equal levels, the field created first wins. */
  readonly fields: readonly ParentRules[];
}

export interface HashmapRules {
  /** In order of name. */
  readonly services: readonly ServiceRules[];
}

/** Rules as JSON. The interfaces above only hold JSON values. */
export function rulesToJson(rules: HashmapRules): JsonValue {
  return rules as unknown as JsonValue;
}

/** Reads what `rulesToJson` gave. @throws DataError RATECAT_HASHMAP_RULES_MALFORMED when it is something else. */
export function rulesFromJson(json: JsonValue): HashmapRules {
  const services = list(member(json, 'services', 'rules'), 'services').map((service, index) => {
    const at = `services[${index}]`;
    const fields = list(member(service, 'fields', at), `${at}.fields`);
    return { ...parent(service, at), fields: fields.map((field, i) => parent(field, `${at}.fields[${i}]`)) };
  });
  return { services };
}

function parent(json: JsonValue, at: string): ParentRules {
  const mappings = list(member(json, 'mappings', at), `${at}.mappings`);
  const thresholds = list(member(json, 'thresholds', at), `${at}.thresholds`);
  return {
    name: text(member(json, 'name', at), `${at}.name`),
    mappings: mappings.map((rule, index) => mapping(rule, `${at}.mappings[${index}]`)),
    thresholds: thresholds.map((rule, index) => threshold(rule, `${at}.thresholds[${index}]`)),
  };
}

function mapping(json: JsonValue, at: string): MappingRule {
  const value = optionalText(json, 'value', at);
  const end = member(json, 'end', at, null);
  return {
    ...costRule(json, at),
    ...(value === undefined ? {} : { value }),
    start: instant(member(json, 'start', at), `${at}.start`),
    ...(end === null ? {} : { end: instant(end, `${at}.end`) }),
  };
}

function threshold(json: JsonValue, at: string): ThresholdRule {
  return { ...costRule(json, at), level: decimal(member(json, 'level', at), `${at}.level`) };
}

function costRule(json: JsonValue, at: string): CostRule {
  const type = member(json, 'type', at);
  if (type !== 'flat' && type !== 'rate') throw malformed(`${at}.type`, 'flat or rate');
  const id = optionalText(json, 'id', at);
  const group = optionalText(json, 'group', at);
  const tenant = optionalText(json, 'tenant', at);
  return {
    ...(id === undefined ? {} : { id }),
    type,
    cost: decimal(member(json, 'cost', at), `${at}.cost`),
    ...(group === undefined ? {} : { group }),
    ...(tenant === undefined ? {} : { tenant }),
  };
}

function member(json: JsonValue, name: string, at: string, fallback?: JsonValue): JsonValue {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) throw malformed(at, 'an object');
  const record = json as Readonly<Record<string, JsonValue | undefined>>;
  const value = Object.hasOwn(record, name) ? record[name] : undefined;
  if (value !== undefined) return value;
  if (fallback === undefined) throw malformed(`${at}.${name}`, 'a value');
  return fallback;
}

function list(json: JsonValue, at: string): readonly JsonValue[] {
  if (!Array.isArray(json)) throw malformed(at, 'a list');
  return json;
}

function text(json: JsonValue, at: string): string {
  if (typeof json !== 'string') throw malformed(at, 'text');
  return json;
}

function optionalText(json: JsonValue, name: string, at: string): string | undefined {
  const value = member(json, name, at, null);
  return value === null ? undefined : text(value, `${at}.${name}`);
}

function instant(json: JsonValue, at: string): number {
  if (typeof json !== 'number' || !Number.isSafeInteger(json)) throw malformed(at, 'epoch seconds');
  return json;
}

function decimal(json: JsonValue, at: string): string {
  if (typeof json !== 'string' || Decimal.tryParse(json) === undefined)
    throw malformed(at, 'a decimal as text');
  return json;
}

function malformed(at: string, expected: string): DataError {
  return new DataError(
    'RATECAT_HASHMAP_RULES_MALFORMED',
    `The hashmap rules are malformed: ${at} is not ${expected}. Load the rules again, or correct the file they come from.`,
  );
}
