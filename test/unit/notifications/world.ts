import { migrate } from '../../../core/database/migrate.js';
import { CORE_MIGRATIONS } from '../../../core/database/migrations/core.js';
import { type ClosableDatabase, openDatabase } from '../../../core/database/open-database.js';
import { Deliverer, type DelivererParts } from '../../../core/notifications/deliverer.js';
import type { NotificationMetrics } from '../../../core/notifications/notification-metrics.js';
import { Outbox } from '../../../core/notifications/outbox.js';
import type { Notification, Notifier } from '../../../core/plugin-api/index.js';
import { RecordingLogger, VirtualClock } from '../../../core/testkit/fakes.js';

export async function newDatabase(): Promise<ClosableDatabase> {
  const database = await openDatabase('sqlite::memory:');
  await migrate(database, [{ module: 'core', migrations: CORE_MIGRATIONS }]);
  return database;
}

/** What the outbox says about deliveries, counted. */
export class Counted implements NotificationMetrics {
  readonly counts: Record<string, number> = {};

  delivered(_: string, events: number): void {
    this.#add('delivered', events);
  }

  deliveryFailed(_: string, code: string): void {
    this.#add(code, 1);
  }

  lost(_: string, why: string, events: number): void {
    this.#add(why, events);
  }

  waiting(_: string, events: number): void {
    this.counts.waiting = events;
  }

  #add(name: string, count: number): void {
    this.counts[name] = (this.counts[name] ?? 0) + count;
  }
}

/** A receiver that remembers what arrived, and fails when it is told to. */
export class Receiver implements Notifier {
  readonly arrived: Notification[] = [];
  /** Sizes and virtual times of all attempts. */
  readonly attempts: { readonly at: number; readonly events: number }[] = [];
  readonly #clock: VirtualClock;
  /** Throws, or takes some of the events and throws. */
  behave: (events: readonly Notification[], signal: AbortSignal) => void | Promise<void> = () => undefined;

  constructor(clock: VirtualClock) {
    this.#clock = clock;
  }

  async publish(events: readonly Notification[], signal: AbortSignal): Promise<void> {
    this.attempts.push({ at: this.#clock.monotonic(), events: events.length });
    await this.behave(events, signal);
    this.arrived.push(...events);
  }
}

/** An outbox, a virtual clock and a receiver. */
export class DeliveryWorld {
  readonly clock = new VirtualClock();
  readonly logger = new RecordingLogger();
  readonly metrics = new Counted();
  readonly receiver = new Receiver(this.clock);
  readonly outbox = new Outbox(
    [{ notifier: 'bus', types: new Set(['rating.period.committed', 'rating.rules.changed']) }],
    this.clock,
  );
  readonly database: ClosableDatabase;
  #serial = 0;

  private constructor(database: ClosableDatabase) {
    this.database = database;
  }

  static async create(): Promise<DeliveryWorld> {
    return new DeliveryWorld(await newDatabase());
  }

  deliverer(
    change: Partial<DelivererParts> & { readonly keepEvents?: number; readonly keepSeconds?: number } = {},
  ) {
    const { keepEvents = 1_000_000, keepSeconds = 31 * 86_400, ...parts } = change;
    return new Deliverer({
      target: { name: 'bus', notifier: this.receiver, keepEvents, keepSeconds },
      database: this.database,
      clock: this.clock,
      logger: this.logger,
      metrics: this.metrics,
      owner: 'one',
      leaseSeconds: 60,
      random: () => 0,
      bound: (_, signal, work) => work(signal),
      ...parts,
    });
  }

  /** Events of a scope, numbered from where the last ones ended. */
  async add(scope: string, count = 1): Promise<void> {
    for (let i = 0; i < count; i++) {
      const serial = ++this.#serial;
      await this.database.transaction((tx) =>
        this.outbox.add(tx, {
          type: 'rating.period.committed',
          severity: 'info',
          scope: { source: 'default', key: 'project_id', id: scope },
          payload: { serial },
        }),
      );
    }
  }

  async waiting(): Promise<number> {
    const rows = await this.database.query('SELECT COUNT(*) FROM ratecat_outbox WHERE refused = 0');
    return Number(rows[0]![0]);
  }

  /** Serial numbers that arrived, in order. */
  get serials(): readonly number[] {
    return this.receiver.arrived.map(({ payload }) => Number(payload.serial));
  }

  /** Lets virtual time pass until something holds; fails when it never does. */
  async until(holds: () => boolean | Promise<boolean>, most = 5000): Promise<void> {
    for (let turn = 0; turn < most; turn++) {
      await this.settle();
      if (await holds()) return;
      this.clock.wakeNext();
    }
    throw new Error(`it never came about; logged: ${JSON.stringify(this.logger.lines.slice(-5))}`);
  }

  /** The database works off the event loop's turns. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
  }

  /** Runs deliverers while the body lasts. */
  async while(deliverers: readonly Deliverer[], body: () => Promise<void>): Promise<void> {
    const stop = new AbortController();
    const running = deliverers.map((deliverer) => deliverer.run(stop.signal));
    try {
      await body();
    } finally {
      stop.abort();
      await Promise.all(running);
    }
  }
}
