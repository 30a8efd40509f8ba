import { isUtf8 } from 'node:buffer';
import { setMaxListeners } from 'node:events';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { brotliDecompress, gunzip, inflate, inflateRaw } from 'node:zlib';
import { Agent, buildConnector, type Dispatcher, errors } from 'undici';
import {
  ConfigError,
  DataError,
  type HttpClient,
  type HttpClientOptions,
  type HttpFactory,
  type HttpRequest,
  type HttpResponse,
  isRatecatError,
  type RatecatError,
  UnavailableError,
} from '../plugin-api/index.js';

const DEFAULT_TIMEOUT_MS = 60_000;
const DEFAULT_MAX_RESPONSE_BYTES = 64 * 1024 * 1024;
const DEFAULT_CONNECTIONS = 16;
/** Nobody answers a SYN after this long; a query may well take longer than that to compute. */
const CONNECT_TIMEOUT_MS = 10_000;

/** Every client of the daemon comes from here. */
export const httpFactory: HttpFactory = { client: (options) => new UndiciHttpClient(options) };

/**
 * One upstream over undici. Every exchange is bounded in time and in bytes; bodies of successful answers are strict UTF-8.
 *
 * Waiting for a free connection does not count as time of the exchange: otherwise a busy daemon would time out on an
 * upstream that is merely slow, and repeat what was about to be answered.
 */
/** One reason for all: without it each end of an exchange would build an exception with its stack. */
const OVER = new Error('the exchange is over');

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
    const bytes = await this.#decompress(target, raw, headers['content-encoding']);
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

  async #decompress(target: Target, raw: Buffer, encoding: string | undefined): Promise<Buffer> {
    const name = (encoding ?? 'identity').trim().toLowerCase();
    if (raw.length === 0 || name === 'identity' || name === '') return raw;
    const decompress = decompressorFor(name, raw);
    if (decompress === undefined) {
      throw malformed(target, `is packed as '${name.slice(0, 40)}', which was not asked for`);
    }
    try {
      // zlib stops as soon as the output passes the limit, so a bomb costs no more than an honest answer.
      return await decompress(raw, { maxOutputLength: this.#maxBytes });
    } catch (error) {
      const code = codeOf(error);
      if (code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(target, this.#maxBytes);
      if (code === 'Z_BUF_ERROR') throw truncated(target, error);
      throw malformed(target, `is not valid ${name}`, error);
    }
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

/** Lets a fixed number in; the others wait in order. */
class Gate {
  #free: number;
  readonly #waiting: Array<() => void> = [];

  constructor(places: number) {
    this.#free = places;
  }

  async enter(signal: AbortSignal): Promise<() => void> {
    if (this.#free > 0) this.#free--;
    else await this.#wait(signal);
    let left = false;
    return () => {
      if (left) return;
      left = true;
      const next = this.#waiting.shift();
      if (next === undefined) this.#free++;
      else next();
    };
  }

  #wait(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const admit = () => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      };
      const onAbort = () => {
        this.#waiting.splice(this.#waiting.indexOf(admit), 1);
        reject(signal.reason);
      };
      signal.addEventListener('abort', onAbort, { once: true });
      this.#waiting.push(admit);
    });
  }
}

interface Target {
  readonly url: URL;
  /** For messages: without credentials and query. */
  readonly shown: string;
  readonly method: NonNullable<HttpRequest['method']>;
  readonly headers: Record<string, string>;
  readonly body: string | undefined;
}

function parseTarget(request: HttpRequest): Target {
  const url = URL.canParse(request.url) ? new URL(request.url) : undefined;
  if (url === undefined || !(url.protocol === 'http:' || url.protocol === 'https:')) {
    throw new ConfigError(
      'RATECAT_UPSTREAM_URL_INVALID',
      `'${withoutSecrets(request.url)}' is not an http or https URL. Check the URL in the plugin's options.`,
    );
  }
  const headers: Record<string, string> = {
    accept: 'application/json',
    'accept-encoding': 'gzip, deflate, br',
    'user-agent': 'ratecat',
  };
  if (url.username !== '' || url.password !== '') headers.authorization = basicFromUrl(url);
  for (const [name, value] of Object.entries(request.headers ?? {})) headers[name.toLowerCase()] = value;
  return {
    url,
    shown: `${url.origin}${url.pathname}`,
    method: request.method ?? 'GET',
    headers,
    body: request.body,
  };
}

function basicFromUrl(url: URL): string {
  const credentials = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  return `Basic ${Buffer.from(credentials, 'utf8').toString('base64')}`;
}

function withoutSecrets(url: string): string {
  return url
    .replace(/[?#].*$/s, '')
    .replace(/\/\/[^/]*@/, '//')
    .slice(0, 200);
}

type Decompress = (raw: Buffer, options: { maxOutputLength: number }) => Promise<Buffer>;

const DECOMPRESSORS: ReadonlyMap<string, Decompress> = new Map<string, Decompress>([
  ['gzip', promisify(gunzip)],
  ['x-gzip', promisify(gunzip)],
  ['br', promisify(brotliDecompress)],
]);

function decompressorFor(encoding: string, raw: Buffer): Decompress | undefined {
  if (encoding !== 'deflate') return DECOMPRESSORS.get(encoding);
  // Servers disagree whether "deflate" has the zlib header; its first byte says method 8.
  return promisify((raw[0]! & 0x0f) === 8 ? inflate : inflateRaw);
}

/** Error pages come in any encoding; only what is going to be priced must be perfect. */
function decode(target: Target, bytes: Buffer, status: number): string {
  if (status < 400 && !isUtf8(bytes)) throw malformed(target, 'is not valid UTF-8');
  const text = bytes.toString('utf8');
  return text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
}

function flatHeaders(
  headers: Readonly<Record<string, string | string[] | undefined>>,
): Record<string, string> {
  const flat: Record<string, string> = Object.create(null);
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined) flat[name.toLowerCase()] = Array.isArray(value) ? value.join(', ') : value;
  }
  return flat;
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

// ------------------------------------------------------------------------------------------------------------ errors

const TIMEOUT_CODES: ReadonlySet<string> = new Set([
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
  'ETIMEDOUT',
]);

function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | undefined)?.code;
  if (typeof code === 'string') return code;
  // Several addresses were tried: the first failure is as good as any.
  const first = error instanceof AggregateError ? error.errors[0] : undefined;
  return first === undefined ? 'unknown error' : codeOf(first);
}

const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there (ECONNREFUSED)',
  ENOTFOUND: 'the host name is unknown (ENOTFOUND)',
  EAI_AGAIN: 'the name server does not answer (EAI_AGAIN)',
  ECONNRESET: 'the connection was reset (ECONNRESET)',
  EPIPE: 'the connection was closed (EPIPE)',
  UND_ERR_SOCKET: 'the connection was closed before an answer',
  EHOSTUNREACH: 'there is no route to the host (EHOSTUNREACH)',
  ENETUNREACH: 'there is no route to the network (ENETUNREACH)',
  CERT_HAS_EXPIRED: 'its TLS certificate has expired (CERT_HAS_EXPIRED)',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its TLS certificate is for another host (ERR_TLS_CERT_ALTNAME_INVALID)',
  ERR_SSL_WRONG_VERSION_NUMBER: 'it does not speak TLS; is it an http URL? (ERR_SSL_WRONG_VERSION_NUMBER)',
};

