import type { Config } from '../config/config.js';
import type { Calendar, Clock, Instant, RetainOrder, Scope, Storage } from '../plugin-api/index.js';
import { isoTime } from '../scopes/iso-time.js';
import type { ReprocessRegister } from '../scopes/reprocess-tasks.js';
import type { ScopeState, ScopeStates } from '../scopes/scope-states.js';
import { planRetention, type RetainingStorage, type RetentionPlan, retaining } from './retention-plan.js';

export interface RetentionParts {
  readonly config: Pick<Config, 'retention' | 'pipelines'>;
  readonly storage: Storage;
  readonly states: ScopeStates;
  readonly tasks: Pick<ReprocessRegister, 'unfinished'>;
  readonly calendar: Calendar;
  readonly clock: Clock;
}

export interface RetentionResult {
  readonly plan: RetentionPlan;
  /** Rows that the storage removed. */
  readonly rows: number;
}

/** Between steps the database has time for others; at least as long as the step took. */
const LEAST_PAUSE_MS = 5;

/** Drops what the policies of the configuration no longer keep. */
export class Retention {
  readonly #parts: RetentionParts;

  constructor(parts: RetentionParts) {
    this.#parts = parts;
  }

  /** @throws ConfigError RATECAT_RETENTION_UNSUPPORTED */
  async plan(signal: AbortSignal): Promise<RetentionPlan> {
    const { storage, calendar, clock, config } = this.#parts;
    const written = await this.#writtenFrom();
    return planRetention(
      {
        storage,
        calendar,
        policies: config.retention.policies,
        now: Math.floor(clock.now() / 1000),
        writtenFrom: (source, scope) => written.get(identityOf(source, scope)),
      },
      signal,
    );
  }

  /**
   * Plans, raises the limits and removes what lies before them, in small steps. Goes on where a run before was stopped.
   * @param onRows hears how many rows are removed so far.
   * @throws ConfigError RATECAT_RETENTION_UNSUPPORTED
   */
  async apply(
    author: string,
    signal: AbortSignal,
    onRows: (rows: number) => void = () => undefined,
  ): Promise<RetentionResult> {
    const plan = await this.plan(signal);
    const storage = retaining(this.#parts.storage);
    for (const order of plan.orders) await this.#raise(storage, order, author, signal);
    let rows = 0;
    const steps = [
      (): Promise<number> => storage.thin(signal),
      async () => (await storage.sweep?.(signal)) ?? 0,
    ];
    for (const step of steps) {
      await this.#repeat(
        step,
        (removed) => {
          rows += removed;
          onRows(rows);
        },
        signal,
      );
    }
    return { plan, rows };
  }

  async #raise(
    storage: RetainingStorage,
    order: RetainOrder,
    author: string,
    signal: AbortSignal,
  ): Promise<void> {
    const { states, clock, calendar } = this.#parts;
    // Whoever sent the scope back since the plan was made wants to rate those periods again.
    const written = (await this.#writtenFrom(order)).get(identityOf(order.source, order.scope));
    const ceiling = written === undefined ? undefined : calendar.slice(written, 'month').begin;
    if (ceiling !== undefined && order.limits.some(({ points }) => points > ceiling)) return;
    await storage.retain(order, signal);
    const [state] = await states.find({
      sources: [order.source],
      keys: [order.scope.key],
      ids: [order.scope.id],
    });
    const limits = order.limits.map(({ metric, points, dailySums, monthlySums }) => ({
      ...(metric === undefined ? {} : { metric }),
      points: isoTime(points),
      ...(dailySums > 0 ? { dailySums: isoTime(dailySums) } : {}),
      ...(monthlySums > 0 ? { monthlySums: isoTime(monthlySums) } : {}),
    }));
    await states.audit({
      at: Math.floor(clock.now() / 1000),
      ...(state === undefined ? {} : { row: state.row }),
      action: 'retention.limits',
      author,
      detail: JSON.stringify({ source: order.source, keptFrom: limits }),
    });
  }

  async #repeat(
    step: () => Promise<number>,
    onRemoved: (rows: number) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const { clock } = this.#parts;
    for (;;) {
      const begin = clock.monotonic();
      const removed = await step();
      if (removed === 0) return;
      onRemoved(removed);
      await clock.sleep(Math.max(LEAST_PAUSE_MS, clock.monotonic() - begin), signal);
    }
  }

  /** From when periods of scopes may still be written, by scope: the next one, late data, orders to rate again. */
  async #writtenFrom(only?: RetainOrder): Promise<ReadonlyMap<string, Instant>> {
    const { states, tasks, config } = this.#parts;
    const lookBack = new Map(
      config.pipelines.map(({ name, collect }) => [name, collect.lookBackPeriods * collect.periodSeconds]),
    );
    const known: readonly ScopeState[] =
      only === undefined
        ? await states.list()
        : await states.find({ sources: [only.source], keys: [only.scope.key], ids: [only.scope.id] });
    const written = new Map<string, Instant>();
    for (const { source, scope, watermark } of known) {
      if (watermark !== undefined)
        written.set(identityOf(source, scope), watermark - (lookBack.get(source) ?? 0));
    }
    for (const { source, scope, begin, current } of await tasks.unfinished()) {
      const key = identityOf(source, scope);
      written.set(key, Math.min(current ?? begin, written.get(key) ?? Number.POSITIVE_INFINITY));
    }
    return written;
  }
}

function identityOf(source: string, { key, id }: Scope): string {
  return JSON.stringify([source, key, id]);
}
