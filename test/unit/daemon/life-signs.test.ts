import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { EventEmitter } from 'node:events';
import { describe, it } from 'node:test';
import type { PreparedPlugins } from '../../../core/daemon/build-pipelines.js';
import { LifeSigns, type PipelineWork } from '../../../core/daemon/life-signs.js';
import { WorkerPulses } from '../../../core/daemon/worker-pulses.js';
import type { Collector, Fetcher, Storage } from '../../../core/plugin-api/index.js';
import { RecordingLogger, VirtualClock } from '../../../core/testkit/fakes.js';

const LIMIT = { periodSeconds: 3600, busySeconds: 900 };
const never = new AbortController().signal;

function newSigns(sources: readonly string[] = ['a']) {
  const clock = new VirtualClock();
  const signs = new LifeSigns(clock, new Map(sources.map((source) => [source, LIMIT])));
  const pass = (seconds: number) => clock.wakeNext(clock.monotonic() + seconds * 1000);
  const rated = (source = 'a') =>
    signs.periodRated({
      source,
      scope: { key: 'project_id', id: 'x' },
      period: { begin: 0, end: 3600 },
      points: 1,
      seconds: 1,
    });
  return { signs, pass, rated };
}

/** Plugins whose calls end when the test says so, made of classes with private state as real ones are. */
class Manual implements Pick<Fetcher & Collector & Storage, 'fetchScopes' | 'collect' | 'replacePeriod'> {
  readonly #calls: (() => void)[] = [];
  readonly capabilities = { of: 'the storage' };

  fetchScopes = async () => {
    await this.#wait();
    return [{ key: 'project_id', id: 'x' }];
  };

  async collect(): Promise<never> {
    await this.#wait();
    return { points: [] } as never;
  }

  async replacePeriod(): Promise<void> {
    await this.#wait();
  }

  waiting(): number {
    return this.#calls.length;
  }

  async finish(): Promise<void> {
    this.#calls.pop()?.();
    await Promise.resolve();
    await Promise.resolve();
    await Promise.resolve();
  }

  #wait(): Promise<void> {
    return new Promise((resolve) => {
      this.#calls.push(resolve);
    });
  }
}

function watched(signs: LifeSigns) {
  const plugin = new Manual();
  const prepared = { name: 'manual', create: () => plugin };
  const pipelines = [{ config: { name: 'a' }, fetcher: prepared, collector: prepared }];
  const plugins = signs.watch({
    storage: prepared,
    rating: [],
    pipelines,
  } as unknown as PreparedPlugins);
  const context = undefined as never;
  const [pipeline] = plugins.pipelines;
  return {
    plugin,
    storage: plugins.storage.create(context),
    fetcher: pipeline!.fetcher.create(context),
    collector: pipeline!.collector.create(context),
  };
}

describe('a pipeline', () => {
  it('does not count as hanging before it has begun: the clock or the database is waited for', () => {
    const { signs, pass } = newSigns();
    pass(1_000_000);
    assert.equal(signs.stalled(), undefined);
  });

  it('may rest for a period, and hangs when nothing follows for longer', () => {
    const { signs, pass } = newSigns();
    signs.backlog('a', 0, 0);
    signs.resting('a');
    pass(4500);
    assert.equal(signs.stalled(), undefined);
    pass(1);
    assert.equal(signs.stalled(), "pipeline 'a' has given no sign of life for 4501 s");
    signs.backlog('a', 0, 0);
    assert.equal(signs.stalled(), undefined);
  });

  it('hangs in the middle of a round after the limits of plugins, without a period more', () => {
    const { signs, pass } = newSigns();
    signs.resting('a');
    signs.backlog('a', 1, 60);
    pass(900);
    assert.equal(signs.stalled(), undefined);
    pass(1);
    assert.equal(signs.stalled(), "pipeline 'a' has given no sign of life for 901 s");
  });

  it('rests also when an answer comes that its round no longer waits for', async () => {
    const { signs, pass } = newSigns();
    const { plugin, collector } = watched(signs);
    signs.backlog('a', 1, 60);
    const late = collector.collect({} as never, never);
    signs.resting('a');
    await plugin.finish();
    await late;
    pass(4500);
    assert.equal(signs.stalled(), undefined);
    pass(1);
    assert.match(signs.stalled() ?? '', /no sign of life/);
  });

  it('that hangs is found beside one that works', () => {
    const { signs, pass, rated } = newSigns(['a', 'b']);
    rated('a');
    for (let step = 0; step < 50; step++) {
      rated('b');
      pass(100);
    }
    assert.match(signs.stalled() ?? '', /pipeline 'a'/);
  });

  it('that catches up for days, or fails all the time, goes on', () => {
    const { signs, pass, rated } = newSigns();
    for (let step = 0; step < 200; step++) {
      if (step % 2 === 0) rated();
      else signs.scopeFailed('a');
      pass(900);
      assert.equal(signs.stalled(), undefined);
    }
  });

  it('gives signs by asking for scopes and metrics, and by their answers', async () => {
    const { signs, pass } = newSigns();
    const { plugin, fetcher, collector } = watched(signs);
    const calls = [() => fetcher.fetchScopes(never), () => collector.collect({} as never, never)];
    for (const call of calls) {
      const answer = call();
      pass(900);
      assert.equal(signs.stalled(), undefined);
      await plugin.finish();
      await answer;
      pass(900);
      assert.equal(signs.stalled(), undefined);
    }
    pass(1);
    assert.match(signs.stalled() ?? '', /no sign of life/);
  });

  it('hangs when the storage does not finish a period, without waiting for the next one', async () => {
    const { signs, pass } = newSigns();
    const { plugin, storage } = watched(signs);
    const stored = storage.replacePeriod({ source: 'a' } as never, {} as never, never);
    pass(900);
    assert.equal(signs.stalled(), undefined);
    pass(1);
    assert.equal(signs.stalled(), "the storage has not finished a period of pipeline 'a' for 901 s");
    await plugin.finish();
    await stored;
    assert.equal(signs.stalled(), undefined);
  });

  it('does not hang while the database is away, however long, and has its time again when that is back', () => {
    const { signs, pass, rated } = newSigns();
    rated();
    signs.databaseAsked('query', 'error');
    pass(100_000);
    signs.databaseAsked('transaction', 'error');
    assert.equal(signs.stalled(), undefined);
    signs.databaseAsked('query', 'ok');
    pass(900);
    assert.equal(signs.stalled(), undefined);
    pass(1);
    assert.match(signs.stalled() ?? '', /no sign of life/);
  });

  it('that hangs is not hidden by single failures of the database', () => {
    const { signs, pass, rated } = newSigns();
    rated();
    for (let step = 0; step < 10; step++) {
      pass(500);
      signs.databaseAsked('transaction', 'error');
      pass(1);
      signs.databaseAsked('query', 'ok');
    }
    assert.match(signs.stalled() ?? '', /no sign of life/);
  });

  it('of a source that is not in the configuration is none of its business', () => {
    const { signs, pass } = newSigns();
    signs.backlog('api', 0, 0);
    pass(100_000);
    assert.equal(signs.stalled(), undefined);
  });
});

