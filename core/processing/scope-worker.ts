import { scopeStuck } from '../notifications/events.js';
import type { Outbox } from '../notifications/outbox.js';
import {
  type Calendar,
  type Clock,
  Decimal,
  describeError,
  type Frame,
  type Instant,
  isRatecatError,
  type Logger,
  type Period,
  type SqlDatabase,
} from '../plugin-api/index.js';
import { isoTime } from '../scopes/iso-time.js';
import { type Lease, type Leases, leaseLost } from '../scopes/leases.js';
import type { ScopeState, ScopeStates } from '../scopes/scope-states.js';
import type { CollectedFrame } from './collect-frame.js';
import type { DescriptorDictionary } from './descriptor-dictionary.js';
import { alignUp, dueAt, duePeriods, firstBegin, firstPeriodOf } from './due-periods.js';
import type { PeriodProcessor } from './period-processor.js';
import type { Pipeline } from './pipeline.js';
import { checkEarliest } from './plugin-answers.js';
import type { ProcessingMetrics } from './processing-metrics.js';
import type { Reprocessor } from './reprocessor.js';
import { retryDelaySeconds, waitingMayHelp } from './retry.js';
import { withTimeLimit } from './time-limit.js';
import type { TrustedTime } from './trusted-time.js';

export interface ScopeWorkerParts {
  readonly pipeline: Pipeline;
  readonly periods: PeriodProcessor;
  readonly reprocessor: Reprocessor;
  readonly states: ScopeStates;
  readonly leases: Leases;
  readonly database: SqlDatabase;
  readonly clock: Clock;
  readonly time: TrustedTime;
  readonly calendar: Calendar;
  readonly logger: Logger;
  readonly metrics: ProcessingMetrics;
  readonly random: () => number;
  readonly outbox?: Outbox | undefined;
}

/** What there is to do for a scope. */
export interface ScopeTurn {
  /** Periods are due, or the scope has vanished. */
  readonly due: boolean;
  /** The scope has reprocessing tasks; they are worked off until this says that something else is due. */
  readonly tasksUntil?: (() => boolean) | undefined;
}

/** A collection that runs ahead of the period being written. */
interface Ahead {
  readonly period: Period;
  readonly frame: Promise<CollectedFrame>;
}

/**
 * Rates all due periods of one leased scope, oldest first, then those that tasks ask for again. A failure ends the scope's
 * turn; other scopes go on.
 */
export class ScopeWorker {
  readonly #parts: ScopeWorkerParts;

  constructor(parts: ScopeWorkerParts) {
    this.#parts = parts;
  }

  /**
   * @param stop no new period is begun and collections are given up once it is aborted; a commit under way is finished.
   */
  async run(
    state: ScopeState,
    lease: Lease,
    dictionary: DescriptorDictionary,
    stop: AbortSignal,
    turn: ScopeTurn = { due: true },
  ): Promise<void> {
    const lost = new AbortController();
    const signal = AbortSignal.any([stop, lost.signal]);
    const renewing = this.#keepLease(lease, lost, signal);
    try {
      const watermark = turn.due
        ? await this.#rateDue(state, lease, dictionary, signal, lost.signal)
        : state.watermark;
      if (turn.tasksUntil !== undefined && watermark !== undefined) {
        const work = { state, watermark, lease, dictionary, signal, fenced: lost.signal };
        await this.#parts.reprocessor.run(work, turn.tasksUntil);
      }
    } catch (error) {
      if (!stop.aborted)
        await this.#recordFailure(state, lease, lost.signal.aborted ? lost.signal.reason : error);
    } finally {
      lost.abort(leaseLost(lease));
      await renewing;
    }
  }

