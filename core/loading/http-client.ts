import { setMaxListeners } from 'node:events';
import { readFile } from 'node:fs/promises';
import { Agent, buildConnector, type Dispatcher, errors } from 'undici';
import {
  ConfigError,
  type HttpClient,
  type HttpClientOptions,
  type HttpFactory,
  type HttpRequest,
  type HttpResponse,
  isRatecatError,
  type RatecatError,
} from '../plugin-api/index.js';
import { decode, decompressed, flatHeaders } from './http-body.js';
import {
  codeOf,
  malformed,
  reasonOf,
  TIMEOUT_CODES,
  timeoutError,
  tooLarge,
  truncated,
  unreachable,
} from './http-errors.js';
import { Gate } from './http-gate.js';
import { parseTarget, type Target } from './http-target.js';

const DEFAULT_TIMEOUT_MS = 60_000;
const DEFAULT_MAX_RESPONSE_BYTES = 64 * 1024 * 1024;
const DEFAULT_CONNECTIONS = 16;
/** Nobody answers a SYN after this long; a query may well take longer than that to compute. */
const CONNECT_TIMEOUT_MS = 10_000;

/** Every client of the daemon comes from here. */
export const httpFactory: HttpFactory = { client: (options) => new UndiciHttpClient(options) };

/** One reason for all: without it each end of an exchange would build an exception with its stack. */
const OVER = new Error('the exchange is over');

/**
 * One upstream over undici. Every exchange is bounded in time and in bytes; bodies of successful answers are strict UTF-8.
 *
 * Waiting for a free connection does not count as time of the exchange: otherwise a busy daemon would time out on an
 * upstream that is merely slow, and repeat what was about to be answered.
 */
export class UndiciHttpClient implements HttpClient {
  readonly #options: HttpClientOptions;
  readonly #timeoutMs: number;
  readonly #maxBytes: number;
  readonly #gate: Gate;
  /** Errors of sockets that had answered before: the upstream closed an idle connection just as it was used again. */
  readonly #resetsOfReused = new WeakSet<object>();
  #agent: Promise<Agent> | undefined;
  #closed = false;

  constructor(options: HttpClientOptions = {}) {
    this.#options = options;
    this.#timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    this.#maxBytes = options.maxResponseBytes ?? DEFAULT_MAX_RESPONSE_BYTES;
    this.#gate = new Gate(options.connections ?? DEFAULT_CONNECTIONS);
  }

  async request(request: HttpRequest, signal: AbortSignal): Promise<HttpResponse> {
    signal.throwIfAborted();
    // Many exchanges share the signal of their period; more than ten listeners are no leak here.
    setMaxListeners(0, signal);
    const target = parseTarget(request);
    const release = await this.#gate.enter(signal);
    try {
      return await this.#withRetry(target, signal);
    } finally {
      release();
    }
  }

  /** Ends every connection at once; exchanges in flight fail. */
  async close(): Promise<void> {
    this.#closed = true;
    const agent = this.#agent;
    this.#agent = undefined;
    await (await agent?.catch(() => undefined))?.destroy();
  }

