import { resolve } from 'node:path';
import { z } from 'zod';
import type { Config, KeystoneAuthConfig } from '../config/config.js';
import { type Clock, type HttpClient, type HttpFactory, isRatecatError } from '../plugin-api/index.js';
import { openstackCommand } from '../setup/shell-command.js';
import {
  type KeystoneOptions,
  KeystoneSession,
  keystoneShape,
  parseJson,
  shownUrl,
} from '../upstream/index.js';
import type { Configured } from './configuration.js';
import type { Examination, Say } from './examination.js';

const ANSWER_MS = 10_000;
/** Roles that Keystone's own rules let validate the tokens of others; `reader` is one with system scope only. */
const VALIDATING = ['admin', 'service'];
const RATING_SERVICE = 'rating';

export interface KeystoneParts {
  readonly http: HttpFactory;
  readonly clock: Clock;
}

/** One log-in of the configuration, and every place that has it. */
interface Login {
  readonly places: readonly string[];
  readonly options: KeystoneOptions;
  /** The API checks the tokens of its callers with it. */
  readonly api: KeystoneAuthConfig | undefined;
}

/** Whether Keystone takes the credentials of the configuration, with which roles, and what its catalogue says of `rating`. */
export async function lookAtKeystone(
  examination: Examination,
  configured: Configured | undefined,
  parts: KeystoneParts,
): Promise<void> {
  const logins = configured === undefined ? [] : loginsOf(configured.config);
  if (logins.length === 0) {
    await examination.look(
      { area: 'keystone', what: 'the credentials', needs: { config: configured } },
      async (_, say) => {
        say.ok('keystone-not-used', 'the configuration has no log-in to Keystone');
      },
    );
    return;
  }
  const clients: HttpClient[] = [];
  try {
    await lookAtLogins(examination, configured!.config, logins, parts, clients);
  } finally {
    await Promise.all(clients.map((client) => client.close()));
  }
}

async function lookAtLogins(
  examination: Examination,
  config: Config,
  logins: readonly Login[],
  { http, clock }: KeystoneParts,
  clients: HttpClient[],
): Promise<void> {
  let rating:
    | { readonly session: KeystoneSession; readonly login: Login; readonly client: HttpClient }
    | undefined;
  for (const login of logins) {
    const where = login.places.join(', ');
    const session = await examination.look(
      { area: 'keystone', what: 'the credentials', where, needs: {} },
      async (_, say, signal) => {
        const client = clientOf(login.options, http);
        clients.push(client);
        const made = new KeystoneSession(login.options, client, clock);
        await lookAtRoles(made, login, say, signal);
        return { session: made, client };
      },
    );
    if (session !== undefined && (rating === undefined || login.api !== undefined))
      rating = { ...session, login };
  }
  await examination.look(
    { area: 'catalogue', what: 'the endpoints', needs: { login: rating } },
    async (got, say, signal) => {
      for (const plain of ['public', 'internal']) await lookAtEndpoint(plain, got.login, config, say, signal);
    },
  );
}

function clientOf({ cafile, certfile, keyfile, insecure }: KeystoneOptions, http: HttpFactory): HttpClient {
  return http.client({
    timeoutMs: ANSWER_MS,
    caFile: cafile,
    certFile: certfile,
    keyFile: keyfile,
    insecure,
  });
}

// ------------------------------------------------------------------------------------------------------- credentials

const loginShape = z.object(keystoneShape);

function loginsOf({ api, pipelines, folder }: Config): readonly Login[] {
  const found: Login[] = [];
  if (api.auth === 'keystone' && api.keystone !== undefined)
    found.push({ places: ['api.keystone'], options: api.keystone.session, api: api.keystone });
  for (const { name, fetcher, collector } of pipelines) {
    const prefix = pipelines.length === 1 ? '' : `${name}: `;
    for (const [role, { options }] of [['fetcher', fetcher] as const, ['collector', collector] as const]) {
      const read = loginShape.safeParse(options.value);
      if (!read.success || read.data.auth_url === undefined) continue;
      found.push({
        places: [`${prefix}${role}.options`],
        options: withFiles(read.data, folder),
        api: undefined,
      });
    }
  }
  return together(found);
}

function withFiles(options: KeystoneOptions, folder: string): KeystoneOptions {
  const file = (path: string | undefined) => (path === undefined ? undefined : resolve(folder, path));
  return {
    ...options,
    cafile: file(options.cafile),
    certfile: file(options.certfile),
    keyfile: file(options.keyfile),
  };
}

/** Wrong credentials that are sent twice lock an account twice as fast. */
function together(logins: readonly Login[]): readonly Login[] {
  const distinct = new Map<string, Login>();
  for (const login of logins) {
    const { options } = login;
    const names = (Object.keys(keystoneShape) as (keyof KeystoneOptions)[]).filter(
      (name) => name !== 'timeout',
    );
    const key = JSON.stringify(names.map((name) => options[name] ?? null));
    const known = distinct.get(key);
    distinct.set(key, {
      ...login,
      places: [...(known?.places ?? []), ...login.places],
      api: known?.api ?? login.api,
    });
  }
  return [...distinct.values()];
}

const ownToken = z.object({
  token: z.object({
    roles: z.array(z.object({ name: z.string() })).optional(),
    project: z.object({ name: z.string() }).optional(),
  }),
});

