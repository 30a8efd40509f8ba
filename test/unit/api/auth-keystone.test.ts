import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { AuthenticationRefused, type Credentials } from '../../../core/api/auth/authenticator.js';
import type { Identity, UnjudgedIdentity } from '../../../core/api/auth/identity.js';
import { KeystoneAuthenticator } from '../../../core/api/auth/keystone-authenticator.js';
import { RefusalLimit } from '../../../core/api/auth/refusal-limit.js';
import { TooManyRequests } from '../../../core/api/too-many-requests.js';
import type { KeystoneAuthConfig } from '../../../core/config/config.js';
import { httpFactory } from '../../../core/loading/http-client.js';
import { describeError, type RatecatError } from '../../../core/plugin-api/index.js';
import { RecordingLogger, VirtualClock } from '../../../core/testkit/fakes.js';
import { HOSTILE_TEXTS } from '../../../core/testkit/hostile-texts.js';
import { FakeOpenStack } from '../../support/fake-openstack.js';
import {
  type Behaviour,
  close,
  hang,
  json,
  type ReceivedRequest,
  raw,
  reply,
  reset,
  shortBody,
} from '../../support/http-double.js';

const START = Date.UTC(2026, 0, 1);
const HOUR_MS = 3_600_000;
const SECRET = 'gAAAAsecret-token-of-the-caller';
const never = new AbortController().signal;
const notFound = json(
  { error: { code: 404, message: `Could not find token: ${SECRET}`, title: 'Not Found' } },
  404,
);

function tokenBody(changes: object = {}) {
  return {
    token: {
      methods: ['password'],
      user: { id: 'alice', name: 'Alice', domain: { id: 'default', name: 'Default' } },
      project: { id: 'p1', name: 'one', domain: { id: 'default', name: 'Default' } },
      roles: [
        { id: 'r1', name: 'member' },
        { id: 'r2', name: 'reader' },
      ],
      expires_at: new Date(START + HOUR_MS).toISOString(),
      issued_at: new Date(START).toISOString(),
      catalog: [{ type: 'rating', endpoints: [] }],
      ...changes,
    },
  };
}

