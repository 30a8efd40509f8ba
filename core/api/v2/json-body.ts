import { parse } from 'lossless-json';
import { Decimal, isDecimal } from '../../plugin-api/index.js';
import type { ApiRequest } from '../exchange.js';
import { badRequest, Fault } from './faults.js';

/** A parsed JSON value; numbers keep the digits of their literal. */
export type JsonInput =
  | string
  | boolean
  | null
  | Decimal
  | readonly JsonInput[]
  | { readonly [name: string]: JsonInput };

/** Levels of nesting; attributes of points need two or three. */
const DEEPEST = 32;
/** Beyond what floats of the reference can hold; written out, such numbers would be long texts. */
const LARGEST_EXPONENT = 400;
const NOT_UNDERSTOOD = 'The browser (or proxy) sent a request that this server could not understand.';
const NOT_JSON_TYPE =
  "Did not attempt to load JSON data because the request Content-Type was not 'application/json'.";

/**
 * The JSON body of a request.
 * @throws Fault 400 when it is empty, no JSON, ambiguous (a key twice) or nested too deep; 415 when it is declared as something else.
 */
export function readJson({ body, headers }: ApiRequest): JsonInput {
  if (body.length === 0) throw badRequest(NOT_UNDERSTOOD);
  if (!isJsonType(headers['content-type'])) throw new Fault(415, NOT_JSON_TYPE);
  const value = parseExactly(body);
  if (value === undefined || !isPlain(value, 0)) throw badRequest(NOT_UNDERSTOOD);
  return value;
}

/** The members of a JSON object; undefined for any other value. */
export function membersOf(value: JsonInput | undefined): ReadonlyMap<string, JsonInput> | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || isDecimal(value))
    return undefined;
  return new Map(Object.entries(value));
}

function isJsonType(type: string | undefined): boolean {
  const name = (type ?? '').split(';')[0]!.trim().toLowerCase();
  return name === 'application/json' || /^application\/[\w.-]+\+json$/.test(name);
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
  if (isDecimal(value)) return Math.abs(value.exponent) <= LARGEST_EXPONENT;
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
