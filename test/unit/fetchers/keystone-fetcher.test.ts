import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { httpFactory } from '../../../core/loading/http-client.js';
import type { Fetcher, PluginContext, RatecatError } from '../../../core/plugin-api/index.js';
import { createPlugin } from '../../../core/testkit/definition.js';
import { fakeContext, RecordingLogger, VirtualClock } from '../../../core/testkit/fakes.js';
import keystone from '../../../plugins/fetchers/keystone.js';
import { FakeOpenStack } from '../../support/fake-openstack.js';
import { HttpDouble, json, reply } from '../../support/http-double.js';

const never = new AbortController().signal;
let cloud: FakeOpenStack;
let opened: Fetcher[];

beforeEach(async () => {
  opened = [];
  cloud = await FakeOpenStack.start();
  cloud.projects = [
    { id: 'p1', name: 'alpha' },
    { id: 'p2', name: 'beta', enabled: false },
    { id: 'p3', name: 'gamma', domain_id: 'd2' },
    { id: 'p4', name: 'delta' },
  ];
});
afterEach(async () => {
  for (const fetcher of opened) await fetcher.stop?.();
  await cloud.stop();
});

async function fetcherWith(options: object = {}, context: Partial<PluginContext> = {}): Promise<Fetcher> {
  const fetcher = await createPlugin({
    definition: keystone,
    options: { ...cloud.credentials, ...options },
    context: fakeContext({ http: httpFactory, ...context }),
  });
  opened.push(fetcher);
  return fetcher;
}

async function idsWith(options: object = {}, context: Partial<PluginContext> = {}): Promise<string[]> {
  const scopes = await (await fetcherWith(options, context)).fetchScopes(never);
  return scopes.map(({ id }) => id);
}

async function failureOf(options: object = {}, context: Partial<PluginContext> = {}): Promise<RatecatError> {
  const fetcher = await fetcherWith(options, context);
  return await fetcher.fetchScopes(never).then(
    () => assert.fail('it should have thrown'),
    (error) => error,
  );
}

async function issuesOf(options: object): Promise<string> {
  const result = await keystone.options['~standard'].validate(options);
  return (result.issues ?? []).map(({ path, message }) => `${path?.join('.')} ${message}`).join('\n');
}

test('projects with the role in any way are rated, asked for in one call', async () => {
  cloud.effective = ['p1', 'p3', 'gone'];
  const scopes = await (await fetcherWith()).fetchScopes(never);
  assert.deepEqual(scopes, [
    { key: 'project_id', id: 'p1', name: 'alpha' },
    { key: 'project_id', id: 'p3', name: 'gamma' },
  ]);
  const [asked, ...others] = cloud.asked(/role_assignments$/);
  assert.equal(others.length, 0);
  assert.equal(asked!.target, '/v3/role_assignments?user.id=user-1&role.id=id-rating&effective');
  assert.equal(cloud.asked(/users/).length, 0);
});

test('strict counts only roles that were given directly, project by project', async () => {
  cloud.effective = ['p1', 'p2', 'p3'];
  cloud.direct = { p1: ['member', 'rating'], p3: ['Rating', 'rating2'] };
  assert.deepEqual(await idsWith({}, { compat: 'strict' }), ['p1']);
  assert.equal(cloud.asked(/\/users\/user-1\/roles$/).length, 4);
  assert.equal(cloud.asked(/role_assignments/).length, 0);
});

test('a user who may not see assignments falls back to asking project by project', async () => {
  cloud.direct = { p2: ['rating'] };
  cloud.forbidden = /role_assignments|\/v3\/roles$/;
  const logger = new RecordingLogger();
  assert.deepEqual(await idsWith({}, { logger }), ['p2']);
  assert.equal(logger.lines.filter(({ level }) => level === 'debug').length, 1);
});

