import type { Command } from 'commander';
import { isoTime } from '../scopes/iso-time.js';
import type { ScopeState } from '../scopes/scope-states.js';
import { author } from './author.js';
import { type Cli, examples, UsageError } from './cli.js';
import { parseInstant } from './report-options.js';
import { defineErase } from './scope-erase.js';
import { type Session, withServices } from './with-services.js';

interface ResetOptions {
  readonly scope: string;
  readonly source?: string;
  readonly to: string;
  readonly reason: string;
}

export function define(command: Command, cli: Cli): void {
  command
    .command('reset')
    .summary('rate a scope anew from an earlier instant')
    .description(
      'Deletes what is stored for a scope from an instant on, frames pushed from outside included, and has those ' +
        'periods rated again with the rules and the usage of today. A processor that is rating the scope loses it.',
    )
    .requiredOption('-s, --scope <id>', 'the scope')
    .option('--source <pipeline>', 'pipeline of the scope, where several have it')
    .requiredOption(
      '-t, --to <time>',
      'begin of the first period to be rated again, such as 2026-01-31T12:00',
    )
    .requiredOption('-r, --reason <text>', 'kept in the audit table')
    .addHelpText(
      'after',
      examples([
        "ratecat scopes reset --scope 4f2a… --to 2026-01-01 --reason 'price list of January corrected'",
        'January is billed again',
      ]),
    )
    .action((options: ResetOptions) => cli.run(() => reset(cli, options)));
  defineErase(command, cli);
}

async function reset(cli: Cli, options: ResetOptions): Promise<undefined> {
  await withServices(cli, async (session) => {
    const { services, config, signal } = session;
    const state = await theScope(session, options);
    const pipeline = config.pipelines.find(({ name }) => name === state.source);
    if (pipeline === undefined)
      throw new UsageError(`The configuration has no pipeline '${state.source}' to rate the scope again.`);
    const order = {
      to: parseInstant(options.to, config.billing.timeZone),
      periodSeconds: pipeline.collect.periodSeconds,
      // This command names the first period to be rated again, whatever the reference's API would leave out.
      compat: 'fixed' as const,
      author: author(),
      reason: options.reason,
    };
    await services.reset.reset(state, order, signal);
    await cli.output.line(
      `${state.scope.id} of ${state.source}: rated up to ${isoTime(order.to)} now, was ${isoTime(state.watermark ?? order.to)}`,
    );
  });
  return undefined;
}

async function theScope({ services }: Session, { scope, source }: ResetOptions): Promise<ScopeState> {
  const found = (await services.states.list(source)).filter((state) => state.scope.id === scope);
  if (found.length === 1) return found[0]!;
  if (found.length === 0) throw new UsageError(`There is no scope '${scope}'. 'ratecat status' lists them.`);
  const sources = found.map((state) => state.source).join(', ');
  throw new UsageError(`Several pipelines have a scope '${scope}': name one with --source (${sources}).`);
}
