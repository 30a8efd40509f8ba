import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { CsvError, parse as parseCsv } from 'csv-parse';
import { parse as parseJson } from 'lossless-json';
import { DateTime } from 'luxon';
import { visibleText } from '../config/human-text.js';
import {
  Attributes,
  type AttributeValue,
  DataError,
  Decimal,
  type Instant,
  isDecimal,
} from '../plugin-api/index.js';

/** One measured quantity of a usage file. */
export interface UsageLine {
  readonly metric: string;
  readonly quantity: Decimal;
  readonly unit: string;
  /** Absent: what the command line says. */
  readonly scope: string | undefined;
  readonly begin: Instant | undefined;
  /** Every other column. */
  readonly attributes: Attributes;
}

export type UsageFormat = 'csv' | 'ndjson';

/** More bad lines than this help nobody. */
const NAMED_PROBLEMS = 20;
const OWN_COLUMNS = ['metric', 'quantity', 'unit', 'scope', 'begin'];

/** By the end of the name: NDJSON for .ndjson, .jsonl and .json, CSV otherwise. */
export function formatOf(file: string): UsageFormat {
  return /\.(ndjson|jsonl|json)$/i.test(file) ? 'ndjson' : 'csv';
}

/**
 * Reads usage: CSV with a header, or one JSON object per line. Needs `metric` and `quantity`; takes `unit`, `scope` and
 * `begin`; everything else is an attribute. Numbers keep every digit.
 * @throws DataError RATECAT_USAGE_MALFORMED that names each bad line.
 */
export async function readUsage(
  stream: NodeJS.ReadableStream,
  format: UsageFormat,
  name: string,
): Promise<readonly UsageLine[]> {
  const problems: string[] = [];
  const lines: UsageLine[] = [];
  const report = (line: number, message: string) => {
    problems.push(`${name}:${line}: ${visibleText(message)}`);
  };
  for await (const { record, line } of format === 'csv'
    ? csvRecords(stream, report)
    : jsonRecords(stream, report)) {
    try {
      lines.push(toUsage(record));
    } catch (error) {
      report(line, (error as Error).message);
    }
  }
  if (problems.length > 0) throw malformed(problems);
  if (lines.length === 0) throw malformed([`${name}: there is no usage in it`]);
  return lines;
}

function malformed(problems: readonly string[]): DataError {
  const named = problems.slice(0, NAMED_PROBLEMS);
  const more = problems.length > named.length ? `\n… and ${problems.length - named.length} more` : '';
  const count = problems.length === 1 ? 'a problem' : `${problems.length} problems`;
  return new DataError(
    'RATECAT_USAGE_MALFORMED',
    `The usage has ${count}; nothing is rated:\n${named.join('\n')}${more}`,
  );
}

interface Located {
  readonly record: ReadonlyMap<string, AttributeValue>;
  readonly line: number;
}

type Report = (line: number, message: string) => void;

async function* csvRecords(stream: NodeJS.ReadableStream, report: Report): AsyncGenerator<Located> {
  const parser = parseCsv({
    bom: true,
    info: true,
    relax_column_count: true,
    skip_empty_lines: true,
    trim: true,
  });
  // Errors of the source have to reach the reader of the parser.
  const parsed = (stream as Readable).on('error', (error) => parser.destroy(error)).pipe(parser);
  let header: readonly string[] | undefined;
  try {
    for await (const { record, info } of parsed as AsyncIterable<CsvRecord>) {
      // Lines count to the end of a record; a quoted line break makes it longer than one.
      const line = info.lines - record.join('').split('\n').length + 1;
      if (header === undefined) {
        header = record;
        const missing = ['metric', 'quantity'].filter((column) => !record.includes(column));
        const double = record.find((column, index) => record.indexOf(column) !== index);
        if (missing.length > 0)
          report(line, `the first line must name the columns; ${missing.join(' and ')} missing`);
        if (double !== undefined) report(line, `the column '${double}' is there twice`);
        if (missing.length > 0 || double !== undefined) return;
      } else if (record.length !== header.length) {
        report(line, `has ${record.length} columns, the first line has ${header.length}`);
      } else yield { record: filled(header, record), line };
    }
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    report(Number((error as CsvError & { lines?: number }).lines ?? 1), error.message);
  } finally {
    parser.destroy();
  }
}

