import { z } from 'zod';
import {
  Attributes,
  type AttributeValue,
  type Collected,
  type Collector,
  type Decimal,
  definePlugin,
  type Logger,
  type Metric,
  type PluginContext,
  type Sample,
  type StrictArithmetic,
} from '../../core/plugin-api/index.js';
import { excerpt, keystoneSecrets } from '../../core/upstream/index.js';
import { propertyOf } from '../shared/exact-json.js';
import { checkGnocchi, GnocchiClient, gnocchiShape, type Resource } from '../shared/gnocchi-client.js';
import { isoInstant } from '../shared/iso-instant.js';
import { pathSegment } from '../shared/percent-encoded.js';
import {
  type Group,
  keyOf,
  queryRefused,
  readGroups,
  saysMetricIsUnknown,
} from './gnocchi/aggregates-answer.js';
import { aggregatesBody, aggregatesQuery } from './gnocchi/aggregates-request.js';
import { combine, type Measure, onlyThePeriod } from './gnocchi/measures.js';
import {
  type GnocchiCollectRequest,
  type GnocchiMetricOptions,
  gnocchiMetricOptions,
} from './gnocchi/metric-options.js';
import { newestRevisions, newestRevisionsAsTheReference } from './gnocchi/revisions.js';

type Request = GnocchiCollectRequest;

const MEASURING = {
  to: 'read measures and resources of other projects',
  needs: "the role 'admin' on the project it logs in to",
};

/** Resources that one search names. */
const KEYS_PER_SEARCH = 100;

/**
 * Aggregated measures of Gnocchi. `compat: strict` takes the first sub-sample of a period only and drops points whose
 * resource is not found, as CloudKitty does; otherwise all sub-samples count and no point is lost. Source: collectors.md §2.
 */
export class GnocchiCollector implements Collector<GnocchiMetricOptions> {
  readonly metricOptions = gnocchiMetricOptions;
  readonly strictArithmetic: StrictArithmetic = {
    significantDigits: 28,
    rounding: 'half-even',
    roundsSample: false,
    binarySample: true,
  };
  readonly #client: GnocchiClient;
  readonly #logger: Logger;
  readonly #strict: boolean;
  readonly #widenSeconds: number;

  constructor(client: GnocchiClient, context: Pick<PluginContext, 'logger' | 'compat' | 'pipeline'>) {
    this.#client = client;
    this.#logger = context.logger;
    this.#strict = context.compat === 'strict';
    this.#widenSeconds = context.pipeline?.periodSeconds ?? 3600;
  }

  /** Revisions can only be told apart, and put in order, by their begin. */
  requiredGroupby(options: GnocchiMetricOptions): readonly string[] {
    return options.use_all_resource_revisions
      ? [options.resource_key]
      : [options.resource_key, 'revision_start'];
  }

  async collect(request: Request, signal: AbortSignal): Promise<Collected> {
    const groups = await this.#groups(request, signal);
    const measured = this.#quantities(groups, request);
    if (measured.length === 0) return { kind: 'nothing' };
    const samples = await this.#withMetadata(measured, request, signal);
    return samples.length === 0 ? { kind: 'nothing' } : { kind: 'measured', samples };
  }

  async stop(): Promise<void> {
    await this.#client.close();
  }

  // ------------------------------------------------------------------------------------------------------- measures

