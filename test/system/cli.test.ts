import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import { openDatabase } from '../../core/database/open-database.js';
import { Command, PROGRAM, ROOT, ratecat, writeConfig } from '../support/daemon.js';
import { lastDue } from '../support/small-daemon.js';

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ratecat-cli-'));
});
after(async () => {
  for (const { child } of daemons) child.kill('SIGKILL');
  await rm(folder, { recursive: true, force: true });
});

/** Ended at the latest with the tests: a daemon left over by a failed one would keep the runner waiting. */
const daemons: Command[] = [];

function startDaemon(args: readonly string[]): Command {
  const daemon = new Command(args, {}, folder);
  daemons.push(daemon);
  return daemon;
}

const METRICS = {
  metrics: {
    cpu: { unit: 'core', groupby: ['id'], metadata: ['flavor'] },
    disk: { unit: 'GiB', groupby: ['id'], metadata: ['flavor'] },
  },
};

const RULES = {
  services: {
    cpu: {
      mappings: [{ type: 'flat', cost: '0.1' }],
      fields: { flavor: { mappings: [{ value: 'large', type: 'rate', cost: '1.000000000001' }] } },
    },
    disk: { thresholds: [{ level: '500', type: 'flat', cost: '7' }] },
  },
};

async function newConfig(change: object = {}): Promise<string> {
  const into = await mkdtemp(join(folder, 'config-'));
  const config = {
    data_folder: './data',
    rating: [{ plugin: 'hashmap', rules: './rules.yml' }, { plugin: 'noop' }],
    collect: {
      period: 3600,
      wait_periods: 1,
      scope_key: 'project_id',
      metrics: './metrics.yml',
      start: new Date((lastDue() - 30 * 3600) * 1000).toISOString(),
    },
    fetcher: { plugin: 'static', options: { scopes: ['alpha', 'beta'] } },
    collector: {
      plugin: join(ROOT, 'test/fixtures/deterministic-collector.mjs'),
      options: { delay_ms: 0 },
    },
    ...change,
  };
  return writeConfig(into, config, { 'metrics.yml': METRICS, 'rules.yml': RULES });
}

async function shell(script: string, input = ''): Promise<{ code: number; stdout: string; stderr: string }> {
  const child = spawn('bash', ['-c', script], {
    cwd: folder,
    env: { ...process.env, NODE_OPTIONS: '', RATECAT: `${process.execPath} ${PROGRAM}` },
  });
  child.stdin.end(input);
  const code = new Promise<number>((resolve) => child.on('close', (value) => resolve(value ?? -1)));
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return { code: await code, stdout, stderr };
}

describe('a start that cannot be', () => {
  const refused: readonly {
    readonly what: string;
    readonly change: object;
    readonly code: number;
    readonly says: RegExp;
  }[] = [
    {
      what: 'a misspelt key',
      change: { procesor: { workers: 2 } },
      code: 78,
      says: /ratecat\.yml:\d+:\d+: procesor: .*processor/,
    },
    {
      what: 'an unknown plugin',
      change: { collector: { plugin: 'gnochi' } },
      code: 78,
      says: /ratecat\.yml:\d+:\d+: collector\.plugin: .*No collector plugin 'gnochi'/,
    },
    {
      what: 'a database that is not there',
      change: { database: { url: 'mysql://user:sesame@127.0.0.1:1/ratecat' } },
      code: 69,
      says: /127\.0\.0\.1.*\[RATECAT_DATABASE_UNAVAILABLE\]/,
    },
    {
      what: 'a data folder that cannot be written',
      change: { data_folder: '/proc' },
      code: 69,
      says: /\/proc\/ratecat\.db/,
    },
    {
      what: 'a data folder that cannot be made',
      change: { data_folder: `${process.execPath}/data` },
      code: 69,
      says: /data folder .*\/data cannot be created.*\[RATECAT_DATA_FOLDER\]/,
    },
  ];
  for (const { what, change, code, says } of refused) {
    it(`gives one clear message and exit code ${code} for ${what}`, async () => {
      const result = await ratecat('up', '--config', await newConfig(change));
      assert.equal(result.code, code, result.stderr);
      assert.match(result.stderr, says);
      assert.match(result.stderr, /^error: /);
      assert.doesNotMatch(result.stderr, /\n {4}at |sesame/);
      assert.equal(result.stdout, '');
    });
  }

  it('refuses a database of a newer version', async () => {
    const config = await newConfig();
    assert.equal((await ratecat('dbsync', 'upgrade', '--config', config)).code, 0);
    const database = await openDatabase(`sqlite://${join(config, '../data/ratecat.db')}`);
    await database.transaction((tx) =>
      tx.execute(
        "INSERT INTO ratecat_migrations (module, name, applied_at) VALUES ('core', '9999-later', 0)",
      ),
    );
    await database.close();
    for (const command of [['up'], ['processor'], ['status'], ['dbsync', 'upgrade']]) {
      const { code, stderr } = await ratecat(...command, '--config', config);
      assert.equal(code, 78, `${command.join(' ')}: ${stderr}`);
      assert.match(stderr, /newer ratecat.*core\/9999-later.*\[RATECAT_DATABASE_NEWER\]/);
    }
  });

  it('does not make a database where one is only to be read', async () => {
    const config = await newConfig();
    const { code, stderr } = await ratecat('status', '--config', config);
    assert.equal(code, 69);
    assert.match(stderr, /no database at .*ratecat\.db yet.*\[RATECAT_DATABASE_ABSENT\]/);
    await assert.rejects(readFile(join(config, '../data/ratecat.db')), { code: 'ENOENT' });
  });
});

