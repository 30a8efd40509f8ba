import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { findProgram, ServiceProcess } from '../support/services/child-process.js';
import { type Gnocchi, startGnocchi } from '../support/services/gnocchi.js';
import { type Keystone, startKeystone } from '../support/services/keystone.js';
import { type Mariadb, startMariadb } from '../support/services/mariadb.js';
import { poll } from '../support/services/poll.js';
import { type Prometheus, startPrometheus } from '../support/services/prometheus.js';

const HOUR_MS = 3_600_000;

/** Everything that this file starts works below this folder, so that what is left over can be found. */
const folder = mkdtempSync(join(tmpdir(), 'ratecat-services-'));
chmodSync(folder, 0o755); // MariaDB runs as a user of its own
process.env.TMPDIR = folder;
after(() => rmSync(folder, { recursive: true, force: true }));

describe('the real neighbours', { timeout: 180_000 }, () => {
  const pastHour = new Date(Math.floor(Date.now() / HOUR_MS) * HOUR_MS - 48 * HOUR_MS);
  const services: { stop(): Promise<void> }[] = [];
  let mariadb: Mariadb;
  let prometheus: Prometheus;
  let keystone: Keystone;
  let gnocchi: Gnocchi;

  function stopLater<Service extends { stop(): Promise<void> }>(service: Service): Service {
    services.unshift(service);
    return service;
  }

  async function stopAll(): Promise<void> {
    for (const service of services.splice(0)) await service.stop();
  }

  async function startMonitoring(): Promise<void> {
    const targets = [{ project_id: 'first' }, { project_id: 'second' }];
    prometheus = stopLater(await startPrometheus({ targets, history: openMetrics(pastHour) }));
  }

  async function startOpenStack(): Promise<void> {
    mariadb = stopLater(await startMariadb());
    const keystoneStart = startKeystone({ mariadb }).then(stopLater);
    gnocchi = stopLater(await startGnocchi({ mariadb, keystone: keystoneStart }));
    keystone = await keystoneStart;
  }

  before(() => Promise.all([startMonitoring(), startOpenStack()]));
  after(stopAll);

  it('MariaDB answers and creates databases', async () => {
    assert.deepEqual(await mariadb.query('SELECT 1 AS one'), [{ one: 1 }]);
    assert.equal(await mariadb.createDatabase('rating'), mariadb.url('rating'));
    const databases = await mariadb.query('SHOW DATABASES LIKE ?', ['rating']);
    assert.equal(databases.length, 1);
  });

  it('MariaDB keeps committed rows over a SIGKILL, on the same port', async () => {
    await mariadb.createDatabase('survivor');
    await mariadb.query('CREATE TABLE survivor.rows (id INT PRIMARY KEY)');
    await mariadb.query('INSERT INTO survivor.rows VALUES (1), (2)');
    await mariadb.kill('SIGKILL');
    assert.equal(mariadb.isRunning, false);
    await assert.rejects(mariadb.query('SELECT 1'), { code: 'ECONNREFUSED' });
    await mariadb.restart();
    assert.deepEqual(await mariadb.query('SELECT count(*) AS count FROM survivor.rows'), [{ count: 2 }]);
  });

  it('Prometheus shows what node-exporter measures, once per set of labels', async () => {
    for (const project of ['first', 'second']) {
      const samples = await prometheus.waitForResult(`node_memory_MemTotal_bytes{project_id="${project}"}`);
      assert.equal(samples.length, 1);
      assert.ok(Number(samples[0]!.value) > 0);
    }
  });

  it('Prometheus scrapes metrics that a test exposes', async () => {
    await prometheus.exposeMetrics('rented_boats{colour="red"} 7\n');
    const [sample] = await prometheus.waitForResult('rented_boats{project_id="first"}');
    assert.equal(sample?.value, '7');
    assert.equal(sample?.labels.colour, 'red');
  });

  it('Prometheus answers for the history it was given', async () => {
    const end = new Date(pastHour.getTime() + HOUR_MS);
    const samples = await prometheus.query('max_over_time(sold_tickets{project_id="past"}[3600s])', end);
    assert.deepEqual(
      samples.map(({ value }) => value),
      ['3'],
    );
  });

  it('Prometheus can be killed and started again', async () => {
    await prometheus.kill();
    await assert.rejects(prometheus.query('up'));
    await prometheus.start();
    await prometheus.waitForResult('up == 1');
  });

  it('Keystone grants and revokes a role in a project', async () => {
    const project = await keystone.createProject('demo');
    const user = await keystone.createUser('rater', 'secret');
    const assignment = { user, project, role: 'rating' };
    await keystone.grantRole(assignment);
    assert.deepEqual(await rolesOf(user.id), [{ project: project.id, role: 'rating' }]);
    await keystone.revokeRole(assignment);
    assert.deepEqual(await rolesOf(user.id), []);
  });

  it('Keystone accepts an application credential', async () => {
    const project = await keystone.createProject('credited');
    const user = await keystone.createUser('holder', 'secret');
    await keystone.grantRole({ user, project, role: 'member' });
    const { id, secret } = await keystone.createApplicationCredential(user, project, 'robot');
    const identity = { methods: ['application_credential'], application_credential: { id, secret } };
    const { token } = await keystone.request<{ token: { project: { id: string } } }>('POST', '/auth/tokens', {
      auth: { identity },
    });
    assert.equal(token.project.id, project.id);
  });

  it('Keystone refuses a wrong password', async () => {
    await assert.rejects(keystone.token('admin', 'wrong', 'admin'), { status: 401 });
  });

  it('Gnocchi is in the catalogue of Keystone', async () => {
    const { services: found } = await keystone.request<{ services: { id: string }[] }>(
      'GET',
      '/services?type=metric',
    );
    assert.equal(found.length, 1);
    const { endpoints } = await keystone.request<{ endpoints: { url: string; interface: string }[] }>(
      'GET',
      `/endpoints?service_id=${found[0]!.id}`,
    );
    assert.deepEqual(endpoints.map((endpoint) => endpoint.interface).sort(), ['admin', 'internal', 'public']);
    assert.ok(endpoints.every((endpoint) => endpoint.url === gnocchi.url));
  });

  it('Gnocchi gives back aggregated what was pushed', async () => {
    await gnocchi.createArchivePolicy({
      name: 'hourly',
      definition: [{ granularity: '1:00:00', timespan: '30 days' }],
      aggregationMethods: ['max', 'mean'],
    });
    await gnocchi.createResourceType('machine', { flavor_name: { type: 'string', required: false } });
    const { metrics } = await gnocchi.createResource({
      type: 'machine',
      projectId: 'demo',
      startedAt: pastHour,
      attributes: { flavor_name: 'm1.tiny' },
      metrics: { cpu: 'hourly' },
    });
    await gnocchi.pushMeasures(metrics.cpu!, [
      { timestamp: new Date(pastHour.getTime() + 60_000), value: 2 },
      { timestamp: new Date(pastHour.getTime() + 120_000), value: 5 },
      { timestamp: new Date(pastHour.getTime() + HOUR_MS), value: 1 },
    ]);
    await gnocchi.waitUntilAggregated();
    assert.deepEqual(await gnocchi.measures(metrics.cpu!, 'max'), [
      { timestamp: pastHour, granularitySeconds: 3600, value: 5 },
      { timestamp: new Date(pastHour.getTime() + HOUR_MS), granularitySeconds: 3600, value: 1 },
    ]);
  });

  it('stopping all of them leaves no process and no file behind', async () => {
    assert.ok(processesIn(folder).length >= 8, 'the check itself must see the running services');
    await stopAll();
    assert.deepEqual(processesIn(folder), []);
    assert.deepEqual(readdirSync(folder), []);
  });

  async function rolesOf(userId: string): Promise<readonly { project: string; role: string }[]> {
    const { role_assignments } = await keystone.request<{
      role_assignments: { scope: { project: { id: string } }; role: { name: string } }[];
    }>('GET', `/role_assignments?user.id=${userId}&include_names`);
    return role_assignments.map(({ scope, role }) => ({ project: scope.project.id, role: role.name }));
  }
});

