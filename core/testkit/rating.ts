import assert from 'node:assert/strict';
import {
  type CompiledRating,
  type ConfigRoute,
  type Frame,
  isDecimal,
  isRatecatError,
  type JsonValue,
  type PluginContext,
  type PluginDefinition,
  type RatedPoint,
  type RatingModule,
  type RulesDocument,
  type Scope,
  type SqlDatabase,
  type SqlReader,
  type SqlTransaction,
} from '../plugin-api/index.js';
import { createPlugin, type TestFunction, testDefinition } from './definition.js';
import { fakeContext } from './fakes.js';
import { testLifecycle } from './lifecycle.js';

/** Rules and a frame that they rate. */
export interface RatingSample {
  readonly name: string;
  /** As `loadRules` gives them; `null` for a module without rules. */
  readonly rules: JsonValue;
  readonly scope?: Scope | undefined;
  readonly frame: Frame<RatedPoint>;
}

/** A document of rules and a frame that it rates. */
export interface DocumentSample {
  readonly name: string;
  readonly document: JsonValue;
  readonly scope?: Scope | undefined;
  readonly frame: Frame<RatedPoint>;
}

/** An empty database of its own for one test. */
export interface TestDatabase {
  readonly database: SqlDatabase;
  close(): Promise<void>;
}

export interface RatingTest<Options> {
  readonly test: TestFunction;
  readonly definition: PluginDefinition<'rating', Options>;
  readonly options?: unknown;
  /** Default: a context with fakes. */
  readonly context?: PluginContext | undefined;
  /** At least one. */
  readonly samples: readonly RatingSample[];
  /** Needed by modules with tables. */
  readonly openDatabase?: (() => Promise<TestDatabase>) | undefined;
  /** Puts `count` rules into the module's tables, beside those that are there. */
  readonly storeRules?: ((tx: SqlTransaction, count: number) => Promise<void>) | undefined;
  /** Needed by modules with a document form. */
  readonly documents?: readonly DocumentSample[] | undefined;
}

/** The conformance suite of rating modules. */
export function testRating<Options>(suite: RatingTest<Options>): void {
  const { test, definition, samples } = suite;
  const label = `rating ${definition.name}`;
  const context = suite.context ?? fakeContext();
  const create = () => createPlugin({ ...suite, context });
  testDefinition({ test, definition, kind: 'rating', options: suite.options, context });
  testLifecycle({ test, label, create });

  test(`${label}: says in one line what it is`, async () => {
    const { description, hotConfig } = await create();
    assert.match(description, /^\S.*$/);
    assert.equal(typeof hotConfig, 'boolean');
  });
  test(`${label}: configuration routes are distinct and lie below the module's root`, async () => {
    checkRoutes((await create()).configRoutes ?? []);
  });
  assert.ok(samples.length > 0, 'the suite needs at least one sample');
  for (const sample of samples) testSample(test, `${label}, ${sample.name}`, create, sample);
  if (suite.openDatabase !== undefined) testTables(suite, label, create, suite.openDatabase);
  testDocuments(suite, label, create);
}

// ------------------------------------------------------------------------------------------------------------ rating

type Create = () => Promise<RatingModule>;

function testSample(test: TestFunction, label: string, create: Create, sample: RatingSample): void {
  const { rules, scope, frame } = sample;
  const compile = async () => (await create()).compile(rules, scope);

  test(`${label}: the same frame has the same prices, compiled once or twice`, async () => {
    const compiled = await compile();
    const first = pricesOf(await rate(compiled, frame));
    assert.deepEqual(pricesOf(await rate(compiled, frame)), first);
    assert.deepEqual(pricesOf(await rate(await compile(), frame)), first);
  });

  test(`${label}: the frame it was given stays as it was`, async () => {
    const before = pricesOf(frame);
    const { points } = frame;
    await rate(await compile(), deepFreeze(frame));
    assert.equal(frame.points, points);
    assert.deepEqual(pricesOf(frame), before);
  });

  test(`${label}: source, scope, period, gaps and the order of points are kept`, async () => {
    const rated = await rate(await compile(), frame);
    assert.equal(rated.source, frame.source);
    assert.deepEqual(rated.scope, frame.scope);
    assert.deepEqual(rated.period, frame.period);
    assert.deepEqual(rated.gaps, frame.gaps);
    checkOrder(frame, rated);
    for (const point of rated.points) {
      assert.ok(isDecimal(point.price), 'a price is a Decimal');
      assert.ok(isDecimal(point.quantity), 'a quantity is a Decimal');
    }
  });

  test(`${label}: rating in one frame or point by point is the same`, async () => {
    const compiled = await compile();
    const whole = await rate(compiled, frame);
    if (whole.points.length !== frame.points.length) return;
    for (const [index, point] of frame.points.entries()) {
      const alone = await rate(compiled, { ...frame, points: [point] });
      assert.deepEqual(pricesOf(alone), [pricesOf(whole)[index]], `point ${index}`);
    }
  });

  test(`${label}: a frame without points stays without points`, async () => {
    const rated = await rate(await compile(), { ...frame, points: [] });
    assert.equal(rated.points.length, 0);
  });

  test(`${label}: rules are plain JSON and rate the same after a round trip`, async () => {
    const copy = JSON.parse(JSON.stringify(rules)) as JsonValue;
    assert.deepEqual(copy, rules);
    const compiled = (await create()).compile(copy, scope);
    assert.deepEqual(pricesOf(await rate(compiled, frame)), pricesOf(await rate(await compile(), frame)));
  });

  test(`${label}: compiling leaves the rules as they were`, async () => {
    const before = JSON.stringify(rules);
    await rate((await create()).compile(deepFreeze(rules), scope), frame);
    assert.equal(JSON.stringify(rules), before);
  });

  test(`${label}: a quote without a scope gives prices`, async () => {
    const compiled = (await create()).compile(rules, undefined);
    const signal = new AbortController().signal;
    const quoted = await (compiled.quote ?? compiled.rate).call(compiled, frame, signal);
    for (const point of quoted.points) assert.ok(isDecimal(point.price));
  });

  test(`${label}: an aborted signal ends rating with its reason`, async () => {
    const compiled = await compile();
    const reason = new Error('aborted by the test');
    await assert.rejects(
      async () => compiled.rate(frame, AbortSignal.abort(reason)),
      (error) => error === reason,
    );
  });

  test(`${label}: an explanation ends at the price that rating gives`, async () => {
    const compiled = await compile();
    if (compiled.explain === undefined) return;
    for (const point of frame.points) await checkExplanation(compiled, frame, point);
  });
}

