import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { workStatus } from '../../../core/cli/service-status.js';
import {
  type Notify,
  ServiceManager,
  type ServiceManagerParts,
  systemdNotify,
  takeServiceEnvironment,
} from '../../../core/daemon/service-manager.js';
import { RecordingLogger, VirtualClock } from '../../../core/testkit/fakes.js';

function newManager(change: Partial<ServiceManagerParts> = {}) {
  const clock = new VirtualClock();
  const logger = new RecordingLogger();
  const sent: string[] = [];
  const state = { status: 'working', complaint: undefined as string | undefined };
  const notify: Notify = async (assignments) => {
    sent.push(assignments.join('|'));
  };
  const manager = new ServiceManager({
    notify,
    watchdogMs: 20_000,
    clock,
    logger,
    status: () => state.status,
    stalled: () => state.complaint,
    ...change,
  });
  /** Lets the clock run to the next look, and gives what was sent at it. */
  const pass = async () => {
    await settle();
    sent.length = 0;
    clock.wakeNext();
    await settle();
    return [...sent];
  };
  return { clock, logger, sent, state, manager, pass };
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await nextTurn();
}

describe('what a service manager leaves in the environment', () => {
  const all = { NOTIFY_SOCKET: '/run/notify', WATCHDOG_USEC: '3000000', WATCHDOG_PID: '7', PATH: '/bin' };

  it('is taken out of it, so that no child speaks for this process', () => {
    const environment: NodeJS.ProcessEnv = { ...all };
    assert.deepEqual(takeServiceEnvironment(environment, 7), { socket: '/run/notify', watchdogMs: 3000 });
    assert.deepEqual(environment, { PATH: '/bin' });
  });

  it('counts without a process id, and not with that of another process', () => {
    const { WATCHDOG_PID: _, ...without } = all;
    assert.equal(takeServiceEnvironment({ ...without }, 8).watchdogMs, 3000);
    assert.deepEqual(takeServiceEnvironment({ ...all }, 8), {
      socket: '/run/notify',
      watchdogMs: undefined,
    });
  });

  it('is nothing without a socket, and no watchdog where the limit is no number above zero', () => {
    const nothing = { socket: undefined, watchdogMs: undefined };
    assert.deepEqual(takeServiceEnvironment({ WATCHDOG_USEC: '3000000' }, 7), nothing);
    assert.deepEqual(takeServiceEnvironment({ ...all, NOTIFY_SOCKET: '' }, 7), nothing);
    for (const WATCHDOG_USEC of ['', '0', '-1', '1e6', 'soon', ' 5'])
      assert.equal(takeServiceEnvironment({ ...all, WATCHDOG_USEC }, 7).watchdogMs, undefined, WATCHDOG_USEC);
  });
});

