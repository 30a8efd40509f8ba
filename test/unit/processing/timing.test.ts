import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DataError, UnavailableError } from '../../../core/plugin-api/index.js';
import { retryDelaySeconds, waitingMayHelp } from '../../../core/processing/retry.js';
import { periodSchedule } from '../../../core/processing/tick-schedule.js';
import { withTimeLimit } from '../../../core/processing/time-limit.js';
import { TrustedTime } from '../../../core/processing/trusted-time.js';
import { RecordingLogger, VirtualClock } from '../../../core/testkit/fakes.js';

const never = new AbortController().signal;

describe('retry', () => {
  const rule = { firstSeconds: 5, maxSeconds: 900, stuckAfter: 5 };

  it('doubles up to the maximum and shortens by at most a half', () => {
    const longest = [1, 2, 3, 8, 9, 100].map((n) => retryDelaySeconds(n, rule, () => 0));
    assert.deepEqual(longest, [5, 10, 20, 640, 900, 900]);
    assert.equal(
      retryDelaySeconds(9, rule, () => 0.999999),
      450,
    );
  });

  it('knows which errors time can heal', () => {
    assert.equal(waitingMayHelp(new UnavailableError('RATECAT_X', 'x')), true);
    assert.equal(waitingMayHelp(new DataError('RATECAT_X', 'x')), false);
    assert.equal(waitingMayHelp(new Error('a bug')), true);
  });
});

describe('tick schedule', () => {
  it('gives the next boundary of the period in UTC', () => {
    const now = Date.parse('2026-11-22T10:07:23Z') / 1000;
    const next = (seconds: number) => new Date(periodSchedule(seconds).next(now) * 1000).toISOString();
    assert.equal(next(10), '2026-11-22T10:07:30.000Z');
    assert.equal(next(300), '2026-11-22T10:10:00.000Z');
    assert.equal(next(3600), '2026-11-22T11:00:00.000Z');
    assert.equal(next(21_600), '2026-11-22T12:00:00.000Z');
    assert.equal(next(86_400), '2026-11-23T00:00:00.000Z');
    assert.equal(next(5400), '2026-11-22T10:30:00.000Z');
  });

  it('is always later than now', () => {
    for (const seconds of [10, 60, 3600, 86_400, 7]) {
      const schedule = periodSchedule(seconds);
      const boundary = schedule.next(1_790_000_000);
      assert.ok(schedule.next(boundary) > boundary, String(seconds));
    }
  });
});

describe('time limit', () => {
  it('gives up after the limit although the work ignores its signal', async () => {
    const clock = new VirtualClock();
    const result = withTimeLimit('The source', 5000, clock, never, () => new Promise(() => undefined));
    clock.wakeNext();
    await assert.rejects(result, {
      code: 'RATECAT_TIMEOUT',
      message: 'The source gave no answer within 5 s.',
    });
    assert.equal(clock.monotonic(), 5000);
  });

  it('leaves no timer behind when the work ends in time', async () => {
    const clock = new VirtualClock();
    assert.equal(await withTimeLimit('x', 5000, clock, never, async () => 7), 7);
    assert.equal(clock.sleeping, 0);
  });

  it('passes on an outer abort at once', async () => {
    const clock = new VirtualClock();
    const outer = new AbortController();
    const result = withTimeLimit('x', 5000, clock, outer.signal, () => new Promise(() => undefined));
    outer.abort(new Error('stopping'));
    await assert.rejects(result, /stopping/);
    await Promise.resolve();
    assert.equal(clock.sleeping, 0);
  });
});

describe('trusted time', () => {
  function setUp() {
    const clock = new VirtualClock(1_000_000_000_000);
    const logger = new RecordingLogger();
    return { clock, logger, time: new TrustedTime(clock, logger) };
  }

  async function pass(clock: VirtualClock, seconds: number) {
    const sleep = clock.sleep(seconds * 1000, never);
    clock.wakeNext();
    await sleep;
  }

  it('follows the wall clock while it keeps pace', async () => {
    const { clock, time } = setUp();
    await pass(clock, 3600);
    assert.equal(time.now(), 1_000_003_600);
  });

  it('doubts a jump ahead until it has held for ten minutes', async () => {
    const { clock, time, logger } = setUp();
    clock.jumpWallClock(365 * 86_400_000);
    await pass(clock, 300);
    assert.equal(time.now(), 1_000_000_300);
    assert.equal(logger.lines[0]?.level, 'warn');
    await pass(clock, 601);
    assert.equal(time.now(), 1_000_000_901 + 365 * 86_400);
  });

  it('forgets a jump that was taken back', async () => {
    const { clock, time } = setUp();
    clock.jumpWallClock(3_600_000);
    await pass(clock, 500);
    time.now();
    clock.jumpWallClock(-3_600_000);
    await pass(clock, 500);
    assert.equal(time.now(), 1_000_001_000);
  });

  it('goes on at the pace of another clock while the clock at the start is doubted, then believes it', async () => {
    const { clock, time } = setUp();
    time.doubtFrom(clock.now() - 86_400_000);
    assert.equal(time.now(), 1_000_000_000 - 86_400);
    await pass(clock, 599);
    assert.equal(time.now(), 1_000_000_599 - 86_400);
    await pass(clock, 1);
    assert.equal(time.now(), 1_000_000_600);
  });

  it('believes a doubted clock at the start as soon as it is set right', async () => {
    const { clock, time } = setUp();
    time.doubtFrom(clock.now() - 86_400_000);
    time.now();
    clock.jumpWallClock(-86_400_000);
    await pass(clock, 10);
    assert.equal(time.now(), 1_000_000_010 - 86_400);
  });

  it('believes a clock that goes back at once, and says so', () => {
    const { clock, time, logger } = setUp();
    clock.jumpWallClock(-3_600_000);
    assert.equal(time.now(), 999_996_400);
    assert.match(logger.lines[0]?.message ?? '', /clock went back/);
  });
});
