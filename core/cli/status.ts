import type { Command } from 'commander';
import type { Config } from '../config/config.js';
import { humanSeconds } from '../config/human-text.js';
import { EXIT } from '../daemon/exit-codes.js';
import { systemClock } from '../daemon/system-clock.js';
import { dueAt, dueCount, firstPeriodOf } from '../processing/due-periods.js';
import { isoTime } from '../scopes/iso-time.js';
import { type ReprocessTask, ReprocessTasks } from '../scopes/reprocess-tasks.js';
import type { ScopeState } from '../scopes/scope-states.js';
import { type Cli, examples } from './cli.js';
import { type Column, renderTable } from './table.js';
import { withServices } from './with-services.js';

interface Options {
  readonly json?: true;
}

const COLUMNS: readonly Column[] = [
  { title: 'source' },
  { title: 'scope' },
  { title: 'state' },
  { title: 'rated up to' },
  { title: 'behind' },
  { title: 'owner' },
  { title: 'reason' },
];

const TASK_COLUMNS: readonly Column[] = [
  { title: 'source' },
  { title: 'scope' },
  { title: 'rated again from' },
  { title: 'to' },
  { title: 'done up to' },
  { title: 'ordered because' },
  { title: 'note' },
];

export function define(command: Command, cli: Cli): void {
  command
    .description(
      'Per scope: up to when it is rated, how far it is behind, who works on it, and what went wrong last; then the ' +
        'reprocessing that is not finished. Exit code 1 when a scope is stuck: its next period failed repeatedly, or needs ' +
        'a person.',
    )
    .option('--json', 'one JSON document')
    .addHelpText(
      'after',
      examples(
        ['ratecat status', 'is everything rated?'],
        ['ratecat status --json | jq \'.[] | select(.state == "stuck")\'', 'for a monitoring system'],
      ),
    )
    .action((options: Options) => cli.run(() => status(cli, options)));
}

async function status(cli: Cli, options: Options): Promise<number> {
  return withServices(cli, async ({ config, services }) => {
    const now = Math.floor(Date.now() / 1000);
    const tasks = await new ReprocessTasks(services.database, systemClock).unfinished();
    const states = (await services.states.list()).map((state) => ({
      state,
      lag: lagOf(state, config, now),
      tasks: tasks.filter(({ row }) => row === state.row),
    }));
    if (options.json) await cli.output.line(JSON.stringify(states.map(toJson), null, 2));
    else if (states.length === 0) await cli.output.line('No scope has been seen yet.');
    else await cli.output.line(renderTable(COLUMNS, states.map(cells)));
    if (!options.json && tasks.length > 0) {
      await cli.output.line('\nReprocessing that is not finished:');
      await cli.output.line(renderTable(TASK_COLUMNS, tasks.map(taskCells)));
    }
    return states.some(({ state }) => state.condition === 'stuck') ? EXIT.no : EXIT.ok;
  });
}

interface Lag {
  /** Due periods that are not rated; undefined when their source is not configured any more. */
  readonly periods: number | undefined;
  /** How long the oldest of them has been due. */
  readonly seconds: number;
}

interface Row {
  readonly state: ScopeState;
  readonly lag: Lag;
  /** Its reprocessing that is not finished, oldest first. */
  readonly tasks: readonly ReprocessTask[];
}

function lagOf(state: ScopeState, config: Config, now: number): Lag {
  const { source, watermark, active, condition } = state;
  const pipeline = config.pipelines.find(({ name }) => name === source);
  if (pipeline === undefined || watermark === undefined) return { periods: undefined, seconds: 0 };
  if (!active || condition === 'gone') return { periods: 0, seconds: 0 };
  const { periodSeconds, waitPeriods } = pipeline.collect;
  const rule = { periodSeconds, waitPeriods, compat: config.compat };
  const first = firstPeriodOf(state);
  return {
    periods: dueCount(watermark, now, rule, first),
    seconds: Math.max(0, now - dueAt(watermark, rule, first)),
  };
}

/** One word for people: an operator's switch outweighs what the processor found. */
function word({ active, condition, watermark }: ScopeState): string {
  if (!active) return 'off';
  return condition === 'active' && watermark === undefined ? 'new' : condition;
}

function scopeText({ id, name }: ScopeState['scope']): string {
  return name === undefined || name === id ? id : `${id} (${name})`;
}

function taskCells({ source, scope, begin, end, current, reason, failure }: ReprocessTask): string[] {
  const done = current === undefined ? '' : isoTime(current);
  return [source, scopeText(scope), isoTime(begin), isoTime(end), done, reason, failure ?? ''];
}

function cells({ state, lag }: Row): string[] {
  const { source, scope, watermark, owner, reason } = state;
  return [
    source,
    scopeText(scope),
    word(state),
    watermark === undefined ? '' : isoTime(watermark),
    lagText(lag),
    owner ?? '',
    reason ?? '',
  ];
}

function lagText({ periods, seconds }: Lag): string {
  if (periods === undefined) return '?';
  if (periods === 0) return '';
  return `${periods} period${periods === 1 ? '' : 's'}, ${humanSeconds(seconds)}`;
}

function toJson({ state, lag, tasks }: Row) {
  const instant = (value: number | undefined) => (value === undefined ? null : isoTime(value));
  return {
    source: state.source,
    scope_key: state.scope.key,
    scope: state.scope.id,
    name: state.scope.name ?? null,
    state: word(state),
    rated_up_to: instant(state.watermark),
    periods_behind: lag.periods ?? null,
    seconds_behind: lag.seconds,
    owner: state.owner ?? null,
    reason: state.reason ?? null,
    failures: state.failures,
    last_error_at: instant(state.lastErrorAt),
    retry_at: instant(state.retryAt),
    first_seen: instant(state.firstSeen),
    missing_since: instant(state.missingSince),
    reprocessing: tasks.map(({ id, begin, end, current, reason, failure }) => ({
      id,
      begin: isoTime(begin),
      end: isoTime(end),
      done_up_to: instant(current),
      reason,
      note: failure ?? null,
    })),
  };
}
