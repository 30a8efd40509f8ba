/** The engines under measure. MariaDB is started for the run when the machine has it. */
import { randomBytes } from 'node:crypto';
import { statSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { migrate } from '../core/database/migrate.js';
import { type ClosableDatabase, openDatabase } from '../core/database/open-database.js';
import { SqliteDatabase } from '../core/database/sqlite-driver.js';
import sqlStorage from '../plugins/storage/sql/index.js';
import { startMariadb } from '../test/support/services/mariadb.js';
import { MysqlRawWriter, type RawWriter, SqliteRawWriter } from './raw-writer.js';

export interface BenchEngine {
  readonly id: 'sqlite' | 'mariadb';
  readonly label: string;
  newDatabase(): Promise<BenchDatabase>;
  stop(): Promise<void>;
}

/** An empty database; with `tables` it has those of the storage. */
export interface BenchDatabase {
  readonly url: string;
  open(): Promise<ClosableDatabase>;
  rawWriter(): Promise<RawWriter>;
  /** Size on disk, everything written back. Close other connections before. */
  bytes(): Promise<number>;
  /** By table, indexes included. */
  tableBytes(): Promise<ReadonlyMap<string, number>>;
}

export const STORAGE_TABLES = [{ module: 'storage/sql', migrations: sqlStorage.migrations! }];

/** Opens a database with the storage's tables. */
export async function openWithTables(database: BenchDatabase): Promise<ClosableDatabase> {
  const opened = await database.open();
  await migrate(opened, STORAGE_TABLES);
  return opened;
}

export async function sqliteEngine(): Promise<BenchEngine> {
  const folder = await mkdtemp(join(tmpdir(), 'ratecat-bench-'));
  return {
    id: 'sqlite',
    label: 'SQLite',
    async newDatabase() {
      const path = join(folder, `${randomBytes(4).toString('hex')}.db`);
      const url = `sqlite://${path}`;
      return {
        url,
        open: () => openDatabase(url),
        rawWriter: async () => new SqliteRawWriter(path),
        async bytes() {
          const database = new SqliteDatabase(path);
          database.pragma('wal_checkpoint(TRUNCATE)');
          database.close();
          return statSync(path).size;
        },
        async tableBytes() {
          const database = new SqliteDatabase(path);
          const rows = database
            .prepare(
              `SELECT m.tbl_name AS name, SUM(d.pgsize) AS bytes FROM dbstat d
               JOIN sqlite_master m ON m.name = d.name GROUP BY m.tbl_name`,
            )
            .all() as { readonly name: string; readonly bytes: number }[];
          database.close();
          return new Map(rows.map(({ name, bytes }) => [name, bytes]));
        },
      };
    },
    stop: () => rm(folder, { recursive: true, force: true }),
  };
}

/** @throws when MariaDB is not installed. */
export async function mariadbEngine(): Promise<BenchEngine> {
  const more = process.env.RATECAT_BENCH_MARIADB;
  const server = await startMariadb({
    flushLogAtTransactionCommit: 1,
    arguments: more === undefined ? [] : more.split(' '),
  });
  let serial = 0;
  return {
    id: 'mariadb',
    label: 'MariaDB',
    async newDatabase() {
      const name = `bench_${++serial}`;
      const url = await server.createDatabase(name);
      return {
        url,
        open: () => openDatabase(url),
        rawWriter: () => MysqlRawWriter.open(url),
        async bytes() {
          const rows = await server.query(
            'SELECT SUM(FILE_SIZE) AS bytes FROM information_schema.INNODB_SYS_TABLESPACES WHERE NAME LIKE ?',
            [`${name}/%`],
          );
          return Number(rows[0]?.bytes ?? 0);
        },
        async tableBytes() {
          const tables = await server.query(
            'SELECT table_name AS name FROM information_schema.tables WHERE table_schema = ?',
            [name],
          );
          for (const table of tables) await server.query(`ANALYZE TABLE \`${name}\`.\`${table.name}\``);
          // Files are enlarged by several megabytes at once; what is used tells more.
          const rows = await server.query(
            `SELECT table_name AS name, data_length + index_length AS bytes FROM information_schema.tables
             WHERE table_schema = ?`,
            [name],
          );
          return new Map(rows.map((row) => [String(row.name), Number(row.bytes)]));
        },
      };
    },
    stop: () => server.stop(),
  };
}
