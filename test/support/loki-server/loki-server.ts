import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { LogStore } from './log-store.js';
import { compileLogql, type LogEntry, type StreamLabels } from './logql.js';
import { Refusal } from './refusal.js';

/** Limits as Loki 3 has them by default, unless a test says otherwise. */
export interface ServerOptions {
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  readonly maxEntries?: number;
  readonly maxLineBytes?: number;
  /** Shortens longer lines instead of refusing them. */
  readonly truncatesLines?: boolean;
  readonly maxQueryHours?: number;
  readonly maxStreams?: number;
  readonly deletes?: boolean;
  /** Milliseconds of the oldest entry that is taken. */
  readonly rejectOlderThan?: number;
}

export interface Call {
  readonly method: string;
  readonly path: string;
  readonly parameters: URLSearchParams;
  readonly body: string;
  readonly headers: IncomingMessage['headers'];
}

export interface Answer {
  readonly status: number;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

const HOUR_MS = 3_600_000;
const DEFAULTS = {
  maxEntries: 5_000,
  maxLineBytes: 256 * 1024,
  truncatesLines: false,
  maxQueryHours: 721,
  maxStreams: 5_000,
  deletes: true,
  rejectOlderThan: 7 * 24 * HOUR_MS,
};
/** Half of max_chunk_age. */
const OUT_OF_ORDER_WINDOW = 3_600_000_000_000n;
const GRACE_MS = 600_000;
const MAX_LABELS = 15;
const MAX_BODY = 4 * 1024 * 1024;
const PREFIX = '/loki/api/v1/';

/**
 * A small Loki in memory, after its public documentation: it keeps what the plugin relies on (entries are only appended,
 * limits of age, order, length and number, a push that is taken in part, time ranges and directions of queries, tenants,
 * requests to delete that are carried out later) and refuses with 400 what it does not understand.
 */
export class LokiServer {
  readonly calls: Call[] = [];
  /** Answers instead of the server. */
  intercept: ((call: Call) => Answer | undefined) | undefined;
  readonly #options: Required<Omit<ServerOptions, 'now'>>;
  readonly #now: () => number;
  readonly #tenants = new Map<string, LogStore>();
  readonly #server: Server;

