import { Decimal, type Storage, type StoredFrame } from '../plugin-api/index.js';
import type { Pipeline } from '../processing/pipeline.js';
import { isoTime } from '../scopes/iso-time.js';
import type { ScopeState } from '../scopes/scope-states.js';
import type { Examination, Say } from './examination.js';
import { labelOf, type MetricPoints } from './metrics.js';

export interface StoredParts {
  readonly where: string | undefined;
  readonly pipeline: Pipeline | undefined;
  readonly known: readonly ScopeState[] | undefined;
  readonly storage: Storage | undefined;
}

const SCOPES_READ = 3;
const POINTS_READ = 5_000;

/** The metrics of a collector that is not asked: what the newest periods of a few scopes hold. */
export async function lookAtStored(
  examination: Examination,
  { where, pipeline, known, storage }: StoredParts,
): Promise<readonly MetricPoints[] | undefined> {
  const needs = { pipeline, services: storage, scopes: known };
  return examination.look(
    { area: 'metrics', what: 'the stored points', where, needs },
    async (got, say, signal) => {
      const frames = await newestFrames(got.scopes, got.services, signal);
      if (frames.length === 0) {
        say.skip('nothing-stored', 'nothing is stored yet that would tell which metrics are measured');
        return undefined;
      }
      for (const metric of got.pipeline.metrics) judge(metric, frames, say);
      return got.pipeline.metrics.flatMap((metric) => pointsOf(metric, frames, got.pipeline.source));
    },
  );
}

async function newestFrames(
  known: readonly ScopeState[],
  storage: Storage,
  signal: AbortSignal,
): Promise<readonly StoredFrame[]> {
  const rated = known
    .filter(({ lastBegin }) => lastBegin !== undefined)
    .sort((a, b) => b.lastBegin! - a.lastBegin!)
    .slice(0, SCOPES_READ);
  const frames: StoredFrame[] = [];
  for (const { source, scope, lastBegin } of rated) {
    const query = {
      visible: [{ source, key: scope.key, id: scope.id }],
      begin: lastBegin!,
      end: lastBegin! + 1,
      limit: POINTS_READ,
    };
    for await (const frame of storage.readPeriods(query, signal)) frames.push(frame);
  }
  return frames;
}

type Metric = Pipeline['metrics'][number];

function judge(metric: Metric, frames: readonly StoredFrame[], say: Say): void {
  const { ratedName } = metric.metric;
  const holding = frames.find(({ points }) =>
    points.some(({ descriptor }) => descriptor.metric === ratedName),
  );
  if (holding !== undefined) {
    const { scope, period } = holding;
    say.ok('metric-stored', `${labelOf(metric)}: stored for '${scope.id}' at ${isoTime(period.begin)}`);
    return;
  }
  const gap = frames.flatMap(({ gaps }) => gaps).find((found) => found.metric === ratedName);
  if (gap !== undefined) {
    say.warn('metric-unmeasurable', `${labelOf(metric)} could not be measured: ${gap.reason}`, {
      fix: 'Its periods become gaps, never zeros. Check what the reason names.',
    });
    return;
  }
  say.warn('metric-nothing', `${labelOf(metric)} is not in the newest periods of ${frames.length} scopes`, {
    fix: `Check the spelling of '${metric.metric.name}' in the metrics file. Nothing is wrong if nobody used it.`,
  });
}

function pointsOf(metric: Metric, frames: readonly StoredFrame[], source: string): readonly MetricPoints[] {
  const { ratedName } = metric.metric;
  for (const { scope, period, points } of frames) {
    const own = points.filter(({ descriptor }) => descriptor.metric === ratedName);
    if (own.length === 0) continue;
    return [
      { source, metric, scope, period, points: own.map((point) => ({ ...point, price: Decimal.ZERO })) },
    ];
  }
  return [];
}
