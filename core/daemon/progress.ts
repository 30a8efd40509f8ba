import type { Clock, Instant } from '../plugin-api/index.js';
import { dueCount, type PeriodRule } from '../processing/due-periods.js';
import type { PeriodRated, ProcessingMetrics } from '../processing/processing-metrics.js';

/** Tells several listeners. */
export function toAll(listeners: readonly ProcessingMetrics[]): ProcessingMetrics {
  return {
    periodRated: (event) => {
      for (const listener of listeners) listener.periodRated(event);
    },
    scopeFailed: (source, code) => {
      for (const listener of listeners) listener.scopeFailed(source, code);
    },
    backlog: (source, periods, lag) => {
      for (const listener of listeners) listener.backlog(source, periods, lag);
    },
    resting: (source) => {
      for (const listener of listeners) listener.resting?.(source);
    },
  };
}

/** How a bar is drawn. */
export interface BarDrawing {
  start(total: number, done: number): void;
  update(total: number, done: number): void;
  stop(): void;
}

/** A scope that is at most this far behind is served with lines. */
const SHOWN_FROM = 3;
/** Without a period of the past for so long, the catch-up is over: what is left belongs to scopes that fail. */
const QUIET_MS = 5_000;

/** Shows a bar while periods of the past are rated. */
export class CatchUp implements ProcessingMetrics {
  readonly #drawing: BarDrawing;
  readonly #clock: Clock;
  readonly #rules: ReadonlyMap<string, PeriodRule>;
  /** Due periods by source, as the last round counted them, less those rated since. */
  readonly #reported = new Map<string, number>();
  /** Due periods by scope, as of its last rated one. */
  readonly #behind = new Map<string, number>();
  #isActive = false;
  #done = 0;
  #watch: NodeJS.Timeout | undefined;
  #lastStep = 0;

  /** `rules` by source. */
  constructor(drawing: BarDrawing, clock: Clock, rules: ReadonlyMap<string, PeriodRule>) {
    this.#drawing = drawing;
    this.#clock = clock;
    this.#rules = rules;
  }

  /** True while the bar is on the screen. */
  get isActive(): boolean {
    return this.#isActive;
  }

  periodRated({ source, scope, period }: PeriodRated): void {
    const behind = this.#countBehind(source, period.end);
    this.#behind.set(JSON.stringify([source, scope.key, scope.id]), behind);
    this.#reported.set(source, Math.max(0, (this.#reported.get(source) ?? 0) - 1));
    if (this.#isActive) this.#done++;
    if (behind > 0) this.#lastStep = this.#clock.monotonic();
    if (!this.#isActive && behind > SHOWN_FROM) this.#begin();
    this.#draw();
  }

  scopeFailed(): void {
    // A failure is a line in the log; the bar goes on with the other scopes.
  }

  backlog(source: string, periods: number): void {
    this.#reported.set(source, periods);
    this.#draw();
  }

  /** Takes the bar off the screen. */
  end(): void {
    if (!this.#isActive) return;
    clearInterval(this.#watch);
    this.#isActive = false;
    this.#behind.clear();
    this.#drawing.stop();
  }

  #begin(): void {
    this.#isActive = true;
    this.#done = 0;
    this.#drawing.start(this.#remaining(), 0);
    this.#watch = setInterval(() => {
      if (this.#clock.monotonic() - this.#lastStep >= QUIET_MS) this.end();
    }, 1_000).unref();
  }

  #draw(): void {
    if (!this.#isActive) return;
    const remaining = this.#remaining();
    if (remaining === 0) this.end();
    else this.#drawing.update(this.#done + remaining, this.#done);
  }

  #remaining(): number {
    const reported = [...this.#reported.values()].reduce((sum, periods) => sum + periods, 0);
    const behind = [...this.#behind.values()].reduce((sum, periods) => sum + periods, 0);
    return Math.max(reported, behind);
  }

  #countBehind(source: string, watermark: Instant): number {
    const rule = this.#rules.get(source);
    return rule === undefined ? 0 : dueCount(watermark, Math.floor(this.#clock.now() / 1000), rule);
  }
}
