import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { DataError, describeError } from '../plugin-api/index.js';

const LINE_END = 0x0a;
const LONGEST_LINE = 16 * 1024 * 1024;

export interface TextLine {
  /** From 1. */
  readonly number: number;
  readonly text: string;
  /** Of the file as it lies on disk, read so far. */
  readonly bytesRead: number;
}

/**
 * Lines of a UTF-8 file, packed by gzip or not; only a line feed ends one.
 * @throws DataError RATECAT_MIGRATE_FILE_INVALID when it cannot be read to its end.
 */
export async function* textLines(path: string): AsyncGenerator<TextLine, void, void> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let number = 0;
  const { stream, raw } = await opened(path);
  const decoded = (bytes: Buffer) => {
    number++;
    try {
      const text = decoder.decode(bytes);
      return { number, text: text.endsWith('\r') ? text.slice(0, -1) : text, bytesRead: raw.bytesRead };
    } catch {
      throw fileInvalid(`${path}:${number}`, 'the line is not valid UTF-8');
    }
  };
  let rest: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      let start = 0;
      for (let end = chunk.indexOf(LINE_END); end >= 0; end = chunk.indexOf(LINE_END, start)) {
        yield decoded(Buffer.concat([...rest, chunk.subarray(start, end)]));
        rest = [];
        length = 0;
        start = end + 1;
      }
      if (start < chunk.length) rest.push(chunk.subarray(start));
      length += chunk.length - start;
      if (length > LONGEST_LINE)
        throw fileInvalid(`${path}:${number + 1}`, `the line is longer than ${LONGEST_LINE} bytes`);
    }
  } catch (error) {
    if (error instanceof DataError) throw error;
    throw fileInvalid(path, `it cannot be read to its end (${describeError(error)})`, error);
  } finally {
    raw.destroy();
  }
  if (length > 0) yield decoded(Buffer.concat(rest));
}

async function opened(path: string) {
  const packed = await isPacked(path);
  const raw = createReadStream(path);
  const stream: Readable = packed ? raw.pipe(createGunzip()) : raw;
  // A pipe does not hand errors on.
  if (stream !== raw) raw.once('error', (error) => stream.destroy(error));
  return { stream, raw };
}

async function isPacked(path: string): Promise<boolean> {
  try {
    const file = await open(path);
    try {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(2), 0, 2, 0);
      return bytesRead === 2 && buffer[0] === 0x1f && buffer[1] === 0x8b;
    } finally {
      await file.close();
    }
  } catch (error) {
    throw fileInvalid(path, `it cannot be read (${describeError(error)})`, error);
  }
}

export function fileInvalid(place: string, problem: string, cause?: unknown): DataError {
  return new DataError(
    'RATECAT_MIGRATE_FILE_INVALID',
    `${place}: ${problem}. Nothing was taken over from the files; correct or export it again, and repeat the command.`,
    { cause },
  );
}
