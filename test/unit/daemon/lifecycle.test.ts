import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LifecycleStack } from '../../../core/daemon/lifecycle.js';
import type { Lifecycle } from '../../../core/plugin-api/index.js';
import { RecordingLogger, VirtualClock } from '../../../core/testkit/fakes.js';

const LIMITS = { startMs: 60_000, stopMs: 10_000 };
const never = new AbortController().signal;
const hang = () => new Promise<void>(() => undefined);

function newStack() {
  const clock = new VirtualClock();
  const logger = new RecordingLogger();
  const events: string[] = [];
  const part = (name: string, change: Lifecycle = {}): Lifecycle => ({
    start: async () => {
      events.push(`${name} started`);
    },
    stop: async () => {
      events.push(`${name} stopped`);
    },
    ...change,
  });
  return { clock, logger, events, part, stack: new LifecycleStack(logger, clock, LIMITS) };
}

describe('the life of parts', () => {
  it('ends in the reverse order of its beginning, each part once', async () => {
    const { stack, part, events } = newStack();
    stack.closes('database', async () => {
      events.push('database closed');
    });
    await stack.start('a', part('a'), never);
    await stack.start('b', part('b'), never);
    await stack.start('c', {}, never);
    await stack.stop();
    await stack.stop();
    assert.deepEqual(events, ['a started', 'b started', 'b stopped', 'a stopped', 'database closed']);
  });

  it('gives a start that throws a name, and stops only what had started', async () => {
    const { stack, part, events } = newStack();
    await stack.start('a', part('a'), never);
    const broken = part('b', { start: () => Promise.reject(new Error('no socket')) });
    await assert.rejects(stack.start("plugin 'b'", broken, never), {
      code: 'RATECAT_PLUGIN_START_FAILED',
      kind: 'plugin',
      message: /^plugin 'b' cannot start: no socket\./,
    });
    await stack.stop();
    assert.deepEqual(events, ['a started', 'a stopped']);
  });

  it('does not wait for ever for a start', async () => {
    const { stack, part, events, clock } = newStack();
    const starting = stack.start("plugin 'b'", part('b', { start: hang }), never);
    const refused = assert.rejects(starting, {
      code: 'RATECAT_TIMEOUT',
      kind: 'unavailable',
      message: /plugin 'b'.*60 s/,
    });
    assert.equal(clock.wakeNext(), true);
    await refused;
    await stack.stop();
    assert.deepEqual(events, []);
  });

  it('breaks off a start when it is asked to stop', async () => {
    const { stack, part } = newStack();
    const stop = new AbortController();
    const starting = assert.rejects(stack.start('b', part('b', { start: hang }), stop.signal), /asked to/);
    stop.abort(new Error('asked to'));
    await starting;
    await assert.rejects(stack.start('c', part('c'), stop.signal), /asked to/);
  });

  it('goes on with the others when one cannot stop', async () => {
    const { stack, part, events, clock, logger } = newStack();
    await stack.start('a', part('a'), never);
    await stack.start('b', part('b', { stop: () => Promise.reject(new Error('still busy')) }), never);
    await stack.start('c', part('c', { stop: hang }), never);
    const stopping = stack.stop();
    assert.equal(clock.wakeNext(), true);
    await stopping;
    assert.deepEqual(events.slice(-1), ['a stopped']);
    assert.deepEqual(
      logger.lines.map(({ level, fields }) => [level, fields.part, fields.error]),
      [
        ['warn', 'c', 'The end of c gave no answer within 10 s.'],
        ['warn', 'b', 'still busy'],
      ],
    );
  });
});
