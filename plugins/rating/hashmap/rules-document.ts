import {
  compareText,
  type JsonValue,
  type RulesChange,
  type RulesDocument,
  type RulesWriteOptions,
  type SqlReader,
  type SqlTransaction,
} from '../../../core/plugin-api/index.js';
import { naiveDate } from '../../shared/rule-dates.js';
import { mappingKey, readPriceList, rulesOfPriceList, thresholdKey, validTogether } from './price-list.js';
import { writePriceList } from './price-list-writer.js';
import {
  ALIVE,
  isGeneratedName,
  readFields,
  readMappings,
  readNames,
  readThresholds,
  type StoredMapping,
  type StoredName,
  type StoredRule,
  type StoredThreshold,
  takeTurn,
} from './rule-store.js';
import { rulesToJson } from './rules.js';
import { rulesVisibleTo } from './visible-rules.js';

/** The price list: the rules of hashmap as people edit them. */
export const rulesDocument: RulesDocument = {
  toRules: (document) => rulesToJson(rulesOfPriceList(readPriceList(document))),
  read: readDocument,
  visibleTo: rulesVisibleTo,
  async write(document: JsonValue, tx: SqlTransaction, options: RulesWriteOptions): Promise<RulesChange> {
    const list = readPriceList(document);
    await takeTurn(tx);
    return writePriceList(list, tx, options);
  },
};

async function readDocument(database: SqlReader): Promise<JsonValue> {
  const services = await readNames(database, 'services');
  const fields = await readFields(database);
  const groups = await readNames(database, 'groups');
  const names = new Map(groups.map((group) => [group.id, group.name]));
  const mappings = await readMappings(database, [ALIVE]);
  const thresholds = await readThresholds(database);
  const rulesOf = (parent: StoredName, kind: 'service' | 'field') => ({
    mappings: writeMappings(
      mappings.filter((rule) => rule[kind]?.id === parent.id),
      names,
    ),
    thresholds: writeThresholds(
      thresholds.filter((rule) => rule[kind]?.id === parent.id),
      names,
    ),
  });
  const serviceBodies = services.map((service): NamedBody => {
    const ofService = fields.filter((field) => field.service.id === service.id);
    const fieldBodies = ofService.map(
      (field): NamedBody => [field.name, withoutEmpty(rulesOf(field, 'field'))],
    );
    return [service.name, withoutEmpty({ ...rulesOf(service, 'service'), fields: namedBodies(fieldBodies) })];
  });
  return withoutEmpty({
    groups: groups.map((group) => group.name),
    services: namedBodies(serviceBodies.sort(([left], [right]) => compareText(left, right))),
  });
}

type JsonObject = Readonly<Record<string, JsonValue>>;
type NamedBody = readonly [name: string, body: JsonObject];

/** A key per name, or a list where keys that look like indexes would lose their place. */
function namedBodies(entries: readonly NamedBody[]): JsonValue {
  if (entries.some(([name]) => /^(?:0|[1-9]\d*)$/.test(name)))
    return entries.map(([name, body]) => ({ name, ...body }));
  return Object.fromEntries(entries);
}

function withoutEmpty(record: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => !isEmpty(value)));
}

function isEmpty(value: JsonValue): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0;
}

function writeMappings(rules: readonly StoredMapping[], groups: ReadonlyMap<number, string>): JsonValue {
  const former = new Map<string, StoredMapping[]>();
  return rules.map((rule): JsonObject => {
    const group = groupName(rule, groups);
    const key = mappingKey({
      value: rule.value ?? '',
      ...(group === undefined ? {} : { group }),
      ...(rule.tenant === null ? {} : { tenant: rule.tenant }),
    });
    const sameKey = former.get(key) ?? [];
    former.set(key, [...sameKey, rule]);
    return {
      ...(rule.field === undefined ? {} : { value: rule.value ?? '' }),
      ...commonKeys(rule, group),
      ...(rule.start === 0 ? {} : { start: `${naiveDate(rule.start)}Z` }),
      ...(rule.end === null ? {} : { end: `${naiveDate(rule.end)}Z` }),
      ...(isGeneratedName(rule.name) ? {} : { name: rule.name }),
      ...(rule.description === null ? {} : { description: rule.description }),
      ...(sameKey.some((other) => validTogether(other, rule)) ? { overlaps: true } : {}),
    };
  });
}

function writeThresholds(rules: readonly StoredThreshold[], groups: ReadonlyMap<number, string>): JsonValue {
  const former = new Set<string>();
  return rules.map((rule): JsonObject => {
    const group = groupName(rule, groups);
    const level = rule.level.toString();
    const key = thresholdKey({
      level,
      ...(group === undefined ? {} : { group }),
      ...(rule.tenant === null ? {} : { tenant: rule.tenant }),
    });
    const overlaps = former.has(key);
    former.add(key);
    return { level, ...commonKeys(rule, group), ...(overlaps ? { overlaps } : {}) };
  });
}

function groupName(rule: StoredRule, groups: ReadonlyMap<number, string>): string | undefined {
  return rule.group === undefined ? undefined : groups.get(rule.group.id);
}

function commonKeys(rule: StoredRule, group: string | undefined): JsonObject {
  return {
    type: rule.type,
    cost: rule.cost.toString(),
    ...(group === undefined ? {} : { group }),
    ...(rule.tenant === null ? {} : { tenant: rule.tenant }),
  };
}
