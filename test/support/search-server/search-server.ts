import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Condition, IndexStore, type StoredDocument } from './index-store.js';
import type { Json, JsonObject } from './mapping.js';
import { compileQuery, parsing } from './query.js';
import { badRequest, Refusal } from './refusal.js';
import { type Found, runSearch } from './search.js';

/** What differs between the servers that this one can be. */
export type Product = 'elasticsearch 7' | 'elasticsearch 8' | 'opensearch 1' | 'opensearch 2';

export interface ServerOptions {
  readonly product?: Product;
  /** Of every index. */
  readonly maxFields?: number;
  /** The only accepted value of the header Authorization. */
  readonly authorization?: string;
}

export interface Answer {
  readonly status: number;
  readonly body: Json;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Call {
  readonly method: string;
  readonly path: readonly string[];
  readonly parameters: URLSearchParams;
  readonly body: string;
  readonly headers: IncomingMessage['headers'];
}

/** A failure of one action of a bulk request. */
export interface BulkFailure {
  readonly status: number;
  readonly type: string;
  readonly reason: string;
}

interface Scroll {
  readonly index: IndexStore;
  readonly rest: Found[];
  readonly size: number;
  readonly body: JsonObject;
}

type Handle = (index: string, call: Call) => Answer;

interface Route {
  readonly method: string;
  readonly parameters: readonly string[];
  readonly handle: Handle;
}

/**
 * A small Elasticsearch or OpenSearch in memory, after their public documentation: it keeps what the plugins rely on
 * (documents are invisible to searches until a refresh, compare-and-set by sequence number, errors of single actions,
 * mappings that decide what a document may hold) and refuses with 400 what the real ones do not understand.
 */
export class SearchServer {
  readonly indices = new Map<string, IndexStore>();
  readonly aliases = new Map<string, readonly string[]>();
  readonly calls: Call[] = [];
  /** Answers instead of the server. */
  intercept: ((call: Call) => Answer | undefined) | undefined;
  /** Fails one action of a bulk request. */
  failItem: ((id: string, kind: string) => BulkFailure | undefined) | undefined;
  readonly #options: ServerOptions;
  readonly #product: Product;
  readonly #scrolls = new Map<string, Scroll>();
  readonly #server: Server;
  readonly #routes: Readonly<Record<string, readonly Route[]>>;

