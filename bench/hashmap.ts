/** Rating speed of hashmap alone: 100 field mappings and thresholds, warm, one core. */
import {
  Attributes,
  type CompiledRating,
  Decimal,
  type Descriptor,
  type Frame,
  type RatedPoint,
} from '../core/plugin-api/index.js';
import { fakeContext } from '../core/testkit/fakes.js';
import hashmap from '../plugins/rating/hashmap/index.js';
import {
  type HashmapRules,
  type MappingRule,
  rulesToJson,
  type ThresholdRule,
} from '../plugins/rating/hashmap/rules.js';

export interface HashmapFigures {
  readonly points: number;
  /** Every quantity new in every period. */
  readonly distinctPointsPerSecond: number;
  /** Every resource with the quantity of the period before. */
  readonly repeatedPointsPerSecond: number;
  /** Every descriptor new: nothing remembered. */
  readonly coldPointsPerSecond: number;
  readonly compileMilliseconds: number;
}

const POINTS = 100_000;
const FLAVORS = 100;
const ROUNDS = 5;
const signal = new AbortController().signal;

export async function benchHashmap(): Promise<HashmapFigures> {
  const compileBegin = performance.now();
  const compiled = compileRules();
  const compileMilliseconds = performance.now() - compileBegin;
  const descriptors = makeDescriptors();
  const repeated = frameOf(descriptors.map((descriptor) => pointOf(descriptor, '1.25')));
  const distinctFrames = Array.from({ length: ROUNDS + 1 }, (_, round) =>
    frameOf(descriptors.map((descriptor, index) => pointOf(descriptor, distinctQuantity(round, index)))),
  );
  const coldBegin = performance.now();
  await compiled.rate(repeated, signal);
  const cold = POINTS / ((performance.now() - coldBegin) / 1000);
  return {
    points: POINTS,
    distinctPointsPerSecond: await bestRate(compiled, distinctFrames),
    repeatedPointsPerSecond: await bestRate(
      compiled,
      Array.from({ length: ROUNDS + 1 }, () => repeated),
    ),
    coldPointsPerSecond: Math.round(cold),
    compileMilliseconds: Math.round(compileMilliseconds * 10) / 10,
  };
}

/** The first frame warms up; the median of the others counts. */
async function bestRate(compiled: CompiledRating, frames: readonly Frame<RatedPoint>[]): Promise<number> {
  const rates: number[] = [];
  for (const frame of frames) {
    const begin = performance.now();
    await compiled.rate(frame, signal);
    rates.push(POINTS / ((performance.now() - begin) / 1000));
  }
  const measured = rates.slice(1).sort((left, right) => left - right);
  return Math.round(measured[Math.floor(measured.length / 2)]!);
}

function compileRules(): CompiledRating {
  const mappings = Array.from(
    { length: FLAVORS },
    (_, index): MappingRule => ({
      type: 'flat',
      cost: `0.0${index}7`,
      value: `m1.flavor-${index}`,
      start: 0,
    }),
  );
  const levels = (cost: string, levelOf: (index: number) => number) =>
    Array.from({ length: 5 }, (_, i): ThresholdRule => ({ type: 'rate', cost, level: `${levelOf(i)}` }));
  const rules: HashmapRules = {
    services: [
      {
        name: 'instance',
        mappings: [{ type: 'rate', cost: '1.1', start: 0 }],
        thresholds: levels('0.95', (i) => 10 ** (i + 1)),
        fields: [
          { name: 'flavor_name', mappings, thresholds: [] },
          { name: 'memory', mappings: [], thresholds: levels('1.05', (i) => 2 ** (i + 9)) },
        ],
      },
    ],
  };
  return hashmap.create({}, fakeContext()).compile(rulesToJson(rules), { key: 'project_id', id: 'alpha' });
}

const GROUPBY = ['id', 'project_id', 'user_id'];
const METADATA = ['flavor_name', 'memory', 'image_ref', 'os_type'];

function makeDescriptors(): readonly Descriptor[] {
  return Array.from({ length: POINTS }, (_, index) => ({
    metric: 'instance',
    unit: 'instance',
    groupby: Attributes.of(GROUPBY, [`instance-${index}`, 'alpha', `user-${index % 50}`]),
    metadata: Attributes.of(METADATA, [
      `m1.flavor-${index % FLAVORS}`,
      `${512 << (index % 6)}`,
      `image-${index % 20}`,
      'linux',
    ]),
    description: undefined,
  }));
}

function pointOf(descriptor: Descriptor, quantity: string): RatedPoint {
  return { descriptor, quantity: Decimal.parse(quantity), price: Decimal.ZERO };
}

/** Twelve digits, as a byte counter divided by 2^30 has. */
function distinctQuantity(round: number, index: number): string {
  return `${index % 977}.${String(round * POINTS + index).padStart(9, '3')}`;
}

function frameOf(points: readonly RatedPoint[]): Frame<RatedPoint> {
  const scope = { key: 'project_id', id: 'alpha' };
  return { source: 'bench', scope, period: { begin: 1_700_000_000, end: 1_700_003_600 }, points, gaps: [] };
}
