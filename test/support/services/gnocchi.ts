import { randomUUID } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findProgram, runCommand, ServiceProcess } from './child-process.js';
import { freePort } from './free-port.js';
import { type JsonRequest, requestJson } from './json-request.js';
import type { Keystone } from './keystone.js';
import type { Mariadb } from './mariadb.js';
import { poll } from './poll.js';
import { createServiceFolder, removeServiceFolder } from './service-folder.js';
import { createWsgiService } from './uwsgi.js';

const SERVICE_USER = 'gnocchi';
const SERVICE_PASSWORD = 'gnocchi';
const SERVICE_PROJECT = 'service';

export interface GnocchiOptions {
  readonly mariadb: Mariadb;
  /** A promise lets Gnocchi prepare its database while Keystone still starts. */
  readonly keystone: Keystone | Promise<Keystone>;
}

export interface ArchivePolicy {
  readonly name: string;
  /** Both as Gnocchi reads them, for example `1:00:00` and `30 days`. */
  readonly definition: readonly { readonly granularity: string; readonly timespan: string }[];
  /** For example `mean`, `max`, `rate:mean`. */
  readonly aggregationMethods: readonly string[];
}

export interface Resource {
  readonly type: string;
  /** Default: a random UUID. */
  readonly id?: string;
  readonly projectId: string;
  readonly userId?: string;
  readonly startedAt?: Date;
  /** Of the resource type, for example `{ flavor_name: 'm1.tiny' }`. */
  readonly attributes?: Readonly<Record<string, unknown>>;
  /** Metric name → archive policy name. */
  readonly metrics: Readonly<Record<string, string>>;
}

export interface CreatedResource {
  readonly id: string;
  /** Metric name → metric id. */
  readonly metrics: Readonly<Record<string, string>>;
}

export interface Measure {
  readonly timestamp: Date;
  readonly value: number;
}

export interface AggregatedMeasure extends Measure {
  readonly granularitySeconds: number;
}

/** Gnocchi's API and one metricd, with Keystone's authentication and registered in its catalogue as type `metric`. */
export async function startGnocchi({ mariadb, keystone }: GnocchiOptions): Promise<Gnocchi> {
  const programs = {
    upgrade: findProgram('gnocchi-upgrade', 'Gnocchi'),
    metricd: findProgram('gnocchi-metricd', 'Gnocchi'),
  };
  const folder = createServiceFolder('gnocchi');
  Promise.resolve(keystone).catch(() => {}); // reported where it is awaited, below
  try {
    await writeConfiguration(folder, await mariadb.createDatabase('gnocchi', 'utf8mb3'));
    await runCommand({
      name: 'gnocchi-upgrade',
      program: programs.upgrade,
      arguments: configured(folder),
      folder,
    });
    return await startServices(programs.metricd, folder, await keystone);
  } catch (error) {
    await removeServiceFolder(folder);
    throw error;
  }
}

export class Gnocchi {
  /** Without the version, for example `http://127.0.0.1:28041`, as in the catalogue. */
  readonly url: string;
  readonly #keystone: Keystone;
  readonly #folder: string;
  readonly #api: ServiceProcess;
  readonly #metricd: ServiceProcess;

  constructor({ url, keystone, folder, api, metricd }: Parts) {
    this.url = url;
    this.#keystone = keystone;
    this.#folder = folder;
    this.#api = api;
    this.#metricd = metricd;
  }

  /** Any other call, as Keystone's admin; `path` starts after `/v1`. */
  async request<Body>(method: JsonRequest['method'] & string, path: string, body?: unknown): Promise<Body> {
    const token = await this.#keystone.adminToken();
    return (await requestJson<Body>({ method, url: `${this.url}/v1${path}`, token, body })).body;
  }

  async createArchivePolicy({ name, definition, aggregationMethods }: ArchivePolicy): Promise<void> {
    await this.request('POST', '/archive_policy', {
      name,
      definition,
      aggregation_methods: aggregationMethods,
    });
  }

  /** `attributes`: name → Gnocchi's description of it, for example `{ type: 'string', required: false }`. */
  async createResourceType(name: string, attributes: Readonly<Record<string, unknown>> = {}): Promise<void> {
    await this.request('POST', '/resource_type', { name, attributes });
  }

  async createResource(resource: Resource): Promise<CreatedResource> {
    const { type, id = randomUUID(), projectId, userId, startedAt, attributes, metrics } = resource;
    const policies = Object.entries(metrics).map(([name, policy]) => [name, { archive_policy_name: policy }]);
    const created = await this.request<CreatedResource>('POST', `/resource/${type}`, {
      id,
      project_id: projectId,
      user_id: userId,
      started_at: startedAt?.toISOString(),
      ...attributes,
      metrics: Object.fromEntries(policies),
    });
    return { id: created.id, metrics: created.metrics };
  }

  /** Changes attributes of a resource (also `ended_at`, `project_id`); Gnocchi keeps the former state as a revision. */
  async updateResource(type: string, id: string, changes: Readonly<Record<string, unknown>>): Promise<void> {
    await this.request('PATCH', `/resource/${type}/${id}`, changes);
  }

  /** Resolves when Gnocchi has accepted the measures; they are aggregated later, see `waitUntilAggregated`. */
  async pushMeasures(metricId: string, measures: readonly Measure[]): Promise<void> {
    const body = measures.map(({ timestamp, value }) => ({ timestamp: timestamp.toISOString(), value }));
    await this.request('POST', `/metric/${metricId}/measures`, body);
  }

