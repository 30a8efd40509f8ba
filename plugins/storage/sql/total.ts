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
import { ConstantAttributes, type ConstantTexts } from './constant-attributes.js';
import { DescriptorReader, describedText, matchingDescriptors } from './descriptor-reader.js';
import { assertKept, type Needs } from './kept.js';
import { clampRange, instantOfDay, planRange, type RangePlan } from './range-plan.js';
import { ScopeReader, visibleRows } from './scopes.js';
import { type SumKeys, SumReader, type SumRow, type SumSelection } from './sums.js';

export const TIME_UNITS: readonly TimeUnit[] = ['period', 'day', 'week', 'month', 'year'];

/** Sums whose descriptors and scopes are looked up together. */
const BATCH = 2_000;
/** While scopes learn of new resources, their constants are looked up again so often; sums of descriptors may be gone. */
const MAX_ATTEMPTS = 3;

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
  const stored = await sums.extent();
  const selection = stored && (await select(database, query, signal));
  if (stored === undefined || selection === undefined) return;
  const range = clampRange(query, calendar, stored);
  const plan = planRange(range, calendar, level(selection, keys));
  const needs = needsOf(query, range, plan, keys.descriptor || selection.descriptors !== undefined, calendar);
  const asked = { scopes: selection.scopes, metrics: query.metrics };
  if (stored.keptFrom > query.begin) await assertKept(database, needs, asked);
  // No descriptor matches: there is nothing to read, unless what matched was dropped.
  if (selection.descriptors?.length !== 0) yield* sums.read(plan, selection, keys, signal);
  await assertKept(database, needs, asked);
}

/** What the plan is read from. Sums of descriptors are dropped with the points; a range that is cut off lacks what was dropped. */
function needsOf(
  { begin, end }: Period,
  range: Period,
  plan: RangePlan,
  needsDescriptors: boolean,
  calendar: Calendar,
): Needs {
  const readsPoints = needsDescriptors ? [range] : plan.edges;
  const [day] = plan.days;
  return {
    points: range.begin < range.end ? readsPoints[0]?.begin : undefined,
    dailySums: day === undefined ? undefined : calendar.slice(instantOfDay(day, calendar), 'day').begin,
    monthlySums: begin < end ? begin : undefined,
  };
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
  return { scopes, descriptors: await matchingDescriptors(database, scopes, { metrics, filters }, signal) };
}

function level({ descriptors }: SumSelection, { time, descriptor }: SumKeys): 'points' | 'days' | 'months' {
  if (time === 'period') return 'points';
  return time === 'day' || descriptor || descriptors !== undefined ? 'days' : 'months';
}

/** Sums by group: added up by metric or descriptor in the database, folded by attribute here. */
export class TotalReader {
  readonly #database: SqlDatabase;
  readonly #calendar: Calendar;
  readonly #constants: ConstantAttributes;

  constructor(database: SqlDatabase, calendar: Calendar) {
    this.#database = database;
    this.#calendar = calendar;
    this.#constants = new ConstantAttributes(database);
  }

  async read(query: TotalQuery, signal: AbortSignal): Promise<TotalPage> {
    const groups = (await this.#byMetric(query, signal)) ?? (await this.#fold(query, signal));
    const rows = groups.rows();
    const offset = query.offset ?? 0;
    return { total: rows.length, rows: rows.slice(offset, offset + (query.limit ?? rows.length)) };
  }

  /** From the sums of metrics, which are far fewer; undefined where they do not tell the groups apart. */
  async #byMetric(query: TotalQuery, signal: AbortSignal): Promise<Fold | undefined> {
    const names = attributeNames(query.groupby);
    const isFine = finestUnit(query.groupby) === 'period' || (query.filters ?? []).length > 0;
    if (names.length === 0 || isFine) return undefined;
    const scopes = await visibleRows(this.#database, query.visible);
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const constants = await this.#constants.find(scopes, query.metrics, names, signal);
      if (constants === undefined) return undefined;
      const groups = await this.#fold(query, signal, constants);
      if (await constants.isStillTrue()) return groups;
    }
    return undefined;
  }

  async #fold(query: TotalQuery, signal: AbortSignal, constants?: ConstantTexts): Promise<Fold> {
    const fold = new Fold(this.#database, this.#calendar, query, constants);
    const keys = sumKeys(query.groupby, constants !== undefined);
    let batch: SumRow[] = [];
    for await (const row of visibleSums(this.#database, this.#calendar, query, keys, signal)) {
      batch.push(row);
      if (batch.length < BATCH) continue;
      await fold.add(batch);
      batch = [];
    }
    await fold.add(batch);
    signal.throwIfAborted();
    return fold;
  }
}

function sumKeys(groupby: readonly GroupKey[], hasConstants: boolean): SumKeys {
  const has = (kind: GroupKey['kind']) => groupby.some((key) => key.kind === kind);
  const descriptor = has('attribute') && !hasConstants;
  const finest = finestUnit(groupby);
  return {
    scope: has('scope') || hasConstants,
    // A descriptor knows its metric.
    metric: hasConstants || (has('type') && !descriptor),
    descriptor,
    time: finest === undefined ? 'none' : finest === 'week' ? 'day' : finest,
  };
}

function attributeNames(groupby: readonly GroupKey[]): readonly string[] {
  return groupby.flatMap((key) => (key.kind === 'attribute' ? [key.name] : []));
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
  readonly #constants: ConstantTexts | undefined;
  readonly #usesDescriptors: boolean;
  readonly #usesScopes: boolean;
  readonly #finest: TimeUnit | undefined;
  readonly #slices = new Map<string, Slices>();
  readonly #attributes = new Map<number, readonly string[]>();
  readonly #groups = new Map<string, Group>();

  constructor(database: SqlDatabase, calendar: Calendar, query: TotalQuery, constants?: ConstantTexts) {
    this.#calendar = calendar;
    this.#query = query;
    this.#descriptors = new DescriptorReader(database);
    this.#scopes = new ScopeReader(database);
    this.#constants = constants;
    this.#usesDescriptors = constants === undefined && attributeNames(query.groupby).length > 0;
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
    const attributes = this.#usesDescriptors
      ? this.#attributeTexts(row.descriptor)
      : this.#constantTexts(row);
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
  #constantTexts({ scope, metric }: SumRow): readonly string[] | undefined {
    if (this.#constants === undefined) return undefined;
    const texts = this.#constants.get(scope, metric);
    let next = 0;
    return this.#query.groupby.map((key) => (key.kind === 'attribute' ? (texts?.[next++] ?? '') : metric));
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
