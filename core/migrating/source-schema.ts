import { type Instant, type SqlRow, type SqlValue, UnavailableError } from '../plugin-api/index.js';
import type { SourceDatabase } from './source-database.js';

/** Tables that may be there, by whatever release of CloudKitty wrote them. */
const TABLES = [
  'modules_state',
  'cloudkitty_storage_states',
  'hybrid_storage_states',
  'storage_scope_reprocessing_schedule',
  'rated_data_frames',
  'hashmap_services',
  'hashmap_fields',
  'hashmap_groups',
  'hashmap_mappings',
  'hashmap_thresholds',
  'pyscripts_scripts',
] as const;
export type SourceTable = (typeof TABLES)[number];

/** Which tables and columns a database of CloudKitty has, and how its engine says things. */
export class SourceSchema {
  readonly #source: SourceDatabase;
  /** Type of each column, in lower case, by table and column. */
  readonly #columns: ReadonlyMap<string, ReadonlyMap<string, string>>;

  private constructor(source: SourceDatabase, columns: ReadonlyMap<string, ReadonlyMap<string, string>>) {
    this.#source = source;
    this.#columns = columns;
  }

  /** @throws UnavailableError RATECAT_MIGRATE_SOURCE_ABSENT when nothing of CloudKitty is there. */
  static async read(source: SourceDatabase): Promise<SourceSchema> {
    const columns = new Map<string, Map<string, string>>();
    for (const [table, column, type] of await columnRows(source)) {
      const name = String(table);
      if (!TABLES.some((known) => known === name)) continue;
      const known = columns.get(name) ?? new Map<string, string>();
      columns.set(name, known.set(String(column), String(type).toLowerCase()));
    }
    if (columns.size > 0) return new SourceSchema(source, columns);
    throw new UnavailableError(
      'RATECAT_MIGRATE_SOURCE_ABSENT',
      'The database holds no table of CloudKitty. Give --from the URL that cloudkitty.conf has in [database] connection.',
    );
  }

  has(table: SourceTable): boolean {
    return this.#columns.has(table);
  }

  type(table: SourceTable, column: string): string | undefined {
    return this.#columns.get(table)?.get(column);
  }

  /** The column, or what stands for it in schemas that lack it. */
  column(table: SourceTable, column: string, otherwise = 'NULL'): string {
    return this.type(table, column) === undefined ? otherwise : `"${column}"`;
  }

  /** A date in seconds since the epoch; dates are naive and mean UTC. */
  instant(table: SourceTable, column: string): string {
    if (this.type(table, column) === undefined) return 'NULL';
    return this.seconds(`"${column}"`);
  }

  /** The date that an expression gives, in seconds since the epoch. */
  seconds(expression: string): string {
    return this.#source.engine === 'mysql'
      ? `TIMESTAMPDIFF(SECOND, '1970-01-01 00:00:00', ${expression})`
      : `CAST(strftime('%s', ${expression}) AS INTEGER)`;
  }

  /** Bytes of a text: engines compare texts with regard to less. */
  bytes(expression: string): string {
    return this.#source.engine === 'mysql' ? `CAST(${expression} AS BINARY)` : expression;
  }

  /** Whether rows of a range of dates can be found without reading all. */
  async isIndexed(table: SourceTable, column: string): Promise<boolean> {
    const sql =
      this.#source.engine === 'mysql'
        ? 'SELECT 1 FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = ? AND column_name = ? AND seq_in_index = 1'
        : 'SELECT 1 FROM pragma_index_list(?) list, pragma_index_info(list.name) info WHERE info.seqno = 0 AND info.name = ?';
    return (await this.#source.query(sql, [table, column])).length > 0;
  }

  /** Rows of a table, in order of their ids; none when there is no such table. */
  async rows(table: SourceTable, columns: readonly string[], order: string): Promise<readonly SqlRow[]> {
    if (!this.has(table)) return [];
    return this.#source.query(`SELECT ${columns.join(', ')} FROM ${table} ORDER BY ${order}`);
  }
}

async function columnRows(source: SourceDatabase): Promise<readonly SqlRow[]> {
  return source.query(
    source.engine === 'mysql'
      ? 'SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = DATABASE()'
      : "SELECT m.name, c.name, c.type FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table'",
  );
}

/** `2026-01-31 12:00:00`, which both engines compare with their dates. */
export function dateText(instant: Instant): string {
  return new Date(instant * 1000).toISOString().slice(0, 19).replace('T', ' ');
}

export function optionalText(value: SqlValue | undefined): string | undefined {
  return value === null || value === undefined ? undefined : textOf(value);
}

export function optionalNumber(value: SqlValue | undefined): number | undefined {
  return value === null || value === undefined ? undefined : Number(value);
}

function textOf(value: SqlValue): string {
  return value instanceof Uint8Array ? Buffer.from(value).toString('utf8') : String(value);
}
