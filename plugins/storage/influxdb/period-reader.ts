import {
  type FrameQuery,
  type Gap,
  type Instant,
  type PointQuery,
  type RatedPoint,
  type StoredFrame,
  UnavailableError,
} from '../../../core/plugin-api/index.js';
import { type DescriptorTest, descriptorTest } from './attribute-text.js';
import { damaged } from './damaged.js';
import { type Owner, ownerKey } from './layout.js';
import { type Marker, type MetricSum, plus } from './marker.js';
import { comparePeriods, type MarkerReader } from './marker-reader.js';
import { merge } from './merge.js';
import { batches, expectedPoints, type Period, type PointReader } from './point-reader.js';
import type { ReferenceReader } from './reference-reader.js';

/** A new version may be stored while an old one is being read; it is rare that this happens twice. */
const MAX_READS = 8;
const ELEMENTS = 1_000;

/** A stored period, its points not read yet. */
export interface Stored extends Owner {
  readonly begin: Instant;
  readonly end: Instant;
  readonly snapshot: string;
  readonly gaps: readonly Gap[];
  readonly metrics: readonly MetricSum[];
  /** Where Ratecat's points are; otherwise CloudKitty's points themselves. */
  readonly content: { readonly period: Period } | { readonly points: readonly RatedPoint[] };
}

export interface Loaded {
  readonly stored: Stored;
  readonly points: readonly RatedPoint[];
}

/** Gives what is stored, period by period in order. */
export class PeriodReader {
  readonly #markers: MarkerReader;
  readonly #points: PointReader;
  readonly #reference: ReferenceReader | undefined;

  constructor(markers: MarkerReader, points: PointReader, reference: ReferenceReader | undefined) {
    this.#markers = markers;
    this.#points = points;
    this.#reference = reference;
  }

  /** Periods of the range without their points. */
  periods(query: Pick<PointQuery, 'visible' | 'begin' | 'end'>, signal: AbortSignal): AsyncIterable<Stored> {
    const own = this.#own(query, signal);
    return this.#reference === undefined
      ? own
      : merge(own, foreign(this.#reference, query, signal), comparePeriods);
  }

  /** Periods with the points that match. */
  async *load(
    periods: AsyncIterable<Stored>,
    { metrics, filters }: Pick<PointQuery, 'metrics' | 'filters'>,
    signal: AbortSignal,
  ): AsyncGenerator<Loaded> {
    const test = descriptorTest(metrics, filters);
    for await (const some of chunks(periods, ELEMENTS)) {
      const weighed = some.map((stored) => ({
        stored,
        owner: ownerKey(stored),
        points: countOf(stored, metrics),
      }));
      for (const batch of batches(weighed)) {
        const periods = batch.map(({ stored }) => stored);
        yield* this.#loadBatch(periods, metrics, test, signal);
      }
    }
  }

  async *frames(query: FrameQuery, signal: AbortSignal): AsyncGenerator<StoredFrame> {
    signal.throwIfAborted();
    const hasFilters = (query.filters ?? []).length > 0;
    const isPaged = query.offset !== undefined || query.limit !== undefined;
    let skip = query.offset ?? 0;
    let room = query.limit ?? Number.POSITIVE_INFINITY;
    if (room <= 0) return;
    const all = this.periods(query, signal);
    const page = { skip, room };
    const periods = isPaged && !hasFilters ? within(all, query.metrics, page) : all;
    for await (const { stored, points } of this.load(periods, query, signal)) {
      if (isPaged && !hasFilters) skip = page.skip;
      const given = points.slice(skip, skip + room);
      skip = Math.max(0, skip - points.length);
      page.skip = skip;
      const gaps = stored.gaps.filter(({ metric }) => query.metrics?.includes(metric) ?? true);
      const isTold = !isPaged && !hasFilters && (query.metrics === undefined || gaps.length > 0);
      if (given.length > 0 || isTold) yield frameOf(stored, given, gaps);
      room -= given.length;
      if (room <= 0) return;
    }
  }

  async *#own(
    query: Pick<PointQuery, 'visible' | 'begin' | 'end'>,
    signal: AbortSignal,
  ): AsyncGenerator<Stored> {
    for await (const markers of this.#markers.read(query, signal)) {
      for (const marker of markers) {
        const stored = storedOf(marker);
        if (stored !== undefined) yield stored;
      }
    }
  }

  async *#loadBatch(
    batch: readonly Stored[],
    metrics: readonly string[] | undefined,
    test: DescriptorTest | undefined,
    signal: AbortSignal,
  ): AsyncGenerator<Loaded> {
    const own = batch.flatMap(({ content }) => ('period' in content ? [content.period] : []));
    const found = (await this.#points.read(own, metrics, signal)).values();
    for (const stored of batch) {
      const loaded =
        'points' in stored.content
          ? { stored, points: stored.content.points }
          : await this.#settled(stored, found.next().value, metrics, signal);
      if (loaded === undefined) continue;
      yield test === undefined
        ? loaded
        : { ...loaded, points: loaded.points.filter(({ descriptor }) => test(descriptor)) };
    }
  }

  /** The period as it is now, when it was replaced between its marker and its points. */
  async #settled(
    stored: Stored,
    found: readonly RatedPoint[] | undefined,
    metrics: readonly string[] | undefined,
    signal: AbortSignal,
  ): Promise<Loaded | undefined> {
    let current = stored;
    let points = found;
    for (let reads = 0; reads < MAX_READS; reads++) {
      if (points !== undefined) return { stored: current, points };
      const marker = await this.#markers.one(stored, stored.begin, signal);
      const next = marker && storedOf(marker);
      if (next === undefined) return undefined;
      if (versionOf(next) === versionOf(current)) throw incomplete(current);
      current = next;
      [points] = await this.#points.read([(next.content as { period: Period }).period], metrics, signal);
    }
    throw new UnavailableError(
      'RATECAT_INFLUXDB_BUSY',
      `${nameOf(stored)} was replaced ${MAX_READS} times while it was read. Ask again later.`,
    );
  }
}

