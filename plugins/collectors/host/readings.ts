import type { Instant } from '../../../core/plugin-api/index.js';

/** What the collector measures. Rates and averages are worked out when a period is asked for. */
export interface HostMetric {
  readonly kind: 'counter' | 'gauge';
  /** The stored integers are multiples of 10^exponent of the metric's unit. */
  readonly exponent: number;
  /** Attribute that tells several resources of one scope apart. */
  readonly resource: 'device' | 'mountpoint' | 'interface' | undefined;
  /** A counter smaller than before was started anew, as a device's is when it is plugged in again. */
  readonly restarts: boolean;
}

const DEVICE_BYTES = { kind: 'counter', exponent: 0, resource: 'device', restarts: true } as const;
const INTERFACE_BYTES = { kind: 'counter', exponent: 0, resource: 'interface', restarts: true } as const;

export const HOST_METRICS: ReadonlyMap<string, HostMetric> = new Map<string, HostMetric>([
  // The machine's own processor time may step back by a tick; that of a slice starts anew with the slice.
  ['cpu', { kind: 'counter', exponent: -6, resource: undefined, restarts: false }],
  ['memory', { kind: 'gauge', exponent: 0, resource: undefined, restarts: false }],
  ['disk.used', { kind: 'gauge', exponent: 0, resource: 'mountpoint', restarts: false }],
  ['disk.read', DEVICE_BYTES],
  ['disk.written', DEVICE_BYTES],
  ['network.incoming', INTERFACE_BYTES],
  ['network.outgoing', INTERFACE_BYTES],
]);

/** One counter or gauge of one resource at one moment. */
export interface Series {
  readonly metric: string;
  /** Scope id. */
  readonly scope: string;
  /** Device, interface or mountpoint; empty where a scope has just one. */
  readonly resource: string;
  readonly value: bigint;
  readonly attributes: Readonly<Record<string, string>>;
}

/** All counters and gauges of the machine at one moment. */
export interface Reading {
  /** Wall clock, milliseconds since the epoch. */
  readonly at: number;
  /** The kernel's id of this run of the machine: counters start at zero with each. */
  readonly boot: string;
  readonly bootedAt: number;
  /** Attributes that every sample of the machine has. */
  readonly facts: Readonly<Record<string, string>>;
  /** Scopes that existed. */
  readonly scopes: readonly string[];
  /** `metric scope` pairs that the kernel does not count on this machine. */
  readonly uncounted: readonly string[];
  readonly series: readonly Series[];
}

/** The series of one metric of one scope in a reading, by resource. */
export function seriesOf(reading: Reading, metric: string, scope: string): ReadonlyMap<string, Series> {
  let byKey = INDEX.get(reading);
  if (byKey === undefined) {
    byKey = new Map();
    for (const series of reading.series) {
      const key = seriesKey(series.metric, series.scope);
      const resources = byKey.get(key) ?? new Map<string, Series>();
      resources.set(series.resource, series);
      byKey.set(key, resources);
    }
    INDEX.set(reading, byKey);
  }
  return byKey.get(seriesKey(metric, scope)) ?? NO_SERIES;
}

export function seriesKey(metric: string, scope: string): string {
  return `${metric} ${scope}`;
}

const INDEX = new WeakMap<Reading, Map<string, Map<string, Series>>>();
const NO_SERIES: ReadonlyMap<string, Series> = new Map();

type StoredSeries = readonly [string, string, string, string, Readonly<Record<string, string>>?];

/** One line of the journal. */
export function encodeReading(reading: Reading): string {
  const { series, ...head } = reading;
  const stored: StoredSeries[] = series.map(({ metric, scope, resource, value, attributes }) =>
    Object.keys(attributes).length === 0
      ? [metric, scope, resource, value.toString()]
      : [metric, scope, resource, value.toString(), attributes],
  );
  return JSON.stringify({ ...head, series: stored });
}

/** A reading of a line, or undefined for a line that a crash cut short. */
export function decodeReading(line: string): Reading | undefined {
  try {
    const stored = JSON.parse(line) as Omit<Reading, 'series'> & { readonly series: readonly StoredSeries[] };
    const series = stored.series.map(([metric, scope, resource, value, attributes]) => ({
      metric,
      scope,
      resource,
      value: BigInt(value),
      attributes: attributes ?? {},
    }));
    return Number.isFinite(stored.at) && Array.isArray(stored.scopes) ? { ...stored, series } : undefined;
  } catch {
    return undefined;
  }
}

export function toIso(milliseconds: number): string {
  return new Date(milliseconds).toISOString();
}

export function toMilliseconds(instant: Instant): number {
  return instant * 1000;
}
