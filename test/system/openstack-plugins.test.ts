import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { httpFactory } from '../../core/loading/http-client.js';
import type { Clock, Collector, PluginContext, RatecatError, Sample } from '../../core/plugin-api/index.js';
import { createPlugin } from '../../core/testkit/definition.js';
import { fakeContext, RecordingLogger } from '../../core/testkit/fakes.js';
import { HOSTILE_TEXTS } from '../../core/testkit/hostile-texts.js';
import {
  type GnocchiMetricOptions,
  gnocchiMetricOptions,
} from '../../plugins/collectors/gnocchi/metric-options.js';
import gnocchiCollector from '../../plugins/collectors/gnocchi.js';
import gnocchiFetcher from '../../plugins/fetchers/gnocchi.js';
import keystoneFetcher from '../../plugins/fetchers/keystone.js';
import { serviceInstalled } from '../support/require-service.js';
import { type Gnocchi, startGnocchi } from '../support/services/gnocchi.js';
import { type Keystone, type Named, startKeystone, type User } from '../support/services/keystone.js';
import { type Mariadb, startMariadb } from '../support/services/mariadb.js';

const never = new AbortController().signal;
const HOUR = 3600;
const BEGIN = (Math.floor(Date.now() / 1000 / HOUR) - 3) * HOUR;
const period = { begin: BEGIN, end: BEGIN + HOUR };
const PASSWORD = 'p@ss "word" \\ ü';
const clock: Clock = { now: Date.now, monotonic: () => performance.now(), sleep: () => Promise.resolve() };

