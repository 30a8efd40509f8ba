import type { SqlDatabase, SqlReader, SqlTransaction } from '../plugin-api/index.js';

/** What was taken over from one database into one pipeline so far, kept in Ratecat's database. */
export class ProgressStore {
  readonly #origin: string;

  /** `origin` names where from and where to. */
  constructor(origin: string) {
    this.#origin = origin;
  }

  async read<T>(reader: SqlReader, item: string): Promise<T | undefined> {
    const rows = await reader.query(
      'SELECT content FROM ratecat_migration_progress WHERE origin = ? AND item = ?',
      [this.#origin, item],
    );
    return rows[0] === undefined ? undefined : (JSON.parse(String(rows[0][0])) as T);
  }

  /** All items by name. */
  async all<T>(database: SqlDatabase): Promise<ReadonlyMap<string, T>> {
    const rows = await database.query(
      'SELECT item, content FROM ratecat_migration_progress WHERE origin = ?',
      [this.#origin],
    );
    return new Map(rows.map(([item, content]) => [String(item), JSON.parse(String(content)) as T]));
  }

  async write(tx: SqlTransaction, items: ReadonlyMap<string, unknown>): Promise<void> {
    await tx.insertRows({
      table: 'ratecat_migration_progress',
      columns: ['origin', 'item', 'content'],
      rows: [...items].map(([item, content]) => [this.#origin, item, JSON.stringify(content)]),
      onConflict: { key: ['origin', 'item'], replace: ['content'] },
    });
  }
}
