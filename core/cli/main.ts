import { Command, CommanderError } from 'commander';
import { EXIT, exitCodeOf } from '../daemon/exit-codes.js';
import { describeError, isRatecatError } from '../plugin-api/index.js';
import { type Cli, type GlobalOptions, UsageError } from './cli.js';
import { COMMANDS } from './commands.js';
import { Output, ReaderGone } from './output.js';
import { packageInfo } from './package-info.js';

/** The world around the program; tests bring their own. */
export interface Surroundings {
  readonly stdout: NodeJS.WritableStream;
  readonly stderr: NodeJS.WritableStream;
  readonly stdin: NodeJS.ReadableStream;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

const HELP_FOOTER = `
Without --config, $RATECAT_CONFIG, ./ratecat.yml, /etc/ratecat/ratecat.yml and the example that comes with the
package are tried, in this order. Results go to stdout, logs to stderr.

Examples:
  $ ratecat up
      rate this machine's own usage with the example price list; data in ./data, Ctrl-C stops
  $ ratecat summary --group-by type
      what it costs so far this month, by kind of usage
  $ ratecat COMMAND --help
      everything about a command`;

/** Runs one command line. Gives the exit code; never throws. */
export async function main(args: readonly string[], world: Surroundings = process_()): Promise<number> {
  const output = new Output(world.stdout);
  // A lost stderr must not end a daemon.
  world.stderr.on('error', () => undefined);
  const complain = (text: string) => world.stderr.write(`${text}\n`);
  let exitCode: number = EXIT.ok;
  try {
    const program = await newProgram(args, world, output, async (work) => {
      exitCode = (await work()) ?? EXIT.ok;
    });
    await program.parseAsync([...args], { from: 'user' });
    await output.flush();
  } catch (error) {
    return afterError(error, complain);
  }
  return exitCode;
}

/** The whole program, every command loaded and none of them working: for what describes or checks all of it. */
export async function describedProgram(world: Surroundings = process_()): Promise<Command> {
  const names = COMMANDS.map(({ name }) => name);
  return newProgram(names, world, new Output(world.stdout), async () => undefined);
}

function process_(): Surroundings {
  const { stdout, stderr, stdin, env } = process;
  return { stdout, stderr, stdin, environment: env };
}

async function newProgram(
  args: readonly string[],
  world: Surroundings,
  output: Output,
  run: Cli['run'],
): Promise<Command> {
  const { version, folder } = packageInfo();
  const program = emptyProgram(version, world);
  await addCommands(program, args, {
    output,
    input: world.stdin,
    environment: world.environment,
    version,
    packageFolder: folder,
    globals: () => program.opts<GlobalOptions>(),
    run,
  });
  return program;
}

function emptyProgram(version: string, world: Surroundings): Command {
  return new Command('ratecat')
    .description('Rating as a service: turns measured usage into exact prices, per scope and period.')
    .version(version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show help')
    .option('-c, --config <file>', 'configuration file')
    .option('-d, --data-dir <folder>', 'folder of the data, in place of data_folder in the configuration')
    .addHelpText('after', HELP_FOOTER)
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: (text) => world.stdout.write(text),
      writeErr: (text) => world.stderr.write(text),
    })
    .showHelpAfterError('(--help shows what is possible)')
    .exitOverride();
}

/** Words of the command line that name a command have their module loaded; the others only show in the help. */
async function addCommands(program: Command, args: readonly string[], cli: Cli): Promise<void> {
  for (const { name, summary, load } of COMMANDS) {
    const command = program.command(name).summary(summary).description(`${summary}.`);
    if (args.includes(name)) (await load()).define(command, cli);
  }
}

function afterError(error: unknown, complain: (text: string) => void): number {
  if (error instanceof ReaderGone) return EXIT.ok;
  // Commander has printed its message.
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  if (error instanceof UsageError) {
    complain(`error: ${error.message}`);
    return EXIT.usage;
  }
  if (isRatecatError(error)) complain(`error: ${describeError(error)} [${error.code}]`);
  else complain(`internal error, please report it: ${error instanceof Error ? error.stack : String(error)}`);
  return exitCodeOf(error);
}