function reasonOf(error: unknown, code: string): string {
  const known = REASONS[code];
  if (known !== undefined) return known;
  if (/CERT|SELF_SIGNED|ISSUER|SIGNATURE/.test(code)) {
    return `its TLS certificate is not trusted (${code}); set cafile to the issuing authority's certificate`;
  }
  return code === 'unknown error' && error instanceof Error ? error.message.slice(0, 200) : code;
}

function timeoutError(target: Target, timeoutMs: number, cause?: unknown): UnavailableError {
  return new UnavailableError(
    'RATECAT_UPSTREAM_TIMEOUT',
    `${target.method} ${target.shown} was not answered in full within ${timeoutMs / 1000} s. Check the load of the upstream or raise the plugin's timeout.`,
    { cause, details: { url: target.shown } },
  );
}

function unreachable(
  target: Target,
  reason: string,
  cause?: unknown,
  details: Readonly<Record<string, unknown>> = {},
): UnavailableError {
  return new UnavailableError(
    'RATECAT_UPSTREAM_UNREACHABLE',
    `${target.method} ${target.shown} failed: ${reason}. Check that the service runs and that the URL in the plugin's options is right.`,
    { cause, details: { url: target.shown, ...details } },
  );
}

function truncated(target: Target, cause: unknown): UnavailableError {
  return new UnavailableError(
    'RATECAT_UPSTREAM_TRUNCATED',
    `The answer to ${target.method} ${target.shown} broke off in the middle. It will be asked for again; if it persists, check proxies and the log of the upstream.`,
    { cause, details: { url: target.shown } },
  );
}

function tooLarge(target: Target, maxBytes: number): DataError {
  return new DataError(
    'RATECAT_UPSTREAM_TOO_LARGE',
    `The answer to ${target.method} ${target.shown} has more than ${maxBytes} bytes. Narrow the query (fewer labels or resources per scope).`,
    { details: { url: target.shown } },
  );
}

function malformed(target: Target, problem: string, cause?: unknown): DataError {
  return new DataError(
    'RATECAT_UPSTREAM_MALFORMED',
    `The answer to ${target.method} ${target.shown} ${problem}. Check that the URL leads to the service itself and not to something else.`,
    { cause, details: { url: target.shown } },
  );
}
