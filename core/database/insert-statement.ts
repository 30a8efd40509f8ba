import type { BulkInsert, ConflictRule, SqlDialect, SqlRow, SqlValue } from '../plugin-api/index.js';
import { SQLITE_ADD } from './dialects.js';

type Statements = (count: number) => string;

/** What the last insert with these columns was made from; callers of hot paths keep the list of columns. */
interface Made extends Pick<BulkInsert, 'table' | 'onConflict'> {
  readonly dialect: SqlDialect;
  readonly statements: Statements;
}

const byColumns = new WeakMap<readonly string[], Made>();

/** Gives the statement for a number of rows; makes each only once. */
export function insertStatements(dialect: SqlDialect, insert: BulkInsert): Statements {
  const { table, columns, onConflict } = insert;
  const last = byColumns.get(columns);
  if (last?.table === table && last.onConflict === onConflict && last.dialect === dialect)
    return last.statements;
  const made = new Map<number, string>();
  const shape = { table, columns, onConflict };
  const statements = (count: number) => {
    const sql = made.get(count) ?? insertStatement(dialect, shape, count);
    made.set(count, sql);
    return sql;
  };
  byColumns.set(columns, { dialect, table, onConflict, statements });
  return statements;
}

/** `INSERT … VALUES` for `count` rows of the table. */
export function insertStatement(
  dialect: SqlDialect,
  insert: Omit<BulkInsert, 'rows'>,
  count: number,
): string {
  const row = `(${insert.columns.map(() => '?').join(',')})`;
  const values = Array.from({ length: count }, () => row).join(',');
  const names = quoted(insert.columns).join(',');
  return `INSERT INTO ${quote(insert.table)} (${names}) VALUES ${values}${conflictClause(dialect, insert.onConflict)}`;
}

function conflictClause(dialect: SqlDialect, rule: ConflictRule | undefined): string {
  if (rule === undefined) return '';
  return dialect.engine === 'sqlite' ? sqliteConflict(rule) : mysqlConflict(rule);
}

function sqliteConflict(rule: ConflictRule): string {
  const changes = [
    ...quoted(rule.addDecimal).map((column) => `${column}=${SQLITE_ADD}(${column},excluded.${column})`),
    ...quoted(rule.addInteger).map((column) => `${column}=${column}+excluded.${column}`),
    ...quoted(rule.replace).map((column) => `${column}=excluded.${column}`),
  ];
  const action = changes.length === 0 ? 'NOTHING' : `UPDATE SET ${changes.join(',')}`;
  return ` ON CONFLICT (${quoted(rule.key).join(',')}) DO ${action}`;
}

function mysqlConflict(rule: ConflictRule): string {
  const added = [...quoted(rule.addDecimal), ...quoted(rule.addInteger)];
  const changes = [
    ...added.map((column) => `${column}=${column}+VALUES(${column})`),
    ...quoted(rule.replace).map((column) => `${column}=VALUES(${column})`),
  ];
  // INSERT IGNORE would also swallow values that do not fit.
  const unchanged = quoted(rule.key)
    .slice(0, 1)
    .map((column) => `${column}=${column}`);
  return ` ON DUPLICATE KEY UPDATE ${(changes.length === 0 ? unchanged : changes).join(',')}`;
}

function quoted(names: readonly string[] = []): readonly string[] {
  return names.map(quote);
}

/** Both engines take backticks. */
function quote(name: string): string {
  return `\`${name.replaceAll('`', '``')}\``;
}

/**
 * How many rows the next statement takes: a full block, or else the greatest power of two, so that few distinct
 * statements are prepared.
 */
export function blockSize(remaining: number, fullBlock: number): number {
  if (remaining >= fullBlock) return fullBlock;
  return 2 ** Math.floor(Math.log2(remaining));
}

/** The values of `count` rows from `start` on in one list, each as `bound` makes it. */
export function flatValues<T>(
  rows: readonly SqlRow[],
  start: number,
  count: number,
  bound: (value: SqlValue) => T,
): T[] {
  const values: T[] = [];
  for (let index = start; index < start + count; index++)
    for (const value of rows[index]!) values.push(bound(value));
  return values;
}
