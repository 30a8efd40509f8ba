/** A price list as people write it, checked and turned into rules. */
import { DataError, Decimal, isDecimal, type JsonValue } from '../../../core/plugin-api/index.js';
import { parseDate } from '../../shared/rule-dates.js';
import { fitsDigits, INTEGER_DIGITS, readDecimal } from '../../shared/wire-decimal.js';
import { fieldText } from './field-value.js';
import { DEFAULT_GROUP } from './rule-table.js';
import type { CostType, HashmapRules, MappingRule, ParentRules, ThresholdRule } from './rules.js';

/** What a document says about a mapping. Ids are never part of a document. */
export interface ListedMapping extends MappingRule {
  readonly name?: string;
  readonly description?: string;
  /** May be valid at the same time as another rule of the same key: the one listed later wins. */
  readonly overlaps: boolean;
  readonly path: string;
}

export interface ListedThreshold extends ThresholdRule {
  readonly overlaps: boolean;
  readonly path: string;
}

export interface ListedParent {
  readonly name: string;
  readonly path: string;
  readonly mappings: readonly ListedMapping[];
  readonly thresholds: readonly ListedThreshold[];
}

export interface ListedService extends ListedParent {
  readonly fields: readonly ListedParent[];
}

export interface PriceList {
  /** Groups that are to exist whether or not a rule is in them; `groups[0]` is the path of the first. */
  readonly groups: readonly string[];
  readonly services: readonly ListedService[];
}

/** Decimals of costs and levels, as CloudKitty's columns have them. */
export const COST_DECIMALS = 28;
export const LEVEL_DECIMALS = 8;
export const NAME_LENGTH = 255;
export const RULE_NAME_LENGTH = 32;
export const DESCRIPTION_LENGTH = 256;

const RULE_KEYS = ['type', 'cost', 'group', 'tenant', 'overlaps'];
const MAPPING_KEYS = [...RULE_KEYS, 'start', 'end', 'name', 'description'];
const THRESHOLD_KEYS = ['level', ...RULE_KEYS];
const PARENT_KEYS = ['mappings', 'thresholds'];

/** @throws DataError RATECAT_HASHMAP_DOCUMENT_INVALID that lists every problem with its path. */
export function readPriceList(document: JsonValue): PriceList {
  const reader = new PriceListReader();
  const list = reader.priceList(document);
  // Among rules that are wrong in themselves, overlaps would only be noise.
  if (reader.problems.length === 0) reader.checkOverlaps(list);
  const { problems } = reader;
  if (problems.length === 0) return list;
  const lines = problems.map(({ path, message }) => `  ${path === '' ? 'document' : path}: ${message}`);
  const count = problems.length === 1 ? 'a problem' : `${problems.length} problems`;
  throw new DataError(
    'RATECAT_HASHMAP_DOCUMENT_INVALID',
    `The price list has ${count}; nothing of it is used:\n${lines.join('\n')}`,
    { details: { problems } },
  );
}

/** The list in the form that `loadRules` gives. */
export function rulesOfPriceList(list: PriceList): HashmapRules {
  const services = list.services.map((service) => ({
    ...parentRules(service),
    fields: service.fields.map(parentRules),
  }));
  return { services: services.sort((left, right) => (left.name < right.name ? -1 : 1)) };
}

/** What decides which of two mappings of one parent replaces the other. */
export function mappingKey(rule: Pick<MappingRule, 'value' | 'group' | 'tenant'>): string {
  return JSON.stringify([rule.value ?? '', groupKey(rule.group), rule.tenant ?? null]);
}

export function thresholdKey(rule: Pick<ThresholdRule, 'level' | 'group' | 'tenant'>): string {
  return JSON.stringify([Decimal.parse(rule.level).toString(), groupKey(rule.group), rule.tenant ?? null]);
}

/** True when there is an instant at which both are valid. */
export function validTogether(left: Validity, right: Validity): boolean {
  const begin = Math.max(left.start, right.start);
  return begin < (left.end ?? Number.POSITIVE_INFINITY) && begin < (right.end ?? Number.POSITIVE_INFINITY);
}

export interface Validity {
  readonly start: number;
  readonly end?: number | null | undefined;
}

function groupKey(group: string | undefined): string {
  return group ?? DEFAULT_GROUP;
}

function parentRules({ name, mappings, thresholds }: ListedParent): ParentRules {
  return {
    name,
    mappings: mappings.map(({ name: _name, description, overlaps, path, ...rule }) => rule),
    thresholds: thresholds.map(({ overlaps, path, ...rule }) => rule),
  };
}

interface Problem {
  readonly path: string;
  readonly message: string;
}

type Body = Readonly<Record<string, unknown>>;

class PriceListReader {
  readonly problems: Problem[] = [];
  readonly #ruleNames = new Map<string, string>();

