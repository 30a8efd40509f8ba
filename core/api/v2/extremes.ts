import {
  type AttributeValue,
  type Calendar,
  canonicalJson,
  type Decimal,
  describedAttribute,
  type Instant,
  isDecimal,
  type PointQuery,
  type RatedPoint,
  type Storage,
} from '../../plugin-api/index.js';
import { calendarText } from '../../reporting/calendar-keys.js';
import type { SummaryKey } from '../../reporting/summaries.js';
import { badRequest } from './faults.js';
import { countPoints, readPoints } from './sliced-points.js';
import { rowName } from './summary-rows.js';

interface Values {
  readonly quantity: Decimal;
  readonly price: Decimal;
}

/** The smallest and the largest quantity and price of single points. */
export interface Extremes {
  readonly least: Values;
  readonly most: Values;
}

export interface ExtremesQuery {
  readonly queries: readonly PointQuery[];
  readonly keys: readonly SummaryKey[];
  readonly byPeriod: boolean;
}

/** They are read one by one, which takes a second or two. */
const MOST_POINTS = 100_000;

/**
 * Storages add up; what is smallest and largest only the points tell. By name of the row.
 * @throws Fault 400 when that would be too many points to read.
 */
export async function readExtremes(
  { storage, calendar }: { readonly storage: Storage; readonly calendar: Calendar },
  { queries, keys, byPeriod }: ExtremesQuery,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, Extremes>> {
  const counts = await countPoints(storage, queries, signal);
  const points = counts.reduce((sum, count) => sum + count, 0);
  if (points > MOST_POINTS) {
    throw badRequest(
      `MIN and MAX are taken of at most ${MOST_POINTS} points, and these are ${points}: choose a shorter range or filters.`,
    );
  }
  const extremes = new Map<string, Extremes>();
  const pages = { offset: 0, limit: MOST_POINTS };
  for await (const frame of readPoints(storage, { queries, counts, ...pages }, signal)) {
    const { begin } = frame.period;
    const groupOf = grouping(keys, begin, calendar);
    for (const point of frame.points) {
      const name = rowName(groupOf(point), byPeriod ? begin : undefined);
      extremes.set(name, wider(extremes.get(name), point));
    }
  }
  return extremes;
}

/** The group of a point, in the texts that storages give. */
function grouping(keys: readonly SummaryKey[], begin: Instant, calendar: Calendar) {
  const needsDay = keys.some(({ kind }) => kind === 'calendar');
  const day = needsDay ? calendar.day(begin) : 0;
  return ({ descriptor }: RatedPoint): readonly string[] =>
    keys.map((key) => {
      if (key.kind === 'type') return descriptor.metric;
      if (key.kind === 'calendar') return calendarText(key.unit, day);
      return attributeText(describedAttribute(descriptor, key.name));
    });
}

function attributeText(value: AttributeValue | undefined): string {
  if (value === undefined) return '';
  if (typeof value === 'string') return value;
  return isDecimal(value) ? value.toFixedScale() : canonicalJson(value);
}

function wider(known: Extremes | undefined, { quantity, price }: RatedPoint): Extremes {
  if (known === undefined) return { least: { quantity, price }, most: { quantity, price } };
  const { least, most } = known;
  return {
    least: { quantity: smaller(least.quantity, quantity), price: smaller(least.price, price) },
    most: { quantity: larger(most.quantity, quantity), price: larger(most.price, price) },
  };
}

function smaller(left: Decimal, right: Decimal): Decimal {
  return right.compare(left) < 0 ? right : left;
}

function larger(left: Decimal, right: Decimal): Decimal {
  return right.compare(left) > 0 ? right : left;
}
