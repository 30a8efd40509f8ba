import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, describe, it } from 'node:test';
import type { Command } from '../support/daemon.js';
import {
  type Behaviour,
  drip,
  HttpDouble,
  hang,
  headersThenHang,
  json,
  type ReceivedRequest,
  reply,
  reset,
  resetInBody,
  shortBody,
} from '../support/http-double.js';
import { freePort } from '../support/services/free-port.js';
import {
  clearAway,
  lastDue,
  type SmallDaemon,
  smallDaemon,
  startDaemon,
  statusOf,
  waitUntil,
} from '../support/small-daemon.js';
import { type StoredPrice, storedPrices } from '../support/stored-prices.js';

const PERIODS = 4;
const START = lastDue() - PERIODS * 3600;
const TIMEOUT_SECONDS = 1;

/** What the faulty server would have said; each fault bends it. */
function healthy({ query }: Pick<ReceivedRequest, 'query'>): object {
  const promql = query.get('query') ?? '';
  const at = Date.parse(query.get('time') ?? '') / 1000 || Math.floor(Date.now() / 1000);
  const vector = (metric: object, value: string) => ({
    status: 'success',
    data: { resultType: 'vector', result: [{ metric, value: [at, value] }] },
  });
  if (promql.includes('lowest_timestamp')) return vector({}, String(START - 86_400));
  const scope = scopeOf({ query });
  return scope === undefined
    ? vector({}, '1')
    : vector({ project_id: scope, id: 'one', flavor: 'big' }, '1.25');
}

function bent(change: (element: { metric: object; value: [number, string] }) => readonly object[]) {
  return (request: ReceivedRequest): Behaviour => {
    const answer = healthy(request) as { data: { result: [{ metric: object; value: [number, string] }] } };
    const result = change(answer.data.result[0]);
    return json({ status: 'success', data: { resultType: 'vector', result } });
  };
}

const text = (request: ReceivedRequest) => JSON.stringify(healthy(request));

interface Fault {
  readonly what: string;
  readonly act: (request: ReceivedRequest) => Behaviour;
  readonly reason: RegExp;
}

const FAULTS: readonly Fault[] = [
  { what: 'takes the request and hangs', act: () => hang(), reason: /within 1 s/ },
  { what: 'sends headers and hangs', act: () => headersThenHang(), reason: /within 1 s/ },
  { what: 'sends a byte at a time', act: () => drip(), reason: /within 1 s/ },
  { what: 'resets the connection', act: () => reset(), reason: /reset|reach/i },
  {
    what: 'resets in the body',
    act: (r) => resetInBody(text(r), 20),
    reason: /ended|broke|cut|incomplete|reset/i,
  },
  {
    what: 'sends less than it announced',
    act: (r) => shortBody(text(r), 5),
    reason: /ended|broke|cut|incomplete/i,
  },
  { what: 'moves away (301)', act: () => reply(301, '', { location: 'http://127.0.0.1:1/' }), reason: /301/ },
  { what: 'asks to wait (429)', act: () => reply(429, 'slow down', { 'retry-after': '1' }), reason: /429/ },
  { what: 'fails (500)', act: () => reply(500, 'boom'), reason: /500/ },
  { what: 'is overloaded (503)', act: () => reply(503, 'later'), reason: /503/ },
  { what: 'cuts its JSON short', act: (r) => reply(200, text(r).slice(0, -7)), reason: /JSON/ },
  {
    what: 'measures NaN',
    act: bent(({ metric, value }) => [{ metric, value: [value[0], 'NaN'] }]),
    reason: /NaN/,
  },
  {
    what: 'gives a series twice',
    act: bent((element) => [element, element]),
    reason: /twice|duplicate|several|two/i,
  },
  {
    what: 'answers for another scope',
    act: bent(({ metric, value }) => [{ metric: { ...metric, project_id: 'gamma' }, value }]),
    reason: /gamma/,
  },
  {
    what: 'answers empty with an error',
    act: () =>
      json({
        status: 'error',
        errorType: 'timeout',
        error: 'query timed out',
        data: { resultType: 'vector', result: [] },
      }),
    reason: /query timed out/,
  },
];

const HEALTHY = 'healthy';

