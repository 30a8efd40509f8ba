import assert from 'node:assert/strict';
import { it } from 'node:test';
import { migrate } from '../../core/database/migrate.js';
import { openDatabase } from '../../core/database/open-database.js';
import { isRatecatError, type Storage } from '../../core/plugin-api/index.js';
import { sampleFrame } from '../../core/testkit/samples.js';
import sql from '../../plugins/storage/sql/index.js';
import { describeOnEngines } from '../support/engines.js';
import {
  count,
  EVERYTHING,
  hourOf,
  keptSums,
  month,
  never,
  openHistory,
  storageOn,
  WRITE,
} from '../unit/retention/history.js';

describeOnEngines('retention beside rating', (engine) => {
  it('neither stops nor disturbs writers and readers of other connections', async () => {
    const url = await engine.newDatabase();
    const history = await openHistory(url);
    const others = await Promise.all([1, 2, 3].map(() => openDatabase(url)));
    try {
      const points = ['instance', 'volume'].flatMap((metric) =>
        Array.from({ length: 30 }, (_, id) => ({ metric, groupby: { id: `${id}` }, price: '0.25' })),
      );
      for (let index = 0; index < 4; index++)
        for (let day = 0; day < 6; day++)
          for (const scope of ['alpha', 'beta'])
            await history.store({ scope, hour: hourOf(index, day * 24), points });
      const [writer, reader, second] = others.map(storageOn) as [Storage, Storage, Storage];
      const policies = [{ metrics: ['volume'], points: 1 }, { points: 2 }];
      let isDone = false;
      const thinning = Promise.all([
        history.retention(policies, { now: month(4) }).apply('one', never),
        history.retention(policies, { now: month(4), storage: second }).apply('two', never),
      ]).finally(() => {
        isDone = true;
      });
      let written = 0;
      const writing = (async () => {
        do {
          const frame = sampleFrame({
            scope: written % 2 === 0 ? 'alpha' : 'beta',
            hour: hourOf(3, 240 + Math.floor(written / 2)),
            points: [...points.slice(written % 40), { groupby: { id: `new-${written}` }, price: '0.5' }],
          });
          await writer.replacePeriod(frame, WRITE, never);
          written++;
        } while (!isDone || written < 20);
      })();
      let answers = 0;
      let refusals = 0;
      const old = { begin: 0, end: month(3) };
      const sums = await keptSums(history.storage, old);
      const reading = (async () => {
        do {
          assert.equal(await keptSums(reader, old), sums);
          try {
            const query = { ...EVERYTHING, ...old, groupby: [{ kind: 'attribute', name: 'id' }] } as const;
            const { rows } = await reader.total(query, never);
            assert.deepEqual(new Set(rows.map((row) => row.points)), new Set([3 * 6 * 2 * 2]));
            answers++;
          } catch (error) {
            assert.ok(isRatecatError(error) && error.code === 'RATECAT_POINTS_DROPPED', String(error));
            refusals++;
          }
        } while (!isDone || refusals < 1);
      })();
      await Promise.all([thinning, writing, reading]);
      assert.ok(answers + refusals > 0);
      const { database } = history;
      const early = `period_begin < ${month(2)}`;
      assert.equal(await count(database, 'ratecat_sql_frames', early), 0);
      assert.equal(
        await count(database, 'ratecat_sql_points', 'frame NOT IN (SELECT id FROM ratecat_sql_frames)'),
        0,
      );
      // Day by day, what is left of descriptors is what the points say.
      const sumsOf = async (from: string) => database.query(from);
      const fromPoints = await sumsOf(
        `SELECT d.metric, COUNT(*) FROM ratecat_sql_points p JOIN ratecat_sql_descriptors d ON d.id = p.descriptor
         GROUP BY d.metric ORDER BY d.metric`,
      );
      const fromDays = await sumsOf(
        `SELECT d.metric, SUM(r.points) FROM ratecat_sql_daily r JOIN ratecat_sql_descriptors d ON d.id = r.descriptor
         GROUP BY d.metric ORDER BY d.metric`,
      );
      assert.deepEqual(
        fromPoints.map((row) => row.map(String)),
        fromDays.map((row) => row.map(String)),
      );
      assert.equal(
        await count(
          database,
          'ratecat_sql_points',
          'descriptor NOT IN (SELECT id FROM ratecat_sql_descriptors)',
        ),
        0,
      );
    } finally {
      await Promise.all(others.map((database) => database.close()));
      await history.close();
    }
  });

  it('large scopes are thinned in steps of some thousand rows', async () => {
    const history = await openHistory(await engine.newDatabase());
    try {
      const points = ['instance', 'volume'].flatMap((metric) =>
        Array.from({ length: 6_500 }, (_, id) => ({ metric, groupby: { id: `${id}` } })),
      );
      await history.store(
        { hour: hourOf(0), points },
        { hour: hourOf(0, 1), points },
        { hour: hourOf(1), points },
      );
      const before = await keptSums(history.storage);
      const steps: number[] = [];
      const storage = Object.assign(Object.create(history.storage) as Storage, {
        thin: async (signal: AbortSignal) => {
          const rows = await history.storage.thin!(signal);
          steps.push(rows);
          return rows;
        },
        storedMonths: history.storage.storedMonths!.bind(history.storage),
        keptFrom: history.storage.keptFrom!.bind(history.storage),
        retain: history.storage.retain!.bind(history.storage),
        sweep: history.storage.sweep!.bind(history.storage),
      });
      const policies = [{ metrics: ['volume'], points: 1 }];
      await history.retention(policies, { now: month(2), storage }).apply('tester', never);
      assert.ok(Math.max(...steps) <= 5_001, String(steps));
      assert.ok(steps.length >= 5, String(steps));
      assert.equal(await keptSums(history.storage), before);
      assert.equal(await count(history.database, 'ratecat_sql_points'), 3 * 6_500 + 6_500);
      assert.equal(await count(history.database, 'ratecat_sql_daily'), 2 * 6_500 + 6_500);
      const frames = await history.database.query(
        'SELECT points FROM ratecat_sql_frames ORDER BY period_begin',
      );
      assert.deepEqual(
        frames.map(([number]) => Number(number)),
        [6_500, 6_500, 13_000],
      );
    } finally {
      await history.close();
    }
  });

  it('the upgrade can be interrupted and repeated, and changes no answer', async () => {
    const history = await openHistory(await engine.newDatabase());
    try {
      await history.store({ hour: hourOf(0) }, { hour: hourOf(1), scope: 'beta' });
      const before = await keptSums(history.storage);
      const { statements } = sql.migrations!.find(({ name }) => name === '0003-retention')!;
      for (const table of ['kept', 'dropped'])
        await history.database.transaction((tx) => tx.execute(`DROP TABLE ratecat_sql_${table}`));
      const all = statements(history.database.dialect);
      for (const statement of [...all.slice(0, 2), ...all, ...all])
        await history.database.transaction((tx) => tx.execute(statement));
      assert.equal(await keptSums(history.storage), before);
      await history.store({ hour: hourOf(2) });
      assert.equal(
        (await migrate(history.database, [{ module: 'storage/sql', migrations: sql.migrations! }])).length,
        0,
      );
    } finally {
      await history.close();
    }
  });
});
