/** Several processors on one database, and one that catches up with a year. */
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ClosableDatabase } from '../core/database/open-database.js';
import { Command } from '../test/support/daemon.js';
import { expectSuccess, type Load, MANY_RULES, startUpstream, writeBenchConfig } from './daemon.js';
import type { BenchEngine } from './engines.js';
import type { Figure } from './figures.js';

const CLOUD = { scopes: 20, metrics: 6, series: 200, rules: MANY_RULES };
/** Small scopes: what counts is the number of periods. */
const YEAR = { scopes: 50, metrics: 1, series: 5, rules: MANY_RULES };
const LONGEST_MS = 3_600_000;
const PARTS = 10;

/** The same periods by one, two and more processes: separate programs, as on several hosts. */
export async function benchProcessors(
  engine: BenchEngine,
  counts: readonly number[],
  periods: number,
): Promise<readonly Figure[]> {
  const figures: Figure[] = [];
  let alone: number | undefined;
  for (const processes of counts) {
    const load = { ...CLOUD, periods };
    const { seconds } = await rateAll(engine, load, processes);
    const rate = (load.scopes * load.metrics * load.series * periods) / seconds;
    alone ??= rate;
    const id = `processors.${engine.id}.${processes}`;
    const what = `${engine.label}, ${processes} ${processes === 1 ? 'processor' : 'processors'}`;
    figures.push(
      { id: `${id}.pointsPerSecond`, what, value: Math.round(rate), unit: 'points/s' },
      { id: `${id}.ratio`, what: `${what} / one`, value: rate / alone, unit: 'x' },
    );
  }
  return figures;
}

/** Hourly periods of fifty scopes; memory is looked at ten times on the way. */
export async function benchCatchUp(engine: BenchEngine, periods: number): Promise<readonly Figure[]> {
  const load = { ...YEAR, periods };
  const { seconds, residentMiB } = await rateAll(engine, load, 1);
  const id = `catchUp.${engine.id}`;
  const what = `${engine.label}, ${periods.toLocaleString('en')} hours of ${load.scopes} scopes`;
  const all = load.scopes * periods;
  return [
    {
      id: `${id}.seconds`,
      what: `${what}: wall time`,
      value: seconds,
      unit: 's',
      note: `${Math.round(all / seconds).toLocaleString('en')} periods/s, ${load.metrics * load.series} points each`,
    },
    {
      id: `${id}.flat`,
      what: `${what}: resident memory at the end / after a fifth`,
      value: residentMiB.at(-1)! / residentMiB[1]!,
      unit: 'x',
      note: `MiB after each tenth: ${residentMiB.map((value) => value.toFixed(0)).join(' ')}`,
    },
  ];
}

interface Rated {
  /** From the first question to the upstream to the last period in the database. */
  readonly seconds: number;
  /** Of all processes, after each tenth of the periods. */
  readonly residentMiB: readonly number[];
}

async function rateAll(engine: BenchEngine, load: Load, processes: number): Promise<Rated> {
  const folder = await mkdtemp(join(tmpdir(), 'ratecat-bench-'));
  const upstream = await startUpstream(load);
  const place = await engine.newDatabase();
  const daemons: Command[] = [];
  let database: ClosableDatabase | undefined;
  try {
    const config = await writeBenchConfig(folder, place.url, upstream.port, load, 'warn');
    expectSuccess(await new Command(['dbsync', 'upgrade', '--config', config]).finished);
    database = await place.open();
    for (let index = 0; index < processes; index++)
      daemons.push(new Command(['processor', '--config', config]));
    const residentMiB = await watch(database, load.scopes * load.periods, daemons);
    const seconds = (Date.now() - (await upstream.firstQueryAt)) / 1000;
    for (const daemon of daemons) expectSuccess(await daemon.stop());
    return { seconds, residentMiB };
  } finally {
    for (const { child } of daemons) child.kill('SIGKILL');
    await database?.close();
    upstream.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

async function watch(
  database: ClosableDatabase,
  periods: number,
  daemons: readonly Command[],
): Promise<readonly number[]> {
  const deadline = Date.now() + LONGEST_MS;
  // Often enough to see the end of a short run, and seldom enough not to be in the way of a long one.
  const pauseMs = periods > 10_000 ? 1_000 : 50;
  const resident: number[] = [];
  for (;;) {
    const rows = await database.query('SELECT COUNT(*) FROM ratecat_sql_frames');
    const stored = Number(rows[0]![0]);
    while (stored >= (periods * (resident.length + 1)) / PARTS) resident.push(residentOf(daemons));
    if (stored >= periods) return resident;
    const ended = daemons.find(({ child }) => child.exitCode !== null);
    if (ended !== undefined || Date.now() > deadline)
      throw new Error(
        `${stored} of ${periods} periods rated:\n${daemons.map(({ stderr }) => stderr.slice(-1000))}`,
      );
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}

function residentOf(daemons: readonly Command[]): number {
  const kilobytes = daemons.map(({ child }) =>
    Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1] ?? 0),
  );
  return kilobytes.reduce((sum, value) => sum + value, 0) / 1024;
}
