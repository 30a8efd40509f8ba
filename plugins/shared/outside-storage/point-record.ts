import {
  Attributes,
  type AttributeValue,
  Decimal,
  type Descriptor,
  isDecimal,
  type RatedPoint,
} from '../../../core/plugin-api/index.js';

/** A point as Ratecat's own field holds it: exact, typed and in its place, where the reference's fields are not. */
export interface PointRecord {
  /** The write that stored it. */
  readonly version: string;
  /** Place in its frame. */
  readonly ordinal: number;
  readonly point: RatedPoint;
}

/** Attribute values in JSON: a decimal is `{"d": text}`, an object `{"o": [[name, value], …]}`, so that no name is special. */
type Encoded =
  | string
  | boolean
  | null
  | { readonly d: string }
  | { readonly o: readonly (readonly [string, Encoded])[] }
  | readonly Encoded[];

/** The JSON of a descriptor, without its outer brace at the end: the rest of the record follows. */
export function descriptorJson({ metric, unit, description, groupby, metadata }: Descriptor): string {
  return JSON.stringify({
    metric,
    unit,
    ...(description === undefined ? {} : { description }),
    groupby: encodeAttributes(groupby),
    metadata: encodeAttributes(metadata),
  });
}

export function recordText(
  descriptor: string,
  record: Omit<PointRecord, 'point'>,
  exact: ExactNumbers,
): string {
  const { version, ordinal } = record;
  return `{"version":${JSON.stringify(version)},"ordinal":${ordinal},"qty":"${exact.qty}","price":"${exact.price}","descriptor":${descriptor}}`;
}

/** Canonical decimal texts. */
export interface ExactNumbers {
  readonly qty: string;
  readonly price: string;
}

/** What is stored is not what Ratecat wrote: the error of the storage at hand. */
export type Damaged = (what: string, cause?: unknown) => Error;

/** @throws what `damaged` gives when the text is not what `recordText` wrote. */
export function readRecord(text: string, damaged: Damaged): PointRecord {
  try {
    const { version, ordinal, qty, price, descriptor } = JSON.parse(text) as StoredRecord;
    return {
      version,
      ordinal,
      point: {
        descriptor: {
          metric: descriptor.metric,
          unit: descriptor.unit,
          description: descriptor.description,
          groupby: decodeAttributes(descriptor.groupby),
          metadata: decodeAttributes(descriptor.metadata),
        },
        quantity: Decimal.parse(qty),
        price: Decimal.parse(price),
      },
    };
  } catch (error) {
    throw damaged(`the record of a point holds ${JSON.stringify(text.slice(0, 120))}`, error);
  }
}

interface StoredRecord extends ExactNumbers {
  readonly version: string;
  readonly ordinal: number;
  readonly descriptor: {
    readonly metric: string;
    readonly unit: string;
    readonly description?: string;
    readonly groupby: readonly (readonly [string, Encoded])[];
    readonly metadata: readonly (readonly [string, Encoded])[];
  };
}

function encodeAttributes(attributes: Attributes): readonly (readonly [string, Encoded])[] {
  return [...attributes].map(([name, value]) => [name, encode(value)] as const);
}

function decodeAttributes(pairs: readonly (readonly [string, Encoded])[]): Attributes {
  return Attributes.of(
    pairs.map(([name]) => name),
    pairs.map(([, value]) => decode(value)),
  );
}

function encode(value: AttributeValue): Encoded {
  if (value === null || typeof value !== 'object') return value;
  if (isDecimal(value)) return { d: `${value.coefficient}e${value.exponent}` };
  if (Array.isArray(value)) return value.map((item: AttributeValue) => encode(item));
  return {
    o: Object.entries(value as Readonly<Record<string, AttributeValue>>).map(([name, item]) => [
      name,
      encode(item),
    ]),
  };
}

function decode(value: Encoded): AttributeValue {
  if (value === null || typeof value !== 'object') return value;
  if ('d' in value) return Decimal.parse(value.d);
  if ('o' in value) return Object.fromEntries(value.o.map(([name, item]) => [name, decode(item)]));
  return value.map(decode);
}
