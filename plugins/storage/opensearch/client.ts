import { z } from 'zod';
import {
  type Clock,
  type HttpClient,
  type HttpRequest,
  type HttpResponse,
  isRatecatError,
  type PluginContext,
  type RatecatError,
  UnavailableError,
} from '../../../core/plugin-api/index.js';
import {
  excerpt,
  inShape,
  parseJson,
  refusal,
  requestRepeatably,
  type UpstreamOptions,
  upstreamClient,
} from '../../../core/upstream/index.js';
import { partialAnswer, unfitIndex } from './failures.js';

export interface ClientOptions extends UpstreamOptions {
  /** Scheme, host, port, and a path where there is one. */
  readonly host: string;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  readonly api_key?: string | undefined;
  /** Seconds that a scroll may rest between two of its pages. */
  readonly scroll_duration: number;
}

/** Where a document stands in the history of its index: a later write of the same document has another seat. */
export interface Seat {
  readonly seqNo: number;
  readonly primaryTerm: number;
}

export interface Hit {
  readonly _index: string;
  readonly _id: string;
  readonly _source: Readonly<Record<string, unknown>>;
  readonly _seq_no?: number;
  readonly _primary_term?: number;
  readonly sort?: readonly unknown[];
}

export type Query = Readonly<Record<string, unknown>>;

export interface Search {
  readonly query: Query;
  readonly sort: readonly Readonly<Record<string, unknown>>[];
  /** Fields of the documents; absent: all of them. */
  readonly fields?: readonly string[] | undefined;
  /** Asks for the seats of the documents. */
  readonly withSeats?: boolean | undefined;
}

/** One action of a bulk request. */
export interface BulkAction {
  readonly kind: 'index' | 'delete';
  readonly id: string;
  /** Another index than the request's. */
  readonly index?: string | undefined;
  /** The document as JSON text. */
  readonly document?: string | undefined;
  /** Does it only while the document has this seat. */
  readonly seat?: Seat | undefined;
}

export interface BulkResult {
  readonly status: number;
  readonly seat: Seat | undefined;
  readonly error: { readonly type: string; readonly reason: string } | undefined;
}

const SHARDS = z.object({ failed: z.number() }).optional();

const SEARCH = z.object({
  timed_out: z.boolean().optional(),
  _scroll_id: z.string().optional(),
  _shards: SHARDS,
  // Hits are not looked at one by one here: their readers check them.
  hits: z.object({ hits: z.custom<readonly Hit[]>(Array.isArray) }),
});

const DOCUMENT = z.object({
  found: z.boolean(),
  _seq_no: z.number().optional(),
  _primary_term: z.number().optional(),
  _source: z.record(z.string(), z.unknown()).optional(),
});

const WRITTEN = z.object({ _seq_no: z.number(), _primary_term: z.number() });

const BULK = z.object({
  items: z.array(
    z.record(
      z.string(),
      z.object({
        status: z.number(),
        _seq_no: z.number().optional(),
        _primary_term: z.number().optional(),
        error: z
          .object({
            type: z.string().default(''),
            reason: z.string().nullish(),
            caused_by: z.object({ reason: z.string().nullish() }).optional(),
          })
          .optional(),
      }),
    ),
  ),
});

const DELETED = z.object({
  timed_out: z.boolean().default(false),
  version_conflicts: z.number().default(0),
  failures: z.array(z.unknown()).default([]),
});

/** Documents of one answer; fewer when they do not fit. */
const PAGE = 2_000;
/** Answers of 429 to one request before it is given up. */
const MAX_REJECTIONS = 6;
const FIRST_DELAY_MS = 250;
const MAX_DELAY_MS = 30_000;
const MAX_CONFLICTS = 8;

/** The HTTP interface of Elasticsearch 7 and later and of OpenSearch. */
export class SearchClient {
  readonly #http: HttpClient;
  readonly #clock: Clock;
  readonly #options: ClientOptions;
  readonly #base: string;
  readonly #headers: Readonly<Record<string, string>>;

  constructor(options: ClientOptions, context: PluginContext) {
    this.#options = options;
    this.#http = upstreamClient(options, context);
    this.#clock = context.clock;
    this.#base = options.host.replace(/\/+$/, '');
    this.#headers = { accept: 'application/json', ...authorization(options) };
  }

  close(): Promise<void> {
    return this.#http.close();
  }

  /** The mappings of an index by the name of each index behind it; undefined when there is none. */
  async mappings(index: string, signal: AbortSignal): Promise<Readonly<Record<string, unknown>> | undefined> {
    const response = await this.#send({ method: 'GET', url: this.#url(index, '_mapping') }, signal);
    if (response.status === 404) return undefined;
    return this.#parsed('the mapping', response, z.record(z.string(), z.unknown()));
  }

