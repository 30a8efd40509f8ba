import assert from 'node:assert/strict';
import { after, it } from 'node:test';
import { Command, type Finished, ratecat } from '../support/daemon.js';
import { describeOnEngines } from '../support/engines.js';
import { clearAway, lastDue, type SmallDaemon, smallDaemon, startDaemon } from '../support/small-daemon.js';
import { storedPrices, waitForPrices } from '../support/stored-prices.js';

const PERIOD = 6 * 3600;
const PERIODS = 4 * 100;
const POINTS = 2 * PERIODS * 5;
const START = lastDue() - PERIODS * PERIOD;

interface Planned {
  readonly points: number;
  readonly metrics: readonly {
    readonly scope_id: string;
    readonly metric: string;
    readonly after: { readonly points_from: string };
    readonly points: number;
    readonly bytes: number;
    readonly lost: readonly string[];
  }[];
}

describeOnEngines('ratecat retention and ratecat scopes erase', (engine) => {
  after(clearAway);

  it('drop, survive kill -9, keep every sum, and refuse what needs what is gone', async () => {
    const small = await smallDaemon({
      url: await engine.newDatabase(),
      period: PERIOD,
      start: START,
      change: { retention: { policies: [{ points: '1 month' }] } },
    });
    const daemon = startDaemon(small);
    await waitForPrices(small.url, POINTS, () => true);
    const sums = await summaries(small);

    const planned = JSON.parse((await run(small, 'retention', 'plan', '--json')).stdout) as Planned;
    assert.deepEqual(
      planned.metrics.map(({ scope_id: scope, metric }) => [scope, metric]),
      [
        ['alpha', 'cpu'],
        ['beta', 'cpu'],
      ],
    );
    const from = planned.metrics[0]!.after.points_from;
    const old = (await storedPrices(small.url)).filter(({ begin }) => begin < Date.parse(from) / 1000);
    assert.equal(planned.points, old.length);
    assert.ok(old.length > POINTS / 3);
    for (const { bytes, lost } of planned.metrics) {
      assert.ok(bytes > 0);
      assert.match(lost.join(), /no explanation/);
    }
    const table = (await run(small, 'retention', 'plan')).stdout;
    assert.match(table, /^SOURCE +SCOPE +METRIC +POINTS FROM/);
    assert.ok(table.includes(from) && table.includes(`${old.length} points in all`), table);
    const unasked = await run(small, 'retention', 'apply');
    assert.equal(unasked.code, 64);
    assert.match(unasked.stderr, /--yes/);
    assert.equal((await storedPrices(small.url)).length, POINTS);

    for (const delay of [450, 600, 750, 900]) {
      const killed = new Command(['retention', 'apply', '--yes', '--config', small.config]);
      const timer = setTimeout(() => killed.child.kill('SIGKILL'), delay);
      await killed.finished;
      clearTimeout(timer);
      assert.deepEqual(await summaries(small), sums);
    }
    const applied = await run(small, 'retention', 'apply', '--yes');
    assert.equal(applied.code, 0, applied.stderr);
    const left = await storedPrices(small.url);
    assert.equal(left.length, POINTS - old.length);
    assert.ok(left.every(({ begin }) => begin >= Date.parse(from) / 1000));
    assert.deepEqual(await summaries(small), sums);
    assert.match((await run(small, 'retention', 'plan')).stdout, /^Nothing to drop\./);

    const begin = new Date(START * 1000).toISOString();
    for (const args of [
      ['dataframes', '--begin', begin],
      ['summary', '--begin', begin, '--group-by', 'id'],
      ['scopes', 'reset', '--scope', 'alpha', '--to', begin, '--reason', 'test'],
    ]) {
      const refused = await run(small, ...args);
      assert.equal(refused.code, 65, args.join(' '));
      assert.match(refused.stderr, /\[RATECAT_POINTS_DROPPED\]/);
      assert.ok(refused.stderr.includes(from), refused.stderr);
    }
    assert.deepEqual(await storedPrices(small.url), left);

    const active = await run(small, 'scopes', 'erase', 'alpha', '--yes');
    assert.equal(active.code, 65);
    assert.match(active.stderr, /RATECAT_ERASE_REFUSED/);
    assert.equal((await daemon.stop()).code, 0);
    const erased = await run(small, 'scopes', 'erase', 'alpha', '--force', '--yes');
    assert.equal(erased.code, 0, erased.stderr);
    assert.match(erased.stdout, /^alpha: erased, \d+ rows removed\n$/);
    assert.deepEqual(
      await storedPrices(small.url),
      left.filter(({ scope }) => scope === 'beta'),
    );
    assert.doesNotMatch((await run(small, 'status')).stdout, /alpha/);
    assert.equal((await run(small, 'scopes', 'erase', 'alpha', '--yes')).code, 64);
  });
});

function run({ config }: SmallDaemon, ...args: readonly string[]): Promise<Finished> {
  return ratecat(...args, '--config', config);
}

/** What bills are made of. */
async function summaries(small: SmallDaemon): Promise<readonly unknown[]> {
  const day = new Date(Math.floor(START / 86_400) * 86_400_000).toISOString();
  const found: unknown[] = [];
  for (const groups of ['scope,type,time-d', 'scope,time-m', 'type']) {
    const args = ['summary', '--begin', day, '--group-by', groups, '--json'];
    const { code, stdout, stderr } = await run(small, ...args);
    assert.equal(code, 0, stderr);
    found.push(JSON.parse(stdout));
  }
  return found;
}
