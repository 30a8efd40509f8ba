import {
  type Clock,
  describeError,
  isRatecatError,
  type JsonValue,
  type Logger,
  type Notification,
  type NotificationScope,
  type Notifier,
  type SqlDatabase,
  type SqlRow,
} from '../plugin-api/index.js';
import { DeliveryLease } from './delivery-lease.js';
import type { NotificationMetrics } from './notification-metrics.js';

/** A notifier of the configuration, made from its plugin. */
export interface NamedNotifier {
  readonly name: string;
  readonly notifier: Notifier;
  /** Events that wait beyond this number are dropped, the oldest first. */
  readonly keepEvents: number;
  /** Events that have waited for longer are dropped. */
  readonly keepSeconds: number;
}

export interface DelivererParts {
  readonly target: NamedNotifier;
  readonly database: SqlDatabase;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: NotificationMetrics;
  /** Distinct for every process. */
  readonly owner: string;
  readonly leaseSeconds: number;
  readonly random: () => number;
  /** Ends the wait for a receiver that does not answer. */
  readonly bound: <T>(
    what: string,
    signal: AbortSignal,
    work: (limited: AbortSignal) => Promise<T>,
  ) => Promise<T>;
}

/** An event with the number of its row. */
interface Waiting {
  readonly row: number;
  readonly event: Notification;
}

const LARGEST_BATCH = 100;
const IDLE_MS = 1_000;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 60_000;
/** How often the bounds of the outbox are looked after. */
const TIDY_MS = 60_000;
/** Rows that are removed in one transaction. */
const STEP = 500;
/** Refused events are kept for people to look at. */
const REFUSED_KEPT = 10_000;

/**
 * Takes the events of one notifier from the outbox, oldest first, and removes them once they are confirmed. What fails is
 * tried again, in the same order, for as long as the bounds of the outbox allow.
 */
export class Deliverer {
  readonly #parts: DelivererParts;
  readonly #lease: DeliveryLease;
  #batch = LARGEST_BATCH;
  #failures = 0;
  #tidiedAt = Number.NEGATIVE_INFINITY;

