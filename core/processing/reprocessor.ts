import {
  type Clock,
  Decimal,
  describeError,
  type Instant,
  isRatecatError,
  type Logger,
  type Period,
  type Storage,
  type StoredFrame,
} from '../plugin-api/index.js';
import { isoTime } from '../scopes/iso-time.js';
import type { Lease } from '../scopes/leases.js';
import type { PendingTask, ReprocessTasks } from '../scopes/reprocess-tasks.js';
import type { ScopeState } from '../scopes/scope-states.js';
import type { CollectedFrame } from './collect-frame.js';
import type { DescriptorDictionary } from './descriptor-dictionary.js';
import { alignUp } from './due-periods.js';
import type { PeriodProcessor } from './period-processor.js';
import type { Pipeline, PipelineSettings } from './pipeline.js';
import { retryDelaySeconds, waitingMayHelp } from './retry.js';

export interface ReprocessorParts {
  readonly pipeline: Pipeline;
  readonly periods: PeriodProcessor;
  readonly tasks: ReprocessTasks;
  readonly storage: Storage;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly random: () => number;
}

/** A leased scope whose tasks are worked off, as far as it is rated. */
interface Work {
  readonly state: ScopeState;
  readonly watermark: Instant;
  readonly lease: Lease;
  readonly dictionary: DescriptorDictionary;
  /** Gives up what is under way. */
  readonly signal: AbortSignal;
  /** The lease is lost; a commit under way is finished otherwise. */
  readonly fenced: AbortSignal;
}

/** What a task comes to next: a period and what is stored of it, its end, or a wait for the watermark. */
type Target = { readonly period: Period; readonly stored: StoredFrame | undefined } | 'end' | 'wait';

/** How far before a hole to look for a period of another length that covers it. */
const LONGEST_PERIOD = 86_400;

/**
 * Rates the periods of a window anew, oldest first: with the usage that the source reports and the rules that hold now. Each
 * period is replaced in the transaction that moves its task on, so a task goes on where it was, whatever happened.
 */
export class Reprocessor {
  readonly #parts: ReprocessorParts;

  constructor(parts: ReprocessorParts) {
    this.#parts = parts;
  }

  /**
   * @param shouldYield asked before each period: something else is due.
   * @throws FencedError RATECAT_LEASE_LOST. All other failures are noted in their task.
   */
  async run(work: Work, shouldYield: () => boolean): Promise<void> {
    const { clock, pipeline, logger } = this.#parts;
    const finishedWith = new Set<number>();
    while (!work.signal.aborted && !shouldYield()) {
      const now = Math.floor(clock.now() / 1000);
      const open = await this.#openTasks(work.state);
      const state = { ...work.state, watermark: work.watermark };
      const task = open.find(
        (candidate) => !finishedWith.has(candidate.id) && isTaskDue(candidate, state, pipeline.settings, now),
      );
      if (task === undefined) return;
      try {
        if (!(await this.#step(task, work))) finishedWith.add(task.id);
      } catch (error) {
        if (work.signal.aborted || (isRatecatError(error) && error.kind === 'fenced')) throw error;
        finishedWith.add(task.id);
        await this.#recordFailure(task, work.lease, error).catch((problem) =>
          logger.warn('the failure could not be recorded', { task: task.id, error: describeError(problem) }),
        );
      }
    }
  }

  /** None when the database is away: that is no failure of the scope, and the next round finds them. */
  async #openTasks({ row, scope }: ScopeState): Promise<readonly PendingTask[]> {
    const { tasks, pipeline, logger } = this.#parts;
    try {
      return await tasks.unfinished(row);
    } catch (error) {
      const fields = { source: pipeline.source, scope: scope.id, error: describeError(error) };
      logger.warn('reprocessing tasks could not be read, will be tried again', fields);
      return [];
    }
  }

