import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { eachInSlices, mapInSlices } from '../../../core/plugin-api/index.js';

const THOUSAND = Array.from({ length: 1_000 }, (_, index) => index);

/** Some work, without a pause. */
function work(milliseconds: number): void {
  const end = performance.now() + milliseconds;
  while (performance.now() < end);
}

/** Counts the turns of the event loop for as long as `during` lasts. */
async function turnsOf(during: () => Promise<unknown>): Promise<number> {
  let turns = 0;
  let next = setImmediate(function count() {
    turns++;
    next = setImmediate(count);
  });
  await during();
  clearImmediate(next);
  return turns;
}

describe('work in slices', () => {
  it('visits everything in order, with its place', async () => {
    const made = await mapInSlices(THOUSAND, (item, place) => [item * 2, place]);
    assert.deepEqual(
      made,
      THOUSAND.map((item) => [item * 2, item]),
    );
    assert.deepEqual(await mapInSlices([], () => 1), []);
    const seen: unknown[] = [];
    await eachInSlices(new Map([['a', 1]]), (entry, place) => seen.push(entry, place));
    assert.deepEqual(seen, [['a', 1], 0]);
  });

  it('lets the event loop run while it is long, and does not wait while it is short', async () => {
    assert.ok((await turnsOf(() => eachInSlices(THOUSAND, () => work(0.1)))) >= 5);
    assert.equal(await turnsOf(() => eachInSlices(THOUSAND.slice(0, 60), () => undefined)), 0);
  });

  it('goes on with one piece of work in each turn, and finishes one before the next', async () => {
    const log: string[] = [];
    const piece = (name: string) =>
      eachInSlices(THOUSAND, () => {
        work(0.1);
        if (log.at(-1) !== name) log.push(name);
      });
    let next = setImmediate(function turn() {
      log.push('turn');
      next = setImmediate(turn);
    });
    await Promise.all([piece('a'), piece('b'), piece('c')]);
    clearImmediate(next);
    const later = log.slice(log.indexOf('turn'));
    assert.doesNotMatch(later.join(' '), /[abc] [abc]/);
    const pieces = later.filter((entry) => entry !== 'turn');
    assert.deepEqual(pieces, [...pieces].sort());
    for (const name of ['a', 'b', 'c']) assert.ok(pieces.filter((entry) => entry === name).length > 3, name);
  });

  it('does not keep others waiting when a piece fails', async () => {
    const fails = eachInSlices(THOUSAND, (item) => {
      work(0.2);
      if (item === 500) throw new Error('item 500');
    });
    await assert.rejects(fails, /item 500/);
    assert.equal((await mapInSlices(THOUSAND, () => work(0.1))).length, 1_000);
  });

  it('ends with the reason of the signal', async () => {
    const reason = new Error('enough');
    const stop = new AbortController();
    let visited = 0;
    const visit = () => {
      work(0.2);
      if (++visited === 100) stop.abort(reason);
    };
    await assert.rejects(eachInSlices(THOUSAND, visit, stop.signal), reason);
    assert.ok(visited < 300, String(visited));
  });
});
