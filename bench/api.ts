/** The built program's API on a store with a million points, asked over one connection with a token that it knows already. */
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'undici';
import { openDatabase } from '../core/database/open-database.js';
import {
  Attributes,
  Decimal,
  type Descriptor,
  type Frame,
  type RatedPoint,
} from '../core/plugin-api/index.js';
import { fakeContext } from '../core/testkit/fakes.js';
import sqlStorage from '../plugins/storage/sql/index.js';
import { Command, ratecat, writeConfig } from '../test/support/daemon.js';
import { freePort } from '../test/support/services/free-port.js';
import type { BenchEngine } from './engines.js';
import type { Figure } from './figures.js';

export interface ApiLoad {
  readonly scopes: number;
  readonly resources: number;
  /** Hours. */
  readonly periods: number;
  /** Hashmap mappings that are listed. */
  readonly rules: number;
  readonly requests: number;
}

export interface Question {
  readonly key: string;
  readonly what: string;
  readonly path: string;
  /** Milliseconds. */
  readonly p95AtMost?: number;
  readonly perSecondAtLeast?: number;
}

const HOUR = 3600;
/** 2026-01-01T00:00:00Z */
const FIRST = 1_767_225_600;
const TOKEN = 'a-token-of-the-usual-length'.repeat(7);

export async function benchApi(engine: BenchEngine, load: ApiLoad): Promise<readonly Figure[]> {
  const folder = await mkdtemp(join(tmpdir(), 'ratecat-bench-api-'));
  const identity = await fakeKeystone();
  let daemon: Command | undefined;
  try {
    const { url } = await engine.newDatabase();
    const port = await freePort();
    const config = await configure(folder, url, port, identity);
    const upgraded = await ratecat('dbsync', 'upgrade', '--config', config);
    if (upgraded.code !== 0) throw new Error(upgraded.stderr);
    await fill(url, load);
    const begin = performance.now();
    daemon = new Command(['api', '--config', config]);
    await daemon.until(/API on http/);
    const client = new Client(`http://127.0.0.1:${port}`);
    await ask(client, 'GET', '/v1/rating/modules');
    const startSeconds = (performance.now() - begin) / 1000;
    const mapping = await addRules(client, load.rules);
    const figures: Figure[] = [
      {
        id: `api.${engine.id}.start`,
        what: `${engine.label}: start to first answer`,
        value: startSeconds,
        unit: 's',
        target: { atMost: 0.6 },
      },
    ];
    for (const question of questions(load, mapping))
      figures.push(...(await measure(engine, client, question, load)));
    await client.close();
    return figures;
  } finally {
    await daemon?.stop();
    await new Promise((resolve) => identity.close(resolve));
    await rm(folder, { recursive: true, force: true });
  }
}

export function questions({ periods }: ApiLoad, mappings: string): readonly Question[] {
  const iso = (instant: number) => new Date(instant * 1000).toISOString().replace('.000Z', '');
  // Whole months, as clients and Horizon ask for them.
  const last = new Date((FIRST + periods * HOUR) * 1000);
  const nextMonth = Date.UTC(last.getUTCFullYear(), last.getUTCMonth() + 1) / 1000;
  const range = `begin=${iso(FIRST)}&end=${iso(nextMonth)}`;
  const summary = (key: string, groupby: string, p95AtMost: number): Question => ({
    key: `summary.${key}`,
    what: `v2 summary, ${groupby === '' ? 'no group-by' : `by ${groupby}`}`,
    path: `/v2/summary?${range}&limit=1000${groupby === '' ? '' : `&groupby=${groupby}`}`,
    p95AtMost,
  });
  return [
    { key: 'modules', what: 'modules list', path: '/v1/rating/modules', perSecondAtLeast: 2000 },
    { key: 'mappings', what: 'hashmap mapping list', path: mappings },
    summary('none', '', 20),
    summary('project', 'project_id', 20),
    summary('type', 'type', 20),
    summary('day', 'time-d', 20),
    summary('month', 'time-m', 20),
    summary('time', 'time', 500),
    summary('resource', 'id', 500),
    { key: 'dataframes', what: 'v2 dataframes, page of 100', path: `/v2/dataframes?${range}&limit=100` },
  ];
}

export async function measure(
  engine: { readonly id: string; readonly label: string },
  client: Client,
  question: Question,
  load: ApiLoad,
): Promise<readonly Figure[]> {
  const { key, what, path, p95AtMost, perSecondAtLeast } = question;
  for (let round = 0; round < 3; round++) await ask(client, 'GET', path);
  const times: number[] = [];
  const begin = performance.now();
  // Slow answers are asked for less often: the whole takes seconds, not minutes.
  while (times.length < load.requests && (times.length < 20 || performance.now() - begin < 5000)) {
    const start = performance.now();
    await ask(client, 'GET', path);
    times.push(performance.now() - start);
  }
  const seconds = (performance.now() - begin) / 1000;
  times.sort((left, right) => left - right);
  const quantile = (share: number) => times[Math.min(times.length - 1, Math.floor(times.length * share))]!;
  const id = `api.${engine.id}.${key}`;
  return [
    {
      id: `${id}.perSecond`,
      what: `${engine.label}: ${what}`,
      value: times.length / seconds,
      unit: 'requests/s',
      note: `p50 ${quantile(0.5).toFixed(2)} ms, one connection, ${times.length} requests`,
      ...(perSecondAtLeast === undefined ? {} : { target: { atLeast: perSecondAtLeast } }),
    },
    {
      id: `${id}.p95`,
      what: `${engine.label}: ${what}, p95`,
      value: quantile(0.95),
      unit: 'ms',
      ...(p95AtMost === undefined ? {} : { target: { atMost: p95AtMost } }),
    },
  ];
}

