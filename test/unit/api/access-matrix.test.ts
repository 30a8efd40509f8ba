import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type OpenedServer, openApiServer, type TokenHolder } from '../../support/api-server.js';

/** Who may call: everybody, anybody with a valid token, readers of a project, administrators. */
type Audience = 'everybody' | 'authenticated' | 'readers' | 'administrators';

const TOKENS: Readonly<Record<string, TokenHolder>> = {
  admin: { projectId: 'p-admin', roles: ['admin'] },
  member: { projectId: 'p-demo', roles: ['member', 'reader'] },
  reader: { projectId: 'p-demo', roles: ['reader'] },
  rating: { projectId: 'p-demo', roles: ['rating'] },
  unscoped: { roles: [] },
};
const STRANGERS = ['none', 'garbage'];
const WELCOME: Readonly<Record<Audience, readonly string[]>> = {
  everybody: [...STRANGERS, ...Object.keys(TOKENS)],
  authenticated: Object.keys(TOKENS),
  readers: ['admin', 'member', 'reader'],
  administrators: ['admin'],
};

const HASHMAP = '/v1/rating/module_config/hashmap';
const SCRIPTS = '/v1/rating/module_config/pyscripts/scripts';
const NAMED = ['services', 'fields', 'groups', 'mappings', 'thresholds'];

/** Bodies and ids are such that a caller who may call is told something else than 401 or 403. */
const ROUTES: readonly (readonly [method: string, path: string, audience: Audience, body?: object])[] = [
  ['GET', '/', 'everybody'],
  ['GET', '/healthcheck', 'everybody'],
  ['GET', '/v1', 'everybody'],
  ['GET', '/v2', 'everybody'],
  ['GET', '/v1/info/config', 'authenticated'],
  ['GET', '/v1/info/metrics', 'authenticated'],
  ['GET', '/v1/info/metrics/instance', 'authenticated'],
  ['GET', '/v1/info/services', 'authenticated'],
  ['GET', '/v1/info/services/instance', 'authenticated'],
  ['GET', '/v1/collector', 'authenticated'],
  ['GET', '/v1/collector/mappings', 'administrators'],
  ['GET', '/v1/collector/mappings/x', 'administrators'],
  ['POST', '/v1/collector/mappings', 'administrators', { collector: 'a', service: 'b' }],
  ['DELETE', '/v1/collector/mappings/x', 'administrators'],
  ['GET', '/v1/collector/states/x', 'administrators'],
  ['PUT', '/v1/collector/states/x', 'administrators', { enabled: true }],
  ['GET', '/v1/rating/modules', 'administrators'],
  ['GET', '/v1/rating/modules/hashmap', 'administrators'],
  ['PUT', '/v1/rating/modules/hashmap', 'administrators', { module_id: 'hashmap' }],
  ['GET', '/v1/rating/reload_modules', 'administrators'],
  ['POST', '/v1/rating/quote', 'authenticated', { resources: [] }],
  ['GET', '/v1/billing/modules', 'administrators'],
  ['GET', '/v1/rating/module_config/noop', 'authenticated'],
  ['GET', `${HASHMAP}/types`, 'administrators'],
  ...NAMED.flatMap((kind) => [
    ['GET', `${HASHMAP}/${kind}`, 'administrators'] as const,
    ['POST', `${HASHMAP}/${kind}`, 'administrators', {}] as const,
    ['GET', `${HASHMAP}/${kind}/x`, 'administrators'] as const,
    ['DELETE', `${HASHMAP}/${kind}/x`, 'administrators'] as const,
  ]),
  ['PUT', `${HASHMAP}/mappings/x`, 'administrators', { cost: '1' }],
  ['PUT', `${HASHMAP}/thresholds/x`, 'administrators', { level: '1', cost: '1' }],
  ['GET', SCRIPTS, 'administrators'],
  ['POST', SCRIPTS, 'administrators', {}],
  ['GET', `${SCRIPTS}/x`, 'administrators'],
  ['PUT', `${SCRIPTS}/x`, 'administrators', { name: 'x' }],
  ['DELETE', `${SCRIPTS}/x`, 'administrators'],
  ['GET', '/v1/report/tenants', 'administrators'],
  ['GET', '/v1/report/summary', 'readers'],
  ['GET', '/v1/report/total', 'readers'],
  ['GET', '/v1/report/summary?all_tenants=true', 'administrators'],
  ['GET', '/v1/report/summary?tenant_id=p-other', 'administrators'],
  ['GET', '/v1/storage/dataframes', 'readers'],
  ['GET', '/v1/storage/dataframes?tenant_id=p-other', 'administrators'],
  ['GET', '/v2/dataframes', 'readers'],
  [
    'POST',
    '/v2/dataframes',
    'administrators',
    { dataframes: [{ period: { begin: '2026-01-01', end: '2026-01-02' }, usage: {} }] },
  ],
  ['GET', '/v2/summary', 'readers'],
  ['GET', '/v2/scope', 'administrators'],
  ['PUT', '/v2/scope', 'administrators', { scope_id: 'x', last_processed_timestamp: '2026-01-01' }],
  ['PATCH', '/v2/scope', 'administrators', { scope_id: 'x' }],
  ['POST', '/v2/scope', 'administrators', { scope_id: 'y', last_processed_timestamp: '2026-01-01' }],
  ['GET', '/v2/rating/modules', 'authenticated'],
  ['GET', '/v2/rating/modules/hashmap', 'administrators'],
  ['PUT', '/v2/rating/modules/hashmap', 'administrators', {}],
  ['GET', '/v2/task/reprocesses', 'administrators'],
  ['GET', '/v2/task/reprocesses/x', 'administrators'],
  [
    'POST',
    '/v2/task/reprocesses',
    'administrators',
    { scope_ids: 'x', start_reprocess_time: '2026-01-01', end_reprocess_time: '2026-01-02', reason: 'r' },
  ],
  ['GET', '/nothing', 'authenticated'],
  ['GET', '/v2/nothing', 'authenticated'],
  ['GET', '/ratecat/v1/scopes', 'readers'],
  ['GET', '/ratecat/v1/summary', 'readers'],
  ['GET', '/ratecat/v1/dataframes', 'readers'],
  ['GET', '/ratecat/v1/explain', 'readers'],
  ['GET', '/ratecat/v1/prices', 'authenticated'],
  ['POST', '/ratecat/v1/quote', 'authenticated', { resources: [] }],
];
/** Streams without an end, tested elsewhere; and the document itself. */
const ELSEWHERE = ['/ratecat/v1/progress', '/ratecat/v1/openapi.json'];

