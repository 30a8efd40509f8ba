import assert from 'node:assert/strict';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { ROOT } from '../support/daemon.js';
import { type Content, HelmTools, only } from '../support/helm.js';
import { serviceInstalled } from '../support/require-service.js';
import { Containers, IMAGE_USER, npmConfiguration, type Ran } from '../support/services/containers.js';
import { freePort } from '../support/services/free-port.js';
import {
  assertWhole,
  clearAway,
  FIXTURES,
  lastDue,
  periodsStored,
  smallDaemon,
  waitUntil,
} from '../support/small-daemon.js';
import { canMount } from '../support/small-disk.js';

const IMAGE = 'localhost/ratecat-test';
/** Seconds between the two signals of an orchestrator: the units' TimeoutStopSec. */
const GRACE = 60;
/** Where a plugin must be to find `ratecat/plugin-api` in the image. */
const FIXTURES_IN_IMAGE = '/usr/lib/ratecat/test/fixtures';

interface ImageConfig {
  readonly User: string;
  readonly Entrypoint: readonly string[];
  readonly Cmd: readonly string[];
  readonly Env: readonly string[];
  readonly StopSignal: string;
  readonly Healthcheck?: unknown;
  readonly Volumes: object;
  readonly ExposedPorts: object;
  readonly WorkingDir: string;
  readonly Labels: Readonly<Record<string, string>>;
}

