import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Command, ROOT, ratecat, writeConfig } from '../support/daemon.js';
import { lastDue } from '../support/small-daemon.js';
import { storedPrices, waitForPrices } from '../support/stored-prices.js';

const HOUR = 3600;
const END = lastDue();
const START = END - 20 * HOUR;

function isoTime(instant: number): string {
  return new Date(instant * 1000).toISOString();
}

describe('ratecat scopes reset', () => {
  let folder: string;
  let config: string;
  let url: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ratecat-reset-'));
    url = `sqlite://${join(folder, 'ratecat.db')}`;
    const collect = { period: HOUR, wait_periods: 1, scope_key: 'project_id', metrics: './metrics.yml' };
    config = await writeConfig(
      folder,
      {
        data_folder: folder,
        database: { url },
        rating: [{ plugin: 'hashmap' }],
        collect: { ...collect, start: isoTime(START) },
        fetcher: { plugin: 'static', options: { scopes: ['alpha', 'beta'] } },
        collector: {
          plugin: join(ROOT, 'test/fixtures/deterministic-collector.mjs'),
          options: { delay_ms: 0 },
        },
      },
      { 'metrics.yml': { metrics: { cpu: { unit: 'core', groupby: ['id'], metadata: ['flavor'] } } } },
    );
  });

  after(() => rm(folder, { recursive: true, force: true }));

  async function rateAll(): Promise<void> {
    const daemon = new Command(['up', '--config', config]);
    try {
      await waitForPrices(url, 2 * 20 * 5, () => true);
    } finally {
      assert.equal((await daemon.stop()).code, 0);
    }
  }

  it('deletes one scope from the instant on; the next run rates it again to the same rows', async () => {
    await rateAll();
    const first = await storedPrices(url);
    const to = isoTime(END - 4 * HOUR);
    const done = await ratecat(
      'scopes',
      'reset',
      '--scope',
      'alpha',
      '--to',
      to,
      '--reason',
      'test',
      '--config',
      config,
    );
    assert.equal(done.code, 0, done.stderr);
    const left = await storedPrices(url);
    assert.deepEqual(
      left,
      first.filter((row) => row.scope === 'beta' || row.begin < END - 4 * HOUR),
    );
    await rateAll();
    assert.deepEqual(await storedPrices(url), first);
  });

  it('refuses unknown scopes and instants inside a period, and says what would do', async () => {
    const unknown = await ratecat(
      'scopes',
      'reset',
      '--scope',
      'x',
      '--to',
      isoTime(START),
      '--reason',
      'r',
      '--config',
      config,
    );
    assert.equal(unknown.code, 64);
    assert.match(unknown.stderr, /no scope 'x'/);
    const inside = isoTime(START + 1800);
    const refused = await ratecat(
      'scopes',
      'reset',
      '--scope',
      'beta',
      '--to',
      inside,
      '--reason',
      'r',
      '--config',
      config,
    );
    assert.equal(refused.code, 65);
    assert.match(refused.stderr, new RegExp(`begin of that period is ${isoTime(START).replace('.000', '')}`));
  });
});
