import type { Clock } from '../../../core/plugin-api/index.js';
import { Attributes, Decimal, type JsonValue, type MeasuredPoint } from '../../../core/plugin-api/index.js';
import { raiseRevision } from '../../../core/rating/module-states.js';
import { rateFrame } from '../../../core/rating/rate-frame.js';
import { type OpenedServer, openApiServer, type ServerOptions } from '../../support/api-server.js';

/** 2026-01-05T00:00:00Z */
export const MONDAY = 1_767_571_200;
export const HOUR = 3600;
/** Two hours into the Monday. */
const NOW = MONDAY + 2 * HOUR;

export const TOKENS = {
  admin: { projectId: 'admin-project', roles: ['admin', 'member', 'reader'] },
  alpha: { projectId: 'alpha', roles: ['member', 'reader'] },
  beta: { projectId: 'beta', roles: ['member', 'reader'] },
  norole: { projectId: 'alpha', roles: [] },
  unscoped: { roles: ['reader'] },
};
export type Token = keyof typeof TOKENS;

export const RULES: JsonValue = {
  groups: ['promised-to-beta'],
  services: {
    instance: {
      mappings: [{ type: 'flat', cost: '0.1' }],
      fields: {
        flavor: {
          mappings: [
            { type: 'flat', value: 'big', cost: '0.3333333333333333333333333333' },
            { type: 'flat', value: 'secret-flavor', cost: '7', tenant: 'beta' },
          ],
        },
        agreement: { mappings: [{ type: 'flat', value: 'x', cost: '9', tenant: 'beta' }] },
      },
    },
  },
};

/** Stands still, so that answers do not depend on when they are asked for. */
export const FIXED_CLOCK: Clock = {
  now: () => NOW * 1000,
  monotonic: () => performance.now(),
  sleep: (milliseconds, signal) =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(resolve, milliseconds);
      signal.addEventListener('abort', () => {
        clearTimeout(timer);
        reject(signal.reason);
      });
    }),
};

/** Nobody is asked there: the tests know the tokens. */
const KEYSTONE = {
  auth_url: 'http://127.0.0.1:9/v3',
  username: 'x',
  password: 'x',
  user_domain_name: 'Default',
  project_name: 'service',
  project_domain_name: 'Default',
};

export interface OwnAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every shape
  readonly json: any;
}

export interface OpenedOwn extends OpenedServer {
  get(path: string, token?: Token | 'wrong'): Promise<OwnAnswer>;
  call(method: string, path: string, options?: CallOptions): Promise<OwnAnswer>;
}

interface CallOptions {
  readonly token?: Token | 'wrong' | undefined;
  readonly body?: string | object;
  readonly headers?: Readonly<Record<string, string>>;
}

/** The server with two projects whose usage of two hours is rated by rules, one of them with a rule of its own. */
export async function openOwn(options: ServerOptions = {}): Promise<OpenedOwn> {
  const { api = {}, ...change } = (options.change ?? {}) as { readonly api?: object };
  const opened = await openApiServer({
    tokens: TOKENS,
    clock: FIXED_CLOCK,
    ...options,
    change: { ...change, api: { auth: 'keystone', keystone: KEYSTONE, ...api } },
  });
  const { services, app } = opened;
  await services.moduleStates.set('hashmap', { enabled: true, priority: 5 });
  const hashmap = services.modules.find(({ name }) => name === 'hashmap')!.module;
  await services.database.transaction(async (tx) => {
    await hashmap.rulesDocument!.write(RULES, tx, { mode: 'merge', now: MONDAY - HOUR, author: 'test' });
    // Mappings begin to hold when they are made.
    await raiseRevision(tx);
  });
  await addScopes(opened);
  for (const hour of [0, 1]) for (const id of ['alpha', 'beta']) await rate(opened, id, MONDAY + hour * HOUR);
  const call: OpenedOwn['call'] = async (method, path, { token, body, headers } = {}) => {
    const answer = await app.inject({
      method: method as 'GET',
      url: `/ratecat/v1${path}`,
      headers: {
        ...(token === undefined ? {} : { 'x-auth-token': token }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { payload: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const isJson = String(answer.headers['content-type']).startsWith('application/json');
    const json = isJson && answer.body !== '' ? JSON.parse(answer.body) : undefined;
    return { status: answer.statusCode, headers: answer.headers, text: answer.body, json };
  };
  return { ...opened, call, get: (path, token = 'admin') => call('GET', path, { token }) };
}

async function addScopes({ services, database }: OpenedServer): Promise<void> {
  const pipeline = { source: services.sources[0]!.name, fetcher: 'static', collector: 'prometheus' };
  const scopes = ['alpha', 'beta'].map((id) => ({ key: 'project_id', id, name: `Project ${id}` }));
  await services.states.add(pipeline, scopes, MONDAY);
  await database.transaction(async (tx) => {
    await tx.execute('UPDATE ratecat_scopes SET watermark = ?, last_begin = ?', [NOW, MONDAY + HOUR]);
    await tx.execute(
      "UPDATE ratecat_scopes SET state = 'stuck', reason = ?, failures = 6, last_error_at = ?, retry_at = ?, owner = ?, " +
        "watermark = ? WHERE scope_id = 'beta'",
      ['http://10.0.0.7 answered 500', NOW - 60, NOW + 60, 'host:1:abc', MONDAY],
    );
  });
}

/** Stores the points of one period with the prices and the snapshot of the rules in force. */
export async function rate({ services }: OpenedServer, id: string, begin: number): Promise<void> {
  const { signal } = new AbortController();
  const source = services.sources[0]!.name;
  const scope = { key: 'project_id', id };
  const snapshot = await services.rules.current({ source, content: null }, signal);
  const period = { begin, end: begin + HOUR };
  const points = ['small', 'big', 'secret-flavor'].map((flavor, place) => point(id, flavor, place + 1));
  const rated = await rateFrame(
    { source, scope, period, points, gaps: [] },
    services.rules.compile(snapshot, scope),
    signal,
    'rate',
  );
  await services.storage.replacePeriod(rated, { fence: 0, generation: 1, snapshot: snapshot.hash }, signal);
}

function point(project: string, flavor: string, quantity: number): MeasuredPoint {
  return {
    quantity: Decimal.fromInteger(quantity),
    descriptor: {
      metric: 'instance',
      unit: 'instance',
      groupby: Attributes.from({ id: `${project}-${quantity}`, project_id: project }),
      metadata: Attributes.from({ flavor, size: Decimal.parse('1.10'), note: `note of ${project}` }),
      description: undefined,
    },
  };
}
