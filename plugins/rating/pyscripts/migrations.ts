import type { Migration } from '../../../core/plugin-api/index.js';

/** The columns are those of CloudKitty, with instants in epoch seconds and the source as text. */
export const migrations: readonly Migration[] = [
  {
    name: '0001-create',
    statements: (sql) => [
      `CREATE TABLE IF NOT EXISTS ratecat_pyscripts_lock (
        id ${sql.integer} NOT NULL PRIMARY KEY, turn ${sql.integer} NOT NULL
      ) ${sql.tableOptions()}`,
      `INSERT INTO ratecat_pyscripts_lock (id, turn) SELECT 1, 0
       FROM (SELECT COUNT(*) AS n FROM ratecat_pyscripts_lock) AS present WHERE present.n = 0`,
      `CREATE TABLE IF NOT EXISTS ratecat_pyscripts_scripts (
        id ${sql.autoId},
        script_id ${sql.text(36)} NOT NULL UNIQUE,
        name ${sql.text(255)} NOT NULL,
        data ${sql.longText} NOT NULL,
        checksum ${sql.text(128)} NOT NULL,
        description ${sql.text(256)},
        created_at ${sql.integer} NOT NULL,
        starts_at ${sql.integer} NOT NULL,
        ends_at ${sql.integer},
        deleted_at ${sql.integer},
        created_by ${sql.text(255)} NOT NULL,
        updated_by ${sql.text(255)},
        deleted_by ${sql.text(255)}
      ) ${sql.tableOptions()}`,
      sql.createIndex('ratecat_pyscripts_scripts_name', 'ratecat_pyscripts_scripts', 'name'),
    ],
  },
];
