import type { Command } from 'commander';
import { systemClock } from '../daemon/system-clock.js';
import { ScopeEraser } from '../retention/scope-eraser.js';
import { author } from './author.js';
import { type Cli, examples, UsageError } from './cli.js';
import { isAgreed } from './retention.js';
import { type Session, withServices } from './with-services.js';

interface EraseOptions {
  readonly key?: string;
  readonly source?: string;
  readonly force?: true;
  readonly yes?: true;
}

export function defineErase(command: Command, cli: Cli): void {
  command
    .command('erase')
    .summary('delete everything about a scope')
    .description(
      'Deletes everything about a scope: points, sums, names of resources, reprocessing, what the audit table says of it. ' +
        'One line without its name remains, that a scope was erased, when and by whom. It works in small steps and can be ' +
        'stopped; the same command goes on. Price rules, logs and backups that name the scope are not touched.',
    )
    .argument('<id>', 'the scope')
    .option('--key <name>', 'its scope key, where several have such a scope')
    .option('--source <pipeline>', "only what came through this pipeline, or 'api' for what was pushed")
    .option('--force', 'switch the scope off first when it is active')
    .option('-y, --yes', 'do not ask')
    .addHelpText(
      'after',
      examples([
        'ratecat scopes erase 4f2a… --yes',
        'a customer is gone and asked for it; everything is deleted',
      ]),
    )
    .action((id: string, options: EraseOptions) => cli.run(() => erase(cli, id, options)));
}

async function erase(cli: Cli, id: string, options: EraseOptions): Promise<undefined> {
  await withServices(cli, async (session) => {
    const { database, storage, states } = session.services;
    const key = options.key ?? (await theKey(session, id, options.source));
    if (!options.yes) {
      await cli.output.line(`Everything about scope '${id}' (${key}) will be deleted.`);
      if (!(await isAgreed(cli))) return;
    }
    const eraser = new ScopeEraser({ database, storage, states, clock: systemClock });
    const order = { key, id, source: options.source, author: author(), force: options.force === true };
    const rows = await eraser.erase(order, session.signal);
    if (rows === 0) throw new UsageError(`There is nothing of a scope '${id}' (${key}).`);
    await cli.output.line(`${id}: erased, ${rows} rows removed`);
  });
  return undefined;
}

async function theKey(
  { services, config }: Session,
  id: string,
  source: string | undefined,
): Promise<string> {
  const known = (await services.states.list(source)).filter((state) => state.scope.id === id);
  const keys = new Set(known.map((state) => state.scope.key));
  // Of a scope that was only pushed nothing is known here; its key is most likely that of the pipelines.
  if (keys.size === 0) for (const { collect } of config.pipelines) keys.add(collect.scopeKey);
  const [only, ...others] = keys;
  if (only !== undefined && others.length === 0) return only;
  throw new UsageError(`Several scopes could be '${id}': name its key with --key (${[...keys].join(', ')}).`);
}
