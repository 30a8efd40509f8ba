import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import {
  type ClosableDatabase,
  type OpenDatabaseOptions,
  openDatabase,
} from '../../core/database/open-database.js';
import type { SqlTransaction } from '../../core/plugin-api/index.js';
import { freePort } from '../support/services/free-port.js';
import { type Mariadb, startMariadb } from '../support/services/mariadb.js';
import { FaultyProxy } from './database-proxy.js';

describe('MariaDB', () => {
  let server: Mariadb;
  let proxy: FaultyProxy;
  let database: ClosableDatabase;
  const opened: ClosableDatabase[] = [];

  before(async () => {
    server = await startMariadb();
  });
  after(() => server.stop());

  beforeEach(async () => {
    await server.createDatabase('rating');
    proxy = await FaultyProxy.start(server.port);
    database = await open(`127.0.0.1:${proxy.port}`);
    await database.transaction((tx) =>
      tx.execute(`CREATE TABLE pairs (k BIGINT NOT NULL PRIMARY KEY, v BIGINT)${tx.dialect.tableOptions()}`),
    );
    await insert(1, 0);
    await insert(2, 0);
  });

  afterEach(async () => {
    await Promise.all(opened.splice(0).map((each) => each.close()));
    await proxy.stop();
  });

  async function open(hosts: string, options: OpenDatabaseOptions = {}): Promise<ClosableDatabase> {
    const each = await openDatabase(`mysql://ratecat:ratecat@${hosts}/rating`, options);
    opened.push(each);
    return each;
  }

  function insert(k: number, v: number) {
    return database.transaction((tx) => tx.execute('INSERT INTO pairs (k, v) VALUES (?, ?)', [k, v]));
  }

  function addTo(tx: SqlTransaction, k: number) {
    return tx.execute('UPDATE pairs SET v = v + 1 WHERE k = ?', [k]);
  }

  async function pairs(): Promise<unknown> {
    return database.query('SELECT k, v FROM pairs ORDER BY k');
  }

  test('a deadlock is resolved by running the loser again', async () => {
    const runs = { first: 0, second: 0 };
    const bothHoldOne = barrier(2);
    const lock = (name: 'first' | 'second', keys: readonly [number, number]) =>
      database.transaction(async (tx) => {
        runs[name]++;
        await addTo(tx, keys[0]);
        await bothHoldOne();
        await addTo(tx, keys[1]);
      });
    await Promise.all([lock('first', [1, 2]), lock('second', [2, 1])]);
    assert.equal(runs.first + runs.second, 3, 'one of the two ran twice');
    assert.deepEqual(await pairs(), [
      [1, 2],
      [2, 2],
    ]);
  });

  test('work that swallows a deadlock does not commit half of itself', async () => {
    let runs = 0;
    const bothHoldOne = barrier(2);
    const swallow = database.transaction(async (tx) => {
      runs++;
      // The fewer rows a transaction has changed, the sooner the engine sacrifices it.
      await tx.query('SELECT v FROM pairs WHERE k = 2 FOR UPDATE');
      await bothHoldOne();
      await addTo(tx, 1).catch(() => undefined);
      await tx.execute('INSERT INTO pairs (k, v) VALUES (?, 0)', [10 + runs]).catch(() => undefined);
    });
    const other = database.transaction(async (tx) => {
      await addTo(tx, 1);
      await tx.execute('INSERT INTO pairs (k, v) VALUES (3, 0), (4, 0), (5, 0)');
      await bothHoldOne();
      await addTo(tx, 2);
    });
    await Promise.all([swallow, other]);
    assert.equal(runs, 2, 'the deadlock happened');
    assert.deepEqual(await database.query('SELECT k FROM pairs WHERE k > 10'), [[12]]);
  });

  test('a row that stays locked fails after the lock time-out, and later succeeds', async () => {
    const impatient = await open(`127.0.0.1:${server.port}`, { lockTimeoutMs: 1_000 });
    await database.transaction(async (tx) => {
      await addTo(tx, 1);
      await assert.rejects(
        impatient.transaction((other) => addTo(other, 1)),
        {
          code: 'RATECAT_DATABASE_BUSY',
          retryable: true,
        },
      );
    });
    await impatient.transaction((tx) => addTo(tx, 1));
    assert.deepEqual(await pairs(), [
      [1, 2],
      [2, 0],
    ]);
  });

  for (const fault of ['cut before', 'cut after'] as const) {
    test(`a connection that is ${fault} a statement of a transaction is replaced, and the transaction runs again`, async () => {
      proxy.arm('UPDATE pairs', fault);
      let runs = 0;
      await database.transaction(async (tx) => {
        runs++;
        await tx.execute('INSERT INTO pairs (k, v) VALUES (7, 7)');
        await addTo(tx, 1);
      });
      assert.equal(proxy.fired, 1);
      assert.equal(runs, 2);
      assert.deepEqual(await pairs(), [
        [1, 1],
        [2, 0],
        [7, 7],
      ]);
    });

    test(`a connection that is ${fault} the COMMIT leaves the outcome open, and the error says so`, async () => {
      let runs = 0;
      const attempt = database.transaction(async (tx) => {
        runs++;
        await addTo(tx, 1);
        proxy.arm('COMMIT', fault);
      });
      await assert.rejects(attempt, {
        code: 'RATECAT_COMMIT_UNKNOWN',
        retryable: true,
        details: { ambiguous: true },
      });
      assert.equal(proxy.fired, 1);
      assert.equal(runs, 1, 'it must not run twice');
      assert.deepEqual(await pairs(), [
        [1, fault === 'cut after' ? 1 : 0],
        [2, 0],
      ]);
    });
  }

  test('a transaction that only reads runs again when its COMMIT is lost', async () => {
    proxy.arm('COMMIT', 'cut before');
    assert.deepEqual(await database.transaction((tx) => tx.query('SELECT v FROM pairs WHERE k = 1')), [[0]]);
    assert.equal(proxy.fired, 1);
  });

  test('a read on a connection that has gone stale is repeated', async () => {
    proxy.arm('SELECT k, v FROM pairs', 'cut before');
    assert.deepEqual(await pairs(), [
      [1, 0],
      [2, 0],
    ]);
    proxy.arm('SELECT v FROM pairs', 'cut after');
    const rows = [];
    for await (const row of database.iterate('SELECT v FROM pairs')) rows.push(row);
    assert.deepEqual(rows, [[0], [0]]);
    assert.equal(proxy.fired, 2);
  });

  test('a server that goes silent is given up after the statement time-out', async () => {
    const hasty = await open(`127.0.0.1:${proxy.port}`, { statementTimeoutMs: 300 });
    proxy.arm('UPDATE pairs', 'hang');
    await hasty.transaction((tx) => addTo(tx, 1));
    assert.equal(proxy.fired, 1);
    assert.deepEqual(await pairs(), [
      [1, 1],
      [2, 0],
    ]);
  });

  test('a statement in flight is abandoned when the signal says so, and its transaction leaves nothing', async () => {
    const controller = new AbortController();
    const start = performance.now();
    await assert.rejects(
      database.transaction(async (tx) => {
        await addTo(tx, 1);
        setImmediate(() => controller.abort(new Error('shutting down')));
        await tx.query('SELECT SLEEP(20)');
      }, controller.signal),
      /shutting down/,
    );
    assert.ok(performance.now() - start < 10_000);
    assert.deepEqual(await pairs(), [
      [1, 0],
      [2, 0],
    ]);
  });

  test('killed connections heal without a restart of ours', async () => {
    for (let round = 1; round <= 3; round++) {
      for (const { Id } of await server.query(
        "SELECT Id FROM information_schema.processlist WHERE user = 'ratecat'",
      )) {
        // A connection may have ended by itself since.
        await server.query(`KILL CONNECTION ${String(Id)}`).catch((error) => assert.equal(error.errno, 1094));
      }
      await database.transaction((tx) => addTo(tx, 1));
      assert.deepEqual(await pairs(), [
        [1, round],
        [2, 0],
      ]);
    }
  });

  test('a restart of the server is survived; while it is down the error names host, port and remedy', async () => {
    await server.kill();
    await assert.rejects(pairs(), (error: Error & { code?: string }) => {
      assert.equal(error.code, 'RATECAT_DATABASE_UNAVAILABLE');
      assert.match(error.message, new RegExp(`127\\.0\\.0\\.1:${proxy.port}`));
      assert.match(error.message, /Check/);
      return true;
    });
    await server.start();
    await database.transaction((tx) => addTo(tx, 1));
    assert.deepEqual(await pairs(), [
      [1, 1],
      [2, 0],
    ]);
  });

  test('with several hosts the first one that answers is used, and remembered', async () => {
    const dead = await freePort();
    const two = await open(`127.0.0.1:${dead},127.0.0.1:${server.port}`);
    assert.deepEqual(await two.query('SELECT 1'), [[1]]);
    const back = await open(`127.0.0.1:${proxy.port},127.0.0.1:${server.port}`);
    const before = proxy.connections;
    assert.ok(before > 0);
    await proxy.stop();
    assert.deepEqual(await back.query('SELECT 2'), [[2]]);
    proxy = await FaultyProxy.start(server.port);
  });

  test('no host at all: the error names each of them', async () => {
    const [first, second] = [await freePort(), await freePort()];
    await assert.rejects(open(`127.0.0.1:${first},127.0.0.1:${second}`), {
      code: 'RATECAT_DATABASE_UNAVAILABLE',
      kind: 'unavailable',
      message: new RegExp(`127.0.0.1:${first}: connection refused; 127.0.0.1:${second}: connection refused`),
    });
    await assert.rejects(open('no-such-host.invalid'), { code: 'RATECAT_DATABASE_UNAVAILABLE' });
  });

  test('a host that accepts and says nothing is given up after the connection time-out', async () => {
    const listener = createServer();
    listener.listen(0, '127.0.0.1');
    await once(listener, 'listening');
    const { port } = listener.address() as AddressInfo;
    await assert.rejects(open(`127.0.0.1:${port}`, { connectTimeoutMs: 200 }), {
      code: 'RATECAT_DATABASE_UNAVAILABLE',
      message: /no answer in time/,
    });
    listener.close();
  });

  test('wrong credentials and a missing database are refusals that say what to do', async () => {
    const wrong = `mysql://ratecat:s3cret@127.0.0.1:${server.port}/rating`;
    await assert.rejects(openDatabase(wrong), (error: Error & { code?: string; kind?: string }) => {
      assert.equal(error.code, 'RATECAT_DATABASE_REFUSED');
      assert.equal(error.kind, 'rejected');
      assert.match(error.message, /refused user 'ratecat'/);
      assert.doesNotMatch(JSON.stringify({ ...error, message: error.message, stack: error.stack }), /s3cret/);
      return true;
    });
    await assert.rejects(openDatabase(server.url('nowhere')), {
      code: 'RATECAT_DATABASE_REFUSED',
      message: /CREATE DATABASE `nowhere`/,
    });
  });

  test('TLS that the server cannot offer is a refusal', async () => {
    const url = `${server.url('rating')}?ssl=true`;
    await assert.rejects(openDatabase(url), { code: 'RATECAT_DATABASE_REFUSED', message: /TLS/ });
    await assert.rejects(openDatabase(`${server.url('rating')}?ssl_ca=/nowhere/ca.pem`), {
      code: 'RATECAT_DATABASE_URL_INVALID',
      message: /\/nowhere\/ca\.pem/,
    });
  });

  test('a cluster node that does not serve is left for another host, and the transaction runs again there', async () => {
    const other = await FaultyProxy.start(server.port);
    const cluster = await open(`127.0.0.1:${proxy.port},127.0.0.1:${other.port}`);
    let runs = 0;
    await cluster.transaction(async (tx) => {
      await addTo(tx, 1);
      // What a node says that has lost its cluster.
      if (++runs === 1) await tx.execute("SIGNAL SQLSTATE '08S01' SET MYSQL_ERRNO = 1047");
    });
    assert.equal(runs, 2);
    assert.equal(other.connections, 1);
    assert.deepEqual(await pairs(), [
      [1, 1],
      [2, 0],
    ]);
    await other.stop();
  });

  test('a failed certification, a failed commit and an interrupted statement run the transaction again', async () => {
    for (const errno of [1213, 1180, 1317]) {
      let runs = 0;
      await database.transaction(async (tx) => {
        await addTo(tx, 2);
        if (++runs < 3) await tx.execute(`SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = ${errno}`);
      });
      assert.equal(runs, 3);
    }
    assert.deepEqual(await pairs(), [
      [1, 0],
      [2, 3],
    ]);
  });

  test('rows are split to fit a small max_allowed_packet; a row that cannot be split is refused by name', async () => {
    await database.transaction((tx) =>
      tx.execute(
        `CREATE TABLE wide (k BIGINT NOT NULL PRIMARY KEY, v ${tx.dialect.longText})${tx.dialect.tableOptions()}`,
      ),
    );
    for (const limit of [16_384, 65_536]) {
      await server.query(`SET GLOBAL max_allowed_packet = ${limit}`);
      try {
        const small = await open(`127.0.0.1:${server.port}`);
        assert.deepEqual(await small.query('SELECT @@max_allowed_packet'), [[limit]]);
        const columns = ['k', 'v'];
        const rows = Array.from({ length: 3_000 }, (_, k) => [k, `${'é'.repeat(100)}${k}`]);
        await small.transaction(async (tx) => {
          await tx.execute('DELETE FROM wide');
          await tx.insertRows({ table: 'wide', columns, rows });
        });
        assert.deepEqual(await small.query('SELECT COUNT(*), SUM(LENGTH(v) > 200) FROM wide'), [
          [3_000, 3_000],
        ]);
        const refusal = {
          code: 'RATECAT_DATABASE_PACKET_TOO_LARGE',
          kind: 'data',
          message: /max_allowed_packet/,
        };
        const big = 'x'.repeat(limit);
        const write = (value: string) =>
          small.transaction(async (tx) => {
            await addTo(tx, 1);
            await tx.insertRows({
              table: 'wide',
              columns,
              rows: [
                [10_000, 'short'],
                [10_001, value],
              ],
            });
          });
        await assert.rejects(write(big), refusal);
        await assert.rejects(small.query('SELECT ?', [big]), refusal);
        assert.deepEqual(await small.query('SELECT COUNT(*) FROM wide'), [[3_000]], 'nothing was kept');
        await write('x'.repeat(limit - 200));
        await write('y').catch((error) => assert.equal(error.code, 'RATECAT_DATABASE_CONSTRAINT'));
      } finally {
        await server.query('SET GLOBAL max_allowed_packet = 16777216');
      }
    }
    assert.deepEqual(await database.query('SELECT v FROM pairs WHERE k = 1'), [[2]]);
  });

  test('a full disk is reported as such', async () => {
    const full = database.transaction((tx) => tx.execute("SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1021"));
    await assert.rejects(full, { code: 'RATECAT_DATABASE_FULL', kind: 'unavailable' });
  });

  test('a read-only server is reported as such', async () => {
    await server.query("REVOKE SUPER, READ ONLY ADMIN ON *.* FROM 'ratecat'@'127.0.0.1'");
    await server.query('SET GLOBAL read_only = 1');
    try {
      const fresh = await open(`127.0.0.1:${server.port}`);
      await assert.rejects(
        fresh.transaction((tx) => addTo(tx, 1)),
        {
          code: 'RATECAT_DATABASE_READ_ONLY',
          kind: 'unavailable',
        },
      );
    } finally {
      await server.query('SET GLOBAL read_only = 0');
      await server.query("GRANT SUPER, READ ONLY ADMIN ON *.* TO 'ratecat'@'127.0.0.1'");
    }
  });

  test('the session refuses what does not fit, reads committed data, and counts in UTC', async () => {
    const [[mode, zone, isolation, names]] = (await database.query(
      'SELECT @@sql_mode, @@time_zone, @@tx_isolation, @@collation_connection',
    )) as [[string, string, string, string]];
    assert.match(mode, /STRICT_ALL_TABLES/);
    assert.deepEqual([zone, isolation, names], ['+00:00', 'READ-COMMITTED', 'utf8mb4_nopad_bin']);
  });

  test('a long iteration gives each row once, in order, while other reads go on', async () => {
    const rows = Array.from({ length: 40_000 }, (_, index) => [100 + index, index]);
    await database.transaction((tx) => tx.insertRows({ table: 'pairs', columns: ['k', 'v'], rows }));
    let expected = 100;
    for await (const [k] of database.iterate('SELECT k FROM pairs WHERE k >= 100 ORDER BY k')) {
      assert.equal(k, expected++);
      if (expected % 5_000 === 0) await database.query('SELECT 1');
    }
    assert.equal(expected, 40_100);
  });

  test('more work than connections waits its turn', async () => {
    const proxied = await FaultyProxy.start(server.port);
    const narrow = await open(`127.0.0.1:${proxied.port}`, { maxConnections: 2 });
    await Promise.all(Array.from({ length: 40 }, () => narrow.transaction((tx) => addTo(tx, 1))));
    assert.deepEqual(await pairs(), [
      [1, 40],
      [2, 0],
    ]);
    assert.equal(proxied.connections, 2);
    await proxied.stop();
  });

  test('close waits for the work in hand and then refuses more', async () => {
    const closing = await open(`127.0.0.1:${server.port}`);
    const work = closing.transaction(async (tx) => {
      await addTo(tx, 1);
      await tx.query('SELECT SLEEP(0.1)');
      return 'done';
    });
    await closing.query('SELECT 1');
    const closed = closing.close();
    assert.equal(await work, 'done');
    await closed;
    await assert.rejects(closing.query('SELECT 1'), {
      code: 'RATECAT_DATABASE_UNAVAILABLE',
      message: /closed/,
    });
    assert.deepEqual(await pairs(), [
      [1, 1],
      [2, 0],
    ]);
  });
});

/** Resolves for all when the given number of callers wait; for those that come later at once. */
function barrier(parties: number): () => Promise<void> {
  let open: () => void = () => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  let arrived = 0;
  return () => {
    if (++arrived >= parties) open();
    return opened;
  };
}
