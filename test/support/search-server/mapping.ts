import { badRequest, Refusal } from './refusal.js';

export type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json };
export type JsonObject = { readonly [name: string]: Json };

export interface Field {
  type: string;
  ignore_above?: number;
  dynamic?: boolean;
  properties?: Map<string, Field>;
  fields?: Map<string, Field>;
}

/** Values of a document by the path of their field. */
export type Indexed = Map<string, (string | number | boolean)[]>;

const TYPES = new Set(['keyword', 'text', 'date', 'double', 'float', 'long', 'integer', 'boolean', 'object']);
const DATE = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?)?$/;
const MAX_TERM_BYTES = 32_766;

interface Template {
  readonly type: string;
  readonly mapping: JsonObject;
}

/** What an index knows of its fields, and how it takes documents: public documentation of Elasticsearch 7 and 8. */
export class Mapping {
  readonly root: Field = { type: 'object', dynamic: true, properties: new Map() };
  readonly maxFields: number;
  #dateDetection = true;
  #templates: readonly Template[] = [];

  constructor(maxFields = 1_000) {
    this.maxFields = maxFields;
  }

  /** Merges a mapping as it comes in a request. */
  put(body: JsonObject): void {
    for (const [name, value] of Object.entries(body)) {
      if (name === 'properties') mergeProperties(this.root, value as JsonObject, '');
      else if (name === 'dynamic') this.root.dynamic = dynamicOf(value);
      else if (name === 'date_detection') this.#dateDetection = value === true;
      else if (name === 'dynamic_templates')
        this.#templates = (value as readonly JsonObject[]).map(templateOf);
      else
        throw badRequest(
          `Root mapping definition has unsupported parameters:  [${name} : ${JSON.stringify(value)}]`,
          'mapper_parsing_exception',
        );
    }
  }

  toJson(): JsonObject {
    const { dynamic, properties } = toJson(this.root) as Record<string, Json>;
    return { ...(dynamic === false ? { dynamic: 'false' } : {}), ...(properties ? { properties } : {}) };
  }

  field(path: string): Field | undefined {
    let field: Field | undefined = this.root;
    for (const part of path.split('.')) field = field?.properties?.get(part) ?? field?.fields?.get(part);
    return field;
  }

  /** Values to index; new fields are kept only when the whole document is taken. */
  index(id: string, document: JsonObject): Indexed {
    const copy = structuredClone(this.root);
    const indexed: Indexed = new Map();
    this.#object(id, copy, document, '', true, indexed);
    const count = countFields(copy);
    if (count > this.maxFields && count > countFields(this.root))
      throw badRequest(`Limit of total fields [${this.maxFields}] has been exceeded`);
    Object.assign(this.root, copy);
    return indexed;
  }

  #object(id: string, field: Field, value: JsonObject, path: string, inherited: boolean, out: Indexed): void {
    const dynamic = field.dynamic ?? inherited;
    for (const [name, item] of Object.entries(value)) {
      const parts = name.split('.');
      if (name === '') throw parsing('field name cannot be an empty string');
      if (parts.some((part) => part.trim() === ''))
        throw badRequest(
          `field name cannot contain only whitespace or start or end with a dot: ['${path}${name}']`,
        );
      let parent = field;
      let isDynamic = dynamic;
      let prefix = path;
      let isKnown = true;
      for (const part of parts.slice(0, -1)) {
        let child = parent.properties?.get(part);
        if (child === undefined) {
          if (!isDynamic) {
            isKnown = false;
            break;
          }
          child = { type: 'object' };
          parent.properties ??= new Map();
          parent.properties.set(part, child);
        }
        if (child.type !== 'object')
          throw badRequest(
            `Could not dynamically add mapping for field [${prefix}${name}]. Existing mapping for [${prefix}${part}] must be of type object but found [${child.type}].`,
            'mapper_parsing_exception',
          );
        parent = child;
        isDynamic = child.dynamic ?? isDynamic;
        prefix = `${prefix}${part}.`;
      }
      if (isKnown) this.#value(id, parent, parts.at(-1)!, item, prefix, isDynamic, out);
    }
  }

  #value(
    id: string,
    parent: Field,
    name: string,
    value: Json,
    prefix: string,
    dynamic: boolean,
    out: Indexed,
  ): void {
    if (value === null) return;
    if (Array.isArray(value)) {
      for (const item of value as readonly Json[]) this.#value(id, parent, name, item, prefix, dynamic, out);
      return;
    }
    const path = `${prefix}${name}`;
    let field = parent.properties?.get(name);
    if (field === undefined) {
      if (!dynamic) return;
      field = this.#detected(value);
      parent.properties ??= new Map();
      parent.properties.set(name, field);
    }
    if (typeof value === 'object') {
      if (field.type !== 'object')
        throw parsing(
          `failed to parse field [${path}] of type [${field.type}] in document with id '${id}'. Preview of field's value: '{…}'`,
        );
      this.#object(id, field, value as JsonObject, `${path}.`, dynamic, out);
      return;
    }
    if (field.type === 'object')
      throw parsing(
        `object mapping for [${path}] tried to parse field [${name}] as object, but found a concrete value`,
      );
    store(out, path, field, value as string | number | boolean, id);
    for (const [sub, inner] of field.fields ?? [])
      store(out, `${path}.${sub}`, inner, value as string | number | boolean, id);
  }

  #detected(value: Json): Field {
    if (typeof value === 'object') return { type: 'object' };
    if (typeof value === 'boolean') return { type: 'boolean' };
    if (typeof value === 'number') return { type: Number.isInteger(value) ? 'long' : 'float' };
    if (this.#dateDetection && DATE.test(value)) return { type: 'date' };
    const template = this.#templates.find(({ type }) => type === 'string' || type === '*');
    if (template !== undefined) return fieldOf(template.mapping, '');
    const keyword: Field = { type: 'keyword', ignore_above: 256 };
    return { type: 'text', fields: new Map([['keyword', keyword]]) };
  }
}

