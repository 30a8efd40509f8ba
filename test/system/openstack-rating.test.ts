import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Command, writeConfig } from '../support/daemon.js';
import { serviceInstalled } from '../support/require-service.js';
import { type Gnocchi, startGnocchi } from '../support/services/gnocchi.js';
import { type Keystone, startKeystone } from '../support/services/keystone.js';
import { type Mariadb, startMariadb } from '../support/services/mariadb.js';
import { type StoredPrice, storedPrices, waitForPrices } from '../support/stored-prices.js';

const HOUR = 3600;
const NOW_HOUR = Math.floor(Date.now() / 1000 / HOUR) * HOUR;
const FIRST_HOUR = NOW_HOUR - 4 * HOUR;
const HOURS = 3;
/** One more hour becomes due where the test runs over a full hour; nothing was measured for it. */
const isMeasured = ({ begin }: StoredPrice) => begin < FIRST_HOUR + HOURS * HOUR;
const PASSWORD = 'p@ss:word/with#signs';

interface Machine {
  readonly id: string;
  readonly flavor: string;
  readonly project: string;
}

if (serviceInstalled('mariadb', 'keystone', 'gnocchi')) {
  describe('rating an OpenStack: Keystone, Gnocchi and MariaDB', () => {
    let mariadb: Mariadb;
    let keystone: Keystone;
    let gnocchi: Gnocchi;
    let daemon: Command | undefined;
    let folder: string;
    let url: string;
    let config: (password: string, overrides?: object) => Promise<string>;
    const machines: Machine[] = [];
    const volumes: { id: string; project: string }[] = [];
    let rated: readonly string[];
    let unrated: string;

    before(async () => {
      mariadb = await startMariadb();
      const starting = startKeystone({ mariadb });
      [keystone, gnocchi] = await Promise.all([starting, startGnocchi({ mariadb, keystone: starting })]);
      const service = await keystone.ensureProject('service');
      const user = await keystone.createUser('ratecat', PASSWORD);
      await keystone.grantRole({ user, role: 'admin', project: service });
      const projects = await Promise.all(
        ['shop', 'lab', 'other'].map((name) => keystone.createProject(name)),
      );
      await keystone.grantRole({ user, role: 'rating', project: projects[0]! });
      await keystone.grantRole({ user, role: 'rating', project: projects[1]! });
      rated = [projects[0]!.id, projects[1]!.id];
      unrated = projects[2]!.id;
      await fillGnocchi(projects.map(({ id }) => id));
      folder = await mkdtemp(join(tmpdir(), 'ratecat-openstack-'));
      url = await mariadb.createDatabase('ratecat');
      config = (password, overrides = {}) => newConfig(password, overrides);
    });

    after(async () => {
      await daemon?.stop();
      await gnocchi?.stop();
      await keystone?.stop();
      await mariadb?.stop();
      if (folder !== undefined) await rm(folder, { recursive: true, force: true });
    });

    async function fillGnocchi(projects: readonly string[]): Promise<void> {
      await gnocchi.createArchivePolicy({
        name: 'hourly',
        definition: [{ granularity: '1:00:00', timespan: '30 days' }],
        aggregationMethods: ['mean', 'max'],
      });
      await gnocchi.createResourceType('instance', {
        flavor_name: { type: 'string', required: false, max_length: 255 },
      });
      await gnocchi.createResourceType('volume', {
        volume_type: { type: 'string', required: false, max_length: 255 },
      });
      const at = (hour: number) => new Date((FIRST_HOUR + hour * HOUR + 600) * 1000);
      for (const [index, projectId] of projects.entries()) {
        const id = randomUUID();
        const flavor = index === 0 ? 'm1.large' : 'm1.small';
        machines.push({ id, flavor, project: projectId });
        const machine = await gnocchi.createResource({
          type: 'instance',
          id,
          projectId,
          userId: 'u1',
          startedAt: new Date((FIRST_HOUR - HOUR) * 1000),
          attributes: { flavor_name: flavor },
          metrics: { cpu: 'hourly' },
        });
        // The machine of the first project is off in the second hour.
        const load = [12.5, index === 0 ? 0 : 3, 99.9];
        await gnocchi.pushMeasures(
          machine.metrics.cpu!,
          load.map((value, hour) => ({ timestamp: at(hour), value })),
        );
        const volumeId = randomUUID();
        volumes.push({ id: volumeId, project: projectId });
        const volume = await gnocchi.createResource({
          type: 'volume',
          id: volumeId,
          projectId,
          userId: 'u1',
          startedAt: new Date((FIRST_HOUR - HOUR) * 1000),
          attributes: { volume_type: 'ssd' },
          metrics: { 'volume.size': 'hourly' },
        });
        await gnocchi.pushMeasures(
          volume.metrics['volume.size']!,
          [10, 20, 20].map((value, hour) => ({ timestamp: at(hour), value: value + index + 0.1 })),
        );
      }
      await gnocchi.waitUntilAggregated();
    }

    function newConfig(password: string, overrides: object): Promise<string> {
      const credentials = {
        auth_url: keystone.url,
        auth_type: 'password',
        username: 'ratecat',
        password,
        user_domain_name: 'Default',
        project_name: 'service',
        project_domain_name: 'Default',
        region_name: keystone.region,
      };
      return writeConfig(
        folder,
        {
          data_folder: folder,
          database: { url },
          rating: [{ plugin: 'hashmap', rules: './rules.yml' }],
          collect: {
            period: HOUR,
            wait_periods: 2,
            scope_key: 'project_id',
            metrics: './metrics.yml',
            start: new Date(FIRST_HOUR * 1000).toISOString(),
          },
          fetcher: { plugin: 'keystone', options: credentials },
          collector: { plugin: 'gnocchi', options: credentials },
          ...overrides,
        },
        {
          'metrics.yml': {
            metrics: {
              cpu: {
                unit: 'instance',
                alt_name: 'instance',
                groupby: ['id', 'user_id', 'project_id'],
                metadata: ['flavor_name'],
                mutate: 'NUMBOOL',
                extra_args: {
                  aggregation_method: 'mean',
                  resource_type: 'instance',
                  force_granularity: HOUR,
                },
              },
              'volume.size': {
                unit: 'GiB',
                groupby: ['id', 'user_id', 'project_id'],
                metadata: ['volume_type'],
                extra_args: { aggregation_method: 'mean', resource_type: 'volume', force_granularity: HOUR },
              },
            },
          },
          'rules.yml': {
            services: {
              instance: {
                fields: {
                  flavor_name: {
                    mappings: [
                      { value: 'm1.small', type: 'flat', cost: '0.05', start: '2000-01-01' },
                      { value: 'm1.large', type: 'flat', cost: '0.2', start: '2000-01-01' },
                    ],
                  },
                },
              },
              'volume.size': { mappings: [{ type: 'flat', cost: '0.01', start: '2000-01-01' }] },
            },
          },
        },
      );
    }

    it('names a wrong password, where it stands, and keeps what is stored', async () => {
      daemon = new Command(['up', '--config', await config('wrong')]);
      await daemon.until(/Keystone refused the credentials/);
      const { stderr } = await daemon.stop();
      assert.match(stderr, /401/);
      assert.match(stderr, /password/);
      assert.doesNotMatch(stderr, /wrong"/);
      assert.deepEqual(await storedPrices(url), []);
    });

    it('rates the projects where the service user has the role, and no other', async () => {
      daemon = new Command(['up', '--config', await config(PASSWORD)]);
      const rows = await waitForPrices(url, 2 * 2 * HOURS, isMeasured);
      await daemon.stop();
      assert.deepEqual(new Set(rows.map((row) => row.scope)), new Set(rated));
      assert.ok(!rows.some((row) => row.scope === unrated));
      const price = (project: string, metric: string) =>
        rows.filter((row) => row.scope === project && row.metric === metric).map((row) => row.price);
      assert.deepEqual(price(rated[0]!, 'instance'), ['0.2', '0', '0.2']);
      assert.deepEqual(price(rated[1]!, 'instance'), ['0.05', '0.05', '0.05']);
      assert.deepEqual(price(rated[0]!, 'volume.size'), ['0.101', '0.201', '0.201']);
      assert.deepEqual(price(rated[1]!, 'volume.size'), ['0.111', '0.211', '0.211']);
      for (const row of rows.filter((candidate) => candidate.metric === 'instance')) {
        assert.equal(row.id, machines.find((machine) => machine.project === row.scope)!.id);
      }
    });

    it('keeps everything of a project that leaves the list', async () => {
      await keystone.revokeRole({
        user: await userNamed('ratecat'),
        role: 'rating',
        project: { id: rated[1]!, name: 'lab' },
      });
      daemon = new Command(['up', '--config', await config(PASSWORD)]);
      await missing(rated[1]!);
      await daemon.stop();
      assert.equal((await storedPrices(url)).filter(isMeasured).length, 2 * 2 * HOURS);
    });

    /** Waits until the daemon has noted that a scope is no longer listed. */
    async function missing(scope: string): Promise<void> {
      const deadline = Date.now() + 30_000;
      for (;;) {
        const rows = await mariadb.query(
          'SELECT missing_since FROM ratecat.ratecat_scopes WHERE scope_id = ?',
          [scope],
        );
        if (rows[0]?.missing_since != null) return;
        assert.ok(Date.now() < deadline, `not noticed:\n${daemon?.stderr}`);
        await new Promise((resolve) => setTimeout(resolve, 250));
      }
    }

    async function userNamed(name: string): Promise<{ id: string; name: string }> {
      const { users } = await keystone.request<{ users: { id: string; name: string }[] }>(
        'GET',
        `/users?name=${name}`,
      );
      return users[0]!;
    }
  });
}
