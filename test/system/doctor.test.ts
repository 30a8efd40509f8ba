import assert from 'node:assert/strict';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { Command, ratecat } from '../support/daemon.js';
import { serviceInstalled } from '../support/require-service.js';
import { freePort } from '../support/services/free-port.js';
import { type Keystone, startKeystone } from '../support/services/keystone.js';
import { type Mariadb, startMariadb } from '../support/services/mariadb.js';
import { type Prometheus, startPrometheus } from '../support/services/prometheus.js';
import { waitUntil } from '../support/small-daemon.js';
import {
  type FoundFinding,
  HOUR,
  lastHour,
  listed,
  Patient,
  problemsOf,
  type Run,
} from '../unit/doctor/patient.js';

const run: Run = (args) => ratecat(...args);

function named(findings: readonly FoundFinding[], id: string): FoundFinding {
  const found = findings.find((finding) => finding.id === id);
  assert.ok(found, `${id} among\n${listed(findings)}`);
  return found;
}

describe('the built doctor on SQLite and Prometheus', () => {
  let patient: Patient;
  beforeEach(async () => {
    patient = await Patient.admit(run);
    await patient.prepare();
  });
  afterEach(() => patient.discharge());

  it('finds nothing where nothing is wrong, for people and as JSON', async () => {
    const examined = await patient.examine();
    assert.equal(listed(problemsOf(examined)), '');
    assert.equal(examined.code, 0);
    const { code, stdout, stderr } = await ratecat('doctor', '--config', await patient.write());
    assert.equal(code, 0, stderr);
    assert.match(stdout, /Nothing is wrong\.\n$/);
    assert.equal(stderr, '');
  });

  it('finds several mistakes in one go', async () => {
    patient.metrics = {
      metrics: {
        vm_cores: { unit: 'core', alt_name: 'cpus', groupby: ['id'], metadata: ['flavour'] },
        vm_memmory: { unit: 'GiB', alt_name: 'memory', groupby: ['id'] },
      },
    };
    await patient.execute('UPDATE ratecat_scopes SET watermark = ? WHERE scope_id = ?', [
      lastHour() - 50 * HOUR,
      'beta',
    ]);
    const examined = await patient.examine();
    assert.deepEqual(
      [...new Set(problemsOf(examined).map(({ id }) => id))].sort(),
      [
        'attribute-missing',
        'metric-nothing',
        'metric-without-rule',
        'no-processor',
        'price-zero-no-rule',
        'rule-without-metric',
        'scope-behind',
      ].sort(),
      listed(problemsOf(examined)),
    );
    assert.equal(examined.code, 1);
  });

  it('says what it could not look at when the configuration is wrong', async () => {
    patient.config.databse = {};
    const examined = await patient.examine();
    assert.equal(examined.code, 78);
    assert.match(named(examined.findings, 'config-invalid').where ?? '', /ratecat\.yml:\d+:\d+$/);
    const skipped = examined.findings.filter(({ level }) => level === 'skipped').map(({ area }) => area);
    for (const area of ['database', 'scopes', 'metrics', 'modules', 'prices', 'progress'])
      assert.ok(skipped.includes(area), `${area} among ${skipped.join()}`);
  });

  it('does not make a database by looking for it', async () => {
    await rm(join(patient.folder, 'data'), { recursive: true });
    const examined = await patient.examine();
    assert.equal(examined.code, 69);
    named(examined.findings, 'database-absent');
    await assert.rejects(readFile(patient.databaseFile), /ENOENT/);
  });

  it('finds a scope that was rated while the clock was ahead', async () => {
    await patient.rated('gamma', lastHour() + 1000 * HOUR);
    const examined = await patient.examine();
    assert.equal(named(examined.findings, 'rated-beyond-clock').where, "scope 'gamma' of cloud");
    assert.equal(examined.code, 69);
  });

  it('finds a module that was disabled by command', async () => {
    const { code, stderr } = await ratecat(
      'modules',
      'disable',
      'hashmap',
      '--config',
      await patient.write(),
    );
    assert.equal(code, 0, stderr);
    const examined = await patient.examine();
    named(examined.findings, 'module-disabled');
    named(examined.findings, 'no-module-enabled');
    named(examined.findings, 'price-zero-no-module');
    assert.equal(examined.code, 78);
  });

  it('ends with one message and no stack when a fetcher hangs up', async () => {
    await patient.prometheus.stop();
    const { code, stdout, stderr } = await ratecat('doctor', '--config', await patient.write());
    assert.equal(code, 69, stdout);
    assert.match(stdout, /\nscopes\n {2}FAIL {2}.*\[upstream-unreachable\]\n {8}fix: /);
    assert.match(stdout, /\nmetrics\n {2}-- .*not looked at, because the collector cannot be asked\n/);
    assert.doesNotMatch(stdout + stderr, /\n {4}at /);
  });

  it('looks at an installation while its daemon works', async () => {
    await patient.execute('UPDATE ratecat_scopes SET watermark = ?', [lastHour() - 3 * HOUR]);
    const daemon = new Command(['up', '--config', await patient.write()]);
    try {
      await waitUntil(
        'both scopes are rated',
        async () => {
          const { findings } = await patient.examine();
          return findings.some(({ id, what }) => id === 'scopes-rated' && what.startsWith('2 of 2'));
        },
        { daemon },
      );
      const examined = await patient.examine();
      assert.equal(listed(problemsOf(examined)), '');
    } finally {
      assert.equal((await daemon.stop()).code, 0);
    }
  });
});

