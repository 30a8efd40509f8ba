import { isDecimal } from '../../plugin-api/index.js';
import type { JsonInput } from '../exact-body.js';
import { badRequest, type V1Fault } from './faults.js';
import { invalidInput, mandatoryMissing, pythonType, wrongType } from './python-repr.js';
import { membersOf } from './request-body.js';

export interface ModelShape {
  /** What errors call the body: the reference's name of the parameter. */
  readonly argument: string;
  readonly attributes: readonly string[];
}

const TRUE = ['true', 't', 'yes', 'y', 'on', '1'];
const FALSE = ['false', 'f', 'no', 'n', 'off', '0'];
/** What the column of every engine holds. */
const LARGEST_INTEGER = 2_147_483_647;

/** The attributes of an object in a body. */
export class Model {
  readonly #shape: ModelShape;
  readonly #body: JsonInput;
  readonly #attributes: ReadonlyMap<string, JsonInput>;

  constructor(body: JsonInput, shape: ModelShape) {
    this.#shape = shape;
    this.#body = body;
    this.#attributes = membersOf(body);
    for (const name of this.#attributes.keys()) {
      if (shape.attributes.includes(name)) continue;
      throw badRequest(`Unknown attribute for argument ${shape.argument}: ${name.slice(0, 200)}`);
    }
  }

  get(name: string): JsonInput | undefined {
    return this.#attributes.get(name);
  }

  /** Undefined when it is absent or null. */
  text(name: string): string | undefined {
    const value = this.get(name) ?? null;
    if (value === null) return undefined;
    if (typeof value !== 'string') throw wrongType(name, value, 'str');
    return value;
  }

  requiredText(name: string): string {
    const value = this.text(name);
    if (value === undefined) throw mandatoryMissing(name);
    return value;
  }

  flag(name: string): boolean | undefined {
    return pythonBoolean(this.get(name) ?? null, (reason) => this.#unreadable(reason));
  }

  requiredFlag(name: string): boolean {
    const value = this.flag(name);
    if (value === undefined) throw mandatoryMissing(name);
    return value;
  }

  /** As Python's `int()`: texts of whole numbers count, fractions are cut off. */
  integer(name: string): number | undefined {
    const value = this.get(name) ?? null;
    if (value === null || value === '') return undefined;
    const integer = pythonInteger(value, (reason) => this.#unreadable(reason));
    if (Math.abs(integer) <= LARGEST_INTEGER) return integer;
    throw invalidInput(name, value, `Value should be between -${LARGEST_INTEGER} and ${LARGEST_INTEGER}.`);
  }

  /** The reference repeats the whole body when a value cannot be converted. */
  #unreadable(reason: string): V1Fault {
    return invalidInput(this.#shape.argument, this.#body, reason);
  }
}

/** Undefined for null. */
export function pythonBoolean(value: JsonInput, fault: (reason: string) => V1Fault): boolean | undefined {
  if (value === null || typeof value === 'boolean') return value ?? undefined;
  if (isDecimal(value) && value.exponent === 0) return !value.isZero;
  if (typeof value === 'string' && TRUE.includes(value)) return true;
  if (typeof value === 'string' && FALSE.includes(value)) return false;
  const shown = typeof value === 'string' || isDecimal(value) ? String(value) : pythonType(value);
  throw fault(`Value not an unambiguous boolean: ${shown}`);
}

function pythonInteger(value: JsonInput, fault: (reason: string) => V1Fault): number {
  if (typeof value === 'boolean') return Number(value);
  if (isDecimal(value)) return Number(value.isNegative ? value.ceil() : value.floor());
  if (typeof value === 'string') {
    if (/^\s*[+-]?\d+(_\d+)*\s*$/.test(value)) return Number(value.replaceAll('_', ''));
    throw fault(`invalid literal for int() with base 10: '${value}'`);
  }
  throw fault(
    `int() argument must be a string, a bytes-like object or a real number, not '${pythonType(value)}'`,
  );
}
