import {
  Decimal,
  type Frame,
  type Gap,
  type Instant,
  type RatedPoint,
} from '../../../core/plugin-api/index.js';
import type { Cell } from './client.js';
import { damaged } from './damaged.js';
import { MARKERS, type Owner, ownerOf, SCOPE_TAG, SOURCE_TAG, STATE_FIELD, scopeTag } from './layout.js';
import { lineMeasurement, lineString, lineToken, ownTag } from './wire-text.js';

/** Exact sums of one metric of a period. */
export interface MetricSum {
  readonly metric: string;
  readonly points: number;
  readonly quantity: Decimal;
  readonly price: Decimal;
}

/** A whole period: the points of this take that carry this version. */
export interface Committed {
  readonly take: string;
  readonly version: string;
  readonly end: Instant;
  readonly scopeName?: string | undefined;
  readonly snapshot: string;
  readonly gaps: readonly Gap[];
  readonly metrics: readonly MetricSum[];
}

/** What is known of a period. It is one text field, so that readers see it whole. */
export interface MarkerState {
  /** What readers are given; absent while the period is being stored for the first time, or removed. */
  readonly committed?: Committed | undefined;
  /** A write that has begun: its points may be there in part. */
  readonly pending?: { readonly take: string; readonly version: string } | undefined;
  /** Takes that may hold points of no use. */
  readonly leftovers: readonly string[];
}

export interface Marker extends Owner {
  readonly begin: Instant;
  readonly state: MarkerState;
  /** The stored text: equal for an unchanged marker. */
  readonly text: string;
}

/** Takes are used in turn. The first is the absence of the tag, so that most points carry none. */
export const TAKES: readonly string[] = ['', 'b', 'c'];

export function markerLine({ source, scope }: Owner, begin: Instant, state: string): string {
  const tags = `${lineToken(SOURCE_TAG)}=${lineToken(ownTag(source))},${lineToken(SCOPE_TAG)}=${lineToken(scopeTag(scope))}`;
  return `${lineMeasurement(MARKERS)},${tags} ${STATE_FIELD}=${lineString(state)} ${begin}\n`;
}

/** @throws DataError RATECAT_NUMBER_OVERFLOW when a sum does not fit. */
export function sumsOf(points: readonly RatedPoint[]): readonly MetricSum[] {
  const sums = new Map<string, MetricSum>();
  for (const { descriptor, quantity, price } of points) {
    const { metric } = descriptor;
    sums.set(
      metric,
      plus(sums.get(metric), { metric, points: 1, quantity: quantity.toStored(), price: price.toStored() }),
    );
  }
  return [...sums.values()].map(checkedSum);
}

export function plus(left: MetricSum | undefined, right: MetricSum): MetricSum {
  if (left === undefined) return right;
  return {
    metric: right.metric,
    points: left.points + right.points,
    quantity: left.quantity.plus(right.quantity),
    price: left.price.plus(right.price),
  };
}

export function checkedSum(sum: MetricSum): MetricSum {
  return { ...sum, quantity: sum.quantity.toStored(), price: sum.price.toStored() };
}

export function committedOf(
  { scope, period, gaps, points }: Frame<RatedPoint>,
  write: Pick<Committed, 'take' | 'version' | 'snapshot'>,
): Committed {
  return { ...write, end: period.end, scopeName: scope.name, gaps, metrics: sumsOf(points) };
}

export function stateText({ committed, pending, leftovers }: MarkerState): string {
  return JSON.stringify({
    ...(committed === undefined ? {} : { committed: toStored(committed) }),
    ...(pending === undefined ? {} : { pending }),
    ...(leftovers.length === 0 ? {} : { leftovers }),
  });
}

interface StoredCommitted extends Omit<Committed, 'gaps' | 'metrics'> {
  readonly gaps?: readonly Gap[];
  readonly metrics: readonly (readonly [string, number, string, string])[];
}

function toStored({ gaps, metrics, ...plain }: Committed): StoredCommitted {
  return {
    ...plain,
    ...(gaps.length === 0 ? {} : { gaps: gaps.map(({ metric, reason }) => ({ metric, reason })) }),
    metrics: metrics.map((sum) => [sum.metric, sum.points, sum.quantity.toString(), sum.price.toString()]),
  };
}

/** @throws DataError RATECAT_INFLUXDB_DAMAGED when the row is not what `markerLine` wrote. */
export function readMarker(time: Cell, text: Cell, source: Cell, scope: Cell): Marker {
  const owner = ownerOf(source, scope);
  try {
    if (typeof text !== 'string' || typeof time !== 'number') throw new TypeError('not a marker');
    const {
      committed,
      pending,
      leftovers = [],
    } = JSON.parse(text) as {
      readonly committed?: StoredCommitted;
      readonly pending?: MarkerState['pending'];
      readonly leftovers?: readonly string[];
    };
    const state = { committed: committed && fromStored(committed), pending, leftovers };
    return { ...owner, begin: time, state, text };
  } catch (error) {
    throw damaged(`a marker in ${MARKERS} holds ${JSON.stringify(String(text).slice(0, 120))}`, error);
  }
}

function fromStored({ gaps = [], metrics, ...plain }: StoredCommitted): Committed {
  return {
    ...plain,
    gaps,
    metrics: metrics.map(([metric, points, quantity, price]) => ({
      metric,
      points,
      quantity: Decimal.parse(quantity),
      price: Decimal.parse(price),
    })),
  };
}
