import assert from 'node:assert/strict';
import type { Lifecycle } from '../plugin-api/index.js';
import type { TestFunction } from './definition.js';

export interface LifecycleTest {
  readonly test: TestFunction;
  /** Appears in the names of the tests: `storage sql`. */
  readonly label: string;
  /** A new, never started plugin. */
  create(): Promise<Lifecycle>;
}

/** Checks starting and stopping as the host does it. */
export function testLifecycle({ test, label, create }: LifecycleTest): void {
  test(`${label}: can be dropped without having been started`, async () => {
    await create();
  });

  test(`${label}: starts and stops, and another one after it`, async () => {
    for (let round = 0; round < 2; round++) {
      const plugin = await create();
      await plugin.start?.(new AbortController().signal);
      await plugin.stop?.();
    }
  });

  test(`${label}: two of them run side by side`, async () => {
    const plugins = [await create(), await create()];
    const started: Lifecycle[] = [];
    try {
      for (const plugin of plugins) {
        await plugin.start?.(new AbortController().signal);
        started.push(plugin);
      }
    } finally {
      for (const plugin of started.reverse()) await plugin.stop?.();
    }
  });

  test(`${label}: a start that was aborted before it began ends at once`, async () => {
    const plugin = await create();
    const reason = new Error('start-up was aborted');
    try {
      await plugin.start?.(AbortSignal.abort(reason));
    } catch (error) {
      assert.ok(error === reason || causedBy(error, reason), `start failed with another error: ${error}`);
      return;
    }
    await plugin.stop?.();
  });
}

function causedBy(error: unknown, reason: Error): boolean {
  for (let current = error, depth = 0; current instanceof Error && depth < 8; depth++) {
    if (current === reason) return true;
    current = current.cause;
  }
  return false;
}
