import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** A packet on its way to the server, or one of its answers on the way back. */
export type Direction = 'request' | 'answer';

export interface Cut {
  /** Which packet since counting began, from 1. */
  readonly packet: number;
  readonly direction: Direction;
  /** The statement that the packet carried, or answered. */
  readonly statement: string;
}

const HEADER_BYTES = 4;
const COMMANDS: Readonly<Record<number, string>> = { 1: 'quit', 14: 'ping', 25: 'close', 26: 'reset' };
const QUERY = 3;
const PREPARE = 22;
const EXECUTE = 23;

/**
 * A proxy in front of MySQL that tells its packets apart, without TLS or compression, and cuts a connection in place of the
 * n-th one: a request that the server never sees, or an answer to what it has done.
 */
export class PacketProxy {
  readonly cuts: Cut[] = [];
  /** How often the server answered with which error number. */
  readonly errors = new Map<number, number>();
  /** A text that stands in for another of the same length in what clients ask. */
  replacement: readonly [text: string, by: string] | undefined;
  /** Hears of each packet that passed, for deciding when to count anew. */
  onPassed: ((direction: Direction, statement: string) => void) | undefined;
  /** Hears of each cut; may arm anew. */
  onCut: ((cut: Cut) => void) | undefined;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #counted: Direction | undefined;
  #left = 0;
  #packet = 0;

  private constructor(target: number) {
    this.#server = createServer((client) => this.#relay(client, connect(target, '127.0.0.1')));
  }

  static async start(target: number): Promise<PacketProxy> {
    const proxy = new PacketProxy(target);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get isArmed(): boolean {
    return this.#counted !== undefined;
  }

  /** The packet-th one in this direction from now on is the last thing that its connection is asked to carry. */
  arm(packet: number, direction: Direction): void {
    this.#counted = direction;
    this.#packet = packet;
    this.#left = packet;
  }

  disarm(): void {
    this.#counted = undefined;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #relay(client: Socket, upstream: Socket): void {
    const cut = () => {
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) {
      this.#sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', cut).on('close', () => {
        this.#sockets.delete(socket);
        cut();
      });
    }
    const conversation = new Conversation();
    const pass = (direction: Direction, to: Socket) => (packet: Buffer) => {
      if (client.destroyed) return;
      const statement = direction === 'request' ? conversation.asks(packet) : conversation.answers(packet);
      if (this.#fires(direction, statement)) return cut();
      if (direction === 'answer') this.#countError(packet);
      else this.#replaceIn(packet);
      to.write(packet);
      this.onPassed?.(direction, statement);
    };
    client.on('data', inPackets(pass('request', upstream)));
    upstream.on('data', inPackets(pass('answer', client)));
  }

  #countError(packet: Buffer): void {
    if (packet[HEADER_BYTES] !== 0xff) return;
    const number = packet.readUInt16LE(HEADER_BYTES + 1);
    this.errors.set(number, (this.errors.get(number) ?? 0) + 1);
  }

  #replaceIn(packet: Buffer): void {
    if (this.replacement === undefined) return;
    const [text, by] = this.replacement;
    const place = packet.indexOf(text);
    if (place !== -1) packet.write(by, place);
  }

  #fires(direction: Direction, statement: string): boolean {
    if (direction !== this.#counted || --this.#left > 0) return false;
    this.#counted = undefined;
    const cut = { packet: this.#packet, direction, statement };
    this.cuts.push(cut);
    this.onCut?.(cut);
    return true;
  }
}

/** What one connection is about, as far as the client's packets tell. */
class Conversation {
  readonly #prepared = new Map<number, string>();
  #statement = 'log in';
  #preparing: string | undefined;

  asks(packet: Buffer): string {
    // Within a command, and while logging in, the numbers go on; each command begins with 0.
    if (packet[3] !== 0) return this.#statement;
    const command = packet[HEADER_BYTES] ?? 0;
    const text = () =>
      packet
        .subarray(HEADER_BYTES + 1)
        .toString('utf8')
        .replace(/\s+/g, ' ')
        .slice(0, 60);
    this.#preparing = command === PREPARE ? text() : undefined;
    if (command === QUERY) this.#statement = text();
    else if (command === PREPARE) this.#statement = `prepare ${text()}`;
    else if (command === EXECUTE)
      this.#statement = this.#prepared.get(packet.readUInt32LE(HEADER_BYTES + 1)) ?? 'execute';
    else this.#statement = COMMANDS[command] ?? `command ${command}`;
    return this.#statement;
  }

  answers(packet: Buffer): string {
    if (this.#preparing !== undefined && packet[HEADER_BYTES] === 0) {
      this.#prepared.set(packet.readUInt32LE(HEADER_BYTES + 1), this.#preparing);
      this.#preparing = undefined;
    }
    return this.#statement;
  }
}

/** Puts what arrives together again into whole packets. */
function inPackets(pass: (packet: Buffer) => void): (data: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0);
  return (data) => {
    rest = rest.length === 0 ? data : Buffer.concat([rest, data]);
    while (rest.length >= HEADER_BYTES) {
      const end = HEADER_BYTES + rest.readUIntLE(0, 3);
      if (rest.length < end) return;
      const packet = rest.subarray(0, end);
      rest = rest.subarray(end);
      pass(packet);
    }
  };
}
