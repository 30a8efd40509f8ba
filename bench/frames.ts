/** Rated frames as a cloud would have them: resources that stay, quantities that change. */
import {
  Attributes,
  Decimal,
  type Descriptor,
  type Frame,
  type RatedPoint,
} from '../core/plugin-api/index.js';

export const HOUR = 3600;
/** 2025-01-01T00:00:00Z: frames of the benches begin with a day and a month. */
export const FIRST_BEGIN = 1_735_689_600;

/** `short`: up to 12 digits. `quotients`: bytes divided by 2^30, as exact as the storage keeps them. */
export type Quantities = 'short' | 'quotients';

const METRICS = ['cpu', 'instance', 'memory', 'network.in', 'network.out', 'volume'];
const GROUPBY = ['id', 'project_id', 'user_id'];
const METADATA = ['flavor_name', 'image_ref', 'os_type'];
const GIB_INVERSE = Decimal.parse('0.000000000931322574615478515625');
const COST = Decimal.parse('0.0137');

/** Every period with the same descriptor objects, as the host's dictionary gives them. */
export function steadyFrames(
  resources: number,
  periods: number,
  quantities: Quantities = 'short',
): Frame<RatedPoint>[] {
  const descriptors = makeDescriptors(resources, '');
  return Array.from({ length: periods }, (_, period) => frameOf(period, descriptors, quantities));
}

/** Every period with other metadata on every resource: nothing the dictionary knows ever comes back. */
export function churnFrames(resources: number, periods: number): Frame<RatedPoint>[] {
  return Array.from({ length: periods }, (_, period) =>
    frameOf(period, makeDescriptors(resources, `-build-${period}`), 'short'),
  );
}

/** One period of a series. */
export function frameOf(
  period: number,
  descriptors: readonly Descriptor[],
  quantities: Quantities,
): Frame<RatedPoint> {
  const begin = FIRST_BEGIN + period * HOUR;
  return {
    source: 'bench',
    scope: { key: 'project_id', id: 'alpha' },
    period: { begin, end: begin + HOUR },
    points: descriptors.map((descriptor, index) => pointOf(descriptor, period, index, quantities)),
    gaps: [],
  };
}

export function makeDescriptors(resources: number, churn: string): readonly Descriptor[] {
  return Array.from({ length: resources }, (_, index) => ({
    metric: METRICS[index % METRICS.length]!,
    unit: 'unit',
    groupby: Attributes.of(GROUPBY, [resourceId(index), 'alpha', `user-${index % 50}`]),
    metadata: Attributes.of(METADATA, [`m1.flavor-${index % 20}`, `image-${index % 20}${churn}`, 'linux']),
    description: undefined,
  }));
}

/** As long as a UUID. */
function resourceId(index: number): string {
  return `5f1c2a90-7b1e-4c36-9d2f-${String(index).padStart(12, '0')}`;
}

function pointOf(descriptor: Descriptor, period: number, index: number, quantities: Quantities): RatedPoint {
  const counter = period * 7919 + index * 104_729;
  const quantity =
    quantities === 'short'
      ? Decimal.parse(`${counter % 977}.${String(counter % 1_000_003).padStart(6, '0')}`)
      : Decimal.fromInteger((counter * 15_485_863) % 68_719_476_735)
          .times(GIB_INVERSE)
          .toStored();
  return { descriptor, quantity, price: quantity.times(COST).toStored() };
}
