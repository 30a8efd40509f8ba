import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import { gzipSync } from 'node:zlib';
import { openDatabase } from '../../core/database/open-database.js';
import { Command, ROOT, ratecat, writeConfig } from '../support/daemon.js';
import { describeOnEngines, type TestEngine } from '../support/engines.js';
import { CloudkittyDatabase, dateOf } from '../unit/migrating/cloudkitty-database.js';

const HOUR = 3600;
const START = Date.UTC(2026, 0, 30) / 1000;
const SCOPES = ['shop', 'lab'];
const METRICS = ['cpu', 'disk'];

interface World {
  readonly folder: string;
  readonly config: string;
  readonly url: string;
  readonly old: string;
}

/** CloudKitty's database without frames, as it is beside InfluxDB or Elasticsearch. */
async function newWorld(engine: TestEngine, hours: number): Promise<World> {
  const folder = await mkdtemp(join(tmpdir(), 'ratecat-migrate-files-'));
  const url = await engine.newDatabase();
  const config = await writeConfig(
    folder,
    {
      data_folder: './data',
      database: { url },
      log: { level: 'warn' },
      rating: [{ plugin: 'hashmap' }],
      collect: { period: HOUR, wait_periods: 2, scope_key: 'project_id', metrics: './metrics.yml' },
      fetcher: { plugin: 'static', options: { scopes: SCOPES } },
      collector: {
        plugin: join(ROOT, 'test/fixtures/deterministic-collector.mjs'),
        options: { delay_ms: '0' },
      },
    },
    { 'metrics.yml': { metrics: { cpu: { unit: 'core', groupby: ['id'], metadata: ['flavor'] } } } },
  );
  const prepared = await ratecat('dbsync', 'upgrade', '--config', config);
  assert.equal(prepared.code, 0, prepared.stderr);
  const old = await CloudkittyDatabase.create(await engine.newDatabase());
  await old.insert(
    'cloudkitty_storage_states',
    SCOPES.map((identifier) => ({
      identifier,
      scope_key: 'project_id',
      fetcher: 'source',
      collector: 'gnocchi',
      last_processed_timestamp: dateOf(START + (hours - 1) * HOUR),
      scope_activation_toggle_date: dateOf(START),
      active: 1,
    })),
  );
  return { folder, config, url, old: old.url };
}

/** An export of InfluxDB: series by series, and in each field by field. */
function lineProtocol(hours: number): string {
  const lines = ['# DML', '# CONTEXT-DATABASE:cloudkitty'];
  for (const scope of SCOPES)
    for (const metric of METRICS)
      for (const field of FIELDS)
        for (let hour = 0; hour < hours; hour++)
          lines.push(
            `dataframes,id=vm-1,project_id=${scope},type=${metric} ${field(hour)} ${START + hour * HOUR}000000000`,
          );
  return lines.join('\n');
}

const FIELDS: readonly ((hour: number) => string)[] = [
  (hour) => `qty=${hour}.5`,
  () => 'price=0.1',
  () => 'unit="core"',
  () => 'groupby="id|project_id"',
  () => 'metadata="flavor"',
  () => 'flavor="small"',
  () => `__ck_collect_period=${HOUR}i`,
];

/** The same points as documents, newest first. */
function documents(hours: number): string {
  const lines: string[] = [];
  for (let hour = hours - 1; hour >= 0; hour--)
    for (const scope of SCOPES)
      for (const metric of METRICS) {
        const begin = (START + hour * HOUR) * 1000;
        lines.push(
          JSON.stringify({
            _index: 'cloudkitty',
            _id: `${hour}-${scope}-${metric}`,
            _source: {
              start: new Date(begin).toISOString(),
              end: new Date(begin + HOUR * 1000).toISOString(),
              type: metric,
              unit: 'core',
              qty: hour + 0.5,
              price: 0.1,
              groupby: { id: 'vm-1', project_id: scope },
              metadata: { flavor: 'small' },
            },
          }),
        );
      }
  return lines.join('\n');
}

function args({ config, old }: World, file: string, ...more: readonly string[]): readonly string[] {
  return ['migrate', 'from-cloudkitty', '--from', old, '--config', config, '--frame-files', file, ...more];
}

/** Rows of points with what describes them, and how often periods were written. */
async function stored({ url }: World) {
  const database = await openDatabase(url);
  try {
    const lines = async (sql: string) => (await database.query(sql)).map((row) => row.map(String).join(' '));
    return {
      points: await lines(
        `SELECT s.scope_id, f.period_begin, d.metric, p.quantity, p.price, d.groupby, d.metadata
         FROM ratecat_sql_points p JOIN ratecat_sql_frames f ON f.id = p.frame JOIN ratecat_sql_scopes s ON s.id = f.scope
         JOIN ratecat_sql_descriptors d ON d.id = p.descriptor ORDER BY s.scope_id, f.period_begin, d.metric`,
      ),
      writes: await lines('SELECT scope_id, writes FROM ratecat_sql_scopes ORDER BY scope_id'),
      states: await lines('SELECT scope_id, watermark FROM ratecat_scopes ORDER BY scope_id'),
    };
  } finally {
    await database.close();
  }
}

