import {
  type Attributes,
  type Calendar,
  type Descriptor,
  type Frame,
  type Instant,
  type RatedPoint,
} from '../../../core/plugin-api/index.js';
import { attributeText } from '../../shared/outside-storage/attribute-text.js';
import { CALENDAR_TAGS, calendarTags } from '../../shared/outside-storage/calendar-tags.js';
import { descriptorJson, recordText } from '../../shared/outside-storage/point-record.js';
import { MAX_KEYWORD_CHARACTERS, OWN_FIELD, wellFormed } from './layout.js';

/** The two objects of attributes in a document. */
const OBJECTS = ['groupby', 'metadata'] as const;

/** A name's parts between dots become objects in objects, of which an index takes 20. */
const MAX_PARTS = 10;

const CALENDAR: ReadonlySet<string> = new Set(CALENDAR_TAGS);

/** The parts of a document that repeat from period to period. */
interface DescriptorParts {
  /** JSON members, each before a comma. */
  readonly members: string;
  readonly description: string;
  readonly groupby: string;
  readonly metadata: string;
  readonly json: string;
}

/** How much of a point CloudKitty gets to see beside Ratecat's record: all that fits, scope and calendar alone, or the sums. */
export const EXTENTS = ['full', 'scope', 'sums'] as const;

export type Extent = (typeof EXTENTS)[number];

/** Turns points into documents: CloudKitty's layout, and beside it what CloudKitty cannot keep. */
export class PointDocuments {
  readonly #calendar: Calendar;
  readonly #leftOut = new Set<string>();
  #parts = new WeakMap<Descriptor, DescriptorParts>();

  constructor(calendar: Calendar) {
    this.#calendar = calendar;
  }

  /**
   * Leaves an attribute out from now on, because the index has this field with another type: `groupby.size`. Only CloudKitty
   * misses it, the exact record has all attributes. False when that changes nothing.
   */
  leaveOut(field: string): boolean {
    if (this.#leftOut.has(field)) return false;
    this.#leftOut.add(field);
    this.#parts = new WeakMap();
    return true;
  }

  /** Makes the documents of one write. */
  of(
    { scope, period }: Pick<Frame<RatedPoint>, 'scope' | 'period'>,
    version: string,
  ): (point: RatedPoint, ordinal: number, extent: Extent) => string {
    const times = `"start":${JSON.stringify(isoText(period.begin))},"end":${JSON.stringify(isoText(period.end))}`;
    const values = calendarTags(period.begin, this.#calendar);
    const calendar = CALENDAR_TAGS.map((name, place) => member(name, values[place]!)).join(',');
    const isNamed = isFieldName(scope.key) && !isLeftOut(`groupby.${scope.key}`, this.#leftOut);
    const named = isNamed ? `${member(scope.key, wellFormed(scope.id))},` : '';
    return ({ descriptor, quantity, price }, ordinal, extent) => {
      const parts = this.#partsOf(descriptor);
      const exact = { qty: quantity.toStored().toString(), price: price.toStored().toString() };
      const record = recordText(parts.json, { version, ordinal }, exact);
      const own = JSON.stringify({ version, ordinal, metric: wellFormed(descriptor.metric), record });
      const attributes = {
        full: `${parts.description}"groupby":{${parts.groupby}${calendar}},"metadata":{${parts.metadata}}`,
        scope: `"groupby":{${named}${calendar}},"metadata":{}`,
        sums: '"groupby":{},"metadata":{}',
      }[extent];
      return `{${times},${parts.members}"qty":${number(exact.qty)},"price":${number(exact.price)},${attributes},"${OWN_FIELD}":${own}}`;
    };
  }

  #partsOf(descriptor: Descriptor): DescriptorParts {
    let parts = this.#parts.get(descriptor);
    if (parts === undefined) {
      parts = partsOf(descriptor, this.#leftOut);
      this.#parts.set(descriptor, parts);
    }
    return parts;
  }
}

/** The field that an error of the server is about, when it is one that can be left out. */
export function fieldOf(reason: string): string | undefined {
  const named = new RegExp(`\\[((?:${OBJECTS.join('|')})\\.[^\\]]+)\\]`).exec(reason);
  return named?.[1];
}

function partsOf(descriptor: Descriptor, leftOut: ReadonlySet<string>): DescriptorParts {
  const { metric, unit, description, groupby, metadata } = descriptor;
  const members = (object: (typeof OBJECTS)[number], attributes: Attributes) =>
    [...fieldsOf(attributes, (name) => isLeftOut(`${object}.${name}`, leftOut))].map(([name, text]) =>
      member(name, text),
    );
  return {
    members: `${member('type', wellFormed(metric))},${member('unit', wellFormed(unit))},`,
    description: description === undefined ? '' : `${member('description', wellFormed(description))},`,
    groupby: members('groupby', groupby)
      .map((text) => `${text},`)
      .join(''),
    metadata: members('metadata', metadata).join(','),
    json: descriptorJson(descriptor),
  };
}

/** What an index can hold of the attributes: all values as text, as most of CloudKitty's are. */
function fieldsOf(attributes: Attributes, isOut: (name: string) => boolean): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  for (const [name, value] of attributes) {
    const text = wellFormed(attributeText(value));
    if (!isFieldName(name) || isOut(name) || text.length > MAX_KEYWORD_CHARACTERS) continue;
    if ([...fields.keys()].some((other) => isWithin(name, other) || isWithin(other, name))) continue;
    fields.set(name, text);
  }
  return fields;
}

/** A name that can be a field's: the parts between its dots are names too. */
function isFieldName(name: string): boolean {
  const parts = name.split('.');
  if (CALENDAR.has(name) || name.length > 500 || parts.length > MAX_PARTS || /[\p{Cc}\p{Cs}]/u.test(name))
    return false;
  return parts.every((part) => part.trim() !== '');
}

function isLeftOut(path: string, leftOut: ReadonlySet<string>): boolean {
  return [...leftOut].some((field) => field === path || isWithin(field, path) || isWithin(path, field));
}

function isWithin(path: string, outer: string): boolean {
  return path.startsWith(`${outer}.`);
}

function member(name: string, text: string): string {
  return `${JSON.stringify(name)}:${JSON.stringify(text)}`;
}

/** A double as JSON. */
function number(text: string): string {
  return JSON.stringify(Number(text));
}

/** As CloudKitty writes it. */
export function isoText(instant: Instant): string {
  return new Date(instant * 1000).toISOString().replace('.000Z', '+00:00');
}
