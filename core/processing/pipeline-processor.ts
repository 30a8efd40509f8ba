import pLimit from 'p-limit';
import {
  type Clock,
  describeError,
  type Instant,
  isRatecatError,
  type Logger,
  type Scope,
} from '../plugin-api/index.js';
import type { Leases } from '../scopes/leases.js';
import type { PendingTask, ReprocessTasks } from '../scopes/reprocess-tasks.js';
import type { ScopeState, ScopeStates } from '../scopes/scope-states.js';
import { DescriptorDictionary } from './descriptor-dictionary.js';
import { dueAt, dueCount, firstPeriodOf } from './due-periods.js';
import type { Pipeline } from './pipeline.js';
import { checkScopes } from './plugin-answers.js';
import type { ProcessingMetrics } from './processing-metrics.js';
import { isTaskDue } from './reprocessor.js';
import type { ScopeWorker } from './scope-worker.js';
import type { TickSchedule } from './tick-schedule.js';
import { withTimeLimit } from './time-limit.js';
import type { TrustedTime } from './trusted-time.js';

export interface PipelineProcessorParts {
  readonly pipeline: Pipeline;
  readonly worker: ScopeWorker;
  readonly states: ScopeStates;
  readonly tasks: ReprocessTasks;
  readonly leases: Leases;
  readonly schedule: TickSchedule;
  readonly clock: Clock;
  readonly time: TrustedTime;
  readonly logger: Logger;
  readonly metrics: ProcessingMetrics;
  /** How often a processor with nothing to do looks for new reprocessing tasks; absent: every half minute. */
  readonly lookForTasksMs?: number | undefined;
}

/** Shortest pause between two rounds: a broken neighbour must not turn into a busy loop. */
const SHORTEST_PAUSE_MS = 1_000;
/** Longest pause after rounds that failed as a whole, as they do while the database is away. */
const LONGEST_PAUSE_MS = 8_000;
const LOOK_FOR_TASKS_MS = 30_000;
/** Longest stretch of reprocessing between two looks at all scopes. */
const LONGEST_TASK_TURN_MS = 60_000;
/** Descriptors kept over all scopes of a pipeline; the least recently rated scopes are forgotten first. */
const MAX_DESCRIPTORS = 400_000;
const MAX_SCOPE_ID = 256;

/** Runs one pipeline: fetches scopes on schedule and lets workers rate whatever is due. */
export class PipelineProcessor {
  readonly #parts: PipelineProcessorParts;
  readonly #dictionaries = new Map<number, DescriptorDictionary>();
  #fetched: readonly Scope[] | undefined;
  #nextFetch = 0;
  /** Ids of the unfinished tasks that the last look found. */
  #knownTasks: ReadonlySet<number> = new Set();

  constructor(parts: PipelineProcessorParts) {
    this.#parts = parts;
  }

  /** Works until `stop` is aborted; a period under way is finished or abandoned whole. */
  async run(stop: AbortSignal): Promise<void> {
    let failures = 0;
    while (!stop.aborted) {
      let pause: number;
      try {
        pause = await this.round(stop);
        failures = 0;
      } catch (error) {
        if (stop.aborted) return;
        pause = Math.min(LONGEST_PAUSE_MS, SHORTEST_PAUSE_MS * 2 ** failures++);
        this.#reportRound(error, pause);
      }
      this.#parts.metrics.resting?.(this.#parts.pipeline.source);
      try {
        await this.#rest(Math.max(SHORTEST_PAUSE_MS / 5, pause), stop);
      } catch {
        return;
      }
    }
  }

  /** Sleeps, but not longer than until somebody orders reprocessing. */
  async #rest(pause: number, stop: AbortSignal): Promise<void> {
    const { clock, lookForTasksMs = LOOK_FOR_TASKS_MS } = this.#parts;
    let left = pause;
    while (left > lookForTasksMs) {
      await clock.sleep(lookForTasksMs, stop);
      if (await this.#hasNewTasks()) return;
      left -= lookForTasksMs;
    }
    await clock.sleep(left, stop);
  }

