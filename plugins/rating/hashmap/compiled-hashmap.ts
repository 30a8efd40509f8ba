import {
  type CompiledRating,
  type ExplanationStep,
  type Frame,
  type Instant,
  type Period,
  type RatedPoint,
  Slice,
} from '../../../core/plugin-api/index.js';
import { explainPoint } from './explain-point.js';
import type { NumberReader } from './field-match.js';
import { FrameRater } from './frame-rater.js';
import { buildRuleTable, countUpTo } from './rule-table.js';
import type { CostRule, HashmapRules, ParentRules } from './rules.js';

/** Points rated between two looks at the clock: other work gets its turn too. */
const POINTS_PER_LOOK = 1_024;
/** Tables kept for different sets of active rules: the present one, the one before a change, and those of a replay. */
const KEPT_TABLES = 4;

/** Rules of one scope, ready to rate any number of periods. */
export class CompiledHashmap implements CompiledRating {
  readonly #rules: HashmapRules;
  readonly #tenant: string | undefined;
  readonly #readNumber: NumberReader;
  /** Instants at which the set of active rules changes, ascending. */
  readonly #changes: readonly Instant[];
  readonly #raters = new Map<number, FrameRater>();

  constructor(rules: HashmapRules, tenant: string | undefined, readNumber: NumberReader) {
    this.#rules = rulesOfScope(rules, tenant);
    this.#tenant = tenant;
    this.#readNumber = readNumber;
    this.#changes = changesOf(this.#rules);
  }

  rate(frame: Frame<RatedPoint>, signal: AbortSignal): Frame<RatedPoint> | Promise<Frame<RatedPoint>> {
    signal.throwIfAborted();
    const rater = this.#raterAt(frame.period.begin);
    if (frame.points.length > POINTS_PER_LOOK) return rateInSlices(rater, frame, signal);
    return { ...frame, points: rater.rate(frame.points, 0, frame.points.length) };
  }

  explain(point: RatedPoint, period: Period): readonly ExplanationStep[] {
    const table = this.#raterAt(period.begin).table;
    return explainPoint(table.get(point.descriptor.metric), point, this.#readNumber);
  }

  /** One rater for all instants between two changes. */
  #raterAt(instant: Instant): FrameRater {
    const interval = countUpTo(this.#changes, (change) => change <= instant);
    const known = this.#raters.get(interval);
    if (known !== undefined) return known;
    if (this.#raters.size >= KEPT_TABLES) this.#raters.delete(this.#raters.keys().next().value!);
    const rater = new FrameRater(buildRuleTable(this.#rules, this.#tenant, instant), this.#readNumber);
    this.#raters.set(interval, rater);
    return rater;
  }
}

async function rateInSlices(
  rater: FrameRater,
  frame: Frame<RatedPoint>,
  signal: AbortSignal,
): Promise<Frame<RatedPoint>> {
  const points: RatedPoint[] = [];
  const slice = new Slice();
  for (let begin = 0; begin < frame.points.length; begin += POINTS_PER_LOOK) {
    if (slice.isOver) await slice.breathe();
    signal.throwIfAborted();
    const end = Math.min(begin + POINTS_PER_LOOK, frame.points.length);
    for (const point of rater.rate(frame.points, begin, end)) points.push(point);
  }
  return { ...frame, points };
}

/** Only what this scope can ever use: quotes and snapshots hold the rules of every tenant. */
function rulesOfScope(rules: HashmapRules, tenant: string | undefined): HashmapRules {
  const concerns = (rule: CostRule) => rule.tenant === undefined || rule.tenant === tenant;
  const concerned = <P extends ParentRules>(parent: P): P => ({
    ...parent,
    mappings: parent.mappings.filter(concerns),
    thresholds: parent.thresholds.filter(concerns),
  });
  return {
    services: rules.services.map((service) => ({
      ...concerned(service),
      fields: service.fields.map(concerned),
    })),
  };
}

function changesOf(rules: HashmapRules): Instant[] {
  const changes = new Set<Instant>();
  for (const service of rules.services)
    for (const parent of [service, ...service.fields])
      for (const { start, end } of parent.mappings) {
        changes.add(start);
        if (end !== undefined) changes.add(end);
      }
  return [...changes].sort((left, right) => left - right);
}