describe('ratecat config check', () => {
  it('lists the problems of options and metrics files with file, line and column', async () => {
    const config = await newConfig();
    assert.equal((await ratecat('config', 'check', '--config', config)).code, 0);
    await writeFile(
      join(config, '../metrics.yml'),
      'metrics:\n  cpu: {unit: core, mutate: FLOR}\n  disk: {units: GiB}\n',
    );
    const { code, stdout } = await ratecat('config', 'check', '--config', config);
    assert.equal(code, 78);
    assert.match(stdout, /metrics\.yml:2:\d+: metrics\.cpu\.mutate: .*FLOOR/);
    assert.match(stdout, /metrics\.yml:3:\d+: metrics\.disk.units: .*unit/);
  });

  it('prints what is in effect, secrets masked', async () => {
    const config = await newConfig({ database: { url: 'mysql://rater:sesame@db.example/ratecat' } });
    const { code, stdout } = await ratecat('config', 'check', '--print', '--config', config);
    assert.equal(code, 0);
    assert.match(stdout, /url: mysql:\/\/rater:\*\*\*@db\.example\/ratecat/);
    assert.match(stdout, /lease_seconds: 60/);
    assert.doesNotMatch(stdout, /sesame/);
  });

  it('lists plugins, those of the configuration marked', async () => {
    const { code, stdout } = await ratecat('plugins', 'list', '--config', await newConfig());
    assert.equal(code, 0);
    assert.match(stdout, /^storage +sql +1 +built in +yes$/m);
    assert.match(stdout, /^collector +gnocchi +1 +built in$/m);
    assert.match(stdout, /^collector +\S+deterministic-collector\.mjs +1 +found from \S+ +yes$/m);
  });
});

