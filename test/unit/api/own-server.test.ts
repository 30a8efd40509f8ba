import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { TooManyRequests } from '../../../core/api/too-many-requests.js';
import { sampleSeed } from '../../../core/testkit/samples.js';
import { type OpenedOwn, openOwn, type Token } from './own-support.js';

interface Operation {
  readonly summary?: string;
  readonly security?: readonly unknown[];
  readonly parameters?: readonly { readonly name: string; readonly in: string }[];
  readonly requestBody?: unknown;
  readonly responses: Readonly<Record<string, unknown>>;
}

describe('/ratecat/v1', () => {
  let api: OpenedOwn;
  before(async () => {
    api = await openOwn();
  });
  after(() => api.close());
  const document = async () => (await api.call('GET', '/openapi.json')).json;

  it('describes exactly the routes that are registered', async () => {
    const { paths, openapi } = await document();
    assert.match(openapi, /^3\.0\./);
    const described = Object.entries(paths as Record<string, object>).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    assert.deepEqual(described.sort(), registered(api.app.printRoutes({ commonPrefix: false })));
    assert.equal(described.length, 8);
  });

  it('describes the parameters, answers and errors of each', async () => {
    const { paths } = await document();
    for (const [path, methods] of Object.entries(paths as Record<string, Record<string, Operation>>)) {
      for (const operation of Object.values(methods)) {
        assert.ok(operation.summary, path);
        assert.ok(operation.responses['200'], path);
      }
    }
    const { parameters, responses } = paths['/ratecat/v1/summary'].get as Operation;
    assert.deepEqual(
      parameters!.map(({ name, in: place }) => `${place} ${name}`),
      ['begin', 'end', 'scope', 'metric', 'filter', 'group_by', 'offset', 'limit'].map(
        (name) => `query ${name}`,
      ),
    );
    assert.ok(responses.default);
    assert.ok(paths['/ratecat/v1/quote'].post.requestBody);
    assert.deepEqual(paths['/ratecat/v1/openapi.json'].get.security, []);
    assert.equal(paths['/ratecat/v1/prices'].get.security, undefined);
  });

  it('takes every described parameter and no other', async () => {
    const { paths } = await document();
    for (const [path, { get }] of Object.entries(paths as Record<string, { get?: Operation }>)) {
      const short = path.slice('/ratecat/v1'.length);
      if (get === undefined || short === '/progress' || short === '/openapi.json') continue;
      const { status, json } = await api.get(`${short}?stranger=1`);
      assert.deepEqual([status, json.error.code], [400, 'RATECAT_REQUEST_INVALID'], short);
      for (const { name } of get.parameters ?? []) {
        assert.ok(json.error.message.includes(name), `${short} ${name}`);
        const answer = await api.get(`${short}?${name}=${SAMPLES[name]}`);
        assert.equal(answer.status, 200, `${short}?${name}: ${answer.text}`);
      }
    }
  });

  it('says what is wrong with a value', async () => {
    const cases = [
      ['/summary?limit=0', /'limit'/],
      ['/summary?limit=x', /'limit'/],
      ['/summary?limit=', /'limit'/],
      ['/summary?limit=1e2', /'limit'/],
      ['/summary?offset=-1', /'offset'/],
      ['/summary?limit=1&limit=2', /more than once/],
      ['/summary?begin=yesterday', /'begin'.*yesterday.*2026-01-31/],
      ['/summary?begin=2026-01-05T00:00:00.5Z', /whole seconds/],
      ['/summary?begin=%2B275760-01-01', /'begin'/],
      ['/summary?end=1960-01-01', /'end'/],
      ['/summary?begin=2026-02-01&end=2026-01-01', /empty/],
      ['/summary?filter=flavor', /'filter'.*NAME=VALUE/],
      ['/summary?group_by=a,,b', /'group_by'/],
      ['/summary?group_by=a,a', /twice/],
      ['/summary?group_by=time-x', /time-d/],
      [`/summary?group_by=${Array.from({ length: 17 }, (_, place) => `k${place}`)}`, /at most 16/],
      ['/scopes?condition=well', /'condition'/],
      ['/progress?x=1', /'x'/],
    ] as const;
    for (const [path, message] of cases) {
      const { status, json } = await api.get(path);
      assert.deepEqual([status, json.error.code], [400, 'RATECAT_REQUEST_INVALID'], path);
      assert.match(json.error.message, message, path);
      assert.match(json.error.request_id, /^req-/);
    }
  });

  it('names the request in errors and headers alike', async () => {
    const { json, headers } = await api.get('/nothing');
    assert.equal(headers['x-openstack-request-id'], json.error.request_id);
  });

  it('answers unknown paths and methods as errors of its own kind', async () => {
    const nothing = await api.get('/nothing');
    assert.deepEqual([nothing.status, nothing.json.error.code], [404, 'RATECAT_REQUEST_UNKNOWN_PATH']);
    assert.equal((await api.call('GET', '/nothing')).status, 401);
    const wrong = await api.call('DELETE', '/quote', { token: 'admin' });
    assert.deepEqual([wrong.status, wrong.json.error.code], [405, 'RATECAT_REQUEST_METHOD']);
    assert.equal(wrong.headers.allow, 'POST');
    const refused = await api.call('GET', '/scopes', { token: 'wrong' });
    assert.deepEqual([refused.status, refused.json.error.code], [401, 'RATECAT_REQUEST_UNAUTHENTICATED']);
    assert.match(String(refused.headers['www-authenticate']), /Keystone/);
    assert.equal((await api.call('OPTIONS', '/scopes')).status, 200);
  });

  it('gives a client no 5xx and no other project, whatever it sends', async () => {
    const names = fc.constantFrom(...Object.keys(SAMPLES), '__proto__', 'constructor', 'x');
    const values = fc.oneof(
      fc.constantFrom(...Object.values(SAMPLES)),
      fc.constantFrom(...HOSTILE),
      fc.string(),
    );
    const paths = fc.constantFrom(
      '/summary',
      '/dataframes',
      '/explain',
      '/scopes',
      '/prices',
      '/quote',
      '/nothing',
    );
    const seed = sampleSeed();
    await fc.assert(
      fc.asyncProperty(
        paths,
        fc.array(fc.tuple(names, values), { maxLength: 4 }),
        fc.constantFrom<Token>('alpha', 'norole', 'unscoped'),
        async (path, parameters, token) => {
          const query = parameters
            .map(([name, value]) => `${name}=${encodeURIComponent(value.replace(/\p{Cs}/gu, '?'))}`)
            .join('&');
          const { status, text } = await api.get(`${path}?${query}`, token);
          assert.ok(status < 500, `${status} ${text}`);
          // What was sent may come back in a message, or as the names that were grouped by.
          const told = text.replace(/"group_by":\[[^\]]*\]/, '');
          if (status === 200) assert.doesNotMatch(told, /beta/);
        },
      ),
      { seed, numRuns: 1500 },
    );
  });
});

