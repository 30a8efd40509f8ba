import { randomBytes } from 'node:crypto';
import { link, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { UnavailableError } from '../plugin-api/index.js';

export interface WholeFile {
  readonly path: string;
  readonly text: string;
  /** Only its owner can read it, not even for a moment anybody else, and so it is with a folder that is made for it. */
  readonly isSecret: boolean;
  /** Takes the place of a file that exists; otherwise that one stays as it is, and the call fails. */
  readonly replaces: boolean;
  /** What else to do when it cannot be written: a sentence. */
  readonly advice?: string | undefined;
}

/**
 * Writes a file so that a reader, or whoever looks after a crash, sees the old file or the new one, whole.
 * @throws UnavailableError RATECAT_OUTPUT_FAILED
 */
export async function writeWhole(file: WholeFile): Promise<void> {
  const { path, isSecret, replaces } = file;
  // Not predictable, so that nobody can put something there first.
  const temporary = `${path}.${randomBytes(6).toString('hex')}.new`;
  try {
    await mkdir(dirname(path), { recursive: true, mode: isSecret ? 0o700 : 0o777 });
    await writeDurably(temporary, file);
    // Unlike a rename, a link does not replace what somebody else has just written.
    await (replaces ? rename : link)(temporary, path);
  } catch (error) {
    throw failed(file, error);
  } finally {
    await rm(temporary, { force: true }).catch(() => undefined);
  }
}

async function writeDurably(path: string, { text, isSecret }: WholeFile): Promise<void> {
  const handle = await open(path, 'wx', isSecret ? 0o600 : 0o666);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function failed({ path, advice }: WholeFile, error: unknown): UnavailableError {
  const { code, syscall } = error as NodeJS.ErrnoException;
  const room = code === 'ENOSPC' ? ', and the room on the disk' : '';
  // Something that stands in the way of a folder exists as well.
  const problem =
    syscall === 'link' && code === 'EEXIST'
      ? 'exists and was not replaced.'
      : `cannot be written (${code}). Check the folder and its permissions${room}.`;
  const message = [`${path} ${problem}`, ...(advice === undefined ? [] : [advice])].join(' ');
  return new UnavailableError('RATECAT_OUTPUT_FAILED', message, { cause: error });
}
