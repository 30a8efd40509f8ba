/** replacePeriod against the raw limit, label churn, size, growth with history, and what it does to the event loop. */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { migrate } from '../core/database/migrate.js';
import type { ClosableDatabase } from '../core/database/open-database.js';
import type { Frame, RatedPoint, SqlTransaction, Storage } from '../core/plugin-api/index.js';
import { fakeContext } from '../core/testkit/fakes.js';
import sqlStorage from '../plugins/storage/sql/index.js';
import { type BenchDatabase, type BenchEngine, openWithTables } from './engines.js';
import { collectGarbage, type Figure, median, timed } from './figures.js';
import { churnFrames, frameOf, makeDescriptors, type Quantities, steadyFrames } from './frames.js';
import { type RawFrame, readRawFrames } from './raw-frames.js';
import type { RawWriter } from './raw-writer.js';

const signal = new AbortController().signal;

export interface StorageSizes {
  readonly resources: number;
  readonly periods: number;
  readonly churnPeriods: number;
  readonly history: number;
}

interface OpenStorage {
  readonly storage: Storage;
  readonly database: ClosableDatabase;
  readonly place: BenchDatabase;
}

async function openStorage(engine: BenchEngine): Promise<OpenStorage> {
  const place = await engine.newDatabase();
  const database = await openWithTables(place);
  return { place, database, storage: sqlStorage.create({}, fakeContext({ database })) };
}

/** One transaction per period, as the daemon writes. */
function replace({ storage }: OpenStorage, frame: Frame<RatedPoint>, tx?: SqlTransaction): Promise<void> {
  return storage.replacePeriod(frame, { tx, fence: 1, generation: 1, snapshot: 'bench' }, signal);
}

async function openRaw(engine: BenchEngine): Promise<{ writer: RawWriter; place: BenchDatabase }> {
  const place = await engine.newDatabase();
  await (await openWithTables(place)).close();
  return { place, writer: await place.rawWriter() };
}

/** The raw rate of what a database holds. */
export async function rawSeconds(engine: BenchEngine, frames: readonly RawFrame[]): Promise<number> {
  const { writer } = await openRaw(engine);
  const prepared = writer.prepare(frames);
  let milliseconds = 0;
  for (const frame of prepared) milliseconds += await timed(() => writer.write(frame));
  await writer.close();
  return milliseconds / 1000;
}

export async function benchWriting(engine: BenchEngine, sizes: StorageSizes): Promise<readonly Figure[]> {
  const { id, label } = engine;
  const steady = await compareWithRaw(engine, steadyFrames(sizes.resources, sizes.periods));
  const long = await compareWithRaw(engine, steadyFrames(sizes.resources, sizes.churnPeriods, 'quotients'));
  const churn = await compareChurn(engine, churnFrames(sizes.resources, sizes.churnPeriods));
  const rate = (what: string, key: string, value: number, note?: string): Figure => ({
    id: `storage.${id}.${key}`,
    what: `${label}: ${what}`,
    value: Math.round(value),
    unit: 'points/s',
    note,
  });
  const ratio = (
    what: string,
    key: string,
    value: number,
    target?: Figure['target'],
    note?: string,
  ): Figure => ({
    id: `storage.${id}.${key}`,
    what: `${label}: ${what}`,
    value,
    unit: 'x',
    target,
    note,
  });
  return [
    rate(
      'replacePeriod, steady resources',
      'steady',
      steady.product,
      `${sizes.resources} resources x ${sizes.periods} periods`,
    ),
    rate('raw, the same rows', 'raw', steady.raw, 'driver alone, prepared arrays'),
    ratio('replacePeriod / raw', 'steadyToRaw', steady.product / steady.raw, { atLeast: 0.5 }),
    rate('replacePeriod, 28-decimal quotients', 'quotients', long.product),
    ratio('the same / raw', 'quotientsToRaw', long.product / long.raw),
    rate('replacePeriod, label churn', 'churn', churn.product, 'new metadata on every point'),
    rate('flat rows', 'flat', churn.flat, 'all attributes in every row, one index; same database layer'),
    rate('flat rows, raw', 'flatRaw', churn.flatRaw, 'driver alone, prepared arrays'),
    ratio('time of churn / steady', 'churnToSteady', steady.product / churn.product),
    ratio('time of churn / flat rows', 'churnToFlat', churn.flat / churn.product, { atMost: 2 }),
    ratio('time of churn / flat rows, raw', 'churnToFlatRaw', churn.flatRaw / churn.product),
    ratio('size of churn / flat rows', 'churnToFlatBytes', churn.bytes / churn.flatBytes),
  ];
}

