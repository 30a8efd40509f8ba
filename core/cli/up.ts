import { basename, relative, resolve } from 'node:path';
import type { Command } from 'commander';
import type { Config } from '../config/config.js';
import { humanSeconds } from '../config/human-text.js';
import { maskUrls } from '../config/secret-names.js';
import type { ProcessingServices } from '../daemon/composition-root.js';
import type { ImportedFile } from '../daemon/prepare-rules.js';
import { parseDatabaseUrl } from '../database/database-url.js';
import { type Cli, examples } from './cli.js';
import { serve } from './serve.js';

export function define(command: Command, cli: Cli): void {
  command
    .description(
      'Creates or upgrades the tables, imports the price list of the configuration when there is none yet, then rates ' +
        'every period as it becomes due. Goes on where the last run stopped, however that ended.\n\n' +
        'Ctrl-C or SIGTERM stops cleanly (exit code 0), a second one at once; SIGHUP reads the log level again.',
    )
    .addHelpText(
      'after',
      examples(
        ['ratecat up', "rate this machine's own usage with the example price list; data in ./data"],
        ['ratecat up --config openstack.yml', 'rate what your own configuration says'],
      ),
    )
    .action(() =>
      cli.run(() =>
        serve(cli, { migrates: true, servesApi: true, prepared: (config) => showBanner(cli, config) }),
      ),
    );
}

function showBanner(cli: Cli, config: Config) {
  return async (services: ProcessingServices, imported: readonly ImportedFile[]) => {
    try {
      await cli.output.line(await banner(cli, config, services, imported));
    } catch {
      // Nobody reads stdout; the daemon works all the same.
    }
  };
}

async function banner(
  cli: Cli,
  config: Config,
  { pipelines, modules, moduleStates }: ProcessingServices,
  imported: readonly ImportedFile[],
): Promise<string> {
  const states = await moduleStates.all();
  const rating = modules
    .filter(({ name, module }) => module.alwaysEnabled === true || states.get(name)?.enabled === true)
    .map(({ name }) => name);
  const command = ownCommand(cli);
  const facts: readonly (readonly [string, string])[] = [
    ['config', resolve(config.file)],
    ['data', dataPlace(config)],
    ['rating', rating.join(', ')],
    ...imported.map(
      ({ module, file, change }) => ['prices', `${change.added} new in ${module}, from ${file}`] as const,
    ),
    ...pipelines.map(({ source, collectorName, settings, metrics, scopeKey }) => {
      const every = humanSeconds(settings.periods.periodSeconds);
      return [
        'pipeline',
        `${source}: every ${every} from ${collectorName}, ${metrics.length} metrics per ${scopeKey}`,
      ] as const;
    }),
    ...(config.api.enabled ? [['api', apiPlace(config)] as const] : []),
    ...(config.processor.workers > 1 ? [['workers', String(config.processor.workers)] as const] : []),
    ['look', `${command('summary --group-by type')}     (in another terminal, same folder)`],
    ['', command('status')],
    ['stop', 'Ctrl-C; the next start goes on from there'],
  ];
  const lines = facts.map(([name, value]) => `  ${name.padEnd(9)}${value}`);
  return `Ratecat ${cli.version}\n${lines.join('\n')}\n`;
}

function apiPlace({ api: { host, port, tls, auth } }: Config): string {
  const where = port === 0 ? 'a free port' : `${host.includes(':') ? `[${host}]` : host}:${port}`;
  const who = auth === 'noauth' ? 'without authentication' : 'with tokens of Keystone';
  return `${tls === undefined ? 'http' : 'https'}://${where}, ${who}`;
}

function dataPlace({ database, dataFolder }: Config): string {
  const parsed = parseDatabaseUrl(database.url, dataFolder);
  return parsed.engine === 'sqlite' ? parsed.path : `${maskUrls(database.url)}, files in ${dataFolder}`;
}

/** How to call this program again for the same data. */
function ownCommand(cli: Cli): (rest: string) => string {
  const script = process.argv[1] ?? 'ratecat';
  const program = basename(script) === 'ratecat' ? 'ratecat' : `node ${relative('.', script)}`;
  const { config, dataDir } = cli.globals();
  const options = [
    ...(config === undefined ? [] : ['--config', config]),
    ...(dataDir === undefined ? [] : ['--data-dir', dataDir]),
  ];
  return (rest) => [program, rest, ...options].join(' ');
}
