import { type Calendar, compareText, Decimal, type Instant, type Storage } from '../plugin-api/index.js';
import type { Frontiers } from './import-states.js';
import type { RatedRange, RatedRows } from './rated-rows.js';

export interface VerificationParts {
  readonly rows: Pick<RatedRows, 'amounts'>;
  readonly storage: Storage;
  readonly calendar: Calendar;
  readonly source: string;
  readonly scopeKey: string;
  readonly frontiers: Frontiers;
  readonly range: RatedRange;
  readonly onPoints: (points: number) => void;
}

export interface Amounts {
  readonly points: number;
  readonly quantity: Decimal;
  readonly price: Decimal;
}

/**
 * - equal: to the last digit.
 * - noise: the storage adds up in floating point, and differs by no more than that explains.
 * - different: something is missing, or there twice, or changed.
 */
export type Verdict = 'equal' | 'noise' | 'different';

/** One scope, metric and month of the billing time zone. */
export interface VerifiedGroup {
  readonly scopeId: string;
  readonly metric: string;
  /** YYYYMM; 0 where the storage cannot tell months apart. */
  readonly month: number;
  readonly source: Amounts;
  readonly stored: Amounts;
  /** What CloudKitty's own sum has too much or too little: it adds prices up in floating point. */
  readonly floatNoise: Decimal;
  readonly verdict: Verdict;
}

interface SourceSum {
  points: number;
  quantity: Decimal;
  price: Decimal;
  float: number;
}

interface StoredRow extends Amounts {
  readonly key: string;
}

const NONE: Amounts = { points: 0, quantity: Decimal.ZERO, price: Decimal.ZERO };
const NO_SUM: SourceSum = { ...NONE, float: 0 };
const END_OF_TIME = 2 ** 52;
const SCOPES_PER_QUERY = 500;
const POINTS_PER_REPORT = 5_000;
/** Of sums of 64-bit floats; a cent in ten million. */
const NOISE_SHARE = Decimal.parse('1e-9');

/**
 * Reads every amount of the source once more and compares it with what the storage adds up, for each scope, metric and month.
 * Groups in order of month, scope and metric.
 */
export async function verify(
  parts: VerificationParts,
  signal: AbortSignal,
): Promise<readonly VerifiedGroup[]> {
  const source = await sourceSums(parts, signal);
  const stored = new Map<string, Amounts>();
  for (const { key, ...amounts } of await storedSums(parts, source, signal)) stored.set(key, amounts);
  const { exactSums } = parts.storage.capabilities;
  const keys = [...new Set([...source.keys(), ...stored.keys()])].sort(compareText);
  return keys.map((key) => group(key, source.get(key) ?? NO_SUM, stored.get(key) ?? NONE, exactSums));
}

function group(key: string, source: SourceSum, stored: Amounts, isExact: boolean): VerifiedGroup {
  const [month, scopeId, metric] = JSON.parse(key) as [number, string, string];
  const { float, ...amounts } = source;
  return {
    scopeId,
    metric,
    month,
    source: amounts,
    stored,
    floatNoise: Decimal.parse(String(float)).minus(amounts.price),
    verdict: verdict(amounts, stored, isExact),
  };
}

function verdict(source: Amounts, stored: Amounts, isExact: boolean): Verdict {
  if (source.points !== stored.points) return 'different';
  const pairs = [
    [source.quantity, stored.quantity],
    [source.price, stored.price],
  ] as const;
  if (pairs.every(([left, right]) => left.equals(right))) return 'equal';
  return !isExact && pairs.every(([left, right]) => isNoise(left, right)) ? 'noise' : 'different';
}

function isNoise(left: Decimal, right: Decimal): boolean {
  const difference = absolute(left.minus(right));
  return difference.compare(absolute(left).times(NOISE_SHARE)) <= 0;
}

function absolute(value: Decimal): Decimal {
  return value.coefficient < 0n ? value.negated() : value;
}

async function sourceSums(
  { rows, frontiers, range, onPoints, ...parts }: VerificationParts,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, SourceSum>> {
  const sums = new Map<string, SourceSum>();
  const monthOf = months(parts);
  let read = 0;
  for await (const { scopeId, begin, metric, quantity, price, float } of rows.amounts(range)) {
    if (++read % POINTS_PER_REPORT === 0) {
      onPoints(POINTS_PER_REPORT);
      signal.throwIfAborted();
    }
    if (begin >= (frontiers.get(scopeId) ?? END_OF_TIME)) continue;
    const key = keyOf(monthOf(begin), scopeId, metric);
    let sum = sums.get(key);
    if (sum === undefined) {
      sum = { ...NO_SUM };
      sums.set(key, sum);
    }
    sum.points++;
    sum.quantity = sum.quantity.plus(quantity);
    sum.price = sum.price.plus(price);
    sum.float += float;
  }
  onPoints(read % POINTS_PER_REPORT);
  return sums;
}

async function storedSums(
  parts: VerificationParts,
  source: ReadonlyMap<string, SourceSum>,
  signal: AbortSignal,
): Promise<readonly StoredRow[]> {
  const ids = new Set(parts.frontiers.keys());
  for (const key of source.keys()) ids.add((JSON.parse(key) as [number, string])[1]);
  const byEnd = new Map<Instant, string[]>();
  for (const id of ids) {
    const end = Math.min(parts.range.end ?? END_OF_TIME, parts.frontiers.get(id) ?? END_OF_TIME);
    const same = byEnd.get(end);
    if (same === undefined) byEnd.set(end, [id]);
    else same.push(id);
  }
  const rows: StoredRow[] = [];
  for (const [end, scopes] of byEnd)
    for (let start = 0; start < scopes.length; start += SCOPES_PER_QUERY)
      rows.push(...(await storedUpTo(parts, end, scopes.slice(start, start + SCOPES_PER_QUERY), signal)));
  return rows;
}

async function storedUpTo(
  { storage, source, scopeKey, range, calendar }: VerificationParts,
  end: Instant,
  ids: readonly string[],
  signal: AbortSignal,
): Promise<readonly StoredRow[]> {
  const hasMonths = canTellMonths(storage);
  const { rows } = await storage.total(
    {
      visible: ids.map((id) => ({ source, key: scopeKey, id })),
      begin: range.begin ?? 0,
      end,
      groupby: [
        { kind: 'scope' },
        { kind: 'type' },
        ...(hasMonths ? [{ kind: 'time', unit: 'month' } as const] : []),
      ],
    },
    signal,
  );
  return rows.map(({ group, points, quantity, price }) => {
    const [scopeId, metric, begin] = group;
    const month = hasMonths ? calendar.month(Date.parse(begin!) / 1000) : 0;
    return { key: keyOf(month, scopeId!, metric!), points, quantity, price };
  });
}

/** The month of an instant; neighbours share it, so it is rarely computed. */
function months({
  storage,
  calendar,
}: Pick<VerificationParts, 'storage' | 'calendar'>): (at: Instant) => number {
  if (!canTellMonths(storage)) return () => 0;
  const known = new Map<Instant, number>();
  return (at) => {
    let month = known.get(at);
    if (month === undefined) {
      month = calendar.month(at);
      known.set(at, month);
    }
    return month;
  };
}

function canTellMonths({ capabilities }: Storage): boolean {
  return capabilities.timeGroups.includes('month');
}

function keyOf(month: number, scopeId: string, metric: string): string {
  return JSON.stringify([month, scopeId, metric]);
}
