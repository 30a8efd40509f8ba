import type {
  Calendar,
  Frame,
  FrameQuery,
  KeptFrom,
  PointQuery,
  RatedPoint,
  RetainOrder,
  ScopeWithData,
  SqlDatabase,
  SqlTransaction,
  Storage,
  StorageCapabilities,
  StoredFrame,
  StoredMonth,
  TotalPage,
  TotalQuery,
  VisibleScopes,
  WriteContext,
} from '../../../core/plugin-api/index.js';
import { PeriodRemover, sweepStep } from './delete-periods.js';
import { DescriptorWriter } from './descriptor-writer.js';
import { eraseStep } from './erase.js';
import { readKept } from './kept.js';
import { PeriodReader } from './read-periods.js';
import { FrameWriter } from './replace-period.js';
import { retain, storedMonths, Thinner } from './retention.js';
import { ScopeReader } from './scopes.js';
import type { SumKeys } from './sums.js';
import { TIME_UNITS, TotalReader, visibleSums } from './total.js';

const NO_KEYS: SumKeys = { scope: false, metric: false, descriptor: false, time: 'none' };

/** Keeps frames in the core database. */
export class SqlStorage implements Storage {
  readonly capabilities: StorageCapabilities = {
    joinsCoreTransaction: true,
    atomicReplace: true,
    exactSums: true,
    metadataFilters: true,
    timeGroups: TIME_UNITS,
    filteredDelete: true,
  };
  readonly #database: SqlDatabase;
  readonly #calendar: Calendar;
  readonly #frames: FrameWriter;
  readonly #totals: TotalReader;
  readonly #thinner: Thinner;

  constructor(database: SqlDatabase, calendar: Calendar) {
    this.#database = database;
    this.#calendar = calendar;
    this.#frames = new FrameWriter(calendar, new DescriptorWriter());
    this.#totals = new TotalReader(database, calendar);
    this.#thinner = new Thinner(database, calendar);
  }

  async replacePeriod(frame: Frame<RatedPoint>, write: WriteContext, signal: AbortSignal): Promise<void> {
    await this.#write(write, signal, (tx) =>
      this.#frames.replace(tx, { frame, snapshot: write.snapshot }, signal),
    );
  }

  readPeriods(query: FrameQuery, signal: AbortSignal): AsyncIterable<StoredFrame> {
    return new PeriodReader(this.#database, query, signal).read();
  }

  async countPoints(query: PointQuery, signal: AbortSignal): Promise<number> {
    let points = 0;
    for await (const row of visibleSums(this.#database, this.#calendar, query, NO_KEYS, signal))
      points += row.points;
    return points;
  }

  total(query: TotalQuery, signal: AbortSignal): Promise<TotalPage> {
    return this.#totals.read(query, signal);
  }

  async deletePeriods(
    query: PointQuery,
    write: Pick<WriteContext, 'tx'>,
    signal: AbortSignal,
  ): Promise<void> {
    await this.#write(write, signal, (tx) => new PeriodRemover(tx, this.#calendar, signal).remove(query));
  }

  async scopesWithData(query: PointQuery, signal: AbortSignal): Promise<readonly ScopeWithData[]> {
    const rows = new Set<number>();
    const keys = { ...NO_KEYS, scope: true };
    for await (const row of visibleSums(this.#database, this.#calendar, query, keys, signal))
      rows.add(row.scope);
    const scopes = new ScopeReader(this.#database);
    await scopes.load(rows);
    return [...rows].map((row) => scopes.get(row)).map(({ source, scope }) => ({ source, scope }));
  }

  sweep(signal: AbortSignal): Promise<number> {
    return this.#database.transaction(sweepStep, signal);
  }

  keptFrom(visible: VisibleScopes): Promise<readonly KeptFrom[]> {
    return readKept(this.#database, visible);
  }

  storedMonths(signal: AbortSignal): AsyncIterable<StoredMonth> {
    return storedMonths(this.#database, this.#calendar, signal);
  }

  retain(order: RetainOrder, signal: AbortSignal): Promise<void> {
    return this.#database.transaction((tx) => retain(tx, order), signal);
  }

  thin(signal: AbortSignal): Promise<number> {
    return this.#thinner.step(signal);
  }

  erase(scope: ScopeWithData, signal: AbortSignal): Promise<number> {
    return eraseStep(this.#database, scope, signal);
  }

  async #write(
    { tx }: Pick<WriteContext, 'tx'>,
    signal: AbortSignal,
    work: (tx: SqlTransaction) => Promise<void>,
  ): Promise<void> {
    signal.throwIfAborted();
    if (tx === undefined) await this.#database.transaction(work, signal);
    else await work(tx);
  }
}
