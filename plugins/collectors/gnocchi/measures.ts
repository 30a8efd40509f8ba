import { Decimal, divideRounded, type Period } from '../../../core/plugin-api/index.js';

/** One aggregated value of Gnocchi: of the time from `begin` on, `seconds` long. */
export interface Measure {
  /** Seconds since the epoch. */
  readonly begin: number;
  readonly seconds: number;
  readonly value: Decimal;
}

/**
 * The measures of one granularity that overlap the period, in order of time. With several granularities the coarsest that
 * still fits into the period is taken: the fewest values, and none that speaks of other periods.
 */
export function onlyThePeriod(measures: readonly Measure[], period: Period): readonly Measure[] {
  const overlapping = measures.filter(
    ({ begin, seconds }) => begin < period.end && begin + Math.max(seconds, 1) > period.begin,
  );
  const seconds = bestGranularity(overlapping, period.end - period.begin);
  return overlapping
    .filter((measure) => measure.seconds === seconds)
    .sort((left, right) => left.begin - right.begin);
}

function bestGranularity(measures: readonly Measure[], periodSeconds: number): number | undefined {
  const sizes = [...new Set(measures.map(({ seconds }) => seconds))].sort((left, right) => left - right);
  return sizes.findLast((seconds) => seconds <= periodSeconds) ?? sizes[0];
}

/**
 * One value for a period out of its sub-samples (in order of time), such that it means what one sample over the whole
 * period would mean: sums and counts add up, the extremes stay the extremes, first and last are the outermost, and
 * everything else (mean, median, percentiles, standard deviation) is averaged over the sub-samples that exist.
 */
export function combine(measures: readonly Measure[], method: string): Decimal | undefined {
  const values = measures.map(({ value }) => value);
  if (values.length < 2) return values[0];
  switch (method.replace(/^rate:/, '')) {
    case 'sum':
    case 'count':
      return total(values);
    case 'max':
      return values.reduce((left, right) => (right.compare(left) > 0 ? right : left));
    case 'min':
      return values.reduce((left, right) => (right.compare(left) < 0 ? right : left));
    case 'first':
      return values[0];
    case 'last':
      return values.at(-1);
    default:
      return average(values);
  }
}

function total(values: readonly Decimal[]): Decimal {
  return values.reduce((sum, value) => sum.plus(value));
}

/** Digits beyond those of the sum: enough for 28 significant ones with room to spare. */
const EXTRA_DIGITS = 60;

function average(values: readonly Decimal[]): Decimal {
  const sum = total(values);
  const magnitude = sum.isNegative ? -sum.coefficient : sum.coefficient;
  const quotient = divideRounded(magnitude * 10n ** BigInt(EXTRA_DIGITS), BigInt(values.length));
  const result = Decimal.of(sum.isNegative ? -quotient : quotient, sum.exponent - EXTRA_DIGITS).round();
  // 2, not 2.0000…: a decimal keeps its scale, and nobody measured those zeros.
  return Decimal.parse(result.toString());
}