  async #groups(request: Request, signal: AbortSignal): Promise<readonly Group[]> {
    const answer = await this.#client.post(
      {
        path: 'aggregates',
        query: aggregatesQuery(request),
        body: aggregatesBody(request),
        purpose: MEASURING,
      },
      signal,
    );
    if (answer.response.status !== 200) {
      if (!saysMetricIsUnknown(answer)) throw queryRefused(answer, request.metric);
      this.#logger.warn('gnocchi has no such metric for this scope', {
        metric: request.metric.name,
        scope: request.scope.id,
      });
      return [];
    }
    return readGroups(answer, request);
  }

  #quantities(groups: readonly Group[], request: Request): Measured[] {
    const { options } = request.metric;
    const merged =
      options.use_all_resource_revisions || !groups.some((group) => Object.hasOwn(group.attributes, 'id'))
        ? groups
        : this.#strict
          ? newestRevisionsAsTheReference(groups)
          : newestRevisions(groups);
    return merged.flatMap(({ attributes, measures }) => {
      const value = this.#strict ? measures[0]?.value : this.#combined(measures, request);
      return value === undefined ? [] : [{ attributes, value }];
    });
  }

  #combined(measures: readonly Measure[], { metric, period }: Request): Decimal | undefined {
    return combine(onlyThePeriod(measures, period), metric.options.aggregation_method);
  }

  // ------------------------------------------------------------------------------------------------------- metadata

  async #withMetadata(
    measured: readonly Measured[],
    request: Request,
    signal: AbortSignal,
  ): Promise<Sample[]> {
    const { metric, scope } = request;
    const names = metric.groupby.includes(scope.key) ? metric.groupby : [...metric.groupby, scope.key];
    const resources =
      metric.metadata.length === 0 ? undefined : await this.#resourceMetadata(measured, request, signal);
    const samples: Sample[] = [];
    for (const { attributes, value } of measured) {
      const metadata = resources === undefined ? [] : this.#metadataOf(attributes, resources, request);
      if (metadata === undefined) continue;
      samples.push({
        groupby: Attributes.of(names, groupValues(names, attributes, request)),
        metadata: Attributes.of(metric.metadata, metadata),
        value,
      });
    }
    return samples;
  }

  /** Undefined when the reference would drop the point. */
  #metadataOf(
    attributes: Group['attributes'],
    resources: ReadonlyMap<string, readonly AttributeValue[]>,
    { metric, scope }: Request,
  ): readonly AttributeValue[] | undefined {
    const key = keyOf(propertyOf(attributes, metric.options.resource_key));
    const found = resources.get(key);
    if (found !== undefined) return found;
    this.#logger.warn(
      this.#strict
        ? 'resource not found, its point is dropped (compat: strict)'
        : 'resource not found, its point is kept with empty metadata',
      { metric: metric.name, scope: scope.id, resource: excerpt(key) },
    );
    return this.#strict ? undefined : metric.metadata.map(() => '');
  }

  /** Wanted metadata of the scope's resources by resource key. */
  async #resourceMetadata(
    measured: readonly Measured[],
    request: Request,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, readonly AttributeValue[]>> {
    const { resource_key } = request.metric.options;
    const found = new Map(await this.#search(resourcesAround(request, this.#widenSeconds), request, signal));
    if (this.#strict) return found;
    // Gnocchi dates a resource by when it first heard of it: after a backlog of Ceilometer that is later than the usage. And
    // one that went to another project is no longer in this one.
    const keys = measured.map(({ attributes }) => keyOf(propertyOf(attributes, resource_key)));
    const missing = [...new Set(keys)].filter((key) => !found.has(key));
    for (let start = 0; start < missing.length; start += KEYS_PER_SEARCH) {
      const some = missing.slice(start, start + KEYS_PER_SEARCH);
      for (const [key, metadata] of await this.#search({ in: { [resource_key]: some } }, request, signal))
        found.set(key, metadata);
    }
    return found;
  }

  /** Ends when a page brings nothing new. */
  async #search(
    filter: object,
    request: Request,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, readonly AttributeValue[]>> {
    const { resource_type, resource_key } = request.metric.options;
    const resources = new Map<string, readonly AttributeValue[]>();
    let marker: string | undefined;
    let before: number;
    do {
      before = resources.size;
      const search = {
        path: `search/resource/${pathSegment(resource_type)}`,
        query: [
          ['sort', `${resource_key}:asc`],
          ...(marker === undefined ? [] : [['marker', marker] as const]),
        ] as ReadonlyArray<readonly [string, string]>,
        body: filter,
        purpose: MEASURING,
      };
      for await (const page of this.#client.search(search, signal)) {
        for (const resource of page) {
          marker = keyOf(propertyOf(resource, resource_key));
          resources.set(marker, wantedMetadata(resource, request.metric));
        }
      }
      // Gnocchi understands only resource ids as markers; with another key its own links must do.
    } while (resources.size > before && resource_key === 'id');
    return resources;
  }
}

/** Widened by a period on both sides, so that late measures of a deleted resource still find it. */
function resourcesAround({ period, scope }: Request, widenSeconds: number): object {
  return {
    and: [
      {
        or: [{ '=': { ended_at: null } }, { '>=': { ended_at: isoInstant(period.begin - widenSeconds) } }],
      },
      { '<=': { started_at: isoInstant(period.end + widenSeconds) } },
      { '=': { [scope.key]: scope.id } },
    ],
  };
}

interface Measured {
  readonly attributes: Group['attributes'];
  readonly value: Decimal;
}

function groupValues(
  names: readonly string[],
  attributes: Group['attributes'],
  { scope }: Request,
): AttributeValue[] {
  return names.map((name) => {
    const value = propertyOf(attributes, name) as AttributeValue | undefined;
    if (name === scope.key) return value === undefined || value === null || value === '' ? scope.id : value;
    return value === undefined ? '' : value;
  });
}

function wantedMetadata(resource: Resource, metric: Metric): readonly AttributeValue[] {
  return metric.metadata.map((name) => {
    const value = propertyOf(resource, name);
    return value === undefined ? '' : (value as AttributeValue);
  });
}

const options = z.strictObject(gnocchiShape).superRefine(checkGnocchi);

export default definePlugin({
  kind: 'collector',
  name: 'gnocchi',
  options,
  secretOptions: keystoneSecrets,
  create: (settings, context) => new GnocchiCollector(new GnocchiClient(settings, context), context),
});
