import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { findCredentials } from '../../../core/setup/openstack-credentials.js';

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ratecat-credentials-'));
  await mkdir(join(folder, 'openstack'));
});
after(() => rm(folder, { recursive: true, force: true }));

const cloudsIn = async (clouds: object, more: Record<string, object> = {}) => {
  const home = await mkdtemp(join(folder, 'home-'));
  await mkdir(join(home, 'openstack'));
  for (const [name, content] of Object.entries({ clouds: { clouds }, ...more }))
    await writeFile(join(home, 'openstack', `${name}.yaml`), JSON.stringify(content));
  return { XDG_CONFIG_HOME: home, HOME: '/home/me' };
};
const AUTH = {
  auth_url: 'https://k.example/v3',
  username: 'admin',
  password: 'secret',
  project_name: 'admin',
};
const VARIABLES = {
  OS_AUTH_URL: 'https://k.example/v3',
  OS_USERNAME: 'admin',
  OS_PASSWORD: 'secret',
  OS_PROJECT_NAME: 'admin',
};

describe('findCredentials', () => {
  it('reads the variables of the environment, and takes empty ones for absent', async () => {
    const environment = {
      ...VARIABLES,
      OS_PROJECT_ID: '',
      OS_DEFAULT_DOMAIN: 'corp',
      OS_REGION_NAME: 'R1',
      OS_CACERT: '/ca.pem',
      OS_INSECURE: 'true',
      OS_CLOUD: '',
    };
    const { options, region, origin, label } = await findCredentials({ environment });
    const { auth_type, username, project_name, project_id, user_domain_id, project_domain_id } = options;
    assert.deepEqual(
      { auth_type, username, project_name, project_id, user_domain_id, project_domain_id },
      {
        auth_type: 'password',
        username: 'admin',
        project_name: 'admin',
        project_id: undefined,
        user_domain_id: 'corp',
        project_domain_id: 'corp',
      },
    );
    assert.deepEqual(
      [options.cafile, options.insecure, region, origin],
      ['/ca.pem', true, 'R1', 'the environment'],
    );
    assert.deepEqual([label('password'), label('cafile')], ['OS_PASSWORD', 'OS_CACERT']);
  });

  it('merges a cloud with its profile and its secrets', async () => {
    const environment = await cloudsIn(
      {
        one: {
          profile: 'corp',
          auth: { username: 'me', project_name: 'p' },
          cacert: '~/ca.pem',
          verify: false,
        },
        two: {},
      },
      {
        'clouds-public': {
          'public-clouds': { corp: { region_name: 'R9', auth: { auth_url: AUTH.auth_url, username: 'x' } } },
        },
        secure: { clouds: { one: { auth: { password: '0012.50' } } } },
      },
    );
    const { options, region, label } = await findCredentials({ cloud: 'one', environment });
    assert.equal(options.auth_url, AUTH.auth_url);
    assert.equal(options.username, 'me');
    assert.equal(options.password, '0012.50');
    assert.equal(options.cafile, '/home/me/ca.pem');
    assert.equal(options.insecure, true);
    assert.equal(region, 'R9');
    assert.equal(label('password'), 'auth.password');
  });

  it('keeps a password as it is written that looks like a number', async () => {
    const home = await mkdtemp(join(folder, 'home-'));
    const file = join(home, 'mine.yaml');
    await writeFile(file, 'clouds: {a: {auth: {auth_url: "http://k/v3", username: u, password: 0123.50}}}\n');
    const { options } = await findCredentials({ environment: { OS_CLIENT_CONFIG_FILE: file } });
    assert.equal(options.password, '0123.50');
  });

  it('logs in with an application credential, also where its type is left out', async () => {
    const environment = {
      OS_AUTH_URL: VARIABLES.OS_AUTH_URL,
      OS_APPLICATION_CREDENTIAL_ID: 'id',
      OS_APPLICATION_CREDENTIAL_SECRET: 'secret',
    };
    assert.equal((await findCredentials({ environment })).options.auth_type, 'v3applicationcredential');
  });

  it('takes the only cloud there is, the environment before it, and a named one before both', async () => {
    const one = await cloudsIn({ only: { auth: AUTH } });
    assert.match((await findCredentials({ environment: one })).origin, /cloud 'only'/);
    assert.equal(
      (await findCredentials({ environment: { ...one, ...VARIABLES } })).origin,
      'the environment',
    );
    const named = await findCredentials({ environment: { ...one, ...VARIABLES, OS_CLOUD: 'only' } });
    assert.match(named.origin, /cloud 'only'/);
  });

  const REFUSED = { code: 'RATECAT_ADMIN_CREDENTIALS' } as const;

  it('says what is missing in the words of where it looked, and never a secret', async () => {
    const { OS_PASSWORD: _, ...without } = VARIABLES;
    await assert.rejects(findCredentials({ environment: without }), {
      ...REFUSED,
      message: 'The administrator credentials of the environment are not complete: OS_PASSWORD is required.',
    });
    const two = { ...VARIABLES, OS_SYSTEM_SCOPE: 'all' };
    await assert.rejects(findCredentials({ environment: two }), {
      ...REFUSED,
      message:
        /OS_PROJECT_NAME a token has one scope: give a project, a domain, OS_SYSTEM_SCOPE or OS_TRUST_ID/,
    });
    const token = { ...VARIABLES, OS_AUTH_TYPE: 'v3token' };
    await assert.rejects(findCredentials({ environment: token }), {
      ...REFUSED,
      message: /OS_AUTH_TYPE must be password/,
    });
    const old = { ...VARIABLES, OS_AUTH_URL: 'http://k.example:5000/v2.0' };
    await assert.rejects(findCredentials({ environment: old }), {
      ...REFUSED,
      message: /OS_AUTH_URL names the identity API v2\.0/,
    });
    const clouds = await cloudsIn({ a: { auth: { ...AUTH, auth_url: 'nonsense' } } });
    await assert.rejects(findCredentials({ cloud: 'a', environment: clouds }), (error: Error) => {
      assert.match(error.message, /auth\.auth_url must be an http or https URL/);
      assert.doesNotMatch(error.message, /secret/);
      return true;
    });
  });

  it('names the clouds that there are, and does not choose between several', async () => {
    const environment = await cloudsIn({ a: { auth: AUTH }, b: { auth: AUTH } });
    await assert.rejects(findCredentials({ environment }), REFUSED);
    await assert.rejects(findCredentials({ cloud: 'c', environment }), {
      ...REFUSED,
      message: /no cloud 'c' \(it has: a, b\)/,
    });
    await assert.rejects(findCredentials({ cloud: 'constructor', environment }), REFUSED);
  });
});
