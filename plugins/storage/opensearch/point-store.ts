import type { Frame, Logger, RatedPoint } from '../../../core/plugin-api/index.js';
import { expectedPoints } from '../../shared/outside-storage/committed.js';
import type { OwnPeriod } from '../../shared/outside-storage/period-reader.js';
import { type PointRecord, readRecord } from '../../shared/outside-storage/point-record.js';
import type { BulkAction, BulkResult, Query, SearchClient } from './client.js';
import { EXTENTS, type Extent, fieldOf, type PointDocuments } from './documents.js';
import { damaged, refused } from './failures.js';
import {
  allOf,
  MAX_KEYWORD_CHARACTERS,
  MAX_TERMS,
  METRIC_FIELD,
  ORDINAL_FIELD,
  OWN_FIELD,
  pointId,
  RECORD_FIELD,
  terms,
  VERSION_FIELD,
  wellFormed,
} from './layout.js';

const MAX_REQUEST_CHARACTERS = 4 * 1024 * 1024;
/** Versions whose points one request deletes: it must end within the client's time limit. */
const DELETED_VERSIONS = 100;

export interface PointStoreParts {
  readonly client: SearchClient;
  readonly index: string;
  readonly documents: PointDocuments;
  readonly logger: Logger;
}

interface Open {
  readonly point: RatedPoint;
  readonly ordinal: number;
  readonly extent: Extent;
}

/** Keeps the points of periods. Points of one version never change. */
export class PointStore {
  readonly #parts: PointStoreParts;

  constructor(parts: PointStoreParts) {
    this.#parts = parts;
  }

  /** Stores all points of a frame; searches need not see them yet. @throws DataError RATECAT_SEARCH_REFUSED */
  async write(frame: Frame<RatedPoint>, version: string, signal: AbortSignal): Promise<void> {
    let open: readonly Open[] = frame.points.map((point, ordinal) => ({ point, ordinal, extent: 'full' }));
    while (open.length > 0) {
      const failed: (readonly [Open, BulkResult])[] = [];
      for (const [some, actions] of this.#requests(frame, version, open)) {
        const results = await this.#parts.client.bulk(this.#parts.index, actions, false, signal);
        for (const [place, result] of results.entries())
          if (result.error !== undefined || result.status >= 300) failed.push([some[place]!, result]);
      }
      open = this.#reduced(failed);
    }
  }

  /**
   * The points of each period in their order; undefined for a period whose points are not all there.
   * @param metrics gives the points of these metrics alone.
   */
  async read(
    periods: readonly OwnPeriod[],
    metrics: readonly string[] | undefined,
    signal: AbortSignal,
  ): Promise<readonly (readonly RatedPoint[] | undefined)[]> {
    const names = metrics === undefined ? undefined : new Set(metrics);
    const filled = periods.filter(({ committed }) => expectedPoints(committed, metrics) > 0);
    const wanted = new Map(
      filled.map(({ committed }) => [committed.version, new Map<number, PointRecord>()]),
    );
    const filter = [terms(VERSION_FIELD, [...wanted.keys()]), ...metricFilters(metrics)];
    if (filled.length > 0) {
      for await (const record of this.#records(allOf(filter), signal)) {
        if (names !== undefined && !names.has(record.point.descriptor.metric)) continue;
        wanted.get(record.version)?.set(record.ordinal, record);
      }
    }
    return periods.map(({ committed }) => {
      const records = [...(wanted.get(committed.version)?.values() ?? [])];
      if (records.length !== expectedPoints(committed, metrics)) return undefined;
      return records.sort((left, right) => left.ordinal - right.ordinal).map(({ point }) => point);
    });
  }

  /** Lets searches, and deletions, see what was written. */
  refresh(signal: AbortSignal): Promise<void> {
    return this.#parts.client.refresh(this.#parts.index, signal);
  }

  /** Deletes the points of some versions, as far as searches see them. */
  async remove(versions: readonly string[], signal: AbortSignal): Promise<void> {
    const { client, index } = this.#parts;
    for (let first = 0; first < versions.length; first += DELETED_VERSIONS) {
      const some = versions.slice(first, first + DELETED_VERSIONS);
      await client.deleteByQuery(index, terms(VERSION_FIELD, some), signal);
    }
  }

  *#requests(
    frame: Frame<RatedPoint>,
    version: string,
    open: readonly Open[],
  ): Generator<readonly [readonly Open[], readonly BulkAction[]]> {
    const documentOf = this.#parts.documents.of(frame, version);
    let some: Open[] = [];
    let actions: BulkAction[] = [];
    let size = 0;
    for (const one of open) {
      const document = documentOf(one.point, one.ordinal, one.extent);
      some.push(one);
      actions.push({ kind: 'index', id: pointId(version, one.ordinal), document });
      size += document.length;
      if (size < MAX_REQUEST_CHARACTERS) continue;
      yield [some, actions];
      some = [];
      actions = [];
      size = 0;
    }
    if (some.length > 0) yield [some, actions];
  }

  /**
   * What is worth another try: without the attribute that the index does not take, then with less and less of them.
   * @throws DataError RATECAT_SEARCH_REFUSED
   */
  #reduced(failed: readonly (readonly [Open, BulkResult])[]): readonly Open[] {
    const left = new Set<string>();
    return failed.map(([open, { status, error }]) => {
      const reason = `${error?.type}: ${error?.reason} (${status})`;
      if (status !== 400) throw refused(reason);
      const field = open.extent === 'full' ? fieldOf(error?.reason ?? '') : undefined;
      if (field !== undefined && left.has(field)) return open;
      if (field !== undefined && this.#parts.documents.leaveOut(field)) {
        left.add(field);
        this.#warn(field, reason);
        return open;
      }
      const extent = EXTENTS[EXTENTS.indexOf(open.extent) + 1];
      if (extent === undefined) throw refused(reason);
      if (!left.has(extent)) this.#warn(`attributes of ${open.point.descriptor.metric} and others`, reason);
      left.add(extent);
      return { ...open, extent };
    });
  }

  #warn(field: string, reason: string): void {
    this.#parts.logger.warn(
      'The index does not take an attribute as a field; it is stored for Ratecat alone, CloudKitty will not see it',
      { field, reason },
    );
  }

  async *#records(query: Query, signal: AbortSignal): AsyncGenerator<PointRecord> {
    const { client, index } = this.#parts;
    const sort = [{ [VERSION_FIELD]: 'asc' }, { [ORDINAL_FIELD]: 'asc' }];
    for await (const hits of client.pages(index, { query, sort, fields: [RECORD_FIELD] }, signal)) {
      for (const { _source } of hits) {
        const own = _source[OWN_FIELD] as { readonly record?: unknown } | undefined;
        if (typeof own?.record !== 'string') throw damaged('a point has no record');
        yield readRecord(own.record, damaged);
      }
    }
  }
}

/** The field holds the metric as it is, unless an index cannot: then every point is looked at. */
function metricFilters(metrics: readonly string[] | undefined): readonly Query[] {
  if (metrics === undefined || metrics.length > MAX_TERMS) return [];
  const isPlain = (metric: string) =>
    metric.length <= MAX_KEYWORD_CHARACTERS && wellFormed(metric) === metric;
  return metrics.every(isPlain) ? [terms(METRIC_FIELD, metrics)] : [];
}
