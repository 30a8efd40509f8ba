import Table from 'cli-table3';
import { visibleText } from '../config/human-text.js';

export interface Column {
  readonly title: string;
  /** Numbers stand to the right. */
  readonly isNumber?: boolean;
}

/** Rows below a header; columns are parted by two spaces. Without `withHeader`, the rows alone. */
export function renderTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  withHeader = true,
): string {
  const table = new Table({
    ...(withHeader ? { head: columns.map(({ title }) => title.toUpperCase()) } : {}),
    chars: Object.fromEntries(BORDERS.map((name) => [name, name === 'middle' ? '  ' : ''])),
    colAligns: columns.map(({ isNumber }) => (isNumber ? 'right' : 'left')),
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0, compact: true },
  });
  for (const row of rows) table.push(row.map(visibleText));
  return table
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}

const BORDERS = [
  'top',
  'top-mid',
  'top-left',
  'top-right',
  'bottom',
  'bottom-mid',
  'bottom-left',
  'bottom-right',
  'left',
  'left-mid',
  'mid',
  'mid-mid',
  'right',
  'right-mid',
  'middle',
];

/** One CSV line. Text that a spreadsheet would take for a formula is quoted with an apostrophe; numbers stay numbers. */
export function csvLine(columns: readonly Column[], row: readonly string[]): string {
  return row.map((cell, index) => csvCell(cell, columns[index]?.isNumber === true)).join(',');
}

export function csvHeader(columns: readonly Column[]): string {
  return csvLine(
    columns.map(({ title }) => ({ title })),
    columns.map(({ title }) => title),
  );
}

const FORMULA = /^[\s]*[=+\-@\t\r]/;

function csvCell(cell: string, isNumber: boolean): string {
  const safe = !isNumber && FORMULA.test(cell) ? `'${cell}` : cell;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
