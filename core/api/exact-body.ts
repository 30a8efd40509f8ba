import { parse } from 'lossless-json';
import { Decimal, isDecimal } from '../plugin-api/index.js';

/** A parsed JSON value; numbers keep the digits of their literal. */
export type JsonInput =
  | string
  | boolean
  | null
  | Decimal
  | readonly JsonInput[]
  | { readonly [name: string]: JsonInput };

/** Levels of nesting; descriptions of resources need four or five. */
const DEEPEST = 32;
/** Beyond what floats of the reference can hold; written out, such numbers would be long texts. */
const LARGEST_EXPONENT = 400;

/** Undefined for what is no JSON, is ambiguous (a key twice), nested too deep, or would be misread by other programs. */
export function parseExactBody(body: Buffer): JsonInput | undefined {
  const value = parseExactly(body);
  return value !== undefined && isPlain(value, 0) ? value : undefined;
}

export function isJsonObject(value: JsonInput): value is { readonly [name: string]: JsonInput } {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !isDecimal(value);
}

/** False for numbers that would fill pages when written out. */
export function isModest(value: Decimal): boolean {
  return Math.abs(value.exponent) <= LARGEST_EXPONENT;
}

function parseExactly(body: Buffer): JsonInput | undefined {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(body);
    return parse(text, undefined, { parseNumber: Decimal.parse }) as JsonInput;
  } catch {
    // A syntax error, bytes that are no text, a number beyond all bounds, or nesting that exhausts the stack.
    return undefined;
  }
}

/** Not too deep, and without names and texts that other programs would misread. */
function isPlain(value: JsonInput, depth: number): boolean {
  if (typeof value === 'string') return isWellFormed(value);
  if (typeof value !== 'object' || value === null) return true;
  if (isDecimal(value)) return isModest(value);
  if (depth >= DEEPEST) return false;
  if (Array.isArray(value)) return value.every((item) => isPlain(item, depth + 1));
  return Object.entries(value).every(
    ([name, item]) => name !== '__proto__' && isWellFormed(name) && isPlain(item, depth + 1),
  );
}

/** Without halves of surrogate pairs, which no storage can keep. */
function isWellFormed(text: string): boolean {
  return !/\p{Cs}/u.test(text);
}
