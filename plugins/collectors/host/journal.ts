import { appendFile, mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import { isMissing } from '../../shared/host-machine.js';
import { decodeReading, encodeReading, type Reading } from './readings.js';

const SEGMENT_MS = 15 * 60_000;
const CACHED_SEGMENTS = 6;
const SEGMENT_NAME = /^(\d+)\.ndjson(\.gz)?$/;

interface Segment {
  readonly start: number;
  readonly name: string;
}

interface CachedSegment {
  readonly key: string;
  readonly readings: Promise<readonly Reading[]>;
}

/**
 * Readings on disk, one line each, in files of a quarter of an hour; full files are compressed. A line is appended by one
 * write, so several processes of one machine may keep the same journal: more readings do no harm. Nothing is kept in
 * memory but the last few files, so that a period of days ago is answered like one of a minute ago.
 */
export class Journal {
  readonly #folder: string;
  readonly #cache: CachedSegment[] = [];
  readonly #remembered = new Set<string>();

  constructor(folder: string) {
    this.#folder = folder;
  }

  async open(): Promise<void> {
    await mkdir(join(this.#folder, 'seen'), { recursive: true });
  }

  /** Line breaks on both sides: a line that a crash cut short must not swallow the next. */
  async append(reading: Reading): Promise<void> {
    const start = Math.floor(reading.at / SEGMENT_MS) * SEGMENT_MS;
    await appendFile(join(this.#folder, `${start}.ndjson`), `\n${encodeReading(reading)}\n`);
    for (const scope of reading.scopes) await this.#remember(scope, reading.at);
  }

  /** The newest reading, or undefined in an empty journal. */
  async newest(): Promise<Reading | undefined> {
    for (const segment of (await this.#segments()).reverse()) {
      const last = (await this.#load(segment)).at(-1);
      if (last !== undefined) return last;
    }
    return undefined;
  }

  /** Readings from the last one at or before `begin` to the first one at or after `end`, as far as there are any. */
  async around(begin: number, end: number): Promise<readonly Reading[]> {
    const segments = await this.#segments();
    const found: Reading[] = [];
    let index = segments.findLastIndex(({ start }) => start <= begin);
    // The reading before `begin` may be files away: the daemon was off.
    for (let before = index; before >= 0; before--) {
      const earlier = (await this.#load(segments[before]!)).filter(({ at }) => at <= begin).at(-1);
      if (earlier === undefined) continue;
      found.push(earlier);
      break;
    }
    for (index = Math.max(index, 0); index < segments.length; index++) {
      const readings = (await this.#load(segments[index]!)).filter(({ at }) => at > begin);
      const after = readings.findIndex(({ at }) => at >= end);
      found.push(...(after < 0 ? readings : readings.slice(0, after + 1)));
      if (after >= 0) break;
    }
    return found;
  }

  /** When the scope was first read, milliseconds. */
  async firstSeen(scope: string): Promise<number | undefined> {
    try {
      const at = Number(await readFile(this.#seenFile(scope), 'utf8'));
      return Number.isFinite(at) && at > 0 ? at : undefined;
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  /** Compresses files that are complete and removes those of which everything is older than `keepFrom`. */
  async tidy(now: number, keepFrom: number): Promise<void> {
    for (const segment of await this.#segments()) {
      if (segment.start + SEGMENT_MS <= keepFrom) await rm(join(this.#folder, segment.name), { force: true });
      else if (segment.start + 2 * SEGMENT_MS <= now && !segment.name.endsWith('.gz'))
        await this.#compress(segment);
    }
  }

  /** Forgets readings from `instant` on: those of a clock that ran ahead. */
  async forgetFrom(instant: number): Promise<void> {
    for (const segment of await this.#segments()) {
      if (segment.start + SEGMENT_MS <= instant) continue;
      const kept = (await this.#load(segment)).filter(({ at }) => at < instant);
      const text = kept.map((reading) => `${encodeReading(reading)}\n`).join('');
      await this.#replace(segment, `${segment.start}.ndjson`, text);
    }
    for (const name of await readdir(join(this.#folder, 'seen'))) {
      const scope = decodeURIComponent(name);
      if (((await this.firstSeen(scope)) ?? 0) < instant) continue;
      await rm(this.#seenFile(scope), { force: true });
      this.#remembered.delete(scope);
    }
  }

  async #compress(segment: Segment): Promise<void> {
    try {
      const text = await readFile(join(this.#folder, segment.name));
      await this.#replace(segment, `${segment.start}.ndjson.gz`, await promisify(gzip)(text));
    } catch (error) {
      if (!isMissing(error)) throw error; // another process of this machine was first
    }
  }

  async #replace(segment: Segment, name: string, content: string | Buffer): Promise<void> {
    const temporary = join(this.#folder, `.${name}.${process.pid}`);
    await writeFile(temporary, content, { flush: true });
    await rename(temporary, join(this.#folder, name));
    if (name !== segment.name) await rm(join(this.#folder, segment.name), { force: true });
  }

  /** One small file per scope: `wx` lets exactly one of several processes set the instant. */
  async #remember(scope: string, at: number): Promise<void> {
    if (this.#remembered.has(scope)) return;
    if ((await this.firstSeen(scope)) === undefined) {
      await rm(this.#seenFile(scope), { force: true }); // present but unreadable: a crash left it empty
      try {
        await writeFile(this.#seenFile(scope), String(at), { flag: 'wx', flush: true });
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      }
    }
    this.#remembered.add(scope);
  }

  #seenFile(scope: string): string {
    return join(this.#folder, 'seen', encodeURIComponent(scope));
  }

  /** In order of time; of a segment that was being compressed when a crash came, one file. */
  async #segments(): Promise<Segment[]> {
    const byStart = new Map<number, Segment>();
    for (const name of (await readdir(this.#folder)).sort()) {
      const match = SEGMENT_NAME.exec(name);
      if (match !== null) byStart.set(Number(match[1]), { start: Number(match[1]), name });
    }
    return [...byStart.values()].sort((a, b) => a.start - b.start);
  }

  async #load(segment: Segment): Promise<readonly Reading[]> {
    try {
      return await this.#loadFile(segment.name);
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
    // Compressed since the folder was listed, or else removed because of its age.
    try {
      return await this.#loadFile(`${segment.start}.ndjson.gz`);
    } catch (error) {
      if (isMissing(error)) return [];
      throw error;
    }
  }

  async #loadFile(name: string): Promise<readonly Reading[]> {
    const path = join(this.#folder, name);
    const { size, mtimeMs } = await stat(path);
    const key = `${name} ${size} ${mtimeMs}`;
    const cached = this.#cache.find((entry) => entry.key === key);
    if (cached !== undefined) return cached.readings;
    const readings = readSegment(path);
    readings.catch(() => this.#cache.splice(0)); // a failure is not kept
    this.#cache.push({ key, readings });
    if (this.#cache.length > CACHED_SEGMENTS) this.#cache.shift();
    return readings;
  }
}

async function readSegment(path: string): Promise<readonly Reading[]> {
  const content = await readFile(path);
  const text = (path.endsWith('.gz') ? await promisify(gunzip)(content) : content).toString('utf8');
  const readings = text
    .split('\n')
    .filter((line) => line.length > 0)
    .map(decodeReading)
    .filter((reading) => reading !== undefined)
    .sort((a, b) => a.at - b.at);
  return readings.filter((reading, index) => index === 0 || reading.at > readings[index - 1]!.at);
}
