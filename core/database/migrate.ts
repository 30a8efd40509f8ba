import {
  ConfigError,
  isRatecatError,
  type Migration,
  type SqlDatabase,
  type SqlDialect,
  type SqlReader,
  type SqlTransaction,
} from '../plugin-api/index.js';
import { backOffMs, pause } from './event-loop.js';
import { type LeaseOptions, withMigrationLease } from './migration-lease.js';

/** The migrations of the core or of one plugin. */
export interface ModuleMigrations {
  /** `core`, or kind and name of the plugin. Never changes once released. */
  readonly module: string;
  readonly migrations: readonly Migration[];
}

export interface MigrationName {
  readonly module: string;
  readonly name: string;
}

export interface MigrateOptions extends LeaseOptions {
  /** Seconds since the epoch that are recorded as the time of the migration. */
  readonly now?: (() => number) | undefined;
  readonly onApplied?: ((migration: MigrationName) => void) | undefined;
}

const TABLE = 'ratecat_migrations';
const BUSY_LIMIT_MS = 15 * 60_000;
const FIRST_BACK_OFF_MS = 20;
const MAX_BACK_OFF_MS = 500;

/**
 * Brings the database to the shape that this program needs: module by module in the given order, migrations by name.
 * Any number of processes may call this at once; an interrupted call is repeated by calling again.
 * @returns the migrations that this call ran.
 * @throws ConfigError RATECAT_DATABASE_NEWER when the database has been migrated further by a newer program.
 */
export async function migrate(
  database: SqlDatabase,
  modules: readonly ModuleMigrations[],
  options: MigrateOptions = {},
): Promise<readonly MigrationName[]> {
  if ((await pendingMigrations(database, modules)).length === 0) return [];
  await createTable(database, options.signal);
  if (database.dialect.engine === 'sqlite') return migrateInTransactions(database, modules, options);
  return withMigrationLease(database, options, (assertHeld) =>
    migrateUnderLease(database, modules, options, assertHeld),
  );
}

/**
 * The migrations that `migrate` would run; changes nothing.
 * @throws ConfigError RATECAT_DATABASE_NEWER
 */
export async function pendingMigrations(
  database: SqlReader,
  modules: readonly ModuleMigrations[],
): Promise<readonly MigrationName[]> {
  const applied = (await tableExists(database)) ? await readApplied(database) : new Set<string>();
  assertAllKnown(applied, modules);
  return planned(modules)
    .filter((step) => !applied.has(identity(step)))
    .map(({ module, name }) => ({ module, name }));
}

interface Step extends MigrationName {
  readonly migration: Migration;
}

function planned(modules: readonly ModuleMigrations[]): readonly Step[] {
  return modules.flatMap(({ module, migrations }) =>
    migrations
      .map((migration) => ({ module, name: migration.name, migration }))
      .sort((left, right) => (left.name < right.name ? -1 : left.name > right.name ? 1 : 0)),
  );
}

function identity({ module, name }: MigrationName): string {
  return `${module}/${name}`;
}

/** Migrations of modules that are not configured now are left alone: their tables harm nobody. */
function assertAllKnown(applied: ReadonlySet<string>, modules: readonly ModuleMigrations[]): void {
  const known = new Set(planned(modules).map(identity));
  const names = modules.map(({ module }) => module);
  const unknown = [...applied].filter(
    (migration) => names.some((module) => migration.startsWith(`${module}/`)) && !known.has(migration),
  );
  if (unknown.length === 0) return;
  throw new ConfigError(
    'RATECAT_DATABASE_NEWER',
    `The database belongs to a newer ratecat: it holds the migration ${unknown.sort().join(', ')}, which this program ` +
      'does not know. Install the newer ratecat, or restore the backup from before its installation.',
    { details: { migrations: unknown } },
  );
}

async function tableExists(database: SqlReader): Promise<boolean> {
  const sql =
    database.dialect.engine === 'sqlite'
      ? "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
      : 'SELECT 1 FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?';
  return (await database.query(sql, [TABLE])).length > 0;
}

async function readApplied(database: SqlReader): Promise<ReadonlySet<string>> {
  const rows = await database.query(`SELECT module, name FROM ${TABLE}`);
  return new Set(rows.map(([module, name]) => `${module}/${name}`));
}

