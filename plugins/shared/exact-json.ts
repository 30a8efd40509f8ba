import { parse } from 'lossless-json';
import { Decimal } from '../../core/plugin-api/index.js';
import { excerpt, malformed } from '../../core/upstream/index.js';

/**
 * Parsed JSON in which every number is a `Decimal` with the digits of its literal.
 * @throws DataError RATECAT_UPSTREAM_MALFORMED
 */
export function parseExactJson(call: string, body: string): unknown {
  try {
    return parse(body, undefined, { parseNumber: Decimal.parse });
  } catch (error) {
    throw malformed(call, `is not valid JSON (${excerpt((error as Error).message).slice(0, 120)})`, error);
  }
}

/** A JSON object as its own properties only. */
export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Decimal);
}

/** A property of a JSON object, whatever its name is; undefined when there is none. */
export function propertyOf(value: Readonly<Record<string, unknown>>, name: string): unknown {
  return Object.hasOwn(value, name) ? value[name] : undefined;
}
