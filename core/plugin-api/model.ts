/**
 * The words of this project.
 *
 * - scope: whom a price is for, identified by (scope key, scope id): usually a project.
 * - source: the immutable name of the pipeline a frame came through, or `api` for frames pushed from outside.
 * - period: a half-open slice of time [begin, end); the unit of rating.
 * - metric: what is measured; its rated name (`alt_name`) is what rules and reports call it.
 * - sample: what a collector measured for one resource, before conversion.
 * - descriptor: everything about a point that repeats from period to period.
 * - point: a descriptor with a quantity and, once rated, a price.
 * - frame: all points of one (source, scope, period).
 * - gap: a metric that could not be measured for a period, with the reason. A gap is not a zero.
 * - snapshot: the immutable set of rules that a period was rated with.
 */
import { Attributes } from './attributes.js';
import type { Decimal } from './decimal.js';

/** Seconds since 1970-01-01T00:00:00Z. */
export type Instant = number;

/** [begin, end): a point in time belongs to the period when begin <= t < end. */
export interface Period {
  readonly begin: Instant;
  readonly end: Instant;
}

export interface Scope {
  /** The attribute that identifies scopes, e.g. `project_id`. */
  readonly key: string;
  readonly id: string;
  /** For people; may change at any time. */
  readonly name?: string | undefined;
}

/** A metric as its collector sees it: defaults filled in, scope key and collector's own keys appended to `groupby`. */
export interface Metric<Options = unknown> {
  /** Name in the data source. */
  readonly name: string;
  /** Name in frames, rules and reports: `alt_name`, or the name. */
  readonly ratedName: string;
  readonly unit: string;
  readonly groupby: readonly string[];
  readonly metadata: readonly string[];
  readonly description: string | undefined;
  /** `extra_args`, validated by the collector's own schema. */
  readonly options: Options;
}

/** One measured resource. `value` is the literal of the source; factor, offset and mutation are applied by the host. */
export interface Sample {
  readonly groupby: Attributes;
  readonly metadata: Attributes;
  readonly value: Decimal;
}

/** Everything about a point that repeats. The host interns descriptors: equal ones of a scope are the same object. */
export interface Descriptor {
  readonly metric: string;
  readonly unit: string;
  readonly groupby: Attributes;
  readonly metadata: Attributes;
  readonly description: string | undefined;
}

export interface MeasuredPoint {
  readonly descriptor: Descriptor;
  readonly quantity: Decimal;
}

export interface RatedPoint extends MeasuredPoint {
  readonly price: Decimal;
}

/** A metric that could not be measured in a period. */
export interface Gap {
  readonly metric: string;
  readonly reason: string;
}

export interface Frame<P extends MeasuredPoint = RatedPoint> {
  readonly source: string;
  readonly scope: Scope;
  readonly period: Period;
  /** In ascending order of metric; within a metric in the collector's order. */
  readonly points: readonly P[];
  readonly gaps: readonly Gap[];
}

/** All metadata, overlaid by groupby: what rules see of a point. */
export function describedAttribute(descriptor: Descriptor, name: string) {
  const value = descriptor.groupby.get(name);
  return value === undefined ? descriptor.metadata.get(name) : value;
}

/** Text that is equal for equal descriptors and different for different ones. */
export function canonicalDescriptor(descriptor: Descriptor): string {
  const { metric, unit, groupby, metadata, description } = descriptor;
  return `[${JSON.stringify(metric)},${JSON.stringify(unit)},${groupby.canonical()},${metadata.canonical()},${JSON.stringify(description ?? null)}]`;
}
