import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { openDatabase } from '../../../core/database/open-database.js';
import type { SqlDatabase } from '../../../core/plugin-api/index.js';
import { ReprocessTasks } from '../../../core/scopes/reprocess-tasks.js';
import { ScopeStates } from '../../../core/scopes/scope-states.js';
import { VirtualClock } from '../../../core/testkit/fakes.js';
import { writeConfig } from '../../support/daemon.js';
import { capture } from './capture.js';

const DAY = 86_400;
const JANUARY = Date.UTC(2026, 0, 1) / 1000;

describe('ratecat status', () => {
  let folder: string;
  let config: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ratecat-status-'));
    config = await writeConfig(
      folder,
      {
        data_folder: folder,
        database: { url: `sqlite://${join(folder, 'ratecat.db')}` },
        collect: { scope_key: 'project_id', metrics: './metrics.yml' },
        fetcher: { plugin: 'static', options: { scopes: ['shop', 'lab'] } },
        collector: { plugin: 'file', options: { folder: './usage' } },
      },
      { 'metrics.yml': { metrics: { cpu: { unit: 'core', groupby: ['id'] } } } },
    );
    const { code, stderr } = await capture(['dbsync', 'upgrade', '--config', config]);
    assert.equal(code, 0, stderr);
    await onDatabase(async (database) => {
      const states = new ScopeStates(database);
      const scopes = ['lab', 'shop'].map((id) => ({ key: 'project_id', id }));
      await states.add({ source: 'default', fetcher: 'static', collector: 'file' }, scopes, JANUARY);
    });
  });

  after(() => rm(folder, { recursive: true, force: true }));

  async function onDatabase(work: (database: SqlDatabase) => Promise<void>): Promise<void> {
    const database = await openDatabase(`sqlite://${join(folder, 'ratecat.db')}`);
    try {
      await work(database);
    } finally {
      await database.close();
    }
  }

  async function status(...options: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await capture(['status', '--config', config, ...options]);
    assert.equal(code, 0, stderr);
    return stdout;
  }

  it('says nothing of reprocessing while none is ordered', async () => {
    assert.doesNotMatch(await status(), /eprocessing/);
    const scopes = JSON.parse(await status('--json')) as { scope: string; reprocessing: unknown }[];
    assert.deepEqual(
      scopes.map(({ scope, reprocessing }) => [scope, reprocessing]),
      [
        ['lab', []],
        ['shop', []],
      ],
    );
  });

  it('shows reprocessing that is not finished, with its progress and what holds it up', async () => {
    await onDatabase(async (database) => {
      const rows = (await new ScopeStates(database).list()).map(({ row, scope }) => [scope.id, row] as const);
      const row = new Map(rows).get('shop')!;
      const order = { row, author: 'tester' };
      await new ReprocessTasks(database, new VirtualClock()).create([
        { ...order, begin: JANUARY, end: JANUARY + DAY, reason: 'new prices' },
        { ...order, begin: JANUARY + 5 * DAY, end: JANUARY + 5 * DAY, reason: 'an empty window' },
      ]);
      await database.transaction((tx) =>
        tx.execute('UPDATE ratecat_reprocess_tasks SET current_at = ?, failure = ? WHERE finished = 0', [
          JANUARY + 3600,
          'the source is down',
        ]),
      );
    });
    const text = await status();
    const [, tasks] = text.split('Reprocessing that is not finished:\n');
    assert.match(tasks ?? '', /^SOURCE +SCOPE +RATED AGAIN FROM +TO +DONE UP TO +ORDERED BECAUSE +NOTE\n/);
    assert.match(
      tasks ?? '',
      /\ndefault +shop +2026-01-01T00:00:00Z +2026-01-02T00:00:00Z +2026-01-01T01:00:00Z +new prices +the source is down\n$/,
    );
    assert.doesNotMatch(text, /an empty window/, 'it was finished at once');
    const [lab, shop] = JSON.parse(await status('--json')) as { reprocessing: readonly { id: number }[] }[];
    assert.deepEqual(lab!.reprocessing, []);
    assert.deepEqual(shop!.reprocessing, [
      {
        id: shop!.reprocessing[0]!.id,
        begin: '2026-01-01T00:00:00Z',
        end: '2026-01-02T00:00:00Z',
        done_up_to: '2026-01-01T01:00:00Z',
        reason: 'new prices',
        note: 'the source is down',
      },
    ]);
  });
});
