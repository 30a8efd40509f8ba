import { z } from 'zod';
import {
  type Clock,
  DataError,
  type HttpClient,
  type HttpResponse,
  type Instant,
  isRatecatError,
  type Logger,
  mapInSlices,
  type Period,
  type PluginContext,
  type RatecatError,
  RejectedError,
  UnavailableError,
} from '../../core/plugin-api/index.js';
import {
  excerpt,
  malformed,
  parseJson,
  refusal,
  SharedCalls,
  shownUrl,
  upstreamClient,
  upstreamShape,
} from '../../core/upstream/index.js';
import { isoInstant } from './iso-instant.js';
import { promqlSelector } from './promql.js';

/** Options of a Prometheus server; the names with `prometheus_` are CloudKitty's. */
export const prometheusShape = {
  ...upstreamShape,
  url: z.string().min(1).optional(),
  prometheus_url: z.string().min(1).optional(),
  user: z.string().optional(),
  prometheus_user: z.string().optional(),
  password: z.string().optional(),
  prometheus_password: z.string().optional(),
  /** Answers with warnings (e.g. a store of Thanos that is away) count as unavailable. */
  refuse_warnings: z.boolean().default(false),
};

export const prometheusSecrets = ['password', 'prometheus_password'];

type PrometheusOptions = z.output<z.ZodObject<typeof prometheusShape>>;

/** Refuses both spellings of one option, and a missing URL. */
export function checkPrometheus(options: PrometheusOptions, context: z.core.$RefinementCtx): void {
  for (const name of ['url', 'user', 'password'] as const) {
    if (options[name] !== undefined && options[`prometheus_${name}`] !== undefined) {
      const message = `is given twice: as ${name} and as prometheus_${name}; keep one`;
      context.addIssue({ code: 'custom', message, path: [`prometheus_${name}`] });
    }
  }
  const url = options.url ?? options.prometheus_url;
  if (url === undefined) {
    const message = 'is required, e.g. http://prometheus.example:9090/api/v1';
    context.addIssue({ code: 'custom', message, path: ['url'] });
  } else if (!/^https?:\/\//.test(url) || !URL.canParse(url)) {
    const message = 'must be an http or https URL, e.g. http://prometheus.example:9090/api/v1';
    context.addIssue({
      code: 'custom',
      message,
      path: [options.url === undefined ? 'prometheus_url' : 'url'],
    });
  }
}

/** One element of an instant vector, as the server wrote it. */
export interface VectorElement {
  /** May hold labels of any name, `__proto__` too: ask with `labelOf`. */
  readonly metric: Readonly<Record<string, string>>;
  /** Seconds since the epoch. */
  readonly timestamp: number;
  /** The sample's text: a number, `NaN`, `+Inf` or `-Inf`. */
  readonly value: string;
}

/** The value of a label; undefined when the element lacks it. */
export function labelOf(element: VectorElement, label: string): string | undefined {
  return Object.hasOwn(element.metric, label) ? element.metric[label] : undefined;
}

/** Longest time that what was found out about the server itself is believed. */
const FACTS_MS = 600_000;
const RECORDED_PERIODS = 256;

/** Instant queries of the Prometheus HTTP API, and what can be found out about the server's memory. */
export class PrometheusClient {
  readonly #options: PrometheusOptions;
  readonly #base: string;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #http: HttpClient;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #earliestCalls = new SharedCalls<Instant | undefined>();
  readonly #recordedCalls = new SharedCalls<boolean>();
  readonly #recorded = new Map<string, boolean>();
  #earliest: { readonly value: Instant | undefined; readonly until: number } | undefined;

  constructor(options: PrometheusOptions, context: PluginContext) {
    this.#options = options;
    this.#base = apiBase(options.url ?? options.prometheus_url ?? '');
    this.#headers = authorization(options);
    this.#http = upstreamClient(options, context);
    this.#clock = context.clock;
    this.#logger = context.logger;
  }

  /**
   * Evaluates a query at an instant; without one, now.
   * @throws UnavailableError when the server cannot answer now.
   * @throws RejectedError when it refuses the query or the credentials.
   * @throws DataError when the answer is not an instant vector or contradicts itself.
   */
  async query(
    query: string,
    time: Instant | undefined,
    signal: AbortSignal,
  ): Promise<readonly VectorElement[]> {
    const parameters = new URLSearchParams({ query });
    if (time !== undefined) parameters.set('time', isoInstant(time));
    const response = await this.#get(`/query?${parameters}`, signal);
    const body = this.#success(response, `the query ${excerpt(query)} at ${shownUrl(this.#base)}`);
    return await vectorOf(body.data, query, signal);
  }

  /**
   * The oldest instant the server has data for; undefined when it does not say.
   * Answers are remembered for some minutes.
   */
  async earliest(signal: AbortSignal): Promise<Instant | undefined> {
    if (this.#earliest !== undefined && this.#clock.monotonic() < this.#earliest.until) {
      return this.#earliest.value;
    }
    return await this.#earliestCalls.run('', (shared) => this.#findEarliest(shared), signal);
  }