describe('the service manager', () => {
  it('hears nothing before the work begins, then that it is ready, once', async () => {
    const { manager, sent, clock } = newManager();
    await settle();
    assert.deepEqual(sent, []);
    assert.equal(clock.sleeping, 0);
    manager.ready();
    manager.ready();
    await settle();
    assert.deepEqual(sent, ['READY=1|STATUS=working']);
    await manager.end();
  });

  it('gets signs of life at half the time of the watchdog, with the status when it has changed', async () => {
    const { manager, pass, state, clock } = newManager();
    manager.ready();
    assert.deepEqual(await pass(), ['WATCHDOG=1']);
    assert.equal(clock.monotonic(), 10_000);
    state.status = 'another\nline';
    assert.deepEqual(await pass(), ['WATCHDOG=1|STATUS=another line']);
    assert.equal(clock.monotonic(), 20_000);
    await manager.end();
  });

  it('gets the status now and then without a watchdog, and no sign of life', async () => {
    const { manager, pass, state, clock } = newManager({ watchdogMs: undefined });
    manager.ready();
    assert.deepEqual(await pass(), []);
    assert.equal(clock.monotonic(), 30_000);
    state.status = 'changed';
    assert.deepEqual(await pass(), ['STATUS=changed']);
    await manager.end();
  });

  it('gets no sign of life while the work does not go on; the log says why, once, and when it goes on', async () => {
    const { manager, pass, state, logger } = newManager();
    manager.ready();
    state.complaint = 'pipeline hangs';
    assert.deepEqual(await pass(), ['STATUS=stalled: pipeline hangs']);
    assert.deepEqual(await pass(), []);
    assert.equal(logger.lines.filter(({ level }) => level === 'error').length, 1);
    state.complaint = undefined;
    assert.deepEqual(await pass(), ['WATCHDOG=1|STATUS=working']);
    assert.match(JSON.stringify(logger.lines.at(-1)), /goes on again/);
    await manager.end();
  });

  it('hears of the stop with the time it may take, goes on hearing signs of life, and nothing after the end', async () => {
    const { manager, pass, sent, clock, state } = newManager();
    manager.ready();
    await settle();
    sent.length = 0;
    manager.stopping(30);
    manager.stopping(30);
    await settle();
    assert.deepEqual(sent, ['STOPPING=1|EXTEND_TIMEOUT_USEC=45000000|STATUS=stopping']);
    state.complaint = 'a pipeline is being abandoned';
    assert.deepEqual(await pass(), ['WATCHDOG=1']);
    await manager.end();
    assert.equal(clock.sleeping, 0, 'no timer is left');
    manager.ready();
    await settle();
    assert.deepEqual(sent, ['WATCHDOG=1']);
  });

  it('hears of a reload and of its end, also when it fails', async () => {
    const { manager, sent } = newManager();
    manager.ready();
    await assert.rejects(
      manager.reload(() => Promise.reject(new Error('unreadable'))),
      /unreadable/,
    );
    await settle();
    assert.match(sent.join('\n'), /^READY=1\|STATUS=working\nRELOADING=1\|MONOTONIC_USEC=\d+\nREADY=1$/);
    await manager.end();
  });

  it('hears nothing of a reload before it heard READY: that would be taken for the end of the start', async () => {
    const { manager, sent } = newManager();
    await manager.reload(async () => undefined);
    await settle();
    assert.deepEqual(sent, []);
  });

  it('that is slow to listen gets messages in order, and no heap of them', async () => {
    const sent: string[] = [];
    let deliver: () => void = () => undefined;
    const { manager, clock } = newManager({
      notify: (assignments) =>
        new Promise((resolve) => {
          sent.push(assignments.join('|'));
          deliver = resolve;
        }),
    });
    manager.ready();
    for (let look = 0; look < 5; look++) {
      await settle();
      clock.wakeNext();
    }
    await settle();
    manager.stopping(0);
    await settle();
    assert.deepEqual(sent, ['READY=1|STATUS=working']);
    deliver();
    await settle();
    assert.equal(sent.length, 2);
    assert.match(sent[1]!, /^STOPPING=1/);
    deliver();
    await manager.end();
  });

  it('that cannot be reached costs one line in the log, and nothing else', async () => {
    const { manager, pass, logger } = newManager({ notify: () => Promise.reject(new Error('ENOENT')) });
    manager.ready();
    await pass();
    await pass();
    assert.equal(logger.lines.filter(({ level }) => level === 'warn').length, 1);
    await manager.end();
  });

  it('that is not there is not told anything', async () => {
    const { manager, clock } = newManager({ notify: undefined });
    manager.ready();
    manager.stopping(1);
    await settle();
    assert.equal(clock.sleeping, 0);
    await manager.end();
  });
});

describe('systemd-notify', () => {
  it('is called with the assignments, the socket and nothing else of the environment', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'ratecat-notify-'));
    try {
      const program = join(folder, 'notify');
      writeFileSync(program, `#!/bin/sh\n{ printf '%s\\n' "$@"; env; } > ${folder}/seen\n`);
      chmodSync(program, 0o755);
      await systemdNotify('/run/somewhere', program)(['READY=1', 'STATUS=two words; $(id)']);
      const seen = readFileSync(join(folder, 'seen'), 'utf8').split('\n');
      assert.deepEqual(seen.slice(0, 2), ['READY=1', 'STATUS=two words; $(id)']);
      const names = seen.slice(2, -1).map((line) => line.split('=')[0]!);
      const ofShell = ['PWD', 'OLDPWD', 'SHLVL', '_'];
      assert.deepEqual(names.filter((name) => !ofShell.includes(name)).sort(), ['NOTIFY_SOCKET', 'PATH']);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('that is missing is an error', async () => {
    await assert.rejects(systemdNotify('/run/none', '/nonexistent/systemd-notify')(['READY=1']), /ENOENT/);
  });
});

describe('the status line', () => {
  const work = { source: 'a', scopes: 2, duePeriods: 0, lagSeconds: 0, ratedPeriods: 1 };

  it('says how many scopes there are, what is due and what was done', () => {
    assert.equal(workStatus([work]), '2 scopes; nothing due; 1 period rated since the start');
    const behind = { ...work, source: 'b', scopes: 1, duePeriods: 7, lagSeconds: 7_800, ratedPeriods: 9 };
    assert.equal(
      workStatus([work, behind]),
      '3 scopes; 7 periods due, the oldest for 2 h 10 min; 10 periods rated since the start',
    );
  });

  it('says that nothing is known yet', () => {
    assert.equal(workStatus([{ ...work, scopes: undefined }]), 'scopes are asked for');
    assert.equal(workStatus([]), 'scopes are asked for');
  });
});
