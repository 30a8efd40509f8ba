/** The constants of docs/scaling.md, and how well they foretell what larger and longer clouds cost. */
import type { ClosableDatabase } from '../core/database/open-database.js';
import type { Descriptor, GroupKey, Period, Storage } from '../core/plugin-api/index.js';
import { fakeContext, utcCalendar } from '../core/testkit/fakes.js';
import sqlStorage from '../plugins/storage/sql/index.js';
import { type BenchDatabase, type BenchEngine, openWithTables } from './engines.js';
import { collectGarbage, type Figure, median, timed } from './figures.js';
import { FIRST_BEGIN, frameOf, HOUR, makeDescriptors } from './frames.js';

const signal = new AbortController().signal;
const WRITE = { fence: 1, generation: 1, snapshot: 'bench' };
const RESOURCES_PER_SCOPE = 100;
const METRICS = 6;
const DAY = 24;
const MEASURED_HOURS = 5;
const QUESTIONS = 5;
/** A second size of scope tells what a period costs by itself from what its points cost. */
const LARGE_SCOPE = 2_000;

export interface CloudSize {
  readonly resources: number;
  readonly hours: number;
}

/** Rows of each table by what the cloud is. */
function rowsOf({ resources, hours }: CloudSize): Readonly<Record<string, number>> {
  const scopes = resources / RESOURCES_PER_SCOPE;
  const days = Math.ceil(hours / DAY);
  const months = monthsIn(hours);
  return {
    ratecat_sql_points: resources * hours,
    ratecat_sql_daily: resources * days,
    ratecat_sql_descriptors: resources,
    ratecat_sql_frames: scopes * hours,
    ratecat_sql_daily_metrics: scopes * METRICS * days,
    ratecat_sql_monthly: scopes * METRICS * months,
  };
}

function monthsIn(hours: number): number {
  const last = new Date((FIRST_BEGIN + hours * HOUR - 1) * 1000);
  return (last.getUTCFullYear() - 2025) * 12 + last.getUTCMonth() + 1;
}

/** What one row takes, and what a period and a report take, by the first cloud. */
interface Constants {
  readonly bytesPerRow: ReadonlyMap<string, number>;
  readonly msPerPeriod: number;
  readonly msPerPoint: number;
  readonly msPerReport: number;
  readonly msPerReportRow: number;
}

/** Learns from the first cloud and foretells the others. */
export async function benchScaling(
  engine: BenchEngine,
  [first, ...others]: readonly [CloudSize, ...CloudSize[]],
): Promise<readonly Figure[]> {
  const learnt = await Cloud.build(engine, first);
  const constants = await learnt.constants();
  const figures = [...constantFigures(engine, constants)];
  for (const size of others) {
    const cloud = await Cloud.build(engine, size);
    figures.push(...(await cloud.compare(constants)));
  }
  return figures;
}

class Cloud {
  readonly #engine: BenchEngine;
  readonly #size: CloudSize;
  readonly #place: BenchDatabase;
  readonly #database: ClosableDatabase;
  readonly #storage: Storage;
  readonly #descriptors: ReadonlyMap<string, readonly Descriptor[]>;
  #hours = 0;
  #bytes: ReadonlyMap<string, number> = new Map();

