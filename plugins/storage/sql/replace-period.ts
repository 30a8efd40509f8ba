import {
  type Calendar,
  DataError,
  eachInSlices,
  type Frame,
  type Gap,
  mapInSlices,
  type Period,
  type RatedPoint,
  type SqlRow,
  type SqlTransaction,
  type SqlValue,
} from '../../../core/plugin-api/index.js';
import { chunks } from '../../shared/sql-conditions.js';
import type { DescriptorWriter } from './descriptor-writer.js';
import { assertWritable } from './kept.js';
import { RollUpChanges, rollUpSlice } from './roll-ups.js';
import { lockScope } from './scopes.js';
import { decimalText, storedDecimal } from './stored-values.js';

export interface FrameToWrite {
  readonly frame: Frame<RatedPoint>;
  readonly snapshot: string;
}

/** A frame's points are written into its own rows again when it is replaced, so what did not change costs no write. */
export class FrameWriter {
  readonly #calendar: Calendar;
  readonly #descriptors: DescriptorWriter;

  constructor(calendar: Calendar, descriptors: DescriptorWriter) {
    this.#calendar = calendar;
    this.#descriptors = descriptors;
  }

  /** @throws DataError RATECAT_PERIOD_OVERLAP, RATECAT_PERIOD_THINNED, RATECAT_NUMBER_OVERFLOW, RATECAT_SCOPE_TOO_LONG */
  async replace(tx: SqlTransaction, { frame, snapshot }: FrameToWrite, signal: AbortSignal): Promise<void> {
    const scope = await lockScope(tx, frame.source, frame.scope);
    assertWritable(frame.period.begin, scope.keptFrom, { id: frame.scope.id, source: frame.source });
    const stored = await findFrame(tx, scope.row, frame);
    signal.throwIfAborted();
    const ids = await this.#descriptors.resolve(
      tx,
      scope,
      frame.points.map((point) => point.descriptor),
      signal,
    );
    signal.throwIfAborted();
    const points = await mapInSlices(
      frame.points,
      (point, ordinal) => toNewPoint(point, ids[ordinal]!),
      signal,
    );
    const facts = [frame.points.length, snapshot, gapsText(frame.gaps)] as const;
    const changes = new RollUpChanges();
    const content = { facts, points, changes };
    if (stored === undefined)
      await insertFrame(tx, { row: scope.row, period: frame.period }, content, signal);
    else await updateFrame(tx, stored, content, signal);
    signal.throwIfAborted();
    await changes.apply(tx, rollUpSlice(this.#calendar, scope.row, frame.period.begin), signal);
  }
}

type FrameFacts = readonly [points: number, snapshot: string, gaps: string | null];

interface FrameContent {
  readonly facts: FrameFacts;
  readonly points: readonly NewPoint[];
  /** What becomes different in the sums. */
  readonly changes: RollUpChanges;
}

/** A point as it will be stored; its texts are canonical, so equal texts are equal numbers. */
interface NewPoint {
  readonly descriptor: number;
  readonly metric: string;
  readonly quantity: RatedPoint['quantity'];
  readonly price: RatedPoint['price'];
  readonly points: 1;
}

function toNewPoint(point: RatedPoint, descriptor: number): NewPoint {
  return {
    descriptor,
    metric: point.descriptor.metric,
    quantity: point.quantity.toStored(),
    price: point.price.toStored(),
    points: 1,
  };
}

function gapsText(gaps: readonly Gap[]): string | null {
  return gaps.length === 0 ? null : JSON.stringify(gaps.map(({ metric, reason }) => ({ metric, reason })));
}

/** The row of the frame's unit. Frames never overlap, so only the one before can reach into the period. */
async function findFrame(
  tx: SqlTransaction,
  scope: number,
  frame: Frame<RatedPoint>,
): Promise<number | undefined> {
  const { begin, end } = frame.period;
  const rows = await tx.query(
    `SELECT id, period_begin, period_end FROM ratecat_sql_frames
     WHERE scope = ? AND period_begin < ? AND period_begin >= (
       SELECT COALESCE(MAX(period_begin), ?) FROM ratecat_sql_frames WHERE scope = ? AND period_begin <= ?)
     ORDER BY period_begin LIMIT 3`,
    [scope, end, begin, scope, begin],
  );
  const overlapping = rows.filter((row) => Number(row[2]) > begin);
  const other = overlapping.find((row) => row[1] !== begin || row[2] !== end);
  if (other !== undefined) throw overlap(frame, { begin: Number(other[1]), end: Number(other[2]) });
  return overlapping[0] === undefined ? undefined : Number(overlapping[0][0]);
}

function overlap(frame: Frame<RatedPoint>, stored: Period): DataError {
  const text = ({ begin, end }: Period) =>
    `${new Date(begin * 1000).toISOString()}/${new Date(end * 1000).toISOString()}`;
  return new DataError(
    'RATECAT_PERIOD_OVERLAP',
    `The period ${text(frame.period)} of scope '${frame.scope.id}' (source '${frame.source}') overlaps the stored period ` +
      `${text(stored)}, which has another length or offset; storing both would count usage twice. ` +
      'Delete the stored range first, or use the period length that it was rated with.',
  );
}

async function insertFrame(
  tx: SqlTransaction,
  { row, period }: { readonly row: number; readonly period: Period },
  { facts, points, changes }: FrameContent,
  signal: AbortSignal,
): Promise<void> {
  const { insertId } = await tx.execute(
    `INSERT INTO ratecat_sql_frames (scope, period_begin, period_end, points, snapshot, gaps)
     VALUES (?, ?, ?, ?, ?, ?)`,
    [row, period.begin, period.end, ...facts],
  );
  await eachInSlices(points, (point) => changes.add(point.descriptor, point.metric, point), signal);
  let ordinal = 0;
  for (const some of chunks(points, ROWS_AT_ONCE))
    await tx.insertRows({ ...POINTS, rows: some.map((point) => pointRow(insertId, ordinal++, point)) });
}

/** Rows that are made at once. */
const ROWS_AT_ONCE = 8_192;

const POINTS = {
  table: 'ratecat_sql_points',
  columns: ['frame', 'ordinal', 'descriptor', 'quantity', 'price'],
} as const;

function pointRow(frame: number, ordinal: number, { descriptor, quantity, price }: NewPoint): SqlRow {
  return [frame, ordinal, descriptor, quantity.toString(), price.toString()];
}

async function updateFrame(
  tx: SqlTransaction,
  frame: number,
  { facts, points, changes }: FrameContent,
  signal: AbortSignal,
): Promise<void> {
  const stored = await tx.query(
    `SELECT p.ordinal, p.descriptor, p.quantity, p.price, d.metric
     FROM ratecat_sql_points p JOIN ratecat_sql_descriptors d ON d.id = p.descriptor
     WHERE p.frame = ? ORDER BY p.ordinal`,
    [frame],
  );
  const isKept = new Set<number>();
  const compare = (row: SqlRow) => {
    const ordinal = Number(row[0]);
    const point = points[ordinal];
    if (point !== undefined && isSame(row, point)) isKept.add(ordinal);
    else {
      const sum = { quantity: storedDecimal(row[2]!), price: storedDecimal(row[3]!), points: 1 };
      changes.subtract(Number(row[1]), String(row[4]), sum);
    }
  };
  await eachInSlices(stored, compare, signal);
  const rows: SqlRow[] = [];
  const change = (point: NewPoint, ordinal: number) => {
    if (isKept.has(ordinal)) return;
    changes.add(point.descriptor, point.metric, point);
    rows.push(pointRow(frame, ordinal, point));
  };
  await eachInSlices(points, change, signal);
  await tx.execute('UPDATE ratecat_sql_frames SET points = ?, snapshot = ?, gaps = ? WHERE id = ?', [
    ...facts,
    frame,
  ]);
  if (stored.length > 0 && Number(stored.at(-1)![0]) >= points.length) {
    await tx.execute('DELETE FROM ratecat_sql_points WHERE frame = ? AND ordinal >= ?', [
      frame,
      points.length,
    ]);
  }
  await tx.insertRows({
    ...POINTS,
    rows,
    onConflict: { key: ['frame', 'ordinal'], replace: ['descriptor', 'quantity', 'price'] },
  });
}

function isSame(row: readonly SqlValue[], point: NewPoint): boolean {
  return (
    row[1] === point.descriptor &&
    decimalText(row[2]!) === point.quantity.toString() &&
    decimalText(row[3]!) === point.price.toString()
  );
}
