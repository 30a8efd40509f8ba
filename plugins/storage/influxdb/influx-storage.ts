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
import { PeriodReader } from '../../shared/outside-storage/period-reader.js';
import { TIME_UNITS, TotalReader } from '../../shared/outside-storage/totals.js';
import { InfluxClient, type InfluxOptions } from './client.js';
import { damaged } from './damaged.js';
import type { Marker } from './marker.js';
import { MarkerReader } from './marker-reader.js';
import { PeriodRemover } from './period-remover.js';
import { PeriodWriter } from './period-writer.js';
import { PointLines } from './point-lines.js';
import { type Period, PointReader } from './point-reader.js';
import { type ReferenceOptions, ReferenceReader } from './reference-reader.js';
import { MAX_CONDITIONS } from './visible.js';

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
  readonly #periods: PeriodReader<Period>;
  readonly #totals: TotalReader<Period>;
  readonly #writer: PeriodWriter;
  readonly #remover: PeriodRemover;

  constructor(options: InfluxStorageOptions, context: PluginContext) {
    const { calendar, logger } = context;
    const { reference } = options;
    const client = new InfluxClient(options, context);
    const markers = new MarkerReader(client);
    const foreign = reference && new ReferenceReader(client, markers, reference);
    const points = new PointReader(client);
    const periods = new PeriodReader<Period>({
      known: (query, signal) => markers.read(query, signal),
      one: (owner, begin, signal) => markers.one(owner, begin, signal),
      own: (known) => periodOf(known as Marker),
      points: (some, metrics, signal) => points.read(some, metrics, signal),
      ...(foreign && { foreign: (query, signal) => foreign.read(query, signal) }),
      maxOwners: MAX_CONDITIONS,
      damaged,
      busyCode: 'RATECAT_INFLUXDB_BUSY',
    });
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

  countPoints(query: PointQuery, signal: AbortSignal): Promise<number> {
    return this.#periods.countPoints(query, signal);
  }

  total(query: TotalQuery, signal: AbortSignal): Promise<TotalPage> {
    return this.#totals.read(query, signal);
  }

  deletePeriods(query: PointQuery, _write: Pick<WriteContext, 'tx'>, signal: AbortSignal): Promise<void> {
    return this.#remover.remove(query, signal);
  }

  scopesWithData(query: PointQuery, signal: AbortSignal): Promise<readonly ScopeWithData[]> {
    return this.#periods.scopesWithData(query, signal);
  }
}

function periodOf(marker: Marker): Period | undefined {
  const { committed } = marker.state;
  return committed && { ...marker, committed };
}
