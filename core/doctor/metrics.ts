import type { LifecycleStack } from '../daemon/lifecycle.js';
import type {
  AttributeValue,
  Calendar,
  Clock,
  Period,
  RatedPoint,
  Sample,
  Scope,
} from '../plugin-api/index.js';
import { Decimal } from '../plugin-api/index.js';
import type { Pipeline, ProcessingMetric } from '../processing/pipeline.js';
import { isoTime } from '../scopes/iso-time.js';
import type { ScopeState } from '../scopes/scope-states.js';
import type { Examination, Say } from './examination.js';
import { isAsked } from './own-data.js';
import { isDead, type MetricLook, newestDue, sampleMetrics } from './sampling.js';

export interface MetricsParts {
  readonly where: string | undefined;
  readonly pipeline: Pipeline | undefined;
  readonly metricsFile: string;
  readonly scopes: readonly Scope[] | undefined;
  readonly known: readonly ScopeState[] | undefined;
  readonly stack: LifecycleStack;
  readonly clock: Clock;
  readonly calendar: Calendar | undefined;
}

/** Points of one metric in one scope and period, unrated: what prices are tried on. */
export interface MetricPoints {
  readonly source: string;
  readonly metric: ProcessingMetric;
  readonly scope: Scope;
  readonly period: Period;
  readonly points: readonly RatedPoint[];
}

const METRICS_MS = 180_000;

/**
 * Asks the collector about the newest due period, and about older ones where that gives nothing. Undefined when it cannot
 * be asked.
 */
export async function lookAtMetrics(
  examination: Examination,
  parts: MetricsParts,
): Promise<readonly MetricPoints[] | undefined> {
  const { where, pipeline, scopes, stack } = parts;
  const collector = await examination.look(
    { area: 'collector', what: 'its start', where, needs: { pipeline } },
    async (got, say, signal) => {
      const { collector, collectorName, source } = got.pipeline;
      if (!isAsked('collector', collectorName)) {
        say.skip(
          'collector-not-asked',
          `the collector '${collectorName}' is not asked: it would take in usage by that; what is stored is looked at instead`,
        );
        return undefined;
      }
      await stack.start(`collector plugin '${collectorName}' of ${source}`, collector, signal);
      return collector;
    },
  );
  if (pipeline !== undefined && !isAsked('collector', pipeline.collectorName)) return undefined;
  const looks = await examination.look(
    {
      area: 'collector',
      what: 'its answers',
      where,
      needs: { pipeline, collector, scopes },
      limitMs: METRICS_MS,
    },
    async (got, say, signal) => {
      const newest = newestPeriod(got.pipeline, parts);
      const found = await sampleMetrics({ ...got, newest, clock: parts.clock, signal });
      if (found.length === 0 || !found.every(isDead)) {
        say.ok(
          'collector-answers',
          `'${got.pipeline.collectorName}' answers for ${isoTime(newest.begin)} to ${isoTime(newest.end)}`,
        );
        return found;
      }
      const [{ answer }] = found[0]!.answers as readonly [MetricLook['answers'][number]];
      if (answer.kind === 'failed') say.error(answer.error);
      return undefined;
    },
  );
  return examination.look(
    { area: 'metrics', what: 'the metrics', where, needs: { pipeline, collector: looks } },
    async (got, say) => {
      for (const look of got.collector) judgeMetric(look, { ...got, metricsFile: parts.metricsFile }, say);
      if (got.collector.length > 0 && got.collector.every(isSilent))
        say.fail(
          'no-metric-measured',
          'no metric gave anything for any scope that was asked: nothing will be billed',
          {
            fix: 'Compare collect.scope_key and the metrics file with what the source has; start with the findings above.',
          },
        );
      return got.collector.flatMap((look) => pointsOf(look, got.pipeline));
    },
  );
}

/** On the grid of a scope that is rated already, or of the billing month. */
function newestPeriod(pipeline: Pipeline, { known, clock, calendar }: MetricsParts): Period {
  const now = Math.floor(clock.now() / 1000);
  const rated = known?.find(({ watermark }) => watermark !== undefined)?.watermark;
  const phase = rated ?? pipeline.settings.start ?? calendar?.slice(now, 'month').begin ?? 0;
  return newestDue(now, phase, pipeline.settings.periods);
}

// ------------------------------------------------------------------------------------------------------------ judging

interface Judging {
  readonly pipeline: Pipeline;
  readonly metricsFile: string;
}

function isSilent({ answers }: MetricLook): boolean {
  return answers.every(({ answer }) => answer.kind === 'nothing' || answer.kind === 'unmeasurable');
}

/** One finding or more about what was answered for a metric. */
export function judgeMetric(look: MetricLook, judging: Judging, say: Say): void {
  const { metric, answers } = look;
  const where = `${judging.metricsFile}: ${labelOf(metric)}`;
  const [newest] = answers;
  if (newest?.answer.kind === 'failed') {
    say.error(newest.answer.error, { where });
    return;
  }
  const measured = answers.find(({ answer }) => answer.kind === 'measured');
  if (measured?.answer.kind !== 'measured') {
    judgeSilence(look, judging, say, where);
    return;
  }
  const { samples } = measured.answer;
  const hasGaps = isIntermittent(look);
  if (hasGaps) sayGranularity(look, judging, say, where);
  else if (measured !== newest) sayStale(look, measured.period, say, where);
  else {
    const count = `${samples.length} sample${samples.length === 1 ? '' : 's'}`;
    say.ok(
      'metric-measured',
      `${labelOf(metric)}: ${count} for '${look.scope.id}', newest period ${isoTime(measured.period.begin)}`,
    );
  }
  judgeAttributes(look, samples, say, where);
}

