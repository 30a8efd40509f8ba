import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  Attributes,
  type Collected,
  type CollectRequest,
  Decimal,
  type StoredFrame,
  UnavailableError,
} from '../../../core/plugin-api/index.js';
import { ScopeReset } from '../../../core/scopes/scope-reset.js';
import { type Failure, World, type WorldOptions } from '../../simulation/world.js';

const START = Date.UTC(2026, 2, 1) / 1000;
const HOUR = 3600;
const signal = new AbortController().signal;

async function started(options: Partial<WorldOptions> = {}): Promise<World> {
  const world = await World.create({ seed: 11, scopes: 1, processors: 1, hours: 24, faults: 0, ...options });
  world.startProcessor(0);
  return world;
}

function hours(count: number): number {
  return count * HOUR * 1000;
}

async function frames(world: World, scope = 'scope-0'): Promise<readonly StoredFrame[]> {
  const visible = [{ key: 'project_id', id: scope }];
  const found: StoredFrame[] = [];
  const query = { visible, begin: 0, end: world.now + 1e6 };
  for await (const frame of world.storage.readPeriods(query, signal)) found.push(frame);
  return found;
}

async function stateOf(world: World, scope = 'scope-0') {
  return (await world.states.list()).find((state) => state.scope.id === scope)!;
}

/** Hours of the first day, `from` included, `to` not. */
async function order(world: World, from: number, to: number, scope = 'scope-0'): Promise<void> {
  await world.order((await stateOf(world, scope)).row, START + from * HOUR, START + to * HOUR);
}

async function newestTask(world: World) {
  return (await world.tasks.list({ order: 'desc', offset: 0, limit: 1 }))[0]!;
}

/** Numbers of the hours whose stored price is not what it was. */
function changed(before: readonly StoredFrame[], after: readonly StoredFrame[]): readonly number[] {
  const snapshots = new Map(before.map((frame) => [frame.period.begin, frame.snapshot]));
  return after
    .filter(({ period, snapshot }) => snapshots.has(period.begin) && snapshots.get(period.begin) !== snapshot)
    .map(({ period }) => (period.begin - START) / HOUR);
}

function one(request: CollectRequest, value: string): Collected {
  const groupby = Attributes.from({ project_id: request.scope.id, id: 'x' });
  const sample = { groupby, metadata: Attributes.EMPTY, value: Decimal.parse(value) };
  return { kind: 'measured', samples: [sample] };
}

function quantities(stored: readonly StoredFrame[]): readonly string[] {
  return stored.map((frame) => frame.points.map((point) => point.quantity.toString()).join('+'));
}

