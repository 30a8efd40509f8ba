import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { ratecat } from '../support/daemon.js';
import { assertInvariants } from '../support/invariants.js';
import { serviceInstalled } from '../support/require-service.js';
import { type Mariadb, startMariadb } from '../support/services/mariadb.js';
import {
  clearAway,
  lastDue,
  periodsStored,
  smallDaemon,
  startDaemon,
  waitUntil,
} from '../support/small-daemon.js';

const KILLS = Number(process.env.FAULT_DATABASE_KILLS ?? 3);
const PERIODS = 130 * (KILLS + 1);
const PERIODS_BETWEEN_KILLS = 25;
const SCOPES = ['alpha', 'beta'];

if (serviceInstalled('mariadb')) {
  describe('a MariaDB that goes away', () => {
    let mariadb: Mariadb;
    before(async () => {
      mariadb = await startMariadb();
    });
    after(async () => {
      await clearAway();
      await mariadb.stop();
    });

    it(`is waited for, ${KILLS} times killed with -9: no period is lost or doubled, no restart of ours needed`, async () => {
      const url = await mariadb.createDatabase('killed');
      const start = lastDue() - PERIODS * 3600;
      const daemon = await smallDaemon({ url, start, scopes: SCOPES, collectDelayMs: 15 });
      const up = startDaemon(daemon);
      for (let kills = 0; kills < KILLS; kills++) {
        const before = await periodsStored(url);
        const progress = async () => (await periodsStored(url)) >= before + PERIODS_BETWEEN_KILLS;
        await waitUntil('periods are stored', progress, { daemon: up });
        const told = () => up.stderr.match(/RATECAT_DATABASE|database/g)?.length ?? 0;
        const toldBefore = told();
        await mariadb.kill('SIGKILL');
        assert.equal(mariadb.isRunning, false);
        await waitUntil('the daemon says that the database is gone', () => told() > toldBefore, {
          daemon: up,
        });
        await mariadb.start();
      }
      const stored = await periodsStored(url);
      assert.ok(stored < PERIODS * SCOPES.length, `all was rated before the last kill (${stored})`);
      const all = async () => (await periodsStored(url)) === PERIODS * SCOPES.length;
      await waitUntil('everything is rated', all, { daemon: up, timeoutMs: 240_000 });
      const { code, stderr } = await up.stop();
      assert.equal(code, 0, stderr.slice(-3000));
      assert.doesNotMatch(stderr, /internal error/);
      assert.doesNotMatch(stderr, /:ratecat@/, 'the password is in no log');
      await assertInvariants(url, { scopes: SCOPES, start, period: 3600, least: PERIODS });
    });

    it('that refuses the password keeps the daemon from starting, without showing it', async () => {
      const url = new URL(await mariadb.createDatabase('refused'));
      url.password = 'open-sesame';
      const daemon = await smallDaemon({ url: url.href });
      const { code, stderr } = await ratecat('up', '--config', daemon.config);
      assert.equal(code, 77, stderr);
      assert.match(stderr, /^error: .*(user|credentials|password).*'?ratecat'?.*\[RATECAT_\w+\]\n$/i);
      assert.match(stderr, /database\.url/, 'the remedy is named');
      assert.doesNotMatch(stderr, /open-sesame|\n {4}at /);
    });
  });
}
