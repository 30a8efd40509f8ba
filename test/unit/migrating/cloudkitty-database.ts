import { openDatabase } from '../../../core/database/open-database.js';
import type { SqlValue } from '../../../core/plugin-api/index.js';

/**
 * - first: no tenants, quantities without decimals, rules without dates.
 * - newton: tenants; the state of a scope is its newest frame.
 * - rocky: a table of states with nothing but an id and a date.
 * - today: everything.
 */
export type Generation = 'first' | 'newton' | 'rocky' | 'today';
const GENERATIONS: readonly Generation[] = ['first', 'newton', 'rocky', 'today'];

export type OldRow = Readonly<Record<string, SqlValue>>;

/** A database with the tables of CloudKitty, in the schema of one of its generations. */
export class CloudkittyDatabase {
  readonly url: string;
  readonly generation: Generation;
  readonly #engine: 'sqlite' | 'mysql';

  private constructor(url: string, generation: Generation) {
    this.url = url;
    this.generation = generation;
    this.#engine = url.startsWith('sqlite:') ? 'sqlite' : 'mysql';
  }

  static async create(url: string, generation: Generation = 'today'): Promise<CloudkittyDatabase> {
    const database = new CloudkittyDatabase(url, generation);
    for (const sql of database.#tables()) await database.execute(sql);
    return database;
  }

  async execute(sql: string, parameters: readonly SqlValue[] = []): Promise<void> {
    const database = await openDatabase(this.url);
    try {
      await database.transaction((tx) => tx.execute(sql, parameters));
    } finally {
      await database.close();
    }
  }

  async insert(table: string, rows: readonly OldRow[]): Promise<void> {
    if (rows.length === 0) return;
    const columns = Object.keys(rows[0]!);
    const database = await openDatabase(this.url);
    try {
      await database.transaction((tx) =>
        tx.insertRows({
          table,
          columns,
          rows: rows.map((row) => columns.map((column) => row[column]!)),
        }),
      );
    } finally {
      await database.close();
    }
  }

  /** Everything that the tables hold, as text. */
  async contents(): Promise<string> {
    const database = await openDatabase(this.url);
    try {
      const parts: string[] = [];
      for (const sql of this.#tables()) {
        const name = /^CREATE TABLE (\w+)/.exec(sql)?.[1];
        if (name === undefined) continue;
        const rows = await database.query(`SELECT * FROM ${name} ORDER BY 1`);
        parts.push(JSON.stringify([name, rows.map((row) => row.map(String))]));
      }
      return parts.join('\n');
    } finally {
      await database.close();
    }
  }

  #tables(): readonly string[] {
    const since = (generation: Generation) =>
      GENERATIONS.indexOf(this.generation) >= GENERATIONS.indexOf(generation);
    const isMysql = this.#engine === 'mysql';
    const id = isMysql ? 'id INT AUTO_INCREMENT PRIMARY KEY' : 'id INTEGER PRIMARY KEY AUTOINCREMENT';
    // The character set of old installations.
    const end = isMysql ? ' ENGINE=InnoDB DEFAULT CHARSET=utf8mb3' : '';
    const table = (name: string, columns: readonly (string | false)[]) =>
      `CREATE TABLE ${name} (${columns.filter((column) => column !== false).join(', ')})${end}`;
    const dates = [
      since('today') && 'name VARCHAR(32) NOT NULL',
      since('today') && 'created_at DATETIME NOT NULL',
      since('today') && '"start" DATETIME NOT NULL',
      since('today') && '"end" DATETIME',
      since('today') && 'description VARCHAR(256)',
      since('today') && 'deleted DATETIME',
      since('today') && 'created_by VARCHAR(32) NOT NULL',
      since('today') && 'updated_by VARCHAR(32)',
      since('today') && 'deleted_by VARCHAR(32)',
    ];
    const rule = [
      'cost DECIMAL(40,28)',
      "map_type VARCHAR(4) NOT NULL DEFAULT 'flat'",
      'service_id INTEGER',
      'field_id INTEGER',
      'group_id INTEGER',
      since('newton') && 'tenant_id VARCHAR(36)',
    ];
    const quantity =
      this.generation === 'first' ? 'DECIMAL(10,2)' : since('today') ? 'DECIMAL(15,5)' : 'DECIMAL(10,5)';
    return [
      table('modules_state', [
        'name VARCHAR(255) NOT NULL PRIMARY KEY',
        'state BOOLEAN',
        since('newton') && 'priority INTEGER DEFAULT 1',
      ]),
      table('rated_data_frames', [
        id,
        since('newton') && 'tenant_id VARCHAR(32)',
        '"begin" DATETIME NOT NULL',
        '"end" DATETIME NOT NULL',
        'unit VARCHAR(255) NOT NULL',
        `qty ${quantity} NOT NULL`,
        'res_type VARCHAR(255) NOT NULL',
        'rate FLOAT NOT NULL',
        '"desc" TEXT NOT NULL',
      ]),
      ...(since('rocky')
        ? ['CREATE INDEX idx_rated_data_frames_date ON rated_data_frames ("begin", "end")']
        : []),
      ...(since('rocky') ? [this.#states(table, id)] : []),
      ...(since('today')
        ? [
            table('storage_scope_reprocessing_schedule', [
              id,
              'identifier VARCHAR(256) NOT NULL',
              'start_reprocess_time DATETIME NOT NULL',
              'end_reprocess_time DATETIME NOT NULL',
              'current_reprocess_time DATETIME',
              'reason TEXT NOT NULL',
            ]),
          ]
        : []),
      table('hashmap_services', [id, 'service_id VARCHAR(36) NOT NULL', 'name VARCHAR(255) NOT NULL']),
      table('hashmap_fields', [
        id,
        'field_id VARCHAR(36) NOT NULL',
        'name VARCHAR(255) NOT NULL',
        'service_id INTEGER NOT NULL',
      ]),
      table('hashmap_groups', [id, 'group_id VARCHAR(36) NOT NULL', 'name VARCHAR(255) NOT NULL']),
      table('hashmap_mappings', [
        id,
        'mapping_id VARCHAR(36) NOT NULL',
        'value VARCHAR(255)',
        ...rule,
        ...dates,
      ]),
      table('hashmap_thresholds', [id, 'threshold_id VARCHAR(36) NOT NULL', 'level DECIMAL(20,8)', ...rule]),
      table('pyscripts_scripts', [
        id,
        'script_id VARCHAR(36) NOT NULL',
        'data BLOB NOT NULL',
        'checksum VARCHAR(128) NOT NULL',
        ...(since('today') ? dates : ['name VARCHAR(255) NOT NULL']),
      ]),
    ];
  }

  #states(table: (name: string, columns: readonly (string | false)[]) => string, id: string): string {
    const isToday = this.generation === 'today';
    return table('cloudkitty_storage_states', [
      id,
      `identifier VARCHAR(${isToday ? 256 : 40}) NOT NULL`,
      isToday && 'scope_key VARCHAR(40)',
      isToday && 'fetcher VARCHAR(40)',
      isToday && 'collector VARCHAR(40)',
      isToday ? 'last_processed_timestamp DATETIME NOT NULL' : 'state DATETIME NOT NULL',
      isToday && 'scope_activation_toggle_date DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP',
      isToday && 'active BOOLEAN NOT NULL DEFAULT 1',
    ]);
  }
}

export interface OldFrame {
  readonly tenant: string;
  readonly metric: string;
  /** Seconds since the epoch. */
  readonly begin: number;
  readonly seconds?: number;
  readonly quantity: string;
  readonly price: string;
  readonly description?: object | string;
  readonly unit?: string;
}

/** A row of `rated_data_frames` of a generation. */
export function frameRow(generation: Generation, frame: OldFrame): OldRow {
  const { description = { id: `${frame.metric}-1`, project_id: frame.tenant } } = frame;
  return {
    ...(generation === 'first' ? {} : { tenant_id: frame.tenant }),
    begin: dateOf(frame.begin),
    end: dateOf(frame.begin + (frame.seconds ?? 3600)),
    unit: frame.unit ?? 'unit',
    qty: frame.quantity,
    res_type: frame.metric,
    rate: frame.price,
    desc: typeof description === 'string' ? description : JSON.stringify(description),
  };
}

export function dateOf(instant: number): string {
  return new Date(instant * 1000).toISOString().slice(0, 19).replace('T', ' ');
}
