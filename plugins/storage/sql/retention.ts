import {
  type Calendar,
  type MetricLimits,
  type Period,
  type RetainOrder,
  type SqlDatabase,
  type SqlTransaction,
  type SqlValue,
  type StoredMonth,
} from '../../../core/plugin-api/index.js';
import { Conditions } from '../../shared/sql-conditions.js';
import { DescriptorSweeper } from './descriptor-sweeper.js';
import { EVERY_METRIC } from './kept.js';
import { daysOf, monthOf } from './range-plan.js';
import { findScope, lockScopeRows, ScopeReader } from './scopes.js';
import { digest } from './stored-values.js';

/** Rows that one transaction removes, about. */
const STEP_ROWS = 5_000;
const STEP_FRAMES = 1_000;
/** Bytes of a row of the points table, where the engine does not tell. */
const POINT_BYTES = 45;

/** Raises the limits of one scope. */
export async function retain(tx: SqlTransaction, { source, scope, limits }: RetainOrder): Promise<void> {
  const row = await findScope(tx, source, scope);
  if (row === undefined) return;
  // Whoever is writing a period of the scope finishes first; whoever comes later sees the limits.
  await lockScopeRows(tx, [row]);
  for (const limit of limits) await raise(tx, row, limit);
}

async function raise(tx: SqlTransaction, scope: number, limit: MetricLimits): Promise<void> {
  const { metric, points, dailySums, monthlySums, since } = limit;
  const hash = metric === undefined ? EVERY_METRIC : digest(metric);
  await tx.insertRows({
    table: 'ratecat_sql_kept',
    columns: [
      'scope',
      'metric_hash',
      'metric',
      'points_from',
      'daily_from',
      'monthly_from',
      'points_done',
      'daily_done',
      'monthly_done',
      'pending',
    ],
    rows: [[scope, hash, metric ?? '', 0, 0, 0, since, since, since, 0]],
    onConflict: { key: ['scope', 'metric_hash'] },
  });
  // Sums of a day are never kept longer than those of its month, nor points longer than these.
  const daily = Math.max(dailySums, monthlySums);
  for (const [column, from] of [
    ['points_from', Math.max(points, daily)],
    ['daily_from', daily],
    ['monthly_from', monthlySums],
  ] as const) {
    await tx.execute(
      `UPDATE ratecat_sql_kept SET ${column} = ?, pending = 1 WHERE scope = ? AND metric_hash = ? AND ${column} < ?`,
      [from, scope, hash, from],
    );
  }
}

/** Limits of which something may still have to be removed. */
interface Pending {
  readonly scope: number;
  readonly hash: SqlValue;
  readonly isEveryMetric: boolean;
  readonly pointsFrom: number;
  readonly dailyFrom: number;
  readonly monthlyFrom: number;
  readonly pointsDone: number;
  readonly dailyDone: number;
  readonly monthlyDone: number;
}

/**
 * Removes what lies before the limits, a month of a scope at a time. Each call continues where the tables say that the one
 * before stopped; two callers disturb each other as little as one that is killed.
 */
export class Thinner {
  readonly #database: SqlDatabase;
  readonly #calendar: Calendar;
  readonly #descriptors: DescriptorSweeper;

  constructor(database: SqlDatabase, calendar: Calendar) {
    this.#database = database;
    this.#calendar = calendar;
    this.#descriptors = new DescriptorSweeper(database, calendar);
  }

  /** Gives the number of rows removed or noted, 0 when there is nothing left to do. */
  async step(signal: AbortSignal): Promise<number> {
    for (;;) {
      signal.throwIfAborted();
      const next = await this.#next();
      if (next === undefined) return 0;
      const removed = await this.#remove(next, signal);
      if (removed > 0) return removed;
    }
  }

