import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Browser } from 'playwright-core';
import { ROOT } from '../support/daemon.js';
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

/** The file of a guide of 2017, with Gnocchi in place of Ceilometer. */
interface Addresses {
  readonly keystone: string;
  readonly database: string;
  readonly broker: string;
  readonly api: number;
}

const guide = ({ keystone, database, broker, api }: Addresses) => `[DEFAULT]
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

[collect]
collector = gnocchi
period = ${PERIOD}
wait_periods = 2
metrics_conf = /etc/cloudkitty/metrics.yml

[gnocchi_collector]
auth_section = ks_auth

[storage]
backend = sqlalchemy
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

const RULES = `services:
  compute:
    fields:
      flavor_name:
        mappings: [{value: m1.small, type: flat, cost: '0.75', start: '2000-01-01'}]
  volume.size:
    mappings: [{type: flat, cost: '0.01', start: '2000-01-01'}]
`;

const needed = ['mariadb', 'rabbitmq', 'keystone', 'gnocchi', 'horizon', 'chromium'] as const;
if (packagesBuildable() && serviceInstalled(...needed)) {
  describe('moving in with the configuration of a guide of 2017', () => {
    let mariadb: Mariadb;
    let rabbitmq: Rabbitmq;
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
      const file = guide({ keystone: keystone.url, database, broker: rabbitmq.transportUrl, api: port });
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
      await systemd?.stop();
      await gnocchi?.stop();
      await rabbitmq?.stop();
      await keystone?.stop();
      await mariadb?.stop();
    });

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
      // Other tests may listen on the usual port, and usage begins now.
      first = Math.floor(Date.now() / 1000 / PERIOD) * PERIOD - 5 * PERIOD;
      await systemd.shell(`
        sed -i 's/^collect:/collect:\\n  start: ${new Date(first * 1000).toISOString()}/' /etc/ratecat/ratecat.yml
        cat >>/etc/ratecat/ratecat.yml <<'END'
metrics_server:
  enabled: false
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
      const told = (await rabbitmq.drain('notifications.info')).map(({ body }) => body);
      assert.ok(
        told.some((text) => text.includes('rating.period.committed')),
        told[0] ?? 'nothing',
      );
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
