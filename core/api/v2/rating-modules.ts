import { type ModuleState, shownState } from '../../rating/module-states.js';
import type { LoadedModule } from '../../rating/rule-sets.js';
import type { ApiRequest, ApiResponse } from '../exchange.js';
import type { PythonValue } from '../python-json.js';
import type { ApiServices } from '../services.js';
import { boolean, jsonInteger } from './body-values.js';
import { authorize, type Endpoint } from './endpoint.js';
import { emptyAnswer, Fault, jsonAnswer } from './faults.js';
import { optional, readBody } from './validation.js';

const BODY = { fields: { enabled: optional(boolean), priority: optional(jsonInteger) } };
/** `/v2/rating/modules`: which modules rate, and in which order. */
export class RatingModules {
  readonly #services: ApiServices;

  constructor(services: ApiServices) {
    this.#services = services;
  }

  get endpoints(): readonly Endpoint[] {
    return [
      { pattern: '/v2/rating/modules', methods: { GET: () => this.#list() } },
      {
        pattern: '/v2/rating/modules/:id',
        methods: {
          GET: (request, id) => this.#get(request, id),
          PUT: (request, id) => this.#put(request, id),
        },
      },
    ];
  }

  /** Open to every authenticated caller, as in the reference. */
  async #list(): Promise<ApiResponse> {
    const states = await this.#services.moduleStates.all();
    return jsonAnswer({
      modules: this.#services.modules.map((loaded) => moduleJson(loaded, states.get(loaded.name))),
    });
  }

  async #get({ identity }: ApiRequest, id: string): Promise<ApiResponse> {
    authorize(this.#services, 'v2_rating:get_module', identity);
    const loaded = this.#module(id);
    const states = await this.#services.moduleStates.all();
    return jsonAnswer(moduleJson(loaded, states.get(id)));
  }

  async #put(request: ApiRequest, id: string): Promise<ApiResponse> {
    const wanted = readBody(request, BODY);
    authorize(this.#services, 'v2_rating:update_module', request.identity);
    const { module } = this.#module(id);
    const { enabled, priority } = wanted;
    // A module that is always on has no state; every change makes the processors look at the rules again.
    if (module.alwaysEnabled !== true) {
      await this.#services.moduleStates.change(id, {
        ...(enabled === undefined ? {} : { enabled }),
        ...(priority === undefined ? {} : { priority }),
      });
    }
    return emptyAnswer();
  }

  /** @throws Fault 404 */
  #module(id: string): LoadedModule {
    const loaded = this.#services.modules.find(({ name }) => name === id);
    if (loaded === undefined) throw new Fault(404, `Module '${id}' not found`);
    return loaded;
  }
}

function moduleJson({ name, module }: LoadedModule, state: ModuleState | undefined): PythonValue {
  const { enabled, priority } = shownState(module, state);
  return {
    module_id: name,
    description: module.description,
    enabled,
    hot_config: module.hotConfig,
    priority,
  };
}
