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
import { bodyInParts } from '../v2/streamed-body.js';
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
    const { query, signal, request } = call;
    const chosen = await this.#chosen(call);
    const frames = this.#inPages(chosen.points, query.limit + 1, signal);
    try {
      return await bodyInParts(explanationJson(chosen, frames, query.limit), request.method);
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
    const holds = begin === undefined ? rated.newest : readInstant('begin', begin, this.#services.calendar);
    return { points: { ...points, ...this.#around(holds), visible: rated.scopes }, holds };
  }

  /** Begins that a period may have which holds the instant. */
  #around(instant: Instant): Period {
    const longest = Math.max(...this.#services.sources.map(({ periodSeconds }) => periodSeconds));
    return { begin: Math.max(0, instant - longest + 1), end: instant + 1 };
  }

  /** The visible scopes that were rated here, and where the newest of their periods begins. */
  async #rated({ visible }: PointQuery): Promise<{ scopes: readonly ScopeSelector[]; newest: Instant }> {
    const states = (await this.#services.states.list()).filter((state) => isVisible(visible, state));
    return {
      scopes: states.map(({ source, scope }) => ({ source, key: scope.key, id: scope.id })),
      newest: states.reduce((newest, { lastBegin }) => Math.max(newest, lastBegin ?? 0), 0),
    };
  }
}

async function* explanationJson(
  { points: { begin, end }, holds }: ChosenPeriods,
  frames: AsyncIterable<ExplainedFrame>,
  limit: number,
): AsyncGenerator<string, void, void> {
  yield `{"begin":"${isoTime(begin)}","end":"${isoTime(end)}","points":[`;
  const json = new PointJson();
  let given = 0;
  let isComplete = true;
  for await (const explained of frames) {
    if (holds !== undefined && explained.frame.period.end <= holds) continue;
    const lines: string[] = [];
    for (const point of explained.points.slice(0, limit - given))
      lines.push(`${given + lines.length === 0 ? '\n' : ',\n'}${pointJson(json, explained, point)}`);
    given += lines.length;
    isComplete = lines.length === explained.points.length;
    yield lines.join('');
    if (!isComplete) break;
  }
  yield `],"is_complete":${isComplete}}`;
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
