/** Requests and answers of the configuration API in the form that CloudKitty's clients know. */
import {
  type ConfigRequest,
  type ConfigResponse,
  type ConfigRoute,
  Decimal,
  type Instant,
  isDecimal,
  type JsonValue,
  type SqlTransaction,
} from '../../core/plugin-api/index.js';
import { parseDate } from './rule-dates.js';
import { fitsDigits, INTEGER_DIGITS, readDecimal } from './wire-decimal.js';

/** An answer that is an error of the caller. */
class ClientFault extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export function badRequest(message: string): Error {
  return new ClientFault(400, message);
}

export function notFound(message: string): Error {
  return new ClientFault(404, message);
}

export function conflict(message: string): Error {
  return new ClientFault(409, message);
}

const LONGEST_ECHO = 1000;

/** How JSON numbers are read: `binary` through the float that CloudKitty makes of them, `literal` as written. */
export type NumberReading = 'binary' | 'literal';

type Handler = (call: ConfigCall) => Promise<ConfigResponse>;

export interface RouteShape {
  /** Names of the arguments in path, query and, without a model, in the body. */
  readonly arguments?: readonly string[];
  /** The body is an object with these attributes. */
  readonly model?: { readonly argument: string; readonly attributes: readonly string[] };
}

export interface WireRoute {
  readonly method: ConfigRoute['method'];
  readonly path: string;
  readonly shape: RouteShape;
  readonly handle: Handler;
}

/** A route whose client faults become answers. Nothing is written before the last check. */
export function toConfigRoute(
  { method, path, shape, handle }: WireRoute,
  numbers: NumberReading,
): ConfigRoute {
  return {
    method,
    path,
    async handle(request, signal) {
      signal.throwIfAborted();
      try {
        return await handle(new ConfigCall(request, shape, numbers));
      } catch (error) {
        if (!(error instanceof ClientFault)) throw error;
        const body = { faultcode: 'Client', faultstring: error.message, debuginfo: null };
        return { status: error.status, body };
      }
    },
  };
}

export function ok(body: JsonValue): ConfigResponse {
  return { status: 200, body };
}

export const noContent: ConfigResponse = { status: 204 };

/** One request, its arguments checked by name. */
export class ConfigCall {
  readonly #request: ConfigRequest;
  readonly #arguments = new Map<string, unknown>();
  /** Names of the arguments that are part of the address. */
  readonly #fromAddress: ReadonlySet<string>;
  readonly #model: ModelBody | undefined;

