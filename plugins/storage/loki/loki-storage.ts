import type {
  Frame,
  FrameQuery,
  PluginContext,
  PointQuery,
  RatedPoint,
  ScopeWithData,
  SqlDatabase,
  Storage,
  StorageCapabilities,
  StoredFrame,
  TotalPage,
  TotalQuery,
  WriteContext,
} from '../../../core/plugin-api/index.js';
import { PeriodReader } from '../../shared/outside-storage/period-reader.js';
import { TIME_UNITS, TotalReader } from '../../shared/outside-storage/totals.js';
import { type ClientOptions, LokiClient } from './client.js';
import { damaged } from './failures.js';
import { type Labels, MAX_NAMES } from './layout.js';
import { LeftoverCleaner } from './leftover-cleaner.js';
import { PeriodRemover } from './period-remover.js';
import { type LokiPeriod, periodOf, readMarker, readMarkers } from './period-table.js';
import { PeriodWriter } from './period-writer.js';
import { PointLines } from './point-lines.js';
import { PointLog } from './point-log.js';
import { type ReferenceOptions, ReferenceReader } from './reference-reader.js';

export interface LokiStorageOptions extends ClientOptions {
  /** Labels of all streams of Ratecat. */
  readonly stream: Labels;
  readonly max_line_kib: number;
  /** Lines of CloudKitty are read only when this says whose they are. */
  readonly reference?: ReferenceOptions | undefined;
}

interface LokiParts {
  readonly client: LokiClient;
  readonly points: PointLog;
  readonly periods: PeriodReader<LokiPeriod>;
  readonly totals: TotalReader<LokiPeriod>;
  readonly writer: PeriodWriter;
  readonly remover: PeriodRemover;
  readonly cleaner: LeftoverCleaner;
}

/** Keeps points in Grafana Loki, and in the core database which of them count. */
export class LokiStorage implements Storage {
  readonly capabilities: StorageCapabilities = {
    // Another server: the period is stored first, and the core's watermark follows. A crash in between stores it again.
    joinsCoreTransaction: false,
    atomicReplace: true,
    exactSums: true,
    metadataFilters: true,
    timeGroups: TIME_UNITS,
    filteredDelete: true,
  };
  readonly #parts: LokiParts;

  constructor(options: LokiStorageOptions, context: PluginContext, database: SqlDatabase) {
    const { calendar, clock, logger } = context;
    const { stream } = options;
    const client = new LokiClient(options, context);
    const points = new PointLog({ client, stream, lines: new PointLines(options.max_line_kib * 1024) });
    const reference =
      options.reference && new ReferenceReader({ client, clock, database, options: options.reference });
    const periods = new PeriodReader<LokiPeriod>({
      known: (query, signal) => readMarkers(database, query, signal),
      one: (owner, begin) => readMarker(database, owner, begin),
      own: periodOf,
      points: (some, metrics, signal) => points.read(some, metrics, signal),
      ...(reference && { foreign: (query, signal) => reference.read(query, signal) }),
      maxOwners: MAX_NAMES,
      damaged,
      busyCode: 'RATECAT_LOKI_BUSY',
    });
    const writer = new PeriodWriter({ database, points, calendar, clock });
    this.#parts = {
      client,
      points,
      periods,
      totals: new TotalReader(periods, calendar),
      writer,
      remover: new PeriodRemover({ database, periods, writer, reference, clock }),
      cleaner: new LeftoverCleaner({ database, points, clock, logger }),
    };
  }

  /** @throws what a query throws, when Loki cannot be used as the options say. */
  start(signal: AbortSignal): Promise<void> {
    return this.#parts.points.check(signal);
  }

  stop(): Promise<void> {
    return this.#parts.client.close();
  }

  replacePeriod(frame: Frame<RatedPoint>, write: WriteContext, signal: AbortSignal): Promise<void> {
    return this.#parts.writer.replace(frame, write, signal);
  }

  readPeriods(query: FrameQuery, signal: AbortSignal): AsyncIterable<StoredFrame> {
    return this.#parts.periods.frames(query, signal);
  }

  countPoints(query: PointQuery, signal: AbortSignal): Promise<number> {
    return this.#parts.periods.countPoints(query, signal);
  }

  total(query: TotalQuery, signal: AbortSignal): Promise<TotalPage> {
    return this.#parts.totals.read(query, signal);
  }

  deletePeriods(query: PointQuery, _write: Pick<WriteContext, 'tx'>, signal: AbortSignal): Promise<void> {
    return this.#parts.remover.remove(query, signal);
  }

  scopesWithData(query: PointQuery, signal: AbortSignal): Promise<readonly ScopeWithData[]> {
    return this.#parts.periods.scopesWithData(query, signal);
  }

  /** Lets Loki delete some of the points that do not count. */
  sweep(signal: AbortSignal): Promise<number> {
    return this.#parts.cleaner.step(signal);
  }
}
