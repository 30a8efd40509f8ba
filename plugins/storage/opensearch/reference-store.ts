import type { Instant, StoredFrame, VisibleScopes } from '../../../core/plugin-api/index.js';
import { ownerTest } from '../../shared/outside-storage/owner.js';
import type { PeriodQuery } from '../../shared/outside-storage/period-reader.js';
import {
  type ReferenceOwner,
  type ReferencePoint,
  readReferencePoint,
  referenceFrames,
} from '../../shared/outside-storage/reference-documents.js';
import type { BulkAction, Hit, SearchClient } from './client.js';
import { damaged, refused } from './failures.js';
import { allOf, VERSION_FIELD } from './layout.js';
import type { MarkerStore } from './marker-store.js';

/** How documents that CloudKitty wrote are looked at. */
export type ReferenceOptions = ReferenceOwner;

/** A document of CloudKitty with what it says. */
interface Found extends ReferencePoint {
  readonly index: string;
  readonly id: string;
}

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
        yield await this.#withoutReplaced(referenceFrames(open, this.#options), signal);
        open = [];
      }
      open.push(found);
    }
    if (open.length > 0) yield await this.#withoutReplaced(referenceFrames(open, this.#options), signal);
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

function dateText(instant: Instant): string {
  return new Date(Math.min(Math.max(instant, 0), LAST_INSTANT) * 1000).toISOString();
}

function readFound({ _index, _id, _source }: Hit, scopeKey: string): Found {
  const found = readReferencePoint(_source, scopeKey);
  if (found === undefined)
    throw damaged(
      `the document '${_id}' of CloudKitty has the period ${JSON.stringify([_source.start, _source.end])} and the amounts ${JSON.stringify([_source.qty, _source.price])}`,
    );
  return { ...found, index: _index, id: _id };
}