  /** Rates the next period of a task. False when it must wait. */
  async #step(task: PendingTask, work: Work): Promise<boolean> {
    const { periods } = this.#parts;
    const target = await this.#target(task, work);
    if (target === 'wait') return false;
    if (target === 'end') {
      const audit = {
        action: 'reprocess.finished',
        detail: `${taskText(task)}: no more periods in the window`,
      };
      await periods.pass(
        work.lease,
        { task, to: Math.max(task.end, task.current ?? task.end) },
        audit,
        work.fenced,
      );
      return true;
    }
    const { period, stored } = target;
    const collected = await periods.collect(work.state.scope, period, work.dictionary, work.signal);
    const lost = stored === undefined ? undefined : lostMetrics(collected, stored);
    if (lost === undefined) await this.#replace(task, collected, work);
    else await this.#keep(task, period, lost, work);
    work.dictionary.turn();
    return true;
  }

  async #replace(task: PendingTask, collected: CollectedFrame, { lease, fenced }: Work): Promise<void> {
    const { periods, pipeline, logger } = this.#parts;
    const rated = await periods.rate(collected, fenced);
    const { period, points, gaps } = rated.frame;
    const detail = `${isoTime(period.begin)}, ${taskText(task)}`;
    await periods.replace(rated, lease, detail, fenced, { task, to: period.end });
    logger.info('period reprocessed', {
      source: pipeline.source,
      scope: task.scope.id,
      task: task.id,
      begin: isoTime(period.begin),
      end: isoTime(period.end),
      points: points.length,
      price: points.reduce((sum, point) => sum.plus(point.price.toStored()), Decimal.ZERO).toString(),
      ...(gaps.length === 0 ? {} : { gaps: gaps.map((gap) => gap.metric) }),
    });
  }

  /** What was measured once is worth more than the knowledge that it cannot be measured any more. */
  async #keep(task: PendingTask, period: Period, lost: string, { lease, fenced }: Work): Promise<void> {
    const { periods, pipeline, logger } = this.#parts;
    const kept = `the period of ${isoTime(period.begin)} was kept as it is stored, because it cannot be measured any more: ${lost}`;
    const audit = { action: 'period.kept', detail: `${taskText(task)}: ${kept}` };
    await periods.pass(lease, { task, to: period.end, kept }, audit, fenced);
    logger.warn('period not reprocessed, kept as it is stored', {
      source: pipeline.source,
      scope: task.scope.id,
      task: task.id,
      begin: isoTime(period.begin),
      end: isoTime(period.end),
      reason: lost,
    });
  }

  /**
   * Stored periods are replaced as they are, also where they are off today's grid; a hole is filled with a period of the grid.
   * What lies before the first period that the scope ever had is passed over.
   */
  async #target(task: PendingTask, { state, watermark, signal }: Work): Promise<Target> {
    const { periodSeconds } = this.#parts.pipeline.settings.periods;
    let from = positionOf(task);
    for (;;) {
      const begin = alignUp(from, watermark, periodSeconds);
      const end = begin + periodSeconds;
      const stored = await this.#firstStored(state, from, Math.min(end, watermark), signal);
      if (stored !== undefined) {
        if (stored.period.begin >= task.end) return 'end';
        return stored.period.end > watermark ? 'wait' : { period: stored.period, stored };
      }
      if (begin >= task.end) return 'end';
      if (end > watermark) return state.condition === 'gone' ? 'end' : 'wait';
      const next = await this.#afterHole(state, begin, Math.min(task.end, watermark), signal);
      if (next === 'end') return 'end';
      if (next === begin) return { period: { begin, end }, stored: undefined };
      from = next;
    }
  }

  /** Where to go on when nothing is stored that begins at `begin`: there, or behind what the scope does not have. */
  async #afterHole(
    state: ScopeState,
    begin: Instant,
    end: Instant,
    signal: AbortSignal,
  ): Promise<Instant | 'end'> {
    if ((await this.#firstStored(state, 0, begin, signal)) === undefined) {
      return (await this.#firstStored(state, begin, end, signal))?.period.begin ?? 'end';
    }
    let covered = begin;
    for await (const { period } of this.#stored(state, begin - LONGEST_PERIOD, begin, signal)) {
      covered = Math.max(covered, period.end);
    }
    return covered;
  }

  async #firstStored(
    state: ScopeState,
    begin: Instant,
    end: Instant,
    signal: AbortSignal,
  ): Promise<StoredFrame | undefined> {
    for await (const frame of this.#stored(state, begin, end, signal)) return frame;
    return undefined;
  }

  #stored({ source, scope }: ScopeState, begin: Instant, end: Instant, signal: AbortSignal) {
    const visible = [{ source, key: scope.key, id: scope.id }];
    return this.#parts.storage.readPeriods({ visible, begin, end }, signal);
  }

  async #recordFailure(task: PendingTask, lease: Lease, error: unknown): Promise<void> {
    const { pipeline, tasks, clock, logger, random } = this.#parts;
    const { retry } = pipeline.settings;
    const failures = task.failures + 1;
    const hopeless = !waitingMayHelp(error);
    const pace = hopeless ? { ...retry, firstSeconds: retry.maxSeconds } : retry;
    const seconds = retryDelaySeconds(failures, pace, random);
    const isStuck = (count: number) => hopeless || count >= retry.stuckAfter;
    // One ERROR line when it becomes serious, not one per try.
    const say = isStuck(failures) && (task.failures === 0 || !isStuck(task.failures)) ? 'error' : 'warn';
    logger[say]('reprocessing failed, will be tried again', {
      source: pipeline.source,
      scope: task.scope.id,
      task: task.id,
      failures,
      retrySeconds: seconds,
      error: describeError(error),
      ...(isRatecatError(error)
        ? { code: error.code }
        : { stack: error instanceof Error ? error.stack : undefined }),
    });
    const retryAt = Math.floor(clock.now() / 1000) + seconds;
    await tasks.recordFailure(task, lease, { failures, failure: describeError(error), retryAt });
  }
}

/** Whether a task of a scope can get on: not in a pause after a failure, and not ahead of what is rated. */
export function isTaskDue(
  task: PendingTask,
  { watermark, active, condition }: Pick<ScopeState, 'watermark' | 'active' | 'condition'>,
  { periods, retry }: Pick<PipelineSettings, 'periods' | 'retry'>,
  now: Instant,
): boolean {
  if (!active || watermark === undefined) return false;
  // A retry time further away than any we would set comes from a clock that was wrong.
  if (task.retryAt !== undefined && task.retryAt > now && task.retryAt - now <= retry.maxSeconds)
    return false;
  // The last periods of a scope that is gone are rated: its tasks have nothing to wait for.
  if (condition === 'gone') return true;
  const begin = alignUp(positionOf(task), watermark, periods.periodSeconds);
  return begin < watermark || begin >= task.end;
}

function positionOf({ begin, current }: PendingTask): Instant {
  return current ?? begin;
}

/** Metrics that are stored and cannot be measured now, in words; undefined when there are none. */
function lostMetrics({ frame }: CollectedFrame, stored: StoredFrame): string | undefined {
  const already = new Set(stored.gaps.map((gap) => gap.metric));
  const lost = frame.gaps.filter((gap) => !already.has(gap.metric));
  if (lost.length === 0) return undefined;
  return lost.map(({ metric, reason }) => `metric '${metric}': ${reason}`).join('; ');
}

function taskText({ id, reason }: PendingTask): string {
  return `reprocessing task ${id} (${reason})`;
}
