import { z } from 'zod';
import {
  type HttpClient,
  type HttpResponse,
  isRatecatError,
  type PluginContext,
  RejectedError,
} from '../../../core/plugin-api/index.js';
import {
  excerpt,
  KeystoneSession,
  keystoneShape,
  malformed,
  refusal,
  shownUrl,
  upstreamClient,
} from '../../../core/upstream/index.js';
import { isObject, parseExactJson, propertyOf } from '../../shared/exact-json.js';
import { pathSegment } from '../../shared/percent-encoded.js';

/** Options of a Ceilometer service; defaults as in CloudKitty. Source: collectors.md §5.1. */
export const ceilometerShape = {
  ...keystoneShape,
  interface: z.string().min(1).default('publicURL'),
  region_name: z.string().min(1).optional(),
  /** Connections that are kept open at most, and questions about resources that are asked at once. */
  http_pool_maxsize: z.number().int().positive().default(10),
  /** Rows that are asked for at once. */
  page_size: z.number().int().min(2).default(1000),
};

export type CeilometerOptions = z.output<z.ZodObject<typeof ceilometerShape>>;

/** One condition of a query. */
export interface Condition {
  readonly field: string;
  readonly op: 'eq' | 'ge' | 'le' | 'lt';
  readonly value: string;
}

/** A request to Ceilometer: a GET. */
export interface CeilometerCall {
  /** Below `/v2/`; each part is encoded here. */
  readonly path: readonly string[];
  readonly conditions: readonly Condition[];
  /** What follows the conditions, in the order in which it is sent. */
  readonly parameters?: ReadonlyArray<readonly [string, string]>;
}

/** A successful answer, its numbers as decimals. */
export interface CeilometerAnswer {
  readonly call: string;
  readonly body: unknown;
}

const READING = {
  to: 'read samples and resources of other projects',
  needs: "the role 'admin' on the project it logs in to",
};

/** Ceilometer's HTTP API v2, with a token of Keystone. */
export class CeilometerClient {
  readonly concurrency: number;
  readonly pageSize: number;
  readonly #options: CeilometerOptions;
  readonly #http: HttpClient;
  readonly #session: KeystoneSession;

  constructor(options: CeilometerOptions, context: PluginContext) {
    this.#options = options;
    this.concurrency = options.http_pool_maxsize;
    this.pageSize = options.page_size;
    this.#http = upstreamClient(options, context, options.http_pool_maxsize);
    this.#session = new KeystoneSession(options, this.#http, context.clock);
  }

  /**
   * @throws UnavailableError when Ceilometer or Keystone cannot answer now.
   * @throws RejectedError when credentials or roles do not suffice, or when Ceilometer refuses the query.
   */
  async get(call: CeilometerCall, signal: AbortSignal): Promise<CeilometerAnswer> {
    const { shown, response } = await this.#ask(call, signal);
    if (response.status !== 200) throw refused(shown, response);
    return { call: shown, body: parseExactJson(shown, response.body) };
  }

  /** As `get`; undefined when Ceilometer itself says that there is no such thing (404). */
  async find(call: CeilometerCall, signal: AbortSignal): Promise<CeilometerAnswer | undefined> {
    const { shown, response } = await this.#ask(call, signal);
    if (response.status === 404 && explanation(response) !== undefined) return undefined;
    if (response.status !== 200) throw refused(shown, response);
    return { call: shown, body: parseExactJson(shown, response.body) };
  }

  /** As `get`, for an answer that is a list of objects. */
  async list(
    call: CeilometerCall,
    signal: AbortSignal,
  ): Promise<{ readonly call: string; readonly rows: readonly Row[] }> {
    const { call: shown, body } = await this.get(call, signal);
    if (!Array.isArray(body) || !body.every(isObject)) throw malformed(shown, 'is not a list of objects');
    return { call: shown, rows: body };
  }

  async close(): Promise<void> {
    await this.#http.close();
  }

  async #ask(
    call: CeilometerCall,
    signal: AbortSignal,
  ): Promise<{ readonly shown: string; readonly response: HttpResponse }> {
    const url = `${await this.#base(signal)}/v2/${call.path.map(pathSegment).join('/')}${queryString(call)}`;
    const shown = `GET ${shownUrl(url)}`;
    const request = { method: 'GET', url, headers: { accept: 'application/json' } } as const;
    try {
      return { shown, response: await this.#session.request(request, READING, signal) };
    } catch (error) {
      throw withReasonFor401(error, shown);
    }
  }

  async #base(signal: AbortSignal): Promise<string> {
    const { interface: wanted, region_name: region } = this.#options;
    const base = await this.#session.endpoint('metering', { interface: wanted, region }, signal);
    return base.replace(/\/+$/, '').replace(/\/v2$/, '');
  }
}

/** A row of an answer. */
export type Row = Readonly<Record<string, unknown>>;

/** Parallel lists, each parameter's values together, as Ceilometer's own client sends them. */
function queryString({ conditions, parameters = [] }: CeilometerCall): string {
  const query: ReadonlyArray<readonly [string, string]> = [
    ...conditions.map(({ field }) => ['q.field', field] as const),
    ...conditions.map(({ op }) => ['q.op', op] as const),
    ...conditions.map(() => ['q.type', ''] as const),
    ...conditions.map(({ value }) => ['q.value', value] as const),
    ...parameters,
  ];
  if (query.length === 0) return '';
  return `?${query.map(([name, value]) => `${pathSegment(name)}=${pathSegment(value)}`).join('&')}`;
}

function refused(call: string, response: HttpResponse): Error {
  const said = explanation(response);
  if (said === undefined) return refusal(call, response);
  if (response.status === 410) {
    return new RejectedError(
      'RATECAT_UPSTREAM_REJECTED',
      `${call} was refused with 410: ${said} Use the collector gnocchi: this Ceilometer has handed its data to Gnocchi.`,
      { details: { status: 410 } },
    );
  }
  if (response.status === 400) {
    return new RejectedError(
      'RATECAT_QUERY_REFUSED',
      `Ceilometer refused ${call} (400: ${said}). Check that this is Ceilometer's API v2 with its own storage (up to Pike).`,
    );
  }
  return refusal(call, { ...response, body: said });
}

/** What Ceilometer says about an error, in either of its forms; undefined when the answer is not its own. */
function explanation({ body }: HttpResponse): string | undefined {
  const message = errorMessage(body);
  if (typeof message === 'string') return excerpt(message);
  if (!isObject(message)) return undefined;
  const said = ['faultstring', 'description', 'title']
    .map((name) => propertyOf(message, name))
    .find((text) => typeof text === 'string' && text !== '');
  return typeof said === 'string' ? excerpt(said) : undefined;
}

function errorMessage(body: string): unknown {
  try {
    return (JSON.parse(body) as { readonly error_message?: unknown } | null)?.error_message;
  } catch {
    return undefined;
  }
}

/** Ceilometer says 401 where other services say 403. */
function withReasonFor401(error: unknown, call: string): unknown {
  if (!isRatecatError(error) || error.code !== 'RATECAT_AUTH_REJECTED' || !error.message.startsWith(call))
    return error;
  return new RejectedError(
    error.code,
    `${error.message} Ceilometer also answers 401 when the user may not ${READING.to}: give it ${READING.needs}.`,
    { cause: error },
  );
}
