import {
  Attributes,
  type AttributeValue,
  Decimal,
  isDecimal,
  type Period,
  type RatedPoint,
} from '../../plugin-api/index.js';
import type { JsonInput } from '../exact-body.js';
import { parseIsoTime } from './iso-time.js';
import { membersOf } from './json-body.js';
import { Refusal, type Validator } from './validation.js';

export type BodyPoint = RatedPoint;

/** One element of `dataframes`. */
export interface BodyFrame {
  readonly period: Period;
  readonly points: readonly BodyPoint[];
}

/** What points without a unit get. */
const NO_UNIT = 'undefined';

/** The list of frames; a frame with any defect is refused whole. */
export const bodyFrames: Validator<JsonInput, readonly BodyFrame[]> = (value) => {
  if (!Array.isArray(value)) throw new Refusal('expected a list');
  return value.map((item: JsonInput, place) => {
    const frame = frameOf(item);
    if (frame === undefined) throw new Refusal('not a valid value', [place]);
    return frame;
  });
};

/** Undefined when anything in it is missing, unknown or of another type. */
function frameOf(value: JsonInput): BodyFrame | undefined {
  const members = exactMembers(value, ['period', 'usage']);
  const period = periodOf(members?.get('period'));
  const usage = membersOf(members?.get('usage'));
  if (period === undefined || usage === undefined) return undefined;
  const points: BodyPoint[] = [];
  for (const [metric, list] of usage) {
    const items = Array.isArray(list) ? list : membersOf(list)?.size === 0 ? [] : undefined;
    if (items === undefined) return undefined;
    for (const item of items as readonly JsonInput[]) {
      const point = pointOf(metric, item);
      if (point === undefined) return undefined;
      points.push(point);
    }
  }
  return { period, points };
}

function periodOf(value: JsonInput | undefined): Period | undefined {
  const members = exactMembers(value, ['begin', 'end']);
  const begin = instantOf(members?.get('begin'));
  const end = instantOf(members?.get('end'));
  // A period without length cannot be stored: it would hide the points of the one that begins there.
  return begin === undefined || end === undefined || begin >= end ? undefined : { begin, end };
}

function instantOf(value: JsonInput | undefined) {
  return typeof value === 'string' ? parseIsoTime(value) : undefined;
}

function pointOf(metric: string, value: JsonInput): BodyPoint | undefined {
  const members = exactMembers(value, ['vol', 'groupby', 'metadata'], ['rating']);
  const volume = exactMembers(members?.get('vol'), ['unit', 'qty']);
  const unit = volume?.get('unit');
  const quantity = amountOf(volume?.get('qty'));
  const price = priceOf(members?.get('rating'));
  const groupby = attributesOf(members?.get('groupby'));
  const metadata = attributesOf(members?.get('metadata'));
  if (typeof unit !== 'string' || quantity === undefined || price === undefined) return undefined;
  if (groupby === undefined || metadata === undefined) return undefined;
  const descriptor = {
    metric,
    unit: unit === '' ? NO_UNIT : unit,
    groupby,
    metadata,
    description: undefined,
  };
  return { descriptor, quantity, price };
}

function priceOf(rating: JsonInput | undefined): Decimal | undefined {
  if (rating === undefined) return Decimal.ZERO;
  const members = exactMembers(rating, [], ['price']);
  if (members === undefined) return undefined;
  return members.has('price') ? amountOf(members.get('price')) : Decimal.ZERO;
}

/** A number that a storage can keep, or its text. */
function amountOf(value: JsonInput | undefined): Decimal | undefined {
  const number =
    typeof value === 'string' ? Decimal.tryParse(value.trim()) : isDecimal(value) ? value : undefined;
  try {
    return number?.toStored();
  } catch {
    // Too many digits.
    return undefined;
  }
}

/** An object; an empty list counts as an empty one. */
function attributesOf(value: JsonInput | undefined): Attributes | undefined {
  if (Array.isArray(value)) return value.length === 0 ? Attributes.EMPTY : undefined;
  const members = membersOf(value);
  // What JSON can say is what attributes can be.
  return members && Attributes.of([...members.keys()], [...members.values()] as readonly AttributeValue[]);
}

/** The members of an object that has all of `needed`, perhaps some of `possible`, and nothing else. */
function exactMembers(
  value: JsonInput | undefined,
  needed: readonly string[],
  possible: readonly string[] = [],
): ReadonlyMap<string, JsonInput> | undefined {
  const members = membersOf(value);
  if (members === undefined || !needed.every((name) => members.has(name))) return undefined;
  const isKnown = (name: string) => needed.includes(name) || possible.includes(name);
  return [...members.keys()].every(isKnown) ? members : undefined;
}
