import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type Database from 'better-sqlite3';
import { parse } from 'lossless-json';
import { SqliteDatabase } from '../database/sqlite-driver.js';
import {
  type AttributeValue,
  canonicalJson,
  compareText,
  Decimal,
  type Instant,
  isDecimal,
} from '../plugin-api/index.js';
import { type LineField, LineProblem, parseLine } from './line-protocol.js';
import { openSource, type SourceDatabase } from './source-database.js';
import { dateText } from './source-schema.js';
import { fileInvalid, type TextLine, textLines } from './text-lines.js';

export interface FrameFilesOptions {
  readonly files: readonly string[];
  /** Holds the points while they are put in order; removed at the end. */
  readonly folder: string;
  readonly scopeKey: string;
  /** Of points that do not say how long their period is. */
  readonly periodSeconds: number;
  readonly onBytes: (bytes: number) => void;
}

/** Rated frames out of files, as a database with CloudKitty's own table. */
export interface FrameFiles {
  readonly source: SourceDatabase;
  close(): Promise<void>;
}

type Values = { readonly [name: string]: AttributeValue };

interface StagedPoint {
  /** File and line, or series and time. */
  readonly place: string;
  readonly scopeId: AttributeValue | undefined;
  readonly begin: Instant;
  readonly end: Instant;
  readonly metric: AttributeValue | undefined;
  readonly unit: AttributeValue | undefined;
  readonly quantity: AttributeValue | undefined;
  readonly price: AttributeValue | undefined;
  /** Metadata overlaid by groupby. */
  readonly description: Values;
}

const FILE = /^migrated-frames\.(\d+)\.sqlite$/;
const MEASUREMENT = 'dataframes';
const LINES_PER_REPORT = 10_000;
const NANOSECONDS = 1_000_000_000n;
/** CloudKitty makes them of the period's begin. */
const CALENDAR = new Set(['day_of_the_year', 'month', 'week_of_the_year', 'year']);
/** Points of Ratecat's own storage in the same place have it. */
const OWN_TAG = 'ratecat_source';
/** Characters of a quoted value with line ends. */
const LONGEST_VALUE = 1_000_000;

const TABLES = `
  CREATE TABLE rated_data_frames (id INTEGER PRIMARY KEY, origin TEXT UNIQUE, tenant_id TEXT NOT NULL, "begin" TEXT NOT NULL,
    "end" TEXT NOT NULL, unit TEXT NOT NULL, qty TEXT NOT NULL, res_type TEXT NOT NULL, rate TEXT NOT NULL, "desc" TEXT NOT NULL);
  CREATE TABLE fields (series INTEGER, time INTEGER, name TEXT, kind TEXT, value TEXT, PRIMARY KEY (series, time, name)) WITHOUT ROWID;`;
const INDEX = 'CREATE INDEX frames_date ON rated_data_frames ("begin", tenant_id)';

/** Bytes of the files as they lie on disk. */
export function sizeOfFiles(files: readonly string[]): number {
  return files.reduce((sum, file) => sum + (statSync(file, { throwIfNoEntry: false })?.size ?? 0), 0);
}

/**
 * Reads line protocol of InfluxDB 1 and 2, and NDJSON of Elasticsearch and OpenSearch (a hit with `_source`, or the document
 * itself, in each line), packed by gzip or not. Exports go series by series, and field by field, so the points are put together
 * in a temporary database first. Layouts: spec, storage.md §3.
 * @throws DataError RATECAT_MIGRATE_FILE_INVALID with file and line.
 */
export async function openFrameFiles(options: FrameFilesOptions, signal: AbortSignal): Promise<FrameFiles> {
  mkdirSync(options.folder, { recursive: true });
  removeLeftovers(options.folder);
  const path = join(options.folder, `migrated-frames.${process.pid}.sqlite`);
  const remove = () => rmSync(path, { force: true });
  remove();
  try {
    const staging = new Staging(path, options);
    try {
      for (const file of options.files) await staging.read(file, signal);
      staging.finish(signal);
    } finally {
      staging.close();
    }
    const source = await openSource(`sqlite:///${path}`, options.folder);
    return { source, close: async () => remove() };
  } catch (error) {
    remove();
    throw error;
  }
}

