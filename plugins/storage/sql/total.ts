import {
  type Calendar,
  compareText,
  type GroupKey,
  type Period,
  type SqlDatabase,
  type TimeUnit,
  type Total,
  type TotalPage,
  type TotalQuery,
} from '../../../core/plugin-api/index.js';
import { DescriptorReader, describedText, matchingDescriptors } from './descriptor-reader.js';
import { clampRange, planRange } from './range-plan.js';
import { ScopeReader, visibleRows } from './scopes.js';
import { type SumKeys, SumReader, type SumRow, type SumSelection } from './sums.js';

export const TIME_UNITS: readonly TimeUnit[] = ['period', 'day', 'week', 'month', 'year'];

/** Sums whose descriptors and scopes are looked up together. */
const BATCH = 2_000;

export type SumQuery = Pick<TotalQuery, 'visible' | 'begin' | 'end' | 'metrics' | 'filters'>;

/** Sums of what a reader may see, read from the coarsest tables that can tell `keys` apart. */
export async function* visibleSums(
  database: SqlDatabase,
  calendar: Calendar,
  query: SumQuery,
  keys: SumKeys,
  signal: AbortSignal,
): AsyncGenerator<SumRow, void, void> {
  signal.throwIfAborted();
  const sums = new SumReader(database, calendar);
  const stored = await sums.days();
  const selection = stored && (await select(database, query, signal));
  if (stored === undefined || selection === undefined) return;
  const range = clampRange(query, calendar, stored);
  yield* sums.read(planRange(range, calendar, level(selection, keys)), selection, keys, signal);
}

/** Undefined when nothing can match. */
async function select(
  database: SqlDatabase,
  { visible, metrics, filters }: SumQuery,
  signal: AbortSignal,
): Promise<SumSelection | undefined> {
  const scopes = await visibleRows(database, visible);
  if (scopes.length === 0 || metrics?.length === 0) return undefined;
  if (filters === undefined || filters.length === 0) return { scopes, metrics };
  const descriptors = await matchingDescriptors(database, scopes, { metrics, filters }, signal);
  return descriptors === undefined || descriptors.length === 0 ? undefined : { scopes, descriptors };
}

function level({ descriptors }: SumSelection, { time, descriptor }: SumKeys): 'points' | 'days' | 'months' {
  if (time === 'period') return 'points';
  return time === 'day' || descriptor || descriptors !== undefined ? 'days' : 'months';
}

/** Sums by group: added up by descriptor in the database, folded by attribute here. */
export async function total(
  database: SqlDatabase,
  calendar: Calendar,
  query: TotalQuery,
  signal: AbortSignal,
): Promise<TotalPage> {
  const fold = new Fold(database, calendar, query);
  let batch: SumRow[] = [];
  for await (const row of visibleSums(database, calendar, query, sumKeys(query.groupby), signal)) {
    batch.push(row);
    if (batch.length < BATCH) continue;
    await fold.add(batch);
    batch = [];
  }
  await fold.add(batch);
  signal.throwIfAborted();
  const rows = fold.rows();
  const offset = query.offset ?? 0;
  return { total: rows.length, rows: rows.slice(offset, offset + (query.limit ?? rows.length)) };
}

function sumKeys(groupby: readonly GroupKey[]): SumKeys {
  const has = (kind: GroupKey['kind']) => groupby.some((key) => key.kind === kind);
  const descriptor = has('attribute');
  const finest = finestUnit(groupby);
  return {
    scope: has('scope'),
    // A descriptor knows its metric.
    metric: has('type') && !descriptor,
    descriptor,
    time: finest === undefined ? 'none' : finest === 'week' ? 'day' : finest,
  };
}

/** Weeks do not divide months, so together they need days. */
function finestUnit(groupby: readonly GroupKey[]): TimeUnit | undefined {
  const units = new Set(groupby.flatMap((key) => (key.kind === 'time' ? [key.unit] : [])));
  return TIME_UNITS.find((unit) => units.has(unit));
}

interface Slices {
  readonly texts: readonly string[];
  readonly finest: Period;
}