async function createTable(database: SqlDatabase, signal: AbortSignal | undefined): Promise<void> {
  const { dialect } = database;
  const sql = `CREATE TABLE IF NOT EXISTS ${TABLE} (
    module ${dialect.text(100)} NOT NULL,
    name ${dialect.text(100)} NOT NULL,
    applied_at ${dialect.integer} NOT NULL,
    PRIMARY KEY (module, name)
  )${dialect.tableOptions({ compact: true })}`;
  await whileBusy(() => database.transaction((tx) => tx.execute(sql), signal), signal);
}

/** SQLite's DDL is transactional: a migration and its record appear together, and the write lock keeps others out. */
async function migrateInTransactions(
  database: SqlDatabase,
  modules: readonly ModuleMigrations[],
  options: MigrateOptions,
): Promise<readonly MigrationName[]> {
  const done: MigrationName[] = [];
  for (const step of planned(modules)) {
    const ran = await whileBusy(
      () => database.transaction((tx) => runOnce(tx, step, modules, options), options.signal),
      options.signal,
    );
    if (!ran) continue;
    done.push(report(step, options));
  }
  return done;
}

async function runOnce(
  tx: SqlTransaction,
  step: Step,
  modules: readonly ModuleMigrations[],
  options: MigrateOptions,
): Promise<boolean> {
  const applied = await readApplied(tx);
  assertAllKnown(applied, modules);
  if (applied.has(identity(step))) return false;
  for (const sql of step.migration.statements(tx.dialect)) await executeAgain(tx, sql);
  await record(tx, step, options);
  return true;
}

/** MySQL commits at every DDL statement: the lease keeps others out, and repeating is safe. */
async function migrateUnderLease(
  database: SqlDatabase,
  modules: readonly ModuleMigrations[],
  options: MigrateOptions,
  assertHeld: () => void,
): Promise<readonly MigrationName[]> {
  const done: MigrationName[] = [];
  const pending = new Set((await pendingMigrations(database, modules)).map(identity));
  for (const step of planned(modules).filter((candidate) => pending.has(identity(candidate)))) {
    for (const sql of step.migration.statements(database.dialect)) {
      assertHeld();
      await database.transaction((tx) => executeAgain(tx, sql), options.signal);
    }
    assertHeld();
    await database.transaction((tx) => record(tx, step, options), options.signal);
    done.push(report(step, options));
  }
  return done;
}

function report({ module, name }: Step, options: MigrateOptions): MigrationName {
  options.onApplied?.({ module, name });
  return { module, name };
}

async function record(tx: SqlTransaction, { module, name }: Step, options: MigrateOptions): Promise<void> {
  const now = options.now?.() ?? Math.floor(Date.now() / 1000);
  await tx.insertRows({
    table: TABLE,
    columns: ['module', 'name', 'applied_at'],
    rows: [[module, name, now]],
    onConflict: { key: ['module', 'name'] },
  });
}

/** Runs a statement; one that an interrupted attempt has run already counts as done. */
async function executeAgain(tx: SqlTransaction, sql: string): Promise<void> {
  try {
    await tx.execute(sql);
  } catch (error) {
    if (!isDoneAlready(error, sql, tx.dialect)) throw error;
  }
}

/** Duplicate column, duplicate index, nothing there to drop: neither engine has IF NOT EXISTS for all of them. */
const MYSQL_DONE = new Set([1060, 1061, 1091]);

function isDoneAlready(error: unknown, sql: string, dialect: SqlDialect): boolean {
  const cause = (error as { cause?: { message?: string; errno?: number } }).cause;
  if (dialect.engine === 'mysql') return MYSQL_DONE.has(cause?.errno ?? 0);
  if (!/^\s*ALTER\s+TABLE/i.test(sql)) return false;
  const message = cause?.message ?? '';
  return /^duplicate column name/.test(message) || (/\sDROP\s/i.test(sql) && /^no such column/.test(message));
}

/** Another process may be building a big index under the write lock. */
async function whileBusy<T>(call: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  const deadline = performance.now() + BUSY_LIMIT_MS;
  for (let attempt = 0; ; attempt++) {
    try {
      return await call();
    } catch (error) {
      const isBusy = isRatecatError(error) && error.code === 'RATECAT_DATABASE_BUSY';
      if (!isBusy || performance.now() >= deadline) throw error;
    }
    await pause(backOffMs(attempt, FIRST_BACK_OFF_MS, MAX_BACK_OFF_MS), signal);
  }
}
