import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

/** One request as it arrived. */
export interface ReceivedRequest {
  readonly method: string;
  /** Path without the query. */
  readonly path: string;
  readonly query: URLSearchParams;
  /** Path and query as they were sent. */
  readonly target: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

/** What the double does with a request. Use the functions below to make one. */
export interface Behaviour {
  readonly name: string;
  act(response: ServerResponse, socket: Socket): void;
}

export type Handler = (request: ReceivedRequest) => Behaviour | Promise<Behaviour>;

/**
 * An HTTP server that does on purpose what servers do by accident. It counts what it did, so that a test can prove that
 * its fault really happened.
 */
export class HttpDouble {
  readonly requests: ReceivedRequest[] = [];
  /** How often each behaviour was acted out, by name. */
  readonly fired = new Map<string, number>();
  handler: Handler;
  connections = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #arrivals: Array<() => void> = [];

  private constructor(handler: Handler) {
    this.handler = handler;
    this.#server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
      void this.#serve(request, response);
    });
    this.#server.on('connection', (socket) => {
      this.connections++;
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
      socket.on('error', () => undefined);
    });
  }

  static async start(handler: Handler = () => json({})): Promise<HttpDouble> {
    const double = new HttpDouble(handler);
    await new Promise<void>((resolve) => double.#server.listen(0, '127.0.0.1', resolve));
    return double;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get openSockets(): number {
    return this.#sockets.size;
  }

  firedTimes(name: string): number {
    return this.fired.get(name) ?? 0;
  }

  /** Resolves once so many requests have arrived in all. */
  async arrived(count: number): Promise<void> {
    while (this.requests.length < count) await new Promise<void>((resolve) => this.#arrivals.push(resolve));
  }

  async stop(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const received = await receive(request);
      this.requests.push(received);
      for (const resolve of this.#arrivals.splice(0)) resolve();
      const behaviour = await this.handler(received);
      this.fired.set(behaviour.name, this.firedTimes(behaviour.name) + 1);
      behaviour.act(response, request.socket);
    } catch (error) {
      response.writeHead(599).end(String(error));
    }
  }
}

async function receive(request: IncomingMessage): Promise<ReceivedRequest> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const target = request.url ?? '/';
  const mark = target.indexOf('?');
  return {
    method: request.method ?? '',
    path: mark < 0 ? target : target.slice(0, mark),
    query: new URLSearchParams(mark < 0 ? '' : target.slice(mark + 1)),
    target,
    headers: request.headers,
    body: Buffer.concat(chunks).toString('utf8'),
  };
}

type Headers = Readonly<Record<string, string | string[]>>;

export function reply(status: number, body: string | Buffer = '', headers: Headers = {}): Behaviour {
  return {
    name: 'reply',
    act: (response) => {
      response.writeHead(status, { 'content-length': Buffer.byteLength(body), ...headers });
      response.end(body);
    },
  };
}

export function json(body: unknown, status = 200, headers: Headers = {}): Behaviour {
  return reply(status, JSON.stringify(body), { 'content-type': 'application/json', ...headers });
}

/** Takes the request and says nothing, ever. */
export function hang(): Behaviour {
  return { name: 'hang', act: () => undefined };
}

/** Sends the headers and then nothing. */
export function headersThenHang(): Behaviour {
  return {
    name: 'headersThenHang',
    act: (response) => {
      response.writeHead(200, { 'content-length': '1000' });
      response.flushHeaders();
    },
  };
}

/** Sends one byte at a time, for ever. */
export function drip(intervalMs = 20): Behaviour {
  return {
    name: 'drip',
    act: (response) => {
      response.writeHead(200, {});
      const timer = setInterval(() => response.write(' '), intervalMs);
      response.on('close', () => clearInterval(timer));
    },
  };
}

/** Resets the connection instead of answering. */
export function reset(): Behaviour {
  return { name: 'reset', act: (_, socket) => void socket.resetAndDestroy() };
}

/** Closes the connection in good order instead of answering. */
export function close(): Behaviour {
  return { name: 'close', act: (_, socket) => void socket.end() };
}

/** Announces the whole body, sends a part of it and resets the connection. */
export function resetInBody(body: string, sent: number): Behaviour {
  return {
    name: 'resetInBody',
    act: (response, socket) => {
      response.writeHead(200, { 'content-length': Buffer.byteLength(body) });
      response.write(body.slice(0, sent), () => socket.resetAndDestroy());
    },
  };
}

/** Announces more bytes than it sends, then closes in good order. */
export function shortBody(body: string, missing: number): Behaviour {
  return {
    name: 'shortBody',
    act: (_, socket) => {
      const length = Buffer.byteLength(body) + missing;
      socket.end(`HTTP/1.1 200 OK\r\ncontent-length: ${length}\r\n\r\n${body}`);
    },
  };
}

/** A chunked body that ends without its last chunk. */
export function unfinishedChunks(body: string): Behaviour {
  return {
    name: 'unfinishedChunks',
    act: (_, socket) => {
      const size = Buffer.byteLength(body).toString(16);
      socket.end(`HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${size}\r\n${body}\r\n`);
    },
  };
}

/** Sends the bytes as they are, in place of an HTTP answer. */
export function raw(bytes: string | Buffer): Behaviour {
  return { name: 'raw', act: (_, socket) => void socket.end(bytes) };
}

/** Sends the body without saying how long it is; the end of the connection ends it. */
export function untilClose(body: string | Buffer): Behaviour {
  return {
    name: 'untilClose',
    act: (_, socket) => {
      socket.write('HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n');
      socket.end(body);
    },
  };
}

/** Goes on sending until the other side hangs up. */
export function endless(chunk = Buffer.alloc(65_536, 0x20)): Behaviour {
  return {
    name: 'endless',
    act: (response) => {
      response.writeHead(200, {});
      let open = true;
      const send = () => {
        while (open && response.write(chunk));
      };
      response.on('drain', send);
      response.on('close', () => {
        open = false;
      });
      send();
    },
  };
}
