import { type Instant, isDecimal } from '../../plugin-api/index.js';
import type { JsonInput } from '../exact-body.js';
import { parseIsoTime } from './iso-time.js';
import { pythonLiteral } from './python-literal.js';
import { Refusal, type Validator } from './validation.js';

const TRUE_WORDS = ['1', 'true', 'yes', 'on', 'enable'];
const FALSE_WORDS = ['0', 'false', 'no', 'off', 'disable'];
/** Priorities and the like; the column of the reference is an integer of this size. */
const LARGEST_INTEGER = 2 ** 31 - 1;

/** Any value as text, or the only element of a list. */
export const singleText: Validator<JsonInput, string> = (value) => {
  if (!Array.isArray(value)) return textOf(value);
  if (value.length !== 1) throw new Refusal('length of value must be 1');
  return textOf(value[0]!);
};

/** A text or a list of texts, each split at commas. The reference fails (500) for other values. */
export const multiText: Validator<JsonInput, readonly string[]> = (value) =>
  (Array.isArray(value) ? value : [value]).flatMap((item: JsonInput) => {
    if (typeof item !== 'string') throw new Refusal('expected str');
    return item.split(',');
  });

/** Truth and falsehood as values and as words. */
export const boolean: Validator<JsonInput, boolean> = (value) => {
  if (typeof value !== 'string') return isTruthy(value);
  const word = value.toLowerCase();
  if (TRUE_WORDS.includes(word)) return true;
  if (FALSE_WORDS.includes(word)) return false;
  throw new Refusal('expected boolean');
};

/** Python's truth of a value: every text but the empty one is true, also `"false"`. */
export const isTruthy: Validator<JsonInput, boolean> = (value) => {
  if (value === null || value === false || value === '') return false;
  if (isDecimal(value)) return !value.isZero;
  return typeof value !== 'object' || Object.keys(value).length > 0;
};

/** A whole JSON number. */
export const jsonInteger: Validator<JsonInput, number> = (value) => {
  if (!isDecimal(value) || value.exponent !== 0) throw new Refusal('expected int');
  const number = Number(value.coefficient);
  if (Math.abs(number) > LARGEST_INTEGER) throw new Refusal('expected int');
  return number;
};

/** A time; `name` is that of the reference's converter, which its errors show. */
export function bodyDate(name = 'dt_from_iso'): Validator<JsonInput, Instant> {
  return (value) => {
    const instant = typeof value === 'string' ? parseIsoTime(value) : undefined;
    if (instant === undefined) throw new Refusal(`expected ${name}`);
    return instant;
  };
}

function textOf(value: JsonInput): string {
  return typeof value === 'string' ? value : pythonLiteral(value);
}
