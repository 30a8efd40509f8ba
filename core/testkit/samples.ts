import {
  Attributes,
  type AttributeValue,
  canonicalDescriptor,
  Decimal,
  type Descriptor,
  type Frame,
  type Gap,
  type Instant,
  type RatedPoint,
  type StoredFrame,
} from '../plugin-api/index.js';

/** 2026-01-01T00:00:00Z, a Thursday: where sample periods are counted from. */
export const SAMPLE_START: Instant = Date.UTC(2026, 0, 1) / 1000;
export const HOUR = 3600;

/** Begin of the sample period with this number; periods last an hour. */
export function hour(index: number): Instant {
  return SAMPLE_START + index * HOUR;
}

export interface SamplePoint {
  readonly metric?: string;
  readonly unit?: string;
  readonly groupby?: Readonly<Record<string, AttributeValue>> | Attributes;
  readonly metadata?: Readonly<Record<string, AttributeValue>> | Attributes;
  readonly description?: string;
  readonly quantity?: string | Decimal;
  readonly price?: string | Decimal;
}

export interface SampleFrame {
  readonly source?: string;
  readonly scopeKey?: string;
  readonly scope?: string;
  /** Number of the hour since `SAMPLE_START`. */
  readonly hour?: number;
  readonly points?: readonly (SamplePoint | RatedPoint)[];
  readonly gaps?: readonly Gap[];
}

export function sampleDescriptor(sample: SamplePoint = {}): Descriptor {
  return {
    metric: sample.metric ?? 'instance',
    unit: sample.unit ?? 'instance',
    groupby: toAttributes(sample.groupby ?? { id: 'server-1' }),
    metadata: toAttributes(sample.metadata ?? { flavor: 'm1.small' }),
    description: sample.description,
  };
}

export function samplePoint(sample: SamplePoint = {}): RatedPoint {
  return {
    descriptor: sampleDescriptor(sample),
    quantity: toDecimal(sample.quantity ?? '1'),
    price: toDecimal(sample.price ?? '0.25'),
  };
}

/** Points come out in order of their metric, as the host hands them to a storage. */
export function sampleFrame(sample: SampleFrame = {}): Frame<RatedPoint> {
  const begin = hour(sample.hour ?? 0);
  const points = (sample.points ?? [{}]).map((point) => ('descriptor' in point ? point : samplePoint(point)));
  const byMetric = (left: RatedPoint, right: RatedPoint) =>
    left.descriptor.metric < right.descriptor.metric
      ? -1
      : left.descriptor.metric > right.descriptor.metric
        ? 1
        : 0;
  return {
    source: sample.source ?? 'openstack',
    scope: { key: sample.scopeKey ?? 'project_id', id: sample.scope ?? 'alpha' },
    period: { begin, end: begin + HOUR },
    points: [...points].sort(byMetric),
    gaps: sample.gaps ?? [],
  };
}

function toAttributes(value: Readonly<Record<string, AttributeValue>> | Attributes): Attributes {
  return value instanceof Attributes
    ? value
    : Attributes.from(value as Readonly<Record<string, AttributeValue>>);
}

function toDecimal(value: string | Decimal): Decimal {
  return typeof value === 'string' ? Decimal.parse(value) : value;
}

/** A frame as plain values that compare by content. */
export function plainFrame(frame: Frame<RatedPoint> | StoredFrame): unknown {
  return {
    source: frame.source,
    scope: [frame.scope.key, frame.scope.id],
    period: [frame.period.begin, frame.period.end],
    snapshot: 'snapshot' in frame ? frame.snapshot : undefined,
    gaps: frame.gaps.map(({ metric, reason }) => [metric, reason]),
    points: frame.points.map(({ descriptor, quantity, price }) => [
      canonicalDescriptor(descriptor),
      quantity.toString(),
      price.toString(),
    ]),
  };
}

/** A small reproducible generator (mulberry32). */
export class SampleRandom {
  #state: number;

  constructor(readonly seed: number) {
    this.#state = seed >>> 0;
  }

  /** An integer from 0 to `limit` − 1. */
  below(limit: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296) * limit);
  }

  pick<T>(values: readonly T[]): T {
    return values[this.below(values.length)]!;
  }

  /** Between about −10^12 and 10^12, with up to 28 places. */
  decimal(): Decimal {
    const digits = 1 + this.below(28);
    let text = '';
    for (let i = 0; i < digits; i++) text += this.below(10);
    const value = Decimal.of(BigInt(text), -Math.min(28, Math.max(digits - 12, this.below(29))));
    return this.below(8) === 0 ? value.negated() : value;
  }
}

/** The seed of random tests: `RATECAT_SEED`, or a new one. */
export function sampleSeed(): number {
  const given = Number.parseInt(process.env.RATECAT_SEED ?? '', 10);
  return Number.isNaN(given) ? Math.floor(Math.random() * 2 ** 31) : given;
}
