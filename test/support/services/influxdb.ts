import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Command, findProgram, ServiceProcess } from './child-process.js';
import { freePort } from './free-port.js';
import { createServiceFolder, removeServiceFolder } from './service-folder.js';

const HOST = '127.0.0.1';
const USER = 'ratecat';
const PASSWORD = 'rate"cat';

export interface InfluxdbOptions {
  /** Asks every request for user and password. Default false. */
  readonly authentication?: boolean;
  /** Lines for the section `[http]`. */
  readonly http?: readonly string[];
}

export type InfluxRow = Readonly<Record<string, string | number | boolean | null>>;

/** An InfluxDB 1.x of its own: Debian's program, a fresh data folder, free ports on 127.0.0.1. */
export async function startInfluxdb(options: InfluxdbOptions = {}): Promise<Influxdb> {
  const program = findProgram('influxd', 'InfluxDB');
  const folder = createServiceFolder('influxdb');
  const port = await freePort();
  const config = join(folder, 'influxdb.conf');
  mkdirSync(join(folder, 'data'));
  writeFileSync(config, configuration(folder, port, await freePort(), options));
  const influxdb = new Influxdb({ name: 'influxd', program, arguments: ['-config', config], folder }, port);
  try {
    await influxdb.start();
    if (options.authentication === true)
      await influxdb.query(`CREATE USER "${USER}" WITH PASSWORD '${PASSWORD}' WITH ALL PRIVILEGES`);
    return influxdb;
  } catch (error) {
    await influxdb.stop();
    throw error;
  }
}

export class Influxdb {
  readonly host = HOST;
  readonly port: number;
  readonly user = USER;
  readonly password = PASSWORD;
  readonly #folder: string;
  readonly #command: Command;
  #process: ServiceProcess;

  constructor(command: Command, port: number) {
    this.port = port;
    this.#folder = command.folder;
    this.#command = command;
    this.#process = this.#newProcess();
  }

  /** Runs one statement; gives the rows of all its series, tags among the columns, times in seconds. */
  async query(statement: string, database?: string): Promise<readonly InfluxRow[]> {
    const parameters = new URLSearchParams({
      epoch: 's',
      ...(database === undefined ? {} : { db: database }),
    });
    const response = await fetch(`http://${HOST}:${this.port}/query?${parameters}`, {
      method: 'POST',
      headers: authorization(),
      body: new URLSearchParams({ q: statement }),
    });
    const answer = (await response.json()) as Answer;
    const error = answer.error ?? answer.results?.[0]?.error;
    if (error !== undefined) throw new Error(`InfluxDB refused ${statement}: ${error}`);
    return (answer.results?.[0]?.series ?? []).flatMap(rowsOf);
  }

  /** Stores lines of line protocol, times in seconds. */
  async write(database: string, lines: string): Promise<void> {
    const response = await fetch(`http://${HOST}:${this.port}/write?db=${database}&precision=s`, {
      method: 'POST',
      headers: authorization(),
      body: lines,
    });
    if (response.status !== 204) throw new Error(`InfluxDB refused points: ${await response.text()}`);
  }

  /** Creates an empty database. */
  async createDatabase(name: string): Promise<void> {
    await this.query(`CREATE DATABASE "${name}"`);
  }

  async dropDatabase(name: string): Promise<void> {
    await this.query(`DROP DATABASE "${name}"`);
  }

  /** Starts the server after `kill`, on the same port and data. */
  start(): Promise<void> {
    return this.#process.start();
  }

  /** Resolves when the process is gone; data and port stay. */
  async kill(): Promise<void> {
    await this.#process.kill();
    this.#process = this.#newProcess();
  }

  /** Ends the server and removes its data. */
  async stop(): Promise<void> {
    await this.#process.stop();
    await removeServiceFolder(this.#folder);
  }

  #newProcess(): ServiceProcess {
    return new ServiceProcess(
      this.#command,
      async () => (await fetch(`http://${HOST}:${this.port}/ping`)).status === 204,
    );
  }
}

interface Series {
  readonly tags?: Readonly<Record<string, string>>;
  readonly columns: readonly string[];
  readonly values?: readonly (readonly (string | number | boolean | null)[])[];
}

interface Answer {
  readonly error?: string;
  readonly results?: readonly { readonly error?: string; readonly series?: readonly Series[] }[];
}

function rowsOf({ tags = {}, columns, values = [] }: Series): readonly InfluxRow[] {
  return values.map((row) => ({
    ...tags,
    ...Object.fromEntries(columns.map((name, place) => [name, row[place] ?? null])),
  }));
}

/** Ignored by a server that asks nobody. */
function authorization(): Readonly<Record<string, string>> {
  return { authorization: `Basic ${Buffer.from(`${USER}:${PASSWORD}`).toString('base64')}` };
}

function configuration(folder: string, port: number, rpcPort: number, options: InfluxdbOptions): string {
  const path = (name: string) => JSON.stringify(join(folder, 'data', name));
  return [
    'reporting-disabled = true',
    `bind-address = "${HOST}:${rpcPort}"`,
    '[meta]',
    `dir = ${path('meta')}`,
    '[data]',
    `dir = ${path('data')}`,
    `wal-dir = ${path('wal')}`,
    '[http]',
    `bind-address = "${HOST}:${port}"`,
    `auth-enabled = ${options.authentication ?? false}`,
    'log-enabled = false',
    ...(options.http ?? []),
    '[monitor]',
    'store-enabled = false',
    '',
  ].join('\n');
}