/** A first pass warms up and gives the rows; in the second both write in turn, so that they share the machine's moods. */
async function compareWithRaw(
  engine: BenchEngine,
  frames: readonly Frame<RatedPoint>[],
): Promise<{ readonly product: number; readonly raw: number }> {
  const first = await openStorage(engine);
  for (const frame of frames) await replace(first, frame);
  const rawFrames = await readRawFrames(first.database);
  await first.database.close();
  const product = await openStorage(engine);
  const { writer } = await openRaw(engine);
  const prepared = writer.prepare(rawFrames);
  collectGarbage();
  let productMs = 0;
  let rawMs = 0;
  for (const [index, frame] of frames.entries()) {
    productMs += await timed(() => replace(product, frame));
    rawMs += await timed(() => writer.write(prepared[index]!));
  }
  await product.database.close();
  await writer.close();
  const points = frames.reduce((sum, frame) => sum + frame.points.length, 0);
  return { product: points / (productMs / 1000), raw: points / (rawMs / 1000) };
}

const FLAT_TABLE = (text: string, decimal: string, options: string) => `CREATE TABLE bench_flat (
  id ${options === '' ? 'INTEGER PRIMARY KEY' : 'BIGINT AUTO_INCREMENT PRIMARY KEY'}, scope_id ${text}, begin_at BIGINT,
  end_at BIGINT, metric ${text}, unit ${text}, quantity ${decimal}, price ${decimal}, groupby ${text}, metadata ${text})`;

async function compareChurn(
  engine: BenchEngine,
  frames: readonly Frame<RatedPoint>[],
): Promise<{
  readonly product: number;
  readonly flat: number;
  readonly flatRaw: number;
  readonly bytes: number;
  readonly flatBytes: number;
}> {
  const product = await openStorage(engine);
  const flat = await openFlat(engine);
  const flatLayer = await flat.place.open();
  const raw = await openFlat(engine);
  const writer = await raw.place.rawWriter();
  const prepared = writer.prepare(frames.map(flatFrame));
  collectGarbage();
  let productMs = 0;
  let flatMs = 0;
  let rawMs = 0;
  for (const [index, frame] of frames.entries()) {
    productMs += await timed(() => replace(product, frame));
    flatMs += await timed(() => flatLayer.transaction((tx) => tx.insertRows(flatFrame(frame).inserts[0]!)));
    rawMs += await timed(() => writer.write(prepared[index]!));
  }
  await product.database.close();
  await flatLayer.close();
  await writer.close();
  const points = frames.reduce((sum, frame) => sum + frame.points.length, 0);
  return {
    product: points / (productMs / 1000),
    flat: points / (flatMs / 1000),
    flatRaw: points / (rawMs / 1000),
    bytes: await product.place.bytes(),
    flatBytes: await flat.place.bytes(),
  };
}

async function openFlat(engine: BenchEngine): Promise<{ readonly place: BenchDatabase }> {
  const place = await engine.newDatabase();
  const database = await place.open();
  const { engine: kind, longText, decimal } = database.dialect;
  const statements = [
    FLAT_TABLE(kind === 'sqlite' ? 'TEXT' : longText, decimal, kind === 'sqlite' ? '' : 'mysql'),
    `CREATE INDEX bench_flat_begin ON bench_flat (begin_at)`,
  ];
  await migrate(database, [
    { module: 'bench', migrations: [{ name: '0001-flat', statements: () => statements }] },
  ]);
  await database.close();
  return { place };
}

const FLAT = ['scope_id', 'begin_at', 'end_at', 'metric', 'unit', 'quantity', 'price', 'groupby', 'metadata'];

function flatFrame({ scope, period, points }: Frame<RatedPoint>): RawFrame {
  const rows = points.map(({ descriptor, quantity, price }) => [
    scope.id,
    period.begin,
    period.end,
    descriptor.metric,
    descriptor.unit,
    quantity.toString(),
    price.toString(),
    JSON.stringify(descriptor.groupby.values),
    JSON.stringify(descriptor.metadata.values),
  ]);
  return { points: points.length, inserts: [{ table: 'bench_flat', columns: FLAT, rows }] };
}

