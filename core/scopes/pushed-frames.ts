import { createHash } from 'node:crypto';
import { AsyncMutex } from '../database/async-mutex.js';
import {
  type Clock,
  compareText,
  type Frame,
  type Instant,
  type Period,
  type RatedPoint,
  type Scope,
  type SqlDatabase,
  type SqlTransaction,
  type Storage,
  UnavailableError,
} from '../plugin-api/index.js';
import { claimKey, forgetOldKeys, type IdempotentCall, wasMade } from './idempotency-keys.js';

/** The source of frames that were pushed from outside: no pipeline replaces them. */
export const PUSHED_SOURCE = 'api';
/** Counters that the scopes share; a scope whose counter another one raises looks again in vain. */
const COUNTERS = 64;
const MAX_ATTEMPTS = 60;
const FIRST_PAUSE_MS = 2;
const LONGEST_PAUSE_MS = 250;
const SECONDS_BETWEEN_CLEANINGS = 3600;

/** Points of one scope and period, rated by somebody else. */
export interface PushedFrame {
  readonly scope: Scope;
  readonly period: Period;
  readonly points: readonly RatedPoint[];
}

export interface PushOrder {
  readonly frames: readonly PushedFrame[];
  /** Absent: a repeated call is stored again. */
  readonly call?: IdempotentCall | undefined;
}

interface Counter {
  readonly name: string;
  readonly value: number;
}

/**
 * Adds points from outside to what was pushed before. A storage replaces periods, so that a push reads the stored period,
 * appends, and replaces it. Each scope has a counter: the transaction begins by raising it from the value that was read
 * before the period was (compare and set, by primary key), and fails when anybody was faster. Two pushes to one period are
 * both kept, whatever processes they run in.
 */
export class PushedFrames {
  readonly #database: SqlDatabase;
  readonly #storage: Storage;
  readonly #clock: Clock;
  /** Pushes of this process take turns: they would only overtake each other. */
  readonly #turns = new AsyncMutex();
  #cleanedAt: Instant = 0;

  constructor(database: SqlDatabase, storage: Storage, clock: Clock) {
    this.#database = database;
    this.#storage = storage;
    this.#clock = clock;
  }

