import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { SqliteDatabase } from '../../../plugins/shared/sqlite-driver.js';
import { BEGIN, csv, Drop, HOUR, row } from './drop.js';

const CHILD = fileURLToPath(new URL('./kill-child.ts', import.meta.url));
const LINES = 30_000;
const BAD = 10;

/** Rows that the index holds, whether they count or not. */
function rowsInIndex(folder: string): number {
  const path = join(folder, '.ratecat/index.sqlite');
  if (!existsSync(path)) return 0;
  try {
    const database = new SqliteDatabase(path, { readonly: true });
    try {
      return (database.prepare('SELECT count(*) AS n FROM samples').get() as { n: number }).n;
    } finally {
      database.close();
    }
  } catch {
    return 0; // the tables are being made
  }
}

/** Lets a process take the folder's files in and kills it once `enough` rows are in the index. */
async function killAt(folder: string, enough: number): Promise<string> {
  const child = fork(CHILD, [folder], { execArgv: ['--import', 'tsx'], stdio: 'inherit' });
  const ended = once(child, 'exit');
  let done = false;
  child.on('message', (message) => {
    if (message === 'done') done = true;
  });
  while (!done && rowsInIndex(folder) < enough) await new Promise((resolve) => setTimeout(resolve, 1));
  if (!done) child.kill('SIGKILL');
  const [, signal] = (await ended) as [number | null, string | null];
  return signal ?? 'finished';
}

test('killed in the middle of a pick-up, three times, a file counts once and whole', {
  timeout: 120_000,
}, async () => {
  const drop = new Drop();
  const good = Array.from({ length: LINES }, (_, i) => row(i % 24, 'p1', 'vm', '0.1', `i${i}`));
  const bad = Array.from({ length: BAD }, () => row(0, 'p1', 'vm', 'bad'));
  drop.put('big.csv', csv(...good, ...bad));
  drop.put('small.csv', csv(row(0, 'p2', 'vm', '7')));
  const fates: string[] = [];
  for (const share of [0.1, 0.5, 0.9]) fates.push(await killAt(drop.folder, LINES * share));
  assert.deepEqual(fates, ['SIGKILL', 'SIGKILL', 'SIGKILL'], 'the fault must have happened');
  assert.ok(rowsInIndex(drop.folder) > 0, 'killed after it had begun to write');
  await drop.start();
  for (let hour = 0; hour < 24; hour++) assert.equal(await drop.total('vm', hour), String(LINES / 24 / 10));
  assert.equal(await drop.total('vm', 0, 'p2'), '7');
  assert.equal(rowsInIndex(drop.folder), LINES + 1);
  assert.equal(drop.rejects().length, BAD);
  assert.deepEqual(drop.names('.ratecat/incoming'), []);
  assert.equal(drop.names('accepted').length, 2);
  assert.deepEqual(
    drop.names('rejected').filter((name) => name.endsWith('.part')),
    [],
  );
  assert.equal(
    await drop.collector.earliest?.({ key: 'project_id', id: 'p1' }, new AbortController().signal),
    BEGIN,
  );
  assert.equal(HOUR, 3600);
  await drop.stop();
});
