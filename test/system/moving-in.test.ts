import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Browser } from 'playwright-core';
import { ROOT } from '../support/daemon.js';
import { recordedData, SampleStore, storedSamples } from '../support/fake-ceilometer.js';
import { HttpDouble, reply } from '../support/http-double.js';
import { buildAt, buildNeighbour, NODE, packagesBuildable, prepareMachine } from '../support/package-root.js';
import { openBrowser, RatingPanels } from '../support/rating-panels.js';
import { serviceInstalled } from '../support/require-service.js';
import { freePort } from '../support/services/free-port.js';
import { type Gnocchi, startGnocchi } from '../support/services/gnocchi.js';
import { type Horizon, startHorizon } from '../support/services/horizon.js';
import { type Keystone, startKeystone } from '../support/services/keystone.js';
import { type Mariadb, startMariadb } from '../support/services/mariadb.js';
import { type Rabbitmq, startRabbitmq } from '../support/services/rabbitmq.js';
import { Systemd } from '../support/services/systemd.js';
import { waitUntil } from '../support/small-daemon.js';

const PICTURES = process.env.RATECAT_PICTURES ?? join(ROOT, 'dist/pictures');
const PASSWORD = 'keystone-secret';
/** Short, so that usage of this month is rated at once, and whole hours of a month need not go by. */
const PERIOD = 60;
/** Until the price shows, on a machine on which the packages are installed. */
const LIMIT_MS = 180_000;

interface Addresses {
  readonly keystone: string;
  readonly database: string;
  readonly broker: string;
  readonly api: number;
}

/** The file of a guide of 2017; `collect` says what is collected. */
const guide = ({ keystone, database, broker, api }: Addresses, collect: string) => `[DEFAULT]
verbose = True
log_dir = /var/log/cloudkitty
transport_url = ${broker}
// the message queue of the other services
[ks_auth]
auth_type = v3password
auth_url = ${keystone}
username = cloudkitty
password = ${PASSWORD}
project_name = service
user_domain_name = Default
project_domain_name = Default

[keystone_authtoken]
auth_section = ks_auth

[api]
host_ip = 127.0.0.1
port = ${api}

[database]
connection = ${database}

[keystone_fetcher]
auth_section = ks_auth
keystone_version = 3

[tenant_fetcher]
backend = keystone

[storage]
backend = sqlalchemy

[collect]
period = ${PERIOD}
wait_periods = 2
${collect}`;

const FROM_GNOCCHI = `collector = gnocchi
metrics_conf = /etc/cloudkitty/metrics.yml

[gnocchi_collector]
auth_section = ks_auth
`;

const FROM_CEILOMETER = `collector = ceilometer
services = compute, volume, network.bw.in,
  network.bw.out, network.floating, image

[ceilometer_collector]
auth_section = ks_auth
`;

const METRICS = `metrics:
  cpu:
    unit: instance
    alt_name: compute
    groupby: [id, user_id, project_id]
    metadata: [flavor_name]
    mutate: NUMBOOL
    extra_args: {aggregation_method: mean, resource_type: instance, force_granularity: ${PERIOD}}
  volume.size:
    unit: GiB
    groupby: [id, user_id, project_id]
    metadata: [volume_type]
    extra_args: {aggregation_method: mean, resource_type: volume, force_granularity: ${PERIOD}}
`;

const CEILOMETER_RULES = `services:
  compute:
    mappings: [{type: flat, cost: '0.4', start: '2000-01-01'}]
  volume:
    mappings: [{type: flat, cost: '0.01', start: '2000-01-01'}]
`;

const RULES = `services:
  compute:
    fields:
      flavor_name:
        mappings: [{value: m1.small, type: flat, cost: '0.75', start: '2000-01-01'}]
  volume.size:
    mappings: [{type: flat, cost: '0.01', start: '2000-01-01'}]
`;

function fiveMinutesAgo(): number {
  return (Math.floor(Date.now() / 1000 / PERIOD) - 5) * PERIOD;
}

