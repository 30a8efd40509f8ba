import { createHash, randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { type AddressInfo, BlockList } from 'node:net';
import { Readable } from 'node:stream';
import rateLimit from '@fastify/rate-limit';
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { ApiConfig } from '../config/config.js';
import {
  type Clock,
  ConfigError,
  describeError,
  isRatecatError,
  type Lifecycle,
  type Logger,
} from '../plugin-api/index.js';
import { AuthenticationRefused, type Authenticator } from './auth/authenticator.js';
import { ANONYMOUS, type Identity } from './auth/identity.js';
import type { Cors } from './cors.js';
import { type ApiArea, type ApiRequest, type ApiResponse, JSON_TYPE } from './exchange.js';
import { pageNotFound, plainFault } from './faults.js';
import type { HealthCheck } from './health.js';
import type { OriginOf, RequestOrigin } from './origin.js';
import { pythonJson } from './python-json.js';
import { isRangeRefusal } from './range-refusals.js';
import { readablePath } from './readable-path.js';
import { TooManyRequests } from './too-many-requests.js';
import { versionDocument } from './versions.js';

/** One answered request, for the log and the metrics. */
export interface Served {
  readonly id: string;
  readonly method: string;
  readonly path: string;
  /** Pattern of the path. */
  readonly route: string;
  readonly status: number;
  readonly seconds: number;
  readonly userId: string | undefined;
  readonly projectId: string | undefined;
}

/** Our own part of the API: routes on the server itself, so that its OpenAPI document is made from them. */
export interface OwnApi {
  register(app: FastifyInstance): Promise<void> | void;
  /** Routes, with the prefix, that need no token. Whoever sends one is known by it all the same. */
  readonly publicPaths: readonly string[];
}

export interface ApiServerParts {
  readonly config: ApiConfig;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly authenticator: Authenticator;
  readonly cors: Cors;
  readonly health: HealthCheck;
  readonly originOf: OriginOf;
  readonly v1: ApiArea;
  readonly v2: ApiArea;
  readonly own: OwnApi;
  readonly onServed?: (served: Served) => void;
}

/** What the server knows about a request besides its text. */
export interface RequestFacts {
  readonly id: string;
  readonly started: number;
  readonly origin: RequestOrigin;
  readonly abort: AbortController;
  readonly timer: NodeJS.Timeout;
  identity: Identity;
  route: string | undefined;
}

declare module 'fastify' {
  interface FastifyRequest {
    facts: RequestFacts;
  }
}

/** A HEAD, GET or DELETE may carry a body: clients of the reference send arguments there. */
const WITH_BODY = ['GET', 'HEAD', 'DELETE', 'OPTIONS'];
const ROUTE_UNKNOWN = 'unknown';
const MINUTE_MS = 60_000;
const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');
/** Callers whose requests are counted at a time. */
const COUNTED_CALLERS = 20_000;

/**
 * The HTTP server: transport limits, request ids, CORS, authentication, and the areas behind it. CloudKitty's pipeline is
 * CORS, proxy headers, request id, token check, application (spec: root, process layout); `/healthcheck` stands beside it.
 */
export class ApiServer implements Lifecycle {
  readonly #parts: ApiServerParts;
  readonly #open = new Set<AbortController>();
  #app: FastifyInstance | undefined;
  #address = '';

  constructor(parts: ApiServerParts) {
    this.#parts = parts;
  }

  /** The routes without a socket: tests call them through `inject`. */
  async app(): Promise<FastifyInstance> {
    this.#app ??= await this.#build();
    return this.#app;
  }

  /**
   * Listens as the configuration says, or on the socket that the service manager passed. Gives the address.
   * @throws ConfigError RATECAT_API_ADDRESS when that is not possible.
   */
  async listen(environment: Readonly<Record<string, string | undefined>> = {}): Promise<string> {
    const { host, port } = this.#parts.config;
    const app = await this.app();
    try {
      const passed = isPassedSocket(environment);
      // `fd` is taken by Node, though the types do not name it; the host only keeps fastify from binding to others.
      const socket = { fd: 3, host: '127.0.0.1' } as unknown as { port: number };
      await app.listen(passed ? socket : { host, port });
    } catch (error) {
      const reason = (error as NodeJS.ErrnoException).code ?? describeError(error);
      throw new ConfigError(
        'RATECAT_API_ADDRESS',
        `The API cannot listen on ${host}:${port} (${reason}). Another program may have the port: set api.port or api.host.`,
        { cause: error },
      );
    }
    const bound = app.server.address();
    this.#refuseOpenSocket(bound);
    return typeof bound === 'string' || bound === null ? String(bound) : this.#urlOf(bound);
  }

  /** Prepares the check of tokens, then listens. */
  async start(signal: AbortSignal): Promise<void> {
    await this.#parts.authenticator.start?.(signal);
    this.#address = await this.listen(process.env);
  }

  /** Where it listens, once started: `http://127.0.0.1:8889`. */
  get address(): string {
    return this.#address;
  }

  /** Ends what is under way; also when the start failed. */
  async stop(): Promise<void> {
    for (const controller of this.#open) controller.abort(new Error('the server stops'));
    await this.#app?.close();
    await this.#parts.authenticator.stop?.();
  }

  /** The configuration was checked against api.host; a socket that was passed may listen elsewhere. */
  #refuseOpenSocket(bound: AddressInfo | string | null): void {
    const { auth, allowInsecureBind } = this.#parts.config;
    if (auth !== 'noauth' || allowInsecureBind || bound === null || typeof bound === 'string') return;
    if (isLoopback(bound.address)) return;
    throw new ConfigError(
      'RATECAT_API_ADDRESS',
      `The service manager passed a socket on ${bound.address}:${bound.port}, which other machines may reach, and api.auth is ` +
        'noauth: everybody would be an administrator. Set api.auth to keystone, let the socket listen on 127.0.0.1, or set ' +
        'api.allow_insecure_bind to true.',
    );
  }

  #urlOf({ address, port, family }: AddressInfo): string {
    const scheme = this.#parts.config.tls === undefined ? 'http' : 'https';
    return `${scheme}://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
  }

  async #build(): Promise<FastifyInstance> {
    const { config } = this.#parts;
    const limits = {
      bodyLimit: config.maxBodyBytes,
      // Time to send a request; and the longest pause of a connection in which nothing is read or written.
      requestTimeout: config.requestTimeoutSeconds * 1000,
      connectionTimeout: config.requestTimeoutSeconds * 2000,
      keepAliveTimeout: 75_000,
      forceCloseConnections: 'idle' as const,
      return503OnClosing: false,
      exposeHeadRoutes: false,
      routerOptions: { maxParamLength: 4096 },
      rewriteUrl: ({ url }: { readonly url?: string | undefined }) => readablePath(url ?? '/'),
    };
    const maxHeaderSize = config.maxHeaderBytes;
    const app =
      config.tls === undefined
        ? fastify({ ...limits, http: { maxHeaderSize } })
        : (fastify({
            ...limits,
            https: { ...(await certificate(config.tls)), maxHeaderSize },
          }) as unknown as FastifyInstance);
    for (const method of WITH_BODY) app.addHttpMethod(method, { hasBody: true, overrideExisting: true });
    app.removeAllContentTypeParsers();
    app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
    app.decorateRequest('facts', null as unknown as RequestFacts);
    this.#addHooks(app);
    await this.#addRateLimit(app);
    this.#addRoutes(app);
    await app.register(async (own) => this.#addOwn(own), { prefix: '/ratecat/v1' });
    return app;
  }

  #addHooks(app: FastifyInstance): void {
    app.addHook('onRequest', async (request) => this.#begin(request));
    app.addHook('onSend', async (request, reply, payload) => {
      if (isHealthCheck(pathOf(request))) return payload;
      reply.headers({
        ...this.#parts.cors.headers(request.method, request.headers),
        'x-openstack-request-id': request.facts.id,
      });
      return payload;
    });
    app.addHook('onResponse', async (request, reply) => this.#served(request, reply));
    app.addHook('onRequestAbort', async (request) => request.facts.abort.abort(new Error('the caller left')));
    app.setErrorHandler((error, request, reply) => this.#failed(error, request, reply));
  }

  #addRoutes(app: FastifyInstance): void {
    const authenticate = (request: FastifyRequest, reply: FastifyReply) => this.#authenticate(request, reply);
    const authenticated = { onRequest: authenticate };
    const { v1, v2, health } = this.#parts;
    const root: ApiArea = { handle: async (request) => versionDocument(request) };
    const nowhere: ApiArea = { handle: async () => pageNotFound() };
    const add = (paths: readonly string[], area: ApiArea, options: object = authenticated) => {
      for (const path of paths)
        app.all(path, options, (request, reply) => this.#answer(area, request, reply));
    };
    add(['/healthcheck', '/healthcheck/*'], health, {});
    add(['/'], root);
    add(['/v1', '/v1/*'], v1);
    add(['/v2', '/v2/*'], v2);
    app.setNotFoundHandler({ preHandler: authenticate }, (request, reply) =>
      this.#answer(nowhere, request, reply),
    );
  }

  async #addOwn(own: FastifyInstance): Promise<void> {
    own.addHook('onRequest', async (request, reply) => {
      const isPublic = this.#parts.own.publicPaths.includes(request.routeOptions.url ?? '');
      const isKnown = this.#parts.config.auth === 'noauth' || request.headers['x-auth-token'] !== undefined;
      if (!isPublic || isKnown) await this.#authenticate(request, reply);
    });
    await this.#parts.own.register(own);
  }

  /** Requests of one token, or of one address without a token; counted before the token is checked. */
  async #addRateLimit(app: FastifyInstance): Promise<void> {
    const max = this.#parts.config.rateLimitPerMinute;
    if (max === 0) return;
    await app.register(rateLimit, { global: false, cache: COUNTED_CALLERS });
    const count = app.createRateLimit({ max, timeWindow: MINUTE_MS, keyGenerator: callerKey });
    app.addHook('onRequest', async (request, reply) => {
      if (isHealthCheck(pathOf(request))) return;
      const result = await count(request);
      if (result.isAllowed || !result.isExceeded) return;
      throw announced(
        new TooManyRequests(`More than ${max} requests in a minute.`, result.ttlInSeconds),
        reply,
      );
    });
  }

  #begin(request: FastifyRequest): void {
    const abort = new AbortController();
    this.#open.add(abort);
    const timer = setTimeout(
      () => abort.abort(new Error('the request took too long')),
      this.#parts.config.requestTimeoutSeconds * 1000,
    );
    timer.unref();
    request.facts = {
      id: `req-${randomUUID()}`,
      started: this.#parts.clock.monotonic(),
      origin: this.#parts.originOf(request.raw),
      abort,
      timer,
      identity: ANONYMOUS,
      route: undefined,
    };
  }

  async #authenticate(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const path = pathOf(request);
    if (isPublic(path)) return;
    const { headers, method, facts } = request;
    const { clientAddress } = facts.origin;
    try {
      facts.identity = await this.#parts.authenticator.authenticate(
        { headers, method, path, clientAddress },
        facts.abort.signal,
      );
    } catch (error) {
      throw announced(error, reply);
    }
  }

  async #answer(area: ApiArea, request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const response = await area.handle(toApiRequest(request));
    request.facts.route = response.route;
    await send(request, reply, response);
  }

  async #failed(error: unknown, request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const accept = request.headers.accept;
    if (error instanceof AuthenticationRefused) {
      const fault = { error: { code: 401, title: 'Unauthorized', message: error.message } };
      await send(request, reply, {
        status: 401,
        headers: { 'content-type': JSON_TYPE, 'www-authenticate': error.challenge },
        body: pythonJson(fault),
      });
      return;
    }
    const { signal } = request.facts.abort;
    if (signal.aborted && error === signal.reason) {
      // Nobody's fault that an operator could look for: the caller left, the time is over, or the server stops.
      this.#parts.logger.info('request abandoned', {
        request: request.facts.id,
        reason: describeError(error),
      });
      await send(request, reply, plainFault(503, describeError(error), accept, request.method));
      return;
    }
    const status = statusOf(error);
    if (status >= 500) {
      this.#parts.logger.error('request failed', {
        request: request.facts.id,
        method: request.method,
        path: pathOf(request),
        reason: describeError(error),
        ...(isRatecatError(error) ? { code: error.code } : { stack: (error as Error | undefined)?.stack }),
      });
    }
    await send(request, reply, plainFault(status, faultDetail(error, status), accept, request.method));
  }

  #served(request: FastifyRequest, reply: FastifyReply): void {
    const { id, started, identity, route, timer, abort } = request.facts;
    clearTimeout(timer);
    this.#open.delete(abort);
    const served: Served = {
      id,
      method: request.method,
      path: pathOf(request),
      route:
        route ??
        (request.routeOptions.url?.startsWith('/ratecat/') ? request.routeOptions.url : ROUTE_UNKNOWN),
      status: reply.statusCode,
      seconds: (this.#parts.clock.monotonic() - started) / 1000,
      userId: identity.userId,
      projectId: identity.projectId,
    };
    this.#parts.onServed?.(served);
    this.#parts.logger.debug('request', { ...served, request: id });
  }
}

/** The request as the areas see it. */
export function toApiRequest(request: FastifyRequest): ApiRequest {
  const { facts, raw } = request;
  const url = raw.url ?? '/';
  const mark = url.indexOf('?');
  return {
    id: facts.id,
    method: request.method,
    path: pathOf(request),
    query: new URLSearchParams(mark < 0 ? '' : url.slice(mark + 1)),
    headers: request.headers,
    body: Buffer.isBuffer(request.body) ? request.body : EMPTY,
    origin: facts.origin.origin,
    prefix: facts.origin.prefix,
    identity: facts.identity,
    signal: facts.abort.signal,
  };
}

const EMPTY = Buffer.alloc(0);

function pathOf(request: FastifyRequest): string {
  const url = request.raw.url ?? '/';
  const mark = url.indexOf('?');
  return mark < 0 ? url : url.slice(0, mark);
}

/** Tells who has to wait when to come back. */
function announced(error: unknown, reply: FastifyReply): unknown {
  if (error instanceof TooManyRequests) reply.header('retry-after', String(error.retryAfterSeconds));
  return error;
}

/** Tokens are secrets: what is kept of them is a hash. */
function callerKey({ headers, facts }: FastifyRequest): string {
  const token = headers['x-auth-token'];
  if (token === undefined) return `address ${facts.origin.clientAddress}`;
  return createHash('sha256').update(String(token)).digest('base64');
}

/** As the reference: slashes at the end do not count (spec: authentication, public routes). */
function isPublic(path: string): boolean {
  let end = path.length;
  while (end > 0 && path[end - 1] === '/') end--;
  return ['', '/v1', '/v2'].includes(path.slice(0, end));
}

function isHealthCheck(path: string): boolean {
  return path === '/healthcheck' || path.startsWith('/healthcheck/');
}

/** An OPTIONS request always succeeds: what the application does not answer itself becomes an empty 200 (oslo's CORS). */
async function send(request: FastifyRequest, reply: FastifyReply, response: ApiResponse): Promise<void> {
  const isRefused = response.status < 200 || response.status >= 300;
  if (request.method === 'OPTIONS' && isRefused && !isHealthCheck(pathOf(request))) {
    await reply.code(200).send();
    return;
  }
  reply.code(response.status);
  if (response.headers !== undefined) reply.headers(response.headers);
  const { body } = response;
  // Text would be given a charset that the reference does not send.
  if (typeof body === 'string') await reply.send(Buffer.from(body));
  else await reply.send(body === undefined ? undefined : Readable.from(body));
}

function statusOf(error: unknown): number {
  if (isRangeRefusal(error)) return 400;
  if (isRatecatError(error)) return error.kind === 'unavailable' ? 503 : 500;
  const status = (error as { statusCode?: unknown } | undefined)?.statusCode;
  return typeof status === 'number' && status >= 400 && status < 600 ? status : 500;
}

/** What a caller is told; internals stay in the log. */
function faultDetail(error: unknown, status: number): string {
  if (isRatecatError(error)) return error.message;
  return status < 500 ? describeError(error) : 'The server met an error; its log says which.';
}

async function certificate(tls: NonNullable<ApiConfig['tls']>): Promise<{ cert: Buffer; key: Buffer }> {
  const read = async (file: string) => {
    try {
      return await readFile(file);
    } catch (error) {
      throw new ConfigError(
        'RATECAT_API_CERTIFICATE',
        `The file ${file} of api.tls cannot be read (${(error as NodeJS.ErrnoException).code}).`,
        { cause: error },
      );
    }
  };
  return { cert: await read(tls.certFile), key: await read(tls.keyFile) };
}

function isLoopback(address: string): boolean {
  return LOOPBACK.check(address, address.includes(':') ? 'ipv6' : 'ipv4');
}

/** systemd's socket activation: one socket, meant for this process (sd_listen_fds(3)). */
function isPassedSocket(environment: Readonly<Record<string, string | undefined>>): boolean {
  return environment.LISTEN_PID === String(process.pid) && Number(environment.LISTEN_FDS ?? 0) >= 1;
}
