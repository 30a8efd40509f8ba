/**
 * `npm run bench [-- --quick] [-- --json FILE] [-- --only NAME,NAME]`: every figure of docs/performance.md. Ratios compare
 * what was measured in the same run. `--beside URL --beside-influx URL` asks a running CloudKitty too;
 * `--history 10000000` lets the history grow to so many points.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { benchApi } from './api.js';
import { benchBesideProcessor } from './beside-processor.js';
import { benchDecimals } from './decimals.js';
import { benchEndToEnd, benchHugeScope, benchStart } from './end-to-end.js';
import { type BenchEngine, mariadbEngine, sqliteEngine } from './engines.js';
import { collectGarbage, type Figure, isMet, renderSections, type Section, shown } from './figures.js';
import { benchHashmap } from './hashmap.js';
import { benchGrowth } from './history.js';
import { describeMachine, machineLine } from './machine.js';
import { benchCatchUp, benchProcessors } from './processors.js';
import { benchReference, besideReference } from './reference.js';
import { benchRules } from './rules.js';
import { benchScaling } from './scaling.js';
import { benchEventLoop, benchHistory, benchSize, benchWriting } from './storage.js';

interface Bench {
  readonly name: string;
  readonly title: string;
  run(): Promise<readonly Figure[]> | readonly Figure[];
}

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    json: { type: 'string' },
    only: { type: 'string' },
    history: { type: 'string' },
    beside: { type: 'string' },
    'beside-influx': { type: 'string' },
  },
});

const sizes = options.quick
  ? {
      ...{
        resources: 500,
        periods: 24,
        churnPeriods: 8,
        history: 1920,
        catchUp: 2,
        rounds: 1,
        bigPeriods: 3,
      },
      api: { scopes: 10, resources: 100, periods: 100, rules: 100, requests: 200 },
    }
  : {
      ...{
        resources: 2000,
        periods: 30,
        churnPeriods: 8,
        history: 9984,
        catchUp: 4,
        rounds: 3,
        bigPeriods: 6,
      },
      api: { scopes: 20, resources: 100, periods: 500, rules: 1000, requests: 2000 },
    };

/** Points in the database when a period and the summaries are measured. */
const longest = Number(options.history ?? (options.quick ? 1e5 : 1e6));
const growth = [0, ...[1e5, 1e6, 1e7].filter((points) => points < longest), longest];

/** Taken only when they are asked for by name: minutes each. */
const LONG = ['beside', 'processors', 'year', 'scaling'];

const begin = performance.now();
const machine = describeMachine();
say(`Ratecat bench on ${machineLine(machine)}\n`);
const sqlite = await sqliteEngine();
const { engine: mariadb, reason } = await tryMariadb();
const sections: Section[] = [];
let failed = 0;
try {
  for (const bench of benches().filter(({ name }) => isWanted(name))) sections.push(await runBench(bench));
} finally {
  await sqlite.stop();
  await mariadb?.stop();
}
const seconds = (performance.now() - begin) / 1000;
say(`\n${renderSections(sections)}\n`);
say(
  `${missed()}\n${seconds.toFixed(0)} s in all${options.quick ? ', --quick: small sizes, rough figures' : ''}\n`,
);
if (options.json !== undefined) await writeJson(options.json);
process.exitCode = failed === 0 ? 0 : 1;

function benches(): readonly Bench[] {
  return [
    { name: 'decimals', title: 'Decimals', run: () => benchDecimals(options.quick ? 50_000 : 200_000) },
    { name: 'hashmap', title: 'Hashmap alone, 100 field mappings and thresholds', run: hashmapFigures },
    { name: 'rules', title: 'Rule loading', run: () => onEngines(benchRules) },
    {
      name: 'storage',
      title: 'replacePeriod',
      run: () => onEngines((engine) => benchWriting(engine, sizes)),
    },
    {
      name: 'size',
      title: 'Size on disk',
      run: () => onEngines((engine) => benchSize(engine, 300, options.quick ? 50 : 200)),
    },
    {
      name: 'history',
      title: 'Growth with history',
      run: () =>
        onEngines(async (engine) => [
          ...(await benchHistory(engine, sizes.history)),
          ...(await benchGrowth(engine, growth)),
        ]),
    },
    {
      name: 'event-loop',
      title: 'Event loop',
      run: () => onEngines((engine) => benchEventLoop(engine, sizes.bigPeriods)),
    },
    {
      name: 'end-to-end',
      title: 'End to end: 20 scopes x 6 metrics x 200 series from a local Prometheus double',
      run: () => onEngines((engine) => benchEndToEnd(engine, sizes.catchUp)),
    },
    {
      name: 'beside',
      title: "Beside CloudKitty's processor: the same Prometheus double, rules and MariaDB",
      run: besideFigures,
    },
    {
      name: 'processors',
      title: 'Several processors on one database',
      run: () => onEngines((engine) => benchProcessors(engine, [1, 2, 4], options.quick ? 2 : 8)),
    },
    {
      name: 'year',
      title: 'Catching up',
      run: () => onEngines((engine) => benchCatchUp(engine, options.quick ? 200 : 8_760)),
    },
    {
      name: 'scaling',
      title: 'Scale model: learnt from 10,000 resources, compared with others',
      run: () =>
        onEngines((engine) =>
          benchScaling(engine, [
            { resources: 10_000, hours: options.quick ? 6 : 48 },
            { resources: 100, hours: options.quick ? 720 : 8_760 },
            { resources: options.quick ? 20_000 : 1_000_000, hours: 2 },
          ]),
        ),
    },
    {
      name: 'api',
      title: 'HTTP API: a million points, Keystone token in the cache',
      run: apiFigures,
    },
    { name: 'memory', title: 'Huge scope', run: () => benchHugeScope(sqlite) },
    { name: 'start', title: 'Start', run: () => benchStart(sqlite, sizes.rounds) },
  ];
}

