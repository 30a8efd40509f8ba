import { readFile } from 'node:fs/promises';
import type { Duplex } from 'node:stream';
import { type ChannelModel, type ConfirmChannel, connect } from 'amqplib';
import {
  describeError,
  isRatecatError,
  RejectedError,
  UnavailableError,
} from '../../../core/plugin-api/index.js';
import type { BrokerHost } from './transport-url.js';

export interface BrokerSettings {
  readonly hosts: readonly BrokerHost[];
  readonly virtualHost: string;
  /** Undefined: no TLS. Paths are absolute. */
  readonly tls:
    | {
        readonly caFile: string | undefined;
        readonly certFile: string | undefined;
        readonly keyFile: string | undefined;
        readonly insecure: boolean;
      }
    | undefined;
  readonly heartbeatSeconds: number;
  readonly connectTimeoutMs: number;
}

export interface Outgoing {
  readonly exchange: string;
  readonly routingKey: string;
  readonly messageId: string;
  readonly body: string;
}

/** An open connection with one channel that confirms. Once it is broken it stays so; the next one is a new one. */
export class BrokerConnection {
  readonly #model: ChannelModel;
  readonly #channel: ConfirmChannel;
  readonly #returned = new Set<string>();
  #broken: Error | undefined;

  private constructor(model: ChannelModel, channel: ConfirmChannel) {
    this.#model = model;
    this.#channel = channel;
    const breaks = (error?: unknown) => {
      this.#broken ??= error instanceof Error ? error : new Error('the broker closed the connection');
    };
    for (const source of [model, channel]) source.on('error', breaks).on('close', breaks);
    channel.on('return', ({ properties }) => this.#returned.add(String(properties.messageId)));
  }

  /**
   * Connects to the first host that answers, beginning with `first`.
   * @throws UnavailableError RATECAT_BROKER_UNREACHABLE
   * @throws RejectedError RATECAT_BROKER_REFUSED when every host refused the user or the virtual host.
   */
  static async open(settings: BrokerSettings, first: number, signal: AbortSignal): Promise<BrokerConnection> {
    const { hosts } = settings;
    const failures: string[] = [];
    let refusals = 0;
    for (const index of hosts.keys()) {
      const host = hosts[(first + index) % hosts.length]!;
      signal.throwIfAborted();
      try {
        return await openOne(settings, host);
      } catch (error) {
        if (isRatecatError(error)) throw error;
        if (/ACCESS.REFUSED|NOT.ALLOWED|\b403\b|\b530\b/i.test(describeError(error))) refusals++;
        failures.push(`${host.host}:${host.port ?? 'default port'}: ${describeError(error)}`);
      }
    }
    const text = failures.join('; ');
    if (refusals === hosts.length) {
      throw new RejectedError(
        'RATECAT_BROKER_REFUSED',
        `The message broker refused the user or the virtual host '${settings.virtualHost}' (${text}). Check transport_url, and the permissions of its user.`,
      );
    }
    throw new UnavailableError(
      'RATECAT_BROKER_UNREACHABLE',
      `No message broker can be reached (${text}). Check that it runs, and transport_url.`,
    );
  }

  /** For `open`. */
  static async of(model: ChannelModel): Promise<BrokerConnection> {
    const channel = await model.createConfirmChannel();
    return new BrokerConnection(model, channel);
  }

  get isBroken(): boolean {
    return this.#broken !== undefined;
  }

  /**
   * Makes the exchange and a queue of the same name as its routing key, so that nothing is lost before somebody listens.
   * @throws RejectedError RATECAT_BROKER_REFUSED when they exist with other properties, or the user may not make them.
   */
  async declare(
    exchange: string,
    routingKey: string,
    { durable, queueType }: { readonly durable: boolean; readonly queueType: 'classic' | 'quorum' },
  ): Promise<void> {
    const isQuorum = queueType === 'quorum';
    const isDurable = durable || isQuorum;
    try {
      await this.#channel.assertExchange(exchange, 'topic', { durable: isDurable });
      await this.#channel.assertQueue(routingKey, {
        durable: isDurable,
        ...(isQuorum ? { arguments: { 'x-queue-type': 'quorum' } } : {}),
      });
      await this.#channel.bindQueue(routingKey, exchange, routingKey);
    } catch (error) {
      const text = describeError(error);
      if (!/\b(403|405|406)\b|PRECONDITION.FAILED|ACCESS.REFUSED/i.test(text)) throw unreachable(error);
      throw new RejectedError(
        'RATECAT_BROKER_REFUSED',
        `The broker did not let exchange '${exchange}' or queue '${routingKey}' be made (${text}). If they exist already, set 'durable' and 'queue_type' to what they are; else give the user the right to configure them.`,
        { cause: error },
      );
    }
  }

  /**
   * Resolves when the broker has confirmed every message.
   * @throws UnavailableError RATECAT_BROKER_UNREACHABLE when the connection breaks or the broker does not take one,
   *   RATECAT_BROKER_UNROUTED when a message reached no queue.
   */
  async publish(messages: readonly Outgoing[]): Promise<void> {
    if (this.#broken !== undefined) throw unreachable(this.#broken);
    try {
      await Promise.all(messages.map((message) => this.#confirmed(message)));
    } catch (error) {
      throw unreachable(this.#broken ?? error);
    }
    const lost = messages.find(({ messageId }) => this.#returned.has(messageId));
    if (lost === undefined) return;
    throw new UnavailableError(
      'RATECAT_BROKER_UNROUTED',
      `No queue of exchange '${lost.exchange}' takes messages for '${lost.routingKey}'. It is made anew with the next attempt.`,
    );
  }

  /** Drops the connection at once; what is not confirmed yet is not. */
  destroy(): void {
    this.#broken ??= new Error('the connection was given up');
    // The library offers only a closing that waits for the broker.
    const { stream } = this.#model.connection as unknown as { readonly stream: Duplex };
    stream.destroy(this.#broken);
  }

  /** Says goodbye; everything published is confirmed already. */
  async close(): Promise<void> {
    if (!this.isBroken) await this.#model.close();
  }

  #confirmed({ exchange, routingKey, messageId, body }: Outgoing): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#channel.publish(
        exchange,
        routingKey,
        Buffer.from(body),
        {
          messageId,
          contentType: 'application/json',
          contentEncoding: 'utf-8',
          persistent: true,
          mandatory: true,
        },
        (error: unknown) => (error === null || error === undefined ? resolve() : reject(error)),
      );
    });
  }
}

async function openOne(
  { virtualHost, tls, heartbeatSeconds, connectTimeoutMs }: BrokerSettings,
  { host, port, username, password }: BrokerHost,
): Promise<BrokerConnection> {
  const model = await connect(
    {
      protocol: tls === undefined ? 'amqp' : 'amqps',
      hostname: host,
      port: port ?? (tls === undefined ? 5672 : 5671),
      username,
      password,
      // The library decodes it.
      vhost: encodeURIComponent(virtualHost),
      heartbeat: heartbeatSeconds,
    },
    {
      timeout: connectTimeoutMs,
      noDelay: true,
      keepAlive: true,
      clientProperties: { connection_name: 'ratecat' },
      ...(tls === undefined ? {} : await tlsOptions(tls)),
    },
  );
  // Without a listener an error would end the process.
  model.on('error', () => undefined);
  try {
    return await BrokerConnection.of(model);
  } catch (error) {
    await model.close().catch(() => undefined);
    throw error;
  }
}

async function tlsOptions({ caFile, certFile, keyFile, insecure }: NonNullable<BrokerSettings['tls']>) {
  const read = async (file: string | undefined) => (file === undefined ? undefined : readFile(file));
  try {
    const [ca, cert, key] = await Promise.all([read(caFile), read(certFile), read(keyFile)]);
    return {
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
      rejectUnauthorized: !insecure,
    };
  } catch (error) {
    throw new RejectedError(
      'RATECAT_BROKER_REFUSED',
      `A file for TLS to the message broker cannot be read: ${describeError(error)}. Check cafile, certfile and keyfile.`,
      { cause: error },
    );
  }
}

function unreachable(error: unknown): UnavailableError {
  return new UnavailableError(
    'RATECAT_BROKER_UNREACHABLE',
    `The message broker did not take a notification: ${describeError(error)}.`,
    { cause: error },
  );
}
