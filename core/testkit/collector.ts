import assert from 'node:assert/strict';
import {
  Attributes,
  type Collected,
  type Collector,
  type CollectRequest,
  type HttpFactory,
  type HttpRequest,
  isDecimal,
  isRatecatError,
  type Metric,
  type Period,
  type PluginContext,
  type PluginDefinition,
  type Scope,
} from '../plugin-api/index.js';
import { createPlugin, type TestFunction, testDefinition } from './definition.js';
import {
  checkAborts,
  checkEarlyAbort,
  checkFaults,
  type DisturbedCall,
  neverAborted,
  withPlugin,
} from './disturbances.js';
import { fakeContext } from './fakes.js';
import { HOSTILE_TEXTS } from './hostile-texts.js';
import { testLifecycle } from './lifecycle.js';

/** A metric as the metrics file says it, with defaults that fit tests. */
export interface MetricSample {
  readonly name: string;
  readonly unit?: string | undefined;
  readonly groupby?: readonly string[] | undefined;
  readonly metadata?: readonly string[] | undefined;
  /** `extra_args`. */
  readonly extra?: unknown;
}

/** What a request consists of: the part that must not depend on the scope, and the texts that it carries. */
export interface RequestShape {
  /** Everything but the carried texts: the same for every scope id. */
  readonly skeleton: string;
  /** The carried texts, decoded as the server decodes them. */
  readonly carried: readonly string[];
}

export interface CollectorTest<Options = unknown> {
  readonly test: TestFunction;
  readonly definition: PluginDefinition<'collector', Options>;
  /** Options as a config file says them; asked for when the tests run. */
  readonly options?: (() => unknown) | undefined;
  /** What is not to be fake: `http` for a collector that asks a server. */
  readonly context?: Partial<PluginContext> | undefined;
  readonly metric: MetricSample;
  readonly scope: Scope;
  readonly period: Period;
  /** How many samples the source has for it, or what else it answers. */
  readonly expected: number | 'nothing' | 'unmeasurable';
  /**
   * Takes a request apart with the grammar of the query language, so that the suite can prove that no scope id ever changes
   * a query. Requests that carry no query (log-ins) give undefined.
   */
  readonly shapeOf?: ((request: HttpRequest) => RequestShape | undefined) | undefined;
}

type Request = CollectRequest<never>;
type Sampled = Pick<CollectorTest, 'metric' | 'scope' | 'period'>;

/** Checks a collector against the contract. The source must answer, and always the same, while the suite runs. */
export function testCollector<Options>(suite: CollectorTest<Options>): void {
  const { test, definition } = suite;
  const label = `collector ${definition.name}`;
  const work = collecting(suite);

  testDefinition({
    test,
    kind: 'collector',
    definition,
    context: fakeContext(suite.context),
    get options() {
      return suite.options?.();
    },
  });
  testLifecycle({ test, label, create: () => work.create(work.http) });

  test(`${label}: the schema of extra_args takes the sample and refuses unknown keys`, () =>
    withPlugin(work, async (collector) => {
      await metricOf(collector, suite);
      const extra = { ...(suite.metric.extra as object | undefined), no_such_option: 1 };
      const refused = await collector.metricOptions['~standard'].validate(extra);
      assert.ok((refused.issues ?? []).length > 0, 'an unknown key in extra_args was taken');
    }));

  test(`${label}: gives what the source has`, () =>
    withPlugin(work, async (collector) => {
      const request = await requestOf(collector, suite);
      const collected = await collector.collect(request, neverAborted());
      checkCollected(collected, request);
      const found = collected.kind === 'measured' ? collected.samples.length : collected.kind;
      assert.equal(found, suite.expected);
    }));

  test(`${label}: asked twice, and sixteen times at once, it gives the same`, () =>
    withPlugin(work, async (collector) => {
      const request = await requestOf(collector, suite);
      const first = work.normal(await collector.collect(request, neverAborted()));
      assert.deepEqual(work.normal(await collector.collect(request, neverAborted())), first);
      const answers = Array.from({ length: 16 }, () => collector.collect(request, neverAborted()));
      for (const answer of await Promise.all(answers)) assert.deepEqual(work.normal(answer), first);
    }));

  test(`${label}: refuses a signal that is already aborted`, () => checkEarlyAbort(work));
  test(`${label}: an abort during any request rejects at once`, () => checkAborts(work));
  test(`${label}: whichever request fails, it throws and never measures less`, () => checkFaults(work));

  test(`${label}: the first instant it can answer for is whole seconds, or unknown`, () =>
    withPlugin(work, async (collector) => {
      const earliest = await collector.earliest?.(suite.scope, neverAborted());
      assert.ok(earliest === undefined || Number.isSafeInteger(earliest), String(earliest));
    }));

  const { shapeOf } = suite;
  if (shapeOf === undefined) return;
  test(`${label}: hostile scope ids arrive as data and leave every query as it is`, () =>
    withPlugin(work, async (collector, http) => {
      assert.ok(HOSTILE_TEXTS.length >= 500);
      const shape = async (id: string): Promise<RequestShape | undefined> => {
        http.heal();
        await collectAnything(
          collector,
          await requestOf(collector, { ...suite, scope: { ...suite.scope, id } }),
        );
        return http.requests.map(shapeOf).find((found) => found !== undefined);
      };
      const plain = await shape('plain');
      assert.ok(plain !== undefined, 'shapeOf recognises no request');
      for (const id of HOSTILE_TEXTS) {
        const hostile = await shape(id);
        assert.equal(hostile?.skeleton, plain.skeleton, `scope id ${JSON.stringify(id)} changed the query`);
        assert.ok(hostile.carried.includes(id), `scope id ${JSON.stringify(id)} did not arrive as it is`);
      }
    }));
}

