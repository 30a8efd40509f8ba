import { z } from 'zod';
import {
  type Clock,
  type HttpFactory,
  type HttpRequest,
  type HttpResponse,
  isRatecatError,
  RejectedError,
  UnavailableError,
} from '../plugin-api/index.js';
import { excerpt, inShape, KeystoneSession, parseJson, shownUrl } from '../upstream/index.js';
import type { AdminCredentials } from './openstack-credentials.js';

const ENTITY = z.object({
  id: z.string().min(1),
  name: z
    .string()
    .nullish()
    .transform((name) => name ?? ''),
  enabled: z.boolean().default(true),
  domain_id: z.string().nullish(),
  type: z.string().optional(),
  interface: z.string().optional(),
  region_id: z.string().nullish(),
  url: z.string().optional(),
});

/** Anything that Keystone keeps. Fields that a kind does not have are absent. */
export type Entity = z.output<typeof ENTITY>;

/** The word in answers, the plural in paths. */
export type Kind = 'domain' | 'region' | 'role' | 'project' | 'user' | 'service' | 'endpoint';

export interface Outside {
  readonly http: HttpFactory;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

const NEEDS =
  "the role 'admin' on the project that it logs in to, or with system scope, and log in with that";
/** What an id can look like; anything else is a name, and could lead the path of a URL astray. */
const ID = /^[\w-]{1,64}$/;

/**
 * Keystone's identity API with an administrator's credentials. Calls go where the log-in went: the catalogue may be what
 * needs repair.
 *
 * All calls throw RejectedError RATECAT_AUTH_REJECTED, RATECAT_ROLE_MISSING or RATECAT_UPSTREAM_REJECTED, and
 * UnavailableError when Keystone does not answer.
 */
export class KeystoneAdmin {
  readonly #credentials: AdminCredentials;
  readonly #outside: Outside;
  readonly #client: ReturnType<HttpFactory['client']>;
  readonly #session: KeystoneSession;
  readonly #base: string;

