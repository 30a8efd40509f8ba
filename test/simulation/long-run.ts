import assert from 'node:assert/strict';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Attributes, Decimal, type Sample } from '../../core/plugin-api/index.js';
import { simRating, World } from './world.js';

// A program of its own: the test runner's hooks on every promise would take two thirds of the time.
const HOURS = Number(process.argv[2]);
const SAMPLE_EVERY = 2000;
const QUANTITY = Decimal.parse('2.5');

/** What this program prints, as JSON. */
export interface LongRun {
  readonly bytesPerPeriod: number;
  readonly secondsToRate: number;
}

/** What stays in memory after `periods` periods. */
interface Heap {
  readonly periods: number;
  readonly bytes: number;
}

function garbageCollector(): () => void {
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc') as () => void;
}

/** Weak references are let go only between two turns of the event loop: collects after one. */
async function settledHeap(collect: () => void): Promise<number> {
  for (let round = 0; round < 2; round++) {
    await new Promise((resolve) => setImmediate(resolve));
    collect();
  }
  return process.memoryUsage().heapUsed;
}

/** Counts what every period of a single catch-up leaves behind, in the middle of the work. */
function watched(found: Heap[], world: () => World): typeof simRating {
  const collect = garbageCollector();
  let periods = 0;
  return {
    ...simRating,
    compile(rules, scope) {
      const { rate } = simRating.compile(rules, scope);
      return {
        rate: async (frame, signal) => {
          if (++periods % SAMPLE_EVERY === 0) {
            const running = world();
            running.pending++;
            running.logger.lines.length = 0;
            found.push({ periods, bytes: await settledHeap(collect) });
            running.pending--;
          }
          return rate(frame, signal);
        },
      };
    },
  };
}

/** Least-squares slope over the second half, where the code is warm. */
function bytesPerPeriod(found: readonly Heap[]): number {
  const late = found.slice(Math.floor(found.length / 2));
  const mean = (of: (heap: Heap) => number) => late.reduce((sum, heap) => sum + of(heap), 0) / late.length;
  const periods = mean((heap) => heap.periods);
  const bytes = mean((heap) => heap.bytes);
  const covariance = mean((heap) => (heap.periods - periods) * (heap.bytes - bytes));
  return covariance / mean((heap) => (heap.periods - periods) ** 2);
}

const sample: Sample = {
  groupby: Attributes.of(['project_id', 'id'], ['scope-0', 'x']),
  metadata: Attributes.EMPTY,
  value: QUANTITY,
};
const found: Heap[] = [];
const world: World = await World.create({
  seed: 3,
  scopes: 1,
  processors: 1,
  hours: HOURS,
  faults: 0,
  collectAhead: 8,
  rating: watched(found, () => world),
  collect: ({ metric }) =>
    metric.name === 'cpu' ? { kind: 'measured', samples: [sample] } : { kind: 'nothing' },
});
const began = performance.now();
world.clock.wakeNext(HOURS * 3_600_000);
world.startProcessor(0);
await world.runUntil(HOURS * 3_600_000 + 7_200_000);
const secondsToRate = (performance.now() - began) / 1000;
await world.checkEverything();
const [state] = await world.states.list();
assert.ok(state!.commitSequence >= HOURS, `${state!.commitSequence} periods of ${HOURS} are rated`);
const everything = { visible: 'all', begin: 0, end: world.now, groupby: [] } as const;
const { rows } = await world.storage.total(everything, new AbortController().signal);
assert.equal(rows[0]!.price.toString(), QUANTITY.times(Decimal.parse(`${state!.commitSequence}`)).toString());
await world.close();
const result: LongRun = { bytesPerPeriod: bytesPerPeriod(found), secondsToRate };
process.stdout.write(JSON.stringify(result));
