import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { PeriodRated, ProcessingMetrics } from '../processing/processing-metrics.js';

/** Rating a period takes milliseconds for a small scope and minutes for a slow upstream. */
const SECONDS_BUCKETS = [0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300];

/**
 * What the line did, in a Prometheus registry of this process. Labels are the names of pipelines and error codes: both come
 * from the configuration and the program, so that their number is bounded whatever the upstream sends.
 */
export class MetricsRegistry implements ProcessingMetrics {
  readonly registry = new Registry();
  readonly #periods: Counter<'source'>;
  readonly #points: Counter<'source'>;
  readonly #seconds: Histogram<'source'>;
  readonly #failures: Counter<'source' | 'code'>;
  readonly #backlog: Gauge<'source'>;
  readonly #lag: Gauge<'source'>;

  constructor() {
    const registers = [this.registry];
    const labelNames = ['source'] as const;
    this.#periods = new Counter({
      name: 'ratecat_periods_rated_total',
      help: 'Periods that were rated and stored.',
      labelNames,
      registers,
    });
    this.#points = new Counter({
      name: 'ratecat_points_rated_total',
      help: 'Points of those periods.',
      labelNames,
      registers,
    });
    this.#seconds = new Histogram({
      name: 'ratecat_period_seconds',
      help: 'Time from the wait for a collected period to its commit.',
      labelNames,
      buckets: SECONDS_BUCKETS,
      registers,
    });
    this.#failures = new Counter({
      name: 'ratecat_scope_failures_total',
      help: 'Turns of a scope that ended with an error, by error code.',
      labelNames: ['source', 'code'],
      registers,
    });
    this.#backlog = new Gauge({
      name: 'ratecat_backlog_periods',
      help: 'Periods that are due and not rated yet.',
      labelNames,
      registers,
    });
    this.#lag = new Gauge({
      name: 'ratecat_lag_seconds',
      help: 'Time since the oldest of them became due.',
      labelNames,
      registers,
    });
  }

  periodRated({ source, points, seconds }: PeriodRated): void {
    this.#periods.inc({ source });
    this.#points.inc({ source }, points);
    this.#seconds.observe({ source }, seconds);
  }

  scopeFailed(source: string, code: string): void {
    this.#failures.inc({ source, code });
  }

  backlog(source: string, periods: number, lagSeconds: number): void {
    this.#backlog.set({ source }, periods);
    this.#lag.set({ source }, lagSeconds);
  }
}
