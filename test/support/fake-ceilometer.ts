import { readFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { type Behaviour, HttpDouble, json, type ReceivedRequest, reply } from './http-double.js';

/** Readings of one meter of one resource at equal distances. */
export interface SampleSeries {
  readonly meter: string;
  readonly type: string;
  readonly unit: string;
  readonly resource_id: string;
  readonly user_id: string | null;
  readonly project_id: string | null;
  /** Index of the first value: value i stands at origin + i × step + offset. */
  readonly first: number;
  readonly offset_seconds: number;
  readonly values: readonly number[];
  /** What the resource looks like from a value on. */
  readonly metadata: ReadonlyArray<{ readonly from: number; readonly metadata: object }>;
}

export interface SampleData {
  readonly origin: string;
  readonly step_seconds: number;
  readonly projects: Readonly<Record<string, string>>;
  readonly series: readonly SampleSeries[];
}

export const FIXTURES = new URL('../fixtures/ceilometer/', import.meta.url);

/** The samples that the recorded server had. */
export function recordedData(): SampleData {
  return JSON.parse(readFileSync(new URL('data.json', FIXTURES), 'utf8')) as SampleData;
}

export interface StoredSample {
  readonly series: SampleSeries;
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly value: number;
  readonly metadata: object;
  readonly id: number;
}

export function storedSamples({ origin, step_seconds, series }: SampleData): StoredSample[] {
  const begin = Date.parse(`${origin}Z`);
  let id = 0;
  return series.flatMap((one) =>
    one.values.map((value, index) => {
      const i = one.first + index;
      const at = begin + (i * step_seconds + one.offset_seconds) * 1000;
      const metadata = one.metadata.findLast(({ from }) => from <= i)?.metadata ?? {};
      return { series: one, at, value, metadata, id: id++ };
    }),
  );
}

/** Ceilometer's API v2 over given samples, without any log-in. */
export class SampleStore {
  samples: StoredSample[];
  /** A user without the role admin may only ask for this project. */
  onlyProject: string | undefined;

  constructor(data?: SampleData) {
    this.samples = data === undefined ? [] : storedSamples(data);
  }

  answer(target: string): Behaviour {
    const { pathname, searchParams } = new URL(target, 'http://ceilometer.invalid');
    const [version, collection, ...rest] = pathname.slice(1).split('/');
    const query = conditionsOf(searchParams);
    const project = query.find(({ field }) => ownerField(field) === 'project_id')?.value;
    if (this.onlyProject !== undefined && project !== undefined && project !== this.onlyProject)
      return fault(401, `Not Authorized to access project ${project}`);
    const fitting = this.samples.filter((sample) => query.every((condition) => fits(sample, condition)));
    const limit = Number(searchParams.get('limit') ?? 100);
    if (version !== 'v2') return notFound();
    if (collection === 'resources' && rest.length === 0) return json(resources(fitting).slice(0, limit));
    if (collection === 'resources' && rest.length === 1)
      return oneResource(this.samples, twiceDecoded(rest[0]!));
    if (collection !== 'meters' || rest.length === 0) return notFound();
    const own = fitting.filter(({ series }) => series.meter === decodeURIComponent(rest[0]!));
    if (rest.length === 1) return json(samplesOf(own).slice(0, limit));
    return rest[1] === 'statistics' ? json(statistics(own, searchParams.getAll('groupby'))) : notFound();
  }

  /** As `answer`, inside the process. */
  respond(target: string): { readonly status: number; readonly body: string } {
    let status = 0;
    let body = '';
    const response = {
      writeHead: (code: number) => {
        status = code;
      },
      end: (text: string) => {
        body = text;
      },
    };
    this.answer(target).act(response as unknown as ServerResponse, undefined as never);
    return { status, body };
  }
}

/** Keystone's log-in and Ceilometer's API v2 over given samples, on one port. */
export class FakeCeilometer {
  readonly double: HttpDouble;
  readonly store: SampleStore;
  password = 's3cret';
  logins = 0;
  /** Takes the place of an answer below /v2, when it gives one. */
  instead: (request: ReceivedRequest) => Behaviour | undefined = () => undefined;
  readonly #tokens = new Set<string>();

  private constructor(double: HttpDouble, store: SampleStore) {
    this.double = double;
    this.store = store;
    double.handler = (request) => this.answer(request);
  }

  static async start(data?: SampleData): Promise<FakeCeilometer> {
    return new FakeCeilometer(await HttpDouble.start(), new SampleStore(data));
  }

  get credentials() {
    return {
      auth_url: `${this.double.url}/v3`,
      username: 'ratecat',
      password: 's3cret',
      user_domain_name: 'Default',
      project_name: 'service',
      project_domain_name: 'Default',
    };
  }

  stop(): Promise<void> {
    return this.double.stop();
  }

  /** Tokens that were given out are accepted no longer. */
  revokeTokens(): void {
    this.#tokens.clear();
  }

  /** Requests below /v2, as they were sent. */
  get asked(): readonly string[] {
    return this.double.requests.map(({ target }) => target).filter((target) => target.startsWith('/v2/'));
  }

  answer(request: ReceivedRequest): Behaviour {
    if (request.path === '/v3/auth/tokens') return this.#logIn(request);
    if (!this.#tokens.has(String(request.headers['x-auth-token'])))
      return json({ error: { code: 401, title: 'Unauthorized' } }, 401);
    return this.instead(request) ?? this.store.answer(request.target);
  }

  #logIn(request: ReceivedRequest): Behaviour {
    this.logins++;
    const { identity } = JSON.parse(request.body).auth;
    if (identity.password?.user.password !== this.password) return reply(401);
    const token = `token-${this.logins}`;
    this.#tokens.add(token);
    const now = Date.now();
    const { url } = this.double;
    const endpoints = [
      { interface: 'internal', region: 'RegionOne', region_id: 'RegionOne', url: 'http://internal.invalid' },
      { interface: 'public', region: 'RegionOne', region_id: 'RegionOne', url: `${url}/` },
      { interface: 'public', region: 'RegionTwo', region_id: 'RegionTwo', url: 'http://two.invalid' },
    ];
    const body = {
      token: {
        user: { id: 'user-1', name: 'ratecat' },
        issued_at: new Date(now).toISOString(),
        expires_at: new Date(now + 3_600_000).toISOString(),
        catalog: [{ type: 'metering', name: 'ceilometer', endpoints }],
      },
    };
    return json(body, 201, { 'X-Subject-Token': token });
  }
}

// ----------------------------------------------------------------------------------------------------------- queries

interface QueryCondition {
  readonly field: string;
  readonly op: string;
  readonly value: string;
}

/** Parallel lists; a condition without a value is dropped without a word. */
function conditionsOf(query: URLSearchParams): readonly QueryCondition[] {
  const [fields, ops, values] = ['q.field', 'q.op', 'q.value'].map((name) => query.getAll(name));
  return fields!
    .map((field, index) => ({ field, op: ops![index] ?? 'eq', value: values![index] ?? '' }))
    .filter(({ value }) => value !== '');
}

function ownerField(field: string): 'project_id' | 'user_id' | 'resource_id' | undefined {
  const name = field.replace(/_id$/, '');
  return name === 'project' || name === 'user' || name === 'resource' ? `${name}_id` : undefined;
}

function fits({ series, at }: StoredSample, { field, op, value }: QueryCondition): boolean {
  const owner = ownerField(field);
  if (owner !== undefined) return series[owner] === value;
  if (field !== 'timestamp') throw new Error(`this server does not know the field ${field}`);
  // Whatever offset a time has is dropped.
  const bound = Date.parse(`${value.replace(/(Z|[+-]\d\d:?\d\d)$/, '')}Z`);
  switch (op) {
    case 'ge':
      return at >= bound;
    case 'gt':
      return at > bound;
    case 'le':
      return at <= bound;
    case 'lt':
      return at < bound;
    default:
      throw new Error(`this server does not know the operator ${op}`);
  }
}

// ----------------------------------------------------------------------------------------------------------- answers

function samplesOf(own: readonly StoredSample[]): object[] {
  return [...own]
    .sort((a, b) => b.at - a.at)
    .map(({ series, at, value, metadata, id }) => ({
      source: 'openstack',
      counter_name: series.meter,
      counter_type: series.type,
      counter_unit: series.unit,
      counter_volume: value,
      user_id: series.user_id,
      project_id: series.project_id,
      resource_id: series.resource_id,
      timestamp: timeText(at),
      recorded_at: timeText(at + 2123),
      resource_metadata: flattened(metadata),
      message_id: `message-${id}`,
    }));
}

function statistics(own: readonly StoredSample[], groupby: readonly string[]): object[] {
  const groups = new Map<string, StoredSample[]>();
  for (const sample of own) {
    const key = JSON.stringify(groupby.map((name) => sample.series[ownerField(name)!]));
    groups.set(key, [...(groups.get(key) ?? []), sample]);
  }
  return [...groups].map(([key, samples]) => {
    const values = samples.map(({ value }) => value);
    const times = samples.map(({ at }) => at);
    const sum = values.reduce((total, value) => total + value, 0);
    const [first, last] = [Math.min(...times), Math.max(...times)];
    const group = JSON.parse(key) as readonly string[];
    return {
      groupby:
        groupby.length === 0 ? null : Object.fromEntries(groupby.map((name, index) => [name, group[index]])),
      unit: samples[0]!.series.unit,
      min: Math.min(...values),
      max: Math.max(...values),
      avg: sum / values.length,
      sum,
      count: values.length,
      duration: (last - first) / 1000,
      duration_start: timeText(first),
      duration_end: timeText(last),
      period: 0,
      period_start: timeText(first),
      period_end: timeText(last),
    };
  });
}

/** As their newest sample in the range describes them. */
function resources(fitting: readonly StoredSample[]): object[] {
  const ids = [...new Set(fitting.map(({ series }) => series.resource_id))];
  return ids.map((id) => resource(fitting.filter(({ series }) => series.resource_id === id)));
}

function resource(own: readonly StoredSample[]): object {
  const newest = own.reduce((left, right) => (right.at >= left.at ? right : left));
  const times = own.map(({ at }) => at);
  const { resource_id, project_id, user_id } = newest.series;
  return {
    resource_id,
    project_id,
    user_id,
    first_sample_timestamp: timeText(Math.min(...times)),
    last_sample_timestamp: timeText(Math.max(...times)),
    metadata: flattened(newest.metadata),
    links: [],
    source: 'openstack',
  };
}

function oneResource(samples: readonly StoredSample[], id: string): Behaviour {
  const own = samples.filter(({ series }) => series.resource_id === id);
  return own.length === 0 ? fault(404, `Resource ${id} Not Found`) : json(resource(own));
}

/** Once by the server, where a slash then ends the part, and once more by the API. */
function twiceDecoded(part: string): string {
  const once = decodeURIComponent(part);
  return once.includes('/') ? '' : decodeURIComponent(once);
}

function fault(status: number, faultstring: string): Behaviour {
  return json({ error_message: { faultcode: 'Client', faultstring, debuginfo: null } }, status);
}

function notFound(): Behaviour {
  return json({ error_message: { code: 404, title: 'Not Found', description: '' } }, 404);
}

/** `2017-03-01T00:00:07.250000`, without a zone, and without microseconds when there are none. */
function timeText(at: number): string {
  const text = new Date(at).toISOString().slice(0, 23);
  return text.endsWith('.000') ? text.slice(0, 19) : `${text}000`;
}

/** One level of names: the first separator is a dot, all others are colons; every value is text. */
export function flattened(metadata: object): Record<string, string> {
  return Object.fromEntries(
    leaves(metadata, '').map(([name, value]) => [
      name.replaceAll('.', ':').replace(':', '.'),
      pythonText(value),
    ]),
  );
}

function leaves(value: object, prefix: string): Array<readonly [string, unknown]> {
  return Object.entries(value).flatMap(([name, item]) =>
    typeof item === 'object' && item !== null && !Array.isArray(item)
      ? leaves(item, `${prefix}${name}.`)
      : [[`${prefix}${name}`, item] as const],
  );
}

function pythonText(value: unknown): string {
  if (value === null) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  return typeof value === 'string' || typeof value === 'number' ? String(value) : JSON.stringify(value);
}
