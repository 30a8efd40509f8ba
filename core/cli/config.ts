import type { Command } from 'commander';
import { stringify } from 'yaml';
import type { Config } from '../config/config.js';
import { configError, formatPath, formatProblems, type Problem } from '../config/problems.js';
import { redactConfig } from '../config/redact.js';
import { type PreparedPlugins, preparePlugins } from '../daemon/build-pipelines.js';
import { tryPipelines } from '../daemon/composition-root.js';
import { EXIT } from '../daemon/exit-codes.js';
import { DaemonLogger } from '../daemon/logger.js';
import { isRatecatError, type JsonValue } from '../plugin-api/index.js';
import { type Cli, examples } from './cli.js';
import { defineImport } from './config-import.js';
import { findConfig, loadOnly } from './open-config.js';

interface Options {
  readonly print?: true;
  readonly json?: true;
}

export function define(command: Command, cli: Cli): void {
  command
    .command('check')
    .summary('find everything that is wrong')
    .description(
      'Reads the configuration, loads its plugins, checks their options and the metrics files, and lists every problem ' +
        'with file, line and column. Connects to nothing. Exit code 78 when there is a problem; warnings do not count.',
    )
    .option('--print', 'print the configuration in effect, defaults filled in, secrets masked')
    .option('--json', 'one JSON document')
    .addHelpText(
      'after',
      examples(
        ['ratecat config check --config ratecat.yml', 'before a restart'],
        ['ratecat config check --print', 'what does the daemon really use?'],
      ),
    )
    .action((options: Options) => cli.run(() => check(cli, options)));
  defineImport(command, cli, (of) => check(of, {}));
}

interface Findings {
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
  readonly checked?: { readonly config: Config; readonly plugins: PreparedPlugins };
}

async function check(cli: Cli, options: Options): Promise<number> {
  const findings = await find(cli);
  if (options.json) await cli.output.line(JSON.stringify(toJson(findings, options), null, 2));
  else await show(cli, findings, options);
  return findings.problems.length === 0 ? EXIT.ok : EXIT.config;
}

/** Stage by stage: what cannot be read cannot be checked further. */
async function find(cli: Cli): Promise<Findings> {
  const warnings: Problem[] = [];
  try {
    const loaded = await loadOnly(cli);
    warnings.push(...loaded.warnings);
    const { config } = loaded;
    const plugins = await preparePlugins(config);
    const logger = DaemonLogger.create({ level: 'error', format: 'text' });
    warnings.push(...(await tryPipelines({ config, plugins, logger })));
    return { problems: [], warnings, checked: { config, plugins } };
  } catch (error) {
    const problems = isRatecatError(error) ? (error.details.problems as readonly Problem[]) : undefined;
    if (problems === undefined) throw error;
    return { problems, warnings };
  }
}

async function show({ output, ...cli }: Cli, findings: Findings, options: Options): Promise<void> {
  const { problems, warnings, checked } = findings;
  if (options.print && checked !== undefined)
    return output.write(stringify(effective(checked), { lineWidth: 0 }));
  if (warnings.length > 0) await output.line(`Warnings:\n${formatProblems(warnings)}`);
  if (problems.length > 0) return output.line(configError(problems).message);
  await output.line(`${findConfig(cli).file} is right.`);
}

function toJson({ problems, warnings, checked }: Findings, options: Options) {
  return {
    problems,
    warnings,
    ...(options.print && checked !== undefined ? { config: effective(checked) } : {}),
  };
}

function effective({ config, plugins }: NonNullable<Findings['checked']>): JsonValue {
  const all = [
    { definition: plugins.storage.definition, options: config.storage.options },
    ...plugins.rating.map(({ definition }, index) => ({
      definition,
      options: config.rating[index]!.options,
    })),
    ...plugins.pipelines.flatMap(({ config: pipeline, fetcher, collector }) => [
      { definition: fetcher.definition, options: pipeline.fetcher.options },
      { definition: collector.definition, options: pipeline.collector.options },
    ]),
    ...plugins.notifiers.map(({ config: written, notifier }) => ({
      definition: notifier.definition,
      options: written.options,
    })),
  ];
  const secrets = all.flatMap(({ definition, options }) =>
    (definition.secretOptions ?? []).map((name) => formatPath([...options.path, name])),
  );
  return redactConfig(config, secrets);
}