  private constructor({ now = Date.now, ...options }: ServerOptions) {
    this.#options = { ...DEFAULTS, ...options };
    this.#now = now;
    this.#server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
      void this.#serve(request, response);
    });
  }

  static async start(options: ServerOptions = {}): Promise<LokiServer> {
    const server = new LokiServer(options);
    await new Promise<void>((resolve) => server.#server.listen(0, '127.0.0.1', resolve));
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/loki/api/v1`;
  }

  async stop(): Promise<void> {
    const stopped = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeAllConnections();
    await stopped;
  }

  tenant(name = 'cloudkitty'): LogStore {
    const store = this.#tenants.get(name) ?? new LogStore();
    this.#tenants.set(name, store);
    return store;
  }

  /** Stores entries as a Loki has them that took them long ago. */
  fill(labels: StreamLabels, entries: readonly LogEntry[], tenant = 'cloudkitty'): void {
    for (const entry of entries) this.tenant(tenant).append(labels, entry, 1n << 63n);
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const url = new URL(request.url ?? '', 'http://localhost');
    const call = {
      method: request.method ?? '',
      path: url.pathname.startsWith(PREFIX) ? url.pathname.slice(PREFIX.length) : url.pathname,
      parameters: url.searchParams,
      body: Buffer.concat(chunks).toString('utf8'),
      headers: request.headers,
    };
    this.calls.push(call);
    const { status, body, headers = {} } = this.intercept?.(call) ?? this.#answer(call);
    const isText = typeof body === 'string';
    response.writeHead(status, {
      'content-type': isText ? 'text/plain; charset=utf-8' : 'application/json',
      ...headers,
    });
    response.end(body === undefined ? undefined : isText ? body : JSON.stringify(body));
  }

  #answer(call: Call): Answer {
    try {
      const tenant = call.headers['x-scope-orgid'];
      if (typeof tenant !== 'string' || tenant === '') throw new Refusal(401, 'no org id');
      const store = this.tenant(tenant);
      switch (`${call.method} ${call.path}`) {
        case 'POST push':
          return this.#push(store, call);
        case 'GET query_range':
          return this.#queryRange(store, call);
        case 'GET series':
          return this.#series(store, call);
        case 'POST delete':
          return this.#delete(store, call);
        default:
          throw new Refusal(404, '404 page not found');
      }
    } catch (error) {
      if (error instanceof Refusal) return { status: error.status, body: `${error.message}\n` };
      return { status: 500, body: `${String(error)}\n` };
    }
  }

  /** Takes what it can, and says what it cannot. */
  #push(store: LogStore, { body, headers }: Call): Answer {
    if (headers['content-type'] !== 'application/json')
      throw new Refusal(400, `Content-Type is ${String(headers['content-type'])}`);
    if (Buffer.byteLength(body) > MAX_BODY) throw new Refusal(413, 'request body too large');
    const { streams } = parsePush(body);
    if (streams.length === 0)
      throw new Refusal(422, 'error at least one valid stream is required for ingestion');
    const errors: string[] = [];
    for (const { stream, values } of streams) {
      const labels = storedLabels(stream);
      const invalid = labelsProblem(labels);
      if (invalid !== undefined) {
        errors.push(invalid);
        continue;
      }
      if (!store.has(labels) && store.size >= this.#options.maxStreams)
        throw new Refusal(429, 'Maximum active stream limit exceeded when trying to create stream');
      for (const [time, line] of values) {
        const error = this.#pushEntry(store, labels, BigInt(time), line);
        if (error !== undefined) errors.push(error);
      }
    }
    if (errors.length > 0) throw new Refusal(400, errors[0]!);
    return { status: 204 };
  }

  #pushEntry(store: LogStore, labels: StreamLabels, time: bigint, line: string): string | undefined {
    const { maxLineBytes, truncatesLines, rejectOlderThan } = this.#options;
    const milliseconds = Number(time / 1_000_000n);
    const name = JSON.stringify(labels);
    if (milliseconds < this.#now() - rejectOlderThan)
      return `entry for stream '${name}' has timestamp too old`;
    if (milliseconds > this.#now() + GRACE_MS) return `entry for stream '${name}' has timestamp too new`;
    const bytes = Buffer.from(line);
    if (bytes.length > maxLineBytes && !truncatesLines)
      return `Max entry size '${maxLineBytes}' bytes exceeded for stream '${name}' while adding an entry with length '${bytes.length}' bytes`;
    const kept = bytes.subarray(0, maxLineBytes).toString('utf8');
    return store.append(labels, { time, line: kept }, OUT_OF_ORDER_WINDOW);
  }

  #queryRange(store: LogStore, { parameters }: Call): Answer {
    refuseOthers(parameters, ['query', 'start', 'end', 'limit', 'direction']);
    const query = compileLogql(parameters.get('query') ?? '');
    const { from, to } = this.#range(parameters);
    const limit = Number(parameters.get('limit') ?? 100);
    const { maxEntries } = this.#options;
    if (!Number.isInteger(limit) || limit < 1) throw new Refusal(400, 'limit must be a positive value');
    if (limit > maxEntries)
      throw new Refusal(
        400,
        `max entries limit per query exceeded, limit > max_entries_limit_per_query (${limit} > ${maxEntries})`,
      );
    const direction = (parameters.get('direction') ?? 'backward').toLowerCase();
    if (!['forward', 'backward'].includes(direction))
      throw new Refusal(400, `invalid direction '${direction}'`);
    const sign = direction === 'forward' ? 1 : -1;
    const found = store
      .find(query, from, to)
      .flatMap(({ labels, entries }) => entries.map((entry) => ({ ...entry, labels })))
      .sort((left, right) => sign * (left.time < right.time ? -1 : left.time > right.time ? 1 : 0))
      .slice(0, limit);
    const streams = new Map<string, AnsweredStream>();
    for (const { labels, time, line } of found) {
      // Loki 3 gives each entry what it takes for its level, and with it a stream of its own in answers.
      const stream = { ...labels, detected_level: /error/i.test(line) ? 'error' : 'unknown' };
      const key = JSON.stringify(stream);
      const one: AnsweredStream = streams.get(key) ?? { stream, values: [] };
      one.values.push([String(time), line]);
      streams.set(key, one);
    }
    const stats = { summary: { totalEntriesReturned: found.length } };
    const data = { resultType: 'streams', result: [...streams.values()], stats };
    return { status: 200, body: { status: 'success', data } };
  }

  #series(store: LogStore, { parameters }: Call): Answer {
    refuseOthers(parameters, ['match[]', 'start', 'end']);
    const query = compileLogql(parameters.get('match[]') ?? '');
    if (query.hasFilter) throw new Refusal(400, 'only label matchers are supported');
    const { from, to } = this.#range(parameters);
    return {
      status: 200,
      body: { status: 'success', data: store.find(query, from, to).map(({ labels }) => labels) },
    };
  }

  #delete(store: LogStore, { parameters }: Call): Answer {
    if (!this.#options.deletes) throw new Refusal(404, '404 page not found');
    refuseOthers(parameters, ['query', 'start', 'end']);
    const text = parameters.get('query') ?? '';
    const query = compileLogql(text);
    const from = rfc3339(parameters.get('start'));
    const to = rfc3339(parameters.get('end'));
    if (to > this.#now()) throw new Refusal(400, 'deletes in the future are not allowed');
    if (from > to) throw new Refusal(400, "start time can't be greater than end time");
    if (query.hasFilter && to - from < 1000)
      throw new Refusal(400, 'difference between start time and end time must be at least one second');
    store.deleteRequests.push({ query, from, to, text });
    return { status: 204 };
  }

  #range(parameters: URLSearchParams): { readonly from: bigint; readonly to: bigint } {
    const [start, end] = [parameters.get('start') ?? '', parameters.get('end') ?? ''];
    if (!/^\d{19}$/.test(start) || !/^\d{19}$/.test(end))
      throw new Refusal(400, `could not parse '${start}' or '${end}' as nanoseconds`);
    const [from, to] = [BigInt(start), BigInt(end)];
    if (to <= from) throw new Refusal(400, 'end timestamp must not be before or equal to start time');
    const { maxQueryHours } = this.#options;
    if (to - from > BigInt(maxQueryHours) * 3_600_000_000_000n)
      throw new Refusal(
        400,
        `the query time range exceeds the limit (query length: ${(to - from) / 3_600_000_000_000n}h, limit: ${maxQueryHours}h)`,
      );
    return { from, to };
  }
}

interface AnsweredStream {
  readonly stream: StreamLabels;
  readonly values: [string, string][];
}

interface PushedStream {
  readonly stream: StreamLabels;
  readonly values: readonly (readonly [string, string])[];
}

function parsePush(body: string): { readonly streams: readonly PushedStream[] } {
  let pushed: { readonly streams?: unknown };
  try {
    pushed = JSON.parse(body) as { readonly streams?: unknown };
  } catch {
    throw new Refusal(400, 'loghttp.PushRequest: invalid JSON');
  }
  const streams = pushed.streams;
  if (!Array.isArray(streams)) throw new Refusal(400, 'loghttp.PushRequest: no streams');
  for (const { stream, values } of streams as { readonly stream?: object; readonly values?: unknown }[]) {
    if (!Object.values(stream ?? {}).every(isText) || !Array.isArray(values) || !values.every(isValue))
      throw new Refusal(400, 'loghttp.PushRequest.Streams: unexpected value');
  }
  return { streams: streams as PushedStream[] };
}

/** A timestamp is text; a third element would be structured metadata, which nobody here sends. */
function isValue(value: unknown): boolean {
  return (
    Array.isArray(value) && value.length === 2 && value.every(isText) && /^\d+$/.test(value[0] as string)
  );
}

function isText(value: unknown): boolean {
  return typeof value === 'string';
}

/** Empty labels are no labels, and Loki 3 names the service of a stream by itself. */
function storedLabels(stream: StreamLabels): StreamLabels {
  const labels = Object.fromEntries(Object.entries(stream).filter(([, value]) => value !== ''));
  if (Object.keys(labels).length === 0 || labels.service_name !== undefined) return labels;
  return { ...labels, service_name: labels.service ?? 'unknown_service' };
}

function labelsProblem(labels: StreamLabels): string | undefined {
  const names = Object.keys(labels);
  if (names.length === 0) return 'error at least one label pair is required per stream';
  if (names.length > MAX_LABELS) return `entry has ${names.length} label names; limit ${MAX_LABELS}`;
  for (const [name, value] of Object.entries(labels)) {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) return `Error parsing labels '${name}'`;
    if (name.length > 1024) return `stream has label name too long: '${name}'`;
    if (Buffer.byteLength(value) > 2048) return `stream has label value too long: '${value}'`;
  }
  return undefined;
}

function refuseOthers(parameters: URLSearchParams, known: readonly string[]): void {
  for (const name of parameters.keys())
    if (!known.includes(name)) throw new Refusal(400, `the test server does not know '${name}'`);
}

function rfc3339(text: string | null): number {
  if (text === null || !/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/.test(text))
    throw new Refusal(400, 'invalid start time: require unix seconds or RFC3339 format');
  return Date.parse(text);
}
