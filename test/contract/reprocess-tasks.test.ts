import assert from 'node:assert/strict';
import { it } from 'node:test';
import { migrate } from '../../core/database/migrate.js';
import { CORE_MIGRATIONS } from '../../core/database/migrations/core.js';
import { type ClosableDatabase, openDatabase } from '../../core/database/open-database.js';
import { Leases } from '../../core/scopes/leases.js';
import { advanceTask, type NewReprocessTask, ReprocessTasks } from '../../core/scopes/reprocess-tasks.js';
import { ScopeStates } from '../../core/scopes/scope-states.js';
import { VirtualClock } from '../../core/testkit/fakes.js';
import { describeOnEngines, type TestEngine } from '../support/engines.js';

const HOUR = 3600;
const PAGE = { order: 'asc', offset: 0, limit: 100 } as const;
const overlap = { code: 'RATECAT_REPROCESS_OVERLAP' };

async function setUp(engine: TestEngine, connections = 1) {
  const url = await engine.newDatabase();
  const databases: ClosableDatabase[] = [];
  for (let i = 0; i < connections; i++) databases.push(await openDatabase(url));
  await migrate(databases[0]!, [{ module: 'core', migrations: CORE_MIGRATIONS }]);
  const states = new ScopeStates(databases[0]!);
  const scopes = ['a', 'b', 'c'].map((id) => ({ key: 'project_id', id }));
  await states.add({ source: 'default', fetcher: 'static', collector: 'file' }, scopes, 0);
  const rows = (await states.list()).map((state) => state.row);
  const books = databases.map((database) => new ReprocessTasks(database, new VirtualClock(5_000_000)));
  const close = () => Promise.all(databases.map((database) => database.close()));
  return { databases, states, rows, books, tasks: books[0]!, close };
}

function order(row: number, from: number, to: number): NewReprocessTask {
  return { row, begin: from * HOUR, end: to * HOUR, reason: 'price fix', author: 'tester' };
}