describe('reprocessing', () => {
  it('prices exactly the periods of its window by the rules that hold now, and tells of each once', async () => {
    const world = await started({ scopes: 2 });
    await world.runUntil(hours(10));
    const before = await frames(world);
    const other = await frames(world, 'scope-1');
    await world.editRules();
    await order(world, 3, 6);
    await world.runUntil(hours(10.5));
    const after = await frames(world);
    assert.deepEqual(changed(before, after), [3, 4, 5]);
    assert.deepEqual(await frames(world, 'scope-1'), other);
    const task = await newestTask(world);
    assert.equal(task.current, task.end);
    assert.equal(task.failure, undefined);
    const lines = world.logger.lines.filter((line) => line.message === 'period reprocessed');
    assert.deepEqual(
      lines.map((line) => line.fields.begin),
      ['2026-03-01T03:00:00Z', '2026-03-01T04:00:00Z', '2026-03-01T05:00:00Z'],
    );
    // Prices against the model, commits against periods, sums against rows.
    await world.checkEverything();
    await world.close();
  });

  it('collects anew: usage that came to light since is billed, what vanished is not', async () => {
    const world = await started({
      collect: (request, w) => {
        if (request.metric.name !== 'cpu') return { kind: 'nothing' };
        if (w.now < START + 8 * HOUR) return one(request, '5');
        return request.period.begin === START + 2 * HOUR ? { kind: 'nothing' } : one(request, '7');
      },
    });
    await world.runUntil(hours(7));
    await world.runUntil(hours(8.5));
    const settled = quantities(await frames(world)).slice(0, 5);
    await order(world, 1, 4);
    await world.runUntil(hours(9));
    assert.deepEqual(settled, ['5', '5', '5', '5', '5']);
    assert.deepEqual(quantities(await frames(world)).slice(0, 5), ['5', '7', '', '7', '5']);
    await world.close();
  });

  for (const how of ['error', 'crash', 'crash-after'] satisfies Failure[]) {
    it(`goes on where it was when any of its calls is the last one or fails (${how})`, async () => {
      const callsUntil = async (until: number) => {
        const world = await started({ seed: 7 });
        await world.runUntil(hours(4.1));
        const first = world.processors[0]!.calls + 1;
        await world.editRules();
        await order(world, 1, 3);
        await world.runUntil(hours(until));
        const last = world.processors[0]!.calls;
        await world.close();
        return { first, last };
      };
      const { first, last } = await callsUntil(4.9);
      assert.ok(last - first > 15, `reprocessing makes ${last - first} calls`);
      let half = 0;
      for (let call = first; call <= last; call++) {
        const world = await started({ seed: 7, failAt: { call, how } });
        await world.runUntil(hours(4.1));
        await world.editRules();
        await order(world, 1, 3);
        await world.runUntil(hours(4.9));
        assert.ok(world.faultsFired > 0, `call ${call} was never reached`);
        if ((await newestTask(world)).current === START + 2 * HOUR) half++;
        world.faultsOn = false;
        if (world.processors[0]!.dead) world.startProcessor(0);
        await world.runUntil(hours(6));
        await world.checkEverything();
        await world.close();
      }
      if (how !== 'error') assert.ok(half > 0, 'some process died between two periods');
    });
  }

  it('waits behind periods that are due, and for a window that a reset has put ahead of the watermark', async () => {
    let isDown = false;
    const world = await started({
      collect: (request) => {
        if (isDown) throw new UnavailableError('RATECAT_TEST', 'down');
        return one(request, '1');
      },
    });
    await world.runUntil(hours(8));
    const state = await stateOf(world);
    isDown = true;
    await order(world, 4, 6);
    const reset = new ScopeReset(world.database, world.states, world.storage, world.clock);
    const to = {
      to: START + 2 * HOUR,
      periodSeconds: HOUR,
      compat: 'fixed',
      author: 'x',
      reason: 'y',
    } as const;
    await reset.reset(state, to, signal);
    world.forgetWatermarks();
    await world.runUntil(hours(10));
    assert.equal((await newestTask(world)).current, undefined);
    assert.equal((await newestTask(world)).failure, undefined, 'it was not even tried');
    isDown = false;
    await world.runUntil(hours(12));
    assert.equal((await stateOf(world)).watermark, START + 11 * HOUR);
    assert.equal((await newestTask(world)).current, START + 6 * HOUR);
    const told = world.logger.lines
      .filter((line) => line.message === 'period reprocessed' || line.message === 'period rated')
      .map((line) => `${line.message.slice('period '.length)} ${String(line.fields.begin).slice(11, 13)}`);
    // The source is back shortly after ten: hour 8 is due then, hour 9 at eleven.
    assert.deepEqual(told.slice(told.lastIndexOf('rated 02')), [
      ...['02', '03', '04', '05', '06', '07', '08'].map((hour) => `rated ${hour}`),
      ...['reprocessed 04', 'reprocessed 05', 'rated 09', 'rated 10'],
    ]);
    await world.close();
  });

  it('waits while its scope is switched off', async () => {
    const world = await started();
    await world.runUntil(hours(6));
    const { row } = await stateOf(world);
    const change = (active: boolean) =>
      world.states.change(row, { active, at: world.now, author: 'operator' });
    await change(false);
    await order(world, 1, 3);
    await world.runUntil(hours(9));
    assert.equal((await newestTask(world)).current, undefined);
    await change(true);
    await world.runUntil(hours(11));
    assert.equal((await newestTask(world)).current, START + 3 * HOUR);
    await world.checkEverything();
    await world.close();
  });

  it('rates a scope that is gone again, without bringing it back', async () => {
    const isGone = (w: World) => w.now >= START + 5.5 * HOUR;
    const other = { key: 'project_id', id: 'scope-1' };
    const world = await started({
      scopes: 2,
      listed: (w) => (isGone(w) ? [other] : [{ key: 'project_id', id: 'scope-0' }, other]),
    });
    await world.runUntil(hours(9));
    const before = await frames(world);
    assert.equal((await stateOf(world)).condition, 'gone');
    await world.editRules();
    await order(world, 2, 4);
    await world.runUntil(hours(9.9));
    assert.deepEqual(changed(before, await frames(world)), [2, 3]);
    assert.equal((await stateOf(world)).condition, 'gone');
    await world.close();
  });

  it('keeps a stored period of which a metric cannot be measured any more, notes it, and goes on', async () => {
    const world = await started({
      collect: (request, w) => {
        const hour = (request.period.begin - START) / HOUR;
        // Hour 4 had a gap from the beginning.
        if (request.metric.name === 'cpu' && (hour === 4 || (hour === 2 && w.now > START + 7 * HOUR)))
          return { kind: 'unmeasurable', reason: 'retention is over' };
        return one(request, w.now > START + 7 * HOUR ? '8' : '3');
      },
    });
    await world.runUntil(hours(7));
    await order(world, 1, 5);
    await world.runUntil(hours(7.9));
    const stored = await frames(world);
    assert.deepEqual(quantities(stored).slice(0, 6), ['3+3+3', '8+8+8', '3+3+3', '8+8+8', '8+8', '3+3+3']);
    assert.deepEqual(stored[2]!.gaps, []);
    const task = await newestTask(world);
    assert.equal(task.current, task.end);
    assert.match(task.failure ?? '', /02:00:00Z was kept .* metric 'cpu': retention is over/);
    const audit = await world.database.query("SELECT detail FROM ratecat_audit WHERE action = 'period.kept'");
    assert.equal(audit.length, 1);
    assert.match(String(audit[0]![0]), /^reprocessing task 1 \(new price\): the period of 2026-03-01T02/);
    await world.close();
  });

  it('tries a failing period again with growing pauses, while periods that become due are rated in time', async () => {
    let isBroken = true;
    const world = await started({
      collect: (request, w) => {
        if (isBroken && w.now > START + 7 * HOUR && request.period.begin === START + 2 * HOUR)
          throw new UnavailableError('RATECAT_TEST', 'the archive is away');
        return one(request, '1');
      },
    });
    await world.runUntil(hours(7));
    await order(world, 1, 4);
    await world.runUntil(hours(12));
    const failing = await newestTask(world);
    assert.equal(failing.current, START + 2 * HOUR);
    assert.match(failing.failure ?? '', /the archive is away/);
    const state = await stateOf(world);
    assert.equal(state.watermark, START + 11 * HOUR);
    assert.deepEqual([state.condition, state.failures], ['active', 0]);
    const tries = world.logger.lines.filter((line) => /^reprocessing failed/.test(line.message));
    // Pauses double from 5 s to 15 minutes, halved at most: 5 hours hold 20 to 50 of them.
    assert.ok(tries.length > 15 && tries.length < 60, `${tries.length} tries`);
    assert.equal(tries.filter((line) => line.level === 'error').length, 1, 'one ERROR line');
    isBroken = false;
    await world.runUntil(hours(13));
    const healed = await newestTask(world);
    assert.deepEqual([healed.current, healed.failure], [START + 4 * HOUR, undefined]);
    await world.close();
  });

  it('passes over what lies before the first period of a scope, and fills holes', async () => {
    const world = await started({ collect: (request) => one(request, '1') });
    await world.runUntil(hours(8));
    const { row } = await stateOf(world);
    const visible = [{ key: 'project_id', id: 'scope-0' }];
    await world.storage.deletePeriods(
      { visible, begin: START + 3 * HOUR, end: START + 4 * HOUR },
      {},
      signal,
    );
    await world.order(row, START - 5 * HOUR, START + 5 * HOUR);
    await world.runUntil(hours(8.9));
    const begins = (await frames(world)).map((frame) => (frame.period.begin - START) / HOUR);
    assert.deepEqual(begins, [0, 1, 2, 3, 4, 5, 6]);
    const count = world.logger.lines.filter((line) => line.message === 'period reprocessed').length;
    assert.equal(count, 5);
    assert.equal((await newestTask(world)).current, START + 5 * HOUR);
    await world.close();
  });

  it('is finished when no period begins in its window', async () => {
    const world = await started();
    await world.runUntil(hours(6));
    const { row } = await stateOf(world);
    await world.order(row, START + 2 * HOUR + 60, START + 2 * HOUR + 120);
    await world.order(row, START - 5 * HOUR, START - 2 * HOUR);
    const before = await frames(world);
    await world.runUntil(hours(6.9));
    assert.deepEqual(await world.tasks.unfinished(), []);
    assert.deepEqual(await frames(world), before);
    await world.close();
  });

  it('takes periods as they are stored where their length was another one', async () => {
    const world = await started({ collect: (request) => one(request, '1') });
    await world.runUntil(hours(8));
    const before = await frames(world);
    // Hours 2 and 3 were rated as one period, long ago.
    const visible = [{ key: 'project_id', id: 'scope-0' }];
    await world.storage.deletePeriods(
      { visible, begin: START + 2 * HOUR, end: START + 4 * HOUR },
      {},
      signal,
    );
    const long = { ...before[2]!, period: { begin: START + 2 * HOUR, end: START + 4 * HOUR } };
    await world.storage.replacePeriod(long, { fence: 0, generation: 0, snapshot: '' }, signal);
    const { row } = await stateOf(world);
    await world.order(row, START + HOUR, START + 5 * HOUR);
    await world.runUntil(hours(8.9));
    const lengths = (await frames(world)).map(({ period }) => (period.end - period.begin) / HOUR);
    assert.deepEqual(lengths, [1, 1, 2, 1, 1, 1]);
    // A window that begins inside the long period leaves it alone.
    await world.order(row, START + 3 * HOUR, START + 4 * HOUR);
    await world.runUntil(hours(9.9));
    assert.deepEqual(await world.tasks.unfinished(), []);
    assert.deepEqual(
      (await frames(world)).slice(0, 6).map(({ period }) => (period.end - period.begin) / HOUR),
      [1, 1, 2, 1, 1, 1],
    );
    await world.close();
  });
});