const needed = ['mariadb', 'rabbitmq', 'keystone', 'gnocchi', 'horizon', 'chromium'] as const;
if (packagesBuildable() && serviceInstalled(...needed)) {
  describe('moving in with the configuration of a guide of 2017', () => {
    let mariadb: Mariadb;
    let rabbitmq: Rabbitmq;
    let ceilometer: HttpDouble;
    let keystone: Keystone;
    let gnocchi: Gnocchi;
    let horizon: Horizon;
    let browser: Browser;
    let systemd: Systemd;
    let port: number;
    let demo: string;
    let began: number;
    /** Begin of the first minute with usage. */
    let first: number;

    before(async () => {
      await mkdir(PICTURES, { recursive: true });
      port = await freePort();
      mariadb = await startMariadb();
      const starting = startKeystone({ mariadb });
      [keystone, gnocchi, rabbitmq] = await Promise.all([
        starting,
        startGnocchi({ mariadb, keystone: starting }),
        startRabbitmq(),
      ]);
      horizon = await startHorizon({ keystoneUrl: keystone.url });
      browser = await openBrowser();
      const project = await keystone.createProject('demo');
      const user = await keystone.createUser('demo', 'demo');
      for (const role of ['member', 'reader']) await keystone.grantRole({ user, role, project });
      demo = project.id;
      await afterTheFirstMinutesOfTheMonth();
      systemd = await Systemd.boot();
      await prepareMachine(systemd, `${buildAt('/root/built', '1')}\n${buildNeighbour(['nodejs', NODE])}`);
      const database = await mariadb.createDatabase('cloudkitty');
      const file = guide(addresses(database), FROM_GNOCCHI);
      await systemd.shell(`
        mkdir -p /etc/cloudkitty
        cat >/etc/cloudkitty/cloudkitty.conf <<'END'\n${file}END
        cat >/etc/cloudkitty/metrics.yml <<'END'\n${METRICS}END
        cat >/root/rules.yml <<'END'\n${RULES}END
        cat >/root/admin-openrc <<'END'
export OS_AUTH_URL=${keystone.url}
export OS_IDENTITY_API_VERSION=3
export OS_USERNAME=${keystone.admin.name}
export OS_PASSWORD=${keystone.admin.password}
export OS_PROJECT_NAME=${keystone.admin.project}
export OS_USER_DOMAIN_NAME=Default
export OS_PROJECT_DOMAIN_NAME=Default
END
        echo ${PASSWORD} >/root/password
        dpkg -i /root/nodejs.deb
        DEBIAN_FRONTEND=noninteractive apt-get -y -q -o Dir::State::lists=/root/no-lists install /root/built/*.deb`);
      began = performance.now();
    });

    after(async () => {
      await browser?.close();
      await horizon?.stop();
      await ceilometer?.stop();
      await systemd?.stop();
      await gnocchi?.stop();
      await rabbitmq?.stop();
      await keystone?.stop();
      await mariadb?.stop();
    });

    function addresses(database: string): Addresses {
      return { keystone: keystone.url, database, broker: rabbitmq.transportUrl, api: port };
    }

    /** Horizon shows the month; in its first minutes there is nothing to show. */
    async function afterTheFirstMinutesOfTheMonth(): Promise<void> {
      const now = new Date();
      const month = Date.UTC(now.getUTCFullYear(), now.getUTCMonth());
      const wait = month + 7 * 60_000 - now.getTime();
      if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
    }

    it('has the configuration imported by the installation, secrets apart', async () => {
      const written = await systemd.shell('cat /etc/ratecat/ratecat.yml');
      assert.match(written, /plugin: gnocchi/);
      assert.doesNotMatch(written, new RegExp(PASSWORD));
      first = fiveMinutesAgo();
      await settle();
      await systemd.shell(`
        cat >>/etc/ratecat/ratecat.yml <<'END'
notifications:
  - plugin: rabbitmq
    options:
      transport_url: ${rabbitmq.transportUrl}
END
        ratecat config check`);
    });

    it('makes the tables with the commands of the guide', async () => {
      await systemd.shell('cloudkitty-dbsync upgrade && cloudkitty-storage-init');
    });

    it('sets Keystone up', async () => {
      await systemd.shell(`
        ratecat keystone setup --openrc /root/admin-openrc --user cloudkitty --password-file /root/password --url http://127.0.0.1:${port}
        ratecat keystone rate-project demo --openrc /root/admin-openrc --user cloudkitty`);
    });

    it('takes prices', async () => {
      await systemd.shell('ratecat rules import /root/rules.yml && ratecat modules enable hashmap');
    });

    it('rates what a machine and a volume use, under the old names of the services', async () => {
      await pushUsage();
      const { code, stderr } = await systemd.run(
        'systemctl',
        'start',
        'cloudkitty-api',
        'cloudkitty-processor',
      );
      assert.equal(code, 0, stderr);
      await waitUntil('the usage is rated', async () => (await total()) === '2.75', { timeoutMs: 90_000 });
    });

    it('tells the broker of each period', async () => {
      const told: string[] = [];
      await waitUntil('a period is told', async () => {
        told.push(...(await rabbitmq.drain('notifications.info')).map(({ body }) => body));
        return told.some((text) => text.includes('rating.period.committed'));
      });
    });

    it('shows the price in the Rating panel, within three minutes of the installation', async () => {
      const panels = await RatingPanels.logIn(browser, {
        url: horizon.url,
        pictures: PICTURES,
        user: 'demo',
        password: 'demo',
      });
      await panels.open('/project/rating/', 'moving-in-project-rating');
      assert.match(await panels.text(), /2\.75/);
      const took = performance.now() - began;
      assert.ok(took < LIMIT_MS, `it took ${Math.round(took / 1000)} s`);
    });

    it('leaves nothing for the doctor to complain of but that the usage has stopped', async () => {
      const { stdout, stderr } = await systemd.run('ratecat', 'doctor');
      const findings = stdout.match(/^ +(?:WARN|FAIL) .*$/gm) ?? [];
      assert.match(stdout, /^ +OK /m, stderr);
      assert.deepEqual(
        findings.filter((line) => !line.endsWith('[metric-stale]')),
        [],
      );
    });

    it('does the same with Ceilometer, as the guide has it', async () => {
      first = fiveMinutesAgo();
      ceilometer = await startCeilometer();
      await keystone.createService('ceilometer', 'metering', ceilometer.url);
      const file = guide(addresses(await mariadb.createDatabase('from_ceilometer')), FROM_CEILOMETER);
      await systemd.shell(`
        systemctl stop cloudkitty-api cloudkitty-processor
        cat >/etc/cloudkitty/cloudkitty.conf <<'END'\n${file}END
        rm -r /etc/ratecat/ratecat.*
        cloudkitty-dbsync upgrade
        cat >/root/rules.yml <<'END'\n${CEILOMETER_RULES}END
        ratecat rules import /root/rules.yml
        ratecat modules enable hashmap`);
      await settle();
      await systemd.shell('systemctl start cloudkitty-processor');
      await waitUntil('the usage is rated', async () => (await total()) === '1.7', { timeoutMs: 90_000 });
    });

    /** Other tests may listen on the usual port, and usage begins with its first minute. */
    async function settle(): Promise<void> {
      await systemd.shell(`
        sed -i 's/^collect:/collect:\\n  start: ${new Date(first * 1000).toISOString()}/' /etc/ratecat/ratecat.yml
        printf 'metrics_server:\\n  enabled: false\\n' >>/etc/ratecat/ratecat.yml`);
    }

    /** Its API with samples of a machine and a volume of this project, beside others that were recorded. */
    async function startCeilometer(): Promise<HttpDouble> {
      const recorded = recordedData();
      const values: Readonly<Record<string, readonly number[]>> = {
        cpu: [6e10, 12e10, 18e10],
        'volume.size': [10, 20, 20],
      };
      const series = Object.entries(values).map(([meter, readings]) => {
        const one = recorded.series.find((candidate) => candidate.meter === meter)!;
        return { ...one, project_id: demo, first: 0, offset_seconds: 10, values: readings };
      });
      const origin = new Date(first * 1000).toISOString().slice(0, 19);
      const own = storedSamples({ ...recorded, origin, step_seconds: PERIOD, series });
      const store = new SampleStore(recorded);
      store.samples = [...store.samples, ...own];
      const double = await HttpDouble.start();
      double.handler = ({ target, headers }) =>
        headers['x-auth-token'] === undefined ? reply(401) : store.answer(target);
      return double;
    }

    async function total(): Promise<string> {
      const { code, stdout } = await systemd.run('ratecat', 'summary', '--json');
      return code === 0 ? JSON.parse(stdout).total : '';
    }

    /** A machine that is on for three minutes, and a volume that grows. */
    async function pushUsage(): Promise<void> {
      await gnocchi.createArchivePolicy({
        name: 'minutely',
        definition: [{ granularity: '0:01:00', timespan: '1 day' }],
        aggregationMethods: ['mean', 'max'],
      });
      const text = { type: 'string', required: false, max_length: 255 };
      await gnocchi.createResourceType('instance', { flavor_name: text });
      await gnocchi.createResourceType('volume', { volume_type: text });
      const usage = [
        ['instance', 'cpu', { flavor_name: 'm1.small' }, [12.5, 3, 99.9]],
        ['volume', 'volume.size', { volume_type: 'ssd' }, [10, 20, 20]],
      ] as const;
      for (const [type, metric, attributes, values] of usage) {
        const resource = await gnocchi.createResource({
          type,
          id: randomUUID(),
          projectId: demo,
          userId: 'u1',
          startedAt: new Date((first - PERIOD) * 1000),
          attributes,
          metrics: { [metric]: 'minutely' },
        });
        await gnocchi.pushMeasures(
          resource.metrics[metric]!,
          values.map((value, index) => ({
            timestamp: new Date((first + index * PERIOD + 10) * 1000),
            value,
          })),
        );
      }
      await gnocchi.waitUntilAggregated();
    }
  });
}
