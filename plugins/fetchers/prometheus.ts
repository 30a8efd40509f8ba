import { z } from 'zod';
import { definePlugin, type Fetcher, type Scope } from '../../core/plugin-api/index.js';
import {
  checkPrometheus,
  labelOf,
  PrometheusClient,
  prometheusSecrets,
  prometheusShape,
} from '../shared/prometheus-client.js';
import { promqlLabel, promqlSelector } from '../shared/promql.js';

const options = z
  .strictObject({
    ...prometheusShape,
    /** Metric whose series carry the scope ids. */
    metric: z.string().min(1),
    /** Label that holds the scope id. */
    scope_attribute: z.string().min(1).default('project_id'),
    /** Label values that a series must have to count. */
    filters: z.record(z.string().min(1), z.string()).default({}),
  })
  .superRefine(checkPrometheus);

type Options = z.output<typeof options>;

/** `max(<metric>{<filters>}) by (<scope attribute>)`, at the server's time. Source: fetchers.md §4. */
export function scopesQuery(settings: Pick<Options, 'metric' | 'scope_attribute' | 'filters'>): string {
  const selector = promqlSelector(settings.metric, Object.entries(settings.filters));
  return `max(${selector}) by (${promqlLabel(settings.scope_attribute)})`;
}

/** Every value of a label among the series that are alive now. */
export class PrometheusFetcher implements Fetcher {
  readonly #settings: Options;
  readonly #client: PrometheusClient;
  readonly #scopeKey: string;

  constructor(settings: Options, client: PrometheusClient, scopeKey: string) {
    this.#settings = settings;
    this.#client = client;
    this.#scopeKey = scopeKey;
  }

  async fetchScopes(signal: AbortSignal): Promise<readonly Scope[]> {
    const elements = await this.#client.query(scopesQuery(this.#settings), undefined, signal);
    const ids = elements.map((element) => labelOf(element, this.#settings.scope_attribute) ?? '');
    const distinct = new Set(ids.filter((id) => id !== ''));
    return [...distinct].map((id) => ({ key: this.#scopeKey, id }));
  }

  async stop(): Promise<void> {
    await this.#client.close();
  }
}

export default definePlugin({
  kind: 'fetcher',
  name: 'prometheus',
  options,
  secretOptions: prometheusSecrets,
  create: (settings, context) =>
    new PrometheusFetcher(
      settings,
      new PrometheusClient(settings, context),
      context.pipeline?.scopeKey ?? '',
    ),
});
