import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Collected, Decimal, Scope } from '../../../core/plugin-api/index.js';
import { FakeMachine, metric, START } from './fake-machine.js';

const BEGIN = START / 1000;
const BOX: Scope = { key: 'host', id: 'box' };
const signal = new AbortController().signal;

function ask(
  machine: FakeMachine,
  name: string,
  from: number,
  scope = BOX,
  seconds = 10,
): Promise<Collected> {
  const period = { begin: BEGIN + from, end: BEGIN + from + seconds };
  return machine.collector.collect({ metric: metric(name), scope, period }, signal);
}

function values(collected: Collected): Record<string, string> {
  assert.equal(collected.kind, 'measured', JSON.stringify(collected));
  if (collected.kind !== 'measured') return {};
  return Object.fromEntries(
    collected.samples.map((sample) => [String(sample.groupby.values[0]), sample.value.toString()]),
  );
}

function value(collected: Collected): string {
  const all = Object.values(values(collected));
  assert.equal(all.length, 1);
  return all[0]!;
}

/** A machine that has been watched from `START` on. */
async function watched(setUp: (machine: FakeMachine) => void = () => {}): Promise<FakeMachine> {
  const machine = await FakeMachine.create();
  setUp(machine);
  machine.write();
  await machine.startDaemon();
  return machine;
}

test('processor time is what all cores worked, without waiting, idling and time taken by the hypervisor', async () => {
  const machine = await watched();
  await machine.pass(10, () => {
    machine.cpu = [100_100, 10, 20, 6_000_000, 90_000, 3, 2, 99_999];
  });
  assert.equal(value(await ask(machine, 'cpu', 0)), '1.35');
  await machine.stopDaemon();
});

test('memory is averaged by the time that each value held', async () => {
  const machine = await watched();
  await machine.pass(6); // 400,000 kB in use
  await machine.pass(4, () => {
    machine.memoryAvailableKb = 500_000; // seen at second 8: eight seconds of the one, two of the other
  });
  assert.equal(value(await ask(machine, 'memory', 0)), String(((400_000 * 8 + 500_000 * 2) * 1024) / 10));
  await machine.stopDaemon();
});

test('the integral of a gauge is its average times the seconds of the period', async () => {
  const machine = await watched();
  await machine.pass(10);
  const period = { begin: BEGIN, end: BEGIN + 10 };
  const request = { metric: metric('memory', { aggregation: 'integral' }), scope: BOX, period };
  assert.equal(value(await machine.collector.collect(request, signal)), String(400_000 * 1024 * 10));
  await machine.stopDaemon();
});

test('disks count in bytes, without partitions and loop devices; interfaces without the loopback', async () => {
  const machine = await watched();
  await machine.pass(10, () => {
    machine.disks = { vda: [1010n, 2003n] };
    machine.network = { lo: [1_000_000n, 5n], eth0: [10_500n, 20_007n] };
  });
  assert.deepEqual(values(await ask(machine, 'disk.read', 0)), { vda: '5120' });
  assert.deepEqual(values(await ask(machine, 'disk.written', 0)), { vda: '1536' });
  assert.deepEqual(values(await ask(machine, 'network.incoming', 0)), { eth0: '500' });
  assert.deepEqual(values(await ask(machine, 'network.outgoing', 0)), { eth0: '7' });
  await machine.stopDaemon();
});

test('a file system is measured once although it is mounted twice', async () => {
  const machine = await watched((fresh) => {
    fresh.mounts = [
      '/dev/vda / ext4 rw 0 0',
      '/dev/vda /with\\040blank ext4 rw 0 0',
      'srv:/x /net nfs4 rw 0 0',
    ];
  });
  await machine.pass(10);
  const used = values(await ask(machine, 'disk.used', 0));
  const real = await statfs(machine.root);
  assert.deepEqual(Object.keys(used), ['/']);
  assert.ok(Math.abs(Number(used['/']) - (real.blocks - real.bfree) * real.bsize) < 2 ** 30, used['/']);
  await machine.stopDaemon();
});

test('a mountpoint with a blank in its name is found', async () => {
  const machine = await FakeMachine.create();
  machine.mounts = ['/dev/vda / ext4 rw 0 0', '/dev/vdb /with\\040blank ext4 rw 0 0'];
  await mkdir(join(machine.root, 'with blank'), { recursive: true });
  machine.write();
  await machine.startDaemon();
  await machine.pass(10);
  assert.deepEqual(Object.keys(values(await ask(machine, 'disk.used', 0))), ['/', '/with blank']);
  await machine.stopDaemon();
});

