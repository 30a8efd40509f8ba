import { readFileSync } from 'node:fs';
import { LosslessNumber, parse } from 'lossless-json';
import {
  Attributes,
  type AttributeValue,
  Decimal,
  type Descriptor,
  type Frame,
  type Period,
  type RatedPoint,
  type Scope,
} from '../../../core/plugin-api/index.js';
import type {
  CostRule,
  CostType,
  HashmapRules,
  MappingRule,
  ParentRules,
} from '../../../plugins/rating/hashmap/rules.js';

/** One case of `test/golden/hashmap-vectors.json`. */
export interface VectorCase {
  readonly id: string;
  readonly title: string;
  readonly services: readonly { readonly name: string; readonly fields: readonly string[] }[];
  readonly groups: readonly string[];
  readonly mappings: readonly VectorMapping[];
  readonly thresholds: readonly VectorThreshold[];
  readonly tenant: string | null;
  readonly period: { readonly begin: string; readonly end: string };
  readonly points: readonly VectorPoint[];
  readonly expected: { readonly prices?: readonly string[]; readonly error?: string };
}

interface VectorRule {
  readonly service: string;
  readonly field: string | null;
  readonly group: string | null;
  readonly tenant: string | null;
  readonly type: CostType;
  readonly cost: string;
}

export interface VectorMapping extends VectorRule {
  readonly value: string | null;
  readonly start: string;
  readonly end: string | null;
  readonly deleted: boolean;
}

export interface VectorThreshold extends VectorRule {
  readonly level: string;
}

interface VectorPoint {
  readonly service: string;
  readonly unit: string;
  readonly qty: string;
  readonly price: string;
  readonly groupby: Readonly<Record<string, unknown>>;
  readonly metadata: Readonly<Record<string, unknown>>;
}

export const vectorCases = readVectors();

function readVectors(): readonly VectorCase[] {
  const file = new URL('../../golden/hashmap-vectors.json', import.meta.url);
  return (parse(readFileSync(file, 'utf8')) as { cases: readonly VectorCase[] }).cases;
}

/** The rules of a case in the form that `loadRules` gives. Deleted mappings are not among them. */
export function rulesOf(vector: VectorCase): HashmapRules {
  const parentRules = (service: string, field: string | null): Omit<ParentRules, 'name'> => ({
    mappings: vector.mappings
      .filter((rule) => rule.service === service && rule.field === field && !rule.deleted)
      .map(toMapping),
    thresholds: vector.thresholds
      .filter((rule) => rule.service === service && rule.field === field)
      .map((rule) => ({ ...toCostRule(rule), level: rule.level })),
  });
  return {
    services: vector.services.map(({ name, fields }) => ({
      name,
      ...parentRules(name, null),
      fields: fields.map((field) => ({ name: field, ...parentRules(name, field) })),
    })),
  };
}

export function scopeOf(vector: VectorCase): Scope | undefined {
  return vector.tenant === null ? undefined : { key: 'project_id', id: vector.tenant };
}

export function frameOf(vector: VectorCase): Frame<RatedPoint> {
  const period: Period = { begin: epochSeconds(vector.period.begin), end: epochSeconds(vector.period.end) };
  return {
    source: 'test',
    scope: scopeOf(vector) ?? { key: 'project_id', id: '' },
    period,
    points: vector.points.map(toPoint),
    gaps: [],
  };
}

export function epochSeconds(naive: string): number {
  return Date.parse(`${naive}Z`) / 1000;
}

function toMapping(rule: VectorMapping): MappingRule {
  return {
    ...toCostRule(rule),
    ...(rule.value === null ? {} : { value: rule.value }),
    start: epochSeconds(rule.start),
    ...(rule.end === null ? {} : { end: epochSeconds(rule.end) }),
  };
}

function toCostRule({ type, cost, group, tenant }: VectorRule): CostRule {
  return { type, cost, ...(group === null ? {} : { group }), ...(tenant === null ? {} : { tenant }) };
}

function toPoint(point: VectorPoint): RatedPoint {
  const descriptor: Descriptor = {
    metric: point.service,
    unit: point.unit,
    groupby: toAttributes(point.groupby),
    metadata: toAttributes(point.metadata),
    description: undefined,
  };
  return { descriptor, quantity: Decimal.parse(point.qty), price: Decimal.parse(point.price) };
}

function toAttributes(record: Readonly<Record<string, unknown>>): Attributes {
  return Attributes.of(Object.keys(record), Object.values(record).map(toAttribute));
}

function toAttribute(value: unknown): AttributeValue {
  if (value instanceof LosslessNumber) return Decimal.parse(value.value);
  if (Array.isArray(value)) return value.map(toAttribute);
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, toAttribute(item)]));
  return value as AttributeValue;
}
