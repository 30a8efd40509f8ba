import {
  Attributes,
  type AttributeValue,
  canonicalDescriptor,
  compareText,
  Decimal,
  type Descriptor,
  type Instant,
  type RatedPoint,
  type StoredFrame,
  type VisibleScopes,
} from '../../../core/plugin-api/index.js';
import { attributeText } from '../../shared/outside-storage/attribute-text.js';
import { CALENDAR_TAGS } from '../../shared/outside-storage/calendar-tags.js';
import { comparePeriods, ownerTest } from '../../shared/outside-storage/owner.js';
import type { PeriodQuery } from '../../shared/outside-storage/period-reader.js';
import type { BulkAction, Hit, SearchClient } from './client.js';
import { damaged, refused } from './failures.js';
import { allOf, VERSION_FIELD } from './layout.js';
import type { MarkerStore } from './marker-store.js';

/** How documents that CloudKitty wrote are looked at. */
export interface ReferenceOptions {
  /** The source they are shown under. */
  readonly source: string;
  /** The attribute that names their scope. */
  readonly scope_key: string;
}

/** A document of CloudKitty with what it says. */
interface Found {
  readonly index: string;
  readonly id: string;
  readonly begin: Instant;
  readonly end: Instant;
  readonly scope: string;
  readonly point: RatedPoint;
}

const CALENDAR: ReadonlySet<string> = new Set(CALENDAR_TAGS);
const DELETED = 2_000;
/** Points of one answer to the rest of the storage. */
const PAGE_POINTS = 2_000;
/** Last instant that a date of the server's default format can be. */
const LAST_INSTANT = 253_402_300_799;

/**
 * Documents that CloudKitty wrote, as far as nothing of Ratecat has taken their place. What their attributes are mapped to
 * depends on who made the index, so that scopes are told apart here and not by the server.
 */
export class ReferenceStore {
  readonly #client: SearchClient;
  readonly #index: string;
  readonly #markers: MarkerStore;
  readonly #options: ReferenceOptions;

  constructor(client: SearchClient, index: string, markers: MarkerStore, options: ReferenceOptions) {
    this.#client = client;
    this.#index = index;
    this.#markers = markers;
    this.#options = options;
  }

  /** Frames in order; each page ends with an instant. */
  async *read(query: PeriodQuery, signal: AbortSignal): AsyncGenerator<readonly StoredFrame[]> {
    let open: Found[] = [];
    for await (const found of this.#found(query, signal)) {
      const last = open.at(-1)?.begin;
      if (last !== undefined && last !== found.begin && open.length >= PAGE_POINTS) {
        yield await this.#withoutReplaced(this.#frames(open), signal);
        open = [];
      }
      open.push(found);
    }
    if (open.length > 0) yield await this.#withoutReplaced(this.#frames(open), signal);
  }

  /** Deletes documents of whole periods. */
  async remove(query: PeriodQuery, signal: AbortSignal): Promise<void> {
    let ids: BulkAction[] = [];
    for await (const { index, id } of this.#found(query, signal)) {
      ids.push({ kind: 'delete', index, id });
      if (ids.length < DELETED) continue;
      await this.#delete(ids, signal);
      ids = [];
    }
    if (ids.length > 0) await this.#delete(ids, signal);
  }