  /**
   * Stores all frames or none.
   * @throws DataError RATECAT_IDEMPOTENCY_CONFLICT, and what the storage says of frames that it cannot keep.
   * @throws UnavailableError RATECAT_PUSH_OVERTAKEN when other processes never let this one through.
   */
  async push({ frames, call }: PushOrder, signal: AbortSignal): Promise<'stored' | 'repeated'> {
    const units = mergeUnits(frames);
    return this.#turns.run(async () => {
      if (call !== undefined) {
        await this.#forgetOldKeys();
        if (await wasMade(this.#database, call)) return 'repeated';
      }
      for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
        const outcome = await this.#attempt(units, call, signal);
        if (outcome !== 'overtaken') return outcome;
        await this.#clock.sleep(pauseMs(attempt), signal);
      }
      throw new UnavailableError(
        'RATECAT_PUSH_OVERTAKEN',
        'Other processes keep pushing to the same scopes; nothing was stored. Send the request again.',
      );
    }, signal);
  }

  async #attempt(
    units: readonly PushedFrame[],
    call: IdempotentCall | undefined,
    signal: AbortSignal,
  ): Promise<'stored' | 'repeated' | 'overtaken'> {
    const counters = await this.#counters(units);
    const frames: Frame<RatedPoint>[] = [];
    for (const unit of units) frames.push(await this.#appended(unit, signal));
    return this.#database.transaction(async (tx) => {
      if (!(await raised(tx, counters))) return 'overtaken';
      const now = Math.floor(this.#clock.now() / 1000);
      if (call !== undefined && (await claimKey(tx, call, now)) === 'repeated') return 'repeated';
      const joins = this.#storage.capabilities.joinsCoreTransaction;
      const generation = (counters[0]?.value ?? 0) + 1;
      const write = { ...(joins ? { tx } : {}), fence: 0, generation, snapshot: '' };
      for (const frame of frames) await this.#storage.replacePeriod(frame, write, signal);
      return 'stored';
    }, signal);
  }

  /** The counters of the units, in the order in which every push raises them. */
  async #counters(units: readonly PushedFrame[]): Promise<readonly Counter[]> {
    const names = [...new Set(units.map(({ scope }) => counterName(scope)))].sort(compareText);
    const stored = await this.#storedCounters(names);
    if (stored.length === names.length) return stored;
    await this.#database.transaction((tx) => tx.insertRows(counterRows(names, 0)));
    return this.#storedCounters(names);
  }

  async #storedCounters(names: readonly string[]): Promise<readonly Counter[]> {
    if (names.length === 0) return [];
    const rows = await this.#database.query(
      `SELECT name, value FROM ratecat_revisions WHERE name IN (${names.map(() => '?').join(', ')}) ORDER BY name`,
      names,
    );
    return rows.map(([name, value]) => ({ name: String(name), value: Number(value) }));
  }

  /** What the period will hold: the points that are stored, then the new ones, by metric. */
  async #appended({ scope, period, points }: PushedFrame, signal: AbortSignal): Promise<Frame<RatedPoint>> {
    const visible = [{ source: PUSHED_SOURCE, key: scope.key, id: scope.id }];
    const all: RatedPoint[] = [];
    const query = { visible, begin: period.begin, end: period.begin + 1 };
    for await (const frame of this.#storage.readPeriods(query, signal)) all.push(...frame.points);
    all.push(...points);
    all.sort((left, right) => compareText(left.descriptor.metric, right.descriptor.metric));
    return { source: PUSHED_SOURCE, scope, period, points: all, gaps: [] };
  }

  async #forgetOldKeys(): Promise<void> {
    const now = Math.floor(this.#clock.now() / 1000);
    if (now - this.#cleanedAt < SECONDS_BETWEEN_CLEANINGS) return;
    this.#cleanedAt = now;
    await forgetOldKeys(this.#database, now);
  }
}

/**
 * Tells pushers that what they have read of the scope no longer counts; part of a transaction that deletes pushed frames.
 */
export async function supersedePushes(tx: SqlTransaction, scope: Scope): Promise<void> {
  await tx.insertRows({
    ...counterRows([counterName(scope)], 1),
    onConflict: { key: ['name'], addInteger: ['value'] },
  });
}

function counterRows(names: readonly string[], value: number) {
  return {
    table: 'ratecat_revisions',
    columns: ['name', 'value'],
    rows: names.map((name) => [name, value]),
    onConflict: { key: ['name'] },
  };
}

function counterName({ key, id }: Scope): string {
  const hash = createHash('sha256')
    .update(JSON.stringify([key, id]))
    .digest();
  return `pushed-${String(hash[0]! % COUNTERS).padStart(2, '0')}`;
}

async function raised(tx: SqlTransaction, counters: readonly Counter[]): Promise<boolean> {
  for (const { name, value } of counters) {
    const { affected } = await tx.execute(
      'UPDATE ratecat_revisions SET value = value + 1 WHERE name = ? AND value = ?',
      [name, value],
    );
    if (affected !== 1) return false;
  }
  return true;
}

/** One unit for each scope and period, in a fixed order; what has no points is nothing. */
function mergeUnits(frames: readonly PushedFrame[]): readonly PushedFrame[] {
  const units = new Map<string, PushedFrame & { readonly points: RatedPoint[] }>();
  for (const { scope, period, points } of frames) {
    if (points.length === 0) continue;
    const key = JSON.stringify([scope.key, scope.id, period.begin, period.end]);
    const unit = units.get(key);
    if (unit === undefined) units.set(key, { scope, period, points: [...points] });
    else for (const point of points) unit.points.push(point);
  }
  return [...units].sort(([left], [right]) => compareText(left, right)).map(([, unit]) => unit);
}

/** Random, so that rivals spread out. */
function pauseMs(attempt: number): number {
  return Math.random() * Math.min(FIRST_PAUSE_MS * 2 ** attempt, LONGEST_PAUSE_MS);
}
