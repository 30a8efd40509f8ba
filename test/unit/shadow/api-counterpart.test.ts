import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { systemClock } from '../../../core/daemon/system-clock.js';
import { httpFactory } from '../../../core/loading/http-client.js';
import { isRatecatError } from '../../../core/plugin-api/index.js';
import { ApiCounterpart } from '../../../core/shadow/api-counterpart.js';
import { FakeOpenStack } from '../../support/fake-openstack.js';
import { json, type ReceivedRequest, reply } from '../../support/http-double.js';

const HOUR = 3600;
const START = Date.UTC(2026, 0, 31) / 1000;
const { signal } = new AbortController();
const period = { begin: START, end: START + HOUR };

interface Row {
  readonly scope: string;
  readonly metric: string;
  /** As JSON says it. */
  readonly quantity: string;
  readonly price: string;
}

let openstack: FakeOpenStack;
let counterpart: ApiCounterpart;
let scopes: readonly Readonly<Record<string, unknown>>[];
let rows: readonly Row[];

beforeEach(async () => {
  openstack = await FakeOpenStack.start();
  scopes = [];
  rows = [];
  const keystone = openstack.double.handler;
  openstack.double.handler = (request) => {
    if (request.path === '/rating/v2/scope') return scopePage(request);
    if (request.path === '/rating/v2/summary') return summaryPage(request);
    return keystone(request);
  };
  counterpart = new ApiCounterpart(
    {
      ...openstack.credentials,
      auth_type: 'password',
      insecure: false,
      timeout: 10,
      max_response_mib: 64,
    },
    {
      endpoint: `${openstack.double.url}/rating/`,
      region: undefined,
      scopeKey: 'project_id',
      periodSeconds: HOUR,
    },
    { http: httpFactory, clock: systemClock },
  );
});

afterEach(async () => {
  await counterpart.close();
  await openstack.stop();
});

function pageOf<T>(all: readonly T[], { query }: ReceivedRequest): readonly T[] {
  const offset = Number(query.get('offset'));
  return all.slice(offset, offset + Number(query.get('limit')));
}

/** An empty page is a 404, as in the original. */
function scopePage(request: ReceivedRequest) {
  const page = pageOf(scopes, request);
  return page.length === 0
    ? json({ message: 'No resource found for provided filters.' }, 404)
    : json({ results: page });
}

/** Columns come from the first row: without rows there are none. */
function summaryPage(request: ReceivedRequest) {
  const page = pageOf(rows, request);
  const columns = page.length === 0 ? [] : ['begin', 'end', 'qty', 'rate', 'type', 'project_id'];
  const bounds = '"2026-01-31T00:00:00+00:00", "2026-01-31T01:00:00+00:00"';
  const lines = page.map(
    ({ scope, metric, quantity, price }) => `[${bounds}, ${quantity}, ${price}, "${metric}", "${scope}"]`,
  );
  const body = `{"total": ${rows.length}, "columns": ${JSON.stringify(columns)}, "results": [${lines.join(', ')}], "format": "table"}`;
  return reply(200, body, { 'content-type': 'application/json' });
}

function scope(id: string, last: string | null, key: string | null = 'project_id') {
  return { scope_id: id, scope_key: key, last_processed_timestamp: last };
}

describe('frontiers from the API', () => {
  it('lie behind the newest period, with and without an offset in the date', async () => {
    scopes = [
      scope('a', '2026-01-31T02:00:00+00:00'),
      scope('b', '2026-01-31T02:00:00'),
      scope('c', '2026-01-31T03:00:00+01:00'),
    ];
    const end = START + 3 * HOUR;
    assert.deepEqual(
      [...(await counterpart.frontiers(signal))],
      [
        ['a', end],
        ['b', end],
        ['c', end],
      ],
    );
  });

  it('leave out other scope keys and scopes that were never rated; of doubles the newest counts', async () => {
    scopes = [
      scope('a', '2026-01-31T02:00:00+00:00'),
      scope('a', '2026-01-31T00:00:00+00:00'),
      scope('namespace', '2026-01-31T02:00:00+00:00', 'namespace'),
      scope('new', null),
      scope('keyless', '2026-01-31T00:00:00+00:00', null),
    ];
    assert.deepEqual(
      [...(await counterpart.frontiers(signal))],
      [
        ['a', START + 3 * HOUR],
        ['keyless', START + HOUR],
      ],
    );
  });

  it('come from every page, also when the last one is full', async () => {
    scopes = Array.from({ length: 2000 }, (_, index) => scope(`s${index}`, '2026-01-31T00:00:00+00:00'));
    assert.equal((await counterpart.frontiers(signal)).size, 2000);
    assert.equal(openstack.asked(/scope$/).length, 3);
  });

  it('are none when the API knows no scope', async () => {
    assert.equal((await counterpart.frontiers(signal)).size, 0);
  });

  it('are refused when a date is none', async () => {
    scopes = [scope('a', 'yesterday')];
    await assert.rejects(
      counterpart.frontiers(signal),
      /last_processed_timestamp that is no date: 'yesterday'/,
    );
  });
});

describe('sums from the API', () => {
  it('keep every digit that the answer has', async () => {
    rows = [{ scope: 'a', metric: 'cpu', quantity: '1.10000000000000000001', price: '1e-7' }];
    const [sum] = await counterpart.sums(period, signal);
    assert.deepEqual(
      [sum?.scopeId, sum?.metric, sum?.quantity.toString(), sum?.price.toString()],
      ['a', 'cpu', '1.10000000000000000001', '0.0000001'],
    );
    const [asked] = openstack.asked(/summary$/);
    assert.equal(asked?.query.get('begin'), '2026-01-31T00:00:00');
    assert.equal(asked?.query.get('end'), '2026-01-31T01:00:00');
    assert.equal(asked?.query.get('groupby'), 'project_id,type');
  });

  it('take null for zero, and come from every page', async () => {
    rows = Array.from({ length: 1500 }, (_, index) => ({
      scope: `s${index}`,
      metric: 'cpu',
      quantity: 'null',
      price: String(index),
    }));
    const sums = await counterpart.sums(period, signal);
    assert.equal(sums.length, 1500);
    assert.equal(sums[0]?.quantity.toString(), '0');
    assert.equal(
      sums.reduce((total, { price }) => total + Number(price.toString()), 0),
      (1500 * 1499) / 2,
    );
  });

  it('are none where nothing was rated', async () => {
    assert.deepEqual(await counterpart.sums(period, signal), []);
  });

  it('say who refused what', async () => {
    const former = openstack.double.handler;
    openstack.double.handler = (request) =>
      request.path.endsWith('/summary') ? json({ message: 'No.' }, 403) : former(request);
    await assert.rejects(counterpart.sums(period, signal), (error) => {
      assert.ok(isRatecatError(error));
      assert.match(error.message, /\/v2\/summary/);
      assert.match(error.message, /summary:get_summary/);
      return true;
    });
  });

  it('say that a proxy answered with a page', async () => {
    const former = openstack.double.handler;
    openstack.double.handler = (request) =>
      request.path.endsWith('/summary') ? reply(200, '<html>') : former(request);
    await assert.rejects(counterpart.sums(period, signal), /RATECAT_UPSTREAM_MALFORMED|is not valid JSON/);
  });
});
