import type { PointQuery, Storage, StoredFrame } from '../../plugin-api/index.js';

/** Number of points of each query. */
export async function countPoints(
  storage: Storage,
  queries: readonly PointQuery[],
  signal: AbortSignal,
): Promise<readonly number[]> {
  const counts: number[] = [];
  for (const query of queries) counts.push(await storage.countPoints(query, signal));
  return counts;
}

export interface SlicedPage {
  /** Their ranges follow each other. */
  readonly queries: readonly PointQuery[];
  readonly counts: readonly number[];
  readonly offset: number;
  readonly limit: number;
}

/** A page of the points of all queries, as though they were one. */
export async function* readPoints(
  storage: Storage,
  { queries, counts, offset, limit }: SlicedPage,
  signal: AbortSignal,
): AsyncGenerator<StoredFrame, void, void> {
  let skip = offset;
  let left = limit;
  for (const [place, query] of queries.entries()) {
    const count = counts[place]!;
    const wanted = Math.min(left, count - skip);
    if (wanted > 0) yield* storage.readPeriods({ ...query, offset: skip, limit: wanted }, signal);
    skip = Math.max(0, skip - count);
    left -= Math.max(0, wanted);
    if (left === 0) return;
  }
}
