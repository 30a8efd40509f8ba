import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { RefusalLimit } from '../../../core/api/auth/refusal-limit.js';
import { TooManyRequests } from '../../../core/api/too-many-requests.js';
import { RecordingLogger, VirtualClock } from '../../../core/testkit/fakes.js';

const signal = () => new AbortController().signal;
const never = signal();
const ADDRESS = '192.0.2.9';
const bad = async () => undefined;
const good = async () => 'good';

describe('the limit of refused tokens', () => {
  let clock: VirtualClock;
  let logger: RecordingLogger;
  beforeEach(() => {
    clock = new VirtualClock(Date.UTC(2026, 0, 1));
    logger = new RecordingLogger();
  });
  const create = (perMinute: number) => new RefusalLimit(perMinute, { clock, logger });
  const later = (milliseconds: number) => void clock.wakeNext(clock.monotonic() + milliseconds);

  async function limited(answer: Promise<unknown>, seconds?: number): Promise<void> {
    await assert.rejects(answer, (error) => {
      assert.ok(error instanceof TooManyRequests, String(error));
      assert.equal(error.statusCode, 429);
      if (seconds !== undefined) assert.equal(error.retryAfterSeconds, seconds);
      return true;
    });
  }

  it('asks no more about tokens of an address when so many were refused, until the minute is over', async () => {
    const limit = create(3);
    let asked = 0;
    const question = async () => {
      asked++;
      return undefined;
    };
    for (let round = 0; round < 3; round++)
      assert.equal(await limit.guard(ADDRESS, question, never), undefined);
    await limited(limit.guard(ADDRESS, question, never), 60);
    later(59_500);
    await limited(limit.guard(ADDRESS, good, never), 1);
    assert.equal(asked, 3);
    later(500);
    assert.equal(await limit.guard(ADDRESS, good, never), 'good');
    for (let round = 0; round < 3; round++) await limit.guard(ADDRESS, question, never);
    await limited(limit.guard(ADDRESS, question, never), 60);
    assert.equal(asked, 6);
  });

  it('counts what is refused only: good tokens and questions without an answer do not', async () => {
    const limit = create(2);
    const failing = () => Promise.reject(new Error('Keystone is away'));
    await limit.guard(ADDRESS, bad, never);
    for (let round = 0; round < 9; round++) {
      assert.equal(await limit.guard(ADDRESS, good, never), 'good');
      await assert.rejects(limit.guard(ADDRESS, failing, never), /away/);
    }
    await limit.guard(ADDRESS, bad, never);
    await limited(limit.guard(ADDRESS, good, never));
  });

  it('holds for many requests at the same time: more wait, and none of them is lost', async () => {
    const limit = create(4);
    let most = 0;
    let underWay = 0;
    const slow = (answer: string | undefined) => async () => {
      most = Math.max(most, ++underWay);
      await turn();
      underWay--;
      return answer;
    };
    const goods = Array.from({ length: 50 }, () => limit.guard(ADDRESS, slow('good'), signal()));
    assert.deepEqual(new Set(await Promise.all(goods)), new Set(['good']));
    assert.equal(most, 4);
    let asked = 0;
    const bads = Array.from({ length: 50 }, () =>
      limit.guard(
        ADDRESS,
        () => {
          asked++;
          return slow(undefined)();
        },
        signal(),
      ),
    );
    const results = await Promise.allSettled(bads);
    assert.equal(asked, 4);
    assert.equal(results.filter(({ status }) => status === 'rejected').length, 46);
  });

  it('lets a caller leave that waits for its turn', async () => {
    const limit = create(1);
    let release = () => {};
    const held = new Promise<void>((resolve) => (release = resolve));
    const first = limit.guard(ADDRESS, () => held.then(good), never);
    const controller = new AbortController();
    const leaving = limit.guard(ADDRESS, good, controller.signal);
    const staying = limit.guard(ADDRESS, good, never);
    controller.abort(new Error('gone'));
    await assert.rejects(leaving, /gone/);
    release();
    assert.deepEqual(await Promise.all([first, staying]), ['good', 'good']);
  });

  it('counts each address by itself, and those of one IPv6 network together', async () => {
    const limit = create(1);
    const isLimited = async (address: string) => {
      try {
        await limit.guard(address, bad, never);
        return false;
      } catch {
        return true;
      }
    };
    const expected: readonly (readonly [string, boolean])[] = [
      ['192.0.2.1', false],
      ['192.0.2.2', false],
      ['192.0.2.1', true],
      ['2001:db8:0:1::1', false],
      ['2001:db8:0:1:ffff::2', true],
      ['2001:0db8:0000:0001:0:0:0:9', true],
      ['2001:db8:0:2::1', false],
      ['2001:db8::1', false],
      ['2001:db8::2:0:0:1', true],
      ['::1', false],
      ['::2', true],
      ['fe80::1:2:3:4', false],
      ['fe80::5', true],
      ['', false],
    ];
    for (const [address, isOver] of expected) assert.equal(await isLimited(address), isOver, address);
  });

  it('says once in a minute whose limit is reached', async () => {
    const limit = create(2);
    for (let round = 0; round < 2; round++) await limit.guard(ADDRESS, bad, never);
    for (let round = 0; round < 5; round++) await limited(limit.guard(ADDRESS, bad, never));
    const warnings = logger.lines.filter(({ level }) => level === 'warn');
    assert.deepEqual(
      warnings.map(({ message, fields }) => [message, fields?.address]),
      [['too many refused tokens', ADDRESS]],
    );
  });

  it('is no limit at 0', async () => {
    const limit = create(0);
    for (let round = 0; round < 100; round++) assert.equal(await limit.guard(ADDRESS, bad, never), undefined);
  });
});
