import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSync, writeFileSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { openDatabase } from '../../core/database/open-database.js';
import { type Command, PROGRAM, ratecat } from '../support/daemon.js';
import {
  assertWhole,
  clearAway,
  lastDue,
  periodsStored,
  smallDaemon,
  startDaemon,
  statusOf,
  waitUntil,
} from '../support/small-daemon.js';
import { canMount, run, smallDisk } from '../support/small-disk.js';

const PERIODS = 300;
const START = lastDue() - PERIODS * 3600;
const SCOPES = ['alpha', 'beta'];
const FULL = /No space is left|SQLITE_IOERR_WRITE|Syncing the database \S+ failed/;

async function quickCheck(url: string): Promise<string> {
  const database = await openDatabase(url);
  try {
    return String((await database.query('PRAGMA quick_check'))[0]?.[0]);
  } finally {
    await database.close();
  }
}

/** From "the disk is full" to the end: refusal in clear words, then on as if nothing had been. */
async function assertSurvives(
  up: Command,
  url: string,
  config: string,
  { fill, free }: { readonly fill: () => void; readonly free: () => void },
): Promise<void> {
  await waitUntil('some periods are stored', async () => (await periodsStored(url)) >= 20, { daemon: up });
  fill();
  await waitUntil('the daemon says that no space is left', () => FULL.test(up.stderr), { daemon: up });
  const whole = (await assertWhole(url, { scopes: SCOPES, start: START, period: 3600, least: 1 })).reduce(
    (sum, periods) => sum + periods,
  );
  assert.ok(whole < PERIODS * SCOPES.length, 'the fault came too late');
  free();
  const all = async () => (await periodsStored(url)) === PERIODS * SCOPES.length;
  await waitUntil('everything is rated', all, { daemon: up, timeoutMs: 60_000 });
  const { code, stderr } = await up.stop();
  assert.equal(code, 0, stderr.slice(-3000));
  assert.doesNotMatch(stderr, /internal error|stack=/);
  assert.equal(await quickCheck(url), 'ok');
  await assertWhole(url, { scopes: SCOPES, start: START, period: 3600, least: PERIODS });
  assert.deepEqual(
    (await statusOf(config))!.map(({ state, reason }) => [state, reason]),
    SCOPES.map(() => ['active', null]),
  );
}

after(clearAway);

describe('a file size limit reached while rating', () => {
  it('loses and doubles nothing, and rating goes on when it is raised', async () => {
    const daemon = await smallDaemon({ start: START, scopes: SCOPES, collectDelayMs: 10 });
    const up = startDaemon(daemon);
    const limit = (bytes: string) =>
      run('prlimit', '--pid', String(up.child.pid), `--fsize=${bytes}:unlimited`);
    await assertSurvives(up, daemon.url, daemon.config, {
      fill: () => limit('4096'),
      free: () => limit('unlimited'),
    });
  });
});

if (canMount()) {
  describe('a full disk', () => {
    it('under the database loses and doubles nothing, and rating goes on when space is there again', async () => {
      const disk = await smallDisk(16);
      try {
        const options = { start: START, scopes: SCOPES, collectDelayMs: 10 };
        const daemon = await smallDaemon({ ...options, dataFolder: disk.folder });
        await assertSurvives(startDaemon(daemon), daemon.url, daemon.config, {
          fill: () => assert.equal(disk.fill(), 'ENOSPC'),
          free: disk.free,
        });
      } finally {
        await clearAway();
        await disk.remove();
      }
    });

    it('keeps the daemon from starting, in one message', async () => {
      const disk = await smallDisk(4);
      try {
        assert.equal(disk.fill(), 'ENOSPC');
        const daemon = await smallDaemon({ dataFolder: disk.folder });
        const { code, stderr } = await ratecat('up', '--config', daemon.config);
        assert.equal(code, 69, stderr);
        assert.match(
          stderr,
          /^error: No space is left for the database \S+\. Free space .*\[RATECAT_DATABASE_FULL\]\n$/,
        );
        disk.free();
        assert.equal((await ratecat('dbsync', 'upgrade', '--config', daemon.config)).code, 0);
      } finally {
        await disk.remove();
      }
    });

    it('under the log does not stop the rating', async () => {
      const disk = await smallDisk(4);
      const daemon = await smallDaemon({ start: START, scopes: SCOPES, collectDelayMs: 10 });
      const log = join(disk.folder, 'log');
      writeFileSync(log, '');
      const file = openSync(log, 'a');
      const child = spawn(process.execPath, [PROGRAM, 'up', '--config', daemon.config], {
        stdio: ['ignore', file, file],
      });
      const ended = once(child, 'exit');
      try {
        await waitUntil('the log grows', async () => (await readFile(log, 'utf8')).includes('period rated'));
        assert.equal(disk.fill(), 'ENOSPC');
        const { size } = await stat(log);
        const all = async () => (await periodsStored(daemon.url)) === PERIODS * SCOPES.length;
        await waitUntil('everything is rated', all, { timeoutMs: 60_000 });
        assert.ok(
          (await stat(log)).size <= Math.ceil(size / 4096) * 4096,
          'no block could be added to the log',
        );
        disk.free();
        child.kill('SIGTERM');
        assert.deepEqual(await ended, [0, null]);
        assert.match(await readFile(log, 'utf8'), /INFO {2}stopped\n$/, 'the log goes on');
        await assertWhole(daemon.url, { scopes: SCOPES, start: START, period: 3600, least: PERIODS });
      } finally {
        child.kill('SIGKILL');
        await ended;
        await disk.remove();
      }
    });
  });
}
