import type { Migration } from '../../../core/plugin-api/index.js';

/** Longest names that the tables hold, in characters. */
export const SOURCE_LENGTH = 64;
export const SCOPE_KEY_LENGTH = 64;
export const SCOPE_ID_LENGTH = 512;
const VERSION_LENGTH = 36;

/**
 * What is known of periods. Loki has no transactions and deletes when it gets to it, so it holds points alone; a row here
 * says which of them count. Times of entries are nanoseconds since 1970.
 */
export const MIGRATIONS: readonly Migration[] = [
  {
    name: '0001-periods',
    statements: (sql) => [
      `CREATE TABLE IF NOT EXISTS ratecat_loki_scopes (
        id ${sql.autoId},
        identity ${sql.binary(32)} NOT NULL,
        source ${sql.text(SOURCE_LENGTH)} NOT NULL,
        scope_key ${sql.text(SCOPE_KEY_LENGTH)} NOT NULL,
        scope_id ${sql.text(SCOPE_ID_LENGTH)} NOT NULL,
        writes ${sql.integer} NOT NULL DEFAULT 0
      ) ${sql.tableOptions()}`,
      sql.createIndex('ratecat_loki_scopes_identity', 'ratecat_loki_scopes', 'identity', true),
      sql.createIndex('ratecat_loki_scopes_id', 'ratecat_loki_scopes', 'scope_id'),
      // Without a version: nothing can be read there, also not what CloudKitty stored.
      `CREATE TABLE IF NOT EXISTS ratecat_loki_periods (
        scope ${sql.integer} NOT NULL,
        period_begin ${sql.integer} NOT NULL,
        version ${sql.text(VERSION_LENGTH)},
        first_time ${sql.integer} NOT NULL,
        last_time ${sql.integer} NOT NULL,
        committed ${sql.longText},
        PRIMARY KEY (scope, period_begin)
      ) ${sql.tableOptions({ compact: true })}`,
      sql.createIndex('ratecat_loki_periods_begin', 'ratecat_loki_periods', 'period_begin, scope'),
      // Points that do not count: of a write that has begun, or of one whose period was replaced or removed.
      `CREATE TABLE IF NOT EXISTS ratecat_loki_leftovers (
        version ${sql.text(VERSION_LENGTH)} NOT NULL,
        scope ${sql.integer} NOT NULL,
        first_time ${sql.integer} NOT NULL,
        last_time ${sql.integer} NOT NULL,
        removable_from ${sql.integer} NOT NULL,
        asked ${sql.integer} NOT NULL DEFAULT 0,
        PRIMARY KEY (version)
      ) ${sql.tableOptions({ compact: true })}`,
      sql.createIndex('ratecat_loki_leftovers_from', 'ratecat_loki_leftovers', 'removable_from, scope'),
    ],
  },
];
