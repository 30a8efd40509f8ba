import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { sampleSeed } from '../../core/testkit/samples.js';
import { type OpenedServer, openApiServer, type TokenHolder } from '../support/api-server.js';

const REQUESTS = 20_000;
const SEED = sampleSeed();
/** Stands in everything that project `other` owns, and in nothing else. */
const MARKER = 'secret-of-other';

const TOKENS: Readonly<Record<string, TokenHolder>> = {
  admin: { projectId: 'project-admin', roles: ['admin', 'member', 'reader'] },
  member: { projectId: 'project-demo', roles: ['member', 'reader'] },
  reader: { projectId: 'project-demo', roles: ['reader'] },
  rating: { projectId: 'project-demo', roles: ['rating'] },
  unscoped: { roles: [] },
};

const HASHMAP = '/v1/rating/module_config/hashmap';
const SCRIPTS = '/v1/rating/module_config/pyscripts/scripts';
const PATHS = [
  '/',
  '/healthcheck',
  '/v1',
  '/v1/info/config',
  '/v1/info/metrics',
  '/v1/info/metrics/{}',
  '/v1/info/services/{}',
  '/v1/collector',
  '/v1/collector/mappings',
  '/v1/collector/mappings/{}',
  '/v1/collector/mappings/{}/{}',
  '/v1/collector/states/{}',
  '/v1/rating/modules',
  '/v1/rating/modules/{}',
  '/v1/rating/quote',
  '/v1/rating/reload_modules',
  '/v1/rating/module_config/{}',
  '/v1/report/summary',
  '/v1/report/total',
  '/v1/report/tenants',
  '/v1/storage/dataframes',
  '/v1/billing/modules',
  ...['types', 'services', 'fields', 'groups', 'mappings', 'thresholds'].flatMap((kind) => [
    `${HASHMAP}/${kind}`,
    `${HASHMAP}/${kind}/`,
    `${HASHMAP}/${kind}/{}`,
    `${HASHMAP}/${kind}/{}/group`,
    `${HASHMAP}/${kind}/{}/mappings`,
  ]),
  SCRIPTS,
  `${SCRIPTS}/{}`,
  '/v2',
  '/v2/dataframes',
  '/v2/scope',
  '/v2/summary',
  '/v2/rating/modules',
  '/v2/rating/modules/{}',
  '/v2/task/reprocesses',
  '/v2/task/reprocesses/{}',
  '/ratecat/v1/scopes',
  '/ratecat/v1/summary',
  '/ratecat/v1/dataframes',
  '/ratecat/v1/explain',
  '/ratecat/v1/prices',
  '/ratecat/v1/quote',
  '/ratecat/v1/openapi.json',
  '/ratecat/v1/{}',
  '/{}',
];
const NAMES = [
  'begin',
  'end',
  'tenant_id',
  'groupby',
  'filters',
  'limit',
  'offset',
  'service_id',
  'field_id',
  'group_id',
  'mapping_id',
  'threshold_id',
  'script_id',
  'name',
  'value',
  'cost',
  'level',
  'type',
  'start',
  'data',
  'force',
  'scope_id',
  'scope_ids',
  'all_scopes',
  'active',
  'enabled',
  'priority',
  'module_id',
  'resources',
  'dataframes',
  'reason',
  'start_reprocess_time',
  'end_reprocess_time',
  'last_processed_timestamp',
  'response_format',
  'custom_fields',
  'collector',
  'service',
  'no_group',
  'metric',
  'quantity',
  '__proto__',
  'constructor',
];
const HOSTILE = [
  '',
  '0',
  '-1',
  '1e400',
  'NaN',
  'Infinity',
  'null',
  'true',
  '[]',
  '{}',
  '../../etc/passwd',
  '%00',
  '\u0000',
  "'; DROP TABLE x;--",
  '" OR 1=1',
  '\r\nSet-Cookie: x=1',
  '<script>',
  '{{7*7}}',
  '$' + '{jndi:ldap://x}',
  'a'.repeat(300),
  '99999999999999999999',
  '2026-01-01T00:00:00',
  '2026-01-32',
  '0000-00-00',
  '9999-12-31T23:59:59.999999+14:00',
  'project_id:project-other',
  'project_id',
  'type',
  'time',
  'time-d',
  'time-x',
  'id,project_id,type',
  'project-other',
  'project-demo',
  '__UNDEF__',
  'compute',
  'hashmap',
  'noop',
  'pyscripts',
  'flat',
  'rate',
  '0.1',
  '1e-30',
  '\ud800',
  'ü✓',
];

