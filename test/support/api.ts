import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Authenticator } from '../../core/api/auth/authenticator.js';
import { ANONYMOUS, type Identity } from '../../core/api/auth/identity.js';
import { NoauthAuthenticator } from '../../core/api/auth/noauth-authenticator.js';
import type { Policy } from '../../core/api/auth/policy.js';
import type { ApiRequest, ApiResponse } from '../../core/api/exchange.js';
import type { ApiServer } from '../../core/api/server.js';
import type { ApiServices } from '../../core/api/services.js';
import { loadConfig } from '../../core/config/load-config.js';
import { preparePlugins } from '../../core/daemon/build-pipelines.js';
import { composeApi, openConfiguredDatabase } from '../../core/daemon/composition-root.js';
import { DaemonLogger } from '../../core/daemon/logger.js';
import { prepareDatabase } from '../../core/daemon/run-daemon.js';
import type { ClosableDatabase } from '../../core/database/open-database.js';
import type { Clock } from '../../core/plugin-api/index.js';
import { writeConfig } from './daemon.js';

export interface OpenedApi {
  readonly services: ApiServices;
  readonly server: ApiServer;
  readonly database: ClosableDatabase;
  readonly folder: string;
  close(): Promise<void>;
}

export interface ApiOptions {
  readonly url?: string;
  readonly change?: object;
  readonly clock?: Clock;
  readonly policy?: Policy;
  readonly authenticator?: Authenticator;
  /** Files beside the configuration, in place of the one metrics file. */
  readonly files?: Readonly<Record<string, object>>;
}

/** The services of the API on a fresh database, with every rating module that has a configuration API. */
export async function openApi(options: ApiOptions = {}): Promise<OpenedApi> {
  const folder = await mkdtemp(join(tmpdir(), 'ratecat-api-'));
  const file = await writeConfig(
    folder,
    {
      data_folder: folder,
      database: { url: options.url ?? `sqlite:${join(folder, 'ratecat.db')}` },
      rating: [{ plugin: 'hashmap', enabled: false }, { plugin: 'noop' }],
      collect: { period: 3600, scope_key: 'project_id', metrics: './metrics.yml' },
      fetcher: { plugin: 'static', options: { scopes: ['golden-a'] } },
      collector: { plugin: 'prometheus', options: { prometheus_url: 'http://127.0.0.1:9/api/v1' } },
      ...options.change,
    },
    options.files ?? {
      'metrics.yml': {
        metrics: {
          cpu: {
            unit: 'instance',
            alt_name: 'instance',
            groupby: ['id', 'project_id'],
            metadata: ['flavor'],
          },
        },
      },
    },
  );
  const { config } = await loadConfig(file, {});
  const plugins = await preparePlugins(config);
  const logger = DaemonLogger.create({ level: 'error', format: 'text' });
  const database = await openConfiguredDatabase(config);
  const auth = {
    authenticator: options.authenticator ?? new NoauthAuthenticator(),
    policy: options.policy ?? ADMINS_ONLY,
  };
  const clock = options.clock === undefined ? {} : { clock: options.clock };
  const { api, apiServices, moduleStates } = composeApi(
    { config, plugins, logger, auth, ...clock },
    database,
  );
  await prepareDatabase({ config, plugins, logger, migrates: true }, { database, moduleStates });
  return {
    services: apiServices,
    server: api,
    database,
    folder,
    async close() {
      await database.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export interface TestRequest {
  readonly body?: unknown;
  /** Sent as it is, instead of `body`. */
  readonly raw?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly identity?: Identity;
  readonly origin?: string;
}

const ADMINS_ONLY: Policy = { allows: (_rule, { isAdmin }) => isAdmin };

export const ADMIN: Identity = {
  ...ANONYMOUS,
  userId: 'admin-user',
  projectId: 'admin-project',
  roles: ['admin', 'member', 'reader'],
  isAdmin: true,
  isAnonymous: false,
};

/** Somebody with roles in a project, no admin. */
export function member(
  projectId: string | undefined,
  roles: readonly string[] = ['member', 'reader'],
): Identity {
  return {
    ...ANONYMOUS,
    userId: `user-of-${projectId}`,
    projectId,
    roles,
    isAdmin: false,
    isAnonymous: false,
  };
}

/** A request as an area gets it: `request('GET', '/v1/info/config?x=1')`. */
export function request(method: string, target: string, options: TestRequest = {}): ApiRequest {
  const [path, query = ''] = target.split(/\?(.*)/s);
  const text = options.raw ?? (options.body === undefined ? undefined : JSON.stringify(options.body));
  return {
    id: 'req-00000000-0000-4000-8000-000000000000',
    method,
    path: path!,
    query: new URLSearchParams(query),
    headers: {
      accept: 'application/json',
      ...(text === undefined ? {} : { 'content-type': 'application/json' }),
      ...options.headers,
    },
    body: Buffer.from(text ?? ''),
    origin: options.origin ?? 'http://127.0.0.1:8889',
    prefix: '',
    identity: options.identity ?? ADMIN,
    signal: new AbortController().signal,
  };
}

export interface ReadResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
  /** Parsed, when it is JSON. */
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every shape
  readonly json: any;
}

export async function read(response: ApiResponse): Promise<ReadResponse> {
  let text = '';
  if (typeof response.body === 'string') text = response.body;
  else if (response.body !== undefined) for await (const part of response.body) text += part;
  const headers = response.headers ?? {};
  const isJson = /json/.test(headers['content-type'] ?? '') && text !== '';
  return { status: response.status, headers, text, json: isJson ? JSON.parse(text) : undefined };
}
