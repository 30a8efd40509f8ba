import { resolve } from 'node:path';
import { z } from 'zod';
import { ConfigError } from '../plugin-api/index.js';
import { checkKeystone, type KeystoneOptions, keystoneShape, upstreamShape } from '../upstream/index.js';
import { findCloud, isFields } from './clouds-yaml.js';
import { type OpenrcVariables, parseOpenrc } from './openrc.js';
import { readSmall } from './secret-file.js';

/** Credentials of an administrator, as OpenStack's own clients read them. */
export interface AdminCredentials {
  readonly options: KeystoneOptions;
  readonly region: string | undefined;
  /** `cloud 'admin' of /etc/openstack/clouds.yaml`, for messages. */
  readonly origin: string;
  /** How the origin calls an option: `OS_PASSWORD`, `auth.password`. */
  label(option: string): string;
}

export interface CredentialSources {
  /** --os-cloud */
  readonly cloud?: string | undefined;
  /** --openrc */
  readonly openrc?: string | undefined;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

type Settings = ReadonlyMap<string, string>;

const SCHEMA = z.object(keystoneShape).superRefine(checkKeystone);
/** What makes a log-in, as Ratecat's plugins call it. */
const OF_LOG_IN: readonly string[] = Object.keys(keystoneShape).filter(
  (name) => name !== 'auth_type' && !Object.hasOwn(upstreamShape, name),
);

/**
 * From the openrc file, else the named cloud (also `OS_CLOUD`), else the `OS_*` variables, else the only cloud that there is.
 * @throws ConfigError RATECAT_ADMIN_CREDENTIALS, RATECAT_SECRET_FILE, RATECAT_CONFIG_INVALID. Never quotes a secret.
 */
export async function findCredentials(sources: CredentialSources): Promise<AdminCredentials> {
  const { environment, openrc } = sources;
  if (openrc !== undefined) return await fromOpenrc(openrc, environment);
  const named = sources.cloud ?? (environment.OS_CLOUD || undefined);
  if (named === undefined && environment.OS_AUTH_URL) return fromEnvironment(environment);
  const cloud = await findCloud(named, environment);
  if (cloud === undefined) {
    throw new ConfigError(
      'RATECAT_ADMIN_CREDENTIALS',
      'There are no administrator credentials. Name a cloud of clouds.yaml with --os-cloud, a file of OS_* variables with --openrc, or set OS_AUTH_URL and the others.',
    );
  }
  const settings = new Map<string, string>();
  const { auth } = cloud.fields;
  for (const part of [cloud.fields, auth !== undefined && isFields(auth) ? auth : {}]) {
    for (const [name, value] of Object.entries(part)) {
      if (typeof value === 'string' || typeof value === 'boolean') settings.set(name, String(value));
    }
  }
  return credentials(settings, {
    origin: `cloud '${cloud.name}' of ${cloud.file}`,
    home: environment.HOME,
    label: (option) => (OF_LOG_IN.includes(option) ? `auth.${option}` : option),
  });
}

async function fromOpenrc(
  file: string,
  environment: CredentialSources['environment'],
): Promise<AdminCredentials> {
  const { values, unknown } = parseOpenrc(await readSmall(file), environment);
  const settings = new Map(ofVariables(values));
  // Files that Horizon gives out ask for the password when a shell runs them.
  if (!settings.has('password') && environment.OS_PASSWORD) settings.set('password', environment.OS_PASSWORD);
  refuseUnknown(file, unknown, settings);
  return credentials(settings, { origin: file, home: environment.HOME, label: variable });
}

function refuseUnknown(file: string, unknown: OpenrcVariables['unknown'], settings: Settings): void {
  const reasons = [...unknown]
    .filter(([name]) => name.startsWith('OS_') && !settings.has(settingOf(name)))
    .map(([, reason]) => reason);
  if (reasons.length === 0) return;
  throw new ConfigError(
    'RATECAT_ADMIN_CREDENTIALS',
    `${file} is read, not run, and cannot be understood: ${reasons.join('; ')}. Write the values into the file, or set OS_PASSWORD in the environment when it is only the password that the file asks for.`,
  );
}

function fromEnvironment(environment: CredentialSources['environment']): AdminCredentials {
  const values = Object.entries(environment).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, value] as const],
  );
  return credentials(new Map(ofVariables(values)), {
    origin: 'the environment',
    home: environment.HOME,
    label: variable,
  });
}

/** Empty ones count as absent, as the files that unset them mean it. */
function ofVariables(values: Iterable<readonly [string, string]>): readonly (readonly [string, string])[] {
  return [...values].flatMap(([name, value]) =>
    name.startsWith('OS_') && value !== '' ? [[settingOf(name), value] as const] : [],
  );
}

function settingOf(variable: string): string {
  return variable.slice('OS_'.length).toLowerCase();
}

function variable(option: string): string {
  const other = { cafile: 'CACERT', certfile: 'CERT', keyfile: 'KEY' }[option];
  return `OS_${other ?? option.toUpperCase()}`;
}

interface Origin {
  readonly origin: string;
  readonly home: string | undefined;
  label(option: string): string;
}

function credentials(settings: Settings, { origin, home = '', label }: Origin): AdminCredentials {
  const file = (name: string) => {
    const path = settings.get(name);
    return path === undefined ? undefined : resolve(path.replace(/^~(?=\/|$)/, home));
  };
  const result = SCHEMA.safeParse({
    ...Object.fromEntries(OF_LOG_IN.flatMap((name) => given(name, settings.get(name)))),
    ...domains(settings),
    auth_type: authType(settings),
    cafile: file('cacert'),
    certfile: file('cert'),
    keyfile: file('key'),
    insecure: isTrue(settings.get('insecure')) || isFalse(settings.get('verify')),
  });
  if (result.success) {
    return { options: result.data, region: settings.get('region_name') || undefined, origin, label };
  }
  const problems = result.error.issues.map(
    ({ path, message }) => `${label(String(path[0]))} ${named(message, label)}`,
  );
  throw new ConfigError(
    'RATECAT_ADMIN_CREDENTIALS',
    `The administrator credentials of ${origin} are not complete: ${problems.join('; ')}.`,
  );
}

/** The names of options that a message mentions, as the origin calls them. */
function named(message: string, label: (option: string) => string): string {
  return message.replace(/\b[a-z]+(?:_[a-z]+)+\b/g, (word) =>
    OF_LOG_IN.includes(word) ? label(word) : word,
  );
}

function given(name: string, value: string | undefined): readonly (readonly [string, string])[] {
  return value === undefined || value === '' ? [] : [[name, value]];
}

/** The default domain stands in for each that is not named. */
function domains(settings: Settings): Readonly<Record<string, string>> {
  const id = settings.get('default_domain_id') ?? settings.get('default_domain');
  const name = settings.get('default_domain_name');
  const missing = ['user_domain', 'project_domain'].filter(
    (kind) => !settings.get(`${kind}_id`) && !settings.get(`${kind}_name`),
  );
  return Object.fromEntries(
    missing.flatMap((kind) => (id ? given(`${kind}_id`, id) : given(`${kind}_name`, name))),
  );
}

function authType(settings: Settings): string {
  const written = settings.get('auth_type') ?? settings.get('auth_plugin');
  if (written !== undefined && written !== '') return written;
  return settings.has('application_credential_secret') ? 'v3applicationcredential' : 'password';
}

function isTrue(value: string | undefined): boolean {
  return /^(?:true|yes|on|1)$/i.test(value ?? '');
}

function isFalse(value: string | undefined): boolean {
  return /^(?:false|no|off|0)$/i.test(value ?? '');
}