  /** Makes an index. It may be there already, when two processes start at once. */
  async createIndex(index: string, mappings: unknown, signal: AbortSignal): Promise<void> {
    const body = JSON.stringify({ mappings });
    const response = await this.#send({ method: 'PUT', url: this.#url(index), ...json(body) }, signal);
    const exists = response.status === 400 && response.body.includes('resource_already_exists_exception');
    if (response.status !== 200 && !exists) throw this.#refused(`making the index '${index}'`, response);
  }

  async addMapping(index: string, properties: unknown, signal: AbortSignal): Promise<void> {
    const body = JSON.stringify({ properties });
    const url = this.#url(index, '_mapping');
    const response = await this.#send({ method: 'PUT', url, ...json(body) }, signal);
    if (response.status === 400) throw unfitIndex(index, `${this.#excerpt(response.body)}.`);
    if (response.status !== 200) throw this.#refused(`the mapping of '${index}'`, response);
  }

  /** A document as it is now, also before searches see it. */
  async get(
    index: string,
    id: string,
    signal: AbortSignal,
  ): Promise<{ readonly source: Readonly<Record<string, unknown>>; readonly seat: Seat } | undefined> {
    const response = await this.#send({ method: 'GET', url: this.#url(index, '_doc', id) }, signal);
    if (response.status === 404 && !isMissingIndex(response)) return undefined;
    const { found, _source, _seq_no, _primary_term } = this.#parsed('a document', response, DOCUMENT);
    if (!found || _source === undefined) return undefined;
    return { source: _source, seat: { seqNo: _seq_no ?? -1, primaryTerm: _primary_term ?? -1 } };
  }

  /**
   * Stores a document if it still has the given seat; without a seat, if it does not exist. Undefined when it has another.
   * @param refresh makes searches see it before this returns.
   */
  async put(
    index: string,
    id: string,
    document: string,
    { seat, refresh }: { readonly seat: Seat | undefined; readonly refresh: boolean },
    signal: AbortSignal,
  ): Promise<Seat | undefined> {
    const parameters = new URLSearchParams(
      seat === undefined
        ? { op_type: 'create' }
        : { if_seq_no: String(seat.seqNo), if_primary_term: String(seat.primaryTerm) },
    );
    if (refresh) parameters.set('refresh', 'true');
    const url = `${this.#url(index, '_doc', id)}?${parameters}`;
    const response = await this.#send({ method: 'PUT', url, ...json(document) }, signal);
    if (response.status === 409) return undefined;
    const { _seq_no, _primary_term } = this.#parsed('a write', response, WRITTEN);
    return { seqNo: _seq_no, primaryTerm: _primary_term };
  }

  /** One result per action. Actions that the server had no room for (429) are sent again. */
  async bulk(
    index: string,
    actions: readonly BulkAction[],
    refresh: boolean,
    signal: AbortSignal,
  ): Promise<readonly BulkResult[]> {
    const results = new Array<BulkResult>(actions.length);
    let open = actions.map((_action, place) => place);
    for (let rejections = 0; open.length > 0; rejections++) {
      const sent = open.map((place) => actions[place]!);
      const answered = await this.#bulkOnce(index, sent, refresh, signal);
      for (const [at, place] of open.entries()) results[place] = answered[at]!;
      open = open.filter((place) => results[place]!.status === 429);
      if (open.length === 0) break;
      const { error } = results[open[0]!]!;
      if (rejections + 1 >= MAX_REJECTIONS) throw this.#exhausted(`${error?.type}: ${error?.reason}`);
      await this.#clock.sleep(delayMs(rejections, undefined), signal);
    }
    return results;
  }

  /** Makes searches see everything that was written to the index. */
  async refresh(index: string, signal: AbortSignal): Promise<void> {
    const response = await this.#send({ method: 'POST', url: this.#url(index, '_refresh') }, signal);
    const { _shards } = this.#parsed('a refresh', response, z.object({ _shards: SHARDS }));
    if ((_shards?.failed ?? 0) > 0) throw partialAnswer(`A refresh of '${index}'`, 'a shard failed');
  }

  /** Pages in the order of `sort`, whose values must differ between any two documents. */
  async *pages(index: string, search: Search, signal: AbortSignal): AsyncGenerator<readonly Hit[]> {
    let size = PAGE;
    let after: readonly unknown[] | undefined;
    for (;;) {
      let hits: readonly Hit[];
      try {
        hits = await this.search(index, search, { size, after }, signal);
      } catch (error) {
        if (!isTooLarge(error) || size === 1) throw error;
        size = Math.ceil(size / 4);
        continue;
      }
      if (hits.length > 0) yield hits;
      if (hits.length < size) return;
      after = hits.at(-1)!.sort;
    }
  }