  /**
   * False when the server is known to have recorded nothing at all in the period, the metric of no scope whatever: it was
   * down, or it forgot. A server that does not keep `up` cannot be asked; it gets the benefit of the doubt.
   */
  async recordedAnything(metric: string, period: Period, signal: AbortSignal): Promise<boolean> {
    const key = `${period.begin}-${period.end} ${metric}`;
    const known = this.#recorded.get(key);
    if (known !== undefined) return known;
    const call = async (shared: AbortSignal) => {
      const recorded = await this.#findRecorded(metric, period, shared);
      if (this.#recorded.size >= RECORDED_PERIODS) this.#recorded.clear();
      this.#recorded.set(key, recorded);
      return recorded;
    };
    return await this.#recordedCalls.run(key, call, signal);
  }

  async close(): Promise<void> {
    await this.#http.close();
  }

  async #findEarliest(signal: AbortSignal): Promise<Instant | undefined> {
    const value = (await this.#lowestTimestamp(signal)) ?? (await this.#headBegin(signal));
    this.#earliest = { value, until: this.#clock.monotonic() + FACTS_MS };
    return value;
  }

  /** A server that scrapes itself says it in so many words. */
  async #lowestTimestamp(signal: AbortSignal): Promise<Instant | undefined> {
    const query = 'min(prometheus_tsdb_lowest_timestamp_seconds)';
    const [element] = (await this.#tolerant(() => this.query(query, undefined, signal))) ?? [];
    return this.#plausible(Number(element?.value));
  }

  /** Begin of the newest, open block: the whole memory, when no label is known before it. */
  async #headBegin(signal: AbortSignal): Promise<Instant | undefined> {
    const status = await this.#tolerant(() => this.#read('/status/tsdb', signal));
    const minTime = (status as { headStats?: { minTime?: unknown } } | undefined)?.headStats?.minTime;
    const begin = this.#plausible(typeof minTime === 'number' ? minTime / 1000 : Number.NaN);
    if (begin === undefined) return undefined;
    const before = await this.#tolerant(() => this.#read(`/labels?start=0&end=${begin - 1}`, signal));
    return Array.isArray(before) && before.length === 0 ? begin : undefined;
  }

  async #findRecorded(metric: string, period: Period, signal: AbortSignal): Promise<boolean> {
    if (await this.#seenInPeriod('up', period, signal)) return true;
    if (await this.#seenInPeriod(promqlSelector(metric, []), period, signal)) return true;
    const now = await this.#tolerant(() => this.query('count(up)', undefined, signal));
    return now === undefined || now.length === 0;
  }

  /** True also when the server does not say. */
  async #seenInPeriod(selector: string, period: Period, signal: AbortSignal): Promise<boolean> {
    const query = `count(count_over_time(${selector}[${period.end - period.begin}s]))`;
    const within = await this.#tolerant(() => this.query(query, period.end, signal));
    return within?.length !== 0;
  }

  /** Servers that only look like Prometheus lack some calls; what they refuse is then simply not known. */
  async #tolerant<T>(call: () => Promise<T>): Promise<T | undefined> {
    try {
      return await call();
    } catch (error) {
      if (!isRatecatError(error) || error.kind === 'unavailable') throw error;
      this.#logger.debug('prometheus does not tell about its memory', { reason: error.message });
      return undefined;
    }
  }

  #plausible(seconds: number): Instant | undefined {
    const now = this.#clock.now() / 1000;
    return seconds > 0 && seconds <= now ? Math.floor(seconds) : undefined;
  }

  async #read(path: string, signal: AbortSignal): Promise<unknown> {
    const call = `GET ${shownUrl(this.#base + path)}`;
    return this.#success(await this.#get(path, signal), call).data;
  }

  async #get(path: string, signal: AbortSignal): Promise<HttpResponse> {
    return await this.#http.request({ url: `${this.#base}${path}`, headers: this.#headers }, signal);
  }

  #success(response: HttpResponse, call: string): SuccessBody {
    const { status } = response;
    if (status === 401 || status === 403) throw this.#credentialsRefused(status);
    if (status === 404) throw this.#notFound();
    const body = status < 300 || mayBeJson(response) ? parseJson(call, response.body) : undefined;
    if (isErrorBody(body)) throw statusError(call, body);
    if (status < 200 || status >= 300) throw refusal(call, response);
    if (!isSuccessBody(body)) throw malformed(call, "lacks status 'success'");
    this.#tellWarnings(body, call);
    return body;
  }

  #tellWarnings(body: SuccessBody, call: string): void {
    if (!Array.isArray(body.warnings) || body.warnings.length === 0) return;
    const warnings = body.warnings.slice(0, 5).map((warning) => excerpt(String(warning)));
    if (this.#options.refuse_warnings) {
      throw new UnavailableError(
        'RATECAT_UPSTREAM_PARTIAL',
        `The answer to ${call} may be incomplete: ${warnings.join('; ')}. Repair the source, or set refuse_warnings: false to take such answers.`,
      );
    }
    this.#logger.warn('prometheus answered with warnings', { call, warnings });
  }

  #credentialsRefused(status: number): RejectedError {
    const user = this.#options.user ?? this.#options.prometheus_user;
    return new RejectedError(
      'RATECAT_AUTH_REJECTED',
      `Prometheus at ${shownUrl(this.#base)} refused ${user === undefined ? 'a request without credentials' : `the credentials of '${user}'`} (${status}). Check options.user and options.password.`,
    );
  }

  #notFound(): RejectedError {
    return new RejectedError(
      'RATECAT_UPSTREAM_REJECTED',
      `There is no Prometheus API at ${shownUrl(this.#base)} (404). options.url must be the base of the API, usually ending in /api/v1.`,
    );
  }
}

