import { type Command, InvalidArgumentError, Option } from 'commander';
import { configError } from '../config/problems.js';
import { optionsFromValue } from '../config/validate-options.js';
import { billingCalendar } from '../daemon/billing-calendar.js';
import { readRulesFile } from '../daemon/prepare-rules.js';
import { systemClock } from '../daemon/system-clock.js';
import { httpFactory } from '../loading/http-client.js';
import { pluginContext } from '../loading/plugin-context.js';
import { preparePlugin } from '../loading/prepare-plugin.js';
import {
  Attributes,
  Decimal,
  type Frame,
  type Instant,
  type MeasuredPoint,
  type RatedPoint,
  type RatingModule,
} from '../plugin-api/index.js';
import { rateFrame } from '../rating/rate-frame.js';
import { isoTime } from '../scopes/iso-time.js';
import { type Cli, examples, UsageError } from './cli.js';
import { attributesText, pointJson } from './point-json.js';
import { inputName, openInput, unreadable } from './read-input.js';
import { wholeNumber } from './report-options.js';
import { type Column, csvHeader, csvLine, renderTable } from './table.js';
import { formatOf, instantOf, readUsage, type UsageFormat, type UsageLine } from './usage-file.js';

interface Options {
  readonly rules: string;
  readonly usage: string;
  readonly format?: UsageFormat;
  readonly module: string;
  readonly compat: 'strict' | 'fixed';
  readonly scope: string;
  readonly scopeKey: string;
  readonly begin?: Instant;
  readonly period: number;
  readonly json?: true;
  readonly csv?: true;
}

/** What frames that come from a file are said to come from. */
const SOURCE = 'file';

export function define(command: Command, cli: Cli): void {
  command
    .description(
      'Puts prices on a file of usage with a file of rules, exactly as the daemon would, and stores nothing. No database ' +
        'and no configuration is needed.\n\n' +
        'Usage is CSV with a header, or NDJSON: the columns metric and quantity, optionally unit, scope and begin; every ' +
        'other column is an attribute that rules can look at.',
    )
    .requiredOption('-r, --rules <file>', 'rules, as of ratecat rules export')
    .requiredOption('-u, --usage <file>', 'usage, - for standard input')
    .addOption(
      new Option('--format <format>', 'of the usage, where its name does not tell').choices([
        'csv',
        'ndjson',
      ]),
    )
    .addOption(new Option('--module <name>', 'rating module that reads the rules').default('hashmap'))
    .addOption(new Option('--compat <compat>', 'arithmetic').choices(['strict', 'fixed']).default('fixed'))
    .addOption(new Option('-s, --scope <id>', 'scope of lines that name none').default(''))
    .addOption(new Option('--scope-key <name>', 'what identifies scopes').default('project_id'))
    .addOption(
      new Option(
        '-b, --begin <time>',
        'begin of the period of lines that name none; default: this period',
      ).argParser(beginOption),
    )
    .addOption(new Option('--period <seconds>', 'length of a period').argParser(wholeNumber(1)).default(3600))
    .option('--json', 'one JSON object per line and point; numbers as exact text')
    .addOption(new Option('--csv', 'CSV for a spreadsheet').conflicts('json'))
    .addHelpText(
      'after',
      examples(
        ['ratecat rate --rules prices.yml --usage usage.csv', 'what would this usage cost?'],
        [
          `printf 'metric,quantity,flavor\\ninstance,1,m1.small\\n' | ratecat rate -r prices.yml -u -`,
          'the price of one thing',
        ],
      ),
    )
    .action((options: Options) => cli.run(() => rate(cli, options)));
}

function beginOption(text: string): Instant {
  try {
    return instantOf(text);
  } catch {
    throw new InvalidArgumentError('Write 2026-01-31 or 2026-01-31T12:00:00Z.');
  }
}

