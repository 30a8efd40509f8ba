import { compareText, type Instant, type Period, type PointQuery } from '../../plugin-api/index.js';
import type { Summaries, SummaryKey, SummaryPage, SummaryRow } from '../../reporting/summaries.js';

export interface SlicedSummary {
  /** Their ranges follow each other. */
  readonly queries: readonly PointQuery[];
  /** What was asked for. */
  readonly range: Period;
  readonly keys: readonly SummaryKey[];
  readonly byPeriod: boolean;
  readonly offset: number;
  readonly limit: number;
}

/** Rows of all queries, as though they were one. */
export async function summaryRows(
  summaries: Summaries,
  { queries, range, keys, byPeriod, offset, limit }: SlicedSummary,
  signal: AbortSignal,
): Promise<SummaryPage> {
  const bounded = (row: SummaryRow): SummaryRow => (byPeriod ? row : { ...row, ...range });
  const [query] = queries;
  if (query !== undefined && queries.length === 1) {
    const { total, rows } = await summaries.page({ ...query, keys, byPeriod, offset, limit }, signal);
    return { total, rows: rows.map(bounded) };
  }
  const sums = new Map<string, SummaryRow>();
  for (const slice of queries) {
    const all = { offset: 0, limit: Number.MAX_SAFE_INTEGER };
    const { rows } = await summaries.page({ ...slice, keys, byPeriod, ...all }, signal);
    for (const row of rows.map(bounded)) {
      const name = rowName(row.group, byPeriod ? row.begin : undefined);
      sums.set(name, sumOf(sums.get(name), row));
    }
  }
  const rows = [...sums.values()].sort(compareRows);
  return { total: rows.length, rows: rows.slice(offset, offset + limit) };
}

/** Equal for equal rows only. */
export function rowName(group: readonly string[], begin: Instant | undefined): string {
  return JSON.stringify([begin ?? null, ...group]);
}

function sumOf(known: SummaryRow | undefined, row: SummaryRow): SummaryRow {
  if (known === undefined) return row;
  return {
    ...row,
    quantity: known.quantity.plus(row.quantity),
    price: known.price.plus(row.price),
    points: known.points + row.points,
  };
}

function compareRows(left: SummaryRow, right: SummaryRow): number {
  for (const [place, text] of left.group.entries()) {
    const order = compareText(text, right.group[place]!);
    if (order !== 0) return order;
  }
  return left.begin - right.begin;
}
