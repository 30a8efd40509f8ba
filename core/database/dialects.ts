import type { SqlDialect } from '../plugin-api/index.js';

/** SQLite keeps decimals as canonical text and sums them with functions that each connection registers. */
export const SQLITE_SUM = 'ratecat_sum';
export const SQLITE_ADD = 'ratecat_add';

export const sqliteDialect: SqlDialect = {
  engine: 'sqlite',
  autoId: 'INTEGER PRIMARY KEY AUTOINCREMENT',
  integer: 'INTEGER',
  decimal: 'TEXT',
  longText: 'TEXT',
  text: () => 'TEXT',
  binary: () => 'BLOB',
  // STRICT refuses what the column type cannot hold, as the strict mode of MySQL does.
  tableOptions: (options) => (options?.compact === true ? ' STRICT, WITHOUT ROWID' : ' STRICT'),
  sum: (expression) => `${SQLITE_SUM}(${expression})`,
  createIndex: (name, table, columns, unique = false) =>
    `CREATE ${unique ? 'UNIQUE ' : ''}INDEX IF NOT EXISTS ${name} ON ${table} (${columns})`,
};

/**
 * Binary comparison in which trailing blanks count: utf8mb4_bin takes 'a' and 'a ' for equal. MariaDB runs comments that
 * begin with M!, MySQL those that begin with !80017; MariaDB skips the latter.
 */
export const MYSQL_COLLATION = '/*M!100200 utf8mb4_nopad_bin*/ /*!80017 utf8mb4_0900_bin*/';
const MYSQL_TEXT = `CHARACTER SET utf8mb4 COLLATE ${MYSQL_COLLATION}`;

export const mysqlDialect: SqlDialect = {
  engine: 'mysql',
  autoId: 'BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY',
  integer: 'BIGINT',
  decimal: 'DECIMAL(58,28)',
  longText: `LONGTEXT ${MYSQL_TEXT}`,
  text: (length) => `VARCHAR(${length}) ${MYSQL_TEXT}`,
  binary: (length) => `BINARY(${length})`,
  // InnoDB always clusters on the primary key.
  tableOptions: () => ` ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT ${MYSQL_TEXT}`,
  // Text also for sums of integers, which would otherwise come back as numbers.
  sum: (expression) => `CAST(SUM(${expression}) AS CHAR)`,
  // MySQL has no IF NOT EXISTS here; there the migration takes "duplicate key name" for done.
  createIndex: (name, table, columns, unique = false) =>
    `CREATE ${unique ? 'UNIQUE ' : ''}INDEX /*M! IF NOT EXISTS */ ${name} ON ${table} (${columns})`,
};