test('samples that differ in no group-by attribute are added up', async () => {
  const machine = await watched((fresh) => {
    fresh.disks = { vda: [0n, 0n], vdb: [0n, 0n] };
  });
  await machine.pass(10, () => {
    machine.disks = { vda: [1n, 0n], vdb: [2n, 0n] };
  });
  const period = { begin: BEGIN, end: BEGIN + 10 };
  const bare = { ...metric('disk.read'), groupby: ['host'] };
  assert.deepEqual(values(await machine.collector.collect({ metric: bare, scope: BOX, period }, signal)), {
    box: '1536',
  });
  await machine.stopDaemon();
});

test('attributes name the resource, the machine and its kernel; an unknown one is refused with the list', async () => {
  const machine = await watched();
  await machine.pass(10);
  const period = { begin: BEGIN, end: BEGIN + 10 };
  const wide = metric('disk.read', {}, ['model', 'kernel', 'cores', 'cpu_model', 'observed_seconds']);
  const collected = await machine.collector.collect({ metric: wide, scope: BOX, period }, signal);
  assert.equal(collected.kind, 'measured');
  if (collected.kind !== 'measured') return;
  const [sample] = collected.samples;
  assert.deepEqual(
    [...sample!.groupby],
    [
      ['device', 'vda'],
      ['host', 'box'],
    ],
  );
  assert.deepEqual(sample!.metadata.values, ['Model of vda', '6.1.0-test', '2', 'Test CPU', '10']);
  const odd = metric('disk.read', {}, ['colour']);
  await assert.rejects(machine.collector.collect({ metric: odd, scope: BOX, period }, signal), {
    code: 'RATECAT_HOST_ATTRIBUTE_UNKNOWN',
    message: /'colour'.*device, host/,
  });
  await machine.stopDaemon();
});

test('a metric that does not exist is refused with the list of those that do', async () => {
  const machine = await watched();
  await assert.rejects(ask(machine, 'gpu', 0), {
    code: 'RATECAT_HOST_METRIC_UNKNOWN',
    message: /cpu, memory, disk\.used/,
  });
  await machine.stopDaemon();
});

test('a period that is not over is not answered', async () => {
  const machine = await watched();
  await machine.pass(4);
  await assert.rejects(ask(machine, 'cpu', 0), { code: 'RATECAT_HOST_PERIOD_OPEN', retryable: true });
  await machine.stopDaemon();
});

test('adjoining periods that cut between two readings add up to what the kernel counted', async () => {
  const machine = await watched();
  const before = machine.cpu[0]!;
  for (let i = 0; i < 30; i++) {
    await machine.pass(1, () => {
      machine.cpu = machine.cpu.with(0, machine.cpu[0]! + 7 * i);
    });
  }
  await machine.pass(2);
  let total = 0;
  for (let second = 0; second < 30; second += 3) {
    total += Math.round(Number(value(await ask(machine, 'cpu', second, BOX, 3))) * 1e6);
  }
  const rest = Number(value(await ask(machine, 'cpu', 30, BOX, 2))) * 1e6;
  assert.equal(total + Math.round(rest), (machine.cpu[0]! - before) * 10_000);
  await machine.stopDaemon();
});

test('an interface that was taken away and came back counts from zero', async () => {
  const machine = await watched();
  await machine.pass(4, () => {
    machine.network = { eth0: [10_100n, 20_000n] };
  });
  await machine.pass(6, () => {
    machine.network = { eth0: [40n, 3n] };
  });
  assert.deepEqual(values(await ask(machine, 'network.incoming', 0)), { eth0: '140' });
  assert.deepEqual(values(await ask(machine, 'network.outgoing', 0)), { eth0: '3' });
  await machine.stopDaemon();
});

test("the machine's processor time that steps back by a tick costs nothing", async () => {
  const machine = await watched();
  await machine.pass(4, () => {
    machine.cpu = [100_050, 0, 0, 0, 0, 0, 0, 0];
  });
  await machine.pass(2, () => {
    machine.cpu = [100_049, 0, 0, 0, 0, 0, 0, 0];
  });
  await machine.pass(4, () => {
    machine.cpu = [100_060, 0, 0, 0, 0, 0, 0, 0];
  });
  assert.equal(value(await ask(machine, 'cpu', 0)), '0.61');
  await machine.stopDaemon();
});

