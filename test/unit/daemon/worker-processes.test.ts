import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { EventEmitter } from 'node:events';
import { describe, it } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { WorkerProcesses } from '../../../core/daemon/worker-processes.js';
import { RecordingLogger, VirtualClock } from '../../../core/testkit/fakes.js';

/** A worker that does nothing by itself, and ends when it is told to. */
class FakeWorker extends EventEmitter {
  readonly index: number;
  readonly told: unknown[] = [];
  connected = true;

  constructor(index: number) {
    super();
    this.index = index;
  }

  send(message: unknown): void {
    this.told.push(message);
    if (message === 'stop') setImmediate(() => this.end(0, null));
  }

  kill(signal: NodeJS.Signals): void {
    this.end(null, signal);
  }

  end(code: number | null, signal: NodeJS.Signals | null): void {
    this.connected = false;
    this.emit('exit', code, signal);
  }
}

function newWorkers(count: number) {
  const started: FakeWorker[] = [];
  const clock = new VirtualClock();
  const logger = new RecordingLogger();
  const fork = (index: number) => {
    const worker = new FakeWorker(index);
    started.push(worker);
    return worker as unknown as ChildProcess;
  };
  const stop = new AbortController();
  const workers = new WorkerProcesses({ count, fork, logger, clock });
  return { started, clock, logger, stop, workers };
}

describe('worker processes', () => {
  it('are all told to stop, and waited for', async () => {
    const { workers, started, stop } = newWorkers(3);
    const running = workers.run(stop.signal);
    workers.tell('reload');
    stop.abort();
    await running;
    assert.deepEqual(
      started.map(({ told, connected }) => [told, connected]),
      [1, 2, 3].map(() => [['reload', 'stop'], false]),
    );
  });

  it('are started again with growing pauses, and soon again after a long good life', async () => {
    const { workers, started, stop, clock, logger } = newWorkers(1);
    const running = workers.run(stop.signal);
    for (let death = 0; death < 8; death++) {
      started.at(-1)!.end(null, 'SIGKILL');
      await nextTurn();
      assert.equal(started.length, death + 1, 'not before the pause is over');
      assert.equal(clock.wakeNext(), true);
      await nextTurn();
    }
    clock.wakeNext(clock.monotonic() + 60_000);
    started.at(-1)!.end(70, null);
    await nextTurn();
    assert.deepEqual(
      logger.lines.map(({ fields }) => fields.pauseSeconds),
      [1, 2, 4, 8, 16, 32, 60, 60, 1],
    );
    assert.equal(logger.lines.at(-1)!.fields.exitCode, 70);
    stop.abort();
    await running;
    assert.equal(started.length, 9, 'none is started while stopping');
  });

  it('end together when one of them can never start', async () => {
    const { workers, started, stop } = newWorkers(2);
    const running = assert.rejects(workers.run(stop.signal), { exitCode: 78 });
    started[1]!.end(78, null);
    await running;
    assert.deepEqual(started[0]!.told, ['stop']);
    assert.equal(started.length, 2);
  });

  it('can be ended at once', async () => {
    const { workers, started, stop } = newWorkers(2);
    const running = workers.run(stop.signal);
    stop.abort();
    workers.kill();
    await running;
    assert.deepEqual(
      started.map(({ connected }) => connected),
      [false, false],
    );
  });
});
