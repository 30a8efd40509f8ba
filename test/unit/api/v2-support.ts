import type { Identity } from '../../../core/api/auth/identity.js';
import type { Policy, PolicyTarget } from '../../../core/api/auth/policy.js';
import { V2Api } from '../../../core/api/v2/v2-api.js';
import { DataError } from '../../../core/plugin-api/index.js';
import type { ReprocessRegister, ReprocessTask } from '../../../core/scopes/reprocess-tasks.js';
import type { ScopeStates } from '../../../core/scopes/scope-states.js';
import {
  type ApiOptions,
  type OpenedApi,
  openApi,
  type ReadResponse,
  read,
  request,
  type TestRequest,
} from '../../support/api.js';

/** 2026-01-05T00:00:00Z */
export const MONDAY = 1_767_571_200;
export const HOUR = 3600;
export const DAY = 86_400;

const READERS = ['dataframes:get', 'summary:get_summary'];

/** The reference's defaults for `/v2`: reports for readers of the project, the rest for admins. */
export const DEFAULT_POLICY: Policy = {
  allows: (rule: string, identity: Identity, target: PolicyTarget = {}) =>
    identity.isAdmin || (READERS.includes(rule) && target.project_id === (identity.projectId ?? null)),
};

export interface OpenedV2 extends OpenedApi {
  readonly v2: V2Api;
  call(method: string, target: string, options?: TestRequest): Promise<ReadResponse>;
}

export async function openV2(options: ApiOptions = {}): Promise<OpenedV2> {
  const api = await openApi({ policy: DEFAULT_POLICY, ...options });
  const reprocessTasks = new TasksInMemory(api.services.states);
  const v2 = new V2Api({ ...api.services, reprocessTasks });
  return {
    ...api,
    v2,
    call: async (method, target, options) => read(await v2.handle(request(method, target, options))),
  };
}

/** The order book that the API writes to, without a processor behind it. */
class TasksInMemory implements ReprocessRegister {
  readonly #states: ScopeStates;
  readonly #tasks: ReprocessTask[] = [];

  constructor(states: ScopeStates) {
    this.#states = states;
  }

  async create(orders: Parameters<ReprocessRegister['create']>[0]): Promise<void> {
    for (const { row, begin, end, reason } of orders) {
      if (reason === 'lost race') throw new DataError('RATECAT_REPROCESS_OVERLAP', 'Somebody was faster.');
      const { source, scope } = (await this.#states.get(row))!;
      const id = this.#tasks.length + 1;
      const base = { id, row, source, scope, begin, end, reason };
      this.#tasks.push({ ...base, current: undefined, createdAt: 0, failure: undefined });
    }
  }

  async list({ scopeIds, order, offset, limit }: Parameters<ReprocessRegister['list']>[0]) {
    const found = this.#tasks.filter(({ scope }) => scopeIds?.includes(scope.id) ?? true);
    return (order === 'asc' ? found : found.toReversed()).slice(offset, offset + limit);
  }

  async unfinished(row?: number) {
    return this.#tasks.filter((task) => row === undefined || task.row === row);
  }
}

export interface PointParts {
  readonly qty?: unknown;
  readonly price?: unknown;
  readonly unit?: unknown;
  readonly groupby?: object;
  readonly metadata?: object;
}

/** A point as `POST /v2/dataframes` takes it. */
export function point({
  qty = 1,
  price = '0.5',
  unit = 'GiB',
  groupby = {},
  metadata = {},
}: PointParts = {}) {
  return { vol: { unit, qty }, rating: { price }, groupby, metadata };
}

/** A frame of the hour after `begin`. */
export function frame(begin: number, usage: object, seconds: number = HOUR) {
  return { period: { begin: time(begin), end: time(begin + seconds) }, usage };
}

/** `2026-01-05T00:00:00Z` */
export function time(instant: number): string {
  return new Date(instant * 1000).toISOString().replace('.000Z', 'Z');
}

export async function push(
  api: OpenedV2,
  dataframes: readonly unknown[],
  headers: Readonly<Record<string, string>> = {},
): Promise<ReadResponse> {
  return api.call('POST', '/v2/dataframes', { body: { dataframes }, headers });
}

/** Query of the days around the Monday. */
export const WEEK = 'begin=2026-01-01T00:00:00Z&end=2026-02-01T00:00:00Z';
