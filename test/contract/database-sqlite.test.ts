import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type ClosableDatabase, openDatabase } from '../../core/database/open-database.js';
import type { SqlRow } from '../../core/plugin-api/index.js';
import { createServiceFolder, removeServiceFolder } from '../support/services/service-folder.js';

const PROGRAM = fileURLToPath(new URL('./database-process.ts', import.meta.url));
const folder = createServiceFolder('sqlite-engine');
let files = 0;

after(() => removeServiceFolder(folder));

function newFile(): string {
  return join(folder, `${++files}.db`);
}

async function withDatabase(
  path: string,
  work: (database: ClosableDatabase) => Promise<void>,
): Promise<void> {
  const database = await openDatabase(`sqlite:${path}`, { lockTimeoutMs: 10_000 });
  try {
    await work(database);
  } finally {
    await database.close();
  }
}

function pairs(count: number): readonly SqlRow[] {
  return Array.from({ length: count }, (_, index) => [
    index,
    index % 7,
    index * 3,
    `${index}.125`,
    `0.${index + 1}`,
  ]);
}

const CREATE_WIDE = 'CREATE TABLE wide (a INTEGER PRIMARY KEY, b INTEGER, c INTEGER, d TEXT, e TEXT) STRICT';
const WIDE = { table: 'wide', columns: ['a', 'b', 'c', 'd', 'e'] };

test('a commit is synced and the log is written ahead', () =>
  withDatabase(newFile(), async (database) => {
    await database.transaction(async (tx) => {
      assert.deepEqual(await tx.query('PRAGMA journal_mode'), [['wal']]);
      assert.deepEqual(await tx.query('PRAGMA synchronous'), [[2]]);
      assert.deepEqual(await tx.query('PRAGMA foreign_keys'), [[1]]);
    });
  }));

test('the event loop runs many times during a big insert, a big read, an iteration and many small statements', () =>
  withDatabase(newFile(), async (database) => {
    await database.transaction((tx) => tx.execute(CREATE_WIDE));
    let ticks = 0;
    const timer = setInterval(() => ticks++, 1);
    const ticksDuring = async (work: () => Promise<unknown>) => {
      const start = ticks;
      await work();
      return ticks - start;
    };
    try {
      const rows = pairs(100_000);
      const insert = await ticksDuring(() => database.transaction((tx) => tx.insertRows({ ...WIDE, rows })));
      const read = await ticksDuring(() => database.query('SELECT * FROM wide'));
      const iteration = await ticksDuring(async () => {
        for await (const row of database.iterate('SELECT * FROM wide')) assert.equal(row.length, 5);
      });
      const statements = await ticksDuring(() =>
        database.transaction(async (tx) => {
          const part = 'SELECT COUNT(*), SUM(b) FROM wide WHERE a BETWEEN ? AND ?';
          for (let start = 0; start < rows.length; start += 20) await tx.query(part, [start, start + 1_000]);
        }),
      );
      for (const [what, count] of Object.entries({ insert, read, iteration, statements })) {
        assert.ok(count >= 5, `${count} ticks during the ${what}`);
      }
    } finally {
      clearInterval(timer);
    }
  }));

test('readers see the last committed state while a transaction is open, also in the middle of reading', () =>
  withDatabase(newFile(), async (database) => {
    await database.transaction((tx) => tx.execute(CREATE_WIDE));
    await database.transaction((tx) => tx.insertRows({ ...WIDE, rows: pairs(500) }));
    await database.transaction(async (tx) => {
      await tx.execute('DELETE FROM wide');
      assert.deepEqual(await database.query('SELECT COUNT(*) FROM wide'), [[500]]);
      assert.deepEqual(await tx.query('SELECT COUNT(*) FROM wide'), [[0]]);
    });
    await database.transaction((tx) => tx.insertRows({ ...WIDE, rows: pairs(500) }));
    let seen = 0;
    for await (const _ of database.iterate('SELECT a FROM wide')) {
      if (++seen === 1) {
        await database.transaction((tx) => tx.execute('DELETE FROM wide'));
        assert.deepEqual(await database.query('SELECT COUNT(*) FROM wide'), [[0]]);
      }
    }
    assert.equal(seen, 500);
  }));

