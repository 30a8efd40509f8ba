import type { BulkInsert, ConflictRule, SqlDialect } from '../plugin-api/index.js';
import { SQLITE_ADD } from './dialects.js';

/** Gives the statement for a number of rows; makes each only once. */
export function insertStatements(dialect: SqlDialect, insert: BulkInsert): (count: number) => string {
  const made = new Map<number, string>();
  return (count) => {
    const sql = made.get(count) ?? insertStatement(dialect, insert, count);
    made.set(count, sql);
    return sql;
  };
}

/** `INSERT … VALUES` for `count` rows of the table. */
export function insertStatement(dialect: SqlDialect, insert: BulkInsert, count: number): string {
  const row = `(${insert.columns.map(() => '?').join(',')})`;
  const values = Array.from({ length: count }, () => row).join(',');
  const names = columns(insert.columns).join(',');
  return `INSERT INTO ${quote(insert.table)} (${names}) VALUES ${values}${conflictClause(dialect, insert.onConflict)}`;
}

function conflictClause(dialect: SqlDialect, rule: ConflictRule | undefined): string {
  if (rule === undefined) return '';
  return dialect.engine === 'sqlite' ? sqliteConflict(rule) : mysqlConflict(rule);
}

function sqliteConflict(rule: ConflictRule): string {
  const changes = [
    ...columns(rule.addDecimal).map((column) => `${column}=${SQLITE_ADD}(${column},excluded.${column})`),
    ...columns(rule.addInteger).map((column) => `${column}=${column}+excluded.${column}`),
    ...columns(rule.replace).map((column) => `${column}=excluded.${column}`),
  ];
  const action = changes.length === 0 ? 'NOTHING' : `UPDATE SET ${changes.join(',')}`;
  return ` ON CONFLICT (${columns(rule.key).join(',')}) DO ${action}`;
}

function mysqlConflict(rule: ConflictRule): string {
  const added = [...columns(rule.addDecimal), ...columns(rule.addInteger)];
  const changes = [
    ...added.map((column) => `${column}=${column}+VALUES(${column})`),
    ...columns(rule.replace).map((column) => `${column}=VALUES(${column})`),
  ];
  // INSERT IGNORE would also swallow values that do not fit.
  const unchanged = columns(rule.key)
    .slice(0, 1)
    .map((column) => `${column}=${column}`);
  return ` ON DUPLICATE KEY UPDATE ${(changes.length === 0 ? unchanged : changes).join(',')}`;
}

function columns(names: readonly string[] = []): readonly string[] {
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
