import type { JsonValue } from '../../../core/plugin-api/index.js';
import type { VectorCase, VectorMapping, VectorThreshold } from './vectors.js';

/** The rules of a case as a price list. Deleted mappings are not in it. */
export function documentOf(vector: VectorCase): JsonValue {
  const rulesBelow = (service: string, field: string | null) => ({
    mappings: vector.mappings
      .filter((rule) => rule.service === service && rule.field === field && !rule.deleted)
      .map(mappingBody),
    thresholds: vector.thresholds
      .filter((rule) => rule.service === service && rule.field === field)
      .map(thresholdBody),
  });
  return {
    groups: vector.groups,
    services: vector.services.map(({ name, fields }) => ({
      name,
      ...rulesBelow(name, null),
      fields: fields.map((field) => ({ name: field, ...rulesBelow(name, field) })),
    })),
  };
}

function mappingBody(rule: VectorMapping): JsonValue {
  return {
    ...(rule.field === null ? {} : { value: rule.value }),
    ...commonBody(rule),
    start: rule.start,
    ...(rule.end === null ? {} : { end: rule.end }),
  };
}

function thresholdBody(rule: VectorThreshold): JsonValue {
  return { level: rule.level, ...commonBody(rule) };
}

function commonBody({ type, cost, group, tenant }: VectorMapping | VectorThreshold) {
  return {
    type,
    cost,
    ...(group === null ? {} : { group }),
    ...(tenant === null ? {} : { tenant }),
    // Some cases have two rules of one key on purpose.
    overlaps: true,
  };
}