async function lookAtRoles(
  session: KeystoneSession,
  login: Login,
  say: Say,
  signal: AbortSignal,
): Promise<void> {
  const token = await session.token(signal);
  const roles = await rolesOf(session, login.options, token.value, signal);
  const as = `'${token.userName}' logs in at ${shownUrl(login.options.auth_url ?? '')}`;
  if (roles === undefined) {
    say.ok('keystone-login', as);
    return;
  }
  if (roles.length === 0) {
    say.warn('keystone-role-missing', `${as}, but has no role: it may ask for nothing`, {
      fix: 'Give project_name and its domain to log in to a project, and the user a role on it.',
    });
  } else if (login.api !== undefined && !mayValidate(roles, login.options)) {
    const { project_name, tenant_name, project_id } = login.options;
    const project = project_name ?? tenant_name ?? project_id ?? '<project>';
    say.warn(
      'keystone-role-missing',
      `${as} with the roles ${roles.join(', ')}: Keystone will not let it check the tokens of the API's callers`,
      {
        fix: openstackCommand({
          command: 'role add',
          options: { user: token.userName, project },
          values: ['service'],
        }),
      },
    );
  } else say.ok('keystone-login', `${as} with the roles ${roles.join(', ')}`);
}

function mayValidate(roles: readonly string[], { system_scope }: KeystoneOptions): boolean {
  return roles.some((role) => VALIDATING.includes(role) || (role === 'reader' && system_scope === 'all'));
}

/** Undefined where Keystone does not say. */
async function rolesOf(
  session: KeystoneSession,
  { auth_url = '' }: KeystoneOptions,
  token: string,
  signal: AbortSignal,
): Promise<readonly string[] | undefined> {
  const base = auth_url.replace(/\/+$/, '');
  const url = `${/\/v3$/.test(base) ? base : `${base}/v3`}/auth/tokens`;
  const purpose = { to: 'look at its own token', needs: 'a role on the project it logs in to' };
  try {
    const response = await session.request({ url, headers: { 'x-subject-token': token } }, purpose, signal);
    if (response.status !== 200) return undefined;
    const read = ownToken.safeParse(parseJson('GET /v3/auth/tokens', response.body));
    return read.success ? (read.data.token.roles ?? []).map(({ name }) => name) : undefined;
  } catch (error) {
    if (isRatecatError(error) && error.kind !== 'unavailable') return undefined;
    throw error;
  }
}

// --------------------------------------------------------------------------------------------------------- catalogue

async function lookAtEndpoint(
  plain: string,
  rating: { readonly session: KeystoneSession; readonly login: Login; readonly client: HttpClient },
  config: Config,
  say: Say,
  signal: AbortSignal,
): Promise<void> {
  const service = rating.login.api?.serviceType ?? RATING_SERVICE;
  const region = rating.login.api?.region;
  const where = `${plain} endpoint of '${service}'`;
  let url: string;
  try {
    url = await rating.session.endpoint(service, { interface: plain, region }, signal);
  } catch (error) {
    if (!isRatecatError(error) || error.code !== 'RATECAT_ENDPOINT_MISSING') throw error;
    if (plain === 'public') sayMissing(service, region, config, say, where);
    return;
  }
  await reach(url, rating.client, say, where, signal);
}

function sayMissing(
  service: string,
  region: string | undefined,
  { api }: Config,
  say: Say,
  where: string,
): void {
  const scheme = api.tls === undefined ? 'http' : 'https';
  const create = openstackCommand({
    command: 'service create',
    options: { name: 'ratecat' },
    values: [service],
  });
  const publish = openstackCommand({
    command: 'endpoint create',
    options: { region: region ?? 'RegionOne' },
    values: [service, 'public', `${scheme}://<host>:${api.port}`],
  });
  say.warn(
    'catalogue-entry-missing',
    `Keystone's catalogue has no public endpoint of type '${service}'${region === undefined ? '' : ` in region '${region}'`}: Horizon and the openstack client do not find the API`,
    {
      where,
      fix: `${create}; ${publish}`,
    },
  );
}

async function reach(
  url: string,
  client: HttpClient,
  say: Say,
  where: string,
  signal: AbortSignal,
): Promise<void> {
  try {
    const { status, body } = await client.request({ url: `${url}/` }, signal);
    if (hasVersions(body)) {
      say.ok('catalogue-endpoint', `${shownUrl(url)} answers as a rating API`, { where });
      return;
    }
    say.fail(
      'catalogue-points-elsewhere',
      `${shownUrl(url)} answers (${status}), but not as a rating API: there is no list of versions`,
      {
        where,
        fix: 'openstack endpoint set --url http://<host of the API>:8889 <endpoint id>',
        kind: 'config',
      },
    );
  } catch (error) {
    if (!isRatecatError(error) || error.kind !== 'unavailable') throw error;
    say.fail('catalogue-endpoint-unreachable', `${shownUrl(url)} does not answer: ${error.message}`, {
      where,
      fix: "Start the API there ('ratecat api', or 'ratecat up' with api.enabled), or correct the endpoint: openstack endpoint set --url … <endpoint id>",
      code: error.code,
      kind: 'unavailable',
    });
  }
}

function hasVersions(body: string): boolean {
  try {
    const { versions } = JSON.parse(body) as { readonly versions?: unknown };
    return Array.isArray(versions) && versions.some((version) => /^v[12]/.test(String(version?.id)));
  } catch {
    return false;
  }
}
