/**
 * A second program on the same database, for tests that need one: `database-process.ts <what> <url> <argument>`.
 * Not a test itself.
 */

import { migrate } from '../../core/database/migrate.js';
import { type ClosableDatabase, openDatabase } from '../../core/database/open-database.js';
import { sampleMigrations } from './database-samples.js';

const [what, url, argument = ''] = process.argv.slice(2);
const database = await openDatabase(url!);
const programs: Readonly<Record<string, (database: ClosableDatabase) => Promise<void>>> = {
  write: writeForever,
  increment: () => increment(Number(argument)),
  migrate: runMigrations,
};
await programs[what!]!(database);
await database.close();

/** Transactions of some rows each, until killed; tells which ones were committed. */
async function writeForever(): Promise<void> {
  const [[last]] = (await database.query('SELECT COALESCE(MAX(batch), 0) FROM batches')) as [[number]];
  for (let batch = last + 1; ; batch++) {
    const rows = Array.from({ length: 200 }, (_, item) => [batch, item, `${batch}.${item}`]);
    await database.transaction((tx) =>
      tx.insertRows({ table: 'batches', columns: ['batch', 'item', 'amount'], rows }),
    );
    process.stdout.write(`${batch}\n`);
  }
}

async function increment(times: number): Promise<void> {
  for (let count = 0; count < times; count++) {
    await database.transaction(async (tx) => {
      const [[value]] = (await tx.query('SELECT v FROM counters')) as [[number]];
      await tx.execute('UPDATE counters SET v = ?', [value + 1]);
    });
  }
}

async function runMigrations(): Promise<void> {
  const done = await migrate(database, sampleMigrations(3), { leaseMs: 5_000 });
  process.stdout.write(`${JSON.stringify(done)}\n`);
}
