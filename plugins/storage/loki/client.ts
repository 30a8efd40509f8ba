import { z } from 'zod';
import {
  type Clock,
  type HttpClient,
  type HttpRequest,
  type HttpResponse,
  isRatecatError,
  type PluginContext,
  type RatecatError,
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
import { refused, tooManyAtOnce } from './failures.js';
import { DAY_SECONDS, type Labels, matchersOf, nanoseconds, type TimeRange, timeText } from './layout.js';
import { type LogQuery, queryText, selector } from './logql.js';

export interface ClientOptions extends UpstreamOptions {
  /** With the path of the API. */
  readonly url: string;
  readonly tenant: string;
  readonly shard_days: number;
  readonly max_entries: number;
}

export interface Entry {
  readonly time: bigint;
  readonly line: string;
}

/** Entries of one stream that are sent together. */
export interface PushedStream {
  readonly labels: Labels;
  readonly entries: readonly Entry[];
}

const QUERY = z.object({
  status: z.literal('success'),
  data: z.object({
    resultType: z.literal('streams'),
    // Values are not looked at one by one here: `entriesOf` checks them.
    result: z.array(z.object({ values: z.custom<readonly (readonly unknown[])[]>(Array.isArray) })),
  }),
});

const SERIES = z.object({
  status: z.literal('success'),
  data: z.array(z.record(z.string(), z.string())).nullish(),
});

/** Answers of 429 to one request before it is given up. */
const MAX_REJECTIONS = 6;
const FIRST_DELAY_MS = 250;
const MAX_DELAY_MS = 30_000;

/** The HTTP interface of Loki. */
export class LokiClient {
  readonly #http: HttpClient;
  readonly #clock: Clock;
  readonly #options: ClientOptions;
  readonly #base: string;

  constructor(options: ClientOptions, context: PluginContext) {
    this.#options = options;
    this.#http = upstreamClient(options, context);
    this.#clock = context.clock;
    this.#base = options.url.replace(/\/+$/, '');
  }

  close(): Promise<void> {
    return this.#http.close();
  }

  /**
   * Appends entries. An entry that is sent twice is stored once.
   * @throws DataError RATECAT_LOKI_REFUSED when Loki does not take all of them; it may have taken some.
   */
  async push(streams: readonly PushedStream[], signal: AbortSignal): Promise<void> {
    const body = JSON.stringify({
      streams: streams.map(({ labels, entries }) => ({
        stream: labels,
        values: entries.map(({ time, line }) => [String(time), line]),
      })),
    });
    const headers = { 'content-type': 'application/json' };
    const response = await this.#send({ method: 'POST', url: `${this.#base}/push`, headers, body }, signal);
    if (response.status === 204) return;
    if ([200, 260, 400, 413, 422].includes(response.status))
      throw refused(`${excerpt(response.body)} (${response.status})`);
    throw this.#refused('a push', response);
  }

  /** Entries in order of time; those of one time are on one page. Long ranges are asked for in parts. */
  async *entries(query: LogQuery, range: TimeRange, signal: AbortSignal): AsyncGenerator<readonly Entry[]> {
    for (const part of this.#parts(range)) yield* this.#partEntries(query, part, signal);
  }

  /** The first part of a range in which a stream may have entries. */
  async firstPart(
    matchers: readonly string[],
    range: TimeRange,
    signal: AbortSignal,
  ): Promise<TimeRange | undefined> {
    for (const part of this.#parts(range)) {
      const streams = await this.series(matchers, part, signal);
      if (streams.length > 0) return part;
    }
    return undefined;
  }

  /** Asks for what was stored in the last minute. @throws what a query throws, when Loki cannot be used as the options say. */
  async check(query: LogQuery, signal: AbortSignal): Promise<void> {
    const to = nanoseconds(this.#clock.now() / 1000);
    await this.#page(query, { from: to - nanoseconds(60), to }, this.#options.max_entries, signal);
  }

  /** The labels of every stream that may have entries in the range. */
  async series(
    matchers: readonly string[],
    range: TimeRange,
    signal: AbortSignal,
  ): Promise<readonly Labels[]> {
    const found: Labels[] = [];
    for (const { from, to } of this.#parts(range)) {
      const parameters = { 'match[]': selector(matchers), start: String(from), end: String(to) };
      const response = await this.#get('series', parameters, signal);
      found.push(...(this.#parsed('a search for streams', response, SERIES).data ?? []));
    }
    return found;
  }

  /**
   * Asks Loki to delete entries, which it does some time later. Says why when it will not.
   * @param from milliseconds since 1970
   * @param to the same, inclusive
   */
  async delete(query: LogQuery, from: number, to: number, signal: AbortSignal): Promise<string | undefined> {
    const parameters = new URLSearchParams({
      query: queryText(query),
      start: new Date(from).toISOString(),
      end: new Date(to).toISOString(),
    });
    const response = await this.#send({ method: 'POST', url: `${this.#base}/delete?${parameters}` }, signal);
    if (response.status === 204) return undefined;
    if ([400, 403, 404, 405].includes(response.status))
      return `${excerpt(response.body)} (${response.status})`;
    throw this.#refused('a request to delete', response);
  }

  async *#partEntries(
    query: LogQuery,
    { from, to }: TimeRange,
    signal: AbortSignal,
  ): AsyncGenerator<readonly Entry[]> {
    let limit = this.#options.max_entries;
    let start = from;
    for (;;) {
      let page: readonly Entry[];
      try {
        page = await this.#page(query, { from: start, to }, limit, signal);
      } catch (error) {
        if (!isTooLarge(error) || limit === 1) throw error;
        limit = Math.ceil(limit / 4);
        continue;
      }
      if (page.length < limit) {
        if (page.length > 0) yield page;
        return;
      }
      // A full page may end amid the entries of one time: those come whole with the next page.
      const last = page.at(-1)!.time;
      const whole = page.filter(({ time }) => time < last);
      if (whole.length > 0) {
        yield whole;
        start = last;
      } else {
        yield await this.#atOnce(query, last, signal);
        start = last + 1n;
      }
      if (start >= to) return;
    }
  }

  /** All entries of one time, stream by stream when one answer does not hold them. */
  async #atOnce(query: LogQuery, time: bigint, signal: AbortSignal): Promise<readonly Entry[]> {
    const limit = this.#options.max_entries;
    const range = { from: time, to: time + 1n };
    try {
      const page = await this.#page(query, range, limit, signal);
      if (page.length < limit) return page;
    } catch (error) {
      if (!isTooLarge(error)) throw error;
    }
    const entries: Entry[] = [];
    for (const matchers of streamMatchers(await this.series(query.matchers, range, signal))) {
      const one = { ...query, matchers: [...query.matchers, ...matchers] };
      const own = await this.#page(one, range, limit, signal);
      if (own.length >= limit) throw tooManyAtOnce(limit, timeText(time));
      for (const entry of own) entries.push(entry);
    }
    return entries;
  }

  async #page(
    query: LogQuery,
    { from, to }: TimeRange,
    limit: number,
    signal: AbortSignal,
  ): Promise<readonly Entry[]> {
    const parameters = {
      query: queryText(query),
      start: String(from),
      end: String(to),
      limit: String(limit),
      direction: 'forward',
    };
    const response = await this.#get('query_range', parameters, signal);
    const { data } = this.#parsed('a query', response, QUERY);
    return data.result
      .flatMap(({ values }) => values.map((value) => this.#entry(value)))
      .sort((left, right) => (left.time < right.time ? -1 : left.time > right.time ? 1 : 0));
  }

  #entry([time, line]: readonly unknown[]): Entry {
    const call = `a query at ${this.#base}`;
    const shape = z.tuple([z.string().regex(/^\d{1,19}$/), z.string()]);
    if (typeof time !== 'string' || !/^\d{1,19}$/.test(time) || typeof line !== 'string') {
      inShape(call, shape, [time, line]);
      throw new TypeError('unreachable');
    }
    return { time: BigInt(time), line };
  }

  #get(
    path: string,
    parameters: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<HttpResponse> {
    const url = `${this.#base}/${path}?${new URLSearchParams(parameters)}`;
    return this.#send({ method: 'GET', url }, signal);
  }

  /** Parts of a range that one query may ask for. */
  *#parts({ from, to }: TimeRange): Generator<TimeRange> {
    const length = nanoseconds(this.#options.shard_days * DAY_SECONDS);
    for (let start = from; start < to; start += length)
      yield { from: start, to: start + length < to ? start + length : to };
  }

  #parsed<S extends z.ZodType>(what: string, response: HttpResponse, shape: S): z.output<S> {
    if (response.status !== 200) throw this.#refused(what, response);
    const call = `${what} at ${this.#base}`;
    return inShape(call, shape, parseJson(call, response.body));
  }

  /** All requests leave the same state when they are repeated. */
  async #send(request: HttpRequest, signal: AbortSignal): Promise<HttpResponse> {
    const headers = { accept: 'application/json', 'x-scope-orgid': this.#options.tenant, ...request.headers };
    for (let rejections = 0; ; rejections++) {
      const response = await requestRepeatably(this.#http, { ...request, headers }, signal);
      if (response.status !== 429 || rejections + 1 >= MAX_REJECTIONS) return response;
      await this.#clock.sleep(delayMs(rejections, response.headers['retry-after']), signal);
    }
  }

  #refused(what: string, response: HttpResponse): RatecatError {
    return refusal(`${what} of Loki at ${this.#base}`, response);
  }
}

/** Matchers of each stream that match no other: labels which it lacks and others have are empty. */
function streamMatchers(streams: readonly Labels[]): readonly (readonly string[])[] {
  const lacking = Object.fromEntries(
    streams.flatMap((labels) => Object.keys(labels)).map((name) => [name, '']),
  );
  const each = streams.map((labels) => matchersOf({ ...lacking, ...labels }));
  return [...new Map(each.map((matchers) => [matchers.join(), matchers])).values()];
}

function delayMs(rejections: number, retryAfter: string | undefined): number {
  const asked = Number(retryAfter) * 1000;
  const delay = Number.isFinite(asked) && asked > 0 ? asked : FIRST_DELAY_MS * 2 ** rejections;
  return Math.min(delay, MAX_DELAY_MS);
}

function isTooLarge(error: unknown): boolean {
  return isRatecatError(error) && error.code === 'RATECAT_UPSTREAM_TOO_LARGE';
}