describe('the authenticator for Keystone', () => {
  let openstack: FakeOpenStack;
  let clock: VirtualClock;
  let logger: RecordingLogger;
  let authenticator: KeystoneAuthenticator;
  /** What Keystone says about a token. */
  let validate: (request: ReceivedRequest) => Behaviour | Promise<Behaviour>;
  let isAdmin: (identity: UnjudgedIdentity) => boolean;

  beforeEach(async () => {
    openstack = await FakeOpenStack.start();
    const { double } = openstack;
    double.handler = (request) => {
      if (request.method !== 'GET' || request.path !== '/v3/auth/tokens') return openstack.answer(request);
      // Refuses a service token that is not accepted any more, as for every other path.
      const refused = openstack.answer({ ...request, path: '/v3/projects' });
      return isRefusal(refused) ? refused : validate(request);
    };
    validate = () => json(tokenBody());
    isAdmin = ({ roles }) => roles.includes('admin');
    clock = new VirtualClock(START);
    logger = new RecordingLogger();
    authenticator = create();
  });
  afterEach(async () => {
    await authenticator.stop();
    await openstack.stop();
    const said = JSON.stringify(logger.lines);
    assert.ok(!said.includes(SECRET), 'a token is in the log');
  });

  /** The fake's answer to a token that it does not know is a 401. */
  function isRefusal(behaviour: Behaviour): boolean {
    let status = 0;
    const response = { writeHead: (code: number) => (status = code), end: () => undefined };
    behaviour.act(response as never, undefined as never);
    return status === 401;
  }

  function create(changes: Partial<KeystoneAuthConfig> = {}, refusedPerMinute = 0): KeystoneAuthenticator {
    const config: KeystoneAuthConfig = {
      session: {
        ...openstack.credentials,
        auth_type: 'password',
        insecure: false,
        timeout: 5,
        max_response_mib: 1,
      } as KeystoneAuthConfig['session'],
      wwwAuthenticateUri: 'http://keystone.example:5000/v3',
      interface: 'internal',
      region: undefined,
      tokenCacheSeconds: 300,
      serviceTokenRoles: ['service'],
      serviceTokenRolesRequired: true,
      serviceType: 'rating',
      ...changes,
    };
    return new KeystoneAuthenticator(config, {
      http: httpFactory,
      clock,
      logger,
      isAdmin: (identity) => isAdmin(identity),
      refusals: new RefusalLimit(refusedPerMinute, { clock, logger }),
    });
  }

  const who = (headers: Credentials['headers'], request: Partial<Credentials> = {}, signal = never) =>
    authenticator.authenticate(
      { headers, method: 'GET', path: '/v1/report/summary', clientAddress: '192.0.2.9', ...request },
      signal,
    );
  const withToken = (token: string = SECRET) => who({ 'x-auth-token': token });
  const questions = () => openstack.asked(/^\/v3\/auth\/tokens$/).filter(({ method }) => method === 'GET');
  const later = (milliseconds: number) => void clock.wakeNext(clock.monotonic() + milliseconds);

  async function refused(answer: Promise<Identity>): Promise<void> {
    await assert.rejects(answer, (error) => {
      assert.ok(error instanceof AuthenticationRefused, describeError(error));
      assert.equal(error.challenge, 'Keystone uri="http://keystone.example:5000/v3"');
      assert.equal(error.message, 'The request you have made requires authentication.');
      return true;
    });
  }

  async function unavailable(answer: Promise<Identity>): Promise<string> {
    let reason = '';
    await assert.rejects(answer, (error: RatecatError) => {
      reason = describeError(error);
      assert.equal(error.code, 'RATECAT_IDENTITY_UNAVAILABLE', reason);
      assert.equal(error.kind, 'unavailable');
      assert.equal(error.message, 'The Keystone service is temporarily unavailable.');
      assert.ok(!`${reason} ${error.stack} ${JSON.stringify(error.details)}`.includes(SECRET), reason);
      return true;
    });
    return reason;
  }

  test('asks Keystone with its own token and announces that it knows access rules', async () => {
    const identity = await withToken();
    assert.deepEqual(identity, {
      userId: 'alice',
      userDomainId: 'default',
      projectId: 'p1',
      projectName: 'one',
      projectDomainId: 'default',
      domainId: undefined,
      systemScope: undefined,
      roles: ['member', 'reader'],
      isAdminProject: true,
      isAdmin: false,
      isAnonymous: false,
    });
    const [question] = questions();
    assert.equal(question!.target, '/v3/auth/tokens');
    assert.equal(question!.headers['x-subject-token'], SECRET);
    assert.equal(question!.headers['x-auth-token'], 'token-1');
    assert.equal(question!.headers['openstack-identity-access-rules'], '1.0');
  });

  test('takes X-Auth-Token, else X-Storage-Token, without the blanks around them', async () => {
    await who({ 'x-auth-token': ' first ', 'x-storage-token': 'second' });
    await who({ 'x-auth-token': '  ', 'x-storage-token': '\tsecond' });
    assert.deepEqual(
      questions().map(({ headers }) => headers['x-subject-token']),
      ['first', 'second'],
    );
  });

  test('believes no identity header of a caller', async () => {
    const forged = {
      'x-identity-status': 'Confirmed',
      'x-user-id': 'root',
      'x-project-id': 'p9',
      'x-roles': 'admin',
      'x-is-admin-project': 'True',
      'openstack-system-scope': 'all',
      'x-domain-id': 'd9',
    };
    await refused(who(forged));
    const identity = await who({ ...forged, 'x-auth-token': SECRET });
    assert.deepEqual(
      [identity.userId, identity.projectId, identity.systemScope, identity.domainId, identity.isAdmin],
      ['alice', 'p1', undefined, undefined, false],
    );
  });

  test('refuses a request without a token, and text that can be none, without asking anybody', async () => {
    await refused(who({}));
    await refused(who({ 'x-auth-token': '' }));
    await refused(who({ 'x-auth-token': ['a', 'b'] as never }));
    await refused(withToken('x'.repeat(4097)));
    for (const text of HOSTILE_TEXTS.filter((text) => !/^[\x21-\x7e]*$/.test(text.trim())))
      await refused(withToken(text));
    assert.equal(openstack.double.requests.length, 0);
  });

  test('refuses a token that Keystone does not know, and asks again the next time', async () => {
    validate = () => notFound;
    await refused(withToken());
    await refused(withToken());
    assert.equal(questions().length, 2);
    validate = () => json(tokenBody());
    assert.equal((await withToken()).userId, 'alice');
  });

  test('refuses an expired token, also one that it remembers', async () => {
    await withToken();
    clock.jumpWallClock(HOUR_MS - 1);
    await withToken();
    clock.jumpWallClock(1);
    await refused(withToken());
    assert.equal(questions().length, 1);
    await refused(withToken('another'));
  });

  test('remembers a valid token for the cache time and no longer', async () => {
    await withToken();
    validate = () => notFound;
    later(299_999);
    await withToken();
    assert.equal(questions().length, 1);
    later(1);
    await refused(withToken());
    assert.equal(questions().length, 2);
  });

  test('remembers nothing with a cache time of 0', async () => {
    await authenticator.stop();
    authenticator = create({ tokenCacheSeconds: 0 });
    await withToken();
    await withToken();
    assert.equal(questions().length, 2);
  });

  test('asks once for many requests with one token at the same time, and for each token by itself', async () => {
    const identities = await Promise.all(Array.from({ length: 50 }, () => withToken()));
    assert.equal(questions().length, 1);
    assert.ok(identities.every(({ userId }) => userId === 'alice'));
    validate = () => notFound;
    await Promise.all(Array.from({ length: 50 }, () => refused(withToken('bad'))));
    assert.equal(questions().length, 2);
    await Promise.all(['a', 'b', 'c'].map((token) => refused(withToken(token))));
    assert.equal(questions().length, 5);
    assert.equal(openstack.logins, 1);
  });

  test('asks no more for an address with too many refused tokens, but lets in who was valid before', async () => {
    await authenticator.stop();
    authenticator = create({}, 3);
    const limited = (answer: Promise<Identity>) => assert.rejects(answer, TooManyRequests);
    await withToken();
    validate = ({ headers }) => (headers['x-subject-token'] === SECRET ? json(tokenBody()) : notFound);
    for (const token of ['a', 'b', 'c']) await refused(withToken(token));
    const asked = questions().length;
    for (let round = 0; round < 20; round++) await limited(withToken(`made-up-${round}`));
    assert.equal(questions().length, asked);
    assert.equal((await withToken()).userId, 'alice', 'what is remembered is let in');
    later(300_000);
    for (const token of ['d', 'e', 'f']) await refused(withToken(token));
    assert.equal((await withToken()).userId, 'alice', 'Keystone is asked again for who was valid');
    const elsewhere = { clientAddress: '192.0.2.10' };
    await refused(who({ 'x-auth-token': 'g' }, elsewhere));
    await limited(who({ 'x-auth-token': 'g' }));
    await limited(who({ 'x-auth-token': SECRET, 'x-service-token': 'made-up' }));
    later(60_000);
    await refused(withToken('h'));
  });

  test('takes a token that was revoked or has expired for an unknown one', async () => {
    await authenticator.stop();
    authenticator = create({}, 1);
    await withToken();
    validate = () => notFound;
    later(300_000);
    await refused(withToken());
    await refused(withToken());
    await assert.rejects(withToken(), TooManyRequests);
  });

  test('counts neither requests without a token nor what cannot be one', async () => {
    await authenticator.stop();
    authenticator = create({}, 1);
    for (let round = 0; round < 3; round++) {
      await refused(who({}));
      await refused(withToken('x'.repeat(4097)));
    }
    assert.equal((await withToken()).userId, 'alice');
  });

  test('lets one caller leave without disturbing others with the same token', async () => {
    let release = () => {};
    const held = new Promise<void>((resolve) => (release = resolve));
    validate = async () => {
      await held;
      return json(tokenBody());
    };
    const controller = new AbortController();
    const leaving = unavailable(who({ 'x-auth-token': SECRET }, {}, controller.signal));
    const staying = withToken();
    await openstack.double.arrived(2);
    controller.abort(new Error('gone'));
    await leaving;
    release();
    assert.equal((await staying).userId, 'alice');
    assert.equal(questions().length, 1);
  });

  test('judges the admin anew for each request, so that changed rules count for tokens it remembers', async () => {
    const first = await withToken();
    assert.equal(await withToken(), first);
    isAdmin = () => true;
    assert.equal((await withToken()).isAdmin, true);
    isAdmin = () => false;
    assert.equal((await withToken()).isAdmin, false);
  });

  test('renews its own token once when Keystone does not accept it any more', async () => {
    await withToken();
    openstack.revokeTokens();
    assert.equal((await withToken('another')).userId, 'alice');
    assert.equal(openstack.logins, 2);
    assert.deepEqual(
      questions().map(({ headers }) => headers['x-auth-token']),
      ['token-1', 'token-1', 'token-2'],
    );
  });

  test('says that Keystone is unavailable for every answer that says nothing about the token', async () => {
    const answers: readonly (readonly [Behaviour, RegExp])[] = [
      [json({ error: { message: SECRET } }, 500), /answered with 500/],
      [reply(503, SECRET), /answered with 503/],
      [json({ error: {} }, 429), /answered with 429/],
      [json({ error: { message: SECRET } }, 400), /refused with 400/],
      [json({ error: { message: SECRET } }, 403), /may not validate tokens/],
      [json({ error: {} }, 401), /refused with a fresh token/],
      [reply(404, '<html>no such page</html>', { 'content-type': 'text/html' }), /refused with 404/],
      [reply(302, '', { location: `http://elsewhere/?t=${SECRET}` }), /redirected/],
      [reply(200, SECRET), /does not describe a token/],
      [json({ token: {} }), /does not describe a token/],
      [json({ token: { ...tokenBody().token, expires_at: SECRET } }), /does not describe a token/],
      [json(tokenBody({ user: null })), /does not describe a token/],
      [reply(200, 'x'.repeat(2 * 1024 * 1024)), /./],
      [reset(), /./],
      [close(), /./],
      [raw('nonsense\r\n\r\n'), /./],
      [shortBody(JSON.stringify(tokenBody()), 10), /./],
    ];
    for (const [answer, reason] of answers) {
      validate = () => answer;
      assert.match(await unavailable(withToken()), reason);
    }
    validate = () => json(tokenBody());
    assert.equal((await withToken()).userId, 'alice');
  });

  test('says that Keystone is unavailable when it is silent or gone', async () => {
    await authenticator.stop();
    authenticator = create({
      session: {
        ...openstack.credentials,
        auth_type: 'password',
        insecure: false,
        timeout: 0.2,
        max_response_mib: 1,
      },
    });
    validate = () => hang();
    await unavailable(withToken());
    await openstack.double.stop();
    await unavailable(withToken());
  });

  test('says that Keystone is unavailable, and nothing about the caller, when its own password is wrong', async () => {
    openstack.password = 'changed';
    assert.match(await unavailable(withToken()), /Keystone refused the credentials for 'ratecat'/);
  });

  test('says that Keystone is unavailable when the catalog has no such endpoint', async () => {
    await authenticator.stop();
    authenticator = create({ region: 'Elsewhere' });
    assert.match(await unavailable(withToken()), /no endpoint of type 'identity'/);
  });

  test('keeps no quotation or line break in the challenge', async () => {
    await authenticator.stop();
    authenticator = create({ wwwAuthenticateUri: 'http://k/"x\r\nSet-Cookie: a\\é' });
    await assert.rejects(who({}), (error: AuthenticationRefused) => {
      assert.equal(error.challenge, 'Keystone uri="http://k/xSet-Cookie:a"');
      return true;
    });
  });

  describe('with the token of a service', () => {
    const SERVICE = 'service-token';
    const both = { 'x-auth-token': SECRET, 'x-service-token': SERVICE };
    let serviceRoles: string[];
    let userExpiresAt: number;
    beforeEach(() => {
      serviceRoles = ['service'];
      userExpiresAt = START - 1000;
      validate = (request) => {
        const roles = serviceRoles.map((name) => ({ id: name, name }));
        if (request.headers['x-subject-token'] === SERVICE) return json(tokenBody({ roles }));
        const isExpired = userExpiresAt <= START;
        if (isExpired && request.query.get('allow_expired') !== '1') return notFound;
        return json(tokenBody({ expires_at: new Date(userExpiresAt).toISOString() }));
      };
    });

    test('accepts an expired token of the user, for this request and not without the service', async () => {
      assert.equal((await who(both)).userId, 'alice');
      assert.deepEqual(
        questions().map(({ target }) => target),
        ['/v3/auth/tokens', '/v3/auth/tokens?allow_expired=1'],
      );
      await refused(withToken());
      assert.equal((await who(both)).userId, 'alice');
    });

    test('does not share its answer with requests that come without it at the same time', async () => {
      await who({ 'x-auth-token': 'other', 'x-service-token': SERVICE });
      const [alone, forwarded] = [refused(withToken()), who(both)];
      await alone;
      assert.equal((await forwarded).userId, 'alice');
    });

    test('refuses the whole request when it is not valid', async () => {
      userExpiresAt = START + HOUR_MS;
      validate = (request) => (request.headers['x-subject-token'] === SERVICE ? notFound : json(tokenBody()));
      await refused(who(both));
      await refused(who({ 'x-auth-token': SECRET, 'x-service-token': 'not a token' }));
      assert.equal((await withToken()).userId, 'alice');
    });

    test('refuses the whole request when it lacks the role, unless that is not required', async () => {
      userExpiresAt = START + HOUR_MS;
      serviceRoles = ['admin'];
      await refused(who(both));
      await authenticator.stop();
      authenticator = create({ serviceTokenRolesRequired: false });
      assert.equal((await who(both)).userId, 'alice');
      userExpiresAt = START - 1000;
      await refused(who({ ...both, 'x-auth-token': 'expired' }));
    });

    test('refuses it without a token of the user', async () => {
      await refused(who({ 'x-service-token': SERVICE }));
    });
  });

  describe('with an application credential', () => {
    const access_rules = [{ id: 'x', service: 'rating', method: 'GET', path: '/v1/report/**' }];
    beforeEach(() => {
      validate = () => json(tokenBody({ application_credential: { id: 'c', access_rules } }));
    });

    test('lets pass what its access rules name, request by request', async () => {
      const as = (request: Partial<Credentials>) => who({ 'x-auth-token': SECRET }, request);
      assert.equal((await as({})).userId, 'alice');
      await refused(as({ method: 'POST' }));
      await refused(as({ path: '/v1/rating/modules' }));
      assert.equal((await as({ path: '/v1/report/total' })).userId, 'alice');
      assert.equal(questions().length, 1);
    });

    test('refuses everything when the service has no entry in the catalog', async () => {
      await authenticator.stop();
      authenticator = create({ serviceType: 'billing' });
      await refused(withToken());
    });
  });
});
