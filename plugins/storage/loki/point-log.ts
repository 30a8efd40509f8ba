import type { Frame, RatedPoint } from '../../../core/plugin-api/index.js';
import { expectedPoints } from '../../shared/outside-storage/committed.js';
import type { Owner } from '../../shared/outside-storage/owner.js';
import { type PointRecord, readRecord } from '../../shared/outside-storage/point-record.js';
import type { Entry, LokiClient } from './client.js';
import { damaged } from './failures.js';
import { KIND_LABEL, type Labels, matchersOf, OWNER_LABEL, ownerHash, type TimeRange } from './layout.js';
import type { Leftovers } from './leftover-table.js';
import { type LogQuery, labelIs, labelIsAnyOf, lineHasAnyOf } from './logql.js';
import type { LokiPeriod, Written } from './period-table.js';
import { metricMember, type PointLines, recordOf } from './point-lines.js';

/** Well below what Loki takes in one request by default. */
const MAX_REQUEST_CHARACTERS = 1024 * 1024;
/** Longer lists of metrics do not go into a query. */
const MAX_FILTER_CHARACTERS = 1_500;
/** Points that were written at most this long one after another are asked for together. */
const GAP_NANOSECONDS = 7_200_000_000_000n;

export interface PointLogParts {
  readonly client: LokiClient;
  readonly stream: Labels;
  readonly lines: PointLines;
}

interface Cluster {
  first: bigint;
  last: bigint;
  readonly owners: Set<string>;
}

/** Keeps the points of periods. Points of one version never change. */
export class PointLog {
  readonly #parts: PointLogParts;

  constructor(parts: PointLogParts) {
    this.#parts = parts;
  }

  /** @throws what a query throws, when Loki cannot be used as the options say. */
  async check(signal: AbortSignal): Promise<void> {
    await this.#parts.client.check(this.#query([], undefined), signal);
  }

  /** What is written for a frame. @throws DataError RATECAT_LOKI_REFUSED */
  lines(frame: Frame<RatedPoint>, version: string): readonly string[] {
    return this.#parts.lines.of(frame, version);
  }

  /**
   * When the entries of a write are stored: now, so that Loki takes them whatever period they are about. No two of them have
   * one time, so that pages of answers can end between any two.
   * @param now milliseconds since 1970
   */
  timesOf(entries: number, version: string, now: number): Written {
    const first = BigInt(Math.floor(now)) * 1_000_000n;
    return entries === 0
      ? { version, first: 0n, last: 0n }
      : { version, first, last: first + BigInt(entries - 1) };
  }

  /** Stores all points of a frame. @throws DataError RATECAT_LOKI_REFUSED */
  async write(
    owner: Owner,
    lines: readonly string[],
    { first }: Written,
    signal: AbortSignal,
  ): Promise<void> {
    const { client, stream } = this.#parts;
    const labels = { ...stream, [KIND_LABEL]: 'points', [OWNER_LABEL]: ownerHash(owner) };
    let entries: Entry[] = [];
    let size = 0;
    let time = first;
    for (const line of lines) {
      entries.push({ time: time++, line });
      size += line.length;
      if (size < MAX_REQUEST_CHARACTERS) continue;
      await client.push([{ labels, entries }], signal);
      entries = [];
      size = 0;
    }
    if (entries.length > 0) await client.push([{ labels, entries }], signal);
  }

  /**
   * The points of each period in their order; undefined for a period whose points are not all there.
   * @param metrics gives the points of these metrics alone.
   */
  async read(
    periods: readonly LokiPeriod[],
    metrics: readonly string[] | undefined,
    signal: AbortSignal,
  ): Promise<readonly (readonly RatedPoint[] | undefined)[]> {
    const names = metrics === undefined ? undefined : new Set(metrics);
    const filled = periods.filter(({ committed }) => expectedPoints(committed, metrics) > 0);
    const wanted = new Map(
      filled.map(({ committed }) => [committed.version, new Map<number, PointRecord>()]),
    );
    for (const { first, last, owners } of clustersOf(filled)) {
      const query = this.#query([...owners], metricFilter(metrics));
      for await (const record of this.#records(query, { from: first, to: last + 1n }, signal)) {
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

  /** Asks Loki to delete the points of some writes, which takes a while. Says why when it will not. */
  remove({ writes, ...owner }: Leftovers, signal: AbortSignal): Promise<string | undefined> {
    const milliseconds = (time: bigint) => Number(time / 1_000_000n);
    const first = Math.min(...writes.map((written) => milliseconds(written.first)));
    const last = Math.max(...writes.map((written) => milliseconds(written.last)));
    const query = this.#query([ownerHash(owner)], lineHasAnyOf(writes.map(({ version }) => version)));
    // Loki deletes at least one second.
    return this.#parts.client.delete(query, first - 1_000, last + 1, signal);
  }

  /** Of all scopes, without any. */
  #query(owners: readonly string[], filters: string | undefined): LogQuery {
    const { stream } = this.#parts;
    const own = labelIs(KIND_LABEL, 'points');
    const whose = owners.length === 0 ? [] : [labelIsAnyOf(OWNER_LABEL, owners)];
    return { matchers: [...matchersOf(stream), own, ...whose], filters };
  }

  async *#records(query: LogQuery, range: TimeRange, signal: AbortSignal): AsyncGenerator<PointRecord> {
    for await (const entries of this.#parts.client.entries(query, range, signal)) {
      for (const { line } of entries) {
        const record = recordOf(line);
        if (record === undefined)
          throw damaged(`a point has no record: ${JSON.stringify(line.slice(0, 120))}`);
        yield readRecord(record, damaged);
      }
    }
  }
}

/** Times that are worth one query each. */
function clustersOf(periods: readonly LokiPeriod[]): readonly Cluster[] {
  const byTime = [...periods].sort(({ written: left }, { written: right }) =>
    left.first < right.first ? -1 : left.first > right.first ? 1 : 0,
  );
  const clusters: Cluster[] = [];
  for (const period of byTime) {
    const { first, last } = period.written;
    const cluster = clusters.at(-1);
    if (cluster === undefined || first - cluster.last > GAP_NANOSECONDS)
      clusters.push({ first, last, owners: new Set([ownerHash(period)]) });
    else {
      if (last > cluster.last) cluster.last = last;
      cluster.owners.add(ownerHash(period));
    }
  }
  return clusters;
}

/** Lines escape what LogQL cannot say. What else contains such a member is left out by whoever asked. */
function metricFilter(metrics: readonly string[] | undefined): string | undefined {
  if (metrics === undefined) return undefined;
  const filter = lineHasAnyOf(metrics.map(metricMember));
  return metrics.length === 0 || filter.length > MAX_FILTER_CHARACTERS ? undefined : filter;
}
