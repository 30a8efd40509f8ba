import { type Instant, isRatecatError } from '../../plugin-api/index.js';
import { type ResetOrder, watermarkAfter } from '../../scopes/scope-reset.js';
import type { ScopeState } from '../../scopes/scope-states.js';
import type { ApiRequest, ApiResponse } from '../exchange.js';
import type { ApiServices } from '../services.js';
import { bodyDate, boolean, multiText } from './body-values.js';
import { authorize, authorOf } from './endpoint.js';
import { badRequest, jsonAnswer, nothingFound } from './faults.js';
import { findScopes } from './scope-lookup.js';
import { optional, readBody } from './validation.js';

const BODY = {
  fields: {
    all_scopes: optional(boolean),
    scope_id: optional(multiText),
    scope_key: optional(multiText),
    fetcher: optional(multiText),
    collector: optional(multiText),
    last_processed_timestamp: optional(bodyDate()),
    // Its former name, which clients still send.
    state: optional(bodyDate()),
  },
  exclusive: { name: 'scope_selector', keys: ['all_scopes', 'scope_id'] },
};
const NO_SCOPE = 'Either all_scopes or a scope_id should be specified.';
const NO_TIME =
  "Variables 'state' and 'last_processed_timestamp' cannot be empty/None. We expect at least one of them.";
const REASON = 'PUT /v2/scope';
/** Reasons that are told; the rest is counted. */
const TOLD_REASONS = 5;

/**
 * `PUT /v2/scope`: sends scopes back to an earlier time. The reference answers 202 and leaves it to a processor; here it is
 * done when the answer comes. What cannot be done without losing data is refused, and then nothing is done.
 */
export class ScopeResets {
  readonly #services: ApiServices;

  constructor(services: ApiServices) {
    this.#services = services;
  }

  async put(request: ApiRequest): Promise<ApiResponse> {
    const body = readBody(request, BODY);
    const { identity } = request;
    const project_id = body.scope_id === undefined ? (identity.projectId ?? null) : null;
    authorize(this.#services, 'scope:reset_state', identity, { project_id });
    const isAll = body.all_scopes === true;
    if (!isAll && (body.scope_id === undefined || body.scope_id.length === 0)) throw badRequest(NO_SCOPE);
    const to = body.last_processed_timestamp ?? body.state;
    if (to === undefined) throw badRequest(NO_TIME);
    const scopes = await findScopes(this.#services.states, {
      ids: isAll ? undefined : body.scope_id,
      keys: body.scope_key,
      fetchers: body.fetcher,
      collectors: body.collector,
      active: [1],
    });
    if (scopes.length === 0) throw nothingFound();
    const author = authorOf(identity);
    const order = (state: ScopeState) => this.#order(state, to, author);
    await this.#reset(isAll ? reached(scopes, order) : scopes, order);
    return jsonAnswer({}, 202);
  }

  /** @throws Fault 400 with the reasons, before anything is changed. */
  async #reset(scopes: readonly ScopeState[], order: (state: ScopeState) => ResetOrder): Promise<void> {
    const { reset } = this.#services;
    await attempt(scopes, async (state) => reset.check(state, order(state)));
    // Whether the caller still listens does not matter any more: an order is carried out whole.
    const { signal } = new AbortController();
    await attempt(scopes, (state) => reset.reset(state, order(state), signal));
  }

  #order(state: ScopeState, to: Instant, author: string): ResetOrder {
    const { compat } = this.#services;
    return { to, periodSeconds: this.#period(state), compat, author, reason: REASON };
  }

  /** Scopes of a pipeline that is no longer configured keep the period of the first. */
  #period({ source }: ScopeState): number {
    const { sources } = this.#services;
    return (sources.find(({ name }) => name === source) ?? sources[0]!).periodSeconds;
  }
}

/** Does it for every scope. @throws Fault 400 with what was refused. */
async function attempt(
  scopes: readonly ScopeState[],
  work: (state: ScopeState) => Promise<void>,
): Promise<void> {
  const reasons: string[] = [];
  for (const scope of scopes) {
    try {
      await work(scope);
    } catch (error) {
      if (!isRatecatError(error) || error.kind !== 'data') throw error;
      reasons.push(error.message);
    }
  }
  if (reasons.length === 0) return;
  const others = reasons.length - TOLD_REASONS;
  throw badRequest(reasons.slice(0, TOLD_REASONS).join(' ') + (others > 0 ? ` And ${others} more.` : ''));
}

/**
 * Of all scopes, those that are rated beyond the time. The others have nothing to give back, and are rated from where they
 * are; to send them forward would leave periods out.
 */
function reached(
  scopes: readonly ScopeState[],
  order: (state: ScopeState) => ResetOrder,
): readonly ScopeState[] {
  const found = scopes.filter(
    (state) => state.watermark !== undefined && state.watermark >= watermarkAfter(order(state)),
  );
  if (found.length === 0) throw badRequest('No scope is rated up to this time: there is nothing to reset.');
  return found;
}