test('after kill -9 within a period its counters are exact and its averages cover what was watched', async () => {
  const machine = await watched();
  machine.periodSeconds = 60;
  await machine.stopDaemon();
  await machine.startDaemon();
  await machine.pass(10);
  machine.killDaemon();
  await machine.pass(40, () => {
    machine.network = { eth0: [13_000n, 20_000n] };
    machine.memoryAvailableKb = 0;
  });
  await machine.startDaemon();
  await machine.pass(10, () => {
    machine.memoryAvailableKb = 200_000;
  });
  assert.deepEqual(values(await ask(machine, 'network.incoming', 0, BOX, 60)), { eth0: '3000' });
  // 10 s of 400,000 kB; after the gap 5 s of 1,000,000 kB (read at start) and 5 s of 800,000 kB.
  const average = ((400_000 * 10 + 1_000_000 * 5 + 800_000 * 5) * 1024) / 20;
  assert.equal(value(await ask(machine, 'memory', 0, BOX, 60)), String(average));
  const partly = machine.logger.lines.filter(({ message }) => message === 'period was watched only in part');
  assert.deepEqual(
    partly.map(({ fields }) => fields.seconds),
    [20],
  );
  await machine.stopDaemon();
});

test('a period that nobody watched is unmeasurable, never zero, and says since when and until when', async () => {
  const machine = await watched();
  await machine.pass(10);
  machine.killDaemon();
  await machine.pass(100, () => {
    machine.cpu = machine.cpu.with(0, 200_000);
  });
  await machine.startDaemon();
  await machine.pass(10);
  for (const name of ['cpu', 'memory', 'disk.read']) {
    assert.deepEqual(await ask(machine, name, 50), {
      kind: 'unmeasurable',
      reason: 'the daemon was not running from 2026-01-01T12:00:10.000Z to 2026-01-01T12:01:50.000Z',
    });
  }
  assert.equal((await ask(machine, 'cpu', 110)).kind, 'measured');
  await machine.stopDaemon();
});

test('nothing is charged for the time before the first reading', async () => {
  const machine = await FakeMachine.create();
  machine.clock.jumpWallClock(4_500);
  await machine.startDaemon();
  assert.equal(await machine.collector.earliest?.(BOX, signal), BEGIN + 5);
  await machine.pass(16);
  assert.equal(value(await ask(machine, 'cpu', 0)), '0');
  assert.deepEqual(await ask(machine, 'cpu', -20), {
    kind: 'unmeasurable',
    reason: 'the daemon had not begun to watch this machine; readings start at 2026-01-01T12:00:04.500Z',
  });
  await machine.stopDaemon();
});

test('the first reading stays the earliest instant after restarts', async () => {
  const machine = await watched();
  await machine.pass(20);
  machine.killDaemon();
  await machine.pass(600);
  await machine.startDaemon();
  assert.equal(await machine.collector.earliest?.(BOX, signal), BEGIN);
  await machine.stopDaemon();
});

test('a restart of the machine counts what was seen before it and everything since the boot', async () => {
  const machine = await watched();
  await machine.pass(4, () => {
    machine.network = { eth0: [10_100n, 20_000n] };
    machine.cpu = machine.cpu.with(0, 100_100);
  });
  machine.killDaemon();
  await machine.pass(20, () => {
    machine.boot = 'boot-2';
    machine.bootedAt = BEGIN + 12;
    machine.network = { eth0: [600n, 20n] };
    machine.cpu = [50, 0, 0, 0, 0, 0, 0, 0];
  });
  await machine.startDaemon(); // at second 24
  await machine.pass(6);
  assert.deepEqual(values(await ask(machine, 'network.incoming', 0)), { eth0: '100' });
  assert.equal(value(await ask(machine, 'cpu', 0)), '1');
  // From 12 (boot) to 24 (first reading) it counted 600; 4 of these 12 seconds are of the period from 20 on.
  assert.deepEqual(values(await ask(machine, 'network.incoming', 20)), { eth0: '200' });
  assert.equal(value(await ask(machine, 'cpu', 20)), '0.166667');
  assert.equal((await ask(machine, 'network.incoming', 10)).kind, 'unmeasurable');
  await machine.stopDaemon();
});

