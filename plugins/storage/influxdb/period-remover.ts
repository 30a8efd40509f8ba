import type { Instant, PointQuery, ScopeSelector, VisibleScopes } from '../../../core/plugin-api/index.js';
import { descriptorTest } from './attribute-text.js';
import type { InfluxClient } from './client.js';
import { MARKERS, type Owner, ownerKey, POINTS, SOURCE_TAG } from './layout.js';
import { type Marker, markerLine, stateText, TAKES } from './marker.js';
import { type MarkerReader, range } from './marker-reader.js';
import type { PeriodReader } from './period-reader.js';
import type { PeriodWriter } from './period-writer.js';
import { type ReferenceOptions, referenceConditions } from './reference-reader.js';
import { selectorCondition } from './visible.js';
import { identifier } from './wire-text.js';

/** Statements of one request. */
const STATEMENTS = 50;

export interface PeriodRemoverParts {
  readonly client: InfluxClient;
  readonly markers: MarkerReader;
  readonly periods: PeriodReader;
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
    if (isWhole) await this.#removePeriods(query, signal);
    else await this.#thinPeriods(query, signal);
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
      const conditions = referenceConditions(reference, visible);
      if (conditions.length > 0) await this.#delete(POINTS, query, [conditions.join(' AND ')], signal);
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

  /** A period that loses points is replaced by one of those that are left. */
  async #thinPeriods(query: PointQuery, signal: AbortSignal): Promise<void> {
    const isRemoved = descriptorTest(query.metrics, query.filters)!;
    const whole = { visible: query.visible, begin: query.begin, end: query.end };
    const { periods, writer } = this.#parts;
    const affected: (Owner & { readonly begin: Instant })[] = [];
    for await (const { stored, points } of periods.load(periods.periods(whole, signal), query, signal)) {
      const { source, scope, begin } = stored;
      if (points.length > 0) affected.push({ source, scope, begin });
    }
    for (const { source, scope, begin } of affected) {
      const one = { visible: [{ source, key: scope.key, id: scope.id }], begin, end: begin + 1 };
      for await (const frame of periods.frames(one, signal)) {
        const points = frame.points.filter(({ descriptor }) => !isRemoved(descriptor));
        await writer.replace({ ...frame, points }, frame, signal);
      }
    }
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

function* portions(visible: VisibleScopes): Generator<VisibleScopes> {
  if (visible === 'all') yield visible;
  else
    for (let first = 0; first < visible.length; first += STATEMENTS)
      yield visible.slice(first, first + STATEMENTS);
}
