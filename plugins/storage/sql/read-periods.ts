import {
  compareText,
  type FrameQuery,
  type Gap,
  type SqlDatabase,
  type SqlRow,
  type StoredFrame,
} from '../../../core/plugin-api/index.js';
import { Conditions } from '../../shared/sql-conditions.js';
import { DescriptorReader, matchingDescriptors } from './descriptor-reader.js';
import { assertKept } from './kept.js';
import { ScopeReader, type ScopeRows, type StoredScope, visibleRows } from './scopes.js';
import { storedDecimal } from './stored-values.js';

const LISTED_FRAMES = 1_000;
/** Points and frames that are held in memory at a time, unless a single frame has more. */
const BATCH_POINTS = 5_000;
const BATCH_FRAMES = 200;
/** More descriptors than this are not named to the engine. */
const MAX_NAMED_DESCRIPTORS = 1024;

interface ListedFrame {
  readonly id: number;
  readonly scope: number;
  readonly begin: number;
  readonly points: number;
}

/** Frames in order of (begin, source, scope), a batch at a time; each frame comes from one state of the database. */
export class PeriodReader {
  readonly #database: SqlDatabase;
  readonly #query: FrameQuery;
  readonly #signal: AbortSignal;
  readonly #scopes: ScopeReader;
  readonly #descriptors: DescriptorReader;
  /** Points still to be skipped and given. */
  #skip: number;
  #left: number;

  constructor(database: SqlDatabase, query: FrameQuery, signal: AbortSignal) {
    this.#database = database;
    this.#query = query;
    this.#signal = signal;
    this.#scopes = new ScopeReader(database);
    this.#descriptors = new DescriptorReader(database);
    this.#skip = query.offset ?? 0;
    this.#left = query.limit ?? Number.POSITIVE_INFINITY;
  }

  async *read(): AsyncGenerator<StoredFrame, void, void> {
    this.#signal.throwIfAborted();
    const scopes = await visibleRows(this.#database, this.#query.visible);
    if (scopes.length === 0 || this.#left === 0) return;
    await this.#assertKept(scopes);
    const descriptors = await matchingDescriptors(this.#database, scopes, this.#query, this.#signal);
    const canMatch = descriptors?.length !== 0 || this.#showsGapsAlone;
    for await (const frames of canMatch ? this.#batches(scopes) : []) {
      const rest = this.#skip > 0 ? await this.#skipFrames(frames, descriptors) : frames;
      if (rest.length > 0) yield* this.#readBatch(rest, descriptors, scopes);
      if (this.#left === 0) break;
    }
    await this.#assertKept(scopes);
  }

  async #assertKept(scopes: ScopeRows): Promise<void> {
    const { begin, end, metrics } = this.#query;
    if (begin >= end) return;
    const needs = { points: begin, dailySums: undefined, monthlySums: undefined };
    await assertKept(this.#database, needs, { scopes, metrics });
  }

  get #isPaged(): boolean {
    return this.#query.offset !== undefined || this.#query.limit !== undefined;
  }

  /** Frames without points are given for what they say about gaps, where nothing in the query contradicts that. */
  get #showsGapsAlone(): boolean {
    return !this.#isPaged && (this.#query.filters ?? []).length === 0;
  }

  async *#batches(scopes: ScopeRows): AsyncGenerator<readonly ListedFrame[], void, void> {
    let batch: ListedFrame[] = [];
    let points = 0;
    for await (const frame of this.#frames(scopes)) {
      if (batch.length > 0 && (points + frame.points > BATCH_POINTS || batch.length === BATCH_FRAMES)) {
        yield batch;
        batch = [];
        points = 0;
      }
      batch.push(frame);
      points += frame.points;
    }
    if (batch.length > 0) yield batch;
  }

  /** The engine orders by begin, which an index does; scopes of one begin are ordered here. */
  async *#frames(scopes: ScopeRows): AsyncGenerator<ListedFrame, void, void> {
    let sameBegin: ListedFrame[] = [];
    for await (const frame of this.#list(scopes)) {
      if (sameBegin.length > 0 && sameBegin[0]!.begin !== frame.begin) {
        yield* await this.#inOrderOfScopes(sameBegin);
        sameBegin = [];
      }
      sameBegin.push(frame);
    }
    yield* await this.#inOrderOfScopes(sameBegin);
  }

