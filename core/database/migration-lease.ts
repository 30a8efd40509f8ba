import { randomUUID } from 'node:crypto';
import { type SqlDatabase, type SqlRow, type SqlValue, UnavailableError } from '../plugin-api/index.js';
import { pause } from './event-loop.js';

export interface LeaseOptions {
  /** A holder whose heartbeat stands still for this long, in milliseconds, is taken for dead. */
  readonly leaseMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

const TABLE = 'ratecat_migration_lock';
const DEFAULT_LEASE_MS = 30_000;
const FREE = '';

/**
 * Runs `work` while no other process migrates. The lease is a row with an owner and a heartbeat, taken by compare-and-set;
 * a waiter judges the holder by its own monotonic clock, so no two clocks are compared. Locks of the engine
 * (GET_LOCK, FOR UPDATE) would not hold across the nodes of a cluster.
 */
export async function withMigrationLease<T>(
  database: SqlDatabase,
  options: LeaseOptions,
  work: (assertHeld: () => void) => Promise<T>,
): Promise<T> {
  await createTable(database, options.signal);
  const lease = new MigrationLease(database, options.leaseMs ?? DEFAULT_LEASE_MS);
  await lease.take(options.signal);
  try {
    return await work(() => lease.assertHeld());
  } finally {
    await lease.release();
  }
}

async function createTable(database: SqlDatabase, signal: AbortSignal | undefined): Promise<void> {
  const { dialect } = database;
  const create = `CREATE TABLE IF NOT EXISTS ${TABLE} (
    id ${dialect.integer} NOT NULL PRIMARY KEY,
    owner ${dialect.text(36)} NOT NULL,
    beat ${dialect.integer} NOT NULL
  )${dialect.tableOptions()}`;
  await database.transaction((tx) => tx.execute(create), signal);
  await database.transaction(
    (tx) =>
      tx.insertRows({
        table: TABLE,
        columns: ['id', 'owner', 'beat'],
        rows: [[1, FREE, 0]],
        onConflict: { key: ['id'] },
      }),
    signal,
  );
}

class MigrationLease {
  readonly #database: SqlDatabase;
  readonly #owner: string = randomUUID();
  readonly #leaseMs: number;
  #renewedAt = 0;
  #isLost = false;
  #renewal: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;

  constructor(database: SqlDatabase, leaseMs: number) {
    this.#database = database;
    this.#leaseMs = leaseMs;
  }

  async take(signal: AbortSignal | undefined): Promise<void> {
    let seen: SqlRow | undefined;
    let seenAt = 0;
    for (;;) {
      const asked = performance.now();
      const [row] = await this.#database.query(`SELECT owner, beat FROM ${TABLE} WHERE id = 1`);
      if (row === undefined) throw new Error(`The row of ${TABLE} has vanished.`);
      const changed = seen === undefined || row[0] !== seen[0] || row[1] !== seen[1];
      if (changed) {
        seen = row;
        seenAt = asked;
      }
      const isFree = row[0] === FREE || asked - seenAt >= this.#leaseMs;
      if (isFree && (await this.#claim(row, signal))) return;
      await pause(Math.min(200, this.#leaseMs / 10), signal);
    }
  }

  /** @throws UnavailableError RATECAT_MIGRATION_LEASE_LOST when another process may be migrating by now. */
  assertHeld(): void {
    const isOverdue = performance.now() - this.#renewedAt >= this.#leaseMs;
    if (!this.#isLost && !isOverdue) return;
    throw new UnavailableError(
      'RATECAT_MIGRATION_LEASE_LOST',
      'Migrating was interrupted: the database could not be reached in time, and another process may have taken over. ' +
        'Run it again.',
    );
  }

  async release(): Promise<void> {
    clearInterval(this.#timer);
    await this.#renewal;
    try {
      await this.#update(`owner = '${FREE}'`, 'owner = ?', [this.#owner]);
    } catch {
      // What was migrated stays migrated, and the lease runs out by itself.
    }
  }

  async #claim([owner, beat]: SqlRow, signal: AbortSignal | undefined): Promise<boolean> {
    const asked = performance.now();
    const condition = 'owner = ? AND beat = ?';
    const change = `owner = '${this.#owner}', beat = beat + 1`;
    if ((await this.#update(change, condition, [owner!, beat!], signal)) !== 1) return false;
    this.#renewedAt = asked;
    this.#timer = setInterval(() => {
      this.#renewal = this.#renewal.then(() => this.#renew());
    }, this.#leaseMs / 5);
    return true;
  }

  async #renew(): Promise<void> {
    const asked = performance.now();
    try {
      if ((await this.#update('beat = beat + 1', 'owner = ?', [this.#owner])) === 1) this.#renewedAt = asked;
      else this.#isLost = true;
    } catch {
      // The next beat tries again; when none gets through in time, `assertHeld` says so.
    }
  }

  async #update(
    change: string,
    condition: string,
    parameters: readonly SqlValue[],
    signal?: AbortSignal,
  ): Promise<number> {
    const sql = `UPDATE ${TABLE} SET ${change} WHERE id = 1 AND ${condition}`;
    const result = await this.#database.transaction((tx) => tx.execute(sql, parameters), signal);
    return result.affected;
  }
}
