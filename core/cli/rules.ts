import { writeFile } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import { stringify } from 'yaml';
import { importRules, readRulesFile, readRulesText } from '../daemon/prepare-rules.js';
import { systemClock } from '../daemon/system-clock.js';
import type { JsonValue, RulesChange, RulesDocument, SqlTransaction } from '../plugin-api/index.js';
import type { LoadedModule } from '../rating/rule-sets.js';
import { author } from './author.js';
import { type Cli, examples, UsageError } from './cli.js';
import { inputName, readAll } from './read-input.js';
import { isRuleTree, RULE_COLUMNS, ruleRows } from './rule-rows.js';
import { renderTable } from './table.js';
import { withServices } from './with-services.js';

interface ModuleOption {
  readonly module: string;
}

interface ImportOptions extends ModuleOption {
  readonly replace?: true;
  readonly dryRun?: true;
  readonly json?: true;
}

interface ListOptions extends ModuleOption {
  readonly json?: true;
}

export function define(command: Command, cli: Cli): void {
  withModule(command.command('import'))
    .summary('store prices from a YAML file')
    .description(
      'Stores the rules of a file in one step. Rules that are stored already and not in the file stay, unless --replace is ' +
        'given. Processors rate with the new rules from their next period on; rated periods keep their prices.',
    )
    .argument('<file>', 'YAML file, - for standard input')
    .option('--replace', 'remove what is not in the file')
    .option('--dry-run', 'say what would change, and change nothing')
    .option('--json', 'one JSON document')
    .addHelpText(
      'after',
      examples(
        ['ratecat rules import prices.yml --dry-run', 'what would change?'],
        ['ratecat rules import prices.yml --replace', 'make the file the price list'],
      ),
    )
    .action((file: string, options: ImportOptions) => cli.run(() => importFile(cli, file, options)));
  withModule(command.command('export'))
    .summary('write prices as YAML')
    .description("Writes the current rules as YAML; 'rules import' reads it back to the same rules.")
    .argument('[file]', 'where to, instead of standard output')
    .addHelpText('after', examples(['ratecat rules export prices.yml', 'keep a copy, or edit and import it']))
    .action((file: string | undefined, options: ModuleOption) =>
      cli.run(() => exportRules(cli, file, options)),
    );
  withModule(command.command('list'))
    .summary('show prices')
    .description('Shows the current rules.')
    .option('--json', 'one JSON document')
    .addHelpText('after', examples(['ratecat rules list', 'services, fields, mappings and thresholds']))
    .action((options: ListOptions) => cli.run(() => list(cli, options)));
}

function withModule(command: Command): Command {
  return command.addOption(new Option('--module <name>', 'rating module').default('hashmap'));
}

/** Rolls a transaction back without being a failure. */
class DryRun extends Error {
  readonly change: RulesChange;

  constructor(change: RulesChange) {
    super('dry run');
    this.change = change;
  }
}

async function importFile(cli: Cli, file: string, options: ImportOptions): Promise<undefined> {
  const document =
    file === '-' ? await readRulesText(await readAll(cli.input), inputName(file)) : await readRulesFile(file);
  await withServices(cli, async ({ services: { modules, database, moduleStates } }) => {
    const { name, module, rules } = moduleWithRules(modules, options.module);
    // Contradictions are found here, not in the middle of a night.
    module.compile(rules.toRules(document), undefined);
    const mode = options.replace ? 'replace' : 'merge';
    const write = async (tx: SqlTransaction) => {
      const change = await importRules(rules, { module: name, document, mode, author: author() }, tx, {
        clock: systemClock,
        moduleStates,
      });
      if (options.dryRun) throw new DryRun(change);
      return change;
    };
    const change = await database.transaction(write).catch((error: unknown) => {
      if (error instanceof DryRun) return error.change;
      throw error;
    });
    if (options.json) return cli.output.line(JSON.stringify({ ...change, dry_run: options.dryRun === true }));
    const would = options.dryRun ? 'Would be: ' : '';
    return cli.output.line(
      `${would}${change.added} added, ${change.changed} changed, ${change.removed} removed in ${name}.`,
    );
  });
  return undefined;
}

async function exportRules(cli: Cli, file: string | undefined, options: ModuleOption): Promise<undefined> {
  await withServices(cli, async ({ services: { modules, database } }) => {
    const { name, rules } = moduleWithRules(modules, options.module);
    const head = `# Rules of ${name}. Read back with: ratecat rules import FILE --module ${name}\n`;
    const text = `${head}${stringify(await rules.read(database), { lineWidth: 0 })}`;
    if (file === undefined || file === '-') return cli.output.write(text);
    try {
      await writeFile(file, text);
    } catch (error) {
      throw new UsageError(`${file} cannot be written (${(error as NodeJS.ErrnoException).code}).`);
    }
    return undefined;
  });
  return undefined;
}

async function list(cli: Cli, options: ListOptions): Promise<undefined> {
  await withServices(cli, async ({ services: { modules, database }, signal }) => {
    const { module, rules } = moduleWithRules(modules, options.module);
    const current: JsonValue = (await module.loadRules?.(database, signal)) ?? (await rules.read(database));
    if (options.json) return cli.output.line(JSON.stringify(current, null, 2));
    if (!isRuleTree(current)) return cli.output.write(stringify(current, { lineWidth: 0 }));
    const rows = ruleRows(current);
    if (rows.length === 0) return cli.output.line("There are no rules. 'ratecat rules import' brings some.");
    return cli.output.line(renderTable(RULE_COLUMNS, rows));
  });
  return undefined;
}

function moduleWithRules(
  modules: readonly LoadedModule[],
  name: string,
): LoadedModule & { readonly rules: RulesDocument } {
  const found = modules.find((module) => module.name === name);
  const known = modules
    .filter(({ module }) => module.rulesDocument !== undefined)
    .map((module) => module.name);
  if (found === undefined)
    throw new UsageError(`There is no rating module '${name}'. With rules: ${known.join(', ') || 'none'}.`);
  const rules = found.module.rulesDocument;
  if (rules === undefined)
    throw new UsageError(
      `The rating module '${name}' keeps no rules. With rules: ${known.join(', ') || 'none'}.`,
    );
  return { ...found, rules };
}
