import type { PointQuery } from '../../../core/plugin-api/index.js';
import { isoTime } from '../../shared/outside-storage/committed.js';
import type { OwnPeriod, PeriodReader } from '../../shared/outside-storage/period-reader.js';
import { thinPeriods } from '../../shared/outside-storage/thin-periods.js';
import type { Seat } from './client.js';
import { overtaken, refused } from './failures.js';
import { type Marker, type MarkerStore, versionsOf } from './marker-store.js';
import type { PeriodWriter } from './period-writer.js';
import type { PointStore } from './point-store.js';
import type { ReferenceStore } from './reference-store.js';

/** Times that a period may change while it is being removed. */
const MAX_TRIES = 5;

export interface PeriodRemoverParts {
  readonly markers: MarkerStore;
  readonly points: PointStore;
  readonly periods: PeriodReader<OwnPeriod>;
  readonly writer: PeriodWriter;
  readonly reference: ReferenceStore | undefined;
}

interface Removed {
  readonly marker: Marker;
  readonly seat: Seat;
}

/** Removes periods, or single points of them. */
export class PeriodRemover {
  readonly #parts: PeriodRemoverParts;

  constructor(parts: PeriodRemoverParts) {
    this.#parts = parts;
  }

  async remove(query: PointQuery, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (query.visible.length === 0 || query.begin >= query.end) return;
    const { periods, writer } = this.#parts;
    const isWhole = query.metrics === undefined && (query.filters ?? []).length === 0;
    if (isWhole) await this.#removePeriods(query, signal);
    else await thinPeriods(periods, (frame) => writer.replace(frame, frame, signal), query, signal);
  }

  /** Readers stop seeing the periods with the first step; the last one forgets that there is something left to do. */
  async #removePeriods(query: PointQuery, signal: AbortSignal): Promise<void> {
    const { markers, points, reference } = this.#parts;
    await markers.refresh(signal);
    const removed: Removed[] = [];
    for await (const page of markers.read(query, signal)) removed.push(...(await this.#hide(page, signal)));
    const versions = removed.flatMap(({ marker }) => versionsOf(marker.state));
    if (versions.length > 0) {
      await points.refresh(signal);
      await points.remove(versions, signal);
    }
    for (let first = 0; first < removed.length; first += 2_000) {
      const some = removed.slice(first, first + 2_000);
      const results = await markers.forget(
        some.map(({ marker, seat }) => ({ ...marker, seat })),
        signal,
      );
      // Whoever writes a period again meanwhile keeps it.
      const failed = results.find(({ status }) => status >= 300 && status !== 404 && status !== 409);
      if (failed !== undefined) throw refused(`${failed.error?.type}: ${failed.error?.reason}`);
    }
    await reference?.remove(query, signal);
  }

  /** Takes periods away from readers. */
  async #hide(page: readonly Marker[], signal: AbortSignal): Promise<readonly Removed[]> {
    const { markers } = this.#parts;
    const removed: Removed[] = [];
    let open = page;
    for (let tries = 0; open.length > 0; tries++) {
      const results = await markers.writeAll(
        open,
        (marker) => ({ leftovers: versionsOf(marker.state) }),
        signal,
      );
      const changed: Marker[] = [];
      for (const [place, { status, seat, error }] of results.entries()) {
        const marker = open[place]!;
        if (seat !== undefined && status < 300) removed.push({ marker, seat });
        else if (status === 409) changed.push(marker);
        else throw refused(`${error?.type}: ${error?.reason}`);
      }
      const [first] = changed;
      if (first !== undefined && tries + 1 >= MAX_TRIES)
        throw overtaken(`the period from ${isoTime(first.begin)} of ${first.scope.key} '${first.scope.id}'`);
      const current = await Promise.all(changed.map((marker) => markers.one(marker, marker.begin, signal)));
      open = current.filter((marker) => marker !== undefined);
    }
    return removed;
  }
}