  constructor(request: ConfigRequest, shape: RouteShape, numbers: NumberReading) {
    this.#request = request;
    this.#fromAddress = new Set([...request.query.keys(), ...Object.keys(request.parameters)]);
    const allowed = shape.arguments ?? [];
    if (shape.model === undefined) this.#take(Object.entries(objectBody(request.body)), allowed);
    this.#take(
      [...request.query].map(([name, values]) => [name, values.at(-1)] as const),
      allowed,
    );
    this.#take(Object.entries(request.parameters), Object.keys(request.parameters));
    if (shape.model !== undefined) this.#model = new ModelBody(request.body, shape.model, numbers);
  }

  get tx(): SqlTransaction {
    return this.#request.tx;
  }

  get now(): Instant {
    return this.#request.now;
  }

  /** Who is recorded for a change. */
  get author(): string {
    return this.#request.caller.userId ?? 'unknown';
  }

  /** The public id of a rule that this call creates. */
  newId(): string {
    return this.#request.newId();
  }

  get model(): ModelBody {
    if (this.#model === undefined) throw new Error('this route has no model');
    return this.#model;
  }

  /** An argument as text; undefined when it is absent. @throws a client fault for objects and lists. */
  text(name: string): string | undefined {
    const value = this.#arguments.get(name);
    if (value === undefined || value === null) return undefined;
    if (typeof value === 'object' && !isDecimal(value)) throw wrongType(name, value);
    return String(value);
  }

  /** @throws a client fault when the argument is absent. */
  required(name: string): string {
    const value = this.text(name);
    if (value === undefined || value === '') throw badRequest(`Missing argument: "${name}"`);
    return value;
  }

  /** In an address every text but the empty one is true, `false` included; in a body `false` and `no` are what they say. */
  flag(name: string): boolean {
    const value = this.text(name)?.trim().toLowerCase() ?? '';
    if (value === '') return false;
    if (this.#fromAddress.has(name) || ['true', '1', 'yes', 'on', 't', 'y'].includes(value)) return true;
    if (['false', '0', 'no', 'off', 'f', 'n'].includes(value)) return false;
    throw invalid(name, value, `Value not an unambiguous boolean: ${value}`);
  }

  date(name: string): Instant | undefined {
    const value = this.text(name);
    if (value === undefined || value === '') return undefined;
    const instant = parseDate(value, 'start');
    if (instant === undefined) throw invalid(name, value, 'unable to convert to datetime.');
    return instant;
  }

  created(id: string, body: JsonValue): ConfigResponse {
    return { status: 201, headers: { Location: `${this.#path.replace(/\/$/, '')}/${id}` }, body };
  }

  /** What clients of the reference expect after a change: the same address once more. */
  changed(): ConfigResponse {
    return { status: 302, headers: { Location: this.#path } };
  }

  get #path(): string {
    return this.#request.url.replace(/[?#].*$/, '');
  }

  #take(entries: readonly (readonly [string, unknown])[], allowed: readonly string[]): void {
    for (const [name, value] of entries) {
      if (!allowed.includes(name)) throw badRequest(`Unknown argument: "${name}"`);
      this.#arguments.set(name, value);
    }
  }
}

/** The attributes of an object in a body. */
export class ModelBody {
  readonly #attributes: ReadonlyMap<string, unknown>;
  readonly #numbers: NumberReading;

  constructor(body: unknown, shape: NonNullable<RouteShape['model']>, numbers: NumberReading) {
    if (body === undefined || body === null) throw badRequest(`Missing argument: "${shape.argument}"`);
    this.#attributes = new Map(Object.entries(objectBody(body)));
    this.#numbers = numbers;
    for (const name of this.#attributes.keys())
      if (!shape.attributes.includes(name))
        throw badRequest(`Unknown attribute for argument ${shape.argument}: ${name}`);
  }

  has(name: string): boolean {
    return this.#attributes.has(name);
  }

  /** Text; null when it is null or absent. */
  text(name: string, length = 255): string | null {
    const value = this.#attributes.get(name) ?? null;
    if (value === null) return null;
    if (typeof value !== 'string') throw wrongType(name, value);
    if ([...value].length > length) throw invalid(name, value, `Longer than ${length} characters.`);
    return value;
  }

  requiredText(name: string): string {
    const value = this.text(name);
    if (value === null) throw invalid(name, 'None', 'Mandatory field missing.');
    return value;
  }

  /** As Python reads them: hyphens, braces and `urn:uuid:` are decoration. The text stays as it is. */
  uuid(name: string): string | null {
    const value = this.text(name);
    if (value === null) return null;
    const digits = value
      .replace(/^urn:/, '')
      .replace(/^uuid:/, '')
      .replace(/[{}-]/g, '');
    if (/^[0-9a-f]{32}$/i.test(digits)) return value;
    throw invalid(name, value, `Invalid UUID, got '${value}'`);
  }

  /** Whatever was sent; undefined when it is absent. */
  value(name: string): unknown {
    return this.#attributes.get(name);
  }

  /** @throws a client fault when the attribute is there: only the server sets it. */
  refuse(name: string): void {
    const value = this.#attributes.get(name);
    if (value !== undefined) throw invalid(name, value, 'Cannot set read only field.');
  }

  /** Rounded half away from zero to what the column of the reference keeps. */
  decimal(name: string, decimals: number): Decimal {
    const value = this.#attributes.get(name) ?? null;
    if (value === null) throw invalid(name, 'None', 'Mandatory field missing.');
    const number = readDecimal(value);
    if (number === undefined) throw invalid(name, value, 'unable to convert to decimal.');
    const isNumber = typeof value !== 'string';
    const exact =
      isNumber && this.#numbers === 'binary' && fitsDigits(number) ? number.throughBinary() : number;
    const rounded = exact.quantize(decimals, 'half-up');
    if (!fitsDigits(rounded))
      throw invalid(name, value, `More than ${INTEGER_DIGITS} digits before the point.`);
    return rounded;
  }

  date(name: string, meaning: 'start' | 'end'): Instant | undefined {
    const value = this.text(name);
    if (value === null || value === '') return undefined;
    const instant = parseDate(value, meaning);
    if (instant === undefined) throw invalid(name, value, 'unable to convert to datetime.');
    return instant;
  }
}

function objectBody(body: unknown): Readonly<Record<string, unknown>> {
  if (body === undefined || body === null) return {};
  if (typeof body !== 'object' || Array.isArray(body) || isDecimal(body))
    throw badRequest('Request is not in valid JSON format');
  return body as Readonly<Record<string, unknown>>;
}

export function invalid(name: string, value: unknown, reason: string): Error {
  const text = typeof value === 'string' || isDecimal(value) ? String(value) : JSON.stringify(value);
  return badRequest(
    `Invalid input for field/attribute ${name}. Value: '${shortened(text)}'. ${shortened(reason)}`,
  );
}

/** Errors repeat what was sent, but not by the megabyte. */
function shortened(text: string): string {
  return text.length <= LONGEST_ECHO ? text : `${text.slice(0, LONGEST_ECHO)}…`;
}

function wrongType(name: string, value: unknown): Error {
  return invalid(name, value, `Wrong type. Expected '<class 'str'>', got '<class '${pythonType(value)}'>'`);
}

function pythonType(value: unknown): string {
  if (isDecimal(value)) return value.exponent === 0 ? 'int' : 'float';
  if (typeof value === 'number') return Number.isInteger(value) ? 'int' : 'float';
  if (typeof value === 'boolean') return 'bool';
  return Array.isArray(value) ? 'list' : 'dict';
}
