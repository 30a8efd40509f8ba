import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { SqlDatabase, Storage } from '../../../core/plugin-api/index.js';
import { ScopeEraser } from '../../../core/retention/scope-eraser.js';
import { ScopeStates } from '../../../core/scopes/scope-states.js';
import {
  clockAt,
  count,
  dyingDatabase,
  EVERYTHING,
  type History,
  hourOf,
  keptSums,
  month,
  never,
  openHistory,
  storageOn,
} from './history.js';

const TABLES = [
  'points',
  'frames',
  'daily',
  'daily_metrics',
  'monthly',
  'descriptors',
  'scopes',
  'kept',
  'dropped',
];

async function using(body: (history: History) => Promise<void>): Promise<void> {
  const history = await openHistory();
  try {
    await body(history);
  } finally {
    await history.close();
  }
}

function eraserOn(database: SqlDatabase, storage: Storage = storageOn(database)): ScopeEraser {
  return new ScopeEraser({ database, storage, states: new ScopeStates(database), clock: clockAt(month(12)) });
}

function order(more: object = {}) {
  return { key: 'project_id', id: 'alpha', source: undefined, author: 'tester', force: false, ...more };
}

/** Two scopes with everything that can be known of one; both inactive. */
async function fill(history: History): Promise<void> {
  const { store, database, states, tasks } = history;
  for (const scope of ['alpha', 'beta']) {
    const row = await history.rated(scope, month(6));
    for (let index = 0; index < 6; index++)
      await store({ scope, hour: hourOf(index, 40), points: [{ groupby: { id: `${scope}-${index}` } }] });
    await store({ scope, source: 'api', hour: hourOf(5), points: [{ metric: 'pushed' }] });
    await tasks.create([
      { row, begin: month(4), end: month(5), reason: `prices of ${scope}`, author: 'boss' },
    ]);
    await database.transaction(async (tx) => {
      await tx.insertRows({
        table: 'ratecat_fingerprints',
        columns: ['scope', 'period_begin', 'content'],
        rows: Array.from({ length: 2500 }, (_, index) => [row, index, scope]),
      });
      await tx.insertRows({
        table: 'ratecat_outbox',
        columns: ['notifier', 'event_id', 'type', 'severity', 'at_ms', 'content'],
        rows: [['hook', scope, 'x', 'info', 0, JSON.stringify({ scope: { id: scope } })]],
      });
    });
    await states.change(row, { active: false, at: month(6), author: 'boss' });
  }
  await history.retention([{ points: 3 }]).apply('tester', never);
}

/** Texts of every row of every table of Ratecat. */
async function everything(database: SqlDatabase): Promise<string> {
  const tables = await database.query("SELECT name FROM sqlite_master WHERE type = 'table'");
  const texts: string[] = [];
  for (const [table] of tables) {
    const rows = await database.query(`SELECT * FROM "${table}"`);
    texts.push(JSON.stringify(rows.map((row) => row.map(String))));
  }
  return texts.join('\n');
}

describe('erasing a scope', () => {
  it('leaves no trace but one line of audit, and of other scopes everything', () =>
    using(async (history) => {
      const { database, storage } = history;
      await fill(history);
      const visible = [{ key: 'project_id', id: 'beta' }];
      const beta = await storage.total({ ...EVERYTHING, visible, groupby: [{ kind: 'type' }] }, never);
      assert.match(await everything(database), /alpha/);
      const told: number[] = [];
      const rows = await eraserOn(database).erase(order(), never, (removed) => told.push(removed));
      assert.equal(told.at(-1), rows);
      const left = await everything(database);
      assert.doesNotMatch(left, /alpha/);
      assert.match(left, /prices of beta/);
      for (const table of TABLES.filter((name) => !['kept', 'dropped'].includes(name))) {
        const column = table === 'scopes' ? 'id' : 'scope';
        if (table === 'points') continue;
        const mine = `${column} NOT IN (SELECT id FROM ratecat_sql_scopes WHERE scope_id = 'beta')`;
        assert.equal(await count(database, `ratecat_sql_${table}`, mine), 0, table);
      }
      assert.equal(
        await count(database, 'ratecat_sql_points', 'frame NOT IN (SELECT id FROM ratecat_sql_frames)'),
        0,
      );
      const audit = await database.query(
        "SELECT at, scope, author, detail FROM ratecat_audit WHERE action = 'scope.erased'",
      );
      assert.deepEqual(
        audit.map((row) => row.slice(0, 3)),
        [[month(12), null, 'tester']],
      );
      assert.deepEqual(
        await storage.total({ ...EVERYTHING, visible, groupby: [{ kind: 'type' }] }, never),
        beta,
      );
      assert.equal(await eraserOn(database).erase(order(), never), 0);
    }));

  it('is refused while the scope is active, unless it is forced; then nobody can write it any more', () =>
    using(async (history) => {
      const { database, states } = history;
      await history.store({ scope: 'alpha' });
      const row = await history.rated('alpha', month(1));
      const before = await everything(database);
      await assert.rejects(eraserOn(database).erase(order(), never), {
        code: 'RATECAT_ERASE_REFUSED',
        kind: 'data',
      });
      assert.equal(await everything(database), before);
      // Everything but the first step fails: the scope stays stopped.
      const storage = { erase: async () => assert.fail('stopped here') } as unknown as Storage;
      await assert.rejects(eraserOn(database, storage).erase(order({ force: true }), never), /stopped here/);
      const state = (await states.get(row))!;
      assert.deepEqual([state.active, state.fence, state.owner], [false, 1, undefined]);
      await eraserOn(database).erase(order(), never);
      assert.equal(await states.get(row), undefined);
    }));

  it('takes a scope that is gone for inactive', () =>
    using(async (history) => {
      const row = await history.rated('alpha', month(1));
      await history.states.markGone(row, 'no longer listed');
      assert.ok((await eraserOn(history.database).erase(order(), never)) > 0);
    }));

  it('is limited to one source on demand', () =>
    using(async (history) => {
      await fill(history);
      await eraserOn(history.database).erase(order({ source: 'api' }), never);
      const visible = [{ key: 'project_id', id: 'alpha' }];
      const { rows } = await history.storage.total(
        { ...EVERYTHING, visible, groupby: [{ kind: 'type' }] },
        never,
      );
      assert.deepEqual(
        rows.map(({ group }) => group),
        [['instance']],
      );
      assert.equal((await history.states.find({ ids: ['alpha'] })).length, 1);
    }));

  it('killed before any of its statements, it is finished by the same order', async () => {
    for (let statement = 0, isFinished = false; !isFinished; statement += 5) {
      await using(async (history) => {
        await fill(history);
        const dying = dyingDatabase(history.database, statement);
        await eraserOn(dying)
          .erase(order(), never)
          .catch(() => undefined);
        isFinished = !dying.isDead;
        await eraserOn(history.database).erase(order(), never);
        assert.doesNotMatch(
          await everything(history.database),
          /alpha/,
          `killed before statement ${statement}`,
        );
        const lines = await count(history.database, 'ratecat_audit', "action = 'scope.erased'");
        assert.ok(lines >= 1);
        assert.ok((await keptSums(history.storage)).includes('beta'));
      });
    }
  });

  it('refuses a storage that cannot erase', () =>
    using(async ({ database }) => {
      await assert.rejects(eraserOn(database, {} as Storage).erase(order(), never), {
        code: 'RATECAT_ERASE_UNSUPPORTED',
      });
    }));
});
