/** CloudKitty's processor and Ratecat's: the same made-up Prometheus, rules and MariaDB, one after the other. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { type ClosableDatabase, openDatabase } from '../core/database/open-database.js';
import {
  type DaemonRun,
  type Load,
  mappingCost,
  metricsFile,
  runDaemon,
  startUpstream,
  THRESHOLD_RATE,
  thresholdLevel,
} from './daemon.js';
import type { BenchEngine } from './engines.js';
import type { Figure } from './figures.js';

const HOUR = 3600;
const TICKS_PER_SECOND = 100;
const PROGRAM = '/usr/bin/cloudkitty-processor';
const LONGEST_MS = 1_200_000;

/** As many rules as CloudKitty loads in a bearable time: it asks for them one by one. */
const CLOUD = { scopes: 20, metrics: 6, series: 200, rules: { mappings: 10, thresholds: 3 } };

interface Run {
  readonly points: number;
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly peakMiB: number;
}

/** @throws when Debian's `cloudkitty-processor` is not installed. */
export async function benchBesideProcessor(
  engine: BenchEngine,
  periods: readonly number[],
): Promise<readonly Figure[]> {
  if (!existsSync(PROGRAM))
    throw new Error(`${PROGRAM} is not installed; Debian 12 has it in cloudkitty-processor.`);
  const figures: Figure[] = [];
  for (const count of periods) {
    const load = { ...CLOUD, periods: count };
    const theirs = await runReference(engine, load);
    const ours: DaemonRun = await runDaemon((await engine.newDatabase()).url, load, LONGEST_MS);
    if (ours.points !== theirs.points)
      throw new Error(`CloudKitty stored ${theirs.points} points, Ratecat ${ours.points}.`);
    const what = count === 1 ? 'one period' : `${count} periods`;
    const id = `beside.${engine.id}.${count}`;
    figures.push(
      ...runFigures(`${id}.cloudkitty`, `CloudKitty, ${what}`, theirs),
      ...runFigures(`${id}.ratecat`, `Ratecat, ${what}`, ours),
      {
        id: `${id}.ratio`,
        what: `${what}: Ratecat / CloudKitty`,
        value: theirs.seconds / ours.seconds,
        unit: 'x',
        target: { atLeast: count === 1 ? 50 : 40 },
      },
      {
        id: `${id}.cpuRatio`,
        what: `${what}: points per CPU second, Ratecat / CloudKitty`,
        value: theirs.cpuSeconds / ours.cpuSeconds,
        unit: 'x',
        note: "Ratecat's start included, CloudKitty's not; the database's work in neither",
      },
    );
  }
  return figures;
}

function runFigures(id: string, what: string, run: Run): readonly Figure[] {
  const note = `${run.points.toLocaleString('en')} points in ${run.seconds.toFixed(2)} s`;
  return [
    {
      id: `${id}.pointsPerSecond`,
      what: `${what}: from the first question to the last commit`,
      value: run.points / run.seconds,
      unit: 'points/s',
      note,
    },
    {
      id: `${id}.cpu`,
      what: `${what}: CPU seconds per million points`,
      value: (run.cpuSeconds / run.points) * 1e6,
      unit: 's',
    },
    { id: `${id}.peak`, what: `${what}: peak resident memory`, value: run.peakMiB, unit: 'MiB' },
  ];
}

