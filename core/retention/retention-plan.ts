import type { RetentionPolicy } from '../config/config.js';
import {
  type Calendar,
  ConfigError,
  compareText,
  type Instant,
  type KeptFrom,
  type KeptLimits,
  type MetricLimits,
  type RetainOrder,
  type Scope,
  type Storage,
} from '../plugin-api/index.js';
import { policyOf } from './policies.js';

/** A storage that can drop points and keep their sums. */
export type RetainingStorage = Storage &
  Required<Pick<Storage, 'keptFrom' | 'storedMonths' | 'retain' | 'thin'>>;

/** @throws ConfigError RATECAT_RETENTION_UNSUPPORTED */
export function retaining(storage: Storage): RetainingStorage {
  const { keptFrom, storedMonths, retain, thin } = storage;
  if (keptFrom !== undefined && storedMonths !== undefined && retain !== undefined && thin !== undefined)
    return storage as RetainingStorage;
  throw new ConfigError(
    'RATECAT_RETENTION_UNSUPPORTED',
    "The configured storage cannot drop points and keep their sums. Remove the section 'retention', or use the storage 'sql'.",
  );
}

/** What retention would do to one metric of a scope. */
export interface PlannedMetric {
  readonly source: string;
  readonly scope: Scope;
  readonly metric: string;
  /** As it is now, and as it would be. */
  readonly before: KeptLimits;
  readonly after: KeptLimits;
  /** Points that would be dropped, and about what they take. */
  readonly points: number;
  readonly bytes: number;
}

export interface RetentionPlan {
  /** The instant that the durations of the policies are counted back from. */
  readonly reference: Instant;
  readonly metrics: readonly PlannedMetric[];
  readonly orders: readonly RetainOrder[];
}

export interface PlanParts {
  readonly storage: Storage;
  readonly calendar: Calendar;
  readonly policies: readonly RetentionPolicy[];
  readonly now: Instant;
  /** Points from here on may still be written: undefined for scopes of which nothing is known. */
  readonly writtenFrom: (source: string, scope: Scope) => Instant | undefined;
}

/** Months of one metric, as columns: there are many. */
interface MetricMonths {
  readonly begins: number[];
  readonly ends: number[];
  readonly points: number[];
  readonly bytes: number[];
}

interface ScopeMonths {
  readonly source: string;
  readonly scope: Scope;
  readonly metrics: Map<string, MetricMonths>;
}

const NOTHING_DROPPED: KeptLimits = { points: 0, dailySums: 0, monthlySums: 0 };

/**
 * What the policies ask for and is not done yet. Limits are begins of months, so that nothing is dropped before it is as old
 * as its policy says. Durations are counted from now, but never from after the newest month with points: a clock that is wrong
 * deletes nothing. Nothing is dropped that may still be written: what is not rated yet, or waits to be rated again.
 * @throws ConfigError RATECAT_RETENTION_UNSUPPORTED
 */
export async function planRetention(parts: PlanParts, signal: AbortSignal): Promise<RetentionPlan> {
  const { now, calendar, policies } = parts;
  const storage = retaining(parts.storage);
  if (policies.length === 0) return { reference: now, metrics: [], orders: [] };
  const { scopes, newest } = await readMonths(storage, signal);
  const reference = Math.min(now, newest);
  const back = monthsBack(calendar, reference);
  const kept = new KeptByScope(await storage.keptFrom('all', signal));
  const metrics: PlannedMetric[] = [];
  const orders: RetainOrder[] = [];
  for (const months of scopes) {
    const { source, scope } = months;
    const written = parts.writtenFrom(source, scope);
    const ceiling = written === undefined ? reference : calendar.slice(written, 'month').begin;
    const wanted = new Map<string, KeptLimits>();
    for (const metric of [...months.metrics.keys()].sort(compareText)) {
      const policy = policyOf(policies, scope.id, metric);
      const before = kept.of(source, scope, metric);
      wanted.set(metric, policy === undefined ? before : raised(before, policy, back, ceiling));
    }
    const planned = [...wanted].map(([metric, after]) => describe(months, metric, kept, after));
    metrics.push(...planned.filter(({ before, after }) => isHigher(after, before)));
    const limits = limitsOf(months, wanted, kept);
    if (limits.length > 0) orders.push({ source, scope, limits });
  }
  return { reference, metrics, orders };
}

async function readMonths(storage: RetainingStorage, signal: AbortSignal) {
  const scopes = new Map<string, ScopeMonths>();
  let newest = 0;
  for await (const { source, scope, metric, month, points, bytes } of storage.storedMonths(signal)) {
    const key = scopeKey(source, scope);
    let months = scopes.get(key);
    if (months === undefined) {
      months = { source, scope, metrics: new Map() };
      scopes.set(key, months);
    }
    let columns = months.metrics.get(metric);
    if (columns === undefined) {
      columns = { begins: [], ends: [], points: [], bytes: [] };
      months.metrics.set(metric, columns);
    }
    columns.begins.push(month.begin);
    columns.ends.push(month.end);
    columns.points.push(points);
    columns.bytes.push(bytes);
    newest = Math.max(newest, month.end);
  }
  return { scopes: [...scopes.values()].sort(compareScopes), newest };
}

