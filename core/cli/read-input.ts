import { createReadStream } from 'node:fs';
import { text } from 'node:stream/consumers';
import { type Cli, UsageError } from './cli.js';

/** What `-` stands for is called so in messages. */
export function inputName(file: string): string {
  return file === '-' ? 'standard input' : file;
}

/** A file, or standard input for `-`. Failures to read it become a UsageError when they are met. */
export function openInput(file: string, cli: Cli): NodeJS.ReadableStream {
  return file === '-' ? cli.input : createReadStream(file);
}

/** All of standard input. */
export function readAll(stream: NodeJS.ReadableStream): Promise<string> {
  return text(stream);
}

/** @throws UsageError for an error of the file system; anything else as it is. */
export function unreadable(file: string, error: unknown): never {
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (syscall === undefined) throw error;
  const reason = code === 'ENOENT' ? 'there is no such file' : `it cannot be read (${code})`;
  throw new UsageError(`${inputName(file)}: ${reason}.`);
}
