import type { JsonInput } from '../exact-body.js';
import type { ApiRequest } from '../exchange.js';
import { badRequest, type Fault } from './faults.js';
import { membersOf, readJson } from './json-body.js';
import { pythonLiteral } from './python-literal.js';

/** Why a value was refused, in the words of the reference, and where inside the value. */
export class Refusal extends Error {
  readonly place: readonly (string | number)[];

  constructor(reason: string, place: readonly (string | number)[] = []) {
    super(reason);
    this.name = 'Refusal';
    this.place = place;
  }
}

/** Gives the value of a key in the form that the endpoint works with. @throws Refusal */
export type Validator<Input, Output> = (input: Input) => Output;

export interface Field<Input, Output> {
  readonly validate: Validator<Input, Output>;
  readonly isRequired: boolean;
  /** Value of an absent key. */
  readonly fallback: Output;
}

export function required<Input, Output>(validate: Validator<Input, Output>): Field<Input, Output> {
  // Never used: an absent key is an error.
  return { validate, isRequired: true, fallback: undefined as Output };
}

export function optional<Input, Output>(
  validate: Validator<Input, Output>,
): Field<Input, Output | undefined> {
  return { validate, isRequired: false, fallback: undefined };
}

export function withDefault<Input, Output>(
  validate: Validator<Input, Output>,
  fallback: Output,
): Field<Input, Output> {
  return { validate, isRequired: false, fallback };
}

/** Fields by key. Keys that can be given together only once form a group with a name. */
export interface InputSchema<Input, Fields extends Readonly<Record<string, Field<Input, unknown>>>> {
  readonly fields: Fields;
  readonly exclusive?: { readonly name: string; readonly keys: readonly string[] };
}

export type Values<Fields> = {
  readonly [Key in keyof Fields]: Fields[Key] extends Field<never, infer Output> ? Output : never;
};

/**
 * The query by a schema; every key has the list of its values.
 * @throws Fault 400 with the first defect.
 */
export function readQuery<Fields extends Readonly<Record<string, Field<readonly string[], unknown>>>>(
  { query }: ApiRequest,
  schema: InputSchema<readonly string[], Fields>,
): Values<Fields> {
  const input = new Map<string, string[]>();
  for (const [key, value] of query) {
    const values = input.get(key);
    if (values === undefined) input.set(key, [value]);
    else values.push(value);
  }
  return validated(input, schema);
}

/**
 * The JSON body by a schema.
 * @throws Fault 400 with the first defect, or 415.
 */
export function readBody<Fields extends Readonly<Record<string, Field<JsonInput, unknown>>>>(
  request: ApiRequest,
  schema: InputSchema<JsonInput, Fields>,
): Values<Fields> {
  const body = readJson(request);
  const members = membersOf(body);
  if (members === undefined) throw defect(body, 'expected a dictionary', '[]');
  return validated(members, schema);
}

function validated<Input, Fields extends Readonly<Record<string, Field<Input, unknown>>>>(
  input: ReadonlyMap<string, Input>,
  { fields, exclusive }: InputSchema<Input, Fields>,
): Values<Fields> {
  if (exclusive !== undefined && exclusive.keys.filter((key) => input.has(key)).length > 1) {
    const reason = `two or more values in the same group of exclusion '${exclusive.name}'`;
    throw defect(input, reason, `[<${exclusive.name}>]`);
  }
  const values = new Map<string, unknown>();
  for (const [key, value] of input) values.set(key, validatedField(input, fields, key, value));
  for (const [key, field] of Object.entries(fields)) {
    if (values.has(key)) continue;
    if (field.isRequired) throw defect(input, 'required key not provided', pythonLiteral([key]));
    values.set(key, field.fallback);
  }
  return Object.fromEntries(values) as Values<Fields>;
}

function validatedField<Input>(
  input: ReadonlyMap<string, Input>,
  fields: Readonly<Record<string, Field<Input, unknown>>>,
  key: string,
  value: Input,
): unknown {
  const field = Object.hasOwn(fields, key) ? fields[key] : undefined;
  if (field === undefined) throw defect(input, 'extra keys not allowed', pythonLiteral([key]));
  try {
    return field.validate(value);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    // Places are keys, and whole numbers without quotes.
    const place = [key, ...error.place].map((part) =>
      typeof part === 'number' ? part : pythonLiteral(part),
    );
    throw defect(input, error.message, `[${place.join(', ')}]`);
  }
}

function defect(input: unknown, reason: string, path: string): Fault {
  return badRequest(`Invalid data '${pythonLiteral(input)}' : ${reason} (path: '${path}')`);
}
