import { z } from 'zod';
import { Decimal, definePlugin, type Fetcher, type Scope } from '../../core/plugin-api/index.js';
import { keystoneSecrets, malformed } from '../../core/upstream/index.js';
import { propertyOf } from '../shared/exact-json.js';
import { checkGnocchi, GnocchiClient, gnocchiShape } from '../shared/gnocchi-client.js';
import { pathSegment } from '../shared/percent-encoded.js';

/** A list, or CloudKitty's comma-separated text. */
const resourceTypes = z.preprocess(
  (value) => (typeof value === 'string' ? value.split(',').map((part) => part.trim()) : value),
  z.array(z.string().min(1)).min(1, 'must name at least one resource type; generic means all'),
);

const options = z
  .strictObject({
    ...gnocchiShape,
    /** Attribute of resources that holds the scope id. */
    scope_attribute: z.string().min(1).default('project_id'),
    resource_types: resourceTypes.default(['generic']),
  })
  .superRefine(checkGnocchi);

type Options = z.output<typeof options>;

const SEARCHING = { to: 'search all resources', needs: "the role 'admin' on the project it logs in to" };

/**
 * Every value of an attribute among the resources. Each query leaves out what is known already and the search of a type ends
 * with the first query that adds nothing, so it ends whatever the server answers. Source: fetchers.md §3.
 */
export class GnocchiFetcher implements Fetcher {
  readonly #settings: Options;
  readonly #client: GnocchiClient;
  readonly #scopeKey: string;

  constructor(settings: Options, client: GnocchiClient, scopeKey: string) {
    this.#settings = settings;
    this.#client = client;
    this.#scopeKey = scopeKey;
  }

  async fetchScopes(signal: AbortSignal): Promise<readonly Scope[]> {
    const known = new Set<string>();
    for (const type of this.#settings.resource_types) {
      let before: number;
      do {
        before = known.size;
        await this.#addMissing(type, known, signal);
      } while (known.size > before);
    }
    return [...known].map((id) => ({ key: this.#scopeKey, id }));
  }

  async stop(): Promise<void> {
    await this.#client.close();
  }

  async #addMissing(type: string, known: Set<string>, signal: AbortSignal): Promise<void> {
    const { scope_attribute: attribute } = this.#settings;
    const request = {
      path: `search/resource/${pathSegment(type)}`,
      query: [['details', 'true']] as const,
      body: known.size === 0 ? {} : { not: { in: { [attribute]: [...known].sort() } } },
      purpose: SEARCHING,
    };
    for await (const page of this.#client.search(request, signal)) {
      for (const resource of page) {
        const id = scopeId(propertyOf(resource, attribute), attribute);
        if (id !== '') known.add(id);
      }
    }
  }
}

function scopeId(value: unknown, attribute: string): string {
  if (value === undefined || value === null) return '';
  if (typeof value === 'string') return value;
  if (value instanceof Decimal) return value.toFixedScale();
  throw malformed('the resource search', `has a ${attribute} that is neither text nor a number`);
}

export default definePlugin({
  kind: 'fetcher',
  name: 'gnocchi',
  options,
  secretOptions: keystoneSecrets,
  create: (settings, context) =>
    new GnocchiFetcher(settings, new GnocchiClient(settings, context), context.pipeline?.scopeKey ?? ''),
});
