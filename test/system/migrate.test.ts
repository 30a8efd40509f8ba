import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import { deflateSync } from 'node:zlib';
import { openDatabase } from '../../core/database/open-database.js';
import { Command, type Finished, ROOT, ratecat, writeConfig } from '../support/daemon.js';
import { describeOnEngines, type TestEngine } from '../support/engines.js';
import { CloudkittyDatabase, dateOf, frameRow, type OldRow } from '../unit/migrating/cloudkitty-database.js';

const HOUR = 3600;
const START = Date.UTC(2026, 0, 30) / 1000;

interface Group {
  readonly scope: string;
  readonly metric: string;
  readonly month: string;
  readonly verdict: string;
  readonly source: { readonly points: number; readonly price: string };
  readonly stored: { readonly points: number; readonly price: string };
}

interface World {
  readonly folder: string;
  readonly config: string;
  readonly url: string;
  readonly old: CloudkittyDatabase;
}

async function newWorld(engine: TestEngine, settings: object = {}): Promise<World> {
  const folder = await mkdtemp(join(tmpdir(), 'ratecat-migrate-'));
  const url = await engine.newDatabase();
  const config = await writeConfig(
    folder,
    {
      data_folder: './data',
      database: { url },
      log: { level: 'warn' },
      rating: [{ plugin: 'hashmap' }, { plugin: 'pyscripts' }],
      collect: { period: HOUR, wait_periods: 2, scope_key: 'project_id', metrics: './metrics.yml' },
      fetcher: { plugin: 'static', options: { scopes: ['shop', 'idle'] } },
      collector: {
        plugin: join(ROOT, 'test/fixtures/deterministic-collector.mjs'),
        options: { delay_ms: '0' },
      },
      ...settings,
    },
    {
      'metrics.yml': {
        metrics: { cpu: { unit: 'core', groupby: ['id'], metadata: ['flavor'] } },
      },
    },
  );
  const prepared = await ratecat('dbsync', 'upgrade', '--config', config);
  assert.equal(prepared.code, 0, prepared.stderr);
  return { folder, config, url, old: await CloudkittyDatabase.create(await engine.newDatabase()) };
}

/** Usage of two scopes over three days, one of them with gaps; prices that no float holds exactly. */
function usage(hours: number): readonly OldRow[] {
  const rows: OldRow[] = [];
  for (let hour = 0; hour < hours; hour++) {
    const begin = START + hour * HOUR;
    for (const [index, metric] of ['cpu', 'disk'].entries())
      rows.push(
        frameRow('today', {
          tenant: 'shop',
          metric,
          begin,
          quantity: `${hour + index}.12345`,
          price: '0.1',
          description: { id: `vm-${hour % 3}`, project_id: 'shop', flavor: 'small', size: 0.5 },
        }),
      );
    if (hour % 2 === 0) {
      const idle = { tenant: 'idle', begin, quantity: '0.00000', price: '0' };
      rows.push({
        ...frameRow('today', { ...idle, metric: '_NO_DATA_', description: '""' }),
        unit: 'None',
      });
    }
  }
  return rows;
}

async function fill(old: CloudkittyDatabase, hours: number): Promise<void> {
  const last = START + (hours - 1) * HOUR;
  await old.insert('rated_data_frames', usage(hours));
  await old.insert('cloudkitty_storage_states', [
    state('shop', last, 1),
    state('idle', last - HOUR, 0),
    { ...state('elsewhere', last, 1), scope_key: 'namespace' },
  ]);
  await old.insert('storage_scope_reprocessing_schedule', [
    reprocess('shop', START, START + 4 * HOUR, START + HOUR, 'unfinished'),
    reprocess('shop', START, START + 4 * HOUR, START + 4 * HOUR, 'finished'),
  ]);
  await old.insert('modules_state', [
    { name: 'hashmap', state: 1, priority: 7 },
    { name: 'pyscripts', state: 0, priority: 2 },
    { name: 'noop', state: 1, priority: 1 },
    { name: 'collector_gnocchi', state: 1, priority: 1 },
  ]);
  await fillRules(old);
}

function state(identifier: string, last: number, active: number): OldRow {
  return {
    identifier,
    scope_key: 'project_id',
    fetcher: 'source',
    collector: 'gnocchi',
    last_processed_timestamp: dateOf(last),
    scope_activation_toggle_date: dateOf(START),
    active,
  };
}

function reprocess(identifier: string, begin: number, end: number, current: number, reason: string): OldRow {
  return {
    identifier,
    start_reprocess_time: dateOf(begin),
    end_reprocess_time: dateOf(end),
    current_reprocess_time: dateOf(current),
    reason,
  };
}

