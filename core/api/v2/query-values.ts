import type { Instant } from '../../plugin-api/index.js';
import { parseIsoTime } from './iso-time.js';
import { Refusal, type Validator, withDefault } from './validation.js';

type QueryValues = readonly string[];

const WHOLE_NUMBER = /^\s*[+-]?\d+(?:_\d+)*\s*$/;

/** One value, converted. */
export function single<T>(convert: (text: string) => T): Validator<QueryValues, T> {
  return (values) => {
    if (values.length !== 1) throw new Refusal('length of value must be 1');
    return convert(values[0]!);
  };
}

/** Every value, split at commas, converted. */
export function multi<T>(convert: (text: string) => T): Validator<QueryValues, readonly T[]> {
  return (values) => values.flatMap((value) => value.split(',')).map(convert);
}

export function text(value: string): string {
  return value;
}

/** A whole number; what JavaScript cannot hold becomes the largest that it can. */
export function integer(value: string): number {
  if (!WHOLE_NUMBER.test(value)) throw new Refusal('expected int');
  const number = Number(value.trim().replaceAll('_', ''));
  return Math.max(-Number.MAX_SAFE_INTEGER, Math.min(Number.MAX_SAFE_INTEGER, number));
}

export function date(value: string): Instant {
  const instant = parseIsoTime(value);
  if (instant === undefined) throw new Refusal('expected dt_from_iso');
  return instant;
}

function atLeast(least: number): Validator<QueryValues, number> {
  const read = single(integer);
  return (values) => {
    const value = read(values);
    if (value < least) throw new Refusal(`value must be at least ${least}`);
    return value;
  };
}

/** `offset` and `limit` of the paginated endpoints. */
export const PAGINATION = {
  offset: withDefault(atLeast(0), 0),
  limit: withDefault(atLeast(1), 100),
};

/** `key:value` associations, each key once. */
export const singleFilters: Validator<QueryValues, ReadonlyMap<string, readonly string[]>> = (values) => {
  const filters = new Map<string, readonly string[]>();
  for (const [key, value] of associations(values)) {
    if (filters.has(key)) throw new Refusal(`key ${key} already provided`);
    filters.set(key, [value]);
  }
  return filters;
};

/** `key:value` associations; a key may have several values. */
export const multiFilters: Validator<QueryValues, ReadonlyMap<string, readonly string[]>> = (values) => {
  const filters = new Map<string, string[]>();
  for (const [key, value] of associations(values)) {
    const known = filters.get(key);
    if (known === undefined) filters.set(key, [value]);
    else known.push(value);
  }
  return filters;
};

function associations(values: QueryValues): readonly (readonly [string, string])[] {
  return values
    .flatMap((value) => value.split(','))
    .map((token) => {
      const [key, value, ...rest] = token.split(':');
      if (value === undefined || rest.length > 0) throw new Refusal(`invalid key:value association ${token}`);
      return [key!, value] as const;
    });
}