/** Milliseconds of a date in the default format. */
export function dateMillis(value: string | number | boolean): number {
  if (typeof value === 'number') return value;
  const text = String(value);
  if (!DATE.test(text))
    throw badRequest(
      `failed to parse date field [${text}] with format [strict_date_optional_time||epoch_millis]`,
    );
  return Date.parse(/T/.test(text) && !/(Z|[+-]\d\d:?\d\d)$/.test(text) ? `${text}Z` : text);
}

function store(out: Indexed, path: string, field: Field, value: string | number | boolean, id: string): void {
  const stored = storedValue(path, field, value, id);
  if (stored === undefined) return;
  const values = out.get(path);
  if (values === undefined) out.set(path, [stored]);
  else values.push(stored);
}

function storedValue(
  path: string,
  field: Field,
  value: string | number | boolean,
  id: string,
): string | number | boolean | undefined {
  const fail = () =>
    parsing(
      `failed to parse field [${path}] of type [${field.type}] in document with id '${id}'. Preview of field's value: '${value}'`,
    );
  switch (field.type) {
    case 'keyword': {
      const text = String(value);
      if (field.ignore_above !== undefined && text.length > field.ignore_above) return undefined;
      if (Buffer.byteLength(text) > MAX_TERM_BYTES)
        throw badRequest(`Document contains at least one immense term in field="${path}"`);
      return text;
    }
    case 'text':
      return String(value);
    case 'date':
      if (typeof value === 'string' && !DATE.test(value)) throw fail();
      return dateMillis(value);
    case 'boolean':
      if (value === true || value === 'true') return true;
      if (value === false || value === 'false' || value === '') return false;
      throw fail();
    default: {
      const number = typeof value === 'boolean' || value === '' ? Number.NaN : Number(value);
      if (!Number.isFinite(number)) throw fail();
      if (field.type === 'integer' && Math.abs(number) > 2 ** 31) throw fail();
      return field.type === 'long' || field.type === 'integer' ? Math.trunc(number) : number;
    }
  }
}

function parsing(reason: string): Refusal {
  return new Refusal(400, 'mapper_parsing_exception', reason);
}

function templateOf(entry: JsonObject): Template {
  const [template] = Object.values(entry) as readonly JsonObject[];
  return { type: String(template!.match_mapping_type), mapping: template!.mapping as JsonObject };
}

function dynamicOf(value: Json): boolean {
  if (value === true || value === 'true') return true;
  if (value === false || value === 'false') return false;
  throw badRequest(
    `Failed to parse value [${JSON.stringify(value)}] of [dynamic]`,
    'mapper_parsing_exception',
  );
}

function fieldOf(definition: JsonObject, path: string): Field {
  const type = String(definition.type ?? 'object');
  if (!TYPES.has(type))
    throw badRequest(`No handler for type [${type}] declared on field [${path}]`, 'mapper_parsing_exception');
  const field: Field = { type };
  for (const [name, value] of Object.entries(definition)) {
    if (name === 'type') continue;
    if (name === 'properties' && type === 'object') mergeProperties(field, value as JsonObject, `${path}.`);
    else if (name === 'dynamic' && type === 'object') field.dynamic = dynamicOf(value);
    else if (name === 'ignore_above' && type === 'keyword') field.ignore_above = Number(value);
    else if (name === 'fields' && type === 'text')
      field.fields = new Map(
        Object.entries(value as JsonObject).map(([sub, inner]) => [sub, fieldOf(inner as JsonObject, sub)]),
      );
    else
      throw badRequest(
        `unknown parameter [${name}] on mapper [${path}] of type [${type}]`,
        'mapper_parsing_exception',
      );
  }
  return field;
}

function mergeProperties(parent: Field, properties: JsonObject, path: string): void {
  parent.properties ??= new Map();
  for (const [name, definition] of Object.entries(properties)) {
    const found = parent.properties.get(name);
    const field = fieldOf(definition as JsonObject, `${path}${name}`);
    if (found === undefined) parent.properties.set(name, field);
    else if (found.type !== field.type)
      throw badRequest(
        `mapper [${path}${name}] cannot be changed from type [${found.type}] to [${field.type}]`,
      );
    else if (found.type === 'object')
      mergeProperties(found, ((definition as JsonObject).properties ?? {}) as JsonObject, `${path}${name}.`);
  }
}

function countFields(field: Field): number {
  let count = 0;
  for (const inner of [...(field.properties?.values() ?? []), ...(field.fields?.values() ?? [])])
    count += 1 + countFields(inner);
  return count;
}

function toJson(field: Field): Json {
  const inner = (fields: Map<string, Field>) =>
    Object.fromEntries([...fields].map(([name, value]) => [name, toJson(value)]));
  return {
    ...(field.properties === undefined ? { type: field.type } : { properties: inner(field.properties) }),
    ...(field.dynamic === undefined ? {} : { dynamic: field.dynamic }),
    ...(field.ignore_above === undefined ? {} : { ignore_above: field.ignore_above }),
    ...(field.fields === undefined ? {} : { fields: inner(field.fields) }),
  };
}
