import type { Schema } from '../plugin-api/index.js';
import type { ConfigPath } from './problems.js';

/**
 * What zod 4 lets outsiders see of a schema. Read defensively: a plugin may bring another release, or a schema of another
 * library, about which nothing is known.
 */
interface Definition {
  readonly type?: string;
  readonly shape?: Readonly<Record<string, unknown>>;
  readonly innerType?: unknown;
  readonly in?: unknown;
  readonly out?: unknown;
  readonly element?: unknown;
  readonly valueType?: unknown;
  readonly options?: readonly unknown[];
  readonly left?: unknown;
  readonly right?: unknown;
  readonly getter?: () => unknown;
}

/** Nested wrappers beyond this are not worth following. */
const MAX_STEPS = 20;

/** Keys that a schema knows at a path; empty when it does not tell. */
export function knownKeys(schema: Schema, path: ConfigPath): readonly string[] {
  let level = unwrap(schema, 0);
  for (const part of path) level = level.flatMap((definition) => child(definition, part));
  return [...new Set(level.flatMap((definition) => Object.keys(definition.shape ?? {})))];
}

/** The definitions behind defaults, optionals, pipes and unions. */
function unwrap(schema: unknown, steps: number): readonly Definition[] {
  const definition = (schema as { _zod?: { def?: Definition } } | undefined)?._zod?.def;
  if (definition === undefined || steps > MAX_STEPS) return [];
  const inner = [
    definition.innerType,
    definition.in,
    definition.out,
    definition.left,
    definition.right,
    ...(definition.options ?? []),
    definition.type === 'lazy' ? definition.getter?.() : undefined,
  ].filter((candidate) => candidate !== undefined);
  return inner.length === 0 ? [definition] : inner.flatMap((candidate) => unwrap(candidate, steps + 1));
}

function child(definition: Definition, part: string | number): readonly Definition[] {
  if (typeof part === 'number') return unwrap(definition.element, 0);
  const shape = definition.shape;
  if (shape !== undefined) return Object.hasOwn(shape, part) ? unwrap(shape[part], 0) : [];
  return unwrap(definition.valueType, 0);
}
