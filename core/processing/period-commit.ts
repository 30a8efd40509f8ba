import { randomUUID } from 'node:crypto';
import { periodCommitted, scopeRecovered } from '../notifications/events.js';
import type { Outbox } from '../notifications/outbox.js';
import {
  type Clock,
  type Frame,
  type Instant,
  isRatecatError,
  type RatedPoint,
  type SqlDatabase,
  type SqlTransaction,
  type Storage,
} from '../plugin-api/index.js';
import { type Lease, leaseLost } from '../scopes/leases.js';
import { advanceTask, type TaskStep } from '../scopes/reprocess-tasks.js';

export interface RatedFrame {
  readonly frame: Frame<RatedPoint>;
  /** Hash of the rule snapshot. */
  readonly snapshot: string;
  readonly fingerprint: string | undefined;
}

/** A line of the audit table about a scope. */
export interface CommitAudit {
  readonly action: string;
  readonly detail: string;
}

/** How often and how long to ask whether a commit went through after the connection broke at COMMIT. */
const ASK_AGAIN_MS = 500;

/**
 * The last stage: frame, roll-ups, watermark and lease check in one transaction. Its first statement is a compare-and-set on
 * the scope row that always changes it, so a worker that lost its lease writes nothing, on one server or in a cluster.
 */
export class PeriodCommit {
  readonly #database: SqlDatabase;
  readonly #storage: Storage;
  readonly #clock: Clock;
  readonly #outbox: Outbox | undefined;

  constructor(database: SqlDatabase, storage: Storage, clock: Clock, outbox?: Outbox) {
    this.#database = database;
    this.#storage = storage;
    this.#clock = clock;
    this.#outbox = outbox;
  }

