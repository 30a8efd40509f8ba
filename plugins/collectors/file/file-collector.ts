import { z } from 'zod';
import {
  Attributes,
  type AttributeValue,
  type Clock,
  type Collected,
  type Collector,
  type CollectRequest,
  Decimal,
  describeError,
  divideRounded,
  type Instant,
  type Logger,
  type Metric,
  type Period,
  type Sample,
  type Scope,
  UnavailableError,
} from '../../../core/plugin-api/index.js';
import type { DropFolderIndex, SampleCursor, StoredSample } from '../../shared/drop-folder-index.js';
import { readAttributes } from '../../shared/drop-folder-records.js';
import type { PickUp } from './pick-up.js';

const AGGREGATIONS = ['sum', 'mean', 'max', 'min', 'last'] as const;
const PAGE = 2_000;
const DAY_SECONDS = 86_400;
/** How long a start waits for the files that are already there, so that the first turn knows their scopes. */
const FIRST_PICK_UP_MS = 5_000;
const REMOVE_EVERY_MS = 3_600_000;

const metricOptions = z
  .strictObject({
    /** How samples of one period that agree in every group-by attribute become one. */
    aggregation: z.enum(AGGREGATIONS).default('sum'),
  })
  .nullish()
  .transform((options) => options ?? { aggregation: 'sum' as const });

export type FileMetricOptions = z.infer<typeof metricOptions>;

export interface FileCollectorParts {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly settleSeconds: number;
  readonly pollMs: number;
  readonly keepDays: number;
  readonly open: () => { readonly index: DropFolderIndex; readonly pickUp: PickUp };
}

/** Answers from the index of accepted files, and takes new files in in the background. */
export class FileCollector implements Collector<FileMetricOptions> {
  readonly metricOptions = metricOptions;
  readonly #parts: FileCollectorParts;
  #running: Running | undefined;
  #complaint = '';

  constructor(parts: FileCollectorParts) {
    this.#parts = parts;
  }

  async start(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const stop = new AbortController();
    const folder = this.#parts.open();
    this.#running = { ...folder, stop, ended: Promise.resolve() };
    const first = this.#pickUpQuietly(folder.pickUp, stop.signal);
    this.#running.ended = first.then(() => this.#poll(folder, stop.signal));
    const patience = new AbortController();
    const either = AbortSignal.any([signal, patience.signal]);
    await Promise.race([first, this.#parts.clock.sleep(FIRST_PICK_UP_MS, either).catch(() => {})]);
    patience.abort();
  }

  async stop(): Promise<void> {
    const running = this.#running;
    if (running === undefined) return;
    this.#running = undefined;
    running.stop.abort();
    await running.ended;
    await running.pickUp.settled();
    running.pickUp.close();
    running.index.close();
  }

  /** Time of the scope's first sample. */
  async earliest(scope: Scope): Promise<Instant | undefined> {
    return this.#folder().index.firstSample(scope.id);
  }

  async collect(request: CollectRequest<FileMetricOptions>, signal: AbortSignal): Promise<Collected> {
    const { scope, period } = request;
    const { index, pickUp, stop } = this.#folder();
    signal.throwIfAborted();
    // Not under this call's signal: the pick-up is shared by all that ask at the same time.
    if (!(await takeIn(pickUp, stop.signal))) throw stillReading(period);
    signal.throwIfAborted();
    const keptFrom = index.keptFrom();
    if (period.begin < keptFrom) {
      return {
        kind: 'unmeasurable',
        reason: `samples before ${isoTime(keptFrom)} were removed because of their age (option keep_days)`,
      };
    }
    this.#requireComplete(index, period);
    const samples = await aggregate(index, request, signal);
    index.markAnswered(scope.id, period);
    if (samples.length === 0) return { kind: 'nothing' };
    return { kind: 'measured', samples };
  }

  /** A period is complete when a file spans it, or when files have had time to arrive. */
  #requireComplete(index: DropFolderIndex, period: Period): void {
    const settled = period.end + this.#parts.settleSeconds;
    if (this.#parts.clock.now() >= settled * 1000 || index.isCovered(period)) return;
    throw new UnavailableError(
      'RATECAT_FILE_PERIOD_INCOMPLETE',
      `No file spans ${isoTime(period.begin)} to ${isoTime(period.end)} yet. Without one the period is closed at ${isoTime(settled)} (option settle_seconds).`,
    );
  }

  #folder(): Running {
    if (this.#running === undefined) throw new Error('the file collector was not started');
    return this.#running;
  }

  async #poll({ index, pickUp }: Pick<Running, 'index' | 'pickUp'>, signal: AbortSignal): Promise<void> {
    let removed = Number.NEGATIVE_INFINITY;
    while (!signal.aborted) {
      const monotonic = this.#parts.clock.monotonic();
      if (monotonic - removed >= REMOVE_EVERY_MS) {
        removed = monotonic;
        await this.#removeOld(index, signal);
      }
      try {
        await this.#parts.clock.sleep(this.#parts.pollMs, signal);
      } catch (error) {
        if (signal.aborted) return;
        throw error;
      }
      await this.#pickUpQuietly(pickUp, signal);
    }
  }

  async #pickUpQuietly(pickUp: PickUp, signal: AbortSignal): Promise<void> {
    try {
      await takeIn(pickUp, signal);
      this.#complaint = '';
    } catch (error) {
      const reason = describeError(error);
      if (signal.aborted || reason === this.#complaint) return;
      this.#complaint = reason;
      this.#parts.logger.warn('the drop folder could not be read; trying again', { reason });
    }
  }

  async #removeOld(index: DropFolderIndex, signal: AbortSignal): Promise<void> {
    const before = Math.floor(this.#parts.clock.now() / 1000) - this.#parts.keepDays * DAY_SECONDS;
    try {
      while (!signal.aborted && index.removeOld(before))
        await new Promise((resolve) => setImmediate(resolve));
    } catch (error) {
      this.#parts.logger.warn('old samples could not be removed; trying again', {
        reason: describeError(error),
      });
    }
  }
}