test('a read connection cannot write', () =>
  withDatabase(newFile(), async (database) => {
    await database.transaction((tx) => tx.execute(CREATE_WIDE));
    await assert.rejects(database.query('INSERT INTO wide (a) VALUES (1) RETURNING a'), {
      code: 'RATECAT_DATABASE_READ_ONLY',
    });
  }));

test('two processes on one file lose no update', () =>
  withDatabase(newFile(), async (database) => {
    await database.transaction(async (tx) => {
      await tx.execute('CREATE TABLE counters (v INTEGER NOT NULL) STRICT');
      await tx.execute('INSERT INTO counters (v) VALUES (0)');
    });
    const [[, path]] = (await database.query(
      "SELECT 0, file FROM pragma_database_list WHERE name = 'main'",
    )) as [[number, string]];
    const other = promisify(execFile)(process.execPath, [
      '--import',
      'tsx',
      PROGRAM,
      'increment',
      `sqlite:${path}`,
      '150',
    ]);
    let isDone = false;
    void other.finally(() => {
      isDone = true;
    });
    let own = 0;
    while (!isDone) {
      await database.transaction(async (tx) => {
        const [[value]] = (await tx.query('SELECT v FROM counters')) as [[number]];
        await new Promise(setImmediate);
        await tx.execute('UPDATE counters SET v = ?', [value + 1]);
      });
      own++;
    }
    await other;
    assert.deepEqual(await database.query('SELECT v FROM counters'), [[own + 150]]);
  }));

test('a process killed at any moment leaves whole transactions, and none of the committed ones is missing', async () => {
  const path = newFile();
  await withDatabase(path, async (database) => {
    await database.transaction((tx) =>
      tx.execute(
        'CREATE TABLE batches (batch INTEGER NOT NULL, item INTEGER NOT NULL, amount TEXT NOT NULL, PRIMARY KEY (batch, item)) STRICT',
      ),
    );
  });
  for (let round = 0; round < 5; round++) {
    const { promised, signal } = await writeAndKill(path, 3 + 7 * round);
    assert.equal(signal, 'SIGKILL');
    await withDatabase(path, async (database) => {
      assert.deepEqual(await database.query('PRAGMA quick_check'), [['ok']]);
      assert.deepEqual(
        await database.query('SELECT batch FROM batches GROUP BY batch HAVING COUNT(*) <> 200'),
        [],
      );
      const [[last]] = (await database.query('SELECT MAX(batch) FROM batches')) as [[number]];
      assert.ok(
        last >= promised,
        `batch ${promised} was reported as committed, the last one found is ${last}`,
      );
    });
  }
});

/** Runs the writer until it has committed so many batches, and kills it while it goes on. */
async function writeAndKill(path: string, batches: number) {
  const child = spawn(process.execPath, ['--import', 'tsx', PROGRAM, 'write', `sqlite:${path}`], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exit = once(child, 'exit');
  let promised = 0;
  let seen = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    promised = Number(line);
    if (++seen === batches) child.kill('SIGKILL');
  }
  const [, signal] = (await exit) as [number | null, NodeJS.Signals | null];
  return { promised, signal };
}

test('a process that finds the file locked for too long says so', async () => {
  const path = newFile();
  await withDatabase(path, async (holder) => {
    const waiter = await openDatabase(`sqlite:${path}`, { lockTimeoutMs: 50 });
    let ticks = 0;
    const timer = setInterval(() => ticks++, 1);
    await holder.transaction(async () => {
      await assert.rejects(
        waiter.transaction(async () => assert.fail('must not run')),
        {
          code: 'RATECAT_DATABASE_BUSY',
          retryable: true,
          message: new RegExp(path),
        },
      );
    });
    clearInterval(timer);
    assert.ok(ticks >= 3, `waiting blocked the event loop: ${ticks} ticks`);
    assert.equal(await waiter.transaction(async () => 'free again'), 'free again');
    await waiter.close();
  });
});