describe('the harness', { timeout: 60_000 }, () => {
  it('says what to run when a program is not installed', () => {
    assert.throws(
      () => findProgram('no-such-mariadbd', 'MariaDB'),
      /MariaDB is not installed: run \.ci\/install-services/,
    );
  });

  it('shows the end of the log of a service that does not come up', async () => {
    const broken = {
      name: 'broken',
      program: '/bin/sh',
      arguments: ['-c', 'echo no such luck; exit 3'],
      folder,
    };
    const service = new ServiceProcess(broken, async () => false);
    await assert.rejects(service.start(), /broken did not come up: it ended with exit code 3.*no such luck/s);
    assert.equal(service.isRunning, false);
  });

  it('ends every process of a service that ignores SIGTERM in a child', async () => {
    const script = "(trap '' TERM; while :; do sleep 1; done) & wait";
    const stubborn = { name: 'stubborn', program: '/bin/sh', arguments: ['-c', script], folder };
    const service = new ServiceProcess(stubborn, async () => processesIn(folder).length >= 2);
    await service.start();
    await service.stop(200);
    assert.deepEqual(processesIn(folder), []);
  });

  it('takes the services along when the tests are killed by SIGKILL', async () => {
    const module = new URL('../support/services/mariadb.ts', import.meta.url);
    const script = `import { startMariadb } from '${module}'; console.log((await startMariadb()).pid); setInterval(() => {}, 1000);`;
    const tests = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [output] = await once(tests.stdout, 'data');
    assert.match(String(output), /^\d+\n$/);
    assert.ok(processesIn(folder).includes(Number(output)));
    tests.kill('SIGKILL');
    await poll(async () => processesIn(folder).length === 0 || undefined, {
      what: 'the end of mariadbd',
      timeoutMs: 10_000,
    });
  });
});

/** A counter with known values, each five minutes of the hour, for a project that the scrape targets do not have. */
function openMetrics(begin: Date): string {
  const lines = Array.from({ length: 12 }, (_, index) => {
    const seconds = begin.getTime() / 1000 + index * 300 + 1;
    return `sold_tickets{project_id="past"} ${index % 4} ${seconds}`;
  });
  return ['# TYPE sold_tickets gauge', ...lines, '# EOF', ''].join('\n');
}

/** Living processes whose working folder is the folder or below it, also when it is deleted by now. */
function processesIn(root: string): readonly number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && workingFolder(name).startsWith(root))
    .map(Number);
}

function workingFolder(pid: string): string {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return ''; // ended meanwhile, or a zombie
  }
}
