import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { serviceInstalled } from '../support/require-service.js';
import { type Mariadb, startMariadb } from '../support/services/mariadb.js';
import {
  assertWhole,
  clearAway,
  periodsStored,
  type SmallDaemon,
  smallDaemon,
  startDaemon,
  waitUntil,
} from '../support/small-daemon.js';
import { storedPrices } from '../support/stored-prices.js';

const LIBRARY = ['x86_64-linux-gnu', 'aarch64-linux-gnu', '']
  .map((triplet) => join('/usr/lib', triplet, 'faketime/libfaketimeMT.so.1'))
  .find(existsSync);
const SCOPES = ['alpha', 'beta'];
const PERIOD = 2;

function installed(): boolean {
  if (LIBRARY !== undefined) return true;
  const advice = "faketime not installed; 'sudo .ci/install-services' installs it";
  if (process.env.CI) throw new Error(`tests cannot run: ${advice}`);
  process.stderr.write(`NOT RUN: ${advice}\n`);
  return false;
}

/** A daemon whose wall clock obeys a file; monotonic time goes on as always. */
async function clockwork(database: { readonly url?: string } = {}) {
  const start = Math.floor(Date.now() / 1000 / PERIOD) * PERIOD - 5 * PERIOD;
  const daemon = await smallDaemon({ ...database, start, scopes: SCOPES, period: PERIOD });
  const file = join(daemon.folder, 'clock');
  const set = (offset: string) => writeFile(file, `${offset}\n`);
  await set('+0');
  const environment = {
    LD_PRELOAD: LIBRARY,
    FAKETIME_TIMESTAMP_FILE: file,
    FAKETIME_NO_CACHE: '1',
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
  };
  return { daemon, start, set, up: () => startDaemon(daemon, environment) };
}

/** The last period that is stored, of any scope. */
async function newest({ url }: SmallDaemon): Promise<number> {
  return Math.max(...(await storedPrices(url)).map(({ begin }) => begin));
}

async function assertNothingFromTheFuture(daemon: SmallDaemon): Promise<void> {
  const end = (await newest(daemon)) + PERIOD;
  assert.ok(end <= Date.now() / 1000, `a period up to ${end} is stored at ${Date.now() / 1000}`);
}

if (installed()) {
  describe('a clock that is set', { concurrency: 2 }, () => {
    after(clearAway);

    for (const ahead of ['+1h', '+1y']) {
      it(`ahead (${ahead}) while the daemon runs: no future period is rated, today's go on`, async () => {
        const { daemon, start, set, up } = await clockwork();
        const running = up();
        await waitUntil('periods are stored', async () => (await periodsStored(daemon.url)) >= 10, {
          daemon: running,
        });
        await set(ahead);
        await running.until(/the clock jumped ahead.*seconds=\d{4,}/);
        const before = await periodsStored(daemon.url);
        const goesOn = async () => (await periodsStored(daemon.url)) >= before + 6;
        await waitUntil('rating goes on at the old pace', goesOn, { daemon: running });
        await assertNothingFromTheFuture(daemon);
        await set('+0');
        const after = await periodsStored(daemon.url);
        await waitUntil('rating goes on', async () => (await periodsStored(daemon.url)) >= after + 4, {
          daemon: running,
        });
        assert.equal((await running.stop()).code, 0);
        await assertNothingFromTheFuture(daemon);
        await assertWhole(daemon.url, { scopes: SCOPES, start, period: PERIOD, least: 8 });
      });
    }

    for (const back of ['-1h', '-1y']) {
      it(`back (${back}) while the daemon runs, and over a restart: it waits, says so, and leaves no gap`, async () => {
        const { daemon, start, set, up } = await clockwork();
        let running = up();
        await waitUntil('periods are stored', async () => (await periodsStored(daemon.url)) >= 10, {
          daemon: running,
        });
        await set(back);
        await running.until(/the clock went back.*seconds=\d{4,}/);
        const frozen = await periodsStored(daemon.url);
        assert.equal((await running.stop()).code, 0);
        running = up();
        await running.until(/the clock is behind the last rated period/);
        // Long enough for several periods, if any were rated: the wait is what is under test.
        const from = Date.now();
        await waitUntil('three periods have passed', () => Date.now() - from > 3 * PERIOD * 1000, {
          daemon: running,
        });
        const waited = await periodsStored(daemon.url);
        assert.ok(
          waited <= frozen + SCOPES.length,
          `${waited - frozen} periods were rated by a clock in the past`,
        );
        assert.equal((await running.stop()).code, 0);
        await set('+0');
        running = up();
        await waitUntil('rating goes on', async () => (await periodsStored(daemon.url)) >= waited + 6, {
          daemon: running,
        });
        assert.equal((await running.stop()).code, 0);
        await assertNothingFromTheFuture(daemon);
        await assertWhole(daemon.url, { scopes: SCOPES, start, period: PERIOD, least: 8 });
      });
    }
  });
}

if (installed() && serviceInstalled('mariadb')) {
  describe('a clock that is ahead of the database server at the start', () => {
    let mariadb: Mariadb;
    before(async () => {
      mariadb = await startMariadb();
    });
    after(async () => {
      await clearAway();
      await mariadb.stop();
    });

    for (const ahead of ['+1h', '+1y']) {
      it(`(${ahead}) is doubted: no future period is rated over a restart, today's go on`, async () => {
        const url = await mariadb.createDatabase(`ahead_${ahead.slice(1)}`);
        const { daemon, start, set, up } = await clockwork({ url });
        let running = up();
        await waitUntil('periods are stored', async () => (await periodsStored(url)) >= 10, {
          daemon: running,
        });
        assert.equal((await running.stop()).code, 0);
        await set(ahead);
        const before = await periodsStored(url);
        running = up();
        await running.until(/the clock is ahead of the database server.*seconds=\d{4,}/);
        const goesOn = async () => (await periodsStored(url)) >= before + 6;
        await waitUntil("rating goes on at the server's pace", goesOn, { daemon: running });
        await assertNothingFromTheFuture(daemon);
        assert.equal((await running.stop()).code, 0);
        await assertWhole(url, { scopes: SCOPES, start, period: PERIOD, least: 8 });
      });
    }
  });
}
