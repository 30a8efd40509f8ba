import type { SummaryRow } from '../../reporting/summaries.js';
import type { PythonValue } from '../python-json.js';
import { quotient } from '../quotient.js';
import type { Extremes } from './extremes.js';
import { badRequest } from './faults.js';

/** Sums and, where a column needs them, the smallest and largest values. */
export interface ReportRow extends SummaryRow {
  readonly extremes?: Extremes | undefined;
}

/** A column of a summary and how its value follows from the row. */
export interface SummaryColumn {
  readonly name: string;
  readonly needsExtremes: boolean;
  value(row: ReportRow): PythonValue;
}

type Value = 'quantity' | 'price';
type ColumnValue = SummaryColumn['value'];

const FIELDS: ReadonlyMap<string, Value> = new Map([
  ['qty', 'quantity'],
  ['price', 'price'],
]);

function mean(value: Value): ColumnValue {
  return (row) => (row.points === 0 ? null : quotient(row[value], row.points));
}

const SUMS: ReadonlyMap<string, (value: Value) => ColumnValue> = new Map([
  ['sum', (value) => (row) => row[value]],
  ['count', () => (row) => row.points],
  ['mean', mean],
  ['avg', mean],
]);

/** No sum tells them: the points have to be read. */
const EXTREMES: typeof SUMS = new Map([
  ['min', (value) => (row) => row.extremes?.least[value] ?? null],
  ['max', (value) => (row) => row.extremes?.most[value] ?? null],
]);

/** `qty` and `rate`. */
export const DEFAULT_COLUMNS: readonly SummaryColumn[] = [
  { name: 'qty', needsExtremes: false, value: ({ quantity }) => quantity },
  { name: 'rate', needsExtremes: false, value: ({ price }) => price },
];

const FIELD = /^\s*(\w{1,64})\s*\(\s*(\w{1,64})\s*\)(?:\s+as\s+(?:(\w{1,64})|"([^"]{1,64})"))?\s*$/i;
const SUPPORTED = 'SUM, COUNT, MEAN (or AVG), MIN and MAX of qty and price, each with or without "AS name"';
const MOST_COLUMNS = 32;

/**
 * The columns of `custom_fields`: `SUM(qty) AS quantity, COUNT(price)`. Only what is exact is understood; the text is never
 * passed on.
 * @throws Fault 400 that names what is supported.
 */
export function customColumns(text: string): readonly SummaryColumn[] {
  const items = text.split(',');
  if (items.length > MOST_COLUMNS) throw unsupported(`${items.length} fields`);
  const columns = items.map(customColumn);
  const names = new Set(columns.map(({ name }) => name));
  if (names.size < columns.length)
    throw badRequest('Two of the custom_fields have the same name: give them names with AS.');
  return columns;
}

function customColumn(item: string): SummaryColumn {
  const [, call = '', value = '', plainName, quotedName] = FIELD.exec(item) ?? [];
  const [lower, field] = [call.toLowerCase(), FIELDS.get(value.toLowerCase())];
  const columnValue = SUMS.get(lower) ?? EXTREMES.get(lower);
  if (field === undefined || columnValue === undefined) throw unsupported(`'${item.trim().slice(0, 80)}'`);
  const name = plainName ?? quotedName ?? lower;
  return { name, needsExtremes: EXTREMES.has(lower), value: columnValue(field) };
}

function unsupported(what: string) {
  return badRequest(`${what} is not supported in custom_fields. Supported are ${SUPPORTED}.`);
}
