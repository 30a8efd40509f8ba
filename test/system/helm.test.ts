import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { parse } from 'yaml';
import { loadConfig } from '../../core/config/load-config.js';
import { ROOT, ratecat } from '../support/daemon.js';
import {
  CHART,
  type Content,
  HELM_MAJORS,
  HelmTools,
  type Manifest,
  manifestsOf,
  only,
  type Ran,
} from '../support/helm.js';
import { IMAGE_USER } from '../support/services/containers.js';

const EXAMPLES = readdirSync(join(CHART, 'ci'));
const OPENSTACK = 'openstack-values.yaml';
const PROMETHEUS = 'prometheus-values.yaml';
const SINGLE = 'single-values.yaml';
const NO_EXAMPLE = '';

/** Everything that is optional, all at once. */
const FILLED = {
  imagePullSecrets: [{ name: 'registry' }],
  api: { resources: { limits: { memory: '512Mi' } }, podAnnotations: { note: 'api' } },
  processor: {
    resources: { requests: { cpu: '100m', memory: '256Mi' } },
    podAnnotations: { note: 'processor' },
  },
  dbsync: { resources: { limits: { memory: '512Mi' } } },
  service: { type: 'LoadBalancer', annotations: { note: 'service' } },
  ingress: { annotations: { note: 'ingress' } },
  serviceAccount: { annotations: { note: 'account' } },
  podLabels: { team: 'billing' },
  nodeSelector: { disk: 'fast' },
  tolerations: [{ key: 'rating', operator: 'Exists', effect: 'NoSchedule' }],
  affinity: { nodeAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [] } },
  topologySpreadConstraints: [
    { maxSkew: 1, topologyKey: 'topology.kubernetes.io/zone', whenUnsatisfiable: 'ScheduleAnyway' },
  ],
  priorityClassName: 'important',
};

const SQLITE = { database: { url_file: null, url: 'sqlite:ratecat.db' } };

/** What, an example, what is changed in it, and the complaint. */
const REFUSED: readonly (readonly [string, string, Record<string, unknown>, RegExp])[] = [
  ['SQLite for several pods', PROMETHEUS, { config: SQLITE }, /SQLite is a file that only one pod can have/],
  [
    'the default database for several pods',
    PROMETHEUS,
    { config: { database: { url_file: null } } },
    /only one pod/,
  ],
  [
    'SQLite for several pods when a secret names it',
    PROMETHEUS,
    { secrets: { 'secret_database-url': 'sqlite:/var/lib/ratecat/ratecat.db' } },
    /only one pod can have/,
  ],
  [
    'a secret that is not there',
    PROMETHEUS,
    // biome-ignore lint/suspicious/noTemplateCurlyInString: replaced by Ratecat
    { config: { collector: { options: { password_file: '${CREDENTIALS_DIRECTORY}/secret_another' } } } },
    /names the secret 'secret_another'/,
  ],
  ['two places for secrets', PROMETHEUS, { existingSecret: 'mine' }, /both set/],
  [
    'an API for everybody',
    PROMETHEUS,
    { config: { api: { allow_insecure_bind: false } } },
    /would be an administrator/,
  ],
  [
    'nothing to rate',
    NO_EXAMPLE,
    { layout: 'single', config: { ...SQLITE, api: { allow_insecure_bind: true } } },
    /says not what is to be rated/,
  ],
  [
    'a metrics file that is not there',
    SINGLE,
    { config: { collect: { metrics: './another.yml' } } },
    /'\.\/another\.yml', which is not in files/,
  ],
  ['no metrics file', SINGLE, { config: { collect: { metrics: null } } }, /collect\.metrics is missing/],
  ['an unknown value', SINGLE, { replicaCount: 3 }, /replicaCount/],
  ['an unknown layout', SINGLE, { layout: 'cluster' }, /layout/],
  ['a negative number of pods', OPENSTACK, { api: { replicas: -1 } }, /replicas/],
  ['a text for a number', OPENSTACK, { processor: { replicas: 'two' } }, /replicas/],
  ['a port that needs rights', OPENSTACK, { config: { api: { port: 80 } } }, /port/],
  ['an API that probes cannot reach', OPENSTACK, { config: { api: { host: '127.0.0.1' } } }, /host/],
  ['metrics that nobody can reach', OPENSTACK, { config: { metrics_server: { host: 'localhost' } } }, /host/],
  ['a daemon without its API', SINGLE, { config: { api: { enabled: false } } }, /enabled/],
  ['data outside of the volume', SINGLE, { config: { data_folder: './data' } }, /data_folder/],
  ['files whose numbers Helm would round', SINGLE, { files: { 'rules.yml': { cost: 0.1 } } }, /rules/],
  ['a second ratecat.yml', SINGLE, { files: { 'ratecat.yml': 'compat: strict' } }, /ratecat\.yml|propert/],
  ['the user root', OPENSTACK, { podSecurityContext: { runAsUser: 0 } }, /runAsUser/],
  ['to run as root', OPENSTACK, { podSecurityContext: { runAsNonRoot: false } }, /runAsNonRoot/],
  ['an Ingress without a name', OPENSTACK, { ingress: { hosts: [] } }, /hosts/],
  ['an interval that is none', OPENSTACK, { serviceMonitor: { interval: 'often' } }, /interval/],
];

