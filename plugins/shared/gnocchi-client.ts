import { z } from 'zod';
import {
  type HttpClient,
  type HttpRequest,
  type HttpResponse,
  type PluginContext,
  RejectedError,
} from '../../core/plugin-api/index.js';
import {
  type CallPurpose,
  checkKeystone,
  KeystoneSession,
  keystoneShape,
  malformed,
  refusal,
  requestRepeatably,
  shownUrl,
  upstreamClient,
} from '../../core/upstream/index.js';
import { isObject, parseExactJson } from './exact-json.js';
import { percentEncoded } from './percent-encoded.js';

/** Options of a Gnocchi service; names as in CloudKitty. Source: collectors.md §2.1. */
export const gnocchiShape = {
  ...keystoneShape,
  gnocchi_auth_type: z.enum(['keystone', 'basic']).default('keystone'),
  gnocchi_user: z.string().default(''),
  gnocchi_endpoint: z.string().default(''),
  interface: z.string().min(1).default('internalURL'),
  region_name: z.string().min(1).default('RegionOne'),
  /** Connections that are kept open at most. */
  http_pool_maxsize: z.number().int().positive().default(10),
};

export type GnocchiOptions = z.output<z.ZodObject<typeof gnocchiShape>>;

export function checkGnocchi(options: GnocchiOptions, context: z.core.$RefinementCtx): void {
  if (options.gnocchi_auth_type === 'keystone') {
    checkKeystone(options, context);
    return;
  }
  if (!/^https?:\/\//.test(options.gnocchi_endpoint) || !URL.canParse(options.gnocchi_endpoint)) {
    const message = 'is required with gnocchi_auth_type basic, e.g. http://gnocchi.example:8041';
    context.addIssue({ code: 'custom', message, path: ['gnocchi_endpoint'] });
  }
}

/** A request to Gnocchi: a POST that only reads. */
export interface GnocchiRequest {
  /** Below `/v1/`. */
  readonly path: string;
  /** In the order in which they are sent. */
  readonly query: ReadonlyArray<readonly [string, string]>;
  readonly body: unknown;
  readonly purpose: CallPurpose;
}

/** An answer that Gnocchi meant: a success, or a 400 or 404 with its explanation. */
export interface GnocchiAnswer {
  readonly call: string;
  readonly response: HttpResponse;
}

/** Gnocchi's HTTP API, with a token of Keystone or a bare user name. */
export class GnocchiClient {
  readonly #options: GnocchiOptions;
  readonly #http: HttpClient;
  readonly #session: KeystoneSession;

  constructor(options: GnocchiOptions, context: PluginContext) {
    this.#options = options;
    this.#http = upstreamClient(options, context, options.http_pool_maxsize);
    this.#session = new KeystoneSession(options, this.#http, context.clock);
  }

  /**
   * @throws UnavailableError when Gnocchi or Keystone cannot answer now.
   * @throws RejectedError when credentials or roles do not suffice.
   */
  async post(request: GnocchiRequest, signal: AbortSignal): Promise<GnocchiAnswer> {
    const url = `${await this.#base(signal)}/v1/${request.path}${queryString(request.query)}`;
    const call = `POST ${shownUrl(url)}`;
    const sent: HttpRequest = {
      method: 'POST',
      url,
      headers: { 'content-type': 'application/json', accept: 'application/json' },
      body: JSON.stringify(request.body),
    };
    const response =
      this.#options.gnocchi_auth_type === 'keystone'
        ? await this.#session.request(sent, request.purpose, signal)
        : await this.#basic(sent, call, signal);
    const meant = response.status === 200 || response.status === 400 || response.status === 404;
    if (!meant) throw refusal(call, response);
    return { call, response };
  }

  /**
   * Every page of a resource search, following `Link: rel="next"`. Only the query of the link is believed: the token must
   * not travel to another server.
   */
  async *search(request: GnocchiRequest, signal: AbortSignal): AsyncIterable<readonly Resource[]> {
    const visited = new Set<string>();
    let query: ReadonlyArray<readonly [string, string]> | undefined = request.query;
    while (query !== undefined) {
      const { call, response }: GnocchiAnswer = await this.post({ ...request, query }, signal);
      if (response.status !== 200) throw refusal(call, response);
      const page = parseExactJson(call, response.body);
      if (!Array.isArray(page) || !page.every(isObject)) throw malformed(call, 'is not a list of resources');
      yield page as readonly Resource[];
      query = nextQuery(response.headers.link);
      const key = JSON.stringify(query);
      if (visited.has(key)) throw malformed(call, 'links to a page that was already read');
      visited.add(key);
    }
  }

  async close(): Promise<void> {
    await this.#http.close();
  }

  async #base(signal: AbortSignal): Promise<string> {
    const { gnocchi_auth_type, gnocchi_endpoint, interface: wanted, region_name: region } = this.#options;
    const base =
      gnocchi_auth_type === 'basic'
        ? gnocchi_endpoint
        : await this.#session.endpoint('metric', { interface: wanted, region }, signal);
    return base.replace(/\/+$/, '').replace(/\/v1$/, '');
  }

  async #basic(request: HttpRequest, call: string, signal: AbortSignal): Promise<HttpResponse> {
    const credentials = Buffer.from(`${this.#options.gnocchi_user}:`, 'utf8').toString('base64');
    const headers = { ...request.headers, authorization: `basic ${credentials}` };
    const response = await requestRepeatably(this.#http, { ...request, headers }, signal);
    if (response.status !== 401 && response.status !== 403) return response;
    throw new RejectedError(
      'RATECAT_AUTH_REJECTED',
      `Gnocchi refused ${call} for user '${this.#options.gnocchi_user}' (${response.status}). Check options.gnocchi_user and that Gnocchi's auth_mode is basic.`,
    );
  }
}

/** A resource of a search, numbers as decimals. */
export type Resource = Readonly<Record<string, unknown>>;

function queryString(query: ReadonlyArray<readonly [string, string]>): string {
  if (query.length === 0) return '';
  return `?${query.map(([name, value]) => `${percentEncoded(name)}=${percentEncoded(value)}`).join('&')}`;
}

function nextQuery(link: string | undefined): ReadonlyArray<readonly [string, string]> | undefined {
  const target = /<([^<>]*)>\s*;[^,<]*\brel="?next"?/i.exec(link ?? '')?.[1];
  if (target === undefined || !URL.canParse(target, 'http://gnocchi.invalid')) return undefined;
  return [...new URL(target, 'http://gnocchi.invalid').searchParams];
}
