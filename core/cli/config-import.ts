import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import { checkExpression } from '../daemon/build-pipelines.js';
import { EXIT } from '../daemon/exit-codes.js';
import { type ImportedConfig, importConfig } from '../importing/import-config.js';
import { asFiles, asText, type PlannedFile } from '../importing/import-output.js';
import { reportOf } from '../importing/import-report.js';
import { writeWhole } from '../setup/whole-file.js';
import { type Cli, examples, UsageError } from './cli.js';

interface Options {
  readonly configFile?: readonly string[];
  readonly configDir?: readonly string[];
  readonly output?: string;
  readonly metrics?: string;
  readonly force?: true;
}

/** Checks the configuration of a command line as `config check` does, and gives its exit code. */
export type CheckConfig = (cli: Cli) => Promise<number>;

export function defineImport(command: Command, cli: Cli, check: CheckConfig): void {
  command
    .command('import')
    .summary("make a configuration out of CloudKitty's")
    .description(
      "Reads cloudkitty.conf of any release since 2017 and writes Ratecat's configuration, with its metrics file and secrets " +
        'in files beside it. Tells on stderr what became of every option; no secret is ever printed. Without --output the ' +
        'configuration goes to stdout, with variables of the environment in place of secrets. Connects to nothing.',
    )
    .argument('[files...]', 'files of oslo.config, later ones win; the folder FILE.d is read too')
    .option('--config-file <file>', 'one more file, may be repeated', appended)
    .option('--config-dir <folder>', 'folder of *.conf files in place of FILE.d, may be repeated', appended)
    .option('--metrics <file>', 'metrics file in place of [collect] metrics_conf')
    .option('-o, --output <file>', 'write here, and check the result')
    .option('--force', 'replace files that exist')
    .addHelpText(
      'after',
      examples(
        ['ratecat config import /etc/cloudkitty/cloudkitty.conf -o /etc/ratecat/ratecat.yml', 'move in'],
        ['ratecat config import cloudkitty.conf > /dev/null', 'only see what would become of the options'],
      ),
    )
    .action((files: readonly string[], options: Options) =>
      cli.run(() => runImport(cli, files, options, check)),
    );
}

function appended(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

async function runImport(
  cli: Cli,
  named: readonly string[],
  options: Options,
  check: CheckConfig,
): Promise<number> {
  const files = [...named, ...(options.configFile ?? [])];
  if (files.length === 0)
    throw new UsageError('name the file to import, such as /etc/cloudkitty/cloudkitty.conf');
  const folders =
    options.configDir ?? files.map((file) => `${file}.d`).filter((folder) => existsSync(folder));
  const imported = await importConfig({ files, folders, metricsFile: options.metrics, checkExpression });
  const { output } = options;
  if (output === undefined || output === '-') return await print(cli, imported);
  await writeFiles(asFiles(imported, output), options.force === true, reportOf(imported));
  return await check({ ...cli, globals: () => ({ ...cli.globals(), config: output }) });
}

async function print(cli: Cli, imported: ImportedConfig): Promise<number> {
  const { text, variables } = asText(imported);
  await cli.output.write(text);
  report(reportOf(imported));
  if (variables.length > 0)
    report(`Set before the start:\n${variables.map((name) => `  ${name}`).join('\n')}`);
  if (imported.metrics.isConverted)
    report('The metrics file has to be converted too: give --output FILE, it is written beside FILE.');
  return EXIT.ok;
}

/** All or, as far as existing files are concerned, nothing. */
async function writeFiles(files: readonly PlannedFile[], force: boolean, findings: string): Promise<void> {
  const existing = files.filter(({ path }) => existsSync(path)).map(({ path }) => path);
  if (existing.length > 0 && !force) {
    throw new UsageError(`nothing was written: ${existing.join(', ')} exists; --force replaces it`);
  }
  for (const { path, text, holdsSecret } of files)
    await writeWhole({ path, text, isSecret: holdsSecret, replaces: force });
  report(findings);
  const lines = files.map(
    ({ path, holdsSecret }) => `  ${path}${holdsSecret ? '  (secret, for its owner only)' : ''}`,
  );
  report(`Written:\n${lines.join('\n')}`);
  if (files.some(({ holdsSecret }) => holdsSecret))
    report('Give the secrets to the user that the daemon runs as (chown).');
}

function report(text: string): void {
  process.stderr.write(`${text}\n`);
}
