import { type Command, Option } from 'commander';
import type { RatedPoint, StoredFrame } from '../plugin-api/index.js';
import { isoTime } from '../scopes/iso-time.js';
import { type Cli, examples, UsageError } from './cli.js';
import type { Output } from './output.js';
import { attributesText, pointJson } from './point-json.js';
import { addSelection, parseRange, type SelectionOptions, toQuery, wholeNumber } from './report-options.js';
import { type Column, csvHeader, csvLine, renderTable } from './table.js';
import { withServices } from './with-services.js';

interface Options extends SelectionOptions {
  readonly limit?: number;
  readonly offset?: number;
  readonly json?: true;
  readonly csv?: true;
  readonly gaps?: true;
}

/** Rows that are laid out together; a million points must not wait in memory for the widest of them. */
const BLOCK = 500;

const COLUMNS: readonly Column[] = [
  { title: 'begin' },
  { title: 'end' },
  { title: 'source' },
  { title: 'scope' },
  { title: 'metric' },
  { title: 'quantity', isNumber: true },
  { title: 'unit' },
  { title: 'price', isNumber: true },
  { title: 'attributes' },
];

export function define(command: Command, cli: Cli): void {
  addSelection(
    command.description(
      'Every rated point, in order of period, source and scope. Without --begin and --end: the current month of ' +
        'billing.timezone.',
    ),
  )
    .option('--limit <count>', 'at most so many points', wholeNumber(1))
    .option('--offset <count>', 'leave out so many points first', wholeNumber(0))
    .option('--gaps', 'what could not be measured, in place of the points')
    .option('--json', 'one JSON object per line and point; numbers as exact text')
    .addOption(new Option('--csv', 'CSV for a spreadsheet').conflicts('json'))
    .addHelpText(
      'after',
      examples(
        ['ratecat dataframes --limit 20', 'the first points of this month'],
        ['ratecat dataframes --gaps', 'what is missing in the bill, and why'],
        ['ratecat dataframes -s web1 -m cpu -b 2026-01-31 --json', 'one scope and metric from that day on'],
      ),
    )
    .action((options: Options) => cli.run(() => dataframes(cli, options)));
}

async function dataframes(cli: Cli, options: Options): Promise<undefined> {
  await withServices(cli, async ({ services, signal }) => {
    const range = parseRange(options, services.calendar, Math.floor(Date.now() / 1000));
    const query = await toQuery(options, range, services, signal);
    const { limit, offset } = options;
    if (options.gaps && (limit ?? offset) !== undefined) throw new UsageError('--gaps cannot be paged.');
    const frames = services.storage.readPeriods({ ...query, limit, offset }, signal);
    await writeRows(cli.output, options, options.gaps ? GAP_LAYOUT : POINT_LAYOUT, frames);
  });
  return undefined;
}

/** What is shown of a frame, as rows of a table or as lines of JSON. */
interface Layout {
  readonly columns: readonly Column[];
  rows(frame: StoredFrame): readonly (readonly string[])[];
  json(frame: StoredFrame): readonly string[];
}

const POINT_LAYOUT: Layout = {
  columns: COLUMNS,
  rows: (frame) => frame.points.map((point) => cells(frame, point)),
  json: (frame) => frame.points.map((point) => pointJson(frame, point)),
};

const GAP_LAYOUT: Layout = {
  columns: ['begin', 'end', 'source', 'scope', 'metric', 'reason'].map((title) => ({ title })),
  rows: (frame) => gapsOf(frame).map((gap) => Object.values(gap)),
  json: (frame) => gapsOf(frame).map((gap) => JSON.stringify(gap)),
};

function gapsOf({ source, scope, period, gaps }: StoredFrame) {
  const [begin, end] = [isoTime(period.begin), isoTime(period.end)];
  return gaps.map(({ metric, reason }) => ({ begin, end, source, scope: scope.id, metric, reason }));
}

async function writeRows(
  output: Output,
  options: Options,
  layout: Layout,
  frames: AsyncIterable<StoredFrame>,
): Promise<void> {
  if (options.json) {
    for await (const frame of frames) for (const line of layout.json(frame)) await output.line(line);
  } else if (options.csv) {
    await output.line(csvHeader(layout.columns));
    for await (const frame of frames)
      for (const row of layout.rows(frame)) await output.line(csvLine(layout.columns, row));
  } else await writeTable(output, layout, frames);
}

async function writeTable(
  output: Output,
  { columns, rows: rowsOf }: Layout,
  frames: AsyncIterable<StoredFrame>,
): Promise<void> {
  let rows: (readonly string[])[] = [];
  let written = 0;
  const flush = async () => {
    if (rows.length === 0) return;
    await output.line(renderTable(columns, rows, written === 0));
    written += rows.length;
    rows = [];
  };
  for await (const frame of frames) {
    for (const row of rowsOf(frame)) {
      rows.push(row);
      if (rows.length === BLOCK) await flush();
    }
  }
  await flush();
  if (written === 0) await output.line('There is nothing to show.');
}

function cells(
  { source, scope, period }: StoredFrame,
  { descriptor, quantity, price }: RatedPoint,
): string[] {
  return [
    isoTime(period.begin),
    isoTime(period.end),
    source,
    scope.id,
    descriptor.metric,
    quantity.toString(),
    descriptor.unit,
    price.toString(),
    attributesText(descriptor.groupby, descriptor.metadata),
  ];
}
