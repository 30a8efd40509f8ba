import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { OsloCors } from '../../../core/api/cors.js';

const settings = {
  allowedOrigins: ['http://a.test', 'http://b.test'],
  allowCredentials: true,
  maxAgeSeconds: 3600,
};
const cors = new OsloCors(settings);
const from = (origin: string, more: Record<string, string> = {}) => ({ origin, ...more });
const preflight = (method: string, headers?: string) =>
  cors.headers(
    'OPTIONS',
    from('http://a.test', {
      'access-control-request-method': method,
      ...(headers === undefined ? {} : { 'access-control-request-headers': headers }),
    }),
  );

describe('CORS', () => {
  test('tells the page of an allowed origin that it may read the answer', () => {
    assert.deepEqual(cors.headers('GET', from('http://a.test')), {
      vary: 'Origin',
      'access-control-allow-origin': 'http://a.test',
      'access-control-allow-credentials': 'true',
      'access-control-expose-headers': 'X-Auth-Token,X-Subject-Token,X-Service-Token,X-OpenStack-Request-ID',
    });
    assert.equal(
      cors.headers('DELETE', from('http://b.test'))['access-control-allow-origin'],
      'http://b.test',
    );
  });

  test('says nothing to other origins, to requests without one, and when none is allowed', () => {
    for (const origin of [
      'http://evil',
      'HTTP://a.test',
      'http://a.test.evil',
      'http://a.test/',
      'null',
      '*',
      '',
    ])
      assert.deepEqual(cors.headers('GET', from(origin)), {}, origin);
    assert.deepEqual(cors.headers('GET', {}), {});
    const off = new OsloCors({ ...settings, allowedOrigins: [] });
    assert.deepEqual(off.headers('GET', from('http://a.test')), {});
  });

  test('permits an announced request with a method and headers of the lists', () => {
    assert.deepEqual(preflight('PUT', 'x-auth-token, Content-Type,ACCEPT'), {
      vary: 'Origin',
      'access-control-allow-origin': 'http://a.test',
      'access-control-allow-credentials': 'true',
      'access-control-max-age': '3600',
      'access-control-allow-methods': 'PUT',
      'access-control-allow-headers': 'x-auth-token,Content-Type,ACCEPT',
    });
    for (const headers of [undefined, '', ' , '])
      assert.equal('access-control-allow-headers' in preflight('GET', headers), false);
  });

  test('permits nothing else', () => {
    for (const method of ['get', 'OPTIONS', 'TRACE', '', 'GET,PUT']) assert.deepEqual(preflight(method), {});
    for (const headers of ['x-evil', 'x-auth-token, x-evil', 'x-auth-token\r\nx: y', 'origin'])
      assert.deepEqual(preflight('GET', headers), {}, headers);
    assert.deepEqual(cors.headers('OPTIONS', from('http://a.test')), {});
    assert.deepEqual(
      cors.headers('OPTIONS', from('http://evil', { 'access-control-request-method': 'GET' })),
      {},
    );
  });

  test('names the star, never the origin, when every origin is allowed', () => {
    const open = new OsloCors({
      allowedOrigins: ['*', 'http://a.test'],
      allowCredentials: false,
      maxAgeSeconds: 1,
    });
    assert.equal(open.headers('GET', from('http://evil'))['access-control-allow-origin'], '*');
    assert.equal(open.headers('GET', from('http://a.test'))['access-control-allow-origin'], 'http://a.test');
    assert.equal('access-control-allow-credentials' in open.headers('GET', from('http://evil')), false);
  });
});
