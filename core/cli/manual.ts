import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import { describedProgram } from './main.js';
import { configurationSections, exitCodeItems } from './manual-configuration.js';
import {
  bold,
  heading,
  item,
  layout,
  literal,
  markdown,
  paragraph,
  prose,
  subheading,
  title,
  verbatim,
} from './manual-roff.js';
import { packageInfo } from './package-info.js';

/** What the pages are made of, besides the commands. */
export interface ManualSources {
  /** Text of docs/cli.md: the exit codes. */
  readonly commandLine: string;
  /** Text of docs/configuration.md: the keys. */
  readonly configuration: string;
  readonly version: string;
  /** YYYY-MM-DD */
  readonly date: string;
}

const CONFIGURATION_PAGE = 'ratecat.yml';
const CONFIGURATION_SUMMARY = 'configuration of ratecat';

const FILES: readonly (readonly [file: string, meaning: string])[] = [
  [
    './ratecat.yml, /etc/ratecat/ratecat.yml',
    'The configuration, when neither --config nor RATECAT_CONFIG names one. See `ratecat.yml`(5).',
  ],
  ['./data', 'The data of the example configuration.'],
];

const ENVIRONMENT: readonly (readonly [name: string, meaning: string])[] = [
  ['RATECAT_CONFIG', 'The configuration file, when there is no --config.'],
  ['RATECAT_DATA', 'The folder of the data of the example configuration.'],
  ['RATECAT_ADMIN_URL', "URL of the database's administrator, for `ratecat dbsync create`."],
];

/** Writes the man pages of the installed package into a folder, in place of what is there. */
export async function writeManual(folder: string): Promise<void> {
  const info = packageInfo();
  const read = (name: string) => readFile(join(info.folder, 'docs', name), 'utf8');
  const pages = manualPages(await describedProgram(), {
    commandLine: await read('cli.md'),
    configuration: await read('configuration.md'),
    version: info.version,
    date: buildDate(),
  });
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  for (const [file, text] of pages) await writeFile(join(folder, file), text);
}

/** Builds that shall give the same bytes every time name their instant. */
function buildDate(): string {
  const seconds = Number(process.env.SOURCE_DATE_EPOCH);
  return (seconds > 0 ? new Date(seconds * 1000) : new Date()).toISOString().slice(0, 10);
}

/** File name and roff of every page: the program, each command, the configuration. */
export function manualPages(program: Command, sources: ManualSources): ReadonlyMap<string, string> {
  const pages = new Map([[`${program.name()}.1`, programPage(program, sources)]]);
  for (const command of program.commands)
    pages.set(`${pageName(program, command)}.1`, commandPage(program, command, sources));
  pages.set(`${CONFIGURATION_PAGE}.5`, configurationPage(program, sources));
  return pages;
}

function pageName(program: Command, command: Command): string {
  return `${program.name()}-${command.name()}`;
}

function programPage(program: Command, sources: ManualSources): string {
  const name = program.name();
  const { notes, examples } = helpFooter(program);
  const commands = program.commands.map((command) =>
    item(`${bold(pageName(program, command))}(1)`, prose(capital(command.summary()))),
  );
  const files = FILES.map(([file, meaning]) => item(bold(file), markdown(meaning)));
  const environment = ENVIRONMENT.map(([variable, meaning]) => item(bold(variable), markdown(meaning)));
  return page(name, 1, 'rating as a service', sources, [
    heading('Synopsis'),
    usage(program),
    heading('Description'),
    prose(program.description()),
    ...notes.map((note) => paragraph(prose(note))),
    heading('Options'),
    ...options(program),
    heading('Commands'),
    ...commands,
    heading('Environment'),
    ...environment,
    heading('Files'),
    ...files,
    heading('Exit status'),
    ...exitCodeItems(sources.commandLine),
    heading('Examples'),
    ...examples,
    heading('See also'),
    seeAlso([...program.commands.map((command) => pageName(program, command)), CONFIGURATION_PAGE]),
  ]);
}

