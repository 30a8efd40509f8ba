import {
  type Calendar,
  type Period,
  type PointQuery,
  type SqlReader,
  type SqlRow,
  type SqlTransaction,
} from '../../../core/plugin-api/index.js';
import { Conditions, chunks } from '../../shared/sql-conditions.js';
import { matchingDescriptors } from './descriptor-reader.js';
import { assertKept } from './kept.js';
import { planRange } from './range-plan.js';
import { MetricChanges, RollUpChanges, rollUpSlice } from './roll-ups.js';
import { lockScopeRows, visibleRows } from './scopes.js';
import { storedDecimal } from './stored-values.js';

const FRAMES_PER_DELETE = 64;

/** Removes frames, or of frames the matching points, and takes them out of the roll-ups. */
export class PeriodRemover {
  readonly #tx: SqlTransaction;
  readonly #calendar: Calendar;
  readonly #signal: AbortSignal;

  constructor(tx: SqlTransaction, calendar: Calendar, signal: AbortSignal) {
    this.#tx = tx;
    this.#calendar = calendar;
    this.#signal = signal;
  }

  /** @throws DataError RATECAT_POINTS_DROPPED: what lies there cannot be taken out of the sums any more. */
  async remove(query: PointQuery): Promise<void> {
    const scopes = await this.#scopes(query);
    await lockScopeRows(this.#tx, scopes);
    await this.#assertKept(query);
    for (const scope of scopes) {
      this.#signal.throwIfAborted();
      const descriptors = await matchingDescriptors(this.#tx, [scope], query, this.#signal);
      if (descriptors?.length !== 0) await this.#removeFrom(scope, query, descriptors);
    }
  }

  async #assertKept({ visible, begin, end, metrics }: PointQuery): Promise<void> {
    if (begin >= end) return;
    const scopes = await visibleRows(this.#tx, visible);
    const needs = { points: begin, dailySums: undefined, monthlySums: undefined };
    await assertKept(this.#tx, needs, { scopes, metrics });
  }

  async #scopes({ visible, begin, end }: PointQuery): Promise<readonly number[]> {
    const rows = await visibleRows(this.#tx, visible);
    if (rows !== 'all') return rows;
    const found = await this.#tx.query(
      'SELECT DISTINCT scope FROM ratecat_sql_frames WHERE period_begin >= ? AND period_begin < ? AND scope > 0',
      [begin, end],
    );
    return found.map((row) => Number(row[0]));
  }

  async #removeFrom(scope: number, query: Period, descriptors: readonly number[] | undefined): Promise<void> {
    const range = await this.#storedRange(scope, query);
    if (range === undefined) return;
    const plan = planRange(range, this.#calendar, 'days');
    for (const edge of plan.edges) await this.#subtractEdge(scope, edge, descriptors);
    for (const days of byMonth(plan.days)) await this.#dropDays(scope, days, descriptors);
    if (descriptors === undefined) await this.#unlinkFrames(scope, range);
    else await this.#removePoints(scope, range, descriptors);
  }

  /** Whole days stay whole, so that their sums can be dropped. */
  async #storedRange(scope: number, { begin, end }: Period): Promise<Period | undefined> {
    const rows = await this.#tx.query(
      `SELECT MIN(period_begin), MAX(period_begin) FROM ratecat_sql_frames
       WHERE scope = ? AND period_begin >= ? AND period_begin < ?`,
      [scope, begin, end],
    );
    const [first, last] = rows[0]!;
    if (first === null || first === undefined) return undefined;
    return {
      begin: Math.max(begin, this.#calendar.slice(Number(first), 'day').begin),
      end: Math.min(end, this.#calendar.slice(Number(last), 'day').end),
    };
  }

  /** Part of a day: exactly its points are taken out of the sums. */
  async #subtractEdge(
    scope: number,
    edge: Period,
    descriptors: readonly number[] | undefined,
  ): Promise<void> {
    const changes = new RollUpChanges();
    for (const some of someDescriptors(descriptors)) {
      const conditions = new Conditions().add(
        'f.scope = ? AND f.period_begin >= ? AND f.period_begin < ?',
        scope,
        edge.begin,
        edge.end,
      );
      if (some !== undefined) conditions.addIn('p.descriptor', some);
      const rows = await this.#tx.query(
        `SELECT p.descriptor, MIN(d.metric), COUNT(*), ${this.#sum('p.quantity')}, ${this.#sum('p.price')}
         FROM ratecat_sql_frames f JOIN ratecat_sql_points p ON p.frame = f.id
         JOIN ratecat_sql_descriptors d ON d.id = p.descriptor
         ${conditions.where} GROUP BY p.descriptor`,
        conditions.parameters,
      );
      for (const row of rows) changes.subtract(Number(row[0]), String(row[1]), toSum(row));
    }
    // An edge lies within one day.
    await changes.apply(this.#tx, rollUpSlice(this.#calendar, scope, edge.begin));
  }

  /** Whole days of one month. */
  async #dropDays(
    scope: number,
    days: readonly number[],
    descriptors: readonly number[] | undefined,
  ): Promise<void> {
    const changes = new MetricChanges();
    for (const some of someDescriptors(descriptors)) {
      const { where, parameters } = ofDays('r.', scope, days, some);
      const rows = await this.#tx.query(
        `SELECT r.day, MIN(d.metric), SUM(r.points), ${this.#sum('r.quantity')}, ${this.#sum('r.price')}
         FROM ratecat_sql_daily r JOIN ratecat_sql_descriptors d ON d.id = r.descriptor
         ${where} GROUP BY r.day, d.metric_hash`,
        parameters,
      );
      for (const row of rows) changes.subtract(Number(row[0]), String(row[1]), toSum(row));
      await this.#tx.execute(
        `DELETE FROM ratecat_sql_daily ${ofDays('', scope, days, some).where}`,
        parameters,
      );
    }
    await changes.apply(this.#tx, scope);
  }

  /** Readers start from the frames, so the points vanish with them at once. */
  async #unlinkFrames(scope: number, { begin, end }: Period): Promise<void> {
    await this.#tx.execute(
      'UPDATE ratecat_sql_frames SET scope = -id WHERE scope = ? AND period_begin >= ? AND period_begin < ?',
      [scope, begin, end],
    );
  }

  async #removePoints(scope: number, { begin, end }: Period, descriptors: readonly number[]): Promise<void> {
    const frames = await this.#tx.query(
      'SELECT id FROM ratecat_sql_frames WHERE scope = ? AND period_begin >= ? AND period_begin < ? ORDER BY id',
      [scope, begin, end],
    );
    for (const some of chunks(
      frames.map((row) => Number(row[0])),
      FRAMES_PER_DELETE,
    )) {
      this.#signal.throwIfAborted();
      for (const ids of chunks(descriptors)) {
        const conditions = new Conditions().addIn('frame', some).addIn('descriptor', ids);
        await this.#tx.execute(`DELETE FROM ratecat_sql_points ${conditions.where}`, conditions.parameters);
      }
      const conditions = new Conditions().addIn('id', some);
      await this.#tx.execute(
        `UPDATE ratecat_sql_frames SET points =
           (SELECT COUNT(*) FROM ratecat_sql_points WHERE frame = ratecat_sql_frames.id) ${conditions.where}`,
        conditions.parameters,
      );
    }
  }

  #sum(expression: string): string {
    return this.#tx.dialect.sum(expression);
  }
}