  constructor(parts: DelivererParts) {
    this.#parts = parts;
    const { target, database, clock, owner, leaseSeconds } = parts;
    this.#lease = new DeliveryLease(database, clock, {
      notifier: target.name,
      owner,
      leaseMs: leaseSeconds * 1000,
    });
  }

  /** Works until `stop` is aborted. Of several processes one delivers; the others stand by. */
  async run(stop: AbortSignal): Promise<void> {
    const { clock, leaseSeconds, logger, target } = this.#parts;
    while (!stop.aborted) {
      try {
        if (await this.#lease.take()) await this.#deliverWhileHeld(stop);
        else await clock.sleep(Math.min(IDLE_MS, (leaseSeconds * 1000) / 3), stop);
      } catch (error) {
        if (stop.aborted) return;
        logger.warn('notifications wait for the database', {
          notifier: target.name,
          error: describeError(error),
        });
        await clock.sleep(this.#pause(++this.#failures), stop).catch(() => undefined);
      }
    }
  }

  async #deliverWhileHeld(stop: AbortSignal): Promise<void> {
    const lost = new AbortController();
    const signal = AbortSignal.any([stop, lost.signal]);
    const renewing = this.#keepLease(lost, signal);
    try {
      while (!signal.aborted) await this.#step(signal);
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      lost.abort();
      await renewing;
      await this.#lease.release();
    }
  }

  /**
   * Given up well before others may take the lease: two that deliver at once could swap events of a scope, and no receiver
   * knows a fence.
   */
  async #keepLease(lost: AbortController, signal: AbortSignal): Promise<void> {
    const { clock, leaseSeconds, logger, target } = this.#parts;
    const leaseMs = leaseSeconds * 1000;
    let renewed = clock.monotonic();
    while (!signal.aborted) {
      try {
        await clock.sleep(leaseMs / 4, signal);
        const asked = clock.monotonic();
        if (await this.#lease.renew()) renewed = asked;
        else lost.abort();
      } catch (error) {
        if (signal.aborted) return;
        logger.debug('the right to deliver could not be renewed', {
          notifier: target.name,
          error: describeError(error),
        });
      }
      if (clock.monotonic() - renewed > leaseMs / 2) lost.abort();
    }
  }

  async #step(signal: AbortSignal): Promise<void> {
    const { clock } = this.#parts;
    if (clock.monotonic() - this.#tidiedAt >= TIDY_MS) await this.#tidy();
    const waiting = await this.#head();
    if (waiting.length === 0) {
      await clock.sleep(IDLE_MS, signal);
      return;
    }
    try {
      await this.#publish(waiting, signal);
    } catch (error) {
      if (signal.aborted) throw error;
      await this.#failed(waiting, error, signal);
      return;
    }
    await this.#remove(waiting);
    this.#succeeded(waiting.length);
  }

  async #publish(waiting: readonly Waiting[], signal: AbortSignal): Promise<void> {
    const { target, bound } = this.#parts;
    const events = waiting.map(({ event }) => event);
    await bound(`Notifier '${target.name}'`, signal, async (limited) =>
      target.notifier.publish(events, limited),
    );
  }

  #succeeded(events: number): void {
    const { metrics, logger, target } = this.#parts;
    metrics.delivered(target.name, events);
    if (this.#failures > 0)
      logger.info('notifications are delivered again', { notifier: target.name, failures: this.#failures });
    this.#failures = 0;
    this.#batch = Math.min(LARGEST_BATCH, this.#batch * 2);
  }

  /** Smaller batches find the event that is refused, and let a slow receiver keep up with the time limit. */
  async #failed(waiting: readonly Waiting[], error: unknown, signal: AbortSignal): Promise<void> {
    const { metrics, logger, clock, target } = this.#parts;
    const kind = isRatecatError(error) ? error.kind : undefined;
    metrics.deliveryFailed(target.name, isRatecatError(error) ? error.code : 'RATECAT_INTERNAL');
    this.#batch = Math.max(1, Math.floor(waiting.length / 2));
    if (kind === 'data') {
      if (waiting.length === 1) await this.#setAside(waiting[0]!, error);
      return;
    }
    this.#failures++;
    const pauseMs = Math.max(
      kind === 'rejected' ? LONGEST_PAUSE_MS : this.#pause(this.#failures),
      askedFor(error),
    );
    logger[kind === 'rejected' ? 'error' : 'warn']('notifications are not taken, they will be tried again', {
      notifier: target.name,
      failures: this.#failures,
      retrySeconds: Math.round(pauseMs / 1000),
      error: describeError(error),
      ...(isRatecatError(error) ? { code: error.code } : {}),
    });
    await clock.sleep(pauseMs, signal);
  }

  /** Doubled each time up to the maximum, then shortened by up to a half at random. */
  #pause(failures: number): number {
    const ceiling = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(failures - 1, 30));
    return ceiling * (1 - this.#parts.random() / 2);
  }

  async #head(): Promise<readonly Waiting[]> {
    const rows = await this.#parts.database.query(
      `SELECT id, event_id, type, severity, at_ms, content FROM ratecat_outbox
       WHERE notifier = ? AND refused = 0 ORDER BY id LIMIT ?`,
      [this.#parts.target.name, this.#batch],
    );
    return rows.map(toWaiting);
  }

  async #remove(waiting: readonly { readonly row: number }[]): Promise<void> {
    const marks = waiting.map(() => '?').join(', ');
    await this.#parts.database.transaction((tx) =>
      tx.execute(
        `DELETE FROM ratecat_outbox WHERE id IN (${marks})`,
        waiting.map(({ row }) => row),
      ),
    );
  }

  async #setAside({ row, event }: Waiting, error: unknown): Promise<void> {
    const { database, logger, metrics, target } = this.#parts;
    const reason = describeError(error);
    await database.transaction((tx) =>
      tx.execute('UPDATE ratecat_outbox SET refused = 1, reason = ? WHERE id = ?', [reason, row]),
    );
    metrics.lost(target.name, 'refused', 1);
    logger.error('the receiver refused a notification for good; it is set aside and the next ones go on', {
      notifier: target.name,
      id: event.id,
      type: event.type,
      error: reason,
    });
  }

  /** Keeps the outbox within its bounds. */
  async #tidy(): Promise<void> {
    const { clock, logger, metrics, target } = this.#parts;
    const oldest = clock.now() - target.keepSeconds * 1000;
    const { dropped, left } = await this.#keep(0, target.keepEvents, oldest);
    metrics.waiting(target.name, left);
    if (dropped > 0) {
      metrics.lost(target.name, 'overflow', dropped);
      logger.error('notifications were dropped: the receiver has been away for too long', {
        notifier: target.name,
        dropped,
        waiting: left,
        keepEvents: target.keepEvents,
        keepDays: target.keepSeconds / 86_400,
      });
    }
    await this.#keep(1, REFUSED_KEPT, oldest);
    this.#tidiedAt = clock.monotonic();
  }

  /** Removes the oldest rows in small steps until neither bound is passed. */
  async #keep(
    refused: 0 | 1,
    most: number,
    oldest: number,
  ): Promise<{ readonly dropped: number; readonly left: number }> {
    const { database, target } = this.#parts;
    const place = [target.name, refused];
    const counted = await database.query(
      'SELECT COUNT(*) FROM ratecat_outbox WHERE notifier = ? AND refused = ?',
      place,
    );
    let left = Number(counted[0]![0]);
    let dropped = 0;
    for (;;) {
      const rows = await database.query(
        'SELECT id, at_ms FROM ratecat_outbox WHERE notifier = ? AND refused = ? ORDER BY id LIMIT ?',
        [...place, STEP],
      );
      const surplus = left - most;
      const surely = rows.filter(([, at], index) => index < surplus || Number(at) < oldest);
      if (surely.length === 0) return { dropped, left };
      await this.#remove(surely.map(([row]) => ({ row: Number(row) })));
      dropped += surely.length;
      left -= surely.length;
    }
  }
}

/** How long the receiver itself wants to be left alone, up to an hour. */
function askedFor(error: unknown): number {
  const seconds = isRatecatError(error) ? error.details.retryAfterSeconds : undefined;
  return typeof seconds === 'number' ? Math.min(seconds * 1000, 60 * LONGEST_PAUSE_MS) : 0;
}

function toWaiting([row, id, type, severity, at, content]: SqlRow): Waiting {
  const { scope, payload } = JSON.parse(String(content)) as {
    readonly scope?: NotificationScope;
    readonly payload: { readonly [name: string]: JsonValue };
  };
  return {
    row: Number(row),
    event: {
      id: String(id),
      type: String(type),
      severity: severity as Notification['severity'],
      at: Number(at),
      scope,
      payload,
    },
  };
}
