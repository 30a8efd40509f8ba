import type { Budgets } from '../notifications/budgets.js';
import type { Outbox } from '../notifications/outbox.js';
import {
  type Clock,
  type Frame,
  type MeasuredPoint,
  type Period,
  type RatedPoint,
  type Scope,
  type SqlDatabase,
  type Storage,
} from '../plugin-api/index.js';
import type { Bound } from '../rating/bound.js';
import { rateFrame } from '../rating/rate-frame.js';
import type { RuleSets } from '../rating/rule-sets.js';
import type { Lease } from '../scopes/leases.js';
import type { TaskStep } from '../scopes/reprocess-tasks.js';
import { type CollectedFrame, FrameCollector } from './collect-frame.js';
import type { DescriptorDictionary } from './descriptor-dictionary.js';
import { type CommitAudit, PeriodCommit, type RatedFrame } from './period-commit.js';
import type { Pipeline } from './pipeline.js';
import { boundedBy } from './time-limit.js';

/** Who hears of what is written. */
export interface PeriodListeners {
  readonly outbox?: Outbox | undefined;
  readonly budgets?: Budgets | undefined;
}

/** The straight line for one (scope, period): collect → rate → commit. */
export class PeriodProcessor {
  readonly #pipeline: Pipeline;
  readonly #collector: FrameCollector;
  readonly #rules: RuleSets;
  readonly #commit: PeriodCommit;
  readonly #bound: Bound;
  readonly #budgets: Budgets | undefined;
  readonly #skips: ReadonlyMap<string, (point: RatedPoint) => boolean>;

  constructor(
    pipeline: Pipeline,
    rules: RuleSets,
    database: SqlDatabase,
    storage: Storage,
    clock: Clock,
    listeners: PeriodListeners = {},
  ) {
    this.#pipeline = pipeline;
    this.#collector = new FrameCollector(pipeline, clock);
    this.#rules = rules;
    this.#bound = boundedBy(pipeline.settings.metricTimeoutMs, clock);
    this.#commit = new PeriodCommit(database, storage, clock, listeners.outbox);
    this.#budgets = listeners.budgets;
    this.#skips = new Map(
      pipeline.metrics.flatMap(({ metric, skip }) =>
        skip === undefined ? [] : [[metric.ratedName, skip] as const],
      ),
    );
  }

  collect(
    scope: Scope,
    period: Period,
    dictionary: DescriptorDictionary,
    signal: AbortSignal,
  ): Promise<CollectedFrame> {
    return this.#collector.collect(scope, period, dictionary, signal);
  }

  async rate(collected: CollectedFrame, signal: AbortSignal): Promise<RatedFrame> {
    const snapshot = await this.#rules.current(this.#pipeline.rules, signal);
    const modules = this.#rules.compile(snapshot, collected.frame.scope);
    const frame = await rateFrame(
      collected.frame as Frame<MeasuredPoint>,
      modules,
      signal,
      'rate',
      this.#bound,
    );
    return {
      frame: this.#withoutSkipped(frame),
      snapshot: snapshot.hash,
      fingerprint: collected.fingerprint,
    };
  }

  /** @param wasStuck the scope was, up to this period. */
  async commit(rated: RatedFrame, lease: Lease, signal: AbortSignal, wasStuck = false): Promise<void> {
    await this.#commit.advance(rated, lease, this.#pipeline.settings.lookBack, signal, wasStuck);
    await this.#budgets?.afterCommit(rated.frame, signal);
  }

  /** Re-rates a period before the watermark; a task moves on with it. */
  async replace(
    rated: RatedFrame,
    lease: Lease,
    detail: string,
    signal: AbortSignal,
    step?: TaskStep,
  ): Promise<void> {
    await this.#commit.replace(rated, lease, detail, signal, step);
    await this.#budgets?.afterCommit(rated.frame, signal);
  }

  /** Moves a task on without writing a period. */
  async pass(lease: Lease, step: TaskStep, audit: CommitAudit, signal: AbortSignal): Promise<void> {
    await this.#commit.pass(lease, step, audit, signal);
  }

  async begin(lease: Lease, watermark: number): Promise<void> {
    await this.#commit.begin(lease, watermark);
  }

  #withoutSkipped(frame: Frame<RatedPoint>): Frame<RatedPoint> {
    if (this.#skips.size === 0) return frame;
    return {
      ...frame,
      points: frame.points.filter((point) => !this.#skips.get(point.descriptor.metric)?.(point)),
    };
  }
}
