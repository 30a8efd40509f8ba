import {
  type FrameQuery,
  type Gap,
  type Instant,
  type PointQuery,
  type RatedPoint,
  type ScopeWithData,
  type StoredFrame,
  UnavailableError,
} from '../../../core/plugin-api/index.js';
import { type DescriptorTest, descriptorTest } from './attribute-text.js';
import {
  type Committed,
  expectedPoints,
  isoTime,
  type KnownPeriod,
  type MetricSum,
  uncheckedSums,
} from './committed.js';
import { merge } from './merge.js';
import { comparePeriods, type Owner, ownerKey } from './owner.js';
import type { Damaged } from './point-record.js';

/** A new version may be stored while an old one is being read; it is rare that this happens twice. */
const MAX_READS = 8;
const ELEMENTS = 1_000;

/** Points that are asked for together, where periods are smaller than that. */
const BATCH_POINTS = 10_000;

/** A period that can be read. */
export interface OwnPeriod extends Owner {
  readonly begin: Instant;
  readonly committed: Committed;
}

export type PeriodQuery = Pick<PointQuery, 'visible' | 'begin' | 'end'>;

/** What a storage knows of its periods, and where their points are. */
export interface PeriodPlaces<P extends OwnPeriod> {
  /** Periods in order of (begin, source, scope), also those that cannot be read. */
  known(query: PeriodQuery, signal: AbortSignal): AsyncIterable<readonly KnownPeriod[]>;
  /** One period as it is now. */
  one(owner: Owner, begin: Instant, signal: AbortSignal): Promise<KnownPeriod | undefined>;
  /** A known period that can be read. */
  own(period: KnownPeriod): P | undefined;
  /**
   * The points of each period in their order; undefined for a period whose points are not all there.
   * @param metrics gives the points of these metrics alone.
   */
  points(
    periods: readonly P[],
    metrics: readonly string[] | undefined,
    signal: AbortSignal,
  ): Promise<readonly (readonly RatedPoint[] | undefined)[]>;
  /** Frames of the reference in the same order, those that Ratecat has stored anew left out. */
  foreign?(query: PeriodQuery, signal: AbortSignal): AsyncIterable<readonly StoredFrame[]>;
  /** Scopes whose points one request can ask for. */
  readonly maxOwners: number;
  readonly damaged: Damaged;
  /** Code of the error for a period that is replaced again and again while it is read. */
  readonly busyCode: string;
}

/** A stored period, its points not read yet. */
export interface Stored<P extends OwnPeriod> extends Owner {
  readonly begin: Instant;
  readonly end: Instant;
  readonly snapshot: string;
  readonly gaps: readonly Gap[];
  readonly metrics: readonly MetricSum[];
  /** Where Ratecat's points are; otherwise CloudKitty's points themselves. */
  readonly content: { readonly period: P } | { readonly points: readonly RatedPoint[] };
}

export interface Loaded<P extends OwnPeriod> {
  readonly stored: Stored<P>;
  readonly points: readonly RatedPoint[];
}

/** Gives what is stored, period by period in order. */
export class PeriodReader<P extends OwnPeriod> {
  readonly #places: PeriodPlaces<P>;

  constructor(places: PeriodPlaces<P>) {
    this.#places = places;
  }

  /** Periods of the range without their points. */
  periods(query: PeriodQuery, signal: AbortSignal): AsyncIterable<Stored<P>> {
    const own = this.#own(query, signal);
    const foreign = this.#places.foreign?.(query, signal);
    return foreign === undefined ? own : merge(own, storedFrames<P>(foreign), comparePeriods);
  }