  async #delete(actions: readonly BulkAction[], signal: AbortSignal): Promise<void> {
    const results = await this.#client.bulk(this.#index, actions, true, signal);
    const failed = results.find(({ status }) => status >= 300 && status !== 404);
    if (failed !== undefined) throw refused(`${failed.error?.type}: ${failed.error?.reason}`);
  }

  async *#found({ visible, begin, end }: PeriodQuery, signal: AbortSignal): AsyncGenerator<Found> {
    if (!this.#canSee(visible) || begin >= end) return;
    const isVisible = ownerTest(visible);
    const { source, scope_key: key } = this.#options;
    const query = allOf([
      { range: { start: { gte: dateText(begin), lt: dateText(end) } } },
      { bool: { must_not: [{ exists: { field: VERSION_FIELD } }] } },
    ]);
    const sort = [{ start: { order: 'asc', unmapped_type: 'date' } }];
    for await (const hits of this.#client.scroll(this.#index, { query, sort }, signal)) {
      for (const hit of hits) {
        const found = readFound(hit, key);
        if (isVisible({ source, scope: { key, id: found.scope } })) yield found;
      }
    }
  }

  #canSee(visible: VisibleScopes): boolean {
    const { source, scope_key: key } = this.#options;
    if (visible === 'all') return true;
    return visible.some((selector) => selector.key === key && (selector.source ?? source) === source);
  }

  #frames(found: readonly Found[]): readonly StoredFrame[] {
    const { source, scope_key: key } = this.#options;
    const frames = new Map<
      string,
      { end: Instant; readonly begin: Instant; readonly id: string; readonly points: RatedPoint[] }
    >();
    for (const { begin, end, scope, point } of found) {
      const name = `${begin} ${scope}`;
      const frame = frames.get(name) ?? { begin, end, id: scope, points: [] };
      frame.end = Math.max(frame.end, end);
      frame.points.push(point);
      frames.set(name, frame);
    }
    return [...frames.values()]
      .map(({ begin, end, id, points }) => ({
        source,
        scope: { key, id },
        period: { begin, end },
        points: inOrder(points),
        gaps: [],
        snapshot: '',
      }))
      .sort((left, right) =>
        comparePeriods({ ...left, begin: left.period.begin }, { ...right, begin: right.period.begin }),
      );
  }

  async #withoutReplaced(
    frames: readonly StoredFrame[],
    signal: AbortSignal,
  ): Promise<readonly StoredFrame[]> {
    const { source, scope_key: key } = this.#options;
    const ids = [...new Set(frames.map(({ scope }) => scope.id))];
    const visible = ids.map((id) => ({ source, key, id }));
    const [begin, end] = [frames[0]!.period.begin, frames.at(-1)!.period.begin + 1];
    const replaced = new Set<string>();
    for await (const markers of this.#markers.read({ visible, begin, end }, signal)) {
      for (const marker of markers)
        if (marker.state.committed !== undefined) replaced.add(`${marker.begin} ${marker.scope.id}`);
    }
    return frames.filter(({ period, scope }) => !replaced.has(`${period.begin} ${scope.id}`));
  }
}

/** The server gives documents of one instant in any order, and not always in the same. */
function inOrder(points: readonly RatedPoint[]): readonly RatedPoint[] {
  return points
    .map((point) => {
      const { descriptor, quantity, price } = point;
      return { point, key: `${canonicalDescriptor(descriptor)} ${quantity} ${price}` };
    })
    .sort(
      (left, right) =>
        compareText(left.point.descriptor.metric, right.point.descriptor.metric) ||
        compareText(left.key, right.key),
    )
    .map(({ point }) => point);
}

function dateText(instant: Instant): string {
  return new Date(Math.min(Math.max(instant, 0), LAST_INSTANT) * 1000).toISOString();
}

function readFound({ _index, _id, _source }: Hit, scopeKey: string): Found {
  const [begin, end] = [instantOf(_source.start), instantOf(_source.end)];
  if (begin === undefined || end === undefined)
    throw damaged(
      `the document '${_id}' of CloudKitty has the period ${JSON.stringify([_source.start, _source.end])}`,
    );
  const descriptor = {
    metric: textOf(_source.type),
    unit: textOf(_source.unit),
    description: typeof _source.description === 'string' ? _source.description : undefined,
    groupby: attributesOf(_source.groupby, CALENDAR),
    metadata: attributesOf(_source.metadata, new Set()),
  };
  const point = { descriptor, quantity: numberOf(_source.qty), price: numberOf(_source.price) };
  return { index: _index, id: _id, begin, end, scope: scopeOf(descriptor, scopeKey), point };
}

function scopeOf({ groupby, metadata }: Descriptor, key: string): string {
  return attributeText(groupby.get(key) ?? metadata.get(key));
}

/** A time with a zone; without one it is UTC. */
function instantOf(value: unknown): Instant | undefined {
  if (typeof value === 'number') return Math.floor(value / 1000);
  if (typeof value !== 'string') return undefined;
  const hasZone = /(Z|[+-]\d\d:?\d\d)$/i.test(value);
  const time = Date.parse(hasZone ? value : `${value}Z`);
  return Number.isNaN(time) ? undefined : Math.floor(time / 1000);
}

function attributesOf(value: unknown, without: ReadonlySet<string>): Attributes {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return Attributes.EMPTY;
  const entries = Object.entries(value).filter(([name]) => !without.has(name));
  return Attributes.of(
    entries.map(([name]) => name),
    entries.map(([, item]) => attributeOf(item)),
  );
}

function attributeOf(value: unknown): AttributeValue {
  if (typeof value === 'number') return numberOf(value);
  if (typeof value === 'string' || typeof value === 'boolean' || value === null) return value;
  if (Array.isArray(value)) return value.map(attributeOf);
  return Object.fromEntries(Object.entries(value as object).map(([name, item]) => [name, attributeOf(item)]));
}

/** The shortest decimal that reads back as the same float: 0.1 is 0.1. */
function numberOf(value: unknown): Decimal {
  return typeof value === 'number' ? Decimal.parse(String(value)) : Decimal.ZERO;
}

function textOf(value: unknown): string {
  return value === undefined || value === null ? '' : String(value);
}
