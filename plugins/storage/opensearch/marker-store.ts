import type { Instant, VisibleScopes } from '../../../core/plugin-api/index.js';
import {
  type Committed,
  fromStoredCommitted,
  type KnownPeriod,
  type StoredCommitted,
  toStoredCommitted,
} from '../../shared/outside-storage/committed.js';
import { comparePeriods, type Owner, ownerTest } from '../../shared/outside-storage/owner.js';
import type { BulkAction, BulkResult, Hit, Query, SearchClient, Seat } from './client.js';
import { damaged } from './failures.js';
import { allOf, ownerHash, periodId, scopeHash, visibleFilters, wellFormed } from './layout.js';

/** What is known of a period. It is one document, so that readers see it whole. */
export interface MarkerState {
  /** What readers are given; absent while the period is being stored for the first time, or removed. */
  readonly committed?: Committed | undefined;
  /** Version of a write that has begun: its points may be there in part. */
  readonly pending?: string | undefined;
  /** Versions that may have points of no use. */
  readonly leftovers: readonly string[];
}

export interface Marker extends KnownPeriod {
  readonly state: MarkerState;
  readonly seat: Seat;
}

export interface MarkerQuery {
  readonly visible: VisibleScopes;
  readonly begin: Instant;
  readonly end: Instant;
}

/** Periods before a new one that are looked at for an overlap. */
const EARLIER = 4;

/** All versions that a period's points may have. */
export function versionsOf({ committed, pending, leftovers }: MarkerState): readonly string[] {
  return [
    ...leftovers,
    ...(pending === undefined ? [] : [pending]),
    ...(committed === undefined ? [] : [committed.version]),
  ];
}

/** Keeps what is known of periods: one document each, changed only by who knows its last state. */
export class MarkerStore {
  readonly #client: SearchClient;
  readonly #index: string;

  constructor(client: SearchClient, index: string) {
    this.#client = client;
    this.#index = index;
  }

  /** In order of (begin, source, scope key, scope id), also those of periods that cannot be read. */
  async *read({ visible, begin, end }: MarkerQuery, signal: AbortSignal): AsyncGenerator<readonly Marker[]> {
    if (visible.length === 0 || begin >= end) return;
    const isVisible = ownerTest(visible);
    let instant: Marker[] = [];
    for await (const markers of this.#pages([range(begin, end), ...visibleFilters(visible)], signal)) {
      const last = markers.at(-1)!.begin;
      const whole = [...instant, ...markers.filter((marker) => marker.begin < last)];
      const found = whole.filter((marker) => marker.begin < last && isVisible(marker));
      if (found.length > 0) yield found.sort(comparePeriods);
      instant = [
        ...whole.filter((marker) => marker.begin === last),
        ...markers.filter((marker) => marker.begin === last),
      ];
    }
    const rest = instant.filter(isVisible);
    if (rest.length > 0) yield rest.sort(comparePeriods);
  }

  /** One period as it is now, also before searches see it. */
  async one(owner: Owner, begin: Instant, signal: AbortSignal): Promise<Marker | undefined> {
    const found = await this.#client.get(this.#index, periodId(owner, begin), signal);
    return found && readMarker(found.source, found.seat);
  }

  /** Periods of one scope that begin in the range, and the last ones before it. */
  async around(owner: Owner, begin: Instant, end: Instant, signal: AbortSignal): Promise<readonly Marker[]> {
    const own = { term: { owner: ownerHash(owner) } };
    const found: Marker[] = [];
    for await (const markers of this.#pages([own, range(begin, end)], signal)) found.push(...markers);
    const query = allOf([own, { range: { begin: { lt: begin } } }]);
    const sort = [{ begin: 'desc' }];
    const earlier = await this.#client.search(
      this.#index,
      { query, sort, withSeats: true },
      { size: EARLIER },
      signal,
    );
    return [...found, ...earlier.map(toMarker)];
  }

