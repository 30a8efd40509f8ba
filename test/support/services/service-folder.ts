import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const folders = new Set<string>();

/** A fresh folder below the system's temporary folder, gone at the latest when this process ends. */
export function createServiceFolder(service: string): string {
  const folder = mkdtempSync(join(tmpdir(), `ratecat-test-${service}-`));
  chmodSync(folder, 0o755); // services that run as a user of their own must get in
  folders.add(folder);
  return folder;
}

export async function removeServiceFolder(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  folders.delete(folder);
}

export function removeAllServiceFolders(): void {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  folders.clear();
}

/** Creates a private folder that belongs to the user, or to whoever runs the tests when no user is given. */
export function createOwnedFolder(path: string, user: string | undefined): void {
  mkdirSync(path, { mode: 0o700 });
  if (user !== undefined) chownSync(path, numericId('-u', user), numericId('-g', user));
}

function numericId(kind: '-u' | '-g', user: string): number {
  return Number(execFileSync('/usr/bin/id', [kind, user], { encoding: 'utf8' }));
}
