import { z } from 'zod';
import {
  Attributes,
  type AttributeValue,
  type Collected,
  type Collector,
  type CollectRequest,
  compareText,
  Decimal,
  type Instant,
  type Logger,
  type Metric,
  RejectedError,
  type Sample,
  type Scope,
  UnavailableError,
} from '../../../core/plugin-api/index.js';
import type { HostMachine } from '../../shared/host-machine.js';
import type { Journal } from './journal.js';
import {
  averaged,
  counted,
  inside,
  isObserved,
  newestSeries,
  type Observation,
  observedMilliseconds,
} from './period-usage.js';
import { HOST_METRICS, type HostMetric, type Reading, seriesKey, toIso, toMilliseconds } from './readings.js';
import type { Sampler } from './sampler.js';

const metricOptions = z
  .strictObject({
    /** Of gauges: their mean over the period (`average`), or the mean times the period's seconds (`integral`). */
    aggregation: z.enum(['average', 'integral']).optional(),
  })
  .nullish()
  .transform((options) => options ?? {});

export type HostMetricOptions = z.infer<typeof metricOptions>;

export interface HostCollectorParts {
  readonly machine: HostMachine;
  readonly journal: Journal;
  readonly sampler: Sampler;
  readonly logger: Logger;
  readonly longestStretchMs: number;
  readonly start: () => Promise<void>;
}

/** Answers from the journal alone, so that late, early and repeated questions get one answer. */
export class HostCollector implements Collector<HostMetricOptions> {
  readonly metricOptions = metricOptions;
  readonly #parts: HostCollectorParts;
  readonly #reported = new Map<string, Instant>();

  constructor(parts: HostCollectorParts) {
    this.#parts = parts;
  }

  async start(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    return this.#parts.start();
  }

  stop(): Promise<void> {
    return this.#parts.sampler.stop();
  }

  /** When this scope was first read: usage before that was never seen. */
  async earliest(scope: Scope): Promise<Instant | undefined> {
    const first = await this.#parts.journal.firstSeen(scope.id);
    return first === undefined ? undefined : Math.ceil(first / 1000);
  }

  async collect(request: CollectRequest<HostMetricOptions>, signal: AbortSignal): Promise<Collected> {
    const { metric, scope, period } = request;
    const kind = knownMetric(metric);
    signal.throwIfAborted();
    const observation: Observation = {
      readings: await this.#readings(toMilliseconds(period.begin), toMilliseconds(period.end)),
      period,
      longestStretchMs: this.#parts.longestStretchMs,
    };
    signal.throwIfAborted();
    if (!isObserved(observation))
      return { kind: 'unmeasurable', reason: this.#absence(observation.readings) };
    const seen = inside(observation);
    if (seen.every(({ uncounted }) => uncounted.includes(seriesKey(metric.name, scope.id)))) {
      return { kind: 'unmeasurable', reason: this.#uncounted(metric.name, scope.id) };
    }
    if (seen.every(({ scopes }) => !scopes.includes(scope.id))) return this.#withoutScope(scope);
    this.#reportPartial(scope, observation);
    const samples = this.#samples(request, kind, observation);
    return samples.length === 0 ? { kind: 'nothing' } : { kind: 'measured', samples };
  }

  /** Readings on both sides of the period. A period is over once something was read at or after its end. */
  async #readings(begin: number, end: number): Promise<readonly Reading[]> {
    const { journal, sampler } = this.#parts;
    for (let attempt = 0; ; attempt++) {
      const readings = await journal.around(begin, end);
      if ((readings.at(-1)?.at ?? 0) >= end) return readings;
      // The second time, because a reading that was under way may have begun before the period's end.
      if (attempt === 2) break;
      await sampler.sample();
    }
    throw new UnavailableError(
      'RATECAT_HOST_PERIOD_OPEN',
      `The period until ${toIso(end)} is not over by this machine's clock. Asking again later will do.`,
    );
  }

  #samples(
    { metric, scope, period }: CollectRequest<HostMetricOptions>,
    kind: HostMetric,
    observation: Observation,
  ): readonly Sample[] {
    const values = this.#values(metric, scope, kind, observation);
    const series = newestSeries(observation, metric.name, scope.id);
    const facts = observation.readings.at(-1)?.facts ?? {};
    const shared: Record<string, string> = {
      ...facts,
      ...this.#identity(scope),
      observed_seconds: Decimal.of(BigInt(observedMilliseconds(observation)), -3).toString(),
      period_seconds: String(period.end - period.begin),
    };
    const merged = new Map<string, Sample>();
    for (const resource of [...values.keys()].sort(compareText)) {
      const attributes = new Map(
        Object.entries({ ...shared, ...series.get(resource)?.attributes, [scope.key]: scope.id }),
      );
      if (kind.resource !== undefined && kind.resource !== scope.key) attributes.set(kind.resource, resource);
      const groupby = pick(metric, metric.groupby, attributes);
      const key = groupby.canonical();
      const same = merged.get(key);
      merged.set(key, {
        groupby,
        metadata: same?.metadata ?? pick(metric, metric.metadata, attributes),
        value: same === undefined ? values.get(resource)! : same.value.plus(values.get(resource)!),
      });
    }
    return [...merged.values()].map((sample) => ({ ...sample, value: sample.value.round() }));
  }