const word = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...HOSTILE) },
  { weight: 2, arbitrary: fc.string({ unit: 'binary', maxLength: 30 }) },
);
const json: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', maxDepth: 4 },
    word,
    fc.double(),
    fc.boolean(),
    fc.constant(null),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(fc.oneof(fc.constantFrom(...NAMES), word), tie('value'), { maxKeys: 5 }),
  ),
})).value;
const request = fc.record({
  method: fc.constantFrom('GET', 'GET', 'GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS'),
  path: fc.constantFrom(...PATHS),
  words: fc.array(word, { minLength: 2, maxLength: 2 }),
  query: fc.array(fc.tuple(fc.oneof(fc.constantFrom(...NAMES), word), word), { maxLength: 4 }),
  body: fc.option(
    fc.oneof(
      json.map((value) => JSON.stringify(value)),
      word,
      fc.constantFrom(
        '{',
        '[[[[',
        '{"a":1,"a":2}',
        `${'['.repeat(2000)}`,
        '{"__proto__": {"x": 1}}',
        '1e999999',
      ),
    ),
  ),
  type: fc.constantFrom(
    'application/json',
    'application/json',
    'application/json; charset=utf-16',
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data',
    '',
  ),
  accept: fc.constantFrom('application/json', '*/*', 'text/html', 'application/xml', ''),
  token: fc.constantFrom(...Object.keys(TOKENS), 'garbage', ''),
});
type Walked = typeof request extends fc.Arbitrary<infer T> ? T : never;

describe('a random walk over the API', () => {
  let server: OpenedServer;
  before(async () => {
    server = await openApiServer({ tokens: TOKENS });
    const frame = (project: string, id: string) => ({
      period: { begin: '2026-01-05T00:00:00Z', end: '2026-01-05T01:00:00Z' },
      usage: {
        compute: [
          {
            vol: { unit: id, qty: 1 },
            rating: { price: 2 },
            groupby: { project_id: project, id },
            metadata: { flavor: id },
          },
        ],
      },
    });
    const response = await server.app.inject({
      method: 'POST',
      url: '/v2/dataframes',
      headers: { 'x-auth-token': 'admin', 'content-type': 'application/json' },
      payload: { dataframes: [frame('project-demo', 'vm-1'), frame('project-other', MARKER)] },
    });
    assert.equal(response.statusCode, 204, response.body);
  });
  after(() => server?.close());

  it(`answers ${REQUESTS} requests without an error of its own, another project's data, or growing`, async (context) => {
    context.diagnostic(`seed ${SEED}; again with RATECAT_SEED=${SEED}`);
    const statuses = new Map<number, number>();
    let heapAtStart = 0;
    let done = 0;
    await fc.assert(
      fc.asyncProperty(request, async (walked) => {
        const response = await server.app.inject(toInject(walked));
        statuses.set(response.statusCode, (statuses.get(response.statusCode) ?? 0) + 1);
        assert.ok(response.statusCode < 500, `${response.statusCode} ${response.body}\n${asCurl(walked)}`);
        if (walked.token !== 'admin')
          assert.ok(!response.body.includes(MARKER), `another project's data\n${asCurl(walked)}`);
        if (++done === REQUESTS / 4) heapAtStart = heapUsed();
      }),
      {
        numRuns: REQUESTS,
        seed: SEED,
        endOnFailure: true,
        interruptAfterTimeLimit: 240_000,
        markInterruptAsFailure: true,
      },
    );
    const grown = (heapUsed() - heapAtStart) / 1024 / 1024;
    context.diagnostic(
      `heap grew by ${grown.toFixed(1)} MiB; ${JSON.stringify(Object.fromEntries(statuses))}`,
    );
    assert.ok(grown < 40, `the heap grew by ${grown.toFixed(1)} MiB`);
    for (const status of [200, 400, 401, 403, 404, 405])
      assert.ok(statuses.has(status), `some answers are ${status}`);
    const alive = await server.app.inject({
      url: '/v1/rating/modules',
      headers: { 'x-auth-token': 'admin' },
    });
    assert.equal(alive.statusCode, 200);
  });
});

function toInject({ method, path, words, query, body, type, accept, token }: Walked) {
  const [first, second] = words.map((one) => escaped(one));
  const search = query.map(([name, value]) => `${escaped(name)}=${escaped(value)}`).join('&');
  return {
    method: method as 'GET',
    url: `${path.replace('{}', first!).replace('{}', second!)}${search === '' ? '' : `?${search}`}`,
    headers: {
      ...(accept === '' ? {} : { accept }),
      ...(token === '' ? {} : { 'x-auth-token': token }),
      ...(body === null || type === '' ? {} : { 'content-type': type }),
    },
    ...(body === null ? {} : { payload: body }),
  };
}

function escaped(text: string): string {
  // A lone surrogate cannot be sent: it becomes the replacement character.
  return encodeURIComponent(Buffer.from(text).toString());
}

function asCurl(walked: Walked): string {
  const { method, url, headers, payload } = toInject(walked) as ReturnType<typeof toInject> & {
    payload?: string;
  };
  const words = Object.entries(headers).map(([name, value]) => `-H '${name}: ${value}'`);
  const data = payload === undefined ? '' : ` --data-binary ${JSON.stringify(payload)}`;
  return `curl -X ${method} ${words.join(' ')}${data} 'http://127.0.0.1:8889${url}'`;
}

function heapUsed(): number {
  setFlagsFromString('--expose-gc');
  runInNewContext('gc')();
  return process.memoryUsage().heapUsed;
}
