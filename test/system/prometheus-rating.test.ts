import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Command, writeConfig } from '../support/daemon.js';
import { serviceInstalled } from '../support/require-service.js';
import { type Prometheus, startPrometheus } from '../support/services/prometheus.js';
import { waitForPrices } from '../support/stored-prices.js';

const HOUR = 3600;
const PROJECTS = ['alpha', 'beta'];
const NOW_HOUR = Math.floor(Date.now() / 1000 / HOUR) * HOUR;
const FIRST_HOUR = NOW_HOUR - 5 * HOUR;

/** Cores used by a machine: the highest sample of an hour is the last one. Tenths, so that the test sums integers. */
function tenths(project: number, machine: number, hour: number, sample: number): number {
  return 100 * (project + 1) + 30 * machine + 7 * hour + sample;
}

function history(): string {
  const lines = ['# TYPE vm_cores gauge'];
  PROJECTS.forEach((project, p) => {
    for (let machine = 0; machine < 3; machine++) {
      const flavor = machine === 2 ? 'large' : 'small';
      for (let hour = 0; hour < 5; hour++) {
        for (let sample = 0; sample < 12; sample++) {
          const at = FIRST_HOUR + hour * HOUR + sample * 300 + 150;
          const value = (tenths(p, machine, hour, sample) / 10).toFixed(1);
          lines.push(
            `vm_cores{project_id="${project}",id="vm-${machine}",flavor="${flavor}"} ${value} ${at}`,
          );
        }
      }
    }
  });
  return `${lines.join('\n')}\n# EOF\n`;
}

if (serviceInstalled('prometheus', 'node-exporter')) {
  describe('rating what a real Prometheus measured', () => {
    let prometheus: Prometheus;
    let daemon: Command;
    let folder: string;
    let url: string;

    before(async () => {
      prometheus = await startPrometheus({
        targets: PROJECTS.map((project_id) => ({ project_id })),
        history: history(),
      });
      await prometheus.waitForResult('count(node_memory_MemTotal_bytes) == 2');
      folder = await mkdtemp(join(tmpdir(), 'ratecat-prometheus-'));
      url = `sqlite://${join(folder, 'ratecat.db')}`;
      const upstream = { url: prometheus.apiUrl };
      const fetcher = {
        plugin: 'prometheus',
        options: { ...upstream, metric: 'node_memory_MemTotal_bytes', scope_attribute: 'project_id' },
      };
      const collector = { plugin: 'prometheus', options: upstream };
      const config = await writeConfig(
        folder,
        {
          data_folder: folder,
          database: { url },
          rating: [{ plugin: 'hashmap', rules: './rules.yml' }],
          pipelines: [
            {
              name: 'machines',
              collect: {
                period: HOUR,
                wait_periods: 1,
                scope_key: 'project_id',
                metrics: './machines.yml',
                start: new Date(FIRST_HOUR * 1000).toISOString(),
              },
              fetcher,
              collector,
            },
            {
              name: 'nodes',
              collect: {
                period: 5,
                wait_periods: 1,
                scope_key: 'project_id',
                metrics: './nodes.yml',
                start: new Date(Math.floor(Date.now() / 5000) * 5000).toISOString(),
              },
              fetcher,
              collector,
            },
          ],
        },
        {
          'machines.yml': {
            metrics: { vm_cores: { unit: 'core', alt_name: 'cores', groupby: ['id'], metadata: ['flavor'] } },
          },
          'nodes.yml': {
            metrics: {
              node_memory_MemTotal_bytes: { unit: 'GiB', alt_name: 'memory', factor: '1/1073741824' },
            },
          },
          'rules.yml': {
            services: {
              cores: {
                fields: {
                  flavor: {
                    mappings: [
                      { value: 'small', type: 'flat', cost: '0.25', start: '2000-01-01' },
                      { value: 'large', type: 'flat', cost: '0.75', start: '2000-01-01' },
                    ],
                  },
                },
                thresholds: [{ level: '25', type: 'rate', cost: '0.9' }],
              },
              memory: { mappings: [{ type: 'flat', cost: '1', start: '2000-01-01' }] },
            },
          },
        },
      );
      daemon = new Command(['up', '--config', config]);
    });

    after(async () => {
      await daemon?.stop();
      await prometheus?.stop();
      if (folder !== undefined) await rm(folder, { recursive: true, force: true });
    });

    it('gives the prices that the samples and the price list say, hour by hour', async () => {
      const rows = await waitForPrices(
        url,
        2 * 3 * 5,
        (row) => row.source === 'machines' && row.begin < NOW_HOUR,
      );
      assert.equal(rows.length, 30, daemon.stderr);
      for (const row of rows) {
        const project = PROJECTS.indexOf(row.scope);
        const machine = Number(row.id.replace('vm-', ''));
        const hour = (row.begin - FIRST_HOUR) / HOUR;
        const cores = tenths(project, machine, hour, 11);
        const cents = machine === 2 ? 75 : 25;
        // cores are in tenths and prices in hundredths; the threshold takes a tenth off from 25 cores on.
        const thousandths = cores * cents * (cores >= 250 ? 0.9 : 1);
        assert.equal(row.quantity, String(cores / 10));
        assert.equal(Number(row.price).toFixed(6), (thousandths / 1000).toFixed(6), JSON.stringify(row));
      }
    });

    it('rates the live node-exporter every few seconds, for both projects', async () => {
      const rows = await waitForPrices(url, 4, (row) => row.source === 'nodes');
      const [sample] = await prometheus.query('node_memory_MemTotal_bytes{project_id="alpha"}');
      const bytes = BigInt(Number(sample!.value));
      assert.deepEqual(new Set(rows.map((row) => row.scope)), new Set(PROJECTS));
      for (const row of rows) {
        // Independently: bytes / 2^30 to 28 digits lies between the neighbours of the stored text.
        const [whole, fraction = ''] = row.quantity.split('.');
        const scaled = BigInt(whole! + fraction) * 2n ** 30n;
        const exact = bytes * 10n ** BigInt(fraction.length);
        const distance = scaled > exact ? scaled - exact : exact - scaled;
        assert.ok(distance <= 2n ** 30n, `${row.quantity} GiB for ${bytes} bytes`);
        assert.equal(row.price, row.quantity);
      }
    });

    it('survives a Prometheus that is away and catches up when it is back', async () => {
      const before = await waitForPrices(url, 1, (row) => row.source === 'nodes');
      await prometheus.kill();
      await daemon.until(/RATECAT_UPSTREAM_UNREACHABLE|could not be fetched/);
      await prometheus.start();
      const latest = Math.max(...before.map((row) => row.begin));
      const rows = await waitForPrices(url, 2, (row) => row.source === 'nodes' && row.begin > latest + 15);
      assert.ok(rows.length > 0);
    });
  });
}