  /**
   * Writes the next period of a scope and moves its watermark from the period's begin to its end.
   * @param wasStuck the scope was, up to this period.
   * @throws FencedError RATECAT_LEASE_LOST when the scope was taken, reset or switched off meanwhile.
   */
  async advance(
    rated: RatedFrame,
    lease: Lease,
    keepFingerprints: number,
    signal: AbortSignal,
    wasStuck = false,
  ): Promise<void> {
    const { begin, end } = rated.frame.period;
    await this.#commit(rated, lease, signal, async (tx, commitId) => {
      const moved = await tx.execute(
        `UPDATE ratecat_scopes SET commit_seq = commit_seq + 1, commit_id = ?, watermark = ?, last_begin = ?,
         state = 'active', reason = NULL, failures = 0, retry_at = NULL
         WHERE id = ? AND fence = ? AND watermark = ? AND active = 1`,
        [commitId, end, begin, lease.row, lease.fence, begin],
      );
      if (moved.affected !== 1) throw leaseLost(lease);
      await this.#rememberFingerprint(tx, rated, lease, keepFingerprints);
      await this.#tell(tx, rated, undefined);
      const { source, scope } = rated.frame;
      if (wasStuck) await this.#outbox?.add(tx, scopeRecovered(source, scope, end, 'rated'));
    });
  }

  /**
   * Writes a period that lies before the watermark once more; the watermark stays.
   * @param step the task that moves on with the period.
   * @throws FencedError RATECAT_LEASE_LOST as `advance` does, and when the task is not where it was read.
   */
  async replace(
    rated: RatedFrame,
    lease: Lease,
    detail: string,
    signal: AbortSignal,
    step?: TaskStep,
  ): Promise<void> {
    await this.#commit(rated, lease, signal, async (tx, commitId) => {
      await this.#touch(tx, lease, commitId, rated.frame.period.end);
      await this.#advanceTask(tx, lease, step);
      await this.#rememberFingerprint(tx, rated, lease, 0);
      await this.#audit(tx, lease, { action: 'period.re-rated', detail });
      await this.#tell(tx, rated, detail);
    });
  }

  /** Moves a task on and leaves what is stored as it is. @throws FencedError RATECAT_LEASE_LOST as `replace` does. */
  async pass(lease: Lease, step: TaskStep, audit: CommitAudit, signal: AbortSignal): Promise<void> {
    await this.#commit(undefined, lease, signal, async (tx, commitId) => {
      await this.#touch(tx, lease, commitId, 0);
      await this.#advanceTask(tx, lease, step);
      await this.#audit(tx, lease, audit);
    });
  }

  /** Sets the first watermark of a scope that has none. */
  async begin(lease: Lease, watermark: Instant): Promise<void> {
    const result = await this.#database.transaction((tx) =>
      tx.execute('UPDATE ratecat_scopes SET watermark = ? WHERE id = ? AND fence = ? AND watermark IS NULL', [
        watermark,
        lease.row,
        lease.fence,
      ]),
    );
    if (result.affected !== 1) throw leaseLost(lease);
  }

  async #tell(tx: SqlTransaction, rated: RatedFrame, why: string | undefined): Promise<void> {
    if (this.#outbox?.wants('rating.period.committed') !== true) return;
    await this.#outbox.add(tx, periodCommitted(rated.frame, rated.snapshot, why));
  }

  /** The first statement of a transaction that leaves the watermark where it is. */
  async #touch(tx: SqlTransaction, lease: Lease, commitId: string, ratedUpTo: Instant): Promise<void> {
    const touched = await tx.execute(
      `UPDATE ratecat_scopes SET commit_seq = commit_seq + 1, commit_id = ?
       WHERE id = ? AND fence = ? AND watermark >= ? AND active = 1`,
      [commitId, lease.row, lease.fence, ratedUpTo],
    );
    if (touched.affected !== 1) throw leaseLost(lease);
  }

  async #advanceTask(tx: SqlTransaction, lease: Lease, step: TaskStep | undefined): Promise<void> {
    if (step !== undefined && !(await advanceTask(tx, step))) throw leaseLost(lease);
  }

  async #audit(tx: SqlTransaction, lease: Lease, { action, detail }: CommitAudit): Promise<void> {
    await tx.execute('INSERT INTO ratecat_audit (at, scope, action, author, detail) VALUES (?, ?, ?, ?, ?)', [
      Math.floor(this.#clock.now() / 1000),
      lease.row,
      action,
      lease.owner,
      detail,
    ]);
  }

  /** Without a frame nothing is stored. */
  async #commit(
    rated: RatedFrame | undefined,
    lease: Lease,
    signal: AbortSignal,
    guard: (tx: SqlTransaction, commitId: string) => Promise<void>,
  ): Promise<void> {
    const commitId = randomUUID();
    const joins = this.#storage.capabilities.joinsCoreTransaction;
    try {
      if (rated !== undefined && !joins) {
        const write = { fence: lease.fence, snapshot: rated.snapshot };
        const generation = await this.#nextGeneration(lease);
        await this.#storage.replacePeriod(rated.frame, { ...write, generation }, signal);
      }
      await this.#database.transaction(async (tx) => {
        await guard(tx, commitId);
        if (rated === undefined || !joins) return;
        const write = { fence: lease.fence, snapshot: rated.snapshot, tx, generation: 0 };
        await this.#storage.replacePeriod(rated.frame, write, signal);
      }, signal);
    } catch (error) {
      if (!isRatecatError(error) || error.code !== 'RATECAT_COMMIT_UNKNOWN') throw error;
      if (!(await this.#wentThrough(lease, commitId, signal))) throw error;
    }
  }

  /** The connection broke at COMMIT: only the stored commit id tells what happened. */
  async #wentThrough(lease: Lease, commitId: string, signal: AbortSignal): Promise<boolean> {
    for (;;) {
      try {
        const rows = await this.#database.query('SELECT commit_id FROM ratecat_scopes WHERE id = ?', [
          lease.row,
        ]);
        return rows[0]?.[0] === commitId;
      } catch (error) {
        if (!isRatecatError(error) || !error.retryable) throw error;
        await this.#clock.sleep(ASK_AGAIN_MS, signal);
      }
    }
  }

  async #nextGeneration(lease: Lease): Promise<number> {
    const rows = await this.#database.query(
      'SELECT commit_seq FROM ratecat_scopes WHERE id = ? AND fence = ?',
      [lease.row, lease.fence],
    );
    if (rows[0] === undefined) throw leaseLost(lease);
    return Number(rows[0][0]) + 1;
  }

  async #rememberFingerprint(
    tx: SqlTransaction,
    rated: RatedFrame,
    lease: Lease,
    keep: number,
  ): Promise<void> {
    if (rated.fingerprint === undefined) return;
    const { begin, end } = rated.frame.period;
    await tx.insertRows({
      table: 'ratecat_fingerprints',
      columns: ['scope', 'period_begin', 'content'],
      rows: [[lease.row, begin, rated.fingerprint]],
      onConflict: { key: ['scope', 'period_begin'], replace: ['content'] },
    });
    if (keep === 0) return;
    await tx.execute('DELETE FROM ratecat_fingerprints WHERE scope = ? AND period_begin < ?', [
      lease.row,
      end - keep * (end - begin),
    ]);
  }
}
