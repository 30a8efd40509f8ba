import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  Attributes,
  type Collected,
  type CollectRequest,
  DataError,
  Decimal,
  type StoredFrame,
  UnavailableError,
} from '../../core/plugin-api/index.js';
import { ScopeReset } from '../../core/scopes/scope-reset.js';
import { simRating, World, type WorldOptions } from './world.js';

const START = Date.UTC(2026, 2, 1) / 1000;
const HOUR = 3600;
const signal = new AbortController().signal;

async function started(options: Partial<WorldOptions>): Promise<World> {
  const world = await World.create({ seed: 11, scopes: 1, processors: 1, hours: 24, faults: 0, ...options });
  world.startProcessor(0);
  return world;
}

async function frames(world: World, scope = 'scope-0'): Promise<readonly StoredFrame[]> {
  const visible = [{ key: 'project_id', id: scope }];
  const found: StoredFrame[] = [];
  for await (const frame of world.storage.readPeriods({ visible, begin: 0, end: world.now + 1e6 }, signal)) {
    found.push(frame);
  }
  return found;
}

async function stateOf(world: World, scope = 'scope-0') {
  return (await world.states.list()).find((state) => state.scope.id === scope)!;
}

function hours(count: number): number {
  return count * HOUR * 1000;
}

function one(request: CollectRequest, value: string): Collected {
  const groupby = Attributes.from({ project_id: request.scope.id, id: 'x' });
  return {
    kind: 'measured',
    samples: [{ groupby, metadata: Attributes.EMPTY, value: Decimal.parse(value) }],
  };
}