describe('ratecat rate', () => {
  const rules = `services:
  instance:
    fields:
      flavor:
        mappings:
          - {value: m1.small, type: flat, cost: 0.1}
          - {value: m1.large, type: flat, cost: 0.333333333333333333333333333}
  disk:
    mappings:
      - {type: flat, cost: 0.0000000001}
    thresholds:
      - {level: 1000, type: rate, cost: 0.5}
`;
  before(() => writeFile(join(folder, 'prices.yml'), rules));

  it('rates CSV exactly, without a database or a configuration', async () => {
    await writeFile(
      join(folder, 'usage.csv'),
      'metric,quantity,unit,flavor,scope,begin\r\n' +
        'instance,3,inst,m1.small,a,2026-01-01\r\n' +
        'instance,1e-3,inst,m1.large,b,2026-01-01T00:00:00Z\r\n' +
        'disk,123456789.123,GiB,,b,\r\n',
    );
    const { code, stdout, stderr } = await shell(
      'RATECAT_CONFIG=/nonexistent $RATECAT rate --rules prices.yml --usage usage.csv --begin 2026-01-01 --json',
    );
    assert.equal(code, 0, stderr);
    const points = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    assert.deepEqual(
      points.map(({ scope, metric, quantity, price }) => [scope, metric, quantity, price]),
      [
        ['a', 'instance', '3', '0.3'],
        ['b', 'instance', '0.001', '0.0003333333333333333333333333'],
        ['b', 'disk', '123456789.123', '0.00617283945615'],
      ],
    );
    assert.deepEqual(points[2].groupby, {});
    const table = await shell('$RATECAT rate -r prices.yml -u usage.csv -b 2026-01-01');
    assert.match(table.stdout, /\nTotal 0\.3065061727894833333333333333\n$/);
  });

  it('rates NDJSON from standard input', async () => {
    const usage = '{"metric":"instance","quantity":2.50,"flavor":"m1.small","deep":{"a":[1.0]}}\n\n';
    const { code, stdout } = await shell(
      '$RATECAT rate -r prices.yml -u - --format ndjson --scope x --json',
      usage,
    );
    assert.equal(code, 0);
    assert.match(stdout, /"scope":"x".*"quantity":"2\.5","price":"0\.25"/);
    assert.match(stdout, /"groupby":\{"deep":\{"a":\[1\.0\]\},"flavor":"m1\.small"\}/);
  });

  it('names every bad line and rates nothing then', async () => {
    const { code, stdout, stderr } = await shell(
      '$RATECAT rate -r prices.yml -u -',
      'metric,quantity,flavor\ninstance,x,m\ninstance,1\n"in\nstance",1,2\n,4,5\n',
    );
    assert.equal(code, 65);
    assert.equal(stdout, '');
    assert.match(
      stderr,
      /input:2: the quantity 'x' is not a number\n.*input:3: has 2 columns.*\n.*input:6: metric/,
    );
  });

  it('names the place in bad rules', async () => {
    await writeFile(join(folder, 'bad.yml'), 'services:\n  cpu: [\n');
    const syntax = await shell('$RATECAT rate -r bad.yml -u usage.csv');
    assert.equal(syntax.code, 65);
    assert.match(syntax.stderr, /bad\.yml:\d+:\d+: .*RATECAT_RULES_FILE_INVALID/s);
    await writeFile(join(folder, 'bad.yml'), 'services:\n  cpu: {mappings: [{type: flatt, cost: 1}]}\n');
    const content = await shell('$RATECAT rate -r bad.yml -u usage.csv');
    assert.equal(content.code, 65);
    assert.match(content.stderr, /services\.cpu\.mappings\[0\]\.type/);
  });
});