test('a project deleted since it was listed is left out', async () => {
  cloud.direct = { p1: ['rating'] };
  const answer = cloud.answer.bind(cloud);
  cloud.double.handler = (request) => (/p4\/users/.test(request.path) ? reply(404) : answer(request));
  assert.deepEqual(await idsWith({}, { compat: 'strict' }), ['p1']);
});

test('no project with the role is an empty list, no role at all is a mistake', async () => {
  for (const compat of ['strict', 'fixed'] as const) {
    assert.deepEqual(await idsWith({}, { compat }), []);
    const error = await failureOf({ role: 'billing' }, { compat });
    assert.equal(error.code, 'RATECAT_ROLE_UNKNOWN');
    assert.equal(error.kind, 'rejected');
    assert.match(error.message, /openstack role create billing/);
    assert.match(error.message, /--user ratecat/);
  }
});

test('ignore_rating_role rates every project, ignore_disabled_tenants leaves out disabled ones', async () => {
  assert.deepEqual(await idsWith({ ignore_rating_role: true }), ['p1', 'p2', 'p3', 'p4']);
  assert.deepEqual(await idsWith({ ignore_rating_role: true, ignore_disabled_tenants: true }), [
    'p1',
    'p3',
    'p4',
  ]);
  assert.equal(cloud.asked(/role/).length, 0);
});

test('domains narrow the list', async () => {
  assert.deepEqual(await idsWith({ ignore_rating_role: true, domains: ['d2'] }), ['p3']);
});

test('pages are followed, but never to another host', async () => {
  cloud.pageSize = 1;
  assert.deepEqual(await idsWith({ ignore_rating_role: true }), ['p1', 'p2', 'p3', 'p4']);
  assert.equal(cloud.asked(/projects$/).length, 4);
});

test('pages that lead in a circle end with an error', async () => {
  const answer = cloud.answer.bind(cloud);
  cloud.double.handler = (request) =>
    request.path === '/v3/projects'
      ? json({ projects: [{ id: 'p1' }], links: { next: '/v3/projects?marker=x' } })
      : answer(request);
  assert.equal((await failureOf({ ignore_rating_role: true })).code, 'RATECAT_UPSTREAM_MALFORMED');
});

test('assignments of other users and roles are not believed', async () => {
  const answer = cloud.answer.bind(cloud);
  const assignment = (role: string, user: string, id: string) => ({
    role: { id: role },
    user: { id: user },
    scope: { project: { id } },
  });
  cloud.double.handler = (request) =>
    request.path === '/v3/role_assignments'
      ? json({
          role_assignments: [
            assignment('id-member', 'user-1', 'p1'),
            assignment('id-rating', 'somebody', 'p2'),
            assignment('id-rating', 'user-1', 'p3'),
            { role: { id: 'id-rating' }, user: { id: 'user-1' }, scope: { domain: { id: 'd' } } },
          ],
        })
      : answer(request);
  assert.deepEqual(await idsWith(), ['p3']);
});

test('wrong credentials are rejected with user and URL, never with the password or the answer', async () => {
  cloud.password = 'changed';
  const error = await failureOf();
  assert.equal(error.code, 'RATECAT_AUTH_REJECTED');
  assert.equal(error.kind, 'rejected');
  assert.ok(
    error.message.startsWith(
      `Keystone refused the credentials for 'ratecat' at ${cloud.double.url}/v3 (401). Check options.password`,
    ),
    error.message,
  );
  assert.doesNotMatch(error.message + JSON.stringify(error.details), /s3cret/);
});

test('refused credentials are not sent again for half a minute', async () => {
  cloud.password = 'changed';
  const clock = new VirtualClock();
  const fetcher = await fetcherWith({}, { clock });
  const attempt = () => assert.rejects(fetcher.fetchScopes(never), { code: 'RATECAT_AUTH_REJECTED' });
  await attempt();
  await attempt();
  assert.equal(cloud.logins, 1);
  void clock.sleep(31_000, never);
  clock.wakeNext();
  await attempt();
  assert.equal(cloud.logins, 2);
});

