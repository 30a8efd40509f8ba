import { createHash } from 'node:crypto';
import {
  DataError,
  type SqlReader,
  type SqlTransaction,
  type VisibleScopes,
} from '../../../core/plugin-api/index.js';
import { type Owner, ownerKey, ownerTest } from '../../shared/outside-storage/owner.js';
import { Conditions, chunks } from '../../shared/sql-conditions.js';
import { SCOPE_ID_LENGTH, SCOPE_KEY_LENGTH, SOURCE_LENGTH } from './schema.js';

/** Numbers of rows, or every scope. */
export type ScopeRows = 'all' | readonly number[];

/**
 * The row of a scope, made when missing. It changes with every write, so that of two writers one waits for the other, or
 * fails certification: what is read after this call belongs to this writer alone.
 */
export async function lockScope(tx: SqlTransaction, owner: Owner): Promise<number> {
  const identity = identityOf(owner);
  const touch = () =>
    tx.execute('UPDATE ratecat_loki_scopes SET writes = writes + 1 WHERE identity = ?', [identity]);
  if ((await touch()).affected === 0) {
    const { source, scope } = owner;
    await tx.insertRows({
      table: 'ratecat_loki_scopes',
      columns: ['identity', 'source', 'scope_key', 'scope_id'],
      rows: [[identity, source, scope.key, scope.id]],
      onConflict: { key: ['identity'] },
    });
    await touch();
  }
  return (await findScope(tx, owner))!;
}

/** The same for scopes that have rows; in ascending order, so that two callers cannot wait for each other. */
export async function lockScopeRows(tx: SqlTransaction, rows: ScopeRows): Promise<void> {
  const numbers = rows === 'all' ? await allRows(tx) : rows;
  for (const some of chunks([...numbers].sort((left, right) => left - right))) {
    const { where, parameters } = new Conditions().addIn('id', some);
    await tx.execute(`UPDATE ratecat_loki_scopes SET writes = writes + 1 ${where}`, parameters);
  }
}

export async function findScope(reader: SqlReader, owner: Owner): Promise<number | undefined> {
  const rows = await reader.query('SELECT id FROM ratecat_loki_scopes WHERE identity = ?', [
    identityOf(owner),
  ]);
  return rows[0] === undefined ? undefined : Number(rows[0][0]);
}

/** The scopes that a reader may see; those without a row have no periods. */
export async function visibleRows(reader: SqlReader, visible: VisibleScopes): Promise<ScopeRows> {
  if (visible === 'all') return 'all';
  const isVisible = ownerTest(visible);
  const rows: number[] = [];
  for (const some of chunks([...new Set(visible.map(({ id }) => id))])) {
    const { where, parameters } = new Conditions().addIn('scope_id', some);
    const found = await reader.query(
      `SELECT id, source, scope_key, scope_id FROM ratecat_loki_scopes ${where}`,
      parameters,
    );
    for (const [row, source, key, id] of found) {
      const owner = { source: String(source), scope: { key: String(key), id: String(id) } };
      if (isVisible(owner)) rows.push(Number(row));
    }
  }
  return rows;
}

/** @throws DataError RATECAT_SCOPE_TOO_LONG */
export function assertFits({ source, scope }: Owner): void {
  const limits = [
    ['source', source, SOURCE_LENGTH],
    ['scope key', scope.key, SCOPE_KEY_LENGTH],
    ['scope id', scope.id, SCOPE_ID_LENGTH],
  ] as const;
  for (const [what, text, limit] of limits) {
    if (text.length <= limit) continue;
    throw new DataError(
      'RATECAT_SCOPE_TOO_LONG',
      `The ${what} '${text.slice(0, 80)}…' has ${text.length} characters; the loki storage keeps at most ${limit}. Use a shorter one, or leave the scope out in the fetcher.`,
    );
  }
}

async function allRows(reader: SqlReader): Promise<readonly number[]> {
  return (await reader.query('SELECT id FROM ratecat_loki_scopes')).map(([row]) => Number(row));
}

/** Engines may take texts for equal that are not. */
function identityOf(owner: Owner): Uint8Array {
  return createHash('sha256').update(ownerKey(owner)).digest();
}