async function rate(compiled: CompiledRating, frame: Frame<RatedPoint>): Promise<Frame<RatedPoint>> {
  return compiled.rate(frame, new AbortController().signal);
}

function pricesOf(frame: Frame<RatedPoint>): readonly string[] {
  return frame.points.map((point) => point.price.toString());
}

/** Points may come and go, but those that stay keep their order. */
function checkOrder(before: Frame<RatedPoint>, after: Frame<RatedPoint>): void {
  const position = new Map(before.points.map((point, index) => [point.descriptor, index]));
  const distinct = position.size === before.points.length;
  const kept = after.points.flatMap(({ descriptor }) => position.get(descriptor) ?? []);
  if (distinct)
    assert.deepEqual(
      kept,
      kept.toSorted((left, right) => left - right),
    );
}

async function checkExplanation(
  compiled: CompiledRating,
  frame: Frame<RatedPoint>,
  point: RatedPoint,
): Promise<void> {
  const rated = await rate(compiled, { ...frame, points: [point] });
  if (rated.points.length !== 1) return;
  const steps = compiled.explain!(point, frame.period);
  assert.ok(steps.length > 0, 'an explanation has at least one step');
  for (const step of steps) assert.match(step.text, /\S/);
  assert.equal(steps.at(-1)!.price.toString(), rated.points[0]!.price.toString());
}

// ------------------------------------------------------------------------------------------------------------ tables

function testTables<Options>(
  suite: RatingTest<Options>,
  label: string,
  create: Create,
  openDatabase: () => Promise<TestDatabase>,
): void {
  const { test, definition, storeRules } = suite;
  const withTables = async (work: (database: SqlDatabase) => Promise<void>) => {
    const { database, close } = await openDatabase();
    try {
      await migrate(database, definition);
      await work(database);
    } finally {
      await close();
    }
  };
  const signal = new AbortController().signal;
  const store = (database: SqlDatabase, count: number) =>
    database.transaction((tx) => storeRules!(tx, count));

  test(`${label}: empty tables are a set of rules that compiles`, async () => {
    await withTables(async (database) => {
      const module = await create();
      const rules = (await module.loadRules?.(database, signal)) ?? null;
      await rate(module.compile(rules, undefined), suite.samples[0]!.frame);
    });
  });

  test(`${label}: migrations may run again and keep what is stored`, async () => {
    await withTables(async (database) => {
      const module = await create();
      if (storeRules !== undefined) await store(database, 3);
      const before = await module.loadRules?.(database, signal);
      await migrate(database, definition);
      assert.deepEqual(await module.loadRules?.(database, signal), before);
    });
  });

  if (storeRules === undefined) return;

  test(`${label}: loading takes the same number of queries for few rules and for many`, async () => {
    await withTables(async (database) => {
      const module = await create();
      const counts: number[] = [];
      for (const count of [1, 10, 100]) {
        await store(database, count);
        const counter = new CountingReader(database);
        await module.loadRules!(counter, signal);
        counts.push(counter.queries);
      }
      assert.deepEqual(new Set(counts), new Set([counts[0]]));
    });
  });

  test(`${label}: loaded rules are the same each time, and plain JSON`, async () => {
    await withTables(async (database) => {
      const module = await create();
      await store(database, 20);
      const first = await module.loadRules!(database, signal);
      assert.equal(JSON.stringify(await module.loadRules!(database, signal)), JSON.stringify(first));
      assert.deepEqual(JSON.parse(JSON.stringify(first)), first);
    });
  });

  test(`${label}: an aborted signal ends loading with its reason`, async () => {
    await withTables(async (database) => {
      const module = await create();
      const reason = new Error('aborted by the test');
      await assert.rejects(
        async () => module.loadRules!(database, AbortSignal.abort(reason)),
        (error) => error === reason,
      );
    });
  });
}