interface Group extends Period {
  readonly texts: readonly string[];
  quantity: Total['quantity'];
  price: Total['price'];
  points: number;
  end: number;
}

class Fold {
  readonly #calendar: Calendar;
  readonly #query: TotalQuery;
  readonly #descriptors: DescriptorReader;
  readonly #scopes: ScopeReader;
  readonly #usesDescriptors: boolean;
  readonly #usesScopes: boolean;
  readonly #finest: TimeUnit | undefined;
  readonly #slices = new Map<string, Slices>();
  readonly #attributes = new Map<number, readonly string[]>();
  readonly #groups = new Map<string, Group>();

  constructor(database: SqlDatabase, calendar: Calendar, query: TotalQuery) {
    this.#calendar = calendar;
    this.#query = query;
    this.#descriptors = new DescriptorReader(database);
    this.#scopes = new ScopeReader(database);
    this.#usesDescriptors = query.groupby.some((key) => key.kind === 'attribute');
    this.#usesScopes = query.groupby.some((key) => key.kind === 'scope');
    this.#finest = finestUnit(query.groupby);
  }

  async add(rows: readonly SumRow[]): Promise<void> {
    if (this.#usesScopes) await this.#scopes.load(rows.map((row) => row.scope));
    if (this.#usesDescriptors) {
      await this.#descriptors.load(
        rows.map((row) => row.descriptor).filter((id) => !this.#attributes.has(id)),
      );
    }
    for (const row of rows) this.#addRow(row);
  }

  rows(): readonly Total[] {
    const rows = [...this.#groups.values()].map(({ texts, ...sums }) => ({ ...sums, group: texts }));
    return rows.sort((left, right) => compareGroups(left.group, right.group));
  }

  #addRow(row: SumRow): void {
    const slices = this.#finest === undefined ? undefined : this.#timeSlices(row);
    const attributes = this.#usesDescriptors ? this.#attributeTexts(row.descriptor) : undefined;
    const texts = this.#query.groupby.map((key, place) => {
      if (key.kind === 'time') return slices!.texts[place]!;
      if (key.kind === 'scope') return this.#scopes.get(row.scope).scope.id;
      return attributes?.[place] ?? row.metric;
    });
    const { begin, end } = slices?.finest ?? this.#query;
    const key = JSON.stringify(texts);
    const group = this.#groups.get(key);
    if (group === undefined) {
      const { quantity, price, points } = row;
      this.#groups.set(key, { texts, begin, end, quantity, price, points });
      return;
    }
    group.end = Math.max(group.end, end);
    group.quantity = group.quantity.plus(row.quantity);
    group.price = group.price.plus(row.price);
    group.points += row.points;
  }

  /** By place in the group-by. */
  #attributeTexts(id: number): readonly string[] {
    let texts = this.#attributes.get(id);
    if (texts === undefined) {
      const descriptor = this.#descriptors.get(id);
      texts = this.#query.groupby.map((key) =>
        key.kind === 'attribute' ? describedText(descriptor, key.name) : descriptor.metric,
      );
      this.#attributes.set(id, texts);
    }
    return texts;
  }

  #timeSlices({ instant, end }: SumRow): Slices {
    const key = `${instant} ${end}`;
    let slices = this.#slices.get(key);
    if (slices === undefined) {
      const slice = (unit: TimeUnit) =>
        unit === 'period' ? { begin: instant, end } : this.#calendar.slice(instant, unit);
      const texts = this.#query.groupby.map((key) =>
        key.kind === 'time' ? instantText(slice(key.unit).begin) : '',
      );
      slices = { texts, finest: slice(this.#finest!) };
      this.#slices.set(key, slices);
    }
    return slices;
  }
}

/** `2026-01-01T00:00:00Z` */
function instantText(instant: number): string {
  return new Date(instant * 1000).toISOString().replace('.000Z', 'Z');
}

function compareGroups(left: readonly string[], right: readonly string[]): number {
  for (let place = 0; place < left.length; place++) {
    const order = compareText(left[place]!, right[place]!);
    if (order !== 0) return order;
  }
  return 0;
}
