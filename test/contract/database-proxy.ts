import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** What the proxy does when a client's packet holds the trigger. */
export type Fault =
  /** Cuts both sides before the server has seen the packet. */
  | 'cut before'
  /** Passes the packet on, and cuts when the server's answer comes. */
  | 'cut after'
  /** Keeps the connection open and passes nothing on any more. */
  | 'hang';

/** A TCP proxy in front of a server that misbehaves once, when it is told to. */
export class FaultyProxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #fault: { readonly trigger: string; readonly fault: Fault } | undefined;
  #fired = 0;
  #connections = 0;

  private constructor(target: number) {
    this.#server = createServer((client) => this.#relay(client, connect(target, '127.0.0.1')));
  }

  static async start(target: number): Promise<FaultyProxy> {
    const proxy = new FaultyProxy(target);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** How often a fault has happened: a test whose fault never fired proves nothing. */
  get fired(): number {
    return this.#fired;
  }

  get connections(): number {
    return this.#connections;
  }

  /** Arms one fault, for the next packet of a client that holds the text. */
  arm(trigger: string, fault: Fault): void {
    this.#fault = { trigger, fault };
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #relay(client: Socket, upstream: Socket): void {
    this.#connections++;
    const cut = () => {
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) {
      this.#sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('close', () => {
        this.#sockets.delete(socket);
        cut();
      });
      // The other side reports what matters.
      socket.on('error', cut);
    }
    let answer: Fault | undefined;
    client.on('data', (data: Buffer) => {
      const fault = this.#take(data);
      answer ??= fault;
      if (fault === 'cut before') cut();
      else if (answer !== 'hang') upstream.write(data);
    });
    upstream.on('data', (data: Buffer) => {
      if (answer === 'cut after') cut();
      else if (answer !== 'hang') client.write(data);
    });
  }

  #take(data: Buffer): Fault | undefined {
    if (this.#fault === undefined || !data.includes(this.#fault.trigger)) return undefined;
    const { fault } = this.#fault;
    this.#fault = undefined;
    this.#fired++;
    return fault;
  }
}
