import { type Instant, isRatecatError, type Period } from '../../plugin-api/index.js';
import type { ReprocessTask } from '../../scopes/reprocess-tasks.js';
import type { ScopeState } from '../../scopes/scope-states.js';
import type { ApiRequest, ApiResponse } from '../exchange.js';
import type { ApiServices } from '../services.js';
import { nakedTime } from '../utc-time.js';
import { bodyDate, multiText, singleText } from './body-values.js';
import { authorize, authorOf, type Endpoint } from './endpoint.js';
import { badRequest, type Fault, jsonAnswer } from './faults.js';
import { pythonLiteral } from './python-literal.js';
import { multi, PAGINATION, single, text } from './query-values.js';
import { findScopes } from './scope-lookup.js';
import { optional, readBody, readQuery, required, withDefault } from './validation.js';

const BODY = {
  fields: {
    scope_ids: required(multiText),
    start_reprocess_time: required(bodyDate('dt_from_iso_as_utc')),
    end_reprocess_time: required(bodyDate('dt_from_iso_as_utc')),
    reason: required(singleText),
  },
};
const QUERY = {
  fields: {
    ...PAGINATION,
    scope_ids: optional(multi(text)),
    order: withDefault(single(text), 'desc'),
  },
};
const ALL = 'ALL';

/** `/v2/task/reprocesses`: orders to rate past periods anew. */
export class Reprocesses {
  readonly #services: ApiServices;

  constructor(services: ApiServices) {
    this.#services = services;
  }

  get endpoints(): readonly Endpoint[] {
    return [
      {
        pattern: '/v2/task/reprocesses',
        methods: {
          GET: (request) => this.#get(request, undefined),
          POST: (request) => this.#post(request),
        },
      },
      {
        // Where the client that came with release 17 sends orders; that release has nothing there.
        pattern: '/v2/task/reprocess',
        methods: { POST: (request) => this.#post(request) },
      },
      {
        pattern: '/v2/task/reprocesses/:scope_id',
        methods: { GET: (request, id) => this.#get(request, id) },
      },
    ];
  }

  async #get(request: ApiRequest, id: string | undefined): Promise<ApiResponse> {
    const { scope_ids, order, offset, limit } = readQuery(request, QUERY);
    const { identity } = request;
    authorize(this.#services, 'schedule:get_task_reprocesses', identity, {
      tenant_id: identity.projectId ?? id ?? null,
    });
    const direction = order.toLowerCase();
    if (direction !== 'asc' && direction !== 'desc') {
      throw badRequest(
        `The order [${order.slice(0, 80)}] is not valid. Accepted values are ['asc', 'desc'].`,
      );
    }
    const scopeIds = id === undefined ? scope_ids : [id];
    const page = { order: direction, offset, limit } as const;
    const tasks = await this.#services.reprocessTasks.list(
      scopeIds === undefined ? page : { ...page, scopeIds },
    );
    return jsonAnswer({ results: tasks.map(taskJson) });
  }

  async #post(request: ApiRequest): Promise<ApiResponse> {
    const body = readBody(request, BODY);
    const { identity } = request;
    authorize(this.#services, 'schedule:task_reprocesses', identity, {
      tenant_id: identity.projectId ?? null,
    });
    const window = { begin: body.start_reprocess_time, end: body.end_reprocess_time };
    const ids = [...new Set(body.scope_ids)];
    checkOrder(ids, body.reason, window);
    checkGrid(window, this.#services.sources[0]!.periodSeconds);
    const scopes = await this.#scopes(ids, window);
    for (const scope of scopes) {
      checkGrid(window, this.#period(scope));
      checkRated(scope, window);
    }
    const tasks = this.#services.reprocessTasks;
    const unfinished = await tasks.unfinished(scopes.length === 1 ? scopes[0]!.row : undefined);
    for (const scope of scopes) checkOthers(unfinished, scope, window);
    const [author, reason] = [authorOf(identity), body.reason];
    try {
      await tasks.create(scopes.map(({ row }) => ({ row, ...window, reason, author })));
    } catch (error) {
      if (isRatecatError(error) && error.kind === 'data') throw badRequest(error.message);
      throw error;
    }
    return jsonAnswer({}, 202);
  }

  /** The active scopes of these ids, every pipeline's. @throws Fault 400 when there is none of an id. */
  async #scopes(ids: readonly string[], window: Period): Promise<readonly ScopeState[]> {
    const isAll = ids.length === 0 || ids.includes(ALL);
    const scopes = await findScopes(this.#services.states, { ids: isAll ? undefined : ids, active: [1] });
    const known = new Set(scopes.map(({ scope }) => scope.id));
    const missing = isAll ? [] : ids.filter((id) => !known.has(id));
    if (missing.length > 0) {
      throw badRequest(
        `Scopes ${pythonLiteral(missing)} scheduled to reprocess [start=${time(window.begin)}, end=${time(window.end)}] do not exist.`,
      );
    }
    return scopes;
  }

  #period({ source }: ScopeState): number {
    const { sources } = this.#services;
    return (sources.find(({ name }) => name === source) ?? sources[0]!).periodSeconds;
  }
}

