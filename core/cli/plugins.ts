import type { Command } from 'commander';
import type { Config, PluginConfig } from '../config/config.js';
import { BUILTIN_PLUGINS } from '../loading/builtin-plugins.js';
import { resolvePlugin } from '../loading/resolve-plugin.js';
import { describeError, type PluginKind } from '../plugin-api/index.js';
import { type Cli, examples } from './cli.js';
import { loadOnly } from './open-config.js';
import { type Column, renderTable } from './table.js';

interface Options {
  readonly json?: true;
}

interface Row {
  readonly kind: PluginKind;
  readonly name: string;
  readonly api: number | undefined;
  readonly from: string;
  readonly used: boolean;
  readonly problem?: string;
}

const COLUMNS: readonly Column[] = [
  { title: 'kind' },
  { title: 'name' },
  { title: 'api' },
  { title: 'from' },
  { title: 'configured' },
];

export function define(command: Command, cli: Cli): void {
  command
    .command('list')
    .summary('built-in and configured plugins')
    .description(
      'Plugins that come with Ratecat and those that the configuration names: kind, name, version of the plugin API, ' +
        'where they come from, and whether the configuration uses them.',
    )
    .option('--json', 'one JSON document')
    .addHelpText('after', examples(['ratecat plugins list', 'which names may stand behind plugin: ?']))
    .action((options: Options) => cli.run(() => list(cli, options)));
}

async function list(cli: Cli, options: Options): Promise<undefined> {
  const { config } = await loadOnly(cli);
  const used = configured(config);
  const builtins = Object.entries(BUILTIN_PLUGINS).flatMap(([kind, plugins]) =>
    Object.keys(plugins).map((name) => ({ kind: kind as PluginKind, name })),
  );
  const isBuiltin = ({ kind, name }: Named) => Object.hasOwn(BUILTIN_PLUGINS[kind], name);
  const others = used.filter((plugin) => !isBuiltin(plugin));
  const rows = await Promise.all(
    [...builtins, ...others].map((plugin) =>
      describe(plugin, config.folder, isUsed(plugin, used), isBuiltin(plugin)),
    ),
  );
  if (options.json) await cli.output.line(JSON.stringify(rows, null, 2));
  else await cli.output.line(renderTable(COLUMNS, rows.map(cells)));
  return undefined;
}

interface Named {
  readonly kind: PluginKind;
  readonly name: string;
}

function configured(config: Config): readonly Named[] {
  const named = (kind: PluginKind, { plugin }: PluginConfig) => ({ kind, name: plugin });
  const all = [
    ...config.pipelines.flatMap(({ fetcher, collector }) => [
      named('fetcher', fetcher),
      named('collector', collector),
    ]),
    ...config.rating.map((module) => named('rating', module)),
    named('storage', config.storage),
    ...config.notifications.map((notifier) => named('notifier', notifier)),
  ];
  return all.filter((plugin, index) => all.findIndex((other) => isSame(other, plugin)) === index);
}

function isSame(left: Named, right: Named): boolean {
  return left.kind === right.kind && left.name === right.name;
}

function isUsed(plugin: Named, used: readonly Named[]): boolean {
  return used.some((other) => isSame(other, plugin));
}

async function describe(
  { kind, name }: Named,
  folder: string,
  used: boolean,
  isBuiltin: boolean,
): Promise<Row> {
  const from = isBuiltin ? 'built in' : `found from ${folder}`;
  try {
    const { apiVersion } = await resolvePlugin(kind, name, folder);
    return { kind, name, api: apiVersion, from, used };
  } catch (error) {
    return { kind, name, api: undefined, from, used, problem: describeError(error) };
  }
}

function cells({ kind, name, api, from, used, problem }: Row): string[] {
  return [
    kind,
    name,
    api === undefined ? '?' : String(api),
    problem?.split('\n')[0] ?? from,
    used ? 'yes' : '',
  ];
}