function toSum(row: SqlRow) {
  return { points: Number(row[2]), quantity: storedDecimal(row[3]!), price: storedDecimal(row[4]!) };
}

function ofDays(
  prefix: string,
  scope: number,
  days: readonly number[],
  descriptors: readonly number[] | undefined,
): Conditions {
  const conditions = new Conditions().addIn(`${prefix}day`, days).add(`${prefix}scope = ?`, scope);
  return descriptors === undefined ? conditions : conditions.addIn(`${prefix}descriptor`, descriptors);
}

/** One pass without a condition, or a pass for every chunk. */
function* someDescriptors(
  descriptors: readonly number[] | undefined,
): Generator<readonly number[] | undefined> {
  if (descriptors === undefined) yield undefined;
  else yield* chunks(descriptors);
}

function byMonth(days: readonly number[]): Iterable<readonly number[]> {
  const months = new Map<number, number[]>();
  for (const day of days) {
    const month = Math.floor(day / 100);
    const others = months.get(month);
    if (others === undefined) months.set(month, [day]);
    else others.push(day);
  }
  return months.values();
}

/** Points that one step removes. */
const SWEEP_POINTS = 5_000;
const SWEEP_FRAMES = 100;

/** Removes some of what deleted frames left behind; gives the number of rows removed. */
export async function sweepStep(tx: SqlTransaction): Promise<number> {
  const frames = await tx.query(
    `SELECT id, points FROM ratecat_sql_frames WHERE scope < 0 ORDER BY scope LIMIT ${SWEEP_FRAMES}`,
  );
  let removed = 0;
  for (const [frame, points] of frames) {
    removed += await removeFrame(tx, Number(frame), Number(points) > SWEEP_POINTS);
    if (removed >= SWEEP_POINTS) break;
  }
  return removed;
}

async function removeFrame(tx: SqlTransaction, frame: number, isLarge: boolean): Promise<number> {
  const bound = isLarge ? await sweepBound(tx, frame) : undefined;
  if (bound !== undefined) {
    const sql = 'DELETE FROM ratecat_sql_points WHERE frame = ? AND ordinal < ?';
    return (await tx.execute(sql, [frame, bound])).affected;
  }
  const points = await tx.execute('DELETE FROM ratecat_sql_points WHERE frame = ?', [frame]);
  const frames = await tx.execute('DELETE FROM ratecat_sql_frames WHERE id = ?', [frame]);
  return points.affected + frames.affected;
}

async function sweepBound(reader: SqlReader, frame: number): Promise<number | undefined> {
  const rows = await reader.query(
    `SELECT ordinal FROM ratecat_sql_points WHERE frame = ? ORDER BY ordinal LIMIT 1 OFFSET ${SWEEP_POINTS}`,
    [frame],
  );
  return rows[0] === undefined ? undefined : Number(rows[0][0]);
}
