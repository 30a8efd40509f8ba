import { existsSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { parseDatabaseUrl } from '../database/database-url.js';
import type { Configured } from './configuration.js';
import type { Examination, Say } from './examination.js';

const MIB = 1024 * 1024;
/** Below this a commit may fail at any moment. */
const FULL_BYTES = 100 * MIB;
const SCARCE_BYTES = 1024 * MIB;

export interface DiskSpace {
  /** Bytes that this user may still write. */
  readonly free: number;
  readonly total: number;
  /** Files that may still be made; undefined where the file system does not count them. */
  readonly freeFiles: number | undefined;
}

/** Room for the data folder and, elsewhere, for the SQLite file. */
export async function lookAtDisk(
  examination: Examination,
  configured: Configured | undefined,
  measure: (folder: string) => Promise<DiskSpace> = measureDisk,
): Promise<void> {
  await examination.look(
    { area: 'disk', what: 'the room', needs: { config: configured } },
    async ({ config }, say) => {
      const folders = foldersOf(config).filter((folder) => existsSync(folder));
      if (folders.length === 0) say.skip('no-data-folder', 'there is no data folder yet');
      for (const folder of folders) judge(folder, await measure(folder), say);
    },
  );
}

function foldersOf({ config }: Configured): readonly string[] {
  const parsed = parseDatabaseUrl(config.database.url, config.dataFolder);
  const folders = parsed.engine === 'sqlite' && parsed.path !== ':memory:' ? [dirname(parsed.path)] : [];
  return [...new Set([config.dataFolder, ...folders])];
}

function judge(folder: string, { free, total, freeFiles }: DiskSpace, say: Say): void {
  const where = folder;
  const room = `${humanBytes(free)} of ${humanBytes(total)} are free`;
  if (freeFiles === 0) {
    say.fail('disk-full', 'the file system has no room for another file (no free inodes)', {
      where,
      fix: 'Remove files that nobody needs from this file system.',
      kind: 'unavailable',
    });
  } else if (free < FULL_BYTES) {
    say.fail('disk-full', `${room}: nothing more may fit`, {
      where,
      fix: 'Free space on this file system, or move data_folder to a larger one. What is stored stays whole.',
      kind: 'unavailable',
    });
  } else if (free < SCARCE_BYTES && free < total / 5) {
    say.warn('disk-scarce', room, { where, fix: 'Make room before the disk is full: rating stops then.' });
  } else say.ok('disk-room', room, { where });
}

async function measureDisk(folder: string): Promise<DiskSpace> {
  const { bavail, blocks, bsize, files, ffree } = await statfs(folder);
  return { free: bavail * bsize, total: blocks * bsize, freeFiles: files === 0 ? undefined : ffree };
}

function humanBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024;
  return `${value < 10 && unit > 0 ? value.toFixed(1) : Math.floor(value)} ${units[unit]}`;
}
