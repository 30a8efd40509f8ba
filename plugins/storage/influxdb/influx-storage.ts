import type {
  Frame,
  FrameQuery,
  PluginContext,
  PointQuery,
  RatedPoint,
  ScopeWithData,
  Storage,
  StorageCapabilities,
  StoredFrame,
  TotalPage,
  TotalQuery,
  WriteContext,
} from '../../../core/plugin-api/index.js';
import { InfluxClient, type InfluxOptions } from './client.js';
import { ownerKey } from './layout.js';
import { MarkerReader } from './marker-reader.js';
import { countOf, PeriodReader, type Stored } from './period-reader.js';
import { PeriodRemover } from './period-remover.js';
import { PeriodWriter } from './period-writer.js';
import { PointLines } from './point-lines.js';
import { PointReader } from './point-reader.js';
import { type ReferenceOptions, ReferenceReader } from './reference-reader.js';
import { TIME_UNITS, TotalReader } from './totals.js';

export interface InfluxStorageOptions extends InfluxOptions {
  /** Points of CloudKitty are read only when this says whose they are. */
  readonly reference?: ReferenceOptions | undefined;
}

/** Keeps frames in InfluxDB 1.x, in CloudKitty's layout. */
export class InfluxStorage implements Storage {
  readonly capabilities: StorageCapabilities = {
    // Another server: the period is stored first, and the core's watermark follows. A crash in between stores it again.
    joinsCoreTransaction: false,
    atomicReplace: true,
    exactSums: true,
    metadataFilters: true,
    timeGroups: TIME_UNITS,
    filteredDelete: true,
  };
  readonly #client: InfluxClient;
  readonly #periods: PeriodReader;
  readonly #totals: TotalReader;
  readonly #writer: PeriodWriter;
  readonly #remover: PeriodRemover;

  constructor(options: InfluxStorageOptions, context: PluginContext) {
    const { calendar, logger } = context;
    const { reference } = options;
    const client = new InfluxClient(options, context);
    const markers = new MarkerReader(client);
    const foreign = reference && new ReferenceReader(client, markers, reference);
    const periods = new PeriodReader(markers, new PointReader(client), foreign);
    const writer = new PeriodWriter({
      client,
      markers,
      lines: new PointLines(calendar),
      calendar,
      logger,
      reference,
    });
    this.#client = client;
    this.#periods = periods;
    this.#totals = new TotalReader(periods, calendar);
    this.#writer = writer;
    this.#remover = new PeriodRemover({ client, markers, periods, writer, reference });
  }

  start(signal: AbortSignal): Promise<void> {
    return this.#client.check(signal);
  }

  stop(): Promise<void> {
    return this.#client.close();
  }

  replacePeriod(frame: Frame<RatedPoint>, write: WriteContext, signal: AbortSignal): Promise<void> {
    return this.#writer.replace(frame, write, signal);
  }

  readPeriods(query: FrameQuery, signal: AbortSignal): AsyncIterable<StoredFrame> {
    return this.#periods.frames(query, signal);
  }

  async countPoints(query: PointQuery, signal: AbortSignal): Promise<number> {
    let count = 0;
    for await (const { points } of this.#counts(query, signal)) count += points;
    return count;
  }

  total(query: TotalQuery, signal: AbortSignal): Promise<TotalPage> {
    return this.#totals.read(query, signal);
  }

  deletePeriods(query: PointQuery, _write: Pick<WriteContext, 'tx'>, signal: AbortSignal): Promise<void> {
    return this.#remover.remove(query, signal);
  }

  async scopesWithData(query: PointQuery, signal: AbortSignal): Promise<readonly ScopeWithData[]> {
    const scopes = new Map<string, ScopeWithData>();
    for await (const { stored, points } of this.#counts(query, signal)) {
      const { source, scope } = stored;
      if (points > 0) scopes.set(ownerKey(stored), { source, scope });
    }
    return [...scopes.values()];
  }

  /** Only filters by attribute need the points themselves. */
  async *#counts(
    query: PointQuery,
    signal: AbortSignal,
  ): AsyncGenerator<{ readonly stored: Stored; readonly points: number }> {
    signal.throwIfAborted();
    const periods = this.#periods.periods(query, signal);
    if ((query.filters ?? []).length === 0) {
      for await (const stored of periods) yield { stored, points: countOf(stored, query.metrics) };
    } else {
      for await (const { stored, points } of this.#periods.load(periods, query, signal))
        yield { stored, points: points.length };
    }
  }
}