describeOnEngines('reprocessing tasks', (engine) => {
  it('are listed as they were ordered, with an audit row each', async () => {
    const { tasks, rows, databases, close } = await setUp(engine);
    await tasks.create([order(rows[0]!, 1, 3), order(rows[1]!, 1, 3)]);
    const [first, second, ...others] = await tasks.list(PAGE);
    assert.deepEqual(others, []);
    assert.deepEqual(
      { ...first, id: 0 },
      {
        id: 0,
        row: rows[0],
        source: 'default',
        scope: { key: 'project_id', id: 'a', name: undefined },
        begin: HOUR,
        end: 3 * HOUR,
        reason: 'price fix',
        current: undefined,
        createdAt: 5000,
        failure: undefined,
        failures: 0,
        retryAt: undefined,
      },
    );
    assert.equal(second!.scope.id, 'b');
    const audit = await databases[0]!.query('SELECT at, scope, action, author, detail FROM ratecat_audit');
    const detail = '{"begin":"1970-01-01T01:00:00Z","end":"1970-01-01T03:00:00Z","reason":"price fix"}';
    assert.deepEqual(
      audit,
      rows.slice(0, 2).map((row) => [5000, row, 'reprocess.create', 'tester', detail]),
    );
    await close();
  });

  it('are refused when they share an instant with an unfinished one, the ends included, and none is kept', async () => {
    const { tasks, rows, databases, close } = await setUp(engine);
    const [a, b] = [rows[0]!, rows[1]!];
    await tasks.create([order(a, 4, 6)]);
    for (const [from, to] of [
      [2, 4],
      [6, 8],
      [5, 5],
      [4, 6],
      [1, 9],
    ]) {
      await assert.rejects(tasks.create([order(b, from!, to!), order(a, from!, to!)]), overlap);
      await assert.rejects(tasks.create([order(a, from!, to!)]), overlap);
    }
    assert.equal((await tasks.list(PAGE)).length, 1);
    assert.equal((await databases[0]!.query('SELECT id FROM ratecat_audit')).length, 1);
    await tasks.create([order(b, 4, 6), order(a, 2, 3), order(a, 7, 8)]);
    assert.equal((await tasks.unfinished(a)).length, 3);
    assert.equal((await tasks.unfinished()).length, 4);
    await close();
  });

  it('are refused when two orders of one call overlap', async () => {
    const { tasks, rows, close } = await setUp(engine);
    await assert.rejects(tasks.create([order(rows[0]!, 1, 2), order(rows[0]!, 2, 3)]), {
      ...overlap,
      message: /Scope 'a' cannot be rated anew for 1970-01-01T02:00:00Z to 1970-01-01T03:00:00Z/,
    });
    assert.deepEqual(await tasks.list(PAGE), []);
    await close();
  });

  it('let exactly one of several processes have a window', async () => {
    const { books, rows, close } = await setUp(engine, 4);
    for (let round = 0; round < 10; round++) {
      const from = round * 10;
      // In different orders, so that locks taken row by row would meet.
      const calls = books.map((book, i) => {
        const orders = rows.map((row) => order(row, from + i, from + i + 5));
        return book.create(i % 2 === 0 ? orders : orders.toReversed());
      });
      const outcomes = await Promise.allSettled(calls);
      const refused = outcomes.filter((outcome) => outcome.status === 'rejected');
      assert.equal(refused.length, 3, `round ${round}`);
      for (const { reason } of refused) assert.equal(reason.code, overlap.code);
    }
    assert.equal((await books[0]!.list(PAGE)).length, 10 * rows.length);
    await close();
  });

  it('of a window without length are finished at once', async () => {
    const { tasks, rows, close } = await setUp(engine);
    await tasks.create([order(rows[0]!, 4, 4)]);
    assert.deepEqual(await tasks.unfinished(), []);
    assert.equal((await tasks.list(PAGE))[0]!.current, 4 * HOUR);
    await tasks.create([order(rows[0]!, 3, 5)]);
    await close();
  });

  it('are paged in both orders and found by scope', async () => {
    const { tasks, rows, close } = await setUp(engine);
    for (let i = 0; i < 3; i++) for (const row of rows) await tasks.create([order(row, 3 * i, 3 * i + 1)]);
    const page = await tasks.list({ scopeIds: ['a', 'c'], order: 'desc', offset: 1, limit: 3 });
    assert.deepEqual(
      page.map((task) => [task.scope.id, task.begin / HOUR]),
      [
        ['a', 6],
        ['c', 3],
        ['a', 3],
      ],
    );
    const ids = (await tasks.list(PAGE)).map((task) => task.id);
    assert.deepEqual(
      ids,
      ids.toSorted((left, right) => left - right),
    );
    assert.deepEqual(await tasks.list({ ...PAGE, scopeIds: ['nobody'] }), []);
    assert.deepEqual(await tasks.list({ ...PAGE, scopeIds: [] }), []);
    await close();
  });

  it('move on only from where they were read, and are free for another order when they are done', async () => {
    const { tasks, rows, databases, close } = await setUp(engine);
    await tasks.create([order(rows[0]!, 1, 3)]);
    const step = async (to: number, task = open) =>
      databases[0]!.transaction((tx) => advanceTask(tx, { task, to: to * HOUR }));
    const open = (await tasks.unfinished())[0]!;
    assert.equal(await step(2), true);
    assert.equal(await step(2), false, 'somebody else was there');
    const half = (await tasks.unfinished())[0]!;
    assert.equal(half.current, 2 * HOUR);
    assert.equal(await step(3, half), true);
    assert.deepEqual(await tasks.unfinished(), []);
    assert.equal(await step(3, half), false);
    await tasks.create([order(rows[0]!, 1, 3)]);
    await close();
  });

  it('keep their last failure, unless the lease was lost', async () => {
    const { tasks, rows, states, databases, close } = await setUp(engine);
    await tasks.create([order(rows[0]!, 1, 3)]);
    const lease = (await new Leases(databases[0]!, new VirtualClock(), 'p', 60).take(
      (await states.get(rows[0]!))!,
    ))!;
    const task = (await tasks.unfinished())[0]!;
    const failure = { failures: 2, failure: 'the source is down', retryAt: 9000 };
    await tasks.recordFailure(task, { ...lease, fence: lease.fence - 1 }, failure);
    assert.equal((await tasks.unfinished())[0]!.failure, undefined);
    await tasks.recordFailure(task, lease, failure);
    const failed = (await tasks.unfinished())[0]!;
    assert.deepEqual({ ...failed, ...failure }, failed);
    await databases[0]!.transaction((tx) => advanceTask(tx, { task, to: 2 * HOUR, kept: 'hour 1 was kept' }));
    const kept = (await tasks.unfinished())[0]!;
    assert.deepEqual([kept.failure, kept.failures, kept.retryAt], ['hour 1 was kept', 0, undefined]);
    await databases[0]!.transaction((tx) => advanceTask(tx, { task: kept, to: 3 * HOUR }));
    assert.equal((await tasks.list(PAGE))[0]!.failure, 'hour 1 was kept');
    await close();
  });
});