function collecting<Options>(suite: CollectorTest<Options>): DisturbedCall<Collector<never>, Collected> {
  return {
    http: suite.context?.http ?? fakeContext().http,
    create: (http: HttpFactory) =>
      createPlugin({
        definition: suite.definition,
        options: suite.options?.(),
        context: fakeContext({ ...suite.context, http }),
      }) as Promise<Collector<never>>,
    call: async (collector, signal) => collector.collect(await requestOf(collector, suite), signal),
    normal: (collected) =>
      collected.kind !== 'measured'
        ? collected
        : collected.samples
            .map(({ groupby, metadata, value }) => [
              groupby.canonical(),
              metadata.canonical(),
              value.toString(),
            ])
            .sort((left, right) => (String(left) < String(right) ? -1 : 1)),
  };
}

/** What is answered does not matter here, but it must not be a bug of ours. */
async function collectAnything(collector: Collector<never>, request: Request): Promise<void> {
  try {
    await collector.collect(request, neverAborted());
  } catch (error) {
    assert.ok(isRatecatError(error), String(error));
  }
}

async function requestOf(collector: Collector<never>, suite: Sampled): Promise<Request> {
  return { metric: await metricOf(collector, suite), scope: suite.scope, period: suite.period };
}

/** The metric as the host prepares it. */
async function metricOf(collector: Collector<never>, { metric, scope }: Sampled): Promise<Metric<never>> {
  const result = await collector.metricOptions['~standard'].validate(metric.extra ?? {});
  assert.deepEqual(result.issues ?? [], [], 'extra_args of the sample');
  const options = (result as { value: never }).value;
  const required = [scope.key, ...(collector.requiredGroupby?.(options) ?? [])];
  return {
    name: metric.name,
    ratedName: metric.name,
    unit: metric.unit ?? 'unit',
    groupby: [...new Set([...(metric.groupby ?? []), ...required])],
    metadata: metric.metadata ?? [],
    description: undefined,
    options,
  };
}

function checkCollected(collected: Collected, { metric, scope }: Request): void {
  if (collected.kind === 'unmeasurable') assert.ok(collected.reason.length > 0, 'a gap has a reason');
  if (collected.kind !== 'measured') return;
  assert.ok(collected.samples.length > 0, 'no samples are `nothing`');
  for (const { groupby, metadata, value } of collected.samples) {
    assert.ok(isDecimal(value), 'the value is a Decimal');
    assert.ok(groupby instanceof Attributes && metadata instanceof Attributes);
    assert.equal(groupby.get(scope.key), scope.id, 'the scope key says whose the sample is');
    for (const name of metric.groupby) assert.ok(groupby.has(name), `groupby ${name} is missing`);
    for (const name of metric.metadata) assert.ok(metadata.has(name), `metadata ${name} is missing`);
    assert.equal(new Set(groupby.names).size, groupby.names.length, 'names are distinct');
  }
}
