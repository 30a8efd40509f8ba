import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { after, before, beforeEach, describe, it } from 'node:test';
import { main } from '../../core/cli/main.js';
import { shellWord } from '../../core/setup/shell-command.js';
import { sampleSeed } from '../../core/testkit/samples.js';
import { Command } from '../support/daemon.js';
import { serviceInstalled } from '../support/require-service.js';
import { freePort } from '../support/services/free-port.js';
import { type Keystone, type Named, startKeystone } from '../support/services/keystone.js';
import { type Mariadb, startMariadb } from '../support/services/mariadb.js';
import { poll } from '../support/services/poll.js';
import { clearAway, smallDaemon, startDaemon } from '../support/small-daemon.js';

const URL_OF_API = 'http://rating.example:8889';

if (serviceInstalled('mariadb', 'keystone')) {
  describe('ratecat keystone, with a real Keystone', () => {
    let mariadb: Mariadb;
    let keystone: Keystone;
    let folder: string;
    let secret: string;
    let serial = 0;
    before(async () => {
      mariadb = await startMariadb();
      keystone = await startKeystone({ mariadb });
      folder = await mkdtemp(join(tmpdir(), 'ratecat-keystone-'));
    });
    after(async () => {
      await clearAway();
      await keystone?.stop();
      await mariadb?.stop();
      await rm(folder, { recursive: true, force: true });
    });
    beforeEach(async () => {
      await forget();
      secret = join(folder, `new-${++serial}`, 'password');
    });

    const asAdmin = (url = keystone.url) => ({
      OS_CLOUD: '',
      HOME: folder,
      OS_AUTH_URL: url,
      OS_USERNAME: 'admin',
      OS_PASSWORD: 'admin',
      OS_PROJECT_NAME: 'admin',
      OS_USER_DOMAIN_NAME: 'Default',
      OS_PROJECT_DOMAIN_NAME: 'Default',
    });
    const run = (args: readonly string[], environment: NodeJS.ProcessEnv = asAdmin()): Promise<Result> =>
      inThisProcess(['keystone', ...args], environment);
    const setupArguments = () => ['setup', '--url', URL_OF_API, '--secret-file', secret];
    const setup = (more: readonly string[] = [], environment?: NodeJS.ProcessEnv) =>
      run([...setupArguments(), ...more], environment);

    interface State {
      readonly services: readonly (Named & { type: string; enabled: boolean })[];
      readonly endpoints: readonly {
        id: string;
        interface: string;
        region_id: string;
        url: string;
        enabled: boolean;
      }[];
      readonly users: readonly (Named & { enabled: boolean })[];
      readonly projects: readonly Named[];
      readonly roles: readonly Named[];
      readonly assignments: readonly unknown[];
    }

    async function state(): Promise<State> {
      const all = async <K extends string>(path: string, key: K) =>
        (await keystone.request<Record<K, never>>('GET', path))[key];
      const services: State['services'] = await all('/services?type=rating', 'services');
      const assignments: readonly { user?: Named; role: Named; scope: object }[] = await all(
        '/role_assignments',
        'role_assignments',
      );
      return {
        services: services.map(({ id, name, type, enabled }) => ({ id, name, type, enabled })),
        endpoints: (
          await Promise.all(services.map(({ id }) => all(`/endpoints?service_id=${id}`, 'endpoints')))
        ).flat(),
        users: await all('/users', 'users'),
        projects: await all('/projects', 'projects'),
        roles: await all('/roles', 'roles'),
        assignments: assignments.map(({ user, role, scope }) => ({ user: user?.id, role: role.id, scope })),
      };
    }

    /** What there is without ids, which differ from run to run. */
    async function shape(): Promise<object> {
      const { services, endpoints, users, projects, roles, assignments } = await state();
      return {
        services: services.map(({ name, enabled }) => `${name} ${enabled}`),
        endpoints: endpoints
          .map((one) => `${one.interface} ${one.region_id} ${one.url} ${one.enabled}`)
          .sort(),
        users: users.map(({ name }) => name).sort(),
        projects: projects.map(({ name }) => name).sort(),
        roles: roles.map(({ name }) => name).sort(),
        assignments: assignments.length,
      };
    }

    async function forget(): Promise<void> {
      const { services, users, projects, roles } = await state();
      for (const { id } of services) await keystone.request('DELETE', `/services/${id}`);
      for (const { id, name } of users)
        if (name !== 'admin') await keystone.request('DELETE', `/users/${id}`);
      for (const { id, name } of projects)
        if (name !== 'admin') await keystone.request('DELETE', `/projects/${id}`);
      for (const { id, name } of roles)
        if (name === 'rating') await keystone.request('DELETE', `/roles/${id}`);
    }

    async function succeeds(result: Promise<Result>): Promise<Result> {
      const finished = await result;
      assert.equal(finished.code, 0, finished.stderr + finished.stdout);
      return finished;
    }

    const passwordOf = async (file: string) => (await readFile(file, 'utf8')).trim();

    it('makes everything from nothing, with a password that only a file knows', async () => {
      const { stdout, stderr } = await succeeds(
        new Command(['keystone', ...setupArguments()], asAdmin(), folder).finished,
      );
      const password = await passwordOf(secret);
      assert.match(password, /^[\w-]{32}$/);
      assert.equal((await stat(secret)).mode & 0o777, 0o600);
      assert.deepEqual(await readdir(join(secret, '..')), ['password']);
      assert.ok(!`${stdout}${stderr}`.includes(password));
      assert.match(stdout, /^already there {2}role 'admin'$/m);
      assert.match(stdout, /^done {11}role 'rating'$/m);
      assert.match(stdout, /^done {11}public endpoint in RegionOne: http:\/\/rating\.example:8889$/m);
      const { services, endpoints } = await state();
      assert.deepEqual(
        services.map(({ name, type }) => ({ name, type })),
        [{ name: 'ratecat', type: 'rating' }],
      );
      assert.deepEqual(
        endpoints.map((endpoint) => `${endpoint.interface} ${endpoint.region_id} ${endpoint.url}`).sort(),
        ['admin', 'internal', 'public'].map((kind) => `${kind} RegionOne ${URL_OF_API}`),
      );
      const token = await keystone.token('ratecat', password, 'service');
      assert.notEqual(token, '');
    });

    it('changes nothing the second time, and says so', async () => {
      await succeeds(setup());
      const [before, password] = [await state(), await passwordOf(secret)];
      const { stdout } = await succeeds(setup());
      assert.match(
        stdout,
        /^(already there {2}\S.*\n)+done {11}log-in of 'ratecat' to project 'service' tried\n$/,
      );
      assert.deepEqual(await state(), before);
      assert.equal(await passwordOf(secret), password);
    });

    it('goes on where it stopped, whichever answer was lost', async () => {
      await succeeds(setup());
      const whole = await shape();
      await forget();
      secret = join(folder, `new-${++serial}`, 'password');
      const proxy = await lossyProxy(keystone.url);
      let interrupted = 0;
      for (;;) {
        const { code, stderr } = await setup([], asAdmin(proxy.url));
        if (code === 0) break;
        assert.equal(code, 69, stderr);
        assert.ok(++interrupted < 20, stderr);
        proxy.mend();
      }
      await proxy.close();
      assert.equal(interrupted, 8, 'project, role, user, assignment, service and three endpoints');
      assert.deepEqual(await shape(), whole);
      await keystone.token('ratecat', await passwordOf(secret), 'service');
    });

    it('repairs a wrong URL, and what is disabled', async () => {
      await succeeds(setup());
      const { endpoints, services, users } = await state();
      const internal = endpoints.find((endpoint) => endpoint.interface === 'internal')!;
      const admin = endpoints.find((endpoint) => endpoint.interface === 'admin')!;
      const user = users.find(({ name }) => name === 'ratecat')!;
      await change('endpoint', internal.id, { url: 'http://old.example:1234/$(tenant_id)s' });
      await change('endpoint', admin.id, { enabled: false });
      await change('service', services[0]!.id, { enabled: false });
      await change('user', user.id, { enabled: false });
      const { stdout } = await succeeds(setup(['--admin-url', 'http://10.0.0.1:8889/']));
      assert.deepEqual(
        stdout.split('\n').filter((line) => line.startsWith('changed')),
        [
          "changed        user 'ratecat': enabled, was disabled",
          "changed        service 'ratecat' of type 'rating': enabled, was disabled",
          'changed        internal endpoint in RegionOne: http://rating.example:8889, was http://old.example:1234/$(tenant_id)s',
          'changed        admin endpoint in RegionOne: http://10.0.0.1:8889, was http://rating.example:8889',
        ],
      );
      assert.deepEqual(
        (await state()).endpoints.map(({ id }) => id).sort(),
        endpoints.map(({ id }) => id).sort(),
      );
      assert.deepEqual(
        (await state()).endpoints.map((one) => `${one.interface} ${one.url} ${one.enabled}`).sort(),
        ['admin http://10.0.0.1:8889 true', `internal ${URL_OF_API} true`, `public ${URL_OF_API} true`],
      );
    });

    it("keeps CloudKitty's service, and leaves other regions alone", async () => {
      await keystone.request('PUT', '/regions/RegionTwo', { region: {} });
      const service = await keystone.createService('cloudkitty', 'rating', 'http://cloudkitty.example:8889');
      await keystone.request('POST', '/endpoints', {
        endpoint: {
          service_id: service.id,
          region_id: 'RegionTwo',
          interface: 'public',
          url: 'http://two.example',
        },
      });
      const undecided = await setup();
      assert.equal(undecided.code, 78);
      assert.match(undecided.stderr, /Name the region with --region\. Keystone has: RegionOne, RegionTwo\./);
      const { stdout } = await succeeds(setup(['--region', 'RegionOne']));
      assert.match(stdout, /^already there {2}service 'cloudkitty' of type 'rating'$/m);
      const { services, endpoints } = await state();
      assert.deepEqual(
        services.map(({ id }) => id),
        [service.id],
      );
      assert.deepEqual(endpoints.map((one) => `${one.region_id} ${one.url}`).sort(), [
        ...Array<string>(3).fill(`RegionOne ${URL_OF_API}`),
        'RegionTwo http://two.example',
      ]);
      const slip = await setup(['--region', 'RegionTow']);
      assert.equal(slip.code, 78);
      assert.match(
        slip.stderr,
        /no region 'RegionTow' \(it has: RegionOne, RegionTwo\).*RATECAT_SETUP_REFUSED/,
      );
      await forget();
      await keystone.request('DELETE', '/regions/RegionTwo');
    });

    it('gives a user that exists the password of the file', async () => {
      await keystone.createUser('ratecat', 'quite another one');
      const file = join(folder, 'given-password');
      await writeFile(file, 'p@ss: "word" $HOME\nnot this\n', { mode: 0o600 });
      const { stdout } = await succeeds(setup(['--password-file', file]));
      assert.match(
        stdout,
        new RegExp(`^changed {8}password of 'ratecat': the one of ${file}, was another one$`, 'm'),
      );
      await keystone.ensureProject('service');
      await keystone.token('ratecat', 'p@ss: "word" $HOME', 'service');
      assert.match(
        (await succeeds(setup(['--password-file', file]))).stdout,
        /^already there {2}password of 'ratecat'$/m,
      );
      await rm(file);
      const gone = await setup(['--password-file', file]);
      assert.equal(gone.code, 78);
      assert.match(gone.stderr, /given-password cannot be used: there is no such file.*RATECAT_SECRET_FILE/);
    });

    it('does not take the password of a user away unasked', async () => {
      await keystone.createUser('ratecat', 'in use elsewhere');
      const before = await state();
      const refused = await setup();
      assert.equal(refused.code, 78);
      assert.match(
        refused.stderr,
        /The user 'ratecat' exists.*--password-file.*--new-password.*RATECAT_SETUP_REFUSED/,
      );
      assert.deepEqual(await state(), before);
      await assert.rejects(stat(secret));
      await succeeds(setup(['--new-password']));
      await keystone.token('ratecat', await passwordOf(secret), 'service');
    });

    it('tells those without the rights of an administrator what is missing, and changes nothing', async () => {
      const user = await keystone.createUser('plain', 'plain-secret');
      const project = await keystone.createProject('plain');
      await keystone.grantRole({ user, role: 'member', project });
      const before = await state();
      const plain = {
        ...asAdmin(),
        OS_USERNAME: 'plain',
        OS_PASSWORD: 'plain-secret',
        OS_PROJECT_NAME: 'plain',
      };
      const refused = await setup([], plain);
      assert.equal(refused.code, 77, refused.stderr);
      assert.match(refused.stderr, /User 'plain' may not .*the role 'admin'.*RATECAT_ROLE_MISSING/);
      const wrong = await setup([], { ...plain, OS_PASSWORD: 'not-the-secret' });
      assert.equal(wrong.code, 77);
      assert.match(wrong.stderr, /refused the credentials for 'plain'.*OS_PASSWORD.*of the environment/);
      assert.doesNotMatch(`${refused.stderr}${wrong.stderr}`, /-secret/);
      assert.deepEqual(await state(), before);
      assert.equal((await run(['rate-project', 'plain'], plain)).code, 77);
    });

    it('says what is wrong with a command line before it connects to anything', async () => {
      for (const [args, expected] of [
        [['setup'], /--url/],
        [['setup', '--url', 'rating.example'], /give an http or https URL/],
        [['setup', '--url', `${URL_OF_API}/v1/`], /without \/v1 at the end/],
        [['setup', '--url', URL_OF_API, '--user', ' '], /--user is empty/],
        [['setup', '--url', URL_OF_API, '--os-cloud', 'a', '--openrc', 'b'], /cannot be used with/],
        [['setup', '--url', URL_OF_API, '--password-file', 'a', '--new-password'], /cannot be used with/],
        [['rate-project'], /missing required argument/],
      ] as const) {
        const { code, stderr } = await run(args, asAdmin('http://127.0.0.1:1/v3'));
        assert.equal(code, 64, args.join(' '));
        assert.match(stderr, expected);
      }
    });

    it('prints commands that do the same, whatever the names are', async () => {
      const file = join(folder, "o'file");
      await writeFile(file, 'given\n');
      const names = [
        '--user',
        "-o'Brien $(id)",
        '--project',
        'a "b" `c`',
        '--role',
        '-x y',
        '--service-name',
        '*',
      ];
      const wishes = ['setup', '--url', `${URL_OF_API}/a&b`, '--password-file', file, ...names];
      const before = await state();
      const { stdout } = await succeeds(run([...wishes, '--dry-run']));
      assert.deepEqual(await state(), before);
      assert.doesNotMatch(stdout, /given/);
      assert.match(
        stdout,
        /^openstack user create --domain default --password-prompt -- '-o'\\''Brien \$\(id\)'$/m,
      );
      await typed(stdout, 'given', asAdmin());
      const again = await succeeds(run(wishes));
      assert.doesNotMatch(again.stdout, /^changed|^done {11}(?!log-in)/m);
      for (const role of (await state()).roles.filter(({ name }) => name === '-x y'))
        await keystone.request('DELETE', `/roles/${role.id}`);
    });

    it('prints commands that repair what is wrong', async () => {
      await succeeds(setup());
      const { endpoints, users } = await state();
      await change('endpoint', endpoints[0]!.id, { url: 'http://old.example' });
      await change('user', users.find(({ name }) => name === 'ratecat')!.id, {
        enabled: false,
        password: 'other',
      });
      const { stdout } = await succeeds(setup(['--dry-run']));
      assert.equal(stdout.match(/^openstack /gm)?.length, 3, stdout);
      await typed(stdout, await passwordOf(secret), asAdmin());
      assert.doesNotMatch((await succeeds(setup())).stdout, /^changed|^done {11}(?!log-in)/m);
    });

    it('logs in with clouds.yaml and with openrc files, and runs nothing of them', async () => {
      await succeeds(setup());
      const none = { HOME: folder, OS_CLOUD: '', OS_AUTH_URL: '' };
      const home = join(folder, '.config/openstack');
      await mkdir(home, { recursive: true });
      const auth = `{auth_url: '${keystone.url.replace(/\/v3$/, '')}', username: admin, project_name: admin, user_domain_name: Default, project_domain_name: Default}`;
      await writeFile(
        join(home, 'clouds.yaml'),
        `clouds:\n  mine: {auth: ${auth}, region_name: RegionOne}\n`,
      );
      const withoutPassword = await setup([], none);
      assert.equal(withoutPassword.code, 78);
      assert.match(
        withoutPassword.stderr,
        /cloud 'mine' of .*clouds\.yaml are not complete: auth\.password is required/,
      );
      await writeFile(join(home, 'secure.yaml'), 'clouds: {mine: {auth: {password: admin}}}\n');
      const openrc = join(folder, 'admin-openrc.sh');
      const marker = join(folder, 'was-run');
      await writeFile(
        openrc,
        `#!/bin/sh\ntouch '${marker}'\nfor key in $( set | awk '{FS="="}  /^OS_/ {print $1}' ); do unset $key ; done\n` +
          `export OS_AUTH_URL="${keystone.url}" OS_USERNAME=admin\nexport OS_PROJECT_NAME='admin'  # who\n` +
          'echo "Please enter: "\nread -sr OS_PASSWORD_INPUT\nexport OS_PASSWORD=$OS_PASSWORD_INPUT\n',
      );
      const ways: readonly (readonly [readonly string[], NodeJS.ProcessEnv])[] = [
        [[], none],
        [['--os-cloud', 'mine'], { ...asAdmin('http://127.0.0.1:1/v3'), OS_CLOUD: 'other' }],
        [[], { ...none, OS_CLOUD: 'mine' }],
        [['--openrc', openrc], { ...none, OS_PASSWORD: 'admin' }],
      ];
      for (const [more, environment] of ways) {
        const { stdout } = await succeeds(setup(['--dry-run', ...more], environment));
        assert.doesNotMatch(stdout, /^openstack/m);
      }
      const asks = await setup(['--openrc', openrc], none);
      assert.equal(asks.code, 78);
      assert.match(
        asks.stderr,
        /line 8: OS_PASSWORD refers to \$OS_PASSWORD_INPUT, which is not set.*set OS_PASSWORD/,
      );
      const unknown = await setup(['--os-cloud', 'yours'], none);
      assert.match(unknown.stderr, /has no cloud 'yours' \(it has: mine\).*RATECAT_ADMIN_CREDENTIALS/);
      await assert.rejects(stat(marker), 'the file was run');
      await rm(home, { recursive: true });
    });

    it('has a project rated, and rated no more', async () => {
      await succeeds(setup());
      const project = await keystone.createProject('shop');
      const rated = async () => {
        const user = (await state()).users.find(({ name }) => name === 'ratecat')!;
        const { roles } = await keystone.request<{ roles: readonly Named[] }>(
          'GET',
          `/projects/${project.id}/users/${user.id}/roles`,
        );
        return roles.map(({ name }) => name);
      };
      const dry = await succeeds(run(['rate-project', 'shop', '--dry-run']));
      assert.equal(
        dry.stdout,
        "# already there: role 'rating'\n" +
          'openstack role add --user ratecat --user-domain default --project shop --project-domain default rating\n',
      );
      assert.deepEqual(await rated(), []);
      const grant = "role 'rating' of 'ratecat' on project 'shop'";
      assert.match(
        (await succeeds(run(['rate-project', 'shop']))).stdout,
        new RegExp(`^done {11}${grant}$`, 'm'),
      );
      assert.deepEqual(await rated(), ['rating']);
      const again = await succeeds(run(['rate-project', project.id, '--domain', 'Default']));
      assert.match(again.stdout, new RegExp(`^already there {2}${grant}$`, 'm'));
      assert.equal(
        (await succeeds(run(['rate-project', 'shop', '--remove']))).stdout,
        `done           no ${grant}\n`,
      );
      assert.equal(
        (await succeeds(run(['rate-project', 'shop', '--remove']))).stdout,
        `already there  no ${grant}\n`,
      );
      assert.deepEqual(await rated(), []);
    });

    it('does not guess which project is meant', async () => {
      await succeeds(setup());
      const domain = await keystone.createDomain(`twin-${serial}`);
      await keystone.createProject('shop');
      const twin = await keystone.createProject('shop', domain);
      const both = await run(['rate-project', 'shop']);
      assert.equal(both.code, 78);
      assert.match(both.stderr, /several projects named 'shop'.*Give the id/);
      await succeeds(run(['rate-project', 'shop', '--domain', domain.name]));
      await succeeds(run(['rate-project', twin.id]));
      const wrongDomain = await run(['rate-project', twin.id, '--domain', 'default']);
      assert.match(wrongDomain.stderr, /no project '\w+' in domain 'default'/);
      for (const name of ['..', 'no such/project?a=b#c', 'shop%']) {
        const unknown = await run(['rate-project', name]);
        assert.equal(unknown.code, 78, unknown.stderr);
        assert.match(unknown.stderr, /has no project '.*RATECAT_SETUP_REFUSED/);
      }
      const nobody = await run(['rate-project', twin.id, '--user', 'nobody']);
      assert.match(nobody.stderr, /has no user 'nobody' in domain 'Default'.*keystone setup/);
    });

    it('makes credentials with which the API checks tokens and the fetcher finds the rated projects', async () => {
      await succeeds(setup());
      const project = await keystone.createProject('shop');
      await keystone.createProject('unrated');
      await succeeds(run(['rate-project', 'shop']));
      const port = await freePort();
      const credentials = {
        auth_url: keystone.url,
        username: 'ratecat',
        password_file: secret,
        user_domain_name: 'Default',
        project_name: 'service',
        project_domain_name: 'Default',
      };
      const small = await smallDaemon({
        change: {
          api: { host: '127.0.0.1', port, auth: 'keystone', keystone: credentials },
          fetcher: { plugin: 'keystone', options: credentials },
        },
      });
      startDaemon(small);
      const api = `http://127.0.0.1:${port}`;
      const ask = async (token: string) =>
        (await fetch(`${api}/v1/rating/modules`, { headers: { 'x-auth-token': token } })).status;
      await poll(async () => (await fetch(`${api}/healthcheck`)).ok || undefined, {
        what: 'the API',
        timeoutMs: 60_000,
      });
      assert.equal(await ask(await keystone.adminToken()), 200);
      assert.equal(await ask(await keystone.token('ratecat', await passwordOf(secret), 'service')), 200);
      assert.equal(await ask('nonsense'), 401);
      const status = () => new Command(['status', '--config', small.config, '--json']).finished;
      await poll(async () => (await status()).stdout.includes(project.id) || undefined, {
        what: 'the rated project',
        timeoutMs: 60_000,
      });
    });

    async function change(kind: string, id: string, fields: object): Promise<void> {
      await keystone.request('PATCH', `/${kind}s/${id}`, { [kind]: fields });
    }
  });
}

interface Result {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A command line without the second that it takes to start a process. */
async function inThisProcess(args: readonly string[], environment: NodeJS.ProcessEnv): Promise<Result> {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const texts = Promise.all([text(stdout), text(stderr)]);
  const code = await main(args, { stdout, stderr, stdin: process.stdin, environment });
  stdout.end();
  stderr.end();
  const [out, error] = await texts;
  return { code, stdout: out, stderr: error };
}

/** Runs a script with the real client; where that would ask for a password, it is given one. */
async function typed(script: string, password: string, environment: NodeJS.ProcessEnv): Promise<void> {
  const prompt = `openstack() {
    local words=()
    for word; do if [ "$word" = --password-prompt ]; then words+=(--password "$ASKED"); else words+=("$word"); fi; done
    command openstack "\${words[@]}"
  }`;
  const child = spawn('bash', ['-e', '-c', `${prompt}\n${script}`], {
    env: { ...process.env, ...environment, OS_IDENTITY_API_VERSION: '3', ASKED: password },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const [code] = await once(child, 'close');
  assert.equal(code, 0, `${script}\n${stderr}`);
}

interface Proxy {
  readonly url: string;
  mend(): void;
  close(): Promise<void>;
}

/** Loses the answer to the first change, and lets nothing through after that until it is mended. */
async function lossyProxy(upstream: string): Promise<Proxy> {
  let isBroken = false;
  const server: Server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    if (isBroken) return request.socket.destroy();
    const token = request.headers['x-auth-token'];
    const answer = await fetch(`${upstream.replace(/\/v3$/, '')}${request.url}`, {
      method: request.method!,
      headers: {
        'content-type': 'application/json',
        ...(typeof token === 'string' ? { 'x-auth-token': token } : {}),
      },
      ...(chunks.length === 0 ? {} : { body: Buffer.concat(chunks) }),
    });
    const body = Buffer.from(await answer.arrayBuffer());
    isBroken = request.method !== 'GET' && !request.url!.endsWith('/auth/tokens');
    if (isBroken) return request.socket.destroy();
    const subject = answer.headers.get('x-subject-token');
    response.writeHead(answer.status, subject === null ? {} : { 'x-subject-token': subject }).end(body);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v3`,
    mend() {
      isBroken = false;
    },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

describe('shellWord', () => {
  it('gives words that bash reads back as they were', () => {
    const alphabet = [
      "'",
      '"',
      '\\',
      '$',
      '`',
      ' ',
      '\n',
      '\t',
      '\x1b',
      '!',
      '*',
      '~',
      '-',
      '#',
      '(',
      ';',
      'a',
      '0',
      'é',
      '\u202e',
      '€',
      '\x7f',
      'x',
    ];
    const seed = sampleSeed();
    let random = seed;
    const next = (limit: number) => {
      random = (random * 1_103_515_245 + 12_345) % 2_147_483_648;
      return Math.floor((random / 2_147_483_648) * limit);
    };
    const words = ['', '-', '~', ...alphabet].concat(
      Array.from({ length: 300 }, () =>
        Array.from({ length: next(8) }, () => alphabet[next(alphabet.length)]).join(''),
      ),
    );
    const script = `printf '%s\\0' ${words.map(shellWord).join(' ')}`;
    const { stdout } = spawnSync('bash', ['-c', script], {
      encoding: 'utf8',
      env: { PATH: process.env.PATH, LC_ALL: 'C.UTF-8' },
    });
    assert.deepEqual(stdout.split('\0').slice(0, -1), words, `seed ${seed}`);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not reach a terminal.
    assert.doesNotMatch(script, /[\x00-\x1f\x7f\u202e]/);
  });
});
