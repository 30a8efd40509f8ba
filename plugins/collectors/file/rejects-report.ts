import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

/** The file itself is kept, so a report need not repeat gigabytes of junk. */
const MAX_LINES = 10_000;
const MAX_TEXT = 2_000;

/** Bad lines of one file with their reasons, one JSON object a line; appears under its name when it is complete. */
export class RejectsReport {
  readonly #path: string;
  #handle: FileHandle | undefined;
  #pending: string[] = [];
  #count = 0;

  constructor(path: string) {
    this.#path = path;
  }

  get count(): number {
    return this.#count;
  }

  /** `line` is 0 for a reason that concerns the whole file. */
  add(line: number, reason: string, bytes: Buffer): void {
    this.#count++;
    if (this.#count > MAX_LINES) return;
    const text = bytes.subarray(0, MAX_TEXT).toString('utf8');
    this.#pending.push(`${JSON.stringify({ line, reason, text })}\n`);
  }

  async flush(): Promise<void> {
    if (this.#pending.length === 0) return;
    this.#handle ??= await open(this.#temporary(), 'w');
    const text = this.#pending.join('');
    this.#pending = [];
    await this.#handle.appendFile(text);
  }

  /** Puts the report in its place, durably. */
  async finish(): Promise<void> {
    if (this.#count > MAX_LINES) {
      const reason = `${this.#count - MAX_LINES} more bad lines follow; the whole file is kept`;
      this.#pending.push(`${JSON.stringify({ line: 0, reason, text: '' })}\n`);
    }
    await this.flush();
    if (this.#handle === undefined) return;
    await this.#handle.sync();
    await this.#close();
    await rename(this.#temporary(), this.#path);
    await syncFolder(dirname(this.#path));
  }

  async discard(): Promise<void> {
    if (this.#handle === undefined) return;
    await this.#close();
    await rm(this.#temporary(), { force: true });
  }

  async #close(): Promise<void> {
    await this.#handle?.close();
    this.#handle = undefined;
  }

  #temporary(): string {
    return `${this.#path}.part`;
  }
}

/** Makes renames inside a folder survive a power failure. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
