import {
  type Attributes,
  type AttributeValue,
  type Collected,
  type Instant,
  isDecimal,
  PluginError,
  type Sample,
  type Scope,
} from '../plugin-api/index.js';

/**
 * What plugins answer, checked before anything is made of it: the compiler cannot do it for a plugin that was written
 * without types, and an answer taken for "nothing" would be a price of zero.
 */

/** @throws PluginError RATECAT_PLUGIN_ANSWER when it is no answer of the contract. */
export function checkCollected(collectorName: string, answer: unknown): Collected {
  const problem = problemOfCollected(answer);
  if (problem === undefined) return answer as Collected;
  throw brokenAnswer(`Collector '${collectorName}'`, problem);
}

/** @throws PluginError RATECAT_PLUGIN_ANSWER when it is no list of scopes. */
export function checkScopes(fetcherName: string, answer: unknown): readonly Scope[] {
  const who = `Fetcher '${fetcherName}'`;
  if (!Array.isArray(answer)) throw brokenAnswer(who, `${shown(answer)} instead of a list of scopes`);
  for (const scope of answer as readonly unknown[]) {
    const { id, key, name } = (scope ?? {}) as { readonly [part in keyof Scope]?: unknown };
    if (typeof id !== 'string') throw brokenAnswer(who, `a scope whose id is ${shown(id)} instead of text`);
    if (typeof key !== 'string') throw brokenAnswer(who, `the scope '${id}' whose key is ${shown(key)}`);
    if (name !== undefined && typeof name !== 'string')
      throw brokenAnswer(who, `the scope '${id}' whose name is ${shown(name)}`);
  }
  return answer as readonly Scope[];
}

/** @throws PluginError RATECAT_PLUGIN_ANSWER when it is neither undefined nor whole seconds. */
export function checkEarliest(collectorName: string, answer: unknown): Instant | undefined {
  if (answer === undefined || Number.isSafeInteger(answer)) return answer as Instant | undefined;
  const problem = `${shown(answer)} instead of whole seconds as the earliest instant`;
  throw brokenAnswer(`Collector '${collectorName}'`, problem);
}

function brokenAnswer(who: string, problem: string): PluginError {
  return new PluginError(
    'RATECAT_PLUGIN_ANSWER',
    `${who} answered ${problem}. Nothing is made of it; report it to the plugin's author.`,
  );
}

function problemOfCollected(answer: unknown): string | undefined {
  const { kind, samples, reason } = (answer ?? {}) as {
    readonly kind?: unknown;
    readonly samples?: unknown;
    readonly reason?: unknown;
  };
  if (kind === 'nothing') return undefined;
  if (kind === 'unmeasurable') {
    return typeof reason === 'string' ? undefined : `'unmeasurable' with the reason ${shown(reason)}`;
  }
  if (kind !== 'measured') {
    return `${shown(answer)} whose kind is ${shown(kind)} instead of measured, nothing or unmeasurable`;
  }
  if (!Array.isArray(samples)) return `'measured' with ${shown(samples)} instead of a list of samples`;
  for (const sample of samples as readonly unknown[]) {
    const problem = problemOfSample(sample);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function problemOfSample(sample: unknown): string | undefined {
  const { groupby, metadata, value } = (sample ?? {}) as { readonly [part in keyof Sample]?: unknown };
  if (!isDecimal(value)) return `a sample whose value is ${shown(value)} instead of a Decimal`;
  return problemOfAttributes('groupby', groupby) ?? problemOfAttributes('metadata', metadata);
}

function problemOfAttributes(what: string, attributes: unknown): string | undefined {
  const { names, values } = (attributes ?? {}) as { readonly [part in keyof Attributes]?: unknown };
  if (!Array.isArray(names) || !Array.isArray(values) || names.length !== values.length) {
    return `a sample whose ${what} is ${shown(attributes)} instead of Attributes`;
  }
  for (let i = 0; i < values.length; i++) {
    const value: unknown = values[i];
    if (typeof value !== 'string' && !isAttributeValue(value, 0)) {
      return `a sample whose ${what} '${String(names[i])}' is ${shown(value)} instead of text, true, false, null or a Decimal`;
    }
  }
  return undefined;
}

/** Deeper values would exhaust the stack of whoever prints them. */
const MAX_DEPTH = 32;

function isAttributeValue(value: unknown, depth: number): value is AttributeValue {
  if (typeof value === 'string' || typeof value === 'boolean' || value === null || isDecimal(value))
    return true;
  if (depth >= MAX_DEPTH || !(Array.isArray(value) || isPlain(value))) return false;
  const parts: readonly unknown[] = Array.isArray(value) ? value : Object.values(value as object);
  return parts.every((part) => isAttributeValue(part, depth + 1));
}

/** A Date or a Map would be stored as `{}`. */
function isPlain(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function shown(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value === 'string') return `the text '${value.slice(0, 40)}'`;
  if (typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean')
    return `the ${typeof value} ${value}`;
  if (Array.isArray(value)) return 'a list';
  if (typeof value !== 'object' || isPlain(value))
    return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
  return `an object of class ${String((value as object).constructor?.name).slice(0, 40)}`;
}
