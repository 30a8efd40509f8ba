import type { Command } from 'commander';
import type { Output } from './output.js';

/** Options that every command knows. */
export interface GlobalOptions {
  readonly config?: string;
  readonly dataDir?: string;
}

/** What a command gets from the program around it. */
export interface Cli {
  /** Results. Logs and errors go to stderr. */
  readonly output: Output;
  readonly input: NodeJS.ReadableStream;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly version: string;
  /** Folder of package.json. */
  readonly packageFolder: string;
  globals(): GlobalOptions;
  /** Runs the command; what `work` gives is the exit code, 0 by default. */
  run(work: () => Promise<number | undefined>): Promise<void>;
}

/** A command's module: adds description, options and action. Loaded when the command line names the command. */
export interface CommandModule {
  define(command: Command, cli: Cli): void;
}

/** The end of a help text. */
export function examples(...lines: readonly (readonly [command: string, meaning: string])[]): string {
  const blocks = lines.map(([command, meaning]) => `  $ ${command}\n      ${meaning}`);
  return `\nExamples:\n${blocks.join('\n')}`;
}

/** The command line cannot be understood. Exit code 64. */
export class UsageError extends Error {}
