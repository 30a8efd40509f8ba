import { z } from 'zod';
import {
  type Instant,
  isRatecatError,
  type Period,
  type PointQuery,
  type ScopeSelector,
} from '../../plugin-api/index.js';
import type { ExplainedFrame, ExplainedPoint } from '../../reporting/explainer.js';
import { isoTime } from '../../scopes/iso-time.js';
import type { ApiServices } from '../services.js';
import { EXPLAIN_ANSWER } from './answer-schemas.js';
import { OwnFault } from './own-fault.js';
import { type OwnAnswer, type OwnCall, type OwnRoute, ownRoute } from './own-route.js';
import { PointJson } from './point-json.js';
import { pointQuery, readInstant, SELECTION } from './report-query.js';
import { isVisible } from './visibility.js';

const QUERY = z.strictObject({
  ...SELECTION,
  begin: SELECTION.begin.describe(
    'From this instant on. Without end: the period that holds this instant; without both: the newest rated one.',
  ),
  end: SELECTION.end.describe('Up to, not including, this instant.'),
  limit: z.int().min(1).max(1000).default(100).describe('At most so many points.'),
});
type Query = z.output<typeof QUERY>;

/** What is read, and what of it is meant. */
interface ChosenPeriods {
  readonly points: PointQuery;
  /** Where it is less than all: the period must hold this instant. */
  readonly holds: Instant | undefined;
}

interface RatedScopes {
  readonly scopes: readonly ScopeSelector[];
  /** Undefined where nothing is rated yet. */
  readonly newest: Instant | undefined;
}

/** How stored prices came about: computed again from the stored quantities and the rules of their time. */
export class Explanations {
  readonly #services: ApiServices;

  constructor(services: ApiServices) {
    this.#services = services;
  }

  get routes(): readonly OwnRoute[] {
    return [
      ownRoute({
        method: 'GET',
        path: '/explain',
        summary: 'How prices came about',
        description:
          'Computes stored prices again from the stored quantities and the rules of their time, step by step. Points that ' +
          'were pushed from outside bring their prices along and are left out.',
        rule: 'dataframes:get',
        query: QUERY,
        answer: EXPLAIN_ANSWER,
        handle: (call) => this.#explain(call),
      }),
    ];
  }

  async #explain(call: OwnCall<Query>): Promise<OwnAnswer> {
    const { query, signal } = call;
    const chosen = await this.#chosen(call);
    const frames = this.#inPages(chosen.points, query.limit + 1, signal);
    try {
      return await explanationJson(chosen, frames, query.limit);
    } catch (error) {
      if (!isRatecatError(error) || error.code !== 'RATECAT_SNAPSHOT_MISSING') throw error;
      throw new OwnFault(422, error.code, error.message);
    }
  }

  /** A page at a time: explaining takes long, and most of a large period may not be asked for. */
  async *#inPages(
    points: PointQuery,
    limit: number,
    signal: AbortSignal,
  ): AsyncGenerator<ExplainedFrame, void, void> {
    for (let offset = 0, read = limit; read === limit; offset += limit) {
      read = 0;
      for await (const frame of this.#services.explainer.explain({ ...points, offset, limit }, signal)) {
        read += frame.points.length;
        yield frame;
      }
    }
  }

  async #chosen({ query, identity }: OwnCall<Query>): Promise<ChosenPeriods> {
    const { limit: _, begin, end, ...rest } = query;
    const all = { ...rest, begin, end };
    if (end !== undefined) {
      const points = pointQuery(this.#services, identity, all);
      return { points: { ...points, visible: (await this.#rated(points)).scopes }, holds: undefined };
    }
    const points = pointQuery(this.#services, identity, { ...rest, begin: undefined, end: undefined });
    const rated = await this.#rated(points);
    const { calendar, clock } = this.#services;
    const holds =
      begin === undefined
        ? (rated.newest ?? Math.floor(clock.now() / 1000))
        : readInstant('begin', begin, calendar);
    return { points: { ...points, ...this.#around(holds), visible: rated.scopes }, holds };
  }

  /** Begins that a period may have which holds the instant. */
  #around(instant: Instant): Period {
    const longest = Math.max(...this.#services.sources.map(({ periodSeconds }) => periodSeconds));
    return { begin: Math.max(0, instant - longest + 1), end: instant + 1 };
  }

  /** The visible scopes that were rated here, and where the newest of their periods begins. */
  async #rated({ visible }: PointQuery): Promise<RatedScopes> {
    const states = (await this.#services.states.list()).filter((state) => isVisible(visible, state));
    const begins = states.flatMap(({ lastBegin }) => lastBegin ?? []);
    return {
      scopes: states.map(({ source, scope }) => ({ source, key: scope.key, id: scope.id })),
      newest: begins.reduce<Instant | undefined>((newest, at) => Math.max(newest ?? at, at), undefined),
    };
  }
}

/** In one piece, for there are few points, and the range may only be known when they were read. */
async function explanationJson(
  { points, holds }: ChosenPeriods,
  frames: AsyncIterable<ExplainedFrame>,
  limit: number,
): Promise<string> {
  const json = new PointJson();
  const lines: string[] = [];
  const periods: Period[] = [];
  let isComplete = true;
  for await (const explained of frames) {
    const { period } = explained.frame;
    if (holds !== undefined && period.end <= holds) continue;
    const fitting = explained.points.slice(0, limit - lines.length);
    isComplete = fitting.length === explained.points.length;
    if (fitting.length > 0) periods.push(period);
    for (const point of fitting) lines.push(pointJson(json, explained, point));
    if (!isComplete) break;
  }
  const { begin, end } = holds === undefined ? points : around(holds, periods);
  const range = `"begin":"${isoTime(begin)}","end":"${isoTime(end)}"`;
  const separator = lines.length === 0 ? '' : '\n';
  return `{${range},"points":[${separator}${lines.join(',\n')}],"is_complete":${isComplete}}`;
}

/** What the periods that hold an instant span; where there is none, the instant alone. */
function around(instant: Instant, periods: readonly Period[]): Period {
  return {
    begin: Math.min(instant, ...periods.map(({ begin }) => begin)),
    end: Math.max(instant, ...periods.map(({ end }) => end)),
  };
}

function pointJson(json: PointJson, { frame }: ExplainedFrame, explained: ExplainedPoint): string {
  const { point, modules, recomputed, agrees } = explained;
  const more = JSON.stringify({
    snapshot: frame.snapshot,
    modules: modules.map(({ module, price, steps }) => ({
      module,
      price: price.toString(),
      steps: steps.map(({ text, rule, price: after }) => ({ text, rule, price: after.toString() })),
    })),
    recomputed: recomputed.toString(),
    agrees,
  });
  return `${json.open(frame, point)},${more.slice(1)}`;
}
