import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { mayAccess, pathFits, readValidation } from '../../../core/api/auth/keystone-token.js';
import { HOSTILE_TEXTS } from '../../../core/testkit/hostile-texts.js';
import { sampleSeed } from '../../../core/testkit/samples.js';

const user = { id: 'u', name: 'n', domain: { id: 'd', name: 'D' } };
const expires_at = '2026-01-01T01:00:00.000000Z';
const read = (token: object) => readValidation(JSON.stringify({ token: { user, expires_at, ...token } }));

describe('an answer of Keystone about a token', () => {
  test('of a project becomes an identity', () => {
    const project = { id: 'p', name: 'P', domain: { id: 'pd', name: 'PD' } };
    const token = read({
      project,
      roles: [
        { id: '1', name: 'Reader' },
        { id: '2', name: 'member' },
      ],
    });
    assert.deepEqual(token, {
      identity: {
        userId: 'u',
        userDomainId: 'd',
        projectId: 'p',
        projectName: 'P',
        projectDomainId: 'pd',
        domainId: undefined,
        systemScope: undefined,
        roles: ['Reader', 'member'],
        isAdminProject: true,
        isAnonymous: false,
      },
      expiresAt: Date.UTC(2026, 0, 1, 1),
      accessRules: undefined,
      services: new Set(),
    });
  });

  test('of a domain, of the system and without scope has no project', () => {
    assert.equal(read({ domain: { id: 'x', name: 'X' } })?.identity.domainId, 'x');
    assert.equal(read({ system: { all: true } })?.identity.systemScope, 'all');
    assert.equal(read({ system: {} })?.identity.systemScope, undefined);
    assert.deepEqual(read({})?.identity.roles, []);
    assert.equal(read({ is_admin_project: false })?.identity.isAdminProject, false);
  });

  test('that has not its form is none', () => {
    for (const body of [
      '',
      'null',
      '[]',
      '{}',
      '{"token":null}',
      '{"token":{}}',
      '<html>',
      '{"token":{"user":{}}}',
    ])
      assert.equal(readValidation(body), undefined, body);
    assert.equal(read({ expires_at: 'soon' }), undefined);
    assert.equal(read({ expires_at: null }), undefined);
    assert.equal(read({ user: { id: '' } }), undefined);
    assert.equal(read({ user: { id: 7 } }), undefined);
    assert.equal(read({ roles: 'admin' }), undefined);
    assert.equal(read({ project: { id: ['p'] } }), undefined);
    assert.equal(read({ application_credential: { access_rules: [{ service: 'rating' }] } }), undefined);
  });
});

describe('access rules of an application credential', () => {
  const rule = { id: 'r', service: 'rating', method: 'GET', path: '/v1/report/**' };
  const catalog = [
    { type: 'identity', endpoints: [] },
    { type: 'rating', endpoints: [] },
  ];
  const restricted = read({ catalog, application_credential: { id: 'c', access_rules: [rule] } })!;
  const request = { service: 'rating', method: 'GET', path: '/v1/report/summary', isForwarded: false };

  test('let pass what one of them describes, and nothing else', () => {
    assert.equal(mayAccess(restricted, request), true);
    assert.equal(mayAccess(restricted, { ...request, method: 'POST' }), false);
    assert.equal(mayAccess(restricted, { ...request, path: '/v1/rating/modules' }), false);
    assert.equal(mayAccess(restricted, { ...request, service: 'identity' }), false);
  });

  test('let a request of a service pass that comes on behalf of the user', () => {
    assert.equal(mayAccess(restricted, { ...request, method: 'PUT', isForwarded: true }), true);
  });

  test('let nothing pass when the service is not in the catalog, or when there are none', () => {
    assert.equal(mayAccess({ ...restricted, services: new Set() }, request), false);
    assert.equal(mayAccess({ ...restricted, services: new Set() }, { ...request, isForwarded: true }), false);
    assert.equal(mayAccess({ ...restricted, accessRules: [] }, request), false);
  });

  test('do not matter to a token without any', () => {
    for (const application_credential of [null, undefined, {}, { id: 'c' }, { access_rules: null }])
      assert.equal(mayAccess(read({ application_credential })!, { ...request, method: 'DELETE' }), true);
  });
});

describe('the path pattern', () => {
  const table: readonly (readonly [string, readonly string[], readonly string[]])[] = [
    ['/v1/report', ['/v1/report'], ['/v1/report/', '/v1/repor', '/v1/reportx', '/V1/report', '']],
    ['/v1/*', ['/v1/a', '/v1/a.b'], ['/v1/', '/v1/a/b', '/v1', '/v2/a']],
    ['/v1/*/b', ['/v1/a/b'], ['/v1//b', '/v1/a/c/b', '/v1/b']],
    ['/v1/{id}/b', ['/v1/a/b'], ['/v1//b', '/v1/a/c/b']],
    ['/v1/a*b', ['/v1/axb', '/v1/abab'], ['/v1/ab', '/v1/a/b']],
    ['/v1/**', ['/v1/', '/v1/a', '/v1/a/b/c'], ['/v1', '/v2/']],
    ['**', ['', '/', '/a/b'], []],
    ['/**/x', ['//x', '/a/x', '/a/b/x'], ['/x', '/a/xy']],
    ['/v1.0/a+b', ['/v1.0/a+b'], ['/v1x0/a+b', '/v1.0/aab']],
    ['/(a|b)', ['/(a|b)'], ['/a', '/b']],
    ['', [''], ['/', 'a']],
  ];
  for (const [pattern, fitting, others] of table) {
    test(`${JSON.stringify(pattern)} fits what it says`, () => {
      for (const path of fitting) assert.equal(pathFits(path, pattern), true, path);
      for (const path of others) assert.equal(pathFits(path, pattern), false, path);
    });
  }

  test('agrees with a plain reading as a regular expression', () => {
    const seed = sampleSeed();
    const piece = fc.constantFrom('/', 'a', 'b', '*', '**', '{x}');
    const property = fc.property(
      fc.array(piece),
      fc.string({ unit: fc.constantFrom('/', 'a', 'b') }),
      (pieces, path) => {
        const pattern = pieces.join('');
        const source = pattern.replace(/\{[^}]*\}|\*\*|\*/g, (part) => (part === '**' ? '.*' : '[^/]+'));
        assert.equal(
          pathFits(path, pattern),
          new RegExp(`^${source}$`, 's').test(path),
          `${pattern} ${path} ${seed}`,
        );
      },
    );
    fc.assert(property, { seed, numRuns: 3000 });
  });

  test('of somebody hostile costs little', () => {
    const began = performance.now();
    assert.equal(pathFits(`${'a'.repeat(4095)}b`, `${'**a'.repeat(170)}c`), false);
    assert.equal(pathFits('/'.repeat(4096), '*{x}'.repeat(120)), false);
    for (const text of HOSTILE_TEXTS) assert.equal(typeof pathFits(text, text), 'boolean');
    assert.equal(pathFits('a'.repeat(5000), '**'), false);
    assert.ok(performance.now() - began < 2000);
  });
});