  constructor(credentials: AdminCredentials, outside: Outside) {
    const { options } = credentials;
    this.#credentials = credentials;
    this.#outside = outside;
    this.#client = outside.http.client({
      timeoutMs: options.timeout * 1000,
      caFile: options.cafile,
      certFile: options.certfile,
      keyFile: options.keyfile,
      insecure: options.insecure,
    });
    this.#session = new KeystoneSession(options, this.#client, outside.clock);
    const url = (options.auth_url ?? '').replace(/\/+$/, '');
    this.#base = url.endsWith('/v3') ? url : `${url}/v3`;
  }

  get region(): string | undefined {
    return this.#credentials.region;
  }

  /** Tries the credentials; a refusal names them as their origin does. */
  async logIn(): Promise<void> {
    const { label, origin } = this.#credentials;
    try {
      await this.#session.token(this.#outside.signal);
    } catch (error) {
      if (!isRatecatError(error) || error.kind !== 'rejected') throw error;
      const message = error.message.replace(/\boptions\.(\w+)/g, (_, option: string) => label(option));
      throw new RejectedError(error.code, `${message} The credentials are those of ${origin}.`);
    }
  }

  /** Whether a user can log in, to a project or, without one, at all. */
  async accepts(user: Entity, password: string, project?: Entity): Promise<boolean> {
    const { auth_url, timeout, max_response_mib, insecure } = this.#credentials.options;
    const session = new KeystoneSession(
      {
        auth_type: 'password',
        auth_url,
        timeout,
        max_response_mib,
        insecure,
        user_id: user.id,
        password,
        project_id: project?.id,
      },
      this.#client,
      this.#outside.clock,
    );
    try {
      await session.token(this.#outside.signal);
      return true;
    } catch (error) {
      if (isRatecatError(error) && error.code === 'RATECAT_AUTH_REJECTED') return false;
      throw error;
    }
  }

  async list(kind: Kind, filter: Readonly<Record<string, string>> = {}): Promise<readonly Entity[]> {
    const query = new URLSearchParams(filter).toString();
    return await this.listAt(`/${kind}s${query === '' ? '' : `?${query}`}`, kind);
  }

  async listAt(path: string, kind: Kind): Promise<readonly Entity[]> {
    const { call, response } = await this.#send('GET', path, `list ${kind}s`);
    if (response.status !== 200) throw refused(call, response);
    return inShape(call, z.object({ [`${kind}s`]: z.array(ENTITY) }), parseJson(call, response.body))[
      `${kind}s`
    ]!;
  }

  /** By id, or by name: as OpenStack's own client does, the id first. */
  async find(
    kind: Kind,
    nameOrId: string,
    filter: Readonly<Record<string, string>> = {},
  ): Promise<readonly Entity[]> {
    const byId = ID.test(nameOrId) ? await this.#byId(kind, nameOrId) : undefined;
    return byId === undefined ? await this.list(kind, { ...filter, name: nameOrId }) : [byId];
  }

  async create(kind: Kind, fields: object, again?: () => Promise<Entity | undefined>): Promise<Entity> {
    const { call, response } = await this.#send('POST', `/${kind}s`, `create ${kind}s`, { [kind]: fields });
    if (response.status === 409) {
      // Somebody else was quicker, or the first answer was lost on its way.
      const found = await again?.();
      if (found !== undefined) return found;
    }
    if (response.status !== 201) throw refused(call, response, fields);
    return entityIn(call, kind, response);
  }

  async change(kind: Kind, id: string, fields: object): Promise<Entity> {
    const { call, response } = await this.#send(
      'PATCH',
      `/${kind}s/${encodeURIComponent(id)}`,
      `change ${kind}s`,
      {
        [kind]: fields,
      },
    );
    if (response.status !== 200) throw refused(call, response, fields);
    return entityIn(call, kind, response);
  }

  /** The roles that a user was given directly on a project. */
  async rolesOf(user: Entity, project: Entity): Promise<readonly Entity[]> {
    return await this.listAt(`/projects/${project.id}/users/${user.id}/roles`, 'role');
  }

  async grant(user: Entity, project: Entity, role: Entity): Promise<void> {
    const { call, response } = await this.#send('PUT', assignment(user, project, role), 'give roles');
    if (response.status !== 204) throw refused(call, response);
  }

  async revoke(user: Entity, project: Entity, role: Entity): Promise<void> {
    const { call, response } = await this.#send('DELETE', assignment(user, project, role), 'take roles');
    if (response.status !== 204 && response.status !== 404) throw refused(call, response);
  }

  async close(): Promise<void> {
    await this.#client.close();
  }

  async #byId(kind: Kind, id: string): Promise<Entity | undefined> {
    const { call, response } = await this.#send('GET', `/${kind}s/${id}`, `look up ${kind}s`);
    if (response.status === 404) return undefined;
    if (response.status !== 200) throw refused(call, response);
    return entityIn(call, kind, response);
  }

  async #send(method: Method, path: string, to: string, body?: object): Promise<Exchange> {
    const request = {
      method,
      url: `${this.#base}${path}`,
      ...(body === undefined
        ? {}
        : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
    };
    const call = `${method} ${shownUrl(request.url)}`;
    return {
      call,
      response: await this.#session.request(request, { to, needs: NEEDS }, this.#outside.signal),
    };
  }
}

type Method = NonNullable<HttpRequest['method']>;

interface Exchange {
  readonly call: string;
  readonly response: HttpResponse;
}

function assignment(user: Entity, project: Entity, role: Entity): string {
  return `/projects/${project.id}/users/${user.id}/roles/${role.id}`;
}

function entityIn(call: string, kind: Kind, { body }: HttpResponse): Entity {
  return inShape(call, z.object({ [kind]: ENTITY }), parseJson(call, body))[kind]!;
}

function refused(call: string, response: HttpResponse, sent: object = {}): Error {
  const { password = '' } = sent as { readonly password?: string };
  const said = excerpt(response.body, password);
  const because = said === '' ? '' : `: ${said}`;
  if (response.status >= 500 || response.status === 429) {
    return new UnavailableError(
      'RATECAT_UPSTREAM_UNAVAILABLE',
      `${call} was answered with ${response.status}${because}. Run the command again: it goes on where it stopped. If it persists, check Keystone's log.`,
    );
  }
  return new RejectedError(
    'RATECAT_UPSTREAM_REJECTED',
    `${call} was refused with ${response.status}${because}.`,
  );
}