test('a line that a crash cut short costs one reading, not the journal', async () => {
  const machine = await watched();
  await machine.pass(4);
  machine.killDaemon();
  const folder = join(machine.dataFolder, 'host/v1/test/host-box');
  const [file] = (await readdir(folder)).filter((name) => name.endsWith('.ndjson'));
  const text = await readFile(join(folder, file!), 'utf8');
  await writeFile(join(folder, file!), text.slice(0, -30));
  await machine.startDaemon();
  await machine.pass(6, () => {
    machine.network = { eth0: [10_100n, 20_000n] };
  });
  assert.deepEqual(values(await ask(machine, 'network.incoming', 0)), { eth0: '100' });
  // The reading after the cut line, at second 4, was before the traffic.
  assert.deepEqual(values(await ask(machine, 'network.incoming', 0, BOX, 4)), { eth0: '0' });
  await machine.stopDaemon();
});

test('readings of days ago answer from compressed files, and those past their age are removed', async () => {
  const machine = await watched((fresh) => {
    fresh.options = { host: 'box', keep_days: 0.1, interval_seconds: 60 };
    fresh.periodSeconds = 600;
  });
  const used: Decimal[] = [];
  for (let i = 1; i <= 12; i++) {
    await machine.pass(600, () => {
      machine.network = { eth0: [10_000n + BigInt(i * i), 20_000n] };
    });
  }
  const folder = join(machine.dataFolder, 'host/v1/test/host-box');
  assert.ok((await readdir(folder)).some((name) => name.endsWith('.gz')));
  for (let i = 1; i < 12; i++) {
    const collected = await ask(machine, 'network.incoming', (i - 1) * 600, BOX, 600);
    if (collected.kind === 'measured') used.push(collected.samples[0]!.value);
  }
  assert.deepEqual(used.map(String), [1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21].map(String));
  await machine.pass(4 * 3600);
  assert.equal((await ask(machine, 'network.incoming', 0, BOX, 600)).kind, 'unmeasurable');
  const oldest = (await readdir(folder)).map(Number.parseFloat).filter(Number.isFinite).sort()[0]!;
  assert.ok(oldest > START + 2 * 3_600_000);
  await machine.stopDaemon();
});

test('a clock that is set back a little is waited for, and no usage is counted twice', async () => {
  const machine = await watched();
  await machine.pass(10);
  machine.clock.jumpWallClock(-6_000);
  await machine.pass(6, () => {
    machine.network = { eth0: [10_060n, 20_000n] };
  });
  await machine.pass(10, () => {
    machine.network = { eth0: [10_100n, 20_000n] };
  });
  assert.deepEqual(values(await ask(machine, 'network.incoming', 10)), { eth0: '100' });
  assert.ok(machine.logger.lines.some(({ message }) => message.startsWith('the clock went back')));
  await machine.stopDaemon();
});

test('a clock that was a year ahead does not stop the readings once it is right', async () => {
  const machine = await FakeMachine.create();
  machine.clock.jumpWallClock(365 * 86_400_000);
  await machine.startDaemon();
  await machine.pass(10);
  machine.clock.jumpWallClock(-365 * 86_400_000);
  await machine.pass(20, () => {
    machine.network = { eth0: [10_100n, 20_000n] };
  });
  await machine.pass(12, () => {
    machine.network = { eth0: [10_130n, 20_000n] };
  });
  assert.deepEqual(values(await ask(machine, 'network.incoming', 30)), { eth0: '30' });
  assert.equal(await machine.collector.earliest?.(BOX, signal), BEGIN + 12);
  await machine.stopDaemon();
});

test('two processes that keep one journal count nothing twice', async () => {
  const machine = await watched();
  const other = machine.collector;
  await machine.startDaemon();
  await machine.pass(10, () => {
    machine.network = { eth0: [10_100n, 20_000n] };
    machine.cpu = machine.cpu.with(0, 100_100);
  });
  assert.deepEqual(values(await ask(machine, 'network.incoming', 0)), { eth0: '100' });
  assert.equal(value(await ask(machine, 'cpu', 0)), '1');
  await other.stop?.();
  await machine.stopDaemon();
});