  async #inOrderOfScopes(frames: readonly ListedFrame[]): Promise<readonly ListedFrame[]> {
    await this.#scopes.load(frames.map((frame) => frame.scope));
    return [...frames].sort((left, right) =>
      compareScopes(this.#scopes.get(left.scope), this.#scopes.get(right.scope)),
    );
  }

  async *#list(scopes: ScopeRows): AsyncGenerator<ListedFrame, void, void> {
    let lastBegin = this.#query.begin;
    let lastScope = 0;
    while (true) {
      this.#signal.throwIfAborted();
      const conditions = new Conditions()
        .add('period_begin >= ? AND period_begin < ?', lastBegin, this.#query.end)
        .add('(period_begin > ? OR scope > ?)', lastBegin, lastScope)
        .add('scope > 0');
      if (scopes !== 'all') conditions.addIn('scope', scopes);
      const rows = await this.#database.query(
        `SELECT id, scope, period_begin, points FROM ratecat_sql_frames ${conditions.where}
         ORDER BY period_begin, scope LIMIT ${LISTED_FRAMES}`,
        conditions.parameters,
      );
      for (const row of rows) yield toListedFrame(row);
      if (rows.length < LISTED_FRAMES) return;
      const last = toListedFrame(rows.at(-1)!);
      lastBegin = last.begin;
      lastScope = last.scope;
    }
  }

  /** Leaves out frames that lie wholly before the page, without reading their points. */
  async #skipFrames(
    frames: readonly ListedFrame[],
    descriptors: readonly number[] | undefined,
  ): Promise<readonly ListedFrame[]> {
    const isCounted = descriptors === undefined;
    const matching = isCounted ? undefined : await this.#countMatching(frames, descriptors);
    let first = 0;
    for (; first < frames.length; first++) {
      const frame = frames[first]!;
      const points = matching === undefined ? frame.points : (matching.get(frame.id) ?? 0);
      if (points > this.#skip) break;
      this.#skip -= points;
    }
    return frames.slice(first);
  }

  async #countMatching(
    frames: readonly ListedFrame[],
    descriptors: readonly number[],
  ): Promise<ReadonlyMap<number, number>> {
    const { conditions, isMatch } = nameDescriptors(descriptors, 'p.descriptor');
    conditions.addIn(
      'p.frame',
      frames.map((frame) => frame.id),
    );
    const counts = new Map<number, number>();
    const rows = this.#database.iterate(
      `SELECT p.frame, p.descriptor FROM ratecat_sql_points p ${conditions.where}`,
      conditions.parameters,
      this.#signal,
    );
    for await (const [frame, descriptor] of rows) {
      if (isMatch(Number(descriptor))) counts.set(Number(frame), (counts.get(Number(frame)) ?? 0) + 1);
    }
    return counts;
  }

  async *#readBatch(
    frames: readonly ListedFrame[],
    descriptors: readonly number[] | undefined,
    scopes: ScopeRows,
  ): AsyncGenerator<StoredFrame, void, void> {
    const rows = await this.#readRows(frames, descriptors);
    await this.#assertKept(scopes);
    await this.#descriptors.load(
      [...rows.values()].flatMap(({ points }) => points.map((point) => Number(point[DESCRIPTOR]))),
    );
    for (const { id } of frames) {
      const stored = rows.get(id);
      // A frame that was deleted meanwhile is left out.
      if (stored === undefined) continue;
      const frame = this.#toFrame(stored);
      if (frame.points.length > 0 || (this.#showsGapsAlone && this.#isToldOf(frame))) yield frame;
      if (this.#left === 0) return;
    }
  }

  #isToldOf(frame: StoredFrame): boolean {
    return this.#query.metrics === undefined || frame.gaps.length > 0;
  }

  /** By frame: one row that holds the frame, and a row for each point. */
  async #readRows(
    frames: readonly ListedFrame[],
    descriptors: readonly number[] | undefined,
  ): Promise<ReadonlyMap<number, StoredRows>> {
    const { conditions: join, isMatch } = nameDescriptors(descriptors, 'p.descriptor');
    const where = new Conditions().addIn(
      'f.id',
      frames.map((frame) => frame.id),
    );
    const rows = this.#database.iterate(
      `SELECT ${POINT_COLUMNS} FROM ratecat_sql_frames f LEFT JOIN ratecat_sql_points p
       ON p.frame = f.id ${join.and} ${where.where} AND f.scope > 0`,
      [...join.parameters, ...where.parameters],
      this.#signal,
    );
    const found = new Map<number, StoredRows>();
    for await (const row of rows) {
      const id = Number(row[0]);
      let stored = found.get(id);
      if (stored === undefined) {
        stored = { frame: row, points: [] };
        found.set(id, stored);
      }
      if (row[DESCRIPTOR] !== null && isMatch(Number(row[DESCRIPTOR]))) stored.points.push(row);
    }
    // Rows come in this order as a rule; to have the engine see to it costs it a temporary table.
    for (const { points } of found.values()) points.sort((a, b) => Number(a[ORDINAL]) - Number(b[ORDINAL]));
    return found;
  }

  #toFrame({ frame, points }: StoredRows): StoredFrame {
    const { source, scope } = this.#scopes.get(Number(frame[1]));
    const page = points.slice(this.#skip, this.#skip + this.#left);
    this.#skip -= Math.min(this.#skip, points.length);
    this.#left -= page.length;
    const { metrics } = this.#query;
    return {
      source,
      scope,
      period: { begin: Number(frame[2]), end: Number(frame[3]) },
      snapshot: String(frame[4]),
      gaps: readGaps(frame).filter((gap) => metrics === undefined || metrics.includes(gap.metric)),
      points: page.map((row) => ({
        descriptor: this.#descriptors.get(Number(row[DESCRIPTOR])),
        quantity: storedDecimal(row[QUANTITY]!),
        price: storedDecimal(row[PRICE]!),
      })),
    };
  }
}