if (serviceInstalled('buildah', 'podman', 'runc') && canMount()) {
  describe('the image of the Containerfile', () => {
    let containers: Containers;

    before(async () => {
      containers = await Containers.open();
      await containers.build(IMAGE, '--build-arg=REVISION=of-a-test');
    });
    after(async () => {
      await containers?.close();
      await clearAway();
    });

    /** One line of a program of the image other than Ratecat. */
    async function shell(script: string): Promise<Ran> {
      return containers.once('--network=none', '--entrypoint=/bin/sh', IMAGE, '-c', script);
    }

    async function said(script: string): Promise<string> {
      const { code, stdout, stderr } = await shell(script);
      assert.equal(code, 0, stderr);
      return stdout.trim();
    }

    it('says what it is and how it is run', async () => {
      const { stdout } = await containers.podman('image', 'inspect', IMAGE);
      const [{ Config: config }] = JSON.parse(stdout) as [{ Config: ImageConfig }];
      const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
      assert.equal(config.User, `${IMAGE_USER}:${IMAGE_USER}`);
      assert.deepEqual(config.Entrypoint, ['/usr/bin/ratecat']);
      assert.deepEqual(config.Cmd, ['up']);
      assert.equal(config.StopSignal, 'SIGTERM');
      assert.equal(config.Healthcheck, undefined);
      assert.equal(config.WorkingDir, '/var/lib/ratecat');
      assert.deepEqual(Object.keys(config.Volumes).sort(), ['/etc/ratecat', '/var/lib/ratecat']);
      assert.deepEqual(Object.keys(config.ExposedPorts).sort(), ['8889/tcp', '9889/tcp', '9890/tcp']);
      assert.equal(config.Labels['org.opencontainers.image.version'], version);
      assert.equal(config.Labels['org.opencontainers.image.revision'], 'of-a-test');
      assert.equal(config.Labels['org.opencontainers.image.licenses'], 'Apache-2.0');
    });

    it('has the program and its own modules, and nothing of the build', async () => {
      const { packages } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
        packages: Readonly<Record<string, { dev?: true }>>;
      };
      const program = '/usr/lib/ratecat';
      const files = await said(`cd ${program} && find . -path '*/node_modules/*' -name package.json`);
      const found = files
        .split('\n')
        .map((file) => file.replace(/^\.\/(.*)\/package\.json$/, '$1'))
        .filter((place) => /(^|\/)node_modules\/(@[^/]+\/)?[^/@]+$/.test(place));
      assert.ok(found.includes('node_modules/fastify'), found.join('\n'));
      assert.deepEqual(
        found.filter((place) => packages[place]?.dev === true),
        [],
      );
      assert.equal(await said(`ls ${program}`), 'config\ndist\nnode_modules\npackage.json');
      assert.equal(
        await said(
          `find ${program} /build /image -name '*.map' -o -name '*.tsbuildinfo' 2>/dev/null || true`,
        ),
        '',
      );
      assert.equal(
        await said('cat /usr/share/doc/ratecat/LICENSE'),
        readFileSync(join(ROOT, 'LICENSE'), 'utf8').trim(),
      );
    });

    it('keeps no secret of the build', async () => {
      assert.equal(await said('find / -xdev -name .npmrc 2>/dev/null || true'), '');
      const { stdout } = await containers.podman('history', '--no-trunc', '--format={{.CreatedBy}}', IMAGE);
      assert.match(stdout, /ratecat/);
      for (const line of npmConfiguration().split('\n'))
        if (line.trim().length > 20) assert.ok(!stdout.includes(line.trim()), line);
    });

    it('runs as a user without rights, who can write to the data and to nothing else', async () => {
      assert.equal(await said('id -u && id -g'), `${IMAGE_USER}\n${IMAGE_USER}`);
      assert.equal(await said('touch /var/lib/ratecat/file && ls /var/lib/ratecat'), 'file');
      for (const place of ['/usr/lib/ratecat', '/etc', '/etc/ratecat', '/tmp', '/run']) {
        const { code, stderr } = await shell(`touch ${place}/file`);
        assert.equal(code, 1, place);
        assert.match(stderr, /Read-only file system|Permission denied/);
      }
    });

    it('tells its version', async () => {
      const { code, stdout } = await containers.once('--network=none', IMAGE, '--version');
      const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
      assert.deepEqual({ code, stdout }, { code: 0, stdout: `${version}\n` });
    });

    it('passes exit codes on', async () => {
      const { code, stderr } = await containers.once('--network=none', IMAGE, 'no-such-command');
      assert.equal(code, 64, stderr);
    });

    it('finds configuration and secrets in the places of the units', async () => {
      const { folder } = await daemonInImage({
        // biome-ignore lint/suspicious/noTemplateCurlyInString: replaced by Ratecat
        database: { url_file: '${CREDENTIALS_DIRECTORY}/secret_database-url' },
      });
      const credentials = join(folder, 'credentials');
      mkdirSync(credentials, { mode: 0o755 });
      const check = [
        '--network=none',
        ...mounts(folder),
        `--volume=${credentials}:/run/credentials/ratecat:ro`,
      ];
      const without = await containers.once(...check, IMAGE, 'config', 'check');
      assert.equal(without.code, 78, without.stdout);
      assert.match(without.stdout + without.stderr, /\/run\/credentials\/ratecat\/secret_database-url/);
      writeFileSync(
        join(credentials, 'secret_database-url'),
        'mysql://ratecat:the-password@db.invalid/ratecat\n',
      );
      const { code, stdout, stderr } = await containers.once(...check, IMAGE, 'config', 'check');
      assert.equal(code, 0, stderr);
      assert.match(stdout, /^\/etc\/ratecat\/ratecat\.yml is right/);
    });

    it('rates on SQLite in a volume, stops when it is asked to, and goes on where it was', async () => {
      const start = lastDue() - 20 * 3600;
      const { folder, url } = await daemonInImage({}, start);
      const args = ['--network=none', ...mounts(folder), IMAGE, 'up'];
      await containers.start('first', ...args);
      await waitUntil('some periods are stored', () => stored('first', url, 4));
      assert.equal(await containers.stop('first', GRACE), 0, await containers.logs('first'));
      assert.match(await containers.logs('first'), /stopping reason=SIGTERM[\s\S]*stopped/);
      const before = await periodsStored(url);

      await containers.start('second', ...args);
      await waitUntil('all periods are stored', () => stored('second', url, 40));
      assert.equal(await containers.stop('second', GRACE), 0, await containers.logs('second'));
      assert.ok(before < 40, 'the first run was stopped in the middle');
      await assertWhole(url, { scopes: ['alpha', 'beta'], start, period: 3600, least: 20 });
    });

    it('runs dbsync, processor and API as containers of their own', async () => {
      const [api, metrics, processor] = [await freePort(), await freePort(), await freePort()];
      const start = lastDue() - 20 * 3600;
      const ports = {
        api: { port: api },
        metrics_server: { port: metrics, processor_port: processor },
      };
      const { folder, url } = await daemonInImage(ports, start);
      const args = ['--network=host', ...mounts(folder), IMAGE];

      const early = await containers.once(...args, 'processor');
      assert.equal(early.code, 78, early.stderr);
      assert.match(early.stderr, /RATECAT_DATABASE_/);
      const synced = await containers.once(...args, 'dbsync', 'upgrade');
      assert.equal(synced.code, 0, synced.stderr);
      const priced = await containers.once(...args, 'rules', 'import', '/etc/ratecat/rules.yml');
      assert.equal(priced.code, 0, priced.stderr);

      await containers.start('processor', ...args, 'processor');
      await containers.start('api', ...args, 'api');
      await waitUntil('all periods are stored', () => stored('processor', url, 40));
      await waitUntil('the API answers', () => answers(`http://127.0.0.1:${api}/healthcheck`));
      assert.ok(await answers(`http://127.0.0.1:${metrics}/healthz`));
      assert.ok(await answers(`http://127.0.0.1:${processor}/healthz`));
      const modules = await fetch(`http://127.0.0.1:${api}/v1/rating/modules`);
      assert.equal(modules.status, 200);
      assert.equal(await containers.stop('api', GRACE), 0, await containers.logs('api'));
      assert.equal(await containers.stop('processor', GRACE), 0, await containers.logs('processor'));
      await assertWhole(url, { scopes: ['alpha', 'beta'], start, period: 3600, least: 20 });
    });

    it("runs as the pod of the Helm chart's single layout, which its probes reach and its hooks can stop", async () => {
      const helm = await HelmTools.install();
      if (helm === undefined) return;
      try {
        const [api, metrics] = [await freePort(), await freePort()];
        const config = { api: { port: api }, metrics_server: { port: metrics } };
        const manifests = await helm.manifests(['single-values.yaml'], { config });
        const { spec } = only(manifests, 'Deployment', 'test-ratecat-up').spec.template;
        const [pod] = spec.containers as readonly [Content];
        const sources: Readonly<Record<string, string>> = {
          configuration: await mounted(only(manifests, 'ConfigMap', 'test-ratecat').data),
          data: await containers.volume(),
          tmp: await containers.volume(),
        };
        await containers.start(
          'pod',
          '--network=host',
          `--user=${spec.securityContext.runAsUser}:${spec.securityContext.runAsGroup}`,
          ...pod.env.map(({ name, value }: Content) => `--env=${name}=${value}`),
          ...pod.volumeMounts.map(
            ({ name, mountPath, readOnly }: Content) =>
              `--volume=${sources[name]}:${mountPath}:${readOnly === true ? 'ro' : 'rw'}`,
          ),
          IMAGE,
          ...pod.args,
        );
        const ports = new Map<string, number>(
          pod.ports.map(({ name, containerPort }: Content) => [name, containerPort]),
        );
        for (const { httpGet } of [pod.startupProbe, pod.readinessProbe, pod.livenessProbe]) {
          const url = `http://127.0.0.1:${ports.get(httpGet.port)}${httpGet.path}`;
          await waitUntil(`${url} answers`, () => answers(url));
        }
        const status = await containers.podman('exec', 'pod', 'ratecat', 'status');
        assert.equal(status.code, 0, status.stderr);
        const hook = await containers.podman('exec', 'pod', ...pod.lifecycle.preStop.exec.command);
        assert.equal(hook.code, 0, hook.stderr);
        const code = await containers.stop('pod', spec.terminationGracePeriodSeconds);
        assert.equal(code, 0, await containers.logs('pod'));
      } finally {
        await helm.remove();
      }
    });

    /** A ConfigMap as Kubernetes mounts it: of root, for the group of the pod, behind links. */
    async function mounted(files: Readonly<Record<string, string>>): Promise<string> {
      const folder = await containers.volume();
      mkdirSync(join(folder, '..of-now'));
      symlinkSync('..of-now', join(folder, '..data'));
      for (const [name, content] of Object.entries(files)) {
        writeFileSync(join(folder, '..of-now', name), content, { mode: 0o440 });
        chownSync(join(folder, '..of-now', name), 0, IMAGE_USER);
        symlinkSync(join('..data', name), join(folder, name));
      }
      return folder;
    }

    async function stored(name: string, url: string, periods: number): Promise<boolean> {
      const { stdout } = await containers.podman('inspect', '--format={{.State.Running}}', name);
      assert.equal(stdout.trim(), 'true', await containers.logs(name));
      // Made by whoever opens it first.
      if (!existsSync(url.replace('sqlite://', ''))) return false;
      return (await periodsStored(url)) >= periods;
    }

    async function answers(url: string): Promise<boolean> {
      return fetch(url).then(
        ({ ok }) => ok,
        () => false,
      );
    }

    function mounts(folder: string): readonly string[] {
      return [
        `--volume=${folder}:/etc/ratecat:ro`,
        `--volume=${join(folder, 'data')}:/var/lib/ratecat`,
        `--volume=${FIXTURES}:${FIXTURES_IN_IMAGE}:ro`,
      ];
    }

    /** A small daemon whose folder becomes /etc/ratecat, and whose data /var/lib/ratecat. */
    async function daemonInImage(change: object, start = lastDue() - 20 * 3600) {
      const plugin = `${FIXTURES_IN_IMAGE}/deterministic-collector.mjs`;
      const small = await smallDaemon({
        start,
        change: {
          data_folder: '/var/lib/ratecat',
          database: { url: 'sqlite:ratecat.db' },
          collector: { plugin, options: { delay_ms: 250 } },
          ...change,
        },
      });
      const data = join(small.folder, 'data');
      mkdirSync(data);
      chownSync(data, IMAGE_USER, IMAGE_USER);
      chmodSync(small.folder, 0o755);
      return small;
    }
  });

  describe('what the Containerfile reads', () => {
    it('is only what the build needs: no data, no secrets, no finished modules', () => {
      const patterns = readFileSync(join(ROOT, '.dockerignore'), 'utf8')
        .split('\n')
        .filter((line) => /^[^#]/.test(line));
      assert.equal(patterns[0], '*');
      const admitted = patterns.slice(1).map((line) => line.replace(/^!/, ''));
      assert.deepEqual(
        admitted.filter((name) => !readdirSync(ROOT).includes(name)),
        [],
      );
      assert.deepEqual(
        admitted.filter((name) => /^(data|dist|node_modules|test|docs|\.git)$/.test(name)),
        [],
      );
    });
  });
}
