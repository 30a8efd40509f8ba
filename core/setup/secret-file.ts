import { randomBytes } from 'node:crypto';
import { open, stat } from 'node:fs/promises';
import { ConfigError } from '../plugin-api/index.js';
import { writeWhole } from './whole-file.js';

/** A secret is a line, credentials are a page; anything larger is the wrong file. */
const MAX_BYTES = 64 * 1024;
/** 192 bits. */
const PASSWORD_BYTES = 24;
/** What servers ask of a strong password, and a letter first: after `--password`, a hyphen there begins an option. */
const KINDS = [/^[A-Za-z]/, /[a-z]/, /[A-Z]/, /\d/, /[-_]/];

/**
 * The first line of a file.
 * @throws ConfigError RATECAT_SECRET_FILE
 */
export async function readSecret(file: string): Promise<string> {
  const text = (await readSmall(file)).split('\n', 1)[0]!.replace(/\r$/, '');
  if (text === '') throw unusable(file, 'its first line is empty', 'that line is the secret');
  return text;
}

/**
 * The text of a file that is not large; a pipe will do.
 * @throws ConfigError RATECAT_SECRET_FILE
 */
export async function readSmall(file: string): Promise<string> {
  const bytes = await readBytes(file);
  if (bytes.length > MAX_BYTES)
    throw unusable(file, `it has more than ${MAX_BYTES} bytes`, 'is it the right file?');
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw unusable(file, 'it is not UTF-8', 'save it as UTF-8', error);
  }
}

async function readBytes(file: string): Promise<Buffer> {
  try {
    const handle = await open(file);
    try {
      const chunks: Buffer[] = [];
      let size = 0;
      for await (const chunk of handle.createReadStream({ autoClose: false, end: MAX_BYTES })) {
        chunks.push(chunk as Buffer);
        size += (chunk as Buffer).length;
      }
      return Buffer.concat(chunks, size);
    } finally {
      await handle.close();
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') throw unusable(file, 'there is no such file', 'check the path', error);
    throw unusable(file, `it cannot be read (${code})`, 'check its permissions', error);
  }
}

/** @throws ConfigError RATECAT_SECRET_FILE when it cannot be told. */
export async function fileExists(file: string): Promise<boolean> {
  try {
    await stat(file);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return false;
    throw unusable(file, `it cannot be reached (${code})`, 'check the permissions of its folders', error);
  }
}

/** A new password that rules for passwords accept: 32 letters, digits, hyphens and underscores, a letter first. */
export function newPassword(): string {
  for (;;) {
    const candidate = randomBytes(PASSWORD_BYTES).toString('base64url');
    if (KINDS.every((kind) => kind.test(candidate))) return candidate;
  }
}

/**
 * Makes a file that only its owner can read, whole or not at all. A file that exists stays as it is.
 * @throws UnavailableError RATECAT_OUTPUT_FAILED
 */
export function writeSecret(file: string, secret: string): Promise<void> {
  const advice = 'Or name another place with --secret-file.';
  return writeWhole({ path: file, text: `${secret}\n`, isSecret: true, replaces: false, advice });
}

function unusable(file: string, problem: string, hint: string, cause?: unknown): ConfigError {
  return new ConfigError('RATECAT_SECRET_FILE', `${file} cannot be used: ${problem}; ${hint}.`, { cause });
}
