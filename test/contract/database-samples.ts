import type { ModuleMigrations } from '../../core/database/migrate.js';
import type { SqlDialect } from '../../core/plugin-api/index.js';

/** Migrations of two modules, `count` of them in the core. Each adds one row to `steps`, so that a second run shows. */
export function sampleMigrations(count: number): readonly ModuleMigrations[] {
  const steps = [
    {
      name: '0001-create',
      statements: (dialect: SqlDialect) => [
        `CREATE TABLE IF NOT EXISTS steps (id ${dialect.autoId}, name ${dialect.text(20)} NOT NULL)${dialect.tableOptions()}`,
        dialect.createIndex('steps_name', 'steps', 'name'),
        "INSERT INTO steps (name) VALUES ('create')",
      ],
    },
    {
      name: '0002-column',
      statements: (dialect: SqlDialect) => [
        `ALTER TABLE steps ADD COLUMN note ${dialect.text(20)}`,
        "INSERT INTO steps (name, note) VALUES ('column', 'second')",
      ],
    },
    { name: '0003-row', statements: () => ["INSERT INTO steps (name) VALUES ('row')"] },
  ];
  const plugin = {
    name: '0001-create',
    statements: (dialect: SqlDialect) => [
      `CREATE TABLE IF NOT EXISTS plugin_rules (id ${dialect.integer} NOT NULL PRIMARY KEY)${dialect.tableOptions()}`,
    ],
  };
  return [
    { module: 'core', migrations: steps.slice(0, count).reverse() },
    { module: 'rating-flat', migrations: [plugin] },
  ];
}
