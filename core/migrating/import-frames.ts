import type {
  Frame,
  Instant,
  RatedPoint,
  Scope,
  SqlDatabase,
  SqlTransaction,
  Storage,
} from '../plugin-api/index.js';
import type { FrameBuilder } from './frame-builder.js';
import type { Frontiers } from './import-states.js';
import type { ProgressStore } from './progress-store.js';
import type { RatedRange, RatedRows, RatedUnit, UnitPosition } from './rated-rows.js';

export interface FramesImportParts {
  readonly rows: Pick<RatedRows, 'units'>;
  readonly builder: FrameBuilder;
  readonly database: SqlDatabase;
  readonly storage: Storage;
  readonly progress: ProgressStore;
  readonly frontiers: Frontiers;
  readonly range: RatedRange;
  /** Hears of points that were read. */
  readonly onPoints: (points: number) => void;
}

export interface FramesReport {
  readonly periods: number;
  readonly points: number;
  /** Points that CloudKitty wrote beyond its own state, or that Ratecat has rated itself. */
  readonly beyond: number;
  /** Newest begin of scopes that have no state. */
  readonly stateless: ReadonlyMap<string, Instant>;
}

/** How far all units of a range are taken over, in the order of the source. */
interface Cursor extends RatedRange {
  readonly after?: UnitPosition | undefined;
  readonly isDone: boolean;
}

const ITEM = 'frames';
/** A transaction is short enough for the processors that wait for it. */
const POINTS_PER_TRANSACTION = 4_000;
const PERIODS_PER_TRANSACTION = 500;

/** Takes rated frames over: each period whole, in the transaction that notes how far the work has come. */
export class FramesImport {
  readonly #parts: FramesImportParts;

  constructor(parts: FramesImportParts) {
    this.#parts = parts;
  }

  /** True when an earlier run came to the end of the same range. */
  async isDone(): Promise<boolean> {
    const cursor = await this.#cursor();
    return cursor?.isDone === true;
  }

  /** Begin of the period at which an earlier run stopped. */
  async stoppedAt(): Promise<Instant | undefined> {
    return (await this.#cursor())?.after?.begin;
  }

  /** Everything from where an earlier run stopped. */
  async all(signal: AbortSignal): Promise<FramesReport> {
    const after = (await this.#cursor())?.after;
    const report = await this.#import(
      after,
      () => true,
      signal,
      (position) => ({
        ...this.#parts.range,
        after: position,
        isDone: false,
      }),
    );
    await this.#parts.database.transaction((tx) =>
      this.#remember(tx, { ...this.#parts.range, isDone: true }),
    );
    return report;
  }

  /** The wanted units once more, wherever an earlier run stopped. */
  async again(wanted: (unit: RatedUnit) => boolean, signal: AbortSignal): Promise<FramesReport> {
    return this.#import(undefined, wanted, signal, () => undefined);
  }

  async #import(
    after: UnitPosition | undefined,
    wanted: (unit: RatedUnit) => boolean,
    signal: AbortSignal,
    cursorAt: (position: UnitPosition) => Cursor | undefined,
  ): Promise<FramesReport> {
    const { rows, builder, frontiers, range, onPoints } = this.#parts;
    const stateless = new Map<string, Instant>();
    let batch: Frame<RatedPoint>[] = [];
    let inBatch = 0;
    let periods = 0;
    let points = 0;
    let beyond = 0;
    const store = async () => {
      const last = batch.at(-1);
      if (last === undefined) return;
      await this.#store(batch, cursorAt({ begin: last.period.begin, scopeId: last.scope.id }), signal);
      batch = [];
      inBatch = 0;
    };
    for await (const unit of rows.units(range, after)) {
      signal.throwIfAborted();
      onPoints(unit.rows.length);
      const frontier = frontiers.get(unit.scopeId);
      if (frontier === undefined) stateless.set(unit.scopeId, unit.period.begin);
      else if (unit.period.begin >= frontier) {
        beyond += unit.rows.length;
        continue;
      }
      if (!wanted(unit)) continue;
      batch.push(builder.frame(unit));
      inBatch += unit.rows.length;
      periods++;
      points += unit.rows.length;
      if (inBatch >= POINTS_PER_TRANSACTION || batch.length >= PERIODS_PER_TRANSACTION) await store();
    }
    await store();
    return { periods, points, beyond, stateless };
  }

  async #store(
    frames: readonly Frame<RatedPoint>[],
    cursor: Cursor | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const { storage, database } = this.#parts;
    if (!storage.capabilities.joinsCoreTransaction) {
      // A period that is stored once more after a crash is the same period.
      for (const frame of frames) await this.#storeElsewhere(frame, signal);
      if (cursor !== undefined) await database.transaction((tx) => this.#remember(tx, cursor));
      return;
    }
    await database.transaction(async (tx) => {
      const write = { tx, fence: 0, generation: 0, snapshot: '' };
      for (const frame of frames) await storage.replacePeriod(frame, write, signal);
      if (cursor !== undefined) await this.#remember(tx, cursor);
    }, signal);
  }

  async #storeElsewhere(frame: Frame<RatedPoint>, signal: AbortSignal): Promise<void> {
    const { database, storage } = this.#parts;
    const { fence, generation } = await database.transaction((tx) =>
      nextWrite(tx, frame.source, frame.scope),
    );
    await storage.replacePeriod(frame, { fence, generation, snapshot: '' }, signal);
  }

  async #cursor(): Promise<Cursor | undefined> {
    const { database, progress, range } = this.#parts;
    const cursor = await progress.read<Cursor>(database, ITEM);
    return cursor?.begin === range.begin && cursor?.end === range.end ? cursor : undefined;
  }

  #remember(tx: SqlTransaction, cursor: Cursor): Promise<void> {
    return this.#parts.progress.write(tx, new Map([[ITEM, cursor]]));
  }
}

/** Numbers that rise with every write of the scope. A scope without a state is written by nobody else. */
async function nextWrite(tx: SqlTransaction, source: string, { key, id }: Scope) {
  const scope = [source, key, id];
  const where = 'WHERE source = ? AND scope_key = ? AND scope_id = ?';
  await tx.execute(`UPDATE ratecat_scopes SET commit_seq = commit_seq + 1 ${where}`, scope);
  const [row] = await tx.query(`SELECT fence, commit_seq FROM ratecat_scopes ${where}`, scope);
  return { fence: Number(row?.[0] ?? 0), generation: Number(row?.[1] ?? 1) };
}