/** A plan lists scopes by name: which of them was rated first is an accident. */
function compareScopes(left: ScopeMonths, right: ScopeMonths): number {
  return (
    compareText(left.source, right.source) ||
    compareText(left.scope.id, right.scope.id) ||
    compareText(left.scope.key, right.scope.key)
  );
}

function scopeKey(source: string, { key, id }: Scope): string {
  return JSON.stringify([source, key, id]);
}

/** Begin of the month that lies so many months before the one of `reference`; 0 for ever. */
function monthsBack(calendar: Calendar, reference: Instant): (months: number) => Instant {
  const begins = [calendar.slice(reference, 'month').begin];
  return (months) => {
    if (!Number.isFinite(months)) return 0;
    while (begins.length <= months) begins.push(calendar.slice(begins.at(-1)! - 1, 'month').begin);
    return Math.max(0, begins[months]!);
  };
}

function raised(
  before: KeptLimits,
  { points, dailySums, monthlySums }: RetentionPolicy,
  back: (months: number) => Instant,
  ceiling: Instant,
): KeptLimits {
  const limit = (months: number, from: Instant) => Math.max(from, Math.min(back(months), ceiling));
  return {
    points: limit(points, before.points),
    dailySums: limit(dailySums, before.dailySums),
    monthlySums: limit(monthlySums, before.monthlySums),
  };
}

class KeptByScope {
  readonly #kept = new Map<string, KeptLimits>();

  constructor(kept: readonly KeptFrom[]) {
    for (const { source, scope, metric, ...limits } of kept)
      this.#kept.set(metricKey(source, scope, metric), limits);
  }

  /** What counts for a metric; for undefined, for everything of the scope. */
  of(source: string, scope: Scope, metric: string | undefined): KeptLimits {
    const all = this.#kept.get(metricKey(source, scope, undefined)) ?? NOTHING_DROPPED;
    const own = metric === undefined ? undefined : this.#kept.get(metricKey(source, scope, metric));
    return own === undefined ? all : combined(all, own, Math.max);
  }
}

function metricKey(source: string, { key, id }: Scope, metric: string | undefined): string {
  return JSON.stringify([source, key, id, metric ?? null]);
}

function combined(
  left: KeptLimits,
  right: KeptLimits,
  pick: (left: number, right: number) => number,
): KeptLimits {
  return {
    points: pick(left.points, right.points),
    dailySums: pick(left.dailySums, right.dailySums),
    monthlySums: pick(left.monthlySums, right.monthlySums),
  };
}

function isHigher(after: KeptLimits, before: KeptLimits): boolean {
  return (
    after.points > before.points ||
    after.dailySums > before.dailySums ||
    after.monthlySums > before.monthlySums
  );
}

/** What all metrics have in common is one limit of the scope: whole periods are dropped faster than parts of them. */
function limitsOf(
  { source, scope, metrics }: ScopeMonths,
  wanted: ReadonlyMap<string, KeptLimits>,
  kept: KeptByScope,
): readonly MetricLimits[] {
  const limits: MetricLimits[] = [];
  const common = [...wanted.values()].reduce((left, right) => combined(left, right, Math.min));
  const first = (metric: string) => metrics.get(metric)!.begins[0]!;
  if (isHigher(common, kept.of(source, scope, undefined)) && isUseful(common, metrics))
    limits.push({ metric: undefined, ...common, since: Math.min(...[...metrics.keys()].map(first)) });
  for (const [metric, after] of wanted) {
    if (!isHigher(after, common) || !isHigher(after, kept.of(source, scope, metric))) continue;
    if (isUseful(after, new Map([[metric, metrics.get(metric)!]])))
      limits.push({ metric, ...after, since: first(metric) });
  }
  return limits;
}

/** Whether anything lies before the limits: others would only refuse questions that can be answered. */
function isUseful({ points }: KeptLimits, metrics: ReadonlyMap<string, MetricMonths>): boolean {
  return [...metrics.values()].some(({ begins }) => begins[0]! < points);
}

function describe(
  { source, scope, metrics }: ScopeMonths,
  metric: string,
  kept: KeptByScope,
  after: KeptLimits,
): PlannedMetric {
  const before = kept.of(source, scope, metric);
  const columns = metrics.get(metric)!;
  let points = 0;
  let bytes = 0;
  for (const [index, begin] of columns.begins.entries()) {
    if (begin < before.points || columns.ends[index]! > after.points) continue;
    points += columns.points[index]!;
    bytes += columns.bytes[index]!;
  }
  return { source, scope, metric, before, after, points, bytes };
}
