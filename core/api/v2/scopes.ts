import type { Instant } from '../../plugin-api/index.js';
import type { ScopeState } from '../../scopes/scope-states.js';
import type { PolicyTarget } from '../auth/policy.js';
import type { ApiRequest, ApiResponse } from '../exchange.js';
import type { PythonValue } from '../python-json.js';
import type { ApiServices, SourceFacts } from '../services.js';
import { bodyDate, isTruthy, singleText } from './body-values.js';
import { authorize, authorOf, type Endpoint } from './endpoint.js';
import { badRequest, Fault, jsonAnswer, nothingFound } from './faults.js';
import { offsetTime } from './iso-time.js';
import { integer, multi, PAGINATION, text } from './query-values.js';
import { findScopes } from './scope-lookup.js';
import { ScopeResets } from './scope-resets.js';
import { optional, readBody, readQuery, required, withDefault } from './validation.js';

const QUERY = {
  fields: {
    ...PAGINATION,
    scope_id: optional(multi(text)),
    scope_key: optional(multi(text)),
    fetcher: optional(multi(text)),
    collector: optional(multi(text)),
    active: optional(multi(integer)),
  },
};
const PATCH_BODY = {
  fields: {
    scope_id: required(singleText),
    scope_key: optional(singleText),
    fetcher: optional(singleText),
    collector: optional(singleText),
    active: optional(isTruthy),
  },
};
const POST_BODY = {
  fields: {
    scope_id: required(singleText),
    scope_key: optional(singleText),
    fetcher: optional(singleText),
    collector: optional(singleText),
    active: withDefault(isTruthy, true),
    last_processed_timestamp: optional(bodyDate()),
  },
};
const LONGEST_ID = 256;
const LONGEST_NAME = 40;

/** `/v2/scope`: what is known about each scope, and orders to change it. */
export class Scopes {
  readonly #services: ApiServices;
  readonly #resets: ScopeResets;

  constructor(services: ApiServices) {
    this.#services = services;
    this.#resets = new ScopeResets(services);
  }

  get endpoints(): readonly Endpoint[] {
    const methods = {
      GET: (request: ApiRequest) => this.#get(request),
      PUT: (request: ApiRequest) => this.#resets.put(request),
      PATCH: (request: ApiRequest) => this.#patch(request),
      POST: (request: ApiRequest) => this.#post(request),
    };
    return [{ pattern: '/v2/scope', methods }];
  }

