import type { FileHandle } from 'node:fs/promises';

/** A line of a file without its line break. */
export interface Line {
  /** From 1. */
  readonly number: number;
  /** Bytes of the line, or of its begin when it is too long. */
  readonly bytes: Buffer;
  readonly tooLong: boolean;
}

const KEPT_OF_LONG_LINE = 1024;

/** Cuts a stream of bytes into lines, those of a chunk together; memory is bounded by the chunk and `maxBytes`. */
export async function* splitLines(
  chunks: AsyncIterable<Buffer>,
  maxBytes: number,
): AsyncGenerator<readonly Line[]> {
  let rest: Buffer[] = [];
  let restLength = 0;
  let number = 0;
  const finish = (tail: Buffer): Line => {
    const length = restLength + tail.length;
    const tooLong = length > maxBytes;
    const whole = rest.length === 0 ? tail : Buffer.concat([...rest, tail]);
    rest = [];
    restLength = 0;
    number++;
    if (tooLong) return { number, bytes: Buffer.from(whole.subarray(0, KEPT_OF_LONG_LINE)), tooLong };
    return { number, bytes: whole.at(-1) === 13 ? whole.subarray(0, -1) : whole, tooLong };
  };
  for await (const chunk of chunks) {
    const lines: Line[] = [];
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      lines.push(finish(chunk.subarray(start, end)));
      start = end + 1;
    }
    if (start < chunk.length) {
      // Of a line that is too long already only the length matters.
      if (restLength <= maxBytes) rest.push(Buffer.from(chunk.subarray(start)));
      restLength += chunk.length - start;
    }
    if (lines.length > 0) yield lines;
  }
  if (restLength > 0) yield [finish(Buffer.alloc(0))];
}

const CHUNK_BYTES = 256 * 1024;

/** The bytes of an open file from its begin. Unlike a stream, it leaves the file open when its reader stops early. */
export async function* readChunks(handle: FileHandle, signal: AbortSignal): AsyncGenerator<Buffer> {
  for (let position = 0; ; ) {
    signal.throwIfAborted();
    const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
    const { bytesRead } = await handle.read(buffer, 0, CHUNK_BYTES, position);
    if (bytesRead === 0) return;
    position += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}