  async search(
    index: string,
    search: Search,
    { size, after }: { readonly size: number; readonly after?: readonly unknown[] | undefined },
    signal: AbortSignal,
  ): Promise<readonly Hit[]> {
    const body = { ...searchBody(search, size), ...(after === undefined ? {} : { search_after: after }) };
    const url = `${this.#url(index, '_search')}?allow_partial_search_results=false`;
    const response = await this.#send({ method: 'POST', url, ...json(JSON.stringify(body)) }, signal);
    return this.#searched(response).hits.hits;
  }

  /** Pages of one moment, for documents that no field of their own tells apart. */
  async *scroll(index: string, search: Search, signal: AbortSignal): AsyncGenerator<readonly Hit[]> {
    const keep = `${this.#options.scroll_duration}s`;
    let id: string | undefined;
    try {
      const first = `${this.#url(index, '_search')}?scroll=${keep}&allow_partial_search_results=false`;
      let size = PAGE;
      let request = { url: first, body: JSON.stringify(searchBody(search, size)) };
      for (;;) {
        let response: HttpResponse;
        try {
          response = await this.#send({ method: 'POST', url: request.url, ...json(request.body) }, signal);
        } catch (error) {
          // A page that was lost on its way cannot be asked for again: only the first one can be made smaller.
          if (!isTooLarge(error) || id !== undefined || size === 1) throw error;
          size = Math.ceil(size / 4);
          request = { url: first, body: JSON.stringify(searchBody(search, size)) };
          continue;
        }
        if (id !== undefined && response.status === 404)
          throw partialAnswer('A scroll', 'it was closed before its end; raise scroll_duration');
        const { hits, _scroll_id } = this.#searched(response);
        id = _scroll_id ?? id;
        if (hits.hits.length === 0 || id === undefined) return;
        yield hits.hits;
        if (hits.hits.length < size) return;
        request = {
          url: this.#url('_search', 'scroll'),
          body: JSON.stringify({ scroll: keep, scroll_id: id }),
        };
      }
    } finally {
      if (id !== undefined) await this.#closeScroll(id);
    }
  }

  /** Deletes what the query finds and searches can see. */
  async deleteByQuery(index: string, query: Query, signal: AbortSignal): Promise<void> {
    const url = `${this.#url(index, '_delete_by_query')}?conflicts=proceed&refresh=true`;
    for (let round = 0; round < MAX_CONFLICTS; round++) {
      const body = json(JSON.stringify({ query }));
      const response = await this.#send({ method: 'POST', url, ...body }, signal);
      const { timed_out, version_conflicts, failures } = this.#parsed('a deletion', response, DELETED);
      if (timed_out || failures.length > 0)
        throw partialAnswer('A deletion', this.#excerpt(JSON.stringify(failures.slice(0, 1))));
      if (version_conflicts === 0) return;
    }
    throw partialAnswer('A deletion', 'somebody changes the same documents all the time');
  }

  async #bulkOnce(
    index: string,
    actions: readonly BulkAction[],
    refresh: boolean,
    signal: AbortSignal,
  ): Promise<readonly BulkResult[]> {
    const url = `${this.#url(index, '_bulk')}${refresh ? '?refresh=true' : ''}`;
    const headers = { 'content-type': 'application/x-ndjson' };
    const body = actions.map(bulkLines).join('');
    const response = await this.#send({ method: 'POST', url, headers, body }, signal);
    const { items } = this.#parsed('a bulk request', response, BULK);
    if (items.length !== actions.length)
      throw partialAnswer('A bulk request', `${items.length} of ${actions.length} results`);
    return items.map((item) => {
      const [result] = Object.values(item);
      const { status, error, _seq_no, _primary_term } = result!;
      const seat =
        _seq_no === undefined || _primary_term === undefined
          ? undefined
          : { seqNo: _seq_no, primaryTerm: _primary_term };
      const reason = [error?.reason, error?.caused_by?.reason].filter(Boolean).join(': ');
      return { status, seat, error: error && { type: error.type, reason } };
    });
  }

  /** The server forgets it by itself after a while. */
  async #closeScroll(id: string): Promise<void> {
    const request = { method: 'DELETE' as const, url: this.#url('_search', 'scroll') };
    const body = json(JSON.stringify({ scroll_id: [id] }));
    await this.#http.request({ ...request, ...this.#with(body) }, AbortSignal.timeout(5_000)).catch(() => {});
  }

