import pLimit from 'p-limit';
import {
  type Clock,
  type Collected,
  type Instant,
  isRatecatError,
  type Period,
  type Scope,
} from '../plugin-api/index.js';
import { dueAt, type PeriodRule } from '../processing/due-periods.js';
import type { Pipeline, ProcessingMetric } from '../processing/pipeline.js';
import { checkCollected } from '../processing/plugin-answers.js';
import { withTimeLimit } from '../processing/time-limit.js';

/** What a collector said of one metric, scope and period; an error counts as an answer here. */
export type Answer = Collected | { readonly kind: 'failed'; readonly error: unknown };

export interface PeriodAnswer {
  readonly period: Period;
  readonly answer: Answer;
}

/** Everything that was asked about one metric. */
export interface MetricLook {
  readonly metric: ProcessingMetric;
  /** The scope that was looked at over several periods: the first that gave anything, or else the first. */
  readonly scope: Scope;
  readonly scopesAsked: number;
  /** Newest first. Up to the last of `successive` without a gap; older ones lie further apart. */
  readonly answers: readonly PeriodAnswer[];
  readonly successive: number;
  /** Samples that no scope has: the metric exists, but without the label that tells scopes apart. */
  readonly withoutScope: number;
}

export interface SamplingParts {
  readonly pipeline: Pipeline;
  /** At least one. */
  readonly scopes: readonly Scope[];
  /** The newest period that is due. */
  readonly newest: Period;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

const SCOPES_ASKED = 3;
/** Periods one after the other in which a gap shows that samples are rarer than periods. */
const WINDOW = 6;
/** How far back the newest sample is looked for when the window has none, in periods. */
const FURTHER_BACK = [24, 168] as const;
const AT_ONCE = 4;
const ANSWER_MS = 20_000;

/** The newest period that is due, on the grid of `phase`. */
export function newestDue(now: Instant, phase: Instant, rule: PeriodRule): Period {
  const { periodSeconds } = rule;
  const latest = now - dueAt(0, rule);
  const begin = phase + Math.floor((latest - phase) / periodSeconds) * periodSeconds;
  return { begin, end: begin + periodSeconds };
}

/** Asks the collector about every metric; what it cannot do at all is found out with few questions. */
export async function sampleMetrics(parts: SamplingParts): Promise<readonly MetricLook[]> {
  const { metrics } = parts.pipeline;
  const looks: MetricLook[] = [];
  for (const metric of metrics.slice(0, 2)) {
    looks.push(await sampleMetric(metric, parts));
    if (!isDead(looks.at(-1)!)) break;
  }
  if (looks.every(isDead)) return looks;
  const limit = pLimit(AT_ONCE);
  const rest = metrics.slice(looks.length).map((metric) => limit(() => sampleMetric(metric, parts)));
  return [...looks, ...(await Promise.all(rest))];
}

/** The source itself does not answer, or refuses whoever asks. */
export function isDead({ answers }: MetricLook): boolean {
  const answer = answers[0]?.answer;
  if (answer?.kind !== 'failed' || !isRatecatError(answer.error)) return false;
  const { kind, code } = answer.error;
  return kind === 'unavailable' || code === 'RATECAT_AUTH_REJECTED' || code === 'RATECAT_ENDPOINT_MISSING';
}

async function sampleMetric(metric: ProcessingMetric, parts: SamplingParts): Promise<MetricLook> {
  const { newest, scopes } = parts;
  const ask = (scope: Scope, period: Period) => askOnce(metric, scope, period, parts);
  let scope = scopes[0]!;
  let first: Answer = { kind: 'nothing' };
  let scopesAsked = 0;
  for (const candidate of scopes.slice(0, SCOPES_ASKED)) {
    const answer = await ask(candidate, newest);
    scopesAsked++;
    if (scopesAsked === 1 || answer.kind === 'measured') {
      first = answer;
      scope = candidate;
    }
    if (answer.kind === 'measured' || answer.kind === 'failed') break;
  }
  const answers: PeriodAnswer[] = [{ period: newest, answer: first }];
  if (first.kind !== 'failed') await lookBack(answers, (period) => ask(scope, period));
  const successive = Math.min(answers.length, WINDOW);
  const withoutScope = answers.every(({ answer }) => isEmpty(answer))
    ? await countWithoutScope(metric, scope, parts)
    : 0;
  return { metric, scope, scopesAsked, answers, successive, withoutScope };
}

/** Goes back until two successive periods gave something, or the newest sample is found. */
async function lookBack(answers: PeriodAnswer[], ask: (period: Period) => Promise<Answer>): Promise<void> {
  const newest = answers[0]!.period;
  const isSteady = () =>
    answers.length >= 2 && answers.slice(0, 2).every(({ answer }) => answer.kind === 'measured');
  const look = async (periods: number): Promise<void> => {
    const period = back(newest, periods);
    answers.push({ period, answer: await ask(period) });
  };
  for (let periods = 1; periods < WINDOW && !isSteady(); periods++) await look(periods);
  for (const periods of FURTHER_BACK) {
    if (answers.some(({ answer }) => answer.kind === 'measured')) return;
    await look(periods);
  }
}

function back({ begin, end }: Period, periods: number): Period {
  const seconds = (end - begin) * periods;
  return { begin: begin - seconds, end: end - seconds };
}

function isEmpty(answer: Answer): boolean {
  return answer.kind === 'nothing' || answer.kind === 'unmeasurable';
}

/** Sources that choose by a label find what lacks it when asked for an empty one; others find nothing. */
async function countWithoutScope(
  metric: ProcessingMetric,
  scope: Scope,
  parts: SamplingParts,
): Promise<number> {
  const answer = await askOnce(metric, { key: scope.key, id: '' }, parts.newest, parts);
  return answer.kind === 'measured' ? answer.samples.length : 0;
}

async function askOnce(
  { metric }: ProcessingMetric,
  scope: Scope,
  period: Period,
  { pipeline, clock, signal }: SamplingParts,
): Promise<Answer> {
  const { collector, collectorName, settings } = pipeline;
  try {
    const answer = await withTimeLimit(
      `Collector '${collectorName}'`,
      Math.min(ANSWER_MS, settings.metricTimeoutMs),
      clock,
      signal,
      (limited) => collector.collect({ metric, scope, period }, limited),
    );
    return checkCollected(collectorName, answer);
  } catch (error) {
    signal.throwIfAborted();
    return { kind: 'failed', error };
  }
}