test('a missing role is named with the call', async () => {
  cloud.forbidden = /projects$/;
  const error = await failureOf();
  assert.equal(error.code, 'RATECAT_ROLE_MISSING');
  assert.match(
    error.message,
    /User 'ratecat' may not list the projects: GET .*\/v3\/projects was refused \(403\)/,
  );
  assert.match(error.message, /'reader' \(or 'admin'\)/);
});

test('the token is used until shortly before it expires', async () => {
  const clock = new VirtualClock();
  const fetcher = await fetcherWith({ ignore_rating_role: true }, { clock });
  const pass = async (seconds: number) => {
    void clock.sleep(seconds * 1000, never);
    clock.wakeNext();
    await fetcher.fetchScopes(never);
    return cloud.logins;
  };
  assert.equal(await pass(0), 1);
  assert.equal(await pass(3400), 1);
  assert.equal(await pass(100), 2);
});

test('a revoked token is replaced once, and a token that is never accepted is an error', async () => {
  const fetcher = await fetcherWith({ ignore_rating_role: true });
  await fetcher.fetchScopes(never);
  cloud.revokeTokens();
  await fetcher.fetchScopes(never);
  assert.equal(cloud.logins, 2);
  const answer = cloud.answer.bind(cloud);
  cloud.double.handler = (request) =>
    /projects/.test(request.path) ? reply(401, 'token-3') : answer(request);
  await assert.rejects(fetcher.fetchScopes(never), (error: RatecatError) => {
    assert.equal(error.code, 'RATECAT_AUTH_REJECTED');
    assert.doesNotMatch(error.message, /token-\d/);
    return true;
  });
  assert.equal(cloud.logins, 3);
});

test('fetches at the same time share one log-in', async () => {
  const fetcher = await fetcherWith({ ignore_rating_role: true });
  await Promise.all(Array.from({ length: 10 }, () => fetcher.fetchScopes(never)));
  assert.equal(cloud.logins, 1);
});

test('an abort of one fetch leaves the shared log-in to the other', async () => {
  const waits: Array<() => void> = [];
  const answer = cloud.answer.bind(cloud);
  cloud.double.handler = async (request) => {
    if (/tokens/.test(request.path)) await new Promise<void>((resolve) => waits.push(resolve));
    return answer(request);
  };
  const fetcher = await fetcherWith({ ignore_rating_role: true });
  const controller = new AbortController();
  const first = fetcher.fetchScopes(controller.signal);
  const second = fetcher.fetchScopes(never);
  await cloud.double.arrived(1);
  controller.abort('gone');
  await assert.rejects(first, (error) => error === 'gone');
  waits[0]!();
  assert.equal((await second).length, 4);
  assert.equal(cloud.logins, 1);
});

test('the bodies of the log-in are those of Keystone v3', async () => {
  const sent = async (options: object) => {
    cloud.double.requests.length = 0;
    await idsWith({ ignore_rating_role: true, ...options });
    return JSON.parse(cloud.asked(/tokens$/)[0]!.body).auth;
  };
  assert.deepEqual(await sent({}), {
    identity: {
      methods: ['password'],
      password: { user: { name: 'ratecat', domain: { name: 'Default' }, password: 's3cret' } },
    },
    scope: { project: { name: 'service', domain: { name: 'Default' } } },
  });
  const byId = { user_id: 'u', username: undefined, project_name: undefined, system_scope: 'all' };
  assert.deepEqual(await sent(byId), {
    identity: { methods: ['password'], password: { user: { id: 'u', password: 's3cret' } } },
    scope: { system: { all: true } },
  });
  const credential = { auth_type: 'v3applicationcredential', application_credential_secret: 's3cret' };
  assert.deepEqual(await sent({ ...credential, application_credential_id: 'ac' }), {
    identity: {
      methods: ['application_credential'],
      application_credential: { id: 'ac', secret: 's3cret' },
    },
  });
  assert.deepEqual(
    (await sent({ ...credential, application_credential_name: 'rate' })).identity.application_credential,
    { name: 'rate', secret: 's3cret', user: { name: 'ratecat', domain: { name: 'Default' } } },
  );
});

