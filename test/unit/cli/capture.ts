import { Readable, Writable } from 'node:stream';
import { main } from '../../../core/cli/main.js';

export interface Captured {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function collecting(): { readonly stream: Writable; text(): string } {
  const chunks: string[] = [];
  const stream = new Writable({
    write(chunk, _encoding, done) {
      chunks.push(String(chunk));
      done();
    },
  });
  return { stream, text: () => chunks.join('') };
}

/** One command line in this process, with its output. */
export async function capture(args: readonly string[], input = ''): Promise<Captured> {
  const stdout = collecting();
  const stderr = collecting();
  const code = await main(args, {
    stdout: stdout.stream,
    stderr: stderr.stream,
    stdin: Readable.from([input]),
    environment: {},
  });
  return { code, stdout: stdout.text(), stderr: stderr.text() };
}
