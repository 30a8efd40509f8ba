import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findProgram, runCommand, type ServiceProcess } from './child-process.js';
import { freePort } from './free-port.js';
import { type JsonRequest, requestJson } from './json-request.js';
import type { Mariadb } from './mariadb.js';
import { createServiceFolder, removeServiceFolder } from './service-folder.js';
import { createWsgiService } from './uwsgi.js';

const REGION = 'RegionOne';
const ADMIN_PASSWORD = 'admin';
const DEFAULT_DOMAIN = 'default';
const DAY_SECONDS = 86_400;

export interface KeystoneOptions {
  readonly mariadb: Mariadb;
  /** How long a token is valid. Default: a day. */
  readonly tokenLifetimeSeconds?: number;
}

/** Something that Keystone knows by id. */
export interface Named {
  readonly id: string;
  readonly name: string;
}

export interface User extends Named {
  readonly password: string;
}

export interface ApplicationCredential extends Named {
  readonly secret: string;
}

/** `role` is the role's name. Give a project or a domain. */
export interface RoleAssignment {
  readonly user: Named;
  readonly role: string;
  readonly project?: Named;
  readonly domain?: Named;
}

export interface Service extends Named {
  readonly type: string;
}

/** A bootstrapped Keystone (v3, Fernet tokens, user admin) of Debian's package under uwsgi on a free port. */
export async function startKeystone(options: KeystoneOptions): Promise<Keystone> {
  const { mariadb, tokenLifetimeSeconds = DAY_SECONDS } = options;
  const manage = findProgram('keystone-manage', 'Keystone');
  const folder = createServiceFolder('keystone');
  const port = await freePort();
  const url = `http://127.0.0.1:${port}/v3`;
  try {
    // utf8mb3: Keystone's migrations were written for its key lengths.
    const database = await mariadb.createDatabase('keystone', 'utf8mb3');
    await writeConfiguration(folder, database, tokenLifetimeSeconds);
    await writeKeys(folder);
    await runManage(manage, folder, ['db_sync']);
    await runManage(manage, folder, ['bootstrap', ...bootstrapArguments(url)]);
    const process = await createWsgiService({
      name: 'keystone',
      port,
      folder,
      source: WSGI_SOURCE,
      environment: { OS_KEYSTONE_CONFIG_FILES: configurationFile(folder) },
      probeUrl: url,
    });
    await process.start();
    return new Keystone({ url, folder, process, tokenLifetimeSeconds });
  } catch (error) {
    await removeServiceFolder(folder);
    throw error;
  }
}

export class Keystone {
  /** With the version, for example `http://127.0.0.1:25000/v3`: a client's `auth_url`. */
  readonly url: string;
  readonly region = REGION;
  /** Has role admin in project admin, all in the domain with id `default` and name `Default`. */
  readonly admin = { name: 'admin', password: ADMIN_PASSWORD, project: 'admin' } as const;
  readonly #folder: string;
  readonly #process: ServiceProcess;
  readonly #tokenLifetimeSeconds: number;
  #adminToken: { readonly token: string; readonly renewAt: number } | undefined;

  constructor({ url, folder, process, tokenLifetimeSeconds }: Parts) {
    this.url = url;
    this.#folder = folder;
    this.#process = process;
    this.#tokenLifetimeSeconds = tokenLifetimeSeconds;
  }

  /** A token of the administrator that is valid for at least half of the lifetime. */
  async adminToken(): Promise<string> {
    const now = performance.now();
    if (this.#adminToken === undefined || now >= this.#adminToken.renewAt) {
      const token = await this.token(this.admin.name, this.admin.password, this.admin.project);
      this.#adminToken = { token, renewAt: now + this.#tokenLifetimeSeconds * 500 };
    }
    return this.#adminToken.token;
  }

  /** A token of a user of the default domain, scoped to a project of the default domain. */
  async token(userName: string, password: string, projectName: string): Promise<string> {
    const domain = { id: DEFAULT_DOMAIN };
    const user = { name: userName, password, domain };
    const { headers } = await requestJson<unknown>({
      method: 'POST',
      url: `${this.url}/auth/tokens`,
      body: {
        auth: {
          identity: { methods: ['password'], password: { user } },
          scope: { project: { name: projectName, domain } },
        },
      },
    });
    return headers.get('x-subject-token')!;
  }

  /** Any other call, as admin; `path` starts after `/v3`. */
  async request<Body>(method: JsonRequest['method'] & string, path: string, body?: unknown): Promise<Body> {
    return this.#requestWith(await this.adminToken(), method, path, body);
  }

  async createDomain(name: string): Promise<Named> {
    return (await this.request<{ domain: Named }>('POST', '/domains', { domain: { name } })).domain;
  }

  /** In the default domain unless another is given. */
  async createProject(name: string, domain?: Named): Promise<Named> {
    const project = { name, domain_id: domain?.id ?? DEFAULT_DOMAIN };
    return (await this.request<{ project: Named }>('POST', '/projects', { project })).project;
  }

  /** The project of this name in the default domain, created if it is not there. */
  async ensureProject(name: string): Promise<Named> {
    const { projects } = await this.request<{ projects: readonly Named[] }>(
      'GET',
      `/projects?domain_id=${DEFAULT_DOMAIN}&name=${encodeURIComponent(name)}`,
    );
    return projects[0] ?? this.createProject(name);
  }

