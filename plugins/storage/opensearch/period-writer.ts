import { randomUUID } from 'node:crypto';
import type { Calendar, Frame, RatedPoint, WriteContext } from '../../../core/plugin-api/index.js';
import {
  committedOf,
  isoTime,
  refuseOverflow,
  refuseOverlap,
} from '../../shared/outside-storage/committed.js';
import { overtaken } from './failures.js';
import type { Marker, MarkerState, MarkerStore } from './marker-store.js';
import type { PointStore } from './point-store.js';
import type { ReferenceOptions, ReferenceStore } from './reference-store.js';

export interface PeriodWriterParts {
  readonly markers: MarkerStore;
  readonly points: PointStore;
  readonly calendar: Calendar;
  readonly reference: { readonly store: ReferenceStore; readonly options: ReferenceOptions } | undefined;
}

/**
 * Stores periods so that readers see the old version whole until they see the new one whole.
 *
 * There are no transactions, but one document changes at once: the marker. New points are written with a version of their
 * own beside the valid ones and made visible to searches; then the marker names the new version; then the old points are
 * removed. The marker changes only by compare-and-set, so that a worker which was overtaken notices it. What a crash leaves
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
    const { markers, points, calendar } = this.#parts;
    const { begin } = frame.period;
    const version = randomUUID();
    const committed = committedOf(frame, { version, snapshot });
    const around = await this.#around(frame, signal);
    refuseOverlap(frame, around);
    refuseOverflow(frame, committed.metrics, around, calendar);

    const before = await markers.one(frame, begin, signal);
    const rest = before === undefined ? [] : restOf(before.state);
    const intent = { committed: before?.state.committed, pending: version, leftovers: rest };
    const intended = { seat: before?.seat, refresh: false };
    const begun = await markers.write(frame, begin, intent, intended, signal);
    if (begun === undefined) throw overtaken(nameOf(frame));
    if (frame.points.length > 0) await points.write(frame, version, signal);
    // Also what a crashed writer left must be visible before it can be deleted.
    if (frame.points.length > 0 || rest.length > 0) await points.refresh(signal);

    const useless = before?.state.committed ? [...rest, before.state.committed.version] : rest;
    const state = { committed, leftovers: useless };
    const done = await markers.write(frame, begin, state, { seat: begun, refresh: true }, signal);
    if (done === undefined) {
      await points.remove([version], signal).catch(() => {});
      throw overtaken(nameOf(frame));
    }
    await this.#removeReference(frame, signal);
    if (useless.length === 0) return;
    await points.remove(useless, signal);
    // Somebody who writes the period by now has taken over the list; it names nothing that is left.
    await markers.write(frame, begin, { committed, leftovers: [] }, { seat: done, refresh: false }, signal);
  }

  /** Periods of the billing day, of the period's range and just before it. */
  async #around(frame: Frame<RatedPoint>, signal: AbortSignal): Promise<readonly Marker[]> {
    const { markers, calendar } = this.#parts;
    const { begin, end } = frame.period;
    const day = calendar.slice(begin, 'day');
    return markers.around(frame, Math.min(day.begin, begin), Math.max(day.end, end), signal);
  }

  /** Documents that CloudKitty stored for the same period of the same source and scope. */
  async #removeReference({ source, scope, period }: Frame<RatedPoint>, signal: AbortSignal): Promise<void> {
    const { reference } = this.#parts;
    if (reference === undefined) return;
    const { options, store } = reference;
    if (source !== options.source || scope.key !== options.scope_key) return;
    const visible = [{ source, key: scope.key, id: scope.id }];
    await store.remove({ visible, begin: period.begin, end: period.begin + 1 }, signal);
  }
}

function restOf({ pending, leftovers }: MarkerState): readonly string[] {
  return pending === undefined ? leftovers : [...leftovers, pending];
}

function nameOf({ scope, period }: Frame<RatedPoint>): string {
  return `the period from ${isoTime(period.begin)} of ${scope.key} '${scope.id}'`;
}
