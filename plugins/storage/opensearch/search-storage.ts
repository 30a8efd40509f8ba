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
import { type OwnPeriod, PeriodReader } from '../../shared/outside-storage/period-reader.js';
import { TIME_UNITS, TotalReader } from '../../shared/outside-storage/totals.js';
import { type ClientOptions, SearchClient } from './client.js';
import { PointDocuments } from './documents.js';
import { damaged } from './failures.js';
import { type IndexNames, prepareIndices } from './indices.js';
import type { Flavour } from './layout.js';
import { MarkerStore } from './marker-store.js';
import { PeriodRemover } from './period-remover.js';
import { PeriodWriter } from './period-writer.js';
import { PointStore } from './point-store.js';
import { type ReferenceOptions, ReferenceStore } from './reference-store.js';

export interface SearchStorageOptions extends ClientOptions {
  readonly index_name: string;
  readonly period_index_name?: string | undefined;
  /** Documents of CloudKitty are read only when this says whose they are. */
  readonly reference?: (ReferenceOptions & { readonly index_name?: string | undefined }) | undefined;
}

/** Scopes whose points one search asks for: one version each, at least. */
const MAX_OWNERS = 1_000;

/** Keeps frames in Elasticsearch or OpenSearch, in CloudKitty's layout. */
export class SearchStorage implements Storage {
  readonly capabilities: StorageCapabilities = {
    // Another server: the period is stored first, and the core's watermark follows. A crash in between stores it again.
    joinsCoreTransaction: false,
    atomicReplace: true,
    exactSums: true,
    metadataFilters: true,
    timeGroups: TIME_UNITS,
    filteredDelete: true,
  };
  readonly #client: SearchClient;
  readonly #names: IndexNames;
  readonly #flavour: Flavour;
  readonly #periods: PeriodReader<OwnPeriod>;
  readonly #totals: TotalReader<OwnPeriod>;
  readonly #writer: PeriodWriter;
  readonly #remover: PeriodRemover;

  constructor(options: SearchStorageOptions, context: PluginContext, flavour: Flavour) {
    const { calendar, logger } = context;
    const { index_name: index, reference } = options;
    const client = new SearchClient(options, context);
    const names = { points: index, periods: options.period_index_name ?? `${index}-ratecat-periods` };
    const markers = new MarkerStore(client, names.periods);
    const points = new PointStore({ client, index, documents: new PointDocuments(calendar), logger });
    const foreign = reference && {
      store: new ReferenceStore(client, reference.index_name ?? index, markers, reference),
      options: reference,
    };
    const periods = new PeriodReader<OwnPeriod>({
      known: (query, signal) => markers.read(query, signal),
      one: (owner, begin, signal) => markers.one(owner, begin, signal),
      own: ({ source, scope, begin, state: { committed } }) =>
        committed && { source, scope, begin, committed },
      points: (some, metrics, signal) => points.read(some, metrics, signal),
      ...(foreign && { foreign: (query, signal) => foreign.store.read(query, signal) }),
      maxOwners: MAX_OWNERS,
      damaged,
      busyCode: 'RATECAT_SEARCH_BUSY',
    });
    const writer = new PeriodWriter({ markers, points, calendar, reference: foreign });
    this.#client = client;
    this.#names = names;
    this.#flavour = flavour;
    this.#periods = periods;
    this.#totals = new TotalReader(periods, calendar);
    this.#writer = writer;
    this.#remover = new PeriodRemover({ markers, points, periods, writer, reference: foreign?.store });
  }

  start(signal: AbortSignal): Promise<void> {
    return prepareIndices(this.#client, this.#names, this.#flavour, signal);
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