  async #next(): Promise<Pending | undefined> {
    const rows = await this.#database.query(
      `SELECT scope, metric_hash, metric, points_from, daily_from, monthly_from, points_done, daily_done, monthly_done
       FROM ratecat_sql_kept WHERE pending = 1 ORDER BY scope LIMIT 1`,
    );
    const [row] = rows;
    if (row === undefined) return undefined;
    return {
      scope: Number(row[0]),
      hash: row[1]!,
      isEveryMetric: row[2] === '',
      pointsFrom: Number(row[3]),
      dailyFrom: Number(row[4]),
      monthlyFrom: Number(row[5]),
      pointsDone: Number(row[6]),
      dailyDone: Number(row[7]),
      monthlyDone: Number(row[8]),
    };
  }

  async #remove(pending: Pending, signal: AbortSignal): Promise<number> {
    const { pointsFrom, dailyFrom, monthlyFrom } = pending;
    if (pending.pointsDone < pointsFrom) return this.#points(pending, signal);
    if (pending.dailyDone < dailyFrom) return this.#dailySums(pending, signal);
    if (pending.monthlyDone < monthlyFrom) return this.#monthlySums(pending, signal);
    const removed = (await this.#isLast(pending)) ? await this.#descriptors.step(pending.scope, signal) : 0;
    if (removed > 0) return removed;
    await this.#database.transaction(
      (tx) =>
        tx.execute(
          `UPDATE ratecat_sql_kept SET pending = 0 WHERE scope = ? AND metric_hash = ?
           AND points_done >= points_from AND daily_done >= daily_from AND monthly_done >= monthly_from`,
          [pending.scope, pending.hash],
        ),
      signal,
    );
    return 0;
  }

  /** Whether nothing else of the scope is pending. */
  async #isLast({ scope }: Pending): Promise<boolean> {
    const rows = await this.#database.query(
      'SELECT COUNT(*) FROM ratecat_sql_kept WHERE pending = 1 AND scope = ?',
      [scope],
    );
    return Number(rows[0]![0]) === 1;
  }

  /** The sums of descriptors go first: periods that are still there tell where to continue. */
  #points(pending: Pending, signal: AbortSignal): Promise<number> {
    const { scope, pointsFrom, pointsDone, isEveryMetric } = pending;
    return this.#database.transaction(async (tx) => {
      const first = await tx.query(
        'SELECT MIN(period_begin) FROM ratecat_sql_frames WHERE scope = ? AND period_begin >= ? AND period_begin < ?',
        [scope, isEveryMetric ? 0 : pointsDone, pointsFrom],
      );
      const at = first[0]![0];
      if (at === null || at === undefined) return this.#done(tx, pending, 'points', pointsFrom);
      const slice = this.#calendar.slice(Number(at), 'month');
      const month = { begin: Number(at), end: Math.min(slice.end, pointsFrom) };
      const number = this.#calendar.month(month.begin);
      const sums = await removeDescriptorSums(tx, scope, number, (where) => addMetric(where, pending));
      if (sums > 0) return sums;
      return isEveryMetric ? unlinkFrames(tx, scope, month) : this.#metricPoints(tx, pending, month);
    }, signal);
  }

  /** Points of one metric, out of as many periods as make a step. */
  async #metricPoints(tx: SqlTransaction, pending: Pending, month: Period): Promise<number> {
    const frames = await tx.query(
      `SELECT id, period_begin, points FROM ratecat_sql_frames WHERE scope = ? AND period_begin >= ? AND period_begin < ?
       ORDER BY period_begin LIMIT ${STEP_FRAMES}`,
      [pending.scope, month.begin, month.end],
    );
    const some: number[] = [];
    let looked = 0;
    let upTo = month.begin;
    for (const [id, begin, points] of frames) {
      if (some.length > 0 && looked + Number(points) > STEP_ROWS) break;
      some.push(Number(id));
      looked += Number(points);
      upTo = Number(begin) + 1;
    }
    const conditions = new Conditions().addIn('frame', some);
    const isLarge = looked > STEP_ROWS;
    addMetric(conditions, pending);
    if (isLarge) await limitOrdinals(tx, conditions);
    const removed = await tx.execute(
      `DELETE FROM ratecat_sql_points ${conditions.where}`,
      conditions.parameters,
    );
    const counted = new Conditions().addIn('id', some);
    await tx.execute(
      `UPDATE ratecat_sql_frames SET points =
         (SELECT COUNT(*) FROM ratecat_sql_points WHERE frame = ratecat_sql_frames.id) ${counted.where}`,
      counted.parameters,
    );
    if (isLarge && removed.affected > 0) return removed.affected;
    await this.#done(tx, pending, 'points', upTo);
    return removed.affected + 1;
  }

  #dailySums(pending: Pending, signal: AbortSignal): Promise<number> {
    const month = this.#calendar.slice(pending.dailyDone, 'month');
    return this.#database.transaction(async (tx) => {
      const days = daysOf(this.#calendar.month(month.begin));
      const conditions = new Conditions().addIn('day', days).add('scope = ?', pending.scope);
      if (!pending.isEveryMetric) conditions.add('metric_hash = ?', pending.hash);
      const sql = `DELETE FROM ratecat_sql_daily_metrics ${conditions.where}`;
      const { affected } = await tx.execute(sql, conditions.parameters);
      return affected + (await this.#done(tx, pending, 'daily', month.end));
    }, signal);
  }

  #monthlySums(pending: Pending, signal: AbortSignal): Promise<number> {
    const month = this.#calendar.slice(pending.monthlyDone, 'month');
    return this.#database.transaction(async (tx) => {
      const conditions = new Conditions()
        .add('month = ?', this.#calendar.month(month.begin))
        .add('scope = ?', pending.scope);
      if (!pending.isEveryMetric) conditions.add('metric_hash = ?', pending.hash);
      const sql = `DELETE FROM ratecat_sql_monthly ${conditions.where}`;
      const { affected } = await tx.execute(sql, conditions.parameters);
      return affected + (await this.#done(tx, pending, 'monthly', month.end));
    }, signal);
  }

  /** Notes that there is nothing left before an instant; counts as a row. */
  async #done(
    tx: SqlTransaction,
    { scope, hash }: Pending,
    level: 'points' | 'daily' | 'monthly',
    upTo: number,
  ): Promise<number> {
    const column = `${level}_done`;
    await tx.execute(
      `UPDATE ratecat_sql_kept SET ${column} = ? WHERE scope = ? AND metric_hash = ? AND ${column} < ?`,
      [upTo, scope, hash, upTo],
    );
    return 1;
  }
}

