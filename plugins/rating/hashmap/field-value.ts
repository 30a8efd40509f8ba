/**
 * Field values as rules see them: the text that mappings compare and the number that thresholds compare. Both follow the
 * Python values that CloudKitty works with, because price lists are written against their text.
 */
import { type AttributeValue, Decimal, isDecimal } from '../../../core/plugin-api/index.js';

/** What a field threshold compares with its level. */
export type FieldNumber = Decimal | 'infinity' | '-infinity';

/** How JSON numbers with a fraction are read: `binary` as the float that CloudKitty parses, `literal` as written. */
export type FloatReading = 'binary' | 'literal';

/** The Python text of a value: `True`, `None`, `1.0`, `[1, 'a']`. Text stays as it is. */
export function fieldText(value: AttributeValue): string {
  return typeof value === 'string' ? value : pythonLiteral(value);
}

/** The number of a value, or undefined when it has none. */
export function fieldNumber(value: AttributeValue, floats: FloatReading): FieldNumber | undefined {
  if (typeof value === 'string') return numberFromText(value);
  if (typeof value === 'boolean') return value ? Decimal.ONE : Decimal.ZERO;
  if (!isDecimal(value)) return undefined;
  if (value.exponent === 0 || floats === 'literal') return value;
  const float = Number(value.toString());
  if (Number.isFinite(float)) return value.throughBinary();
  return float > 0 ? 'infinity' : '-infinity';
}

function pythonLiteral(value: AttributeValue): string {
  if (value === null) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (typeof value === 'string') return quotedText(value);
  if (isDecimal(value)) return value.exponent === 0 ? value.coefficient.toString() : floatText(value);
  if (Array.isArray(value)) return `[${value.map(pythonLiteral).join(', ')}]`;
  const entries = Object.entries(value as Readonly<Record<string, AttributeValue>>);
  return `{${entries.map(([name, item]) => `${quotedText(name)}: ${pythonLiteral(item)}`).join(', ')}}`;
}

/** Python's `repr` of the float nearest to the decimal. */
function floatText(value: Decimal): string {
  const float = Number(value.toString());
  if (!Number.isFinite(float)) return float > 0 ? 'inf' : '-inf';
  const [mantissa, exponentText] = float.toExponential().split('e') as [string, string];
  const exponent = Number(exponentText);
  if (exponent >= -4 && exponent < 16) return Number.isInteger(float) ? `${float}.0` : `${float}`;
  const digits = String(Math.abs(exponent)).padStart(2, '0');
  return `${mantissa}e${exponent < 0 ? '-' : '+'}${digits}`;
}

const ESCAPES: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t', '\\': '\\\\' };

function quotedText(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  let escaped = '';
  for (const character of text) {
    if (character === quote) escaped += `\\${character}`;
    else if (Object.hasOwn(ESCAPES, character)) escaped += ESCAPES[character];
    else if (character !== ' ' && /[\p{C}\p{Z}]/u.test(character)) escaped += escapedCodePoint(character);
    else escaped += character;
  }
  return quote + escaped + quote;
}

function escapedCodePoint(character: string): string {
  const code = character.codePointAt(0)!;
  const hex = code.toString(16);
  if (code < 0x100) return `\\x${hex.padStart(2, '0')}`;
  return code < 0x10000 ? `\\u${hex.padStart(4, '0')}` : `\\U${hex.padStart(8, '0')}`;
}

// What Python's str.isspace() accepts; JavaScript's trim() differs (U+001C to U+001F, U+0085, U+FEFF).
const SPACE = '[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]';
const SURROUNDING_SPACE = new RegExp(`^${SPACE}+|${SPACE}+$`, 'g');
const NUMERIC = /^([+-]?)(?:\d+\.?\d*|\.\d+)(?:e([+-]?\d+))?$/i;
const INFINITE = /^([+-]?)inf(?:inity)?$/i;
/** Below every step between two levels: stands for magnitudes too small to write out. */
const TINY = Decimal.of(1n, -1000);

function numberFromText(text: string): FieldNumber | undefined {
  const plain = asciiDigits(text.replace(SURROUNDING_SPACE, '').replaceAll('_', ''));
  const infinite = INFINITE.exec(plain);
  if (infinite !== null) return infinite[1] === '-' ? '-infinity' : 'infinity';
  const match = NUMERIC.exec(plain);
  if (match === null) return undefined;
  return Decimal.tryParse(plain) ?? beyondRange(plain, match[1] === '-', match[2] ?? '0');
}

/** A number whose exponent is too large to compute with: only its side of the levels matters. */
function beyondRange(text: string, negative: boolean, exponent: string): FieldNumber {
  if (!/[1-9]/.test(text.replace(/e.*$/i, ''))) return Decimal.ZERO;
  if (exponent.startsWith('-')) return negative ? TINY.negated() : TINY;
  return negative ? '-infinity' : 'infinity';
}

/** Decimal digits of every script as 0 to 9. */
function asciiDigits(text: string): string {
  return text.replace(/[^\0-\x7f]/gu, (character) => {
    if (!isDigit(character)) return character;
    // Digits come in runs of ten that begin with zero.
    let code = character.codePointAt(0)!;
    let distance = 0;
    while (isDigit(String.fromCodePoint(code - 1))) {
      code--;
      distance++;
    }
    return String(distance % 10);
  });
}

function isDigit(character: string): boolean {
  return /^\p{Nd}$/u.test(character);
}
