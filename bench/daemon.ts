/** The built program as a user runs it, against a made-up Prometheus, with a look inside at its end. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, type Finished, writeConfig } from '../test/support/daemon.js';

const HOUR = 3600;
const FAKE = fileURLToPath(new URL('./fake-prometheus.ts', import.meta.url));

export interface Load {
  readonly scopes: number;
  readonly metrics: number;
  /** Series of each metric in each scope. */
  readonly series: number;
  readonly periods: number;
  /** Of each metric. */
  readonly rules: { readonly mappings: number; readonly thresholds: number };
}

export const MANY_RULES = { mappings: 100, thresholds: 5 };

/** Prices of the mappings and thresholds, by their place. */
export const mappingCost = (place: number) => `0.0${place}7`;
export const thresholdLevel = (place: number) => String(10 * (place + 1));
export const THRESHOLD_RATE = '0.95';

export interface DaemonRun {
  readonly points: number;
  /** From the daemon's first question to its upstream to the last commit. */
  readonly seconds: number;
  /** User and system time of the whole process, its start included. */
  readonly cpuSeconds: number;
  readonly peakMiB: number;
  readonly eventLoopP99Ms: number;
  readonly eventLoopMaxMs: number;
  /** From the start of the process. */
  readonly firstQuerySeconds: number;
  readonly firstCommitSeconds: number;
}

/**
 * Loaded into the daemon: memory and event loop are only known inside. The high-water mark is that of this image alone. With
 * RATECAT_BENCH_CPU_PROFILE in the environment it also writes a CPU profile to that file. RATECAT_BENCH_NODE_OPTIONS are
 * given to the daemon.
 */
const PROBE = `
import { readFileSync, writeFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Session } from 'node:inspector';
const profile = process.env.RATECAT_BENCH_CPU_PROFILE;
const session = new Session();
if (profile) {
  session.connect();
  session.post('Profiler.enable');
  session.post('Profiler.start');
}
const delay = monitorEventLoopDelay({ resolution: 1 });
setTimeout(() => delay.enable(), 1000).unref();
process.on('exit', () => {
  if (profile) session.post('Profiler.stop', (_, found) => writeFileSync(profile, JSON.stringify(found.profile)));
  let peak = process.resourceUsage().maxRSS;
  try {
    peak = Number(/VmHWM:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]);
  } catch {}
  const { user, system } = process.cpuUsage();
  writeFileSync(process.env.RATECAT_BENCH_PROBE, JSON.stringify({
    peak, p99: delay.percentile(99) / 1e6, max: delay.max / 1e6, cpu: (user + system) / 1e6,
  }));
});`;

