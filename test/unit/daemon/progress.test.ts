import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { CatchUp, toAll } from '../../../core/daemon/progress.js';
import { VirtualClock } from '../../../core/testkit/fakes.js';

const HOUR = 3600;
const START = Date.UTC(2026, 0, 1) / 1000;

function rated(scope: string, begin: number, source = 'a') {
  return {
    source,
    scope: { key: 'id', id: scope },
    period: { begin, end: begin + HOUR },
    points: 2,
    seconds: 0.5,
  };
}

describe('processing metrics', () => {
  it('reach every listener', () => {
    const heard: unknown[] = [];
    const listener = (name: string) => ({
      periodRated: (event: unknown) => heard.push([name, event]),
      scopeFailed: (...event: unknown[]) => heard.push([name, ...event]),
      backlog: (...event: unknown[]) => heard.push([name, ...event]),
    });
    const all = toAll([listener('one'), listener('two')]);
    const event = rated('x', START);
    all.periodRated(event);
    all.scopeFailed('a', 'RATECAT_TIMEOUT');
    all.backlog('a', 7, 90);
    const expected = [[event], ['a', 'RATECAT_TIMEOUT'], ['a', 7, 90]];
    assert.deepEqual(
      heard,
      expected.flatMap((what) => [
        ['one', ...what],
        ['two', ...what],
      ]),
    );
  });
});

describe('the bar of a catch-up', () => {
  function newBar(hoursBehind: number) {
    const drawn: string[] = [];
    const clock = new VirtualClock((START + hoursBehind * HOUR) * 1000);
    const rule = { periodSeconds: HOUR, waitPeriods: 1, compat: 'fixed' } as const;
    const bar = new CatchUp(
      {
        start: (total, done) => drawn.push(`start ${done}/${total}`),
        update: (total, done) => drawn.push(`${done}/${total}`),
        stop: () => drawn.push('stop'),
      },
      clock,
      new Map([['a', rule]]),
    );
    return { bar, drawn };
  }

  it('appears while a scope is more than three periods behind and goes when it has caught up', () => {
    const { bar, drawn } = newBar(6);
    bar.backlog('a', 6);
    assert.equal(bar.isActive, false);
    for (let hour = 0; hour < 6; hour++) bar.periodRated(rated('x', START + hour * HOUR));
    assert.equal(bar.isActive, false);
    assert.deepEqual(drawn, ['start 0/5', '0/5', '1/5', '2/5', '3/5', '4/5', 'stop']);
  });

  it('stays away in everyday work', () => {
    const { bar, drawn } = newBar(3);
    bar.backlog('a', 9);
    for (const scope of ['x', 'y', 'z']) bar.periodRated(rated(scope, START));
    assert.deepEqual(drawn, []);
  });

  it('is not brought back by scopes that fail while others are rated in time', () => {
    const { bar, drawn } = newBar(10);
    bar.backlog('a', 500);
    bar.scopeFailed();
    bar.periodRated(rated('x', START + 9 * HOUR));
    assert.equal(bar.isActive, false);
    assert.deepEqual(drawn, []);
  });

  it('can be taken off the screen at any time, once', () => {
    const { bar, drawn } = newBar(6);
    bar.periodRated(rated('x', START));
    bar.end();
    bar.end();
    assert.deepEqual(
      drawn.filter((line) => line === 'stop'),
      ['stop'],
    );
  });
});