  priceList(document: unknown): PriceList {
    const body = this.#object(document, '', ['groups', 'services']);
    return {
      groups: this.#list(body.groups, 'groups').map((name, index) => this.#text(name, `groups[${index}]`)),
      services: this.#named(body.services, 'services').map(({ name, body: service, path }) => {
        const known = this.#object(service, path, [...PARENT_KEYS, 'fields']);
        return {
          ...this.#parent(name, known, path, false),
          fields: this.#named(known.fields, `${path}.fields`).map((field) =>
            this.#parent(field.name, this.#object(field.body, field.path, PARENT_KEYS), field.path, true),
          ),
        };
      }),
    };
  }

  #parent(name: string, body: Body, path: string, isField: boolean): ListedParent {
    const mappingKeys = isField ? ['value', ...MAPPING_KEYS] : MAPPING_KEYS;
    return {
      name,
      path,
      mappings: this.#bodies(body.mappings, `${path}.mappings`, mappingKeys, (rule, at) =>
        this.#mapping(rule, at, isField),
      ),
      thresholds: this.#bodies(body.thresholds, `${path}.thresholds`, THRESHOLD_KEYS, (rule, at) =>
        this.#threshold(rule, at),
      ),
    };
  }

  checkOverlaps({ services }: PriceList): void {
    for (const service of services)
      for (const { mappings, thresholds } of [service, ...service.fields]) {
        this.#refuseOverlaps(mappings, mappingKey, validTogether);
        this.#refuseOverlaps(thresholds, thresholdKey, () => true);
      }
  }

  #mapping(body: Body, path: string, isField: boolean): ListedMapping {
    const start = this.#date(body.start, `${path}.start`, 'start') ?? 0;
    const end = this.#date(body.end, `${path}.end`, 'end');
    if (end !== undefined && end < start) this.#add(`${path}.end`, 'is before the start');
    const name = this.#optional(body.name, (value) => this.#ruleName(value, `${path}.name`));
    const description = this.#optional(body.description, (value) =>
      this.#text(value, `${path}.description`, DESCRIPTION_LENGTH),
    );
    return {
      ...(isField ? { value: this.#value(body.value, `${path}.value`) } : {}),
      ...this.#rule(body, path),
      start,
      ...(end === undefined ? {} : { end }),
      ...(name === undefined ? {} : { name }),
      ...(description === undefined ? {} : { description }),
    };
  }

  #threshold(body: Body, path: string): ListedThreshold {
    return { level: this.#decimal(body.level, `${path}.level`, LEVEL_DECIMALS), ...this.#rule(body, path) };
  }

  #rule(body: Body, path: string) {
    const group = this.#optional(body.group, (value) => this.#text(value, `${path}.group`));
    const tenant = this.#optional(body.tenant, (value) => this.#text(value, `${path}.tenant`));
    return {
      type: this.#type(body.type, `${path}.type`),
      cost: this.#decimal(body.cost, `${path}.cost`, COST_DECIMALS),
      ...(group === undefined ? {} : { group }),
      ...(tenant === undefined ? {} : { tenant }),
      overlaps: this.#flag(body.overlaps, `${path}.overlaps`),
      path,
    };
  }

  #refuseOverlaps<T extends { readonly overlaps: boolean; readonly path: string }>(
    rules: readonly T[],
    keyOf: (rule: T) => string,
    collide: (left: T, right: T) => boolean,
  ): void {
    const byKey = new Map<string, T[]>();
    for (const rule of rules) {
      const key = keyOf(rule);
      const former = byKey.get(key) ?? [];
      const other = rule.overlaps ? undefined : former.find((candidate) => collide(candidate, rule));
      if (other !== undefined) {
        const remedy = 'give one an end, another group or another tenant, or remove one';
        this.#add(rule.path, `applies to the same as ${other.path} at the same time; ${remedy}`);
      }
      byKey.set(key, [...former, rule]);
    }
  }

  #type(value: unknown, path: string): CostType {
    if (value === undefined || value === null || value === 'flat') return 'flat';
    if (value !== 'rate') this.#add(path, `is ${shown(value)}; it must be flat or rate`);
    return 'rate';
  }

  #decimal(value: unknown, path: string, decimals: number): string {
    const number = readDecimal(value);
    if (number === undefined) {
      this.#add(path, value === undefined ? 'is missing' : `is ${shown(value)}, not a decimal number`);
      return '0';
    }
    if (number.quantize(decimals).compare(number) !== 0) {
      this.#add(path, `has more than ${decimals} decimals: ${number}`);
    }
    if (!fitsDigits(number))
      this.#add(path, `has more than ${INTEGER_DIGITS} digits before the point: ${number}`);
    return number.toString();
  }

  /** Texts stand for themselves; numbers for their literal. The rest is too easily meant otherwise. */
  #value(value: unknown, path: string): string {
    if (isDecimal(value)) return fieldText(value);
    if (typeof value === 'number' && Number.isFinite(value)) return fieldText(Decimal.parse(String(value)));
    if (typeof value === 'boolean') {
      this.#add(path, `is ${value}; write the text of the attribute in quotes, such as 'True' or 'true'`);
      return '';
    }
    return this.#filledText(value, path);
  }

  #ruleName(value: unknown, path: string): string {
    const name = this.#filledText(value, path, RULE_NAME_LENGTH);
    const other = this.#ruleNames.get(name);
    if (other !== undefined)
      this.#add(path, `'${name}' is also the name at ${other}; names of mappings are unique`);
    else this.#ruleNames.set(name, path);
    return name;
  }

  #filledText(value: unknown, path: string, length = NAME_LENGTH): string {
    if (value === '') this.#add(path, 'is empty');
    return this.#text(value, path, length);
  }

  #text(value: unknown, path: string, length = NAME_LENGTH): string {
    if (typeof value !== 'string') {
      this.#add(path, value === undefined ? 'is missing' : `is ${shown(value)}, not text; put it in quotes`);
      return '';
    }
    if ([...value].length > length) this.#add(path, `is longer than ${length} characters`);
    return value;
  }

  #date(value: unknown, path: string, meaning: 'start' | 'end'): number | undefined {
    if (value === undefined || value === null) return undefined;
    const instant = typeof value === 'string' ? parseDate(value, meaning) : undefined;
    if (instant === undefined) {
      this.#add(path, `is ${shown(value)}; write 2026-01-31 or 2026-01-31T12:00:00Z`);
    }
    return instant;
  }

  #flag(value: unknown, path: string): boolean {
    if (value === undefined || typeof value === 'boolean') return value ?? false;
    this.#add(path, `is ${shown(value)}; it must be true or false`);
    return false;
  }

  #optional<T>(value: unknown, read: (value: unknown) => T): T | undefined {
    return value === undefined || value === null ? undefined : read(value);
  }

  #object(value: unknown, path: string, allowed: readonly string[]): Body {
    if (!isObject(value)) {
      if (value === undefined || value === null) {
        if (path === '') this.#add(path, 'is empty');
        return {};
      }
      this.#add(path, `is ${shown(value)}; it must have the keys ${allowed.join(', ')}`);
      return {};
    }
    for (const key of Object.keys(value)) {
      if (allowed.includes(key)) continue;
      this.#add(
        path === '' ? key : `${path}.${key}`,
        `is not a key here; the keys are ${allowed.join(', ')}`,
      );
    }
    // Only own keys: a document must not reach what every object inherits.
    return Object.fromEntries(
      allowed.flatMap((key) => (Object.hasOwn(value, key) ? [[key, value[key]]] : [])),
    );
  }

  #list(value: unknown, path: string): readonly unknown[] {
    if (value === undefined || value === null) return [];
    if (Array.isArray(value)) return value;
    this.#add(path, `is ${shown(value)}; it must be a list`);
    return [];
  }

  /** Reads the objects of a list; anything else in it is a problem. */
  #bodies<T>(
    value: unknown,
    path: string,
    allowed: readonly string[],
    read: (body: Body, path: string) => T,
  ): T[] {
    return this.#list(value, path).flatMap((item, index) => {
      const at = `${path}[${index}]`;
      if (isObject(item)) return [read(this.#object(item, at, allowed), at)];
      this.#add(at, `is ${shown(item)}; it must have the keys ${allowed.join(', ')}`);
      return [];
    });
  }

  /** `{name: body, …}`, or `[{name, …body}, …]` where the order of names matters. */
  #named(value: unknown, path: string): { name: string; body: unknown; path: string }[] {
    if (value === undefined || value === null) return [];
    if (!Array.isArray(value) && !isObject(value)) {
      this.#add(path, `is ${shown(value)}; it must have a key for each name`);
      return [];
    }
    const entries = Array.isArray(value)
      ? value.map((item, index) => this.#listedName(item, `${path}[${index}]`))
      : Object.entries(value).map(([name, body]) => ({ name, body, path: `${path}.${name}` }));
    const seen = new Set<string>();
    for (const entry of entries) {
      this.#text(entry.name, entry.path);
      if (seen.has(entry.name)) this.#add(entry.path, `'${entry.name}' is listed twice`);
      seen.add(entry.name);
    }
    return entries;
  }

  #listedName(item: unknown, path: string): { name: string; body: unknown; path: string } {
    if (!isObject(item)) {
      this.#add(path, `is ${shown(item)}; it must have a name`);
      return { name: path, body: {}, path };
    }
    const { name, ...body } = item;
    if (typeof name === 'string') return { name, body, path };
    this.#add(`${path}.name`, name === undefined ? 'is missing' : `is ${shown(name)}, not text`);
    return { name: path, body, path };
  }

  #add(path: string, message: string): void {
    this.problems.push({ path, message });
  }
}

function isObject(value: unknown): value is Body {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !isDecimal(value);
}

function shown(value: unknown): string {
  const text = isDecimal(value) ? value.toString() : (JSON.stringify(value) ?? String(value));
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