  async #hasNewTasks(): Promise<boolean> {
    const { tasks, pipeline, logger } = this.#parts;
    try {
      const open = await tasks.unfinishedOf(pipeline.source);
      return open.some(({ id }) => !this.#knownTasks.has(id));
    } catch (error) {
      // The next round tells what is wrong with the database.
      logger.debug('reprocessing tasks could not be looked for', { error: describeError(error) });
      return false;
    }
  }

  /** A round fails as a whole when the database is away; that may heal itself. */
  #reportRound(error: unknown, pause: number): void {
    const level = isRatecatError(error) && error.retryable ? 'warn' : 'error';
    this.#parts.logger[level]('round failed, will be tried again', {
      source: this.#parts.pipeline.source,
      error: describeError(error),
      retrySeconds: pause / 1000,
    });
  }

  /** One round over all scopes. Gives the milliseconds until there may be something to do. */
  async round(stop: AbortSignal): Promise<number> {
    const { time, states, pipeline, leases } = this.#parts;
    const now = time.now();
    if (now >= this.#nextFetch || this.#nextFetch - now > this.#parts.schedule.longestWait)
      await this.#fetch(now, stop);
    const known = await states.list(pipeline.source);
    for (const state of known) leases.observe(state);
    this.#measureBacklog(known, now);
    const open = await this.#openTasks();
    const due = known.filter((state) => this.#isDue(state, now)).sort(byLag);
    const waiting = known.filter((state) => !this.#isDue(state, now) && this.#hasDueTask(state, open, now));
    const shouldYield = this.#tasksUntil(known, now);
    const limit = pLimit(pipeline.settings.concurrentScopes);
    const work = (state: ScopeState) =>
      this.#work(state, open.has(state.row) ? shouldYield : undefined, stop);
    await Promise.all([...due, ...waiting].map((state) => limit(() => work(state))));
    this.#forgetDictionaries();
    const after = await states.list(pipeline.source);
    return this.#pauseAfter(after, open.size === 0 ? open : await this.#openTasks());
  }

  /** Unfinished reprocessing tasks by scope row. */
  async #openTasks(): Promise<ReadonlyMap<number, readonly PendingTask[]>> {
    const open = await this.#parts.tasks.unfinishedOf(this.#parts.pipeline.source);
    this.#knownTasks = new Set(open.map(({ id }) => id));
    const byRow = new Map<number, PendingTask[]>();
    for (const task of open) {
      const tasks = byRow.get(task.row);
      if (tasks === undefined) byRow.set(task.row, [task]);
      else tasks.push(task);
    }
    return byRow;
  }

  #hasDueTask(state: ScopeState, open: ReadonlyMap<number, readonly PendingTask[]>, now: Instant): boolean {
    const { settings } = this.#parts.pipeline;
    if (this.#isBackingOff(state, now)) return false;
    return open.get(state.row)?.some((task) => isTaskDue(task, state, settings, now)) ?? false;
  }

  /** Periods that become due go before periods that are rated again: says when it is time to look at all scopes. */
  #tasksUntil(states: readonly ScopeState[], now: Instant): () => boolean {
    const { pipeline, clock, time } = this.#parts;
    const { periods } = pipeline.settings;
    let next = this.#nextFetch;
    for (const state of states) {
      if (!state.active || state.condition === 'gone' || state.watermark === undefined) continue;
      const due = dueAt(state.watermark, periods, firstPeriodOf(state));
      // What is due now is rated in this round, up to the period that is not.
      const passed = due > now ? 0 : Math.floor((now - due) / periods.periodSeconds) + 1;
      const retry = this.#isBackingOff(state, now) ? state.retryAt! : now;
      next = Math.min(next, Math.max(due + (retry > now ? 0 : passed * periods.periodSeconds), retry));
    }
    const latest = clock.monotonic() + LONGEST_TASK_TURN_MS;
    return () => clock.monotonic() >= latest || time.now() >= next;
  }

  /** Takes the scope if nobody else has it, and rates what is due, then what tasks ask for. */
  async #work(listed: ScopeState, tasksUntil: (() => boolean) | undefined, stop: AbortSignal): Promise<void> {
    const { leases, states, worker, logger, pipeline, time } = this.#parts;
    if (stop.aborted) return;
    if (!this.#isDue(listed, time.now()) && (tasksUntil === undefined || tasksUntil())) return;
    const lease = await leases.take(listed);
    if (lease === undefined) return;
    try {
      // Between listing and lease another processor may have moved the watermark.
      const state = await states.get(lease.row);
      if (state === undefined || !state.active) return;
      const due = this.#isDue(state, time.now());
      if (!due && (tasksUntil === undefined || this.#isBackingOff(state, time.now()))) return;
      await worker.run(state, lease, this.#dictionary(state.row), stop, { due, tasksUntil });
    } finally {
      try {
        await leases.release(lease);
      } catch (error) {
        logger.warn('lease could not be released; it will expire', {
          source: pipeline.source,
          scope: listed.scope.id,
          error: describeError(error),
        });
      }
    }
  }

  async #fetch(now: Instant, stop: AbortSignal): Promise<void> {
    const { pipeline, schedule, logger, clock } = this.#parts;
    try {
      const scopes = await withTimeLimit(
        `Fetcher '${pipeline.fetcherName}'`,
        pipeline.settings.metricTimeoutMs,
        clock,
        stop,
        (signal) => pipeline.fetcher.fetchScopes(signal),
      );
      this.#fetched = this.#valid(checkScopes(pipeline.fetcherName, scopes));
      this.#nextFetch = schedule.next(now);
    } catch (error) {
      if (stop.aborted) throw error;
      logger.warn('scopes could not be fetched; going on with the known ones', {
        source: pipeline.source,
        error: describeError(error),
      });
      this.#nextFetch = Math.min(schedule.next(now), now + pipeline.settings.retry.firstSeconds);
      return;
    }
    await this.#reconcile(this.#fetched, now);
  }

  /** A scope that cannot be stored is reported and left out; the others are rated. */
  #valid(scopes: readonly Scope[]): readonly Scope[] {
    const { pipeline, logger } = this.#parts;
    const distinct = new Map<string, Scope>();
    for (const scope of scopes) {
      if (scope.id === '' || scope.id.length > MAX_SCOPE_ID) {
        logger.error('scope id refused: 1 to 256 characters are needed', {
          source: pipeline.source,
          scope: scope.id.slice(0, 80),
          length: scope.id.length,
        });
        continue;
      }
      const key = scope.key === '' ? pipeline.scopeKey : scope.key;
      distinct.set(JSON.stringify([key, scope.id]), { ...scope, key });
    }
    return [...distinct.values()];
  }

  /** Brings the scope table in step with the list: new ones are added, missing ones marked. */
  async #reconcile(scopes: readonly Scope[], now: Instant): Promise<void> {
    const { pipeline, states, logger } = this.#parts;
    const known = new Map(
      (await states.list(pipeline.source)).map((state) => [scopeIdentity(state.scope), state]),
    );
    const listed = new Set(scopes.map(scopeIdentity));
    const identity = {
      source: pipeline.source,
      fetcher: pipeline.fetcherName,
      collector: pipeline.collectorName,
    };
    await states.add(
      identity,
      scopes.filter((scope) => !known.has(scopeIdentity(scope))),
      now,
    );
    for (const scope of scopes) {
      const state = known.get(scopeIdentity(scope));
      if (state === undefined) continue;
      if (state.missingSince !== undefined || state.condition === 'gone') await states.markPresent(state.row);
      if (scope.name !== undefined && scope.name !== state.scope.name)
        await states.rename(state.row, scope.name);
    }
    const present = [...known.values()].filter((state) => state.missingSince === undefined);
    const missing = present.filter((state) => !listed.has(scopeIdentity(state.scope)));
    if (missing.length === 0) return;
    if (missing.length > 1 && missing.length > present.length * pipeline.settings.maxShrink) {
      logger.error('the scope list shrank too much to be believed; all known scopes go on', {
        source: pipeline.source,
        known: present.length,
        missing: missing.length,
      });
      return;
    }
    for (const state of missing) await states.markMissing(state.row, now);
  }

  #isDue(state: ScopeState, now: Instant): boolean {
    if (!state.active || state.condition === 'gone') return false;
    if (this.#isBackingOff(state, now)) return false;
    const { periods } = this.#parts.pipeline.settings;
    if (state.watermark === undefined) return true;
    if (state.missingSince !== undefined && state.watermark >= state.missingSince) return true;
    return dueAt(state.watermark, periods, firstPeriodOf(state)) <= now;
  }

  /** The next period of the scope failed and is tried again later. */
  #isBackingOff({ retryAt, condition }: ScopeState, now: Instant): boolean {
    // A retry time further away than any we would set comes from a clock that was wrong.
    const { maxSeconds } = this.#parts.pipeline.settings.retry;
    return condition !== 'gone' && retryAt !== undefined && retryAt > now && retryAt - now <= maxSeconds;
  }

  #pauseAfter(states: readonly ScopeState[], open: ReadonlyMap<number, readonly PendingTask[]>): number {
    const { time, pipeline, leases } = this.#parts;
    const { settings } = pipeline;
    const now = time.now();
    let wakeAt = this.#nextFetch;
    for (const state of states)
      wakeAt = Math.min(wakeAt, this.#taskWakeAt(state, open.get(state.row) ?? [], now));
    for (const state of states) {
      if (!state.active || state.condition === 'gone') continue;
      const due =
        state.watermark === undefined ? now : dueAt(state.watermark, settings.periods, firstPeriodOf(state));
      wakeAt = Math.min(wakeAt, Math.max(due, state.retryAt ?? 0));
      const elsewhere = state.owner !== undefined && state.owner !== leases.owner;
      if (elsewhere && due <= now) wakeAt = Math.min(wakeAt, now + settings.leaseSeconds / 4);
    }
    return Math.max(SHORTEST_PAUSE_MS, (wakeAt - now) * 1000);
  }

  /** When a task of the scope may get on. */
  #taskWakeAt(state: ScopeState, tasks: readonly PendingTask[], now: Instant): Instant {
    const { pipeline, leases } = this.#parts;
    const { leaseSeconds } = pipeline.settings;
    let wakeAt = Number.POSITIVE_INFINITY;
    for (const task of tasks) {
      const at = Math.max(now, task.retryAt ?? now);
      if (!isTaskDue(task, state, pipeline.settings, at)) continue;
      const isElsewhere = state.owner !== undefined && state.owner !== leases.owner;
      wakeAt = Math.min(wakeAt, isElsewhere ? at + leaseSeconds / 4 : at);
    }
    // Its own period goes first, and that is waiting.
    return this.#isBackingOff(state, now) ? Math.max(wakeAt, state.retryAt!) : wakeAt;
  }

  #measureBacklog(states: readonly ScopeState[], now: Instant): void {
    const { pipeline, metrics } = this.#parts;
    const rule = pipeline.settings.periods;
    let periods = 0;
    let lag = 0;
    for (const state of states) {
      if (!state.active || state.condition === 'gone' || state.watermark === undefined) continue;
      const first = firstPeriodOf(state);
      periods += dueCount(state.watermark, now, rule, first);
      lag = Math.max(lag, now - dueAt(state.watermark, rule, first));
    }
    metrics.backlog(pipeline.source, periods, lag);
  }

  #dictionary(row: number): DescriptorDictionary {
    const dictionary = this.#dictionaries.get(row) ?? new DescriptorDictionary();
    this.#dictionaries.delete(row);
    this.#dictionaries.set(row, dictionary);
    return dictionary;
  }

  #forgetDictionaries(): void {
    let total = 0;
    for (const dictionary of this.#dictionaries.values()) total += dictionary.size;
    for (const [row, dictionary] of this.#dictionaries) {
      if (total <= MAX_DESCRIPTORS) return;
      total -= dictionary.size;
      this.#dictionaries.delete(row);
    }
  }
}

function byLag(left: ScopeState, right: ScopeState): number {
  return (left.watermark ?? 0) - (right.watermark ?? 0) || left.row - right.row;
}

function scopeIdentity(scope: Scope): string {
  return JSON.stringify([scope.key, scope.id]);
}
