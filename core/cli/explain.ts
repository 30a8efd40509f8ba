import type { Command } from 'commander';
import { visibleText } from '../config/human-text.js';
import { EXIT } from '../daemon/exit-codes.js';
import type { FrameQuery, JsonValue, Period } from '../plugin-api/index.js';
import type { ExplainedFrame, ExplainedPoint } from '../reporting/explainer.js';
import { isoTime } from '../scopes/iso-time.js';
import { type Cli, examples, UsageError } from './cli.js';
import { attributesText, pointJson } from './point-json.js';
import {
  addSelection,
  parseInstant,
  parseRange,
  type SelectionOptions,
  toQuery,
  wholeNumber,
} from './report-options.js';
import { type Session, withServices } from './with-services.js';

interface Options extends SelectionOptions {
  readonly limit?: number;
  readonly json?: true;
}

export function define(command: Command, cli: Cli): void {
  addSelection(
    command.description(
      'Computes stored prices again from the stored quantities and the rules of their time, step by step. With --begin ' +
        'alone: the period that holds this instant; without: the newest rated one. Exit code 1 when a price does not agree.',
    ),
  )
    .option('--limit <count>', 'at most so many points', wholeNumber(1))
    .option('--json', 'one JSON object per line and point')
    .addHelpText(
      'after',
      examples(
        ['ratecat explain --scope web1', 'every price of the newest period of this scope'],
        ['ratecat explain -s web1 -b 2026-01-31T12:00:00Z -m cpu', 'one metric of one period'],
        ['ratecat explain -b 2026-01 -e 2026-02 --json > january.ndjson', 'check a whole month'],
      ),
    )
    .action((options: Options) => cli.run(() => explain(cli, options)));
}

async function explain(cli: Cli, options: Options): Promise<number> {
  return withServices(cli, async (session) => {
    const { services, signal } = session;
    const range = await chosenRange(options, session);
    const query: FrameQuery = { ...(await toQuery(options, range, services, signal)), limit: options.limit };
    const counts = { points: 0, wrong: 0 };
    for await (const explained of services.explainer.explain(query, signal)) {
      if (!holds(options, range, explained.frame.period)) continue;
      for (const point of explained.points) {
        counts.points++;
        if (!point.agrees) counts.wrong++;
        await cli.output.line(options.json ? toJson(explained, point) : toText(explained, point));
      }
    }
    if (!options.json) await cli.output.line(verdict(counts.points, counts.wrong));
    return counts.wrong === 0 ? EXIT.ok : EXIT.no;
  });
}

/** Without --end, one period is meant: read far enough back that its begin is found. */
async function chosenRange(options: Options, { config, services }: Session): Promise<Period> {
  if (options.end !== undefined) return parseRange(options, services.calendar, Math.floor(Date.now() / 1000));
  const instant =
    options.begin === undefined
      ? await newestBegin(options, services.states)
      : parseInstant(options.begin, services.calendar.timeZone);
  const longest = Math.max(...config.pipelines.map(({ collect }) => collect.periodSeconds));
  return { begin: Math.max(0, instant - longest + 1), end: instant + 1 };
}

async function newestBegin(options: Options, states: Session['services']['states']): Promise<number> {
  const begins = (await states.list())
    .filter(({ scope }) => options.scope?.includes(scope.id) ?? true)
    .flatMap(({ lastBegin }) => lastBegin ?? []);
  if (begins.length > 0) return Math.max(...begins);
  throw new UsageError(
    "Nothing is rated yet that could be explained. 'ratecat status' shows the state of each scope.",
  );
}

/** Of the range that was read to find one period, only that one counts. */
function holds(options: Options, range: Period, period: Period): boolean {
  return options.end !== undefined || period.end >= range.end;
}

function toText({ frame }: ExplainedFrame, explained: ExplainedPoint): string {
  const { descriptor, quantity, price } = explained.point;
  const attributes = attributesText(descriptor.groupby, descriptor.metadata);
  const steps = explained.modules.flatMap(({ module, steps: all }) =>
    all.map(({ text, price: after }) => `  ${module.padEnd(9)} ${text}  →  ${after}`),
  );
  const end = explained.agrees
    ? `  stored    ${price}, agrees`
    : `  stored    ${price}, DISAGREES: the rules of its time give ${explained.recomputed}`;
  const head = `${isoTime(frame.period.begin)} ${frame.scope.id} ${descriptor.metric}: ${quantity} ${descriptor.unit}`;
  return [`${head}  ${attributes}`, ...steps, end].map(visibleText).join('\n');
}

function toJson({ frame }: ExplainedFrame, { point, modules, recomputed, agrees }: ExplainedPoint): string {
  const steps = modules.map(({ module, steps: all, price }) => ({
    module,
    price: price.toString(),
    steps: all.map(({ text, rule, price: after }) => ({
      text,
      rule: rule as JsonValue,
      price: after.toString(),
    })),
  }));
  const more = JSON.stringify({
    snapshot: frame.snapshot,
    modules: steps,
    recomputed: recomputed.toString(),
    agrees,
  });
  return pointJson(frame, point, `,${more.slice(1, -1)}`);
}

function verdict(points: number, wrong: number): string {
  if (points === 0) return 'There are no points to explain.';
  return wrong === 0 ? `${points} explained, all agree.` : `${points} explained, ${wrong} DISAGREE.`;
}
