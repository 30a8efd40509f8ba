import type { IncomingHttpHeaders } from 'node:http';
import type { ApiConfig } from '../config/config.js';

/** Which pages of other origins may call the API from a browser. */
export interface Cors {
  /** Headers that a response to this request gets, whatever its status. */
  headers(method: string, request: IncomingHttpHeaders): Readonly<Record<string, string>>;
}

const METHODS = ['GET', 'PUT', 'POST', 'DELETE', 'PATCH'];
const EXPOSED = 'X-Auth-Token,X-Subject-Token,X-Service-Token,X-OpenStack-Request-ID';
/** CloudKitty's headers, then those that need no permission. */
const REQUEST_HEADERS = new Set([
  ...['x-auth-token', 'x-subject-token', 'x-roles', 'x-user-id', 'x-domain-id', 'x-project-id'],
  ...['x-tenant-id', 'x-openstack-request-id'],
  ...['accept', 'accept-language', 'content-type', 'cache-control', 'content-language', 'expires'],
  ...['last-modified', 'pragma'],
]);

/** oslo.middleware's CORS with CloudKitty's lists of methods and headers (spec: CORS). Without origins it does nothing. */
export class OsloCors implements Cors {
  readonly #origins: ReadonlySet<string>;
  readonly #credentials: Readonly<Record<string, string>>;
  readonly #maxAge: string;

  constructor({ allowedOrigins, allowCredentials, maxAgeSeconds }: ApiConfig['cors']) {
    this.#origins = new Set(allowedOrigins);
    this.#credentials = allowCredentials ? { 'access-control-allow-credentials': 'true' } : {};
    this.#maxAge = String(maxAgeSeconds);
  }

  headers(method: string, request: IncomingHttpHeaders): Readonly<Record<string, string>> {
    const origin = this.#allowed(request.origin);
    if (origin === undefined) return {};
    const common = { vary: 'Origin', 'access-control-allow-origin': origin, ...this.#credentials };
    if (method !== 'OPTIONS') return { ...common, 'access-control-expose-headers': EXPOSED };
    const preflight = preflightHeaders(request);
    return preflight === undefined ? {} : { ...common, 'access-control-max-age': this.#maxAge, ...preflight };
  }

  /** Origins are compared as they are; `*` in the configuration stands for all others. */
  #allowed(origin: string | undefined): string | undefined {
    if (origin === undefined || origin === '') return undefined;
    if (this.#origins.has(origin)) return origin;
    return this.#origins.has('*') ? '*' : undefined;
  }
}

/** Undefined when the announced request would not be allowed. Only names that are on the lists are repeated. */
function preflightHeaders(request: IncomingHttpHeaders): Readonly<Record<string, string>> | undefined {
  const method = request['access-control-request-method'];
  if (method === undefined || !METHODS.includes(method)) return undefined;
  const names = (request['access-control-request-headers'] ?? '')
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
  if (!names.every((name) => REQUEST_HEADERS.has(name.toLowerCase()))) return undefined;
  const allowed = { 'access-control-allow-methods': method };
  return names.length === 0 ? allowed : { ...allowed, 'access-control-allow-headers': names.join(',') };
}
