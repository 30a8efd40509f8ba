import assert from 'node:assert/strict';
import { type HttpFactory, isRatecatError, type Lifecycle } from '../plugin-api/index.js';
import { FaultyHttp, HTTP_FAULTS } from './http-faults.js';

/** A call of a plugin, to be repeated with things going wrong. */
export interface DisturbedCall<P extends Lifecycle, T> {
  readonly http: HttpFactory;
  create(http: HttpFactory): Promise<P>;
  call(plugin: P, signal: AbortSignal): Promise<T>;
  /** The answer in a form in which equal answers are deeply equal. */
  normal(answer: T): unknown;
}

export function neverAborted(): AbortSignal {
  return new AbortController().signal;
}

/** Runs a body with a started plugin and checks that stopping it closes what it opened. */
export async function withPlugin<P extends Lifecycle>(
  { http, create }: Pick<DisturbedCall<P, unknown>, 'http' | 'create'>,
  body: (plugin: P, http: FaultyHttp) => Promise<void>,
): Promise<void> {
  const watched = new FaultyHttp(http);
  const plugin = await create(watched);
  assert.equal(watched.requests.length, 0, 'create does no I/O');
  await plugin.start?.(neverAborted());
  try {
    await body(plugin, watched);
  } finally {
    await plugin.stop?.();
  }
  assert.equal(watched.openClients, 0, 'stop closes every HTTP client');
}

/** A signal that was aborted before the call is refused with its reason, and nothing is asked. */
export async function checkEarlyAbort<P extends Lifecycle, T>(work: DisturbedCall<P, T>): Promise<void> {
  await withPlugin(work, async (plugin, http) => {
    const reason = new Error('aborted by the test');
    http.heal();
    await assert.rejects(work.call(plugin, AbortSignal.abort(reason)), (error) => error === reason);
    assert.equal(http.requests.length, 0, 'an aborted call asks nothing');
  });
}

/** Each request in turn is never answered; the abort must reject at once with the signal's reason. */
export async function checkAborts<P extends Lifecycle, T>(work: DisturbedCall<P, T>): Promise<void> {
  const count = await countRequests(work);
  for (let n = 1; n <= count; n++) {
    await withPlugin(work, async (plugin, http) => {
      const controller = new AbortController();
      const reason = new Error(`aborted at request ${n}`);
      const silent = http.spoil('silence', n);
      const outcome = settle(work.call(plugin, controller.signal));
      await Promise.race([silent, outcome]);
      const begin = performance.now();
      controller.abort(reason);
      const result = await outcome;
      assert.ok('error' in result, `request ${n}: an answer in spite of the abort`);
      assert.equal(result.error, reason, `request ${n}: not the signal's reason`);
      assert.ok(performance.now() - begin < 1000, `request ${n}: the abort took too long`);
    });
  }
}

/** Each request in turn goes wrong in each way: the call throws an error of the contract, or nothing has changed. */
export async function checkFaults<P extends Lifecycle, T>(work: DisturbedCall<P, T>): Promise<void> {
  const count = await countRequests(work);
  let whole: unknown;
  await withPlugin(work, async (plugin) => {
    whole = work.normal(await work.call(plugin, neverAborted()));
  });
  for (const fault of HTTP_FAULTS) {
    for (let n = 1; n <= count; n++) {
      const when = `${fault} at request ${n} of ${count}`;
      await withPlugin(work, async (plugin, http) => {
        void http.spoil(fault, n);
        const outcome = await settle(work.call(plugin, neverAborted()));
        assert.ok(http.requests.length >= n, `${when}: the fault never happened`);
        if ('error' in outcome) checkError(outcome.error, when);
        else assert.deepEqual(work.normal(outcome.answer), whole, `${when}: another answer, and no error`);
        http.heal();
        assert.deepEqual(work.normal(await work.call(plugin, neverAborted())), whole, `after ${when}`);
      });
    }
  }
}

function checkError(error: unknown, when: string): void {
  assert.ok(isRatecatError(error), `${when}: ${String(error)} is not an error of the contract`);
  assert.ok(error.kind === 'unavailable' || error.kind === 'data' || error.kind === 'rejected', when);
}

async function countRequests<P extends Lifecycle, T>(work: DisturbedCall<P, T>): Promise<number> {
  let count = 0;
  await withPlugin(work, async (plugin, http) => {
    http.heal();
    await work.call(plugin, neverAborted());
    count = http.requests.length;
  });
  return count;
}

type Outcome<T> = { readonly answer: T } | { readonly error: unknown };

async function settle<T>(promise: Promise<T>): Promise<Outcome<T>> {
  try {
    return { answer: await promise };
  } catch (error) {
    return { error };
  }
}