test('auth_url works with and without /v3, and without a catalog', async () => {
  for (const auth_url of ['', '/', '/v3/'].map((path) => cloud.double.url + path)) {
    cloud.hasCatalog = auth_url.endsWith('/v3/');
    assert.equal((await idsWith({ ignore_rating_role: true, auth_url })).length, 4);
  }
});

test('a missing endpoint says what the catalog has', async () => {
  const error = await failureOf({ interface: 'adminURL', region_name: 'RegionTwo' });
  assert.equal(error.code, 'RATECAT_ENDPOINT_MISSING');
  assert.match(error.message, /'identity' with interface 'admin' in region 'RegionTwo'.*public in RegionTwo/);
});

test('what is no Keystone is named for what it is', async () => {
  const double = await HttpDouble.start(() => reply(404));
  try {
    const at = (behaviour: ReturnType<typeof reply>) => {
      double.handler = () => behaviour;
      return failureOf({ auth_url: double.url });
    };
    assert.match((await at(reply(404))).message, /There is no Keystone v3 API at .* Check options.auth_url/);
    assert.equal((await at(reply(503, 's3cret'))).code, 'RATECAT_UPSTREAM_UNAVAILABLE');
    assert.doesNotMatch((await at(reply(503, 's3cret'))).message, /s3cret/);
    assert.equal(
      (await at(reply(302, '', { location: 'http://x/?token=s3cret' }))).code,
      'RATECAT_UPSTREAM_REJECTED',
    );
    assert.equal((await at(json({}, 201))).code, 'RATECAT_UPSTREAM_MALFORMED');
    assert.equal((await at(json({}, 201, { 'x-subject-token': 't' }))).code, 'RATECAT_UPSTREAM_MALFORMED');
    assert.equal((await at(reply(201, '{"token"', { 'x-subject-token': 't' }))).kind, 'data');
  } finally {
    await double.stop();
  }
});

test('a list of projects in another form is malformed, never an empty list', async () => {
  const answer = cloud.answer.bind(cloud);
  for (const body of [
    '{}',
    '[]',
    'null',
    '{"projects":[{}]}',
    '{"projects":[{"id":""}]}',
    '{"projects":{}}',
  ]) {
    cloud.double.handler = (request) => (/projects$/.test(request.path) ? reply(200, body) : answer(request));
    assert.equal((await failureOf({ ignore_rating_role: true })).code, 'RATECAT_UPSTREAM_MALFORMED', body);
  }
});

test('options name what is missing or wrong', async () => {
  assert.match(await issuesOf({}), /auth_url is required.*\nusername is required.*\npassword is required/);
  assert.match(await issuesOf({ ...cloud.credentials, auth_url: 'ks:5000' }), /must be an http or https URL/);
  assert.match(
    await issuesOf({ ...cloud.credentials, auth_url: 'http://ks/v2.0' }),
    /v2\.0, which no longer/,
  );
  assert.match(await issuesOf({ ...cloud.credentials, keystone_version: 2 }), /must be 3/);
  assert.match(
    await issuesOf({ ...cloud.credentials, auth_type: 'v2password' }),
    /auth_type must be password/,
  );
  assert.match(await issuesOf({ ...cloud.credentials, domain_id: 'd' }), /a token has one scope/);
  assert.match(await issuesOf({ ...cloud.credentials, timeout: 0 }), /timeout must be more than 0/);
  assert.match(await issuesOf({ ...cloud.credentials, ignore_raiting_role: true }), /ignore_raiting_role/);
  assert.match(
    await issuesOf({ auth_url: 'http://ks', auth_type: 'v3applicationcredential' }),
    /application_credential_secret is required.*\napplication_credential_id is required/,
  );
  assert.equal(await issuesOf({ ...cloud.credentials, keystone_version: '3' }), '');
});
