import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import fc from 'fast-check';
import { type ClosableDatabase, openDatabase } from '../../core/database/open-database.js';
import { Decimal, type SqlRow, type SqlValue } from '../../core/plugin-api/index.js';
import { type Mariadb, startMariadb } from '../support/services/mariadb.js';
import { createServiceFolder } from '../support/services/service-folder.js';

/** What one engine needs to run the suite. */
interface Engine {
  readonly name: string;
  start(): Promise<ClosableDatabase>;
  stop(): Promise<void>;
}

describeDatabase(sqliteFile());
describeDatabase({
  name: 'SQLite in memory',
  start: () => openDatabase('sqlite::memory:'),
  stop: async () => undefined,
});
describeDatabase(mariadb());

function sqliteFile(): Engine {
  const folder = createServiceFolder('sqlite');
  return {
    name: 'SQLite in a file',
    start: () => openDatabase(`sqlite:${join(folder, 'ratecat.db')}`),
    stop: () => rm(folder, { recursive: true }),
  };
}

function mariadb(): Engine {
  let server: Mariadb;
  return {
    name: 'MariaDB',
    // Small packets: the bulk insert must keep within what the server takes.
    start: async () => {
      server = await startMariadb({ arguments: ['--max-allowed-packet=1M'] });
      return openDatabase(await server.createDatabase('rating'));
    },
    stop: () => server.stop(),
  };
}