async function leftovers({ folder }: World): Promise<readonly string[]> {
  return (await readdir(join(folder, 'data'))).filter((name) => name.startsWith('migrated-frames'));
}

describeOnEngines('ratecat migrate from-cloudkitty with frames in files', (engine) => {
  it('takes over the same periods out of line protocol and out of documents, and changes nothing the second time', async () => {
    const hours = 60;
    const found: (readonly string[])[] = [];
    for (const content of [lineProtocol(hours), documents(hours)]) {
      const world = await newWorld(engine, hours);
      const file = join(world.folder, 'frames.gz');
      await writeFile(file, gzipSync(content));
      const { code, stdout, stderr } = await ratecat(...args(world, file, '--json'));
      assert.equal(code, 0, stderr);
      const report = JSON.parse(stdout);
      assert.deepEqual(report.frames, { periods: 120, points: 240, beyond: 0, stateless: {} });
      assert.deepEqual(
        report.verification.map(
          (group: Record<string, string>) => `${group.month} ${group.scope} ${group.metric} ${group.verdict}`,
        ),
        ['01', '02'].flatMap((month) =>
          ['lab', 'shop'].flatMap((scope) =>
            METRICS.map((metric) => `2026-${month} ${scope} ${metric} equal`),
          ),
        ),
      );
      assert.deepEqual(await leftovers(world), []);
      const first = await stored(world);
      assert.deepEqual(
        first.states,
        ['lab', 'shop'].map((scope) => `${scope} ${START + hours * HOUR}`),
      );
      const again = await ratecat(...args(world, file));
      assert.equal(again.code, 0, again.stderr);
      assert.match(again.stdout, /8 sums of scope, metric and month compared: all equal to the last digit/);
      assert.deepEqual(await stored(world), first);
      found.push(first.points);
      await rm(world.folder, { recursive: true });
    }
    assert.deepEqual(found[1], found[0]);
    assert.match(
      found[0]![0]!,
      /^lab \d+ cpu 0\.50* 0\.10* \["id","vm-1","project_id","lab"\] \["flavor","small"\]$/,
    );
  });

  it('goes on after kill -9 with whole periods, none lost and none twice', async () => {
    const hours = 500;
    const world = await newWorld(engine, hours);
    const file = join(world.folder, 'frames.lp');
    await writeFile(file, lineProtocol(hours));
    let kills = 0;
    let seen = 0;
    for (;;) {
      const command = new Command(args(world, file));
      // Killed as soon as this run has stored something more than the one before.
      while (command.child.exitCode === null && kills < 3) {
        const { points } = await stored(world);
        assert.equal(points.length % METRICS.length, 0);
        if (points.length > seen && points.length < hours * 4) {
          seen = points.length;
          command.child.kill('SIGKILL');
          break;
        }
      }
      const { code, signal, stderr } = await command.finished;
      if (signal !== 'SIGKILL') {
        assert.equal(code, 0, stderr);
        break;
      }
      kills++;
    }
    assert.ok(kills > 0, 'no run was killed in the middle');
    const { points, writes } = await stored(world);
    assert.equal(points.length, hours * 4);
    for (const line of writes) assert.ok(Number(line.split(' ')[1]) <= hours, line);
    assert.deepEqual(await leftovers(world), []);
    await rm(world.folder, { recursive: true });
  });

  it('moves scopes on that an earlier run without files has written', async () => {
    const world = await newWorld(engine, 3);
    const file = join(world.folder, 'frames.lp');
    await writeFile(file, lineProtocol(6));
    const before = await ratecat('migrate', 'from-cloudkitty', '--from', world.old, '--config', world.config);
    assert.equal(before.code, 0, before.stderr);
    const old = await openDatabase(world.old);
    await old.transaction((tx) =>
      tx.execute('UPDATE cloudkitty_storage_states SET last_processed_timestamp = ?', [
        dateOf(START + 5 * HOUR),
      ]),
    );
    await old.close();
    const { code, stdout, stderr } = await ratecat(...args(world, file));
    assert.equal(code, 0, stderr + stdout);
    assert.match(stdout, /2 written/);
    assert.deepEqual(
      (await stored(world)).states,
      ['lab', 'shop'].map((scope) => `${scope} ${START + 6 * HOUR}`),
    );
    await rm(world.folder, { recursive: true });
  });

  it('takes nothing out of a file that is broken, and says where it is', async () => {
    const world = await newWorld(engine, 3);
    const file = join(world.folder, 'frames.lp');
    await writeFile(file, `${lineProtocol(3)}\ndataframes,project_id=shop`);
    const { code, stderr } = await ratecat(...args(world, file, '--frames-only'));
    assert.notEqual(code, 0);
    assert.match(
      stderr,
      /frames\.lp:87: column 27 has the end where ' ' belongs.*RATECAT_MIGRATE_FILE_INVALID/s,
    );
    assert.deepEqual((await stored(world)).points, []);
    await rm(world.folder, { recursive: true });
  });
});