/** Rates all periods of a load into an empty database. Ends the daemon after the last commit. */
export async function runDaemon(databaseUrl: string, load: Load, timeoutMs = 90_000): Promise<DaemonRun> {
  const folder = await mkdtemp(join(tmpdir(), 'ratecat-bench-'));
  const upstream = await startUpstream(load);
  const probe = join(folder, 'probe.json');
  let daemon: Command | undefined;
  try {
    const config = await writeBenchConfig(folder, databaseUrl, upstream.port, load);
    expectSuccess(await new Command(['dbsync', 'upgrade', '--config', config]).finished);
    const startedAt = Date.now();
    daemon = new Command(['processor', '--config', config], {
      NODE_OPTIONS: `${process.env.RATECAT_BENCH_NODE_OPTIONS ?? ''} --import=${dataUrl(PROBE)}`,
      RATECAT_BENCH_PROBE: probe,
    });
    const commits = await waitForCommits(daemon, load.scopes * load.periods, timeoutMs);
    expectSuccess(await daemon.stop());
    const inside = JSON.parse(await readFile(probe, 'utf8')) as Record<
      'peak' | 'p99' | 'max' | 'cpu',
      number
    >;
    const firstQueryAt = await upstream.firstQueryAt;
    return {
      points: commits.reduce((sum, { points }) => sum + points, 0),
      seconds: (commits.at(-1)!.at - firstQueryAt) / 1000,
      cpuSeconds: inside.cpu,
      peakMiB: inside.peak / 1024,
      eventLoopP99Ms: inside.p99,
      eventLoopMaxMs: inside.max,
      firstQuerySeconds: (firstQueryAt - startedAt) / 1000,
      firstCommitSeconds: (commits[0]!.at - startedAt) / 1000,
    };
  } finally {
    daemon?.child.kill('SIGKILL');
    upstream.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

function dataUrl(module: string): string {
  return `data:text/javascript;base64,${Buffer.from(module).toString('base64')}`;
}

export function expectSuccess({ code, stderr }: Finished): void {
  if (code !== 0) throw new Error(`ended with ${code}:\n${stderr.slice(-2000)}`);
}

interface CommitLine {
  readonly at: number;
  readonly points: number;
}

/** The lines of the rated periods, in order of time; as many as are asked for. */
async function waitForCommits(
  daemon: Command,
  count: number,
  timeoutMs: number,
): Promise<readonly CommitLine[]> {
  const deadline = Date.now() + timeoutMs;
  let lines = 0;
  daemon.child.stderr?.on('data', (text: string) => {
    lines += text.split('"period rated"').length - 1;
  });
  while (lines < count) {
    if (daemon.child.exitCode !== null || Date.now() > deadline)
      throw new Error(`${lines} of ${count} periods rated:\n${daemon.stderr.slice(-2000)}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  // The last line may still be cut.
  while (!daemon.stderr.endsWith('\n')) await new Promise((resolve) => setTimeout(resolve, 5));
  return daemon.stderr
    .split('\n')
    .filter((line) => line.includes('"period rated"'))
    .map((line) => JSON.parse(line) as { timestamp: string; points: number })
    .map(({ timestamp, points }) => ({ at: Date.parse(timestamp), points }))
    .sort((left, right) => left.at - right.at)
    .slice(0, count);
}

export interface Upstream {
  readonly port: number;
  readonly firstQueryAt: Promise<number>;
  stop(): void;
}

export async function startUpstream({ scopes, series }: Load): Promise<Upstream> {
  const child = fork(FAKE, [String(scopes), String(series)], {
    execArgv: ['--import', 'tsx'],
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  const port = await message(child, 'port');
  const firstQueryAt = message(child, 'firstQueryAt');
  firstQueryAt.catch(() => undefined);
  return { port, firstQueryAt, stop: () => child.disconnect() };
}

function message(child: ChildProcess, name: string): Promise<number> {
  return new Promise((resolve, reject) => {
    child.on('message', (value: Record<string, number>) => {
      if (value[name] !== undefined) resolve(value[name]);
    });
    once(child, 'exit').then(() => reject(new Error('the made-up Prometheus ended')), reject);
  });
}

export function writeBenchConfig(
  folder: string,
  url: string,
  port: number,
  load: Load,
  level = 'info',
): Promise<string> {
  const now = Math.floor(Date.now() / 1000);
  const start = (Math.floor(now / HOUR) - load.periods) * HOUR;
  const upstream = { url: `http://127.0.0.1:${port}/api/v1` };
  const config = {
    data_folder: folder,
    database: { url },
    log: { format: 'json', level },
    rating: [{ plugin: 'hashmap', rules: './rules.yml' }],
    name: 'bench',
    collect: {
      period: HOUR,
      wait_periods: 1,
      scope_key: 'project_id',
      metrics: './metrics.yml',
      start: new Date(start * 1000).toISOString().replace('.000Z', 'Z'),
    },
    fetcher: { plugin: 'prometheus', options: { ...upstream, metric: 'bench_scopes' } },
    collector: { plugin: 'prometheus', options: upstream },
  };
  return writeConfig(folder, config, {
    'metrics.yml': metricsFile(load.metrics),
    'rules.yml': rulesFile(load),
  });
}

/** Byte counters become GiB: exact quotients of many digits, as in every real price list of memory and traffic. */
export function metricsFile(count: number): object {
  const metrics = Array.from({ length: count }, (_, i) => [
    `bench_${i}`,
    {
      unit: i < 3 ? 'unit' : 'GiB',
      alt_name: `service-${i}`,
      ...(i < 3 ? {} : { factor: '1/1073741824' }),
      groupby: ['id', 'user_id'],
      metadata: ['flavor', 'image'],
    },
  ]);
  return { metrics: Object.fromEntries(metrics) };
}

function rulesFile({ metrics, rules }: Load): object {
  const services = Array.from({ length: metrics }, (_, service) => [
    `service-${service}`,
    {
      thresholds: Array.from({ length: rules.thresholds }, (_, i) => ({
        level: thresholdLevel(i),
        type: 'rate',
        cost: THRESHOLD_RATE,
      })),
      fields: {
        flavor: {
          mappings: Array.from({ length: rules.mappings }, (_, i) => ({
            value: `m1.flavor-${i}`,
            type: 'flat',
            cost: mappingCost(i),
          })),
        },
      },
    },
  ]);
  return { services: Object.fromEntries(services) };
}
