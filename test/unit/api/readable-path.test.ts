import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { readablePath } from '../../../core/api/readable-path.js';
import { sampleSeed } from '../../../core/testkit/samples.js';
import { openApiServer } from '../../support/api-server.js';

describe('a path that cannot be decoded', () => {
  it('has percent signs and U+FFFD in place of what encodes nothing', () => {
    const cases = [
      ['/v1/%zz', '/v1/%25zz'],
      ['/v1/%', '/v1/%25'],
      ['/v1/a%2', '/v1/a%252'],
      ['/v1/%%41', '/v1/%25%41'],
      ['/v2/%ff', '/v2/%EF%BF%BD'],
      ['/v2/%C3%A9/%e9?x=%zz', '/v2/%C3%A9/%EF%BF%BD?x=%zz'],
    ];
    for (const [url, readable] of cases) assert.equal(readablePath(url!), readable);
  });

  it('can be decoded afterwards, and others stay as they are', () => {
    const seed = sampleSeed();
    const parts = fc.constantFrom('/', 'a', '%', '%2', '%41', '%2F', '%c3%a9', '%ff', '%ed%a0%80', 'zz', '?');
    fc.assert(
      fc.property(fc.array(parts), (texts) => {
        const url = `/${texts.join('')}`;
        const [before, query] = url.split(/\?(.*)/s);
        const [after, left] = readablePath(url).split(/\?(.*)/s);
        assert.equal(left, query);
        decodeURIComponent(after!);
        if (isDecodable(before!)) assert.equal(after, before);
      }),
      { seed },
    );
  });

  it('is answered by the part of the API that it leads to, behind the check of the token', async () => {
    const api = await openApiServer({ tokens: { admin: { projectId: 'p', roles: ['admin'] } } });
    try {
      const get = async (url: string, token = 'admin') => {
        const headers = { 'x-auth-token': token, accept: 'application/json' };
        const { statusCode, headers: sent, body } = await api.app.inject({ url, headers });
        assert.match(String(sent['x-openstack-request-id']), /^req-/, url);
        return { status: statusCode, type: sent['content-type'], body };
      };
      for (const bad of ['%zz', '%', '%ff', 'a%2']) {
        assert.deepEqual(await get(`/v1/${bad}`), await get('/v1/nothing'));
        assert.deepEqual(await get(`/v2/${bad}`), await get('/v2/nothing'));
        assert.deepEqual(await get(`/${bad}`), await get('/nothing'));
        const own = await get(`/ratecat/v1/${bad}`);
        assert.deepEqual(
          [own.status, JSON.parse(own.body).error.code],
          [404, 'RATECAT_REQUEST_UNKNOWN_PATH'],
        );
        for (const area of ['/v1', '/v2', '/ratecat/v1'])
          assert.equal((await get(`${area}/${bad}`, 'wrong')).status, 401);
      }
      const module = await get('/v2/rating/modules/%zz');
      assert.deepEqual([module.status, JSON.parse(module.body).message], [404, "Module '%zz' not found"]);
      assert.equal((await api.app.inject('/healthcheck/%zz')).statusCode, 200);
    } finally {
      await api.close();
    }
  });
});

function isDecodable(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}
