import {
  DataError,
  type Instant,
  type KeptFrom,
  type SqlReader,
  type VisibleScopes,
} from '../../../core/plugin-api/index.js';
import { Conditions } from '../../shared/sql-conditions.js';
import { ScopeReader, type ScopeRows, visibleRows } from './scopes.js';
import { digest } from './stored-values.js';

/** In place of a metric's hash: the limits of everything that a scope has. No text has this digest. */
export const EVERY_METRIC = new Uint8Array(32);

/** The earliest instants whose points, daily sums and monthly sums a question is answered from; undefined for none. */
export interface Needs {
  readonly points: Instant | undefined;
  readonly dailySums: Instant | undefined;
  readonly monthlySums: Instant | undefined;
}

/** Whom a question asks about. */
export interface Asked {
  readonly scopes: ScopeRows;
  /** Absent: all. */
  readonly metrics?: readonly string[] | undefined;
}

const LEVELS = [
  ['points', 'k.points_from', 'points'],
  ['dailySums', 'k.daily_from', 'sums by day'],
  ['monthlySums', 'k.monthly_from', 'sums by month'],
] as const;

/**
 * Checks that everything a question needs is kept. Limits are committed before the first row before them is removed, so a
 * check after reading proves that nothing was missing.
 * @throws DataError RATECAT_POINTS_DROPPED
 */
export async function assertKept(reader: SqlReader, needs: Needs, asked: Asked): Promise<void> {
  for (const [level, column, what] of LEVELS) {
    const from = needs[level];
    if (from === undefined) continue;
    const conditions = new Conditions().add(`${column} > ?`, from);
    if (asked.scopes !== 'all') conditions.addIn('k.scope', asked.scopes);
    if (asked.metrics !== undefined)
      conditions.addIn('k.metric_hash', [EVERY_METRIC, ...asked.metrics.map(digest)]);
    const rows = await reader.query(
      `SELECT ${column}, k.metric, s.scope_id, s.source FROM ratecat_sql_kept k JOIN ratecat_sql_scopes s ON s.id = k.scope
       ${conditions.where} ORDER BY ${column} DESC LIMIT 1`,
      conditions.parameters,
    );
    if (rows[0] === undefined) continue;
    const [kept, metric, scope, source] = rows[0];
    throw dropped(what, Number(kept), {
      metric: String(metric),
      scope: String(scope),
      source: String(source),
    });
  }
}

function dropped(
  what: string,
  kept: Instant,
  { metric, scope, source }: { readonly metric: string; readonly scope: string; readonly source: string },
): DataError {
  const of = metric === '' ? '' : `metric '${metric}' of `;
  const ask =
    what === 'points'
      ? 'Ask from then on, or ask for sums by scope, metric and whole days'
      : what === 'sums by day'
        ? 'Ask from then on, or ask for whole months'
        : 'Ask from then on';
  return new DataError(
    'RATECAT_POINTS_DROPPED',
    `Retention keeps ${what} of ${of}scope '${scope}' (source '${source}') from ${instantText(kept)} on; the question reaches ` +
      `further back. ${ask}.`,
    { details: { keptFrom: kept, level: what, scope, source, ...(metric === '' ? {} : { metric }) } },
  );
}

/** @throws DataError RATECAT_PERIOD_THINNED */
export function assertWritable(
  begin: Instant,
  kept: Instant,
  scope: { readonly id: string; readonly source: string },
): void {
  if (begin >= kept) return;
  throw new DataError(
    'RATECAT_PERIOD_THINNED',
    `The period ${instantText(begin)} of scope '${scope.id}' (source '${scope.source}') cannot be written: retention keeps its ` +
      `points from ${instantText(kept)} on, and sums of what was dropped cannot be corrected. Leave the period as it is.`,
    { details: { keptFrom: kept, scope: scope.id, source: scope.source } },
  );
}

export async function readKept(reader: SqlReader, visible: VisibleScopes): Promise<readonly KeptFrom[]> {
  const scopes = await visibleRows(reader, visible);
  if (scopes.length === 0) return [];
  const conditions = new Conditions();
  if (scopes !== 'all') conditions.addIn('k.scope', scopes);
  const rows = await reader.query(
    `SELECT k.scope, k.metric, k.points_from, k.daily_from, k.monthly_from FROM ratecat_sql_kept k ${conditions.where}
     ORDER BY k.scope, k.metric`,
    conditions.parameters,
  );
  const known = new ScopeReader(reader);
  await known.load(rows.map((row) => Number(row[0])));
  return rows.map(([scope, metric, points, daily, monthly]) => {
    const { source, scope: of } = known.get(Number(scope));
    return {
      source,
      scope: of,
      metric: metric === '' ? undefined : String(metric),
      points: Number(points),
      dailySums: Number(daily),
      monthlySums: Number(monthly),
    };
  });
}

/** `2026-01-01T00:00:00Z` */
export function instantText(instant: Instant): string {
  return new Date(instant * 1000).toISOString().replace('.000Z', 'Z');
}
