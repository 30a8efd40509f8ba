import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { SeededRandom } from '../simulation/seeded-random.js';
import type { Command } from '../support/daemon.js';
import { assertInvariants } from '../support/invariants.js';
import { PacketProxy } from '../support/packet-proxy.js';
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
import { canMount, smallDisk } from '../support/small-disk.js';

const SEED = Number(process.env.FAULT_SEED ?? Date.now() % 1_000_000);
const SCOPES = ['alpha', 'beta'];
const KILLS = 10;
const INTERRUPTIONS = 5;

interface Disturbance {
  /** As the daemon is told it. */
  readonly url: string;
  readonly periods?: number;
  readonly collectDelayMs?: number;
  /** What lines above INFO may say; by default anything but what a bug would leave. */
  readonly mayLog?: RegExp;
  disturb(up: Command): Promise<void>;
}

/** A daemon that catches up, is disturbed on the way, ends the work and stops with nothing lost and nothing twice. */
async function survives(direct: string, disturbance: Disturbance): Promise<void> {
  const { url, periods = 300, collectDelayMs = 10, disturb } = disturbance;
  const start = lastDue() - periods * 3600;
  const daemon = await smallDaemon({ url, start, scopes: SCOPES, collectDelayMs });
  const up = startDaemon(daemon);
  await progress(up, direct, 10);
  await disturb(up);
  const stored = await periodsStored(direct);
  assert.ok(stored < periods * SCOPES.length, `all was rated before the fault was over (${stored})`);
  const all = async () => (await periodsStored(direct)) === periods * SCOPES.length;
  await waitUntil('everything is rated', all, { daemon: up, timeoutMs: 60_000 });
  const { code, stderr } = await up.stop();
  assert.equal(code, 0, stderr.slice(-3000));
  assert.doesNotMatch(stderr, /internal error|\n {4}at /);
  assert.doesNotMatch(stderr, /:ratecat@/, 'the password is in no log');
  if (disturbance.mayLog !== undefined) {
    for (const line of stderr.split('\n').filter((each) => /^\S+ (WARN|ERROR)/.test(each)))
      assert.match(line, disturbance.mayLog);
  }
  await assertInvariants(direct, { scopes: SCOPES, start, period: 3600, least: periods });
}

/** A foreign transaction that keeps what every commit of a period needs. */
function holdLock(database: string, seconds: number): string {
  return (
    `BEGIN NOT ATOMIC START TRANSACTION; UPDATE ${database}.ratecat_sql_scopes SET writes = writes; ` +
    `DO SLEEP(${seconds}); ROLLBACK; END`
  );
}

async function progress(up: Command, url: string, periods: number): Promise<void> {
  const before = await periodsStored(url);
  await waitUntil('periods are stored', async () => (await periodsStored(url)) >= before + periods, {
    daemon: up,
  });
}

