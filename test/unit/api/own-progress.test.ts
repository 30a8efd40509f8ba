import assert from 'node:assert/strict';
import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { ProgressFeed, type ScopeProgress } from '../../../core/api/own/progress-feed.js';
import { type Clock, UnavailableError } from '../../../core/plugin-api/index.js';
import type { ScopeState } from '../../../core/scopes/scope-states.js';
import { RecordingLogger } from '../../../core/testkit/fakes.js';
import { FIXED_CLOCK, HOUR, MONDAY, type OpenedOwn, openOwn, type Token } from './own-support.js';

/** Sleeps end when the test says so. */
class SteppedClock implements Clock {
  readonly #sleepers = new Set<() => void>();

  now(): number {
    return FIXED_CLOCK.now();
  }

  monotonic(): number {
    return FIXED_CLOCK.monotonic();
  }

  get sleepers(): number {
    return this.#sleepers.size;
  }

  sleep(_milliseconds: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const wake = () => {
        this.#sleepers.delete(wake);
        resolve();
      };
      this.#sleepers.add(wake);
      signal.addEventListener('abort', () => {
        this.#sleepers.delete(wake);
        reject(signal.reason);
      });
    });
  }

  /** Lets a second pass. */
  async step(): Promise<void> {
    while (this.#sleepers.size === 0) await nextTurn();
    for (const wake of [...this.#sleepers]) wake();
  }
}

interface Event {
  readonly event: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every shape
  readonly data: any;
}

/** One open connection. */
class Follower {
  readonly response: IncomingMessage;
  readonly ended: Promise<unknown>;
  #text = '';

  constructor(response: IncomingMessage) {
    this.response = response;
    this.ended = once(response, 'close');
    response.setEncoding('utf8').on('data', (text: string) => {
      this.#text += text;
    });
    response.on('error', () => undefined);
  }

  get text(): string {
    return this.#text;
  }

  async event(place: number): Promise<Event> {
    for (;;) {
      const blocks = this.#text.split('\n\n').slice(0, -1);
      const events = blocks.filter((block) => block.startsWith('event: '));
      const found = events[place];
      if (found !== undefined) {
        const [event, data] = found.split('\n');
        return { event: event!.slice('event: '.length), data: JSON.parse(data!.slice('data: '.length)) };
      }
      await once(this.response, 'data');
    }
  }
}

describe('the live progress of /ratecat/v1', () => {
  const clock = new SteppedClock();
  let api: OpenedOwn;
  let port: number;
  before(async () => {
    api = await openOwn({ clock });
    await api.app.listen({ host: '127.0.0.1', port: 0 });
    port = (api.app.server.address() as AddressInfo).port;
  });
  after(() => api.close());

  async function follow(token: Token): Promise<Follower> {
    const request = get({
      host: '127.0.0.1',
      port,
      path: '/ratecat/v1/progress',
      headers: { 'x-auth-token': token },
    });
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    return new Follower(response);
  }
  const moveTo = (id: string, watermark: number) =>
    api.database.transaction((tx) =>
      tx.execute('UPDATE ratecat_scopes SET watermark = ? WHERE scope_id = ?', [watermark, id]),
    );

  it('tells the backlog at once, and what is rated as it happens', async () => {
    const admin = await follow('admin');
    assert.equal(admin.response.headers['content-type'], 'text/event-stream; charset=utf-8');
    const { event, data } = await admin.event(0);
    const [source] = data.sources;
    assert.deepEqual([event, data.at], ['progress', '2026-01-05T02:00:00Z']);
    assert.deepEqual([source.scopes, source.stuck, source.periods_rated], [2, 1, 0]);
    assert.ok(source.periods_behind > 0);
    await clock.step();
    await moveTo('beta', MONDAY + HOUR);
    await clock.step();
    const [next] = (await admin.event(1)).data.sources;
    assert.deepEqual([next.periods_rated, next.periods_behind], [1, source.periods_behind - 1]);
    admin.response.destroy();
    await admin.ended;
    await moveTo('beta', MONDAY);
  });

  it('shows a project its own scopes only', async () => {
    const followers = await Promise.all([follow('alpha'), follow('beta')]);
    const [alpha, beta] = await Promise.all(followers.map((follower) => follower.event(0)));
    assert.deepEqual([alpha!.data.sources[0].scopes, alpha!.data.sources[0].stuck], [1, 0]);
    assert.deepEqual([beta!.data.sources[0].scopes, beta!.data.sources[0].stuck], [1, 1]);
    await moveTo('alpha', MONDAY);
    await clock.step();
    assert.equal((await followers[0]!.event(1)).data.sources[0].periods_behind, 1);
    assert.equal(followers[1]!.text.split('event: ').length, 2, 'what another project does is no news');
    for (const follower of followers) follower.response.destroy();
    await Promise.all(followers.map(({ ended }) => ended));
    await moveTo('alpha', MONDAY + 2 * HOUR);
  });

  it('stops looking when the last listener has left', async () => {
    const follower = await follow('admin');
    await follower.event(0);
    follower.response.destroy();
    while (clock.sleepers > 0) await nextTurn();
    const again = await follow('admin');
    assert.equal((await again.event(0)).event, 'progress');
    again.response.destroy();
    await again.ended;
  });

  it('takes a bounded number of listeners of one caller, and frees their places', async () => {
    const followers = [];
    for (let place = 0; place < 8; place++) followers.push(await follow('alpha'));
    const refused = await api.get('/progress', 'alpha');
    assert.deepEqual([refused.status, refused.json.error.code], [503, 'RATECAT_REQUEST_TOO_MANY_LISTENERS']);
    assert.ok(Number(refused.headers['retry-after']) > 0);
    const other = await follow('beta');
    await other.event(0);
    for (const follower of [...followers, other]) {
      follower.response.destroy();
      await follower.ended;
    }
    for (;;) {
      const freed = await follow('alpha');
      const { statusCode } = freed.response;
      freed.response.destroy();
      if (statusCode === 200) break;
    }
  });

  it('ends with the server', async () => {
    const follower = await follow('admin');
    await follower.event(0);
    await api.server.stop();
    await follower.ended;
    assert.ok(follower.response.complete, 'the answer came to its end');
  });
});

describe('the feed of progress', () => {
  const state = (row: number, watermark: number): ScopeState =>
    ({
      row,
      source: 'cloud',
      scope: { key: 'k', id: `s${row}` },
      condition: 'active',
      watermark,
    }) as ScopeState;

  it('asks once for all listeners, counts what is rated and forgets resets', async () => {
    const clock = new SteppedClock();
    let asked = 0;
    let rows: readonly ScopeState[] = [state(1, 0)];
    const list = async () => {
      asked++;
      return rows;
    };
    const lagOf = () => ({ periods: undefined, seconds: 0 });
    const feed = new ProgressFeed({ states: { list }, clock, logger: new RecordingLogger(), lagOf });
    const seen: number[] = [];
    const progress = (scopes: readonly ScopeProgress[]) => {
      seen.push(scopes.reduce((sum, { ratedSeconds }) => sum + ratedSeconds, 0));
    };
    const listener = { progress, unavailable: () => undefined };
    const leave = [feed.listen(listener), feed.listen({ ...listener })];
    while (seen.length < 2) await nextTurn();
    for (const next of [[state(1, 60)], [state(1, 0)], [state(1, 60), state(2, 600)]]) {
      rows = next;
      const before = seen.length;
      await clock.step();
      while (seen.length < before + 2) await nextTurn();
    }
    assert.equal(asked, 4);
    assert.deepEqual(seen.slice(2), [60, 60, 60, 60, 120, 120]);
    for (const end of leave) end();
    assert.equal(feed.listeners, 0);
    assert.equal(clock.sleepers, 0);
  });

  it('says once that the database does not answer, and goes on when it does', async () => {
    const clock = new SteppedClock();
    const heard: string[] = [];
    let isDown = true;
    const list = async () => {
      if (isDown) throw new UnavailableError('RATECAT_DATABASE_UNAVAILABLE', 'gone');
      return [state(1, 0)];
    };
    const lagOf = () => ({ periods: 1, seconds: 5 });
    const feed = new ProgressFeed({ states: { list }, clock, logger: new RecordingLogger(), lagOf });
    const end = feed.listen({
      progress: () => void heard.push('progress'),
      unavailable: (code) => void heard.push(code),
    });
    await clock.step();
    await clock.step();
    while (clock.sleepers === 0) await nextTurn();
    isDown = false;
    await clock.step();
    while (heard.length < 2) await nextTurn();
    end();
    assert.deepEqual(heard, ['RATECAT_DATABASE_UNAVAILABLE', 'progress']);
  });
});