const tools = await HelmTools.install();

function text(...path: readonly string[]): string {
  return readFileSync(join(ROOT, ...path), 'utf8');
}

/** Objects that make pods, and the template of each. */
function pods(manifests: readonly Manifest[]): readonly Manifest[] {
  return manifests.filter(({ kind }) => ['Deployment', 'Job'].includes(kind));
}

function containerOf(manifest: Manifest): Content {
  return manifest.spec.template.spec.containers[0];
}

if (tools !== undefined) {
  describe('the Helm chart', () => {
    after(() => tools.remove());

    for (const major of HELM_MAJORS) {
      it(`gives 'helm lint --strict' of Helm ${major} nothing to complain about`, async () => {
        for (const values of [[], ...EXAMPLES.map((name) => ['--values', join(CHART, 'ci', name)])]) {
          const { code, stdout, stderr } = await tools.helm(major, 'lint', '--strict', CHART, ...values);
          assert.equal(code, 0, stdout + stderr);
          assert.match(stdout, /1 chart\(s\) linted, 0 chart\(s\) failed/);
        }
      });
    }

    it('would be complained about if its values were wrong', async () => {
      const { code, stdout } = await tools.helm(4, 'lint', '--strict', CHART, '--set', 'layout=cluster');
      assert.equal(code, 1, stdout);
    });

    it('gives the same objects with Helm 3 and Helm 4', async () => {
      for (const example of EXAMPLES) {
        const outputs: Ran[] = [];
        for (const major of HELM_MAJORS) outputs.push(await tools.template([example], {}, major));
        for (const { code, stderr } of outputs) assert.equal(code, 0, stderr);
        const [three, four] = outputs.map(({ stdout }) => manifestsOf(stdout));
        assert.deepEqual(three, four);
      }
    });

    it('gives objects that the schemas of Kubernetes and of the Prometheus Operator accept', async () => {
      const everything = await tools.manifests([OPENSTACK], FILLED);
      const sets = [...(await Promise.all(EXAMPLES.map((name) => tools.manifests([name])))), everything];
      assert.deepEqual(await tools.complaints(sets.flat()), []);
      assert.deepEqual([...new Set(sets.flat().map(({ kind }) => kind))].sort(), [
        'ConfigMap',
        'Deployment',
        'Ingress',
        'Job',
        'PersistentVolumeClaim',
        'PodDisruptionBudget',
        'Secret',
        'Service',
        'ServiceAccount',
        'ServiceMonitor',
      ]);
    });

    it('would not pass the schemas with a wrong type, a missing key or an unknown key', async () => {
      const deployment = only(await tools.manifests([SINGLE]), 'Deployment', 'test-ratecat-up');
      const wrong = (change: (copy: Manifest) => void) => {
        const copy = structuredClone(deployment);
        change(copy);
        return tools.complaints([copy]);
      };
      assert.match(
        (await wrong(({ spec }) => Object.assign(spec, { replicas: 'one' }))).join(),
        /replicas must be integer/,
      );
      assert.match((await wrong(({ spec }) => delete spec.selector)).join(), /selector/);
      assert.match(
        (await wrong((copy) => Object.assign(containerOf(copy), { livenesProbe: {} }))).join(),
        /livenesProbe/,
      );
    });

    it('writes a configuration that Ratecat accepts, with its files and secrets', async () => {
      for (const example of EXAMPLES) {
        const manifests = await tools.manifests([example]);
        const { code, stdout, stderr } = await checked(only(manifests, 'ConfigMap', 'test-ratecat').data);
        assert.equal(code, 0, `${example}: ${stdout}${stderr}`);
        for (const copy of manifests.filter(({ metadata }) => metadata.name === 'test-ratecat-dbsync'))
          if (copy.kind !== 'Job')
            assert.deepEqual(
              [copy.data, copy.stringData],
              [
                only(manifests, copy.kind, 'test-ratecat').data,
                only(manifests, copy.kind, 'test-ratecat').stringData,
              ],
            );
      }
    });

    it('writes one that Ratecat refuses when the values are wrong', async () => {
      const manifests = await tools.manifests([SINGLE], { config: { colect: {} } });
      const { code, stdout, stderr } = await checked(only(manifests, 'ConfigMap', 'test-ratecat').data);
      assert.equal(code, 78);
      assert.match(stdout + stderr, /unknown key 'colect'/);
    });

    it('keeps files and quoted numbers to the last digit', async () => {
      const amount = '123456789012345678.12345678901234567890';
      const rules = `services: { memory: { mappings: [{ type: flat, cost: ${amount} }] } }\n`;
      const change = {
        files: { 'rules.yml': rules },
        config: { budgets: [{ scope: '*', amount }], processor: { max_points_ahead: 12345678 } },
      };
      const { data } = only(await tools.manifests([PROMETHEUS], change), 'ConfigMap', 'test-ratecat');
      assert.equal(data['rules.yml'], rules);
      assert.match(data['ratecat.yml'], new RegExp(`amount: "${amount}"`));
      assert.match(data['ratecat.yml'], /max_points_ahead: 12345678$/m);
    });

    it('has the defaults of the packages and units: places, ports, times, commands', async () => {
      const manifests = await tools.manifests([OPENSTACK]);
      const [api, processor] = ['api', 'processor'].map((name) =>
        only(manifests, 'Deployment', `test-ratecat-${name}`),
      );
      const dbsync = only(manifests, 'Job', 'test-ratecat-dbsync');
      const defaults = await defaultConfig();
      const ports = [
        ['api', api!],
        ['metrics', api!],
        ['metrics', processor!],
      ] as const;
      assert.deepEqual(
        ports.map(
          ([name, manifest]) =>
            containerOf(manifest).ports.find((port: { name: string }) => port.name === name).containerPort,
        ),
        [defaults.api.port, defaults.metricsServer.port, defaults.metricsServer.processorPort],
      );
      const values = parse(text('packaging/helm/ratecat/values.yaml'));
      assert.equal(values.config.processor.graceful_stop, defaults.processor.gracefulStopSeconds);
      assert.equal(values.service.port, defaults.api.port);
      assert.match(text('systemd/ratecat.sysusers.conf'), new RegExp(` ${values.config.data_folder} `));

      for (const [unit, manifest] of [
        ['ratecat-api', api!],
        ['ratecat-processor', processor!],
        ['ratecat-dbsync', dbsync],
      ] as const) {
        const written = text('systemd', `${unit}.service`);
        const command = /^ExecStart=ratecat (.*)$/m.exec(written)![1]!.replace('--config ', '--config=');
        assert.equal(containerOf(manifest).args.join(' '), command);
        assert.deepEqual(
          containerOf(manifest)
            .volumeMounts.map(({ mountPath }: { mountPath: string }) => mountPath)
            .slice(0, 3),
          ['/etc/ratecat', '/run/credentials/ratecat', '/var/lib/ratecat'],
        );
      }
      const stop = Number(/^TimeoutStopSec=(\d+)$/m.exec(text('systemd/ratecat-processor.service'))![1]);
      assert.equal(processor!.spec.template.spec.terminationGracePeriodSeconds, stop);
      // The wait before the stop comes on top.
      assert.equal(api!.spec.template.spec.terminationGracePeriodSeconds, stop + 5);
      const minutes = Number(/^WatchdogSec=(\d+)min$/m.exec(text('systemd/ratecat-processor.service'))![1]);
      const { periodSeconds, failureThreshold } = containerOf(processor!).livenessProbe;
      assert.equal(periodSeconds * failureThreshold, minutes * 60);
      const hopeless = /^RestartPreventExitStatus=(.*)$/m.exec(
        text('systemd/ratecat-processor.service'),
      )![1]!;
      assert.equal(dbsync.spec.podFailurePolicy.rules[0].onExitCodes.values.join(' '), hopeless);
    });

    it('has the version of Ratecat and the user of the image', () => {
      const { version } = JSON.parse(text('package.json')) as { version: string };
      const chart = parse(text('packaging/helm/ratecat/Chart.yaml'));
      assert.deepEqual([chart.version, chart.appVersion], [version, version]);
      const containerfile = text('packaging/container/Containerfile');
      assert.match(containerfile, new RegExp(`^ARG VERSION=${version.replaceAll('.', '\\.')}$`, 'm'));
      assert.match(containerfile, new RegExp(`^USER ${IMAGE_USER}:${IMAGE_USER}$`, 'm'));
      const { podSecurityContext } = parse(text('packaging/helm/ratecat/values.yaml'));
      for (const key of ['runAsUser', 'runAsGroup', 'fsGroup'])
        assert.equal(podSecurityContext[key], IMAGE_USER);
      for (const variable of [
        'CREDENTIALS_DIRECTORY=/run/credentials/ratecat',
        'RATECAT_DATA=/var/lib/ratecat',
      ])
        assert.ok(containerfile.includes(variable), variable);
    });

    it('confines every pod', async () => {
      for (const example of EXAMPLES) {
        for (const manifest of pods(await tools.manifests([example]))) {
          const spec: Content = manifest.spec.template.spec;
          assert.equal(spec.automountServiceAccountToken, false);
          assert.equal(spec.enableServiceLinks, false);
          assert.equal(spec.securityContext.runAsNonRoot, true);
          assert.deepEqual(spec.securityContext.seccompProfile, { type: 'RuntimeDefault' });
          assert.equal(spec.containers.length, 1);
          assert.deepEqual(containerOf(manifest).securityContext, {
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ['ALL'] },
          });
          for (const volume of spec.volumes) {
            const mode = volume.configMap?.defaultMode ?? volume.secret?.defaultMode;
            if (['configuration', 'secrets'].includes(volume.name)) assert.equal(mode, 0o440);
          }
        }
        for (const { automountServiceAccountToken } of (await tools.manifests([example])).filter(
          ({ kind }) => kind === 'ServiceAccount',
        ))
          assert.equal(automountServiceAccountToken, false);
      }
    });

    it('cannot be made to run without the seccomp profile', async () => {
      const manifests = await tools.manifests([OPENSTACK], {
        podSecurityContext: { runAsUser: 1, seccompProfile: { type: 'Unconfined' } },
      });
      const { securityContext } = only(manifests, 'Deployment', 'test-ratecat-api').spec.template.spec;
      assert.equal(securityContext.runAsUser, 1);
      assert.equal(securityContext.seccompProfile.type, 'RuntimeDefault');
    });

    it('upgrades the tables before anything else, with a configuration and secrets that are there by then', async () => {
      const manifests = await tools.manifests([PROMETHEUS]);
      const hooks = manifests.filter(({ metadata }) => metadata.annotations?.['helm.sh/hook'] !== undefined);
      assert.deepEqual(hooks.map(({ kind, metadata }) => `${kind} ${metadata.name}`).sort(), [
        'ConfigMap test-ratecat-dbsync',
        'Job test-ratecat-dbsync',
        'Secret test-ratecat-dbsync',
      ]);
      for (const { kind, metadata } of hooks) {
        assert.equal(metadata.annotations!['helm.sh/hook'], 'pre-install,pre-upgrade');
        assert.equal(Number(metadata.annotations!['helm.sh/hook-weight'] ?? 0) < 0, kind !== 'Job');
      }
      const { spec } = only(manifests, 'Job', 'test-ratecat-dbsync').spec.template;
      assert.deepEqual(
        spec.volumes
          .slice(0, 2)
          .map(
            (volume: { configMap?: { name: string }; secret?: { secretName: string } }) =>
              volume.configMap?.name ?? volume.secret?.secretName,
          ),
        ['test-ratecat-dbsync', 'test-ratecat-dbsync'],
      );
      // The release's own account does not exist yet before an installation.
      assert.equal(spec.serviceAccountName, 'default');
      assert.equal(pods(await tools.manifests([PROMETHEUS], { dbsync: { enabled: false } })).length, 2);
    });

    it('takes all pods away when it is told to, the job too', async () => {
      const stopped = pods(await tools.manifests([PROMETHEUS], { stopped: true }));
      assert.deepEqual(
        stopped.map(({ kind, spec }) => [kind, spec.replicas]),
        [
          ['Deployment', 0],
          ['Deployment', 0],
        ],
      );
      assert.deepEqual(
        pods(await tools.manifests([SINGLE], { stopped: true })).map(({ spec }) => spec.replicas),
        [0],
      );
    });

    it('has one pod and a volume that stays, with SQLite', async () => {
      const manifests = await tools.manifests([SINGLE]);
      const [deployment, ...others] = pods(manifests);
      assert.deepEqual(others, []);
      assert.equal(deployment!.spec.replicas, 1);
      assert.equal(deployment!.spec.strategy.type, 'Recreate');
      assert.equal(containerOf(deployment!).args[0], 'up');
      const claim = only(manifests, 'PersistentVolumeClaim', 'test-ratecat-data');
      assert.equal(claim.metadata.annotations!['helm.sh/resource-policy'], 'keep');
      const own = await tools.manifests([SINGLE], { single: { persistence: { existingClaim: 'mine' } } });
      assert.ok(!own.some(({ kind }) => kind === 'PersistentVolumeClaim'));
      const volumes = only(own, 'Deployment', 'test-ratecat-up').spec.template.spec.volumes;
      assert.equal(
        volumes.find(({ name }: { name: string }) => name === 'data').persistentVolumeClaim.claimName,
        'mine',
      );
    });

    it('does not kill the one pod while it brings its tables up to date, with metrics and without', async () => {
      for (const enabled of [true, false]) {
        const manifests = await tools.manifests([SINGLE], { config: { metrics_server: { enabled } } });
        const { startupProbe } = containerOf(only(manifests, 'Deployment', 'test-ratecat-up'));
        // Of the API, which is there only afterwards; the metrics are there before.
        assert.deepEqual(startupProbe.httpGet, { path: '/healthcheck', port: 'api', scheme: 'HTTP' });
        assert.equal(startupProbe.periodSeconds * startupProbe.failureThreshold, 24 * 3600);
        assert.deepEqual(await tools.complaints(manifests), []);
      }
      // Where a job does it, a daemon that does not answer is started again as ever.
      for (const manifest of pods(await tools.manifests([PROMETHEUS])))
        assert.equal(containerOf(manifest).startupProbe, undefined);
    });

    it('is installed and upgraded by what the guide says', async () => {
      const guide = text('docs/containers.md');
      const values = join(mkdtempSync(join(tools.folder, 'guide-')), 'values.yaml');
      writeFileSync(values, /^```yaml\n([\s\S]*?)^```$/m.exec(guide)![1]!);
      const metrics = join(ROOT, 'config/openstack.metrics.yml');
      const files = ['--values', values, '--set-file', `files.metrics\\.yml=${metrics}`];
      const { code, stdout, stderr } = await tools.helm(
        4,
        'template',
        'ratecat',
        CHART,
        '--kube-version=1.30.0',
        ...files,
      );
      assert.equal(code, 0, stderr);
      const manifests = manifestsOf(stdout);
      const accepted = await checked(only(manifests, 'ConfigMap', 'ratecat').data);
      assert.equal(accepted.code, 0, accepted.stdout + accepted.stderr);

      const help = (await tools.helm(4, 'upgrade', '--help')).stdout;
      const upgrades = guide.split('\n').filter((line) => line.startsWith('$ helm upgrade '));
      assert.equal(upgrades.length, 2);
      for (const [flag] of upgrades.join(' ').matchAll(/ --[a-z-]+/g))
        assert.ok(new RegExp(`${flag}\\b(?!-)`).test(help), flag);

      const waited = /component in \(([^)]*)\)/.exec(guide)![1]!.split(', ');
      const daemons = pods(manifests).filter(({ kind }) => kind === 'Deployment');
      assert.deepEqual(
        daemons.map(({ spec }) => spec.template.metadata.labels['app.kubernetes.io/component']).sort(),
        waited,
      );
      for (const [, name] of guide.matchAll(/kubectl exec deployment\/(\S+)/g))
        only(manifests, 'Deployment', name!);
    });

    it('lets services find just the pods that serve, by ports that these have', async () => {
      for (const example of EXAMPLES) {
        const manifests = await tools.manifests([example]);
        const daemons = pods(manifests).filter(({ kind }) => kind === 'Deployment');
        for (const { metadata, spec } of manifests.filter(({ kind }) => kind === 'Service')) {
          const found = daemons.filter((daemon) =>
            Object.entries(spec.selector).every(
              ([key, value]) => daemon.spec.template.metadata.labels[key] === value,
            ),
          );
          const serving = daemons.filter((daemon) =>
            containerOf(daemon).ports.some(({ name }: { name: string }) => name === spec.ports[0].targetPort),
          );
          assert.deepEqual(found, serving, `${example}: ${metadata.name}`);
          assert.ok(found.length > 0);
        }
        for (const { spec } of manifests.filter(({ kind }) => kind === 'PodDisruptionBudget'))
          assert.equal(
            daemons.filter((daemon) =>
              Object.entries(spec.selector.matchLabels).every(
                ([key, value]) => daemon.spec.template.metadata.labels[key] === value,
              ),
            ).length,
            1,
          );
        for (const daemon of daemons)
          for (const probe of [containerOf(daemon).livenessProbe, containerOf(daemon).readinessProbe])
            assert.ok(
              containerOf(daemon).ports.some(({ name }: { name: string }) => name === probe.httpGet.port),
            );
      }
    });

    it('starts pods again when configuration, files or secrets change, and only then', async () => {
      const sums = async (set: object) =>
        pods(await tools.manifests([PROMETHEUS], { ...set }))
          .filter(({ kind }) => kind === 'Deployment')
          .map(({ spec }) => spec.template.metadata.annotations['ratecat/configuration'] as string);
      const former = await sums({});
      assert.match(former[0]!, /^[0-9a-f]{64}$/);
      assert.deepEqual(await sums({ processor: { replicas: 5 } }), former);
      for (const change of [
        { config: { log: { level: 'debug' } } },
        { files: { 'rules.yml': 'services: {}\n' } },
        { secrets: { 'secret_database-url': 'mysql://ratecat:another@db.example/ratecat' } },
      ])
        for (const [index, sum] of (await sums(change)).entries()) assert.notEqual(sum, former[index]);
    });

    it('follows the configuration: a longer stop, https, no metrics', async () => {
      const long = await tools.manifests([PROMETHEUS], { config: { processor: { graceful_stop: 300 } } });
      const { spec } = only(long, 'Deployment', 'test-ratecat-processor').spec.template;
      assert.equal(spec.terminationGracePeriodSeconds, 330);

      const secure = await tools.manifests([PROMETHEUS], {
        config: { api: { port: 9443, tls: { cert_file: 'a', key_file: 'b' } } },
      });
      const api = containerOf(only(secure, 'Deployment', 'test-ratecat-api'));
      assert.equal(api.readinessProbe.httpGet.scheme, 'HTTPS');
      assert.equal(api.ports[0].containerPort, 9443);

      const silent = await tools.manifests([PROMETHEUS], { config: { metrics_server: { enabled: false } } });
      assert.deepEqual(await tools.complaints(silent), []);
      assert.ok(!silent.some(({ metadata }) => metadata.name === 'test-ratecat-metrics'));
      assert.equal(
        containerOf(only(silent, 'Deployment', 'test-ratecat-processor')).livenessProbe,
        undefined,
      );
      assert.deepEqual(containerOf(only(silent, 'Deployment', 'test-ratecat-api')).livenessProbe.tcpSocket, {
        port: 'api',
      });
    });

    for (const [what, example, change, complaint] of REFUSED)
      it(`refuses ${what}`, async () => {
        const { code, stderr } = await tools.template(example === NO_EXAMPLE ? [] : [example], change);
        assert.equal(code, 1, what);
        assert.match(stderr, complaint);
      });

    it('says what is missing when nothing is given', async () => {
      const { code, stderr } = await tools.helm(4, 'template', 'test', CHART, '--kube-version=1.30.0');
      assert.equal(code, 1);
      assert.match(stderr, /config names the secret 'secret_database-url', which is not there/);
    });

    it('is packed without its examples for tests', async () => {
      const { code, stdout, stderr } = await tools.helm(4, 'package', CHART, '--destination', tools.folder);
      assert.equal(code, 0, stderr);
      const archive = /saved it to: (.*)/.exec(stdout)![1]!;
      const names = execFileSync('tar', ['-tzf', archive], { encoding: 'utf8' }).trim().split('\n');
      assert.ok(names.includes('ratecat/values.schema.json'), names.join('\n'));
      assert.ok(names.includes('ratecat/templates/_pod.tpl'));
      assert.deepEqual(
        names.filter((name) => name.startsWith('ratecat/ci/')),
        [],
      );
    });
  });

  async function checked(files: Readonly<Record<string, string>>) {
    const folder = mkdtempSync(join(tools!.folder, 'config-'));
    for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
    const credentials = join(folder, 'credentials');
    mkdirSync(credentials);
    writeFileSync(
      join(credentials, 'secret_database-url'),
      'mysql://ratecat:the-password@db.invalid/ratecat\n',
    );
    writeFileSync(join(credentials, 'secret_keystone-password'), 'the-password\n');
    process.env.CREDENTIALS_DIRECTORY = credentials;
    try {
      return await ratecat('config', 'check', '--config', join(folder, 'ratecat.yml'));
    } finally {
      delete process.env.CREDENTIALS_DIRECTORY;
    }
  }

  async function defaultConfig() {
    const folder = mkdtempSync(join(tools!.folder, 'default-'));
    const file = join(folder, 'ratecat.yml');
    writeFileSync(join(folder, 'm.yml'), 'metrics: { a: { unit: b } }\n');
    writeFileSync(
      file,
      'collect: { metrics: ./m.yml }\nfetcher: { plugin: host }\ncollector: { plugin: host }\n',
    );
    return (await loadConfig(file, {})).config;
  }
}