  /**
   * Stores a state if the period still is what `seat` says: nothing, without one. Undefined when somebody else was faster.
   * @param refresh lets searches see it at once.
   */
  async write(
    owner: Owner,
    begin: Instant,
    state: MarkerState,
    { seat, refresh }: { readonly seat: Seat | undefined; readonly refresh: boolean },
    signal: AbortSignal,
  ): Promise<Seat | undefined> {
    const id = periodId(owner, begin);
    const document = markerDocument(owner, begin, state);
    const written = await this.#client.put(this.#index, id, document, { seat, refresh }, signal);
    if (written !== undefined) return written;
    // A write whose answer was lost is sent again, and then is in its own way.
    const current = await this.#client.get(this.#index, id, signal);
    if (current === undefined || current.source.state !== stateText(owner, state)) return undefined;
    if (refresh) await this.#client.refresh(this.#index, signal);
    return current.seat;
  }

  /** Writes states of many periods at once. */
  writeAll(
    markers: readonly Marker[],
    state: (marker: Marker) => MarkerState,
    signal: AbortSignal,
  ): Promise<readonly BulkResult[]> {
    const actions = markers.map(
      (marker): BulkAction => ({
        kind: 'index',
        id: periodId(marker, marker.begin),
        document: markerDocument(marker, marker.begin, state(marker)),
        seat: marker.seat,
      }),
    );
    return this.#client.bulk(this.#index, actions, true, signal);
  }

  /** Forgets periods that still have the given seats. */
  async forget(
    markers: readonly (Owner & { readonly begin: Instant; readonly seat: Seat })[],
    signal: AbortSignal,
  ): Promise<readonly BulkResult[]> {
    if (markers.length === 0) return [];
    const actions = markers.map(
      (marker): BulkAction => ({
        kind: 'delete',
        id: periodId(marker, marker.begin),
        seat: marker.seat,
      }),
    );
    return this.#client.bulk(this.#index, actions, true, signal);
  }

  /** Lets searches see what a crashed writer may have left. */
  refresh(signal: AbortSignal): Promise<void> {
    return this.#client.refresh(this.#index, signal);
  }

  async *#pages(filter: readonly Query[], signal: AbortSignal): AsyncGenerator<Marker[]> {
    const search = { query: allOf(filter), sort: [{ begin: 'asc' }, { owner: 'asc' }], withSeats: true };
    for await (const hits of this.#client.pages(this.#index, search, signal)) yield hits.map(toMarker);
  }
}

function range(begin: Instant, end: Instant): Query {
  return { range: { begin: { gte: begin, lt: end } } };
}

/** The text of the state has the names of the scope too: of other fields nobody knows what the server does to them. */
function stateText({ source, scope }: Owner, { committed, pending, leftovers }: MarkerState): string {
  return JSON.stringify({
    source,
    scope: [scope.key, scope.id],
    ...(committed === undefined ? {} : { committed: toStoredCommitted(committed) }),
    ...(pending === undefined ? {} : { pending }),
    ...(leftovers.length === 0 ? {} : { leftovers }),
  });
}

/** Source and scope are there for people; `owner` and `scope` for queries. */
function markerDocument(owner: Owner, begin: Instant, state: MarkerState): string {
  return JSON.stringify({
    begin,
    begin_text: new Date(begin * 1000).toISOString(),
    owner: ownerHash(owner),
    scope: scopeHash(owner.scope),
    source: wellFormed(owner.source),
    scope_key: wellFormed(owner.scope.key),
    scope_id: wellFormed(owner.scope.id),
    state: stateText(owner, state),
  });
}

function toMarker({ _source, _seq_no = -1, _primary_term = -1 }: Hit): Marker {
  return readMarker(_source, { seqNo: _seq_no, primaryTerm: _primary_term });
}

interface StoredState {
  readonly source: string;
  readonly scope: readonly [string, string];
  readonly committed?: StoredCommitted;
  readonly pending?: string;
  readonly leftovers?: readonly string[];
}

/** @throws DataError RATECAT_SEARCH_DAMAGED when the document is not what `markerDocument` made. */
function readMarker({ begin, state: text }: Readonly<Record<string, unknown>>, seat: Seat): Marker {
  try {
    if (typeof text !== 'string' || typeof begin !== 'number') throw new TypeError('no marker');
    const stored = JSON.parse(text) as StoredState;
    const { source, scope, committed, pending, leftovers = [] } = stored;
    const [key, id] = scope;
    const state = { committed: committed && fromStoredCommitted(committed), pending, leftovers };
    return { source, scope: { key, id }, begin, state, seat };
  } catch (error) {
    throw damaged(`a period has the state ${JSON.stringify(String(text).slice(0, 120))}`, error);
  }
}
