import type { IndexStore, StoredDocument } from './index-store.js';
import type { Json, JsonObject } from './mapping.js';
import { compileQuery, parsing } from './query.js';
import { badRequest } from './refusal.js';

const MAX_RESULT_WINDOW = 10_000;
const MAX_BUCKETS = 65_536;
const KEYS = new Set([
  'query',
  'size',
  'from',
  'sort',
  'search_after',
  '_source',
  'track_total_hits',
  'seq_no_primary_term',
  'aggs',
  'aggregations',
]);

export interface Found {
  readonly document: StoredDocument;
  readonly sort: readonly Json[];
}

/** What a search finds among what it can see. */
export function runSearch(
  index: IndexStore,
  body: JsonObject,
  isScroll: boolean,
): { readonly found: readonly Found[]; readonly total: number; readonly aggregations: Json | undefined } {
  for (const key of Object.keys(body))
    if (!KEYS.has(key)) throw parsing(`Unknown key for a VALUE in [${key}].`);
  const size = Number(body.size ?? 10);
  const from = Number(body.from ?? 0);
  if (from + size > MAX_RESULT_WINDOW)
    throw badRequest(
      `Result window is too large, from + size must be less than or equal to: [${MAX_RESULT_WINDOW}] but was [${from + size}]`,
    );
  const test = body.query === undefined ? () => true : compileQuery(body.query, index.mapping);
  const matching = [...index.visible.values()].filter(({ fields }) => test(fields));
  const keys = sortKeys(index, body.sort);
  const after = body.search_after as readonly Json[] | undefined;
  if (after !== undefined && (after.length !== keys.length || isScroll || from > 0))
    throw badRequest(`search_after has ${after.length} value(s) but sort has ${keys.length}.`);
  // Equal documents come in another order every time, as from several shards.
  const shuffled = isScroll || keys.length > 0 ? shuffle(matching) : matching;
  const sorted = shuffled
    .map((document) => ({ document, sort: keys.map((key) => key.value(document)) }))
    .sort((left, right) => compare(left.sort, right.sort, keys))
    .filter(({ sort }) => after === undefined || compare(sort, after, keys) > 0);
  const aggregations = (body.aggs ?? body.aggregations) as JsonObject | undefined;
  return {
    found: isScroll ? sorted : sorted.slice(from, from + size),
    total: matching.length,
    aggregations: aggregations && runAggregations(index, aggregations, matching),
  };
}

interface SortKey {
  readonly descending: boolean;
  value(document: StoredDocument): Json;
}

function sortKeys(index: IndexStore, sort: Json | undefined): readonly SortKey[] {
  return ([sort ?? []].flat() as readonly Json[]).map((entry) => {
    const [field, given] =
      typeof entry === 'string' ? [entry, 'asc'] : Object.entries(entry as JsonObject)[0]!;
    const options = (typeof given === 'string' ? { order: given } : given) as JsonObject;
    for (const name of Object.keys(options))
      if (!['order', 'unmapped_type', 'missing'].includes(name))
        throw parsing(`[field_sort] unknown field [${name}]`);
    if (field === '_doc') return { descending: false, value: () => 0 };
    if (field === '_id')
      throw badRequest(
        'Fielddata access on the _id field is disallowed, you can re-enable it by updating the dynamic cluster setting: indices.id_field_data.enabled',
      );
    const type = index.mapping.field(field)?.type;
    if (type === 'text') throw fielddata(field);
    if (type === undefined && options.unmapped_type === undefined)
      throw badRequest(`No mapping found for [${field}] in order to sort on`);
    return {
      descending: options.order === 'desc',
      value: (document) => (document.fields.get(field)?.[0] ?? null) as Json,
    };
  });
}

function compare(left: readonly Json[], right: readonly Json[], keys: readonly SortKey[]): number {
  for (const [place, { descending }] of keys.entries()) {
    const [one, other] = [left[place]!, right[place]!];
    if (one === other) continue;
    if (one === null || other === null) return one === null ? 1 : -1;
    const order =
      typeof one === 'string'
        ? Buffer.compare(Buffer.from(one), Buffer.from(String(other)))
        : Number(one) - Number(other);
    if (order !== 0) return descending ? -order : order;
  }
  return 0;
}

let turns = 0;

function shuffle<T>(items: readonly T[]): readonly T[] {
  return turns++ % 2 === 0 ? items : items.toReversed();
}

function runAggregations(index: IndexStore, wanted: JsonObject, documents: readonly StoredDocument[]): Json {
  return Object.fromEntries(
    Object.entries(wanted).map(([name, definition]) => [
      name,
      runAggregation(index, definition as JsonObject, documents),
    ]),
  );
}

function runAggregation(
  index: IndexStore,
  definition: JsonObject,
  documents: readonly StoredDocument[],
): Json {
  const inner = (definition.aggs ?? definition.aggregations ?? {}) as JsonObject;
  const { sum, composite } = definition as { readonly sum?: JsonObject; readonly composite?: JsonObject };
  if (sum !== undefined) {
    const field = String(sum.field);
    const type = index.mapping.field(field)?.type;
    if (type === 'text' || type === 'keyword') throw fielddata(field);
    return { value: documents.reduce((total, { fields }) => total + Number(fields.get(field)?.[0] ?? 0), 0) };
  }
  if (composite === undefined) throw parsing(`Unknown aggregation type [${Object.keys(definition)[0]}]`);
  return runComposite(index, composite, inner, documents);
}

function runComposite(
  index: IndexStore,
  { sources, size = 10, after }: JsonObject,
  inner: JsonObject,
  documents: readonly StoredDocument[],
): Json {
  if (Number(size) > MAX_BUCKETS)
    throw badRequest(`Trying to create too many buckets. Must be less than or equal to: [${MAX_BUCKETS}]`);
  const keys = (sources as readonly JsonObject[]).map((source) => {
    const [name, definition] = Object.entries(source)[0]!;
    const { field } = (definition as JsonObject).terms as JsonObject;
    if (index.mapping.field(String(field))?.type === 'text') throw fielddata(String(field));
    return { name, field: String(field) };
  });
  const buckets = new Map<string, { readonly key: readonly Json[]; readonly documents: StoredDocument[] }>();
  for (const document of documents) {
    const key = keys.map(({ field }) => document.fields.get(field)?.[0] as Json | undefined);
    if (key.includes(undefined)) continue;
    const text = JSON.stringify(key);
    const bucket = buckets.get(text) ?? { key: key as Json[], documents: [] };
    bucket.documents.push(document);
    buckets.set(text, bucket);
  }
  const plain = keys.map(() => ({ descending: false, value: () => 0 }));
  const start = after === undefined ? undefined : keys.map(({ name }) => (after as JsonObject)[name]!);
  const page = [...buckets.values()]
    .sort((left, right) => compare(left.key, right.key, plain))
    .filter(({ key }) => start === undefined || compare(key, start, plain) > 0)
    .slice(0, Number(size))
    .map(({ key, documents: some }) => ({
      key: Object.fromEntries(keys.map(({ name }, place) => [name, key[place]!])),
      doc_count: some.length,
      ...(runAggregations(index, inner, some) as JsonObject),
    }));
  const last = page.at(-1);
  return { ...(last === undefined ? {} : { after_key: last.key }), buckets: page };
}

function fielddata(field: string) {
  return badRequest(
    `Text fields are not optimised for operations that require per-document field data like aggregations and sorting, so these operations are disabled by default. Please use a keyword field instead. [${field}]`,
  );
}
