import {
  Attributes,
  type AttributeValue,
  canonicalDescriptor,
  compareText,
  Decimal,
  type Instant,
  type RatedPoint,
  type StoredFrame,
} from '../../../core/plugin-api/index.js';
import { attributeText } from './attribute-text.js';
import { CALENDAR_TAGS } from './calendar-tags.js';
import { comparePeriods } from './owner.js';

/** One point that CloudKitty stored as a JSON document, with what the document says of its period and scope. */
export interface ReferencePoint {
  readonly begin: Instant;
  readonly end: Instant;
  readonly scope: string;
  readonly point: RatedPoint;
}

/** Whose the documents are. */
export interface ReferenceOwner {
  /** The source they are shown under. */
  readonly source: string;
  /** The attribute that names their scope. */
  readonly scope_key: string;
}

const CALENDAR: ReadonlySet<string> = new Set(CALENDAR_TAGS);

/** Undefined for a document that has no period or no amounts. */
export function readReferencePoint(
  document: Readonly<Record<string, unknown>>,
  scopeKey: string,
): ReferencePoint | undefined {
  const [begin, end] = [instantOf(document.start), instantOf(document.end)];
  const [quantity, price] = [amountOf(document.qty), amountOf(document.price)];
  if (begin === undefined || end === undefined || end < begin) return undefined;
  if (quantity === undefined || price === undefined) return undefined;
  const groupby = attributesOf(document.groupby, CALENDAR);
  const metadata = attributesOf(document.metadata, new Set());
  const descriptor = {
    metric: textOf(document.type),
    unit: textOf(document.unit),
    description: typeof document.description === 'string' ? document.description : undefined,
    groupby,
    metadata,
  };
  const point = { descriptor, quantity, price };
  return { begin, end, scope: attributeText(groupby.get(scopeKey) ?? metadata.get(scopeKey)), point };
}

/** Points by scope and period, in order. */
export function referenceFrames(
  found: readonly ReferencePoint[],
  { source, scope_key: key }: ReferenceOwner,
): readonly StoredFrame[] {
  const frames = new Map<
    string,
    { end: Instant; readonly begin: Instant; readonly id: string; readonly points: RatedPoint[] }
  >();
  for (const { begin, end, scope, point } of found) {
    const name = `${begin} ${scope}`;
    const frame = frames.get(name) ?? { begin, end, id: scope, points: [] };
    frame.end = Math.max(frame.end, end);
    frame.points.push(point);
    frames.set(name, frame);
  }
  return [...frames.values()]
    .map(({ begin, end, id, points }) => ({
      source,
      scope: { key, id },
      period: { begin, end },
      points: inOrder(points),
      gaps: [],
      snapshot: '',
    }))
    .sort((left, right) =>
      comparePeriods({ ...left, begin: left.period.begin }, { ...right, begin: right.period.begin }),
    );
}

/** Servers give documents of one time in any order, and not always in the same. */
function inOrder(points: readonly RatedPoint[]): readonly RatedPoint[] {
  return points
    .map((point) => {
      const { descriptor, quantity, price } = point;
      return { point, key: `${canonicalDescriptor(descriptor)} ${quantity} ${price}` };
    })
    .sort(
      (left, right) =>
        compareText(left.point.descriptor.metric, right.point.descriptor.metric) ||
        compareText(left.key, right.key),
    )
    .map(({ point }) => point);
}

/** Milliseconds, or a time with a zone; without one it is UTC. */
function instantOf(value: unknown): Instant | undefined {
  if (typeof value === 'number') return Math.floor(value / 1000);
  if (typeof value !== 'string') return undefined;
  const hasZone = /(Z|[+-]\d\d:?\d\d)$/i.test(value);
  const time = Date.parse(hasZone ? value : `${value}Z`);
  return Number.isNaN(time) ? undefined : Math.floor(time / 1000);
}

function attributesOf(value: unknown, without: ReadonlySet<string>): Attributes {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return Attributes.EMPTY;
  const entries = Object.entries(value).filter(([name]) => !without.has(name));
  return Attributes.of(
    entries.map(([name]) => name),
    entries.map(([, item]) => attributeOf(item)),
  );
}

function attributeOf(value: unknown): AttributeValue {
  if (typeof value === 'number') return shortest(value);
  if (typeof value === 'string' || typeof value === 'boolean' || value === null) return value;
  if (Array.isArray(value)) return value.map(attributeOf);
  return Object.fromEntries(Object.entries(value as object).map(([name, item]) => [name, attributeOf(item)]));
}

/** A number, or a number as text. */
function amountOf(value: unknown): Decimal | undefined {
  if (typeof value === 'number') return shortest(value);
  return typeof value === 'string' && /^[+-]?\d{1,40}(\.\d{1,40})?$/.test(value)
    ? Decimal.parse(value)
    : undefined;
}

/** The shortest decimal that reads back as the same float: 0.1 is 0.1. */
function shortest(value: number): Decimal {
  return Decimal.parse(String(value));
}

function textOf(value: unknown): string {
  return value === undefined || value === null ? '' : String(value);
}