  /** In the default domain unless another is given. */
  async createUser(name: string, password: string, domain?: Named): Promise<User> {
    const user = { name, password, domain_id: domain?.id ?? DEFAULT_DOMAIN };
    const created = await this.request<{ user: Named }>('POST', '/users', { user });
    return { ...created.user, password };
  }

  /** The role of this name, created if it is not there: Keystone brings admin, member and reader along. */
  async ensureRole(name: string): Promise<Named> {
    const { roles } = await this.request<{ roles: readonly Named[] }>(
      'GET',
      `/roles?name=${encodeURIComponent(name)}`,
    );
    if (roles[0] !== undefined) return roles[0];
    return (await this.request<{ role: Named }>('POST', '/roles', { role: { name } })).role;
  }

  /** Creates the role too if it is not there. */
  async grantRole(assignment: RoleAssignment): Promise<void> {
    await this.request('PUT', await this.#assignmentPath(assignment));
  }

  async revokeRole(assignment: RoleAssignment): Promise<void> {
    await this.request('DELETE', await this.#assignmentPath(assignment));
  }

  /** Carries all roles that the user has in the project; only its owner may create one, hence the password. */
  async createApplicationCredential(
    user: User,
    project: Named,
    name: string,
  ): Promise<ApplicationCredential> {
    const token = await this.token(user.name, user.password, project.name);
    const { application_credential } = await this.#requestWith<{
      application_credential: ApplicationCredential;
    }>(token, 'POST', `/users/${user.id}/application_credentials`, { application_credential: { name } });
    return application_credential;
  }

  /** A service of the catalogue with its public, internal and admin endpoint at the URL. */
  async createService(name: string, type: string, url: string): Promise<Service> {
    const { service } = await this.request<{ service: Service }>('POST', '/services', {
      service: { name, type },
    });
    for (const kind of ['public', 'internal', 'admin']) {
      await this.request('POST', '/endpoints', {
        endpoint: { service_id: service.id, region_id: REGION, interface: kind, url },
      });
    }
    return service;
  }

  get isRunning(): boolean {
    return this.#process.isRunning;
  }

  /** Starts Keystone after `kill`, on the same port and database. */
  start(): Promise<void> {
    return this.#process.start();
  }

  kill(): Promise<void> {
    return this.#process.kill();
  }

  restart(): Promise<void> {
    return this.#process.restart();
  }

  /** Ends Keystone and removes its folder; its database stays. */
  async stop(): Promise<void> {
    await this.#process.stop();
    await removeServiceFolder(this.#folder);
  }

  async #assignmentPath({ user, role, project, domain }: RoleAssignment): Promise<string> {
    const target = project === undefined ? `domains/${domain!.id}` : `projects/${project.id}`;
    return `/${target}/users/${user.id}/roles/${(await this.ensureRole(role)).id}`;
  }

  async #requestWith<Body>(
    token: string,
    method: JsonRequest['method'] & string,
    path: string,
    body?: unknown,
  ): Promise<Body> {
    return (await requestJson<Body>({ method, url: `${this.url}${path}`, token, body })).body;
  }
}

interface Parts {
  readonly url: string;
  readonly folder: string;
  readonly process: ServiceProcess;
  readonly tokenLifetimeSeconds: number;
}

const WSGI_SOURCE = `from keystone.server.wsgi import initialize_public_application

application = initialize_public_application()
`;

async function writeConfiguration(
  folder: string,
  database: string,
  tokenLifetimeSeconds: number,
): Promise<void> {
  const text = `[DEFAULT]
use_stderr = true
[database]
connection = ${database.replace('mysql:', 'mysql+pymysql:')}?charset=utf8
[token]
provider = fernet
expiration = ${tokenLifetimeSeconds}
[fernet_tokens]
key_repository = ${join(folder, 'keys')}
[fernet_receipts]
key_repository = ${join(folder, 'keys')}
[credential]
key_repository = ${join(folder, 'keys')}
[identity]
# The least that bcrypt allows: tests need quick log-ins, not strong hashes.
password_hash_rounds = 4
`;
  await writeFile(configurationFile(folder), text);
}

/** What `keystone-manage fernet_setup` and `credential_setup` write, without a few seconds of Python each. */
async function writeKeys(folder: string): Promise<void> {
  await mkdir(join(folder, 'keys'), { mode: 0o700 });
  for (const name of ['0', '1']) {
    const key = randomBytes(32).toString('base64').replaceAll('+', '-').replaceAll('/', '_');
    await writeFile(join(folder, 'keys', name), key, { mode: 0o600 });
  }
}

function bootstrapArguments(url: string): readonly string[] {
  return [
    ...['--bootstrap-password', ADMIN_PASSWORD, '--bootstrap-region-id', REGION],
    ...['--bootstrap-public-url', url, '--bootstrap-internal-url', url, '--bootstrap-admin-url', url],
  ];
}

function runManage(program: string, folder: string, command: readonly string[]): Promise<void> {
  const file = configurationFile(folder);
  return runCommand({
    name: 'keystone-manage',
    program,
    arguments: ['--config-file', file, ...command],
    folder,
  });
}

function configurationFile(folder: string): string {
  return join(folder, 'keystone.conf');
}