  /** Gives the watermark that was reached. */
  async #rateDue(
    found: ScopeState,
    lease: Lease,
    dictionary: DescriptorDictionary,
    signal: AbortSignal,
    fenced: AbortSignal,
  ): Promise<Instant> {
    const { periods, time } = this.#parts;
    let watermark = found.watermark ?? (await this.#begin(found, lease, signal));
    const state = { ...found, watermark };
    await this.#healLate(state, watermark, lease, dictionary, signal);
    const ahead: Ahead[] = [];
    const giveUp = new AbortController();
    const collecting = AbortSignal.any([signal, giveUp.signal]);
    let points = 0;
    let isStuck = found.condition === 'stuck';
    try {
      for (;;) {
        if (signal.aborted) return watermark;
        this.#collectAhead(ahead, state, watermark, points, dictionary, collecting);
        const next = ahead.shift();
        if (next === undefined) return watermark;
        const began = this.#parts.clock.monotonic();
        const collected = await next.frame;
        const rated = await periods.rate(collected, fenced);
        await periods.commit(rated, lease, fenced, isStuck);
        isStuck = false;
        dictionary.turn();
        points = rated.frame.points.length;
        watermark = next.period.end;
        this.#report(state, next.period, rated.frame.points, (this.#parts.clock.monotonic() - began) / 1000);
        this.#reportGaps(state, rated.frame);
      }
    } finally {
      giveUp.abort();
      await this.#retire(state, watermark, time.now());
    }
  }

  /** Starts collections up to the allowed distance; the head of the line is always among them. */
  #collectAhead(
    ahead: Ahead[],
    state: ScopeState,
    watermark: Instant,
    points: number,
    dictionary: DescriptorDictionary,
    signal: AbortSignal,
  ): void {
    const { pipeline, periods, time } = this.#parts;
    const { collectAhead, maxPointsAhead } = pipeline.settings;
    const fitting = points === 0 ? 1 : Math.floor(maxPointsAhead / points);
    const distance = Math.max(1, Math.min(collectAhead, fitting));
    const from = ahead.at(-1)?.period.end ?? watermark;
    const first = from === state.watermark ? firstPeriodOf(state) : undefined;
    const until = this.#lastInstant(state, time.now(), first);
    const { periods: rule } = pipeline.settings;
    for (const period of duePeriods(from, until, rule, distance - ahead.length, first)) {
      const frame = periods.collect(state.scope, period, dictionary, signal);
      // A later period may fail before the line reaches it; its error counts when it does.
      frame.catch(() => undefined);
      ahead.push({ period, frame });
    }
  }

  /** A scope that the fetcher lost is rated up to the period in which it was seen last. */
  #lastInstant(state: ScopeState, now: Instant, first: Instant | undefined): Instant {
    if (state.missingSince === undefined) return now;
    const last = state.missingSince - 1;
    // A first period that is rated without waiting must not be one that begins after the scope was seen last.
    if (first !== undefined && first > last) return Math.min(now, last);
    return Math.min(now, dueAt(last, this.#parts.pipeline.settings.periods));
  }

  async #retire(state: ScopeState, watermark: Instant, now: Instant): Promise<void> {
    if (state.missingSince === undefined || watermark < state.missingSince || state.condition === 'gone')
      return;
    await this.#parts.states.markGone(
      state.row,
      `not listed by the fetcher since ${isoTime(state.missingSince)}; rated to the end (${isoTime(now)})`,
    );
  }

  async #begin(state: ScopeState, lease: Lease, signal: AbortSignal): Promise<Instant> {
    const { pipeline, periods, calendar, time } = this.#parts;
    const { periods: rule, start } = pipeline.settings;
    const now = time.now();
    const earliest = await this.#earliest(state, signal);
    let watermark = firstBegin(now, earliest, rule, calendar);
    if (start !== undefined) {
      const wanted = rule.compat === 'fixed' && earliest !== undefined ? Math.max(start, earliest) : start;
      watermark = alignUp(wanted, start, rule.periodSeconds);
    }
    await periods.begin(lease, watermark);
    return watermark;
  }

  /** Bounded in time: a source that hangs here would keep all scopes of its pipeline waiting. */
  async #earliest({ scope }: ScopeState, signal: AbortSignal): Promise<Instant | undefined> {
    const { collector, collectorName, settings } = this.#parts.pipeline;
    if (collector.earliest === undefined) return undefined;
    const ask = async (limited: AbortSignal) => collector.earliest?.(scope, limited);
    const what = `Collector '${collectorName}'`;
    const answer = await withTimeLimit(what, settings.metricTimeoutMs, this.#parts.clock, signal, ask);
    return checkEarliest(collectorName, answer);
  }

  /** Reads the newest committed periods again and re-rates those whose data changed. */
  async #healLate(
    state: ScopeState,
    watermark: Instant,
    lease: Lease,
    dictionary: DescriptorDictionary,
    signal: AbortSignal,
  ): Promise<void> {
    const { pipeline, periods, database, logger } = this.#parts;
    const { lookBack, periods: rule } = pipeline.settings;
    if (lookBack === 0 || rule.compat === 'strict') return;
    const rows = await database.query(
      'SELECT period_begin, content FROM ratecat_fingerprints WHERE scope = ? AND period_begin >= ? ORDER BY period_begin',
      [state.row, watermark - lookBack * rule.periodSeconds],
    );
    for (const [begin, content] of rows) {
      const period = { begin: Number(begin), end: Number(begin) + rule.periodSeconds };
      if (period.end > watermark) continue;
      const collected = await periods.collect(state.scope, period, dictionary, signal);
      if (collected.fingerprint === content) continue;
      const rated = await periods.rate(collected, signal);
      await periods.replace(rated, lease, `late data for ${isoTime(period.begin)}`, signal);
      logger.info('period re-rated, late data', {
        source: pipeline.source,
        scope: state.scope.id,
        begin: isoTime(period.begin),
        points: rated.frame.points.length,
      });
    }
  }

  async #keepLease(lease: Lease, lost: AbortController, signal: AbortSignal): Promise<void> {
    const { clock, leases, pipeline, logger } = this.#parts;
    const interval = (pipeline.settings.leaseSeconds * 1000) / 3;
    while (!lost.signal.aborted) {
      try {
        await clock.sleep(interval, signal);
        await leases.renew(lease);
      } catch (error) {
        if (signal.aborted) return;
        if (isRatecatError(error) && error.kind === 'fenced') lost.abort(error);
        else logger.warn('lease could not be renewed', { row: lease.row, error: describeError(error) });
      }
    }
  }

  async #recordFailure(state: ScopeState, lease: Lease, error: unknown): Promise<void> {
    const { pipeline, states, logger, metrics, clock, random } = this.#parts;
    const fields = { source: pipeline.source, scope: state.scope.id, error: describeError(error) };
    metrics.scopeFailed(pipeline.source, isRatecatError(error) ? error.code : 'RATECAT_INTERNAL');
    if (isRatecatError(error) && error.kind === 'fenced') {
      logger.info('scope left to another processor', fields);
      return;
    }
    const { retry } = pipeline.settings;
    const before = await this.#asItIs(state);
    const failures = before.failures + 1;
    const hopeless = !waitingMayHelp(error);
    // Once stuck, only a rated period says that it is not.
    const stuck = hopeless || failures >= retry.stuckAfter || before.condition === 'stuck';
    const pace = hopeless ? { ...retry, firstSeconds: retry.maxSeconds } : retry;
    const seconds = retryDelaySeconds(failures, pace, random);
    const at = Math.floor(clock.now() / 1000);
    const isNew = stuck && before.condition !== 'stuck';
    const say = isNew ? 'error' : 'warn';
    logger[say](stuck ? 'scope is stuck' : 'period failed, will be tried again', {
      ...fields,
      failures,
      retrySeconds: seconds,
      ...(isRatecatError(error)
        ? { code: error.code }
        : { stack: error instanceof Error ? error.stack : undefined }),
    });
    try {
      const reason = describeError(error);
      const condition = stuck ? 'stuck' : 'active';
      const told = scopeStuck(pipeline.source, state.scope, {
        failures,
        reason,
        code: isRatecatError(error) ? error.code : undefined,
        ratedUpTo: before.watermark,
      });
      await states.recordFailure(
        state.row,
        lease.fence,
        { failures, condition, reason, at, retryAt: at + seconds },
        isNew ? async (tx) => this.#parts.outbox?.add(tx, told) : undefined,
      );
    } catch (problem) {
      logger.warn('the failure could not be recorded', { ...fields, problem: describeError(problem) });
    }
  }

  /** Periods that went well meanwhile reset the count, so the scope is read again. */
  async #asItIs(state: ScopeState): Promise<ScopeState> {
    try {
      return (await this.#parts.states.get(state.row)) ?? { ...state, failures: 0 };
    } catch (error) {
      this.#parts.logger.debug('failures could not be counted afresh', { error: describeError(error) });
      return state;
    }
  }

  /** One line per period, however many metrics are missing. */
  #reportGaps(state: ScopeState, { period, gaps }: Frame): void {
    if (gaps.length === 0) return;
    this.#parts.logger.warn('the period has gaps: usage that could not be measured', {
      source: this.#parts.pipeline.source,
      scope: state.scope.id,
      begin: isoTime(period.begin),
      metrics: gaps.map((gap) => gap.metric),
      reason: [...new Set(gaps.map((gap) => gap.reason))].join('; '),
    });
  }

  #report(
    state: ScopeState,
    period: Period,
    points: readonly { readonly price: Decimal }[],
    seconds: number,
  ): void {
    const { pipeline, logger, metrics } = this.#parts;
    const total = points.reduce((sum, point) => sum.plus(point.price.toStored()), Decimal.ZERO);
    logger.info('period rated', {
      source: pipeline.source,
      scope: state.scope.id,
      begin: isoTime(period.begin),
      end: isoTime(period.end),
      points: points.length,
      price: total.toString(),
    });
    metrics.periodRated({
      source: pipeline.source,
      scope: state.scope,
      period,
      points: points.length,
      seconds,
    });
  }
}
