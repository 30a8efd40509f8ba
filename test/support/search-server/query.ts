import { dateMillis, type Indexed, type Json, type JsonObject, type Mapping } from './mapping.js';
import { badRequest, type Refusal } from './refusal.js';

const MAX_TERMS = 65_536;

export type Test = (document: Indexed) => boolean;

type Compile = (body: JsonObject, mapping: Mapping) => Test;

/** The kinds of queries that are understood; every other one is refused as a typing mistake would be. */
const KINDS: Readonly<Record<string, Compile>> = {
  bool: (body, mapping) => boolTest(body, mapping),
  term(body, mapping) {
    const [field, value] = single(body, 'term');
    return termsTest(field, [value as Json], mapping);
  },
  terms(body, mapping) {
    const [field, values] = single(body, 'terms');
    if (!Array.isArray(values)) throw parsing('[terms] query does not support a value that is no array');
    if (values.length > MAX_TERMS)
      throw badRequest(
        `The number of terms [${values.length}] used in the Terms Query request has exceeded the allowed maximum of [${MAX_TERMS}]`,
      );
    if (values.some((value) => typeof value === 'object'))
      throw badRequest('unexpected array or object in terms', 'parsing_exception');
    return termsTest(field, values as readonly Json[], mapping);
  },
  range(body, mapping) {
    const [field, limits] = single(body, 'range');
    const type = mapping.field(field)?.type;
    const value = (given: Json) =>
      type === 'date' ? dateMillis(given as string) : type === 'keyword' ? String(given) : Number(given);
    const tests = Object.entries(limits as JsonObject).map(([name, given]) => {
      const compare = COMPARISONS[name];
      if (compare === undefined) throw parsing(`[range] query does not support [${name}]`);
      return { compare, limit: type === undefined ? 0 : value(given) };
    });
    return (document) =>
      (document.get(field) ?? []).some((found) =>
        tests.every(({ compare, limit }) => compare(found as number, limit as number)),
      );
  },
  exists(body) {
    const field = String(body.field);
    return (document) =>
      document.has(field) || [...document.keys()].some((path) => path.startsWith(`${field}.`));
  },
  match_all: () => () => true,
};

const COMPARISONS: Readonly<Record<string, (found: number, limit: number) => boolean>> = {
  gte: (found, limit) => found >= limit,
  gt: (found, limit) => found > limit,
  lte: (found, limit) => found <= limit,
  lt: (found, limit) => found < limit,
};

/** @throws Refusal 400 for what the real servers do not understand. */
export function compileQuery(query: Json | undefined, mapping: Mapping): Test {
  if (typeof query !== 'object' || query === null || Array.isArray(query))
    throw parsing('[query] malformed, must start with start_object');
  const [kind, body] = single(query as JsonObject, 'query');
  const compile = KINDS[kind];
  if (compile === undefined) throw parsing(`unknown query [${kind}]`);
  return compile(body as JsonObject, mapping);
}

function boolTest(body: JsonObject, mapping: Mapping): Test {
  for (const name of Object.keys(body))
    if (!['must', 'filter', 'should', 'must_not', 'minimum_should_match'].includes(name))
      throw parsing(`[bool] query does not support [${name}]`);
  const tests = (name: string) =>
    [body[name] ?? []].flat().map((query) => compileQuery(query as Json, mapping));
  const all = [...tests('must'), ...tests('filter')];
  const none = tests('must_not');
  const should = tests('should');
  const least = Number(body.minimum_should_match ?? (all.length === 0 && should.length > 0 ? 1 : 0));
  return (document) =>
    all.every((test) => test(document)) &&
    !none.some((test) => test(document)) &&
    should.filter((test) => test(document)).length >= least;
}

/** Text fields hold words, not what was stored. */
function termsTest(field: string, values: readonly Json[], mapping: Mapping): Test {
  const type = mapping.field(field)?.type;
  if (type === undefined) return () => false;
  if (type === 'text') {
    const wanted = new Set(values.map(String));
    return (document) =>
      (document.get(field) ?? []).some((text) => words(String(text)).some((word) => wanted.has(word)));
  }
  const wanted = new Set(
    values.map((value) =>
      type === 'keyword' ? String(value) : type === 'date' ? dateMillis(value as string) : Number(value),
    ),
  );
  return (document) => (document.get(field) ?? []).some((value) => wanted.has(value as string | number));
}

function words(text: string): readonly string[] {
  return text.toLowerCase().split(/[^\p{L}\p{N}_]+/u);
}

function single(body: JsonObject, what: string): readonly [string, Json] {
  const entries = Object.entries(body);
  if (entries.length !== 1)
    throw parsing(`[${what}] malformed query, expected [END_OBJECT] but found [FIELD_NAME]`);
  return entries[0]!;
}

export function parsing(reason: string): Refusal {
  return badRequest(reason, 'parsing_exception');
}