  /** Periods with the points that match. */
  async *load(
    periods: AsyncIterable<Stored<P>>,
    { metrics, filters }: Pick<PointQuery, 'metrics' | 'filters'>,
    signal: AbortSignal,
  ): AsyncGenerator<Loaded<P>> {
    const test = descriptorTest(metrics, filters);
    for await (const some of chunks(periods, ELEMENTS)) {
      const weighed = some.map((stored) => ({
        stored,
        owner: ownerKey(stored),
        points: expectedPoints(stored, metrics),
      }));
      for (const batch of batches(weighed, this.#places.maxOwners)) {
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

  async countPoints(query: PointQuery, signal: AbortSignal): Promise<number> {
    let count = 0;
    for await (const { points } of this.#counts(query, signal)) count += points;
    return count;
  }

  async scopesWithData(query: PointQuery, signal: AbortSignal): Promise<readonly ScopeWithData[]> {
    const scopes = new Map<string, ScopeWithData>();
    for await (const { stored, points } of this.#counts(query, signal)) {
      const { source, scope } = stored;
      if (points > 0) scopes.set(ownerKey(stored), { source, scope });
    }
    return [...scopes.values()];
  }

  /** Only filters by attribute need the points themselves. */
  async *#counts(
    query: PointQuery,
    signal: AbortSignal,
  ): AsyncGenerator<{ readonly stored: Stored<P>; readonly points: number }> {
    signal.throwIfAborted();
    const periods = this.periods(query, signal);
    if ((query.filters ?? []).length === 0) {
      for await (const stored of periods) yield { stored, points: expectedPoints(stored, query.metrics) };
    } else {
      for await (const { stored, points } of this.load(periods, query, signal))
        yield { stored, points: points.length };
    }
  }

  async *#own(query: PeriodQuery, signal: AbortSignal): AsyncGenerator<Stored<P>> {
    for await (const known of this.#places.known(query, signal)) {
      for (const period of known) {
        const own = this.#places.own(period);
        if (own !== undefined) yield storedOf(own);
      }
    }
  }

  async *#loadBatch(
    batch: readonly Stored<P>[],
    metrics: readonly string[] | undefined,
    test: DescriptorTest | undefined,
    signal: AbortSignal,
  ): AsyncGenerator<Loaded<P>> {
    const own = batch.flatMap(({ content }) => ('period' in content ? [content.period] : []));
    const found = (await this.#places.points(own, metrics, signal)).values();
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
    stored: Stored<P>,
    found: readonly RatedPoint[] | undefined,
    metrics: readonly string[] | undefined,
    signal: AbortSignal,
  ): Promise<Loaded<P> | undefined> {
    let current = stored;
    let points = found;
    for (let reads = 0; reads < MAX_READS; reads++) {
      if (points !== undefined) return { stored: current, points };
      const known = await this.#places.one(stored, stored.begin, signal);
      const next = known && this.#places.own(known);
      if (next === undefined) return undefined;
      if (next.committed.version === versionOf(current))
        throw this.#places.damaged(`${nameOf(current)} lacks points`);
      current = storedOf(next);
      [points] = await this.#places.points([next], metrics, signal);
    }
    throw new UnavailableError(
      this.#places.busyCode,
      `${nameOf(stored)} was replaced ${MAX_READS} times while it was read. Ask again later.`,
    );
  }
}

/** Lets through the periods that hold the points of a page, and takes what it leaves out from `page.skip`. */
async function* within<P extends OwnPeriod>(
  periods: AsyncIterable<Stored<P>>,
  metrics: readonly string[] | undefined,
  page: { skip: number; readonly room: number },
): AsyncGenerator<Stored<P>> {
  let before = 0;
  const first = page.skip;
  const end = page.skip + page.room;
  for await (const stored of periods) {
    const count = expectedPoints(stored, metrics);
    if (before + count > first) yield stored;
    else page.skip -= count;
    before += count;
    if (before >= end) return;
  }
}

async function* storedFrames<P extends OwnPeriod>(
  pages: AsyncIterable<readonly StoredFrame[]>,
): AsyncGenerator<Stored<P>> {
  for await (const frames of pages) {
    for (const { source, scope, period, snapshot, gaps, points } of frames) {
      const metrics = uncheckedSums(points);
      yield { source, scope, ...period, snapshot, gaps, metrics, content: { points } };
    }
  }
}

function storedOf<P extends OwnPeriod>(period: P): Stored<P> {
  const { source, scope, begin, committed } = period;
  const { end, snapshot, gaps, metrics, scopeName } = committed;
  return {
    source,
    scope: scopeName === undefined ? scope : { ...scope, name: scopeName },
    begin,
    end,
    snapshot,
    gaps,
    metrics,
    content: { period },
  };
}

function versionOf<P extends OwnPeriod>({ content }: Stored<P>): string {
  return 'period' in content ? content.period.committed.version : '';
}

function frameOf<P extends OwnPeriod>(
  { source, scope, begin, end, snapshot }: Stored<P>,
  points: readonly RatedPoint[],
  gaps: readonly Gap[],
): StoredFrame {
  return { source, scope, period: { begin, end }, points, gaps, snapshot };
}

function nameOf({ source, scope, begin }: Owner & { readonly begin: Instant }): string {
  return `The period of ${scope.key} '${scope.id}' (source '${source}') that begins at ${isoTime(begin)}`;
}

/** Periods in order that are worth one request. */
function* batches<T extends { readonly owner: string; readonly points: number }>(
  periods: Iterable<T>,
  maxOwners: number,
): Generator<readonly T[]> {
  let batch: T[] = [];
  let points = 0;
  const owners = new Set<string>();
  for (const period of periods) {
    const isFull =
      points + period.points > BATCH_POINTS || (owners.size >= maxOwners && !owners.has(period.owner));
    if (batch.length > 0 && isFull) {
      yield batch;
      batch = [];
      points = 0;
      owners.clear();
    }
    batch.push(period);
    points += period.points;
    owners.add(period.owner);
  }
  if (batch.length > 0) yield batch;
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