  #values(
    metric: Metric<HostMetricOptions>,
    scope: Scope,
    kind: HostMetric,
    observation: Observation,
  ): ReadonlyMap<string, Decimal> {
    if (kind.kind === 'counter') {
      // A machine's counters of itself never start anew while it runs; a slice's do when the slice is started again.
      const restarts = kind.restarts || this.#parts.machine.scopes !== 'host';
      const totals = counted(observation, metric.name, scope.id, restarts);
      return new Map([...totals].map(([resource, value]) => [resource, Decimal.of(value, kind.exponent)]));
    }
    const means = averaged(observation, metric.name, scope.id);
    if (metric.options.aggregation !== 'integral') return means;
    const seconds = Decimal.fromInteger(observation.period.end - observation.period.begin);
    return new Map([...means].map(([resource, mean]) => [resource, mean.times(seconds)]));
  }

  #identity(scope: Scope): Readonly<Record<string, string>> {
    const { host, scopes } = this.#parts.machine;
    return scopes === 'host' ? { host } : { host, slice: scope.id.slice(0, scope.id.lastIndexOf('@')) };
  }

  #withoutScope(scope: Scope): Collected {
    const { host, scopes } = this.#parts.machine;
    if (scopes !== 'host' && scope.id.endsWith(`@${host}`)) return { kind: 'nothing' };
    const reason = `this machine is '${host}' and measures ${scopes === 'host' ? 'itself' : `each ${scopes}`}; '${scope.id}' is not one of its scopes`;
    return { kind: 'unmeasurable', reason };
  }

  #uncounted(metric: string, scope: string): string {
    const controller = metric === 'memory' ? 'memory' : 'io';
    return `the cgroup controller '${controller}' is not switched on for ${scope}`;
  }

  #absence(readings: readonly Reading[]): string {
    const before = readings[0];
    const after = readings.at(-1);
    if (before === undefined || after === undefined || before === after) {
      return `the daemon had not begun to watch this machine; readings start at ${toIso(after?.at ?? 0)}`;
    }
    return `the daemon was not running from ${toIso(before.at)} to ${toIso(after.at)}`;
  }

  /** Once per scope and period: some of it was not watched. Averages leave that part out. */
  #reportPartial(scope: Scope, observation: Observation): void {
    const { begin, end } = observation.period;
    const seconds = Math.round(observedMilliseconds(observation) / 1000);
    if (seconds >= end - begin || (this.#reported.get(scope.id) ?? -1) >= begin) return;
    this.#reported.set(scope.id, begin);
    this.#parts.logger.info('period was watched only in part', { scope: scope.id, begin, end, seconds });
  }
}

function knownMetric(metric: Metric<HostMetricOptions>): HostMetric {
  const kind = HOST_METRICS.get(metric.name);
  if (kind === undefined) {
    throw new RejectedError(
      'RATECAT_HOST_METRIC_UNKNOWN',
      `The host collector has no metric '${metric.name}'. It has ${[...HOST_METRICS.keys()].join(', ')}.`,
    );
  }
  if (kind.kind === 'counter' && metric.options.aggregation !== undefined) {
    throw new RejectedError(
      'RATECAT_HOST_METRIC_UNKNOWN',
      `'${metric.name}' counts; extra_args.aggregation is for memory and disk.used only. Remove it.`,
    );
  }
  return kind;
}

function pick(
  metric: Metric<HostMetricOptions>,
  names: readonly string[],
  attributes: ReadonlyMap<string, AttributeValue>,
): Attributes {
  const values = names.map((name) => {
    const value = attributes.get(name);
    if (value !== undefined) return value;
    if (OPTIONAL_ATTRIBUTES.has(name)) return '';
    throw new RejectedError(
      'RATECAT_HOST_ATTRIBUTE_UNKNOWN',
      `Metric '${metric.name}' asks for attribute '${name}', which the host collector does not have. It has ${[...attributes.keys()].sort().join(', ')}.`,
    );
  });
  return Attributes.of(names, values);
}

/** Attributes that some resources lack. */
const OPTIONAL_ATTRIBUTES = new Set(['model', 'slice']);