function describeDatabase(engine: Engine): void {
  describe(engine.name, () => {
    let database: ClosableDatabase;

    before(async () => {
      database = await engine.start();
    });

    after(async () => {
      await database.close();
      await engine.stop();
    });

    beforeEach(async () => {
      const { integer, decimal, longText, text, binary, autoId, tableOptions } = database.dialect;
      const tables = [
        ['pairs', `k ${integer} NOT NULL PRIMARY KEY, v ${integer}`],
        [
          'amounts',
          `k ${integer} NOT NULL PRIMARY KEY, d ${decimal}, e ${decimal}, n ${integer}, r ${text(40)}`,
        ],
        ['words', `w ${text(100)} NOT NULL PRIMARY KEY`],
        ['blobs', `k ${integer} NOT NULL PRIMARY KEY, b ${binary(16)}, t ${longText}`],
        ['numbered', `id ${autoId}, w ${text(20)}`],
      ] as const;
      for (const [name, columns] of tables) {
        await execute(`DROP TABLE IF EXISTS ${name}`);
        await execute(`CREATE TABLE ${name} (${columns})${tableOptions({ compact: name === 'amounts' })}`);
      }
    });

    function execute(sql: string, parameters: readonly SqlValue[] = []) {
      return database.transaction((tx) => tx.execute(sql, parameters));
    }

    function insert(table: string, columns: readonly string[], rows: readonly SqlRow[]) {
      return database.transaction((tx) => tx.insertRows({ table, columns, rows }));
    }

    async function canonical(sql: string): Promise<readonly SqlRow[]> {
      const rows = await database.query(sql);
      return rows.map((row) =>
        row.map((value) => (typeof value === 'string' ? Decimal.parse(value).toString() : value)),
      );
    }

    test('values come back as they were written', async () => {
      const bytes = Uint8Array.from({ length: 16 }, (_, index) => index * 17);
      const text = `Ünï😀\u0000 'quoted' \\ "double" ${'x'.repeat(70_000)}`;
      await insert(
        'blobs',
        ['k', 'b', 't'],
        [
          [1, bytes, text],
          [2, null, null],
          [3, bytes, ''],
        ],
      );
      const rows = await database.query('SELECT k, b, t FROM blobs ORDER BY k');
      assert.deepEqual([...(rows[0]![1] as Uint8Array)], [...bytes]);
      assert.equal(rows[0]![2], text);
      assert.deepEqual(rows[1], [2, null, null]);
      assert.equal(rows[2]![2], '');
      assert.deepEqual(await database.query('SELECT k FROM blobs WHERE t = ? AND b = ?', [text, bytes]), [
        [1],
      ]);
    });

    test('integers are numbers, and bigint beyond 2^53, without losing a digit', async () => {
      const values = [
        0,
        -1,
        1,
        2 ** 53 - 1,
        1 - 2 ** 53,
        2n ** 53n,
        2n ** 53n + 1n,
        -(2n ** 63n),
        2n ** 63n - 1n,
      ];
      await insert(
        'pairs',
        ['k', 'v'],
        values.map((value, index) => [index, value]),
      );
      const rows = await database.query('SELECT v FROM pairs ORDER BY k');
      assert.deepEqual(rows.flat(), values);
      for (const [index, value] of values.entries()) {
        assert.deepEqual(await database.query('SELECT k FROM pairs WHERE v = ?', [value]), [[index]]);
      }
      const streamed: SqlValue[] = [];
      for await (const [value] of database.iterate('SELECT v FROM pairs ORDER BY k')) streamed.push(value!);
      assert.deepEqual(streamed, values);
    });

    test('arithmetic with parameters, sums and counts of integers stay integers', async () => {
      await insert(
        'pairs',
        ['k', 'v'],
        [
          [1, 2n ** 53n],
          [2, 5],
        ],
      );
      await execute('UPDATE pairs SET v = v + ? WHERE k = ?', [1, 1]);
      assert.deepEqual(await database.query('SELECT SUM(v), COUNT(*), MAX(v) FROM pairs'), [
        [2n ** 53n + 6n, 2, 2n ** 53n + 1n],
      ]);
      assert.deepEqual(await database.query('SELECT k FROM pairs ORDER BY k LIMIT ? OFFSET ?', [1, 1]), [
        [2],
      ]);
    });

    test('a number that is no exact integer is refused, wherever it is given', async () => {
      for (const value of [0.5, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY]) {
        const refusal = { code: 'RATECAT_NUMBER_MALFORMED', kind: 'data' };
        await assert.rejects(insert('pairs', ['k', 'v'], [[1, value]]), refusal);
        await assert.rejects(execute('UPDATE pairs SET v = ?', [value]), refusal);
        await assert.rejects(database.query('SELECT k FROM pairs WHERE v = ?', [value]), refusal);
      }
    });

    test('decimals keep 28 places and 30 digits before the point', async () => {
      const values = [
        '0',
        '0.0000000000000000000000000001',
        '-0.0000000000000000000000000001',
        '123456789012345678901234567890.1234567890123456789012345678',
        '-999999999999999999999999999999.9999999999999999999999999999',
        '0.1',
      ];
      await insert(
        'amounts',
        ['k', 'd'],
        values.map((value, index) => [index, value]),
      );
      assert.deepEqual((await canonical('SELECT d FROM amounts ORDER BY k')).flat(), values);
    });

    test('the sum of decimals is exact in any order, and null over no rows', async () => {
      const sum = database.dialect.sum('d');
      assert.deepEqual(await database.query(`SELECT ${sum} FROM amounts`), [[null]]);
      const decimal = fc
        .tuple(fc.bigInt({ min: -(10n ** 29n), max: 10n ** 29n }), fc.nat(28), fc.nat(25))
        .map(([digits, places, cut]) => Decimal.of(digits / 10n ** BigInt(cut), -places).toStored());
      await fc.assert(
        fc.asyncProperty(fc.array(fc.option(decimal), { minLength: 1, maxLength: 200 }), async (values) => {
          await execute('DELETE FROM amounts');
          await insert(
            'amounts',
            ['k', 'd', 'n'],
            values.map((value, index) => [index, value === null ? null : value.toString(), index % 3]),
          );
          const expected = (group: number) => {
            const present = values.filter((value, index) => value !== null && index % 3 === group);
            const total = present.reduce((sofar, value) => sofar!.plus(value!), Decimal.ZERO);
            return present.length === 0 ? null : total!.toString();
          };
          const groups = await canonical(`SELECT n, ${sum} FROM amounts GROUP BY n ORDER BY n`);
          assert.equal(groups.length, Math.min(3, values.length));
          assert.deepEqual(
            groups,
            groups.map(([group]) => [group, expected(group as number)]),
          );
        }),
        { numRuns: 25 },
      );
    });

    test('the sum of integers by the dialect is text as well', async () => {
      await insert(
        'pairs',
        ['k', 'v'],
        [
          [1, 20],
          [2, 30],
        ],
      );
      assert.deepEqual(await database.query(`SELECT ${database.dialect.sum('v')} FROM pairs`), [['50']]);
    });

    test('upserts add decimals and integers exactly and replace the rest, also twice in one call', async () => {
      const onConflict = { key: ['k'], addDecimal: ['d', 'e'], addInteger: ['n'], replace: ['r'] };
      const upsert = (rows: readonly SqlRow[]) =>
        database.transaction((tx) =>
          tx.insertRows({ table: 'amounts', columns: ['k', 'd', 'e', 'n', 'r'], rows, onConflict }),
        );
      await upsert([[1, '0.1', '1', 5, 'first']]);
      await upsert([
        [1, '0.2', '0.0000000000000000000000000001', -7, 'second'],
        [2, '3', '-1.5', 2n ** 53n, 'new'],
        [2, '-3', '1.5', 1, 'newer'],
      ]);
      assert.deepEqual(await canonical('SELECT k, d, e, n FROM amounts ORDER BY k'), [
        [1, '0.3', '1.0000000000000000000000000001', -2],
        [2, '0', '0', 2n ** 53n + 1n],
      ]);
      assert.deepEqual(await database.query('SELECT r FROM amounts ORDER BY k'), [['second'], ['newer']]);
    });

    test('an upsert that has nothing to change keeps the row that exists', async () => {
      await insert('pairs', ['k', 'v'], [[1, 10]]);
      await database.transaction((tx) =>
        tx.insertRows({
          table: 'pairs',
          columns: ['k', 'v'],
          rows: [
            [1, 99],
            [2, 20],
          ],
          onConflict: { key: ['k'] },
        }),
      );
      assert.deepEqual(await database.query('SELECT k, v FROM pairs ORDER BY k'), [
        [1, 10],
        [2, 20],
      ]);
    });

    test('adding to null gives null', async () => {
      const rule = { key: ['k'], addDecimal: ['d'] };
      const add = (value: string | null) =>
        database.transaction((tx) =>
          tx.insertRows({ table: 'amounts', columns: ['k', 'd'], rows: [[1, value]], onConflict: rule }),
        );
      await add('1');
      await add(null);
      await add('1');
      assert.deepEqual(await database.query('SELECT d FROM amounts'), [[null]]);
    });

    test('a decimal that grows beyond its column is refused', async () => {
      const add = (value: string) =>
        database.transaction((tx) =>
          tx.insertRows({
            table: 'amounts',
            columns: ['k', 'd'],
            rows: [[1, value]],
            onConflict: { key: ['k'], addDecimal: ['d'] },
          }),
        );
      await add('9'.repeat(30));
      await assert.rejects(add('1'), { code: 'RATECAT_NUMBER_OVERFLOW', kind: 'data' });
      assert.deepEqual((await canonical('SELECT d FROM amounts')).flat(), ['9'.repeat(30)]);
    });

    test('a bulk insert of any size writes each row once', async () => {
      for (const size of [0, 1, 2, 63, 64, 65, 999, 1_000, 1_001, 4_321]) {
        await execute('DELETE FROM pairs');
        await insert(
          'pairs',
          ['k', 'v'],
          Array.from({ length: size }, (_, index) => [index, index * 2]),
        );
        assert.deepEqual(
          await database.query('SELECT COUNT(*), COUNT(DISTINCT k), COALESCE(SUM(v - 2 * k), 0) FROM pairs'),
          [[size, size, 0]],
        );
      }
    });

    test('a bulk insert of long texts is cut to what the server takes at once', async () => {
      const rows = Array.from({ length: 300 }, (_, index) => [index, null, `${index}${'ß'.repeat(20_000)}`]);
      await insert('blobs', ['k', 'b', 't'], rows);
      assert.deepEqual(
        await database.query('SELECT k, t FROM blobs ORDER BY k'),
        rows.map(([k, , t]) => [k, t]),
      );
    });

    test('a duplicate without a rule fails and says which kind of constraint', async () => {
      await insert('pairs', ['k', 'v'], [[1, 1]]);
      await assert.rejects(
        insert(
          'pairs',
          ['k', 'v'],
          [
            [2, 2],
            [1, 1],
          ],
        ),
        {
          code: 'RATECAT_DATABASE_CONSTRAINT',
          kind: 'data',
          details: { constraint: 'unique' },
        },
      );
      await assert.rejects(insert('words', ['w'], [[null]]), { details: { constraint: 'not-null' } });
      await assert.rejects(insert('pairs', ['k', 'v'], [[3, 'many']]), { details: { constraint: 'value' } });
      assert.deepEqual(await database.query('SELECT k FROM pairs'), [[1]]);
    });

    test('a statement that is wrong names itself', async () => {
      await assert.rejects(database.query('SELECT nothing FROM nowhere'), /SELECT nothing FROM nowhere/);
      await assert.rejects(execute('DELETE FROM nowhere'), /DELETE FROM nowhere/);
      await assert.rejects(async () => {
        for await (const row of database.iterate('SELECT nothing FROM nowhere')) assert.fail(String(row));
      }, /SELECT nothing FROM nowhere/);
    });

    test('a transaction whose work fails leaves nothing and passes the error on', async () => {
      const failure = new Error('changed my mind');
      await assert.rejects(
        database.transaction(async (tx) => {
          await tx.execute('INSERT INTO pairs (k, v) VALUES (?, ?)', [1, 1]);
          await tx.insertRows({ table: 'pairs', columns: ['k', 'v'], rows: [[2, 2]] });
          assert.deepEqual(await tx.query('SELECT COUNT(*) FROM pairs'), [[2]]);
          throw failure;
        }),
        (error) => error === failure,
      );
      assert.deepEqual(await database.query('SELECT COUNT(*) FROM pairs'), [[0]]);
    });

    test('a transaction may go on after a statement that was refused', async () => {
      await database.transaction(async (tx) => {
        await tx.execute('INSERT INTO pairs (k, v) VALUES (1, 1)');
        await assert.rejects(tx.execute('INSERT INTO pairs (k, v) VALUES (1, 2)'));
        await tx.execute('INSERT INTO pairs (k, v) VALUES (2, 2)');
      });
      assert.deepEqual(await database.query('SELECT k, v FROM pairs ORDER BY k'), [
        [1, 1],
        [2, 2],
      ]);
    });

    test('statements of a transaction that are not awaited still belong to it', async () => {
      await database.transaction(async (tx) => {
        const rows = Array.from({ length: 3_000 }, (_, index) => [index, index]);
        void tx.insertRows({ table: 'pairs', columns: ['k', 'v'], rows });
        void tx.query('SELECT COUNT(*) FROM pairs');
        void tx.execute('UPDATE pairs SET v = v + 1');
      });
      assert.deepEqual(await database.query('SELECT COUNT(*), SUM(v - k) FROM pairs'), [[3_000, 3_000]]);
    });

    test('a statement after the end of its transaction is refused', async () => {
      const tx = await database.transaction(async (transaction) => transaction);
      await assert.rejects(tx.execute('INSERT INTO pairs (k, v) VALUES (1, 1)'), /transaction is over/);
      assert.deepEqual(await database.query('SELECT COUNT(*) FROM pairs'), [[0]]);
    });

    test('the value of the work is the value of the transaction', async () => {
      assert.deepEqual(await database.transaction(async (tx) => tx.query('SELECT 1 + 1')), [[2]]);
    });

    test('affected counts the rows that matched, also when nothing changes', async () => {
      await insert(
        'pairs',
        ['k', 'v'],
        [
          [1, 7],
          [2, 7],
          [3, 8],
        ],
      );
      assert.equal((await execute('UPDATE pairs SET v = ? WHERE v = ?', [7, 7])).affected, 2);
      assert.equal((await execute('UPDATE pairs SET v = v + 1 WHERE k = ?', [3])).affected, 1);
      assert.equal((await execute('UPDATE pairs SET v = 1 WHERE k = ?', [9])).affected, 0);
      assert.equal((await execute('DELETE FROM pairs WHERE v = ?', [7])).affected, 2);
      assert.equal(
        (await execute('INSERT INTO pairs (k, v) VALUES (?, ?), (?, ?)', [5, 5, 6, 6])).affected,
        2,
      );
    });

    test('an auto-incremented id comes back', async () => {
      const first = await execute('INSERT INTO numbered (w) VALUES (?)', ['a']);
      const second = await execute('INSERT INTO numbered (w) VALUES (?)', ['b']);
      assert.ok(second.insertId > first.insertId);
      assert.deepEqual(await database.query('SELECT w FROM numbered WHERE id = ?', [second.insertId]), [
        ['b'],
      ]);
    });

    test('a hundred transactions at once lose no update', async () => {
      await insert('pairs', ['k', 'v'], [[1, 0]]);
      const increment = () =>
        database.transaction(async (tx) => {
          await tx.execute('UPDATE pairs SET v = v + 1 WHERE k = 1');
          await tx.query('SELECT v FROM pairs WHERE k = 1');
        });
      await Promise.all(Array.from({ length: 100 }, increment));
      assert.deepEqual(await database.query('SELECT v FROM pairs'), [[100]]);
    });

    test('what was committed is visible to every read that begins later', async () => {
      await insert('pairs', ['k', 'v'], [[1, 0]]);
      for (let round = 1; round <= 50; round++) {
        await execute('UPDATE pairs SET v = ? WHERE k = 1', [round]);
        const reads = await Promise.all([1, 2, 3].map(() => database.query('SELECT v FROM pairs')));
        assert.deepEqual(reads.flat(2), [round, round, round]);
      }
    });

    test('iterate gives every row in order and leaves the database usable when it ends early', async () => {
      await insert(
        'pairs',
        ['k', 'v'],
        Array.from({ length: 5_000 }, (_, index) => [index, -index]),
      );
      let expected = 0;
      for await (const row of database.iterate('SELECT k, v FROM pairs WHERE k >= ? ORDER BY k', [0])) {
        assert.deepEqual(row, [expected, expected === 0 ? 0 : -expected]);
        expected++;
      }
      assert.equal(expected, 5_000);
      for (let round = 0; round < 15; round++) {
        for await (const row of database.iterate('SELECT k FROM pairs ORDER BY k')) if (row[0] === 10) break;
      }
      assert.deepEqual(await database.query('SELECT COUNT(*) FROM pairs'), [[5_000]]);
    });

    test('an aborted iteration ends with the reason', async () => {
      await insert(
        'pairs',
        ['k', 'v'],
        Array.from({ length: 3_000 }, (_, index) => [index, index]),
      );
      const controller = new AbortController();
      let seen = 0;
      await assert.rejects(async () => {
        for await (const _ of database.iterate('SELECT k FROM pairs', [], controller.signal)) {
          seen++;
          if (seen === 20) controller.abort(new Error('client went away'));
        }
      }, /client went away/);
      assert.ok(seen < 3_000);
    });

    test('a transaction that is aborted leaves nothing', async () => {
      const controller = new AbortController();
      await assert.rejects(
        database.transaction(async (tx) => {
          await tx.execute('INSERT INTO pairs (k, v) VALUES (1, 1)');
          controller.abort(new Error('shutting down'));
          await tx.execute('INSERT INTO pairs (k, v) VALUES (2, 2)');
        }, controller.signal),
        /shutting down/,
      );
      await assert.rejects(
        database.transaction(async () => assert.fail('must not run'), controller.signal),
        /shutting down/,
      );
      assert.deepEqual(await database.query('SELECT COUNT(*) FROM pairs'), [[0]]);
    });

    test('texts are compared byte by byte', async () => {
      const words = ['a', 'A', 'a ', ' a', 'ä', 'Ä', 'ss', 'ß', '', ' ', 'é', 'e\u0301'];
      await insert(
        'words',
        ['w'],
        words.map((word) => [word]),
      );
      for (const word of words) {
        assert.deepEqual(await database.query('SELECT w FROM words WHERE w = ?', [word]), [[word]]);
      }
      const bytes = (text: string) => Buffer.from(text, 'utf8');
      const sorted = words.toSorted((left, right) => Buffer.compare(bytes(left), bytes(right)));
      assert.deepEqual((await database.query('SELECT w FROM words ORDER BY w')).flat(), sorted);
      assert.deepEqual(await database.query('SELECT COUNT(*) FROM (SELECT w FROM words GROUP BY w) AS g'), [
        [12],
      ]);
    });

    test('one SQL means the same: concatenation, quoted names, backslashes', async () => {
      assert.deepEqual(await database.query("SELECT 'a' || 'b' AS \"both\""), [['ab']]);
      assert.deepEqual(await database.query("SELECT 'a\\'"), [['a\\']]);
      await insert('words', ['w'], [['50%'], ['50x'], ['a\\b']]);
      const like = "SELECT w FROM words WHERE w LIKE ? ESCAPE '!'";
      assert.deepEqual(await database.query(like, ['50!%']), [['50%']]);
      assert.deepEqual(await database.query(like, ['a\\b']), [['a\\b']]);
    });

    test('creating an index may be repeated', async () => {
      const sql = database.dialect.createIndex('pairs_v', 'pairs', 'v', true);
      await execute(sql);
      await execute(sql);
      await insert('pairs', ['k', 'v'], [[1, 1]]);
      await assert.rejects(insert('pairs', ['k', 'v'], [[2, 1]]), { details: { constraint: 'unique' } });
    });
  });
}