async function besideFigures(): Promise<readonly Figure[]> {
  if (mariadb === undefined) return [{ id: 'beside', what: 'MariaDB', unit: '', note: reason }];
  return benchBesideProcessor(mariadb, options.quick ? [1] : [1, 10]);
}

async function apiFigures(): Promise<readonly Figure[]> {
  const own = await onEngines((engine) => benchApi(engine, sizes.api));
  const { beside, 'beside-influx': influx } = options;
  if (beside === undefined || influx === undefined) return own;
  const theirs = await benchReference({ url: beside, influx }, sizes.api);
  const engines = [sqlite, mariadb].filter((engine) => engine !== undefined);
  return [...own, ...theirs, ...engines.flatMap((engine) => besideReference(own, theirs, engine))];
}

async function runBench({ name, title, run }: Bench): Promise<Section> {
  say(`${name} ...`);
  collectGarbage();
  const start = performance.now();
  let figures: readonly Figure[];
  try {
    figures = await run();
  } catch (error) {
    failed++;
    figures = [
      { id: name, what: name, unit: '', note: `failed: ${error instanceof Error ? error.stack : error}` },
    ];
  }
  const took = (performance.now() - start) / 1000;
  say(` ${took.toFixed(1)} s\n`);
  return { title, seconds: took, figures };
}

/** One engine after the other; a missing one is named in the table. */
async function onEngines(
  bench: (engine: BenchEngine) => Promise<readonly Figure[]>,
): Promise<readonly Figure[]> {
  const figures = [...(await bench(sqlite))];
  collectGarbage();
  if (mariadb !== undefined) figures.push(...(await bench(mariadb)));
  else figures.push({ id: 'mariadb', what: 'MariaDB', unit: '', note: reason });
  return figures;
}

async function tryMariadb(): Promise<{ engine: BenchEngine | undefined; reason: string }> {
  const needsNone = options.only
    ?.split(',')
    .every((name) => ['decimals', 'hashmap', 'memory', 'start'].includes(name));
  if (needsNone === true) return { engine: undefined, reason: 'not started' };
  try {
    return { engine: await mariadbEngine(), reason: '' };
  } catch (error) {
    return { engine: undefined, reason: `not measured: ${(error as Error).message.split('\n')[0]}` };
  }
}

async function hashmapFigures(): Promise<readonly Figure[]> {
  const found = await benchHashmap();
  const rate = (id: string, what: string, value: number, least?: number): Figure => ({
    id: `hashmap.${id}`,
    what,
    value,
    unit: 'points/s',
    ...(least === undefined ? {} : { target: { atLeast: least } }),
  });
  return [
    rate('distinct', 'warm, distinct quantities', found.distinctPointsPerSecond, 300_000),
    rate('repeated', 'warm, repeated quantities', found.repeatedPointsPerSecond, 1_000_000),
    rate('cold', 'cold: every descriptor new', found.coldPointsPerSecond),
    { id: 'hashmap.compileMs', what: 'compiling the rules', value: found.compileMilliseconds, unit: 'ms' },
  ];
}

function missed(): string {
  const judged = sections.flatMap(({ figures }) => figures).filter((figure) => isMet(figure) !== undefined);
  const short = judged.filter((figure) => isMet(figure) === false);
  const list = short.map(({ what, value, unit }) => `  missed: ${what}: ${shown(value!)} ${unit}`);
  return [`${judged.length - short.length} of ${judged.length} targets met`, ...list].join('\n');
}

async function writeJson(file: string): Promise<void> {
  const content = {
    at: new Date().toISOString(),
    machine,
    quick: options.quick,
    seconds: Math.round(seconds),
    sections: sections.map(({ title, figures }) => ({
      title,
      figures: figures.map((figure) => ({ ...figure, met: isMet(figure) })),
    })),
  };
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, `${JSON.stringify(content, null, 2)}\n`);
}

function isWanted(name: string): boolean {
  if (options.only === undefined) return !LONG.includes(name);
  return options.only.split(',').includes(name);
}

function say(text: string): void {
  process.stdout.write(text);
}
