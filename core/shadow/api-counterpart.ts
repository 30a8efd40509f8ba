import { parse } from 'lossless-json';
import { z } from 'zod';
import {
  type Clock,
  Decimal,
  type HttpFactory,
  type Instant,
  isDecimal,
  type Period,
} from '../plugin-api/index.js';
import {
  inShape,
  type KeystoneOptions,
  KeystoneSession,
  malformed,
  refusal,
  shownUrl,
} from '../upstream/index.js';
import type { Counterpart, Precision, ScopeSum } from './counterpart.js';

export interface ApiPlace {
  /** Root of CloudKitty's API; undefined: what Keystone's catalogue says. */
  readonly endpoint: string | undefined;
  readonly region: string | undefined;
  readonly scopeKey: string;
  readonly periodSeconds: number;
}

const NUMBER = z.custom<Decimal>(isDecimal, 'is not a number');
const SCOPES = z.object({
  results: z.array(
    z.object({
      scope_id: z.string(),
      scope_key: z.string().nullish(),
      last_processed_timestamp: z.string().nullish(),
    }),
  ),
});
const SUMMARY = z.object({
  total: NUMBER,
  columns: z.array(z.string()),
  results: z.array(z.array(z.unknown())),
});
const PAGE = 1000;
/** CloudKitty adds up 64-bit floats. */
const FLOATS: Precision = { quantity: Decimal.ZERO, share: Decimal.parse('1e-9') };
const NEEDS =
  'the role that the policies scope:get_state and summary:get_summary of CloudKitty ask for, with all projects in sight';

/** CloudKitty with any storage of its second generation: its API. */
export class ApiCounterpart implements Counterpart {
  readonly precision = FLOATS;
  readonly #place: ApiPlace;
  readonly #http: ReturnType<HttpFactory['client']>;
  readonly #session: KeystoneSession;

  constructor(credentials: KeystoneOptions, place: ApiPlace, outside: { http: HttpFactory; clock: Clock }) {
    this.#place = place;
    this.#http = outside.http.client({
      timeoutMs: credentials.timeout * 1000,
      maxResponseBytes: credentials.max_response_mib * 1024 * 1024,
      caFile: credentials.cafile,
      certFile: credentials.certfile,
      keyFile: credentials.keyfile,
      insecure: credentials.insecure,
    });
    this.#session = new KeystoneSession(credentials, this.#http, outside.clock);
  }

  async frontiers(signal: AbortSignal): Promise<ReadonlyMap<string, Instant>> {
    const { scopeKey, periodSeconds } = this.#place;
    const frontiers = new Map<string, Instant>();
    for (let offset = 0; ; offset += PAGE) {
      const page = await this.#get('/v2/scope', { offset, limit: PAGE }, SCOPES, signal);
      for (const { scope_id: id, scope_key: key, last_processed_timestamp: last } of page?.results ?? []) {
        if ((key !== null && key !== undefined && key !== scopeKey) || last === null || last === undefined)
          continue;
        const frontier = this.#instant(last) + periodSeconds;
        frontiers.set(id, Math.max(frontier, frontiers.get(id) ?? frontier));
      }
      if ((page?.results.length ?? 0) < PAGE) return frontiers;
    }
  }

  async sums({ begin, end }: Period, signal: AbortSignal): Promise<readonly ScopeSum[]> {
    const { scopeKey } = this.#place;
    const sums: ScopeSum[] = [];
    for (let offset = 0; ; offset += PAGE) {
      const range = { begin: wireDate(begin), end: wireDate(end) };
      const query = { ...range, groupby: `${scopeKey},type`, offset, limit: PAGE };
      const page = await this.#get('/v2/summary', query, SUMMARY, signal);
      if (page === undefined) return sums;
      const place = (name: string) => page.columns.indexOf(name);
      for (const row of page.results)
        sums.push({
          scopeId: String(row[place(scopeKey)]),
          metric: String(row[place('type')]),
          quantity: decimal(row[place('qty')]),
          price: decimal(row[place('rate')]),
        });
      if (page.results.length === 0 || sums.length >= Number(page.total.toString())) return sums;
    }
  }

  async close(): Promise<void> {
    await this.#http.close();
  }

  /** Undefined when nothing fits the request: CloudKitty says 404 then. */
  async #get<S extends z.ZodType>(
    path: string,
    query: Readonly<Record<string, string | number>>,
    shape: S,
    signal: AbortSignal,
  ): Promise<z.output<S> | undefined> {
    const { endpoint, region } = this.#place;
    const base = (
      endpoint ?? (await this.#session.endpoint('rating', { interface: 'public', region }, signal))
    ).replace(/\/+$/, '');
    const text = new URLSearchParams();
    for (const [name, value] of Object.entries(query)) text.set(name, String(value));
    const url = `${base}${path}?${text}`;
    const call = `GET ${shownUrl(url)}`;
    const purpose = { to: `read ${path} of CloudKitty`, needs: NEEDS };
    const response = await this.#session.request({ url }, purpose, signal);
    if (response.status === 404 && path === '/v2/scope') return undefined;
    if (response.status !== 200) throw refusal(call, response);
    return inShape(call, shape, numbersKept(call, response.body));
  }

  #instant(text: string): Instant {
    const milliseconds = Date.parse(/Z|[+-]\d\d:?\d\d$/.test(text) ? text : `${text}Z`);
    if (Number.isSafeInteger(milliseconds / 1000)) return milliseconds / 1000;
    throw malformed(
      'GET /v2/scope',
      `has a last_processed_timestamp that is no date: '${text.slice(0, 40)}'`,
    );
  }
}

function numbersKept(call: string, body: string): unknown {
  try {
    return parse(body, undefined, { parseNumber: Decimal.parse });
  } catch (error) {
    throw malformed(call, 'is not valid JSON', error);
  }
}

/** Sums over nothing are null. */
function decimal(value: unknown): Decimal {
  return isDecimal(value) ? value : Decimal.ZERO;
}

function wireDate(instant: Instant): string {
  return new Date(instant * 1000).toISOString().slice(0, 19);
}
