import { Decimal, divideRounded, type Period } from '../../../core/plugin-api/index.js';
import { type Reading, type Series, seriesOf, toMilliseconds } from './readings.js';

/** A stretch between two readings that follow each other. */
interface Stretch {
  readonly from: Reading;
  readonly to: Reading;
}

export interface Observation {
  readonly readings: readonly Reading[];
  readonly period: Period;
  /** Readings further apart than this are not one observation: the daemon was away in between. */
  readonly longestStretchMs: number;
}

/** Milliseconds of the period that were watched. */
export function observedMilliseconds(observation: Observation): number {
  return watched(observation).reduce((sum, stretch) => sum + overlap(stretch, observation.period), 0);
}

/** True when anything of the period was seen: a reading inside, or a short stretch over the whole of it. */
export function isObserved(observation: Observation): boolean {
  const { begin, end } = milliseconds(observation.period);
  return (
    observation.readings.some(({ at }) => at >= begin && at < end) || observedMilliseconds(observation) > 0
  );
}

/**
 * What a counter counted in the period, by resource. Between two readings it is taken to grow evenly, in whole numbers;
 * so the quantities of adjoining periods add up to exactly what the kernel counted, also across a restart of the daemon.
 * After a restart of the machine counting starts from zero at the moment it booted.
 */
export function counted(
  observation: Observation,
  metric: string,
  scope: string,
  restarts: boolean,
): ReadonlyMap<string, bigint> {
  const { begin, end } = milliseconds(observation.period);
  const totals = new Map<string, bigint>();
  for (const { from, to } of stretches(observation.readings)) {
    const start = from.boot === to.boot ? from.at : Math.min(Math.max(to.bootedAt, from.at), to.at);
    if (start >= end || to.at <= begin) continue;
    const before = from.boot === to.boot ? seriesOf(from, metric, scope) : NOTHING;
    for (const [resource, { value }] of seriesOf(to, metric, scope)) {
      const increment = growth(before.get(resource)?.value ?? 0n, value, restarts);
      const share = upTo(end, start, to.at, increment) - upTo(begin, start, to.at, increment);
      totals.set(resource, (totals.get(resource) ?? 0n) + share);
    }
  }
  // A resource first seen in the very first reading of all has no growth yet, but it is there.
  for (const reading of inside(observation)) {
    for (const resource of seriesOf(reading, metric, scope).keys()) {
      if (!totals.has(resource)) totals.set(resource, 0n);
    }
  }
  return totals;
}

/** Mean of a gauge over the part of the period that was watched, by resource; a value holds until the next reading. */
export function averaged(
  observation: Observation,
  metric: string,
  scope: string,
): ReadonlyMap<string, Decimal> {
  const sums = new Map<string, bigint>();
  let weight = 0n;
  const add = (reading: Reading, milliseconds: number) => {
    weight += BigInt(milliseconds);
    for (const [resource, { value }] of seriesOf(reading, metric, scope)) {
      sums.set(resource, (sums.get(resource) ?? 0n) + value * BigInt(milliseconds));
    }
  };
  for (const stretch of watched(observation)) add(stretch.from, overlap(stretch, observation.period));
  if (weight === 0n) for (const reading of inside(observation)) add(reading, 1);
  return new Map([...sums].map(([resource, sum]) => [resource, quotient(sum, weight)]));
}

/** The newest series of each resource that was seen in the period or at its edges: where attributes are taken from. */
export function newestSeries(
  observation: Observation,
  metric: string,
  scope: string,
): ReadonlyMap<string, Series> {
  const newest = new Map<string, Series>();
  for (const reading of observation.readings) {
    for (const [resource, series] of seriesOf(reading, metric, scope)) newest.set(resource, series);
  }
  return newest;
}

/** Readings inside the period, and the first after it. */
export function inside({ readings, period }: Observation): readonly Reading[] {
  const { begin, end } = milliseconds(period);
  const within = readings.filter(({ at }) => at >= begin && at < end);
  return within.length > 0 ? within : readings.filter(({ at }) => at < begin).slice(-1);
}

/** dividend ÷ divisor with 28 significant digits, half-even. */
export function quotient(dividend: bigint, divisor: bigint): Decimal {
  if (dividend % divisor === 0n) return Decimal.of(dividend / divisor, 0);
  const places = Math.max(0, 28 - (dividend / divisor).toString().length);
  return Decimal.of(divideRounded(dividend * 10n ** BigInt(places), divisor), -places).round();
}

const NOTHING: ReadonlyMap<string, Series> = new Map();

function growth(before: bigint, after: bigint, restarts: boolean): bigint {
  if (after >= before) return after - before;
  return restarts ? after : 0n;
}

/** How much of an increment between two moments had been counted at `instant`. */
function upTo(instant: number, from: number, to: number, increment: bigint): bigint {
  if (instant >= to) return increment;
  if (instant <= from) return 0n;
  return (increment * BigInt(instant - from)) / BigInt(to - from);
}

function stretches(readings: readonly Reading[]): readonly Stretch[] {
  return readings.slice(1).map((to, index) => ({ from: readings[index]!, to }));
}

function watched({ readings, longestStretchMs }: Observation): readonly Stretch[] {
  return stretches(readings).filter(
    ({ from, to }) => from.boot === to.boot && to.at - from.at <= longestStretchMs,
  );
}

function overlap({ from, to }: Stretch, period: Period): number {
  const { begin, end } = milliseconds(period);
  return Math.max(0, Math.min(to.at, end) - Math.max(from.at, begin));
}

function milliseconds(period: Period): { readonly begin: number; readonly end: number } {
  return { begin: toMilliseconds(period.begin), end: toMilliseconds(period.end) };
}
