import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { AuthenticationRefused } from '../../core/api/auth/authenticator.js';
import { type Auth, type AuthConfig, createAuth } from '../../core/api/auth/create-auth.js';
import type { Identity } from '../../core/api/auth/identity.js';
import { DEFAULT_RULES } from '../../core/api/auth/policy-defaults.js';
import { httpFactory } from '../../core/loading/http-client.js';
import { type Clock, describeError, type RatecatError } from '../../core/plugin-api/index.js';
import { RecordingLogger } from '../../core/testkit/fakes.js';
import { serviceInstalled } from '../support/require-service.js';
import { requestJson } from '../support/services/json-request.js';
import { type Keystone, type Named, startKeystone, type User } from '../support/services/keystone.js';
import { type Mariadb, startMariadb } from '../support/services/mariadb.js';
import { poll } from '../support/services/poll.js';

const never = new AbortController().signal;
const PASSWORD = 'p@ss "word"';
/** Short, so that the test sees a token expire; every test gets tokens of its own. */
const TOKEN_LIFE_SECONDS = 30;
const CACHE_SECONDS = 300;

if (serviceInstalled('mariadb', 'keystone')) {
  describe('authentication and policy with a real Keystone', () => {
    let mariadb: Mariadb;
    let keystone: Keystone;
    let project: Named;
    let auth: Auth;
    let expiring: string;
    const users: Record<string, User> = {};
    const logger = new RecordingLogger();
    let skippedMs = 0;
    const clock: Clock = {
      now: Date.now,
      monotonic: () => performance.now() + skippedMs,
      sleep: () => Promise.resolve(),
    };

    before(async () => {
      mariadb = await startMariadb();
      keystone = await startKeystone({ mariadb, tokenLifetimeSeconds: TOKEN_LIFE_SECONDS });
      const service = await keystone.ensureProject('service');
      project = await keystone.createProject('customer');
      const ratecat = await keystone.createUser('ratecat', PASSWORD);
      users.ratecat = ratecat;
      await keystone.grantRole({ user: ratecat, role: 'service', project: service });
      for (const role of ['admin', 'rating', 'member', 'reader']) {
        const user = await keystone.createUser(`user-${role}`, PASSWORD);
        users[role] = user;
        await keystone.grantRole({ user, role, project });
      }
      users.none = await keystone.createUser('user-none', PASSWORD);
      await keystone.grantRole({
        user: users.admin!,
        role: 'admin',
        domain: { id: 'default', name: 'Default' },
      });
      await grantSystemAdmin(users.admin!);
      await keystone.createService('ratecat', 'rating', 'http://127.0.0.1:8889');
      auth = createAuth(config(), { http: httpFactory, clock, logger });
      expiring = await projectToken('member');
    });
    after(async () => {
      await auth?.authenticator.stop?.();
      await keystone?.stop();
      await mariadb?.stop();
    });

    const config = (): AuthConfig => ({
      refusedRateLimitPerMinute: 0,
      auth: 'keystone',
      policyFile: undefined,
      policyFolders: [],
      keystone: {
        session: {
          auth_type: 'password',
          auth_url: keystone.url,
          username: 'ratecat',
          password: PASSWORD,
          user_domain_name: 'Default',
          project_name: 'service',
          project_domain_name: 'Default',
          insecure: false,
          timeout: 30,
          max_response_mib: 8,
        },
        wwwAuthenticateUri: keystone.url,
        interface: 'internal',
        region: keystone.region,
        tokenCacheSeconds: CACHE_SECONDS,
        serviceTokenRoles: ['service'],
        serviceTokenRolesRequired: true,
        serviceType: 'rating',
      },
    });

    async function grantSystemAdmin(user: Named): Promise<void> {
      const role = await keystone.ensureRole('admin');
      await keystone.request('PUT', `/system/users/${user.id}/roles/${role.id}`);
    }

    async function logIn(identity: object, scope?: object | string): Promise<string> {
      const { headers } = await requestJson<unknown>({
        method: 'POST',
        url: `${keystone.url}/auth/tokens`,
        body: { auth: { identity, ...(scope === undefined ? {} : { scope }) } },
      });
      return headers.get('x-subject-token')!;
    }

    const scopedToken = (name: string, scope?: object | string) =>
      logIn(
        { methods: ['password'], password: { user: { id: users[name]!.id, password: PASSWORD } } },
        scope,
      );
    const projectToken = (name: string) => scopedToken(name, { project: { id: project.id } });
    const who = (headers: Record<string, string>, method = 'GET', path = '/v1/report/summary') =>
      auth.authenticator.authenticate({ headers, method, path, clientAddress: '192.0.2.9' }, never);
    const withToken = (token: string) => who({ 'x-auth-token': token });

    async function refused(answer: Promise<Identity>): Promise<void> {
      await assert.rejects(answer, (error) => {
        assert.ok(error instanceof AuthenticationRefused, describeError(error));
        assert.equal(error.challenge, `Keystone uri="${keystone.url}"`);
        return true;
      });
    }

    async function unavailable(answer: Promise<Identity>, token: string): Promise<void> {
      await assert.rejects(answer, (error: RatecatError) => {
        assert.equal(error.code, 'RATECAT_IDENTITY_UNAVAILABLE', describeError(error));
        assert.ok(!describeError(error).includes(token));
        return true;
      });
    }

    /** Names of the rules that pass for targets of the caller's own project, of another one, and of all. */
    function passing(identity: Identity): Record<'own' | 'foreign' | 'all', readonly string[]> {
      const names = Object.keys(DEFAULT_RULES).filter((name) => name.includes(':'));
      const pass = (project_id: string | null) =>
        names.filter((name) => auth.policy.allows(name, identity, { project_id }));
      return { own: pass(project.id), foreign: pass('another'), all: pass(null) };
    }

    const everything = Object.keys(DEFAULT_RULES).filter((name) => name.includes(':'));
    const open = [
      ...['info:get_config', 'info:list_metrics_info', 'info:get_metric_info'],
      ...['info:list_services_info', 'info:get_service_info', 'rating:quote'],
    ];
    const readers = [
      ...['report:get_summary', 'report:get_total', 'storage:list_data_frames'],
      ...['dataframes:get', 'summary:get_summary'],
    ];
    const inOrder = (names: readonly string[]) => everything.filter((name) => names.includes(name));

    test('an admin of the project may do everything', async () => {
      const identity = await withToken(await projectToken('admin'));
      assert.deepEqual(
        [identity.userId, identity.projectId, identity.projectName],
        [users.admin!.id, project.id, 'customer'],
      );
      assert.equal(identity.isAdmin, true);
      assert.ok(identity.roles.includes('admin'));
      assert.deepEqual(passing(identity), { own: everything, foreign: everything, all: everything });
    });

    for (const role of ['member', 'reader']) {
      test(`a ${role} may read what is of the own project, and what is open`, async () => {
        const identity = await withToken(await projectToken(role));
        assert.deepEqual([identity.isAdmin, identity.projectId], [false, project.id]);
        assert.deepEqual(passing(identity), {
          own: inOrder([...open, ...readers]),
          foreign: open,
          all: open,
        });
      });
    }

    test('a role that the rules do not know gives what is open, also in the own project', async () => {
      const identity = await withToken(await projectToken('rating'));
      assert.deepEqual(identity.roles, ['rating']);
      assert.deepEqual(passing(identity), { own: open, foreign: open, all: open });
    });

    test('a token without scope gives what is open', async () => {
      for (const name of ['none', 'admin']) {
        const identity = await withToken(await scopedToken(name, 'unscoped'));
        assert.deepEqual([identity.projectId, identity.roles, identity.isAdmin], [undefined, [], false]);
        assert.deepEqual(passing(identity), { own: open, foreign: open, all: open });
      }
    });

    test('tokens of a domain and of the system give nothing, even to admins', async () => {
      const ofDomain = await withToken(await scopedToken('admin', { domain: { id: 'default' } }));
      assert.deepEqual([ofDomain.domainId, ofDomain.projectId], ['default', undefined]);
      const ofSystem = await withToken(await scopedToken('admin', { system: { all: true } }));
      assert.deepEqual([ofSystem.systemScope, ofSystem.projectId], ['all', undefined]);
      for (const identity of [ofDomain, ofSystem]) {
        assert.ok(identity.roles.includes('admin'));
        assert.deepEqual(passing(identity), { own: [], foreign: [], all: [] });
      }
    });

    test('no token, and text that is none, are refused', async () => {
      await refused(who({}));
      await refused(who({ 'x-user-id': users.admin!.id, 'x-project-id': project.id, 'x-roles': 'admin' }));
      const token = await projectToken('member');
      for (const garbage of [
        'x',
        'gAAAAA',
        token.slice(0, -1),
        `${token}A`,
        'a'.repeat(255),
        '../../users',
        '%00',
        '{}',
      ])
        await refused(withToken(garbage));
    });

    test('a revoked token is refused once the cache time is over', async () => {
      const token = await projectToken('reader');
      await withToken(token);
      const response = await fetch(`${keystone.url}/auth/tokens`, {
        method: 'DELETE',
        headers: { 'x-auth-token': await keystone.adminToken(), 'x-subject-token': token },
      });
      assert.equal(response.status, 204);
      assert.equal((await withToken(token)).userId, users.reader!.id);
      skippedMs += CACHE_SECONDS * 1000;
      await refused(withToken(token));
    });

    test('a role that is taken away counts for tokens that are made afterwards', async () => {
      const user = await keystone.createUser('user-leaving', PASSWORD);
      users.leaving = user;
      for (const role of ['reader', 'rating']) await keystone.grantRole({ user, role, project });
      assert.deepEqual([...(await withToken(await projectToken('leaving'))).roles].sort(), [
        'rating',
        'reader',
      ]);
      await keystone.revokeRole({ user, role: 'reader', project });
      assert.deepEqual((await withToken(await projectToken('leaving'))).roles, ['rating']);
    });

    test('an application credential may do what its access rules say', async () => {
      const made = await requestJson<{ application_credential: { id: string; secret: string } }>({
        method: 'POST',
        url: `${keystone.url}/users/${users.member!.id}/application_credentials`,
        token: await projectToken('member'),
        body: {
          application_credential: {
            name: 'restricted',
            access_rules: [{ service: 'rating', method: 'GET', path: '/v1/report/*' }],
          },
        },
      });
      const { id, secret } = made.body.application_credential;
      const application_credential = { id, secret };
      const token = await logIn({ methods: ['application_credential'], application_credential });
      const headers = { 'x-auth-token': token };
      assert.equal((await who(headers)).userId, users.member!.id);
      await refused(who(headers, 'POST'));
      await refused(who(headers, 'GET', '/v1/rating/modules'));
      await refused(who(headers, 'GET', '/v1/report/summary/more'));
    });

    test('Keystone stopped means unavailable, and started again it is asked again', async () => {
      const [known, fresh] = [await projectToken('member'), await projectToken('reader')];
      await withToken(known);
      await keystone.kill();
      assert.equal((await withToken(known)).userId, users.member!.id);
      await unavailable(withToken(fresh), fresh);
      await unavailable(withToken('garbage'), 'garbage');
      await keystone.start();
      const after = await projectToken('reader');
      assert.equal((await withToken(after)).userId, users.reader!.id);
      await refused(withToken('garbage'));
    });

    test('an expired token is refused, unless a service brings it along', async () => {
      const isRefused = () =>
        withToken(expiring).then(
          () => undefined,
          (error) => error instanceof AuthenticationRefused || undefined,
        );
      await poll(isRefused, { what: 'the token to expire', timeoutMs: (TOKEN_LIFE_SECONDS + 10) * 1000 });
      const ofService = await scopedToken('ratecat', {
        project: { id: (await keystone.ensureProject('service')).id },
      });
      const forwarded = { 'x-auth-token': expiring, 'x-service-token': ofService };
      assert.equal((await who(forwarded)).userId, users.member!.id);
      await refused(withToken(expiring));
      await refused(who({ ...forwarded, 'x-service-token': await projectToken('admin') }));
    });

    test('no token is in the log', () => {
      const said = JSON.stringify(logger.lines);
      assert.ok(!said.includes('gAAAA'), said);
    });
  });
}