  private constructor(options: ServerOptions) {
    this.#options = options;
    this.#product = options.product ?? 'elasticsearch 8';
    this.#server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
      void this.#serve(request, response);
    });
    this.#routes = {
      '': [
        { method: 'PUT', parameters: [], handle: (index, call) => this.#create(index, call) },
        { method: 'GET', parameters: [], handle: (index) => this.#mappings(index) },
      ],
      _mapping: [
        { method: 'GET', parameters: [], handle: (index) => this.#mappings(index) },
        { method: 'PUT', parameters: [], handle: (index, call) => this.#putMapping(index, call) },
      ],
      _doc: [
        { method: 'GET', parameters: ['realtime'], handle: (index, call) => this.#get(index, call) },
        {
          method: 'PUT',
          parameters: ['op_type', 'if_seq_no', 'if_primary_term', 'refresh'],
          handle: (index, call) => this.#put(index, call),
        },
      ],
      _bulk: [{ method: 'POST', parameters: ['refresh'], handle: (index, call) => this.#bulk(index, call) }],
      _refresh: [{ method: 'POST', parameters: [], handle: (index) => this.#refresh(index) }],
      _search: ['POST', 'GET'].map((method) => ({
        method,
        parameters: ['scroll', 'allow_partial_search_results'],
        handle: (index, call) => this.#search(index, call),
      })),
      _delete_by_query: [
        {
          method: 'POST',
          parameters: ['conflicts', 'refresh'],
          handle: (index, call) => this.#deleteByQuery(index, call),
        },
      ],
    };
  }

  static async start(options: ServerOptions = {}): Promise<SearchServer> {
    const server = new SearchServer(options);
    await new Promise<void>((resolve) => server.#server.listen(0, '127.0.0.1', resolve));
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get openScrolls(): number {
    return this.#scrolls.size;
  }

  async stop(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeAllConnections();
    await closed;
  }

  /** Makes an index as an administrator would. */
  createIndex(name: string, mappings: JsonObject = {}): IndexStore {
    const index = new IndexStore(name, this.#options.maxFields);
    index.mapping.put(mappings);
    this.indices.set(name, index);
    return index;
  }

  /** Puts documents into an index, visible at once. */
  fill(name: string, documents: readonly JsonObject[]): void {
    const index = this.indices.get(name) ?? this.createIndex(name);
    for (const document of documents) index.put(randomUUID(), document, {});
    index.refresh();
  }

  /** What an index really holds, whether searches see it or not. */
  sources(name: string): readonly JsonObject[] {
    return [...(this.indices.get(name)?.live.values() ?? [])].map(({ source }) => source);
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const url = new URL(request.url ?? '/', 'http://server');
    const call: Call = {
      method: request.method ?? '',
      path: url.pathname.split('/').slice(1).map(decodeURIComponent),
      parameters: url.searchParams,
      body: Buffer.concat(chunks).toString('utf8'),
      headers: request.headers,
    };
    this.calls.push(call);
    const { status, body, headers } = this.#answer(call);
    const product = this.#product.startsWith('elasticsearch') ? { 'x-elastic-product': 'Elasticsearch' } : {};
    response.writeHead(status, { 'content-type': 'application/json', ...product, ...headers });
    response.end(JSON.stringify(body));
  }

  #answer(call: Call): Answer {
    try {
      const { authorization } = this.#options;
      if (authorization !== undefined && call.headers.authorization !== authorization)
        throw new Refusal(401, 'security_exception', 'unable to authenticate user');
      const instead = this.intercept?.(call);
      if (instead !== undefined) return instead;
      if (call.body !== '' && !/^application\/(json|x-ndjson)(;|$)/.test(call.headers['content-type'] ?? ''))
        throw new Refusal(406, 'media_type_header_exception', 'Content-Type header is not supported');
      return this.#route(call);
    } catch (error) {
      if (!(error instanceof Refusal))
        return {
          status: 500,
          body: { error: { type: 'test_server_broke', reason: String((error as Error).stack) } },
        };
      return { status: error.status, body: error.body() as JsonObject };
    }
  }

  #route(call: Call): Answer {
    const [index = '', endpoint = ''] = call.path;
    if (index === '_search' && endpoint === 'scroll') return this.#scroll(call);
    const routes = this.#routes[endpoint];
    if (routes === undefined || index === '' || index.startsWith('_'))
      throw badRequest(`no handler found for uri [${call.path.join('/')}] and method [${call.method}]`);
    const route = routes.find(({ method }) => method === call.method);
    if (route === undefined)
      throw new Refusal(405, 'method_not_allowed', `Incorrect HTTP method for uri [${call.path.join('/')}]`);
    for (const name of call.parameters.keys())
      if (!route.parameters.includes(name))
        throw badRequest(`request [/${call.path.join('/')}] contains unrecognized parameter: [${name}]`);
    const refresh = call.parameters.get('refresh');
    if (refresh !== null && !['true', 'false', 'wait_for', ''].includes(refresh))
      throw badRequest(`Unknown value for refresh: [${refresh}].`);
    return route.handle(index, call);
  }

  #index(name: string): IndexStore {
    const [target = name, ...more] = this.aliases.get(name) ?? [];
    if (more.length > 0) throw badRequest(`alias [${name}] has more than one index associated with it`);
    const index = this.indices.get(target);
    if (index === undefined) throw new Refusal(404, 'index_not_found_exception', `no such index [${name}]`);
    return index;
  }

  /** Writing to an index that is not there makes one. */
  #written(name: string): IndexStore {
    return this.indices.has(name) || this.aliases.has(name) ? this.#index(name) : this.createIndex(name);
  }

  #create(name: string, call: Call): Answer {
    if (!/^[^A-Z\\/*?"<>| ,#:]+$/.test(name) || /^[-_+]/.test(name))
      throw badRequest(`Invalid index name [${name}]`, 'invalid_index_name_exception');
    if (this.indices.has(name) || this.aliases.has(name))
      throw badRequest(`index [${name}] already exists`, 'resource_already_exists_exception');
    const body = parsed(call.body);
    for (const key of Object.keys(body))
      if (!['mappings', 'settings', 'aliases'].includes(key))
        throw parsing(`unknown key [${key}] for create index`);
    this.createIndex(name, (body.mappings ?? {}) as JsonObject);
    return ok({ acknowledged: true, shards_acknowledged: true, index: name });
  }

  #mappings(name: string): Answer {
    const names = this.aliases.get(name) ?? [name];
    return ok(Object.fromEntries(names.map((one) => [one, { mappings: this.#index(one).mapping.toJson() }])));
  }

  #putMapping(name: string, call: Call): Answer {
    this.#index(name).mapping.put(parsed(call.body));
    return ok({ acknowledged: true });
  }

  #get(name: string, { path }: Call): Answer {
    const index = this.#index(name);
    const id = path[2]!;
    const document = index.live.get(id);
    if (document === undefined) return { status: 404, body: { _index: name, _id: id, found: false } };
    return ok({
      ...this.#place(index, document),
      _primary_term: 1,
      _seq_no: document.seqNo,
      found: true,
      _source: document.source,
    });
  }

  #put(name: string, { path, parameters, body }: Call): Answer {
    const index = this.#written(name);
    const sequence = parameters.get('if_seq_no');
    const term = parameters.get('if_primary_term');
    if ((sequence === null) !== (term === null))
      throw badRequest(
        'ifSeqNo is set but primary term is unassigned',
        'action_request_validation_exception',
      );
    const condition: Condition = {
      create: parameters.get('op_type') === 'create',
      seqNo: sequence === null ? undefined : Number(sequence),
      primaryTerm: term === null ? undefined : Number(term),
    };
    if (condition.seqNo !== undefined && condition.seqNo < 0)
      throw badRequest('sequence numbers must be non negative.');
    const document = index.put(path[2]!, parsed(body), condition);
    if (isRefreshing(parameters)) index.refresh();
    return {
      status: document.created ? 201 : 200,
      body: { ...this.#place(index, document), ...seat(document.seqNo) },
    };
  }

  #bulk(name: string, { parameters, body }: Call): Answer {
    if (!body.endsWith('\n')) throw badRequest('The bulk request must be terminated by a newline [\\n]');
    const lines = body.slice(0, -1).split('\n');
    const touched = new Set<IndexStore>();
    const items: Json[] = [];
    for (let at = 0; at < lines.length; at++) {
      const [kind, place] = Object.entries(parsed(lines[at]!))[0]! as [string, JsonObject];
      if (!['index', 'create', 'delete'].includes(kind))
        throw badRequest(
          `Malformed action/metadata line [${at + 1}], expected field [create], [delete], [index] or [update] but found [${kind}]`,
        );
      for (const key of Object.keys(place))
        if (!['_index', '_id', 'if_seq_no', 'if_primary_term'].includes(key))
          throw badRequest(`Action/metadata line [${at + 1}] contains an unknown parameter [${key}]`);
      const document = kind === 'delete' ? undefined : parsed(lines[++at] ?? '');
      const index = this.#written(String(place._index ?? name));
      touched.add(index);
      items.push({ [kind]: this.#bulkItem(index, kind, place, document) });
    }
    if (isRefreshing(parameters)) for (const index of touched) index.refresh();
    const errors = items.some((item) =>
      Object.values(item as JsonObject).some((one) => (one as JsonObject).error !== undefined),
    );
    return ok({ took: 1, errors, items });
  }

  #bulkItem(
    index: IndexStore,
    kind: string,
    place: JsonObject,
    document: JsonObject | undefined,
  ): JsonObject {
    const id = String(place._id ?? randomUUID());
    const failed = this.failItem?.(id, kind);
    const condition: Condition = {
      create: kind === 'create',
      seqNo: place.if_seq_no as number | undefined,
      primaryTerm: place.if_primary_term as number | undefined,
    };
    const base = { _index: index.name, _id: id };
    try {
      if (failed !== undefined) throw new Refusal(failed.status, failed.type, failed.reason);
      if (document !== undefined) {
        const stored = index.put(id, document, condition);
        return { ...base, ...seat(stored.seqNo), status: stored.created ? 201 : 200 };
      }
      const { seqNo, found } = index.delete(id, condition);
      return { ...base, ...seat(seqNo), status: found ? 200 : 404, result: found ? 'deleted' : 'not_found' };
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      return {
        ...base,
        status: error.status,
        error: { type: this.#errorType(error.type), reason: error.message },
      };
    }
  }

  #errorType(type: string): string {
    const isNew = this.#product === 'elasticsearch 8' && type === 'mapper_parsing_exception';
    return isNew ? 'document_parsing_exception' : type;
  }

  #refresh(name: string): Answer {
    this.#index(name).refresh();
    return ok({ _shards: { total: 1, successful: 1, failed: 0 } });
  }

  #search(name: string, { parameters, body }: Call): Answer {
    const index = this.#index(name);
    const request = parsed(body);
    const scroll = parameters.get('scroll');
    const { found, total, aggregations } = runSearch(index, request, scroll !== null);
    if (scroll === null) return ok(this.#hits(index, request, found, total, aggregations));
    const id = randomUUID();
    const size = Number(request.size ?? 10);
    this.#scrolls.set(id, { index, rest: found.slice(size), size, body: request });
    return ok({ _scroll_id: id, ...this.#hits(index, request, found.slice(0, size), total, aggregations) });
  }

  #scroll({ method, body }: Call): Answer {
    const { scroll_id, scroll, ...other } = parsed(body);
    if (Object.keys(other).length > 0)
      throw badRequest(`Unknown parameter [${Object.keys(other)[0]}] in request body`);
    const ids = [scroll_id].flat() as readonly string[];
    if (method === 'DELETE') {
      const freed = ids.filter((id) => this.#scrolls.delete(id)).length;
      return { status: freed > 0 ? 200 : 404, body: { succeeded: true, num_freed: freed } };
    }
    if (scroll === undefined) throw badRequest('scroll is required');
    const open = this.#scrolls.get(ids[0]!);
    if (open === undefined)
      throw new Refusal(
        404,
        'search_phase_execution_exception',
        'all shards failed: No search context found',
      );
    const page = open.rest.splice(0, open.size);
    return ok({ _scroll_id: ids[0]!, ...this.#hits(open.index, open.body, page, 0, undefined) });
  }

  /** The server forgets its scrolls, as it does when they rest for too long. */
  expireScrolls(): void {
    this.#scrolls.clear();
  }

  #hits(
    index: IndexStore,
    body: JsonObject,
    found: readonly Found[],
    total: number,
    aggregations: Json | undefined,
  ): JsonObject {
    const sorted = body.sort !== undefined;
    const hits = found.map(({ document, sort }) => ({
      ...this.#place(index, document),
      _score: sorted ? null : 1,
      ...(body.seq_no_primary_term === true ? { _seq_no: document.seqNo, _primary_term: 1 } : {}),
      _source: narrowed(document.source, body._source),
      ...(sorted ? { sort } : {}),
    }));
    const counted = body.track_total_hits === false ? {} : { total: { value: total, relation: 'eq' } };
    return {
      took: 1,
      timed_out: false,
      _shards: { total: 1, successful: 1, skipped: 0, failed: 0 },
      hits: { ...counted, max_score: null, hits },
      ...(aggregations === undefined ? {} : { aggregations }),
    };
  }

  #deleteByQuery(name: string, { parameters, body }: Call): Answer {
    const index = this.#index(name);
    const { query, ...other } = parsed(body);
    if (Object.keys(other).length > 0) throw parsing(`request does not support [${Object.keys(other)[0]}]`);
    const test = compileQuery(query, index.mapping);
    const matching = [...index.visible.values()].filter(({ fields }) => test(fields));
    const current = matching.filter(({ id, seqNo }) => index.live.get(id)?.seqNo === seqNo);
    const conflicts = matching.length - current.length;
    if (conflicts > 0 && parameters.get('conflicts') !== 'proceed')
      throw new Refusal(409, 'version_conflict_engine_exception', 'version conflict');
    for (const { id } of current) index.delete(id, {});
    if (isRefreshing(parameters)) index.refresh();
    return ok({
      took: 1,
      timed_out: false,
      total: matching.length,
      deleted: current.length,
      version_conflicts: conflicts,
      failures: [],
    });
  }

  #place(index: IndexStore, { id }: StoredDocument): JsonObject {
    const hasTypes = this.#product === 'elasticsearch 7' || this.#product === 'opensearch 1';
    return { _index: index.name, ...(hasTypes ? { _type: '_doc' } : {}), _id: id };
  }
}

function ok(body: Json): Answer {
  return { status: 200, body };
}

function seat(seqNo: number): JsonObject {
  return { _seq_no: seqNo, _primary_term: 1 };
}

function isRefreshing(parameters: URLSearchParams): boolean {
  return ['true', '', 'wait_for'].includes(parameters.get('refresh') ?? 'false');
}

/** The real servers cannot store halves of characters. */
function parsed(text: string): JsonObject {
  let value: Json;
  try {
    value = JSON.parse(text, (_name, item: unknown) => {
      if (typeof item === 'string' && /\p{Cs}/u.test(item)) throw new TypeError('a lone surrogate');
      return item;
    }) as Json;
  } catch (error) {
    throw badRequest(`request body is not valid: ${String(error)}`, 'parse_exception');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw badRequest('request body is required', 'parse_exception');
  return value as JsonObject;
}

function narrowed(source: JsonObject, wanted: Json | undefined): JsonObject {
  if (wanted === undefined) return source;
  const result: Record<string, Json> = {};
  for (const path of wanted as readonly string[]) {
    const [outer, inner] = path.split('.') as [string, string];
    const object = source[outer] as JsonObject | undefined;
    if (object?.[inner] !== undefined)
      result[outer] = { ...(result[outer] as JsonObject | undefined), [inner]: object[inner] };
  }
  return result;
}
