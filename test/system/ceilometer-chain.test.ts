import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Command, ratecat, writeConfig } from '../support/daemon.js';
import { serviceInstalled } from '../support/require-service.js';
import {
  type Ceilometer,
  type OpenstackNotification,
  startCeilometer,
} from '../support/services/ceilometer.js';
import { type Gnocchi, startGnocchi } from '../support/services/gnocchi.js';
import { type Keystone, startKeystone } from '../support/services/keystone.js';
import { type Mariadb, startMariadb } from '../support/services/mariadb.js';
import { type Rabbitmq, startRabbitmq } from '../support/services/rabbitmq.js';
import { storedPrices } from '../support/stored-prices.js';

/** The granularity of Ceilometer's archive policy. */
const PERIOD = 300;
const PERIODS = 4;
const FIRST = (Math.floor(Date.now() / 1000 / PERIOD) - PERIODS - 2) * PERIOD;
const PASSWORD = 'rates-with-ceilometer';
const CLIENT = 'ee4d6c5f2d6a4ad6b7f3b7f6d1f1a001';

if (serviceInstalled('mariadb', 'keystone', 'gnocchi', 'rabbitmq', 'ceilometer', 'oslo-messaging')) {
  describe('rating what nova and cinder tell: RabbitMQ, Ceilometer, Gnocchi', () => {
    let mariadb: Mariadb;
    let rabbitmq: Rabbitmq;
    let keystone: Keystone;
    let gnocchi: Gnocchi;
    let ceilometer: Ceilometer;
    let folder: string;
    let shop: string;
    const machine = randomUUID();
    const removed = randomUUID();
    const volume = randomUUID();
    const NAMES = new Map<string, string>([
      [machine, 'machine'],
      [removed, 'removed'],
      [volume, 'volume'],
    ]);

    before(async () => {
      [mariadb, rabbitmq] = await Promise.all([startMariadb(), startRabbitmq()]);
      const starting = startKeystone({ mariadb });
      [keystone, gnocchi] = await Promise.all([starting, startGnocchi({ mariadb, keystone: starting })]);
      const project = await keystone.createProject('shop');
      shop = project.id;
      const user = await keystone.createUser('ratecat', PASSWORD);
      await keystone.grantRole({ user, role: 'admin', project: await keystone.ensureProject('service') });
      await keystone.grantRole({ user, role: 'rating', project });
      ceilometer = await startCeilometer({ keystone, rabbitmq });
      folder = await mkdtemp(join(tmpdir(), 'ratecat-ceilometer-'));
    });

    after(async () => {
      await ceilometer?.stop();
      await gnocchi?.stop();
      await keystone?.stop();
      await rabbitmq?.stop();
      await mariadb?.stop();
      if (folder !== undefined) await rm(folder, { recursive: true, force: true });
    });

    /** Some seconds into a period. */
    function at(period: number, seconds = 30): Date {
      return new Date((FIRST + period * PERIOD + seconds) * 1000);
    }

    function instance(
      id: string,
      event: string,
      when: Date,
      flavor: string,
      memory: number,
    ): OpenstackNotification {
      return {
        exchange: 'nova',
        publisher: 'compute.host-1',
        event: `compute.instance.${event}`,
        at: when,
        payload: {
          tenant_id: shop,
          user_id: CLIENT,
          instance_id: id,
          display_name: `machine ${id.slice(0, 4)}`,
          instance_type: flavor,
          instance_flavor_id: flavor === 'm1.small' ? '2' : '4',
          instance_type_id: flavor === 'm1.small' ? 2 : 4,
          memory_mb: memory,
          vcpus: memory / 2048,
          root_gb: 20,
          ephemeral_gb: 0,
          disk_gb: 20,
          host: 'host-1',
          state: event.startsWith('delete') ? 'deleted' : 'active',
          availability_zone: 'nova',
          created_at: '2026-01-05T10:00:00Z',
          launched_at: '2026-01-05T10:00:20.000000',
          deleted_at: '',
          image_meta: { base_image_ref: '0b1b6f0e-7f0a-4c56-a3c1-6a1d6b8f2d11', container_format: 'bare' },
          metadata: {},
        },
      };
    }

    function disk(event: string, when: Date, size: number): OpenstackNotification {
      return {
        exchange: 'cinder',
        publisher: 'volume.host-1@lvm',
        event: `volume.${event}`,
        at: when,
        payload: {
          tenant_id: shop,
          user_id: CLIENT,
          volume_id: volume,
          display_name: 'données',
          volume_type: 'ssd',
          size,
          status: 'available',
          host: 'host-1@lvm#pool',
          availability_zone: 'nova',
          created_at: '2026-01-05T10:00:00+00:00',
          launched_at: '2026-01-05T10:00:02+00:00',
          replication_status: null,
          snapshot_id: null,
          glance_metadata: [],
          volume_attachment: [],
          metadata: [],
        },
      };
    }

    it('turns notifications into periods with exact prices', async () => {
      await ceilometer.notify([
        instance(machine, 'create.end', at(0), 'm1.small', 2048),
        instance(removed, 'create.end', at(0), 'm1.large', 8192),
        disk('create.end', at(0), 10),
        instance(machine, 'exists', at(1), 'm1.small', 2048),
        instance(removed, 'exists', at(1), 'm1.large', 8192),
        disk('exists', at(1), 10),
      ]);
      await eventually('Gnocchi has the resources', async () => (await resources()).length === 3);
      await ceilometer.notify([
        instance(removed, 'delete.start', at(1, 200), 'm1.large', 8192),
        instance(machine, 'exists', at(2), 'm1.small', 2048),
        disk('resize.end', at(2), 25),
        instance(machine, 'exists', at(3), 'm1.small', 2048),
        disk('exists', at(3), 25),
      ]);
      await eventually('Gnocchi has heard of the end of a machine', async () =>
        (await resources()).some(({ id, ended_at }) => id === removed && ended_at !== null),
      );
      const config = await configuration();
      const daemon = new Command(['up', '--config', config]);
      const url = `sqlite://${join(folder, 'ratecat.db')}`;
      try {
        await eventually('everything is rated', async () => {
          await gnocchi.waitUntilAggregated();
          return (await storedPrices(url)).length >= 16;
        });
      } finally {
        await daemon.stop();
      }
      const rows = (await storedPrices(url)).map(({ begin, metric, id, quantity, price }) =>
        [(begin - FIRST) / PERIOD, metric, NAMES.get(id), quantity, price].join(' '),
      );
      assert.deepEqual(rows.toSorted(), [
        '0 instance machine 1 0.05',
        '0 instance removed 1 0.2',
        '0 memory machine 2 0.006',
        '0 memory removed 8 0.024',
        '0 volume.size volume 10 0.001',
        '1 instance machine 1 0.05',
        '1 instance removed 1 0.2',
        '1 memory machine 2 0.006',
        '1 memory removed 8 0.024',
        '1 volume.size volume 10 0.001',
        '2 instance machine 1 0.05',
        '2 memory machine 2 0.006',
        '2 volume.size volume 25 0.0025',
        '3 instance machine 1 0.05',
        '3 memory machine 2 0.006',
        '3 volume.size volume 25 0.0025',
      ]);
      assert.doesNotMatch(daemon.stderr, / (WARN|ERROR) /);
    });

    it('keeps what Ceilometer knows of a resource beside its usage', async () => {
      const { code, stdout, stderr } = await ratecat(
        'dataframes',
        '--json',
        '--config',
        join(folder, 'ratecat.yml'),
      );
      assert.equal(code, 0, stderr);
      const points = stdout
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line));
      const first = points.find(({ metric, groupby }) => metric === 'instance' && groupby.id === machine);
      assert.deepEqual(first.groupby, { id: machine, user_id: CLIENT, project_id: shop });
      assert.deepEqual(first.metadata, {
        flavor_name: 'm1.small',
        flavor_id: '2',
        display_name: `machine ${machine.slice(0, 4)}`,
      });
      const disk = points.find(({ metric }) => metric === 'volume.size');
      assert.deepEqual(disk.metadata, { volume_type: 'ssd', display_name: 'données' });
    });

    function resources() {
      return gnocchi.request<readonly { readonly id: string; readonly ended_at: string | null }[]>(
        'GET',
        '/resource/generic',
      );
    }

    async function configuration(): Promise<string> {
      const credentials = {
        auth_url: keystone.url,
        auth_type: 'password',
        username: 'ratecat',
        password: PASSWORD,
        user_domain_name: 'Default',
        project_name: 'service',
        project_domain_name: 'Default',
        region_name: keystone.region,
      };
      const of = (resource_type: string) => ({
        aggregation_method: 'mean',
        resource_type,
        force_granularity: PERIOD,
      });
      return writeConfig(
        folder,
        {
          data_folder: folder,
          database: { url: `sqlite://${join(folder, 'ratecat.db')}` },
          rating: [{ plugin: 'hashmap', rules: './rules.yml' }],
          collect: {
            period: PERIOD,
            wait_periods: 1,
            scope_key: 'project_id',
            metrics: './metrics.yml',
            start: new Date(FIRST * 1000).toISOString(),
          },
          fetcher: { plugin: 'keystone', options: credentials },
          collector: { plugin: 'gnocchi', options: credentials },
        },
        {
          'metrics.yml': {
            metrics: {
              vcpus: {
                unit: 'instance',
                alt_name: 'instance',
                groupby: ['id', 'user_id', 'project_id'],
                metadata: ['flavor_name', 'flavor_id', 'display_name'],
                mutate: 'NUMBOOL',
                extra_args: of('instance'),
              },
              memory: {
                unit: 'GiB',
                factor: '1/1024',
                groupby: ['id', 'user_id', 'project_id'],
                metadata: ['flavor_name'],
                extra_args: of('instance'),
              },
              'volume.size': {
                unit: 'GiB',
                groupby: ['id', 'user_id', 'project_id'],
                metadata: ['volume_type', 'display_name'],
                extra_args: of('volume'),
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
              memory: { mappings: [{ type: 'flat', cost: '0.003', start: '2000-01-01' }] },
              'volume.size': {
                fields: {
                  volume_type: {
                    mappings: [{ value: 'ssd', type: 'flat', cost: '0.0001', start: '2000-01-01' }],
                  },
                },
              },
            },
          },
        },
      );
    }
  });
}

async function eventually(what: string, isSo: () => Promise<boolean>, timeoutMs = 60_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await isSo())) {
    if (Date.now() > deadline) throw new Error(`waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}
