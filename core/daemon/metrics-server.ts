import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ConfigError, describeError, type Lifecycle, type Logger } from '../plugin-api/index.js';

export interface MetricsServerParts {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  readonly logger: Logger;
  /** The text that Prometheus reads. */
  metrics(): Promise<string>;
}

/** Requests here are small; whoever sends slowly is cut off. */
const REQUEST_MS = 10_000;
const MAX_HEADER_BYTES = 16 * 1024;
const TEXT = 'text/plain; version=0.0.4; charset=utf-8';

/** Serves `/metrics`, and `/healthz` for "the process answers", on a port of its own: it can be closed to everybody else. */
export class MetricsServer implements Lifecycle {
  readonly #parts: MetricsServerParts;
  readonly #server: Server;

  constructor(parts: MetricsServerParts) {
    this.#parts = parts;
    const limits = {
      requestTimeout: REQUEST_MS,
      headersTimeout: REQUEST_MS,
      maxHeaderSize: MAX_HEADER_BYTES,
    };
    this.#server = createServer(limits, (request, response) => {
      // A body means nothing here.
      request.resume();
      const path = request.url?.replace(/\?.*$/s, '');
      if (path === '/healthz') {
        response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' }).end('ok\n');
        return;
      }
      if (path !== '/metrics') {
        response
          .writeHead(404, { 'content-type': 'text/plain; charset=utf-8' })
          .end('Metrics are at /metrics.\n');
        return;
      }
      if (request.method !== 'GET' && request.method !== 'HEAD') {
        response.writeHead(405, { allow: 'GET, HEAD' }).end();
        return;
      }
      parts.metrics().then(
        (text) => response.writeHead(200, { 'content-type': TEXT }).end(text),
        (error: unknown) => {
          parts.logger.warn('metrics could not be collected', { error: describeError(error) });
          response.writeHead(503).end();
        },
      );
    });
  }

  /** @throws ConfigError RATECAT_METRICS_ADDRESS */
  async start(): Promise<void> {
    const { host, port, logger } = this.#parts;
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', (error: NodeJS.ErrnoException) =>
        reject(
          new ConfigError(
            'RATECAT_METRICS_ADDRESS',
            `Metrics cannot be served on ${host}:${port} (${error.code ?? describeError(error)}). Another program may have the ` +
              'port: set metrics_server.port or processor_port, or switch metrics_server.enabled off.',
            { cause: error },
          ),
        ),
      );
      this.#server.listen(port, host, resolve);
    });
    this.#server.removeAllListeners('error').on('error', () => undefined);
    logger.info(`metrics on ${this.url}/metrics`);
  }

  get url(): string {
    const { address, family, port } = this.#server.address() as AddressInfo;
    return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
  }

  async stop(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }
}