async function ask(client: Client, method: 'GET' | 'POST', path: string, body?: object): Promise<string> {
  const response = await client.request({
    method,
    path,
    // Without authentication CloudKitty believes the roles that a header names.
    headers: {
      'x-auth-token': TOKEN,
      'x-roles': 'admin',
      'x-project-id': 'p',
      'content-type': 'application/json',
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.body.text();
  if (response.statusCode >= 300) throw new Error(`${method} ${path}: ${response.statusCode} ${text}`);
  return text;
}

/** Mappings of one field; gives the path of their list. */
async function addRules(client: Client, count: number): Promise<string> {
  const hashmap = '/v1/rating/module_config/hashmap';
  const service = JSON.parse(await ask(client, 'POST', `${hashmap}/services`, { name: 'instance' }));
  const { service_id } = service as { service_id: string };
  const field = JSON.parse(await ask(client, 'POST', `${hashmap}/fields`, { name: 'flavor', service_id }));
  const { field_id } = field as { field_id: string };
  for (let index = 0; index < count; index++)
    await ask(client, 'POST', `${hashmap}/mappings`, {
      field_id,
      value: `flavor-${index}`,
      cost: '0.1',
      type: 'flat',
    });
  return `${hashmap}/mappings?field_id=${field_id}`;
}

/** Hours of scopes whose resources stay, written as a processor writes them. */
async function fill(url: string, { scopes, resources, periods }: ApiLoad): Promise<void> {
  const database = await openDatabase(url);
  const storage = sqlStorage.create({}, fakeContext({ database }));
  const { signal } = new AbortController();
  const write = { fence: 1, generation: 1, snapshot: 'bench' };
  try {
    for (let scope = 0; scope < scopes; scope++) {
      const descriptors = Array.from({ length: resources }, (_, index) => descriptor(scope, index));
      for (let period = 0; period < periods; period++)
        await storage.replacePeriod(frame(scope, period, descriptors), write, signal);
    }
  } finally {
    await database.close();
  }
}

const METRICS = ['instance', 'volume', 'image', 'network.in', 'network.out'];

function projectId(scope: number): string {
  return String(scope).padStart(32, '0');
}

export function descriptor(scope: number, index: number): Descriptor {
  const id = `5f1c2a90-7b1e-4c36-${String(scope).padStart(4, '0')}-${String(index).padStart(12, '0')}`;
  return {
    metric: METRICS[index % METRICS.length]!,
    unit: 'unit',
    groupby: Attributes.of(['id', 'project_id'], [id, projectId(scope)]),
    metadata: Attributes.of(['flavor_name'], [`flavor-${index % 20}`]),
    description: undefined,
  };
}

export function frame(scope: number, period: number, descriptors: readonly Descriptor[]): Frame<RatedPoint> {
  const begin = FIRST + period * HOUR;
  const cost = Decimal.parse('0.0137');
  return {
    source: 'default',
    scope: { key: 'project_id', id: projectId(scope) },
    period: { begin, end: begin + HOUR },
    points: descriptors.map((one, index) => {
      const quantity = Decimal.parse(`${(period * 7919 + index * 104_729) % 977}.125`);
      return { descriptor: one, quantity, price: quantity.times(cost).toStored() };
    }),
    gaps: [],
  };
}

function configure(folder: string, url: string, port: number, identity: Server): Promise<string> {
  const auth_url = `http://127.0.0.1:${(identity.address() as AddressInfo).port}/v3`;
  return writeConfig(
    folder,
    {
      data_folder: folder,
      database: { url },
      api: {
        port,
        auth: 'keystone',
        keystone: { auth_url, username: 'ratecat', password: 'secret', project_name: 'service' },
      },
      metrics_server: { enabled: false },
      collect: { scope_key: 'project_id', metrics: './metrics.yml' },
      fetcher: { plugin: 'source', options: { scopes: ['nobody'] } },
      collector: { plugin: 'prometheus', options: { prometheus_url: 'http://127.0.0.1:9/api/v1' } },
    },
    { 'metrics.yml': { metrics: { instance: { unit: 'unit', groupby: ['id', 'project_id'] } } } },
  );
}

/** An identity service to which every token is an administrator's. */
async function fakeKeystone(): Promise<Server> {
  const token = {
    methods: ['password'],
    user: { id: 'u', name: 'admin', domain: { id: 'default', name: 'Default' } },
    project: { id: 'p', name: 'admin', domain: { id: 'default', name: 'Default' } },
    roles: [{ id: 'r', name: 'admin' }],
    issued_at: new Date().toISOString(),
    expires_at: new Date(Date.now() + 86_400_000).toISOString(),
    catalog: [],
  };
  const server = createServer((request, response) => {
    request.resume();
    response.writeHead(request.method === 'POST' ? 201 : 200, {
      'content-type': 'application/json',
      'x-subject-token': 'token-of-the-service',
    });
    response.end(JSON.stringify({ token }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}
