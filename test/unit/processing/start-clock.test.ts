import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { type SqlDatabase, UnavailableError } from '../../../core/plugin-api/index.js';
import type { PipelineProcessor } from '../../../core/processing/pipeline-processor.js';
import { Processor } from '../../../core/processing/processor.js';
import { StartClock } from '../../../core/processing/start-clock.js';
import type { Sweeper } from '../../../core/processing/sweeper.js';
import { TrustedTime } from '../../../core/processing/trusted-time.js';
import { RecordingLogger, VirtualClock } from '../../../core/testkit/fakes.js';

/** Seconds since the epoch by the clock under test, at its start. */
const NOW = 1_000_000_000;
const HOUR = 3600;

interface Known {
  /** Seconds by which the server's clock differs from the one under test; absent: SQLite. */
  readonly server?: number;
  /** End of the newest period, in seconds. */
  watermark?: number | undefined;
  isDown?: boolean;
}

function setUp(known: Known, compat: 'strict' | 'fixed' = 'fixed') {
  const clock = new VirtualClock(NOW * 1000);
  const logger = new RecordingLogger();
  const time = new TrustedTime(clock, logger);
  const start = clock.now();
  const query = async (text: string) => {
    if (known.isDown === true) throw new UnavailableError('RATECAT_DATABASE_UNAVAILABLE', 'it is down');
    // The server's clock goes on by itself, whatever happens to the one under test.
    if (text.includes('UNIX_TIMESTAMP'))
      return [[start / 1000 + (known.server ?? 0) + Math.floor(clock.monotonic() / 1000)]];
    if (known.watermark === undefined) return [];
    return [['default', 'alpha', text.includes('watermark') ? known.watermark : known.watermark - HOUR]];
  };
  const engine = known.server === undefined ? 'sqlite' : 'mysql';
  const database = { dialect: { engine }, query } as unknown as SqlDatabase;
  const stop = new AbortController();
  const check = new StartClock({ database, clock, time, logger, compat });
  let isSettled = false;
  const settled = check.settled(stop.signal).then(() => {
    isSettled = true;
  });
  return {
    clock,
    time,
    stop,
    settled,
    said: () => logger.lines.map(({ message }) => message).join('\n'),
    /** Lets so many seconds pass and tells whether rating may begin. */
    async after(seconds: number): Promise<boolean> {
      const end = clock.monotonic() + seconds * 1000;
      do await turn();
      while (clock.wakeNext(end));
      await turn();
      return isSettled;
    },
  };
}

describe('the clock at the start', () => {
  it('is believed when nothing is rated yet, or all of it in the past', async () => {
    for (const known of [{}, { watermark: NOW }, { server: 0 }, { server: -599, watermark: NOW - 1 }]) {
      const start = setUp(known);
      assert.equal(await start.after(0), true);
      assert.equal(start.time.now(), NOW);
      assert.equal(start.said(), '');
    }
  });

  it('is waited for while it is behind the last rated period, which is said once', async () => {
    const start = setUp({ watermark: NOW + HOUR });
    assert.equal(await start.after(HOUR - 60), false);
    assert.equal(start.said().match(/the clock is behind the last rated period/g)?.length, 1);
    assert.equal(await start.after(80), true);
  });

  it('is waited for until it is set right', async () => {
    const start = setUp({ watermark: NOW + 365 * 24 * HOUR });
    assert.equal(await start.after(HOUR), false);
    start.clock.jumpWallClock(-24 * HOUR * 1000);
    assert.equal(await start.after(HOUR), false);
    // A clock that is set ahead has to hold, as always.
    start.clock.jumpWallClock(366 * 24 * HOUR * 1000);
    assert.equal(await start.after(500), false);
    assert.equal(await start.after(200), true);
  });

  it('is not waited for once the scope with periods of the future was sent back', async () => {
    const known: Known = { watermark: NOW + 365 * 24 * HOUR };
    const start = setUp(known);
    assert.equal(await start.after(60), false);
    known.watermark = NOW - HOUR;
    assert.equal(await start.after(20), true);
  });

  it('is waited for when the database server is ahead of it too', async () => {
    const start = setUp({ server: 2 * HOUR, watermark: NOW + 2 * HOUR });
    assert.equal(await start.after(60), false);
    assert.match(start.said(), /the clock is behind/);
  });

  it('is believed when the database server agrees: one scope of the future does not stop the others', async () => {
    const start = setUp({ server: 3, watermark: NOW + 365 * 24 * HOUR });
    assert.equal(await start.after(0), true);
    assert.match(start.said(), /rated beyond the present, by this clock and by that of the database server/);
  });

  it('says nothing about hosts that are seconds apart', async () => {
    const start = setUp({ server: 5, watermark: NOW + 5 });
    assert.equal(await start.after(0), true);
    assert.equal(start.said(), '');
  });

  it('ahead of the database server has to hold for ten minutes; time goes on by the server', async () => {
    const start = setUp({ server: -24 * HOUR, watermark: NOW - 25 * HOUR });
    assert.equal(await start.after(0), true, 'what is due by the server is rated');
    assert.match(start.said(), /the clock is ahead of the database server/);
    assert.equal(start.time.now(), NOW - 24 * HOUR);
    await start.after(590);
    assert.equal(start.time.now(), NOW - 24 * HOUR + 590);
    await start.after(10);
    assert.equal(start.time.now(), NOW + 600);
  });

  it('with an open first period, as strict rates it, is not behind', async () => {
    const start = setUp({ watermark: NOW + HOUR / 2 }, 'strict');
    assert.equal(await start.after(0), true);
  });

  it('is compared again after a failure, and rating waits for that', async () => {
    const known: Known = { isDown: true, watermark: NOW };
    const start = setUp(known);
    assert.equal(await start.after(60), false);
    known.isDown = false;
    assert.equal(await start.after(20), true);
  });

  it('keeps every pipeline from its first round until it is settled', async () => {
    let settle = () => {};
    const clock = {
      settled: () =>
        new Promise<void>((resolve) => {
          settle = resolve;
        }),
    } as unknown as StartClock;
    let rounds = 0;
    const pipeline = { run: async () => void rounds++ } as unknown as PipelineProcessor;
    const sweeper = { run: async () => undefined } as unknown as Sweeper;
    const running = new Processor([pipeline], sweeper, clock).run(new AbortController().signal);
    await turn();
    assert.equal(rounds, 0);
    settle();
    await running;
    assert.equal(rounds, 1);
  });

  it('does not keep a daemon from stopping', async () => {
    const start = setUp({ watermark: NOW + HOUR });
    assert.equal(await start.after(5), false);
    start.stop.abort(new Error('stopping'));
    await start.settled;
    assert.equal(start.clock.sleeping, 0);
  });
});