/** Bytes per point, descriptors and roll-ups included, over many periods of the same resources. */
export async function benchSize(
  engine: BenchEngine,
  resources: number,
  periods: number,
): Promise<readonly Figure[]> {
  const figures: Figure[] = [];
  // Where decimals have a fixed width, long ones take no more room.
  const kinds: readonly Quantities[] = engine.id === 'sqlite' ? ['short', 'quotients'] : ['short'];
  for (const quantities of kinds) {
    const opened = await openStorage(engine);
    const frames = steadyFrames(resources, periods, quantities);
    for (const frame of frames) await replace(opened, frame);
    await opened.database.close();
    figures.push({
      id: `storage.${engine.id}.bytesPerPoint.${quantities}`,
      what: `${engine.label}: bytes per point, ${quantities === 'short' ? 'quantities of up to 9 digits' : '28-decimal quotients'}`,
      value: (await opened.place.bytes()) / (resources * periods),
      unit: 'bytes',
      ...(quantities === 'short' && engine.id === 'sqlite' ? { target: { atMost: 60 } } : {}),
      note: `${resources} resources x ${periods} hours, whole file`,
    });
  }
  return figures;
}

const SHORT_HISTORY = 96;
const HISTORY_RESOURCES = 20;
/** A slow machine gets a shorter history rather than a longer wait. */
const FILL_LIMIT_MS = 15_000;
/** Both databases then write the same hours of a day. */
const MEASURED_PERIODS = 72;

/** What a period costs after few and after many others. */
export async function benchHistory(engine: BenchEngine, longHistory: number): Promise<readonly Figure[]> {
  const short = await openStorage(engine);
  const long = await openStorage(engine);
  const descriptors = makeDescriptors(HISTORY_RESOURCES, '');
  await fill(short, SHORT_HISTORY);
  const filled = await fill(long, longHistory);
  collectGarbage();
  const shortMs: number[] = [];
  const longMs: number[] = [];
  for (let i = 0; i < MEASURED_PERIODS; i++) {
    const early = frameOf(SHORT_HISTORY + i, descriptors, 'short');
    const late = frameOf(filled + i, descriptors, 'short');
    // In turn first and second, so that neither always finds the caches warm.
    const measureShort = async () => shortMs.push(await timed(() => replace(short, early)));
    const measureLong = async () => longMs.push(await timed(() => replace(long, late)));
    for (const measure of i % 2 === 0 ? [measureShort, measureLong] : [measureLong, measureShort])
      await measure();
  }
  await short.database.close();
  await long.database.close();
  return [
    {
      id: `storage.${engine.id}.historyRatio`,
      what: `${engine.label}: time of a period after ${filled.toLocaleString('en')} / after ${SHORT_HISTORY} periods`,
      value: median(longMs) / median(shortMs),
      unit: 'x',
      target: { atMost: 1.1 },
      note: `median of ${MEASURED_PERIODS}, ${HISTORY_RESOURCES} points each; ${median(shortMs).toFixed(2)} ms after few`,
    },
  ];

  /** Many periods per transaction: the history only has to be there. Gives how many there are, in whole days. */
  async function fill(opened: OpenStorage, periods: number): Promise<number> {
    const deadline = performance.now() + FILL_LIMIT_MS;
    const batch = 96;
    let begin = 0;
    for (; begin < periods && performance.now() < deadline; begin += batch) {
      await opened.database.transaction(async (tx) => {
        for (let period = begin; period < begin + batch; period++)
          await replace(opened, frameOf(period, descriptors, 'short'), tx);
      });
    }
    return begin;
  }
}

const BIG_PERIOD = 10_000;

/** How long others wait for the event loop while a big period is written. */
export async function benchEventLoop(engine: BenchEngine, periods: number): Promise<readonly Figure[]> {
  const opened = await openStorage(engine);
  const frames = steadyFrames(BIG_PERIOD, periods + 1);
  await replace(opened, frames[0]!);
  collectGarbage();
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  for (const frame of frames.slice(1)) await replace(opened, frame);
  delay.disable();
  await opened.database.close();
  return [
    {
      id: `storage.${engine.id}.eventLoopP99`,
      what: `${engine.label}: event-loop delay p99 while writing`,
      value: delay.percentile(99) / 1e6,
      unit: 'ms',
      target: { atMost: 50 },
      note: `${periods} periods of ${BIG_PERIOD.toLocaleString('en')} points; worst ${(delay.max / 1e6).toFixed(0)} ms`,
    },
  ];
}
