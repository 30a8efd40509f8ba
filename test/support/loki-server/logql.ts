import { Refusal } from './refusal.js';

export interface LogEntry {
  readonly time: bigint;
  readonly line: string;
}

export type StreamLabels = Readonly<Record<string, string>>;

export interface CompiledQuery {
  matches(labels: StreamLabels): boolean;
  keeps(line: string): boolean;
  readonly hasFilter: boolean;
}

const OPERATORS = ['=~', '!~', '!=', '='] as const;
const LINE_OPERATORS = ['|=', '|~'] as const;

type Operator = (typeof OPERATORS)[number];

interface Matcher {
  readonly name: string;
  readonly operator: Operator;
  test(value: string): boolean;
}

/** Compiles a stream selector with line filters; everything else of LogQL is refused as Loki refuses what it cannot parse. */
export function compileLogql(text: string): CompiledQuery {
  if (text.length > 131_072) throw parseError(1, 'input size too long');
  const reader = new Reader(text);
  const matchers = readSelector(reader);
  const filters: ((line: string) => boolean)[] = [];
  for (;;) {
    reader.skipBlanks();
    if (reader.isAtEnd) break;
    const operator = LINE_OPERATORS.find((sign) => reader.takes(sign));
    if (operator === undefined) throw reader.unexpected();
    reader.skipBlanks();
    const value = reader.text();
    const pattern = operator === '|~' ? compilePattern(value, false) : undefined;
    filters.push(pattern === undefined ? (line) => line.includes(value) : (line) => pattern.test(line));
  }
  if (!matchers.some((matcher) => ['=', '=~'].includes(matcher.operator) && !matcher.test('')))
    throw parseError(
      1,
      'queries require at least one regexp or equality matcher that does not have an empty-compatible value',
    );
  return {
    matches: (labels) => matchers.every(({ name, test }) => test(labels[name] ?? '')),
    keeps: (line) => filters.every((filter) => filter(line)),
    hasFilter: filters.length > 0,
  };
}

function readSelector(reader: Reader): readonly Matcher[] {
  reader.skipBlanks();
  if (!reader.takes('{')) throw reader.unexpected();
  const matchers: Matcher[] = [];
  for (;;) {
    reader.skipBlanks();
    if (reader.takes('}')) return matchers;
    if (matchers.length > 0) {
      if (!reader.takes(',')) throw reader.unexpected();
      reader.skipBlanks();
    }
    const name = reader.name();
    reader.skipBlanks();
    const operator = OPERATORS.find((sign) => reader.takes(sign));
    if (operator === undefined) throw reader.unexpected();
    reader.skipBlanks();
    const value = reader.text();
    matchers.push({ name, operator, test: matcherTest(operator, value) });
  }
}

function matcherTest(operator: Operator, value: string): (text: string) => boolean {
  if (operator === '=') return (text) => text === value;
  if (operator === '!=') return (text) => text !== value;
  const pattern = compilePattern(value, true);
  return operator === '=~' ? (text) => pattern.test(text) : (text) => !pattern.test(text);
}

/** RE2 has neither references nor looking around, and escapes that JavaScript does not have are not needed here. */
function compilePattern(source: string, isAnchored: boolean): RegExp {
  if (/\(\?[=!<]|\\[1-9]/.test(source)) throw parseError(1, `error parsing regexp: ${source}`);
  try {
    return new RegExp(isAnchored ? `^(?:${source})$` : source, 'su');
  } catch {
    throw parseError(1, `error parsing regexp: ${source}`);
  }
}

class Reader {
  readonly #text: string;
  #place = 0;

  constructor(text: string) {
    this.#text = text;
  }

  get isAtEnd(): boolean {
    return this.#place >= this.#text.length;
  }

  skipBlanks(): void {
    while (/[ \t\r\n]/.test(this.#text[this.#place] ?? '')) this.#place++;
  }

  takes(sign: string): boolean {
    if (!this.#text.startsWith(sign, this.#place)) return false;
    this.#place += sign.length;
    return true;
  }

  name(): string {
    const [name] = /^[A-Za-z_][A-Za-z0-9_]*/.exec(this.#text.slice(this.#place)) ?? [];
    if (name === undefined) throw this.unexpected();
    this.#place += name.length;
    return name;
  }

  /** A literal in double quotes, with the escapes of Go. */
  text(): string {
    if (!this.takes('"')) throw this.unexpected();
    let value = '';
    for (;;) {
      const character = this.#text[this.#place++];
      if (character === undefined || character === '\n')
        throw parseError(this.#place, 'literal not terminated');
      if (character === '"') return value;
      value += character === '\\' ? this.#escape() : character;
    }
  }

  #escape(): string {
    const sign = this.#text[this.#place++] ?? '';
    const plain = { n: '\n', t: '\t', r: '\r', a: '\x07', b: '\b', f: '\f', v: '\v', '\\': '\\', '"': '"' }[
      sign
    ];
    if (plain !== undefined) return plain;
    const length = { x: 2, u: 4, U: 8 }[sign];
    const digits = length === undefined ? '' : this.#text.slice(this.#place, this.#place + length);
    const code = Number.parseInt(digits, 16);
    const isHalf = code >= 0xd800 && code < 0xe000;
    if (length === undefined || !/^[0-9a-fA-F]+$/.test(digits) || digits.length < length || isHalf)
      throw parseError(this.#place, 'invalid char escape');
    this.#place += length;
    return String.fromCodePoint(code);
  }

  unexpected(): Refusal {
    const rest = this.#text.slice(this.#place, this.#place + 20);
    return parseError(this.#place + 1, `syntax error: unexpected '${rest}'`);
  }
}

function parseError(column: number, what: string): Refusal {
  return new Refusal(400, `parse error at line 1, col ${column}: ${what}`);
}
