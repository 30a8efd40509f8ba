import type { Instant, SqlDatabase, SqlTransaction } from '../../../core/plugin-api/index.js';
import type { Owner } from '../../shared/outside-storage/owner.js';
import { Conditions } from '../../shared/sql-conditions.js';
import type { Written } from './period-table.js';

/** No write takes longer: after that its points may be deleted, and it cannot count any more. */
const WRITE_SECONDS = 86_400;
/** Versions that one request deletes. */
const DELETED_AT_ONCE = 50;

/** Points of one scope that do not count. */
export interface Leftovers extends Owner {
  readonly writes: readonly Written[];
}

/** Points that are about to be written do not count yet. */
export async function addBegun(
  tx: SqlTransaction,
  scope: number,
  { version, first, last }: Written,
  now: Instant,
): Promise<void> {
  await tx.insertRows({
    table: 'ratecat_loki_leftovers',
    columns: ['version', 'scope', 'first_time', 'last_time', 'removable_from'],
    rows: [[version, scope, first, last, now + WRITE_SECONDS]],
    // A transaction may be run again after its COMMIT has got through.
    onConflict: { key: ['version'] },
  });
}

/** The points of a write count from now on. False when they may have been deleted meanwhile. */
export async function takeBegun(tx: SqlTransaction, version: string): Promise<boolean> {
  const { affected } = await tx.execute(
    'DELETE FROM ratecat_loki_leftovers WHERE version = ? AND asked = 0',
    [version],
  );
  return affected > 0;
}

/** Points of periods count no more. `where` picks rows of ratecat_loki_periods. */
export async function addUseless(tx: SqlTransaction, conditions: Conditions, now: Instant): Promise<void> {
  const { where, parameters } = conditions;
  await tx.execute(
    `INSERT INTO ratecat_loki_leftovers (version, scope, first_time, last_time, removable_from, asked)
     SELECT version, scope, first_time, last_time, ${Math.floor(now)}, 0 FROM ratecat_loki_periods ${where} AND first_time > 0`,
    parameters,
  );
}

/** Some leftovers of one scope; from now on they can never count. */
export function takeUseless(
  database: SqlDatabase,
  now: Instant,
  signal: AbortSignal,
): Promise<Leftovers | undefined> {
  return database.transaction(async (tx) => {
    const first = await tx.query(
      `SELECT l.scope, s.source, s.scope_key, s.scope_id FROM ratecat_loki_leftovers l
       JOIN ratecat_loki_scopes s ON s.id = l.scope
       WHERE l.removable_from <= ? ORDER BY l.removable_from, l.scope LIMIT 1`,
      [now],
    );
    if (first[0] === undefined) return undefined;
    const [row, source, key, id] = first[0];
    const rows = await tx.query(
      `SELECT version, first_time, last_time FROM ratecat_loki_leftovers
       WHERE scope = ? AND removable_from <= ? ORDER BY removable_from, version LIMIT ${DELETED_AT_ONCE}`,
      [Number(row), now],
    );
    const writes = rows.map(([version, from, to]) => ({
      version: String(version),
      first: BigInt(String(from)),
      last: BigInt(String(to)),
    }));
    const { where, parameters } = ofVersions(writes);
    const { affected } = await tx.execute(`UPDATE ratecat_loki_leftovers SET asked = 1 ${where}`, parameters);
    // A write that was thought dead has just ended: what was read is not true any more.
    if (affected < writes.length) return undefined;
    return { source: String(source), scope: { key: String(key), id: String(id) }, writes };
  }, signal);
}

/** Loki will delete these. */
export function forget(database: SqlDatabase, writes: readonly Written[]): Promise<void> {
  return database.transaction(async (tx) => {
    const { where, parameters } = ofVersions(writes);
    await tx.execute(`DELETE FROM ratecat_loki_leftovers ${where}`, parameters);
  });
}

/** Loki deletes nothing now; it is asked again later. */
export function postpone(database: SqlDatabase, now: Instant, until: Instant): Promise<void> {
  return database.transaction(async (tx) => {
    await tx.execute('UPDATE ratecat_loki_leftovers SET removable_from = ? WHERE removable_from <= ?', [
      until,
      now,
    ]);
  });
}

function ofVersions(writes: readonly Written[]): Conditions {
  return new Conditions().addIn(
    'version',
    writes.map(({ version }) => version),
  );
}
