import { z } from 'zod';
import {
  Attributes,
  type Collected,
  type Collector,
  ConfigError,
  compareText,
  definePlugin,
  type Logger,
  type PluginContext,
  type Sample,
} from '../../core/plugin-api/index.js';
import { checkKeystone, excerpt, keystoneSecrets, SharedCalls } from '../../core/upstream/index.js';
import { concurrently } from '../shared/concurrently.js';
import { attributeOf, needsResource } from './ceilometer/attributes.js';
import { CeilometerClient, ceilometerShape } from './ceilometer/client.js';
import { type Owner, ownerOf, SCOPE_KEYS, within, withinAndAtEnd } from './ceilometer/conditions.js';
import {
  type CeilometerMetricOptions,
  type CeilometerRequest,
  ceilometerMetricOptions,
  type MeterPlan,
  planOf,
} from './ceilometer/metric-options.js';
import { newestState, type Resource, statesInPeriod } from './ceilometer/resources.js';
import { readIncreases } from './ceilometer/samples.js';
import { type Measured, readStatistics } from './ceilometer/statistics.js';

type Request = CeilometerRequest;
type Resources = ReadonlyMap<string, Resource>;

/**
 * Samples of Ceilometer's own storage, through its HTTP API v2. `compat: strict` counts a sample on the hour in both hours,
 * bills the greatest value of a counter and describes resources as they are now, as CloudKitty 5.0.0 does; otherwise a sample
 * belongs to one period, counters count by their increase, and resources are described as they were. Source: collectors.md §5.
 *
 * There is no strict arithmetic of the host's: the reference's units divide exactly.
 */
export class CeilometerCollector implements Collector<CeilometerMetricOptions> {
  readonly metricOptions = ceilometerMetricOptions;
  readonly #client: CeilometerClient;
  readonly #logger: Logger;
  readonly #strict: boolean;
  readonly #lists = new SharedCalls<Resources>();

  constructor(client: CeilometerClient, context: Pick<PluginContext, 'logger' | 'compat'>) {
    this.#client = client;
    this.#logger = context.logger;
    this.#strict = context.compat === 'strict';
  }

  async collect(request: Request, signal: AbortSignal): Promise<Collected> {
    const owner = ownerOf(request.scope);
    const plan = planOf(request.metric, this.#strict);
    const samples =
      plan.quantity === 'increase'
        ? await this.#increases(request, owner, plan, signal)
        : await this.#aggregated(request, owner, { ...plan, quantity: plan.quantity }, signal);
    return samples.length === 0 ? { kind: 'nothing' } : { kind: 'measured', samples };
  }

  async stop(): Promise<void> {
    await this.#client.close();
  }

  async #increases(
    request: Request,
    owner: Owner,
    plan: MeterPlan,
    signal: AbortSignal,
  ): Promise<readonly Sample[]> {
    const increases = await readIncreases(this.#client, request, owner, signal);
    const resources = new Map(increases.map(({ resource }) => [resource.id, resource]));
    const measured = increases.map(({ resource, value }) => ({ resourceId: resource.id, value }));
    return this.#described(measured, resources, request, plan);
  }

  async #aggregated(
    request: Request,
    owner: Owner,
    plan: MeterPlan & { readonly quantity: Exclude<MeterPlan['quantity'], 'increase'> },
    signal: AbortSignal,
  ): Promise<readonly Sample[]> {
    const { quantity } = plan;
    const asked = this.#strict
      ? { quantity, conditions: withinAndAtEnd(request.period, owner), groupby: ['resource_id'] }
      : { quantity, conditions: within(request.period, owner), groupby: ['resource_id', owner.group] };
    const measured = await readStatistics(this.#client, request, asked, signal);
    if (measured.length === 0) return [];
    const resources = this.#strict
      ? await this.#statesNow(measured, request, signal)
      : await this.#statesThen(request, owner, plan, signal);
    return resources === undefined ? [] : this.#described(measured, resources, request, plan);
  }

  // ------------------------------------------------------------------------------------------------------ resources

  /** Undefined when one resource is unknown: the reference then takes the whole service for unused. */
  async #statesNow(
    measured: readonly Measured[],
    { metric, scope }: Request,
    signal: AbortSignal,
  ): Promise<Resources | undefined> {
    const states = await concurrently(
      measured,
      this.#client.concurrency,
      ({ resourceId }, limited) => newestState(this.#client, resourceId, limited),
      signal,
    );
    const missing = states.indexOf(undefined);
    if (missing < 0) return new Map(states.map((state) => [state!.id, state!]));
    this.#logger.warn('resource not found, the metric counts as unused (compat: strict)', {
      metric: metric.name,
      scope: scope.id,
      resource: excerpt(measured[missing]!.resourceId),
    });
    return undefined;
  }

  /** Metrics that ask for the same scope and period at the same time share one answer. */
  async #statesThen(
    request: Request,
    owner: Owner,
    plan: MeterPlan,
    signal: AbortSignal,
  ): Promise<Resources> {
    if (!needsResource(request, plan)) return new Map();
    const conditions = within(request.period, owner);
    return await this.#lists.run(
      JSON.stringify(conditions),
      (shared) => statesInPeriod(this.#client, conditions, shared),
      signal,
    );
  }

  #described(
    measured: readonly Measured[],
    resources: Resources,
    request: Request,
    plan: MeterPlan,
  ): readonly Sample[] {
    const { metric, scope } = request;
    const names = metric.groupby.includes(scope.key) ? metric.groupby : [...metric.groupby, scope.key];
    const needed = needsResource(request, plan);
    return [...measured]
      .sort((left, right) => compareText(left.resourceId, right.resourceId))
      .map(({ resourceId, value }) => {
        const resource = resources.get(resourceId);
        if (needed && resource === undefined) this.#warnOfUnknown(resourceId, request);
        const told = (name: string) => attributeOf(name, request, plan, resourceId, resource);
        return {
          groupby: Attributes.of(names, names.map(told)),
          metadata: Attributes.of(metric.metadata, metric.metadata.map(told)),
          // The reference reads numbers as binary floats.
          value: this.#strict ? value.throughBinary() : value,
        };
      });
  }

  #warnOfUnknown(resourceId: string, { metric, scope }: Request): void {
    this.#logger.warn('resource not found, its point is kept without attributes', {
      metric: metric.name,
      scope: scope.id,
      resource: excerpt(resourceId),
    });
  }
}

function checkScopeKey({ pipeline }: PluginContext): void {
  if (pipeline === undefined || SCOPE_KEYS.includes(pipeline.scopeKey)) return;
  throw new ConfigError(
    'RATECAT_SCOPE_NOT_MEASURABLE',
    `Pipeline '${pipeline.name}' has the scope_key '${excerpt(pipeline.scopeKey)}', by which Ceilometer cannot be asked. Use one of ${SCOPE_KEYS.join(', ')}.`,
  );
}

const options = z.strictObject(ceilometerShape).superRefine(checkKeystone);

export default definePlugin({
  kind: 'collector',
  name: 'ceilometer',
  options,
  secretOptions: keystoneSecrets,
  create: (settings, context) => {
    checkScopeKey(context);
    return new CeilometerCollector(new CeilometerClient(settings, context), context);
  },
});