  /** A GET that hit a connection which the upstream had just closed is asked once more, over a new one. */
  async #withRetry(target: Target, signal: AbortSignal): Promise<HttpResponse> {
    try {
      return await this.#exchange(target, signal);
    } catch (error) {
      const again = isRatecatError(error) && error.details.reusedConnection === true;
      if (!again || !(target.method === 'GET' || target.method === 'HEAD') || signal.aborted) throw error;
      return await this.#exchange(target, signal);
    }
  }

  async #exchange(target: Target, signal: AbortSignal): Promise<HttpResponse> {
    signal.throwIfAborted();
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(timeoutError(target, this.#timeoutMs)), this.#timeoutMs);
    const onAbort = () => limit.abort(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      // undici notices an abort only once it has a connection, so the race is what makes it prompt.
      return await Promise.race([this.#send(target, limit.signal), rejection(limit.signal)]);
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      // Ends what is left of a lost race, and does nothing after a finished exchange.
      limit.abort(OVER);
    }
  }

  async #send(target: Target, signal: AbortSignal): Promise<HttpResponse> {
    let answered = false;
    try {
      const response = await (await this.#connectedAgent(target)).request({
        origin: target.url.origin,
        path: target.url.pathname + target.url.search,
        method: target.method,
        headers: target.headers,
        body: target.body ?? null,
        signal,
        headersTimeout: this.#timeoutMs,
        bodyTimeout: this.#timeoutMs,
      });
      answered = true;
      return await this.#read(target, response);
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      throw this.#explain(error, target, answered);
    }
  }

  async #read(target: Target, response: Dispatcher.ResponseData): Promise<HttpResponse> {
    const headers = flatHeaders(response.headers);
    const raw = await this.#readBytes(target, response, headers);
    const bytes = await decompressed(target, raw, headers['content-encoding'], this.#maxBytes);
    return { status: response.statusCode, headers, body: decode(target, bytes, response.statusCode) };
  }

  async #readBytes(
    target: Target,
    response: Dispatcher.ResponseData,
    headers: Readonly<Record<string, string>>,
  ): Promise<Buffer> {
    const announced = target.method === 'HEAD' ? 0 : Number(headers['content-length'] ?? 0);
    const chunks: Buffer[] = [];
    let size = 0;
    if (announced <= this.#maxBytes) {
      for await (const chunk of response.body as AsyncIterable<Buffer>) {
        size += chunk.length;
        if (size > this.#maxBytes) break;
        chunks.push(chunk);
      }
    }
    if (Math.max(size, announced) > this.#maxBytes) {
      response.body.on('error', () => undefined).destroy();
      throw tooLarge(target, this.#maxBytes);
    }
    return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, size);
  }

  #connectedAgent(target: Target): Promise<Agent> {
    if (this.#closed) throw unreachable(target, 'the client is already closed');
    if (this.#agent === undefined) {
      const agent = this.#createAgent();
      // A file that could not be read may be there at the next attempt.
      agent.catch(() => {
        if (this.#agent === agent) this.#agent = undefined;
      });
      this.#agent = agent;
    }
    return this.#agent;
  }

  async #createAgent(): Promise<Agent> {
    const { caFile, certFile, keyFile, insecure, connections } = this.#options;
    const [ca, cert, key] = await Promise.all([
      readTlsFile('cafile', caFile),
      readTlsFile('certfile', certFile),
      readTlsFile('keyfile', keyFile),
    ]);
    const connect = buildConnector({
      timeout: Math.min(CONNECT_TIMEOUT_MS, this.#timeoutMs),
      // A CA file says whom to trust; `insecure` beside it would silently undo that.
      rejectUnauthorized: !(insecure === true && ca === undefined),
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
    });
    return new Agent({ connections: connections ?? DEFAULT_CONNECTIONS, connect: this.#watched(connect) });
  }

  #watched(connect: buildConnector.connector): buildConnector.connector {
    return (options, callback) =>
      connect(options, (...result) => {
        const [error, socket] = result;
        if (error === null) {
          socket.prependListener('error', (reset) => {
            if (socket.bytesRead > 0) this.#resetsOfReused.add(reset);
          });
        }
        callback(...result);
      });
  }

  #explain(error: unknown, target: Target, answered: boolean): RatecatError {
    if (isRatecatError(error)) return error;
    const code = codeOf(error);
    if (TIMEOUT_CODES.has(code)) return timeoutError(target, this.#timeoutMs, error);
    if (error instanceof errors.HTTPParserError) return malformed(target, 'is not valid HTTP', error);
    if (code === 'UND_ERR_HEADERS_OVERFLOW') return malformed(target, 'has oversized headers', error);
    if (answered) return truncated(target, error);
    return unreachable(target, reasonOf(error, code), error, {
      reusedConnection: this.#hitReused(error, code),
    });
  }

  #hitReused(error: unknown, code: string): boolean {
    if (typeof error !== 'object' || error === null) return false;
    if (code === 'UND_ERR_SOCKET') {
      return ((error as { socket?: { bytesRead?: number } }).socket?.bytesRead ?? 0) > 0;
    }
    return this.#resetsOfReused.has(error);
  }
}

async function readTlsFile(option: string, path: string | undefined): Promise<Buffer | undefined> {
  if (path === undefined || path === '') return undefined;
  try {
    return await readFile(path);
  } catch (error) {
    throw new ConfigError(
      'RATECAT_TLS_FILE_UNREADABLE',
      `The ${option} ${path} cannot be read (${codeOf(error)}). Check the path and that the daemon's user may read it.`,
      { cause: error },
    );
  }
}

function rejection(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}
