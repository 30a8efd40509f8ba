import type { GroupKey, PointQuery, Total } from '../../plugin-api/index.js';
import type { ApiResponse } from '../exchange.js';
import { type PythonValue, pythonFloat } from '../python-json.js';
import type { ApiServices } from '../services.js';
import { nakedTime } from '../utc-time.js';
import type { V1Call } from './call.js';
import { jsonAnswer } from './faults.js';
import { authorize, type V1Method } from './method.js';
import { type AskedRange, rangeOf, tenantPoints } from './points.js';

const ARGUMENTS = ['begin', 'end', 'tenant_id', 'service', 'all_tenants'];
/** Places that the reference rounds rates to in summaries. */
const RATE_PLACES = 5;
const ALL = 'ALL';

interface Asked {
  readonly range: AskedRange;
  readonly query: PointQuery;
}

/** `/v1/report`: sums of prices. */
export class Report {
  readonly #services: ApiServices;

  constructor(services: ApiServices) {
    this.#services = services;
  }

  get methods(): readonly V1Method[] {
    return [
      {
        method: 'GET',
        path: '/report/tenants',
        arguments: ['begin', 'end'],
        handle: (call) => this.#tenants(call),
      },
      { method: 'GET', path: '/report/total', arguments: ARGUMENTS, handle: (call) => this.#total(call) },
      {
        method: 'GET',
        path: '/report/summary',
        arguments: [...ARGUMENTS, 'groupby'],
        handle: (call) => this.#summary(call),
      },
    ];
  }

  /** All scopes that are known, whatever the period: so answers the reference with the storage of version 2. */
  async #tenants(call: V1Call): Promise<ApiResponse> {
    rangeOf(call, this.#services);
    const { identity } = call;
    authorize(this.#services, 'report:list_tenants', identity);
    const states = await this.#services.states.list();
    const ids = new Set(states.map(({ scope }) => scope.id));
    return jsonAnswer([...ids].filter((id) => identity.isAdmin || id === identity.projectId));
  }

  async #total(call: V1Call): Promise<ApiResponse> {
    const { query } = this.#asked(call, 'report:get_total');
    const { rows } = await this.#services.storage.total({ ...query, groupby: [] }, call.signal);
    return jsonAnswer(rows[0] === undefined ? '0' : pythonFloat(rows[0].price));
  }

  async #summary(call: V1Call): Promise<ApiResponse> {
    const groupby = call.text('groupby') ?? '';
    const { query, range } = this.#asked(call, 'report:get_summary');
    // The reference looks for these words anywhere in the text.
    const keys: GroupKey[] = [];
    if (groupby.includes('tenant_id')) keys.push({ kind: 'scope' });
    if (groupby.includes('res_type')) keys.push({ kind: 'type' });
    const { rows } = await this.#services.storage.total({ ...query, groupby: keys }, call.signal);
    return jsonAnswer({ summary: rows.map((row) => summaryRow(row, keys, range)) });
  }

  #asked(call: V1Call, rule: string): Asked {
    const range = rangeOf(call, this.#services);
    const [service, all, requested] = [
      call.text('service'),
      call.flag('all_tenants'),
      call.text('tenant_id'),
    ];
    const { identity } = call;
    const tenant = all ? undefined : (requested ?? identity.projectId);
    authorize(this.#services, rule, identity, { project_id: tenant ?? null });
    const metrics = service === undefined ? undefined : [service];
    return { range, query: tenantPoints(this.#services, identity, { tenant, range, metrics }) };
  }
}

/** Begin and end are those of the question, not of the usage. */
function summaryRow({ price, group }: Total, keys: readonly GroupKey[], range: AskedRange): PythonValue {
  const text = (kind: GroupKey['kind']) => {
    const place = keys.findIndex((key) => key.kind === kind);
    return place < 0 ? ALL : group[place]!;
  };
  return {
    begin: nakedTime(range.begin),
    end: nakedTime(range.end),
    tenant_id: text('scope'),
    res_type: text('type'),
    rate: price.isZero ? '0' : pythonFloat(price.throughBinary().quantize(RATE_PLACES)),
  };
}