async function rate(cli: Cli, options: Options): Promise<undefined> {
  const document = await readRulesFile(options.rules);
  const module = await ratingModule(options);
  const rules = module.rulesDocument?.toRules(document);
  if (rules === undefined) throw new UsageError(`The rating module '${options.module}' takes no rules.`);
  const usage = await usageOf(cli, options);
  const frames: Frame<RatedPoint>[] = [];
  for (const frame of framesOf(usage, options)) {
    const compiled = module.compile(rules, frame.scope.id === '' ? undefined : frame.scope);
    const rated = await rateFrame(
      frame,
      [{ name: options.module, rating: compiled }],
      new AbortController().signal,
    );
    frames.push({ ...rated, points: rated.points.map(asStored) });
  }
  await write(cli, options, frames);
  return undefined;
}

/** The module as it comes, without a database. */
async function ratingModule(options: Options): Promise<RatingModule> {
  const written = { plugin: options.module, options: optionsFromValue({}, '--module') };
  const { plugin, problems } = await preparePlugin('rating', written, process.cwd());
  if (plugin === undefined) throw configError(problems);
  const quiet = () => undefined;
  const logger = { error: quiet, warn: quiet, info: quiet, debug: quiet };
  const context = {
    logger: { ...logger, child: () => logger },
    clock: systemClock,
    calendar: billingCalendar('UTC'),
    http: httpFactory,
    compat: options.compat,
    dataFolder: process.cwd(),
    configFolder: process.cwd(),
  };
  return plugin.create(pluginContext(context, plugin, {}));
}

async function usageOf(cli: Cli, { usage, format }: Options): Promise<readonly UsageLine[]> {
  try {
    return await readUsage(openInput(usage, cli), format ?? formatOf(usage), inputName(usage));
  } catch (error) {
    return unreadable(usage, error);
  }
}

/** One frame per scope and period, in the order in which the file comes to them. */
function framesOf(usage: readonly UsageLine[], options: Options): readonly Frame<MeasuredPoint>[] {
  const { period, scopeKey } = options;
  const now = Math.floor(Date.now() / 1000);
  const defaultBegin = options.begin ?? now - (now % period);
  const frames = new Map<string, Frame<MeasuredPoint> & { readonly points: MeasuredPoint[] }>();
  for (const line of usage) {
    const begin = line.begin ?? defaultBegin;
    const id = line.scope ?? options.scope;
    const key = JSON.stringify([begin, id]);
    const frame = frames.get(key) ?? {
      source: SOURCE,
      scope: { key: scopeKey, id },
      period: { begin, end: begin + period },
      points: [],
      gaps: [],
    };
    frames.set(key, frame);
    frame.points.push(toPoint(line, options));
  }
  return [...frames.values()];
}

function toPoint({ metric, unit, quantity, attributes }: UsageLine, { compat }: Options): MeasuredPoint {
  const descriptor = {
    metric,
    unit,
    groupby: attributes,
    metadata: Attributes.EMPTY,
    description: undefined,
  };
  return { descriptor, quantity: compat === 'strict' ? quantity : quantity.toStored() };
}

function asStored(point: RatedPoint): RatedPoint {
  return { ...point, quantity: point.quantity.toStored(), price: point.price.toStored() };
}

const COLUMNS: readonly Column[] = [
  { title: 'begin' },
  { title: 'scope' },
  { title: 'metric' },
  { title: 'quantity', isNumber: true },
  { title: 'unit' },
  { title: 'price', isNumber: true },
  { title: 'attributes' },
];

async function write({ output }: Cli, options: Options, frames: readonly Frame<RatedPoint>[]): Promise<void> {
  const points = frames.flatMap((frame) => frame.points.map((point) => ({ frame, point })));
  if (options.json) {
    for (const { frame, point } of points) await output.line(pointJson(frame, point));
    return;
  }
  const rows = points.map(({ frame, point }) => cells(frame, point));
  if (options.csv) {
    await output.line(csvHeader(COLUMNS));
    for (const row of rows) await output.line(csvLine(COLUMNS, row));
    return;
  }
  const total = points.reduce((sum, { point }) => sum.plus(point.price), Decimal.ZERO);
  await output.line(renderTable(COLUMNS, rows));
  await output.line(`\nTotal ${total}`);
}

function cells({ scope, period }: Frame<RatedPoint>, { descriptor, quantity, price }: RatedPoint): string[] {
  return [
    isoTime(period.begin),
    scope.id,
    descriptor.metric,
    quantity.toString(),
    descriptor.unit,
    price.toString(),
    attributesText(descriptor.groupby),
  ];
}
