import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, statfs, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Clock, Collected, Collector } from '../../../core/plugin-api/index.js';
import { fakeContext } from '../../../core/testkit/fakes.js';
import definition, { type HostMetricOptions } from '../../../plugins/collectors/host.js';
import fetcher from '../../../plugins/fetchers/host.js';
import { metric } from './fake-machine.js';

const clock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep: async (milliseconds, signal) => {
    await sleep(milliseconds, undefined, { signal });
  },
};
const signal = new AbortController().signal;
const PERIOD = 2;

async function waitUntil(milliseconds: number): Promise<void> {
  while (Date.now() < milliseconds) await sleep(Math.max(1, milliseconds - Date.now()));
}

/** Busy seconds of all cores, read apart from the code under test. */
function busySeconds(): number {
  const fields = readFileSync('/proc/stat', 'utf8')
    .split('\n')[0]!
    .trim()
    .split(/\s+/)
    .slice(1, 8)
    .map(Number);
  return (fields[0]! + fields[1]! + fields[2]! + fields[5]! + fields[6]!) / 100;
}

test('a real period of this machine has the values that /proc tells', async () => {
  const dataFolder = await mkdtemp(join(tmpdir(), 'ratecat-real-'));
  const context = fakeContext({
    clock,
    dataFolder,
    pipeline: { name: 'p', scopeKey: 'host', periodSeconds: PERIOD },
  });
  const parsed = definition.options['~standard'].validate(undefined);
  assert.ok(!(parsed instanceof Promise) && parsed.issues === undefined);
  const collector = definition.create(parsed.value, context) as Collector<HostMetricOptions>;
  const fetch = fetcher.options['~standard'].validate({});
  assert.ok(!(fetch instanceof Promise) && fetch.issues === undefined);
  const [scope] = await fetcher.create(fetch.value, context).fetchScopes(signal);
  assert.deepEqual(scope, { key: 'host', id: hostname(), name: hostname() });
  await collector.start?.(signal);
  try {
    const begin = Math.ceil(Date.now() / 1000 / PERIOD) * PERIOD;
    await waitUntil(begin * 1000);
    const before = busySeconds();
    const stop = Date.now() + 700;
    while (Date.now() < stop) Math.sqrt(stop);
    await writeFile(join(dataFolder, 'ballast'), Buffer.alloc(8 << 20, 1), { flush: true });
    await waitUntil((begin + PERIOD) * 1000);
    const busy = busySeconds() - before;
    const collect = async (name: string, options: HostMetricOptions = {}): Promise<number> => {
      const period = { begin, end: begin + PERIOD };
      const collected: Collected = await collector.collect(
        { metric: metric(name, options), scope: scope!, period },
        signal,
      );
      assert.equal(collected.kind, 'measured', `${name}: ${JSON.stringify(collected)}`);
      if (collected.kind !== 'measured') return Number.NaN;
      return collected.samples.reduce((sum, sample) => sum + Number(sample.value.toString()), 0);
    };
    const cpu = await collect('cpu');
    assert.ok(cpu >= 0.5, `a loop ran for 0.7 s, cpu says ${cpu}`);
    assert.ok(Math.abs(cpu - busy) <= 0.4, `cpu says ${cpu} s, /proc/stat ${busy} s`);
    const total = Number(/MemTotal: +(\d+)/.exec(readFileSync('/proc/meminfo', 'utf8'))![1]) * 1024;
    const memory = await collect('memory');
    assert.ok(memory > 10 * 2 ** 20 && memory < total, `memory says ${memory} of ${total}`);
    assert.ok(Math.abs((await collect('memory', { aggregation: 'integral' })) - memory * PERIOD) < 1);
    const root = await statfs('/');
    const used = await collect('disk.used');
    assert.ok(used >= (root.blocks - root.bfree) * root.bsize - 2 ** 30, `disk.used says ${used}`);
    // A machine of containers may have no disk or network of its own to see; here the answer must only be honest.
    for (const name of ['disk.written', 'network.incoming']) {
      const period = { begin, end: begin + PERIOD };
      const collected = await collector.collect({ metric: metric(name), scope: scope!, period }, signal);
      assert.notEqual(collected.kind, 'unmeasurable');
    }
  } finally {
    await collector.stop?.();
    await rm(dataFolder, { recursive: true, force: true });
  }
});
