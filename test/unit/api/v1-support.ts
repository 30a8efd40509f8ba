import { writeFile } from 'node:fs/promises';
import type { Identity } from '../../../core/api/auth/identity.js';
import type { Policy, PolicyTarget } from '../../../core/api/auth/policy.js';
import { V1Api } from '../../../core/api/v1/v1-api.js';
import { Attributes, Decimal, type RatedPoint } from '../../../core/plugin-api/index.js';
import {
  type ApiOptions,
  type OpenedApi,
  openApi,
  type ReadResponse,
  read,
  request,
  type TestRequest,
} from '../../support/api.js';

/** 2026-01-05T00:00:00Z, a Monday. */
export const MONDAY = 1_767_571_200;
export const HOUR = 3600;
export const DAY = 86_400;
export const ABSENT = '11111111-2222-4333-8444-555555555555';
export const HASHMAP = '/v1/rating/module_config/hashmap';

const OPEN = ['info:get_config', 'info:list_metrics_info', 'info:get_metric_info', 'rating:quote'];
const READERS = ['report:get_summary', 'report:get_total', 'storage:list_data_frames'];

/** The reference's defaults for `/v1`. */
export const DEFAULT_POLICY: Policy = {
  allows: (rule: string, identity: Identity, target: PolicyTarget = {}) =>
    identity.isAdmin ||
    OPEN.includes(rule) ||
    (READERS.includes(rule) && identity.projectId !== undefined && target.project_id === identity.projectId),
};

export interface OpenedV1 extends OpenedApi {
  readonly v1: V1Api;
  call(method: string, target: string, options?: TestRequest): Promise<ReadResponse>;
  /** Writes another metrics file over the configured one. */
  writeMetrics(text: string): Promise<void>;
}

export async function openV1(options: ApiOptions = {}): Promise<OpenedV1> {
  const api = await openApi({ policy: DEFAULT_POLICY, ...options });
  const v1 = new V1Api(api.services);
  return {
    ...api,
    v1,
    call: async (method, target, sent) => read(await v1.handle(request(method, target, sent))),
    writeMetrics: (text) => writeFile(api.services.sources[0]!.metricsFile, text),
  };
}

export interface StoredParts {
  readonly source?: string;
  readonly tenant: string;
  readonly begin: number;
  readonly points: readonly RatedPoint[];
}

export interface PointParts {
  readonly qty?: string;
  readonly price?: string;
  readonly groupby?: Parameters<typeof Attributes.from>[0];
  readonly metadata?: Parameters<typeof Attributes.from>[0];
}

export function point(
  metric: string,
  { qty = '1', price = '1', groupby = {}, metadata = {} }: PointParts = {},
): RatedPoint {
  return {
    descriptor: {
      metric,
      unit: 'unit',
      groupby: Attributes.from(groupby),
      metadata: Attributes.from(metadata),
      description: undefined,
    },
    quantity: Decimal.parse(qty),
    price: Decimal.parse(price),
  };
}

/** Stores one period of an hour. */
export async function store(api: OpenedApi, { source = 'default', tenant, begin, points }: StoredParts) {
  const { storage, database } = api.services;
  const frame = {
    source,
    scope: { key: 'project_id', id: tenant },
    period: { begin, end: begin + HOUR },
    points,
    gaps: [],
  };
  await database.transaction((tx) =>
    storage.replacePeriod(frame, { tx, fence: 1, generation: 1, snapshot: '' }, new AbortController().signal),
  );
}

export function fault(text: string, code: 'Client' | 'Server' = 'Client') {
  return `{"faultcode": "${code}", "faultstring": ${JSON.stringify(text)}, "debuginfo": null}`;
}
