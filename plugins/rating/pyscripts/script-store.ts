import { createHash } from 'node:crypto';
import type { Instant, SqlReader, SqlRow, SqlTransaction, SqlValue } from '../../../core/plugin-api/index.js';

/** A script with its time of validity: from `start`, up to but without `end`. */
export interface Script {
  readonly id: number;
  readonly uuid: string;
  readonly name: string;
  readonly data: string;
  /** SHA-512 of the source, in hex. */
  readonly checksum: string;
  readonly description: string | null;
  readonly createdAt: Instant;
  readonly start: Instant;
  readonly end: Instant | null;
  readonly deletedAt: Instant | null;
  readonly createdBy: string;
  readonly updatedBy: string | null;
  readonly deletedBy: string | null;
}

export type ScriptContent = Pick<Script, 'name' | 'data' | 'description' | 'start' | 'end'>;

/** Who changes something, and when. */
export interface Author {
  readonly author: string;
  readonly now: Instant;
}

export interface Condition {
  readonly sql: string;
  readonly values: readonly SqlValue[];
}

const COLUMNS = `id, script_id, name, data, checksum, description, created_at, starts_at, ends_at, deleted_at, created_by,
  updated_by, deleted_by`;

export function condition(sql: string, ...values: readonly SqlValue[]): Condition {
  return { sql, values };
}

export const ALIVE = condition('deleted_at IS NULL');

/** Those that fulfil every condition, in the order of their creation. */
export async function readScripts(
  reader: SqlReader,
  conditions: readonly Condition[],
): Promise<readonly Script[]> {
  const where = conditions.length === 0 ? '' : `WHERE ${conditions.map(({ sql }) => sql).join(' AND ')}`;
  const rows = await reader.query(
    `SELECT ${COLUMNS} FROM ratecat_pyscripts_scripts ${where} ORDER BY created_at, id`,
    conditions.flatMap(({ values }) => values),
  );
  return rows.map(toScript);
}

/** Writers come one after the other: names are checked and taken in one turn. */
export async function takeTurn(tx: SqlTransaction): Promise<void> {
  await tx.execute('UPDATE ratecat_pyscripts_lock SET turn = turn + 1 WHERE id = 1');
}

/** True when a script has or had the public id. */
export async function isTaken(reader: SqlReader, uuid: string): Promise<boolean> {
  const rows = await reader.query('SELECT 1 FROM ratecat_pyscripts_scripts WHERE script_id = ?', [uuid]);
  return rows.length > 0;
}

export async function insertScript(
  tx: SqlTransaction,
  uuid: string,
  { name, data, description, start, end }: ScriptContent,
  { author, now }: Author,
): Promise<void> {
  await tx.insertRows({
    table: 'ratecat_pyscripts_scripts',
    columns: [
      'script_id',
      'name',
      'data',
      'checksum',
      'description',
      'created_at',
      'starts_at',
      'ends_at',
      'created_by',
    ],
    rows: [[uuid, name, data, checksumOf(data), description, now, start, end, author]],
  });
}

export async function updateScript(
  tx: SqlTransaction,
  id: number,
  { data, description, start, end }: ScriptContent,
  { author }: Author,
): Promise<void> {
  await tx.execute(
    `UPDATE ratecat_pyscripts_scripts SET data = ?, checksum = ?, description = ?, starts_at = ?, ends_at = ?, updated_by = ?
     WHERE id = ?`,
    [data, checksumOf(data), description, start, end, author, id],
  );
}

/** The row stays, for the record. */
export async function deleteScript(tx: SqlTransaction, id: number, { author, now }: Author): Promise<void> {
  await tx.execute('UPDATE ratecat_pyscripts_scripts SET deleted_at = ?, deleted_by = ? WHERE id = ?', [
    now,
    author,
    id,
  ]);
}

function checksumOf(data: string): string {
  return createHash('sha512').update(data, 'utf8').digest('hex');
}

function toScript(row: SqlRow): Script {
  const instant = (index: number) => (row[index] === null ? null : Number(row[index]));
  const text = (index: number) => (row[index] === null ? null : String(row[index]));
  return {
    id: Number(row[0]),
    uuid: String(row[1]),
    name: String(row[2]),
    data: String(row[3]),
    checksum: String(row[4]),
    description: text(5),
    createdAt: Number(row[6]),
    start: Number(row[7]),
    end: instant(8),
    deletedAt: instant(9),
    createdBy: String(row[10]),
    updatedBy: text(11),
    deletedBy: text(12),
  };
}