/** What runs that were killed left behind. */
function removeLeftovers(folder: string): void {
  for (const name of readdirSync(folder)) {
    const pid = FILE.exec(name)?.[1];
    if (pid !== undefined && !isRunning(Number(pid))) rmSync(join(folder, name), { force: true });
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

class Staging {
  readonly #options: FrameFilesOptions;
  readonly #database: Database.Database;
  readonly #series = new Map<string, number>();
  readonly #addField: Database.Statement;
  readonly #addPoint: Database.Statement;
  #context: string | undefined;
  #points = 0;
  #otherLines = 0;

  constructor(path: string, options: FrameFilesOptions) {
    this.#options = options;
    this.#database = new SqliteDatabase(path);
    // Made anew by every run: nothing of it has to survive one.
    this.#database.pragma('journal_mode = OFF');
    this.#database.pragma('synchronous = OFF');
    this.#database.exec(TABLES);
    // Overlapping exports hold a field twice; InfluxDB keeps one of them, too.
    this.#addField = this.#database.prepare('INSERT OR REPLACE INTO fields VALUES (?, ?, ?, ?, ?)');
    this.#addPoint = this.#database.prepare(
      `INSERT OR IGNORE INTO rated_data_frames (origin, tenant_id, "begin", "end", unit, qty, res_type, rate, "desc")
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    );
    this.#database.exec('BEGIN');
  }

  async read(file: string, signal: AbortSignal): Promise<void> {
    let isJson: boolean | undefined;
    let open = '';
    let context: readonly string[] = [];
    let reported = 0;
    for await (const line of textLines(file)) {
      if (line.number % LINES_PER_REPORT === 0) {
        signal.throwIfAborted();
        this.#options.onBytes(line.bytesRead - reported);
        reported = line.bytesRead;
      }
      const text = open + line.text;
      if (open === '' && isSkipped(text)) {
        context = contextOf(text, context);
        continue;
      }
      isJson ??= text.trimStart().startsWith('{');
      if (isJson) this.#addDocument(file, { ...line, text });
      else open = this.#addLine(file, { ...line, text }, context.join('.'));
    }
    if (open !== '') throw fileInvalid(file, 'it ends inside a quoted value');
    this.#options.onBytes(sizeOfFiles([file]) - reported);
  }

  /** Puts the points of InfluxDB together, one series after the other. */
  finish(signal: AbortSignal): void {
    const fieldsOf = this.#database
      .prepare<[number], FieldRow>(
        'SELECT time, name, kind, value FROM fields WHERE series = ? ORDER BY time',
      )
      .safeIntegers(true);
    // In one order whatever the files begin with, so that a repeated run finds the same periods.
    for (const [key, id] of [...this.#series].sort(([left], [right]) => compareText(left, right))) {
      signal.throwIfAborted();
      let point: FieldRow[] = [];
      for (const row of fieldsOf.all(id)) {
        if (point.length > 0 && point[0]!.time !== row.time) {
          this.#addInfluxPoint(key, point);
          point = [];
        }
        point.push(row);
      }
      if (point.length > 0) this.#addInfluxPoint(key, point);
    }
    if (this.#points === 0) throw this.#nothingFound();
    this.#database.exec(`COMMIT; ${INDEX}; DROP TABLE fields`);
  }

  close(): void {
    this.#database.close();
  }

  #nothingFound() {
    const others = this.#otherLines === 0 ? '' : `, but ${this.#otherLines} lines of other measurements`;
    return fileInvalid(
      this.#options.files.join(', '),
      `there is no rated frame of CloudKitty: neither the measurement '${MEASUREMENT}' nor a document with start, type, qty and price${others}`,
    );
  }

  /** Gives the text of a line whose quoted value goes on in the next one. */
  #addLine(file: string, { number, text }: TextLine, context: string): string {
    try {
      const line = parseLine(text);
      if (line.measurement !== MEASUREMENT) this.#otherLines++;
      else if (!line.tags.some(([name]) => name === OWN_TAG)) {
        this.#checkContext(`${file}:${number}`, context);
        // Without what follows from the time a series is a resource, and not a resource on a day.
        const tags = line.tags.filter(([name]) => !CALENDAR.has(name));
        this.#addFields(JSON.stringify(tags), line.time, line.fields);
      }
      return '';
    } catch (error) {
      if (!(error instanceof LineProblem)) throw error;
      if (error.isOpen && text.length < LONGEST_VALUE) return `${text}\n`;
      throw fileInvalid(`${file}:${number}`, error.message);
    }
  }

  /** Points of two databases or retention policies would replace each other. */
  #checkContext(place: string, context: string): void {
    this.#context ??= context;
    if (this.#context === context) return;
    throw fileInvalid(
      place,
      `the frames are of '${context}', those before of '${this.#context}' (database and retention policy): export the one that CloudKitty uses`,
    );
  }

  #addFields(series: string, time: string, fields: readonly LineField[]): void {
    let id = this.#series.get(series);
    if (id === undefined) {
      id = this.#series.size + 1;
      this.#series.set(series, id);
    }
    for (const { name, kind, value } of fields) this.#addField.run(id, BigInt(time), name, kind, value);
  }

  #addInfluxPoint(series: string, rows: readonly FieldRow[]): void {
    const tags = new Map(JSON.parse(series) as readonly (readonly [string, string])[]);
    const fields = new Map(rows.map((row) => [row.name, row]));
    const text = (name: string) => fields.get(name)?.value;
    const begin = Number(rows[0]!.time / NANOSECONDS);
    const seconds = Number(text('__ck_collect_period') ?? this.#options.periodSeconds);
    const description: Record<string, AttributeValue> = Object.create(null);
    for (const name of namesOf(text('metadata'))) description[name] = fieldValue(fields.get(name));
    for (const name of namesOf(text('groupby'))) description[name] = tags.get(name) ?? '';
    this.#add(undefined, {
      place: `The point of ${new Date(begin * 1000).toISOString()} with the tags ${series.slice(0, 300)}`,
      begin,
      end: begin + seconds,
      scopeId: tags.get(this.#options.scopeKey) ?? description[this.#options.scopeKey],
      metric: tags.get('type'),
      unit: text('unit'),
      quantity: text('qty'),
      price: text('price'),
      description,
    });
  }

  #addDocument(file: string, { number, text }: TextLine): void {
    const place = `${file}:${number}`;
    const hit = parsed(text);
    if (!isValues(hit)) throw fileInvalid(place, 'the line is no JSON object');
    const source = isValues(hit._source) ? hit._source : hit;
    // What Ratecat stored there itself; and CloudKitty leaves its mapping in OpenSearch as a document.
    if (source.ratecat !== undefined) return;
    if (source.mappings !== undefined || source.properties !== undefined) return;
    const [groupby, metadata] = [source.groupby ?? {}, source.metadata ?? {}];
    if (!isValues(groupby) || !isValues(metadata))
      throw fileInvalid(place, 'groupby or metadata is no object');
    this.#add(hit._id === undefined ? undefined : canonicalJson([hit._index ?? null, hit._id]), {
      place,
      begin: instantOf(place, 'start', source.start),
      end: instantOf(place, 'end', source.end),
      scopeId: groupby[this.#options.scopeKey] ?? metadata[this.#options.scopeKey],
      metric: source.type,
      unit: source.unit,
      quantity: source.qty,
      price: source.price,
      description: { ...metadata, ...groupby },
    });
  }

  #add(origin: string | undefined, point: StagedPoint): void {
    const { place, scopeId, begin, end, metric, unit, description } = point;
    if (typeof scopeId !== 'string' || scopeId === '') {
      throw fileInvalid(
        place,
        `it names no scope in '${this.#options.scopeKey}', the scope key of the pipeline`,
      );
    }
    if (typeof metric !== 'string' || metric === '') throw fileInvalid(place, 'it has no type');
    if (!(end > begin)) throw fileInvalid(place, 'its period does not end after it begins');
    const attributes = Object.fromEntries(
      Object.entries(description).filter(([name]) => !CALENDAR.has(name)),
    );
    const { changes } = this.#addPoint.run(
      origin ?? null,
      scopeId,
      dateText(begin),
      dateText(end),
      typeof unit === 'string' ? unit : '',
      decimalText(place, 'qty', point.quantity),
      metric,
      decimalText(place, 'price', point.price),
      canonicalJson(attributes),
    );
    this.#points += changes;
  }
}

