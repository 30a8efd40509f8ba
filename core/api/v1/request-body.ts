import { parse } from 'lossless-json';
import { Decimal, isDecimal } from '../../plugin-api/index.js';
import type { ApiRequest } from '../exchange.js';
import { badRequest, V1Fault } from './faults.js';

/** A parsed JSON value; numbers keep the digits of their literal. */
export type JsonInput =
  | string
  | boolean
  | null
  | Decimal
  | readonly JsonInput[]
  | { readonly [name: string]: JsonInput };

/** What came with a request besides its address. */
export type RequestBody =
  | { readonly kind: 'none' }
  | { readonly kind: 'form'; readonly arguments: URLSearchParams }
  | { readonly kind: 'json'; readonly value: JsonInput };

/** Levels of nesting; descriptions of resources need four or five. */
const DEEPEST = 32;
/** Beyond what floats of the reference can hold; written out, such numbers would be long texts. */
const LARGEST_EXPONENT = 400;
const NOT_JSON = 'Request is not in valid JSON format';

const FORM_TYPE = 'application/x-www-form-urlencoded';
const JSON_TYPES = new Set([
  'application/json',
  'application/javascript',
  'application/x-javascript',
  'text/javascript',
  'text/x-javascript',
  'text/x-json',
  'text/json',
]);

/**
 * The body, whatever the method is.
 * @throws V1Fault 400 when it is no JSON, ambiguous (a key twice) or nested too deep; 415 when it is declared as something else.
 */
export function readBody({ body, headers }: Pick<ApiRequest, 'body' | 'headers'>): RequestBody {
  if (body.length === 0) return { kind: 'none' };
  const type = (headers['content-type'] ?? '').split(';')[0]!.trim().toLowerCase();
  if (type === FORM_TYPE) return { kind: 'form', arguments: new URLSearchParams(body.toString('utf8')) };
  if (!JSON_TYPES.has(type)) throw new V1Fault(415, `Unknown mimetype: ${type.slice(0, 200)}`);
  const value = parseExactly(body);
  if (value === undefined || !isPlain(value, 0)) throw badRequest(NOT_JSON);
  return { kind: 'json', value };
}

/** The members of a JSON object. @throws V1Fault 400 for any other value. */
export function membersOf(value: JsonInput): ReadonlyMap<string, JsonInput> {
  if (!isJsonObject(value)) throw badRequest(NOT_JSON);
  return new Map(Object.entries(value));
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
