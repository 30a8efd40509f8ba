import { type ApiResponse, JSON_TYPE } from '../exchange.js';
import type { ApiServices } from '../services.js';
import { bodyInParts } from '../v2/streamed-body.js';
import type { V1Call } from './call.js';
import { framesJson } from './frames-json.js';
import { authorize, type V1Method } from './method.js';
import { rangeOf, tenantPoints } from './points.js';

/** `/v1/storage/dataframes`: rated points, all of a period at once. */
export class Dataframes {
  readonly #services: ApiServices;

  constructor(services: ApiServices) {
    this.#services = services;
  }

  get methods(): readonly V1Method[] {
    return [
      {
        method: 'GET',
        path: '/storage/dataframes',
        arguments: ['begin', 'end', 'tenant_id', 'resource_type'],
        handle: (call) => this.#get(call),
      },
    ];
  }

  async #get(call: V1Call): Promise<ApiResponse> {
    const range = rangeOf(call, this.#services);
    const [requested, type] = [call.text('tenant_id'), call.text('resource_type')];
    const { identity, signal } = call;
    const own = requested ?? identity.projectId;
    authorize(this.#services, 'storage:list_data_frames', identity, { project_id: own ?? null });
    // Admins who name nobody see everybody, their own project is no filter.
    const tenant = identity.isAdmin ? requested : own;
    const metrics = type === undefined ? undefined : [type];
    const query = tenantPoints(this.#services, identity, { tenant, range, metrics });
    const frames = this.#services.storage.readPeriods(query, signal);
    const parts = framesJson(frames, { joinsScopes: this.#services.compat === 'strict' });
    const body = await bodyInParts(parts, call.request.method);
    return { status: 200, headers: { 'content-type': JSON_TYPE }, body };
  }
}
