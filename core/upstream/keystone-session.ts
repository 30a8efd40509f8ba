import { z } from 'zod';
import {
  type Clock,
  type HttpClient,
  type HttpRequest,
  type HttpResponse,
  type RatecatError,
  RejectedError,
} from '../plugin-api/index.js';
import { SharedCalls } from './shared-calls.js';
import {
  excerpt,
  inShape,
  malformed,
  parseJson,
  refusal,
  requestRepeatably,
  shownUrl,
  upstreamShape,
} from './upstream.js';

const text = z.string().min(1).optional();

/** Credentials for Keystone; names as in every CloudKitty section that logs in. */
export const keystoneShape = {
  ...upstreamShape,
  auth_type: z
    .enum(['password', 'v3password', 'v3applicationcredential'], {
      error: 'must be password, v3password or v3applicationcredential',
    })
    .default('password'),
  auth_url: text,
  username: text,
  user_id: text,
  password: text,
  user_domain_id: text,
  user_domain_name: text,
  project_id: text,
  project_name: text,
  tenant_id: text,
  tenant_name: text,
  project_domain_id: text,
  project_domain_name: text,
  domain_id: text,
  domain_name: text,
  system_scope: z.literal('all', { error: "must be 'all'" }).optional(),
  trust_id: text,
  application_credential_id: text,
  application_credential_name: text,
  application_credential_secret: text,
};

export const keystoneSecrets = ['password', 'application_credential_secret'];

export type KeystoneOptions = z.output<z.ZodObject<typeof keystoneShape>>;

/** Names every option that is missing for the chosen way to log in. */
export function checkKeystone(options: KeystoneOptions, context: z.core.$RefinementCtx): void {
  const issue = (path: keyof KeystoneOptions, message: string) =>
    context.addIssue({ code: 'custom', path: [path], message });
  if (options.auth_url === undefined) {
    issue('auth_url', 'is required, e.g. http://keystone.example:5000/v3');
  } else if (!/^https?:\/\//.test(options.auth_url) || !URL.canParse(options.auth_url)) {
    issue('auth_url', 'must be an http or https URL, e.g. http://keystone.example:5000/v3');
  } else if (/\/v2\.0\/?$/.test(options.auth_url)) {
    issue('auth_url', 'names the identity API v2.0, which no longer exists; use the URL ending in /v3');
  }
  if (options.auth_type === 'v3applicationcredential') {
    if (options.application_credential_secret === undefined) {
      issue('application_credential_secret', 'is required with auth_type v3applicationcredential');
    }
    if (options.application_credential_id === undefined) {
      if (options.application_credential_name === undefined) {
        issue('application_credential_id', 'is required (or application_credential_name with the user)');
      } else if (options.user_id === undefined && options.username === undefined) {
        issue('username', 'is required with application_credential_name (or user_id)');
      }
    }
    return;
  }
  if (options.user_id === undefined && options.username === undefined) {
    issue('username', 'is required (or user_id)');
  }
  if (options.password === undefined) issue('password', 'is required');
  const scopes = [
    options.project_id ?? options.project_name ?? options.tenant_id ?? options.tenant_name,
    options.domain_id ?? options.domain_name,
    options.system_scope,
    options.trust_id,
  ].filter((scope) => scope !== undefined);
  if (scopes.length > 1) {
    issue('project_name', 'a token has one scope: give a project, a domain, system_scope or trust_id');
  }
}

/** A valid token and what came with it. */
export interface KeystoneToken {
  readonly value: string;
  readonly userId: string;
  readonly userName: string;
  readonly catalog: readonly CatalogEntry[];
}

interface CatalogEntry {
  readonly type: string;
  readonly endpoints: readonly CatalogEndpoint[];
}

interface CatalogEndpoint {
  readonly url: string;
  readonly interface: string;
  readonly region?: string | null | undefined;
  readonly region_id?: string | null | undefined;
}

/** What a call is for, for the message when it is refused. */
export interface CallPurpose {
  /** `list all projects` */
  readonly to: string;
  /** `role 'reader' or 'admin' with system scope` */
  readonly needs: string;
}

/** A token is replaced this long before it expires, or in the last tenth of a short life. */
const RENEW_BEFORE_MS = 120_000;
/** Refused credentials are not sent again for a while: Keystone locks accounts after some failures. */
const REFUSED_FOR_MS = 30_000;

/** A log-in to Keystone (identity API v3) that renews itself. Callers at the same time share one log-in. */
export class KeystoneSession {
  readonly #options: KeystoneOptions;
  readonly #http: HttpClient;
  readonly #clock: Clock;
  readonly #logins = new SharedCalls<KeystoneToken>();
  #token: { readonly token: KeystoneToken; readonly renewAt: number } | undefined;
  #refused: { readonly error: RatecatError; readonly until: number } | undefined;

  constructor(options: KeystoneOptions, http: HttpClient, clock: Clock) {
    this.#options = options;
    this.#http = http;
    this.#clock = clock;
  }

