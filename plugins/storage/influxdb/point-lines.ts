import {
  type Attributes,
  type Calendar,
  type Descriptor,
  type Frame,
  type RatedPoint,
} from '../../../core/plugin-api/index.js';
import { attributeText } from '../../shared/outside-storage/attribute-text.js';
import { CALENDAR_TAGS, calendarTags } from '../../shared/outside-storage/calendar-tags.js';
import { ownTag, scopeTag } from '../../shared/outside-storage/owner.js';
import { descriptorJson, recordText } from '../../shared/outside-storage/point-record.js';
import {
  POINT_FIELD,
  POINTS,
  REFERENCE_FIELDS,
  SCOPE_TAG,
  SOURCE_TAG,
  TAKE_TAG,
  TWIN_TAG,
} from './layout.js';
import { lineMeasurement, lineString, lineToken, tagText } from './wire-text.js';

/** Bytes that a series may have are 65,535; Ratecat's own tags take less than 10,000. */
const MAX_TAG_CHARACTERS = 12_000;
const MAX_REQUEST_CHARACTERS = 4 * 1024 * 1024;

/** Names that no tag of an attribute may have: `time` is InfluxDB's own, the rest is the layout's. */
const RESERVED: ReadonlySet<string> = new Set([...REFERENCE_FIELDS, ...CALENDAR_TAGS, 'type', 'time']);

/** The parts of a line that repeat from period to period. */
interface DescriptorParts {
  /** Tags in line protocol, each after a comma. */
  readonly tags: string;
  /** Fields in line protocol, each before a comma. */
  readonly fields: string;
  readonly json: string;
}

/** Which write the lines belong to. */
export interface Take {
  readonly take: string;
  readonly version: string;
}

/** Turns frames into line protocol: CloudKitty's layout, and beside it what CloudKitty cannot keep. */
export class PointLines {
  readonly #calendar: Calendar;
  readonly #leftOut = new Set<string>();
  #parts = new WeakMap<Descriptor, DescriptorParts>();

  constructor(calendar: Calendar) {
    this.#calendar = calendar;
  }

  /**
   * Writes no field of this name from now on: another program gave it another type. Only CloudKitty misses it, the exact
   * point has all metadata. False when it cannot be left out.
   */
  leaveOut(field: string): boolean {
    if (!isFree(field) || this.#leftOut.has(field)) return false;
    this.#leftOut.add(field);
    this.#parts = new WeakMap();
    return true;
  }

  /** Requests of some megabytes each; the points' numbers are rounded to what is stored. */
  *requests(
    { source, scope, period, points }: Frame<RatedPoint>,
    { take, version }: Take,
  ): Generator<string> {
    const common =
      `${tagPart(SOURCE_TAG, ownTag(source))}${tagPart(SCOPE_TAG, scopeTag(scope))}${takePart(take)}` +
      calendarTags(period.begin, this.#calendar)
        .map((value, index) => tagPart(CALENDAR_TAGS[index]!, value))
        .join('');
    const seconds = `__ck_collect_period=${period.end - period.begin}i`;
    const twins = new Map<string, number>();
    let lines: string[] = [];
    let size = 0;
    for (const [ordinal, { descriptor, quantity, price }] of points.entries()) {
      const { tags, fields, json } = this.#partsOf(descriptor);
      const twin = twins.get(tags) ?? 0;
      twins.set(tags, twin + 1);
      const exact = { qty: quantity.toStored().toString(), price: price.toStored().toString() };
      const record = lineString(recordText(json, { version, ordinal }, exact));
      const line =
        `${lineMeasurement(POINTS)}${tags}${common}${twin === 0 ? '' : tagPart(TWIN_TAG, String(twin))} ` +
        `${fields}qty=${Number(exact.qty)},price=${Number(exact.price)},${seconds},${POINT_FIELD}=${record} ${period.begin}\n`;
      lines.push(line);
      size += line.length;
      if (size < MAX_REQUEST_CHARACTERS) continue;
      yield lines.join('');
      lines = [];
      size = 0;
    }
    if (lines.length > 0) yield lines.join('');
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

function partsOf(descriptor: Descriptor, leftOut: ReadonlySet<string>): DescriptorParts {
  const { metric, unit, description, groupby, metadata } = descriptor;
  const tags = tagsOf(groupby);
  const names = [...tags.keys()];
  const fields = fieldsOf(metadata, new Set([...names, ...leftOut]));
  const texts: readonly (readonly [string, string])[] = [
    ...fields,
    ['unit', unit],
    ...(description === undefined ? [] : [['description', description] as const]),
    ['groupby', [...names, ...CALENDAR_TAGS].join('|')],
    ['metadata', [...fields.keys()].join('|')],
  ];
  return {
    tags: [...tags, ['type', tagText(metric)] as const].map(([name, value]) => tagPart(name, value)).join(''),
    fields: texts.map(([name, text]) => `${lineToken(name)}=${lineString(text)},`).join(''),
    json: descriptorJson(descriptor),
  };
}

/** What CloudKitty can read of the attributes; points that this does not tell apart are told apart by `TWIN_TAG`. */
function tagsOf(groupby: Attributes): ReadonlyMap<string, string> {
  const tags = new Map<string, string>();
  let room = MAX_TAG_CHARACTERS;
  for (const [given, value] of groupby) {
    const [name, text] = [tagText(given), tagText(attributeText(value))];
    if (!isFree(name) || text === '' || tags.has(name) || name.length + text.length > room) continue;
    room -= name.length + text.length;
    tags.set(name, text);
  }
  return tags;
}

/** All values as text: a field has one type per measurement, whatever an attribute may hold. */
function fieldsOf(metadata: Attributes, taken: ReadonlySet<string>): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  for (const [given, value] of metadata) {
    const name = tagText(given);
    if (!isFree(name) || taken.has(name) || fields.has(name)) continue;
    fields.set(name, attributeText(value));
  }
  return fields;
}

function isFree(name: string): boolean {
  return name !== '' && !RESERVED.has(name) && !name.startsWith('ratecat_');
}

function tagPart(name: string, value: string): string {
  return value === '' ? '' : `,${lineToken(name)}=${lineToken(value)}`;
}

function takePart(take: string): string {
  return tagPart(TAKE_TAG, take);
}
