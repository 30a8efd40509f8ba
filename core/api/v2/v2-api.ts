import type { ApiArea, ApiRequest, ApiResponse } from '../exchange.js';
import { pageNotFound } from '../faults.js';
import type { ApiServices } from '../services.js';
import { Dataframes } from './dataframes.js';
import type { Endpoint, Handler } from './endpoint.js';
import { Fault, faultAnswer } from './faults.js';
import { RatingModules } from './rating-modules.js';
import { Reprocesses } from './reprocesses.js';
import { Scopes } from './scopes.js';
import { Summary } from './summary.js';

const PARAMETER = /^(.*\/):\w+$/;

/** Everything below `/v2` (spec: API v2). Paths have no slash at the end; nothing is negotiated. */
export class V2Api implements ApiArea {
  readonly #endpoints: readonly Endpoint[];

  constructor(services: ApiServices) {
    this.#endpoints = [
      new Dataframes(services),
      new Scopes(services),
      new Summary(services),
      new RatingModules(services),
      new Reprocesses(services),
    ].flatMap(({ endpoints }) => endpoints);
  }

  async handle(request: ApiRequest): Promise<ApiResponse> {
    const found = this.#find(request.path);
    if (found === undefined) return pageNotFound();
    const route = found.endpoint.pattern;
    try {
      return { ...(await answer(found.endpoint, found.parameter, request)), route };
    } catch (error) {
      if (error instanceof Fault) return { ...faultAnswer(error), route };
      throw error;
    }
  }

  #find(path: string): { readonly endpoint: Endpoint; readonly parameter: string } | undefined {
    for (const endpoint of this.#endpoints) {
      if (endpoint.pattern === path) return { endpoint, parameter: '' };
      const parent = PARAMETER.exec(endpoint.pattern)?.[1];
      if (parent === undefined || !path.startsWith(parent)) continue;
      const parameter = decoded(path.slice(parent.length));
      if (parameter !== undefined) return { endpoint, parameter };
    }
    return undefined;
  }
}

async function answer(endpoint: Endpoint, parameter: string, request: ApiRequest): Promise<ApiResponse> {
  const allowed = allowedMethods(endpoint);
  if (request.method === 'OPTIONS') {
    return {
      status: 200,
      headers: { 'content-type': 'text/html; charset=utf-8', allow: allowed.join(', ') },
    };
  }
  const handler = handlerOf(endpoint, request.method);
  if (handler === undefined) {
    throw new Fault(405, 'The method is not allowed for the requested URL.', { allow: allowed.join(', ') });
  }
  return handler(request, parameter);
}

function handlerOf({ methods }: Endpoint, method: string): Handler | undefined {
  const name = method === 'HEAD' ? 'GET' : method;
  return Object.hasOwn(methods, name) ? methods[name] : undefined;
}

function allowedMethods({ methods }: Endpoint): readonly string[] {
  return [...Object.keys(methods), ...('GET' in methods ? ['HEAD'] : []), 'OPTIONS'];
}

/** One part of a path; undefined when it is empty or has a slash in it. */
function decoded(part: string): string | undefined {
  let text = part;
  try {
    text = decodeURIComponent(part);
  } catch {
    // Not an encoding of text: nothing is called so.
  }
  return text === '' || text.includes('/') ? undefined : text;
}
