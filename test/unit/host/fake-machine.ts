import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Collector, Metric } from '../../../core/plugin-api/index.js';
import { fakeContext, RecordingLogger, VirtualClock } from '../../../core/testkit/fakes.js';
import definition, { type HostMetricOptions } from '../../../plugins/collectors/host.js';

export const START = Date.UTC(2026, 0, 1, 12);

const FOLDERS: string[] = [];
process.on('exit', () => {
  for (const folder of FOLDERS) rmSync(folder, { recursive: true, force: true });
});

/** A machine made of files, and a daemon watching it on a clock that moves when told. */
export class FakeMachine {
  readonly root: string;
  readonly dataFolder: string;
  readonly clock = new VirtualClock(START);
  readonly logger = new RecordingLogger();
  boot = 'boot-1';
  bootedAt = START / 1000 - 1000;
  /** Ticks of user, nice, system, idle, iowait, irq, softirq, steal. */
  cpu = [100_000, 0, 0, 5_000_000, 70, 0, 0, 900];
  memoryTotalKb = 1_000_000;
  memoryAvailableKb = 600_000;
  /** Sectors read and written. */
  disks: Record<string, readonly [bigint, bigint]> = { vda: [1000n, 2000n] };
  /** Bytes received and sent. */
  network: Record<string, readonly [bigint, bigint]> = { lo: [5n, 5n], eth0: [10_000n, 20_000n] };
  /** Files of slices: `system.slice/cpu.stat` → text. */
  cgroups: Record<string, string> = {};
  mounts = ['/dev/vda / ext4 rw 0 0', 'cgroup2 /sys/fs/cgroup cgroup2 rw 0 0', 'proc /proc proc rw 0 0'];
  options: Record<string, unknown> = { host: 'box' };
  periodSeconds = 10;
  collector!: Collector<HostMetricOptions>;
  #process = { alive: false };

  private constructor(folder: string) {
    this.root = join(folder, 'root');
    this.dataFolder = join(folder, 'data');
  }

  static async create(): Promise<FakeMachine> {
    const folder = await mkdtemp(join(tmpdir(), 'ratecat-host-'));
    FOLDERS.push(folder);
    const machine = new FakeMachine(folder);
    machine.write();
    return machine;
  }

  /** Puts the present values into the files. */
  write(): void {
    const file = (path: string, text: string) => {
      mkdirSync(dirname(join(this.root, path)), { recursive: true });
      writeFileSync(join(this.root, path), text);
    };
    const ticks = this.cpu.join(' ');
    file('proc/stat', `cpu  ${ticks} 0 0\ncpu0 ${ticks} 0 0\nintr 1 2\nbtime ${this.bootedAt}\n`);
    file(
      'proc/meminfo',
      `MemTotal:       ${this.memoryTotalKb} kB\nMemFree: 1 kB\nMemAvailable:   ${this.memoryAvailableKb} kB\n`,
    );
    file('proc/sys/kernel/random/boot_id', `${this.boot}\n`);
    file('proc/sys/kernel/osrelease', '6.1.0-test\n');
    file(
      'proc/cpuinfo',
      'processor\t: 0\nmodel name\t: Test CPU\n\nprocessor\t: 1\nmodel name\t: Test CPU\n',
    );
    file('proc/mounts', `${this.mounts.join('\n')}\n`);
    file('etc/passwd', 'root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n');
    const disks = Object.entries({ ...this.disks, vda1: [7n, 7n], loop0: [9n, 9n] });
    file(
      'proc/diskstats',
      disks
        .map(
          ([name, [read, written]], i) =>
            ` 254 ${i} ${name} 1 0 ${read} 3 4 0 ${written} 5 0 6 7 0 0 0 0 0 0`,
        )
        .join('\n'),
    );
    rmSync(join(this.root, 'sys'), { recursive: true, force: true });
    for (const disk of [...Object.keys(this.disks), 'loop0'])
      file(`sys/block/${disk}/device/model`, `Model of ${disk}\n`);
    for (const [path, text] of Object.entries(this.cgroups)) file(`sys/fs/cgroup/${path}`, text);
    const lines = Object.entries(this.network).map(
      ([name, [into, out]]) => `  ${name}: ${into} 1 0 0 0 0 0 0 ${out} 1 0 0 0 0 0 0`,
    );
    file('proc/net/dev', `Inter-| Receive\n face |bytes\n${lines.join('\n')}\n`);
  }

  /** Begins watching, as a daemon that is started. */
  async startDaemon(): Promise<void> {
    const running = { alive: true };
    this.#process = running;
    const context = fakeContext({
      clock: {
        now: () => this.clock.now(),
        monotonic: () => this.clock.monotonic(),
        sleep: async (milliseconds, signal) => {
          await this.clock.sleep(milliseconds, signal);
          if (!running.alive) await new Promise(() => {}); // a dead process does nothing any more
        },
      },
      logger: this.logger,
      dataFolder: this.dataFolder,
      pipeline: { name: 'test', scopeKey: 'host', periodSeconds: this.periodSeconds },
    });
    const parsed = definition.options['~standard'].validate({ root: this.root, ...this.options });
    if (parsed instanceof Promise || parsed.issues !== undefined) throw new Error(JSON.stringify(parsed));
    this.collector = definition.create(parsed.value, context) as Collector<HostMetricOptions>;
    await this.collector.start?.(new AbortController().signal);
  }

  /** As kill -9: the daemon stops reading without a word. */
  killDaemon(): void {
    this.#process.alive = false;
  }

  async stopDaemon(): Promise<void> {
    await this.collector.stop?.();
    this.#process.alive = false;
  }

  /** Changes the machine, then lets time pass; a running daemon reads it at each of its moments. */
  async pass(seconds: number, change: () => void = () => {}): Promise<void> {
    change();
    this.write();
    const until = this.clock.monotonic() + seconds * 1000;
    while (this.clock.wakeNext(until)) await this.#settled();
  }

  async #settled(): Promise<void> {
    const deadline = Date.now() + 10_000;
    while (this.#process.alive && this.clock.sleeping === 0) {
      if (Date.now() > deadline) throw new Error('the daemon did not go back to sleep within ten seconds');
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

export function metric(
  name: string,
  options: HostMetricOptions = {},
  metadata: readonly string[] = [],
): Metric<HostMetricOptions> {
  const resource: Record<string, readonly string[]> = {
    'disk.used': ['mountpoint'],
    'disk.read': ['device'],
    'disk.written': ['device'],
    'network.incoming': ['interface'],
    'network.outgoing': ['interface'],
  };
  const groupby = [...(resource[name] ?? []), 'host'];
  return { name, ratedName: name, unit: 'u', groupby, metadata, description: undefined, options };
}
