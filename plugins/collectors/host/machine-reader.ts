import { readdir, readFile, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type HostMachine,
  type HostScope,
  hostScopes,
  isMissing,
  type Mount,
  parseMounts,
} from '../../shared/host-machine.js';
import {
  type DiskTransfer,
  parseCpuStat,
  parseDiskStats,
  parseIoStat,
  parseMemory,
  parseNetDev,
  parseStat,
} from './proc-files.js';
import { type Reading, type Series, seriesKey } from './readings.js';

/** Devices that hold no data of their own: what goes through them is counted at the disk below. */
const LAYERED_DEVICE = /^(loop|ram|zram|dm-|md|sr|fd|nbd|drbd)\d/;
/** Links between containers and the machine: their traffic passes a real interface as well, or none. */
const INNER_INTERFACE = /^(lo$|veth|docker|br-|virbr|cni|flannel|cali|ifb|dummy|lxcbr|vnet|tap)/;
const READ_ONLY_IMAGE = new Set(['squashfs', 'iso9660', 'erofs', 'udf']);

/** Reads the machine's counters and gauges. A reading is whole or fails: a counter left out would look like a new one. */
export class MachineReader {
  readonly #machine: HostMachine;
  readonly #now: () => number;

  constructor(machine: HostMachine, now: () => number) {
    this.#machine = machine;
    this.#now = now;
  }

  async read(): Promise<Reading> {
    const scopes = await hostScopes(this.#machine);
    const disks = await this.#disks();
    const parts: Part[] = [];
    const [stat, boot, facts] = await Promise.all([
      this.#text('proc/stat').then(parseStat),
      this.#text('proc/sys/kernel/random/boot_id'),
      this.#facts(),
    ]);
    const at = this.#now();
    for (const scope of scopes) {
      const part =
        scope.folder === undefined
          ? await this.#wholeMachine(scope.id, stat.busyMicroseconds, disks)
          : await readSlice(scope, scope.folder, disks);
      if (part !== undefined) parts.push(part);
    }
    return {
      at,
      boot: boot.trim(),
      bootedAt: stat.bootedAt,
      facts,
      scopes: parts.map((part) => part.scope),
      uncounted: parts.flatMap((part) => part.uncounted),
      series: parts.flatMap((part) => part.series),
    };
  }

  async #wholeMachine(scope: string, busy: bigint, disks: readonly Disk[]): Promise<Part> {
    const [memory, network, filesystems] = await Promise.all([
      this.#text('proc/meminfo').then(parseMemory),
      this.#text('proc/net/dev').then(parseNetDev),
      this.#filesystems(scope),
    ]);
    return {
      scope,
      uncounted: [],
      series: [
        plain('cpu', scope, busy),
        plain('memory', scope, memory),
        ...filesystems,
        ...disks.flatMap((disk) => transferSeries('disk', scope, disk, disk.attributes)),
        ...network
          .filter(({ name }) => !INNER_INTERFACE.test(name))
          .flatMap((transfer) => transferSeries('network', scope, transfer, {})),
      ],
    };
  }

