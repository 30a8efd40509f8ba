import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, describe, it } from 'node:test';
import { openDatabase } from '../../core/database/open-database.js';
import type { Command } from '../support/daemon.js';
import { describeOnEngines } from '../support/engines.js';
import {
  assertWhole,
  clearAway,
  lastDue,
  periodsStored,
  smallDaemon,
  startDaemon,
  statusOf,
  waitUntil,
} from '../support/small-daemon.js';

after(clearAway);

async function children(pid: number): Promise<readonly number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8');
  return text.split(' ').filter(Boolean).map(Number);
}

function ratedBy({ stderr }: Command): number {
  return stderr.match(/period rated/g)?.length ?? 0;
}

describe('several processors on one SQLite file', () => {
  const SCOPES = ['alpha', 'beta', 'gamma', 'delta'];
  const PERIODS = 150;
  const start = lastDue() - PERIODS * 3600;
  const whole = { scopes: SCOPES, start, period: 3600, least: PERIODS };
  const all = (url: string) => async () => (await periodsStored(url)) === PERIODS * SCOPES.length;

  it('share the work of two daemons, every period once and to the last digit', async () => {
    const daemon = await smallDaemon({
      start,
      scopes: SCOPES,
      collectDelayMs: 20,
      change: { processor: { lease_seconds: 2, concurrent_scopes: 1, collect_ahead: 1 } },
    });
    const first = startDaemon(daemon);
    await first.until(/period rated/);
    const second = startDaemon(daemon);
    await waitUntil('everything is rated', all(daemon.url), { daemon: second, timeoutMs: 60_000 });
    const ends = await Promise.all([first.stop(), second.stop()]);
    assert.deepEqual(
      ends.map(({ code }) => code),
      [0, 0],
    );
    assert.ok(ratedBy(first) > 0 && ratedBy(second) > 0, 'both have rated');
    assert.equal(ratedBy(first) + ratedBy(second), PERIODS * SCOPES.length, 'no period was committed twice');
    await assertWhole(daemon.url, whole);
  });

  it('as workers of one daemon lose and double nothing when one is killed with -9', async () => {
    const daemon = await smallDaemon({
      start,
      scopes: SCOPES,
      collectDelayMs: 20,
      change: { processor: { workers: 2, lease_seconds: 1, concurrent_scopes: 1, collect_ahead: 1 } },
    });
    const up = startDaemon(daemon);
    await waitUntil('periods are stored', async () => (await periodsStored(daemon.url)) >= 40, {
      daemon: up,
    });
    const owners = (await statusOf(daemon.config))!.map(({ owner }) => owner);
    // The owner's name holds its process id.
    const working = (await children(up.child.pid!)).find((pid) =>
      owners.some((owner) => owner?.includes(`:${pid}:`)),
    );
    assert.ok(working !== undefined, `none of the workers owns a scope: ${owners.join(', ')}`);
    process.kill(working, 'SIGKILL');
    await up.until(/a worker ended and is started again.*signal=SIGKILL/);
    assert.ok((await periodsStored(daemon.url)) < PERIODS * SCOPES.length, 'the kill came too late');
    await waitUntil('everything is rated', all(daemon.url), { daemon: up, timeoutMs: 60_000 });
    assert.equal((await children(up.child.pid!)).length, 2);
    const { code, stderr } = await up.stop();
    assert.equal(code, 0, stderr.slice(-3000));
    await assertWhole(daemon.url, whole);
  });
});

describeOnEngines('a processor that sleeps longer than its lease', (engine) => {
  const PERIODS = 8;
  const start = lastDue() - PERIODS * 3600;
  const scopes = ['alpha'];

  /** Stops the process between two transactions: a sleeping owner of the database's lock would stop everybody. */
  async function putToSleep(processor: Command, url: string): Promise<void> {
    for (;;) {
      processor.child.kill('SIGSTOP');
      const database = await openDatabase(url);
      try {
        await database.transaction((tx) => tx.execute('UPDATE ratecat_scopes SET name = NULL WHERE id > 0'));
        return;
      } catch {
        processor.child.kill('SIGCONT');
      } finally {
        await database.close();
      }
    }
  }

  it('wakes up to find its work done by another, and writes nothing of its own', async () => {
    const daemon = await smallDaemon({
      url: await engine.newDatabase(),
      start,
      scopes,
      collectDelayMs: 700,
      change: { processor: { lease_seconds: 1, collect_ahead: 1 } },
    });
    const owner = async () => (await statusOf(daemon.config))?.[0]?.owner ?? '';
    const sleeper = startDaemon(daemon);
    await sleeper.until(/period rated/);
    const other = startDaemon(daemon);
    await other.until(/stop +Ctrl-C/);
    // Between two rounds nobody owns the scope for a moment.
    await waitUntil('the first one owns it', async () => (await owner()).includes(`:${sleeper.child.pid}:`), {
      daemon: sleeper,
    });
    await putToSleep(sleeper, daemon.url);
    const before = ratedBy(sleeper);
    assert.ok(before < PERIODS, 'there is work left');
    await waitUntil(
      'the other one has taken the scope',
      async () => (await owner()).includes(`:${other.child.pid}:`),
      {
        daemon: other,
      },
    );
    await waitUntil('a period is stored after that', () => ratedBy(other) > 0, { daemon: other });
    sleeper.child.kill('SIGCONT');
    await sleeper.until(/scope left to another processor.*Another processor took scope/);
    const all = async () => (await periodsStored(daemon.url)) === PERIODS;
    await waitUntil('everything is rated', all, { daemon: other });
    for (const processor of [sleeper, other]) {
      const { code, stderr } = await processor.stop();
      assert.equal(code, 0, stderr);
    }
    assert.equal(ratedBy(sleeper), before, 'nothing of the sleeper was committed after it woke up');
    assert.equal(ratedBy(sleeper) + ratedBy(other), PERIODS);
    await assertWhole(daemon.url, { scopes, start, period: 3600, least: PERIODS });
  });
});
