import { UsageError } from '../cli.js';

/** A command line of one of CloudKitty's programs. */
export interface DropInArguments {
  readonly configFiles: readonly string[];
  readonly configFolders: readonly string[];
  /** Of `cloudkitty-api`: where it should listen. */
  readonly host: string | undefined;
  readonly port: string | undefined;
  /** Options that are understood and have no effect, as they were written. */
  readonly withoutEffect: readonly string[];
  /** What is no option: `upgrade`, `upgrade check`. */
  readonly words: readonly string[];
  readonly asksFor: 'help' | 'version' | undefined;
}

type Meaning = 'config-file' | 'config-dir' | 'host' | 'port' | 'help' | 'version' | 'none';

interface Option {
  readonly meaning: Meaning;
  readonly hasValue: boolean;
}

const flag = (meaning: Meaning): Option => ({ meaning, hasValue: false });
const valued = (meaning: Meaning): Option => ({ meaning, hasValue: true });
const each = (names: string, option: Option) => names.split(' ').map((name) => [name, option] as const);

/** Of oslo.config and oslo.log, in every program. */
const COMMON: ReadonlyMap<string, Option> = new Map([
  ...each('--config-file', valued('config-file')),
  ...each('--config-dir', valued('config-dir')),
  ...each('-h --help', flag('help')),
  ...each('--version', flag('version')),
  ...each('-d --debug --nodebug --use-syslog --nouse-syslog --use-journal --nouse-journal', flag('none')),
  ...each('--use-json --nouse-json --watch-log-file --nowatch-log-file --use-stderr', flag('none')),
  ...each('--log-file --logfile --log_file --log-dir --logdir --log_dir', valued('none')),
  ...each('--log-config --log_config --log-config-append --log-date-format', valued('none')),
  ...each('--syslog-log-facility', valued('none')),
]);

const OF_API: ReadonlyMap<string, Option> = new Map([
  ...each('--host', valued('host')),
  ...each('-p --port', valued('port')),
]);

/** Of `cloudkitty-dbsync upgrade`: everything is brought to this version at once. */
const OF_DBSYNC: ReadonlyMap<string, Option> = new Map([
  ...each('-m --module', valued('none')),
  // Behind the word `upgrade` it names a revision.
  ...each('--version', valued('none')),
]);

/**
 * Reads the command line of a program of CloudKitty. A lone `--`, which RPM's units have, means nothing.
 * @throws UsageError for an option that the program does not know.
 */
export function parseArguments(program: string, args: readonly string[]): DropInArguments {
  const found: [Option, written: string, value: string][] = [];
  const words: string[] = [];
  const rest = args.filter((arg) => arg !== '--');
  while (rest.length > 0) {
    const arg = rest.shift()!;
    if (!arg.startsWith('-')) {
      words.push(arg);
      continue;
    }
    const [name = '', ...after] = arg.split('=');
    const option = optionOf(program, name, words.length > 0);
    const value = after.length > 0 ? after.join('=') : option.hasValue ? rest.shift() : '';
    if (value === undefined) throw new UsageError(`${name} needs a value`);
    found.push([option, name, value]);
  }
  const valuesOf = (meaning: Meaning) =>
    found.filter(([option]) => option.meaning === meaning).map(([, , value]) => value);
  const asked = found.map(([{ meaning }]) => meaning);
  return {
    configFiles: valuesOf('config-file'),
    configFolders: valuesOf('config-dir'),
    host: valuesOf('host').at(-1),
    port: valuesOf('port').at(-1),
    withoutEffect: found.filter(([{ meaning }]) => meaning === 'none').map(([, name]) => name),
    words,
    asksFor: asked.includes('help') ? 'help' : asked.includes('version') ? 'version' : undefined,
  };
}

function optionOf(program: string, name: string, isBehindWord: boolean): Option {
  const own = program === 'cloudkitty-api' ? OF_API.get(name) : undefined;
  const behind = program === 'cloudkitty-dbsync' && isBehindWord ? OF_DBSYNC.get(name) : undefined;
  const option = own ?? behind ?? COMMON.get(name);
  if (option === undefined) throw new UsageError(`unknown option '${name}'`);
  return option;
}
