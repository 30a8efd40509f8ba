import type { SummaryRow } from '../../reporting/summaries.js';
import type { PythonValue } from '../python-json.js';
import { badRequest } from './faults.js';

/** A column of a summary and how its value follows from the sums. */
export interface SummaryColumn {
  readonly name: string;
  value(row: SummaryRow): PythonValue;
}

/** `qty` and `rate`. */
export const DEFAULT_COLUMNS: readonly SummaryColumn[] = [
  { name: 'qty', value: ({ quantity }) => quantity },
  { name: 'rate', value: ({ price }) => price },
];

const FIELD = /^\s*(\w{1,64})\s*\(\s*(\w{1,64})\s*\)(?:\s+as\s+(?:(\w{1,64})|"([^"]{1,64})"))?\s*$/i;
const SUPPORTED = 'SUM(qty), SUM(price), COUNT(qty) and COUNT(price), each with or without "AS name"';
const MOST_COLUMNS = 32;

/**
 * The columns of `custom_fields`: `SUM(qty) AS quantity, COUNT(price)`. Only what storages answer exactly is understood; the
 * text is never passed on.
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
  const match = FIELD.exec(item);
  if (match === null) throw unsupported(`'${item.trim().slice(0, 80)}'`);
  const [call, field] = [match[1]!.toLowerCase(), match[2]!.toLowerCase()];
  const name = match[3] ?? match[4] ?? call;
  if (call === 'sum' && field === 'qty') return { name, value: ({ quantity }) => quantity };
  if (call === 'sum' && field === 'price') return { name, value: ({ price }) => price };
  if (call === 'count' && (field === 'qty' || field === 'price'))
    return { name, value: ({ points }) => points };
  throw unsupported(`'${item.trim().slice(0, 80)}'`);
}

function unsupported(what: string) {
  return badRequest(`${what} is not supported in custom_fields. Supported are ${SUPPORTED}.`);
}
