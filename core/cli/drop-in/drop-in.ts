import { stat } from 'node:fs/promises';
import { type Config } from '../../config/config.js';
import { loadConfig } from '../../config/load-config.js';
import { EXIT, exitCodeOf } from '../../daemon/exit-codes.js';
import { describeError, isRatecatError } from '../../plugin-api/index.js';
import { UsageError } from '../cli.js';
import { main, type Surroundings } from '../main.js';
import { packageInfo } from '../package-info.js';
import { type DropInArguments, parseArguments } from './arguments.js';
import { configurationOf, PLACES, type Places } from './configuration.js';
import { upgradeCheck } from './upgrade-check.js';

/** What a program of CloudKitty does here. */
interface Program {
  /** Behind the options. */
  readonly usage: string;
  readonly summary: string;
  /** What its words ask for. @throws UsageError when that is nothing. */
  work(words: readonly string[]): Work;
}

type Work = (file: string, world: Surroundings) => Promise<number>;

const PROGRAMS: Readonly<Record<string, Program>> = {
  'cloudkitty-api': {
    usage: '[--host HOST] [--port PORT]',
    summary: "Serves the HTTP API, as 'ratecat api'.",
    work: withoutWords('api'),
  },
  'cloudkitty-processor': {
    usage: '',
    summary: "Rates, as 'ratecat processor'.",
    work: withoutWords('processor'),
  },
  'cloudkitty-dbsync': {
    usage: 'upgrade | version',
    summary: "Creates or upgrades the tables, as 'ratecat dbsync upgrade', or tells whether they need it.",
    work: dbsync,
  },
  'cloudkitty-storage-init': {
    usage: '',
    summary: "Creates the tables of the storage: the same as 'cloudkitty-dbsync upgrade'.",
    work: withoutWords('storage-init'),
  },
  'cloudkitty-status': {
    usage: 'upgrade check',
    summary:
      'Tells whether Ratecat can start. Exit code 0: yes; 1: the tables must be upgraded first; 2: something is wrong.',
    work: status,
  },
  /** What the package does when it is installed; not a program of CloudKitty. */
  'import-configuration': {
    usage: '',
    summary: "Makes Ratecat's configuration out of CloudKitty's, when there is none yet.",
    work: () => async () => EXIT.ok,
  },
};

/** Runs a program of CloudKitty by its name. Gives the exit code; never throws. */
export async function dropIn(
  name: string,
  args: readonly string[],
  world: Surroundings,
  places: Places = PLACES,
): Promise<number> {
  try {
    return await run(name, args, world, places);
  } catch (error) {
    if (!(error instanceof UsageError)) return reported(error, world);
    world.stderr.write(`error: ${error.message}\n(${name} --help shows what is possible)\n`);
    return EXIT.usage;
  }
}

async function run(
  name: string,
  args: readonly string[],
  world: Surroundings,
  places: Places,
): Promise<number> {
  const program = Object.hasOwn(PROGRAMS, name) ? PROGRAMS[name]! : undefined;
  if (program === undefined) throw new UsageError(`there is no program '${name}'`);
  const parsed = parseArguments(name, args);
  if (parsed.asksFor !== undefined) {
    world.stdout.write(parsed.asksFor === 'help' ? help(name, program) : `${packageInfo().version}\n`);
    return EXIT.ok;
  }
  const work = program.work(parsed.words);
  for (const option of parsed.withoutEffect)
    world.stderr.write(`warning: ${option} has no effect${instead(option)}\n`);
  const found = await configurationOf(parsed, world, places);
  if ('code' in found) return found.code;
  // What is wrong with it is told by the command itself.
  const config = await loaded(found.file, world);
  if (config !== undefined) {
    checkAddress(parsed, config);
    await becomeOwner(config.dataFolder);
  }
  return work(found.file, world);
}

function instead(option: string): string {
  if (/log|journal|stderr|json/.test(option)) return ': logs go to stderr, for the service manager to keep';
  return /debug|^-d$/.test(option) ? ": set 'log.level' in the configuration" : '';
}

function withoutWords(command: string): Program['work'] {
  return (words) => {
    if (words.length > 0) throw new UsageError(`unexpected '${words[0]}'`);
    return (file, world) => main([command, '--config', file], world);
  };
}

function dbsync(words: readonly string[]): Work {
  const [word, ...more] = words;
  const command = new Map([
    ['upgrade', 'upgrade'],
    ['version', 'status'],
  ]).get(word ?? '');
  if (command === undefined || more.length > 0) {
    const gone = /^(downgrade|stamp|revision)$/.test(word ?? '');
    throw new UsageError(gone ? `Ratecat's tables know no '${word}'` : "say 'upgrade' or 'version'");
  }
  return (file, world) => main(['dbsync', command, '--config', file], world);
}

function status(words: readonly string[]): Work {
  if (words.join(' ') !== 'upgrade check') throw new UsageError("say 'upgrade check'");
  return upgradeCheck;
}

async function loaded(file: string, world: Surroundings): Promise<Config | undefined> {
  return loadConfig(file, world.environment).then(
    ({ config }) => config,
    () => undefined,
  );
}

/** An address that would be overlooked is refused: clients would ask where nobody answers. */
function checkAddress({ host, port }: DropInArguments, { api, file }: Config): void {
  if (host !== undefined && host !== api.host)
    throw new UsageError(`--host is ${host}, but api.host of ${file} is ${api.host}: set it there`);
  if (port !== undefined && port !== String(api.port))
    throw new UsageError(`--port is ${port}, but api.port of ${file} is ${api.port}: set it there`);
}

/** Of Node, but not of its types. */
interface GroupsOfUser {
  initgroups(user: number, group: number): void;
}

/** What root writes into the data folder would be closed to the daemon, so root becomes the owner of the folder. */
async function becomeOwner(folder: string): Promise<void> {
  if (process.getuid?.() !== 0) return;
  const owner = await stat(folder).catch(() => undefined);
  if (owner === undefined || owner.uid === 0) return;
  (process as unknown as GroupsOfUser).initgroups(owner.uid, owner.gid);
  process.setgid!(owner.gid);
  process.setuid!(owner.uid);
}

function help(name: string, { usage, summary }: Program): string {
  const words = usage === '' ? '' : ` ${usage}`;
  return `Usage: ${name} [--config-file FILE]... [--config-dir FOLDER]...${words}

${summary} Takes the place of CloudKitty's program of the same name.

The configuration is ${PLACES.ratecat}. While there is none, it is made of CloudKitty's: of the files that are named, or
of ${PLACES.cloudkitty}. A FILE that ends with .yml is Ratecat's own.
Options of oslo.log are accepted and have no effect: logs go to stderr.
`;
}

function reported(error: unknown, { stderr }: Surroundings): number {
  if (isRatecatError(error)) stderr.write(`error: ${describeError(error)} [${error.code}]\n`);
  else
    stderr.write(
      `internal error, please report it: ${error instanceof Error ? error.stack : String(error)}\n`,
    );
  return exitCodeOf(error);
}