describe('processing', () => {
  it('stores an unmeasurable metric as a visible gap, not as zero', async () => {
    const world = await started({
      collect: (request) =>
        request.metric.name === 'cpu' && request.period.begin === START + HOUR
          ? { kind: 'unmeasurable', reason: 'nobody watched' }
          : one(request, '2'),
    });
    await world.runUntil(hours(6));
    const stored = await frames(world);
    assert.deepEqual(stored[1]!.gaps, [{ metric: 'cpu', reason: 'nobody watched' }]);
    assert.deepEqual(
      stored[1]!.points.map((point) => point.descriptor.metric),
      ['disk', 'network'],
    );
    assert.deepEqual(stored[0]!.gaps, []);
    assert.ok(
      world.logger.lines.some((line) => line.level === 'warn' && line.fields.reason === 'nobody watched'),
    );
    await world.close();
  });

  it('writes an empty period when nothing was used', async () => {
    const world = await started({ collect: () => ({ kind: 'nothing' }) });
    await world.runUntil(hours(5));
    const stored = await frames(world);
    assert.equal(stored.length, 4);
    assert.ok(stored.every((frame) => frame.points.length === 0 && frame.gaps.length === 0));
    await world.close();
  });

  it('rates a scope that vanishes up to the period in which it was seen last, and takes it up again', async () => {
    const present = { key: 'project_id', id: 'scope-0' };
    const other = { key: 'project_id', id: 'scope-1' };
    const away = (world: World) => world.now >= START + 5.5 * HOUR && world.now < START + 12 * HOUR;
    const world = await started({ scopes: 2, listed: (w) => (away(w) ? [other] : [present, other]) });
    await world.runUntil(hours(11));
    const gone = await stateOf(world);
    assert.equal(gone.condition, 'gone');
    assert.equal(gone.missingSince, START + 6 * HOUR);
    assert.equal(gone.watermark, START + 6 * HOUR);
    assert.equal((await stateOf(world, 'scope-1')).condition, 'active');
    await world.runUntil(hours(16));
    const back = await stateOf(world);
    assert.equal(back.condition, 'active');
    assert.equal(back.watermark, START + 15 * HOUR);
    await world.checkEverything();
    await world.close();
  });

  it('does not believe a list that suddenly lost most of its scopes', async () => {
    const all = Array.from({ length: 10 }, (_, i) => ({ key: 'project_id', id: `scope-${i}` }));
    const world = await started({
      scopes: 10,
      listed: (w) => (w.now < START + 3 * HOUR ? all : all.slice(0, 2)),
    });
    await world.runUntil(hours(8));
    assert.ok(world.logger.lines.some((line) => line.level === 'error' && /shrank/.test(line.message)));
    assert.ok((await world.states.list()).every((state) => state.missingSince === undefined));
    assert.equal((await stateOf(world, 'scope-9')).watermark, START + 7 * HOUR);
    await world.close();
  });

  it('marks a scope stuck with its reason, tries again slowly, and goes on where it stopped', async () => {
    const broken = (world: World) => world.now < START + 10 * HOUR;
    const world = await started({
      collect: (request, w) => {
        if (request.metric.name === 'disk' && broken(w))
          throw new DataError('RATECAT_TEST', 'NaN in series x');
        return one(request, '1');
      },
    });
    await world.runUntil(hours(9));
    const stuck = await stateOf(world);
    assert.equal(stuck.condition, 'stuck');
    assert.equal(stuck.watermark, START);
    assert.match(stuck.reason ?? '', /Metric 'disk': NaN in series x/);
    const errors = world.logger.lines.filter((line) => line.level === 'error');
    assert.equal(errors.length, 1, 'one ERROR line, not one per try');
    await world.runUntil(hours(12));
    const healed = await stateOf(world);
    assert.equal(healed.condition, 'active');
    assert.equal(healed.reason, undefined);
    assert.equal(healed.watermark, START + 11 * HOUR);
    assert.equal((await frames(world)).length, 11);
    await world.close();
  });

  it('leaves an inactive scope alone and goes on when it is switched on again', async () => {
    const world = await started({});
    await world.runUntil(hours(4));
    const { row, watermark } = await stateOf(world);
    const setActive = (active: number) =>
      world.database.transaction((tx) =>
        tx.execute('UPDATE ratecat_scopes SET active = ? WHERE id = ?', [active, row]),
      );
    await setActive(0);
    await world.runUntil(hours(8));
    assert.equal((await stateOf(world)).watermark, watermark);
    await setActive(1);
    await world.runUntil(hours(10));
    assert.equal((await stateOf(world)).watermark, START + 9 * HOUR);
    await world.checkEverything();
    await world.close();
  });

  it('re-rates committed periods whose data changed, with an audit row, and leaves the others alone', async () => {
    const late = (world: World) => world.now > START + 5.5 * HOUR;
    const world = await started({
      lookBack: 3,
      collect: (request, w) => one(request, request.period.begin === START + 3 * HOUR && late(w) ? '7' : '5'),
    });
    await world.runUntil(hours(9));
    const stored = await frames(world);
    assert.deepEqual(
      stored.map((frame) => frame.points[0]!.quantity.toString()),
      ['5', '5', '5', '7', '5', '5', '5', '5'],
    );
    const audit = await world.database.query('SELECT action, detail FROM ratecat_audit');
    assert.deepEqual(audit, [['period.re-rated', 'late data for 2026-03-01T03:00:00Z']]);
    const fingerprints = await world.database.query('SELECT COUNT(*) FROM ratecat_fingerprints');
    assert.deepEqual(fingerprints, [[3]]);
    await world.close();
  });

  it('takes rule changes before the next period and keeps the snapshot of each', async () => {
    const world = await started({ collect: (request) => one(request, '10') });
    await world.runUntil(hours(3));
    await world.editRules();
    await world.runUntil(hours(5));
    const stored = await frames(world);
    const snapshots = new Set(stored.map((frame) => frame.snapshot));
    assert.equal(snapshots.size, 2);
    assert.equal(stored[1]!.snapshot, stored[0]!.snapshot);
    assert.notEqual(stored[3]!.points[0]!.price.toString(), stored[0]!.points[0]!.price.toString());
    await world.close();
  });

  it('waits when the clock is set back and rates nothing twice', async () => {
    const world = await started({});
    await world.runUntil(hours(5));
    world.processors[0]!.wallOffset = -2 * HOUR * 1000;
    const before = await stateOf(world);
    await world.runUntil(hours(6.5));
    assert.deepEqual((await stateOf(world)).watermark, before.watermark);
    world.processors[0]!.wallOffset = 0;
    await world.runUntil(hours(8));
    assert.equal((await stateOf(world)).watermark, START + 7 * HOUR);
    await world.checkEverything();
    await world.close();
  });

  it('sends a scope back: a running worker loses its lease, everything from there on is rated anew', async () => {
    const world = await started({ scopes: 2 });
    await world.runUntil(hours(8));
    const reset = new ScopeReset(world.database, world.states, world.storage, world.clock);
    const order = {
      to: START + 3 * HOUR,
      periodSeconds: HOUR,
      compat: 'fixed',
      author: 'operator',
      reason: 'new prices',
    } as const;
    const before = await stateOf(world);
    const others = await frames(world, 'scope-1');
    await reset.reset(before, order, signal);
    const after = await stateOf(world);
    assert.equal(after.watermark, START + 3 * HOUR);
    assert.equal(after.fence, before.fence + 1);
    assert.equal((await frames(world)).length, 3);
    assert.deepEqual(await frames(world, 'scope-1'), others);
    await assert.rejects(reset.reset(after, { ...order, to: START + 4 * HOUR }, signal), /cannot go beyond/);
    await assert.rejects(
      reset.reset(after, { ...order, to: START + 90 * 60 }, signal),
      /lies inside a period; the begin of that period is 2026-03-01T01:00:00Z/,
    );
    const audit = await world.database.query('SELECT action, author FROM ratecat_audit');
    assert.deepEqual(audit, [['scope.reset', 'operator']]);
    await world.close();
  });

  it('rates a scope that was sent back to the end again, without a hole', async () => {
    const world = await started({ collect: (request) => one(request, '3') });
    await world.runUntil(hours(6));
    const reset = new ScopeReset(world.database, world.states, world.storage, world.clock);
    const order = {
      to: START + HOUR,
      periodSeconds: HOUR,
      compat: 'fixed',
      author: 'operator',
      reason: 'test',
    } as const;
    await reset.reset(await stateOf(world), order, signal);
    world.forgetWatermarks();
    await world.runUntil(hours(8));
    assert.deepEqual(
      (await frames(world)).map((frame) => (frame.period.begin - START) / HOUR),
      [0, 1, 2, 3, 4, 5, 6],
    );
    while ((await world.storage.sweep!(signal)) > 0);
    const points = await world.database.query('SELECT COUNT(*) FROM ratecat_sql_points');
    assert.deepEqual(points, [[7 * 3]], 'the sweep removes what the reset left behind, and nothing else');
    await world.close();
  });

  it('leaves the period at the instant of a reset un-rated in strict mode, as the reference does', async () => {
    const world = await started({ compat: 'strict', collect: (request) => one(request, '3') });
    await world.runUntil(hours(6.1));
    const reset = new ScopeReset(world.database, world.states, world.storage, world.clock);
    const order = { periodSeconds: HOUR, compat: 'strict', author: 'operator', reason: 'test' } as const;
    const before = await stateOf(world);
    assert.equal(before.watermark, START + 5 * HOUR);
    const beyond = reset.reset(before, { ...order, to: START + 5 * HOUR }, signal);
    await assert.rejects(beyond, /cannot go beyond/, 'a period that was never rated is not skipped');
    await reset.reset(before, { ...order, to: START + HOUR }, signal);
    const { watermark, lastBegin } = await stateOf(world);
    assert.deepEqual([watermark, lastBegin], [START + 2 * HOUR, START + HOUR]);
    assert.equal((await frames(world)).length, 1);
    world.goOnFrom(before.row, START + 2 * HOUR);
    await world.runUntil(hours(8.1));
    assert.deepEqual(
      (await frames(world)).map((frame) => (frame.period.begin - START) / HOUR),
      [0, 2, 3, 4, 5, 6],
    );
    await world.close();
  });

  it('rates the first period of a scope at once in strict mode, and waits with all others', async () => {
    const world = await started({ compat: 'strict', collect: (request) => one(request, '3') });
    await world.runUntil(hours(0.1));
    assert.equal((await stateOf(world)).watermark, START + HOUR, 'although the period is still open');
    await world.runUntil(hours(2.99));
    assert.equal((await stateOf(world)).watermark, START + HOUR);
    await world.runUntil(hours(3.1));
    assert.equal((await stateOf(world)).watermark, START + 2 * HOUR);
    await world.close();
  });

  it('tries the first period of a scope again in strict mode without waiting', async () => {
    let failures = 2;
    const collect = (request: CollectRequest) => {
      if (failures-- > 0) throw new UnavailableError('RATECAT_SIMULATED', 'the collector is down');
      return one(request, '3');
    };
    const world = await started({ compat: 'strict', collect });
    await world.runUntil(hours(0.5));
    assert.ok(failures <= 0, 'it failed at first');
    assert.equal((await stateOf(world)).watermark, START + HOUR);
    await world.close();
  });

  it('gives up a rating module that hangs on one scope, names it, and rates the others', async () => {
    let hangs = true;
    const rating: typeof simRating = {
      ...simRating,
      compile(rules, scope) {
        const { rate } = simRating.compile(rules, scope);
        const hang = () => new Promise<never>(() => undefined);
        return { rate: (frame, stop) => (hangs && scope?.id === 'scope-0' ? hang() : rate(frame, stop)) };
      },
    };
    const world = await started({ scopes: 2, rating });
    await world.runUntil(hours(6));
    const stuck = await stateOf(world);
    assert.equal(stuck.watermark, START);
    assert.equal(stuck.condition, 'stuck');
    assert.match(stuck.reason ?? '', /Rating module 'sim' gave no answer within 300 s/);
    const other = (await stateOf(world, 'scope-1')).watermark ?? 0;
    assert.ok(other >= START + 4 * HOUR, `the other scope stands at ${other - START}`);
    hangs = false;
    await world.runUntil(hours(8));
    await world.checkEverything();
    await world.close();
  });

  it('gives up a rating module that does not give its rules, and goes on when it does', async () => {
    let hangs = true;
    const rating: typeof simRating = {
      ...simRating,
      loadRules: (database, stop) =>
        hangs ? new Promise<never>(() => undefined) : simRating.loadRules!(database, stop),
    };
    const world = await started({ scopes: 2, rating });
    await world.runUntil(hours(4));
    const { watermark, failures, reason } = await stateOf(world, 'scope-1');
    assert.equal(watermark, START);
    assert.ok(failures > 1, `it was tried again: ${failures} failures`);
    assert.match(reason ?? '', /Rating module 'sim' gave no answer within 300 s/);
    hangs = false;
    await world.runUntil(hours(6));
    await world.checkEverything();
    await world.close();
  });

  it('refuses scope ids that cannot be stored and rates the others', async () => {
    const good = { key: 'project_id', id: 'scope-0' };
    const world = await started({
      listed: () => [
        good,
        { key: '', id: '' },
        { key: '', id: 'x'.repeat(257) },
        { key: '', id: "a'; DROP TABLE x" },
      ],
    });
    await world.runUntil(hours(4));
    const ids = (await world.states.list()).map((state) => state.scope.id).sort();
    assert.deepEqual(ids, ["a'; DROP TABLE x", 'scope-0']);
    assert.equal(world.logger.lines.filter((line) => /scope id refused/.test(line.message)).length % 2, 0);
    await world.close();
  });
});
