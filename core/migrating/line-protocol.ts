/** A value of a field, as its text: numbers keep their digits. */
export interface LineField {
  readonly name: string;
  readonly kind: 'text' | 'number' | 'boolean';
  readonly value: string;
}

/** One line of InfluxDB's line protocol. */
export interface ProtocolLine {
  readonly measurement: string;
  /** In the order of the line. */
  readonly tags: readonly (readonly [name: string, value: string])[];
  readonly fields: readonly LineField[];
  /** Nanoseconds since the epoch, as digits. */
  readonly time: string;
}

/** What is wrong with a line; `isOpen` when its text ends inside a quoted value, which may hold line ends. */
export class LineProblem extends Error {
  readonly isOpen: boolean;

  constructor(problem: string, isOpen = false) {
    super(problem);
    this.isOpen = isOpen;
  }
}

const INTEGER = /^[+-]?\d+[iu]$/;
const BOOLEANS: ReadonlyMap<string, string> = new Map([
  ...['t', 'T', 'true', 'True', 'TRUE'].map((text) => [text, 'true'] as const),
  ...['f', 'F', 'false', 'False', 'FALSE'].map((text) => [text, 'false'] as const),
]);

/**
 * Reads `measurement,tag=value field=value,field="text" time` (InfluxData: line protocol reference).
 * @throws LineProblem
 */
export function parseLine(text: string): ProtocolLine {
  const reader = new LineReader(text);
  const measurement = reader.name(', ');
  const tags: (readonly [string, string])[] = [];
  while (reader.skip(',')) {
    const name = reader.name('=');
    reader.expect('=');
    tags.push([name, reader.name(', ')]);
  }
  reader.expect(' ');
  const fields: LineField[] = [];
  do {
    const name = reader.name('=');
    reader.expect('=');
    fields.push({ name, ...reader.value() });
  } while (reader.skip(','));
  reader.expect(' ');
  const time = reader.rest().trim();
  if (!/^-?\d{1,19}$/.test(time)) throw new LineProblem(`'${time.slice(0, 40)}' is no time in nanoseconds`);
  return { measurement, tags, fields, time };
}

class LineReader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  skip(character: string): boolean {
    if (this.#text[this.#at] !== character) return false;
    this.#at++;
    return true;
  }

  expect(character: string): void {
    if (this.skip(character)) return;
    const found = this.#text[this.#at];
    throw new LineProblem(
      `column ${this.#at + 1} has ${found === undefined ? 'the end' : `'${found}'`} where '${character}' belongs`,
    );
  }

  /** Up to one of the characters; a backslash takes the meaning from those that have one. */
  name(ends: string): string {
    const start = this.#at;
    let hasEscapes = false;
    while (this.#at < this.#text.length && !ends.includes(this.#text[this.#at]!)) {
      if (this.#text[this.#at] === '\\' && /[,= ]/.test(this.#text[this.#at + 1] ?? '')) {
        hasEscapes = true;
        this.#at++;
      }
      this.#at++;
    }
    if (this.#at === start) throw new LineProblem(`column ${start + 1} lacks a name or value`);
    const name = this.#text.slice(start, this.#at);
    return hasEscapes ? name.replace(/\\([,= ])/g, '$1') : name;
  }

  value(): Omit<LineField, 'name'> {
    if (this.skip('"')) return { kind: 'text', value: this.#quoted() };
    const text = this.name(', ');
    if (INTEGER.test(text)) return { kind: 'number', value: text.slice(0, -1) };
    const truth = BOOLEANS.get(text);
    if (truth !== undefined) return { kind: 'boolean', value: truth };
    return { kind: 'number', value: text };
  }

  rest(): string {
    return this.#text.slice(this.#at);
  }

  #quoted(): string {
    const start = this.#at;
    for (; this.#at < this.#text.length; this.#at++) {
      const character = this.#text[this.#at];
      if (character === '\\') this.#at++;
      else if (character === '"') {
        const inner = this.#text.slice(start, this.#at++);
        return inner.includes('\\') ? inner.replace(/\\(["\\])/g, '$1') : inner;
      }
    }
    throw new LineProblem('a quoted value does not end', true);
  }
}