  async #filesystems(scope: string): Promise<readonly Series[]> {
    const mounts = storageMounts(parseMounts(await this.#text('proc/mounts')));
    const series = await Promise.all(mounts.map((mount) => this.#filesystem(scope, mount)));
    return series.filter((one) => one !== undefined);
  }

  async #filesystem(scope: string, { device, mountpoint, filesystem }: Mount): Promise<Series | undefined> {
    const path = join(this.#machine.root, mountpoint);
    try {
      // Containers mount single files, such as /etc/hosts, from the machine's disk.
      if (!(await stat(path)).isDirectory()) return undefined;
      const { blocks, bfree, bsize } = await statfs(path, { bigint: true });
      const attributes = { device, filesystem };
      return {
        metric: 'disk.used',
        scope,
        resource: mountpoint,
        value: (blocks - bfree) * bsize,
        attributes,
      };
    } catch (error) {
      // A gauge may be left out: the file system is being unmounted, or hidden from this user.
      const code = (error as NodeJS.ErrnoException).code;
      if (isMissing(error) || code === 'EACCES' || code === 'EPERM') return undefined;
      throw error;
    }
  }

  /** The disks of the machine: not their partitions, and not devices that are layered upon them. */
  async #disks(): Promise<readonly Disk[]> {
    const whole = await this.#wholeDisks();
    const disks = parseDiskStats(await this.#text('proc/diskstats')).filter(
      ({ name }) => whole.has(name) && !LAYERED_DEVICE.test(name),
    );
    return Promise.all(disks.map(async (disk) => ({ ...disk, attributes: await this.#model(disk.name) })));
  }

  async #wholeDisks(): Promise<ReadonlySet<string>> {
    return new Set(await readdir(join(this.#machine.root, 'sys/block')));
  }

  async #model(disk: string): Promise<Readonly<Record<string, string>>> {
    const model = await this.#optionalText(`sys/block/${disk}/device/model`);
    return model === undefined ? {} : { model };
  }

  async #facts(): Promise<Readonly<Record<string, string>>> {
    const kernel = await this.#optionalText('proc/sys/kernel/osrelease');
    const cpus = (await this.#optionalText('proc/cpuinfo')) ?? '';
    return {
      kernel: kernel ?? '',
      cpu_model: /^model name\s*: (.*)$/m.exec(cpus)?.[1] ?? '',
      cores: String(cpus.match(/^processor\s*:/gm)?.length ?? ''),
    };
  }

  #text(file: string): Promise<string> {
    return readFile(join(this.#machine.root, file), 'utf8');
  }

  async #optionalText(file: string): Promise<string | undefined> {
    try {
      return (await this.#text(file)).trim();
    } catch (error) {
      if (isMissing(error) || (error as NodeJS.ErrnoException).code === 'EACCES') return undefined;
      throw error;
    }
  }
}

interface Part {
  readonly scope: string;
  readonly uncounted: readonly string[];
  readonly series: readonly Series[];
}

interface Disk extends DiskTransfer {
  readonly attributes: Readonly<Record<string, string>>;
}

/** What a slice's cgroup counts; undefined when the slice ended meanwhile. */
async function readSlice(
  scope: HostScope,
  folder: string,
  disks: readonly Disk[],
): Promise<Part | undefined> {
  const read = (file: string) => optionalFile(join(folder, file));
  const [cpu, memory, io] = await Promise.all([read('cpu.stat'), read('memory.current'), read('io.stat')]);
  if (cpu === undefined) return undefined;
  const series = [plain('cpu', scope.id, parseCpuStat(cpu))];
  const uncounted: string[] = [];
  if (memory === undefined) uncounted.push(seriesKey('memory', scope.id));
  else series.push(plain('memory', scope.id, BigInt(memory.trim())));
  if (io === undefined) uncounted.push(seriesKey('disk.read', scope.id), seriesKey('disk.written', scope.id));
  else series.push(...ioSeries(scope.id, io, disks));
  return { scope: scope.id, uncounted, series };
}

function ioSeries(scope: string, text: string, disks: readonly Disk[]): readonly Series[] {
  return parseIoStat(text).flatMap((transfer) => {
    const disk = disks.find(({ number }) => number === transfer.name);
    if (disk === undefined) return []; // a layered device: the disk below has its own line
    return transferSeries('disk', scope, { ...transfer, name: disk.name }, disk.attributes);
  });
}

async function optionalFile(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

function plain(metric: string, scope: string, value: bigint): Series {
  return { metric, scope, resource: '', value, attributes: {} };
}

function transferSeries(
  group: 'disk' | 'network',
  scope: string,
  transfer: { readonly name: string; readonly incoming: bigint; readonly outgoing: bigint },
  attributes: Readonly<Record<string, string>>,
): readonly Series[] {
  const [into, out] =
    group === 'disk' ? ['disk.read', 'disk.written'] : ['network.incoming', 'network.outgoing'];
  return [
    { metric: into!, scope, resource: transfer.name, value: transfer.incoming, attributes },
    { metric: out!, scope, resource: transfer.name, value: transfer.outgoing, attributes },
  ];
}

/**
 * File systems that keep data on this machine's disks, each once: bind mounts of one device are one. The root counts
 * whatever it is, so that a container sees its own. Network file systems are left out: they belong to another machine, and
 * asking one that does not answer would block.
 */
export function storageMounts(mounts: readonly Mount[]): readonly Mount[] {
  const byDevice = new Map<string, Mount>();
  for (const mount of mounts) {
    const local = mount.device.startsWith('/dev/') || mount.filesystem === 'zfs';
    if (mount.mountpoint !== '/' && (!local || READ_ONLY_IMAGE.has(mount.filesystem))) continue;
    const known = byDevice.get(mount.device);
    if (known === undefined || mount.mountpoint.length < known.mountpoint.length)
      byDevice.set(mount.device, mount);
  }
  return [...byDevice.values()];
}
