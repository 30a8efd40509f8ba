import { spawnSync } from 'node:child_process';
import { appendFileSync, chownSync, cpSync, readdirSync, rmSync, statSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export function run(program: string, ...args: readonly string[]): void {
  const { status, stderr } = spawnSync(program, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${stderr}`);
}

export interface SmallDiskOptions {
  /** A folder whose place the disk takes, with what is in it; by default a new one. */
  readonly folder?: string;
  /** The disk gets the owner of this path. */
  readonly like?: string;
}

/** A file system of its own, small enough to fill up. */
export async function smallDisk(megabytes: number, { folder: place, like }: SmallDiskOptions = {}) {
  const folder = place ?? (await mkdtemp(join(tmpdir(), 'ratecat-disk-')));
  const files = await mkdtemp(join(tmpdir(), 'ratecat-copy-'));
  cpSync(folder, files, { recursive: true });
  run('mount', '-t', 'tmpfs', '-o', `size=${megabytes}m`, 'ratecat-test', folder);
  const unmount = () => spawnSync('umount', ['-l', folder]);
  // Before those that remove folders.
  process.prependOnceListener('exit', unmount);
  cpSync(files, folder, { recursive: true });
  await rm(files, { recursive: true });
  if (like !== undefined) {
    const { uid, gid } = statSync(like);
    for (const name of ['.', ...readdirSync(folder)]) chownSync(join(folder, name), uid, gid);
  }
  const ballast = join(folder, 'ballast');
  return {
    folder,
    /** Takes every byte that is left; gives the error number that says so. */
    fill(): string {
      for (const size of [65_536, 4096, 1]) {
        try {
          for (;;) appendFileSync(ballast, Buffer.alloc(size));
        } catch (error) {
          if (size === 1) return (error as NodeJS.ErrnoException).code ?? '';
        }
      }
      return '';
    },
    free: () => rmSync(ballast),
    async remove() {
      process.removeListener('exit', unmount);
      run('umount', '-l', folder);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Mounting is for root. On a developer's machine its absence is named; where `CI` is set it is an error. */
export function canMount(): boolean {
  if (process.getuid?.() === 0) return true;
  const advice = 'a full file system needs root (mount tmpfs)';
  if (process.env.CI) throw new Error(`tests cannot run: ${advice}`);
  process.stderr.write(`NOT RUN: ${advice}\n`);
  return false;
}
