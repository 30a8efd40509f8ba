import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { member, request } from '../../support/api.js';
import { HASHMAP, type OpenedV1, openV1 } from './v1-support.js';

const NOT_ALLOWED = '{"code": 405, "title": "Method Not Allowed", "description": ""}';
const NOT_FOUND = '{"code": 404, "title": "Not Found", "description": ""}';

describe('addresses of /v1', () => {
  let api: OpenedV1;
  before(async () => {
    api = await openV1();
  });
  after(() => api.close());

  it('answers 405 with an empty Allow where no method takes the address', async () => {
    const addresses = [
      ['GET', '/v1'],
      ['GET', '/v1/'],
      ['GET', '/v1/nothing'],
      ['GET', '/v1/info'],
      ['GET', '/v1/info/foo'],
      ['GET', '/v1/rating'],
      ['GET', '/v1/billing'],
      ['GET', '/v1/rating/quote'],
      ['POST', '/v1/rating/modules'],
      ['DELETE', '/v1/rating/modules/hashmap'],
      ['POST', '/v1/rating/reload_modules'],
      ['GET', '/v1/rating/module_config'],
      ['GET', '/v1/rating/module_config/nope'],
      ['GET', '/v1/rating/module_config/nope/deeper'],
      ['GET', HASHMAP],
      ['GET', `${HASHMAP}/nope`],
      ['PUT', `${HASHMAP}/services/x`],
      ['GET', '/v1/storage'],
      ['GET', '/v1/storage/dataframes/x'],
      ['GET', '/v1/report'],
      ['GET', '/v1//info/config'],
      ['PATCH', '/v1/rating/modules/hashmap'],
      ['POST', '/v1/collector'],
    ] as const;
    for (const [method, path] of addresses) {
      const answer = await api.call(method, path);
      assert.deepEqual(
        [answer.status, answer.headers.allow, answer.text],
        [405, '', NOT_ALLOWED],
        `${method} ${path}`,
      );
    }
  });

  it('answers 404 for segments behind an id', async () => {
    for (const path of [
      '/v1/info/metrics/instance/x',
      '/v1/rating/modules/hashmap/x',
      '/v1/collector/mappings/cpu/x/y',
      `${HASHMAP}/mappings/a/b/c`,
      `${HASHMAP}/services/x/nope`,
      '/v1/rating/module_config/noop/deeper',
    ]) {
      const answer = await api.call('GET', path);
      assert.deepEqual([answer.status, answer.text], [404, NOT_FOUND], path);
      assert.equal(answer.headers.allow, undefined);
    }
  });

  it('gives bodies outside the methods the form that Accept asks for', async () => {
    const forms = [
      ['text/html', /^text\/html/, /^<html>/],
      ['*/*', /^text\/html/, /^<html>/],
      ['text/plain', /^text\/plain/, /^405 Method Not Allowed/],
      ['application/json', /^application\/json$/, /^\{"code": 405/],
    ] as const;
    for (const [accept, type, body] of forms) {
      const answer = await api.call('GET', '/v1/nothing', { headers: { accept } });
      assert.match(answer.headers['content-type']!, type);
      assert.match(answer.text, body);
    }
  });

  it('takes any number of slashes at the end', async () => {
    for (const path of ['/v1/info/metrics', '/v1/rating/modules/hashmap', `${HASHMAP}/services`]) {
      const [plain, slash, many] = await Promise.all(
        ['', '/', '////'].map((end) => api.call('GET', path + end)),
      );
      assert.equal(plain!.status, 200);
      assert.equal(slash!.text, plain!.text);
      assert.equal(many!.text, plain!.text);
    }
  });

  it('serves everything below /v1/rating under /v1/billing, too', async () => {
    for (const path of ['modules', 'modules/noop', 'module_config/hashmap/types']) {
      const [rating, billing] = await Promise.all(
        ['rating', 'billing'].map((name) => api.call('GET', `/v1/${name}/${path}`)),
      );
      assert.equal(billing!.status, 200);
      assert.equal(billing!.text, rating!.text);
    }
    const created = await api.call('POST', '/v1/billing/module_config/hashmap/services', {
      body: { name: 'by-alias' },
    });
    assert.match(
      created.headers.Location!,
      /^http:\/\/127\.0\.0\.1:8889\/v1\/billing\/module_config\/hashmap\/services\//,
    );
  });

  it('refuses HEAD as the reference does, and lets the server answer OPTIONS', async () => {
    for (const method of ['HEAD', 'OPTIONS'])
      for (const path of ['/v1/rating/modules', '/v1/info/config', `${HASHMAP}/services`])
        assert.equal((await api.call(method, path)).status, 405, `${method} ${path}`);
  });

  it('answers 406 to callers that take no JSON, before looking at arguments', async () => {
    const refused = [
      'text/html',
      'application/xml',
      'text/xml',
      'image/png, text/*;q=0.5',
      'application/json;q=0',
    ];
    for (const accept of refused)
      for (const path of ['/v1/info/config?x=1', `${HASHMAP}/types?x=1`, '/v1/rating/module_config/noop'])
        assert.equal((await api.call('GET', path, { headers: { accept } })).status, 406, `${accept} ${path}`);
    for (const accept of ['*/*', 'application/*', 'text/html, */*;q=0.1', 'application/json', 'nonsense'])
      assert.equal((await api.call('GET', '/v1/info/config', { headers: { accept } })).status, 200, accept);
  });

  it('says the pattern of the address for metrics, whatever callers send', async () => {
    const routes = await Promise.all(
      [
        '/v1/info/metrics/a',
        '/v1/info/metrics/b',
        '/v1/x',
        '/v1/y',
        `${HASHMAP}/groups/1`,
        `${HASHMAP}/groups/2`,
      ].map(async (path) => (await api.v1.handle(request('GET', path))).route),
    );
    assert.deepEqual(
      [...new Set(routes)],
      ['/v1/info/metrics/:metric_name', '/v1/(unmatched)', `${HASHMAP}/groups/:group_id`],
    );
  });

  it('takes a path that is no UTF-8 as a bad request', async () => {
    for (const path of ['/v1/%', '/v1/info/metrics/%ff', `${HASHMAP}/services/%E0%A4`])
      assert.equal((await api.call('GET', path)).status, 400, path);
    assert.equal((await api.call('GET', '/v1/info/metrics/%C3%A9%2Fx')).json.faultstring, 'é/x');
  });

  it('checks arguments first, then the policy, then whether the thing exists', async () => {
    const identity = member('demo');
    const status = async (path: string, method = 'GET') =>
      (await api.call(method, path, { identity })).status;
    assert.equal(await status('/v1/collector/mappings?nope=1'), 400);
    assert.equal(await status('/v1/collector/mappings/absent'), 403);
    assert.equal((await api.call('GET', '/v1/collector/mappings/absent')).status, 404);
    assert.equal(await status('/v1/report/total?begin=nope&tenant_id=other'), 400);
    assert.equal(await status('/v1/report/total?tenant_id=other'), 403);
  });
});