/** @throws Fault 400 */
function checkOrder(ids: readonly string[], reason: string, { begin, end }: Period): void {
  if (ids.includes(ALL) && ids.length > 1) {
    throw badRequest(
      `Cannot use 'ALL' with scope ID [${pythonLiteral(ids)}]. Either schedule a reprocessing for all active scopes using 'ALL' option, or inform only the scopes you desire to schedule a reprocessing.`,
    );
  }
  if (reason.trim() === '') {
    throw badRequest(
      'Empty or blank reason text is not allowed. Please, do inform/register the reason for the reprocessing of a previously processed timestamp.',
    );
  }
  if (end < begin) {
    // The reference prints the two values the other way round.
    throw badRequest(
      `End reprocessing timestamp [${time(begin)}] cannot be less than start reprocessing timestamp [${time(end)}].`,
    );
  }
}

/** @throws Fault 400 with a window that would do. */
function checkGrid({ begin, end }: Period, periodSeconds: number): void {
  const floor = (instant: Instant) => Math.floor(instant / periodSeconds) * periodSeconds;
  if (floor(begin) === begin && floor(end) === end) return;
  const [from, to] = [floor(begin), floor(end)];
  const window = [time(from), time(to === from ? to + periodSeconds : to)];
  throw badRequest(
    `The provided timestamps [start=${time(begin)}, end=${time(end)}] do not comply with the configured collector period [${periodSeconds}]. A valid time window near the provided one is ${pythonLiteral(window)}.`,
  );
}

/** @throws Fault 400 */
function checkRated(scope: ScopeState, { begin, end }: Period): void {
  const last = scope.watermark;
  const refuse = (name: string, instant: Instant, how: string): Fault =>
    badRequest(
      `Cannot execute a reprocessing [${name}=${time(instant)}] for scope [${scopeText(scope)}] ${how} after the last possible timestamp [${last === undefined ? 'None' : time(last)}].`,
    );
  if (last === undefined || begin > last) throw refuse('start', begin, 'starting');
  if (end > last) throw refuse('end', end, 'ending');
}

/** Windows that touch count as intersecting, as in the reference. @throws Fault 400 */
function checkOthers(unfinished: readonly ReprocessTask[], scope: ScopeState, { begin, end }: Period): void {
  const other = unfinished.find((task) => task.row === scope.row && task.begin <= end && begin <= task.end);
  if (other === undefined) return;
  throw badRequest(
    `Cannot schedule a reprocessing for scope [${scopeText(scope)}] for reprocessing time [${zoned(begin)} - ${zoned(end)}], because it already has a schedule for a similar time range [${zoned(other.begin)} - ${zoned(other.end)}].`,
  );
}

function taskJson({ scope, reason, begin, end, current }: ReprocessTask) {
  return {
    scope_id: scope.id,
    reason,
    start_reprocess_time: nakedTime(begin),
    end_reprocess_time: nakedTime(end),
    current_reprocess_time: current === undefined ? '' : nakedTime(current),
  };
}

function scopeText({ row, scope, active }: ScopeState): string {
  return `{'id': ${row}, 'identifier': ${pythonLiteral(scope.id)}, 'active': ${active ? 'True' : 'False'}}`;
}

/** `2026-01-10 00:00:00+00:00` */
function time(instant: Instant): string {
  return `${nakedTime(instant).replace('T', ' ')}+00:00`;
}

/** `2026-01-10T00:00:00+0000` */
function zoned(instant: Instant): string {
  return `${nakedTime(instant)}+0000`;
}
