import type { Migration, SqlDialect } from '../../../core/plugin-api/index.js';

/**
 * Tables of hashmap. The columns are those of CloudKitty, with instants in epoch seconds and exact decimals; `position` is
 * the order in which fields and rules are read, which CloudKitty leaves to the engine.
 */
export const migrations: readonly Migration[] = [{ name: '0001-create', statements: createTables }];

function createTables(dialect: SqlDialect): readonly string[] {
  return [
    lock(dialect),
    'INSERT INTO ratecat_hashmap_lock (id, turn) ' +
      'SELECT 1, 0 FROM (SELECT COUNT(*) AS n FROM ratecat_hashmap_lock) AS present WHERE present.n = 0',
    named(dialect, 'services', 'service_id'),
    fields(dialect),
    named(dialect, 'groups', 'group_id'),
    mappings(dialect),
    thresholds(dialect),
    dialect.createIndex('ratecat_hashmap_mappings_name', 'ratecat_hashmap_mappings', 'name'),
    dialect.createIndex('ratecat_hashmap_mappings_service', 'ratecat_hashmap_mappings', 'service_id'),
    dialect.createIndex('ratecat_hashmap_mappings_field', 'ratecat_hashmap_mappings', 'field_id'),
    dialect.createIndex('ratecat_hashmap_thresholds_service', 'ratecat_hashmap_thresholds', 'service_id'),
    dialect.createIndex('ratecat_hashmap_thresholds_field', 'ratecat_hashmap_thresholds', 'field_id'),
  ];
}

/** One row that every writer changes first: rules of one key are checked and written by one writer at a time. */
function lock(dialect: SqlDialect): string {
  return (
    'CREATE TABLE IF NOT EXISTS ratecat_hashmap_lock (' +
    `id ${dialect.integer} NOT NULL PRIMARY KEY, turn ${dialect.integer} NOT NULL)${dialect.tableOptions()}`
  );
}

function named(dialect: SqlDialect, table: string, publicId: string): string {
  return (
    `CREATE TABLE IF NOT EXISTS ratecat_hashmap_${table} (id ${dialect.autoId}, ` +
    `${publicId} ${dialect.text(36)} NOT NULL UNIQUE, name ${dialect.text(255)} NOT NULL UNIQUE` +
    `)${dialect.tableOptions()}`
  );
}

function fields(dialect: SqlDialect): string {
  return (
    `CREATE TABLE IF NOT EXISTS ratecat_hashmap_fields (id ${dialect.autoId}, ` +
    `field_id ${dialect.text(36)} NOT NULL UNIQUE, name ${dialect.text(255)} NOT NULL, ` +
    `service_id ${dialect.integer} NOT NULL, position ${dialect.integer} NOT NULL, UNIQUE (service_id, name), ${parentKey('service')}` +
    `)${dialect.tableOptions()}`
  );
}

function mappings(dialect: SqlDialect): string {
  const { integer } = dialect;
  return (
    `CREATE TABLE IF NOT EXISTS ratecat_hashmap_mappings (id ${dialect.autoId}, ` +
    `mapping_id ${dialect.text(36)} NOT NULL UNIQUE, value ${dialect.text(255)}, ${ruleColumns(dialect)}, ` +
    `name ${dialect.text(32)} NOT NULL, description ${dialect.text(256)}, ` +
    `created_at ${integer} NOT NULL, starts_at ${integer} NOT NULL, ends_at ${integer}, deleted_at ${integer}, ` +
    `created_by ${dialect.text(255)} NOT NULL, updated_by ${dialect.text(255)}, deleted_by ${dialect.text(255)}, ` +
    `${ruleKeys()})${dialect.tableOptions()}`
  );
}

function thresholds(dialect: SqlDialect): string {
  return (
    `CREATE TABLE IF NOT EXISTS ratecat_hashmap_thresholds (id ${dialect.autoId}, ` +
    `threshold_id ${dialect.text(36)} NOT NULL UNIQUE, level ${dialect.decimal} NOT NULL, ` +
    `${ruleColumns(dialect)}, ${ruleKeys()})${dialect.tableOptions()}`
  );
}

function ruleColumns(dialect: SqlDialect): string {
  const { decimal, integer } = dialect;
  return (
    `cost ${decimal} NOT NULL, map_type ${dialect.text(8)} NOT NULL, service_id ${integer}, field_id ${integer}, ` +
    `group_id ${integer}, tenant_id ${dialect.text(255)}, position ${integer} NOT NULL`
  );
}

function ruleKeys(): string {
  return `${parentKey('service')}, ${parentKey('field')}, ${groupKey()}`;
}

function parentKey(parent: 'service' | 'field'): string {
  return `FOREIGN KEY (${parent}_id) REFERENCES ratecat_hashmap_${parent}s (id) ON DELETE CASCADE`;
}

function groupKey(): string {
  return 'FOREIGN KEY (group_id) REFERENCES ratecat_hashmap_groups (id) ON DELETE SET NULL';
}