const POINT_COLUMNS =
  'f.id, f.scope, f.period_begin, f.period_end, f.snapshot, f.gaps, p.descriptor, p.quantity, p.price, p.ordinal';
const GAPS = 5;
const DESCRIPTOR = 6;
const QUANTITY = 7;
const PRICE = 8;
const ORDINAL = 9;

interface StoredRows {
  readonly frame: SqlRow;
  readonly points: SqlRow[];
}

function toListedFrame(row: SqlRow): ListedFrame {
  return { id: Number(row[0]), scope: Number(row[1]), begin: Number(row[2]), points: Number(row[3]) };
}

function readGaps(frame: SqlRow): readonly Gap[] {
  return frame[GAPS] === null ? [] : (JSON.parse(String(frame[GAPS])) as Gap[]);
}

function compareScopes(left: StoredScope, right: StoredScope): number {
  return (
    compareText(left.source, right.source) ||
    compareText(left.scope.key, right.scope.key) ||
    compareText(left.scope.id, right.scope.id)
  );
}

/** A condition on the descriptor for the engine where the list is short, and the test for rows that it lets through. */
function nameDescriptors(
  descriptors: readonly number[] | undefined,
  column: string,
): { readonly conditions: Conditions; isMatch(descriptor: number): boolean } {
  const conditions = new Conditions();
  if (descriptors === undefined) return { conditions, isMatch: () => true };
  if (descriptors.length <= MAX_NAMED_DESCRIPTORS) {
    conditions.addIn(column, descriptors);
    return { conditions, isMatch: () => true };
  }
  const wanted = new Set(descriptors);
  return { conditions, isMatch: (descriptor) => wanted.has(descriptor) };
}
