import { parse } from 'lossless-json';
import {
  Attributes,
  type AttributeValue,
  Decimal,
  describeError,
  type Instant,
  isDecimal,
} from '../../core/plugin-api/index.js';

/** One line of a file: what was used, by whom, when. */
export interface DropSample {
  readonly scope: string;
  readonly scopeName: string | undefined;
  readonly metric: string;
  /** Decides which period the sample belongs to: its begin, or its one timestamp. */
  readonly at: Instant;
  /** Where the measured stretch ends; equal to `at` with a single timestamp. */
  readonly until: Instant;
  /** Exact decimal text. */
  readonly quantity: string;
  /** Canonical JSON of all further columns. */
  readonly attributes: string;
}

/** Why a line cannot be a sample. Never leaves the drop folder: the line goes to quarantine with this reason. */
export class BadLine extends Error {}

export interface RecordRules {
  readonly delimiter: string;
  /** A column of this name says the scope when there is no column `scope`. */
  readonly scopeKey: string;
  readonly allowNegative: boolean;
}

const MAX_NAME = 255;
const MAX_QUANTITY = 200;
const RESERVED = new Set(['begin', 'end', 'timestamp', 'scope', 'scope_name', 'metric', 'quantity']);
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this looks for
const CONTROL = /[\u0000-\u0008\u000a-\u001f\u007f]/;

/** Checks the first line of a CSV file. @throws BadLine: nothing of the file can be read then. */
export function readHeader(line: string, rules: RecordRules): readonly string[] {
  const names = splitRecord(line, rules.delimiter).map((name) => name.trim());
  const problems: string[] = [];
  const missing = ['metric', 'quantity'].filter((name) => !names.includes(name));
  if (!names.includes('scope') && !names.includes(rules.scopeKey)) missing.push('scope');
  if (!names.includes('begin') && !names.includes('timestamp')) missing.push('begin (or timestamp)');
  if (missing.length > 0) {
    problems.push(`the first line must be a header; it lacks ${missing.join(', ')}`);
    if (names.length === 1 && /[;\t|]/.test(line)) problems.push('is the option delimiter right?');
  }
  const twice = names.filter((name, index) => names.indexOf(name) !== index);
  if (twice.length > 0) problems.push(`the header has the column '${twice[0]}' twice`);
  if (names.includes('')) problems.push('the header has a column without a name');
  if (names.some((name) => name.length > MAX_NAME)) problems.push('the header has a name that is too long');
  if (problems.length > 0) throw new BadLine(problems.join('; '));
  return names;
}

/** A sample of a line below a header. @throws BadLine */
export function readCsvSample(line: string, header: readonly string[], rules: RecordRules): DropSample {
  const cells = splitRecord(line, rules.delimiter);
  if (cells.length !== header.length) {
    throw new BadLine(`the line has ${cells.length} columns, the header ${header.length}`);
  }
  if (cells.every((cell, index) => cell.trim() === header[index])) throw new BadLine('the header again');
  return toSample(header, cells, rules);
}

/** A sample of a JSON object. @throws BadLine */
export function readJsonSample(line: string, rules: RecordRules): DropSample {
  let value: unknown;
  try {
    value = parse(line, null, { parseNumber: jsonNumber });
  } catch (error) {
    if (error instanceof BadLine) throw error;
    // A line of a million brackets exhausts the stack: an error of the line as well.
    throw new BadLine(
      error instanceof RangeError ? 'nested too deeply' : `not JSON: ${describeError(error)}`,
    );
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value) || isDecimal(value)) {
    throw new BadLine('not a JSON object');
  }
  const entries = Object.entries(value);
  for (const [name, item] of entries) {
    if (name === '' || name.length > MAX_NAME) throw new BadLine('a name is empty or too long');
    if (typeof item === 'object' && item !== null && !isDecimal(item)) {
      throw new BadLine(`'${shorten(name)}' is neither text, number, true, false nor null`);
    }
  }
  return toSample(
    entries.map(([name]) => name),
    entries.map(([, item]) => item as AttributeValue),
    rules,
  );
}

/** Attributes as `DropSample.attributes` keeps them. */
export function readAttributes(text: string): ReadonlyMap<string, AttributeValue> {
  return new Map(Object.entries(parse(text, null, { parseNumber: jsonNumber }) as object));
}

/**
 * Cells of one CSV line (RFC 4180). A cell cannot go on over several lines: were it allowed, one stray quote would swallow
 * good lines after it.
 */
export function splitRecord(line: string, delimiter: string): readonly string[] {
  if (!line.includes('"')) return line.split(delimiter);
  const cells: string[] = [];
  let at = 0;
  while (true) {
    if (line[at] === '"') {
      const { text, next } = quotedCell(line, at);
      cells.push(text);
      at = next;
      if (at < line.length && !line.startsWith(delimiter, at)) {
        throw new BadLine('text follows the closing quote of a cell');
      }
    } else {
      const end = line.indexOf(delimiter, at);
      const text = line.slice(at, end < 0 ? undefined : end);
      if (text.includes('"')) throw new BadLine('a cell with a quote inside must be quoted as a whole');
      cells.push(text);
      at = end < 0 ? line.length : end;
    }
    if (at >= line.length) return cells;
    at += delimiter.length;
  }
}

