import { createHash, randomUUID } from 'node:crypto';
import { constants, type Dirent } from 'node:fs';
import { type FileHandle, lstat, open, readdir, rename } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { type Clock, describeError, type Instant, type Logger } from '../../../core/plugin-api/index.js';
import type { DropFolderPaths } from '../../shared/drop-folder.js';
import { type DropFolderIndex, type FileOutcome, PickUpLock } from '../../shared/drop-folder-index.js';
import { readChunks } from '../../shared/drop-folder-lines.js';
import type { RecordRules } from '../../shared/drop-folder-records.js';
import { FileLoader, type LoadedFile } from './file-loader.js';
import { syncFolder } from './rejects-report.js';

const EXTENSIONS = /\.(csv|ndjson)$/i;
/** Room for the mark of the content and an extension within the 255 bytes of a file name. */
const MAX_NAME_BYTES = 180;

export interface PickUpOptions extends RecordRules {
  readonly maxLineBytes: number;
}

/**
 * Takes files out of the drop folder: rename into `incoming`, read and check every line, write good lines into the index,
 * bad ones into `rejected`, make the file count, move it to `accepted`. Each step may be the last one before a crash; the
 * next pick-up repeats what is unfinished. What makes a repetition harmless is the hash of the content: a file counts once.
 */
export class PickUp {
  readonly #paths: DropFolderPaths;
  readonly #index: DropFolderIndex;
  readonly #options: PickUpOptions;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #lock: PickUpLock;
  readonly #ignored = new Set<string>();
  /** Last reason why a file could not be taken in: told once, not with every attempt. */
  readonly #complaints = new Map<string, string>();
  #running: Promise<boolean> | undefined;

  constructor(
    paths: DropFolderPaths,
    index: DropFolderIndex,
    options: PickUpOptions,
    context: { readonly clock: Clock; readonly logger: Logger },
  ) {
    this.#paths = paths;
    this.#index = index;
    this.#options = options;
    this.#clock = context.clock;
    this.#logger = context.logger;
    this.#lock = new PickUpLock(paths.lock);
  }

  close(): void {
    this.#lock.close();
  }

