import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';

const UNKNOWN_PLACE = '-';
const HERE = placeOfProcesses();

/** `<host>:<process id>:<place>:<random>`: distinct for every process that ever takes a lease. */
export function leaseOwner(place = HERE): string {
  return `${hostOfLeases()}:${process.pid}:${place}:${randomBytes(6).toString('hex')}`;
}

/** The machine and process that an owner names; undefined for what no process of Ratecat is called. */
export function processOf(owner: string): { readonly host: string; readonly pid: number } | undefined {
  const [, host, pid] = /^([^:]*):(\d+):/.exec(owner) ?? [];
  return host === undefined ? undefined : { host, pid: Number(pid) };
}

/** This machine, as owners name it. */
export function hostOfLeases(): string {
  return hostname().slice(0, 60);
}

/**
 * Whether the process behind a lease is known to have ended. False wherever that cannot be seen from here: on another machine,
 * in another container, after a restart of the machine, or when another process has got its number since.
 */
export function hasEnded(
  owner: string,
  place = HERE,
  isRunning: (pid: number) => boolean = isProcess,
): boolean {
  if (place === UNKNOWN_PLACE || owner.split(':')[2] !== place) return false;
  const named = processOf(owner);
  return named !== undefined && named.host === hostOfLeases() && !isRunning(named.pid);
}

/** Whether a process of this machine is there. Signal 0 is not sent: the system only says whether it could be. */
export function isProcess(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

/**
 * Names what gives process ids their meaning: this boot of this machine, and the namespace of process ids. Two containers may
 * share the name of their host, and two machines cloned from one image everything that is on disk.
 */
function placeOfProcesses(): string {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    const namespace = readlinkSync('/proc/self/ns/pid');
    return createHash('sha256').update(`${boot} ${namespace}`).digest('hex').slice(0, 8);
  } catch {
    return UNKNOWN_PLACE;
  }
}
