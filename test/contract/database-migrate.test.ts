import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { migrate, pendingMigrations } from '../../core/database/migrate.js';
import { type ClosableDatabase, openDatabase } from '../../core/database/open-database.js';
import type { Migration } from '../../core/plugin-api/index.js';
import { type Mariadb, startMariadb } from '../support/services/mariadb.js';
import { createServiceFolder, removeServiceFolder } from '../support/services/service-folder.js';
import { sampleMigrations } from './database-samples.js';

interface Engine {
  readonly name: string;
  start(): Promise<void>;
  /** URL of an empty database. */
  createDatabase(name: string): Promise<string>;
  stop(): Promise<void>;
}

const PROGRAM = fileURLToPath(new URL('./database-process.ts', import.meta.url));
const ALL = ['core/0001-create', 'core/0002-column', 'core/0003-row', 'rating-flat/0001-create'];

describeMigrations(sqlite());
describeMigrations(mariadb());

function sqlite(): Engine {
  const folder = createServiceFolder('migrate');
  return {
    name: 'SQLite',
    start: async () => undefined,
    createDatabase: async (name) => `sqlite:${join(folder, `${name}.db`)}`,
    stop: () => removeServiceFolder(folder),
  };
}

function mariadb(): Engine {
  let server: Mariadb;
  return {
    name: 'MariaDB',
    start: async () => {
      server = await startMariadb();
    },
    createDatabase: (name) => server.createDatabase(name),
    stop: () => server.stop(),
  };
}

function names(migrations: readonly { readonly module: string; readonly name: string }[]): readonly string[] {
  return migrations.map(({ module, name }) => `${module}/${name}`);
}