function commandPage(program: Command, command: Command, sources: ManualSources): string {
  const leaves = command.commands.length === 0 ? [command] : command.commands;
  const body =
    command.commands.length === 0
      ? [heading('Description'), ...describe(command, heading)]
      : [
          heading('Description'),
          prose(capital(command.description())),
          heading('Commands'),
          ...command.commands.flatMap((leaf) => [
            subheading(words(leaf)),
            ...describe(leaf, (text) => paragraph(bold(text))),
          ]),
        ];
  return page(pageName(program, command), 1, command.summary(), sources, [
    heading('Synopsis'),
    ...leaves.map((leaf, index) => (index === 0 ? usage(leaf) : `.br\n${usage(leaf)}`)),
    ...body,
    heading('Common options'),
    ...options(program),
    heading('Exit status'),
    `0 when it is done. All exit codes are in ${bold(program.name())}(1).`,
    heading('See also'),
    seeAlso([program.name(), CONFIGURATION_PAGE]),
  ]);
}

function configurationPage(program: Command, sources: ManualSources): string {
  return page(CONFIGURATION_PAGE, 5, CONFIGURATION_SUMMARY, sources, [
    ...configurationSections(sources.configuration),
    heading('See also'),
    seeAlso([program.name(), pageName(program, { name: () => 'config' } as Command)]),
  ]);
}

function page(
  name: string,
  section: number,
  summary: string,
  { version, date }: ManualSources,
  parts: readonly string[],
): string {
  const head = title({ name, section, date, source: `Ratecat ${version}`, manual: 'Ratecat' });
  const names = `${literal(name)} \\- ${prose(summary)}`;
  return layout(head, [heading('Name'), names, ...parts]);
}

/** What it does, its arguments, options and examples, each below a heading of the given kind. */
function describe(command: Command, head: (text: string) => string): readonly string[] {
  const help = command.createHelp();
  const { notes, examples } = helpFooter(command);
  const given = help
    .visibleArguments(command)
    .map((argument) => item(bold(help.argumentTerm(argument)), prose(help.argumentDescription(argument))));
  const own = options(command);
  return [
    prose(capital(command.description())),
    ...notes.map((note) => paragraph(prose(note))),
    ...(given.length === 0 ? [] : [head('Arguments'), ...given]),
    ...(own.length === 0 ? [] : [head('Options'), ...own]),
    ...(examples.length === 0 ? [] : [head('Examples'), ...examples]),
  ];
}

function options(command: Command): readonly string[] {
  const help = command.createHelp();
  return help
    .visibleOptions(command)
    .filter((option) => option.long !== '--help' || command.parent === null)
    .map((option) => item(bold(help.optionTerm(option)), prose(help.optionDescription(option))));
}

function usage(command: Command): string {
  const help = command.createHelp();
  const rest = help.commandUsage(command).slice(words(command).length);
  return `${bold(words(command))}${rest === '' ? '' : ` ${prose(rest)}`}`;
}

/** The words that call it: `ratecat rules import`. */
function words(command: Command): string {
  return command.parent === null ? command.name() : `${words(command.parent)} ${command.name()}`;
}

interface Footer {
  readonly notes: readonly string[];
  readonly examples: readonly string[];
}

/** What stands below the generated part of a help text: notes, and examples as `cli.ts` lays them out. */
function helpFooter(command: Command): Footer {
  const text = textAfterHelp(command);
  const [before = '', after = ''] = text.split(/^Examples:$/m);
  const notes = before
    .split(/\n\s*\n/)
    .map((note) => note.trim())
    .filter((note) => note !== '');
  const examples = [...after.matchAll(/^ {2}\$ (.*)\n {6}(.*)$/gm)].map(([, call, meaning]) =>
    [
      verbatim([`$ ${call}`]),
      paragraph(prose(`${capital(meaning!)}${/[.?!]$/.test(meaning!) ? '' : '.'}`)),
    ].join('\n'),
  );
  return { notes, examples };
}

function textAfterHelp(command: Command): string {
  const written: string[] = [];
  const before = command.configureOutput();
  command.configureOutput({ ...before, writeOut: (text) => void written.push(text) });
  command.outputHelp();
  command.configureOutput(before);
  return written.join('').slice(command.helpInformation().length);
}

function seeAlso(names: readonly string[]): string {
  return names.map((name) => `${bold(name)}(${name === CONFIGURATION_PAGE ? 5 : 1})`).join(',\n');
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