/** One worker with its default of threads, storage `sqlalchemy`; the clock as in `runDaemon`. */
async function runReference(engine: BenchEngine, load: Load): Promise<Run> {
  const folder = await mkdtemp(join(tmpdir(), 'ratecat-bench-'));
  const upstream = await startUpstream(load);
  const { url } = await engine.newDatabase();
  // Its states hold the begin of the last rated period.
  const last = Math.floor(Date.now() / 1000 / HOUR) * HOUR - HOUR;
  let processor: ChildProcess | undefined;
  try {
    const config = await writeReferenceConfig(folder, { url, port: upstream.port, load });
    await finished(run('cloudkitty-dbsync', ['--config-file', config, 'upgrade']));
    await finished(run('cloudkitty-storage-init', ['--config-file', config]));
    const database = await openDatabase(url);
    try {
      await writeRules(database, load);
      await writeStates(database, load, last - load.periods * HOUR);
      processor = run('cloudkitty-processor', ['--config-file', config]);
      const firstAt = await upstream.firstQueryAt;
      const before = family(processor.pid!);
      const lastAt = await untilRated(database, processor, last);
      const after = family(processor.pid!);
      return {
        points: await countPoints(database),
        seconds: (lastAt - firstAt) / 1000,
        cpuSeconds: after.cpuSeconds - before.cpuSeconds,
        peakMiB: after.peakMiB,
      };
    } finally {
      await database.close();
    }
  } finally {
    if (processor !== undefined) {
      processor.kill('SIGTERM');
      await Promise.race([
        new Promise((resolve) => processor!.once('exit', resolve)),
        new Promise((resolve) => setTimeout(resolve, 10_000)),
      ]);
      killFamily(processor.pid!);
    }
    upstream.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

async function writeReferenceConfig(
  folder: string,
  { url, port, load }: { readonly url: string; readonly port: number; readonly load: Load },
): Promise<string> {
  const scopes = Array.from({ length: load.scopes }, (_, i) => `scope-${i}`);
  const metrics = join(folder, 'metrics.yml');
  const file = join(folder, 'cloudkitty.conf');
  await writeFile(metrics, stringify(withAggregation(metricsFile(load.metrics))));
  await writeFile(
    file,
    `[DEFAULT]
transport_url = fake://
auth_strategy = noauth
[database]
connection = ${url.replace('mysql:', 'mysql+pymysql:')}?charset=utf8
[storage]
version = 1
backend = sqlalchemy
[collect]
collector = prometheus
metrics_conf = ${metrics}
period = ${HOUR}
wait_periods = 1
scope_key = project_id
[fetcher]
backend = source
[fetcher_source]
sources = ${scopes.join(',')}
[collector_prometheus]
prometheus_url = http://127.0.0.1:${port}/api/v1
[orchestrator]
coordination_url = file://${folder}
max_workers = 1
max_workers_reprocessing = 1
[oslo_concurrency]
lock_path = ${folder}
`,
  );
  return file;
}

/** CloudKitty wants to be told what Ratecat takes for granted. */
function withAggregation(file: object): object {
  const { metrics } = file as { readonly metrics: Readonly<Record<string, object>> };
  const entries = Object.entries(metrics).map(([name, metric]) => [
    name,
    { ...metric, extra_args: { aggregation_method: 'max' } },
  ]);
  return { metrics: Object.fromEntries(entries) };
}

async function writeRules(database: ClosableDatabase, { metrics, rules }: Load): Promise<void> {
  await database.transaction(async (tx) => {
    await tx.execute("DELETE FROM modules_state WHERE name = 'hashmap'");
    await tx.execute("INSERT INTO modules_state (name, state, priority) VALUES ('hashmap', 1, 1)");
    for (let service = 1; service <= metrics; service++) {
      await tx.execute('INSERT INTO hashmap_services (id, service_id, name) VALUES (?, ?, ?)', [
        service,
        randomUUID(),
        `service-${service - 1}`,
      ]);
      await tx.execute('INSERT INTO hashmap_fields (id, field_id, name, service_id) VALUES (?, ?, ?, ?)', [
        service,
        randomUUID(),
        'flavor',
        service,
      ]);
      for (let i = 0; i < rules.mappings; i++)
        await tx.execute(
          "INSERT INTO hashmap_mappings (mapping_id, value, cost, map_type, field_id) VALUES (?, ?, ?, 'flat', ?)",
          [randomUUID(), `m1.flavor-${i}`, mappingCost(i), service],
        );
      for (let i = 0; i < rules.thresholds; i++)
        await tx.execute(
          "INSERT INTO hashmap_thresholds (threshold_id, level, cost, map_type, service_id) VALUES (?, ?, ?, 'rate', ?)",
          [randomUUID(), thresholdLevel(i), THRESHOLD_RATE, service],
        );
    }
  });
}

async function writeStates(database: ClosableDatabase, { scopes }: Load, lastRated: number): Promise<void> {
  const last = sqlTime(lastRated);
  await database.transaction(async (tx) => {
    for (let i = 0; i < scopes; i++)
      await tx.execute(
        `INSERT INTO cloudkitty_storage_states (identifier, scope_key, fetcher, collector, last_processed_timestamp,
           scope_activation_toggle_date, active) VALUES (?, 'project_id', 'source', 'prometheus', ?, ?, 1)`,
        [`scope-${i}`, last, last],
      );
  });
}

/** Milliseconds of the clock when the last state moved to the last period. */
async function untilRated(
  database: ClosableDatabase,
  processor: ChildProcess,
  last: number,
): Promise<number> {
  const deadline = Date.now() + LONGEST_MS;
  for (;;) {
    const rows = await database.query(
      'SELECT COUNT(*) FROM cloudkitty_storage_states WHERE last_processed_timestamp < ?',
      [sqlTime(last)],
    );
    if (Number(rows[0]![0]) === 0) return Date.now();
    if (processor.exitCode !== null || Date.now() > deadline)
      throw new Error(`CloudKitty did not rate everything (${rows[0]![0]} scopes behind).`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

async function countPoints(database: ClosableDatabase): Promise<number> {
  const rows = await database.query("SELECT COUNT(*) FROM rated_data_frames WHERE res_type <> '_NO_DATA_'");
  return Number(rows[0]![0]);
}

function sqlTime(seconds: number): string {
  return new Date(seconds * 1000).toISOString().slice(0, 19).replace('T', ' ');
}

function run(program: string, args: readonly string[]): ChildProcess {
  const child = spawn(`/usr/bin/${program}`, args, {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { PATH: '/usr/bin:/bin', LC_ALL: 'C.UTF-8', PYTHONWARNINGS: 'ignore' },
  });
  child.stderr!.resume();
  return child;
}

async function finished(child: ChildProcess): Promise<void> {
  let text = '';
  child.stderr!.on('data', (part) => {
    text += part;
  });
  const code = await new Promise((resolve) => child.once('exit', resolve));
  if (code !== 0) throw new Error(`${child.spawnfile} ended with ${code}:\n${text.slice(-2000)}`);
}

/** CPU time and the highest resident memory of a process and its descendants, added up. */
function family(root: number): { readonly cpuSeconds: number; readonly peakMiB: number } {
  const sums = { cpuSeconds: 0, peakMiB: 0 };
  for (const pid of members(root)) {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ');
    sums.cpuSeconds += (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
    sums.peakMiB +=
      Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;
  }
  return sums;
}

function members(root: number): readonly number[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    try {
      parents.set(
        Number(name),
        Number(
          readFileSync(`/proc/${name}/stat`, 'utf8')
            .replace(/^.*\) /s, '')
            .split(' ')[1],
        ),
      );
    } catch {
      // It has just ended.
    }
  }
  const found = [root];
  for (const pid of found) for (const [child, parent] of parents) if (parent === pid) found.push(child);
  return found.filter((pid) => parents.has(pid));
}

function killFamily(root: number): void {
  for (const pid of members(root)) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has just ended.
    }
  }
}
