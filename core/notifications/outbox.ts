import { randomUUID } from 'node:crypto';
import type { NotificationType } from '../config/notification-types.js';
import type {
  Clock,
  JsonValue,
  Notification,
  NotificationScope,
  SqlTransaction,
} from '../plugin-api/index.js';

/** Which events a notifier is to hear of. */
export interface OutboxRoute {
  readonly notifier: string;
  readonly types: ReadonlySet<NotificationType>;
}

export interface NewEvent {
  readonly type: NotificationType;
  readonly severity: Notification['severity'];
  readonly scope: NotificationScope | undefined;
  readonly payload: { readonly [name: string]: JsonValue | undefined };
  /** Default: a new one. */
  readonly id?: string | undefined;
}

/**
 * Events on their way to the notifiers. They are written in the transaction that makes them true, so that neither exists
 * without the other; the deliverer takes them from there. Without notifiers nothing is written and nothing is read.
 *
 * Ids of one scope rise in the order of its commits: every writer changes a row of the scope before it comes here, and so
 * waits for the writer ahead of it.
 */
export class Outbox {
  readonly #routes: readonly OutboxRoute[];
  readonly #clock: Pick<Clock, 'now'>;

  constructor(routes: readonly OutboxRoute[], clock: Pick<Clock, 'now'>) {
    this.#routes = routes;
    this.#clock = clock;
  }

  /** False when no notifier asks for it: what it takes to make such an event can be saved. */
  wants(type: NotificationType): boolean {
    return this.#routes.some(({ types }) => types.has(type));
  }

  /** One row for each notifier that asks for the event. */
  async add(tx: SqlTransaction, event: NewEvent): Promise<void> {
    const { type, severity, scope, payload, id = randomUUID() } = event;
    const routes = this.#routes.filter(({ types }) => types.has(type));
    if (routes.length === 0) return;
    const content = JSON.stringify({ scope, payload });
    const at = Math.floor(this.#clock.now());
    await tx.insertRows({
      table: 'ratecat_outbox',
      columns: ['notifier', 'event_id', 'type', 'severity', 'at_ms', 'content'],
      rows: routes.map(({ notifier }) => [notifier, id, type, severity, at, content]),
    });
  }
}
