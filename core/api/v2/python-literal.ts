import { isDecimal } from '../../plugin-api/index.js';
import { pythonFloat } from '../python-json.js';

/** Longest echo of a caller's input in an error text. */
const LONGEST_ECHO = 4096;

/** A value as Python prints it (`repr`), cut where it gets long: error texts of the reference show the input so. */
export function pythonLiteral(value: unknown): string {
  const writer = new LiteralWriter();
  writer.write(value);
  return writer.text;
}

/** A text as Python prints it: in single quotes, unless it holds some and no double ones. */
export function pythonText(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const escaped = text.replace(/[\\\p{C}\p{Z}'"]/gu, (character) => escapedCharacter(character, quote));
  return `${quote}${escaped}${quote}`;
}

class LiteralWriter {
  text = '';

  write(value: unknown): void {
    if (this.text.length > LONGEST_ECHO) return;
    if (value === null || value === undefined) this.#add('None');
    else if (typeof value === 'boolean') this.#add(value ? 'True' : 'False');
    else if (typeof value === 'string') this.#add(pythonText(value.slice(0, LONGEST_ECHO)));
    else if (isDecimal(value)) this.#add(value.exponent === 0 ? value.toString() : pythonFloat(value));
    else if (Array.isArray(value)) this.#list('[', value, ']', (item) => this.write(item));
    else this.#object(value instanceof Map ? [...value] : Object.entries(value as object));
  }

  #object(entries: readonly (readonly [unknown, unknown])[]): void {
    this.#list('{', entries, '}', ([name, item]) => {
      this.write(name);
      this.#add(': ');
      this.write(item);
    });
  }

  #list<T>(open: string, items: readonly T[], close: string, write: (item: T) => void): void {
    this.#add(open);
    for (const [place, item] of items.entries()) {
      if (this.text.length > LONGEST_ECHO) return;
      if (place > 0) this.#add(', ');
      write(item);
    }
    this.#add(close);
  }

  #add(text: string): void {
    if (this.text.length > LONGEST_ECHO) return;
    const room = LONGEST_ECHO - this.text.length;
    this.text += text.length <= room ? text : `${text.slice(0, room)}…`;
  }
}

const SHORT_ESCAPES: Readonly<Record<string, string>> = {
  '\\': '\\\\',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
};

function escapedCharacter(character: string, quote: string): string {
  if (character === ' ') return character;
  if (character === "'" || character === '"') return character === quote ? `\\${character}` : character;
  const short = SHORT_ESCAPES[character];
  if (short !== undefined) return short;
  const code = character.codePointAt(0)!;
  const hex = (digits: number) => code.toString(16).padStart(digits, '0');
  if (code < 0x100) return `\\x${hex(2)}`;
  return code < 0x10000 ? `\\u${hex(4)}` : `\\U${hex(8)}`;
}