describe('the limit of requests', () => {
  it('counts by token, tells when to come back, and leaves the health check alone', async () => {
    const api = await openOwn({ change: { api: { rate_limit: 3 } } });
    try {
      const statuses = async (token: Token) => {
        const answers = [];
        for (let round = 0; round < 5; round++) answers.push((await api.get('/prices', token)).status);
        return answers;
      };
      assert.deepEqual(await statuses('alpha'), [200, 200, 200, 429, 429]);
      assert.deepEqual(await statuses('beta'), [200, 200, 200, 429, 429]);
      const refused = await api.get('/prices', 'alpha');
      assert.equal(refused.json.error.code, 'RATECAT_REQUEST_RATE_LIMITED');
      const wait = Number(refused.headers['retry-after']);
      assert.ok(wait >= 1 && wait <= 60);
      const v2 = await api.app.inject({ url: '/v2/summary', headers: { 'x-auth-token': 'alpha' } });
      assert.equal(v2.statusCode, 429, 'all parts of the API count together');
      for (let round = 0; round < 5; round++)
        assert.equal((await api.app.inject('/healthcheck')).statusCode, 200);
    } finally {
      await api.close();
    }
  });
});

describe('an address with too many refused tokens', () => {
  it('is told by every part of the API when to come back', async () => {
    const seen: string[] = [];
    const api = await openOwn({
      change: { api: { trusted_proxies: ['loopback'] } },
      authenticator: {
        authenticate: async ({ clientAddress }) => {
          seen.push(clientAddress);
          throw new TooManyRequests('More than 3 tokens from this address were refused in a minute.', 41.2);
        },
      },
    });
    try {
      const headers = { 'x-auth-token': 'x', 'x-forwarded-for': '192.0.2.7', accept: 'application/json' };
      for (const url of ['/v1/info/config', '/v2/summary', '/ratecat/v1/prices', '/nothing']) {
        const answer = await api.app.inject({ url, headers });
        assert.deepEqual([answer.statusCode, answer.headers['retry-after']], [429, '42'], url);
        assert.match(
          answer.body,
          /More than 3 tokens from this address were refused in a minute\. Wait 42 s\./,
        );
      }
      assert.deepEqual(new Set(seen), new Set(['192.0.2.7']), 'as a trusted proxy tells');
    } finally {
      await api.close();
    }
  });
});

const SAMPLES: Readonly<Record<string, string>> = {
  begin: '2026-01-05',
  end: '2026-01-06',
  scope: 'alpha',
  metric: 'instance',
  filter: 'flavor=big',
  group_by: 'scope,flavor,time-d',
  offset: '0',
  limit: '5',
  condition: 'active',
  source: 'default',
};
const HOSTILE = [
  '',
  '0',
  '-1',
  '1e400',
  'NaN',
  '%',
  '\u0000',
  '\ud800',
  "' OR 1=1 --",
  '9999-12-31',
  '0001-01-01',
  'beta',
  '9'.repeat(300),
];

/** `GET /ratecat/v1/scopes` of every route below `/ratecat/v1`, as the router prints them. */
function registered(tree: string): readonly string[] {
  return [...tree.matchAll(/(ratecat\/v1\/\S+) \(([A-Z, ]+)\)/g)]
    .flatMap(([, path, methods]) => methods!.split(', ').map((method) => `${method} /${path}`))
    .sort();
}
