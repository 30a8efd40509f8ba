import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, it } from 'node:test';
import { openDatabase } from '../../core/database/open-database.js';
import { SeededRandom } from '../simulation/seeded-random.js';
import { Command, ROOT, writeConfig } from '../support/daemon.js';
import { describeOnEngines } from '../support/engines.js';
import { lastDue } from '../support/small-daemon.js';

const KILLS = Number(process.env.FAULT_KILLS ?? 100);
const SEED = Number(process.env.FAULT_SEED ?? Date.now() % 1_000_000);
const SCOPES = ['alpha', 'beta', 'gamma'];
const HOURS = 2500;
const END = lastDue();
const START = END - HOURS * 3600;

describeOnEngines('kill -9 during catch-up', (engine) => {
  let undisturbed: readonly string[];

  async function newDaemonConfig() {
    const folder = await mkdtemp(join(tmpdir(), 'ratecat-kill-'));
    const url = await engine.newDatabase();
    const config = await writeConfig(
      folder,
      {
        data_folder: './data',
        database: { url },
        log: { level: 'warn' },
        // A killed process cannot give its leases back: the next one has to wait for them.
        processor: { lease_seconds: 1, collect_ahead: 4 },
        rating: [{ plugin: 'hashmap', rules: './rules.yml' }],
        collect: {
          period: 3600,
          wait_periods: 1,
          scope_key: 'project_id',
          metrics: './metrics.yml',
          start: new Date(START * 1000).toISOString(),
        },
        fetcher: { plugin: 'static', options: { scopes: SCOPES } },
        collector: {
          plugin: join(ROOT, 'test/fixtures/deterministic-collector.mjs'),
          options: { delay_ms: '$' + '{COLLECT_DELAY_MS}' },
        },
      },
      {
        'metrics.yml': {
          metrics: {
            cpu: { unit: 'core', groupby: ['id'], metadata: ['flavor'] },
            disk: { unit: 'GiB', factor: '1/3', groupby: ['id'], metadata: ['flavor'] },
          },
        },
        'rules.yml': {
          services: {
            cpu: {
              fields: {
                flavor: {
                  mappings: [
                    { value: 'small', type: 'flat', cost: '0.125', start: '2000-01-01' },
                    { value: 'large', type: 'flat', cost: '0.3333333333333333', start: '2000-01-01' },
                  ],
                },
              },
            },
            disk: { mappings: [{ type: 'flat', cost: '0.07', start: '2000-01-01' }] },
          },
        },
      },
    );
    return { folder, url, config };
  }

  /** Every stored fact, ids aside: watermarks, rows, roll-ups. */
  async function contents(url: string): Promise<readonly string[]> {
    const database = await openDatabase(url);
    try {
      const queries = [
        'SELECT scope_id, watermark, last_begin FROM ratecat_scopes ORDER BY scope_id',
        `SELECT s.scope_id, COUNT(*), COUNT(DISTINCT f.period_begin), MIN(f.period_begin), MAX(f.period_begin) FROM ratecat_sql_frames f
         JOIN ratecat_sql_scopes s ON s.id = f.scope GROUP BY s.scope_id ORDER BY s.scope_id`,
        `SELECT s.scope_id, f.period_begin, COUNT(*), ${database.dialect.sum('p.quantity')}, ${database.dialect.sum('p.price')}
         FROM ratecat_sql_points p JOIN ratecat_sql_frames f ON f.id = p.frame
         JOIN ratecat_sql_scopes s ON s.id = f.scope GROUP BY s.scope_id, f.period_begin ORDER BY s.scope_id, f.period_begin`,
        `SELECT COUNT(*), ${database.dialect.sum('quantity')}, ${database.dialect.sum('price')} FROM ratecat_sql_daily`,
        `SELECT COUNT(*), ${database.dialect.sum('quantity')}, ${database.dialect.sum('price')} FROM ratecat_sql_daily_metrics`,
        `SELECT COUNT(*), ${database.dialect.sum('quantity')}, ${database.dialect.sum('price')} FROM ratecat_sql_monthly`,
        'SELECT COUNT(*) FROM ratecat_sql_points',
      ];
      const lines: string[] = [];
      for (const query of queries) {
        for (const row of await database.query(query)) lines.push(row.map(String).join(' '));
      }
      return lines;
    } finally {
      await database.close();
    }
  }

  async function finished(url: string): Promise<boolean> {
    const database = await openDatabase(url);
    try {
      const rows = await database.query('SELECT COUNT(*) FROM ratecat_scopes WHERE watermark >= ?', [END]);
      return Number(rows[0]?.[0]) === SCOPES.length;
    } catch {
      return false;
    } finally {
      await database.close();
    }
  }

  async function runToEnd(config: string, url: string): Promise<void> {
    const daemon = new Command(['up', '--config', config], { COLLECT_DELAY_MS: '0' });
    const deadline = Date.now() + 300_000;
    while (!(await finished(url))) {
      assert.ok(Date.now() < deadline, `did not catch up:\n${daemon.stderr.slice(-3000)}`);
      assert.equal(daemon.child.exitCode ?? daemon.child.signalCode, null, daemon.stderr.slice(-3000));
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    const { code, stderr } = await daemon.stop();
    assert.equal(code, 0, stderr.slice(-3000));
  }

  before(async () => {
    const { folder, url, config } = await newDaemonConfig();
    await runToEnd(config, url);
    undisturbed = await contents(url);
    await rm(folder, { recursive: true });
    assert.equal(undisturbed.filter((line) => / 10 /.test(line)).length >= HOURS, true);
  });

  it(`leaves rows, sums and roll-ups of an undisturbed run (${KILLS} kills, seed ${SEED})`, async () => {
    const random = new SeededRandom(SEED);
    const { folder, url, config } = await newDaemonConfig();
    let kills = 0;
    while (kills < KILLS) {
      // Most lives wait for their collector, so that the catch-up outlasts the kills; some are busy writing.
      const delay = random.chance(0.2) ? '0' : '300';
      const daemon = new Command(['up', '--config', config], { COLLECT_DELAY_MS: delay });
      await new Promise((resolve) => setTimeout(resolve, 350 + random.below(1500)));
      daemon.child.kill('SIGKILL');
      const { signal, stderr } = await daemon.finished;
      assert.equal(signal, 'SIGKILL', `the daemon ended by itself:\n${stderr}`);
      kills++;
      assert.equal(
        await finished(url),
        false,
        `caught up after ${kills} kills: the test is too slow to disturb`,
      );
    }
    await runToEnd(config, url);
    assert.deepEqual(await contents(url), undisturbed);
    await rm(folder, { recursive: true });
  });
});
