import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  hasEnded,
  hostOfLeases,
  isProcess,
  leaseOwner,
  processOf,
} from '../../../core/scopes/lease-owner.js';

const nobodyRuns = () => false;

describe('the owner of leases', () => {
  it('is another one each time, and names machine and process', () => {
    const [first, second] = [leaseOwner(), leaseOwner()];
    assert.notEqual(first, second);
    assert.ok(first.length <= 100, first);
    assert.deepEqual(processOf(first), { host: hostOfLeases(), pid: process.pid });
  });

  it('has ended when no process has its number any more', () => {
    const owner = leaseOwner();
    assert.equal(hasEnded(owner), false);
    assert.equal(hasEnded(owner, undefined, nobodyRuns), true);
    const asked: number[] = [];
    hasEnded(owner, undefined, (pid) => asked.push(pid) > 0);
    assert.deepEqual(asked, [process.pid]);
  });

  it('is not known to have ended where its number means something else, or nothing can be seen', () => {
    const owner = leaseOwner('boot-a');
    assert.equal(hasEnded(owner, 'boot-a', nobodyRuns), true);
    assert.equal(hasEnded(owner, 'boot-b', nobodyRuns), false, 'restarted, or another container');
    assert.equal(hasEnded(owner.replace(/^[^:]*/, 'elsewhere'), 'boot-a', nobodyRuns), false);
    assert.equal(hasEnded(leaseOwner('-'), '-', nobodyRuns), false);
  });

  it('of another form says nothing', () => {
    for (const owner of ['', 'p1', ':::', `${hostOfLeases()}:12:abcdef`, `${hostOfLeases()}:x:boot-a:1`])
      assert.equal(hasEnded(owner, 'boot-a', nobodyRuns), false, owner);
  });

  it('is told from processes that this user may not touch', () => {
    assert.equal(isProcess(1), true);
    assert.equal(isProcess(process.pid), true);
    assert.equal(isProcess(4_999_999), false);
  });
});