describe('watched plugins', () => {
  it('keep their other members and their private state', async () => {
    const { plugin, storage } = watched(newSigns().signs);
    assert.equal(storage.capabilities, plugin.capabilities as never);
    assert.equal((storage as unknown as Manual).waiting(), 0);
    assert.equal(storage.sweep, undefined);
  });

  it('fail as they fail, which is a sign of life too', async () => {
    const { signs, pass } = newSigns();
    const storage = signs
      .watch({
        storage: { create: () => ({ replacePeriod: () => Promise.reject(new Error('disk full')) }) },
        rating: [],
        pipelines: [],
      } as unknown as PreparedPlugins)
      .storage.create(undefined as never);
    await assert.rejects(storage.replacePeriod({ source: 'a' } as never, {} as never, never), /disk full/);
    pass(900);
    assert.equal(signs.stalled(), undefined);
    pass(1);
    assert.match(signs.stalled() ?? '', /no sign of life/);
  });

  it('tell how far the work is', async () => {
    const { signs, rated } = newSigns();
    const { plugin, fetcher } = watched(signs);
    const answer = fetcher.fetchScopes(never);
    await plugin.finish();
    await answer;
    signs.backlog('a', 3, 120);
    rated();
    assert.deepEqual(signs.work(), [
      { source: 'a', scopes: 1, duePeriods: 2, lagSeconds: 120, ratedPeriods: 1 },
    ]);
  });
});

class FakeWorker extends EventEmitter {
  readonly killed: string[] = [];

  kill(signal: string): void {
    this.killed.push(signal);
  }

  pulse(work: Partial<PipelineWork> = {}): void {
    const none = { source: 'a', scopes: 2, duePeriods: 0, lagSeconds: 0, ratedPeriods: 0 };
    this.emit('message', { pulse: [{ ...none, ...work }] });
  }
}

describe('the pulses of workers', () => {
  function newPulses() {
    const clock = new VirtualClock();
    const logger = new RecordingLogger();
    const pulses = new WorkerPulses({ count: 2, clock, logger });
    const workers = [0, 1].map((index) => {
      const worker = new FakeWorker();
      pulses.listen(index, worker as unknown as ChildProcess);
      return worker;
    });
    return { clock, logger, pulses, first: workers[0]!, second: workers[1]! };
  }

  it('say when all have begun, each counted once', async () => {
    const { pulses, first, second } = newPulses();
    let begun = false;
    void pulses.allBegun.then(() => {
      begun = true;
    });
    first.pulse();
    first.pulse();
    second.emit('message', { metrics: [] });
    await Promise.resolve();
    assert.equal(begun, false);
    second.pulse();
    await pulses.allBegun;
  });

  it('that stop end the worker, and only that one', () => {
    const { clock, logger, pulses, first, second } = newPulses();
    first.pulse();
    second.pulse();
    clock.wakeNext(10_000);
    second.pulse();
    pulses.killSilent(10_000);
    assert.deepEqual(first.killed, []);
    clock.wakeNext(10_001);
    pulses.killSilent(10_000);
    assert.deepEqual([first.killed, second.killed], [['SIGKILL'], []]);
    assert.match(JSON.stringify(logger.lines), /does not go on and is killed/);
  });

  it('are waited for as long as a worker starts, also one that takes the place of another', () => {
    const { clock, pulses, first } = newPulses();
    first.pulse();
    const successor = new FakeWorker();
    pulses.listen(0, successor as unknown as ChildProcess);
    first.emit('exit', null, 'SIGKILL');
    clock.wakeNext(1_000_000);
    pulses.killSilent(1000);
    assert.deepEqual(successor.killed, []);
    successor.pulse();
    clock.wakeNext(1_001_001);
    pulses.killSilent(1000);
    assert.deepEqual(successor.killed, ['SIGKILL']);
  });

  it('add up to one picture: what is due is the same for all, what was rated is not', () => {
    const { pulses, first, second } = newPulses();
    first.pulse({ duePeriods: 4, lagSeconds: 60, ratedPeriods: 3 });
    second.pulse({ duePeriods: 5, lagSeconds: 50, ratedPeriods: 4 });
    assert.deepEqual(pulses.work(), [
      { source: 'a', scopes: 2, duePeriods: 5, lagSeconds: 60, ratedPeriods: 7 },
    ]);
  });
});