if (serviceInstalled('mariadb')) {
  describe('the built doctor on MariaDB', () => {
    let server: Mariadb;
    let patient: Patient;

    before(async () => {
      server = await startMariadb();
      patient = await Patient.admit(run);
      patient.config.database = { url: await server.createDatabase('rating') };
      const { code, stderr } = await ratecat('dbsync', 'upgrade', '--config', await patient.write());
      assert.equal(code, 0, stderr);
    });
    after(async () => {
      await patient.discharge();
      await server.stop();
    });

    /** The database, as a user with just these rights. */
    async function as(user: string, privileges: string): Promise<void> {
      await server.query(`GRANT ${privileges} ON rating.* TO '${user}'@'127.0.0.1' IDENTIFIED BY 'sesame'`);
      patient.config.database = { url: `mysql://${user}:sesame@127.0.0.1:${server.port}/rating` };
    }

    it('compares the clocks and finds nothing wrong with the database', async () => {
      const { findings } = await patient.examine();
      const areas = findings.filter(
        ({ area, level }) => ['database', 'clock'].includes(area) && level !== 'ok',
      );
      assert.equal(listed(areas), '');
      named(findings, 'clock-agrees');
      assert.match(
        named(findings, 'database-reachable').what,
        /database 'rating' on 127\.0\.0\.1:\d+ answers \(.*MariaDB/,
      );
    });

    it('finds a wrong password, and tells nobody which it was', async () => {
      patient.config.database = { url: `mysql://ratecat:open-sesame@127.0.0.1:${server.port}/rating` };
      const examined = await patient.examine();
      assert.equal(examined.code, 77);
      const found = named(examined.findings, 'database-refused');
      assert.match(found.what, /refused user 'ratecat' \(1045/);
      assert.match(found.fix ?? '', /^Check user and password in database\.url/);
      assert.doesNotMatch(JSON.stringify(examined), /sesame/);
    });

    it('finds a database that the server does not have', async () => {
      patient.config.database = { url: server.url('ratings') };
      const examined = await patient.examine();
      assert.equal(examined.code, 77);
      assert.match(
        named(examined.findings, 'database-refused').fix ?? '',
        /^Create it: CREATE DATABASE `ratings`/,
      );
    });

    it('finds a user who may only read', async () => {
      await as('reader', 'SELECT');
      const examined = await patient.examine();
      assert.equal(examined.code, 77);
      const found = named(examined.findings, 'database-privilege-missing');
      assert.match(found.what, /may not INSERT, UPDATE, DELETE/);
      assert.match(
        found.fix ?? '',
        /GRANT INSERT, UPDATE, DELETE ON `rating`\.\* TO `reader`@`127\.0\.0\.1`;/,
      );
      assert.doesNotMatch(JSON.stringify(examined), /sesame/);
    });

    it('finds a user who may not change the tables at the next upgrade', async () => {
      await as('writer', 'SELECT, INSERT, UPDATE, DELETE');
      const { findings } = await patient.examine();
      const found = named(findings, 'database-privilege-for-upgrades');
      assert.equal(found.level, 'warn');
      assert.match(found.what, /may not CREATE, ALTER, INDEX, DROP/);
    });

    it('finds a server that was shut down', async () => {
      patient.config.database = { url: server.url('rating') };
      await server.shutDown();
      const examined = await patient.examine();
      await server.start();
      assert.equal(examined.code, 69);
      assert.match(named(examined.findings, 'database-unavailable').what, /connection refused/);
    });
  });
}

if (serviceInstalled('prometheus', 'node-exporter')) {
  describe('the built doctor on a real Prometheus', () => {
    let prometheus: Prometheus;
    let patient: Patient;

    before(async () => {
      prometheus = await startPrometheus({ targets: [], history: history() });
      patient = await Patient.admit(run);
      await patient.prepare();
      patient.config.fetcher = { plugin: 'static', options: { scopes: ['alpha', 'beta'] } };
      patient.config.collector = { plugin: 'prometheus', options: { url: prometheus.apiUrl } };
    });
    after(async () => {
      await patient.discharge();
      await prometheus.stop();
    });

    async function withCollect(change: object): Promise<readonly FoundFinding[]> {
      const { collect } = patient.config;
      patient.config.collect = { ...(collect as object), ...change };
      const { findings } = await patient.examine();
      patient.config.collect = collect;
      return findings;
    }

    it('finds what is measured, and the misspelt metric beside it', async () => {
      const { metrics } = patient;
      const written = { unit: 'core', groupby: ['id'] };
      patient.metrics = { metrics: { vm_cores: { ...written, alt_name: 'cpu' }, vm_kores: { ...written } } };
      const { findings } = await patient.examine();
      patient.metrics = metrics;
      assert.match(named(findings, 'metric-measured').what, /'vm_cores' \(cpu\): 1 sample for 'alpha'/);
      assert.match(named(findings, 'metric-nothing').what, /'vm_kores' gave nothing for 2 scopes/);
      assert.match(named(findings, 'priced').what, /costs 1\.5/);
    });

    it('finds series without the label that tells scopes apart', async () => {
      const findings = await withCollect({ scope_key: 'tenant_id' });
      assert.match(
        named(findings, 'scope-label-missing').what,
        /'vm_cores' exists upstream, but \d+ of its series/,
      );
    });

    it('finds periods that are shorter than the distance of the samples', async () => {
      // Samples lie 600 s apart. The grid of the periods is that of the month.
      await patient.execute('DELETE FROM ratecat_scopes');
      const findings = await withCollect({ period: 300, wait_periods: 1 + HOUR / 300 });
      assert.match(named(findings, 'granularity-too-coarse').what, /in 3 of 6 successive periods/);
    });
  });
}

/** Samples every ten minutes of the last day. */
function history(): string {
  const lines = ['# TYPE vm_cores gauge'];
  for (const project of ['alpha', 'beta']) {
    for (let at = lastHour() - 24 * HOUR + 150; at < lastHour(); at += 600)
      lines.push(`vm_cores{project_id="${project}",id="vm-1",flavor="small"} 3 ${at}`);
  }
  return `${lines.join('\n')}\n# EOF\n`;
}

if (serviceInstalled('mariadb', 'keystone')) {
  describe('the built doctor on a real Keystone', () => {
    let mariadb: Mariadb;
    let keystone: Keystone;
    let patient: Patient;

    before(async () => {
      mariadb = await startMariadb();
      keystone = await startKeystone({ mariadb });
      patient = await Patient.admit(run);
      await patient.prepare();
    });
    after(async () => {
      await patient.discharge();
      await keystone.stop();
      await mariadb.stop();
    });

    it('leads from a wrong password to an installation in which everything is right', async () => {
      const project = await keystone.ensureProject('service');
      const user = await keystone.createUser('ratecat', 's3cret');
      await keystone.grantRole({ user, role: 'member', project });
      const login = {
        auth_url: keystone.url,
        username: 'ratecat',
        password: 'sesame',
        user_domain_name: 'Default',
        project_name: 'service',
        project_domain_name: 'Default',
      };
      const port = await freePort();
      patient.config.api = { port, auth: 'keystone', keystone: { ...login, interface: 'public' } };
      patient.config.fetcher = { plugin: 'keystone', options: login };
      const refused = await patient.examine();
      assert.equal(refused.code, 77);
      const wrong = named(refused.findings, 'auth-rejected');
      assert.equal(wrong.where, 'api.keystone, fetcher.options');
      assert.doesNotMatch(JSON.stringify(refused), /sesame/);

      login.password = 's3cret';
      patient.config.api = { port, auth: 'keystone', keystone: { ...login, interface: 'public' } };
      const member = await patient.examine();
      assert.match(named(member.findings, 'keystone-role-missing').what, /with the roles .*member/);
      assert.equal(named(member.findings, 'role-missing').area, 'scopes');
      named(member.findings, 'catalogue-entry-missing');

      await keystone.grantRole({ user, role: 'admin', project });
      const admin = await patient.examine();
      assert.match(named(admin.findings, 'keystone-login').what, /with the roles .*admin/);
      assert.match(named(admin.findings, 'role-unknown').fix ?? '', /openstack role create rating/);

      for (const name of ['alpha', 'beta']) {
        const rated = await keystone.createProject(name);
        await keystone.grantRole({ user, role: 'rating', project: rated });
        patient.prometheus.series = patient.prometheus.series.map((series) =>
          series.labels.project_id === name
            ? { ...series, labels: { ...series.labels, project_id: rated.id } }
            : series,
        );
      }
      await patient.execute("UPDATE ratecat_scopes SET state = 'gone'");
      await keystone.createService('ratecat', 'rating', `http://127.0.0.1:${port}`);
      const silent = await patient.examine();
      // In the order of their ids, which Keystone draws.
      const listing = named(silent.findings, 'scopes-listed').what;
      for (const name of ['alpha', 'beta']) assert.ok(listing.includes(`(${name})`), listing);
      named(silent.findings, 'catalogue-endpoint-unreachable');
      assert.equal(silent.code, 69);

      const api = new Command(['api', '--config', await patient.write()]);
      try {
        await waitUntil(
          'the endpoint answers',
          async () => {
            const { findings } = await patient.examine();
            return findings.some(({ id }) => id === 'catalogue-endpoint');
          },
          { daemon: api },
        );
        const well = await patient.examine();
        assert.equal(listed(problemsOf(well)), '');
      } finally {
        await api.stop();
      }
    });
  });
}
