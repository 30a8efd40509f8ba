import { isUtf8 } from 'node:buffer';
import { promisify } from 'node:util';
import { brotliDecompress, gunzip, inflate, inflateRaw } from 'node:zlib';
import { codeOf, malformed, tooLarge, truncated } from './http-errors.js';
import type { Target } from './http-target.js';

type Decompress = (raw: Buffer, options: { maxOutputLength: number }) => Promise<Buffer>;

const DECOMPRESSORS: ReadonlyMap<string, Decompress> = new Map<string, Decompress>([
  ['gzip', promisify(gunzip)],
  ['x-gzip', promisify(gunzip)],
  ['br', promisify(brotliDecompress)],
]);

function decompressorFor(encoding: string, raw: Buffer): Decompress | undefined {
  if (encoding !== 'deflate') return DECOMPRESSORS.get(encoding);
  // Servers disagree whether "deflate" has the zlib header; its first byte says method 8.
  return promisify((raw[0]! & 0x0f) === 8 ? inflate : inflateRaw);
}

/** The body as it was before it was packed. */
export async function decompressed(
  target: Target,
  raw: Buffer,
  encoding: string | undefined,
  maxBytes: number,
): Promise<Buffer> {
  const name = (encoding ?? 'identity').trim().toLowerCase();
  if (raw.length === 0 || name === 'identity' || name === '') return raw;
  const decompress = decompressorFor(name, raw);
  if (decompress === undefined) {
    throw malformed(target, `is packed as '${name.slice(0, 40)}', which was not asked for`);
  }
  try {
    // zlib stops as soon as the output passes the limit, so a bomb costs no more than an honest answer.
    return await decompress(raw, { maxOutputLength: maxBytes });
  } catch (error) {
    const code = codeOf(error);
    if (code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(target, maxBytes);
    if (code === 'Z_BUF_ERROR') throw truncated(target, error);
    throw malformed(target, `is not valid ${name}`, error);
  }
}

/** Error pages come in any encoding; only what is going to be priced must be perfect. */
export function decode(target: Target, bytes: Buffer, status: number): string {
  if (status < 400 && !isUtf8(bytes)) throw malformed(target, 'is not valid UTF-8');
  const text = bytes.toString('utf8');
  return text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
}

/** Lower-case names; repeated headers joined. */
export function flatHeaders(
  headers: Readonly<Record<string, string | string[] | undefined>>,
): Record<string, string> {
  const flat: Record<string, string> = Object.create(null);
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined) flat[name.toLowerCase()] = Array.isArray(value) ? value.join(', ') : value;
  }
  return flat;
}
