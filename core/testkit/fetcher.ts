import assert from 'node:assert/strict';
import type { Fetcher, HttpFactory, PluginContext, PluginDefinition, Scope } from '../plugin-api/index.js';
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
import { testLifecycle } from './lifecycle.js';

export interface FetcherTest<Options = unknown> {
  readonly test: TestFunction;
  readonly definition: PluginDefinition<'fetcher', Options>;
  /** Options as a config file says them; asked for when the tests run. */
  readonly options?: (() => unknown) | undefined;
  /** What is not to be fake: `http` for a fetcher that asks a server. */
  readonly context?: Partial<PluginContext> | undefined;
  /** Ids of the scopes that the source has, in any order; without them only the rules are checked. */
  readonly expected?: readonly string[] | undefined;
}

/** Checks a fetcher against the contract. The source must answer, and always the same, while the suite runs. */
export function testFetcher<Options>(suite: FetcherTest<Options>): void {
  const { test, definition } = suite;
  const label = `fetcher ${definition.name}`;
  const work = fetching(suite);

  testDefinition({
    test,
    kind: 'fetcher',
    definition,
    context: fakeContext(suite.context),
    get options() {
      return suite.options?.();
    },
  });
  testLifecycle({ test, label, create: () => work.create(work.http) });

  test(`${label}: gives every scope of the source once`, () =>
    withPlugin(work, async (fetcher) => {
      const scopes = await fetcher.fetchScopes(neverAborted());
      checkScopes(scopes);
      if (suite.expected === undefined) return;
      assert.deepEqual(scopes.map(({ id }) => id).sort(), [...suite.expected].sort());
    }));

  test(`${label}: asked twice, and eight times at once, it gives the same`, () =>
    withPlugin(work, async (fetcher) => {
      const first = work.normal(await fetcher.fetchScopes(neverAborted()));
      assert.deepEqual(work.normal(await fetcher.fetchScopes(neverAborted())), first);
      const answers = Array.from({ length: 8 }, () => fetcher.fetchScopes(neverAborted()));
      for (const answer of await Promise.all(answers)) assert.deepEqual(work.normal(answer), first);
    }));

  test(`${label}: refuses a signal that is already aborted`, () => checkEarlyAbort(work));
  test(`${label}: an abort during any request rejects at once`, () => checkAborts(work));
  test(`${label}: whichever request fails, it throws and never gives a shorter list`, () =>
    checkFaults(work));
}

function fetching<Options>(suite: FetcherTest<Options>): DisturbedCall<Fetcher, readonly Scope[]> {
  return {
    http: suite.context?.http ?? fakeContext().http,
    create: (http: HttpFactory) =>
      createPlugin({
        definition: suite.definition,
        options: suite.options?.(),
        context: fakeContext({ ...suite.context, http }),
      }),
    call: (fetcher, signal) => fetcher.fetchScopes(signal),
    normal: (scopes) => [...scopes].sort((left, right) => (left.id < right.id ? -1 : 1)),
  };
}

function checkScopes(scopes: readonly Scope[]): void {
  for (const scope of scopes) {
    assert.equal(typeof scope.key, 'string');
    assert.ok(typeof scope.id === 'string' && scope.id !== '', 'a scope has an id');
    assert.ok(scope.name === undefined || typeof scope.name === 'string');
  }
  assert.equal(new Set(scopes.map(({ id }) => id)).size, scopes.length, 'each scope once');
}
