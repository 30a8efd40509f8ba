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
import type { ScopeState, ScopeStates } from '../scopes/scope-states.js';
import { DescriptorDictionary } from './descriptor-dictionary.js';
import { dueAt, dueCount } from './due-periods.js';
import type { Pipeline } from './pipeline.js';
import { checkScopes } from './plugin-answers.js';
import type { ProcessingMetrics } from './processing-metrics.js';
import type { ScopeWorker } from './scope-worker.js';
import type { TickSchedule } from './tick-schedule.js';
import { withTimeLimit } from './time-limit.js';
import type { TrustedTime } from './trusted-time.js';

export interface PipelineProcessorParts {
  readonly pipeline: Pipeline;
  readonly worker: ScopeWorker;
  readonly states: ScopeStates;
  readonly leases: Leases;
  readonly schedule: TickSchedule;
  readonly clock: Clock;
  readonly time: TrustedTime;
  readonly logger: Logger;
  readonly metrics: ProcessingMetrics;
}

/** Shortest pause between two rounds: a broken neighbour must not turn into a busy loop. */
const SHORTEST_PAUSE_MS = 1_000;
/** Longest pause after rounds that failed as a whole, as they do while the database is away. */
const LONGEST_PAUSE_MS = 8_000;
/** Descriptors kept over all scopes of a pipeline; the least recently rated scopes are forgotten first. */
const MAX_DESCRIPTORS = 400_000;
const MAX_SCOPE_ID = 256;

/** Runs one pipeline: fetches scopes on schedule and lets workers rate whatever is due. */
export class PipelineProcessor {
  readonly #parts: PipelineProcessorParts;
  readonly #dictionaries = new Map<number, DescriptorDictionary>();
  #fetched: readonly Scope[] | undefined;
  #nextFetch = 0;

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
      try {
        await this.#parts.clock.sleep(Math.max(SHORTEST_PAUSE_MS / 5, pause), stop);
      } catch {
        return;
      }
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
    const due = known.filter((state) => this.#isDue(state, now)).sort(byLag);
    const limit = pLimit(pipeline.settings.concurrentScopes);
    await Promise.all(due.map((state) => limit(() => this.#work(state, stop))));
    this.#forgetDictionaries();
    return this.#pauseAfter(await states.list(pipeline.source));
  }

  /** Takes the scope if nobody else has it, and rates what is due. */
  async #work(listed: ScopeState, stop: AbortSignal): Promise<void> {
    const { leases, states, worker, logger, pipeline } = this.#parts;
    if (stop.aborted) return;
    const lease = await leases.take(listed);
    if (lease === undefined) return;
    try {
      // Between listing and lease another processor may have moved the watermark.
      const state = await states.get(lease.row);
      if (state === undefined || !this.#isDue(state, this.#parts.time.now())) return;
      await worker.run(state, lease, this.#dictionary(state.row), stop);
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
    const { retry, periods } = this.#parts.pipeline.settings;
    // A retry time further away than any we would set comes from a clock that was wrong.
    if (state.retryAt !== undefined && state.retryAt > now && state.retryAt - now <= retry.maxSeconds)
      return false;
    if (state.watermark === undefined) return true;
    if (state.missingSince !== undefined && state.watermark >= state.missingSince) return true;
    return dueAt(state.watermark, periods) <= now;
  }

  #pauseAfter(states: readonly ScopeState[]): number {
    const { time, pipeline, leases } = this.#parts;
    const { settings } = pipeline;
    const now = time.now();
    let wakeAt = this.#nextFetch;
    for (const state of states) {
      if (!state.active || state.condition === 'gone') continue;
      const due = state.watermark === undefined ? now : dueAt(state.watermark, settings.periods);
      wakeAt = Math.min(wakeAt, Math.max(due, state.retryAt ?? 0));
      const elsewhere = state.owner !== undefined && state.owner !== leases.owner;
      if (elsewhere && due <= now) wakeAt = Math.min(wakeAt, now + settings.leaseSeconds / 4);
    }
    return Math.max(SHORTEST_PAUSE_MS, (wakeAt - now) * 1000);
  }

  #measureBacklog(states: readonly ScopeState[], now: Instant): void {
    const { pipeline, metrics } = this.#parts;
    const rule = pipeline.settings.periods;
    let periods = 0;
    let lag = 0;
    for (const state of states) {
      if (!state.active || state.condition === 'gone' || state.watermark === undefined) continue;
      periods += dueCount(state.watermark, now, rule);
      lag = Math.max(lag, now - dueAt(state.watermark, rule));
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