describe('reports', () => {
  let config: string;
  let database: string;
  const run = (...args: readonly string[]) => ratecat(...args, '--config', config);

  before(async () => {
    config = await newConfig();
    database = join(config, '../data/ratecat.db');
    const daemon = startDaemon(['up', '--config', config]);
    const deadline = Date.now() + 30_000;
    while ((daemon.stderr.match(/period rated/g) ?? []).length < 60) {
      assert.ok(Date.now() < deadline && daemon.child.exitCode === null, daemon.stderr);
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    assert.equal((await daemon.stop()).code, 0);
  });

  it('agree with each other to the last digit', async () => {
    const range = ['--begin', '2020-01-01', '--end', '2100-01-01'];
    const lines = (await run('dataframes', '--json', ...range)).stdout.trim().split('\n');
    const points = lines.map((line) => JSON.parse(line));
    assert.equal(points.length, 60 * 10);
    const scaled = (price: string) => {
      const [whole, fraction = ''] = price.split('.');
      return BigInt(whole + fraction.padEnd(28, '0'));
    };
    const sum = points.reduce((total, { price }) => total + scaled(price), 0n);
    const all = JSON.parse((await run('summary', '--json', ...range)).stdout);
    assert.equal(scaled(all.total), sum);
    assert.ok(sum > 0n);
    for (const keys of ['type', 'scope', 'flavor', 'time-d', 'time', 'scope,type,flavor,time-m']) {
      const grouped = JSON.parse((await run('summary', '--json', '--group-by', keys, ...range)).stdout);
      assert.equal(grouped.total, all.total, keys);
    }
    const one = JSON.parse(
      (await run('summary', '-s', 'beta', '-m', 'cpu', '-f', 'flavor=large', '--json', ...range)).stdout,
    );
    const wanted = points.filter(
      ({ scope, metric, metadata }) => scope === 'beta' && metric === 'cpu' && metadata.flavor === 'large',
    );
    assert.ok(wanted.length > 0);
    assert.equal(
      scaled(one.total),
      wanted.reduce((total, { price }) => total + scaled(price), 0n),
    );
    const page = (await run('dataframes', '--json', '--offset', '13', '--limit', '7', ...range)).stdout;
    assert.deepEqual(page.trim().split('\n'), lines.slice(13, 20));
    const csv = (await run('dataframes', '--csv', ...range)).stdout.trim().split('\n');
    assert.equal(csv.length, lines.length + 1);
    assert.match(csv[0]!, /^begin,end,source,scope,metric,quantity,unit,price,attributes$/);
  });

  it('end quietly when their reader has seen enough', async () => {
    const { code, stdout, stderr } = await shell(
      `set -o pipefail; $RATECAT dataframes --json -b 2020-01-01 --config ${config} | head -1`,
    );
    assert.equal(code, 0, stderr);
    assert.equal(stdout.trim().split('\n').length, 1);
    assert.equal(stderr, '');
  });

  it('explain how each price comes about, and find one that was tampered with', async () => {
    const range = ['--begin', '2020-01-01', '--end', '2100-01-01'];
    const good = await run('explain', '--scope', 'alpha', ...range);
    assert.equal(good.code, 0, good.stdout);
    assert.match(good.stdout, /hashmap +flat 0\.1 for metric cpu/);
    assert.match(good.stdout, /\n300 explained, all agree\.\n$/);
    const newest = await run('explain', '--scope', 'alpha', '--metric', 'cpu');
    assert.match(newest.stdout, /\n5 explained, all agree\.\n$/);
    const opened = await openDatabase(`sqlite://${database}`);
    await opened.transaction((tx) =>
      tx.execute(`UPDATE ratecat_sql_points SET price = quantity WHERE ordinal = 0 AND frame IN
        (SELECT MAX(f.id) FROM ratecat_sql_frames f JOIN ratecat_sql_scopes s ON s.id = f.scope WHERE s.scope_id = 'beta')`),
    );
    await opened.close();
    const bad = await run('explain', '--scope', 'beta', ...range, '--json');
    assert.equal(bad.code, 1);
    const explained = bad.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    const wrong = explained.filter(({ agrees }) => !agrees);
    assert.equal(wrong.length, 1);
    assert.equal(wrong[0].price, wrong[0].quantity);
    assert.notEqual(wrong[0].recomputed, wrong[0].price);
    assert.match((await run('explain', '--scope', 'beta', ...range)).stdout, /1 DISAGREE\.\n$/);
  });

  it('say what is not there', async () => {
    const unknown = await run('summary', '--scope', 'delta');
    assert.equal(unknown.code, 64);
    assert.match(unknown.stderr, /no scope 'delta'/);
    const empty = await run('summary', '-b', '2020-01-02', '-e', '2020-01-01');
    assert.equal(empty.code, 64);
    assert.match(empty.stderr, /range is empty/);
    assert.match((await run('summary', '-b', '2001-01-01', '-e', '2001-01-02')).stdout, /^Nothing was rated/);
  });

  it('export rules that import to the same rules', async () => {
    const file = join(folder, 'exported.yml');
    assert.equal((await run('rules', 'export', file)).code, 0);
    const before = (await run('rules', 'list', '--json')).stdout;
    assert.match((await run('rules', 'import', file, '--replace')).stdout, /^0 added, 0 changed, 0 removed/);
    await writeFile(file, 'services: {net: {mappings: [{type: flat, cost: 3.10}]}}\n');
    assert.match((await run('rules', 'import', file, '--replace', '--dry-run')).stdout, /^Would be: 2 added/);
    assert.equal((await run('rules', 'list', '--json')).stdout, before);
    assert.match((await run('rules', 'import', file)).stdout, /^2 added, 0 changed, 0 removed/);
    const table = (await run('rules', 'list')).stdout;
    assert.match(table, /^net +every point +flat +3\.1$/m);
    assert.match(table, /^cpu +flavor +large +rate +1\.000000000001$/m);
    assert.match(table, /^disk +from 500 on +flat +7$/m);
  });

  it('switch modules and order them', async () => {
    assert.match((await run('modules', 'list')).stdout, /^hashmap +yes +1 .*\n.*noop +yes +1/m);
    assert.equal((await run('modules', 'disable', 'hashmap')).code, 0);
    assert.equal((await run('modules', 'priority', 'hashmap', '7')).code, 0);
    assert.match((await run('modules', 'list')).stdout, /^hashmap +no +7 /m);
    const { code, stderr } = await run('modules', 'enable', 'hashmop');
    assert.equal(code, 64);
    assert.match(stderr, /no rating module 'hashmop'.*hashmap/);
  });
});