if (serviceInstalled('mariadb')) {
  describe('a MariaDB that refuses for a while', () => {
    let mariadb: Mariadb;
    before(async () => {
      mariadb = await startMariadb();
      await mariadb.query("CREATE USER 'plain'@'127.0.0.1' IDENTIFIED BY 'ratecat'");
    });
    after(async () => {
      await clearAway();
      await mariadb.stop();
    });

    /** A database, and a user whose rights end there. */
    async function plainDatabase(name: string): Promise<{ direct: string; url: string }> {
      const direct = await mariadb.createDatabase(name);
      await mariadb.query(`GRANT ALL ON \`${name}\`.* TO 'plain'@'127.0.0.1'`);
      return { direct, url: direct.replace('//ratecat:', '//plain:') };
    }

    async function counter(name: string): Promise<number> {
      return Number((await mariadb.query(`SHOW GLOBAL STATUS LIKE '${name}'`))[0]!.Value);
    }

    it('as read-only is waited for, and told apart', async () => {
      const { direct, url } = await plainDatabase('read_only');
      await survives(direct, {
        url,
        mayLog: /RATECAT_DATABASE_READ_ONLY|is read-only|rates again|again/,
        async disturb(up) {
          await mariadb.query('SET GLOBAL read_only = 1');
          try {
            await waitUntil('the daemon says so', () => /is read-only \(/.test(up.stderr), { daemon: up });
            const stored = await periodsStored(direct);
            await waitUntil('it has tried again', () => up.stderr.split('is read-only (').length > 3, {
              daemon: up,
            });
            assert.equal(await periodsStored(direct), stored, 'nothing was written');
          } finally {
            await mariadb.query('SET GLOBAL read_only = 0');
          }
        },
      });
    });

    it('closing whatever idles for a second is not even noticed', async () => {
      const { direct, url } = await plainDatabase('idle');
      await mariadb.query('SET GLOBAL wait_timeout = 1');
      try {
        const closed = await counter('Aborted_clients');
        await survives(direct, {
          url,
          periods: 8,
          collectDelayMs: 1_300,
          mayLog: /^$/,
          async disturb() {
            /* The pauses of the collector do it. */
          },
        });
        const times = (await counter('Aborted_clients')) - closed;
        assert.ok(times >= 3, `${times} connections were closed`);
      } finally {
        await mariadb.query('SET GLOBAL wait_timeout = 28800');
      }
    });

    it('letting every lock time out is waited for', async () => {
      const { direct, url } = await plainDatabase('locked');
      const proxy = await PacketProxy.start(mariadb.port);
      proxy.replacement = ['innodb_lock_wait_timeout = 30', 'innodb_lock_wait_timeout = 01'];
      await survives(direct, {
        url: url.replace(`:${mariadb.port}/`, `:${proxy.port}/`),
        async disturb(up) {
          const timedOut = () => proxy.errors.get(1205) ?? 0;
          await mariadb.query(holdLock('locked', 4));
          assert.ok(timedOut() >= 2, `${timedOut()} time-outs`);
          await progress(up, direct, 10);
        },
      });
      await proxy.stop();
    });

    it(`killing connections and waiting statements is survived (${KILLS} and ${INTERRUPTIONS}, seed ${SEED})`, async () => {
      const { direct, url } = await plainDatabase('killing');
      const random = new SeededRandom(SEED);
      const proxy = await PacketProxy.start(mariadb.port);
      const sessions = (which: string) =>
        mariadb.query(`SELECT id FROM information_schema.processlist WHERE user = 'plain' ${which}`);
      await survives(direct, {
        url: url.replace(`:${mariadb.port}/`, `:${proxy.port}/`),
        periods: 600,
        async disturb(up) {
          const killConnection = async () => {
            const found = await sessions('');
            if (found.length === 0) return false;
            return kill('CONNECTION', found[random.below(found.length)]!.id);
          };
          const interrupt = async () => {
            let isHeld = true;
            const lock = mariadb.query(holdLock('killing', 0.3)).finally(() => {
              isHeld = false;
            });
            while (isHeld) {
              const [waiting] = await sessions("AND time_ms > 20 AND info LIKE '%sql_scopes%'");
              if (waiting === undefined) continue;
              await kill('QUERY', waiting.id);
              break;
            }
            await lock;
          };
          for (let killed = 0; killed < KILLS; ) {
            if (await killConnection()) killed++;
            if (killed % 3 === 0) await progress(up, direct, 1);
          }
          const interrupted = async () => {
            await interrupt();
            return (proxy.errors.get(1317) ?? 0) >= INTERRUPTIONS;
          };
          await waitUntil('enough was interrupted', interrupted, { daemon: up });
        },
      });
      await proxy.stop();
    });

    async function kill(what: 'CONNECTION' | 'QUERY', id: unknown): Promise<boolean> {
      try {
        await mariadb.query(`KILL ${what} ${String(id)}`);
        return true;
      } catch (error) {
        // It may have ended by itself since.
        assert.equal((error as { errno?: number }).errno, 1094);
        return false;
      }
    }
  });

  if (canMount())
    describe('a MariaDB whose tables have no room left', () => {
      it('is waited for, and nothing is lost or doubled when there is room again', async () => {
        const mariadb = await startMariadb();
        const direct = await mariadb.createDatabase('small');
        const [{ datadir } = {}] = await mariadb.query('SELECT @@datadir AS datadir');
        // Only the tables: without room for its own logs the server would give up altogether.
        const disk = await smallDisk(12, { folder: `${datadir}small`, like: String(datadir) });
        try {
          await survives(direct, {
            url: direct,
            periods: 600,
            async disturb(up) {
              assert.equal(disk.fill(), 'ENOSPC');
              await waitUntil('the daemon says so', () => /no space left/.test(up.stderr), { daemon: up });
              const stored = await periodsStored(direct);
              await waitUntil('it has tried again', () => up.stderr.split('no space left').length > 3, {
                daemon: up,
              });
              assert.equal(await periodsStored(direct), stored, 'nothing was written');
              disk.free();
            },
          });
        } finally {
          await clearAway();
          await mariadb.shutDown();
          await disk.remove();
          await mariadb.stop();
        }
      });
    });
}
