import type { Instant } from '../../plugin-api/index.js';
import type { Identity } from '../auth/identity.js';
import type { JsonInput } from '../exact-body.js';
import type { ApiRequest } from '../exchange.js';
import { badRequest } from './faults.js';
import { parseLenientDate } from './lenient-date.js';
import { Model, type ModelShape, pythonBoolean } from './model.js';
import { invalidInput, wrongType } from './python-repr.js';
import { membersOf, readBody } from './request-body.js';

/** What a method takes. */
export interface CallShape {
  /** Names of the arguments in path and query and, without a model, in the body. */
  readonly arguments?: readonly string[] | undefined;
  /** The body is an object with these attributes. */
  readonly model?: ModelShape | undefined;
}

interface Argument {
  readonly value: JsonInput;
  /** Parts of the address are texts, whatever they mean. */
  readonly isText: boolean;
}

/** One request with its arguments, wherever they came from, checked by name (spec: v1 argument sources). */
export class V1Call {
  readonly request: ApiRequest;
  readonly #arguments = new Map<string, Argument>();
  readonly #model: Model | undefined;

  constructor(request: ApiRequest, parameters: ReadonlyMap<string, string>, shape: CallShape) {
    this.request = request;
    const allowed = [...(shape.arguments ?? []), ...parameters.keys()];
    this.#takeTexts(request.query, allowed);
    const body = readBody(request);
    if (body.kind === 'form') this.#takeTexts(body.arguments, allowed);
    if (body.kind === 'json' && shape.model === undefined) {
      for (const [name, value] of membersOf(body.value)) this.#take(name, { value, isText: false }, allowed);
    }
    for (const [name, value] of parameters) this.#arguments.set(name, { value, isText: true });
    if (shape.model !== undefined) {
      const value = body.kind === 'json' ? body.value : null;
      if (value === null) throw badRequest(`Missing argument: "${shape.model.argument}"`);
      this.#model = new Model(value, shape.model);
    }
  }

  get identity(): Identity {
    return this.request.identity;
  }

  get signal(): AbortSignal {
    return this.request.signal;
  }

  get model(): Model {
    if (this.#model === undefined) throw new Error('this method takes no model');
    return this.#model;
  }

  /** Absolute, without query. */
  get url(): string {
    const { origin, prefix, path } = this.request;
    return `${origin}${prefix}${path}`;
  }

  /** Undefined when it is absent, null or empty. */
  text(name: string): string | undefined {
    const argument = this.#arguments.get(name);
    if (argument === undefined || argument.value === null || argument.value === '') return undefined;
    if (typeof argument.value !== 'string') throw wrongType(name, argument.value, 'str');
    return argument.value;
  }

  /** @throws V1Fault 400 when it is absent. */
  required(name: string): string {
    const value = this.text(name);
    if (value === undefined) throw badRequest(`Missing argument: "${name}"`);
    return value;
  }

  /** In an address every text but the empty one is true, `false` included; in a body it is a JSON boolean. */
  flag(name: string): boolean {
    const argument = this.#arguments.get(name);
    if (argument === undefined) return false;
    if (argument.isText) return argument.value !== '';
    return pythonBoolean(argument.value, (reason) => invalidInput(name, argument.value, reason)) ?? false;
  }

  /** Seconds since 1970 with their fraction. */
  date(name: string): Instant | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const instant = parseLenientDate(text);
    if (instant !== undefined) return instant;
    throw invalidInput(name, text, `unable to convert to datetime. Error: Unknown string format: ${text}`);
  }

  #takeTexts(texts: URLSearchParams, allowed: readonly string[]): void {
    for (const [name, value] of texts) this.#take(name, { value, isText: true }, allowed);
  }

  #take(name: string, argument: Argument, allowed: readonly string[]): void {
    if (!allowed.includes(name)) throw badRequest(`Unknown argument: "${name.slice(0, 200)}"`);
    this.#arguments.set(name, argument);
  }
}