if (serviceInstalled('mariadb', 'keystone', 'gnocchi')) {
  describe('the plugins for OpenStack against the real one', () => {
    let mariadb: Mariadb;
    let keystone: Keystone;
    let gnocchi: Gnocchi;
    let user: User;
    let service: Named;
    let projects: Record<'direct' | 'group' | 'none', Named>;
    let machine: string;

    before(async () => {
      mariadb = await startMariadb();
      const starting = startKeystone({ mariadb });
      [keystone, gnocchi] = await Promise.all([starting, startGnocchi({ mariadb, keystone: starting })]);
      service = await keystone.ensureProject('service');
      user = await keystone.createUser('ratecat', PASSWORD);
      await keystone.grantRole({ user, role: 'admin', project: service });
      projects = {
        direct: await keystone.createProject('direct'),
        group: await keystone.createProject('by group'),
        none: await keystone.createProject('none'),
      };
      await fill();
    });
    after(async () => {
      await gnocchi?.stop();
      await keystone?.stop();
      await mariadb?.stop();
    });

    /** One machine of project direct: 12 five-minute values, 0.1 to 1.2; and a machine without measures. */
    async function fill(): Promise<void> {
      await gnocchi.createArchivePolicy({
        name: 'fine',
        definition: [{ granularity: '0:05:00', timespan: '30 days' }],
        aggregationMethods: ['mean', 'max', 'sum', 'count', 'rate:mean'],
      });
      await gnocchi.createResourceType('instance', { flavor_name: { type: 'string', required: false } });
      const created = await gnocchi.createResource({
        type: 'instance',
        projectId: projects.direct.id,
        startedAt: new Date(BEGIN * 1000),
        attributes: { flavor_name: 'm1.small' },
        metrics: { cpu: 'fine' },
      });
      machine = created.id;
      const measures = Array.from({ length: 12 }, (_, index) => ({
        timestamp: new Date((BEGIN + index * 300 + 60) * 1000),
        value: (index + 1) / 10,
      }));
      await gnocchi.pushMeasures(created.metrics.cpu!, measures);
      await gnocchi.createResource({
        type: 'instance',
        projectId: projects.direct.id,
        metrics: { memory: 'fine' },
      });
      await gnocchi.createResource({ type: 'instance', projectId: projects.group.id, metrics: {} });
      await gnocchi.waitUntilAggregated();
    }

    const credentials = () => ({
      auth_url: keystone.url,
      username: 'ratecat',
      password: PASSWORD,
      project_name: 'service',
      region_name: keystone.region,
    });
    const context = (more: Partial<PluginContext> = {}) => fakeContext({ http: httpFactory, clock, ...more });

    async function scopes(options: object = {}, more: Partial<PluginContext> = {}): Promise<string[]> {
      const fetcher = await createPlugin({
        definition: keystoneFetcher,
        options: { ...credentials(), ...options },
        context: context(more),
      });
      try {
        return (await fetcher.fetchScopes(never)).map(({ name }) => name!).sort();
      } finally {
        await fetcher.stop?.();
      }
    }

    async function collect(
      extra: object,
      more: { scope?: string; metadata?: string[]; name?: string; with?: Partial<PluginContext> } = {},
    ) {
      const collector = (await createPlugin({
        definition: gnocchiCollector,
        options: credentials(),
        context: context(more.with),
      })) as Collector<GnocchiMetricOptions>;
      const name = more.name ?? 'cpu';
      const metric = {
        name,
        ratedName: name,
        unit: 'instance',
        groupby: ['id', 'project_id'],
        metadata: more.metadata ?? [],
        description: undefined,
        options: gnocchiMetricOptions.parse({ resource_type: 'instance', ...extra }),
      };
      const scope = { key: 'project_id', id: more.scope ?? projects.direct.id };
      try {
        return await collector.collect({ metric, scope, period }, never);
      } finally {
        await collector.stop?.();
      }
    }

    async function sample(extra: object, more: Parameters<typeof collect>[1] = {}): Promise<Sample> {
      const collected = await collect(extra, more);
      assert.ok(collected.kind === 'measured', collected.kind);
      assert.equal(collected.samples.length, 1);
      return collected.samples[0]!;
    }

    test('a role that does not exist is named with the command that creates it', async () => {
      for (const compat of ['fixed', 'strict'] as const) {
        await assert.rejects(scopes({ role: 'billing' }, { compat }), (error: RatecatError) => {
          assert.equal(error.code, 'RATECAT_ROLE_UNKNOWN');
          assert.match(error.message, /openstack role create billing/);
          return true;
        });
      }
    });

    test('roles through a group count, except in strict', async () => {
      await keystone.grantRole({ user, role: 'rating', project: projects.direct });
      const { group } = await keystone.request<{ group: Named }>('POST', '/groups', {
        group: { name: 'raters' },
      });
      await keystone.request('PUT', `/groups/${group.id}/users/${user.id}`);
      const role = await keystone.ensureRole('rating');
      await keystone.request('PUT', `/projects/${projects.group.id}/groups/${group.id}/roles/${role.id}`);
      assert.deepEqual(await scopes(), ['by group', 'direct']);
      assert.deepEqual(await scopes({}, { compat: 'strict' }), ['direct']);
      const all = await scopes({ ignore_rating_role: true });
      assert.ok(all.includes('none') && all.length >= 4, all.join());
    });

    test('an application credential logs in', async () => {
      const credential = await keystone.createApplicationCredential(user, service, 'for ratecat');
      const options = {
        auth_type: 'v3applicationcredential',
        application_credential_id: credential.id,
        application_credential_secret: (credential as unknown as { secret: string }).secret,
      };
      assert.deepEqual(await scopes(options), ['by group', 'direct']);
    });

    test('a wrong password and a missing role are told apart', async () => {
      await assert.rejects(scopes({ password: 'wrong' }), { code: 'RATECAT_AUTH_REJECTED' });
      const member = await keystone.createUser('member', PASSWORD);
      await keystone.grantRole({ user: member, role: 'member', project: service });
      await assert.rejects(scopes({ username: 'member' }), (error: RatecatError) => {
        assert.equal(error.code, 'RATECAT_ROLE_MISSING');
        assert.match(error.message, /User 'member' may not list the projects/);
        return true;
      });
    });

    test('all sub-samples of the period count; strict takes the first', async () => {
      const value = async (aggregation_method: string, compat: 'fixed' | 'strict' = 'fixed') =>
        (await sample({ aggregation_method, force_granularity: 300 }, { with: { compat } })).value.toString();
      assert.equal(await value('mean', 'strict'), '0.1');
      assert.equal(await value('mean'), '0.65');
      assert.equal(await value('sum'), '7.8');
      assert.equal(await value('max'), '1.2');
      assert.equal(await value('count'), '12');
    });

    test('metadata comes from the resource, groupby from the group', async () => {
      const found = await sample(
        { aggregation_method: 'mean', force_granularity: 300 },
        { metadata: ['flavor_name'] },
      );
      assert.equal(found.metadata.get('flavor_name'), 'm1.small');
      assert.equal(found.groupby.get('id'), machine);
      assert.equal(found.groupby.get('project_id'), projects.direct.id);
    });

    test('custom queries and rates are understood', async () => {
      const custom_query = '(* (aggregate RE_AGGREGATION_METHOD (metric METRIC_NAME AGGREGATION_METHOD)) -1)';
      const found = await sample({ aggregation_method: 'mean', force_granularity: 300, custom_query });
      assert.equal(found.value.toString(), '-0.65');
      const rate = await sample({ aggregation_method: 'rate:mean', force_granularity: 300 });
      assert.ok(Math.abs(Number(rate.value.toString()) - 0.1) < 1e-12, rate.value.toString());
    });

    test('an unknown metric and a scope without resources are nothing, with a warning', async () => {
      const logger = new RecordingLogger();
      const extra = { force_granularity: 300 };
      assert.equal((await collect(extra, { name: 'no.such.metric', with: { logger } })).kind, 'nothing');
      assert.equal((await collect(extra, { scope: projects.none.id })).kind, 'nothing');
      assert.equal(logger.lines.filter(({ level }) => level === 'warn').length, 1);
    });

    test('a granularity, a method and a type that do not exist are refused with the reason', async () => {
      for (const [extra, reason] of [
        [{ force_granularity: 60 }, /[Gg]ranularit/],
        [{ force_granularity: 300, aggregation_method: 'median' }, /aggregation/],
        [{ resource_type: 'spaceship' }, /spaceship/],
      ] as const) {
        await assert.rejects(collect(extra), (error: RatecatError) => {
          assert.equal(error.code, 'RATECAT_QUERY_REFUSED');
          assert.match(error.message, reason);
          return true;
        });
      }
    });

    test('hostile scope ids reach Gnocchi as data', async () => {
      for (const id of HOSTILE_TEXTS.filter((_, index) => index % 25 === 0)) {
        const outcome = await collect({ force_granularity: 300 }, { scope: id }).catch((error) => error);
        // What a text column cannot hold is refused; nothing else may happen.
        assert.ok(
          outcome.kind === 'nothing' || outcome.kind === 'rejected' || outcome.kind === 'unavailable',
          String(outcome),
        );
      }
    });

    test('the fetcher finds the projects of all resources', async () => {
      const fetcher = await createPlugin({
        definition: gnocchiFetcher,
        options: credentials(),
        context: context(),
      });
      const found = (await fetcher.fetchScopes(never)).map(({ id }) => id).sort();
      await fetcher.stop?.();
      assert.deepEqual(found, [projects.direct.id, projects.group.id].sort());
    });

    test('a Gnocchi that is gone is unavailable, and answers again after its return', async () => {
      await gnocchi.kill();
      await assert.rejects(collect({ force_granularity: 300 }), { kind: 'unavailable' });
      await gnocchi.start();
      assert.equal((await collect({ force_granularity: 300 })).kind, 'measured');
    });
  });
}
