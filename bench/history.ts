/** What a period and the usual summaries cost as the history grows, and after it was thinned. */
import type { ClosableDatabase } from '../core/database/open-database.js';
import type { Descriptor, GroupKey, Period, Storage } from '../core/plugin-api/index.js';
import { fakeContext, utcCalendar } from '../core/testkit/fakes.js';
import sqlStorage from '../plugins/storage/sql/index.js';
import { type BenchEngine, openWithTables } from './engines.js';
import { collectGarbage, type Figure, median, timed } from './figures.js';
import { FIRST_BEGIN, frameOf, HOUR, makeDescriptors } from './frames.js';

const signal = new AbortController().signal;
/** 200 points an hour: a million in seven months, ten millions in almost six years. */
const SCOPES = ['alpha', 'beta', 'gamma', 'delta'];
const RESOURCES = 50;
const POINTS_PER_HOUR = SCOPES.length * RESOURCES;
const DAY = 24;
const MEASURED_HOURS = 12;
const MEASURED_QUESTIONS = 9;

interface Question {
  readonly id: string;
  readonly what: string;
  readonly range: 'history' | 'month' | 'day';
  readonly groupby: readonly GroupKey[];
  readonly isOfOneScope: boolean;
}

const QUESTIONS: readonly Question[] = [
  {
    id: 'month',
    what: 'a scope, this month, by type',
    range: 'month',
    groupby: [{ kind: 'type' }],
    isOfOneScope: true,
  },
  {
    id: 'months',
    what: 'a scope, everything, by month',
    range: 'history',
    groupby: [{ kind: 'time', unit: 'month' }],
    isOfOneScope: true,
  },
  {
    id: 'scopes',
    what: 'everything, by scope and type',
    range: 'history',
    groupby: [{ kind: 'scope' }, { kind: 'type' }],
    isOfOneScope: false,
  },
  {
    id: 'resources',
    what: 'a scope, the last day, by resource',
    range: 'day',
    groupby: [{ kind: 'attribute', name: 'id' }],
    isOfOneScope: true,
  },
];

/** One database that grows: whole days are written until it holds each of the numbers of points. */
export async function benchGrowth(engine: BenchEngine, sizes: readonly number[]): Promise<readonly Figure[]> {
  const database = await openWithTables(await engine.newDatabase());
  const small = await openWithTables(await engine.newDatabase());
  const history = new GrowingHistory(engine, database);
  const beside = new GrowingHistory(engine, small);
  for (const each of [beside, history]) await each.growTo(DAY * POINTS_PER_HOUR);
  const figures: Figure[] = [];
  for (const points of sizes) {
    await history.growTo(points);
    const label = `after ${history.points.toLocaleString('en')} points`;
    const suffix = String(points);
    figures.push(...(await history.periods(beside, label, suffix)));
    figures.push(...(await history.summaries(label, suffix)));
  }
  figures.push(...(await history.thinned(beside)));
  await database.close();
  await small.close();
  return figures;
}

class GrowingHistory {
  readonly #engine: BenchEngine;
  readonly #database: ClosableDatabase;
  readonly #storage: Storage;
  readonly #descriptors: ReadonlyMap<string, readonly Descriptor[]>;
  #hours = 0;

  constructor(engine: BenchEngine, database: ClosableDatabase) {
    this.#engine = engine;
    this.#database = database;
    this.#storage = sqlStorage.create({}, fakeContext({ database }));
    this.#descriptors = new Map(SCOPES.map((scope) => [scope, makeDescriptors(RESOURCES, `-${scope}`)]));
  }

  get points(): number {
    return this.#hours * POINTS_PER_HOUR;
  }