  async #get(request: ApiRequest): Promise<ApiResponse> {
    const query = readQuery(request, QUERY);
    const { identity } = request;
    const project_id = query.scope_id === undefined ? (identity.projectId ?? null) : null;
    // A list of ids equals no project: rules that compare refuse it, as in the reference.
    authorize(this.#services, 'scope:get_state', identity, { project_id });
    const scopes = await findScopes(
      this.#services.states,
      {
        ids: query.scope_id,
        keys: query.scope_key,
        fetchers: query.fetcher,
        collectors: query.collector,
        active: query.active,
      },
      { offset: query.offset, limit: query.limit },
    );
    if (scopes.length === 0) throw nothingFound();
    return jsonAnswer({ results: scopes.map((scope) => scopeJson(scope, this.#services)) });
  }

  async #patch(request: ApiRequest): Promise<ApiResponse> {
    const body = readBody(request, PATCH_BODY);
    authorize(this.#services, 'scope:patch_state', request.identity, tenant(body.scope_id));
    const { states, clock } = this.#services;
    const found = await findScopes(states, { ids: [body.scope_id] }, { limit: 2 });
    const [scope] = found;
    if (scope === undefined) throw nothingFound();
    if (found.length > 1) {
      throw new Fault(404, `Too many resources found with the same scope_id: ${body.scope_id}.`);
    }
    refuseOtherKey(scope, body.scope_key);
    const changed = await states.change(scope.row, {
      active: body.active,
      fetcher: nameOf('fetcher', body.fetcher),
      collector: nameOf('collector', body.collector),
      at: seconds(clock.now()),
      author: authorOf(request.identity),
    });
    if (changed === undefined) throw nothingFound();
    return jsonAnswer(scopeJson(changed, this.#services));
  }

  async #post(request: ApiRequest): Promise<ApiResponse> {
    const body = readBody(request, POST_BODY);
    authorize(this.#services, 'scope:post_state', request.identity, tenant(body.scope_id));
    const { states, clock } = this.#services;
    const id = scopeIdOf(body.scope_id);
    if ((await findScopes(states, { ids: [id], active: [1] }, { limit: 1 })).length > 0) throw existing(id);
    const key = body.scope_key || undefined;
    const fetcher = nameOf('fetcher', body.fetcher);
    const collector = nameOf('collector', body.collector);
    const source = chooseSource(this.#services.sources, key, fetcher, collector);
    const processed = body.last_processed_timestamp;
    if (processed !== undefined) checkPhase(processed, source, this.#services);
    const created = await states.create({
      pipeline: {
        source: source.name,
        fetcher: fetcher ?? source.fetcher,
        collector: collector ?? source.collector,
      },
      scope: { key: source.scopeKey, id },
      ...(processed === undefined ? {} : progress(processed, source, this.#services)),
      active: body.active,
      now: seconds(clock.now()),
      author: authorOf(request.identity),
    });
    if (created === undefined) throw existing(id);
    return jsonAnswer(scopeJson(created, this.#services));
  }
}

/** With `state`, the name that the timestamp had before: the command line client shows that. */
function scopeJson(state: ScopeState, { compat }: ApiServices): PythonValue {
  const instant = compat === 'strict' ? state.lastBegin : state.watermark;
  const processed = instant === undefined ? null : offsetTime(instant);
  return {
    scope_id: state.scope.id,
    scope_key: state.scope.key,
    fetcher: state.fetcher,
    collector: state.collector,
    state: processed,
    last_processed_timestamp: processed,
    active: state.active,
    scope_activation_toggle_date: offsetTime(state.toggledAt),
  };
}

/**
 * What `last_processed_timestamp` means: to the reference, and so with `strict`, the begin of the last rated period; with
 * `fixed` the instant up to which everything is rated.
 */
function progress(processed: Instant, { periodSeconds }: SourceFacts, { compat }: ApiServices) {
  const watermark = compat === 'strict' ? processed + periodSeconds : processed;
  return { watermark, lastBegin: watermark - periodSeconds };
}

/**
 * The source that a new scope belongs to: the one with the scope key, fetcher and collector that were named, else the one
 * with the key, else the first.
 * @throws Fault 400 when no source has the scope key: nothing would ever rate the scope.
 */
function chooseSource(
  sources: readonly SourceFacts[],
  key: string | undefined,
  fetcher: string | undefined,
  collector: string | undefined,
): SourceFacts {
  const keyed = sources.filter(({ scopeKey }) => key === undefined || key === scopeKey);
  if (keyed.length === 0) {
    const known = [...new Set(sources.map(({ scopeKey }) => scopeKey))].join(', ');
    throw badRequest(
      `No pipeline has the scope key '${key!.slice(0, 80)}': nothing would rate the scope. Known: ${known}.`,
    );
  }
  const exact = keyed.find(
    (source) =>
      (fetcher === undefined || fetcher === source.fetcher) &&
      (collector === undefined || collector === source.collector),
  );
  return exact ?? keyed[0]!;
}

/**
 * Periods keep the phase of the first one, and data sources answer for whole hours and the like.
 * @throws Fault 400 when no period begins at the time, counted from the month's begin or from 1970.
 */
function checkPhase(watermark: Instant, { periodSeconds }: SourceFacts, { calendar }: ApiServices): void {
  const month = calendar.slice(watermark, 'month').begin;
  if (watermark % periodSeconds === 0 || (watermark - month) % periodSeconds === 0) return;
  const earlier = watermark - ((watermark - month) % periodSeconds);
  throw badRequest(
    `No period of ${periodSeconds} seconds begins at ${offsetTime(watermark)}; the one before begins at ${offsetTime(earlier)}.`,
  );
}

/** Stored frames and the pipeline know the scope by its key; under another one its usage would be rated a second time. */
function refuseOtherKey({ scope }: ScopeState, key: string | undefined): void {
  if (key === undefined || key === '' || key === scope.key) return;
  throw badRequest(
    `The scope_key of scope '${scope.id.slice(0, 80)}' is '${scope.key}', that of its pipeline, and cannot be changed.`,
  );
}

/** An empty name leaves things as they are. @throws Fault 400 */
function nameOf(what: string, name: string | undefined): string | undefined {
  if (name === undefined || name === '') return undefined;
  if (name.length > LONGEST_NAME) throw badRequest(`The ${what} has more than ${LONGEST_NAME} characters.`);
  return name;
}

/** @throws Fault 400 */
function scopeIdOf(id: string): string {
  if (id === '' || id.length > LONGEST_ID) throw badRequest(`A scope_id has 1 to ${LONGEST_ID} characters.`);
  return id;
}

function existing(id: string): Fault {
  return new Fault(404, `Cannot create a scope with an already existing scope_id: ${id}.`);
}

function tenant(id: string): PolicyTarget {
  return { tenant_id: id };
}

function seconds(milliseconds: number): Instant {
  return Math.floor(milliseconds / 1000);
}