function addMetric(conditions: Conditions, { scope, hash, isEveryMetric }: Pending): void {
  if (isEveryMetric) return;
  conditions.add(
    'descriptor IN (SELECT id FROM ratecat_sql_descriptors WHERE scope = ? AND metric_hash = ?)',
    scope,
    hash,
  );
}

/** Some of the sums of descriptors of a month; `limit` adds conditions. */
export async function removeDescriptorSums(
  tx: SqlTransaction,
  scope: number,
  month: number,
  limit: (conditions: Conditions) => void = () => undefined,
): Promise<number> {
  const ofMonth = new Conditions().addIn('day', daysOf(month)).add('scope = ?', scope);
  limit(ofMonth);
  const days = await tx.query(
    `SELECT day, COUNT(*) FROM ratecat_sql_daily ${ofMonth.where} GROUP BY day ORDER BY day`,
    ofMonth.parameters,
  );
  let rows = 0;
  const some: number[] = [];
  for (const [day, count] of days) {
    if (some.length > 0 && rows + Number(count) > STEP_ROWS) break;
    some.push(Number(day));
    rows += Number(count);
  }
  if (some.length === 0) return 0;
  const conditions = new Conditions().addIn('day', some).add('scope = ?', scope);
  limit(conditions);
  if (rows > STEP_ROWS) await limitDescriptors(tx, conditions);
  const sql = `DELETE FROM ratecat_sql_daily ${conditions.where}`;
  return (await tx.execute(sql, conditions.parameters)).affected;
}

/** Of the rows of a day with more than a step takes, those with the lowest descriptors. */
async function limitDescriptors(tx: SqlTransaction, conditions: Conditions): Promise<void> {
  const bound = await tx.query(
    `SELECT descriptor FROM ratecat_sql_daily ${conditions.where} ORDER BY descriptor LIMIT 1 OFFSET ${STEP_ROWS}`,
    conditions.parameters,
  );
  if (bound[0] !== undefined) conditions.add('descriptor < ?', bound[0][0]!);
}

/** Of a frame with more points than a step takes, the first ones of the metric. */
async function limitOrdinals(tx: SqlTransaction, conditions: Conditions): Promise<void> {
  const bound = await tx.query(
    `SELECT ordinal FROM ratecat_sql_points ${conditions.where} ORDER BY ordinal LIMIT 1 OFFSET ${STEP_ROWS}`,
    conditions.parameters,
  );
  if (bound[0] !== undefined) conditions.add('ordinal < ?', bound[0][0]!);
}

/** Readers start from the frames, so the points vanish with them at once; `sweep` removes them. */
export async function unlinkFrames(
  tx: SqlTransaction,
  scope: number,
  { begin, end }: Period,
): Promise<number> {
  const frames = await tx.query(
    `SELECT id FROM ratecat_sql_frames WHERE scope = ? AND period_begin >= ? AND period_begin < ?
     ORDER BY period_begin LIMIT ${STEP_FRAMES}`,
    [scope, begin, end],
  );
  if (frames.length === 0) return 0;
  const conditions = new Conditions()
    .addIn(
      'id',
      frames.map(([id]) => Number(id)),
    )
    .add('scope = ?', scope);
  const sql = `UPDATE ratecat_sql_frames SET scope = -id ${conditions.where}`;
  return (await tx.execute(sql, conditions.parameters)).affected;
}

/** Every month of every scope and metric. */
export async function* storedMonths(
  database: SqlDatabase,
  calendar: Calendar,
  signal: AbortSignal,
): AsyncGenerator<StoredMonth, void, void> {
  const pointBytes = await bytesOfPoint(database);
  const scopes = new ScopeReader(database);
  const months = await database.query('SELECT DISTINCT month FROM ratecat_sql_monthly ORDER BY month');
  for (const [number] of months) {
    const rows = await database.query(
      'SELECT scope, metric, points FROM ratecat_sql_monthly WHERE month = ? ORDER BY scope, metric_hash',
      [number!],
    );
    signal.throwIfAborted();
    await scopes.load(rows.map(([scope]) => Number(scope)));
    const month = monthOf(Number(number), calendar);
    for (const [scope, metric, points] of rows) {
      const bytes = Math.round(Number(points) * pointBytes);
      const { source, scope: of } = scopes.get(Number(scope));
      yield { source, scope: of, metric: String(metric), month, points: Number(points), bytes };
    }
  }
}

async function bytesOfPoint(database: SqlDatabase): Promise<number> {
  if (database.dialect.engine !== 'mysql') return POINT_BYTES;
  const rows = await database.query(
    `SELECT DATA_LENGTH, TABLE_ROWS FROM information_schema.TABLES
     WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'ratecat_sql_points'`,
  );
  const [bytes, points] = rows[0] ?? [];
  return Number(points ?? 0) < STEP_ROWS ? 2 * POINT_BYTES : Number(bytes) / Number(points);
}