  /** A day per transaction: the history only has to be there. */
  async growTo(points: number): Promise<void> {
    while (this.points < points) {
      await this.#database.transaction(async (tx) => {
        for (let hour = this.#hours; hour < this.#hours + DAY; hour++) {
          for (const scope of SCOPES)
            await this.#storage.replacePeriod(this.#frame(hour, scope), { ...WRITE, tx }, signal);
        }
      });
      this.#hours += DAY;
    }
    collectGarbage();
  }

  /** In turn here and in a database with hardly any history, so that both share the machine's moods. */
  async periods(beside: GrowingHistory, label: string, suffix: string): Promise<readonly Figure[]> {
    const long: number[] = [];
    const short: number[] = [];
    for (let hour = 0; hour < MEASURED_HOURS; hour++) {
      if (hour % 2 === 0) long.push(...(await this.#writeHour()));
      short.push(...(await beside.#writeHour()));
      if (hour % 2 === 1) long.push(...(await this.#writeHour()));
    }
    const period = this.figure(`period.${suffix}`, `period of ${RESOURCES} points, ${label}`, median(long));
    const ratio = this.figure(
      `ratio.${suffix}`,
      'the same / beside it, with little history',
      median(long) / median(short),
    );
    return [period, { ...ratio, unit: 'x', target: { atMost: 1.25 } }];
  }

  /** Milliseconds for each scope; each in a transaction of its own, as the daemon writes them. */
  async #writeHour(): Promise<readonly number[]> {
    const times: number[] = [];
    for (const scope of SCOPES) {
      const frame = this.#frame(this.#hours, scope);
      times.push(await timed(() => this.#storage.replacePeriod(frame, WRITE, signal)));
    }
    this.#hours++;
    return times;
  }

  async summaries(label: string, suffix: string): Promise<readonly Figure[]> {
    const figures: Figure[] = [];
    for (const { id, what, range, groupby, isOfOneScope } of QUESTIONS) {
      const visible = isOfOneScope ? [{ key: 'project_id', id: 'alpha' }] : ('all' as const);
      const query = { visible, groupby, ...this.#range(range) };
      const times: number[] = [];
      for (let index = 0; index < MEASURED_QUESTIONS; index++)
        times.push(await timed(() => this.#storage.total(query, signal)));
      figures.push(this.figure(`${id}.${suffix}`, `${what}, ${label}`, median(times)));
    }
    figures.push(...(await this.#withoutRollUps(label, suffix)));
    return figures;
  }

  /** The same sums added up from the points by the engine alone. */
  async #withoutRollUps(label: string, suffix: string): Promise<readonly Figure[]> {
    const sum = this.#database.dialect.sum;
    const ask = (range: Question['range'], condition: string, groupby: string) => {
      const { begin, end } = this.#range(range);
      return timed(() =>
        this.#database.query(
          `SELECT ${groupby}, ${sum('p.quantity')}, ${sum('p.price')}, COUNT(*)
           FROM ratecat_sql_frames f JOIN ratecat_sql_points p ON p.frame = f.id
             JOIN ratecat_sql_descriptors d ON d.id = p.descriptor JOIN ratecat_sql_scopes s ON s.id = f.scope
           WHERE f.period_begin >= ? AND f.period_begin < ? AND ${condition} GROUP BY ${groupby}`,
          [begin, end],
        ),
      );
    };
    const month = await ask('month', "s.scope_id = 'alpha'", 'd.metric_hash');
    const scopes = await ask('history', 's.id > 0', 's.id, d.metric_hash');
    return [
      this.figure(`rawMonth.${suffix}`, `a scope, this month, by type, from the points, ${label}`, month),
      this.figure(`rawScopes.${suffix}`, `everything, by scope and type, from the points, ${label}`, scopes),
    ];
  }

  /** Drops everything but the newest month, and measures again. */
  async thinned(beside: GrowingHistory): Promise<readonly Figure[]> {
    const month = utcCalendar.slice(this.#now() - 1, 'month').begin;
    if (month <= FIRST_BEGIN) return [];
    const points = Math.floor((month - FIRST_BEGIN) / HOUR) * POINTS_PER_HOUR;
    const limits = { points: month, dailySums: 0, monthlySums: 0, metric: undefined, since: FIRST_BEGIN };
    const milliseconds = await timed(async () => {
      for (const id of SCOPES) {
        const order = { source: 'bench', scope: { key: 'project_id', id }, limits: [limits] };
        await this.#storage.retain!(order, signal);
      }
      while ((await this.#storage.thin!(signal)) > 0);
      while ((await this.#storage.sweep!(signal)) > 0);
    });
    const label = `after thinning ${points.toLocaleString('en')} points`;
    return [
      {
        id: `history.${this.#engine.id}.thinning`,
        what: `${this.#engine.label}: thinning, without pauses`,
        value: Math.round(points / (milliseconds / 1000)),
        unit: 'points/s',
        note: `${points.toLocaleString('en')} points in ${(milliseconds / 1000).toFixed(1)} s`,
      },
      ...(await this.periods(beside, label, 'thinned')),
      ...(await this.summaries(label, 'thinned')),
    ];
  }

  figure(id: string, what: string, value: number): Figure {
    const { id: engine, label } = this.#engine;
    return { id: `history.${engine}.${id}`, what: `${label}: ${what}`, value, unit: 'ms' };
  }

  #frame(hour: number, scope: string) {
    const frame = frameOf(hour, this.#descriptors.get(scope)!, 'short');
    return { ...frame, scope: { key: 'project_id', id: scope } };
  }

  #now(): number {
    return FIRST_BEGIN + this.#hours * HOUR;
  }

  /** Whole days, as bills ask for them. */
  #range(range: Question['range']): Period {
    const today = utcCalendar.slice(this.#now() - 1, 'day');
    if (range === 'history') return { begin: FIRST_BEGIN, end: today.end };
    if (range === 'month') return utcCalendar.slice(this.#now() - 1, 'month');
    return { begin: today.begin - DAY * HOUR, end: today.begin };
  }
}

const WRITE = { fence: 1, generation: 1, snapshot: 'bench' };