/** The URL without a trailing slash; a bare server gets the usual path. */
function apiBase(url: string): string {
  const trimmed = url.replace(/\/+$/, '');
  return /^https?:\/\/[^/]+$/.test(trimmed) ? `${trimmed}/api/v1` : trimmed;
}

function authorization(options: PrometheusOptions): Readonly<Record<string, string>> {
  const user = options.user ?? options.prometheus_user;
  const password = options.password ?? options.prometheus_password;
  if (user === undefined || password === undefined) return {};
  return { authorization: `Basic ${Buffer.from(`${user}:${password}`, 'utf8').toString('base64')}` };
}

// ------------------------------------------------------------------------------------------------------------ answers

interface SuccessBody {
  readonly status: 'success';
  readonly data: unknown;
  readonly warnings?: unknown;
}

interface ErrorBody {
  readonly status: 'error';
  readonly errorType?: unknown;
  readonly error?: unknown;
}

function isErrorBody(body: unknown): body is ErrorBody {
  return typeof body === 'object' && body !== null && (body as ErrorBody).status === 'error';
}

function isSuccessBody(body: unknown): body is SuccessBody {
  return typeof body === 'object' && body !== null && (body as SuccessBody).status === 'success';
}

/** The server explains its refusals in JSON; a proxy in front of it writes pages. */
function mayBeJson(response: HttpResponse): boolean {
  if (!response.body.startsWith('{')) return false;
  try {
    JSON.parse(response.body);
    return true;
  } catch {
    return false;
  }
}

const TRANSIENT: ReadonlySet<unknown> = new Set(['timeout', 'canceled', 'unavailable', 'internal']);

function statusError(call: string, body: ErrorBody): RatecatError {
  const said = `${excerpt(String(body.errorType))}: ${excerpt(String(body.error))}`;
  if (TRANSIENT.has(body.errorType)) {
    return new UnavailableError(
      'RATECAT_UPSTREAM_UNAVAILABLE',
      `Prometheus could not answer ${call} (${said}). It will be tried again; if it persists, check the load of the server.`,
    );
  }
  if (body.errorType === 'execution') {
    return new DataError(
      'RATECAT_QUERY_FAILED',
      `Prometheus failed to evaluate ${call} (${said}). Check the data of the metric and its extra_args.`,
    );
  }
  return new RejectedError(
    'RATECAT_QUERY_REFUSED',
    `Prometheus refused ${call} (${said}). Check the metric's name, groupby, metadata and extra_args in the metrics file.`,
  );
}

async function vectorOf(
  data: unknown,
  query: string,
  signal: AbortSignal,
): Promise<readonly VectorElement[]> {
  const call = `the query ${excerpt(query)}`;
  const { resultType, result } = (data ?? {}) as { resultType?: unknown; result?: unknown };
  if (resultType !== undefined && resultType !== 'vector') {
    throw malformed(call, `is a ${excerpt(String(resultType))} where an instant vector was expected`);
  }
  if (!Array.isArray(result)) throw malformed(call, 'has no list data.result');
  return mapInSlices(result, (item: unknown) => elementOf(item, call), signal);
}

function elementOf(item: unknown, call: string): VectorElement {
  const { metric, value } = (item ?? {}) as { metric?: unknown; value?: unknown };
  if (typeof metric !== 'object' || metric === null || Array.isArray(metric)) {
    throw malformed(call, 'has an element without labels');
  }
  for (const label of Object.keys(metric)) {
    if (typeof (metric as Record<string, unknown>)[label] !== 'string') {
      throw malformed(call, `has a label '${excerpt(label)}' that is not text`);
    }
  }
  if (!Array.isArray(value) || value.length !== 2) throw malformed(call, 'has an element without a sample');
  const [timestamp, text] = value as [unknown, unknown];
  if (typeof timestamp !== 'number' || typeof text !== 'string') {
    throw malformed(call, 'has a sample that is not [time, "text"]');
  }
  return { metric: metric as Record<string, string>, timestamp, value: text };
}
