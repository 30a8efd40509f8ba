import type { Frame, Instant, RatedPoint } from '../../../core/plugin-api/index.js';
import {
  type Committed as AnyCommitted,
  committedOf as anyCommittedOf,
  fromStoredCommitted,
  type StoredCommitted,
  toStoredCommitted,
} from '../../shared/outside-storage/committed.js';
import { type Owner, ownTag, scopeTag } from '../../shared/outside-storage/owner.js';
import type { Cell } from './client.js';
import { damaged } from './damaged.js';
import { MARKERS, ownerOf, SCOPE_TAG, SOURCE_TAG, STATE_FIELD } from './layout.js';
import { lineMeasurement, lineString, lineToken } from './wire-text.js';

/** A whole period: the points of this take that carry this version. */
export interface Committed extends AnyCommitted {
  readonly take: string;
}

/** What is known of a period. It is one text field, so that readers see it whole. */
export interface MarkerState {
  /** What readers are given; absent while the period is being stored for the first time, or removed. */
  readonly committed?: Committed | undefined;
  /** A write that has begun: its points may be there in part. */
  readonly pending?: { readonly take: string; readonly version: string } | undefined;
  /** Takes that may hold points of no use. */
  readonly leftovers: readonly string[];
}

export interface Marker extends Owner {
  readonly begin: Instant;
  readonly state: MarkerState;
  /** The stored text: equal for an unchanged marker. */
  readonly text: string;
}

/** Takes are used in turn. The first is the absence of the tag, so that most points carry none. */
export const TAKES: readonly string[] = ['', 'b', 'c'];

export function markerLine({ source, scope }: Owner, begin: Instant, state: string): string {
  const tags = `${lineToken(SOURCE_TAG)}=${lineToken(ownTag(source))},${lineToken(SCOPE_TAG)}=${lineToken(scopeTag(scope))}`;
  return `${lineMeasurement(MARKERS)},${tags} ${STATE_FIELD}=${lineString(state)} ${begin}\n`;
}

/** @throws DataError RATECAT_NUMBER_OVERFLOW when a sum does not fit. */
export function committedOf(
  frame: Frame<RatedPoint>,
  { take, ...write }: Pick<Committed, 'take' | 'version' | 'snapshot'>,
): Committed {
  return { take, ...anyCommittedOf(frame, write) };
}

export function stateText({ committed, pending, leftovers }: MarkerState): string {
  return JSON.stringify({
    ...(committed === undefined
      ? {}
      : { committed: { take: committed.take, ...toStoredCommitted(committed) } }),
    ...(pending === undefined ? {} : { pending }),
    ...(leftovers.length === 0 ? {} : { leftovers }),
  });
}

/** @throws DataError RATECAT_INFLUXDB_DAMAGED when the row is not what `markerLine` wrote. */
export function readMarker(time: Cell, text: Cell, source: Cell, scope: Cell): Marker {
  const owner = ownerOf(source, scope);
  try {
    if (typeof text !== 'string' || typeof time !== 'number') throw new TypeError('not a marker');
    const {
      committed,
      pending,
      leftovers = [],
    } = JSON.parse(text) as {
      readonly committed?: StoredCommitted & Pick<Committed, 'take'>;
      readonly pending?: MarkerState['pending'];
      readonly leftovers?: readonly string[];
    };
    const state = {
      committed: committed && { take: committed.take, ...fromStoredCommitted(committed) },
      pending,
      leftovers,
    };
    return { ...owner, begin: time, state, text };
  } catch (error) {
    throw damaged(`a marker in ${MARKERS} holds ${JSON.stringify(String(text).slice(0, 120))}`, error);
  }
}
