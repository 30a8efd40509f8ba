import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { it } from 'node:test';
import { migrate } from '../../core/database/migrate.js';
import { CORE_MIGRATIONS } from '../../core/database/migrations/core.js';
import { type ClosableDatabase, openDatabase } from '../../core/database/open-database.js';
import { leaseOwner } from '../../core/scopes/lease-owner.js';
import { Leases } from '../../core/scopes/leases.js';
import { ScopeStates } from '../../core/scopes/scope-states.js';
import { VirtualClock } from '../../core/testkit/fakes.js';
import { describeOnEngines, type TestEngine } from '../support/engines.js';

const pipeline = { source: 'default', fetcher: 'static', collector: 'file' };

async function setUp(engine: TestEngine, connections: number) {
  const url = await engine.newDatabase();
  const databases: ClosableDatabase[] = [];
  for (let i = 0; i < connections; i++) databases.push(await openDatabase(url));
  await migrate(databases[0]!, [{ module: 'core', migrations: CORE_MIGRATIONS }]);
  await new ScopeStates(databases[0]!).add(pipeline, [{ key: 'project_id', id: 'a' }], 0);
  const close = () => Promise.all(databases.map((database) => database.close()));
  const state = async () => (await new ScopeStates(databases[0]!).list())[0]!;
  return { databases, close, state };
}

async function pass(clock: VirtualClock, seconds: number): Promise<void> {
  const sleep = clock.sleep(seconds * 1000, new AbortController().signal);
  clock.wakeNext();
  await sleep;
}

describeOnEngines('leases', (engine) => {
  it('have exactly one winner in every race', async () => {
    const { databases, close, state } = await setUp(engine, 4);
    const rounds = 50;
    for (let round = 0; round < rounds; round++) {
      const seen = await state();
      const contenders = databases.map(
        (database, i) => new Leases(database, new VirtualClock(), `p${i}`, 60),
      );
      const taken = await Promise.all(contenders.map((leases) => leases.take(seen)));
      const winners = taken.filter((lease) => lease !== undefined);
      assert.equal(winners.length, 1, `round ${round}`);
      const winner = contenders.find((leases) => leases.owner === winners[0]!.owner)!;
      assert.equal((await state()).fence, seen.fence + 1);
      await winner.release(winners[0]!);
    }
    await close();
  });

  it('are refused while the owner renews, and taken once it has been silent for the lease time', async () => {
    const { databases, close, state } = await setUp(engine, 2);
    const clock = new VirtualClock();
    const first = new Leases(databases[0]!, clock, 'first', 60);
    const second = new Leases(databases[1]!, clock, 'second', 60);
    const lease = (await first.take(await state()))!;
    second.observe(await state());
    await pass(clock, 59);
    await first.renew(lease);
    second.observe(await state());
    await pass(clock, 59);
    assert.equal(await second.take(await state()), undefined, 'renewed a minute ago');
    await pass(clock, 1);
    const taken = await second.take(await state());
    assert.equal(taken?.fence, lease.fence + 1);
    await assert.rejects(first.renew(lease), { code: 'RATECAT_LEASE_LOST' });
    await first.release(lease);
    assert.equal((await state()).owner, 'second', 'a late release changes nothing');
    await close();
  });

  it('count the silence from the first sighting, not from the last', async () => {
    const { databases, close, state } = await setUp(engine, 2);
    const clock = new VirtualClock();
    await new Leases(databases[0]!, clock, 'first', 60).take(await state());
    const second = new Leases(databases[1]!, clock, 'second', 60);
    for (let i = 0; i < 4; i++) {
      second.observe(await state());
      await pass(clock, 15);
    }
    assert.notEqual(await second.take(await state()), undefined);
    await close();
  });

  it('are taken at once from a process of this machine that has ended, and from no other', async () => {
    const { databases, close, state } = await setUp(engine, 2);
    const child = spawn('sleep', ['60'], { stdio: 'ignore' });
    const owner = leaseOwner().replace(`:${process.pid}:`, `:${child.pid}:`);
    const lease = (await new Leases(databases[0]!, new VirtualClock(), owner, 60).take(await state()))!;
    const second = new Leases(databases[1]!, new VirtualClock(), 'second', 60);
    second.observe(await state());
    assert.equal(await second.take(await state()), undefined, 'it is still running');
    child.kill('SIGKILL');
    await once(child, 'exit');
    assert.equal((await second.take(await state()))?.fence, lease.fence + 1);
    await close();
  });

  it('are never taken from an owner that was not observed', async () => {
    const { databases, close, state } = await setUp(engine, 2);
    await new Leases(databases[0]!, new VirtualClock(), 'first', 60).take(await state());
    const stranger = new Leases(databases[1]!, new VirtualClock(), 'second', 0);
    assert.equal(await stranger.take(await state()), undefined);
    await close();
  });
});
