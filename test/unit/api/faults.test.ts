import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { methodNotAllowed, pageNotFound, plainFault, preferredType } from '../../../core/api/faults.js';
import { versionDocument } from '../../../core/api/versions.js';
import { HOSTILE_TEXTS } from '../../../core/testkit/hostile-texts.js';
import { request } from '../../support/api.js';

const POLICY = "Policy doesn't allow rating:module_config to be performed.";

describe('a fault outside of every method', () => {
  test('is a page for browsers and for clients that take anything, as the reference writes it', () => {
    const { status, headers, body } = plainFault(403, POLICY, '*/*');
    assert.equal(status, 403);
    assert.deepEqual(headers, { 'content-type': 'text/html; charset=UTF-8' });
    assert.equal(
      body,
      '<html>\n <head>\n  <title>403 Forbidden</title>\n </head>\n <body>\n  <h1>403 Forbidden</h1>\n  Access was denied to this resource.<br /><br />\nPolicy doesn&#x27;t allow rating:module_config to be performed.\n\n\n </body>\n</html>',
    );
    assert.equal(
      plainFault(405, '', 'text/html', 'DELETE').body,
      '<html>\n <head>\n  <title>405 Method Not Allowed</title>\n </head>\n <body>\n  <h1>405 Method Not Allowed</h1>\n  The method DELETE is not allowed for this resource. <br /><br />\n\n </body>\n</html>',
    );
  });

  test('is JSON when that is asked for and a page is not', () => {
    const { headers, body } = plainFault(405, '', 'application/json');
    assert.deepEqual(headers, { 'content-type': 'application/json' });
    assert.equal(body, '{"code": 405, "title": "Method Not Allowed", "description": ""}');
    assert.equal(
      plainFault(403, POLICY, 'application/json;q=0.9,*/*;q=0.1').body,
      `{"code": 403, "title": "Forbidden", "description": "${POLICY}"}`,
    );
  });

  test('is plain text otherwise', () => {
    const { headers, body } = plainFault(403, POLICY, undefined);
    assert.deepEqual(headers, { 'content-type': 'text/plain; charset=UTF-8' });
    assert.equal(body, `403 Forbidden\n\nAccess was denied to this resource.\n\n ${POLICY}  `);
    assert.equal(
      plainFault(405, '', 'text/plain').body,
      '405 Method Not Allowed\n\nThe method GET is not allowed for this resource. \n\n ',
    );
    assert.equal(
      plainFault(503, 'The Keystone service is temporarily unavailable.', 'application/xml').body,
      '503 Service Unavailable\n\nThe server is currently unavailable. Please try again at a later time.\n\n The Keystone service is temporarily unavailable.  ',
    );
  });

  test('has words for every status and shows nothing unescaped', () => {
    for (const status of [400, 403, 404, 405, 406, 408, 413, 414, 415, 418, 429, 431, 500, 503, 504])
      for (const accept of [undefined, 'text/html', 'application/json'])
        for (const text of HOSTILE_TEXTS) {
          const fault = plainFault(status, text, accept, text);
          assert.equal(fault.status, status);
          const body = fault.body as string;
          if (accept === 'application/json') assert.equal(JSON.parse(body).description, text);
          if (accept === 'text/html')
            assert.doesNotMatch(body, /<(?!\/?(html|head|title|body|h1|br \/)\b|br \/>)/);
        }
  });
});

describe('Accept', () => {
  const offers = ['text/html', 'application/json'];
  const table: readonly (readonly [string | undefined, string | undefined])[] = [
    [undefined, undefined],
    ['text/html', 'text/html'],
    ['TEXT/HTML', 'text/html'],
    ['application/json', 'application/json'],
    ['*/*', 'text/html'],
    ['text/*', 'text/html'],
    ['application/*', 'application/json'],
    ['application/json, text/html', 'text/html'],
    ['text/html;q=0.5, application/json', 'application/json'],
    ['application/json;q=0.9,*/*;q=0.1', 'application/json'],
    ['application/json;q=0', undefined],
    ['*/*, text/html;q=0', 'application/json'],
    ['text/plain', undefined],
    ['application/xml', undefined],
    ['text/html;level=1', undefined],
    ['text/html; q=0.3 , application/json ; q=0.2', 'text/html'],
    [',, application/json ,', 'application/json'],
    ['', undefined],
    ['garbage', 'text/html'],
    ['a/b;q=x', 'text/html'],
    ['application/json;q=2', 'text/html'],
    ['text/html/x', 'text/html'],
    ['*/*;q=0', undefined],
  ];
  for (const [accept, expected] of table) {
    test(`${JSON.stringify(accept)} asks for ${expected}`, () => {
      assert.equal(preferredType(accept, offers), expected);
    });
  }

  test('of any length is read quickly', () => {
    const began = performance.now();
    for (const part of ['a/b,', 'a/b;q=0.1,', '*/*;', ';', ' ', 'text/html;a="b";', '"', 'a/b;a="'])
      preferredType(part.repeat(20_000), offers);
    assert.ok(performance.now() - began < 3000);
  });
});

describe("Flask's part of the reference", () => {
  test('answers a wrong method and an unknown address', () => {
    const { status, headers, body } = methodNotAllowed(['GET', 'HEAD']);
    assert.deepEqual([status, headers?.allow], [405, 'GET, HEAD']);
    assert.equal(body, '{"message": "The method is not allowed for the requested URL."}\n');
    assert.equal(pageNotFound().headers?.['content-type'], 'text/html; charset=utf-8');
  });

  test('lists the versions at the root, byte for byte', () => {
    const origin = 'https://rating.example:8889';
    assert.deepEqual(versionDocument(request('GET', '/', { origin })), {
      status: 200,
      headers: { 'content-type': 'application/json' },
      body: `{"versions": [{"id": "v1", "links": [{"href": "${origin}/v1", "rel": "self"}], "status": "CURRENT"}, {"id": "v2", "links": [{"href": "${origin}/v2", "rel": "self"}], "status": "EXPERIMENTAL"}]}\n`,
      route: '/',
    });
    assert.equal(versionDocument(request('DELETE', '/')).status, 405);
    assert.equal(versionDocument(request('OPTIONS', '/')).headers?.allow, 'GET, HEAD, OPTIONS');
  });
});
