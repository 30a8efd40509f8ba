/** Parsers of the kernel's text files. Numbers are kept as whole bigints: counters pass 2^53. */

const TICK_MICROSECONDS = 10_000n; // USER_HZ is 100 for every program on every Linux.
const SECTOR_BYTES = 512n; // /proc/diskstats counts sectors of 512 bytes whatever the device's own are.

export interface ProcStat {
  /** Microseconds that all cores together spent working, in kernel or programs, since the machine started. */
  readonly busyMicroseconds: bigint;
  /** Milliseconds since the epoch. */
  readonly bootedAt: number;
}

/** /proc/stat: `cpu user nice system idle iowait irq softirq steal guest guest_nice`. Guests are inside user and nice. */
export function parseStat(text: string): ProcStat {
  const cpu = /^cpu +(\d+) (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)/m.exec(text);
  const boot = /^btime (\d+)$/m.exec(text);
  if (cpu === null || boot === null) throw new Error('/proc/stat has no line "cpu" or "btime"');
  const ticks = [1, 2, 3, 6, 7].reduce((sum, field) => sum + BigInt(cpu[field]!), 0n);
  return { busyMicroseconds: ticks * TICK_MICROSECONDS, bootedAt: Number(boot[1]) * 1000 };
}

/** Bytes in use: everything but what programs could get without swapping. */
export function parseMemory(text: string): bigint {
  const field = (name: string) => new RegExp(`^${name}: +(\\d+) kB`, 'm').exec(text)?.[1];
  const total = field('MemTotal');
  const available = field('MemAvailable');
  if (total === undefined || available === undefined) {
    throw new Error('/proc/meminfo has no line "MemTotal" or "MemAvailable"');
  }
  return (BigInt(total) - BigInt(available)) * 1024n;
}

export interface Transfer {
  readonly name: string;
  /** Bytes read or received, and written or sent, since the device appeared. */
  readonly incoming: bigint;
  readonly outgoing: bigint;
}

export interface DiskTransfer extends Transfer {
  /** `major:minor`, as cgroups name devices. */
  readonly number: string;
}

export function parseDiskStats(text: string): readonly DiskTransfer[] {
  const disks: DiskTransfer[] = [];
  for (const line of text.split('\n')) {
    const fields = line.trim().split(/ +/);
    if (fields.length < 10) continue;
    disks.push({
      number: `${fields[0]}:${fields[1]}`,
      name: fields[2]!,
      incoming: BigInt(fields[5]!) * SECTOR_BYTES,
      outgoing: BigInt(fields[9]!) * SECTOR_BYTES,
    });
  }
  return disks;
}

export function parseNetDev(text: string): readonly Transfer[] {
  const interfaces: Transfer[] = [];
  for (const line of text.split('\n').slice(2)) {
    const colon = line.lastIndexOf(':'); // an alias such as eth0:1 has one of its own
    if (colon < 0) continue;
    const fields = line
      .slice(colon + 1)
      .trim()
      .split(/ +/);
    if (fields.length < 9) continue;
    interfaces.push({
      name: line.slice(0, colon).trim(),
      incoming: BigInt(fields[0]!),
      outgoing: BigInt(fields[8]!),
    });
  }
  return interfaces;
}

/** cgroup v2 `cpu.stat`: microseconds of all cores. */
export function parseCpuStat(text: string): bigint {
  const usage = /^usage_usec (\d+)$/m.exec(text);
  if (usage === null) throw new Error('cpu.stat has no line "usage_usec"');
  return BigInt(usage[1]!);
}

/** cgroup v2 `io.stat`: `8:0 rbytes=1 wbytes=2 …`; a device without traffic may have no values at all. */
export function parseIoStat(text: string): readonly Transfer[] {
  const devices: Transfer[] = [];
  for (const line of text.split('\n')) {
    const number = /^\d+:\d+/.exec(line)?.[0];
    const read = / rbytes=(\d+)/.exec(line)?.[1];
    const written = / wbytes=(\d+)/.exec(line)?.[1];
    if (number === undefined || read === undefined || written === undefined) continue;
    devices.push({ name: number, incoming: BigInt(read), outgoing: BigInt(written) });
  }
  return devices;
}
