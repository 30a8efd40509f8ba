import { z } from 'zod';
import { compareText, type JsonValue, type RulesDocument } from '../../plugin-api/index.js';
import type { Identity } from '../auth/identity.js';
import type { ApiServices } from '../services.js';
import { PRICES_ANSWER } from './answer-schemas.js';
import { type OwnAnswer, type OwnCall, type OwnRoute, ownRoute } from './own-route.js';

const QUERY = z.strictObject({});

interface ListedModule {
  readonly module: string;
  readonly description: string;
  readonly priority: number;
  readonly form: RulesDocument | undefined;
  readonly document: JsonValue;
}

/** `GET /prices`: the price lists of the enabled rating modules. */
export class Prices {
  readonly #services: ApiServices;
  #read: { readonly revision: number; readonly modules: Promise<readonly ListedModule[]> } | undefined;

  constructor(services: ApiServices) {
    this.#services = services;
  }

  get routes(): readonly OwnRoute[] {
    return [
      ownRoute({
        method: 'GET',
        path: '/prices',
        summary: 'The price list',
        description:
          'The price lists of the enabled rating modules, in the order in which they act. Administrators get them whole, ' +
          'others without the rules for other tenants.',
        rule: 'rating:quote',
        query: QUERY,
        answer: PRICES_ANSWER,
        handle: (call) => this.#get(call),
      }),
    ];
  }

  async #get({ identity }: OwnCall<z.output<typeof QUERY>>): Promise<OwnAnswer> {
    const modules = await this.#modules();
    return JSON.stringify({ modules: modules.map((module) => moduleJson(module, identity)) });
  }

  /** Read once for each change of rules or modules, however many ask. */
  async #modules(): Promise<readonly ListedModule[]> {
    const revision = await this.#services.moduleStates.revision();
    if (this.#read?.revision !== revision) {
      const modules = this.#load();
      this.#read = { revision, modules };
      modules.catch(() => {
        if (this.#read?.modules === modules) this.#read = undefined;
      });
    }
    return this.#read!.modules;
  }

  async #load(): Promise<readonly ListedModule[]> {
    const states = await this.#services.moduleStates.all();
    const listed: ListedModule[] = [];
    for (const { name, module } of this.#services.modules) {
      const state = states.get(name);
      const isAlwaysOn = module.alwaysEnabled === true;
      if (!isAlwaysOn && state?.enabled !== true) continue;
      const form = module.rulesDocument;
      const document = (await form?.read(this.#services.database)) ?? null;
      const priority = isAlwaysOn ? 1 : (state?.priority ?? 1);
      listed.push({ module: name, description: module.description, priority, form, document });
    }
    return listed.sort((a, b) => b.priority - a.priority || compareText(a.module, b.module));
  }
}

function moduleJson({ module, description, priority, form, document }: ListedModule, identity: Identity) {
  const price_list = identity.isAdmin ? document : (form?.visibleTo?.(document, identity.projectId) ?? null);
  return { module, description, priority, price_list };
}
