import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { HttpDouble, json } from '../../support/http-double.js';
import { capture } from '../cli/capture.js';
import { type FoundFinding, listed, Patient, problemsOf } from './patient.js';

describe('ratecat doctor with a Keystone', () => {
  let patient: Patient;
  let keystone: HttpDouble;
  let api: HttpDouble;
  let roles: readonly string[];
  let userName: string;
  /** URLs of the public endpoints of the type `rating`. */
  let ratingUrls: readonly string[];

  before(async () => {
    patient = await Patient.admit(capture);
    await patient.prepare();
  });
  after(() => patient.discharge());

  beforeEach(async () => {
    api = await HttpDouble.start(() => json({ versions: [{ id: 'v1' }, { id: 'v2' }] }));
    roles = ['service'];
    userName = 'ratecat';
    ratingUrls = [api.url];
    keystone = await HttpDouble.start(({ method, path, body }) => {
      if (path !== '/v3/auth/tokens') return json({}, 404);
      if (method === 'GET') return json({ token: { roles: roles.map((name) => ({ name })) } });
      const { password } = JSON.parse(body).auth.identity;
      if (password.user.password !== 's3cret') return json({ error: { message: 'no' } }, 401);
      const endpoints = ratingUrls.map((url) => ({ interface: 'public', region: 'RegionOne', url }));
      const token = {
        user: { id: 'u1', name: userName },
        catalog: [{ type: 'rating', endpoints }],
      };
      return json({ token }, 201, { 'X-Subject-Token': 'a-token' });
    });
    patient.config.api = {
      enabled: false,
      auth: 'keystone',
      keystone: {
        auth_url: `${keystone.url}/v3`,
        username: 'ratecat',
        password: 's3cret',
        user_domain_name: 'Default',
        project_name: 'service',
        project_domain_name: 'Default',
      },
    };
  });
  afterEach(() => Promise.all([keystone.stop(), api.stop()]));

  async function only(id: string): Promise<FoundFinding & { readonly code_: number | null }> {
    const examined = await patient.examine();
    const problems = problemsOf(examined);
    assert.deepEqual(
      problems.map((problem) => problem.id),
      [id],
      listed(examined.findings),
    );
    assert.doesNotMatch(JSON.stringify(examined), /s3cret|sesame|a-token/);
    return { ...problems[0]!, code_: examined.code };
  }

  it('finds nothing where the log-in, its role and the endpoint are right', async () => {
    const examined = await patient.examine();
    assert.equal(listed(problemsOf(examined)), '');
    const ids = examined.findings.map(({ id }) => id);
    assert.ok(ids.includes('keystone-login') && ids.includes('catalogue-endpoint'), ids.join());
  });

  it('finds a wrong password, and does not look at the catalogue then', async () => {
    (patient.config.api as { keystone: { password: string } }).keystone.password = 'sesame';
    const found = await only('auth-rejected');
    assert.match(found.what, /Keystone refused the credentials for 'ratecat'/);
    assert.equal(found.where, 'api.keystone');
    assert.equal(found.code_, 77);
    const { findings } = await patient.examine();
    const catalogue = findings.filter(({ area }) => area === 'catalogue');
    assert.match(listed(catalogue), /^catalogue skipped .*because nobody could log in to Keystone/);
  });

  it('finds a Keystone that does not answer', async () => {
    (patient.config.api as { keystone: { auth_url: string } }).keystone.auth_url = 'http://127.0.0.1:1/v3';
    const found = await only('upstream-unreachable');
    assert.equal(found.code_, 69);
  });

  it('finds a user who may not check the tokens of others', async () => {
    roles = ['member', 'reader'];
    const found = await only('keystone-role-missing');
    assert.match(found.what, /with the roles member, reader/);
    assert.equal(found.fix, 'openstack role add --user ratecat --project service service');
  });

  it('gives commands that a shell reads as they are meant, whatever is called what', async () => {
    roles = ['member'];
    userName = 'x; touch /tmp/owned';
    const { keystone: login } = patient.config.api as { keystone: Record<string, string> };
    login.project_name = '$(id)';
    const found = await only('keystone-role-missing');
    assert.equal(found.fix, "openstack role add --user 'x; touch /tmp/owned' --project '$(id)' service");
    roles = ['service'];
    ratingUrls = [];
    login.region_name = '`id`';
    assert.match((await only('catalogue-entry-missing')).fix ?? '', /endpoint create --region '`id`' rating/);
  });

  it('finds a user without any role', async () => {
    roles = [];
    assert.match((await only('keystone-role-missing')).what, /has no role/);
  });

  it('finds a catalogue without the service', async () => {
    ratingUrls = [];
    const found = await only('catalogue-entry-missing');
    assert.match(
      found.fix ?? '',
      /openstack service create --name ratecat rating;.*rating public 'http:\/\/<host>:8889'/,
    );
    assert.equal(found.code_, 1);
  });

  it('finds an endpoint on which nobody listens', async () => {
    ratingUrls = ['http://127.0.0.1:1'];
    const found = await only('catalogue-endpoint-unreachable');
    assert.equal(found.code_, 69);
    assert.match(found.fix ?? '', /ratecat api/);
  });

  it('finds an endpoint that leads to something else', async () => {
    api.handler = () => json({ versions: [{ id: 'v3.14' }] });
    const found = await only('catalogue-points-elsewhere');
    assert.match(found.what, /answers \(200\), but not as a rating API/);
    assert.equal(found.code_, 78);
  });

  it('logs in once where several places have the same credentials', async () => {
    const { keystone: login } = patient.config.api as { keystone: object };
    const fetcher = patient.config.fetcher;
    patient.config.fetcher = { plugin: 'keystone', options: login };
    const { findings } = await patient.examine();
    patient.config.fetcher = fetcher;
    const found = findings.filter(({ area }) => area === 'keystone');
    assert.deepEqual(
      found.map(({ where }) => where),
      ['api.keystone, fetcher.options'],
    );
  });
});
