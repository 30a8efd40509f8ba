import type { Period, Scope } from '../plugin-api/index.js';

/** What the line tells the world while it runs; the daemon turns it into metrics and progress. Never blocks, never throws. */
export interface ProcessingMetrics {
  periodRated(event: PeriodRated): void;
  scopeFailed(source: string, code: string): void;
  /** Due periods that are not rated yet and the age of the oldest, over all scopes of a source. */
  backlog(source: string, periods: number, lagSeconds: number): void;
  /** A round over all scopes of a source has ended, well or not: nothing is under way until the next one begins. */
  resting?(source: string): void;
}

export interface PeriodRated {
  readonly source: string;
  readonly scope: Scope;
  readonly period: Period;
  readonly points: number;
  readonly seconds: number;
}

export const noMetrics: ProcessingMetrics = {
  periodRated: () => undefined,
  scopeFailed: () => undefined,
  backlog: () => undefined,
};