  private constructor(
    engine: BenchEngine,
    size: CloudSize,
    place: BenchDatabase,
    database: ClosableDatabase,
  ) {
    this.#engine = engine;
    this.#size = size;
    this.#place = place;
    this.#database = database;
    this.#storage = sqlStorage.create({}, fakeContext({ database }));
    const scopes = Array.from(
      { length: size.resources / RESOURCES_PER_SCOPE },
      (_, index) => `scope-${index}`,
    );
    this.#descriptors = new Map(
      scopes.map((scope) => [scope, makeDescriptors(RESOURCES_PER_SCOPE, `-${scope}`)]),
    );
  }

  static async build(engine: BenchEngine, size: CloudSize): Promise<Cloud> {
    const place = await engine.newDatabase();
    const cloud = new Cloud(engine, size, place, await openWithTables(place));
    await cloud.#fill();
    return cloud;
  }

  /** Whole days in one transaction where the scopes are few: the history only has to be there. */
  async #fill(): Promise<void> {
    const { hours } = this.#size;
    while (this.#hours < hours) {
      const until = Math.min(hours, this.#descriptors.size === 1 ? this.#hours + DAY : this.#hours + 1);
      await this.#database.transaction(async (tx) => {
        for (let hour = this.#hours; hour < until; hour++)
          for (const scope of this.#descriptors.keys())
            await this.#storage.replacePeriod(this.#frame(hour, scope), { ...WRITE, tx }, signal);
      });
      this.#hours = until;
    }
    this.#bytes = await this.#place.tableBytes();
    collectGarbage();
  }

  async constants(): Promise<Constants> {
    const rows = rowsOf(this.#size);
    const bytesPerRow = new Map(
      Object.entries(rows).map(([table, count]) => [table, (this.#bytes.get(table) ?? 0) / count]),
    );
    const small = await this.#periodMs([...this.#descriptors.keys()].slice(0, 20));
    const large = await this.#largePeriodMs();
    const msPerPoint = (large - small) / (LARGE_SCOPE - RESOURCES_PER_SCOPE);
    const one = await this.#reportMs('scope-0');
    const all = await this.#reportMs(undefined);
    const msPerReportRow = Math.max(0, all - one) / ((this.#descriptors.size - 1) * METRICS);
    await this.#database.close();
    return {
      bytesPerRow,
      msPerPoint,
      msPerPeriod: small - msPerPoint * RESOURCES_PER_SCOPE,
      msPerReport: one - msPerReportRow * METRICS,
      msPerReportRow,
    };
  }

  async compare(constants: Constants): Promise<readonly Figure[]> {
    const { resources, hours } = this.#size;
    const foretoldBytes = foretell(this.#size, constants);
    const bytes = [...this.#bytes.values()].reduce((sum, value) => sum + value, 0);
    const scopes = [...this.#descriptors.keys()];
    const measured = scopes.slice(0, 1_000);
    const hourSeconds = ((await this.#periodMs(measured)) * scopes.length) / 1000;
    const foretoldHour =
      (scopes.length * (constants.msPerPeriod + RESOURCES_PER_SCOPE * constants.msPerPoint)) / 1000;
    const report = await this.#reportMs(undefined);
    const foretoldReport = constants.msPerReport + constants.msPerReportRow * scopes.length * METRICS;
    await this.#database.close();
    const what = `${this.#engine.label}, ${resources.toLocaleString('en')} resources, ${hours.toLocaleString('en')} hours`;
    const id = `scaling.${this.#engine.id}.${resources}`;
    return [
      pair(`${id}.mib`, `${what}: size`, bytes / 2 ** 20, foretoldBytes / 2 ** 20, 'MiB'),
      pair(`${id}.hour`, `${what}: writing an hour`, hourSeconds, foretoldHour, 's'),
      pair(`${id}.report`, `${what}: this month by scope and type`, report, foretoldReport, 'ms'),
    ];
  }

  /** Median milliseconds of one period of these scopes, each in a transaction of its own. */
  async #periodMs(scopes: readonly string[]): Promise<number> {
    const times: number[] = [];
    const hours = Math.max(1, Math.min(MEASURED_HOURS, Math.ceil(500 / scopes.length)));
    for (let index = 0; index < hours; index++) {
      for (const scope of scopes) {
        const frame = this.#frame(this.#hours, scope);
        times.push(await timed(() => this.#storage.replacePeriod(frame, WRITE, signal)));
      }
      this.#hours++;
    }
    // The sum counts, and single stalls belong to it.
    return times.reduce((sum, time) => sum + time, 0) / times.length;
  }

  async #largePeriodMs(): Promise<number> {
    const descriptors = makeDescriptors(LARGE_SCOPE, '-large');
    const times: number[] = [];
    for (let hour = 0; hour < 2 * MEASURED_HOURS; hour++) {
      const frame = { ...frameOf(hour, descriptors, 'short'), scope: { key: 'project_id', id: 'large' } };
      const time = await timed(() => this.#storage.replacePeriod(frame, WRITE, signal));
      // The first one stores the descriptors.
      if (hour > 0) times.push(time);
    }
    return median(times);
  }

  async #reportMs(scope: string | undefined): Promise<number> {
    const groupby: readonly GroupKey[] = [{ kind: 'scope' }, { kind: 'type' }];
    const visible = scope === undefined ? ('all' as const) : [{ key: 'project_id', id: scope }];
    const times: number[] = [];
    for (let index = 0; index < QUESTIONS; index++)
      times.push(await timed(() => this.#storage.total({ visible, groupby, ...this.#month() }, signal)));
    return median(times);
  }

  #month(): Period {
    return utcCalendar.slice(FIRST_BEGIN + this.#hours * HOUR - 1, 'month');
  }

  #frame(hour: number, scope: string) {
    return {
      ...frameOf(hour, this.#descriptors.get(scope)!, 'short'),
      scope: { key: 'project_id', id: scope },
    };
  }
}

function foretell(size: CloudSize, { bytesPerRow }: Constants): number {
  return Object.entries(rowsOf(size)).reduce(
    (sum, [table, rows]) => sum + rows * (bytesPerRow.get(table) ?? 0),
    0,
  );
}

function pair(id: string, what: string, value: number, foretold: number, unit: string): Figure {
  return {
    id,
    what,
    value,
    unit,
    note: `foretold ${foretold.toPrecision(3)}, ${(foretold / value).toFixed(2)} of it`,
  };
}

function constantFigures({ id, label }: BenchEngine, constants: Constants): readonly Figure[] {
  const { bytesPerRow, msPerPeriod, msPerPoint, msPerReport, msPerReportRow } = constants;
  const figure = (key: string, what: string, value: number, unit: string): Figure => ({
    id: `scaling.${id}.${key}`,
    what: `${label}: ${what}`,
    value,
    unit,
  });
  return [
    ...[...bytesPerRow].map(([table, bytes]) =>
      figure(table, `a row of ${table}, indexes included`, bytes, 'bytes'),
    ),
    figure('period', 'a period by itself', msPerPeriod, 'ms'),
    figure('point', 'a thousand of its points', msPerPoint * 1000, 'ms'),
    figure('report', 'a report by itself', msPerReport, 'ms'),
    figure('reportRow', 'a thousand monthly sums in it', msPerReportRow * 1000, 'ms'),
  ];
}
