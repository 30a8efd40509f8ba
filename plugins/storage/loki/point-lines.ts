import type { Attributes, Descriptor, Frame, RatedPoint } from '../../../core/plugin-api/index.js';
import { attributeText } from '../../shared/outside-storage/attribute-text.js';
import { descriptorJson, recordText } from '../../shared/outside-storage/point-record.js';
import { refused } from './failures.js';

/** What comes before the record in a line: no text of CloudKitty's members can contain it, since they escape quotes. */
const RECORD_BEGIN = ',"ratecat":';

/** The parts of a line that repeat from period to period. */
interface DescriptorParts {
  /** JSON members, each before a comma. */
  readonly members: string;
  /** JSON members of the attributes. */
  readonly attributes: string;
  readonly json: string;
}

/** Turns points into lines: CloudKitty's members for people and dashboards, and the exact record beside them. */
export class PointLines {
  readonly #maxBytes: number;
  readonly #parts = new WeakMap<Descriptor, DescriptorParts>();

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /**
   * The lines of one write. Attributes that do not fit twice are in the record alone.
   * @throws DataError RATECAT_LOKI_REFUSED when a point is longer than a line may be
   */
  of({ period, points }: Pick<Frame<RatedPoint>, 'period' | 'points'>, version: string): readonly string[] {
    const times = `"start":"${isoText(period.begin)}","end":"${isoText(period.end)}"`;
    return points.map(({ descriptor, quantity, price }, ordinal) => {
      const parts = this.#partsOf(descriptor);
      const exact = { qty: quantity.toStored().toString(), price: price.toStored().toString() };
      const record = recordText(parts.json, { version, ordinal }, exact);
      const amounts = `"qty":${number(exact.qty)},"price":${number(exact.price)}`;
      const lineWith = (attributes: string) =>
        `{${times},${parts.members}${amounts},${attributes}${RECORD_BEGIN}${record}}`;
      const full = lineWith(parts.attributes);
      if (Buffer.byteLength(full) <= this.#maxBytes) return full;
      const short = lineWith('"groupby":{},"metadata":{}');
      const bytes = Buffer.byteLength(short);
      if (bytes <= this.#maxBytes) return short;
      throw refused(
        `a point of '${descriptor.metric}' takes ${bytes} bytes, and a line may have ${this.#maxBytes} (max_line_kib)`,
      );
    });
  }

  #partsOf(descriptor: Descriptor): DescriptorParts {
    let parts = this.#parts.get(descriptor);
    if (parts === undefined) {
      parts = partsOf(descriptor);
      this.#parts.set(descriptor, parts);
    }
    return parts;
  }
}

/** The record of a line of Ratecat, as text; undefined when there is none. */
export function recordOf(line: string): string | undefined {
  const begin = line.indexOf(`${RECORD_BEGIN}{`);
  return begin < 0 || !line.endsWith('}') ? undefined : line.slice(begin + RECORD_BEGIN.length, -1);
}

/** What the line of a point of this metric contains. */
export function metricMember(metric: string): string {
  return `"type":${JSON.stringify(metric)},`;
}

function partsOf(descriptor: Descriptor): DescriptorParts {
  const { metric, unit, description, groupby, metadata } = descriptor;
  const described = description === undefined ? '' : `${member('description', description)},`;
  return {
    members: `${metricMember(metric)}${member('unit', unit)},${described}`,
    attributes: `"groupby":{${membersOf(groupby)}},"metadata":{${membersOf(metadata)}}`,
    json: descriptorJson(descriptor),
  };
}

function membersOf(attributes: Attributes): string {
  return [...attributes].map(([name, value]) => member(name, attributeText(value))).join(',');
}

function member(name: string, text: string): string {
  return `${JSON.stringify(name)}:${JSON.stringify(text)}`;
}

/** A double as JSON. */
function number(text: string): string {
  return JSON.stringify(Number(text));
}

/** As CloudKitty writes it. */
function isoText(instant: number): string {
  return new Date(instant * 1000).toISOString().replace('.000Z', '+00:00');
}