  /** Takes in all files that are there. False when some could not be: another process is at it, or one failed. */
  run(signal: AbortSignal): Promise<boolean> {
    this.#running ??= this.#run(signal).finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  /** Ends when a run under way has. */
  async settled(): Promise<void> {
    await this.#running?.catch(() => {});
  }

  async #run(signal: AbortSignal): Promise<boolean> {
    if (!(await this.#hasWork())) return true;
    if (!this.#lock.tryTake()) return false;
    try {
      for (const [place, name] of (await this.#dropped()).entries()) await this.#claim(name, place);
      let complete = true;
      for (const claim of (await readdir(this.#paths.incoming)).sort()) {
        signal.throwIfAborted();
        complete = (await this.#tryIngest(claim, signal)) && complete;
      }
      return complete;
    } finally {
      this.#lock.release();
    }
  }

  async #hasWork(): Promise<boolean> {
    if ((await readdir(this.#paths.incoming)).length > 0) return true;
    return (await this.#dropped()).length > 0;
  }

  /** Names of dropped files. As bytes: a name need not be text. */
  async #dropped(): Promise<readonly Buffer[]> {
    const entries = (await readdir(this.#paths.root, {
      withFileTypes: true,
      encoding: 'buffer',
    })) as unknown as Dirent<Buffer>[];
    const files: Buffer[] = [];
    for (const entry of entries) {
      const text = entry.name.toString('utf8');
      if (text.startsWith('.') || !EXTENSIONS.test(text)) continue;
      if (entry.isFile()) files.push(entry.name);
      else this.#ignore(text);
    }
    return files.sort(Buffer.compare);
  }

  /** Links and pipes could lead anywhere, or block. */
  #ignore(name: string): void {
    if (this.#ignored.has(name)) return;
    this.#ignored.add(name);
    this.#logger.warn('not a regular file; left in the drop folder', { file: safeName(name) });
  }

  /** From here on a producer may put another file of the same name. */
  async #claim(name: Buffer, place: number): Promise<void> {
    const from = Buffer.concat([Buffer.from(`${this.#paths.root}/`), name]);
    // Sorts in the order of arrival; never the name of another claim.
    const mark = `${this.#clock.now().toString().padStart(16, '0')}-${String(place).padStart(6, '0')}-${randomUUID()}`;
    const claim = join(this.#paths.incoming, `${mark}.${safeName(name.toString('utf8'))}`);
    try {
      await rename(from, claim);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error; // taken back by its producer
    }
  }

  async #tryIngest(claim: string, signal: AbortSignal): Promise<boolean> {
    try {
      await this.#ingest(claim, signal);
      this.#complaints.delete(claim);
      return true;
    } catch (error) {
      if (signal.aborted) throw error;
      const reason = describeError(error);
      if (this.#complaints.get(claim) !== reason) {
        this.#logger.warn('a file could not be taken in; trying again', {
          file: originalName(claim),
          reason,
        });
      }
      this.#complaints.set(claim, reason);
      return false;
    }
  }

  async #ingest(claim: string, signal: AbortSignal): Promise<void> {
    const path = join(this.#paths.incoming, claim);
    const file = originalName(claim);
    if (!(await lstat(path)).isFile()) throw new Error(`${path} is not a regular file; remove it`);
    const handle = await openForReading(path);
    if (handle === undefined) {
      this.#logger.warn('a file may not be read; moved to rejected', { file });
      return this.#move(path, join(this.#paths.rejected, claim));
    }
    try {
      const hash = await contentHash(handle, signal);
      const target = (outcome: FileOutcome) => join(this.#paths[outcome], nameWithMark(file, hash));
      const known = this.#index.outcome(hash);
      if (known !== undefined)
        this.#logger.info('a file of this content was taken in before', { file, hash });
      const outcome = known ?? (await this.#load(handle, file, hash, signal));
      await handle.sync();
      await this.#move(path, target(outcome));
    } finally {
      await handle.close();
    }
  }

  async #load(handle: FileHandle, file: string, hash: string, signal: AbortSignal): Promise<FileOutcome> {
    const now = Math.floor(this.#clock.now() / 1000);
    const report = join(this.#paths.rejected, `${nameWithMark(file, hash)}.ndjson`);
    const loader = new FileLoader(this.#index, this.#options, report);
    const loaded = await loader.load(handle, { file, hash, now }, signal);
    const outcome: FileOutcome = loaded.samples === 0 && loaded.rejected > 0 ? 'rejected' : 'accepted';
    this.#index.finish(loaded.number, outcome, loaded, now);
    this.#tell(file, loaded, report);
    return outcome;
  }

  #tell(file: string, loaded: LoadedFile, report: string): void {
    const { samples, rejected, late } = loaded;
    this.#logger.info('file taken in', { file, samples, rejected });
    if (rejected > 0)
      this.#logger.warn('lines were rejected; their reasons are in the report', { file, rejected, report });
    if (late === undefined) return;
    this.#logger.warn('a file came late for periods that were already answered', {
      file,
      samples: late.samples,
      scopes: late.scopes,
      firstPeriod: isoTime(late.firstPeriod),
      lastPeriod: isoTime(late.lastPeriod),
    });
  }

  async #move(from: string, to: string): Promise<void> {
    await rename(from, to);
    await syncFolder(join(to, '..'));
    await syncFolder(this.#paths.incoming);
  }
}

async function openForReading(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'EACCES' || code === 'EPERM') return undefined;
    throw error;
  }
}

async function contentHash(handle: FileHandle, signal: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of readChunks(handle, signal)) hash.update(chunk);
  return hash.digest('hex');
}

/** `usage.csv` → `usage.3f2a9c1b7d20.csv`: names of different contents never meet. */
function nameWithMark(file: string, hash: string): string {
  const extension = extname(file);
  return `${file.slice(0, file.length - extension.length)}.${hash.slice(0, 12)}${extension}`;
}

function originalName(claim: string): string {
  return claim.slice(claim.indexOf('.') + 1);
}

/** A name that can be printed, logged and lengthened; the extension stays. */
function safeName(name: string): string {
  const plain = name.replace(/[\p{C}/\\]|\uFFFD/gu, '_');
  const extension = extname(plain);
  let stem = plain.slice(0, plain.length - extension.length);
  while (Buffer.byteLength(stem) > MAX_NAME_BYTES) stem = stem.slice(0, -8);
  return stem + extension;
}

function isoTime(instant: Instant): string {
  return new Date(instant * 1000).toISOString();
}
