import type { Notification, Notifier } from '../../../core/plugin-api/index.js';
import { byScope } from '../../shared/event-order.js';
import { BrokerConnection, type BrokerSettings, type Outgoing } from './broker-connection.js';
import { osloMessage } from './oslo-message.js';

export interface RabbitmqSettings {
  readonly broker: BrokerSettings;
  readonly exchange: string;
  readonly topics: readonly string[];
  readonly publisherId: string;
  readonly queues: { readonly durable: boolean; readonly queueType: 'classic' | 'quorum' };
}

/** Publishes events for OpenStack's listeners; connects when there is something to say. */
export class RabbitmqNotifier implements Notifier {
  readonly #settings: RabbitmqSettings;
  readonly #declared = new Set<string>();
  #connection: BrokerConnection | undefined;
  /** Host to begin with: one that failed is the last to be tried again. */
  #first = 0;

  constructor(settings: RabbitmqSettings) {
    this.#settings = settings;
  }

  async publish(events: readonly Notification[], signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const giveUp = () => this.#drop();
    let refuse: (() => void) | undefined;
    const aborted = new Promise<never>((_, reject) => {
      refuse = () => reject(signal.reason);
      signal.addEventListener('abort', refuse, { once: true });
    });
    try {
      await Promise.race([this.#publishWaves(events, signal), aborted]);
    } catch (error) {
      // What was sent and not confirmed is in doubt: only a new connection is sure to keep the order.
      giveUp();
      throw error;
    } finally {
      signal.removeEventListener('abort', refuse!);
    }
  }

  async stop(): Promise<void> {
    const connection = this.#connection;
    this.#connection = undefined;
    await connection?.close();
  }

  /** The first event of every scope, then the second ones: none before the one ahead of it is confirmed. */
  async #publishWaves(events: readonly Notification[], signal: AbortSignal): Promise<void> {
    const lists = byScope(events);
    const longest = Math.max(0, ...lists.map(({ length }) => length));
    for (let place = 0; place < longest; place++) {
      const connection = await this.#open(signal);
      signal.throwIfAborted();
      const messages = lists
        .flatMap((list) => list.slice(place, place + 1))
        .flatMap((event) => this.#messages(event));
      for (const { routingKey } of messages) await this.#declare(connection, routingKey);
      await connection.publish(messages);
    }
  }

  async #open(signal: AbortSignal): Promise<BrokerConnection> {
    if (this.#connection !== undefined && !this.#connection.isBroken) return this.#connection;
    this.#drop();
    const connection = await BrokerConnection.open(this.#settings.broker, this.#first, signal);
    if (signal.aborted) {
      connection.destroy();
      throw signal.reason;
    }
    this.#connection = connection;
    return connection;
  }

  #drop(): void {
    const connection = this.#connection;
    this.#connection = undefined;
    this.#declared.clear();
    if (connection === undefined) return;
    this.#first = (this.#first + 1) % this.#settings.broker.hosts.length;
    connection.destroy();
  }

  async #declare(connection: BrokerConnection, routingKey: string): Promise<void> {
    if (this.#declared.has(routingKey)) return;
    await connection.declare(this.#settings.exchange, routingKey, this.#settings.queues);
    this.#declared.add(routingKey);
  }

  #messages(event: Notification): readonly Outgoing[] {
    const { exchange, topics, publisherId } = this.#settings;
    const body = osloMessage(event, publisherId);
    return topics.map((topic) => ({
      exchange,
      routingKey: `${topic}.${event.severity}`,
      messageId: event.id,
      body,
    }));
  }
}
