import {
  Attributes,
  type Clock,
  compareText,
  Decimal,
  type Descriptor,
  type Frame,
  type MeasuredPoint,
  type RatedPoint,
} from '../plugin-api/index.js';
import { rateFrame } from './rate-frame.js';
import type { RuleSets } from './rule-sets.js';

/** A resource that does not exist yet. */
export interface QuotedResource {
  /** Rated name of the metric. */
  readonly metric: string;
  readonly quantity: Decimal;
  readonly groupby?: Attributes | undefined;
  readonly metadata?: Attributes | undefined;
}

export interface Quote {
  /** Exact sum of all prices, also of points that modules added. */
  readonly total: Decimal;
  /** In the order of the request. */
  readonly resources: readonly { readonly price: Decimal }[];
}

/** Rules of a quote belong to no pipeline: neither metrics files nor expressions decide anything. */
const NO_PIPELINE = { source: '(quote)', content: null };
/** The unit that rules see (spec: quote). */
const UNIT = 'undef';
const DEFAULT_PERIOD_SECONDS = 3600;

/** Prices of resources by the rules in force now that hold for every scope (spec: quote, end to end). */
export class Quotes {
  readonly #rules: RuleSets;
  readonly #clock: Clock;
  readonly #periodSeconds: number;

  constructor(rules: RuleSets, clock: Clock, periodSeconds = DEFAULT_PERIOD_SECONDS) {
    this.#rules = rules;
    this.#clock = clock;
    this.#periodSeconds = periodSeconds;
  }

  /** @throws DataError when a module cannot price what is described. */
  async quote(resources: readonly QuotedResource[], signal: AbortSignal): Promise<Quote> {
    const snapshot = await this.#rules.current(NO_PIPELINE, signal);
    const points = resources.map(toPoint);
    const rated = await rateFrame(
      this.#frame(points),
      this.#rules.compile(snapshot, undefined),
      signal,
      'quote',
    );
    return {
      total: sumOf(rated.points),
      resources: pricesOf(points, rated.points).map((price) => ({ price })),
    };
  }

  /** For a period that begins now. */
  #frame(points: readonly MeasuredPoint[]): Frame<MeasuredPoint> {
    const begin = Math.floor(this.#clock.now() / 1000);
    return {
      source: NO_PIPELINE.source,
      scope: { key: '', id: '' },
      period: { begin, end: begin + this.#periodSeconds },
      // Frames hold their points by metric; the order within one metric stays.
      points: [...points].sort((left, right) => compareText(left.descriptor.metric, right.descriptor.metric)),
      gaps: [],
    };
  }
}

function toPoint({ metric, quantity, groupby, metadata }: QuotedResource): MeasuredPoint {
  const descriptor: Descriptor = {
    metric,
    unit: UNIT,
    groupby: groupby ?? Attributes.EMPTY,
    metadata: metadata ?? Attributes.EMPTY,
    description: undefined,
  };
  return { descriptor, quantity };
}

/** Prices by descriptor: each resource has one of its own, which modules pass on. */
function pricesOf(points: readonly MeasuredPoint[], rated: readonly RatedPoint[]): readonly Decimal[] {
  const prices = new Map<Descriptor, Decimal>();
  for (const { descriptor, price } of rated)
    prices.set(descriptor, (prices.get(descriptor) ?? Decimal.ZERO).plus(price));
  return points.map(({ descriptor }) => prices.get(descriptor) ?? Decimal.ZERO);
}

function sumOf(points: readonly RatedPoint[]): Decimal {
  return points.reduce((sum, { price }) => sum.plus(price), Decimal.ZERO);
}