/** Number of points that a period has; of some metrics alone where they are given. */
export function countOf({ metrics }: Stored, wanted: readonly string[] | undefined): number {
  return expectedPoints({ metrics }, wanted);
}

/** Lets through the periods that hold the points of a page, and takes what it leaves out from `page.skip`. */
async function* within(
  periods: AsyncIterable<Stored>,
  metrics: readonly string[] | undefined,
  page: { skip: number; readonly room: number },
): AsyncGenerator<Stored> {
  let before = 0;
  const first = page.skip;
  const end = page.skip + page.room;
  for await (const stored of periods) {
    const count = countOf(stored, metrics);
    if (before + count > first) yield stored;
    else page.skip -= count;
    before += count;
    if (before >= end) return;
  }
}

async function* foreign(
  reference: ReferenceReader,
  query: Pick<PointQuery, 'visible' | 'begin' | 'end'>,
  signal: AbortSignal,
): AsyncGenerator<Stored> {
  for await (const frames of reference.read(query, signal)) {
    for (const { source, scope, period, snapshot, gaps, points } of frames) {
      const metrics = [...uncheckedSums(points)];
      yield { source, scope, ...period, snapshot, gaps, metrics, content: { points } };
    }
  }
}

function uncheckedSums(points: readonly RatedPoint[]): Iterable<MetricSum> {
  const sums = new Map<string, MetricSum>();
  for (const { descriptor, quantity, price } of points) {
    const sum = { metric: descriptor.metric, points: 1, quantity, price };
    sums.set(sum.metric, plus(sums.get(sum.metric), sum));
  }
  return sums.values();
}

function storedOf(marker: Marker): Stored | undefined {
  const { committed } = marker.state;
  if (committed === undefined) return undefined;
  const { end, snapshot, gaps, metrics, scopeName } = committed;
  const scope = scopeName === undefined ? marker.scope : { ...marker.scope, name: scopeName };
  const period = { ...marker, committed };
  return {
    source: marker.source,
    scope,
    begin: marker.begin,
    end,
    snapshot,
    gaps,
    metrics,
    content: { period },
  };
}

function versionOf({ content }: Stored): string {
  return 'period' in content ? content.period.committed.version : '';
}

function frameOf(
  { source, scope, begin, end, snapshot }: Stored,
  points: readonly RatedPoint[],
  gaps: readonly Gap[],
): StoredFrame {
  return { source, scope, period: { begin, end }, points, gaps, snapshot };
}

function nameOf({ source, scope, begin }: Stored): string {
  const time = new Date(begin * 1000).toISOString();
  return `The period of ${scope.key} '${scope.id}' (source '${source}') that begins at ${time}`;
}

function incomplete(stored: Stored): Error {
  return damaged(`${nameOf(stored)} lacks points`);
}

async function* chunks<T>(items: AsyncIterable<T>, size: number): AsyncGenerator<readonly T[]> {
  let chunk: T[] = [];
  for await (const item of items) {
    chunk.push(item);
    if (chunk.length < size) continue;
    yield chunk;
    chunk = [];
  }
  if (chunk.length > 0) yield chunk;
}
