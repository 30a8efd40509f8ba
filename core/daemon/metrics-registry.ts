import { AggregatorRegistry, Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { Served } from '../api/server.js';
import type { NotificationMetrics } from '../notifications/notification-metrics.js';
import type { PeriodRated, ProcessingMetrics } from '../processing/processing-metrics.js';
import type { NeighbourMetrics } from './measured-neighbours.js';

const REQUEST_BUCKETS = [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60];
/** Rating a period takes milliseconds for a small scope and minutes for a slow upstream. */
const SECONDS_BUCKETS = [0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300];

/**
 * What the line did, in a Prometheus registry of this process. Labels are the names of pipelines and error codes: both come
 * from the configuration and the program, so that their number is bounded whatever the upstream sends.
 */
export class MetricsRegistry implements ProcessingMetrics, NeighbourMetrics, NotificationMetrics {
  readonly registry = new Registry();
  readonly #periods: Counter<'source'>;
  readonly #points: Counter<'source'>;
  readonly #seconds: Histogram<'source'>;
  readonly #failures: Counter<'source' | 'code'>;
  readonly #backlog: Gauge<'source'>;
  readonly #lag: Gauge<'source'>;
  readonly #requests: Histogram<'route' | 'method' | 'status'>;
  readonly #upstream: Histogram<'host' | 'outcome'>;
  readonly #database: Histogram<'kind' | 'outcome'>;
  readonly #delivered: Counter<'notifier'>;
  readonly #deliveryFailures: Counter<'notifier' | 'code'>;
  readonly #lost: Counter<'notifier' | 'reason'>;
  readonly #waiting: Gauge<'notifier'>;

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
      aggregator: 'max',
    });
    this.#lag = new Gauge({
      name: 'ratecat_lag_seconds',
      help: 'Time since the oldest of them became due.',
      labelNames,
      registers,
      // Every process sees the lag of all scopes: the worst of them is meant, not their sum.
      aggregator: 'max',
    });
    this.#upstream = new Histogram({
      name: 'ratecat_upstream_request_seconds',
      help: 'Requests to Keystone, Gnocchi, Prometheus and other upstreams, by host and class of status.',
      labelNames: ['host', 'outcome'],
      buckets: REQUEST_BUCKETS,
      registers,
    });
    this.#database = new Histogram({
      name: 'ratecat_database_seconds',
      help: 'Queries and transactions on the database, the wait for a connection included.',
      labelNames: ['kind', 'outcome'],
      buckets: REQUEST_BUCKETS,
      registers,
    });
    this.#delivered = new Counter({
      name: 'ratecat_notifications_delivered_total',
      help: 'Notifications that a receiver confirmed.',
      labelNames: ['notifier'],
      registers,
    });
    this.#deliveryFailures = new Counter({
      name: 'ratecat_notification_failures_total',
      help: 'Deliveries of notifications that failed, by error code; they are tried again.',
      labelNames: ['notifier', 'code'],
      registers,
    });
    this.#lost = new Counter({
      name: 'ratecat_notifications_lost_total',
      help: 'Notifications that will not be delivered: refused by the receiver, or more than are kept.',
      labelNames: ['notifier', 'reason'],
      registers,
    });
    this.#waiting = new Gauge({
      name: 'ratecat_notifications_waiting',
      help: 'Notifications that wait in the outbox, as of the last minute.',
      labelNames: ['notifier'],
      registers,
      aggregator: 'max',
    });
    this.#requests = new Histogram({
      name: 'ratecat_api_request_seconds',
      help: 'Answered requests of the HTTP API and the time they took, by route, method and class of status.',
      labelNames: ['route', 'method', 'status'],
      buckets: REQUEST_BUCKETS,
      registers,
    });
  }

  delivered(notifier: string, events: number): void {
    this.#delivered.inc({ notifier }, events);
  }

  deliveryFailed(notifier: string, code: string): void {
    this.#deliveryFailures.inc({ notifier, code });
  }

  lost(notifier: string, reason: string, events: number): void {
    this.#lost.inc({ notifier, reason }, events);
  }

  waiting(notifier: string, events: number): void {
    this.#waiting.set({ notifier }, events);
  }

  upstreamAsked(host: string, outcome: string, seconds: number): void {
    this.#upstream.observe({ host, outcome }, seconds);
  }

  databaseAsked(kind: string, outcome: string, seconds: number): void {
    this.#database.observe({ kind, outcome }, seconds);
  }

  /** Adds what belongs to the process as a whole; once for each. */
  describeProcess(version: string): void {
    collectDefaultMetrics({ register: this.registry });
    new Gauge({
      name: 'ratecat_build_info',
      help: 'Always 1; the label says which version runs.',
      labelNames: ['version'],
      registers: [this.registry],
    }).set({ version }, 1);
  }

  /** One answered request of the API. Routes are patterns: their number is bounded. */
  served({ route, method, status, seconds }: Served): void {
    this.#requests.observe({ route, method, status: `${Math.floor(status / 100)}xx` }, seconds);
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

/** What a process hands to the one that serves the metrics of all. */
export type ProcessMetrics = Awaited<ReturnType<Registry['getMetricsAsJSON']>>;

/** The text for Prometheus over several processes: counts are added, gauges as each says. */
export async function metricsOfAll(processes: readonly ProcessMetrics[]): Promise<string> {
  return AggregatorRegistry.aggregate([...processes]).metrics();
}
