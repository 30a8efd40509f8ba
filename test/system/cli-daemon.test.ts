import assert from 'node:assert/strict';
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { openDatabase } from '../../core/database/open-database.js';
import { Command, ROOT, ratecat, writeConfig } from '../support/daemon.js';

const RATED = /period rated/g;

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

interface StoredFrame {
  readonly scope: string;
  readonly begin: number;
  readonly end: number;
}

interface Stored {
  readonly frames: readonly StoredFrame[];
  readonly watermarks: ReadonlyMap<string, number>;
}

async function stored(database: string): Promise<Stored> {
  const opened = await openDatabase(`sqlite://${database}`);
  try {
    const frames = await opened.query(
      `SELECT s.scope_id, f.period_begin, f.period_end FROM ratecat_sql_frames f
       JOIN ratecat_sql_scopes s ON s.id = f.scope ORDER BY s.scope_id, f.period_begin, f.id`,
    );
    const scopes = await opened.query('SELECT scope_id, watermark FROM ratecat_scopes');
    return {
      frames: frames.map(([scope, begin, end]) => ({
        scope: String(scope),
        begin: Number(begin),
        end: Number(end),
      })),
      watermarks: new Map(scopes.map(([scope, watermark]) => [String(scope), Number(watermark)])),
    };
  } finally {
    await opened.close();
  }
}

/** Each frame begins where the one before ended, and the last ends at the watermark. */
function assertContiguous({ frames, watermarks }: Stored): void {
  assert.ok(frames.length > 0, 'nothing was rated');
  frames.forEach((frame, index) => {
    const next = frames[index + 1];
    const expected = next?.scope === frame.scope ? next.begin : watermarks.get(frame.scope);
    assert.equal(frame.end, expected, `gap or double after ${JSON.stringify(frame)}`);
  });
}

/** Waits for so many rated periods in the log. */
async function rated(daemon: Command, periods: number): Promise<void> {
  const isEnough = () => {
    assert.equal(daemon.child.exitCode, null, daemon.stderr);
    return (daemon.stderr.match(RATED) ?? []).length >= periods;
  };
  await until(`${periods} periods are rated`, isEnough, () => daemon.stderr);
}

async function shippedHostConfig(name: string): Promise<string> {
  const place = join(folder, name);
  const into = await mkdtemp(place);
  for (const file of ['host.metrics.yml', 'host.rules.yml'])
    await copyFile(join(ROOT, 'config', file), join(into, file));
  const shipped = await readFile(join(ROOT, 'config/ratecat.yml'), 'utf8');
  const quick = shipped.replace(/^ {2}period: 10$/m, '  period: 1');
  assert.notEqual(quick, shipped, 'the shipped configuration has a period of 10 s');
  const config = join(into, 'ratecat.yml');
  await writeFile(config, quick);
  return config;
}

interface Wanted {
  readonly scopes?: readonly string[];
  readonly period?: number;
  readonly start?: number;
  readonly collector?: object;
  readonly extra?: object;
}

async function fixtureConfig({ scopes = ['alpha'], period = 1, start, collector, extra }: Wanted): Promise<{
  readonly config: string;
  readonly database: string;
}> {
  const into = await mkdtemp(join(folder, 'fixture-'));
  const config = await writeConfig(
    into,
    {
      data_folder: './data',
      rating: [{ plugin: 'hashmap', rules: './rules.yml' }, { plugin: 'noop' }],
      collect: {
        period,
        wait_periods: 1,
        scope_key: 'project_id',
        metrics: './metrics.yml',
        start: new Date((start ?? Math.floor(Date.now() / 1000) - 5) * 1000).toISOString(),
      },
      fetcher: { plugin: 'static', options: { scopes } },
      collector: collector ?? {
        plugin: join(ROOT, 'test/fixtures/deterministic-collector.mjs'),
        options: { delay_ms: 0 },
      },
      ...extra,
    },
    {
      'metrics.yml': { metrics: { cpu: { unit: 'core', groupby: ['id'], metadata: ['flavor'] } } },
      'rules.yml': { services: { cpu: { mappings: [{ type: 'flat', cost: '0.25' }] } } },
    },
  );
  return { config, database: join(into, 'data/ratecat.db') };
}

function hostile(options: object): object {
  return { plugin: join(ROOT, 'test/fixtures/hostile-collector.mjs'), options };
}

async function children(pid: number): Promise<readonly number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8');
  return text.split(' ').filter(Boolean).map(Number);
}

