import { type AttributeValue, isDecimal, isRatecatError, type Scope } from '../../plugin-api/index.js';
import { type IdempotentCall, idempotentCall } from '../../scopes/idempotency-keys.js';
import { type PushedFrame, PushedFrames } from '../../scopes/pushed-frames.js';
import { type ApiRequest, type ApiResponse, JSON_TYPE } from '../exchange.js';
import type { ApiServices } from '../services.js';
import { authorize, type Endpoint, ownProject } from './endpoint.js';
import { badRequest, emptyAnswer, Fault, jsonAnswer, nothingFound } from './faults.js';
import { framesJson } from './frames-json.js';
import { type BodyFrame, type BodyPoint, bodyFrames } from './pushed-body.js';
import { date, PAGINATION, single, singleFilters } from './query-values.js';
import { countPoints, readPoints } from './sliced-points.js';
import { bodyInParts } from './streamed-body.js';
import { optional, readBody, readQuery, required, withDefault } from './validation.js';
import { reportRange, UNDEFINED_SCOPE, visiblePoints } from './visible-points.js';

const QUERY = {
  fields: {
    ...PAGINATION,
    begin: optional(single(date)),
    end: optional(single(date)),
    filters: withDefault(singleFilters, new Map<string, readonly string[]>()),
  },
};
const BODY = { fields: { dataframes: required(bodyFrames) } };

/** 1 to 255 printable characters. */
const IDEMPOTENCY_KEY = /^[\x21-\x7e]{1,255}$/;
/** Faults of our own store, not of what was sent. */
const OUR_FAULTS = ['RATECAT_STORAGE_CORRUPT', 'RATECAT_ROLL_UP_BROKEN'];

/** `/v2/dataframes`: rated points, read and pushed. */
export class Dataframes {
  readonly #services: ApiServices;
  readonly #pushed: PushedFrames;

  constructor(services: ApiServices) {
    this.#services = services;
    this.#pushed = new PushedFrames(services.database, services.storage, services.clock);
  }

  get endpoints(): readonly Endpoint[] {
    return [
      {
        pattern: '/v2/dataframes',
        methods: { GET: (request) => this.#get(request), POST: (request) => this.#post(request) },
      },
    ];
  }

  async #get(request: ApiRequest): Promise<ApiResponse> {
    const { begin, end, filters, offset, limit } = readQuery(request, QUERY);
    const { identity, signal } = request;
    authorize(this.#services, 'dataframes:get', identity, ownProject(identity));
    const range = reportRange(this.#services, begin, end);
    const queries = visiblePoints(this.#services, identity, range, filters);
    if (queries === undefined) return jsonAnswer({ total: 0, dataframes: [] });
    const { storage } = this.#services;
    const counts = await countPoints(storage, queries, signal);
    const total = counts.reduce((sum, count) => sum + count, 0);
    if (total === 0) throw nothingFound();
    const frames = readPoints(storage, { queries, counts, offset, limit }, signal);
    const body = await bodyInParts(framesJson(total, frames), request.method);
    return { status: 200, headers: { 'content-type': JSON_TYPE }, body };
  }

  async #post(request: ApiRequest): Promise<ApiResponse> {
    const { dataframes } = readBody(request, BODY);
    authorize(this.#services, 'dataframes:add', request.identity);
    if (dataframes.length === 0) throw badRequest('Parameter dataframes must not be empty.');
    const call = callOf(request);
    const frames = dataframes.flatMap((frame) => this.#byScope(frame));
    try {
      await this.#pushed.push({ frames, call }, request.signal);
    } catch (error) {
      throw isRatecatError(error) && error.kind === 'data' && !OUR_FAULTS.includes(error.code)
        ? new Fault(error.code === 'RATECAT_IDEMPOTENCY_CONFLICT' ? 422 : 400, error.message)
        : error;
    }
    return emptyAnswer();
  }

  /** A scope is who the first source's scope key says; the points of a frame may belong to many. */
  #byScope({ period, points }: BodyFrame): readonly PushedFrame[] {
    const key = this.#services.sources[0]!.scopeKey;
    const scopes = new Map<string, { scope: Scope; period: typeof period; points: BodyPoint[] }>();
    for (const point of points) {
      const id = scopeIdOf(point.descriptor.groupby.get(key));
      const known = scopes.get(id);
      if (known === undefined) scopes.set(id, { scope: { key, id }, period, points: [point] });
      else known.points.push(point);
    }
    return [...scopes.values()];
  }
}

function scopeIdOf(value: AttributeValue | undefined): string {
  if (isDecimal(value)) return value.toFixedScale();
  return typeof value === 'string' && value !== '' ? value : UNDEFINED_SCOPE;
}

/** @throws Fault 400 when the key is none. */
function callOf({ headers, body, identity }: ApiRequest): IdempotentCall | undefined {
  const key = headers['idempotency-key'];
  if (key === undefined) return undefined;
  if (typeof key !== 'string' || !IDEMPOTENCY_KEY.test(key)) {
    throw badRequest('The header Idempotency-Key must have 1 to 255 printable characters without blanks.');
  }
  return idempotentCall([identity.userId, identity.projectId, 'POST /v2/dataframes'], key, body);
}