async function fillRules(old: CloudkittyDatabase): Promise<void> {
  const mapping = {
    value: null,
    map_type: 'flat',
    service_id: null,
    field_id: null,
    group_id: null,
    tenant_id: null,
    created_at: dateOf(START),
    start: dateOf(START),
    end: null,
    description: null,
    deleted: null,
    created_by: 'admin',
  } satisfies OldRow;
  await old.insert('hashmap_services', [{ service_id: 'service-1', name: 'cpu' }]);
  await old.insert('hashmap_fields', [{ field_id: 'field-1', name: 'flavor', service_id: 1 }]);
  await old.insert('hashmap_groups', [{ group_id: 'group-1', name: 'licences' }]);
  await old.insert('hashmap_mappings', [
    { ...mapping, mapping_id: 'm-1', service_id: 1, cost: '0.0100000000000000000000000001', name: 'base' },
    {
      ...mapping,
      mapping_id: 'm-2',
      field_id: 1,
      value: 'small',
      cost: '0.25',
      name: 'small',
      end: dateOf(START + 48 * HOUR),
      description: 'until the new price list',
    },
    {
      ...mapping,
      mapping_id: 'm-3',
      field_id: 1,
      value: 'small',
      cost: '0.3',
      name: 'small again',
      start: dateOf(START + 24 * HOUR),
    },
    { ...mapping, mapping_id: 'm-4', service_id: 1, cost: '9', name: 'gone', deleted: dateOf(START) },
    {
      ...mapping,
      mapping_id: 'm-5',
      service_id: 1,
      cost: '2',
      map_type: 'rate',
      group_id: 1,
      tenant_id: 'shop',
      name: 'licence',
    },
  ]);
  await old.insert('hashmap_thresholds', [
    {
      threshold_id: 't-1',
      level: '10.5',
      cost: '0.9',
      map_type: 'rate',
      service_id: 1,
      field_id: null,
      group_id: null,
      tenant_id: null,
    },
  ]);
  const script = {
    checksum: 'x',
    created_at: dateOf(START),
    start: dateOf(START),
    created_by: 'admin',
    description: null,
  };
  await old.insert('pyscripts_scripts', [
    {
      script_id: 's-1',
      name: 'discount',
      data: deflateSync('# grüße\n'),
      ...script,
      end: dateOf(START + HOUR),
      deleted: null,
    },
    {
      script_id: 's-2',
      name: 'discount',
      data: deflateSync('old'),
      ...script,
      end: null,
      deleted: dateOf(START),
    },
  ]);
}

function migrate({ config, old }: World, ...more: readonly string[]): Promise<Finished> {
  return ratecat('migrate', 'from-cloudkitty', '--from', old.url, '--config', config, ...more);
}

async function migrateJson(world: World, ...more: readonly string[]) {
  const { stdout, stderr, code } = await migrate(world, '--json', ...more);
  assert.notEqual(stdout, '', stderr);
  return { code, stderr, report: JSON.parse(stdout) };
}

/** Facts of Ratecat's database, ids aside. */
async function facts({ url }: World): Promise<Readonly<Record<string, readonly string[]>>> {
  const database = await openDatabase(url);
  try {
    const lines = async (sql: string) => (await database.query(sql)).map((row) => row.map(String).join(' '));
    const { sum } = database.dialect;
    return {
      scopes: await lines(
        'SELECT scope_id, watermark, last_begin, active, state FROM ratecat_scopes ORDER BY scope_id',
      ),
      commits: await lines('SELECT scope_id, commit_seq, fence FROM ratecat_scopes ORDER BY scope_id'),
      frames: await lines(
        `SELECT s.source, s.scope_id, f.period_begin, f.period_end, COUNT(*), ${sum('p.quantity')}, ${sum('p.price')}
         FROM ratecat_sql_points p JOIN ratecat_sql_frames f ON f.id = p.frame JOIN ratecat_sql_scopes s ON s.id = f.scope
         GROUP BY s.source, s.scope_id, f.period_begin, f.period_end ORDER BY s.scope_id, f.period_begin`,
      ),
      writes: await lines('SELECT scope_id, writes FROM ratecat_sql_scopes ORDER BY scope_id'),
      monthly: await lines(`SELECT COUNT(*), ${sum('quantity')}, ${sum('price')} FROM ratecat_sql_monthly`),
      modules: await lines(
        "SELECT name, enabled, priority FROM ratecat_modules WHERE name <> 'noop' ORDER BY name",
      ),
      mappings: await lines(
        'SELECT name, cost, map_type, value, tenant_id, starts_at, ends_at, description FROM ratecat_hashmap_mappings ORDER BY position',
      ),
      thresholds: await lines('SELECT level, cost, map_type FROM ratecat_hashmap_thresholds'),
      scripts: await lines(
        'SELECT name, data, starts_at, ends_at, created_at, created_by FROM ratecat_pyscripts_scripts',
      ),
      tasks: await lines(
        'SELECT begin_at, end_at, reason, finished FROM ratecat_reprocess_tasks ORDER BY id',
      ),
      ids: await lines(
        `SELECT service_id FROM ratecat_hashmap_services UNION ALL SELECT field_id FROM ratecat_hashmap_fields
         UNION ALL SELECT group_id FROM ratecat_hashmap_groups UNION ALL SELECT mapping_id FROM ratecat_hashmap_mappings
         UNION ALL SELECT threshold_id FROM ratecat_hashmap_thresholds UNION ALL SELECT script_id FROM ratecat_pyscripts_scripts
         ORDER BY 1`,
      ),
      audit: await lines('SELECT COUNT(*) FROM ratecat_audit'),
      revisions: await lines('SELECT name, value FROM ratecat_revisions ORDER BY name'),
    };
  } finally {
    await database.close();
  }
}