/** Runs every statement of the plugin's migrations, as the host does on a new database. */
async function migrate(
  database: SqlDatabase,
  definition: Pick<PluginDefinition, 'migrations'>,
): Promise<void> {
  for (const migration of definition.migrations ?? [])
    for (const statement of migration.statements(database.dialect))
      await database.transaction((tx) => tx.execute(statement));
}

class CountingReader implements SqlReader {
  readonly #database: SqlReader;
  queries = 0;

  constructor(database: SqlReader) {
    this.#database = database;
  }

  get dialect() {
    return this.#database.dialect;
  }

  query(...call: Parameters<SqlReader['query']>): ReturnType<SqlReader['query']> {
    this.queries++;
    return this.#database.query(...call);
  }
}

// --------------------------------------------------------------------------------------------------------- documents

const WRITE = { now: 1_767_225_600, author: 'conformance kit' } as const;

function testDocuments<Options>(suite: RatingTest<Options>, label: string, create: Create): void {
  const { test, definition, openDatabase } = suite;
  const signal = new AbortController().signal;

  test(`${label}: documents are offered with samples, or not at all`, async () => {
    const offered = (await create()).rulesDocument !== undefined;
    assert.equal(offered, (suite.documents ?? []).length > 0);
  });

  for (const { name, document, scope, frame } of suite.documents ?? []) {
    const documentForm = async () => {
      const module = await create();
      const form = module.rulesDocument;
      assert.ok(form !== undefined);
      const prices = async (rules: JsonValue) => pricesOf(await rate(module.compile(rules, scope), frame));
      return { module, form, prices };
    };

    test(`${label}, document ${name}: gives rules that are plain JSON`, async () => {
      const { form } = await documentForm();
      const rules = form.toRules(document);
      assert.deepEqual(JSON.parse(JSON.stringify(rules)), rules);
    });

    test(`${label}, document ${name}: what tenants may see of it is plain JSON, and takes nothing from the document`, async () => {
      const { form } = await documentForm();
      const before = JSON.stringify(document);
      for (const tenant of [undefined, scope?.id, 'somebody else']) {
        const seen = form.visibleTo?.(document, tenant) ?? null;
        assert.deepEqual(JSON.parse(JSON.stringify(seen)), seen);
        assert.equal(JSON.stringify(document), before);
      }
    });

    if (openDatabase === undefined) continue;

    test(`${label}, document ${name}: stored, loaded and read back it gives the same prices`, async () => {
      const { module, form, prices } = await documentForm();
      const expected = await prices(form.toRules(document));
      const { database, close } = await openDatabase();
      try {
        await migrate(database, definition);
        await database.transaction((tx) => form.write(document, tx, { ...WRITE, mode: 'replace' }));
        assert.deepEqual(await prices(await module.loadRules!(database, signal)), expected);
        assert.deepEqual(await prices(form.toRules(await form.read(database))), expected);
        await checkRepeatedWrite(form, database);
      } finally {
        await close();
      }
    });
  }

  test(`${label}: a document that makes no sense is refused with a DataError`, async () => {
    const form = (await create()).rulesDocument;
    if (form === undefined) return;
    for (const nonsense of [42, 'text', ['list'], { no_such_key: true }]) {
      assert.throws(() => form.toRules(nonsense), isDataError, JSON.stringify(nonsense));
    }
  });
}

/** Writing what was read changes nothing, in either mode. */
async function checkRepeatedWrite(form: RulesDocument, database: SqlDatabase): Promise<void> {
  const document = await form.read(database);
  for (const mode of ['merge', 'replace'] as const) {
    const change = await database.transaction((tx) => form.write(document, tx, { ...WRITE, mode }));
    assert.deepEqual(change, { added: 0, changed: 0, removed: 0 }, mode);
  }
}

function isDataError(error: unknown): boolean {
  return isRatecatError(error) && error.kind === 'data';
}

// ------------------------------------------------------------------------------------------------------------ routes

function checkRoutes(routes: readonly ConfigRoute[]): void {
  const seen = new Set<string>();
  for (const { method, path } of routes) {
    assert.match(path, /^\/(?:[^/\s]+(?:\/[^/\s]+)*)?$/, `path of ${method} ${path}`);
    const key = `${method} ${path.replace(/:[^/]+/g, ':')}`;
    assert.ok(!seen.has(key), `${key} is there twice`);
    seen.add(key);
    const parameters = [...path.matchAll(/:([^/]+)/g)].map((match) => match[1]);
    assert.equal(new Set(parameters).size, parameters.length, `parameters of ${path}`);
  }
}

function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  Object.freeze(value);
  for (const key of Reflect.ownKeys(value)) deepFreeze((value as Record<PropertyKey, unknown>)[key]);
  return value;
}