describe('who may call what', () => {
  let server: OpenedServer;
  before(async () => {
    server = await openApiServer({ tokens: TOKENS });
  });
  after(() => server.close());

  for (const [method, url, audience, body] of ROUTES) {
    it(`${method} ${url} is for ${audience}`, async () => {
      for (const caller of WELCOME.everybody) {
        const response = await server.app.inject({
          method: method as 'GET',
          url,
          headers: {
            accept: 'application/json',
            ...(caller === 'none' ? {} : { 'x-auth-token': caller }),
            ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          },
          ...(body === undefined ? {} : { payload: JSON.stringify(body) }),
        });
        const { statusCode } = response;
        const told = `${caller}: ${statusCode} ${response.body.slice(0, 200)}`;
        if (WELCOME[audience].includes(caller)) assert.ok(statusCode !== 401 && statusCode !== 403, told);
        else assert.equal(statusCode, STRANGERS.includes(caller) ? 401 : 403, told);
        assert.ok(statusCode < 500, told);
      }
    });
  }

  it('has a row for every call of our own API', async () => {
    const { body } = await server.app.inject({
      url: '/ratecat/v1/openapi.json',
      headers: { 'x-auth-token': 'admin' },
    });
    const paths = Object.keys((JSON.parse(body) as { paths: object }).paths);
    assert.ok(paths.length > 5);
    const listed = ROUTES.map(([, url]) => url.replace(/\?.*$/, ''));
    assert.deepEqual(
      paths.filter((path) => !listed.includes(path) && !ELSEWHERE.includes(path)),
      [],
    );
  });
});