  /**
   * @throws RejectedError RATECAT_AUTH_REJECTED when Keystone refuses the credentials.
   * @throws UnavailableError when it does not answer.
   */
  async token(signal: AbortSignal): Promise<KeystoneToken> {
    const now = this.#clock.monotonic();
    if (this.#token !== undefined && now < this.#token.renewAt) return this.#token.token;
    if (this.#refused !== undefined && now < this.#refused.until) throw this.#refused.error;
    return await this.#logins.run('', (shared) => this.#logIn(shared), signal);
  }

  /**
   * Base URL of a service from the catalog, without a trailing slash.
   * @throws RejectedError RATECAT_ENDPOINT_MISSING that says what the catalog does have.
   */
  async endpoint(
    service: string,
    wanted: { readonly interface: string; readonly region: string | undefined },
    signal: AbortSignal,
  ): Promise<string> {
    const { catalog } = await this.token(signal);
    const plain = wanted.interface.replace(/URL$/, '');
    const known = catalog.filter((entry) => entry.type === service).flatMap((entry) => entry.endpoints);
    const fits = (endpoint: CatalogEndpoint) =>
      endpoint.interface.replace(/URL$/, '') === plain &&
      (wanted.region === undefined || (endpoint.region_id ?? endpoint.region) === wanted.region);
    const found = known.find(fits);
    if (found === undefined) throw endpointMissing(service, plain, wanted.region, known);
    return found.url.replace(/\/+$/, '');
  }

  /** The identity service: from the catalog, or where the log-in went when the token has no catalog. */
  async identityUrl(
    wanted: { readonly interface: string; readonly region: string | undefined },
    signal: AbortSignal,
  ): Promise<string> {
    const { catalog } = await this.token(signal);
    if (catalog.every((entry) => entry.type !== 'identity')) return v3Url(this.#options.auth_url ?? '');
    return v3Url(await this.endpoint('identity', wanted, signal));
  }

  /**
   * Sends a request that may safely be repeated with a token; a token that is no longer accepted is replaced once. Answers
   * other than 401 and 403 are for the caller to judge.
   * @throws RejectedError RATECAT_ROLE_MISSING with 403, RATECAT_AUTH_REJECTED when a fresh token is not accepted.
   */
  async request(request: HttpRequest, purpose: CallPurpose, signal: AbortSignal): Promise<HttpResponse> {
    let token = await this.token(signal);
    let response = await this.#send(request, token, signal);
    if (response.status === 401) {
      if (this.#token?.token === token) this.#token = undefined;
      token = await this.token(signal);
      response = await this.#send(request, token, signal);
    }
    const call = `${request.method ?? 'GET'} ${shownUrl(request.url)}`;
    if (response.status === 401) {
      throw new RejectedError(
        'RATECAT_AUTH_REJECTED',
        `${call} was refused with a fresh token of user '${token.userName}' (401). Check that the service validates tokens with the Keystone at ${this.#shownAuthUrl}.`,
      );
    }
    if (response.status === 403) {
      throw new RejectedError(
        'RATECAT_ROLE_MISSING',
        `User '${token.userName}' may not ${purpose.to}: ${call} was refused (403). Give the user ${purpose.needs}.`,
      );
    }
    return response;
  }

  async #send(request: HttpRequest, token: KeystoneToken, signal: AbortSignal): Promise<HttpResponse> {
    const headers = { ...request.headers, 'x-auth-token': token.value };
    return await requestRepeatably(this.#http, { ...request, headers }, signal);
  }

  async #logIn(signal: AbortSignal): Promise<KeystoneToken> {
    const url = `${v3Url(this.#options.auth_url ?? '')}/auth/tokens`;
    const call = `POST ${shownUrl(url)}`;
    const response = await requestRepeatably(
      this.#http,
      {
        method: 'POST',
        url,
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ auth: authBody(this.#options) }),
      },
      signal,
    );
    if (response.status !== 200 && response.status !== 201) throw this.#refusal(call, response);
    return this.#remember(call, response);
  }

  #remember(call: string, response: HttpResponse): KeystoneToken {
    const value = response.headers['x-subject-token'];
    if (value === undefined || value === '') throw malformed(call, 'has no X-Subject-Token header');
    const { token } = inShape(call, tokenBody, parseJson(call, response.body));
    const result: KeystoneToken = {
      value,
      userId: token.user.id,
      userName: token.user.name ?? this.#userLabel,
      catalog: token.catalog ?? [],
    };
    const lifetime = lifetimeMs(token.issued_at, token.expires_at);
    const renewIn = lifetime - Math.min(RENEW_BEFORE_MS, lifetime / 10);
    this.#token = { token: result, renewAt: this.#clock.monotonic() + renewIn };
    this.#refused = undefined;
    return result;
  }

  /** The body of the answer is left out on purpose: whatever sits at that URL was just sent a password. */
  #refusal(call: string, response: HttpResponse): RatecatError {
    const { status } = response;
    const silent = { ...response, body: '' };
    if (status === 404) {
      return new RejectedError(
        'RATECAT_UPSTREAM_REJECTED',
        `There is no Keystone v3 API at ${this.#shownAuthUrl} (404). Check options.auth_url; it usually ends in :5000/v3 or /identity/v3.`,
      );
    }
    if (status !== 401 && status !== 403 && status !== 400) return refusal(call, silent);
    const check =
      this.#options.auth_type === 'v3applicationcredential'
        ? 'options.application_credential_id and options.application_credential_secret, and that the credential has neither expired nor been deleted'
        : 'options.password, options.username and the domains, and that the user has a role on the project it logs in to';
    const error = new RejectedError(
      'RATECAT_AUTH_REJECTED',
      `Keystone refused the credentials for '${excerpt(this.#userLabel)}' at ${this.#shownAuthUrl} (${status}). Check ${check}.`,
    );
    this.#refused = { error, until: this.#clock.monotonic() + REFUSED_FOR_MS };
    return error;
  }

  get #shownAuthUrl(): string {
    return shownUrl(this.#options.auth_url ?? '');
  }

  get #userLabel(): string {
    const { username, user_id, application_credential_name, application_credential_id } = this.#options;
    return username ?? user_id ?? application_credential_name ?? application_credential_id ?? '';
  }
}

const catalogEndpoint = z.object({
  url: z.string(),
  interface: z.string(),
  region: z.string().nullish(),
  region_id: z.string().nullish(),
});

const tokenBody = z.object({
  token: z.object({
    user: z.object({ id: z.string().min(1), name: z.string().optional() }),
    issued_at: z.string().optional(),
    expires_at: z.string().nullish(),
    catalog: z.array(z.object({ type: z.string(), endpoints: z.array(catalogEndpoint) })).optional(),
  }),
});

/** Both times are Keystone's, so that the two hosts' clocks need not agree. */
function lifetimeMs(issuedAt: string | undefined, expiresAt: string | null | undefined): number {
  const lifetime = Date.parse(expiresAt ?? '') - Date.parse(issuedAt ?? '');
  return Number.isFinite(lifetime) && lifetime > 0 ? lifetime : 5 * 60_000;
}

/** `…/v3` for a URL with or without it. */
function v3Url(url: string): string {
  const trimmed = url.replace(/\/+$/, '');
  return /\/v3$/.test(trimmed) ? trimmed : `${trimmed}/v3`;
}

function authBody(options: KeystoneOptions): unknown {
  if (options.auth_type === 'v3applicationcredential') {
    return {
      identity: {
        methods: ['application_credential'],
        application_credential: applicationCredential(options),
      },
    };
  }
  const identity = {
    methods: ['password'],
    password: { user: { ...userOf(options), password: options.password } },
  };
  const scope = scopeOf(options);
  return scope === undefined ? { identity } : { identity, scope };
}

function applicationCredential(options: KeystoneOptions): unknown {
  const secret = options.application_credential_secret;
  if (options.application_credential_id !== undefined) {
    return { id: options.application_credential_id, secret };
  }
  return { name: options.application_credential_name, secret, user: userOf(options) };
}

function userOf(options: KeystoneOptions): object {
  if (options.user_id !== undefined) return { id: options.user_id };
  return { name: options.username, domain: domainOf(options.user_domain_id, options.user_domain_name) };
}

/** Without a word about the domain it is the one that every Keystone is born with. */
function domainOf(id: string | undefined, name: string | undefined): object {
  if (id === undefined && name !== undefined) return { name };
  return { id: id ?? 'default' };
}

function scopeOf(options: KeystoneOptions): object | undefined {
  const projectId = options.project_id ?? options.tenant_id;
  const projectName = options.project_name ?? options.tenant_name;
  if (projectId !== undefined) return { project: { id: projectId } };
  if (projectName !== undefined) {
    const domain = domainOf(options.project_domain_id, options.project_domain_name);
    return { project: { name: projectName, domain } };
  }
  if (options.domain_id !== undefined) return { domain: { id: options.domain_id } };
  if (options.domain_name !== undefined) return { domain: { name: options.domain_name } };
  if (options.system_scope !== undefined) return { system: { all: true } };
  return options.trust_id === undefined ? undefined : { 'OS-TRUST:trust': { id: options.trust_id } };
}

function endpointMissing(
  service: string,
  plainInterface: string,
  region: string | undefined,
  known: readonly CatalogEndpoint[],
): RejectedError {
  const where = region === undefined ? '' : ` in region '${region}'`;
  const has = known
    .map((endpoint) => `${endpoint.interface} in ${endpoint.region_id ?? endpoint.region ?? 'no region'}`)
    .join(', ');
  return new RejectedError(
    'RATECAT_ENDPOINT_MISSING',
    `Keystone's catalog has no endpoint of type '${service}' with interface '${plainInterface}'${where} (it has: ${has === '' ? 'none' : excerpt(has)}). Check options.interface and options.region_name, or create the endpoint.`,
  );
}
