import { randomUUID } from 'node:crypto';
import type {
  Calendar,
  Clock,
  Frame,
  RatedPoint,
  SqlDatabase,
  SqlReader,
  WriteContext,
} from '../../../core/plugin-api/index.js';
import {
  type Committed,
  committedOf,
  isoTime,
  refuseOverflow,
  refuseOverlap,
} from '../../shared/outside-storage/committed.js';
import { overtaken } from './failures.js';
import { addBegun, addUseless, takeBegun } from './leftover-table.js';
import { markersAround, periodConditions, storeMarker, validVersion, type Written } from './period-table.js';
import type { PointLog } from './point-log.js';
import { assertFits, lockScope } from './scope-table.js';

export interface PeriodWriterParts {
  readonly database: SqlDatabase;
  readonly points: PointLog;
  readonly calendar: Calendar;
  readonly clock: Clock;
}

/**
 * Stores periods so that readers see the old version whole until they see the new one whole.
 *
 * New points are appended to Loki with a version of their own, which is noted as left over. Then one transaction makes that
 * version the valid one and notes the old one as left over. A crash anywhere leaves points that nobody reads, and a note
 * about them. A version counts only if the period is what it was when the write began, so that a worker which was overtaken
 * notices it.
 */
export class PeriodWriter {
  readonly #parts: PeriodWriterParts;

  constructor(parts: PeriodWriterParts) {
    this.#parts = parts;
  }

  async replace(
    frame: Frame<RatedPoint>,
    { snapshot }: Pick<WriteContext, 'snapshot'>,
    signal: AbortSignal,
  ): Promise<void> {
    signal.throwIfAborted();
    const { points, clock } = this.#parts;
    assertFits(frame);
    const version = randomUUID();
    const committed = committedOf(frame, { version, snapshot });
    const lines = points.lines(frame, version);
    const written = points.timesOf(lines.length, version, clock.now());
    const before = await this.#begin(frame, committed, written, signal);
    await points.write(frame, lines, written, signal);
    await this.#commit(frame, { committed, written, before }, signal);
  }

  /** Notes the write, and gives the version that is valid until it ends. */
  #begin(
    frame: Frame<RatedPoint>,
    committed: Committed,
    written: Written,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const { database, clock } = this.#parts;
    return database.transaction(async (tx) => {
      const scope = await lockScope(tx, frame);
      await this.#refuse(tx, scope, frame, committed);
      if (frame.points.length > 0) await addBegun(tx, scope, written, Math.floor(clock.now() / 1000));
      return validVersion(tx, scope, frame.period.begin);
    }, signal);
  }

  #commit(
    frame: Frame<RatedPoint>,
    {
      committed,
      written,
      before,
    }: { readonly committed: Committed; readonly written: Written; readonly before: string | undefined },
    signal: AbortSignal,
  ): Promise<void> {
    const { database, clock } = this.#parts;
    const { begin } = frame.period;
    return database.transaction(async (tx) => {
      const scope = await lockScope(tx, frame);
      const isBegun = frame.points.length === 0 || (await takeBegun(tx, written.version));
      if (!isBegun || (await validVersion(tx, scope, begin)) !== before) throw overtaken(nameOf(frame));
      // Other periods of the scope may have come meanwhile.
      await this.#refuse(tx, scope, frame, committed);
      const replaced = periodConditions([scope], { begin, end: begin + 1 });
      await addUseless(tx, replaced, Math.floor(clock.now() / 1000));
      await storeMarker(tx, scope, begin, { committed, written });
    }, signal);
  }

  /** @throws DataError RATECAT_PERIOD_OVERLAP, RATECAT_NUMBER_OVERFLOW */
  async #refuse(
    reader: SqlReader,
    scope: number,
    frame: Frame<RatedPoint>,
    committed: Committed,
  ): Promise<void> {
    const { calendar } = this.#parts;
    const { begin, end } = frame.period;
    const day = calendar.slice(begin, 'day');
    const around = await markersAround(reader, scope, Math.min(day.begin, begin), Math.max(day.end, end));
    refuseOverlap(frame, around);
    refuseOverflow(frame, committed.metrics, around, calendar);
  }
}

function nameOf({ scope, period }: Frame<RatedPoint>): string {
  return `the period from ${isoTime(period.begin)} of ${scope.key} '${scope.id}'`;
}
