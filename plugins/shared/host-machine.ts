import { readdir, readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { ConfigError, describeError, type Scope } from '../../core/plugin-api/index.js';

/** Which parts of a machine are scopes: the whole, each top-level systemd slice, or each user's slice. */
export type HostScopes = 'host' | 'slice' | 'user';

/** Options that the fetcher and the collector must agree on. */
export const hostMachineOptions = {
  scopes: z.enum(['host', 'slice', 'user']).default('host'),
  /** Name of this machine in scopes and attributes; default: the system's host name. */
  host: z
    .string()
    .min(1)
    .max(128)
    .regex(/^[\w.:-]+$/, 'may hold letters, digits, and . _ : - only')
    .optional(),
  /** Folder that holds `proc` and `sys`; in a container, where the machine's own are mounted, e.g. `/host`. */
  root: z.string().min(1).default('/'),
};

export interface HostMachine {
  readonly scopes: HostScopes;
  readonly host: string;
  readonly root: string;
}

export function hostMachine(options: {
  readonly scopes: HostScopes;
  readonly host?: string | undefined;
  readonly root: string;
}): HostMachine {
  return { scopes: options.scopes, host: options.host ?? hostname(), root: options.root };
}

/** One scope of the machine with the cgroup that counts for it; the machine itself has none. */
export interface HostScope {
  readonly id: string;
  readonly name: string;
  /** Name of the slice; undefined for the whole machine. */
  readonly slice: string | undefined;
  /** Folder of the slice's cgroup. */
  readonly folder: string | undefined;
}

/**
 * The scopes that exist now. Slices carry the machine's name (`system.slice@web1`), because several machines may report
 * to one database.
 * @throws ConfigError RATECAT_HOST_NO_SLICES when slices are asked for on a machine without cgroup v2 slices.
 */
export async function hostScopes(machine: HostMachine): Promise<readonly HostScope[]> {
  if (machine.scopes === 'host')
    return [{ id: machine.host, name: machine.host, slice: undefined, folder: undefined }];
  const top = await unifiedHierarchy(machine);
  if (machine.scopes === 'slice') {
    const slices = await foldersNamed(top, /\.slice$/);
    if (slices.length === 0) throw noSlices(machine, `${top} has no folder named *.slice`);
    return slices.map((slice) => ({
      id: `${slice}@${machine.host}`,
      name: slice,
      slice,
      folder: join(top, slice),
    }));
  }
  const users = join(top, 'user.slice');
  const names = await userNames(machine.root);
  return (await foldersNamed(users, /^user-\d+\.slice$/)).map((slice) => ({
    id: `${slice}@${machine.host}`,
    name: names.get(slice.slice('user-'.length, -'.slice'.length)) ?? slice,
    slice,
    folder: join(users, slice),
  }));
}

export function toScope(scope: HostScope, key: string): Scope {
  return { key, id: scope.id, name: scope.name };
}

export interface Mount {
  readonly device: string;
  readonly mountpoint: string;
  readonly filesystem: string;
}

/** Lines of /proc/mounts; blanks and the like are written there as octal escapes. */
export function parseMounts(text: string): readonly Mount[] {
  const mounts: Mount[] = [];
  for (const line of text.split('\n')) {
    const [device, mountpoint, filesystem] = line.split(' ');
    if (device === undefined || mountpoint === undefined || filesystem === undefined) continue;
    mounts.push({ device: unescapeOctal(device), mountpoint: unescapeOctal(mountpoint), filesystem });
  }
  return mounts;
}

function unescapeOctal(text: string): string {
  if (!text.includes('\\')) return text;
  const bytes = Buffer.from(text, 'utf8').toString('latin1');
  const plain = bytes.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
  return Buffer.from(plain, 'latin1').toString('utf8');
}

async function unifiedHierarchy(machine: HostMachine): Promise<string> {
  const file = join(machine.root, 'proc/mounts');
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    throw noSlices(machine, `${file} cannot be read (${describeError(error)})`);
  }
  const mount = parseMounts(text).find(({ filesystem }) => filesystem === 'cgroup2');
  if (mount === undefined) throw noSlices(machine, 'no cgroup2 file system is mounted');
  return join(machine.root, mount.mountpoint);
}

function noSlices(machine: HostMachine, reason: string): ConfigError {
  return new ConfigError(
    'RATECAT_HOST_NO_SLICES',
    `'scopes: ${machine.scopes}' needs a machine with systemd and cgroup v2, but ${reason}. Use 'scopes: host'.`,
  );
}

async function foldersNamed(folder: string, pattern: RegExp): Promise<readonly string[]> {
  try {
    const entries = await readdir(folder, { withFileTypes: true });
    return entries
      .filter((entry) => entry.isDirectory() && pattern.test(entry.name))
      .map((entry) => entry.name)
      .sort();
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

async function userNames(root: string): Promise<ReadonlyMap<string, string>> {
  try {
    const lines = (await readFile(join(root, 'etc/passwd'), 'utf8'))
      .split('\n')
      .map((line) => line.split(':'));
    return new Map(lines.filter((parts) => parts.length >= 3).map((parts) => [parts[2]!, parts[0]!]));
  } catch {
    // Names are for people only; a machine may keep its users elsewhere.
    return new Map();
  }
}

/** True when a file or the thing behind it has gone: an unplugged device, an ended session. */
export function isMissing(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  return code === 'ENOENT' || code === 'ENOTDIR' || code === 'ENODEV';
}
