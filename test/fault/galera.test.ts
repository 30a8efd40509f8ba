import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { migrate } from '../../core/database/migrate.js';
import { CORE_MIGRATIONS } from '../../core/database/migrations/core.js';
import { openDatabase } from '../../core/database/open-database.js';
import { Leases } from '../../core/scopes/leases.js';
import { ScopeStates } from '../../core/scopes/scope-states.js';
import { VirtualClock } from '../../core/testkit/fakes.js';
import { serviceInstalled } from '../support/require-service.js';
import { type Galera, startGalera } from '../support/services/galera.js';
import {
  assertWhole,
  clearAway,
  lastDue,
  periodsStored,
  type SmallDaemon,
  smallDaemon,
  startDaemon,
  waitUntil,
} from '../support/small-daemon.js';

const PERIODS = 300;
const START = lastDue() - PERIODS * 3600;
const SCOPES = ['alpha', 'beta', 'gamma', 'delta'];
const RACES = 200;

if (serviceInstalled('galera')) {
  describe('a Galera cluster of three nodes', () => {
    let galera: Galera;
    before(async () => {
      galera = await startGalera();
    });
    after(async () => {
      await clearAway();
      await galera?.stop();
    });

    /** A processor that prefers one node and knows them all; two of them share the scopes. */
    function processorOn(node: number, database: string, collectDelayMs: number): Promise<SmallDaemon> {
      return smallDaemon({
        url: galera.url(database, node),
        start: START,
        scopes: SCOPES,
        collectDelayMs,
        // Well above the time that the survivors wait for a silent node.
        change: { processor: { lease_seconds: 15, concurrent_scopes: 2 } },
      });
    }

    it(`has exactly one winner in each of ${RACES} races for a lease between two nodes`, async () => {
      await galera.createDatabase('races');
      const databases = await Promise.all([0, 1].map((node) => openDatabase(galera.url('races', node))));
      await migrate(databases[0]!, [{ module: 'core', migrations: CORE_MIGRATIONS }]);
      const states = databases.map((database) => new ScopeStates(database));
      const pipeline = { source: 'default', fetcher: 'static', collector: 'file' };
      await states[0]!.add(pipeline, [{ key: 'project_id', id: 'a' }], 0);
      for (let race = 0; race < RACES; race++) {
        const [seen] = await states[0]!.list();
        const contenders = databases.map(
          (database, index) => new Leases(database, new VirtualClock(), `node${index}`, 60),
        );
        const taken = await Promise.all(contenders.map((leases) => leases.take(seen!)));
        const winners = taken.filter((lease) => lease !== undefined);
        assert.equal(winners.length, 1, `race ${race}`);
        await contenders.find(({ owner }) => owner === winners[0]!.owner)!.release(winners[0]!);
      }
      await Promise.all(databases.map((database) => database.close()));
    });

    it('loses and doubles nothing while the node that is written to is killed and comes back', async () => {
      await galera.createDatabase('killed');
      const first = await processorOn(0, 'killed', 20);
      const second = await processorOn(1, 'killed', 20);
      const ups = [startDaemon(first)];
      await waitUntil('the tables are there', async () => (await periodsStored(first.url)) > 4, {
        daemon: ups[0]!,
      });
      ups.push(startDaemon(second, {}, 'processor'));
      await periods(galera.url('killed', 2), 80);
      await galera.nodes[0]!.kill();
      await galera.waitForSize(2, 1);
      const before = await periodsStored(galera.url('killed', 1));
      assert.ok(before < PERIODS * SCOPES.length, `all was rated before the kill (${before})`);
      await periods(galera.url('killed', 1), before + 80);
      await galera.nodes[0]!.start();
      await galera.waitForSize(3, 1);
      await periods(galera.url('killed', 2), PERIODS * SCOPES.length);
      for (const up of ups) {
        const { code, stderr } = await up.stop();
        assert.equal(code, 0, stderr.slice(-3000));
        assert.doesNotMatch(stderr, /internal error/);
      }
      // The node that came back has what the others have.
      for (const node of [0, 1, 2])
        await assertWhole(galera.url('killed', node), {
          scopes: SCOPES,
          start: START,
          period: 3600,
          least: PERIODS,
        });

      async function periods(url: string, wanted: number): Promise<void> {
        await waitUntil(`${wanted} periods are stored`, async () => (await periodsStored(url)) >= wanted, {
          daemon: ups[0]!,
          timeoutMs: 120_000,
        });
      }
    });

    it('is upgraded node by node without a stop of ours', async () => {
      await galera.createDatabase('rolling');
      const daemon = await processorOn(0, 'rolling', 400);
      const up = startDaemon(daemon);
      for (const node of [0, 1, 2]) {
        const before = await periodsStored(galera.url('rolling', (node + 1) % 3));
        await waitUntil(
          'periods are stored',
          async () => (await periodsStored(galera.url('rolling', (node + 1) % 3))) >= before + 30,
          { daemon: up },
        );
        await galera.nodes[node]!.restart();
        await galera.waitForSize(3, node);
      }
      await waitUntil(
        'everything is rated',
        async () => (await periodsStored(galera.url('rolling', 1))) === PERIODS * SCOPES.length,
        { daemon: up, timeoutMs: 120_000 },
      );
      assert.equal((await up.stop()).code, 0);
      await assertWhole(galera.url('rolling', 2), {
        scopes: SCOPES,
        start: START,
        period: 3600,
        least: PERIODS,
      });
    });
  });
}
