import { isRatecatError, UnavailableError } from '../plugin-api/index.js';
import type { MysqlHost, MysqlUrl } from './database-url.js';
import { MysqlConnection, type MysqlConnectionOptions } from './mysql-connection.js';
import { closedError, connectError, describe, isRefusedByServer } from './mysql-errors.js';

export interface MysqlPoolOptions extends MysqlConnectionOptions {
  readonly maxConnections: number;
}

/** A work that waits this long for a connection is stuck behind work that waits for it. */
const TURN_LIMIT_MS = 120_000;

/** Connections to whichever of the hosts answers; at most so many at a time. */
export class MysqlPool {
  readonly #url: MysqlUrl;
  readonly #options: MysqlPoolOptions;
  readonly #idle: MysqlConnection[] = [];
  readonly #waiting: Waiter[] = [];
  #inUse = 0;
  /** Index of the host that answered last. */
  #preferred = 0;
  #isClosed = false;
  #whenIdle: (() => void) | undefined;

  constructor(url: MysqlUrl, options: MysqlPoolOptions) {
    this.#url = url;
    this.#options = options;
  }

  async acquire(signal?: AbortSignal): Promise<MysqlConnection> {
    signal?.throwIfAborted();
    if (this.#isClosed) throw closedError(this.#url);
    if (this.#inUse >= this.#options.maxConnections) await this.#turn(signal);
    else this.#inUse++;
    try {
      return this.#takeIdle() ?? (await this.#connect(signal));
    } catch (error) {
      this.#leave();
      throw error;
    }
  }

  release(connection: MysqlConnection): void {
    if (!connection.isUsable) connection.destroy();
    else if (this.#isClosed) void connection.close();
    else this.#idle.push(connection);
    this.#leave();
  }

  /** After a lost connection the idle ones are probably lost as well. */
  dropIdle(): void {
    for (const connection of this.#idle.splice(0)) connection.destroy();
  }

  /** The present host does not serve: the next connection goes to another one. */
  avoidHost(): void {
    this.dropIdle();
    this.#preferred = (this.#preferred + 1) % this.#url.hosts.length;
  }

  /** Refuses new work, waits for the work in hand, closes everything. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const waiter of this.#waiting.splice(0)) waiter.refuse(closedError(this.#url));
    if (this.#inUse > 0) {
      await new Promise<void>((resolve) => {
        this.#whenIdle = resolve;
      });
    }
    await Promise.all(this.#idle.splice(0).map((connection) => connection.close()));
  }

  #takeIdle(): MysqlConnection | undefined {
    for (let connection = this.#idle.pop(); connection !== undefined; connection = this.#idle.pop()) {
      if (connection.isUsable) return connection;
      connection.destroy();
    }
    return undefined;
  }

  async #connect(signal: AbortSignal | undefined): Promise<MysqlConnection> {
    const failures: (readonly [MysqlHost, unknown])[] = [];
    const { hosts } = this.#url;
    const first = this.#preferred;
    for (let step = 0; step < hosts.length; step++) {
      const index = (first + step) % hosts.length;
      const host = hosts[index]!;
      try {
        const connection = await MysqlConnection.open(this.#url, host, this.#options, signal);
        this.#preferred = index;
        return connection;
      } catch (error) {
        signal?.throwIfAborted();
        if (isRatecatError(error)) throw error;
        failures.push([host, error]);
        if (isRefusedByServer(error)) break;
      }
    }
    throw connectError(this.#url, failures);
  }

  /** Waits until somebody hands over the right to a connection. */
  #turn(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = () => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', abort);
        const place = this.#waiting.indexOf(waiter);
        if (place !== -1) this.#waiting.splice(place, 1);
      };
      const waiter: Waiter = {
        admit: () => {
          settle();
          resolve();
        },
        refuse: (reason) => {
          settle();
          reject(reason);
        },
      };
      const abort = () => waiter.refuse(signal?.reason);
      const timer = setTimeout(() => waiter.refuse(this.#turnError()), TURN_LIMIT_MS);
      signal?.addEventListener('abort', abort, { once: true });
      this.#waiting.push(waiter);
    });
  }

  #turnError(): Error {
    return new UnavailableError(
      'RATECAT_DATABASE_BUSY',
      `No connection to ${describe(this.#url)} became free within ${TURN_LIMIT_MS / 1000} s; all ` +
        `${this.#options.maxConnections} are in use. Look for long statements with SHOW FULL PROCESSLIST.`,
    );
  }

  #leave(): void {
    const waiter = this.#waiting.shift();
    if (waiter !== undefined) {
      waiter.admit();
      return;
    }
    this.#inUse--;
    if (this.#inUse === 0) this.#whenIdle?.();
  }
}

interface Waiter {
  admit(): void;
  refuse(reason: unknown): void;
}