function quotedCell(line: string, start: number): { readonly text: string; readonly next: number } {
  let text = '';
  for (let at = start + 1; ; ) {
    const quote = line.indexOf('"', at);
    if (quote < 0) throw new BadLine('a quote is not closed on its line');
    text += line.slice(at, quote);
    if (line[quote + 1] !== '"') return { text, next: quote + 1 };
    text += '"';
    at = quote + 2;
  }
}

function toSample(
  names: readonly string[],
  values: readonly AttributeValue[],
  rules: RecordRules,
): DropSample {
  const cell = (name: string) => values[names.indexOf(name)];
  const scopeColumn = names.includes('scope') ? 'scope' : rules.scopeKey;
  const time = cell('begin') ?? cell('timestamp');
  const at = instant(time, cell('begin') === undefined ? 'timestamp' : 'begin');
  const end = cell('end');
  const until = end === undefined || end === null || end === '' ? at : instant(end, 'end');
  if (until < at) throw new BadLine('end is before begin');
  const scopeName = cell('scope_name');
  return {
    scope: name(cell(scopeColumn), scopeColumn),
    scopeName:
      scopeName === undefined || scopeName === null || scopeName === ''
        ? undefined
        : name(scopeName, 'scope_name'),
    metric: name(cell('metric'), 'metric'),
    at,
    until,
    quantity: quantity(cell('quantity'), rules),
    attributes: otherColumns(names, values, scopeColumn),
  };
}

function otherColumns(
  names: readonly string[],
  values: readonly AttributeValue[],
  scopeColumn: string,
): string {
  const kept = names
    .map((_, index) => index)
    .filter((index) => {
      const column = names[index]!;
      return !RESERVED.has(column) && column !== scopeColumn;
    });
  return Attributes.of(
    kept.map((index) => names[index]!),
    kept.map((index) => values[index]!),
  ).canonical();
}

function name(value: AttributeValue | undefined, column: string): string {
  const text = isDecimal(value) ? value.toFixedScale() : value;
  if (typeof text !== 'string' || text.trim() === '') throw new BadLine(`${column} is empty`);
  if (text.length > MAX_NAME) throw new BadLine(`${column} is longer than ${MAX_NAME} characters`);
  if (CONTROL.test(text)) throw new BadLine(`${column} contains a control character`);
  if (text !== text.trim()) throw new BadLine(`${column} begins or ends with a blank`);
  return text;
}

function quantity(value: AttributeValue | undefined, rules: RecordRules): string {
  const text = isDecimal(value) ? value.toFixedScale() : typeof value === 'string' ? value.trim() : '';
  if (text.length > MAX_QUANTITY) throw new BadLine(`quantity is longer than ${MAX_QUANTITY} characters`);
  const number = Decimal.tryParse(text);
  if (number === undefined) throw new BadLine(`quantity '${shorten(String(text))}' is not a decimal number`);
  if (number.isNegative && !rules.allowNegative) {
    throw new BadLine(`quantity ${text} is negative; the option negative_quantities allows that`);
  }
  try {
    number.toStored();
  } catch (error) {
    throw new BadLine(`quantity: ${describeError(error)}`);
  }
  return text;
}

const ISO =
  /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,]\d{1,9})?)?\s*(Z|z|[+-]\d\d(?::?\d\d)?)?)?$/;
const EPOCH = /^\d{1,12}(?:\.\d{1,9})?$/;
const LAST_INSTANT = 253_402_300_800; // the year 10000

/** ISO 8601 (without an offset: UTC) or seconds since 1970; fractions of a second are cut, which keeps the period. */
export function instant(value: AttributeValue | undefined, column: string): Instant {
  const text = isDecimal(value) ? value.toFixedScale() : typeof value === 'string' ? value.trim() : '';
  const seconds = EPOCH.test(text) ? Math.floor(Number(text)) : isoSeconds(text);
  if (seconds === undefined || seconds < 0 || seconds >= LAST_INSTANT) {
    const hint = /^\d{13}$/.test(text) ? ' (milliseconds? seconds are asked for)' : '';
    throw new BadLine(
      `${column} '${shorten(text)}' is neither an ISO 8601 time nor seconds since 1970${hint}`,
    );
  }
  return seconds;
}

function isoSeconds(text: string): number | undefined {
  const match = ISO.exec(text);
  if (match === null) return undefined;
  const [year, month, day, hour, minute, second] = match.slice(1, 7).map((part) => Number(part ?? 0));
  const local = new Date(Date.UTC(year!, month! - 1, day, hour, minute, second));
  // Date.UTC takes the 30th of February for the 2nd of March, and the year 99 for 1999.
  if (
    local.getUTCMonth() !== month! - 1 ||
    local.getUTCFullYear() !== year ||
    hour! > 23 ||
    minute! > 59 ||
    second! > 59
  ) {
    return undefined;
  }
  return local.getTime() / 1000 - offsetSeconds(match[7]);
}

function offsetSeconds(offset: string | undefined): number {
  if (offset === undefined || offset.toUpperCase() === 'Z') return 0;
  const digits = offset.slice(1).replace(':', '');
  const seconds = Number(digits.slice(0, 2)) * 3600 + Number(digits.slice(2) || 0) * 60;
  return offset.startsWith('-') ? -seconds : seconds;
}

function jsonNumber(literal: string): Decimal {
  const number = literal.length > MAX_QUANTITY ? undefined : Decimal.tryParse(literal);
  if (number === undefined || Math.abs(number.exponent) > 400) {
    throw new BadLine(`number ${shorten(literal)} is out of range`);
  }
  return number;
}

function shorten(text: string): string {
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