async function until(
  what: string,
  holds: () => Promise<boolean> | boolean,
  log: () => string = () => '',
): Promise<void> {
  const deadline = Date.now() + 30_000;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`waited in vain until ${what}\n${log()}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

describe('ratecat up with the shipped configuration', () => {
  it('prices this machine, stops cleanly, and goes on after Ctrl-C and after kill -9', async () => {
    const config = await shippedHostConfig('host-');
    const data = join(folder, 'host-data');
    const up = () => startDaemon(['up', '--config', config, '--data-dir', data]);

    let daemon = up();
    await daemon.until(
      /Ratecat \d+\.\d+\.\d+\n {2}config +\S+ratecat\.yml\n {2}data +\S+host-data\/ratecat\.db/,
    );
    await daemon.until(/prices +\d+ new in hashmap/);
    await rated(daemon, 2);
    const first = await daemon.stop('SIGINT');
    assert.equal(first.code, 0, first.stderr);
    assert.match(first.stderr, /INFO {2}stopped\n$/);
    assertContiguous(await stored(join(data, 'ratecat.db')));

    daemon = up();
    await rated(daemon, 2);
    assert.doesNotMatch(daemon.stdout, /prices/, 'the price list is imported once');
    daemon.child.kill('SIGKILL');
    assert.equal((await daemon.finished).signal, 'SIGKILL');

    daemon = up();
    await rated(daemon, 2);
    assert.equal((await daemon.stop('SIGTERM')).code, 0);
    const end = await stored(join(data, 'ratecat.db'));
    assertContiguous(end);
    assert.ok(end.frames.length >= 6);

    const again = ['--config', config, '--data-dir', data];
    const summary = JSON.parse((await ratecat('summary', '--group-by', 'type', '--json', ...again)).stdout);
    assert.deepEqual(summary.group_by, ['type']);
    assert.ok(summary.rows.some((row: { group: string[]; price: string }) => row.group[0] === 'cpu'));
    assert.match(summary.total, /^0\.\d+$/);
    const status = await ratecat('status', ...again);
    assert.equal(status.code, 0);
    assert.match(status.stdout, /default +\S+ +active/);
    const explain = await ratecat('explain', ...again);
    assert.equal(explain.code, 0, explain.stdout);
    assert.match(explain.stdout, /\n\d+ explained, all agree\.\n$/);
    assert.equal((await ratecat('dataframes', '--gaps', '--csv', ...again)).code, 0);
  });
});

describe('the life of the daemon', () => {
  it('gives up a collection under way when it is asked to stop', async () => {
    const { config, database } = await fixtureConfig({
      collector: {
        plugin: join(ROOT, 'test/fixtures/deterministic-collector.mjs'),
        options: { delay_ms: 600_000 },
      },
    });
    const daemon = startDaemon(['up', '--config', config]);
    await daemon.until(/stop +Ctrl-C/);
    await until('the scope is taken', async () => {
      const { stdout } = await ratecat('status', '--json', '--config', config);
      return stdout !== '' && JSON.parse(stdout)[0]?.owner !== null;
    });
    const began = Date.now();
    const { code, stderr } = await daemon.stop();
    assert.equal(code, 0, stderr);
    assert.ok(Date.now() - began < 10_000);
    assert.equal((await stored(database)).frames.length, 0);
    const { stdout } = await ratecat('status', '--json', '--config', config);
    assert.equal(JSON.parse(stdout)[0].owner, null, 'the lease is given back');
  });

  it('leaves at once at the second signal', async () => {
    const { config } = await fixtureConfig({ collector: hostile({ stop: 'hangs' }) });
    for (const [signal, code] of [
      ['SIGTERM', 143],
      ['SIGINT', 130],
    ] as const) {
      const daemon = startDaemon(['up', '--config', config]);
      await rated(daemon, 1);
      daemon.child.kill(signal);
      await daemon.until(/stopping/);
      assert.equal((await daemon.stop(signal)).code, code);
    }
  });

  it('does not wait longer than graceful_stop', async () => {
    const { config, database } = await fixtureConfig({
      collector: hostile({ stop: 'hangs' }),
      extra: { processor: { graceful_stop: 1 } },
    });
    const daemon = startDaemon(['up', '--config', config]);
    await rated(daemon, 1);
    const { code, stderr } = await daemon.stop();
    assert.equal(code, 0);
    assert.match(stderr, /WARN {2}the stop took too long/);
    assertContiguous(await stored(database));
  });

  it('reads the log level again at SIGHUP, and keeps it when the file is broken', async () => {
    const { config } = await fixtureConfig({});
    const daemon = startDaemon(['up', '--config', config]);
    await rated(daemon, 1);
    const text = await readFile(config, 'utf8');
    await writeFile(config, `${text}\nlog: { level: chatty }\n`);
    daemon.child.kill('SIGHUP');
    await daemon.until(/reloading failed.*log\.level/);
    await writeFile(config, `${text}\nlog: { level: warn }\n`);
    daemon.child.kill('SIGHUP');
    await daemon.until(/log level reloaded now=warn/);
    const lines = () => daemon.stderr.match(RATED)?.length ?? 0;
    await until('the log is silent', async () => {
      const before = lines();
      const { frames } = await stored(join(config, '../data/ratecat.db'));
      await until('periods are rated', async () => {
        return (await stored(join(config, '../data/ratecat.db'))).frames.length > frames.length + 1;
      });
      return lines() === before;
    });
    assert.equal((await daemon.stop()).code, 0);
  });

  it('lets two daemons share one SQLite file', async () => {
    const { config, database } = await fixtureConfig({
      scopes: ['alpha', 'beta', 'gamma'],
      start: Math.floor(Date.now() / 1000) - 40,
      extra: { processor: { lease_seconds: 2 } },
    });
    const both = [startDaemon(['up', '--config', config]), startDaemon(['up', '--config', config])];
    await until('all three scopes are rated', async () => {
      if (!both.every((daemon) => /stop +Ctrl-C/.test(daemon.stdout))) return false;
      return (await stored(database)).frames.length >= 120;
    });
    for (const daemon of both) {
      const { code, stderr } = await daemon.stop();
      assert.equal(code, 0, stderr);
      assert.doesNotMatch(stderr, /ERROR/);
    }
    assertContiguous(await stored(database));
    const { stdout } = await ratecat('rules', 'list', '--json', '--config', config);
    assert.equal(JSON.parse(stdout).services[0].mappings.length, 1, 'the price list was imported once');
  });

  it('runs several worker processes, replaces a dead one, and takes them along when it stops', async () => {
    const { config, database } = await fixtureConfig({
      scopes: ['alpha', 'beta', 'gamma', 'delta'],
      extra: { processor: { workers: 2, lease_seconds: 2 } },
    });
    const daemon = startDaemon(['up', '--config', config]);
    await rated(daemon, 4);
    const pids = await children(daemon.child.pid!);
    assert.equal(pids.length, 2);
    process.kill(pids[0]!, 'SIGKILL');
    await daemon.until(/a worker ended and is started again.*signal=SIGKILL/);
    await until('there are two workers again', async () => (await children(daemon.child.pid!)).length === 2);
    const last = await children(daemon.child.pid!);
    await rated(daemon, 12);
    const { code, stderr } = await daemon.stop();
    assert.equal(code, 0, stderr);
    assert.deepEqual(last.filter(isAlive), []);
    assertContiguous(await stored(database));
  });

  it('ends the workers when their parent is killed', async () => {
    const { config, database } = await fixtureConfig({ extra: { processor: { workers: 2 } } });
    const daemon = startDaemon(['up', '--config', config]);
    await rated(daemon, 2);
    const pids = await children(daemon.child.pid!);
    assert.equal(pids.length, 2);
    daemon.child.kill('SIGKILL');
    await until('the workers are gone', () => !pids.some(isAlive));
    assertContiguous(await stored(database));
  });

  it('ends with the exit code of workers that cannot start', async () => {
    const { config } = await fixtureConfig({
      collector: hostile({ start: 'throws' }),
      extra: { processor: { workers: 2 } },
    });
    const { code, stderr } = await startDaemon(['up', '--config', config]).finished;
    assert.equal(code, 78, stderr);
    assert.match(stderr, /the start went wrong.*RATECAT_PLUGIN_START_FAILED/);
  });

  it('refuses to start with a plugin whose start throws, and says which', async () => {
    const { config } = await fixtureConfig({ collector: hostile({ start: 'throws' }) });
    const { code, stderr } = await ratecat('up', '--config', config);
    assert.equal(code, 78, stderr);
    assert.match(
      stderr,
      /collector plugin 'hostile' of pipeline 'default' cannot start: the start went wrong/,
    );
    assert.doesNotMatch(stderr, /\n {4}at /, 'no stack for an error that explains itself');
  });

  it('shows a stuck scope with its reason, exit code 1', async () => {
    const { config } = await fixtureConfig({ collector: hostile({ collect: 'bad data' }) });
    const daemon = startDaemon(['up', '--config', config]);
    await daemon.until(/scope is stuck/);
    await daemon.stop();
    const { code, stdout } = await ratecat('status', '--config', config);
    assert.equal(code, 1);
    assert.match(stdout, /default +alpha +stuck .*the source says NaN/);
  });

  it('takes tables from dbsync only when run as processor', async () => {
    const { config } = await fixtureConfig({});
    const refused = await ratecat('processor', '--config', config);
    assert.equal(refused.code, 78, refused.stderr);
    assert.match(refused.stderr, /ratecat dbsync upgrade.*RATECAT_DATABASE_OLD/);
    assert.equal((await ratecat('dbsync', 'status', '--config', config)).code, 1);
    for (const command of [['storage-init'], ['dbsync', 'upgrade'], ['storage-init'], ['dbsync', 'upgrade']])
      assert.equal((await ratecat(...command, '--config', config)).code, 0);
    assert.equal((await ratecat('dbsync', 'status', '--config', config)).code, 0);
    const daemon = startDaemon(['processor', '--config', config]);
    await rated(daemon, 2);
    assert.equal((await daemon.stop()).code, 0);
  });
});
