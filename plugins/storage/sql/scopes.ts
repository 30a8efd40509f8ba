import {
  DataError,
  type Scope,
  type ScopeSelector,
  type SqlReader,
  type SqlTransaction,
  type VisibleScopes,
} from '../../../core/plugin-api/index.js';
import { CHUNK, Conditions, chunks } from '../../shared/sql-conditions.js';
import { SCOPE_ID_LENGTH, SCOPE_KEY_LENGTH, SOURCE_LENGTH } from './schema.js';
import { digest } from './stored-values.js';

/** Row numbers of scopes, or every scope. */
export type ScopeRows = 'all' | readonly number[];

export interface StoredScope {
  readonly row: number;
  readonly source: string;
  readonly scope: Scope;
}

export interface LockedScope {
  readonly row: number;
  /** Changes, to a random number, with every transaction that adds descriptors. */
  readonly revision: number;
  /** Periods before this instant were thinned, if only of one metric, and cannot be written any more. */
  readonly keptFrom: number;
}

/**
 * The row of a scope, made when missing. The row changes with every write, so that of two writers one waits for the other,
 * or fails certification: whatever is read after this call belongs to this writer alone.
 */
export async function lockScope(tx: SqlTransaction, source: string, scope: Scope): Promise<LockedScope> {
  const identity = scopeIdentity(source, scope);
  const touch = () =>
    tx.execute('UPDATE ratecat_sql_scopes SET writes = writes + 1 WHERE identity = ?', [identity]);
  if ((await touch()).affected === 0) {
    assertFits(source, scope);
    await tx.insertRows({
      table: 'ratecat_sql_scopes',
      columns: ['identity', 'source', 'scope_key', 'scope_id'],
      rows: [[identity, source, scope.key, scope.id]],
      onConflict: { key: ['identity'] },
    });
    await touch();
  }
  const rows = await tx.query(
    `SELECT s.id, s.revision, (SELECT MAX(k.points_from) FROM ratecat_sql_kept k WHERE k.scope = s.id)
     FROM ratecat_sql_scopes s WHERE s.identity = ?`,
    [identity],
  );
  const [row, revision, keptFrom] = rows[0]!;
  return { row: Number(row), revision: Number(revision), keptFrom: Number(keptFrom ?? 0) };
}

/** As `lockScope`, for scopes that exist; in ascending order, so that two callers cannot wait for each other. */
export async function lockScopeRows(tx: SqlTransaction, rows: readonly number[]): Promise<void> {
  for (const some of chunks([...rows].sort((a, b) => a - b))) {
    const conditions = new Conditions().addIn('id', some);
    await tx.execute(
      `UPDATE ratecat_sql_scopes SET writes = writes + 1 ${conditions.where}`,
      conditions.parameters,
    );
  }
}

function scopeIdentity(source: string, scope: Scope): Uint8Array {
  return digest(JSON.stringify([source, scope.key, scope.id]));
}

/** The row of a scope, if it has one. */
export async function findScope(
  reader: SqlReader,
  source: string,
  scope: Scope,
): Promise<number | undefined> {
  const rows = await reader.query('SELECT id FROM ratecat_sql_scopes WHERE identity = ?', [
    scopeIdentity(source, scope),
  ]);
  return rows[0] === undefined ? undefined : Number(rows[0][0]);
}

function assertFits(source: string, scope: Scope): void {
  const limits = [
    ['source', source, SOURCE_LENGTH],
    ['scope key', scope.key, SCOPE_KEY_LENGTH],
    ['scope id', scope.id, SCOPE_ID_LENGTH],
  ] as const;
  for (const [what, text, limit] of limits) {
    if (text.length <= limit) continue;
    throw new DataError(
      'RATECAT_SCOPE_TOO_LONG',
      `The ${what} '${text.slice(0, 80)}…' has ${text.length} characters; the sql storage keeps at most ${limit}. ` +
        'Use a shorter one, or leave the scope out in the fetcher.',
    );
  }
}

/** The scopes that a reader may see; those without a row have no data. */
export async function visibleRows(reader: SqlReader, visible: VisibleScopes): Promise<ScopeRows> {
  if (visible === 'all') return 'all';
  const wanted = new Set(visible.map((selector) => selectorKey(selector.source, selector)));
  const ids = [...new Set(visible.map((selector) => selector.id))];
  const rows: number[] = [];
  for (const some of chunks(ids)) {
    const found = await selectScopes(reader, new Conditions().addIn('scope_id', some));
    for (const { row, source, scope } of found) {
      // The engine's comparison may be laxer than ours.
      if (wanted.has(selectorKey(source, scope)) || wanted.has(selectorKey(undefined, scope))) rows.push(row);
    }
  }
  return rows;
}

function selectorKey(source: string | undefined, scope: Pick<ScopeSelector, 'key' | 'id'>): string {
  return JSON.stringify([source ?? null, scope.key, scope.id]);
}

/** Remembers the scopes that a query meets. */
export class ScopeReader {
  readonly #reader: SqlReader;
  readonly #known = new Map<number, StoredScope>();

  constructor(reader: SqlReader) {
    this.#reader = reader;
  }

  async load(rows: Iterable<number>): Promise<void> {
    const missing = [...new Set(rows)].filter((row) => !this.#known.has(row));
    for (const some of chunks(missing, CHUNK)) {
      for (const scope of await selectScopes(this.#reader, new Conditions().addIn('id', some)))
        this.#known.set(scope.row, scope);
    }
  }

  /** Only for rows that were loaded. */
  get(row: number): StoredScope {
    return this.#known.get(row)!;
  }
}

async function selectScopes(reader: SqlReader, conditions: Conditions): Promise<readonly StoredScope[]> {
  const rows = await reader.query(
    `SELECT id, source, scope_key, scope_id FROM ratecat_sql_scopes ${conditions.where}`,
    conditions.parameters,
  );
  return rows.map(([row, source, key, id]) => ({
    row: Number(row),
    source: String(source),
    scope: { key: String(key), id: String(id) },
  }));
}
