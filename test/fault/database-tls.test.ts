import assert from 'node:assert/strict';
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type KeyPair, TestAuthority } from '../support/certificates.js';
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

const PERIODS = 300;
const SCOPES = ['alpha', 'beta'];

if (serviceInstalled('mariadb')) {
  describe('a daemon that asks MariaDB for TLS', () => {
    const authority = new TestAuthority();
    const stranger = new TestAuthority('Somebody else');
    const live = { cert: join(authority.folder, 'live.pem'), key: join(authority.folder, 'live.key') };
    const good = authority.issue({ names: 'IP:127.0.0.1' });
    let mariadb: Mariadb;
    before(async () => {
      install(good);
      mariadb = await startMariadb({ arguments: [`--ssl-cert=${live.cert}`, `--ssl-key=${live.key}`] });
    });
    after(async () => {
      await clearAway();
      await mariadb.stop();
      authority.remove();
      stranger.remove();
    });

    function install({ cert, key }: KeyPair): void {
      copyFileSync(cert, live.cert);
      copyFileSync(key, live.key);
    }

    async function present(pair: KeyPair): Promise<void> {
      install(pair);
      await mariadb.query('FLUSH SSL');
    }

    for (const [what, pair, reason] of [
      ['of a stranger', stranger.issue({ names: 'IP:127.0.0.1' }), /unable to verify/],
      ['for another machine', authority.issue({ names: 'DNS:localhost' }), /does not match/],
      ['that has expired', authority.issue({ names: 'IP:127.0.0.1', days: -1 }), /has expired/],
    ] as const) {
      it(`does not start with a certificate ${what}, and says so in one line`, async () => {
        const database = await mariadb.createDatabase('untrusted');
        await present(pair);
        const daemon = await smallDaemon({ url: `${database}?ssl_ca=${authority.ca}` });
        const { code, stderr } = await ratecat('up', '--config', daemon.config);
        assert.equal(code, 77, stderr);
        assert.match(
          stderr,
          /^error: TLS with database 'untrusted' .*ssl_ca.*\[RATECAT_DATABASE_REFUSED\]\n$/,
        );
        assert.match(stderr, reason);
        assert.doesNotMatch(stderr, /:ratecat@/);
        const tables = "SELECT 1 FROM information_schema.tables WHERE table_schema = 'untrusted'";
        assert.deepEqual(await mariadb.query(tables), [], 'nothing was done');
      });
    }

    it('waits while the certificate has expired, and goes on when it is renewed: nothing lost, nothing twice', async () => {
      await present(good);
      const direct = await mariadb.createDatabase('renewed');
      const start = lastDue() - PERIODS * 3600;
      const url = `${direct}?ssl_ca=${authority.ca}`;
      const daemon = await smallDaemon({ url, start, scopes: SCOPES, collectDelayMs: 10 });
      const up = startDaemon(daemon);
      await waitUntil('periods are stored', async () => (await periodsStored(direct)) > 20, { daemon: up });
      await present(authority.issue({ names: 'IP:127.0.0.1', days: -1 }));
      const open = "SELECT id FROM information_schema.processlist WHERE user = 'ratecat'";
      for (const { id } of await mariadb.query(open))
        await mariadb.query(`KILL ${String(id)}`).catch((error) => assert.equal(error.errno, 1094));
      await waitUntil('the daemon says why', () => /certificate has expired/.test(up.stderr), { daemon: up });
      const stored = await periodsStored(direct);
      assert.ok(stored < PERIODS * SCOPES.length, `all was rated before (${stored})`);
      await present(authority.issue({ names: 'IP:127.0.0.1' }));
      const all = async () => (await periodsStored(direct)) === PERIODS * SCOPES.length;
      await waitUntil('everything is rated', all, { daemon: up, timeoutMs: 60_000 });
      const { code, stderr } = await up.stop();
      assert.equal(code, 0, stderr.slice(-3000));
      assert.doesNotMatch(stderr, /internal error|:ratecat@/);
      await assertInvariants(direct, { scopes: SCOPES, start, period: 3600, least: PERIODS });
    });
  });
}
