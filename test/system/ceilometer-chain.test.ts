import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Command, ROOT, ratecat, writeConfig } from '../support/daemon.js';
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
const HOUR = 3600;
const FIRST_HOUR = (Math.floor(Date.now() / 1000 / HOUR) - 3) * HOUR;
/** In two hours, one each five minutes. */
const POLLS = 24;
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
    let laboratory: string;
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
      laboratory = (await keystone.createProject('laboratory')).id;
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
          // Of nova's database. Ceilometer creates the resource with it, until a sample brings the flavor's own.
          instance_type_id: flavor === 'm1.small' ? 5 : 9,
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
      await ceilometer.notify([
        instance(removed, 'delete.start', at(1, 200), 'm1.large', 8192),
        instance(removed, 'delete.end', at(1, 203), 'm1.large', 8192),
        instance(machine, 'exists', at(2), 'm1.small', 2048),
        disk('resize.end', at(2), 25),
        instance(machine, 'exists', at(3), 'm1.small', 2048),
        disk('exists', at(3), 25),
        disk('delete.end', at(3, 250), 25),
      ]);
      // The last thing said of all: whatever was said before is in Gnocchi by then.
      await eventually('Gnocchi has heard of the end of the volume', async () =>
        (await resources()).some(({ id, ended_at }) => id === volume && ended_at !== null),
      );
      assert.deepEqual(
        (await resources()).filter(({ ended_at }) => ended_at !== null).map(({ id }) => NAMES.get(id)),
        (await resources()).map(({ id }) => NAMES.get(id)).filter((name) => name !== 'machine'),
      );
      const { daemon, prices } = await rated(await configuration(), 16);
      const rows = prices.map(({ begin, metric, id, quantity, price }) =>
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

    it('has a metrics file that fits what Ceilometer polls, hour by hour', async () => {
      await ceilometer.notify(polls());
      // The address is polled last.
      await eventually('Gnocchi has heard of the last poll', async () => {
        await gnocchi.waitUntilAggregated();
        const [address] = await gnocchi.request<readonly { metrics: Record<string, string> }[]>(
          'GET',
          '/resource/network',
        );
        const id = address?.metrics['ip.floating'];
        return id !== undefined && (await gnocchi.measures(id, 'mean')).length === POLLS;
      });
      const { daemon, prices } = await rated(await shippedMetrics(), 14);
      const rows = prices
        .filter(({ begin }) => begin < FIRST_HOUR + 2 * HOUR)
        .map(({ begin, metric, quantity, price }) =>
          [(begin - FIRST_HOUR) / HOUR, metric, quantity, price].join(' '),
        );
      assert.deepEqual(rows.toSorted(), [
        '0 image.size 12.67236328125 0',
        '0 instance 1 0.05',
        '0 ip.floating 1 0.004',
        // The first sample of a counter only says where it began.
        '0 network.incoming.bytes 66 0',
        '0 network.outgoing.bytes 33 0.33',
        '0 radosgw.objects.size 3 0',
        '0 volume.size 10 0.001',
        '1 image.size 12.67236328125 0',
        '1 instance 1 0.05',
        '1 ip.floating 1 0.004',
        '1 network.incoming.bytes 72 0',
        // Half an hour of an interface is half of the traffic.
        '1 network.outgoing.bytes 18 0.18',
        '1 radosgw.objects.size 3 0',
        '1 volume.size 10 0.001',
      ]);
      assert.doesNotMatch(daemon.stderr, / (WARN|ERROR) /);
    });

    /** Samples of two hours, as Ceilometer's polling agents send them to its notification agent. */
    function polls(): readonly OpenstackNotification[] {
      const [image, address, stored, server] = [randomUUID(), randomUUID(), randomUUID(), randomUUID()];
      const nic = (name: string) => ({
        id: `instance-0000002a-${server}-${name}`,
        about: { instance_id: server, name, vnic_name: name, fref: null, parameters: {} },
      });
      const about = {
        display_name: 'web',
        instance_type: 'm1.small',
        flavor: { id: '2', name: 'm1.small', vcpus: 1, ram: 2048 },
        instance_host: 'host-1',
        image_ref: image,
        status: 'active',
      };
      return Array.from({ length: POLLS }, (_, poll) => {
        const when = new Date((FIRST_HOUR + poll * PERIOD + 10) * 1000);
        const sample = (name: string, unit: string, volume: number, resource: string, metadata: object) => ({
          source: 'openstack',
          counter_name: name,
          counter_type: 'gauge',
          counter_unit: unit,
          counter_volume: volume,
          user_id: name === 'ip.floating' || name === 'image.size' ? null : CLIENT,
          project_id: laboratory,
          resource_id: resource,
          timestamp: when.toISOString(),
          resource_metadata: metadata,
          message_id: randomUUID(),
          monotonic_time: null,
          message_signature: '',
        });
        const [first, second] = [nic('tap0a'), nic('tap0b')];
        const samples = [
          sample('cpu', 'ns', (poll + 1) * 30e9, server, about),
          // Taken off the machine in the middle of the second hour.
          ...(poll < (POLLS * 3) / 4
            ? [sample('network.outgoing.bytes', 'B', 1e6 + poll * 3e6, first.id, first.about)]
            : []),
          sample('network.incoming.bytes', 'B', poll * 6e6, second.id, second.about),
          sample('image.size', 'B', 13_287_936, image, {
            name: 'cirros',
            container_format: 'bare',
            disk_format: 'qcow2',
          }),
          sample('volume.size', 'GB', 10, stored, { name: 'data', volume_type: 'ssd', instance_id: server }),
          sample('radosgw.objects.size', 'B', 3 * 2 ** 30, laboratory, {}),
          sample('ip.floating', 'ip', 1, address, { status: 'ACTIVE', floating_ip_address: '192.0.2.9' }),
        ];
        return {
          exchange: 'ceilometer',
          publisher: 'ceilometer.polling',
          priority: 'sample',
          event: 'telemetry.polling',
          at: when,
          payload: { samples },
        };
      });
    }

    /** Lets a daemon run until it has stored so many prices. */
    async function rated(config: string, count: number) {
      const url = `sqlite://${join(dirname(config), 'ratecat.db')}`;
      await gnocchi.waitUntilAggregated();
      const daemon = new Command(['up', '--config', config]);
      try {
        await eventually('everything is rated', async () => {
          assert.equal(daemon.child.exitCode, null, daemon.stderr);
          return (await storedPrices(url)).length >= count;
        });
      } finally {
        await daemon.stop();
      }
      return { daemon, prices: await storedPrices(url) };
    }

    function resources() {
      return gnocchi.request<readonly { readonly id: string; readonly ended_at: string | null }[]>(
        'GET',
        '/resource/generic',
      );
    }

    function loggingIn() {
      return {
        auth_url: keystone.url,
        auth_type: 'password',
        username: 'ratecat',
        password: PASSWORD,
        user_domain_name: 'Default',
        project_name: 'service',
        project_domain_name: 'Default',
        region_name: keystone.region,
      };
    }

    /** The shipped metrics file as it is, for whoever has a floating address. */
    async function shippedMetrics(): Promise<string> {
      const own = join(folder, 'hourly');
      await mkdir(own);
      return writeConfig(
        own,
        {
          data_folder: own,
          database: { url: `sqlite://${join(own, 'ratecat.db')}` },
          rating: [{ plugin: 'hashmap', rules: './rules.yml' }],
          collect: {
            period: HOUR,
            wait_periods: 1,
            scope_key: 'project_id',
            metrics: join(ROOT, 'config/openstack.metrics.yml'),
            start: new Date(FIRST_HOUR * 1000).toISOString(),
          },
          fetcher: { plugin: 'gnocchi', options: { ...loggingIn(), resource_types: ['network'] } },
          collector: { plugin: 'gnocchi', options: loggingIn() },
        },
        {
          'rules.yml': {
            services: {
              instance: { fields: { flavor_name: { mappings: [{ value: 'm1.small', cost: '0.05' }] } } },
              'volume.size': { mappings: [{ cost: '0.0001' }] },
              'ip.floating': { mappings: [{ cost: '0.004' }] },
              'network.outgoing.bytes': { mappings: [{ cost: '0.01' }] },
            },
          },
        },
      );
    }

    async function configuration(): Promise<string> {
      const credentials = loggingIn();
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
