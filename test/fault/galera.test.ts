import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { migrate } from '../../core/database/migrate.js';
import { CORE_MIGRATIONS } from '../../core/database/migrations/core.js';
import { openDatabase } from '../../core/database/open-database.js';
import { Leases } from '../../core/scopes/leases.js';
import { ScopeStates } from '../../core/scopes/scope-states.js';
import { VirtualClock } from '../../core/testkit/fakes.js';
import type { Command } from '../support/daemon.js';
import { assertInvariants } from '../support/invariants.js';
import { serviceInstalled } from '../support/require-service.js';
import { type Galera, startGalera } from '../support/services/galera.js';
import { canMakeNetworks, TestNetwork } from '../support/services/network.js';
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
    const network = canMakeNetworks() ? new TestNetwork(3) : undefined;
    let galera: Galera;
    before(async () => {
      galera = await startGalera({ network });
    });
    after(async () => {
      await clearAway();
      await galera?.stop();
      network?.remove();
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

    it('loses and doubles nothing while the node that is written to is cut off from the others, though not from us', async (test) => {
      await galera.createDatabase('partition');
      const daemons = [await processorOn(0, 'partition', 20), await processorOn(1, 'partition', 20)];
      const ups = [startDaemon(daemons[0]!)];
      await stored('partition', 2, 10, ups);
      ups.push(startDaemon(daemons[1]!, {}, 'processor'));
      await stored('partition', 2, 80, ups);
      const [lonely] = galera.nodes;
      // Without namespaces the node itself is told to hear nobody.
      const isolate = (on: 0 | 1) =>
        lonely!.query(`SET GLOBAL wsrep_provider_options = 'gmcast.isolate=${on}'`);
      test.diagnostic(network === undefined ? 'by gmcast.isolate' : 'by network namespaces');
      if (network === undefined) await isolate(1);
      else network.separate(0);
      await waitUntil(
        'the node knows that it is alone',
        async () => (await clusterStatus(0)) === 'non-Primary',
      );
      await galera.waitForSize(2, 1);
      const before = await periodsStored(galera.url('partition', 1));
      assert.ok(before < PERIODS * SCOPES.length, `all was rated before the cut (${before})`);
      await assert.rejects(lonely!.query('SELECT * FROM partition.ratecat_scopes'), { errno: 1047 });
      await stored('partition', 1, before + 100, ups);
      if (network === undefined) await isolate(0);
      else network.rejoin(0);
      await galera.waitForSize(3, 1);
      await galera.waitForSize(3, 0);
      await stored('partition', 2, PERIODS * SCOPES.length, ups);
      await stopAndCheck('partition', ups);
    });

    it('loses and doubles nothing while a node joins that needs everything anew', async () => {
      await galera.createDatabase('joining');
      const daemons = [await processorOn(0, 'joining', 20), await processorOn(1, 'joining', 20)];
      const ups = [startDaemon(daemons[0]!)];
      await stored('joining', 1, 10, ups);
      ups.push(startDaemon(daemons[1]!, {}, 'processor'));
      const joiner = galera.nodes[2]!;
      await joiner.shutDown();
      await joiner.forgetPosition();
      await stored('joining', 1, 80, ups);
      const transfers = () => joiner.log.match(/SST received|SST succeeded/g)?.length ?? 0;
      const transfersBefore = transfers();
      const before = await periodsStored(galera.url('joining', 1));
      assert.ok(before < PERIODS * SCOPES.length, `all was rated before the transfer (${before})`);
      await joiner.start();
      await galera.waitForSize(3, 2);
      assert.ok(transfers() > transfersBefore, 'the whole state was transferred');
      await stored('joining', 2, PERIODS * SCOPES.length, ups);
      await stopAndCheck('joining', ups);
    });

    async function clusterStatus(node: number): Promise<unknown> {
      const [row] = await galera.nodes[node]!.query("SHOW STATUS LIKE 'wsrep_cluster_status'");
      return row?.Value;
    }

    /** Waits until so many periods are seen on a node. */
    async function stored(
      name: string,
      node: number,
      wanted: number,
      ups: readonly Command[],
    ): Promise<void> {
      const url = galera.url(name, node);
      await waitUntil(`${wanted} periods are stored`, async () => (await periodsStored(url)) >= wanted, {
        daemon: ups[0]!,
        timeoutMs: 120_000,
      });
    }

    async function stopAndCheck(name: string, ups: readonly Command[]): Promise<void> {
      for (const up of ups) {
        const { code, stderr } = await up.stop();
        assert.equal(code, 0, stderr.slice(-3000));
        assert.doesNotMatch(stderr, /internal error/);
      }
      const whole = { scopes: SCOPES, start: START, period: 3600, least: PERIODS };
      for (const { port, user, password, host } of galera.nodes)
        await assertInvariants(`mysql://${user}:${password}@${host}:${port}/${name}`, whole);
    }

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
