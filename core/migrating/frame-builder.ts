import { parse } from 'lossless-json';
import {
  Attributes,
  type AttributeValue,
  compareText,
  Decimal,
  type Descriptor,
  type Frame,
  isDecimal,
  type RatedPoint,
} from '../plugin-api/index.js';
import type { RatedRow, RatedUnit } from './rated-rows.js';

/** What a metric of the pipeline tells points apart by. */
export interface MetricAttributes {
  readonly ratedName: string;
  readonly groupby: readonly string[];
}

export interface FramePlace {
  /** The pipeline that rates the scopes from now on. */
  readonly source: string;
  readonly scopeKey: string;
  readonly metrics: readonly MetricAttributes[];
}

/** Attributes that tell resources apart where the pipeline has no metric of the name. */
const IDENTIFYING = ['id', 'resource_id', 'project_id', 'tenant_id', 'user_id'];
const MAX_DESCRIPTORS = 100_000;

/** Turns rows into frames of a pipeline. Points that describe the same share one descriptor. */
export class FrameBuilder {
  readonly #place: FramePlace;
  readonly #groupby: ReadonlyMap<string, readonly string[]>;
  /** Two generations: what was not met for a while is forgotten. */
  #recent = new Map<string, Descriptor>();
  #former = new Map<string, Descriptor>();

  constructor(place: FramePlace) {
    this.#place = place;
    this.#groupby = new Map(place.metrics.map(({ ratedName, groupby }) => [ratedName, groupby]));
  }

  frame({ scopeId, period, rows }: RatedUnit): Frame<RatedPoint> {
    const points = rows.map((row) => ({
      descriptor: this.#descriptor(scopeId, row),
      quantity: row.quantity,
      price: row.price,
    }));
    points.sort((left, right) => compareText(left.descriptor.metric, right.descriptor.metric));
    const { source, scopeKey } = this.#place;
    return { source, scope: { key: scopeKey, id: scopeId }, period, points, gaps: [] };
  }

  #descriptor(scopeId: string, row: RatedRow): Descriptor {
    const key = `${scopeId}\0${row.metric}\0${row.unit}\0${row.description}`;
    let descriptor = this.#recent.get(key);
    if (descriptor !== undefined) return descriptor;
    descriptor = this.#former.get(key) ?? this.#describe(scopeId, row);
    if (this.#recent.size >= MAX_DESCRIPTORS) {
      this.#former = this.#recent;
      this.#recent = new Map();
    }
    this.#recent.set(key, descriptor);
    return descriptor;
  }

  #describe(scopeId: string, { metric, unit, description }: RatedRow): Descriptor {
    const { scopeKey } = this.#place;
    const attributes = readDescription(description);
    if (!attributes.has(scopeKey)) attributes.set(scopeKey, scopeId);
    const configured = this.#groupby.get(metric) ?? IDENTIFYING;
    const names = [...new Set([...configured, scopeKey])].filter((name) => attributes.has(name));
    const rest = [...attributes.keys()].filter((name) => !names.includes(name));
    const pick = (chosen: readonly string[]) =>
      Attributes.of(
        chosen,
        chosen.map((name) => attributes.get(name)!),
      );
    return { metric, unit, groupby: pick(names), metadata: pick(rest), description: undefined };
  }
}

/** Text that is no JSON object is kept as it is, under the name of its column. */
function readDescription(text: string): Map<string, AttributeValue> {
  const value = parsed(text);
  if (typeof value === 'object' && value !== null && !Array.isArray(value) && !isDecimal(value))
    return new Map(Object.entries(value));
  return new Map(text === '' || text === '""' ? [] : [['desc', text]]);
}

function parsed(text: string): AttributeValue | undefined {
  try {
    return parse(text, undefined, { parseNumber: Decimal.parse }) as AttributeValue;
  } catch {
    return undefined;
  }
}
