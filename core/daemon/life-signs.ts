import type { Clock, Collector, Fetcher, Storage } from '../plugin-api/index.js';
import type { PeriodRated, ProcessingMetrics } from '../processing/processing-metrics.js';
import type { PreparedPlugins } from './build-pipelines.js';
import type { NeighbourMetrics } from './measured-neighbours.js';

/** A database that failed for so long kept pipelines waiting. */
const OUTAGE_MS = 60_000;

/** How long a pipeline may be silent. */
export interface SilenceLimit {
  /** A round begins at least once in a period. */
  readonly periodSeconds: number;
  /** Longest time that passes between two signs while a round is under way. */
  readonly busySeconds: number;
}

/** How far the work of one pipeline is. */
export interface PipelineWork {
  readonly source: string;
  /** Scopes that the fetcher listed; undefined before it did. */
  readonly scopes: number | undefined;
  readonly duePeriods: number;
  readonly lagSeconds: number;
  readonly ratedPeriods: number;
}

interface Watched {
  readonly limit: SilenceLimit;
  /** Undefined until the pipeline begins: before that the clock, or the database, is waited for. */
  lastSign: number | undefined;
  /** No round is under way. An answer that comes after the end of its round does not change that. */
  isResting: boolean;
  /** When the calls of the storage that are under way began. */
  readonly storing: Set<{ readonly since: number }>;
  work: PipelineWork;
}

/**
 * Tells a pipeline that works, rests or waits from one that hangs. Signs of life are a list of scopes that was asked for or
 * came, a metric asked for or collected, a period stored, rated or failed, a round begun or ended. Collectors, fetchers and
 * rating modules have time limits, so that a round at work gives a sign within `busySeconds`, and a pipeline that rests gives
 * its next sign within a period more. A storage has no limit of its own: a period that it does not finish storing counts as hanging too.
 * A database that is away keeps everything waiting and is nobody's fault here: while it fails nothing counts as hanging.
 */
export class LifeSigns implements ProcessingMetrics, Pick<NeighbourMetrics, 'databaseAsked'> {
  readonly #clock: Clock;
  readonly #watched: ReadonlyMap<string, Watched>;
  /** Since when the database has failed without an answer in between. */
  #awaySince: number | undefined;

  /** `limits` by source. */
  constructor(clock: Clock, limits: ReadonlyMap<string, SilenceLimit>) {
    this.#clock = clock;
    this.#watched = new Map(
      [...limits].map(([source, limit]) => {
        const work = { source, scopes: undefined, duePeriods: 0, lagSeconds: 0, ratedPeriods: 0 };
        return [source, { limit, lastSign: undefined, isResting: false, storing: new Set(), work }];
      }),
    );
  }

  /** The same plugins, whose calls count as signs of life. */
  watch(plugins: PreparedPlugins): PreparedPlugins {
    const { storage, pipelines } = plugins;
    return {
      ...plugins,
      storage: { ...storage, create: (context) => this.#watchStorage(storage.create(context)) },
      pipelines: pipelines.map((pipeline) => {
        const { config, fetcher, collector } = pipeline;
        return {
          ...pipeline,
          fetcher: {
            ...fetcher,
            create: (context) => this.#watchFetcher(config.name, fetcher.create(context)),
          },
          collector: {
            ...collector,
            create: (context) => this.#watchCollector(config.name, collector.create(context)),
          },
        };
      }),
    };
  }

  /** The pipeline that does not go on, in words; undefined while all do. */
  stalled(): string | undefined {
    if (this.#awaySince !== undefined) return undefined;
    const now = this.#clock.monotonic();
    for (const [source, { limit, lastSign, isResting, storing }] of this.#watched) {
      for (const { since } of storing) {
        const seconds = (now - since) / 1000;
        if (seconds > limit.busySeconds)
          return `the storage has not finished a period of pipeline '${source}' for ${Math.round(seconds)} s`;
      }
      const silent = lastSign === undefined ? 0 : (now - lastSign) / 1000;
      if (silent > limit.busySeconds + (isResting ? limit.periodSeconds : 0))
        return `pipeline '${source}' has given no sign of life for ${Math.round(silent)} s`;
    }
    return undefined;
  }

  /** How far every pipeline is. */
  work(): readonly PipelineWork[] {
    return [...this.#watched.values()].map(({ work }) => work);
  }

  periodRated({ source }: PeriodRated): void {
    const watched = this.#sign(source);
    if (watched === undefined) return;
    const { duePeriods, ratedPeriods } = watched.work;
    watched.work = {
      ...watched.work,
      duePeriods: Math.max(0, duePeriods - 1),
      ratedPeriods: ratedPeriods + 1,
    };
  }

  scopeFailed(source: string): void {
    this.#sign(source);
  }

  backlog(source: string, duePeriods: number, lagSeconds: number): void {
    const watched = this.#sign(source);
    if (watched === undefined) return;
    // A round begins with it.
    watched.isResting = false;
    watched.work = { ...watched.work, duePeriods, lagSeconds };
  }

  resting(source: string): void {
    const watched = this.#sign(source);
    if (watched !== undefined) watched.isResting = true;
  }

  databaseAsked(_kind: 'query' | 'transaction', outcome: 'ok' | 'error'): void {
    const now = this.#clock.monotonic();
    if (outcome === 'error') {
      this.#awaySince ??= now;
      return;
    }
    // The wait for it is over: the time counts anew. A single failure says nothing about the database.
    if (this.#awaySince !== undefined && now - this.#awaySince >= OUTAGE_MS) this.#restart();
    this.#awaySince = undefined;
  }

  #restart(): void {
    const now = this.#clock.monotonic();
    for (const watched of this.#watched.values()) {
      if (watched.lastSign !== undefined) watched.lastSign = now;
    }
  }

  #sign(source: string): Watched | undefined {
    const watched = this.#watched.get(source);
    if (watched !== undefined) watched.lastSign = this.#clock.monotonic();
    return watched;
  }

  #watchFetcher(source: string, fetcher: Fetcher): Fetcher {
    return withMethod(fetcher, 'fetchScopes', async (signal: AbortSignal) => {
      this.#sign(source);
      const scopes = await fetcher.fetchScopes(signal);
      const watched = this.#sign(source);
      if (watched !== undefined && Array.isArray(scopes))
        watched.work = { ...watched.work, scopes: scopes.length };
      return scopes;
    });
  }

  #watchCollector(source: string, collector: Collector): Collector {
    const collect: Collector['collect'] = async (request, signal) => {
      this.#sign(source);
      const collected = await collector.collect(request, signal);
      this.#sign(source);
      return collected;
    };
    return withMethod(collector, 'collect', collect);
  }

  #watchStorage(storage: Storage): Storage {
    const replacePeriod: Storage['replacePeriod'] = async (frame, write, signal) => {
      const call = { since: this.#clock.monotonic() };
      const watched = this.#sign(frame.source);
      watched?.storing.add(call);
      try {
        await storage.replacePeriod(frame, write, signal);
      } finally {
        watched?.storing.delete(call);
        this.#sign(frame.source);
      }
    };
    return withMethod(storage, 'replacePeriod', replacePeriod);
  }
}

/** The same object with another method. Its own methods go on seeing itself: they may have private fields. */
function withMethod<T extends object, K extends keyof T & string>(target: T, name: K, method: T[K]): T {
  return new Proxy(target, {
    get(_, property) {
      if (property === name) return method;
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}