function judgeSilence(look: MetricLook, { pipeline }: Judging, say: Say, where: string): void {
  const { metric, scope, scopesAsked, withoutScope, answers } = look;
  const { name } = metric.metric;
  if (withoutScope > 0) {
    say.warn(
      'scope-label-missing',
      `'${name}' exists upstream, but ${withoutScope} of its series have no '${scope.key}', and none belongs to a scope that was asked for`,
      {
        where,
        fix: `Set collect.scope_key to an attribute that the series have, or have the source add '${scope.key}'.`,
      },
    );
    return;
  }
  const reasons = answers.flatMap(({ answer }) => (answer.kind === 'unmeasurable' ? [answer.reason] : []));
  if (reasons.length > 0 && reasons.length === answers.length) {
    say.warn('metric-unmeasurable', `'${name}' cannot be measured: ${reasons[0]}`, {
      where,
      fix: 'Its periods become gaps, never zeros. Check that the source runs and keeps data longer than rating takes.',
    });
    return;
  }
  const asked = scopesAsked === 1 ? `scope '${scope.id}'` : `${scopesAsked} scopes`;
  say.warn(
    'metric-nothing',
    `'${name}' gave nothing for ${asked} in the newest period, nor for '${scope.id}' since ${isoTime(answers.at(-1)!.period.begin)}`,
    {
      where,
      fix: `Check the spelling of '${name}', its extra_args, and that scopes are told apart by '${pipeline.scopeKey}' there. Nothing is wrong if these scopes do not use it.`,
    },
  );
}

function sayStale({ metric, scope }: MetricLook, newest: Period, say: Say, where: string): void {
  say.warn(
    'metric-stale',
    `'${metric.metric.name}' of '${scope.id}' has no sample in the newest period; the newest is of the period ${isoTime(newest.begin)}`,
    { where, fix: 'Check that what measures it still runs. Nothing is wrong if the scope stopped using it.' },
  );
}

/** Something between nothings, or nothing between somethings, within successive periods. */
function isIntermittent({ answers, successive }: MetricLook): boolean {
  const pattern = answers.slice(0, successive).map(({ answer }) => answer.kind === 'measured');
  const first = pattern.indexOf(true);
  const last = pattern.lastIndexOf(true);
  if (first < 0) return false;
  const isIsolated = first === last && first > 0 && last < pattern.length - 1;
  return isIsolated || pattern.slice(first, last).includes(false);
}

function sayGranularity(
  { metric, answers, successive }: MetricLook,
  { pipeline }: Judging,
  say: Say,
  where: string,
): void {
  const pattern = answers.slice(0, successive);
  const count = pattern.filter(({ answer }) => answer.kind === 'measured').length;
  const { periodSeconds } = pipeline.settings.periods;
  say.warn(
    'granularity-too-coarse',
    `'${metric.metric.name}' gave something in ${count} of ${pattern.length} successive periods: the source records it less often than every ${periodSeconds} s`,
    {
      where,
      fix: `Set collect.period to a multiple of the interval of the source (scrape interval, granularity of the archive policy), or have it record more often than every ${periodSeconds} s.`,
    },
  );
}

function judgeAttributes(
  { metric, scope }: MetricLook,
  samples: readonly Sample[],
  say: Say,
  where: string,
): void {
  const strange = samples.find(({ groupby }) => textOf(groupby.get(scope.key)) !== scope.id);
  if (strange !== undefined) {
    const has = textOf(strange.groupby.get(scope.key));
    say.warn(
      'scope-key-missing',
      `a sample of '${metric.metric.name}' for the scope '${scope.id}' has ${has === '' ? 'no' : `'${has}' as`} '${scope.key}'`,
      { where, fix: `Reports by '${scope.key}' will miss it. Check groupby and the queries in extra_args.` },
    );
  }
  for (const name of [...metric.metric.groupby, ...metric.metric.metadata]) {
    if (name === scope.key) continue;
    if (samples.some((sample) => textOf(sample.groupby.get(name) ?? sample.metadata.get(name)) !== ''))
      continue;
    say.warn(
      'attribute-missing',
      `no sample of '${metric.metric.name}' has '${name}': rules on it never apply`,
      {
        where,
        fix: `Correct '${name}' in groupby or metadata, or have the source give it.`,
      },
    );
  }
}

function textOf(value: AttributeValue | undefined): string {
  if (value === undefined || value === null) return '';
  return typeof value === 'string' ? value : String(value);
}

export function labelOf({ metric }: ProcessingMetric): string {
  return metric.ratedName === metric.name ? `'${metric.name}'` : `'${metric.name}' (${metric.ratedName})`;
}

function pointsOf({ metric, scope, answers }: MetricLook, { source }: Pipeline): readonly MetricPoints[] {
  const found = answers.find(({ answer }) => answer.kind === 'measured');
  if (found?.answer.kind !== 'measured') return [];
  const { unit, description } = metric.facts;
  const points = found.answer.samples.map(({ groupby, metadata, value }) => ({
    descriptor: { metric: metric.metric.ratedName, unit, groupby, metadata, description },
    quantity: metric.convert(value),
    price: Decimal.ZERO,
  }));
  return [{ source, metric, scope, period: found.period, points }];
}
