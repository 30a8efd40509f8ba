import { createInterface } from 'node:readline/promises';
import type { Command } from 'commander';
import type { Config } from '../config/config.js';
import { systemClock } from '../daemon/system-clock.js';
import type { KeptLimits } from '../plugin-api/index.js';
import { Retention } from '../retention/retention.js';
import type { PlannedMetric, RetentionPlan } from '../retention/retention-plan.js';
import { isoTime } from '../scopes/iso-time.js';
import { ReprocessTasks } from '../scopes/reprocess-tasks.js';
import { author } from './author.js';
import { type Cli, examples, UsageError } from './cli.js';
import { type Column, renderTable } from './table.js';
import { type Session, withServices } from './with-services.js';

interface PlanOptions {
  readonly json?: true;
}

interface ApplyOptions {
  readonly yes?: true;
}

const COLUMNS: readonly Column[] = [
  { title: 'source' },
  { title: 'scope' },
  { title: 'metric' },
  { title: 'points from' },
  { title: 'daily sums from' },
  { title: 'monthly sums from' },
  { title: 'points dropped', isNumber: true },
  { title: 'about MiB', isNumber: true },
];

const LOST = {
  points:
    'Before "points from": no list of points, no explanation, no groups or filters by attributes (except those that never varied), ' +
    'no groups by period, no part of a day; nothing there can be rated again. Sums by scope, metric and whole days stay exact.',
  dailySums: 'Before "daily sums from": no days and weeks. Whole months stay exact.',
  monthlySums: 'Before "monthly sums from": nothing.',
} as const;

export function define(command: Command, cli: Cli): void {
  command
    .command('plan')
    .summary('show what would be dropped')
    .description(
      "What the section 'retention' of the configuration would drop now, by scope and metric, and what can no longer be " +
        'asked afterwards. Changes nothing.',
    )
    .option('--json', 'one JSON document')
    .addHelpText('after', examples(['ratecat retention plan', 'from when points would be kept']))
    .action((options: PlanOptions) => cli.run(() => plan(cli, options)));
  command
    .command('apply')
    .summary('drop it')
    .description(
      'Drops what retention no longer keeps, in small steps beside the rating. It can be stopped at any time; the next run ' +
        'goes on. What was dropped is gone for good.',
    )
    .option('-y, --yes', 'do not ask')
    .addHelpText(
      'after',
      examples(['ratecat retention apply --yes', 'from a timer, where the daemon does not do it']),
    )
    .action((options: ApplyOptions) => cli.run(() => apply(cli, options)));
}

function retentionOf({ config, services }: Session): Retention {
  const { database, storage, states, calendar } = services;
  const tasks = new ReprocessTasks(database, systemClock);
  return new Retention({ config, storage, states, tasks, calendar, clock: systemClock });
}

async function plan(cli: Cli, options: PlanOptions): Promise<undefined> {
  await withServices(cli, async (session) => {
    const planned = await retentionOf(session).plan(session.signal);
    if (options.json) await cli.output.line(JSON.stringify(toJson(planned), null, 2));
    else await cli.output.line(describe(planned, session.config));
  });
  return undefined;
}

async function apply(cli: Cli, options: ApplyOptions): Promise<undefined> {
  await withServices(cli, async (session) => {
    const retention = retentionOf(session);
    if (!options.yes) {
      const planned = await retention.plan(session.signal);
      await cli.output.line(describe(planned, session.config));
      if (planned.metrics.length > 0 && !(await isAgreed(cli))) {
        await cli.output.line('Nothing was dropped.');
        return;
      }
    }
    const { plan: done, rows } = await retention.apply(author(), session.signal);
    const points = done.metrics.reduce((sum, metric) => sum + metric.points, 0);
    await cli.output.line(`${points} points of ${done.orders.length} scopes dropped, ${rows} rows removed`);
  });
  return undefined;
}

/** @throws UsageError without a terminal to ask at. */
export async function isAgreed(cli: Cli): Promise<boolean> {
  if (!(cli.input as Partial<NodeJS.ReadStream>).isTTY)
    throw new UsageError('This cannot be undone. Say --yes where nobody can be asked.');
  const terminal = createInterface({ input: cli.input, output: process.stderr });
  try {
    return /^y(es)?$/i.test((await terminal.question('This cannot be undone. Go on? [y/N] ')).trim());
  } finally {
    terminal.close();
  }
}

function describe(planned: RetentionPlan, { retention }: Pick<Config, 'retention'>): string {
  if (retention.policies.length === 0)
    return "Everything is kept: the configuration has no policy in the section 'retention'.";
  if (planned.metrics.length === 0) return 'Nothing to drop.';
  const lost = (['points', 'dailySums', 'monthlySums'] as const)
    .filter((level) => planned.metrics.some(({ before, after }) => after[level] > before[level]))
    .map((level) => LOST[level]);
  const sum = planned.metrics.reduce((total, { points }) => total + points, 0);
  return [
    renderTable(COLUMNS, planned.metrics.map(cells)),
    '',
    `${sum} points in all. Counted back from ${isoTime(planned.reference)}.`,
    ...lost,
  ].join('\n');
}

function cells({ source, scope, metric, after, points, bytes }: PlannedMetric): string[] {
  const from = (level: keyof KeptLimits) => (after[level] === 0 ? '' : isoTime(after[level]));
  return [
    source,
    scope.id,
    metric,
    from('points'),
    from('dailySums'),
    from('monthlySums'),
    String(points),
    (bytes / 2 ** 20).toFixed(1),
  ];
}

function toJson({ reference, metrics }: RetentionPlan) {
  const limits = ({ points, dailySums, monthlySums }: KeptLimits) => ({
    points_from: instantOrNull(points),
    daily_sums_from: instantOrNull(dailySums),
    monthly_sums_from: instantOrNull(monthlySums),
  });
  return {
    counted_back_from: isoTime(reference),
    points: metrics.reduce((sum, { points }) => sum + points, 0),
    bytes: metrics.reduce((sum, { bytes }) => sum + bytes, 0),
    metrics: metrics.map(({ source, scope, metric, before, after, points, bytes }) => ({
      source,
      scope_key: scope.key,
      scope_id: scope.id,
      metric,
      now: limits(before),
      after: limits(after),
      points,
      bytes,
      lost: (['points', 'dailySums', 'monthlySums'] as const)
        .filter((level) => after[level] > before[level])
        .map((level) => LOST[level]),
    })),
  };
}

/** Null: from the beginning. */
function instantOrNull(instant: number): string | null {
  return instant === 0 ? null : isoTime(instant);
}
