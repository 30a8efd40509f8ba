import { readFileSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createConnection, type RowDataPacket } from 'mysql2/promise';
import { type Command, findProgram, runCommand, ServiceProcess } from './child-process.js';
import { freePort } from './free-port.js';
import type { Place } from './network.js';
import { createOwnedFolder, createServiceFolder, removeServiceFolder } from './service-folder.js';

const HOST = '127.0.0.1';
const USER = 'ratecat';
const PASSWORD = 'ratecat';

export interface MariadbOptions {
  /**
   * 1 syncs the log at each commit; 2 hands it to the kernel, which survives a kill of the server though not a loss of
   * power; 0 may lose a second. Default 2.
   */
  readonly flushLogAtTransactionCommit?: 0 | 1 | 2;
  /** Further server options, for example `--wait-timeout=1`; they win over those set here. */
  readonly arguments?: readonly string[];
  /** Options of the first start only. */
  readonly firstStart?: readonly string[];
  /** Gets everything, users included, from a cluster. */
  readonly joins?: boolean;
  /** By default on this machine's loopback. */
  readonly place?: Place | undefined;
}

export type Row = Readonly<Record<string, unknown>>;

/** A MariaDB server of its own: Debian's program, a fresh data folder, a free port on 127.0.0.1. */
export async function startMariadb(options: MariadbOptions = {}): Promise<Mariadb> {
  const installer = findProgram('mariadb-install-db', 'MariaDB');
  const program = findProgram('mariadbd', 'MariaDB');
  const folder = createServiceFolder('mariadb');
  const user = process.getuid?.() === 0 ? 'mysql' : undefined; // the server refuses to run as root
  const port = await freePort();
  const { place } = options;
  const firstStart = [
    ...(options.firstStart ?? []),
    ...(options.joins === true ? [] : admitRoot(folder, place)),
  ];
  const server = { folder, user, port, place, firstStart, settings: settings(folder, port, options) };
  const mariadb = new Mariadb(program, server);
  try {
    createOwnedFolder(join(folder, 'server'), user);
    await installDatabase(installer, server);
    await mariadb.start();
    if (options.joins !== true) {
      await mariadb.query(
        `GRANT ALL ON *.* TO '${USER}'@'${place?.client ?? HOST}' IDENTIFIED BY '${PASSWORD}' WITH GRANT OPTION`,
      );
    }
    return mariadb;
  } catch (error) {
    await mariadb.stop();
    throw error;
  }
}

interface Server {
  readonly folder: string;
  readonly user: string | undefined;
  readonly port: number;
  readonly place: Place | undefined;
  readonly settings: readonly string[];
  readonly firstStart: readonly string[];
}

export class Mariadb {
  readonly host: string;
  readonly port: number;
  readonly user = USER;
  readonly password = PASSWORD;
  readonly #folder: string;
  readonly #command: Command;
  #process: ServiceProcess;

