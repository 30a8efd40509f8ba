import type { FileHandle } from 'node:fs/promises';
import { extname } from 'node:path';
import type { Instant } from '../../../core/plugin-api/index.js';
import type {
  DropFolderIndex,
  FileSummary,
  NumberedSample,
  ScopeSpan,
} from '../../shared/drop-folder-index.js';
import { type Line, readChunks, splitLines } from '../../shared/drop-folder-lines.js';
import {
  BadLine,
  type DropSample,
  type RecordRules,
  readCsvSample,
  readHeader,
  readJsonSample,
} from '../../shared/drop-folder-records.js';
import { RejectsReport } from './rejects-report.js';

/** Samples written in one transaction: few enough not to hold up anything else in the process. */
const BATCH = 500;
const UTF16 = [Buffer.from([0xff, 0xfe]), Buffer.from([0xfe, 0xff])];
const BOM = Buffer.from([0xef, 0xbb, 0xbf]);

export interface LoadedFile extends FileSummary {
  /** Under which the index knows the file. */
  readonly number: number;
  readonly late: LateSamples | undefined;
}

/** Samples of periods that were answered before the file came. */
export interface LateSamples {
  readonly samples: number;
  readonly scopes: number;
  /** Begins of the first and the last such period. */
  readonly firstPeriod: Instant;
  readonly lastPeriod: Instant;
}

/** Reads one file from begin to end, in bounded memory: good lines into the index, bad ones into the report. */
export class FileLoader {
  readonly #index: DropFolderIndex;
  readonly #rules: RecordRules & { readonly maxLineBytes: number };
  readonly #report: RejectsReport;
  readonly #decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  #header: readonly string[] | undefined;
  #batch: NumberedSample[] = [];

  constructor(
    index: DropFolderIndex,
    rules: RecordRules & { readonly maxLineBytes: number },
    report: string,
  ) {
    this.#index = index;
    this.#rules = rules;
    this.#report = new RejectsReport(report);
  }

  async load(
    handle: FileHandle,
    file: { readonly file: string; readonly hash: string; readonly now: Instant },
    signal: AbortSignal,
  ): Promise<LoadedFile> {
    const number = this.#index.begin(file.hash, file.file, file.now);
    const tally = new Tally(this.#index);
    const isCsv = extname(file.file).toLowerCase() === '.csv';
    try {
      let lines = 0;
      for await (const chunk of splitLines(readChunks(handle, signal), this.#rules.maxLineBytes)) {
        for (const line of chunk) {
          if (lines++ === 0 && !this.#begins(line, isCsv)) return await this.#give(number, tally);
          if (lines > 1 || !isCsv) this.#take(lines === 1 ? withoutBom(line) : line, isCsv, tally);
          if (this.#batch.length >= BATCH) await this.#flush(number);
        }
        signal.throwIfAborted();
      }
      if (lines === 0) this.#report.add(0, 'the file is empty', Buffer.alloc(0));
      await this.#flush(number);
      return await this.#give(number, tally);
    } catch (error) {
      await this.#report.discard();
      throw error;
    }
  }

  async #give(number: number, tally: Tally): Promise<LoadedFile> {
    await this.#report.finish();
    return { number, rejected: this.#report.count, ...tally.result() };
  }

  /** Looks at the first line; false when the rest cannot be read because of it. */
  #begins(line: Line, isCsv: boolean): boolean {
    try {
      if (UTF16.some((mark) => line.bytes.subarray(0, 2).equals(mark))) {
        throw new BadLine('the file is UTF-16; UTF-8 is asked for');
      }
      if (isCsv) this.#header = readHeader(this.#text(withoutBom(line)), this.#rules);
      return true;
    } catch (error) {
      if (!(error instanceof BadLine)) throw error;
      this.#report.add(0, error.message, line.bytes);
      return false;
    }
  }

  #take(line: Line, isCsv: boolean, tally: Tally): void {
    if (line.bytes.length === 0 && !line.tooLong) return;
    try {
      const text = this.#text(line);
      if (text.trim() === '') return;
      const sample = isCsv
        ? readCsvSample(text, this.#header!, this.#rules)
        : readJsonSample(text, this.#rules);
      tally.add(sample);
      this.#batch.push({ line: line.number, sample });
    } catch (error) {
      if (!(error instanceof BadLine)) throw error;
      this.#report.add(line.number, error.message, line.bytes);
    }
  }

  #text(line: Line): string {
    if (line.tooLong) throw new BadLine(`the line is longer than ${this.#rules.maxLineBytes} bytes`);
    let text: string;
    try {
      text = this.#decoder.decode(line.bytes);
    } catch {
      throw new BadLine('not text in UTF-8'); // the decoder's own message says no more
    }
    if (text.includes('\0')) throw new BadLine('contains a zero byte: not text');
    return text;
  }

  async #flush(number: number): Promise<void> {
    if (this.#batch.length > 0) this.#index.add(number, this.#batch);
    this.#batch = [];
    await this.#report.flush();
    // SQLite is synchronous: between batches everything else in the process gets its turn.
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function withoutBom(line: Line): Line {
  return line.bytes.subarray(0, 3).equals(BOM) ? { ...line, bytes: line.bytes.subarray(3) } : line;
}

/** What the lines of a file have in common: spans, scopes, lateness. */
class Tally {
  readonly #index: DropFolderIndex;
  readonly #scopes = new Map<string, ScopeSpan>();
  readonly #answered = new Map<string, ReturnType<DropFolderIndex['answeredUntil']>>();
  readonly #lateScopes = new Set<string>();
  #first: Instant | undefined;
  #last: Instant | undefined;
  #samples = 0;
  #late = 0;
  #lateFrom = Number.POSITIVE_INFINITY;
  #lateTo = Number.NEGATIVE_INFINITY;

  constructor(index: DropFolderIndex) {
    this.#index = index;
  }

  add(sample: DropSample): void {
    const { scope, scopeName, at, until } = sample;
    this.#samples++;
    this.#first = Math.min(this.#first ?? at, at);
    this.#last = Math.max(this.#last ?? until, until);
    const known = this.#scopes.get(scope);
    this.#scopes.set(scope, {
      name: scopeName ?? known?.name,
      from: Math.min(known?.from ?? at, at),
      until: Math.max(known?.until ?? until, until),
    });
    this.#noteLateness(scope, at);
  }

  result(): Omit<LoadedFile, 'number' | 'rejected'> {
    const late =
      this.#late === 0
        ? undefined
        : {
            samples: this.#late,
            scopes: this.#lateScopes.size,
            firstPeriod: this.#lateFrom,
            lastPeriod: this.#lateTo,
          };
    return { first: this.#first, last: this.#last, samples: this.#samples, scopes: this.#scopes, late };
  }

  #noteLateness(scope: string, at: Instant): void {
    if (!this.#answered.has(scope)) this.#answered.set(scope, this.#index.answeredUntil(scope));
    const answered = this.#answered.get(scope);
    if (answered === undefined || at >= answered.until) return;
    const periodsBack = Math.ceil((answered.until - at) / answered.seconds);
    const begin = answered.until - periodsBack * answered.seconds;
    this.#late++;
    this.#lateScopes.add(scope);
    this.#lateFrom = Math.min(this.#lateFrom, begin);
    this.#lateTo = Math.max(this.#lateTo, begin);
  }
}
