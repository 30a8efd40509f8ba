import type { Collector, Decimal, Fetcher, Instant, Metric, RatedPoint } from '../plugin-api/index.js';
import type { PipelineRules } from '../rating/rule-sets.js';
import type { MetricFacts } from './descriptor-dictionary.js';
import type { PeriodRule } from './due-periods.js';
import type { RetryRule } from './retry.js';

/** A metric as the line needs it: what to ask for, how to convert the answer, what to leave out. */
export interface ProcessingMetric {
  readonly metric: Metric;
  readonly facts: MetricFacts;
  convert(value: Decimal): Decimal;
  /** True for rated points that are not stored. */
  readonly skip: ((point: RatedPoint) => boolean) | undefined;
}

export interface PipelineSettings {
  readonly periods: PeriodRule;
  /** Where new scopes start; absent: this month, or where the source's data begin. */
  readonly start: Instant | undefined;
  readonly concurrentScopes: number;
  /** Requests to the collector under way at once, over all scopes. */
  readonly concurrentMetrics: number;
  readonly metricTimeoutMs: number;
  /** Periods of one scope collected ahead of the one being written. */
  readonly collectAhead: number;
  readonly maxPointsAhead: number;
  /** Committed periods that are read again for late data. */
  readonly lookBack: number;
  readonly leaseSeconds: number;
  readonly retry: RetryRule;
  /** Share of known scopes that may vanish from one fetch to the next before the list is doubted. */
  readonly maxShrink: number;
}

/** One fetcher, one collector, one metrics file: a source of frames. */
export interface Pipeline {
  readonly source: string;
  readonly scopeKey: string;
  readonly fetcherName: string;
  readonly collectorName: string;
  readonly fetcher: Fetcher;
  readonly collector: Collector;
  readonly metrics: readonly ProcessingMetric[];
  readonly settings: PipelineSettings;
  readonly rules: PipelineRules;
}
