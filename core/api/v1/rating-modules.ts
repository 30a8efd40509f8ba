import { compareText } from '../../plugin-api/index.js';
import { type ModuleState, raiseRevision, shownState } from '../../rating/module-states.js';
import type { LoadedModule } from '../../rating/rule-sets.js';
import type { ApiResponse } from '../exchange.js';
import type { PythonValue } from '../python-json.js';
import type { ApiServices } from '../services.js';
import type { V1Call } from './call.js';
import { badRequest, jsonAnswer, NO_CONTENT, notFound } from './faults.js';
import { authorize, type V1Method } from './method.js';

const MODULE = {
  argument: 'module',
  attributes: ['module_id', 'description', 'enabled', 'hot-config', 'priority'],
};
/** `/v1/rating/modules`: which modules rate, and in which order. */
export class RatingModules {
  readonly #services: ApiServices;
  /** In the order in which the reference finds them. */
  readonly #modules: readonly LoadedModule[];

  constructor(services: ApiServices) {
    this.#services = services;
    this.#modules = [...services.modules].sort((left, right) => compareText(left.name, right.name));
  }

  get methods(): readonly V1Method[] {
    return [
      { method: 'GET', path: '/rating/modules', handle: (call) => this.#list(call) },
      {
        method: 'GET',
        path: '/rating/modules/:module_id',
        handle: (call) => this.#get(call),
      },
      ...['/rating/modules', '/rating/modules/:module_id'].map(
        (path): V1Method => ({
          method: 'PUT',
          path,
          arguments: ['module_id'],
          model: MODULE,
          handle: (call) => this.#put(call),
        }),
      ),
      { method: 'GET', path: '/rating/reload_modules', handle: (call) => this.#reload(call) },
    ];
  }

  async #list({ identity }: V1Call): Promise<ApiResponse> {
    authorize(this.#services, 'rating:list_modules', identity);
    const states = await this.#services.moduleStates.all();
    return jsonAnswer({
      modules: this.#modules.map((module) => moduleJson(module, states.get(module.name))),
    });
  }

  async #get(call: V1Call): Promise<ApiResponse> {
    const id = call.required('module_id');
    authorize(this.#services, 'rating:get_module', call.identity);
    const module = this.#module(id);
    const states = await this.#services.moduleStates.all();
    return jsonAnswer(moduleJson(module, states.get(id)));
  }

  /**
   * Clients follow the 302 with the same request, up to thirty times, so that nothing is written when nothing changes. The
   * id in the body only counts when the address has none.
   */
  async #put(call: V1Call): Promise<ApiResponse> {
    const { model } = call;
    const inBody = model.requiredText('module_id');
    model.text('description');
    model.flag('hot-config');
    const [enabled, priority] = [model.flag('enabled'), model.integer('priority')];
    const id = call.text('module_id') ?? inBody;
    if (id === '') throw badRequest('Missing argument: "module_id"');
    authorize(this.#services, 'rating:update_module', call.identity);
    const { module } = this.#module(id);
    // A module that is always on has no state that anybody could see.
    if (module.alwaysEnabled !== true)
      await this.#services.moduleStates.change(id, stateChange(enabled, priority));
    return jsonAnswer(null, 302, { location: call.url });
  }

  /** Makes every processor look at the rules again. Plugins are those of the configuration. */
  async #reload({ identity }: V1Call): Promise<ApiResponse> {
    authorize(this.#services, 'rating:module_config', identity);
    await this.#services.database.transaction(raiseRevision);
    return NO_CONTENT;
  }

  /** @throws V1Fault 404 */
  #module(id: string): LoadedModule {
    const found = this.#modules.find(({ name }) => name === id);
    if (found === undefined) throw notFound('Module not found.');
    return found;
  }
}

function moduleJson({ name, module }: LoadedModule, state: ModuleState | undefined): PythonValue {
  const { enabled, priority } = shownState(module, state);
  return {
    module_id: name,
    description: module.description,
    enabled,
    'hot-config': module.hotConfig,
    priority,
  };
}

function stateChange(enabled: boolean | undefined, priority: number | undefined): Partial<ModuleState> {
  return { ...(enabled === undefined ? {} : { enabled }), ...(priority === undefined ? {} : { priority }) };
}
