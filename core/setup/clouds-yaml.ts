import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Plain, plainValue, readYaml } from '../config/yaml-document.js';
import { ConfigError } from '../plugin-api/index.js';

type Environment = Readonly<Record<string, string | undefined>>;
type Value = Plain<string>;
type Fields = Readonly<Record<string, Value>>;

/** One cloud, its profile and its secrets merged into it. */
export interface Cloud {
  readonly name: string;
  readonly file: string;
  readonly fields: Fields;
}

/**
 * The cloud of that name; without a name the only one that there is. Undefined without a name when there are no files or
 * several clouds. Places and names as in openstacksdk.
 * @throws ConfigError RATECAT_ADMIN_CREDENTIALS when no file has the name, RATECAT_CONFIG_INVALID when a file is broken.
 */
export async function findCloud(
  name: string | undefined,
  environment: Environment,
): Promise<Cloud | undefined> {
  const file = findFile('clouds', environment.OS_CLIENT_CONFIG_FILE, environment);
  if (file === undefined) {
    if (name === undefined) return undefined;
    throw missing(
      `there is no clouds.yaml for the cloud '${name}' (looked in ${folders(environment).join(', ')})`,
    );
  }
  const clouds = mapIn(await read(file), 'clouds');
  const names = Object.keys(clouds);
  const chosen = name ?? (names.length === 1 ? names[0] : undefined);
  if (chosen === undefined) return undefined;
  if (!Object.hasOwn(clouds, chosen)) {
    throw missing(
      `${file} has no cloud '${chosen}' (it has: ${names.length === 0 ? 'none' : names.join(', ')})`,
    );
  }
  const cloud = mapIn(clouds, chosen);
  const profile = await profileOf(cloud, environment);
  return { name: chosen, file, fields: merged(merged(profile, cloud), await secretsOf(chosen, environment)) };
}

async function profileOf(cloud: Fields, environment: Environment): Promise<Fields> {
  const name = cloud.profile ?? cloud.cloud;
  const file = findFile('clouds-public', environment.OS_CLIENT_VENDOR_FILE, environment);
  if (typeof name !== 'string' || file === undefined) return {};
  return mapIn(mapIn(await read(file), 'public-clouds'), name);
}

async function secretsOf(name: string, environment: Environment): Promise<Fields> {
  const file = findFile('secure', environment.OS_CLIENT_SECURE_FILE, environment);
  return file === undefined ? {} : mapIn(mapIn(await read(file), 'clouds'), name);
}

async function read(file: string): Promise<Fields> {
  // Literals stay as they are written: a password may well look like a number.
  const value = plainValue((await readYaml(file)).root, (text) => text);
  return isFields(value) ? value : {};
}

function folders({ HOME = '', XDG_CONFIG_HOME, XDG_CONFIG_DIRS }: Environment): readonly string[] {
  const own =
    XDG_CONFIG_HOME === undefined || XDG_CONFIG_HOME === '' ? join(HOME, '.config') : XDG_CONFIG_HOME;
  const site = XDG_CONFIG_DIRS === undefined || XDG_CONFIG_DIRS === '' ? [] : XDG_CONFIG_DIRS.split(':');
  return ['.', ...[own, ...site].map((folder) => join(folder, 'openstack')), '/etc/openstack'];
}

function findFile(name: string, named: string | undefined, environment: Environment): string | undefined {
  if (named !== undefined && named !== '') return named;
  return folders(environment)
    .flatMap((folder) => ['yaml', 'yml', 'json'].map((ending) => join(folder, `${name}.${ending}`)))
    .find((file) => existsSync(file));
}

function mapIn(fields: Fields, name: string): Fields {
  const value = Object.hasOwn(fields, name) ? fields[name] : undefined;
  return value !== undefined && isFields(value) ? value : {};
}

export function isFields(value: Value): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What the second says wins; maps in both are merged in turn. */
function merged(first: Fields, second: Fields): Fields {
  const result: Record<string, Value> = { ...first };
  for (const [name, value] of Object.entries(second)) {
    const before = result[name];
    result[name] =
      before !== undefined && isFields(before) && isFields(value) ? merged(before, value) : value;
  }
  return result;
}

function missing(problem: string): ConfigError {
  return new ConfigError(
    'RATECAT_ADMIN_CREDENTIALS',
    `There are no administrator credentials: ${problem}. Name the cloud with --os-cloud, a file of OS_* variables with --openrc, or set OS_AUTH_URL and the others.`,
  );
}
