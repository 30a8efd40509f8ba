import { randomUUID } from 'node:crypto';
import {
  type Calendar,
  describeError,
  type Frame,
  type Instant,
  isRatecatError,
  type Logger,
  type RatedPoint,
  UnavailableError,
  type WriteContext,
} from '../../../core/plugin-api/index.js';
import { isoTime, refuseOverflow, refuseOverlap } from '../../shared/outside-storage/committed.js';
import type { Owner } from '../../shared/outside-storage/owner.js';
import type { InfluxClient } from './client.js';
import { equals, ownerCondition, POINTS, TAKE_TAG } from './layout.js';
import { committedOf, type Marker, type MarkerState, markerLine, stateText, TAKES } from './marker.js';
import { type MarkerReader, range } from './marker-reader.js';
import type { PointLines, Take } from './point-lines.js';
import { type ReferenceOptions, referenceCondition } from './reference-reader.js';
import { identifier } from './wire-text.js';

export interface PeriodWriterParts {
  readonly client: InfluxClient;
  readonly markers: MarkerReader;
  readonly lines: PointLines;
  readonly calendar: Calendar;
  readonly logger: Logger;
  readonly reference: ReferenceOptions | undefined;
}

/**
 * Stores periods so that readers see the old version whole until they see the new one whole.
 *
 * InfluxDB has no transactions, but one text field of one point changes at once: the marker. The new points are written as
 * another take beside the valid one; then the marker names the new take; then the old one is removed. What a crash leaves
 * behind is listed in the marker, is not read, and goes with the next write of the period.
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
    const { begin } = frame.period;
    const version = randomUUID();
    const around = await this.#around(frame, signal);
    const marker = around.find((other) => other.begin === begin);
    const before = marker?.state ?? { leftovers: [] };
    const take = freeTake(before);
    const committed = committedOf(frame, { take, version, snapshot });
    refuseOverlap(frame, around);
    refuseOverflow(frame, committed.metrics, around, this.#parts.calendar);

    if (before.leftovers.includes(take)) await this.#deleteTakes(frame, begin, [take], signal);
    const taken = new Set([...before.leftovers, ...(before.pending ? [before.pending.take] : [])]);
    taken.delete(take);
    const intent = { ...before, pending: { take, version }, leftovers: [...taken] };
    await this.#mark(frame, begin, intent, signal);
    await this.#writePoints(frame, { take, version }, signal);
    await this.#refuseOvertaken(frame, stateText(intent), signal);

    if (before.committed !== undefined) taken.add(before.committed.take);
    await this.#mark(frame, begin, { committed, leftovers: [...taken] }, signal);
    await this.#removeReference(frame, begin, signal);
    if (taken.size === 0) return;
    await this.#deleteTakes(frame, begin, [...taken], signal);
    await this.#mark(frame, begin, { committed, leftovers: [] }, signal);
  }

  async #writePoints(frame: Frame<RatedPoint>, take: Take, signal: AbortSignal): Promise<void> {
    const { client, lines, logger } = this.#parts;
    for (;;) {
      try {
        for (const request of lines.requests(frame, take)) await client.write(request, signal);
        return;
      } catch (error) {
        const field = isRatecatError(error) ? error.details.field : undefined;
        if (typeof field !== 'string' || !lines.leaveOut(field)) throw error;
        logger.warn(
          'InfluxDB has a metadata field with another type; it is stored for Ratecat alone, CloudKitty will not see it',
          { field, reason: describeError(error) },
        );
      }
    }
  }

  /** Markers of the billing day, of the period's range and just before it. */
  async #around(frame: Frame<RatedPoint>, signal: AbortSignal): Promise<readonly Marker[]> {
    const { markers, calendar } = this.#parts;
    const { begin, end } = frame.period;
    const day = calendar.slice(begin, 'day');
    return markers.around(frame, Math.min(day.begin, begin), Math.max(day.end, end), signal);
  }

  /** A worker that lost its lease while it wrote must not switch to what it wrote. */
  async #refuseOvertaken(frame: Frame<RatedPoint>, intent: string, signal: AbortSignal): Promise<void> {
    const { begin } = frame.period;
    const marker = await this.#parts.markers.one(frame, begin, signal);
    if (marker?.text === intent) return;
    throw new UnavailableError(
      'RATECAT_INFLUXDB_OVERTAKEN',
      `Somebody else wrote the period from ${isoTime(begin)} of ${frame.scope.key} '${frame.scope.id}' at the same time; what this worker wrote is not used. It will be tried again if this worker still has the scope.`,
    );
  }

  async #mark(owner: Owner, begin: Instant, state: MarkerState, signal: AbortSignal): Promise<void> {
    await this.#parts.client.write(markerLine(owner, begin, stateText(state)), signal);
  }

  async #deleteTakes(
    owner: Owner,
    begin: Instant,
    takes: readonly string[],
    signal: AbortSignal,
  ): Promise<void> {
    const where = [...range(begin, begin + 1), ownerCondition(owner)].join(' AND ');
    await this.#parts.client.query(
      takes.map((take) => `DELETE FROM ${identifier(POINTS)} WHERE ${where} AND ${equals(TAKE_TAG, take)}`),
      signal,
    );
  }

  /** Points that CloudKitty stored for the same period of the same source and scope. */
  async #removeReference({ source, scope }: Owner, begin: Instant, signal: AbortSignal): Promise<void> {
    const { reference, client } = this.#parts;
    if (reference === undefined || source !== reference.source || scope.key !== reference.scope_key) return;
    const condition = referenceCondition(reference, [{ source, ...scope }]);
    if (condition === undefined) return;
    const where = [...range(begin, begin + 1), condition].join(' AND ');
    const [found] = await client.query(
      [`SELECT "qty" FROM ${client.source(POINTS)} WHERE ${where} LIMIT 1`],
      signal,
    );
    if (found!.values.length > 0)
      await client.query([`DELETE FROM ${identifier(POINTS)} WHERE ${where}`], signal);
  }
}

/** One that neither readers nor a writer that may still be at work use; without points of no use if there is a choice. */
function freeTake({ committed, pending, leftovers }: MarkerState): string {
  const free = TAKES.filter((take) => take !== committed?.take && take !== pending?.take);
  return free.find((take) => !leftovers.includes(take)) ?? free[0]!;
}
