import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  type GroupKey,
  isRatecatError,
  type SqlDatabase,
  type SqlTransaction,
  type Storage,
} from '../../../core/plugin-api/index.js';
import { hour, sampleFrame } from '../../../core/testkit/samples.js';
import {
  EVERYTHING,
  type History,
  hourOf,
  month,
  never,
  openHistory,
  storageOn,
  WRITE,
} from '../retention/history.js';

const ATTRIBUTE: GroupKey = { kind: 'attribute', name: 'id' };

async function using(body: (history: History) => Promise<void>): Promise<void> {
  const history = await openHistory();
  try {
    await body(history);
  } finally {
    await history.close();
  }
}

async function fill({ store }: History): Promise<void> {
  for (let index = 0; index < 3; index++)
    for (const at of [5, 30, 31])
      await store({
        hour: hourOf(index, at),
        points: ['a', 'b'].map((id) => ({ groupby: { id, project_id: 'alpha' }, price: '0.5' })),
      });
}

async function thinAll(storage: Storage, points: number): Promise<void> {
  const scope = { key: 'project_id', id: 'alpha' };
  const limits = [{ metric: undefined, points, dailySums: 0, monthlySums: 0, since: month(0) }];
  await storage.retain!({ source: 'openstack', scope, limits }, never);
  while ((await storage.thin!(never)) > 0);
  while ((await storage.sweep!(never)) > 0);
}

/** Does something once, before the statement with this number. */
function interrupted(database: SqlDatabase, at: number, act: () => Promise<void>) {
  let statements = 0;
  const count = async () => {
    if (statements++ === at) await act();
  };
  const reader: SqlDatabase = {
    dialect: database.dialect,
    transaction: (work, signal) => database.transaction(work, signal),
    query: async (text, parameters) => {
      await count();
      return database.query(text, parameters);
    },
    async *iterate(text, parameters, signal) {
      await count();
      yield* database.iterate(text, parameters, signal);
    },
  };
  return { reader, statements: () => statements };
}

const QUESTIONS: Readonly<Record<string, (storage: Storage) => Promise<unknown>>> = {
  'sums of resources': (storage) => totals(storage, { groupby: [ATTRIBUTE] }),
  'sums of what matches a filter': (storage) =>
    totals(storage, { filters: [{ name: 'id', values: ['a'], in: 'any' }] }),
  'sums by period': (storage) => totals(storage, { groupby: [{ kind: 'time', unit: 'period' }] }),
  'sums of a part of a day': (storage) => totals(storage, { begin: hour(7) }),
  'kept: sums of an attribute that never varied': (storage) =>
    totals(storage, { groupby: [{ kind: 'attribute', name: 'project_id' }, { kind: 'type' }] }),
  'kept: sums of whole days': (storage) =>
    totals(storage, { begin: hour(24), groupby: [{ kind: 'time', unit: 'day' }] }),
  'a list of points': async (storage) => {
    const found: unknown[] = [];
    for await (const frame of storage.readPeriods(EVERYTHING, never))
      found.push([frame.period.begin, frame.points.map(({ price }) => price.toString())]);
    return found;
  },
  'the number of matching points': (storage) =>
    storage.countPoints({ ...EVERYTHING, filters: [{ name: 'id', values: ['a'], in: 'any' }] }, never),
};

async function totals(storage: Storage, query: object): Promise<unknown> {
  const { rows } = await storage.total({ ...EVERYTHING, groupby: [], ...query }, never);
  return rows.map(({ group, price, points }) => [group, price.toString(), points]);
}

describe('a question while points are dropped', () => {
  for (const [name, question] of Object.entries(QUESTIONS)) {
    it(`${name}: right or refused, whichever statement it is dropped before`, async () => {
      const statements = await statementsOf(question);
      assert.ok(statements >= 3, String(statements));
      for (let at = 0; at < statements; at++) {
        await using(async (history) => {
          await fill(history);
          const expected = await question(history.storage);
          const drop = () => thinAll(history.storage, month(2));
          const { reader } = interrupted(history.database, at, drop);
          try {
            assert.deepEqual(await question(storageOn(reader)), expected, `before statement ${at}`);
          } catch (error) {
            if (!isRatecatError(error) || name.startsWith('kept:')) throw error;
            assert.equal(error.code, 'RATECAT_POINTS_DROPPED');
            assert.equal(error.details.keptFrom, month(2));
          }
        });
      }
    });
  }
});

/** Of a question that nobody interrupts. */
async function statementsOf(question: (storage: Storage) => Promise<unknown>): Promise<number> {
  let counted = 0;
  await using(async (history) => {
    await fill(history);
    const { reader, statements } = interrupted(history.database, -1, async () => undefined);
    await question(storageOn(reader));
    counted = statements();
  });
  return counted;
}

describe('writing beside retention', () => {
  it('takes no statement more than without', () =>
    using(async (history) => {
      await fill(history);
      const statements = async (at: number) => {
        let count = 0;
        await history.database.transaction(async (tx) => {
          const counted = <T>(result: T): T => {
            count++;
            return result;
          };
          const watched: SqlTransaction = {
            dialect: tx.dialect,
            query: (text, parameters) => counted(tx.query(text, parameters)),
            execute: (text, parameters) => counted(tx.execute(text, parameters)),
            insertRows: (insert) => counted(tx.insertRows(insert)),
          };
          const frame = sampleFrame({ hour: at, points: [{ groupby: { id: 'a', project_id: 'alpha' } }] });
          await history.storage.replacePeriod(frame, { ...WRITE, tx: watched }, never);
        });
        return count;
      };
      const before = await statements(hourOf(2, 40));
      await thinAll(history.storage, month(2));
      // The first write finds a new revision and looks its descriptors up again.
      await statements(hourOf(2, 41));
      assert.equal(await statements(hourOf(2, 42)), before);
    }));

  it('a writer that remembers descriptors looks those up again that retention removed', () =>
    using(async (history) => {
      const point = { groupby: { id: 'seldom' }, price: '3' };
      const first = sampleFrame({ hour: hourOf(0), points: [point] });
      const again = { ...sampleFrame({ hour: hourOf(2) }), points: first.points };
      await history.storage.replacePeriod(first, WRITE, never);
      await history.store({ hour: hourOf(1) });
      await thinAll(history.storage, month(1));
      await history.storage.replacePeriod(again, WRITE, never);
      const found = await totals(storageOn(history.database), { begin: month(1), groupby: [ATTRIBUTE] });
      assert.deepEqual(found, [
        [['seldom'], '3', 1],
        [['server-1'], '0.25', 1],
      ]);
    }));
});
