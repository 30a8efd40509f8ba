import assert from 'node:assert/strict';
import type { Notification, PluginContext, PluginDefinition } from '../plugin-api/index.js';
import { createPlugin, type TestFunction, testDefinition } from './definition.js';
import { neverAborted } from './disturbances.js';
import { fakeContext } from './fakes.js';
import { testLifecycle } from './lifecycle.js';

export interface NotifierTest<Options = unknown> {
  readonly test: TestFunction;
  readonly definition: PluginDefinition<'notifier', Options>;
  /** Options as a config file says them; asked for when the tests run. */
  readonly options?: (() => unknown) | undefined;
  /** What is not to be fake: `http` for a notifier that posts. */
  readonly context?: Partial<PluginContext> | undefined;
  /** Ids of the events that the receiver has, in the order of their arrival, since this was asked last. */
  received(): Promise<readonly string[]>;
  /** Options that lead to a receiver that is not there. */
  readonly unreachable: () => unknown;
}

let serial = 0;

/** Events of a scope, each with an id of its own. */
export function sampleEvents(scope: string, count: number): readonly Notification[] {
  return Array.from({ length: count }, (_, index) => ({
    id: `00000000-0000-4000-8000-${String(++serial).padStart(12, '0')}`,
    type: 'rating.period.committed',
    severity: 'info',
    at: Date.UTC(2026, 0, 1, index),
    scope: { source: 'default', key: 'project_id', id: scope },
    payload: { price: '0.1', text: 'ünïcode "quoted"\n' },
  }));
}

/** Checks a notifier against the contract. The receiver must be there while the suite runs. */
export function testNotifier<Options>(suite: NotifierTest<Options>): void {
  const { test, definition, received } = suite;
  const label = `notifier ${definition.name}`;
  const context = fakeContext(suite.context);
  const create = (options = suite.options?.()) => createPlugin({ definition, options, context });

  testDefinition({
    test,
    kind: 'notifier',
    definition,
    context,
    get options() {
      return suite.options?.();
    },
  });
  testLifecycle({ test, label, create: () => create() });

  const withNotifier = async (
    options: unknown,
    body: (notifier: Awaited<ReturnType<typeof create>>) => Promise<void>,
  ) => {
    const notifier = await create(options);
    await notifier.start?.(neverAborted());
    try {
      await body(notifier);
    } finally {
      await notifier.stop?.();
    }
  };

  test(`${label}: what is published has arrived, the events of each scope in their order`, () =>
    withNotifier(suite.options?.(), async (notifier) => {
      await received();
      const [a, b] = [sampleEvents('a', 5), sampleEvents('b', 3)];
      const general = { ...sampleEvents('', 1)[0]!, scope: undefined };
      await notifier.publish(
        [a[0]!, b[0]!, a[1]!, general, a[2]!, b[1]!, a[3]!, b[2]!, a[4]!],
        neverAborted(),
      );
      const ids = await received();
      for (const events of [a, b]) {
        const wanted = events.map(({ id }) => id);
        assert.deepEqual(
          ids.filter((id) => wanted.includes(id)),
          wanted,
        );
      }
      assert.ok(ids.includes(general.id), 'an event without a scope arrives');
      assert.equal(ids.length, 9);
    }));

  test(`${label}: an empty list is published at once`, () =>
    withNotifier(suite.options?.(), (notifier) => notifier.publish([], neverAborted())));

  test(`${label}: an event that is published twice arrives, with the same id`, () =>
    withNotifier(suite.options?.(), async (notifier) => {
      await received();
      const events = sampleEvents('a', 1);
      await notifier.publish(events, neverAborted());
      await notifier.publish(events, neverAborted());
      assert.deepEqual([...new Set(await received())], [events[0]!.id]);
    }));

  test(`${label}: a signal that is aborted already is refused with its reason`, () =>
    withNotifier(suite.options?.(), async (notifier) => {
      await received();
      const reason = new Error('aborted by the test');
      const publishing = notifier.publish(sampleEvents('a', 1), AbortSignal.abort(reason));
      await assert.rejects(publishing, (error) => error === reason);
      assert.deepEqual(await received(), []);
    }));

  test(`${label}: a receiver that is not there stops no start, and is an error that may pass`, () =>
    withNotifier(suite.unreachable(), async (notifier) => {
      await assert.rejects(notifier.publish(sampleEvents('a', 1), neverAborted()), {
        kind: 'unavailable',
        retryable: true,
      });
    }));
}