test('each slice is a scope of its own, by its cgroup', async () => {
  const slice = (cpu: number, memory: number, io: string) => ({
    'system.slice/cpu.stat': `usage_usec ${cpu}\nuser_usec 1\n`,
    'system.slice/memory.current': `${memory}\n`,
    'system.slice/io.stat': io,
    'user.slice/cpu.stat': 'usage_usec 5\n',
  });
  const machine = await watched((fresh) => {
    fresh.options = { host: 'box', scopes: 'slice' };
    fresh.cgroups = slice(1_000_000, 4096, '254:0 rbytes=512 wbytes=0 rios=1\n7:0 \n');
  });
  await machine.pass(10, () => {
    machine.cgroups = slice(1_000_123, 4096, '254:0 rbytes=1024 wbytes=7 rios=1\n7:0 \n');
  });
  const system: Scope = { key: 'slice', id: 'system.slice@box' };
  const user: Scope = { key: 'slice', id: 'user.slice@box' };
  assert.equal(value(await ask(machine, 'cpu', 0, system)), '0.000123');
  assert.equal(value(await ask(machine, 'memory', 0, system)), '4096');
  assert.deepEqual(values(await ask(machine, 'disk.read', 0, system)), { vda: '512' });
  assert.deepEqual(values(await ask(machine, 'disk.written', 0, system)), { vda: '7' });
  assert.deepEqual(await ask(machine, 'network.incoming', 0, system), { kind: 'nothing' });
  assert.deepEqual(await ask(machine, 'memory', 0, user), {
    kind: 'unmeasurable',
    reason: "the cgroup controller 'memory' is not switched on for user.slice@box",
  });
  await machine.stopDaemon();
});

test('a slice that ended is nothing, and one that was started again counts from zero', async () => {
  const machine = await watched((fresh) => {
    fresh.options = { host: 'box', scopes: 'slice' };
    fresh.cgroups = {
      'web.slice/cpu.stat': 'usage_usec 9000000\n',
      'system.slice/cpu.stat': 'usage_usec 1\n',
    };
  });
  await machine.pass(10, () => {
    machine.cgroups = { 'system.slice/cpu.stat': 'usage_usec 1\n' };
  });
  await machine.pass(10);
  const web: Scope = { key: 'slice', id: 'web.slice@box' };
  assert.deepEqual(await ask(machine, 'cpu', 10, web), { kind: 'nothing' });
  await machine.pass(10, () => {
    machine.cgroups = {
      'web.slice/cpu.stat': 'usage_usec 250000\n',
      'system.slice/cpu.stat': 'usage_usec 1\n',
    };
  });
  assert.equal(value(await ask(machine, 'cpu', 20, web)), '0.25');
  await machine.stopDaemon();
});

test('a scope of another machine is unmeasurable, not free of charge', async () => {
  const machine = await watched();
  await machine.pass(10);
  const collected = await ask(machine, 'cpu', 0, { key: 'host', id: 'elsewhere' });
  assert.deepEqual(collected, {
    kind: 'unmeasurable',
    reason: "this machine is 'box' and measures itself; 'elsewhere' is not one of its scopes",
  });
  await machine.stopDaemon();
});

test('a folder without /proc is refused with the option to check', async () => {
  const machine = await FakeMachine.create();
  machine.options = { root: '/nonexistent' };
  await assert.rejects(machine.startDaemon(), {
    code: 'RATECAT_HOST_UNSUPPORTED',
    kind: 'config',
    message: /option 'root'/,
  });
});

test('a data folder that cannot be made is refused with its name', async () => {
  const machine = await FakeMachine.create();
  await writeFile(machine.dataFolder, 'a file in the way');
  await assert.rejects(machine.startDaemon(), { code: 'RATECAT_HOST_FOLDER_UNUSABLE', message: /writable/ });
});

test('while the machine cannot be read the daemon says so once, goes on, and misses nothing', async () => {
  const machine = await watched();
  await machine.pass(4);
  const stat = join(machine.root, 'proc/stat');
  const before = machine.clock.monotonic();
  await writeFile(stat, 'nonsense');
  while (machine.clock.wakeNext(before + 4000)) {
    while (machine.clock.sleeping === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  await machine.pass(2, () => {
    machine.cpu = machine.cpu.with(0, 100_100);
  });
  const complaints = machine.logger.lines.filter(({ message }) => message.includes('could not be read'));
  assert.equal(complaints.length, 1);
  assert.equal(value(await ask(machine, 'cpu', 0)), '1');
  await machine.stopDaemon();
});