  /** Resolves when metricd has worked off all that was pushed. */
  async waitUntilAggregated(timeoutMs = 30_000): Promise<void> {
    this.#metricd.assertRunning();
    await poll(
      async () => {
        const { storage } = await this.request<Status>('GET', '/status?details=false');
        return storage.summary.measures === 0 ? true : undefined;
      },
      { what: 'Gnocchi to aggregate the pushed measures', timeoutMs },
    );
  }

  /** What is aggregated of a metric, in Gnocchi's order: coarse to fine, then by time. */
  async measures(metricId: string, aggregation: string): Promise<readonly AggregatedMeasure[]> {
    const rows = await this.request<readonly (readonly [string, number, number])[]>(
      'GET',
      `/metric/${metricId}/measures?aggregation=${encodeURIComponent(aggregation)}`,
    );
    return rows.map(([timestamp, granularitySeconds, value]) => ({
      timestamp: new Date(timestamp),
      granularitySeconds,
      value,
    }));
  }

  /** Starts what does not run, for example after `kill`, on the same port and data. */
  async start(): Promise<void> {
    const stopped = [this.#api, this.#metricd].filter((process) => !process.isRunning);
    await Promise.all(stopped.map((process) => process.start()));
  }

  /** Kills the API, not metricd. */
  kill(): Promise<void> {
    return this.#api.kill();
  }

  /** Ends both processes and removes measures and configuration; the index database stays. */
  async stop(): Promise<void> {
    await Promise.all([this.#api.stop(), this.#metricd.stop()]);
    await removeServiceFolder(this.#folder);
  }
}

interface Parts {
  readonly url: string;
  readonly keystone: Keystone;
  readonly folder: string;
  readonly api: ServiceProcess;
  readonly metricd: ServiceProcess;
}

interface Status {
  readonly storage: { readonly summary: { readonly measures: number; readonly metrics: number } };
}

async function startServices(metricdProgram: string, folder: string, keystone: Keystone): Promise<Gnocchi> {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  await writeApiConfiguration(folder, keystone);
  const api = await createWsgiService({
    name: 'gnocchi-api',
    port,
    folder,
    source: wsgiSource(folder),
    probeUrl: url,
  });
  const metricd = createMetricd(metricdProgram, folder);
  const gnocchi = new Gnocchi({ url, keystone, folder, api, metricd });
  try {
    await Promise.all([gnocchi.start(), register(keystone, url)]);
    return gnocchi;
  } catch (error) {
    await gnocchi.stop();
    throw error;
  }
}

async function register(keystone: Keystone, url: string): Promise<void> {
  const project = await keystone.ensureProject(SERVICE_PROJECT);
  const user = await keystone.createUser(SERVICE_USER, SERVICE_PASSWORD);
  await keystone.grantRole({ user, project, role: 'admin' });
  await keystone.grantRole({ user, project, role: 'service' });
  await keystone.createService('gnocchi', 'metric', url);
}

/** metricd listens nowhere; that it works shows when measures get aggregated. */
function createMetricd(program: string, folder: string): ServiceProcess {
  const command = { name: 'gnocchi-metricd', program, arguments: configured(folder), folder };
  return new ServiceProcess(command, async () => true);
}

function configured(folder: string): readonly string[] {
  return ['--config-file', configurationFile(folder)];
}

function configurationFile(folder: string): string {
  return join(folder, 'gnocchi.conf');
}

async function writeConfiguration(folder: string, database: string): Promise<void> {
  await mkdir(join(folder, 'locks'));
  const text = `[DEFAULT]
use_stderr = true
coordination_url = file://${join(folder, 'locks')}
[indexer]
url = ${database.replace('mysql:', 'mysql+pymysql:')}?charset=utf8
[storage]
driver = file
file_basepath = ${join(folder, 'measures')}
[incoming]
driver = file
file_basepath = ${join(folder, 'measures')}
[metricd]
workers = 1
metric_processing_delay = 1
`;
  await writeFile(configurationFile(folder), text);
}

async function writeApiConfiguration(folder: string, keystone: Keystone): Promise<void> {
  const text = `[api]
auth_mode = keystone
paste_config = ${join(folder, 'api-paste.ini')}
[keystone_authtoken]
auth_type = password
auth_url = ${keystone.url}
www_authenticate_uri = ${keystone.url}
username = ${SERVICE_USER}
password = ${SERVICE_PASSWORD}
project_name = ${SERVICE_PROJECT}
user_domain_id = default
project_domain_id = default
region_name = ${keystone.region}
interface = internal
`;
  await writeFile(configurationFile(folder), text, { flag: 'a' });
  await writeFile(join(folder, 'api-paste.ini'), pasteConfiguration(folder));
}

/** The packaged file lets the token filter read /etc/gnocchi/gnocchi.conf; this one names our configuration. */
function pasteConfiguration(folder: string): string {
  return `[composite:gnocchi+keystone]
use = egg:Paste#urlmap
/ = versions
/v1 = authenticated

[pipeline:authenticated]
pipeline = token v1

[app:versions]
paste.app_factory = gnocchi.rest.app:app_factory
root = gnocchi.rest.api.VersionsController

[app:v1]
paste.app_factory = gnocchi.rest.app:app_factory
root = gnocchi.rest.api.V1Controller

[filter:token]
use = egg:keystonemiddleware#auth_token
oslo_config_project = gnocchi
oslo_config_file = ${configurationFile(folder)}
`;
}

/** Names the policy of the package itself: the one in /etc/gnocchi is readable for root only and may be changed. */
function wsgiSource(folder: string): string {
  return `from os import path

from gnocchi import service
from gnocchi.rest import app
from oslo_policy import opts

configuration = service.prepare_service(['--config-file', '${configurationFile(folder)}'])
opts.set_defaults(configuration, policy_file=path.join(path.dirname(app.__file__), 'policy.yaml'))
application = app.load_app(configuration)
`;
}