/** CSV cannot tell an empty text from none: a line of another kind leaves its neighbours' columns empty. */
function filled(header: readonly string[], record: readonly string[]): ReadonlyMap<string, string> {
  const cells = header.map((column, index) => [column, record[index]!] as const);
  return new Map(cells.filter(([, text]) => text !== ''));
}

interface CsvRecord {
  readonly record: readonly string[];
  readonly info: { readonly lines: number };
}

async function* jsonRecords(stream: NodeJS.ReadableStream, report: Report): AsyncGenerator<Located> {
  const source = stream as Readable;
  let failure: Error | undefined;
  const reader = createInterface({ input: source, crlfDelay: Number.POSITIVE_INFINITY });
  source.on('error', (error) => {
    failure = error;
    reader.close();
  });
  let line = 0;
  for await (const text of reader) {
    line++;
    if (text.trim() === '') continue;
    const record = jsonRecord(text, (message) => report(line, message));
    if (record !== undefined) yield { record, line };
  }
  if (failure !== undefined) throw failure;
}

function jsonRecord(
  text: string,
  report: (message: string) => void,
): ReadonlyMap<string, AttributeValue> | undefined {
  try {
    const value = parseJson(text, null, (literal) => Decimal.parse(literal)) as AttributeValue;
    if (typeof value === 'object' && value !== null && !Array.isArray(value) && !isDecimal(value))
      return new Map(Object.entries(value));
    report('is not a JSON object');
  } catch (error) {
    report(`is not JSON: ${(error as Error).message}`);
  }
  return undefined;
}

function toUsage(record: ReadonlyMap<string, AttributeValue>): UsageLine {
  const others = [...record].filter(([name]) => !OWN_COLUMNS.includes(name));
  const begin = record.get('begin');
  return {
    metric: required(record.get('metric'), 'metric'),
    quantity: quantityOf(record.get('quantity')),
    unit: textOf(record.get('unit'), 'unit') ?? '',
    scope: textOf(record.get('scope'), 'scope'),
    begin: begin === undefined || begin === null || begin === '' ? undefined : instantOf(begin),
    attributes: Attributes.of(
      others.map(([name]) => name),
      others.map(([, value]) => value),
    ),
  };
}

function required(value: AttributeValue | undefined, name: string): string {
  const text = textOf(value, name);
  if (text === undefined) throw new Error(`${name} is missing`);
  return text;
}

function textOf(value: AttributeValue | undefined, name: string): string | undefined {
  if (value === undefined || value === null || value === '') return undefined;
  if (typeof value === 'string') return value;
  if (isDecimal(value)) return value.toFixedScale();
  throw new Error(`${name} is not text`);
}

function quantityOf(value: AttributeValue | undefined): Decimal {
  if (isDecimal(value)) return value;
  const text = required(value, 'quantity');
  const quantity = Decimal.tryParse(text);
  if (quantity === undefined) throw new Error(`the quantity '${text.slice(0, 60)}' is not a number`);
  return quantity;
}

/** Without an offset, UTC is meant. */
export function instantOf(value: AttributeValue): Instant {
  const text = typeof value === 'string' ? value : '';
  const seconds = DateTime.fromISO(text, { zone: 'utc' }).toSeconds();
  if (Number.isSafeInteger(seconds) && seconds >= 0) return seconds;
  throw new Error(
    `begin '${isDecimal(value) ? value.toString() : text.slice(0, 60)}' is not like 2026-01-31T12:00:00Z`,
  );
}
