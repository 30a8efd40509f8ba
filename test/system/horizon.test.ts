import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Browser } from 'playwright-core';
import { type ApiDaemon, type Cloud, prepareCloud, startApiDaemon } from '../support/api-daemon.js';
import { ROOT } from '../support/daemon.js';
import { openBrowser, RatingPanels } from '../support/rating-panels.js';
import { serviceInstalled } from '../support/require-service.js';
import { type Horizon, startHorizon } from '../support/services/horizon.js';
import { type Keystone, startKeystone } from '../support/services/keystone.js';
import { type Mariadb, startMariadb } from '../support/services/mariadb.js';

/** Pictures of every panel, for people to look at. */
const PICTURES = process.env.RATECAT_PICTURES ?? join(ROOT, 'dist/pictures');
const METRICS = {
  metrics: {
    instance: {
      unit: 'instance',
      groupby: ['id', 'project_id'],
      metadata: ['flavor_name', 'vcpus'],
    },
    'volume.size': { unit: 'GiB', groupby: ['id', 'project_id'], metadata: ['volume_type'] },
  },
};

if (serviceInstalled('mariadb', 'keystone', 'horizon', 'chromium')) {
  describe('the Rating panels of Horizon', () => {
    let mariadb: Mariadb;
    let keystone: Keystone;
    let cloud: Cloud;
    let api: ApiDaemon;
    let horizon: Horizon;
    let browser: Browser;
    let admin: RatingPanels;

    before(async () => {
      await mkdir(PICTURES, { recursive: true });
      mariadb = await startMariadb();
      keystone = await startKeystone({ mariadb });
      cloud = await prepareCloud(keystone);
      api = await startApiDaemon({ keystone, mariadb, metrics: METRICS });
      await pushUsage();
      horizon = await startHorizon({ keystoneUrl: keystone.url });
      browser = await openBrowser();
      admin = await logIn('admin', keystone.admin.password);
    });

    after(async () => {
      await browser?.close();
      await horizon?.stop();
      await api?.stop();
      await keystone?.stop();
      await mariadb?.stop();
    });

    async function call(method: string, path: string, body?: unknown) {
      const response = await fetch(`${api.url}${path}`, {
        method,
        headers: { 'x-auth-token': await keystone.adminToken(), 'content-type': 'application/json' },
        redirect: 'manual',
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      const text = await response.text();
      assert.ok(response.status < 400, `${method} ${path}: ${response.status} ${text}`);
      return text === '' ? undefined : JSON.parse(text);
    }

    /** One priced machine of project demo in this month. */
    async function pushUsage(): Promise<void> {
      const hour = Math.floor(Date.now() / 3_600_000) * 3600;
      const iso = (seconds: number) => new Date(seconds * 1000).toISOString().replace('.000Z', 'Z');
      await call('POST', '/v2/dataframes', {
        dataframes: [
          {
            period: { begin: iso(hour), end: iso(hour + 3600) },
            usage: {
              instance: [
                {
                  vol: { unit: 'instance', qty: 1 },
                  rating: { price: 12.5 },
                  groupby: { id: 'vm-1', project_id: cloud.projects.demo.id },
                  metadata: { flavor_name: 'm1.small' },
                },
              ],
            },
          },
        ],
      });
    }

    function logIn(user: string, password: string): Promise<RatingPanels> {
      return RatingPanels.logIn(browser, { url: horizon.url, pictures: PICTURES, user, password });
    }

    it('shows the rating modules and switches hashmap on', async () => {
      await admin.open('/admin/rating_modules/', 'admin-modules');
      const row = admin.page.locator('tr', { hasText: 'HashMap' });
      assert.match(await row.innerText(), /HashMap rating module\./);
      await Promise.all([
        admin.page.waitForNavigation(),
        row.locator('button', { hasText: 'Enable Module' }).click(),
      ]);
      await admin.open('/admin/rating_modules/', 'admin-modules-enabled');
      assert.match(await row.innerText(), /Disable Module/);
      const { modules } = await call('GET', '/v1/rating/modules');
      const hashmap = modules.find(({ module_id }: { module_id: string }) => module_id === 'hashmap');
      assert.equal(hashmap.enabled, true);
    });

    it('creates service, group, field, mappings and a threshold by clicking, and the price changes', async () => {
      assert.equal(await quote('m1.small'), '0');
      await admin.open('/admin/hashmap/', 'admin-hashmap');
      await admin.submit(
        'a[href*="create_service"]',
        { service_type: 'service', service: 'instance' },
        'admin-hashmap-new-service',
      );
      const service = await linkTo('/hashmap/service/');
      const onService = async (link: string, values: Readonly<Record<string, string>>, picture: string) => {
        await admin.open(service, 'admin-hashmap-service');
        await admin.submit(`a[href*="${link}"]`, values, `admin-hashmap-new-${picture}`);
      };
      await onService('create_group', { name: 'uptime' }, 'group');
      await onService('create_mapping', { type: 'flat', cost: '0.75' }, 'service-mapping');
      assert.equal(await quote('m1.small'), '0.7500000000000000000000000000');
      await onService('create_field', { field: 'flavor_name' }, 'field');
      await admin.open(service, 'admin-hashmap-service');
      await admin.open(await linkTo('/hashmap/field/'), 'admin-hashmap-field');
      await admin.submit(
        'a[href*="create_mapping"]',
        { type: 'flat', cost: '1.25', value: 'm1.small' },
        'admin-hashmap-new-field-mapping',
      );
      assert.equal(await quote('m1.small'), '1.250000000000000000000000000');
      assert.equal(await quote('m1.large'), '0.7500000000000000000000000000');
      await onService('create_threshold', { type: 'rate', cost: '2', level: '1' }, 'threshold');
      assert.equal(Number(await quote('m1.large')), 1.5);
    });

    it('shows an administrator the summary of all projects', async () => {
      await admin.open('/admin/rating_summary/', 'admin-summary');
      assert.match(await admin.text(), /12\.5/);
    });

    it('creates a script and shows it', async () => {
      await admin.open('/admin/pyscripts/', 'admin-scripts');
      await admin.submit(
        'a[href*="pyscripts/create"]',
        { name: 'discount', script_source: 'raw', script_data: 'price = 1' },
        'admin-new-script',
      );
      await admin.open('/admin/pyscripts/', 'admin-scripts-one');
      assert.match(await admin.text(), /discount/);
      const { scripts } = await call('GET', '/v1/rating/module_config/pyscripts/scripts');
      assert.equal(scripts[0].data, 'price = 1');
    });

    it('shows the members of a project their own costs and nobody else the same', async () => {
      const demo = await logIn('demo', 'demo');
      await demo.open('/project/rating/', 'project-rating-demo');
      assert.match(await demo.text(), /12\.5/);
      await demo.open('/project/reporting/', 'project-reporting-demo');
      const other = await logIn('other', 'other');
      await other.open('/project/rating/', 'project-rating-other');
      assert.doesNotMatch(await other.text(), /12\.5/);
    });

    async function linkTo(part: string): Promise<string> {
      return (await admin.page.locator(`a[href*="${part}"]`).first().getAttribute('href'))!;
    }

    /** What one machine costs, as Horizon asks before it is launched. */
    async function quote(flavor_name: string): Promise<string> {
      const resources = [{ service: 'instance', volume: 1, desc: { flavor_name } }];
      return call('POST', '/v1/rating/quote', { resources });
    }
  });
}