interface Running {
  readonly index: DropFolderIndex;
  readonly pickUp: PickUp;
  readonly stop: AbortController;
  ended: Promise<void>;
}

interface Group {
  readonly groupby: Attributes;
  metadata: Attributes;
  value: Decimal;
  count: number;
}

/** Reads the period's samples page by page and keeps one value for each distinct group. */
async function aggregate(
  index: DropFolderIndex,
  request: CollectRequest<FileMetricOptions>,
  signal: AbortSignal,
): Promise<readonly Sample[]> {
  const { metric, scope, period } = request;
  const query = { scope: scope.id, metric: metric.name, period, lastFile: index.lastAccepted() };
  const groups = new Map<string, Group>();
  let cursor: SampleCursor | undefined;
  while (true) {
    const page = index.read(query, cursor, PAGE);
    for (const row of page) addRow(groups, row, metric, scope);
    if (page.length < PAGE) break;
    cursor = page.at(-1);
    await new Promise((resolve) => setImmediate(resolve));
    signal.throwIfAborted();
  }
  return [...groups.values()].map(({ groupby, metadata, value, count }) => ({
    groupby,
    metadata,
    value: metric.options.aggregation === 'mean' ? mean(value, count) : value,
  }));
}

function addRow(
  groups: Map<string, Group>,
  row: StoredSample,
  metric: Metric<FileMetricOptions>,
  scope: Scope,
): void {
  const attributes = readAttributes(row.attributes);
  const groupby = pick(metric.groupby, attributes, scope);
  const metadata = pick(metric.metadata, attributes, scope);
  const value = Decimal.parse(row.quantity);
  const key = groupby.canonical();
  const group = groups.get(key);
  if (group === undefined) {
    groups.set(key, { groupby, metadata, value, count: 1 });
    return;
  }
  group.value = combine(group.value, value, metric.options.aggregation);
  group.metadata = metadata; // of the latest sample
  group.count++;
}

function combine(left: Decimal, right: Decimal, aggregation: FileMetricOptions['aggregation']): Decimal {
  if (aggregation === 'last') return right;
  if (aggregation === 'max') return right.compare(left) > 0 ? right : left;
  if (aggregation === 'min') return right.compare(left) < 0 ? right : left;
  return left.plus(right);
}

/** Exact where the division comes out, else 28 significant digits. */
function mean(sum: Decimal, count: number): Decimal {
  const magnitude = sum.isNegative ? -sum.coefficient : sum.coefficient;
  const places = 28 + String(count).length;
  const quotient = divideRounded(magnitude * 10n ** BigInt(places), BigInt(count));
  return Decimal.of(sum.isNegative ? -quotient : quotient, sum.exponent - places).round();
}

function pick(
  names: readonly string[],
  attributes: ReadonlyMap<string, AttributeValue>,
  scope: Scope,
): Attributes {
  const values = names.map((name) => (name === scope.key ? scope.id : (attributes.get(name) ?? '')));
  return Attributes.of(names, values);
}

async function takeIn(pickUp: PickUp, signal: AbortSignal): Promise<boolean> {
  try {
    return await pickUp.run(signal);
  } catch (error) {
    throw new UnavailableError(
      'RATECAT_FILE_FOLDER_UNUSABLE',
      `The drop folder cannot be read: ${describeError(error)}. It and what is in it must be writable for the daemon's user and have room.`,
      { cause: error },
    );
  }
}

function stillReading(period: Period): UnavailableError {
  return new UnavailableError(
    'RATECAT_FILE_STILL_READING',
    `Files in the drop folder are not all read yet, so the period from ${isoTime(period.begin)} is not known. If this stays, the log names the file and the reason.`,
  );
}

function isoTime(instant: Instant): string {
  return new Date(instant * 1000).toISOString();
}