function trimmed(lines: readonly string[] | undefined): readonly string[] {
  // MariaDB pads decimals to the scale of their column.
  return (lines ?? []).map((line) => line.replace(/(\.\d*?)0+(?=\s|$)/g, '$1').replace(/\.(?=\s|$)/g, ''));
}

describeOnEngines('ratecat migrate from-cloudkitty', (engine) => {
  it('takes over rules, states, windows and frames, and reads the old database only', async () => {
    const world = await newWorld(engine);
    const hours = 60;
    await fill(world.old, hours);
    const before = await world.old.contents();
    const { code, report, stderr } = await migrateJson(world);
    assert.equal(code, 0, stderr + JSON.stringify(report, null, 1));
    assert.equal(await world.old.contents(), before);
    const stored = await facts(world);
    const end = START + hours * HOUR;
    assert.deepEqual(stored.scopes, [
      `idle ${end - HOUR} ${end - 2 * HOUR} 0 gone`,
      `shop ${end} ${end - HOUR} 1 gone`,
    ]);
    assert.equal(stored.frames?.length, hours);
    assert.match(
      trimmed(stored.frames)[1]!,
      new RegExp(`^default shop ${START + HOUR} ${START + 2 * HOUR} 2 3\\.2469 0\\.2$`),
    );
    assert.deepEqual(stored.modules, ['hashmap 1 7', 'pyscripts 0 2']);
    assert.deepEqual(trimmed(stored.mappings), [
      // CloudKitty's decimals are floats on SQLite.
      `base ${engine.name === 'sqlite' ? '0.01' : '0.0100000000000000000000000001'} flat  null ${START} null null`,
      `licence 2 rate  shop ${START} null null`,
      `small 0.25 flat small null ${START} ${START + 48 * HOUR} until the new price list`,
      `small again 0.3 flat small null ${START + 24 * HOUR} null null`,
    ]);
    assert.deepEqual(trimmed(stored.thresholds), ['10.5 0.9 rate']);
    assert.deepEqual(stored.scripts, [`discount # grüße\n ${START} ${START + HOUR} ${START} admin`]);
    const kept = ['field-1', 'group-1', 'm-1', 'm-2', 'm-3', 'm-5', 's-1', 'service-1', 't-1'];
    assert.deepEqual(stored.ids, kept, 'clients know rules by these ids');
    assert.deepEqual(stored.tasks, [`${START + 2 * HOUR} ${START + 4 * HOUR} unfinished 0`]);
    const groups = report.verification as readonly Group[];
    assert.deepEqual(
      groups.map(({ scope, metric, month, verdict, stored: { points, price } }) =>
        [month, scope, metric, verdict, points, price].join(' '),
      ),
      [
        '2026-01 shop cpu equal 48 4.8',
        '2026-01 shop disk equal 48 4.8',
        '2026-02 shop cpu equal 12 1.2',
        '2026-02 shop disk equal 12 1.2',
      ],
    );
    await rm(world.folder, { recursive: true });
  });

  it('changes nothing when it runs again, and takes over what has been added since', async () => {
    const world = await newWorld(engine);
    await fill(world.old, 30);
    assert.equal((await migrate(world)).code, 0);
    const first = await facts(world);
    assert.equal((await migrate(world)).code, 0);
    assert.deepEqual(await facts(world), first);
    // CloudKitty goes on for a while; a period of the past comes late.
    await world.old.insert('rated_data_frames', usage(36).slice(usage(30).length));
    await world.old.insert('rated_data_frames', [
      frameRow('today', { tenant: 'idle', metric: 'cpu', begin: START, quantity: '1', price: '0.7' }),
    ]);
    await world.old.execute(
      "UPDATE cloudkitty_storage_states SET last_processed_timestamp = ? WHERE identifier = 'shop'",
      [dateOf(START + 35 * HOUR)],
    );
    const { code, report, stderr } = await migrateJson(world);
    assert.equal(code, 0, stderr);
    const stored = await facts(world);
    assert.equal(stored.frames?.length, 36 + 1);
    assert.match(stored.scopes?.[1] ?? '', new RegExp(`^shop ${START + 36 * HOUR} `));
    assert.ok((report.verification as readonly Group[]).every(({ verdict }) => verdict === 'equal'));
    await rm(world.folder, { recursive: true });
  });

  it('lets the pipeline go on with the very next period', async () => {
    const now = Math.floor(Date.now() / 1000 / HOUR) * HOUR;
    const world = await newWorld(engine);
    const begin = now - 6 * HOUR;
    await world.old.insert(
      'rated_data_frames',
      [0, 1].map((hour) =>
        frameRow('today', {
          tenant: 'shop',
          metric: 'cpu',
          begin: begin + hour * HOUR,
          quantity: '1',
          price: '0.5',
        }),
      ),
    );
    await world.old.insert('cloudkitty_storage_states', [
      state('shop', begin + HOUR, 1),
      state('idle', begin + HOUR, 0),
      state('deleted long ago', begin - 9000 * HOUR, 1),
    ]);
    assert.equal((await migrate(world)).code, 0);
    const daemon = new Command(['processor', '--config', world.config]);
    const deadline = Date.now() + 60_000;
    const frames = async () => (await facts(world)).frames?.map((line) => Number(line.split(' ')[2])) ?? [];
    while ((await frames()).length < 5) {
      assert.ok(Date.now() < deadline, daemon.stderr);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    assert.equal((await daemon.stop()).code, 0);
    assert.deepEqual(
      (await frames()).slice(0, 5),
      [0, 1, 2, 3, 4].map((hour) => begin + hour * HOUR),
    );
    const { scopes } = await facts(world);
    assert.match(scopes?.find((line) => line.startsWith('deleted')) ?? '', / gone$/);
    assert.match(
      scopes?.find((line) => line.startsWith('idle')) ?? '',
      new RegExp(`^idle ${begin + 2 * HOUR} .* 0 `),
    );
    // What Ratecat has rated since is its own: another run leaves it alone.
    const { code, report, stderr } = await migrateJson(world);
    assert.equal(code, 0, stderr);
    assert.equal(report.states.kept, 1);
    await rm(world.folder, { recursive: true });
  });

  it('says with exit code 1 what differs', async () => {
    const world = await newWorld(engine);
    await fill(world.old, 30);
    assert.equal((await migrate(world)).code, 0);
    // A period that CloudKitty no longer has cannot be taken over again.
    await world.old.execute('DELETE FROM rated_data_frames WHERE res_type = \'cpu\' AND "begin" = ?', [
      dateOf(START),
    ]);
    const { code, stdout } = await migrate(world);
    assert.equal(code, 0, stdout);
    await world.old.execute('DELETE FROM rated_data_frames WHERE "begin" = ?', [dateOf(START + HOUR)]);
    const different = await migrate(world);
    assert.equal(different.code, 1, different.stdout + different.stderr);
    assert.match(different.stdout, /2026-01 +shop +cpu +28 +29 .* different\n/);
    assert.match(different.stdout, /2 sums of scope, metric and month compared: 2 DIFFER\./);
    await rm(world.folder, { recursive: true });
  });

  it('--dry-run tells what would be taken over and writes nothing', async () => {
    const world = await newWorld(engine);
    await fill(world.old, 30);
    const before = await facts(world);
    const { code, stdout, stderr } = await migrate(world, '--dry-run');
    assert.equal(code, 0, stderr);
    assert.deepEqual(await facts(world), before);
    assert.match(stdout, /^Nothing was changed; this is what would be\.\nhashmap: 5 found, 8 added/);
    assert.match(stdout, /compared: 0 are there already, 2 to take over\./);
    await rm(world.folder, { recursive: true });
  });

  it('--rules-only leaves frames and scopes, --since and --until limit the frames', async () => {
    const world = await newWorld(engine);
    await fill(world.old, 30);
    assert.equal((await migrate(world, '--rules-only')).code, 0);
    const rules = await facts(world);
    assert.equal(rules.mappings?.length, 4);
    assert.deepEqual([rules.scopes, rules.frames], [[], []]);
    const range = ['--since', '2026-01-30T05:00:00Z', '--until', '2026-01-30T09:00:00Z'];
    assert.equal((await migrate(world, '--frames-only', ...range)).code, 0);
    assert.equal((await facts(world)).frames?.length, 4);
    await rm(world.folder, { recursive: true });
  });

  it('goes on after kill -9 with whole periods, none lost and none twice', async () => {
    const hours = 3000;
    const world = await newWorld(engine);
    const scopes = ['alpha', 'beta', 'gamma'];
    const begins = Array.from({ length: hours }, (_, hour) => START + hour * HOUR);
    for (const tenant of scopes)
      await world.old.insert(
        'rated_data_frames',
        begins.flatMap((begin, hour) =>
          ['cpu', 'disk', 'net'].map((metric) =>
            frameRow('today', { tenant, metric, begin, quantity: `${hour}.5`, price: '0.01' }),
          ),
        ),
      );
    await world.old.insert(
      'cloudkitty_storage_states',
      scopes.map((scope) => state(scope, begins.at(-1)!, 1)),
    );
    let kills = 0;
    let seen = 0;
    for (;;) {
      const command = new Command([
        'migrate',
        'from-cloudkitty',
        '--from',
        world.old.url,
        '--config',
        world.config,
      ]);
      // Killed as soon as this run has stored something more than the one before.
      while (command.child.exitCode === null && kills < 4) {
        const { frames = [] } = await facts(world);
        assert.ok(frames.every((line) => line.split(' ')[4] === '3'));
        if (frames.length > seen && frames.length < hours * scopes.length) {
          seen = frames.length;
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
    const { frames, monthly, writes } = await facts(world);
    assert.equal(frames?.length, hours * scopes.length);
    assert.match(trimmed(monthly)[0]!, / 40500000 270$/);
    // A run that goes on does not write again what was stored.
    for (const line of writes ?? []) assert.ok(Number(line.split(' ')[1]) <= hours, line);
    await rm(world.folder, { recursive: true });
  });

  it('refuses periods of another length, and scripts or rules that nobody would apply', async () => {
    const world = await newWorld(engine, { rating: [{ plugin: 'noop' }] });
    await fill(world.old, 3);
    const missing = await migrate(world);
    assert.equal(missing.code, 1);
    assert.match(
      missing.stdout,
      /CloudKitty has 5 rules of 'hashmap', and the configuration has no such rating module/,
    );
    assert.match(missing.stdout, /'hashmap' is enabled in CloudKitty and not configured here/);
    await world.old.execute('UPDATE rated_data_frames SET "end" = ? WHERE "begin" = ?', [
      dateOf(START + 2.5 * HOUR),
      dateOf(START + 2 * HOUR),
    ]);
    const refused = await migrate(world);
    assert.equal(refused.code, 78);
    assert.match(refused.stderr, /has 1800 s, and those of pipeline 'default' have 3600 s/);
    await rm(world.folder, { recursive: true });
  });

  if (engine.name === 'mariadb')
    it('needs no more than SELECT on the old database', async () => {
      const world = await newWorld(engine);
      await fill(world.old, 3);
      const name = new URL(world.old.url).pathname.slice(1);
      await world.old.execute("CREATE USER reader@'127.0.0.1' IDENTIFIED BY 'reader'");
      await world.old.execute(`GRANT SELECT ON ${name}.* TO reader@'127.0.0.1'`);
      const url = world.old.url.replace('ratecat:ratecat@', 'reader:reader@');
      const { code, stderr } = await ratecat(
        ...['migrate', 'from-cloudkitty', '--from', url, '--config', world.config],
      );
      assert.equal(code, 0, stderr);
      assert.equal((await facts(world)).frames?.length, 3);
      await rm(world.folder, { recursive: true });
    });

  it('never shows the password of the old database', async () => {
    const world = await newWorld(engine);
    const file = join(world.folder, 'cloudkitty.url');
    await writeFile(file, 'mysql://cloudkitty:hidden-secret@127.0.0.1:1/cloudkitty\n');
    const { code, stdout, stderr } = await ratecat(
      ...['migrate', 'from-cloudkitty', '--from-file', file, '--config', world.config],
    );
    assert.equal(code, 69);
    assert.doesNotMatch(stdout + stderr, /hidden-secret/);
    await rm(world.folder, { recursive: true });
  });
});
