import type { Command } from 'commander';
import type { Services } from '../daemon/composition-root.js';
import type { ModuleState } from '../rating/module-states.js';
import { type Cli, examples, UsageError } from './cli.js';
import { wholeNumber } from './report-options.js';
import { type Column, renderTable } from './table.js';
import { withServices } from './with-services.js';

interface ListOptions {
  readonly json?: true;
}

const COLUMNS: readonly Column[] = [
  { title: 'module' },
  { title: 'enabled' },
  { title: 'priority', isNumber: true },
  { title: 'description' },
];

const OFF: ModuleState = { enabled: false, priority: 1 };

export function define(command: Command, cli: Cli): void {
  command
    .command('list')
    .summary('rating modules in the order of their work')
    .description('Rating modules: the one with the highest priority comes first.')
    .option('--json', 'one JSON document')
    .addHelpText('after', examples(['ratecat modules list', 'which modules put prices on usage?']))
    .action((options: ListOptions) => cli.run(() => list(cli, options)));
  defineSwitch(command, cli, 'enable', true);
  defineSwitch(command, cli, 'disable', false);
  command
    .command('priority')
    .summary('change the order')
    .description('Changes the place of a module; the highest priority comes first.')
    .argument('<module>', 'name of a rating module')
    .argument('<priority>', 'whole number', wholeNumber(1))
    .addHelpText(
      'after',
      examples(['ratecat modules priority hashmap 10', 'hashmap before modules of less than 10']),
    )
    .action((name: string, priority: number) => cli.run(() => change(cli, name, { priority })));
}

function defineSwitch(command: Command, cli: Cli, verb: string, enabled: boolean): void {
  command
    .command(verb)
    .summary(`${verb} a module`)
    .description(`Periods that are rated from now on are rated ${enabled ? 'with' : 'without'} this module.`)
    .argument('<module>', 'name of a rating module')
    .addHelpText(
      'after',
      examples([`ratecat modules ${verb} hashmap`, 'processors notice before their next period']),
    )
    .action((name: string) => cli.run(() => change(cli, name, { enabled })));
}

async function list(cli: Cli, options: ListOptions): Promise<undefined> {
  await withServices(cli, async ({ services }) => {
    const rows = await moduleRows(services);
    if (options.json) return cli.output.line(JSON.stringify(rows, null, 2));
    const cells = rows.map((row) => [
      row.module,
      row.enabled ? 'yes' : 'no',
      String(row.priority),
      row.description,
    ]);
    return cli.output.line(renderTable(COLUMNS, cells));
  });
  return undefined;
}

async function moduleRows({ modules, moduleStates }: Services) {
  const states = await moduleStates.all();
  return modules
    .map(({ name, module }) => {
      const always = module.alwaysEnabled === true;
      const { enabled, priority } = states.get(name) ?? OFF;
      return {
        module: name,
        enabled: always || enabled,
        priority: always ? 1 : priority,
        description: module.description,
      };
    })
    .sort((left, right) => right.priority - left.priority);
}

async function change(cli: Cli, name: string, wanted: Partial<ModuleState>): Promise<undefined> {
  await withServices(cli, async ({ services: { modules, moduleStates } }) => {
    const found = modules.find((module) => module.name === name);
    const known = modules.map((module) => module.name).join(', ');
    if (found === undefined)
      throw new UsageError(`There is no rating module '${name}'. Configured are: ${known}.`);
    if (found.module.alwaysEnabled === true)
      throw new UsageError(`The rating module '${name}' is always on and has no priority.`);
    await moduleStates.change(name, wanted);
    const state = (await moduleStates.all()).get(name) ?? OFF;
    await cli.output.line(`${name}: ${state.enabled ? 'enabled' : 'disabled'}, priority ${state.priority}`);
  });
  return undefined;
}
