import { type Behaviour, HttpDouble, json, type ReceivedRequest, reply } from './http-double.js';

export interface FakeProject {
  readonly id: string;
  readonly name: string;
  readonly enabled?: boolean;
  readonly domain_id?: string;
}

export type FakeResource = Readonly<Record<string, unknown>>;

/** Enough of Keystone v3 and Gnocchi on one port to see what is asked and to answer anything. */
export class FakeOpenStack {
  readonly double: HttpDouble;
  // Keystone
  password = 's3cret';
  logins = 0;
  tokenLifeSeconds = 3600;
  hasCatalog = true;
  roles = ['rating', 'member'];
  projects: FakeProject[] = [];
  /** Role names that the service user was given directly, by project. */
  direct: Record<string, readonly string[]> = {};
  /** Projects on which it has the rating role in any way. */
  effective: string[] = [];
  /** Paths that are answered with 403. */
  forbidden = /^$/;
  pageSize = 1000;
  // Gnocchi
  resources: Record<string, FakeResource[]> = {};
  givesLinks = true;
  aggregates: (request: ReceivedRequest) => Behaviour = () => json([]);
  readonly #tokens = new Set<string>();

  private constructor(double: HttpDouble) {
    this.double = double;
    double.handler = (request) => this.answer(request);
  }

  static async start(): Promise<FakeOpenStack> {
    return new FakeOpenStack(await HttpDouble.start());
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

  asked(path: RegExp): readonly ReceivedRequest[] {
    return this.double.requests.filter((request) => path.test(request.path));
  }

  answer(request: ReceivedRequest): Behaviour {
    if (request.path === '/v3/auth/tokens') return this.#logIn(request);
    if (
      request.headers.authorization === undefined &&
      !this.#tokens.has(String(request.headers['x-auth-token']))
    )
      return json({ error: { message: 'no valid token' } }, 401);
    if (this.forbidden.test(request.path)) return json({ error: { message: 'forbidden' } }, 403);
    if (request.path.startsWith('/v3/')) return this.#identity(request);
    if (request.path === '/metric/v1/aggregates') return this.aggregates(request);
    const search = /^\/metric\/v1\/search\/resource\/(.+)$/.exec(request.path);
    return search === null ? reply(404) : this.#search(decodeURIComponent(search[1]!), request);
  }

  #logIn(request: ReceivedRequest): Behaviour {
    this.logins++;
    const { identity } = JSON.parse(request.body).auth;
    const given = identity.password?.user.password ?? identity.application_credential?.secret;
    if (given !== this.password) return json({ error: { message: `no: ${request.body}` } }, 401);
    const token = `token-${this.logins}`;
    this.#tokens.add(token);
    const now = Date.now();
    const endpoints = (url: string) => [
      { interface: 'internal', region: 'RegionOne', region_id: 'RegionOne', url },
      { interface: 'public', region: 'RegionOne', region_id: 'RegionOne', url },
      { interface: 'public', region: 'RegionTwo', region_id: 'RegionTwo', url: 'http://two.invalid' },
    ];
    const catalog = [
      { type: 'identity', name: 'keystone', endpoints: endpoints(this.double.url) },
      { type: 'metric', name: 'gnocchi', endpoints: endpoints(`${this.double.url}/metric/`) },
    ];
    const body = {
      token: {
        user: { id: 'user-1', name: 'ratecat' },
        issued_at: new Date(now).toISOString(),
        expires_at: new Date(now + this.tokenLifeSeconds * 1000).toISOString(),
        ...(this.hasCatalog ? { catalog } : {}),
      },
    };
    return json(body, 201, { 'X-Subject-Token': token });
  }

  #identity(request: ReceivedRequest): Behaviour {
    const grants = /^\/v3\/projects\/([^/]+)\/users\/user-1\/roles$/.exec(request.path);
    if (grants !== null) {
      const id = decodeURIComponent(grants[1]!);
      if (this.projects.every((project) => project.id !== id)) return reply(404);
      return json({ roles: (this.direct[id] ?? []).map((name) => ({ id: `id-${name}`, name })) });
    }
    if (request.path === '/v3/roles') {
      const name = request.query.get('name');
      const roles = this.roles.filter((role) => name === null || role === name);
      return json({ roles: roles.map((role) => ({ id: `id-${role}`, name: role })) });
    }
    if (request.path === '/v3/role_assignments') {
      const role_assignments = this.effective.map((id) => ({
        role: { id: request.query.get('role.id') },
        user: { id: request.query.get('user.id') },
        scope: { project: { id } },
      }));
      return json({ role_assignments, links: { next: null } });
    }
    return request.path === '/v3/projects' ? this.#projects(request) : reply(404);
  }

  #projects(request: ReceivedRequest): Behaviour {
    const domain = request.query.get('domain_id');
    const all = this.projects.filter(({ domain_id }) => domain === null || domain_id === domain);
    const from = Number(request.query.get('marker') ?? 0);
    const end = from + this.pageSize;
    const more = new URLSearchParams(request.query);
    more.set('marker', String(end));
    // A host that nobody should follow.
    const next = end < all.length ? `http://evil.invalid/v3/projects?${more}` : null;
    return json({ projects: all.slice(from, end), links: { next } });
  }

  #search(type: string, request: ReceivedRequest): Behaviour {
    const found = (this.resources[type] ?? []).filter((resource) => fits(resource, JSON.parse(request.body)));
    const marker = request.query.get('marker');
    const from = marker === null ? 0 : found.findIndex(({ id }) => id === marker) + 1;
    const page = found.slice(from, from + this.pageSize);
    const more = new URLSearchParams(request.query);
    more.set('marker', String(page.at(-1)?.id));
    const link = `<http://evil.invalid/v1/search/resource/${type}?${more}>; rel="next"`;
    const full = this.givesLinks && page.length === this.pageSize;
    return json(page, 200, full ? { Link: link } : {});
  }
}

/** The parts of Gnocchi's filters that choose by attribute; times are not looked at. */
function fits(resource: FakeResource, filter: Record<string, unknown>): boolean {
  const [[operator, operand] = ['', undefined]] = Object.entries(filter);
  if (operator === 'not') return !fits(resource, operand as Record<string, unknown>);
  if (operator === 'and') return (operand as Record<string, unknown>[]).every((part) => fits(resource, part));
  const [[attribute, value] = ['', undefined]] = Object.entries((operand as object | undefined) ?? {});
  if (operator === 'in') return (value as unknown[]).includes(resource[attribute]);
  return operator !== '=' || resource[attribute] === value;
}
