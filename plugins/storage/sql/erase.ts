import type { ScopeWithData, SqlDatabase, SqlTransaction } from '../../../core/plugin-api/index.js';
import { Conditions } from '../../shared/sql-conditions.js';
import { daysOf } from './range-plan.js';
import { removeDescriptorSums, unlinkFrames } from './retention.js';
import { findScope } from './scopes.js';

/** After every period that will ever be stored. */
const END_OF_TIME = 2 ** 52;
const DESCRIPTORS = 1_000;

/** Removes some of what is stored of a scope: periods first, its own row last. 0 when there is nothing left. */
export async function eraseStep(
  database: SqlDatabase,
  { source, scope }: ScopeWithData,
  signal: AbortSignal,
): Promise<number> {
  const row = await findScope(database, source, scope);
  if (row === undefined) return 0;
  const frames = await database.transaction(
    (tx) => unlinkFrames(tx, row, { begin: 0, end: END_OF_TIME }),
    signal,
  );
  if (frames > 0) return frames;
  const sums = await eraseSums(database, row, signal);
  if (sums > 0) return sums;
  const descriptors = await eraseDescriptors(database, row, signal);
  if (descriptors > 0) return descriptors;
  return database.transaction(async (tx) => {
    let removed = 0;
    for (const table of ['kept', 'dropped']) {
      removed += (await tx.execute(`DELETE FROM ratecat_sql_${table} WHERE scope = ?`, [row])).affected;
    }
    return removed + (await tx.execute('DELETE FROM ratecat_sql_scopes WHERE id = ?', [row])).affected;
  }, signal);
}

/** The tables of sums begin with the time, so that months are looked at one by one. */
async function eraseSums(database: SqlDatabase, scope: number, signal: AbortSignal): Promise<number> {
  const months = await database.query('SELECT DISTINCT month FROM ratecat_sql_monthly');
  const conditions = new Conditions()
    .addIn(
      'month',
      months.map(([month]) => Number(month)),
    )
    .add('scope = ?', scope);
  const rows = await database.query(
    `SELECT MIN(month) FROM ratecat_sql_monthly ${conditions.where}`,
    conditions.parameters,
  );
  const month = rows[0]![0];
  if (month === null || month === undefined) return 0;
  return database.transaction((tx) => eraseMonth(tx, scope, Number(month)), signal);
}

/** The sum of the month goes last: it says where there may be others. */
async function eraseMonth(tx: SqlTransaction, scope: number, month: number): Promise<number> {
  const ofDescriptors = await removeDescriptorSums(tx, scope, month);
  if (ofDescriptors > 0) return ofDescriptors;
  const days = new Conditions().addIn('day', daysOf(month)).add('scope = ?', scope);
  const sums = await tx.execute(`DELETE FROM ratecat_sql_daily_metrics ${days.where}`, days.parameters);
  const sql = 'DELETE FROM ratecat_sql_monthly WHERE month = ? AND scope = ?';
  return sums.affected + (await tx.execute(sql, [month, scope])).affected;
}

function eraseDescriptors(database: SqlDatabase, scope: number, signal: AbortSignal): Promise<number> {
  return database.transaction(async (tx) => {
    const rows = await tx.query(
      `SELECT id FROM ratecat_sql_descriptors WHERE scope = ? LIMIT ${DESCRIPTORS}`,
      [scope],
    );
    if (rows.length === 0) return 0;
    const conditions = new Conditions().addIn(
      'id',
      rows.map(([id]) => Number(id)),
    );
    const sql = `DELETE FROM ratecat_sql_descriptors ${conditions.where}`;
    return (await tx.execute(sql, conditions.parameters)).affected;
  }, signal);
}
