import { hash } from 'node:crypto';
import {
  Attributes,
  type AttributeValue,
  canonicalJson,
  DataError,
  Decimal,
  type SqlValue,
} from '../../../core/plugin-api/index.js';

/** SHA-256 of the UTF-8 text. */
export function digest(text: string): Uint8Array {
  return hash('sha256', text, 'buffer');
}

/** A digest as a key of a map. */
export function digestKey(value: SqlValue): string {
  return Buffer.from(value as Uint8Array).toString('latin1');
}

/** The digest that a key of a map was made from. */
export function digestOfKey(key: string): Uint8Array {
  return Buffer.from(key, 'latin1');
}

/** Plain notation without trailing zeros: some engines pad decimals to their column's scale. */
export function decimalText(value: SqlValue): string {
  const text = String(value);
  if (!text.includes('.')) return text;
  let end = text.length;
  while (text.charCodeAt(end - 1) === 48) end--;
  if (text.charCodeAt(end - 1) === 46) end--;
  return text.slice(0, end);
}

export function storedDecimal(value: SqlValue): Decimal {
  return Decimal.parse(decimalText(value));
}

/** Names and values in turn, in their order: an object would lose the order of names such as `1`. */
export function attributesToText(attributes: Attributes): string {
  const parts: string[] = [];
  for (let i = 0; i < attributes.names.length; i++) {
    parts.push(JSON.stringify(attributes.names[i]), canonicalJson(attributes.values[i]!));
  }
  return `[${parts.join(',')}]`;
}

/** @throws DataError RATECAT_STORAGE_CORRUPT when the text is not what `attributesToText` wrote. */
export function attributesFromText(text: string): Attributes {
  const items = new JsonText(text).read();
  if (!Array.isArray(items) || items.length % 2 !== 0) throw corrupt(text);
  const names: string[] = [];
  const values: AttributeValue[] = [];
  for (let i = 0; i < items.length; i += 2) {
    names.push(items[i] as string);
    values.push(items[i + 1]!);
  }
  return Attributes.of(names, values);
}

const NUMBER = /-?\d+(?:\.\d+)?(?:e\d+)?/y;
const LITERALS: readonly (readonly [string, boolean | null])[] = [
  ['true', true],
  ['false', false],
  ['null', null],
];

/** Reads JSON without blanks, numbers as decimals with the scale of their literal, and any member name as just a name. */
class JsonText {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  read(): AttributeValue {
    const value = this.#value();
    if (this.#at !== this.#text.length) throw corrupt(this.#text);
    return value;
  }

  #value(): AttributeValue {
    switch (this.#text[this.#at]) {
      case '"':
        return this.#string();
      case '[':
        return this.#list(']', () => this.#value());
      case '{':
        return Object.fromEntries(
          this.#list('}', () => {
            const name = this.#string();
            if (!this.#skip(':')) throw corrupt(this.#text);
            return [name, this.#value()] as const;
          }),
        );
      default:
        return this.#literal();
    }
  }

  #list<T>(close: string, item: () => T): T[] {
    this.#at++;
    const items: T[] = [];
    if (this.#skip(close)) return items;
    do items.push(item());
    while (this.#skip(','));
    if (!this.#skip(close)) throw corrupt(this.#text);
    return items;
  }

  #string(): string {
    const start = this.#at;
    let end = start;
    do {
      end = this.#text.indexOf('"', end + 1);
      if (end < 0) throw corrupt(this.#text);
    } while (this.#isEscaped(end));
    this.#at = end + 1;
    const inner = this.#text.slice(start + 1, end);
    return inner.includes('\\') ? (JSON.parse(`"${inner}"`) as string) : inner;
  }

  #isEscaped(quote: number): boolean {
    let backslashes = 0;
    while (this.#text[quote - 1 - backslashes] === '\\') backslashes++;
    return backslashes % 2 === 1;
  }

  #literal(): AttributeValue {
    for (const [word, value] of LITERALS) if (this.#skip(word)) return value;
    NUMBER.lastIndex = this.#at;
    const match = NUMBER.exec(this.#text);
    if (match === null) throw corrupt(this.#text);
    this.#at += match[0].length;
    return Decimal.parse(match[0]);
  }

  #skip(expected: string): boolean {
    if (!this.#text.startsWith(expected, this.#at)) return false;
    this.#at += expected.length;
    return true;
  }
}

export function corrupt(what: string): DataError {
  return new DataError(
    'RATECAT_STORAGE_CORRUPT',
    `The sql storage holds something it did not write: ${what.slice(0, 200)}. Restore the database from a backup.`,
  );
}
