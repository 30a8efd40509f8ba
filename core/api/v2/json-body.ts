import { isJsonObject, type JsonInput, parseExactBody } from '../exact-body.js';
import type { ApiRequest } from '../exchange.js';
import { badRequest, Fault } from './faults.js';

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
  const value = parseExactBody(body);
  if (value === undefined) throw badRequest(NOT_UNDERSTOOD);
  return value;
}

/** The members of a JSON object; undefined for any other value. */
export function membersOf(value: JsonInput | undefined): ReadonlyMap<string, JsonInput> | undefined {
  return value === undefined || !isJsonObject(value) ? undefined : new Map(Object.entries(value));
}

function isJsonType(type: string | undefined): boolean {
  const name = (type ?? '').split(';')[0]!.trim().toLowerCase();
  return name === 'application/json' || /^application\/[\w.-]+\+json$/.test(name);
}
