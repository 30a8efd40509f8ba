import { z } from 'zod';
import type { FrameQuery, GroupKey, StoredFrame, TimeUnit, Total } from '../../plugin-api/index.js';
import { isoTime } from '../../scopes/iso-time.js';
import type { ApiServices } from '../services.js';
import { bodyInParts } from '../v2/streamed-body.js';
import { DATAFRAMES_ANSWER, SUMMARY_ANSWER } from './answer-schemas.js';
import { invalid } from './own-fault.js';
import { type OwnAnswer, type OwnCall, type OwnRoute, ownRoute } from './own-route.js';
import { PointJson } from './point-json.js';
import { OFFSET, pointQuery, SELECTION } from './report-query.js';

/** More keys than this are a mistake. */
const MOST_KEYS = 16;

const SUMMARY_QUERY = z.strictObject({
  ...SELECTION,
  group_by: z
    .string()
    .max(4000)
    .optional()
    .describe(
      'Keys with commas between them: type (of usage), scope, time (period), time-d, time-w, time-m, time-y, or any attribute.',
    ),
  offset: OFFSET,
  limit: z.int().min(1).max(10_000).default(1000).describe('At most so many rows.'),
});

const DATAFRAMES_QUERY = z.strictObject({
  ...SELECTION,
  offset: OFFSET,
  limit: z.int().min(1).max(100_000).default(1000).describe('At most so many points.'),
});

const TIME_GROUPS: ReadonlyMap<string, TimeUnit> = new Map([
  ['time', 'period'],
  ['time-d', 'day'],
  ['time-w', 'week'],
  ['time-m', 'month'],
  ['time-y', 'year'],
]);

/** Sums and rated points, exact to the last digit. */
export class Reports {
  readonly #services: ApiServices;

  constructor(services: ApiServices) {
    this.#services = services;
  }

  get routes(): readonly OwnRoute[] {
    return [
      ownRoute({
        method: 'GET',
        path: '/summary',
        summary: 'Sums of quantities and prices',
        description: 'Sums by type, scope, time and attributes; rows in order of their groups.',
        rule: 'summary:get_summary',
        query: SUMMARY_QUERY,
        answer: SUMMARY_ANSWER,
        handle: (call) => this.#summary(call),
      }),
      ownRoute({
        method: 'GET',
        path: '/dataframes',
        summary: 'Every rated point',
        description: 'Points in order of period, source, scope and metric.',
        rule: 'dataframes:get',
        query: DATAFRAMES_QUERY,
        answer: DATAFRAMES_ANSWER,
        handle: (call) => this.#dataframes(call),
      }),
    ];
  }

  async #summary({ query, identity, signal }: OwnCall<z.output<typeof SUMMARY_QUERY>>): Promise<OwnAnswer> {
    const { group_by, offset, limit, ...selection } = query;
    const names = group_by === undefined ? [] : group_by.split(',').map((name) => name.trim());
    const groupby = this.#groupKeys(names);
    const points = pointQuery(this.#services, identity, selection);
    const page = await this.#services.storage.total({ ...points, groupby, offset, limit }, signal);
    return JSON.stringify({
      begin: isoTime(points.begin),
      end: isoTime(points.end),
      group_by: names,
      total_rows: page.total,
      rows: page.rows.map(rowJson),
      next_offset:
        offset + page.rows.length < page.total && page.rows.length > 0 ? offset + page.rows.length : null,
    });
  }

  /** @throws OwnFault 400 */
  #groupKeys(names: readonly string[]): readonly GroupKey[] {
    if (names.length > MOST_KEYS) throw invalid(`Parameter 'group_by': at most ${MOST_KEYS} keys are taken.`);
    const twice = names.find((name, place) => names.indexOf(name) !== place);
    if (twice !== undefined) throw invalid(`Parameter 'group_by': '${twice}' is named twice.`);
    const { timeGroups } = this.#services.storage.capabilities;
    return names.map((name) => {
      const key = groupKey(name);
      if (key.kind === 'time' && !timeGroups.includes(key.unit))
        throw invalid(`Parameter 'group_by': this storage cannot group by ${key.unit}.`);
      return key;
    });
  }

  async #dataframes(call: OwnCall<z.output<typeof DATAFRAMES_QUERY>>): Promise<OwnAnswer> {
    const { query, identity, signal, request } = call;
    const { offset, limit, ...selection } = query;
    const points: FrameQuery = {
      ...pointQuery(this.#services, identity, selection),
      offset,
      limit: limit + 1,
    };
    const frames = this.#services.storage.readPeriods(points, signal);
    return bodyInParts(pointsJson(points, frames, { offset, limit }), request.method);
  }
}

function groupKey(name: string): GroupKey {
  if (name === '')
    throw invalid("Parameter 'group_by': write keys with commas between them, such as type,flavor.");
  if (name === 'type' || name === 'scope') return { kind: name };
  const unit = TIME_GROUPS.get(name);
  if (unit !== undefined) return { kind: 'time', unit };
  if (name.startsWith('time-'))
    throw invalid(`Parameter 'group_by': the keys of time are ${[...TIME_GROUPS.keys()].join(', ')}.`);
  return { kind: 'attribute', name };
}

function rowJson({ group, begin, end, quantity, price, points }: Total) {
  return {
    group,
    begin: isoTime(begin),
    end: isoTime(end),
    quantity: quantity.toString(),
    price: price.toString(),
    points,
  };
}

/** The document in parts, one for each frame. The point beyond the limit only says that there is another page. */
async function* pointsJson(
  { begin, end }: FrameQuery,
  frames: AsyncIterable<StoredFrame>,
  { offset, limit }: { readonly offset: number; readonly limit: number },
): AsyncGenerator<string, void, void> {
  yield `{"begin":"${isoTime(begin)}","end":"${isoTime(end)}","dataframes":[`;
  const json = new PointJson();
  let given = 0;
  let hasMore = false;
  for await (const frame of frames) {
    const lines: string[] = [];
    for (const point of frame.points) {
      if (given === limit) hasMore = true;
      else {
        lines.push(`${given === 0 ? '\n' : ',\n'}${json.open(frame, point)}}`);
        given++;
      }
    }
    yield lines.join('');
  }
  yield `],"next_offset":${hasMore ? offset + limit : null}}`;
}
