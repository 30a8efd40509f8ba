/** From the upstream's answer to the commit, by the built program, against the raw rate of the rows that it wrote. */
import { Command } from '../test/support/daemon.js';
import { type DaemonRun, type Load, MANY_RULES, runDaemon } from './daemon.js';
import type { BenchEngine } from './engines.js';
import { type Figure, median, timed } from './figures.js';
import { readRawFrames } from './raw-frames.js';
import { rawSeconds } from './storage.js';

const CLOUD = { scopes: 20, metrics: 6, series: 200, rules: MANY_RULES };
const HUGE_SCOPE: Load = { scopes: 1, metrics: 5, series: 20_000, periods: 2, rules: MANY_RULES };

export async function benchEndToEnd(engine: BenchEngine, periods: number): Promise<readonly Figure[]> {
  return [
    ...(await measure(engine, 'one', { ...CLOUD, periods: 1 })),
    ...(await measure(engine, 'several', { ...CLOUD, periods })),
  ];
}

async function measure(engine: BenchEngine, key: string, load: Load): Promise<readonly Figure[]> {
  const place = await engine.newDatabase();
  const run = await runDaemon(place.url, load);
  const database = await place.open();
  const frames = (await readRawFrames(database)).slice(0, load.scopes * load.periods);
  await database.close();
  const raw = run.points / (await rawSeconds(engine, frames));
  const rate = run.points / run.seconds;
  const id = `endToEnd.${engine.id}.${key}`;
  const what = `${engine.label}, ${load.periods === 1 ? 'one period' : `${load.periods} periods`}`;
  return [
    {
      id: `${id}.pointsPerSecond`,
      what: `${what}: end to end`,
      value: Math.round(rate),
      unit: 'points/s',
      note: `${run.points.toLocaleString('en')} points, ${load.scopes} scopes, in ${run.seconds.toFixed(2)} s`,
    },
    { id: `${id}.raw`, what: `${what}: raw, the same rows`, value: Math.round(raw), unit: 'points/s' },
    {
      id: `${id}.toRaw`,
      what: `${what}: end to end / raw`,
      value: rate / raw,
      unit: 'x',
      target: { atLeast: 0.5 },
    },
    {
      id: `${id}.pointsPerCpuSecond`,
      what: `${what}: per CPU second of the daemon`,
      value: Math.round(run.points / run.cpuSeconds),
      unit: 'points/s',
      note: 'its start included; less touched by other load',
    },
    ...insideFigures(id, what, run),
  ];
}

function insideFigures(id: string, what: string, run: DaemonRun): readonly Figure[] {
  return [
    { id: `${id}.peakMiB`, what: `${what}: peak resident memory`, value: run.peakMiB, unit: 'MiB' },
    {
      id: `${id}.eventLoopP99`,
      what: `${what}: event-loop delay p99 of the daemon`,
      value: run.eventLoopP99Ms,
      unit: 'ms',
      target: { atMost: 50 },
      note: `worst ${run.eventLoopMaxMs.toFixed(0)} ms; from its second second on`,
    },
  ];
}

/** One scope with 100,000 resources. */
export async function benchHugeScope(engine: BenchEngine): Promise<readonly Figure[]> {
  const run = await runDaemon((await engine.newDatabase()).url, HUGE_SCOPE);
  const id = `hugeScope.${engine.id}`;
  const what = `${engine.label}, 100,000 resources in one scope`;
  return [
    {
      id: `${id}.peakMiB`,
      what: `${what}: peak resident memory`,
      value: run.peakMiB,
      unit: 'MiB',
      target: { atMost: 300 },
      note: `${HUGE_SCOPE.periods} periods, ${HUGE_SCOPE.metrics} answers of ${HUGE_SCOPE.series.toLocaleString('en')} series each`,
    },
    {
      id: `${id}.pointsPerSecond`,
      what: `${what}: end to end`,
      value: Math.round(run.points / run.seconds),
      unit: 'points/s',
    },
    {
      id: `${id}.eventLoopP99`,
      what: `${what}: event-loop delay p99`,
      value: run.eventLoopP99Ms,
      unit: 'ms',
      target: { atMost: 50 },
      note: `worst ${run.eventLoopMaxMs.toFixed(0)} ms`,
    },
  ];
}

export async function benchStart(engine: BenchEngine, rounds: number): Promise<readonly Figure[]> {
  const version: number[] = [];
  const queries: number[] = [];
  const commits: number[] = [];
  for (let round = 0; round < rounds; round++) {
    version.push((await timed(() => new Command(['--version']).finished)) / 1000);
    const run = await runDaemon((await engine.newDatabase()).url, {
      scopes: 1,
      metrics: 1,
      series: 10,
      periods: 1,
      rules: MANY_RULES,
    });
    queries.push(run.firstQuerySeconds);
    commits.push(run.firstCommitSeconds);
  }
  const note = `median of ${rounds}`;
  return [
    { id: 'start.version', what: 'ratecat --version', value: median(version), unit: 's', note },
    {
      id: 'start.firstQuery',
      what: 'processor until it asks its upstream',
      value: median(queries),
      unit: 's',
      target: { atMost: 1 },
      note,
    },
    {
      id: 'start.firstCommit',
      what: 'processor until its first commit',
      value: median(commits),
      unit: 's',
      note: `${note}; ${engine.label}, empty database, rules imported`,
    },
  ];
}