test('a full disk is reported as such, keeps what was committed, and can be recovered from', () =>
  withDatabase(newFile(), async (database) => {
    await database.transaction((tx) => tx.execute(CREATE_WIDE));
    await database.transaction((tx) => tx.insertRows({ ...WIDE, rows: pairs(100) }));
    const limit = (pages: number) =>
      database.transaction((tx) => tx.query(`PRAGMA max_page_count = ${pages}`));
    await limit(20);
    const more = pairs(20_100).slice(100);
    await assert.rejects(
      database.transaction((tx) => tx.insertRows({ ...WIDE, rows: more })),
      { code: 'RATECAT_DATABASE_FULL', kind: 'unavailable', retryable: true },
    );
    assert.deepEqual(await database.query('SELECT COUNT(*) FROM wide'), [[100]]);
    await limit(1_000_000);
    await database.transaction((tx) => tx.insertRows({ ...WIDE, rows: more }));
    assert.deepEqual(await database.query('SELECT COUNT(*) FROM wide'), [[20_100]]);
  }));

test('a missing folder, a folder in place of the file, and a file that is no database are told apart', async () => {
  const missing = join(folder, 'missing', 'ratecat.db');
  await assert.rejects(openDatabase(`sqlite:${missing}`), {
    code: 'RATECAT_DATABASE_UNAVAILABLE',
    message: /folder .*missing .*does not exist/,
  });
  await assert.rejects(openDatabase(`sqlite:${folder}`), { code: 'RATECAT_DATABASE_UNAVAILABLE' });
  const text = newFile();
  await writeFile(text, 'This is a letter to the operator, and by no means a database. '.repeat(40));
  await assert.rejects(openDatabase(`sqlite:${text}`), {
    code: 'RATECAT_DATABASE_REFUSED',
    kind: 'rejected',
    message: /not an SQLite database/,
  });
});

test('a place that cannot be written is reported as such', () =>
  assert.rejects(openDatabase('sqlite:///sys/ratecat.db'), {
    code: 'RATECAT_DATABASE_READ_ONLY',
    kind: 'unavailable',
    message: /\/sys\/ratecat\.db/,
  }));

test('a new file and its log are closed to strangers', () => {
  const path = newFile();
  return withDatabase(path, async (database) => {
    await database.transaction((tx) => tx.execute(CREATE_WIDE));
    for (const file of [path, `${path}-wal`]) assert.equal((await stat(file)).mode & 0o007, 0, file);
  });
});

test('a relative path lies in the given folder', async () => {
  const database = await openDatabase('sqlite:relative.db', { folder });
  const [[path]] = (await database.query('SELECT file FROM pragma_database_list')) as [[string]];
  assert.equal(path, join(folder, 'relative.db'));
  await database.close();
});

test('a closed database refuses work, and closing twice is harmless', async () => {
  for (const url of ['sqlite::memory:', `sqlite:${newFile()}`]) {
    const database = await openDatabase(url);
    await database.close();
    await database.close();
    const refusal = { code: 'RATECAT_DATABASE_UNAVAILABLE', message: /closed/ };
    await assert.rejects(database.query('SELECT 1'), refusal);
    await assert.rejects(
      database.transaction(async () => 1),
      refusal,
    );
  }
});

test('decimals that were stored as floating point are refused instead of summed', () =>
  withDatabase(newFile(), async (database) => {
    await assert.rejects(database.query('SELECT ratecat_sum(1.5)'), { code: 'RATECAT_NUMBER_MALFORMED' });
    await assert.rejects(database.query("SELECT ratecat_sum('twelve')"), {
      code: 'RATECAT_NUMBER_MALFORMED',
    });
    assert.deepEqual(await database.query("SELECT ratecat_sum(12), ratecat_add('0.5', 1)"), [['12', '1.5']]);
  }));
