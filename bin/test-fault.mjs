// The long set of real faults: `npm run test:fault`, or less of it: `npm run test:fault -- --kills 50 --only kills`.
// The short set is part of `npm test`; this one repeats its files, with other seeds and higher counts.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = fileURLToPath(new URL('..', import.meta.url));
const HELP = `npm run test:fault -- [options]
  --kills N           kill -9 of the daemon, on SQLite and as many on MariaDB (1000)
  --database-kills N  kill -9 of MariaDB (100)
  --cycles N          rounds of all other faults (5)
  --only NAME         one of: kills, database-kills, cuts, refusals, tls, galera, disk, clock
  --seed N            where the random choices begin (the time)
`;
/** So many kills go into one catch-up; more would need a longer one, which is slow to compare. */
const KILLS_PER_ROUND = 100;
const DATABASE_KILLS_PER_ROUND = 10;

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '1000' },
    'database-kills': { type: 'string', default: '100' },
    cycles: { type: 'string', default: '5' },
    only: { type: 'string' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
if (values.help) {
  process.stdout.write(HELP);
  process.exit(0);
}

function count(name) {
  const number = Number(values[name]);
  if (Number.isInteger(number) && number >= 0) return number;
  process.stderr.write(`--${name} is a whole number\n`);
  process.exit(64);
}

/** The environment of each round, so that together they make up the number of kills. */
function rounds(total, perRound, variable) {
  return Array.from({ length: Math.ceil(total / perRound) }, (_, round) => ({
    [variable]: String(Math.min(perRound, total - round * perRound)),
  }));
}

function cycles(environment = {}) {
  return Array.from({ length: count('cycles') }, () => environment);
}

const sets = [
  { name: 'kills', file: 'kill', rounds: rounds(count('kills'), KILLS_PER_ROUND, 'FAULT_KILLS') },
  {
    name: 'database-kills',
    file: 'database-down',
    rounds: rounds(count('database-kills'), DATABASE_KILLS_PER_ROUND, 'FAULT_DATABASE_KILLS'),
  },
  { name: 'cuts', file: 'database-cuts', rounds: cycles({ FAULT_LONG: '1' }) },
  { name: 'refusals', file: 'database-refuses', rounds: cycles() },
  { name: 'tls', file: 'database-tls', rounds: cycles() },
  { name: 'galera', file: 'galera', rounds: cycles() },
  { name: 'disk', file: 'disk-full', rounds: cycles() },
  { name: 'clock', file: 'clock', rounds: cycles() },
].filter(({ name }) => values.only === undefined || values.only === name);
if (sets.length === 0) {
  process.stderr.write(HELP);
  process.exit(64);
}

const firstSeed = count('seed');
const results = [];
for (const { name, file, rounds: environments } of sets) {
  const begin = performance.now();
  let failed = 0;
  for (const [round, environment] of environments.entries()) {
    const seeded = { ...environment, FAULT_SEED: String(firstSeed + round) };
    const settings = Object.entries(seeded).map(([key, value]) => `${key}=${value}`);
    process.stdout.write(
      `\n== ${name}, round ${round + 1} of ${environments.length}: ${settings.join(' ')}\n`,
    );
    // One thing at a time: what a machine can do at once is not what this is about.
    const { status } = spawnSync(
      process.execPath,
      ['--import', 'tsx', '--test', '--test-reporter=spec', `test/fault/${file}.test.ts`],
      {
        cwd: root,
        stdio: ['ignore', 'inherit', 'inherit'],
        env: { ...process.env, NODE_OPTIONS: '', ...seeded },
      },
    );
    if (status === 0) continue;
    failed++;
    process.stdout.write(`\nTo repeat: ${settings.join(' ')} npm test -- fault/${file}\n`);
  }
  results.push({ name, rounds: environments.length, failed, seconds: (performance.now() - begin) / 1000 });
}

process.stdout.write(
  `\nFirst seed ${firstSeed}; kills ${values.kills} on each engine, of MariaDB ${values['database-kills']}\n`,
);
for (const { name, rounds: all, failed, seconds } of results)
  process.stdout.write(`${name.padEnd(16)} ${all} rounds, ${failed} failed, ${seconds.toFixed(0)} s\n`);
process.exit(results.some(({ failed }) => failed > 0) ? 1 : 0);
