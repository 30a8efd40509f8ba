import { type Clock, FencedError, type SqlDatabase } from '../plugin-api/index.js';
import { hasEnded } from './lease-owner.js';
import type { ScopeState } from './scope-states.js';

/** The right to write one scope. It is lost when somebody else raises the fence. */
export interface Lease {
  readonly row: number;
  readonly fence: number;
  readonly owner: string;
}

interface Sighting {
  readonly owner: string;
  readonly fence: number;
  readonly heartbeat: number;
  readonly firstSeen: number;
}

/**
 * Leases by compare-and-set on the scope row. No clocks of two machines are ever compared: a taker must have seen the same
 * fence and heartbeat for the whole lease time on its own monotonic clock, or see that the owner's process has ended.
 */
export class Leases {
  readonly #database: SqlDatabase;
  readonly #clock: Clock;
  readonly #leaseMs: number;
  readonly #sightings = new Map<number, Sighting>();
  readonly owner: string;

  constructor(database: SqlDatabase, clock: Clock, owner: string, leaseSeconds: number) {
    this.#database = database;
    this.#clock = clock;
    this.#leaseMs = leaseSeconds * 1000;
    this.owner = owner;
  }

  /** Notes who holds the row; call it with every listing, so that dead owners are recognised in time. */
  observe(state: ScopeState): void {
    if (state.owner === undefined || state.owner === this.owner) {
      this.#sightings.delete(state.row);
      return;
    }
    const last = this.#sightings.get(state.row);
    if (last?.owner === state.owner && last.fence === state.fence && last.heartbeat === state.heartbeat)
      return;
    this.#sightings.set(state.row, {
      owner: state.owner,
      fence: state.fence,
      heartbeat: state.heartbeat,
      firstSeen: this.#clock.monotonic(),
    });
  }

  /** Whether a lease taken by somebody else has not moved for the lease time. */
  isExpired(state: ScopeState): boolean {
    const seen = this.#sightings.get(state.row);
    if (seen === undefined || seen.fence !== state.fence || seen.heartbeat !== state.heartbeat) return false;
    return this.#clock.monotonic() - seen.firstSeen >= this.#leaseMs;
  }

  /** Takes a lease that is free, expired or of a process that has ended; undefined when somebody else has it or was faster. */
  async take(state: ScopeState): Promise<Lease | undefined> {
    const free = state.owner === undefined;
    // A lease in our own name that nobody in this process holds is a leftover: it may be taken like an expired one.
    if (!free && state.owner !== this.owner && !this.isExpired(state) && !hasEnded(state.owner!))
      return undefined;
    const fence = state.fence + 1;
    const owns = free ? 'owner IS NULL' : 'owner = ?';
    const result = await this.#database.transaction((tx) =>
      tx.execute(
        `UPDATE ratecat_scopes SET owner = ?, fence = ?, heartbeat = heartbeat + 1
         WHERE id = ? AND fence = ? AND heartbeat = ? AND ${owns}`,
        [
          this.owner,
          fence,
          state.row,
          state.fence,
          state.heartbeat,
          ...(state.owner === undefined ? [] : [state.owner]),
        ],
      ),
    );
    if (result.affected !== 1) return undefined;
    this.#sightings.delete(state.row);
    return { row: state.row, fence, owner: this.owner };
  }

  /** @throws FencedError RATECAT_LEASE_LOST when somebody else took the scope. */
  async renew(lease: Lease): Promise<void> {
    const result = await this.#database.transaction((tx) =>
      tx.execute(
        'UPDATE ratecat_scopes SET heartbeat = heartbeat + 1 WHERE id = ? AND fence = ? AND owner = ?',
        [lease.row, lease.fence, lease.owner],
      ),
    );
    if (result.affected !== 1) throw leaseLost(lease);
  }

  /** Gives the scope back; a lease that is lost already is no error. */
  async release(lease: Lease): Promise<void> {
    await this.#database.transaction((tx) =>
      tx.execute('UPDATE ratecat_scopes SET owner = NULL WHERE id = ? AND fence = ? AND owner = ?', [
        lease.row,
        lease.fence,
        lease.owner,
      ]),
    );
  }
}

export function leaseLost(lease: Lease): FencedError {
  return new FencedError(
    'RATECAT_LEASE_LOST',
    `Another processor took scope row ${lease.row} (fence ${lease.fence} is no longer valid); nothing was written.`,
  );
}