interface FieldRow {
  readonly time: bigint;
  readonly name: string;
  readonly kind: LineField['kind'];
  readonly value: string;
}

/** What exports of InfluxDB begin with. */
function isSkipped(text: string): boolean {
  return text.trim() === '' || text.startsWith('#') || /^CREATE DATABASE /i.test(text);
}

/** Database and retention policy of the lines that follow. */
function contextOf(text: string, before: readonly string[]): readonly string[] {
  const [, what, name] = /^# CONTEXT-(DATABASE|RETENTION-POLICY):(.*)$/.exec(text) ?? [];
  if (what === undefined) return before;
  return what === 'DATABASE' ? [name!] : [before[0] ?? '', name!];
}

function namesOf(list: string | undefined): readonly string[] {
  return (list ?? '').split('|').filter((name) => name !== '');
}

function fieldValue(row: FieldRow | undefined): AttributeValue {
  if (row === undefined) return '';
  if (row.kind === 'boolean') return row.value === 'true';
  return row.kind === 'number' ? (Decimal.tryParse(row.value) ?? row.value) : row.value;
}

function parsed(text: string): AttributeValue | undefined {
  try {
    return parse(text, undefined, { parseNumber: Decimal.parse }) as AttributeValue;
  } catch {
    return undefined;
  }
}

function isValues(value: AttributeValue | undefined): value is Values {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !isDecimal(value);
}

/** ISO 8601, UTC where it names no zone, or milliseconds since the epoch. */
function instantOf(place: string, name: string, value: AttributeValue | undefined): Instant {
  const isLocal = typeof value === 'string' && /T[\d:.]+$/.test(value);
  const milliseconds =
    typeof value === 'string' ? Date.parse(isLocal ? `${value}Z` : value) : Number(String(value));
  if (Number.isFinite(milliseconds)) return Math.floor(milliseconds / 1000);
  throw fileInvalid(place, `${name} is no date`);
}

/** Floats are written as the shortest decimal that is read as the same number: that text is taken, as far as it can be stored. */
function decimalText(place: string, name: string, value: AttributeValue | undefined): string {
  const text = typeof value === 'string' || isDecimal(value) ? String(value) : '';
  const decimal = Decimal.tryParse(text);
  if (decimal !== undefined) return decimal.toStored().toString();
  throw fileInvalid(
    place,
    text === '' ? `it has no ${name}` : `${name} is '${text.slice(0, 40)}', not a number`,
  );
}