  constructor(program: string, { folder, user, port, place, settings, firstStart }: Server) {
    this.host = place?.address ?? HOST;
    this.port = port;
    this.#folder = folder;
    this.#command = {
      name: 'mariadbd',
      program,
      arguments: ['--no-defaults', ...settings],
      folder,
      user,
      namespace: place?.namespace,
    };
    this.#process = this.#newProcess(firstStart);
  }

  get isRunning(): boolean {
    return this.#process.isRunning;
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** For example `mysql://ratecat:ratecat@127.0.0.1:23306/rating`; the user may do everything. */
  url(database: string): string {
    return `mysql://${USER}:${PASSWORD}@${this.host}:${this.port}/${database}`;
  }

  /** Creates an empty database, in place of one of that name, and gives its URL. */
  async createDatabase(name: string, characterSet = 'utf8mb4'): Promise<string> {
    await this.query(`CREATE OR REPLACE DATABASE \`${name}\` CHARACTER SET ${characterSet}`);
    return this.url(name);
  }

  /** Runs one statement as root on a connection of its own; gives the rows, or none for a statement that has none. */
  async query(statement: string, values: readonly unknown[] = []): Promise<readonly Row[]> {
    const connection = await createConnection({
      host: this.host,
      port: this.port,
      user: 'root',
      connectTimeout: 5_000,
    });
    try {
      const [rows] = await connection.query<RowDataPacket[]>(statement, [...values]);
      return Array.isArray(rows) ? rows : [];
    } finally {
      connection.destroy();
    }
  }

  /** Starts the server after `kill`, on the same port and data; resolves when it has recovered and answers. */
  start(): Promise<void> {
    return this.#process.start();
  }

  /** Resolves when the process is gone; data and port stay. */
  async kill(signal: 'SIGKILL' | 'SIGABRT' = 'SIGKILL'): Promise<void> {
    await this.#process.kill(signal);
    this.#process = this.#newProcess();
  }

  /** Ends the server gracefully if it runs, and starts it on the same port and data. */
  async restart(): Promise<void> {
    await this.#process.stop();
    this.#process = this.#newProcess();
    await this.#process.start();
  }

  /** Ends the server gracefully; data and port stay. */
  async shutDown(): Promise<void> {
    await this.#process.stop();
    this.#process = this.#newProcess();
  }

  /** What the server has logged so far. */
  get log(): string {
    return readFileSync(join(this.#folder, `${this.#command.name}.log`), 'utf8');
  }

  /** A node of a cluster that is not running forgets where it was, so that it needs everything anew. */
  async forgetPosition(): Promise<void> {
    await rm(join(this.#folder, 'server', 'data', 'grastate.dat'));
  }

  /** Ends the server and removes its data. */
  async stop(): Promise<void> {
    await this.#process.stop();
    await removeServiceFolder(this.#folder);
  }

  #newProcess(more: readonly string[] = []): ServiceProcess {
    const { arguments: plain } = this.#command;
    return new ServiceProcess(
      { ...this.#command, arguments: [...plain, ...more] },
      async () => (await this.query('SELECT 1')).length === 1,
    );
  }
}

function settings(folder: string, port: number, options: MariadbOptions): readonly string[] {
  const { flushLogAtTransactionCommit = 2, arguments: more = [] } = options;
  const home = join(folder, 'server');
  return [
    `--datadir=${join(home, 'data')}`,
    `--socket=${join(home, 'socket')}`,
    `--pid-file=${join(home, 'pid')}`,
    `--tmpdir=${home}`,
    `--port=${port}`,
    `--bind-address=${options.place?.address ?? HOST}`,
    '--skip-name-resolve',
    '--character-set-server=utf8mb4',
    '--collation-server=utf8mb4_general_ci',
    '--max-connections=400',
    '--innodb-buffer-pool-size=128M',
    '--innodb-log-file-size=32M',
    `--innodb-flush-log-at-trx-commit=${flushLogAtTransactionCommit}`,
    ...more,
  ];
}

/** Root of a new server may come from its own machine only, which we are not when it has a namespace of its own. */
function admitRoot(folder: string, place: Place | undefined): readonly string[] {
  if (place === undefined) return [];
  const file = join(folder, 'admit-root.sql');
  const root = `root@'${place.client}'`;
  writeFileSync(file, `CREATE USER ${root};\nGRANT ALL ON *.* TO ${root} WITH GRANT OPTION;\n`);
  return [`--init-file=${file}`];
}

async function installDatabase(program: string, { folder, user, settings }: Server): Promise<void> {
  const dataSettings = settings.filter((setting) => /^--(datadir|tmpdir|innodb)/.test(setting));
  await runCommand({
    name: 'mariadb-install-db',
    program,
    arguments: [
      '--no-defaults',
      '--auth-root-authentication-method=normal',
      '--skip-test-db',
      ...dataSettings,
    ],
    folder,
    user,
  });
}