function describeMigrations(engine: Engine): void {
  describe(`migrations on ${engine.name}`, () => {
    let url: string;
    let database: ClosableDatabase;
    let count = 0;

    before(() => engine.start());
    after(() => engine.stop());

    beforeEach(async () => {
      await database?.close();
      url = await engine.createDatabase(`migrate_${++count}`);
      database = await openDatabase(url);
    });
    after(() => database.close());

    async function steps(): Promise<readonly unknown[]> {
      return (await database.query('SELECT name FROM steps ORDER BY id')).flat();
    }

    test('run in order, once, module by module', async () => {
      assert.deepEqual(names(await pendingMigrations(database, sampleMigrations(3))), ALL);
      const seen: string[] = [];
      const onApplied = ({ module, name }: { module: string; name: string }) =>
        seen.push(`${module}/${name}`);
      assert.deepEqual(
        names(await migrate(database, sampleMigrations(3), { onApplied, now: () => 1_234 })),
        ALL,
      );
      assert.deepEqual(seen, ALL);
      assert.deepEqual(await migrate(database, sampleMigrations(3)), []);
      assert.deepEqual(await pendingMigrations(database, sampleMigrations(3)), []);
      assert.deepEqual(await steps(), ['create', 'column', 'row']);
      assert.deepEqual(await database.query('SELECT DISTINCT applied_at FROM ratecat_migrations'), [[1_234]]);
    });

    test('asking what is pending changes nothing', async () => {
      await pendingMigrations(database, sampleMigrations(3));
      await assert.rejects(database.query('SELECT * FROM ratecat_migrations'));
    });

    test('an upgrade runs only what is new', async () => {
      await migrate(database, sampleMigrations(1));
      assert.deepEqual(names(await migrate(database, sampleMigrations(3))), ALL.slice(1, 3));
      assert.deepEqual(await steps(), ['create', 'column', 'row']);
    });

    test('one that fails is not recorded, and the next call repeats it from its first statement', async () => {
      let isBroken = true;
      const broken: Migration = {
        name: '0001-create',
        statements: (dialect) => [
          `CREATE TABLE IF NOT EXISTS t (a ${dialect.integer} NOT NULL PRIMARY KEY)${dialect.tableOptions()}`,
          `ALTER TABLE t ADD COLUMN b ${dialect.integer}`,
          dialect.createIndex('t_b', 't', 'b', true),
          ...(isBroken ? ['INSERT INTO missing (a) VALUES (1)'] : []),
          'ALTER TABLE t DROP COLUMN dropped_before',
        ],
      };
      const plan = [{ module: 'core', migrations: [broken] }];
      await assert.rejects(migrate(database, plan), /INSERT INTO missing/);
      assert.deepEqual(names(await pendingMigrations(database, plan)), ['core/0001-create']);
      isBroken = false;
      assert.deepEqual(names(await migrate(database, plan)), ['core/0001-create']);
      await database.transaction((tx) => tx.execute('INSERT INTO t (a, b) VALUES (1, 2)'));
    });

    test('a statement that is simply wrong is not taken for done', async () => {
      const wrong: Migration = {
        name: '0001-wrong',
        statements: () => ['ALTER TABLE nowhere ADD COLUMN a INTEGER'],
      };
      await assert.rejects(
        migrate(database, [{ module: 'core', migrations: [wrong] }]),
        /ALTER TABLE nowhere/,
      );
    });

    test('a database of a newer program is refused by name, and left alone', async () => {
      await migrate(database, sampleMigrations(3));
      const refusal = {
        code: 'RATECAT_DATABASE_NEWER',
        kind: 'config',
        message: /core\/0002-column, core\/0003-row/,
      };
      await assert.rejects(migrate(database, sampleMigrations(1)), refusal);
      await assert.rejects(pendingMigrations(database, sampleMigrations(1)), refusal);
      assert.deepEqual(await steps(), ['create', 'column', 'row']);
    });

    test('migrations of a module that is not configured any more do no harm', async () => {
      await migrate(database, sampleMigrations(3));
      assert.deepEqual(await migrate(database, sampleMigrations(3).slice(0, 1)), []);
    });

    test('four processes at once run each migration exactly once', async () => {
      const run = promisify(execFile);
      const processes = await Promise.all(
        [1, 2, 3, 4].map(() => run(process.execPath, ['--import', 'tsx', PROGRAM, 'migrate', url])),
      );
      const done = processes.flatMap(({ stdout }) => names(JSON.parse(stdout)));
      assert.deepEqual(done.toSorted(), ALL);
      assert.deepEqual(await steps(), ['create', 'column', 'row']);
    });

    test('many calls at once in one process run each migration exactly once', async () => {
      const others = await Promise.all([1, 2, 3].map(() => openDatabase(url)));
      const done = await Promise.all(
        [database, ...others].map((each) => migrate(each, sampleMigrations(3), { leaseMs: 2_000 })),
      );
      await Promise.all(others.map((each) => each.close()));
      assert.deepEqual(names(done.flat()).toSorted(), ALL);
      assert.deepEqual(await steps(), ['create', 'column', 'row']);
    });

    if (engine.name === 'MariaDB') {
      const takeLease = async (owner: string) => {
        await migrate(database, sampleMigrations(1), { leaseMs: 2_000 });
        await database.transaction((tx) =>
          tx.execute('UPDATE ratecat_migration_lock SET owner = ?', [owner]),
        );
      };

      test('a lease whose holder has died is taken over when its heartbeat stands still', async () => {
        await takeLease('a process that was killed');
        assert.deepEqual(
          names(await migrate(database, sampleMigrations(3), { leaseMs: 300 })),
          ALL.slice(1, 3),
        );
        assert.deepEqual(await database.query('SELECT owner FROM ratecat_migration_lock'), [['']]);
      });

      test('a lease whose heartbeat goes on is respected, however long its holder takes', async () => {
        await takeLease('a busy process');
        const beat = () =>
          database.transaction((tx) => tx.execute('UPDATE ratecat_migration_lock SET beat = beat + 1'));
        let isDone = false;
        const waiting = migrate(database, sampleMigrations(3), { leaseMs: 400 }).finally(() => {
          isDone = true;
        });
        // Beats for several lease times, as fast as they come, without a pause to be late for.
        for (const end = performance.now() + 1_500; performance.now() < end; ) await beat();
        assert.equal(isDone, false);
        await database.transaction((tx) => tx.execute("UPDATE ratecat_migration_lock SET owner = ''"));
        assert.deepEqual(names(await waiting), ALL.slice(1, 3));
      });

      test('a holder that lost its lease stops before the next statement', async () => {
        const thief: Migration = {
          name: '0004-slow',
          statements: () => [
            "UPDATE ratecat_migration_lock SET owner = 'a thief'",
            'SELECT SLEEP(1)',
            'DELETE FROM steps',
          ],
        };
        const [core, plugin] = sampleMigrations(3);
        const plan = [{ module: 'core', migrations: [...core!.migrations, thief] }, plugin!];
        await assert.rejects(migrate(database, plan, { leaseMs: 400 }), {
          code: 'RATECAT_MIGRATION_LEASE_LOST',
          retryable: true,
        });
        assert.deepEqual(await steps(), ['create', 'column', 'row']);
      });
    }
  });
}
