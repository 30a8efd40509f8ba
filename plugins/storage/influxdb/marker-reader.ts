import type { Instant, VisibleScopes } from '../../../core/plugin-api/index.js';
import { comparePeriods, type Owner, ownerTest } from '../../shared/outside-storage/owner.js';
import type { InfluxClient, Rows } from './client.js';
import { MARKERS, ownerCondition, SCOPE_TAG, SOURCE_TAG, STATE_FIELD } from './layout.js';
import { type Marker, readMarker } from './marker.js';
import { visibleConditions } from './visible.js';
import { identifier, timeLiteral } from './wire-text.js';

const PAGE = 5_000;
/** Periods before a new one that are looked at for an overlap. */
const EARLIER = 4;

export interface MarkerQuery {
  readonly visible: VisibleScopes;
  readonly begin: Instant;
  readonly end: Instant;
}

/** Reads what is known of periods. */
export class MarkerReader {
  readonly #client: InfluxClient;
  readonly #select: string;

  constructor(client: InfluxClient) {
    this.#client = client;
    const columns = [STATE_FIELD, SOURCE_TAG, SCOPE_TAG].map(identifier).join(',');
    this.#select = `SELECT ${columns} FROM ${client.source(MARKERS)} WHERE `;
  }

  /** Markers in order of (begin, source, scope key, scope id), also those of periods that cannot be read. */
  async *read({ visible, begin, end }: MarkerQuery, signal: AbortSignal): AsyncGenerator<readonly Marker[]> {
    if (visible.length === 0) return;
    const isVisible = ownerTest(visible);
    const narrowed = visibleConditions(visible);
    for (let from = begin; from < end; ) {
      const found = await this.#page([...range(from, end), ...narrowed], signal);
      const last = found.at(-1)?.begin;
      const isLast = found.length < PAGE || last === undefined;
      // A full page may end amid the periods of one instant: those come whole with the next page.
      let markers = isLast ? found : found.filter((marker) => marker.begin < last);
      if (markers.length === 0 && !isLast) {
        markers = await this.#all([...range(last, last + 1), ...narrowed], signal);
        from = last + 1;
      } else from = isLast ? end : last;
      const seen = markers.filter(isVisible).sort(compareMarkers);
      if (seen.length > 0) yield seen;
    }
  }

  /** The marker of one period. */
  async one(owner: Owner, begin: Instant, signal: AbortSignal): Promise<Marker | undefined> {
    return (await this.#all([...range(begin, begin + 1), ownerCondition(owner)], signal))[0];
  }

  /** Markers of one scope that begin in the range, and the last ones before it. */
  async around(owner: Owner, begin: Instant, end: Instant, signal: AbortSignal): Promise<readonly Marker[]> {
    const condition = ownerCondition(owner);
    const answers = await this.#client.query(
      [
        `${this.#select}${[...range(begin, end), condition].join(' AND ')}`,
        `${this.#select}time < ${timeLiteral(begin)} AND ${condition} ORDER BY time DESC LIMIT ${EARLIER}`,
      ],
      signal,
    );
    return answers.flatMap(toMarkers);
  }

  #page(conditions: readonly string[], signal: AbortSignal): Promise<readonly Marker[]> {
    return this.#query(`${this.#select}${conditions.join(' AND ')} LIMIT ${PAGE}`, signal);
  }

  #all(conditions: readonly string[], signal: AbortSignal): Promise<readonly Marker[]> {
    return this.#query(`${this.#select}${conditions.join(' AND ')}`, signal);
  }

  async #query(statement: string, signal: AbortSignal): Promise<readonly Marker[]> {
    const [rows] = await this.#client.query([statement], signal);
    return toMarkers(rows!);
  }
}

export function range(begin: Instant, end: Instant): readonly string[] {
  return [`time >= ${timeLiteral(begin)}`, `time < ${timeLiteral(end)}`];
}

const compareMarkers: (left: Marker, right: Marker) => number = comparePeriods;

/** Columns are `time` and those of the select list. */
function toMarkers({ values }: Rows): readonly Marker[] {
  return values.map(([time, text, source, scope]) => readMarker(time!, text!, source!, scope!));
}
