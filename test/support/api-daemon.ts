import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command, ratecat, writeConfig } from './daemon.js';
import { freePort } from './services/free-port.js';
import type { Keystone, Named, User } from './services/keystone.js';
import type { Mariadb } from './services/mariadb.js';

export interface Cloud {
  readonly admin: { readonly project: Named };
  readonly projects: Readonly<Record<'demo' | 'other', Named>>;
  readonly users: Readonly<Record<'demo' | 'other', User>>;
}

/** Two projects with a member each, and the service user that the API validates tokens with. */
export async function prepareCloud(keystone: Keystone): Promise<Cloud> {
  const service = await keystone.ensureProject('service');
  const ratecat = await keystone.createUser('ratecat', SERVICE_PASSWORD);
  await keystone.grantRole({ user: ratecat, role: 'admin', project: service });
  const tenant = async (name: string, after = '') => {
    let project = await keystone.createProject(name);
    // Ids are random, and pushed frames of one period are kept in the order of the scopes' ids: in the recorded order.
    while (project.id < after) {
      await keystone.request('DELETE', `/projects/${project.id}`);
      project = await keystone.createProject(name);
    }
    const user = await keystone.createUser(name, name);
    await keystone.grantRole({ user, role: 'member', project });
    await keystone.grantRole({ user, role: 'reader', project });
    return { project, user };
  };
  const demo = await tenant('demo');
  const other = await tenant('other', demo.project.id);
  return {
    admin: { project: await keystone.ensureProject('admin') },
    projects: { demo: demo.project, other: other.project },
    users: { demo: demo.user, other: other.user },
  };
}

const SERVICE_PASSWORD = 'p@ss:word/with#signs';

export interface ApiDaemon {
  readonly url: string;
  readonly daemon: Command;
  readonly databaseUrl: string;
  readonly folder: string;
  stop(): Promise<void>;
}

export interface ApiDaemonOptions {
  readonly keystone: Keystone;
  readonly mariadb: Mariadb;
  readonly metrics: object;
  /** Rates too, in the same process. */
  readonly rates?: boolean;
  readonly change?: object;
  readonly api?: object;
}

/** The built program serving the API with tokens of a real Keystone, registered in its catalogue as `rating`. */
export async function startApiDaemon(options: ApiDaemonOptions): Promise<ApiDaemon> {
  const { keystone, mariadb } = options;
  const folder = await mkdtemp(join(tmpdir(), 'ratecat-api-'));
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const databaseUrl = await mariadb.createDatabase(`api_${port}`);
  const config = await writeConfig(
    folder,
    {
      data_folder: folder,
      database: { url: databaseUrl },
      api: {
        port,
        auth: 'keystone',
        keystone: {
          auth_url: keystone.url,
          username: 'ratecat',
          password: SERVICE_PASSWORD,
          user_domain_name: 'Default',
          project_name: 'service',
          project_domain_name: 'Default',
          token_cache_time: 2,
        },
        ...options.api,
      },
      metrics_server: { enabled: false },
      rating: [
        { plugin: 'hashmap', enabled: false },
        { plugin: 'noop' },
        { plugin: 'pyscripts', enabled: false },
      ],
      collect: { period: 3600, scope_key: 'project_id', metrics: './metrics.yml' },
      fetcher: { plugin: 'source', options: { scopes: ['nobody'] } },
      collector: { plugin: 'prometheus', options: { prometheus_url: 'http://127.0.0.1:9/api/v1' } },
      ...options.change,
    },
    { 'metrics.yml': options.metrics },
  );
  if (options.rates !== true) {
    const { code, stderr } = await ratecat('dbsync', 'upgrade', '--config', config);
    if (code !== 0) throw new Error(`dbsync failed: ${stderr}`);
  }
  const daemon = new Command([options.rates === true ? 'up' : 'api', '--config', config]);
  try {
    await daemon.until(/API on http/);
  } catch (error) {
    daemon.child.kill('SIGKILL');
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
  await keystone.createService('cloudkitty', 'rating', url);
  return {
    url,
    daemon,
    databaseUrl,
    folder,
    async stop() {
      await daemon.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
