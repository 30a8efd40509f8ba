import { Decimal } from './decimal.js';

/**
 * A value of a groupby or metadata attribute. Numbers are decimals with the scale of their literal, so that 1 and 1.0 stay
 * apart (the reference compares rule values with the text of the literal).
 */
export type AttributeValue =
  | string
  | boolean
  | null
  | Decimal
  | readonly AttributeValue[]
  | { readonly [name: string]: AttributeValue };

/**
 * An immutable, ordered list of named values. Names are kept in an array that all points of a metric share, so that a
 * hundred thousand points do not carry a hundred thousand hash tables, and a label called `__proto__` is just a name.
 */
export class Attributes implements Iterable<readonly [string, AttributeValue]> {
  readonly names: readonly string[];
  readonly values: readonly AttributeValue[];

  static readonly EMPTY = new Attributes([], []);

  private constructor(names: readonly string[], values: readonly AttributeValue[]) {
    this.names = names;
    this.values = values;
  }

  /** `names` must be distinct and as long as `values`; both are kept, not copied. */
  static of(names: readonly string[], values: readonly AttributeValue[]): Attributes {
    if (names.length !== values.length) throw new RangeError('names and values differ in length');
    return names.length === 0 ? Attributes.EMPTY : new Attributes(names, values);
  }

  static from(record: Readonly<Record<string, AttributeValue>>): Attributes {
    return Attributes.of(Object.keys(record), Object.values(record));
  }

  get size(): number {
    return this.names.length;
  }

  get(name: string): AttributeValue | undefined {
    const index = this.names.indexOf(name);
    return index < 0 ? undefined : this.values[index];
  }

  has(name: string): boolean {
    return this.names.includes(name);
  }

  /** A copy with one value set; an absent name is added at the end. */
  with(name: string, value: AttributeValue): Attributes {
    const index = this.names.indexOf(name);
    if (index < 0) return Attributes.of([...this.names, name], [...this.values, value]);
    return Attributes.of(this.names, this.values.with(index, value));
  }

  *[Symbol.iterator](): IterableIterator<readonly [string, AttributeValue]> {
    for (let i = 0; i < this.names.length; i++) yield [this.names[i]!, this.values[i]!] as const;
  }

  /** JSON with names in code-unit order and exact number literals: equal attributes have equal text, 1 and 1.0 do not. */
  canonical(): string {
    let text = '{';
    for (const { label, index } of canonicalNames(this.names)) {
      const separator = text.length > 1 ? ',' : '';
      text += `${separator}${label}:${canonicalJson(this.values[index]!)}`;
    }
    return `${text}}`;
  }
}

interface CanonicalName {
  /** As JSON. */
  readonly label: string;
  readonly index: number;
}

/** Name lists are shared by all points of a metric, so their order is found once per list. */
const CANONICAL_NAMES = new WeakMap<readonly string[], readonly CanonicalName[]>();

function canonicalNames(names: readonly string[]): readonly CanonicalName[] {
  const known = CANONICAL_NAMES.get(names);
  if (known !== undefined) return known;
  const made = names
    .map((name, index) => ({ name, label: JSON.stringify(name), index }))
    .sort((a, b) => compareText(a.name, b.name));
  CANONICAL_NAMES.set(names, made);
  return made;
}

/** Code-unit order: the same on every engine and in every locale. */
export function compareText(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}

/** JSON text of a value: object keys sorted, decimals as literals with their scale. */
export function canonicalJson(value: AttributeValue): string {
  if (value === null || typeof value === 'boolean') return String(value);
  if (typeof value === 'string') return JSON.stringify(value);
  if (isDecimal(value))
    return value.exponent > 0 ? `${value.coefficient}e${value.exponent}` : value.toFixedScale();
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  const entries = Object.entries(value as Record<string, AttributeValue>).sort(([a], [b]) =>
    compareText(a, b),
  );
  return `{${entries.map(([name, item]) => `${JSON.stringify(name)}:${canonicalJson(item)}`).join(',')}}`;
}

/** True for decimals, also those of a second copy of this package. */
export function isDecimal(value: unknown): value is Decimal {
  return (
    value instanceof Decimal ||
    (typeof value === 'object' &&
      value !== null &&
      typeof (value as Decimal).coefficient === 'bigint' &&
      typeof (value as Decimal).exponent === 'number')
  );
}
