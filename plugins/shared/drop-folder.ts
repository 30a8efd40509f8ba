import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { ConfigError, describeError, UnavailableError } from '../../core/plugin-api/index.js';
import { DropFolderIndex } from './drop-folder-index.js';

/** The folders of a drop folder. Producers put files into `root`; everything else is made here. */
export interface DropFolderPaths {
  readonly root: string;
  readonly accepted: string;
  readonly rejected: string;
  /** Files that were taken and are not finished. */
  readonly incoming: string;
  readonly index: string;
  readonly lock: string;
}

/** @param folder as the option says it; a relative one starts from the config file's folder. */
export function dropFolderPaths(folder: string, configFolder: string): DropFolderPaths {
  const root = resolve(configFolder, folder);
  const own = join(root, '.ratecat');
  return {
    root,
    accepted: join(root, 'accepted'),
    rejected: join(root, 'rejected'),
    incoming: join(own, 'incoming'),
    index: join(own, 'index.sqlite'),
    lock: join(own, 'lock.sqlite'),
  };
}

/** @throws ConfigError or UnavailableError RATECAT_FILE_FOLDER_UNUSABLE */
export function openDropFolder(paths: DropFolderPaths): DropFolderIndex {
  try {
    for (const folder of [paths.accepted, paths.rejected, paths.incoming])
      mkdirSync(folder, { recursive: true });
    return new DropFolderIndex(paths.index);
  } catch (error) {
    throw folderUnusable(paths, error);
  }
}

const FOR_GOOD = new Set([
  'EACCES',
  'EPERM',
  'EROFS',
  'EEXIST',
  'ENOTDIR',
  'ENOENT',
  'SQLITE_NOTADB',
  'SQLITE_READONLY',
]);

export function folderUnusable(paths: DropFolderPaths, error: unknown): ConfigError | UnavailableError {
  const message = `The drop folder '${paths.root}' cannot be used: ${describeError(error)}. It and what is in it must be writable for the daemon's user and have room.`;
  const code = String((error as { code?: unknown }).code);
  const Kind = FOR_GOOD.has(code) ? ConfigError : UnavailableError;
  return new Kind('RATECAT_FILE_FOLDER_UNUSABLE', message, { cause: error });
}
