import type { ApiArea, ApiRequest, ApiResponse } from '../exchange.js';
import { plainFault } from '../faults.js';
import type { ApiServices } from '../services.js';
import { V1Call } from './call.js';
import { CollectorConfig } from './collector.js';
import { Dataframes } from './dataframes.js';
import { faultAnswer, V1Fault } from './faults.js';
import { Info } from './info.js';
import type { V1Method } from './method.js';
import { ModuleConfig } from './module-config.js';
import { isAcceptable, notAcceptable, unmatched } from './negotiation.js';
import { QuoteMethod } from './quote.js';
import { RatingModules } from './rating-modules.js';
import { Report } from './report.js';
import { RouteTable, segmentsOf } from './route-table.js';

const ROOT = 'v1';
/** Another name of `rating`. */
const ALIAS = 'billing';
const MODULE_CONFIG = ['rating', 'module_config'];

/** Everything below `/v1`: the reference's API of version 1. */
export class V1Api implements ApiArea {
  readonly #methods: RouteTable<V1Method>;
  readonly #moduleConfig: ModuleConfig;

  constructor(services: ApiServices) {
    this.#moduleConfig = new ModuleConfig(services);
    this.#methods = new RouteTable(
      [
        new Info(services),
        new CollectorConfig(services),
        new RatingModules(services),
        new QuoteMethod(services),
        new Report(services),
        new Dataframes(services),
      ].flatMap(({ methods }) => methods),
    );
  }

  async handle(request: ApiRequest): Promise<ApiResponse> {
    const segments = pathSegments(request.path);
    if (segments === undefined) {
      return plainFault(400, 'The path is not well formed.', request.headers.accept, request.method);
    }
    if (MODULE_CONFIG.every((word, place) => segments[place] === word)) {
      return this.#moduleConfig.handle(request, segments.slice(MODULE_CONFIG.length));
    }
    const found = this.#methods.find(request.method, segments);
    if (found.kind !== 'found') return unmatched(request, found.kind === 'surplus' ? 404 : 405);
    const route = `/${ROOT}${found.route.path}`;
    if (!isAcceptable(request.headers.accept)) return { ...notAcceptable(request), route };
    return { ...(await answer(request, found.route, found.parameters)), route };
  }
}

async function answer(
  request: ApiRequest,
  method: V1Method,
  parameters: ReadonlyMap<string, string>,
): Promise<ApiResponse> {
  try {
    return await method.handle(new V1Call(request, parameters, method));
  } catch (error) {
    if (error instanceof V1Fault) return faultAnswer(error);
    throw error;
  }
}

/** What follows `/v1`, decoded; slashes at the end do not count. Undefined when it is no text. */
function pathSegments(path: string): readonly string[] | undefined {
  let end = path.length;
  while (path[end - 1] === '/') end--;
  try {
    const [, ...segments] = segmentsOf(path.slice(0, end)).map(decodeURIComponent);
    return segments[0] === ALIAS ? ['rating', ...segments.slice(1)] : segments;
  } catch {
    return undefined;
  }
}
