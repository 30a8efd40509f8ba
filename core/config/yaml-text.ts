import { readFile, stat } from 'node:fs/promises';
import { configError, type Problem, TOP } from './problems.js';

/** One slip often makes many faults; the first ones tell. */
const MAX_PROBLEMS = 20;

/**
 * The text of a file, a byte order mark included.
 * @throws ConfigError RATECAT_CONFIG_INVALID when it is missing, unreadable, too large, no regular file or not UTF-8.
 */
export async function readText(file: string, maxBytes: number): Promise<string> {
  return decode(file, await readBytes(file, maxBytes));
}

/** A problem of a file as a whole. */
export function fileError(file: string, message: string, hint: string | undefined): Error {
  return configError([{ file, ...TOP, path: '', message, hint }]);
}

/** Characters that YAML forbids, each with its place. */
export function forbiddenCharacters(text: string, file: string): Problem[] {
  const problems: Problem[] = [];
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters that YAML forbids.
  const forbidden = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f\ufeff\ufffe\uffff]/g;
  for (const match of text.matchAll(forbidden)) {
    const before = text.slice(0, match.index);
    const line = before.split('\n').length;
    const column = match.index - before.lastIndexOf('\n');
    problems.push({ file, line, column, path: nearestKeyText(text, match.index), ...describe(match[0]) });
    if (problems.length === MAX_PROBLEMS) break;
  }
  return problems;
}

function describe(character: string): { message: string; hint: string } {
  if (character === '\ufeff') {
    return { message: 'an invisible byte order mark', hint: 'save the file as UTF-8 without BOM' };
  }
  const code = character.charCodeAt(0).toString(16).padStart(4, '0');
  return { message: `the control character U+${code.toUpperCase()}`, hint: 'remove it' };
}

/** The key on the same line, as far as text alone tells. */
function nearestKeyText(text: string, offset: number): string {
  const end = text.indexOf('\n', offset);
  const line = text.slice(text.lastIndexOf('\n', offset) + 1, end < 0 ? text.length : end);
  return /([A-Za-z_][\w.-]*)\s*:/.exec(line)?.[1] ?? '';
}

async function readBytes(file: string, maxBytes: number): Promise<Buffer> {
  try {
    const facts = await stat(file);
    // A pipe without a writer would hang the start.
    if (!facts.isFile()) throw fileError(file, 'is not a regular file', 'name a YAML file');
    if (facts.size > maxBytes) {
      throw fileError(
        file,
        `the file has ${facts.size} bytes, more than ${maxBytes}`,
        'is it the right file?',
      );
    }
    return await readFile(file);
  } catch (error) {
    throw (error as NodeJS.ErrnoException).code?.startsWith('E') ? unreadable(file, error) : error;
  }
}

function unreadable(file: string, error: unknown): Error {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    return fileError(file, 'the file does not exist', 'check the path');
  }
  if (code === 'EACCES' || code === 'EPERM') {
    return fileError(
      file,
      'the file cannot be read: permission denied',
      'let the user of the daemon read it',
    );
  }
  return fileError(file, `the file cannot be read (${code})`, undefined);
}

function decode(file: string, bytes: Buffer): string {
  if (bytes.length > 1 && (bytes.readUInt16BE(0) === 0xfffe || bytes.readUInt16BE(0) === 0xfeff)) {
    throw fileError(file, 'the file is UTF-16', 'save it as UTF-8');
  }
  try {
    return decoder(true).decode(bytes);
  } catch {
    throw configError([invalidUtf8(file, bytes)]);
  }
}

/** The place of the first wrong byte. Lines are looked at one by one, because 0x0A is never part of a longer sequence. */
function invalidUtf8(file: string, bytes: Buffer): Problem {
  let start = 0;
  for (let line = 1; start < bytes.length; line++) {
    const newline = bytes.indexOf(10, start);
    const end = newline < 0 ? bytes.length : newline;
    const text = decoder(false).decode(bytes.subarray(start, end));
    const column = text.indexOf('\ufffd') + 1;
    if (column > 0) {
      return { file, line, column, path: '', message: 'invalid UTF-8', hint: 'save the file as UTF-8' };
    }
    start = end + 1;
  }
  return { file, ...TOP, path: '', message: 'invalid UTF-8', hint: 'save the file as UTF-8' };
}

/** A byte order mark stays visible, so that it can be reported. */
function decoder(fatal: boolean) {
  return new TextDecoder('utf-8', { fatal, ignoreBOM: true });
}
