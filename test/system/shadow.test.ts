import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import { Command, type Finished, ROOT, ratecat, writeConfig } from '../support/daemon.js';
import { describeOnEngines, type TestEngine } from '../support/engines.js';
import { CloudkittyDatabase, dateOf, frameRow } from '../unit/migrating/cloudkitty-database.js';

const HOUR = 3600;
const START = Date.UTC(2026, 0, 30) / 1000;

interface World {
  readonly folder: string;
  readonly config: string;
  /** File that holds the URL of CloudKitty's database. */
  readonly secret: string;
  readonly old: CloudkittyDatabase;
}

/** Both have rated three hours of one scope, and the same. */
async function newWorld(engine: TestEngine): Promise<World> {
  const folder = await mkdtemp(join(tmpdir(), 'ratecat-shadow-'));
  const config = await writeConfig(
    folder,
    {
      data_folder: './data',
      database: { url: await engine.newDatabase() },
      rating: [{ plugin: 'hashmap' }],
      collect: { period: HOUR, wait_periods: 2, scope_key: 'project_id', metrics: './metrics.yml' },
      fetcher: { plugin: 'static', options: { scopes: ['shop'] } },
      collector: {
        plugin: join(ROOT, 'test/fixtures/deterministic-collector.mjs'),
        options: { delay_ms: '0' },
      },
    },
    { 'metrics.yml': { metrics: { cpu: { unit: 'core', groupby: ['id'] } } } },
  );
  const old = await CloudkittyDatabase.create(await engine.newDatabase());
  const secret = join(folder, 'cloudkitty.url');
  await writeFile(secret, `${old.url}\n`, { mode: 0o600 });
  const world = { folder, config, secret, old };
  await done(ratecat('dbsync', 'upgrade', '--config', config));
  for (const hour of [0, 1, 2]) await rate(world, hour, '0.1');
  await old.insert('cloudkitty_storage_states', [
    {
      identifier: 'shop',
      scope_key: 'project_id',
      fetcher: 'static',
      collector: 'gnocchi',
      last_processed_timestamp: dateOf(START + 2 * HOUR),
      scope_activation_toggle_date: dateOf(START),
      active: 1,
    },
  ]);
  await done(
    ratecat('migrate', 'from-cloudkitty', '--frames-only', '--from-file', secret, '--config', config),
  );
  return world;
}

async function done(finished: Promise<Finished>): Promise<void> {
  const { code, stderr } = await finished;
  assert.equal(code, 0, stderr);
}

async function rate({ old }: Pick<World, 'old'>, hour: number, price: string): Promise<void> {
  const begin = START + hour * HOUR;
  await old.insert('rated_data_frames', [
    frameRow('today', { tenant: 'shop', metric: 'cpu', begin, quantity: '2', price }),
  ]);
}

function shadow({ config, secret }: World, ...more: readonly string[]): Command {
  const since = new Date(START * 1000).toISOString();
  return new Command(['shadow', '--from-file', secret, '--since', since, '--config', config, ...more]);
}

describeOnEngines('ratecat shadow', (engine) => {
  it('finds what is equal equal, and changes nothing', async () => {
    const world = await newWorld(engine);
    const before = await world.old.contents();
    const { code, stdout, stderr } = await shadow(world, '--once').finished;
    assert.equal(code, 0, stdout + stderr);
    assert.match(stdout, /^2026-01-30T00:00:00Z {2}1 scope, 1 sum: equal$/m);
    assert.match(
      stdout,
      /^3 periods, 3 sums: 3 equal, 0 equal but .* none different\. Ratecat has 0 more in all\.$/m,
    );
    assert.equal(await world.old.contents(), before);
    await rm(world.folder, { recursive: true });
  });

  it('says with exit code 1 where prices or quantities differ, and by how much', async () => {
    const world = await newWorld(engine);
    await world.old.execute('UPDATE rated_data_frames SET rate = 0.25 WHERE "begin" = ?', [
      dateOf(START + HOUR),
    ]);
    const { code, stdout } = await shadow(world, '--once').finished;
    assert.equal(code, 1, stdout);
    assert.match(stdout, /^2026-01-30T01:00:00Z {2}1 scope, 1 sum: 1 DIFFERENT$/m);
    assert.match(stdout, /^shop +cpu +2 +2 +0\.1 +0\.25 +-0\.15$/m);
    assert.match(stdout, /1 DIFFERENT\. Ratecat has -0\.15 more in all\.$/m);
    const json = await shadow(world, '--once', '--json').finished;
    assert.equal(json.code, 1);
    const lines = json.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    assert.deepEqual(lines[1].sums, [
      {
        scope: 'shop',
        metric: 'cpu',
        verdict: 'different',
        ratecat: { quantity: '2', price: '0.1' },
        cloudkitty: { quantity: '2', price: '0.25' },
      },
    ]);
    assert.deepEqual(lines.at(-1).result, {
      periods: 3,
      equal: 2,
      rounding: 0,
      different: 1,
      more: '-0.15',
      only_cloudkitty: [],
      only_ratecat: [],
    });
    await rm(world.folder, { recursive: true });
  });

  it('follows until it is told to stop, and sums up then', async () => {
    const world = await newWorld(engine);
    const command = shadow(world, '--interval', '1');
    await command.until(/T02:00:00Z .* equal/);
    // CloudKitty rates one more period; so does Ratecat, here by taking it over: its watermark first, then the period, and
    // nothing is to be compared between the two.
    command.child.kill('SIGSTOP');
    await rate(world, 3, '0.5');
    await world.old.execute('UPDATE cloudkitty_storage_states SET last_processed_timestamp = ?', [
      dateOf(START + 3 * HOUR),
    ]);
    const { config, secret } = world;
    await done(
      ratecat('migrate', 'from-cloudkitty', '--frames-only', '--from-file', secret, '--config', config),
    );
    command.child.kill('SIGCONT');
    await command.until(/T03:00:00Z .* equal/);
    const { code, signal, stdout } = await command.stop('SIGINT');
    assert.deepEqual([code, signal], [0, null]);
    assert.match(stdout, /^4 periods, 4 sums: 4 equal/m);
    await rm(world.folder, { recursive: true });
  });

  it('never shows the password of the old database', async () => {
    const world = await newWorld(engine);
    await writeFile(world.secret, 'mysql://reader:hush-hush@127.0.0.1:9/cloudkitty');
    const { code, stdout, stderr } = await shadow(world, '--once').finished;
    assert.equal(code, 69, stderr);
    assert.doesNotMatch(stdout + stderr, /hush/);
    await rm(world.folder, { recursive: true });
  });
});
