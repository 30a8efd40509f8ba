import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { openDatabase } from '../../core/database/open-database.js';
import { assertInvariants } from '../support/invariants.js';
import { type Cut, type Direction, PacketProxy } from '../support/packet-proxy.js';
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

const PERIODS = 3_000;
/** A daemon's own pauses shift the packets a little; so often a whole period must pass without the n-th. */
const PERIODS_WITHOUT = 5;

/** Counted from a commit on, or from a first cut on, after which the daemon has to connect and to prepare everything anew. */
type From = 'commit' | 'cut';

const SWEEPS = (['request', 'answer'] as const).flatMap((direction) =>
  (process.env.FAULT_LONG === undefined ? ['commit' as const] : ['commit' as const, 'cut' as const]).map(
    (from) => ({ from, direction }),
  ),
);

if (serviceInstalled('mariadb')) {
  describe('a connection to MariaDB that is cut in place of its n-th packet', () => {
    let mariadb: Mariadb;
    before(async () => {
      mariadb = await startMariadb();
    });
    after(async () => {
      await clearAway();
      await mariadb.stop();
    });

    for (const { from, direction } of SWEEPS) {
      it(`loses and doubles nothing, for every n from a ${from} to the next commit (${direction}s)`, async (test) => {
        const database = `${from}_${direction}`;
        const direct = await mariadb.createDatabase(database);
        const proxy = await PacketProxy.start(mariadb.port);
        const start = lastDue() - PERIODS * 3600;
        const daemon = await smallDaemon({
          url: `mysql://ratecat:ratecat@127.0.0.1:${proxy.port}/${database}`,
          start,
          scopes: ['alpha'],
          change: { log: { level: 'warn' }, processor: { lease_seconds: 60, concurrent_scopes: 1 } },
        });
        const swept = sweep(proxy, from, direction);
        const up = startDaemon(daemon);
        await waitUntil('every packet of a period was cut once', () => swept.isDone, { daemon: up });
        const cuts = swept.cuts.length;
        test.diagnostic(`${cuts} cuts`);
        const stored = await periodsStored(direct);
        assert.ok(stored < PERIODS, `all was rated before the last cut (${stored})`);
        await waitUntil('rating goes on', async () => (await periodsStored(direct)) >= stored + 20, {
          daemon: up,
        });
        const { code, stderr } = await up.stop();
        await proxy.stop();
        assert.equal(code, 0, stderr.slice(-3000));
        assert.doesNotMatch(stderr, /internal error/);
        assert.deepEqual(
          swept.cuts.map(({ packet }) => packet),
          Array.from({ length: swept.cuts.length }, (_, index) => index + 1),
          'every n once',
        );
        for (const statement of [
          /^COMMIT$/,
          /^BEGIN$/,
          /^UPDATE ratecat_scopes/,
          /sql_points/,
          /sql_monthly/,
        ])
          assert.ok(
            swept.cuts.some((cut) => statement.test(cut.statement)),
            `${statement} was never cut: ${JSON.stringify(swept.cuts)}`,
          );
        await assertInvariants(direct, { scopes: ['alpha'], start, period: 3600, least: stored });
      });
    }

    it('while it is being opened fails with an error that says to try again, for every n', async () => {
      const name = 'opened';
      await mariadb.createDatabase(name);
      for (const direction of ['request', 'answer'] as const) {
        const proxy = await PacketProxy.start(mariadb.port);
        const url = `mysql://ratecat:ratecat@127.0.0.1:${proxy.port}/${name}`;
        for (let packet = 1; ; packet++) {
          proxy.arm(packet, direction);
          const answer = await ask(url).catch((error: { code?: string; retryable?: boolean }) => {
            assert.equal(error.code, 'RATECAT_DATABASE_UNAVAILABLE', String(error));
            assert.equal(error.retryable, true);
            return 'refused';
          });
          if (answer !== 'refused') assert.deepEqual(answer, [[1]]);
          if (proxy.isArmed) break;
        }
        assert.ok(proxy.cuts.some(({ statement }) => statement === 'log in'));
        assert.ok(proxy.cuts.length >= 6, `${proxy.cuts.length} cuts`);
        proxy.disarm();
        assert.deepEqual(await ask(url), [[1]]);
        await proxy.stop();
      }
    });
  });
}

async function ask(url: string): Promise<unknown> {
  const database = await openDatabase(url);
  try {
    return await database.query('SELECT 1');
  } finally {
    await database.close();
  }
}

/** Cuts the first packet, another time the second, and so on, until periods have no more. */
function sweep(proxy: PacketProxy, from: From, direction: Direction) {
  let packet = 1;
  let without = 0;
  let isDone = false;
  let isRated = false;
  const cuts: Cut[] = [];
  const armNext = () => {
    if (from === 'commit') proxy.arm(packet, direction);
    else proxy.arm(1, 'request');
  };
  let isFirst = from === 'cut';
  proxy.onCut = (cut) => {
    if (isFirst) proxy.arm(packet, direction);
    else {
      cuts.push(cut);
      packet++;
      without = 0;
    }
    isFirst = false;
  };
  proxy.onPassed = (each, statement) => {
    if (/^INSERT INTO `ratecat_sql_points`/.test(statement)) isRated = true;
    if (isDone || !isRated || each !== 'answer' || statement !== 'COMMIT') return;
    // A period's own commit: counting starts with what follows it.
    isRated = false;
    if (proxy.isArmed && !isFirst && ++without >= PERIODS_WITHOUT) {
      isDone = true;
      proxy.disarm();
      return;
    }
    isFirst = from === 'cut';
    armNext();
  };
  return {
    /** Those that were counted. */
    cuts,
    get isDone() {
      return isDone;
    },
  };
}
