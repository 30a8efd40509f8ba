import { randomUUID } from 'node:crypto';
import {
  type ConfigRequest,
  type ConfigResponse,
  type ConfigRoute,
  isRatecatError,
  type SqlTransaction,
} from '../../plugin-api/index.js';
import { type ApiRequest, type ApiResponse, JSON_TYPE } from '../exchange.js';
import { plainFault } from '../faults.js';
import { type PythonValue, pythonJson } from '../python-json.js';
import type { ApiServices } from '../services.js';
import { badRequest, faultAnswer, V1Fault } from './faults.js';
import { refusal } from './method.js';
import { isAcceptable, notAcceptable, unmatched } from './negotiation.js';
import { readBody } from './request-body.js';
import { RouteTable } from './route-table.js';

const RULE = 'rating:module_config';
const BASE = '/v1/rating/module_config';

/** The routes of rating modules below `/v1/rating/module_config/<module>`. */
export class ModuleConfig {
  readonly #services: ApiServices;
  /** By module; undefined for modules that cannot be configured. */
  readonly #tables: ReadonlyMap<string, RouteTable<ConfigRoute> | undefined>;

  constructor(services: ApiServices) {
    this.#services = services;
    this.#tables = new Map(
      services.modules.map(({ name, module: { configRoutes } }) => [
        name,
        configRoutes === undefined ? undefined : new RouteTable(configRoutes),
      ]),
    );
  }

  /** Segments begin with the module. */
  async handle(request: ApiRequest, [module, ...segments]: readonly string[]): Promise<ApiResponse> {
    const { method, identity, headers } = request;
    if (module === undefined || !this.#tables.has(module)) return unmatched(request, 405);
    const table = this.#tables.get(module);
    if (table === undefined) return notConfigurable(request, segments);
    // Here the policy comes before anything else, and is refused by the router (spec: order of checks).
    if (!this.#services.policy.allows(RULE, identity, {})) {
      return { ...plainFault(403, refusal(RULE), headers.accept, method), route: `${BASE}/${module}` };
    }
    const found = table.find(method, segments);
    if (found.kind !== 'found') return unmatched(request, found.kind === 'surplus' ? 404 : 405);
    const route = `${BASE}/${module}${found.route.path}`;
    if (!isAcceptable(headers.accept)) return { ...notAcceptable(request), route };
    try {
      return { ...(await this.#call(request, module, found.route, found.parameters)), route };
    } catch (error) {
      if (error instanceof V1Fault) return { ...faultAnswer(error), route };
      throw error;
    }
  }

  /** One transaction for the change and the number that tells processors of it. */
  async #call(
    request: ApiRequest,
    module: string,
    route: ConfigRoute,
    parameters: ReadonlyMap<string, string>,
  ): Promise<ApiResponse> {
    const content = contentOf(request, parameters);
    try {
      const response = await this.#services.database.transaction(async (tx) => {
        const answer = await route.handle(
          { ...content, now: this.#now(), newId: randomUUID, tx },
          request.signal,
        );
        if (answer.status >= 400) throw new Refused(answer);
        if (route.method !== 'GET') {
          const action = `${route.method} ${route.path}`;
          const author = request.identity.userId;
          await this.#services.moduleStates.changed(tx, { module, action, author });
        }
        return answer;
      }, request.signal);
      return toApiResponse(response);
    } catch (error) {
      if (error instanceof Refused) return toApiResponse(error.response);
      if (isRatecatError(error) && error.kind === 'data') throw badRequest(error.message);
      throw error;
    }
  }

  #now(): number {
    return Math.floor(this.#services.clock.now() / 1000);
  }
}

/** Takes the transaction back. */
class Refused extends Error {
  readonly response: ConfigResponse;

  constructor(response: ConfigResponse) {
    super('the configuration call was refused');
    this.response = response;
  }
}

type RequestContent = Omit<ConfigRequest, 'now' | 'newId' | 'tx'> & { readonly tx?: SqlTransaction };

/** @throws V1Fault 400, 415 */
function contentOf(request: ApiRequest, parameters: ReadonlyMap<string, string>): RequestContent {
  const body = readBody(request);
  const query = new Map<string, string[]>();
  const form = body.kind === 'form' ? [...body.arguments] : [];
  for (const [name, value] of [...request.query, ...form]) {
    const values = query.get(name);
    if (values === undefined) query.set(name, [value]);
    else values.push(value);
  }
  const { origin, prefix, path, identity } = request;
  return {
    parameters: Object.fromEntries(parameters),
    query,
    body: body.kind === 'json' ? body.value : undefined,
    url: `${origin}${prefix}${path}`,
    caller: { userId: identity.userId, projectId: identity.projectId },
  };
}

/** A body has a content type; 204 and the 302 of rules have neither. */
function toApiResponse({ status, headers, body }: ConfigResponse): ApiResponse {
  if (body === undefined) return { status, headers };
  return {
    status,
    headers: { 'content-type': JSON_TYPE, ...headers },
    body: pythonJson(body as PythonValue),
  };
}

function notConfigurable(request: ApiRequest, segments: readonly string[]): ApiResponse {
  if (segments.length > 0) return unmatched(request, 404);
  if (!isAcceptable(request.headers.accept)) return notAcceptable(request);
  return { ...faultAnswer(new V1Fault(409, 'Module is not configurable')), route: `${BASE}/:module` };
}
