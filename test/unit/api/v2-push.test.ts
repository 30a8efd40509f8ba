import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Decimal, type Storage } from '../../../core/plugin-api/index.js';
import { idempotentCall } from '../../../core/scopes/idempotency-keys.js';
import { PushedFrames } from '../../../core/scopes/pushed-frames.js';
import { describeOnEngines } from '../../support/engines.js';
import { storedPrices } from '../../support/stored-prices.js';
import { AMOUNT, pushedPoints } from './pushed-points.js';
import { DAY, frame, HOUR, MONDAY, type OpenedV2, openV2, point, push, time, WEEK } from './v2-support.js';

const CHILD = fileURLToPath(new URL('./v2-push-child.ts', import.meta.url));
const { signal } = new AbortController();

describeOnEngines('pushing frames', (engine) => {
  let url: string;
  let api: OpenedV2;
  before(async () => {
    url = await engine.newDatabase();
    api = await openV2({ url });
  });
  after(() => api.close());

  function child(...args: readonly string[]): ChildProcess {
    return spawn(process.execPath, ['--import', 'tsx', CHILD, url, ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
  }

  /** Ids that are stored for a scope, sorted; and that the sums of the reports are exactly those of the points. */
  async function storedIds(scope: string): Promise<readonly string[]> {
    const rows = (await storedPrices(url)).filter((row) => row.scope === scope);
    const sum = (of: 'price' | 'quantity') =>
      rows.reduce((total, row) => total.plus(Decimal.parse(row[of])), Decimal.ZERO).toString();
    const query = { visible: [{ key: 'project_id', id: scope }], begin: MONDAY, end: MONDAY + DAY };
    const [total] = (await api.services.storage.total({ ...query, groupby: [] }, signal)).rows;
    assert.equal(total?.price.toString() ?? '0', sum('price'));
    assert.equal(total?.quantity.toString() ?? '0', sum('quantity'));
    assert.equal(total?.points ?? 0, rows.length);
    return rows.map(({ id }) => id).sort();
  }

  it('keeps both of two pushes to one scope and period, also equal ones', async () => {
    const one = frame(MONDAY, { m: [point({ groupby: { project_id: 'twice', id: 'same' } })] });
    assert.equal((await push(api, [one])).status, 204);
    assert.equal((await push(api, [one, one])).status, 204);
    assert.deepEqual(await storedIds('twice'), ['same', 'same', 'same']);
  });

  it('keeps every point of many pushes at once', async () => {
    const ids = Array.from({ length: 40 }, (_, serial) => `c${String(serial).padStart(2, '0')}`);
    const of = (id: string) => [
      frame(MONDAY, { m: [point({ price: AMOUNT, qty: AMOUNT, groupby: { project_id: 'crowd', id } })] }),
    ];
    const answers = await Promise.all(ids.map((id) => push(api, of(id))));
    assert.ok(answers.every(({ status }) => status === 204));
    assert.deepEqual(await storedIds('crowd'), ids);
  });

  it('keeps every point of several processes that push to the same scopes', async () => {
    const count = 25;
    const prefixes = ['a', 'b', 'c'];
    const children = prefixes.map((prefix) => child('left,right', prefix, String(count)));
    const own = new PushedFrames(api.services.database, api.services.storage, api.services.clock);
    for (let serial = 0; serial < count; serial++)
      await own.push({ frames: pushedPoints(['right', 'left'], `d${serial}`) }, signal);
    const codes = await Promise.all(
      children.map(async (one) => one.exitCode ?? ((await once(one, 'close')) as [number])[0]),
    );
    assert.deepEqual(codes, [0, 0, 0]);
    const expected = [...prefixes, 'd']
      .flatMap((prefix) => Array.from({ length: count }, (_, serial) => `${prefix}${serial}`))
      .sort();
    assert.deepEqual(await storedIds('left'), expected);
    assert.deepEqual(await storedIds('right'), expected);
  });

  it('stores a call with a key once, however often it is repeated', async () => {
    const body = [frame(MONDAY, { m: [point({ groupby: { project_id: 'keyed', id: 'k' } })] })];
    const send = () => push(api, body, { 'idempotency-key': 'order-1' });
    const answers = await Promise.all(Array.from({ length: 50 }, send));
    assert.deepEqual(new Set(answers.map(({ status, text }) => `${status}${text}`)), new Set(['204']));
    assert.deepEqual(await storedIds('keyed'), ['k']);
    assert.equal((await push(api, body)).status, 204);
    assert.equal((await storedIds('keyed')).length, 2, 'without a key a repetition is stored again');
  });

  it('stores a call with a key once when two processes get it at the same time', async () => {
    const { database, storage, clock } = api.services;
    for (let round = 0; round < 8; round++) {
      const id = `r${round}`;
      const call = idempotentCall(['both'], id, Buffer.from(id));
      const outcomes = await Promise.all(
        [1, 2].map(() =>
          new PushedFrames(database, storage, clock).push(
            { frames: pushedPoints(['both'], id), call },
            signal,
          ),
        ),
      );
      assert.deepEqual(outcomes.sort(), ['repeated', 'stored']);
    }
    assert.equal((await storedIds('both')).length, 8);
  });

  it('refuses a key that comes again with another body', async () => {
    const of = (id: string) => [frame(MONDAY, { m: [point({ groupby: { project_id: 'reused', id } })] })];
    const key = { 'idempotency-key': 'order-2' };
    const answers = await Promise.all(['x', 'y'].map((id) => push(api, of(id), key)));
    assert.deepEqual(answers.map(({ status }) => status).sort(), [204, 422]);
    assert.match(
      answers.find(({ status }) => status === 422)!.json.message,
      /already used with another body/,
    );
    assert.equal((await storedIds('reused')).length, 1);
  });

  it('refuses a key that is none, and frees the key of a call that failed', async () => {
    const body = [frame(MONDAY, { m: [point({ groupby: { project_id: 'freed', id: 'f' } })] })];
    for (const key of ['', 'two words', 'é', 'x'.repeat(256)])
      assert.equal((await push(api, body, { 'idempotency-key': key })).status, 400, key);
    const long = [frame(MONDAY, { m: [point({ groupby: { project_id: 'x'.repeat(600) } })] })];
    assert.equal((await push(api, long, { 'idempotency-key': 'order-3' })).status, 400);
    assert.equal((await push(api, body, { 'idempotency-key': 'order-3' })).status, 204);
    assert.deepEqual(await storedIds('freed'), ['f']);
  });

  it('stores each call once when the process is killed and everything is sent again', async () => {
    const process = child('killed', 'p', '400', 'keyed');
    let told = '';
    const enough = new Promise<void>((resolve) => {
      process.stdout!.setEncoding('utf8').on('data', (text: string) => {
        told += text;
        if (told.split('\n').length > 15) resolve();
      });
    });
    await enough;
    process.kill('SIGKILL');
    const [, killedBy] = (await once(process, 'close')) as [number | null, string | null];
    assert.equal(killedBy, 'SIGKILL');
    const done = told.split('\n').length - 1;
    const again = new PushedFrames(api.services.database, api.services.storage, api.services.clock);
    for (let serial = 0; serial <= done; serial++) {
      const id = `p${serial}`;
      const call = idempotentCall(['child'], id, Buffer.from(id));
      await again.push({ frames: pushedPoints(['killed'], id), call }, signal);
    }
    const expected = Array.from({ length: done + 1 }, (_, serial) => `p${serial}`).sort();
    assert.deepEqual(await storedIds('killed'), expected);
  });

  it('forgets keys after their time', async () => {
    let now = Date.now();
    const clock = { ...api.services.clock, now: () => now };
    const pushed = new PushedFrames(api.services.database, api.services.storage, clock);
    const send = () => {
      const call = idempotentCall(['old'], 'old', Buffer.from('old'));
      return pushed.push({ frames: pushedPoints(['old'], 'o'), call }, signal);
    };
    assert.deepEqual([await send(), await send()], ['stored', 'repeated']);
    now += 8 * DAY * 1000;
    assert.equal(await send(), 'stored');
    assert.equal((await storedIds('old')).length, 2);
  });

  it('does not bring back what a reset deletes while it pushes', async () => {
    await api.services.states.add(
      { source: 'default', fetcher: 'static', collector: 'prometheus' },
      [{ key: 'project_id', id: 'reset' }],
      MONDAY,
    );
    await api.database.transaction((tx) =>
      tx.execute("UPDATE ratecat_scopes SET watermark = ? WHERE scope_id = 'reset'", [MONDAY + DAY]),
    );
    const { storage } = api.services;
    let resets = 0;
    // The reset comes after the stored period was read and before the longer one is written.
    const slow: Storage = Object.assign(Object.create(storage) as Storage, {
      capabilities: storage.capabilities,
      replacePeriod: storage.replacePeriod.bind(storage),
      async *readPeriods(query: Parameters<Storage['readPeriods']>[0]) {
        for await (const stored of storage.readPeriods(query, signal)) yield stored;
        if (resets++ > 0) return;
        const body = { scope_id: 'reset', last_processed_timestamp: time(MONDAY) };
        assert.equal((await api.call('PUT', '/v2/scope', { body })).status, 202);
      },
    });
    await push(api, [frame(MONDAY, { m: [point({ groupby: { project_id: 'reset', id: 'before' } })] })]);
    const pushed = new PushedFrames(api.services.database, slow, api.services.clock);
    assert.equal(await pushed.push({ frames: pushedPoints(['reset'], 'after') }, signal), 'stored');
    assert.equal(resets, 2, 'the push had to look again');
    assert.deepEqual(await storedIds('reset'), ['after']);
  });

  it('takes pushes of one request into many periods and scopes', async () => {
    const frames = Array.from({ length: 30 }, (_, hour) =>
      frame(MONDAY + hour * HOUR, {
        b: [point({ groupby: { project_id: `many${hour % 3}`, id: String(hour) } })],
        a: [point({ groupby: { project_id: `many${(hour + 1) % 3}`, id: String(hour) } })],
      }),
    );
    assert.equal((await push(api, frames)).status, 204);
    for (const scope of ['many0', 'many1', 'many2']) {
      const got = await api.call('GET', `/v2/dataframes?${WEEK}&filters=project_id:${scope}`);
      assert.equal(got.json.total, 20);
    }
  });
});
