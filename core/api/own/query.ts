import { z } from 'zod';
import { invalid } from './own-fault.js';
import type { DocumentedSchema } from './own-route.js';

/** The schema as it stands in the OpenAPI document. */
export function documented(schema: z.ZodType): DocumentedSchema {
  return z.toJSONSchema(schema, { io: 'input', target: 'openapi-3.0' }) as DocumentedSchema;
}

/** Reads queries as a schema says. What the document promises is what is checked: both come from one schema. */
export class QueryReader<Query extends z.ZodObject> {
  readonly #schema: Query;
  readonly #types: ReadonlyMap<string, unknown>;

  constructor(schema: Query) {
    this.#schema = schema;
    const { properties } = documented(schema) as { properties: Record<string, { type?: unknown }> };
    this.#types = new Map(Object.entries(properties).map(([name, { type }]) => [name, type]));
  }

  /** @throws OwnFault 400 that names the parameter. */
  read(parameters: URLSearchParams): z.output<Query> {
    const values = new Map<string, unknown>();
    for (const name of new Set(parameters.keys()))
      values.set(name, this.#value(name, parameters.getAll(name)));
    const parsed = this.#schema.safeParse(Object.fromEntries(values));
    if (parsed.success) return parsed.data;
    const [issue] = parsed.error.issues;
    throw invalid(`Parameter '${String(issue!.path[0] ?? '')}': ${issue!.message}.`);
  }

  #value(name: string, texts: readonly string[]): unknown {
    if (!this.#types.has(name)) {
      const known = [...this.#types.keys()];
      const hint = known.length === 0 ? 'This call takes none.' : `There are: ${known.join(', ')}.`;
      throw invalid(`There is no parameter '${name.slice(0, 80)}'. ${hint}`);
    }
    const type = this.#types.get(name);
    if (type === 'array') return texts;
    if (texts.length > 1) throw invalid(`Parameter '${name}' is given more than once.`);
    const [text] = texts;
    // Anything else stays a text, which the schema refuses.
    return type === 'integer' && /^\d{1,15}$/.test(text!) ? Number(text) : text;
  }
}
