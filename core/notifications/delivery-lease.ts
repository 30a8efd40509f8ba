import type { Clock, SqlDatabase } from '../plugin-api/index.js';

interface Sighting {
  readonly owner: string;
  readonly fence: number;
  readonly heartbeat: number;
  readonly firstSeen: number;
}

/**
 * The right to deliver for one notifier, so that events keep their order however many processes run. Like the leases on
 * scopes it compares no clocks of two machines: a taker must have seen the same fence and heartbeat for the whole lease time.
 */
export class DeliveryLease {
  readonly #database: SqlDatabase;
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #notifier: string;
  readonly #owner: string;
  readonly #leaseMs: number;
  #sighting: Sighting | undefined;
  #fence: number | undefined;

  constructor(
    database: SqlDatabase,
    clock: Pick<Clock, 'monotonic'>,
    {
      notifier,
      owner,
      leaseMs,
    }: { readonly notifier: string; readonly owner: string; readonly leaseMs: number },
  ) {
    this.#database = database;
    this.#clock = clock;
    this.#notifier = notifier;
    this.#owner = owner;
    this.#leaseMs = leaseMs;
  }

  /** Takes it when it is free or its owner has not moved for the lease time; to be asked again and again. */
  async take(): Promise<boolean> {
    const rows = await this.#database.query(
      'SELECT owner, fence, heartbeat FROM ratecat_outbox_leases WHERE notifier = ?',
      [this.#notifier],
    );
    const row = rows[0];
    if (row === undefined) {
      await this.#addRow();
      return false;
    }
    const owner = row[0] === null ? undefined : String(row[0]);
    const seen = { fence: Number(row[1]), heartbeat: Number(row[2]) };
    if (owner !== undefined && owner !== this.#owner && !this.#isExpired({ owner, ...seen })) return false;
    const owns = owner === undefined ? 'owner IS NULL' : 'owner = ?';
    const { affected } = await this.#database.transaction((tx) =>
      tx.execute(
        `UPDATE ratecat_outbox_leases SET owner = ?, fence = ?, heartbeat = heartbeat + 1
         WHERE notifier = ? AND fence = ? AND heartbeat = ? AND ${owns}`,
        [
          this.#owner,
          seen.fence + 1,
          this.#notifier,
          seen.fence,
          seen.heartbeat,
          ...(owner === undefined ? [] : [owner]),
        ],
      ),
    );
    if (affected !== 1) return false;
    this.#fence = seen.fence + 1;
    this.#sighting = undefined;
    return true;
  }

  /** False when somebody else took it. */
  async renew(): Promise<boolean> {
    const { affected } = await this.#database.transaction((tx) =>
      tx.execute(
        'UPDATE ratecat_outbox_leases SET heartbeat = heartbeat + 1 WHERE notifier = ? AND fence = ? AND owner = ?',
        [this.#notifier, this.#fence ?? -1, this.#owner],
      ),
    );
    return affected === 1;
  }

  /** Gives it back; one that is lost already is no error. */
  async release(): Promise<void> {
    await this.#database.transaction((tx) =>
      tx.execute(
        'UPDATE ratecat_outbox_leases SET owner = NULL WHERE notifier = ? AND fence = ? AND owner = ?',
        [this.#notifier, this.#fence ?? -1, this.#owner],
      ),
    );
  }

  async #addRow(): Promise<void> {
    await this.#database.transaction((tx) =>
      tx.insertRows({
        table: 'ratecat_outbox_leases',
        columns: ['notifier', 'fence', 'heartbeat'],
        rows: [[this.#notifier, 0, 0]],
        onConflict: { key: ['notifier'] },
      }),
    );
  }

  #isExpired(state: Omit<Sighting, 'firstSeen'>): boolean {
    const now = this.#clock.monotonic();
    const last = this.#sighting;
    const same =
      last?.owner === state.owner && last.fence === state.fence && last.heartbeat === state.heartbeat;
    if (!same) this.#sighting = { ...state, firstSeen: now };
    return now - this.#sighting!.firstSeen >= this.#leaseMs;
  }
}
