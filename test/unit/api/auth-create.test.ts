import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type AuthConfig, createAuth } from '../../../core/api/auth/create-auth.js';
import { ANONYMOUS } from '../../../core/api/auth/identity.js';
import { KeystoneAuthenticator } from '../../../core/api/auth/keystone-authenticator.js';
import { NoauthAuthenticator } from '../../../core/api/auth/noauth-authenticator.js';
import type { ApiConfig } from '../../../core/config/config.js';
import { httpFactory } from '../../../core/loading/http-client.js';
import { RecordingLogger, VirtualClock } from '../../../core/testkit/fakes.js';

const parts = { http: httpFactory, clock: new VirtualClock(), logger: new RecordingLogger() };
const config: AuthConfig = {
  auth: 'noauth',
  policyFile: undefined,
  policyFolders: [],
  keystone: undefined,
  refusedRateLimitPerMinute: 0,
};
const never = new AbortController().signal;

describe('without authentication', () => {
  const { authenticator, policy } = createAuth(config, parts);
  const who = (headers: Record<string, string>) =>
    authenticator.authenticate(
      { headers, method: 'GET', path: '/v1/info/config', clientAddress: '192.0.2.9' },
      never,
    );

  test('everybody is an admin and every check passes', async () => {
    const identity = await who({});
    assert.deepEqual(identity, { ...ANONYMOUS, isAdmin: true, isAnonymous: false });
    assert.equal(policy.allows('rating:update_module', identity), true);
    assert.equal(policy.allows('no:such', ANONYMOUS, { project_id: null }), true);
  });

  test('the headers say who it is', async () => {
    const identity = await who({
      'x-project-id': ' p1 ',
      'x-user-id': 'u1',
      'x-roles': 'a, b,,c',
      'x-auth-token': 'x',
    });
    assert.deepEqual([identity.projectId, identity.userId, identity.roles], ['p1', 'u1', ['a', 'b', 'c']]);
    assert.equal(identity.isAdmin, true);
    assert.equal((await who({ 'x-project-id': '' })).projectId, undefined);
  });
});

describe('the configured authentication', () => {
  const keystone = {
    session: {
      auth_url: 'http://127.0.0.1:9/v3',
      username: 'u',
      password: 'p',
      timeout: 1,
      max_response_mib: 1,
    },
    wwwAuthenticateUri: 'http://127.0.0.1:9/v3',
  } as unknown as NonNullable<ApiConfig['keystone']>;

  test('is Keystone with the rules of the policy, talking to nobody yet', async () => {
    const { authenticator, policy } = createAuth({ ...config, auth: 'keystone', keystone }, parts);
    assert.ok(authenticator instanceof KeystoneAuthenticator);
    assert.ok(createAuth(config, parts).authenticator instanceof NoauthAuthenticator);
    assert.equal(policy.allows('info:get_config', { ...ANONYMOUS, isAnonymous: false }), true);
    assert.equal(policy.allows('rating:get_module', { ...ANONYMOUS, isAnonymous: false }), false);
    await authenticator.stop?.();
  });

  test('refuses a missing policy file and a missing section', () => {
    const asked = { ...config, auth: 'keystone' as const, keystone, policyFile: '/nonexistent/policy.yaml' };
    assert.throws(() => createAuth(asked, parts), /policy.yaml:1:1: .*does not exist/);
    assert.throws(() => createAuth({ ...config, auth: 'keystone' }, parts), /api.keystone/);
  });
});
