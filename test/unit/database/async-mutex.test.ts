import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AsyncMutex } from '../../../core/database/async-mutex.js';

test('work runs one after another in the order of asking, whatever fails', async () => {
  const mutex = new AsyncMutex();
  const events: string[] = [];
  const work = (name: string, fails = false) =>
    mutex.run(async () => {
      events.push(`${name} begins`);
      await Promise.resolve();
      events.push(`${name} ends`);
      if (fails) throw new Error(name);
    });
  const results = await Promise.allSettled([work('a'), work('b', true), work('c')]);
  assert.deepEqual(
    results.map(({ status }) => status),
    ['fulfilled', 'rejected', 'fulfilled'],
  );
  assert.deepEqual(events, ['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends']);
});

test('one that is aborted while waiting leaves the line to the others', async () => {
  const mutex = new AsyncMutex();
  const release = await mutex.acquire();
  const controller = new AbortController();
  const aborted = mutex.acquire(controller.signal);
  const next = mutex.acquire();
  controller.abort(new Error('no longer wanted'));
  await assert.rejects(aborted, /no longer wanted/);
  release();
  (await next)();
  (await mutex.acquire())();
});

test('one that has waited too long leaves with the error of its limit', async () => {
  const mutex = new AsyncMutex();
  const release = await mutex.acquire();
  await assert.rejects(
    mutex.acquire(undefined, { milliseconds: 1, error: () => new Error('too long') }),
    /too long/,
  );
  release();
  (await mutex.acquire())();
});

test('a second call of release does not let two in', async () => {
  const mutex = new AsyncMutex();
  const release = await mutex.acquire();
  release();
  const second = await mutex.acquire();
  release();
  let entered = false;
  const third = mutex.acquire().then((free) => {
    entered = true;
    return free;
  });
  await new Promise(setImmediate);
  assert.equal(entered, false);
  second();
  (await third)();
});
