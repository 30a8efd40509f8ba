import type { Migration } from '../../plugin-api/index.js';

/** Tables of the core: scope states with their leases, rule snapshots, module states, audit. */
export const CORE_MIGRATIONS: readonly Migration[] = [
  {
    name: '0001-core',
    statements: (sql) => [
      `CREATE TABLE IF NOT EXISTS ratecat_scopes (
        id ${sql.autoId},
        source ${sql.text(40)} NOT NULL,
        scope_key ${sql.text(64)} NOT NULL,
        scope_id ${sql.text(256)} NOT NULL,
        name ${sql.text(255)},
        fetcher ${sql.text(100)} NOT NULL,
        collector ${sql.text(100)} NOT NULL,
        watermark ${sql.integer},
        last_begin ${sql.integer},
        active ${sql.integer} NOT NULL DEFAULT 1,
        toggled_at ${sql.integer} NOT NULL,
        state ${sql.text(16)} NOT NULL DEFAULT 'active',
        reason ${sql.longText},
        first_seen ${sql.integer} NOT NULL,
        missing_since ${sql.integer},
        owner ${sql.text(100)},
        heartbeat ${sql.integer} NOT NULL DEFAULT 0,
        fence ${sql.integer} NOT NULL DEFAULT 0,
        commit_seq ${sql.integer} NOT NULL DEFAULT 0,
        commit_id ${sql.text(36)},
        failures ${sql.integer} NOT NULL DEFAULT 0,
        last_error_at ${sql.integer},
        retry_at ${sql.integer}
      ) ${sql.tableOptions()}`,
      sql.createIndex('ratecat_scopes_key', 'ratecat_scopes', 'source, scope_key, scope_id', true),
      `CREATE TABLE IF NOT EXISTS ratecat_snapshots (
        hash ${sql.text(64)} NOT NULL PRIMARY KEY,
        created_at ${sql.integer} NOT NULL,
        content ${sql.longText} NOT NULL
      ) ${sql.tableOptions()}`,
      `CREATE TABLE IF NOT EXISTS ratecat_revisions (
        name ${sql.text(64)} NOT NULL PRIMARY KEY,
        value ${sql.integer} NOT NULL
      ) ${sql.tableOptions()}`,
      `CREATE TABLE IF NOT EXISTS ratecat_modules (
        name ${sql.text(255)} NOT NULL PRIMARY KEY,
        enabled ${sql.integer} NOT NULL DEFAULT 0,
        priority ${sql.integer} NOT NULL DEFAULT 1
      ) ${sql.tableOptions()}`,
      `CREATE TABLE IF NOT EXISTS ratecat_fingerprints (
        scope ${sql.integer} NOT NULL,
        period_begin ${sql.integer} NOT NULL,
        content ${sql.longText} NOT NULL,
        PRIMARY KEY (scope, period_begin)
      ) ${sql.tableOptions({ compact: true })}`,
      `CREATE TABLE IF NOT EXISTS ratecat_audit (
        id ${sql.autoId},
        at ${sql.integer} NOT NULL,
        scope ${sql.integer},
        action ${sql.text(64)} NOT NULL,
        author ${sql.text(255)} NOT NULL,
        detail ${sql.longText} NOT NULL
      ) ${sql.tableOptions()}`,
    ],
  },
  {
    name: '0002-reprocess-tasks',
    statements: (sql) => [
      `CREATE TABLE IF NOT EXISTS ratecat_reprocess_tasks (
        id ${sql.autoId},
        scope ${sql.integer} NOT NULL,
        begin_at ${sql.integer} NOT NULL,
        end_at ${sql.integer} NOT NULL,
        reason ${sql.longText} NOT NULL,
        author ${sql.text(255)} NOT NULL,
        created_at ${sql.integer} NOT NULL,
        current_at ${sql.integer},
        finished ${sql.integer} NOT NULL,
        failures ${sql.integer} NOT NULL,
        failure ${sql.longText},
        kept ${sql.longText},
        retry_at ${sql.integer}
      ) ${sql.tableOptions()}`,
      sql.createIndex('ratecat_reprocess_tasks_open', 'ratecat_reprocess_tasks', 'finished, scope'),
    ],
  },
  {
    name: '0003-collector-states',
    statements: (sql) => [
      // Which collector measures a service, as clients of the reference noted it down. States are in ratecat_modules.
      `CREATE TABLE IF NOT EXISTS ratecat_collector_mappings (
        service ${sql.text(255)} NOT NULL PRIMARY KEY,
        collector ${sql.text(255)} NOT NULL
      ) ${sql.tableOptions()}`,
    ],
  },
  {
    name: '0004-idempotency',
    statements: (sql) => [
      `CREATE TABLE IF NOT EXISTS ratecat_idempotency (
        identity ${sql.text(64)} NOT NULL PRIMARY KEY,
        content ${sql.text(64)} NOT NULL,
        uses ${sql.integer} NOT NULL,
        created_at ${sql.integer} NOT NULL
      ) ${sql.tableOptions()}`,
      sql.createIndex('ratecat_idempotency_age', 'ratecat_idempotency', 'created_at'),
    ],
  },
  {
    name: '0005-migration-progress',
    statements: (sql) => [
      // How far data of another program were taken over.
      `CREATE TABLE IF NOT EXISTS ratecat_migration_progress (
        origin ${sql.text(64)} NOT NULL,
        item ${sql.text(64)} NOT NULL,
        content ${sql.longText} NOT NULL,
        PRIMARY KEY (origin, item)
      ) ${sql.tableOptions()}`,
    ],
  },
  {
    name: '0006-outbox',
    statements: (sql) => [
      // Events that wait for delivery: one row for each notifier that is to hear of them, removed once it has.
      `CREATE TABLE IF NOT EXISTS ratecat_outbox (
        id ${sql.autoId},
        notifier ${sql.text(64)} NOT NULL,
        event_id ${sql.text(36)} NOT NULL,
        type ${sql.text(64)} NOT NULL,
        severity ${sql.text(8)} NOT NULL,
        at_ms ${sql.integer} NOT NULL,
        content ${sql.longText} NOT NULL,
        refused ${sql.integer} NOT NULL DEFAULT 0,
        reason ${sql.longText}
      ) ${sql.tableOptions()}`,
      sql.createIndex('ratecat_outbox_order', 'ratecat_outbox', 'notifier, refused, id'),
      // Who delivers for a notifier, in the manner of the leases on scopes.
      `CREATE TABLE IF NOT EXISTS ratecat_outbox_leases (
        notifier ${sql.text(64)} NOT NULL PRIMARY KEY,
        owner ${sql.text(100)},
        fence ${sql.integer} NOT NULL,
        heartbeat ${sql.integer} NOT NULL
      ) ${sql.tableOptions()}`,
      // What was said about budgets already.
      `CREATE TABLE IF NOT EXISTS ratecat_budget_alerts (
        identity ${sql.text(64)} NOT NULL PRIMARY KEY,
        event_id ${sql.text(36)} NOT NULL,
        period_end ${sql.integer} NOT NULL
      ) ${sql.tableOptions()}`,
      sql.createIndex('ratecat_budget_alerts_age', 'ratecat_budget_alerts', 'period_end'),
    ],
  },
];
