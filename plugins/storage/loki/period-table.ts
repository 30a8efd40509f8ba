import type {
  Instant,
  PointQuery,
  SqlDatabase,
  SqlReader,
  SqlRow,
  SqlTransaction,
} from '../../../core/plugin-api/index.js';
import {
  type Committed,
  fromStoredCommitted,
  type KnownPeriod,
  type StoredCommitted,
  toStoredCommitted,
} from '../../shared/outside-storage/committed.js';
import { comparePeriods, type Owner } from '../../shared/outside-storage/owner.js';
import type { OwnPeriod } from '../../shared/outside-storage/period-reader.js';
import { Conditions } from '../../shared/sql-conditions.js';
import { findScope, type ScopeRows, visibleRows } from './scope-table.js';

/** The times of the entries of one write, in nanoseconds since 1970: of the first and of the last. */
export interface Written {
  readonly version: string;
  readonly first: bigint;
  readonly last: bigint;
}

/** A period that can be read, and where its points are. */
export interface LokiPeriod extends OwnPeriod {
  readonly written: Written;
}

/** What the table says of a period. */
export interface Marker extends KnownPeriod {
  /** Absent where nothing can be read, also not what CloudKitty stored. */
  readonly state: { readonly committed?: Committed; readonly written?: Written };
}

const PAGE_ROWS = 1_000;
/** Periods before a new one that are looked at for an overlap. */
const EARLIER = 4;
const COLUMNS =
  'p.period_begin, p.scope, p.version, p.first_time, p.last_time, p.committed, s.source, s.scope_key, s.scope_id';
const TABLES = 'ratecat_loki_periods p JOIN ratecat_loki_scopes s ON s.id = p.scope';

export function periodOf({ source, scope, begin, state }: Marker): LokiPeriod | undefined {
  const { committed, written } = state;
  return committed && written && { source, scope, begin, committed, written };
}

/** In order of (begin, source, scope key, scope id), also those of periods that cannot be read. */
export async function* readMarkers(
  database: SqlDatabase,
  { visible, begin, end }: Pick<PointQuery, 'visible' | 'begin' | 'end'>,
  signal: AbortSignal,
): AsyncGenerator<readonly Marker[]> {
  const scopes = await visibleRows(database, visible);
  if (scopes.length === 0 || begin >= end) return;
  let instant: Marker[] = [];
  for await (const page of pages(database, scopes, { begin, end }, signal)) {
    const last = page.at(-1)!.begin;
    const open = instant.concat(page);
    const whole = open.filter((marker) => marker.begin < last);
    if (whole.length > 0) yield whole.sort(comparePeriods);
    instant = open.filter((marker) => marker.begin === last);
  }
  if (instant.length > 0) yield instant.sort(comparePeriods);
}

/** One period as it is now. */
export async function readMarker(
  reader: SqlReader,
  owner: Owner,
  begin: Instant,
): Promise<Marker | undefined> {
  const scope = await findScope(reader, owner);
  if (scope === undefined) return undefined;
  const rows = await reader.query(
    `SELECT ${COLUMNS} FROM ${TABLES} WHERE p.scope = ? AND p.period_begin = ?`,
    [scope, begin],
  );
  return rows[0] && toMarker(rows[0]);
}

/** Periods of one scope that begin in the range, and the last ones before it. */
export async function markersAround(
  reader: SqlReader,
  scope: number,
  begin: Instant,
  end: Instant,
): Promise<readonly Marker[]> {
  const select = `SELECT ${COLUMNS} FROM ${TABLES} WHERE p.scope = ? AND p.version IS NOT NULL`;
  const rows = await reader.query(`${select} AND p.period_begin >= ? AND p.period_begin < ?`, [
    scope,
    begin,
    end,
  ]);
  const earlier = await reader.query(
    `${select} AND p.period_begin < ? ORDER BY p.period_begin DESC LIMIT ${EARLIER}`,
    [scope, begin],
  );
  return [...rows, ...earlier].map(toMarker);
}

/** The valid version of a period. */
export async function validVersion(
  reader: SqlReader,
  scope: number,
  begin: Instant,
): Promise<string | undefined> {
  const rows = await reader.query(
    'SELECT version FROM ratecat_loki_periods WHERE scope = ? AND period_begin = ?',
    [scope, begin],
  );
  const version = rows[0]?.[0];
  return version === undefined || version === null ? undefined : String(version);
}

export async function storeMarker(
  tx: SqlTransaction,
  scope: number,
  begin: Instant,
  { committed, written }: Pick<LokiPeriod, 'committed' | 'written'>,
): Promise<void> {
  const stored = JSON.stringify(toStoredCommitted(committed));
  await tx.insertRows({
    table: 'ratecat_loki_periods',
    columns: ['scope', 'period_begin', 'version', 'first_time', 'last_time', 'committed'],
    rows: [[scope, begin, written.version, written.first, written.last, stored]],
    onConflict: {
      key: ['scope', 'period_begin'],
      replace: ['version', 'first_time', 'last_time', 'committed'],
    },
  });
}

/** Lets nobody read these periods, also not what CloudKitty stored there. */
export async function hidePeriods(
  tx: SqlTransaction,
  scope: number,
  begins: readonly Instant[],
): Promise<void> {
  await tx.insertRows({
    table: 'ratecat_loki_periods',
    columns: ['scope', 'period_begin', 'version', 'first_time', 'last_time', 'committed'],
    rows: begins.map((begin) => [scope, begin, null, 0, 0, null]),
    onConflict: {
      key: ['scope', 'period_begin'],
      replace: ['version', 'first_time', 'last_time', 'committed'],
    },
  });
}

export function periodConditions(
  scopes: ScopeRows,
  { begin, end }: Pick<PointQuery, 'begin' | 'end'>,
  prefix = '',
): Conditions {
  const conditions = new Conditions().add(
    `${prefix}period_begin >= ? AND ${prefix}period_begin < ?`,
    begin,
    end,
  );
  return scopes === 'all' ? conditions : conditions.addIn(`${prefix}scope`, scopes);
}

async function* pages(
  database: SqlDatabase,
  scopes: ScopeRows,
  { begin, end }: Pick<PointQuery, 'begin' | 'end'>,
  signal: AbortSignal,
): AsyncGenerator<readonly Marker[]> {
  let place = { begin, scope: 0 };
  for (;;) {
    signal.throwIfAborted();
    const { where, parameters } = periodConditions(scopes, { begin: place.begin, end }, 'p.').add(
      '(p.period_begin > ? OR p.scope > ?)',
      place.begin,
      place.scope,
    );
    const rows = await database.query(
      `SELECT ${COLUMNS} FROM ${TABLES} ${where} ORDER BY p.period_begin, p.scope LIMIT ${PAGE_ROWS}`,
      parameters,
    );
    if (rows.length > 0) yield rows.map(toMarker);
    if (rows.length < PAGE_ROWS) return;
    const [lastBegin, lastScope] = rows.at(-1)!;
    place = { begin: Number(lastBegin), scope: Number(lastScope) };
  }
}

function toMarker([begin, , version, first, last, committed, source, key, id]: SqlRow): Marker {
  const period = {
    source: String(source),
    scope: { key: String(key), id: String(id) },
    begin: Number(begin),
  };
  if (version === null || version === undefined) return { ...period, state: {} };
  return {
    ...period,
    state: {
      committed: fromStoredCommitted(JSON.parse(String(committed)) as StoredCommitted),
      written: { version: String(version), first: BigInt(String(first)), last: BigInt(String(last)) },
    },
  };
}
