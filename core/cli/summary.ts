import { type Command, Option } from 'commander';
import { Decimal, type GroupKey, type PointQuery, type Total } from '../plugin-api/index.js';
import { isoTime } from '../scopes/iso-time.js';
import { type Cli, examples } from './cli.js';
import {
  addSelection,
  groupTitle,
  parseGroups,
  parseRange,
  type SelectionOptions,
  toQuery,
} from './report-options.js';
import { type Column, csvHeader, csvLine, renderTable } from './table.js';
import { withServices } from './with-services.js';

interface Options extends SelectionOptions {
  readonly groupBy?: readonly GroupKey[];
  readonly json?: true;
  readonly csv?: true;
}

export function define(command: Command, cli: Cli): void {
  addSelection(
    command.description(
      'Sums of prices, exact to the last digit. A period counts where it begins. Without --begin and --end: the current ' +
        'month of billing.timezone.',
    ),
  )
    .addOption(
      new Option(
        '-g, --group-by <keys>',
        'type (of usage), scope, time (period), time-d, time-w, time-m, time-y, or any attribute; with commas',
      ).argParser(parseGroups),
    )
    .option('--json', 'one JSON document; numbers as exact text')
    .addOption(new Option('--csv', 'CSV for a spreadsheet').conflicts('json'))
    .addHelpText(
      'after',
      examples(
        ['ratecat summary', 'the total of this month'],
        ['ratecat summary --group-by scope,type', 'who owes what for which kind of usage'],
        [
          'ratecat summary -b 2026-01 -e 2026-02 -g time-d -f flavor=m1.small --csv > january.csv',
          'January by day, one flavor, for a spreadsheet',
        ],
      ),
    )
    .action((options: Options) => cli.run(() => summary(cli, options)));
}

async function summary(cli: Cli, options: Options): Promise<undefined> {
  await withServices(cli, async ({ services, signal }) => {
    const range = parseRange(options, services.calendar, Math.floor(Date.now() / 1000));
    const query = await toQuery(options, range, services, signal);
    const groupby = options.groupBy ?? [];
    const { rows } = await services.storage.total({ ...query, groupby }, signal);
    if (options.json) await cli.output.line(JSON.stringify(toJson(query, groupby, rows), null, 2));
    else await show(cli, query, groupby, rows, options.csv === true);
  });
  return undefined;
}

function toJson(range: PointQuery, groupby: readonly GroupKey[], rows: readonly Total[]) {
  return {
    begin: isoTime(range.begin),
    end: isoTime(range.end),
    group_by: groupby.map(groupTitle),
    total: sumOf(rows).toString(),
    rows: rows.map((row) => ({
      group: row.group,
      begin: isoTime(row.begin),
      end: isoTime(row.end),
      quantity: row.quantity.toString(),
      price: row.price.toString(),
      points: row.points,
    })),
  };
}

async function show(
  { output }: Cli,
  range: PointQuery,
  groupby: readonly GroupKey[],
  rows: readonly Total[],
  asCsv: boolean,
): Promise<void> {
  // Quantities of different kinds have different units: their sum means nothing.
  const hasQuantity = groupby.some(({ kind }) => kind === 'type') || range.metrics?.length === 1;
  const columns: Column[] = [
    ...groupby.map((key) => ({ title: groupTitle(key) })),
    ...(hasQuantity ? [{ title: 'quantity', isNumber: true }] : []),
    { title: 'price', isNumber: true },
    { title: 'points', isNumber: true },
  ];
  const cells = (row: Total) => [
    ...row.group,
    ...(hasQuantity ? [row.quantity.toString()] : []),
    row.price.toString(),
    String(row.points),
  ];
  if (asCsv) {
    await output.line(csvHeader(columns));
    for (const row of rows) await output.line(csvLine(columns, cells(row)));
    return;
  }
  const span = `${isoTime(range.begin)} to ${isoTime(range.end)}`;
  if (rows.length === 0) return output.line(`Nothing was rated from ${span}.`);
  await output.line(renderTable(columns, rows.map(cells)));
  await output.line(`\nTotal ${sumOf(rows)}, ${span}`);
}

function sumOf(rows: readonly Total[]): Decimal {
  return rows.reduce((sum, row) => sum.plus(row.price), Decimal.ZERO);
}