/** Each fault has a scope of its own, so that all are met in one run and none may touch another. */
describe('an upstream that fails', () => {
  let server: HttpDouble;
  let daemon: SmallDaemon;
  let up: Command;
  let isIll = true;
  const fired = new Map<string, number>();
  const reasons = new Map<string, string>();
  let whileIll: readonly StoredPrice[];
  let failedWithin = 0;
  let atEnd: readonly StoredPrice[];
  const rows = () => storedPrices(daemon.url).catch(() => []);

  function answer(request: ReceivedRequest): Behaviour {
    const fault = FAULTS.find(({ what }) => scopeOf(request) === what);
    if (fault === undefined || !isIll) return json(healthy(request));
    fired.set(fault.what, (fired.get(fault.what) ?? 0) + 1);
    return fault.act(request);
  }

  before(async () => {
    server = await HttpDouble.start(answer);
    daemon = await smallDaemon({
      start: START,
      scopes: [...FAULTS.map(({ what }) => what), HEALTHY],
      change: {
        processor: { lease_seconds: 5, collect_ahead: 1, concurrent_scopes: FAULTS.length + 1 },
        retry: { first_seconds: 1, max_seconds: 1 },
        collector: { plugin: 'prometheus', options: { url: server.url, timeout: TIMEOUT_SECONDS } },
      },
    });
    const began = Date.now();
    up = startDaemon(daemon);
    await waitUntil(
      'every fault has its reason',
      async () => {
        for (const { scope, reason } of (await statusOf(daemon.config)) ?? [])
          if (reason !== null) reasons.set(scope, reason);
        return reasons.size === FAULTS.length;
      },
      { daemon: up },
    );
    failedWithin = Date.now() - began;
    await waitUntil('the healthy scope is rated', async () => (await rows()).length >= PERIODS, {
      daemon: up,
    });
    whileIll = await rows();
    isIll = false;
    await waitUntil('all is rated', async () => (await rows()).length === PERIODS * (FAULTS.length + 1), {
      daemon: up,
    });
    const { code, stderr } = await up.stop();
    assert.equal(code, 0, stderr);
    assert.doesNotMatch(stderr, /internal error|unhandled/i);
    atEnd = await rows();
  });
  after(async () => {
    await clearAway();
    await server.stop();
  });

  it('prices what does not depend on it, and nothing else', () => {
    assert.deepEqual([...new Set(whileIll.map(({ scope }) => scope))], [HEALTHY]);
    assert.ok(failedWithin < 30_000, `every fault is noticed in time (${failedWithin} ms)`);
    assertPriced(whileIll, HEALTHY);
    assertPriced(atEnd, HEALTHY);
  });

  for (const { what, reason } of FAULTS) {
    it(`${what}: nothing is priced, the scope says why, and goes on when it is well`, () => {
      assert.ok((fired.get(what) ?? 0) > 0, 'the fault happened');
      const said = reasons.get(what) ?? '';
      assert.match(said, reason);
      assert.match(said, /Metric 'cpu'/);
      assertPriced(atEnd, what);
    });
  }

  it('shows no reason any more once all is well', async () => {
    const states = (await statusOf(daemon.config))!;
    assert.deepEqual([...new Set(states.map(({ state, reason }) => `${state} ${reason}`))], ['active null']);
  });
});

describe('an upstream that is not there', () => {
  after(clearAway);

  it('is waited for, with nothing priced', async () => {
    const port = await freePort();
    const daemon = await smallDaemon({
      start: START,
      scopes: [HEALTHY],
      change: { collector: { plugin: 'prometheus', options: { url: `http://127.0.0.1:${port}` } } },
    });
    const up = startDaemon(daemon);
    const refused = async () =>
      /ECONNREFUSED|refused/.test((await statusOf(daemon.config))?.[0]?.reason ?? '');
    await waitUntil('the reason is shown', refused, { daemon: up });
    assert.deepEqual(await storedPrices(daemon.url), []);
    const server = createServer((request, response) => {
      const query = new URL(request.url ?? '', 'http://localhost').searchParams;
      response.end(JSON.stringify(healthy({ query })));
    });
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
    try {
      await waitUntil('all is rated', async () => (await storedPrices(daemon.url)).length === PERIODS, {
        daemon: up,
      });
      assert.equal((await up.stop()).code, 0);
      assertPriced(await storedPrices(daemon.url), HEALTHY);
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });
});

function scopeOf({ query }: Pick<ReceivedRequest, 'query'>): string | undefined {
  return /project_id="([^"]*)"/.exec(query.get('query') ?? '')?.[1];
}

function assertPriced(found: readonly StoredPrice[], scope: string): void {
  assert.deepEqual(
    found.filter((row) => row.scope === scope).map(({ begin, quantity, price }) => [begin, quantity, price]),
    Array.from({ length: PERIODS }, (_, index) => [START + index * 3600, '1.25', '0.416666666666666625']),
  );
}
