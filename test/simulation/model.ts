import assert from 'node:assert/strict';
import { Attributes, Decimal, type Period, type Sample } from '../../core/plugin-api/index.js';
import { hashText, SeededRandom } from './seeded-random.js';

export const METRICS = ['cpu', 'disk', 'network'] as const;

/** What really was used: depends on seed, scope, metric and period alone. */
export class Truth {
  readonly #seed: number;

  constructor(seed: number) {
    this.#seed = seed;
  }

  samples(scope: string, metric: string, period: Period): readonly Sample[] {
    const random = new SeededRandom(hashText(`${this.#seed}/${scope}/${metric}/${period.begin}`));
    // Some metrics of some periods were simply not used.
    if (random.chance(0.1)) return [];
    const count = 1 + random.below(3);
    return Array.from({ length: count }, (_, index) => ({
      groupby: Attributes.of(['project_id', 'id'], [scope, `${metric}-${index}`]),
      metadata: Attributes.of(['flavor'], [random.chance(0.05) ? 'm1.large' : 'm1.small']),
      value: Decimal.parse(`${random.below(1000)}.${random.below(1_000_000)}`),
    }));
  }

  /** One line per point that a period must hold, for a price of `rate` per unit. */
  expectedLines(scope: string, period: Period, rate: Decimal): readonly string[] {
    return METRICS.flatMap((metric) =>
      this.samples(scope, metric, period).map((sample) =>
        pointLine(metric, sample.groupby, sample.metadata, sample.value, sample.value.times(rate).round()),
      ),
    ).sort();
  }
}

export function pointLine(
  metric: string,
  groupby: Attributes,
  metadata: Attributes,
  quantity: Decimal,
  price: Decimal,
): string {
  return `${metric} ${groupby.canonical()} ${metadata.canonical()} ${quantity.toString()} ${price.toString()}`;
}

/** A broken invariant, with what is needed to see it again. */
export function violation(seed: number, step: number, text: string): never {
  assert.fail(
    `seed ${seed}, step ${step}: ${text}\n  replay: SIMULATION_SEED=${seed} node --import tsx --test test/simulation/simulation.test.ts`,
  );
}
