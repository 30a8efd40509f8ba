import type { Instant, PointQuery, ScopeSelector, VisibleScopes } from '../../../core/plugin-api/index.js';
import { ownerKey } from '../../shared/outside-storage/owner.js';
import type { PeriodReader } from '../../shared/outside-storage/period-reader.js';
import { thinPeriods } from '../../shared/outside-storage/thin-periods.js';
import type { InfluxClient } from './client.js';
import { MARKERS, POINTS, SOURCE_TAG } from './layout.js';
import { type Marker, markerLine, stateText, TAKES } from './marker.js';
import { type MarkerReader, range } from './marker-reader.js';
import type { PeriodWriter } from './period-writer.js';
import type { Period } from './point-reader.js';
import { type ReferenceOptions, referenceCondition } from './reference-reader.js';
import { MAX_CONDITIONS, selectorCondition } from './visible.js';
import { identifier } from './wire-text.js';

/** Statements of one request. */
const STATEMENTS = 50;

export interface PeriodRemoverParts {
  readonly client: InfluxClient;
  readonly markers: MarkerReader;
  readonly periods: PeriodReader<Period>;
  readonly writer: PeriodWriter;
  readonly reference: ReferenceOptions | undefined;
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
    const isWhole = query.metrics === undefined && (query.filters ?? []).length === 0;
    if (isWhole) return this.#removePeriods(query, signal);
    const { periods, writer } = this.#parts;
    await thinPeriods(periods, (frame) => writer.replace(frame, frame, signal), query, signal);
  }

  /** Readers stop seeing the periods with the first step; the last one forgets that there is something left to do. */
  async #removePeriods(query: PointQuery, signal: AbortSignal): Promise<void> {
    const owners = new Map<string, ScopeSelector>();
    for await (const markers of this.#parts.markers.read(query, signal)) {
      await this.#parts.client.write(markers.map(removedLine).join(''), signal);
      for (const { source, scope } of markers) owners.set(ownerKey({ source, scope }), { source, ...scope });
    }
    const conditions =
      query.visible === 'all' ? allOwners(owners) : [...owners.values()].map(selectorCondition);
    await this.#delete(POINTS, query, conditions, signal);
    await this.#delete(MARKERS, query, conditions, signal);
    await this.#removeReference(query, signal);
  }

  async #removeReference(query: PointQuery, signal: AbortSignal): Promise<void> {
    const { reference } = this.#parts;
    if (reference === undefined) return;
    for (const visible of portions(query.visible)) {
      const condition = referenceCondition(reference, visible);
      if (condition !== undefined) await this.#delete(POINTS, query, [condition], signal);
    }
  }

  async #delete(
    measurement: string,
    { begin, end }: { readonly begin: Instant; readonly end: Instant },
    conditions: readonly string[],
    signal: AbortSignal,
  ): Promise<void> {
    const statements = conditions.map(
      (condition) =>
        `DELETE FROM ${identifier(measurement)} WHERE ${[...range(begin, end), condition].join(' AND ')}`,
    );
    for (let first = 0; first < statements.length; first += STATEMENTS)
      await this.#parts.client.query(statements.slice(first, first + STATEMENTS), signal);
  }
}

/** The marker of a period that cannot be read any more and whose points may still be there. */
function removedLine(marker: Marker): string {
  return markerLine(marker, marker.begin, stateText({ leftovers: TAKES }));
}

/** Every scope at once, provided there is any. */
function allOwners(owners: ReadonlyMap<string, ScopeSelector>): readonly string[] {
  return owners.size === 0 ? [] : [`${identifier(SOURCE_TAG)} != ''`];
}

/** As many as a condition tells apart: of more it would tell none. */
function* portions(visible: VisibleScopes): Generator<VisibleScopes> {
  if (visible === 'all') yield visible;
  else
    for (let first = 0; first < visible.length; first += MAX_CONDITIONS)
      yield visible.slice(first, first + MAX_CONDITIONS);
}
