import type { Migration } from '../../../core/plugin-api/index.js';

/** Longest names that the tables hold, in characters. */
export const SOURCE_LENGTH = 64;
export const SCOPE_KEY_LENGTH = 64;
export const SCOPE_ID_LENGTH = 512;
const SNAPSHOT_LENGTH = 128;

/**
 * Text that identifies something is looked up by its SHA-256: engines may ignore trailing blanks when they compare text, and
 * limit how long a key can be.
 *
 * A frame whose `scope` is negative was deleted: it belongs to no scope any more, and `sweep` removes its points.
 * The roll-ups start with the time, so that all scopes write at the same end of the tables and old pages stay packed.
 */
export const MIGRATIONS: readonly Migration[] = [
  {
    name: '0001-storage',
    statements: (sql) => [
      `CREATE TABLE IF NOT EXISTS ratecat_sql_scopes (
        id ${sql.autoId},
        identity ${sql.binary(32)} NOT NULL,
        source ${sql.text(SOURCE_LENGTH)} NOT NULL,
        scope_key ${sql.text(SCOPE_KEY_LENGTH)} NOT NULL,
        scope_id ${sql.text(SCOPE_ID_LENGTH)} NOT NULL,
        writes ${sql.integer} NOT NULL DEFAULT 0,
        revision ${sql.integer} NOT NULL DEFAULT 0
      ) ${sql.tableOptions()}`,
      sql.createIndex('ratecat_sql_scopes_identity', 'ratecat_sql_scopes', 'identity', true),
      sql.createIndex('ratecat_sql_scopes_id', 'ratecat_sql_scopes', 'scope_id'),
      `CREATE TABLE IF NOT EXISTS ratecat_sql_descriptors (
        id ${sql.autoId},
        scope ${sql.integer} NOT NULL,
        hash ${sql.binary(32)} NOT NULL,
        metric_hash ${sql.binary(32)} NOT NULL,
        metric ${sql.longText} NOT NULL,
        unit ${sql.longText} NOT NULL,
        groupby ${sql.longText} NOT NULL,
        metadata ${sql.longText} NOT NULL,
        description ${sql.longText}
      ) ${sql.tableOptions()}`,
      sql.createIndex('ratecat_sql_descriptors_hash', 'ratecat_sql_descriptors', 'scope, hash', true),
      `CREATE TABLE IF NOT EXISTS ratecat_sql_frames (
        id ${sql.autoId},
        scope ${sql.integer} NOT NULL,
        period_begin ${sql.integer} NOT NULL,
        period_end ${sql.integer} NOT NULL,
        points ${sql.integer} NOT NULL,
        snapshot ${sql.text(SNAPSHOT_LENGTH)} NOT NULL,
        gaps ${sql.longText}
      ) ${sql.tableOptions()}`,
      sql.createIndex('ratecat_sql_frames_unit', 'ratecat_sql_frames', 'scope, period_begin', true),
      sql.createIndex('ratecat_sql_frames_begin', 'ratecat_sql_frames', 'period_begin, scope'),
      `CREATE TABLE IF NOT EXISTS ratecat_sql_points (
        frame ${sql.integer} NOT NULL,
        ordinal ${sql.integer} NOT NULL,
        descriptor ${sql.integer} NOT NULL,
        quantity ${sql.decimal} NOT NULL,
        price ${sql.decimal} NOT NULL,
        PRIMARY KEY (frame, ordinal)
      ) ${sql.tableOptions({ compact: true })}`,
      `CREATE TABLE IF NOT EXISTS ratecat_sql_daily (
        day ${sql.integer} NOT NULL,
        scope ${sql.integer} NOT NULL,
        descriptor ${sql.integer} NOT NULL,
        quantity ${sql.decimal} NOT NULL,
        price ${sql.decimal} NOT NULL,
        points ${sql.integer} NOT NULL,
        PRIMARY KEY (day, scope, descriptor)
      ) ${sql.tableOptions({ compact: true })}`,
      `CREATE TABLE IF NOT EXISTS ratecat_sql_monthly (
        month ${sql.integer} NOT NULL,
        scope ${sql.integer} NOT NULL,
        metric_hash ${sql.binary(32)} NOT NULL,
        metric ${sql.longText} NOT NULL,
        quantity ${sql.decimal} NOT NULL,
        price ${sql.decimal} NOT NULL,
        points ${sql.integer} NOT NULL,
        PRIMARY KEY (month, scope, metric_hash)
      ) ${sql.tableOptions({ compact: true })}`,
    ],
  },
  {
    name: '0002-daily-metrics',
    statements: (sql) => [
      `CREATE TABLE IF NOT EXISTS ratecat_sql_daily_metrics (
        day ${sql.integer} NOT NULL,
        scope ${sql.integer} NOT NULL,
        metric_hash ${sql.binary(32)} NOT NULL,
        metric ${sql.longText} NOT NULL,
        quantity ${sql.decimal} NOT NULL,
        price ${sql.decimal} NOT NULL,
        points ${sql.integer} NOT NULL,
        PRIMARY KEY (day, scope, metric_hash)
      ) ${sql.tableOptions({ compact: true })}`,
      'DELETE FROM ratecat_sql_daily_metrics',
      `INSERT INTO ratecat_sql_daily_metrics (day, scope, metric_hash, metric, quantity, price, points)
       SELECT r.day, r.scope, d.metric_hash, MIN(d.metric), ${sql.sum('r.quantity')}, ${sql.sum('r.price')}, SUM(r.points)
       FROM ratecat_sql_daily r JOIN ratecat_sql_descriptors d ON d.id = r.descriptor
       GROUP BY r.day, r.scope, d.metric_hash`,
    ],
  },
  {
    name: '0003-retention',
    statements: (sql) => [
      // From when points and sums are kept, and up to where what lies before that is removed.
      `CREATE TABLE IF NOT EXISTS ratecat_sql_kept (
        scope ${sql.integer} NOT NULL,
        metric_hash ${sql.binary(32)} NOT NULL,
        metric ${sql.longText} NOT NULL,
        points_from ${sql.integer} NOT NULL,
        daily_from ${sql.integer} NOT NULL,
        monthly_from ${sql.integer} NOT NULL,
        points_done ${sql.integer} NOT NULL,
        daily_done ${sql.integer} NOT NULL,
        monthly_done ${sql.integer} NOT NULL,
        pending ${sql.integer} NOT NULL,
        PRIMARY KEY (scope, metric_hash)
      ) ${sql.tableOptions({ compact: true })}`,
      sql.createIndex('ratecat_sql_kept_points', 'ratecat_sql_kept', 'points_from'),
      sql.createIndex('ratecat_sql_kept_pending', 'ratecat_sql_kept', 'pending, scope'),
      // What descriptors that were removed had in common, and what not: { name: text, or null where it varied }.
      `CREATE TABLE IF NOT EXISTS ratecat_sql_dropped (
        scope ${sql.integer} NOT NULL,
        metric_hash ${sql.binary(32)} NOT NULL,
        metric ${sql.longText} NOT NULL,
        attributes ${sql.longText} NOT NULL,
        PRIMARY KEY (scope, metric_hash)
      ) ${sql.tableOptions({ compact: true })}`,
    ],
  },
];
