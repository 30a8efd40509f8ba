import { isJsonObject, type JsonInput, parseExactBody } from '../exact-body.js';
import type { ApiRequest } from '../exchange.js';
import { badRequest, V1Fault } from './faults.js';

/** What came with a request besides its address. */
export type RequestBody =
  | { readonly kind: 'none' }
  | { readonly kind: 'form'; readonly arguments: URLSearchParams }
  | { readonly kind: 'json'; readonly value: JsonInput };

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
  const value = parseExactBody(body);
  if (value === undefined) throw badRequest(NOT_JSON);
  return { kind: 'json', value };
}

/** The members of a JSON object. @throws V1Fault 400 for any other value. */
export function membersOf(value: JsonInput): ReadonlyMap<string, JsonInput> {
  if (!isJsonObject(value)) throw badRequest(NOT_JSON);
  return new Map(Object.entries(value));
}