  #searched(response: HttpResponse): z.output<typeof SEARCH> {
    const answer = this.#parsed('a search', response, SEARCH);
    if (answer.timed_out === true) throw partialAnswer('A search', 'it took too long');
    if ((answer._shards?.failed ?? 0) > 0) throw partialAnswer('A search', 'a shard failed');
    return answer;
  }

  #parsed<S extends z.ZodType>(what: string, response: HttpResponse, shape: S): z.output<S> {
    if (response.status !== 200 && response.status !== 201) throw this.#refused(what, response);
    const call = `${what} at ${this.#base}`;
    return inShape(call, shape, parseJson(call, response.body));
  }

  /** All requests leave the same state when they are repeated, or notice that they were. */
  async #send(request: HttpRequest, signal: AbortSignal): Promise<HttpResponse> {
    const whole = { ...request, ...this.#with(request) };
    for (let rejections = 0; ; rejections++) {
      const response = await requestRepeatably(this.#http, whole, signal);
      if (response.status !== 429 || rejections + 1 >= MAX_REJECTIONS) return response;
      await this.#clock.sleep(delayMs(rejections, response.headers['retry-after']), signal);
    }
  }

  #with(request: Pick<HttpRequest, 'headers' | 'body'>): Pick<HttpRequest, 'headers' | 'body'> {
    return { headers: { ...this.#headers, ...request.headers }, body: request.body };
  }

  #refused(what: string, response: HttpResponse): RatecatError {
    if (isMissingIndex(response)) {
      const said = this.#excerpt(response.body);
      return unfitIndex(indexOf(response.body), `it does not exist any more (${said}).`);
    }
    return refusal(`${what} at ${this.#base}`, response, this.#secret);
  }

  #exhausted(said: string): UnavailableError {
    return new UnavailableError(
      'RATECAT_UPSTREAM_UNAVAILABLE',
      `The server at ${this.#base} had no room for documents ${MAX_REJECTIONS} times (429: ${this.#excerpt(said)}). It will be tried again; if it persists, give the cluster more room or rate fewer scopes at once.`,
    );
  }

  #excerpt(text: string): string {
    return excerpt(text, this.#secret);
  }

  get #secret(): string {
    return this.#options.api_key ?? this.#options.password ?? '';
  }

  #url(...parts: readonly string[]): string {
    return [this.#base, ...parts.map(encodeURIComponent)].join('/');
  }
}

function authorization({ username, password, api_key }: ClientOptions): Readonly<Record<string, string>> {
  if (api_key !== undefined) {
    const key = api_key.includes(':') ? Buffer.from(api_key).toString('base64') : api_key;
    return { authorization: `ApiKey ${key}` };
  }
  if (username === undefined) return {};
  return { authorization: `Basic ${Buffer.from(`${username}:${password ?? ''}`).toString('base64')}` };
}

function json(body: string): Pick<HttpRequest, 'headers' | 'body'> {
  return { headers: { 'content-type': 'application/json' }, body };
}

function searchBody({ query, sort, fields, withSeats }: Search, size: number): Record<string, unknown> {
  return {
    size,
    query,
    sort,
    track_total_hits: false,
    ...(fields === undefined ? {} : { _source: fields }),
    ...(withSeats === true ? { seq_no_primary_term: true } : {}),
  };
}

function bulkLines({ kind, id, index, document, seat }: BulkAction): string {
  const place = {
    ...(index === undefined ? {} : { _index: index }),
    _id: id,
    ...(seat === undefined ? {} : { if_seq_no: seat.seqNo, if_primary_term: seat.primaryTerm }),
  };
  const action = JSON.stringify({ [kind]: place });
  return kind === 'delete' ? `${action}\n` : `${action}\n${document}\n`;
}

function delayMs(rejections: number, retryAfter: string | undefined): number {
  const asked = Number(retryAfter) * 1000;
  const delay = Number.isFinite(asked) && asked > 0 ? asked : FIRST_DELAY_MS * 2 ** rejections;
  return Math.min(delay, MAX_DELAY_MS);
}

function isTooLarge(error: unknown): boolean {
  return isRatecatError(error) && error.code === 'RATECAT_UPSTREAM_TOO_LARGE';
}

function isMissingIndex({ status, body }: HttpResponse): boolean {
  return status === 404 && body.includes('index_not_found_exception');
}

function indexOf(body: string): string {
  return /no such index \[([^\]]*)\]/.exec(body)?.[1] ?? '';
}
