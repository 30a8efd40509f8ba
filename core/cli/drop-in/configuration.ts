import { existsSync, statSync } from 'node:fs';
import { chmod, chown, readdir, readFile, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { EXIT } from '../../daemon/exit-codes.js';
import { ConfigError } from '../../plugin-api/index.js';
import { UsageError } from '../cli.js';
import { main, type Surroundings } from '../main.js';
import type { DropInArguments } from './arguments.js';

/** Where configurations are when the command line names none. */
export interface Places {
  readonly ratecat: string;
  readonly cloudkitty: string;
}

export const PLACES: Places = {
  ratecat: '/etc/ratecat/ratecat.yml',
  cloudkitty: '/etc/cloudkitty/cloudkitty.conf',
};

/** Ratecat's configuration, or the exit code of the import that did not give one. */
export type FoundConfiguration = { readonly file: string } | { readonly code: number };

const MADE_BY_IMPORT = '# Made by `ratecat config import`';

/**
 * The configuration that a command line of CloudKitty means. One that CloudKitty wrote is imported once: the result is
 * Ratecat's own configuration and stays as it is from then on. The original is only read.
 */
export async function configurationOf(
  args: DropInArguments,
  world: Surroundings,
  places: Places = PLACES,
): Promise<FoundConfiguration> {
  const own = ownConfiguration(args, world);
  if (own !== undefined) return { file: own };
  const originals = args.configFiles.length > 0 ? args.configFiles : [places.cloudkitty];
  const file = resultOf(originals.at(-1)!, places);
  if (existsSync(file)) {
    await warnOfChanges(originals, file, world);
    return { file };
  }
  if (args.configFiles.length === 0 && !existsSync(places.cloudkitty)) {
    const message = `There is no configuration: neither ${places.ratecat} nor ${places.cloudkitty} can be read. Write one of them, or name yours with --config-file`;
    throw new ConfigError('RATECAT_CONFIG_INVALID', message);
  }
  const code = await importTo(file, originals, args.configFolders, world);
  return code === EXIT.ok ? { file } : { code };
}

/** Named as it is: by the environment, or as a file in Ratecat's own format. */
function ownConfiguration({ configFiles }: DropInArguments, world: Surroundings): string | undefined {
  const own = configFiles.filter((file) => /\.ya?ml$/.test(file));
  if (own.length === 0) {
    const { RATECAT_CONFIG: named } = world.environment;
    return configFiles.length === 0 && named ? named : undefined;
  }
  if (configFiles.length > 1) throw new UsageError(`${own[0]} is Ratecat's own configuration: name it alone`);
  return own[0];
}

/** Ratecat's usual place for CloudKitty's usual file; beside the original for any other, so that two never meet. */
function resultOf(original: string, places: Places): string {
  if (resolve(original) === places.cloudkitty) return places.ratecat;
  return `${original.replace(/\.conf$/, '')}.ratecat.yml`;
}

async function importTo(
  file: string,
  originals: readonly string[],
  folders: readonly string[],
  world: Surroundings,
): Promise<number> {
  const named = originals.flatMap((original) => ['--config-file', original]);
  const inFolders = folders.flatMap((folder) => ['--config-dir', folder]);
  // What the import says is not what the command was asked for.
  const aside = { ...world, stdout: world.stderr };
  const code = await main(['config', 'import', ...named, ...inFolders, '--output', file], aside);
  if (existsSync(file)) await openToGroup(file);
  return code;
}

/** Root's secrets are of no use to the daemon: whoever may read the folder by its group may read them too. */
async function openToGroup(file: string): Promise<void> {
  if (process.getuid?.() !== 0) return;
  const { gid } = await stat(dirname(file));
  const stem = file.replace(/\.ya?ml$/, '');
  const secrets = `${stem}.secrets`;
  const names = existsSync(secrets) ? (await readdir(secrets)).map((name) => join(secrets, name)) : [];
  for (const path of [file, `${stem}.metrics.yml`, ...names]) await give(path, gid, 0o640);
  if (names.length > 0) await give(secrets, gid, 0o750);
}

async function give(path: string, gid: number, mode: number): Promise<void> {
  await chown(path, 0, gid);
  await chmod(path, mode);
}

/** A tool that changes cloudkitty.conf must not believe that this is enough. */
async function warnOfChanges(
  originals: readonly string[],
  file: string,
  { stderr }: Surroundings,
): Promise<void> {
  const made = statSync(file).mtimeMs;
  const newer = originals.filter((original) => existsSync(original) && statSync(original).mtimeMs > made);
  if (newer.length === 0 || !(await isMadeByImport(file))) return;
  const command = `ratecat config import ${originals.join(' ')} --output ${file} --force`;
  stderr.write(
    `warning: ${newer.join(', ')} changed after ${file} was made of it, which has no effect; take the changes over with '${command}'\n`,
  );
}

async function isMadeByImport(file: string): Promise<boolean> {
  const text = await readFile(file, 'utf8').catch(() => '');
  return text.startsWith(MADE_BY_IMPORT);
}
