import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { parse } from 'yaml';
import { checkExpression } from '../../../core/daemon/build-pipelines.js';
import { type ImportedConfig, importConfig } from '../../../core/importing/import-config.js';
import { asFiles, asText } from '../../../core/importing/import-output.js';
import { reportOf } from '../../../core/importing/import-report.js';
import { parseOslo } from '../../../core/importing/oslo-file.js';
import elasticsearch from '../../../plugins/storage/elasticsearch.js';
import influxdb from '../../../plugins/storage/influxdb/index.js';
import loki from '../../../plugins/storage/loki/index.js';
import opensearch from '../../../plugins/storage/opensearch/index.js';
import { brief, folderWith, problemsOf } from '../config/config-fixtures.js';
import { CURRENT_METRICS, FIXTURES, plain, SECRETS } from './import-support.js';

const TYPICAL = [
  'kolla',
  'stackhpc',
  'openstack-helm',
  'red-hat',
  'charm',
  'devstack',
  'debian',
  'guide-2017',
] as const;

function importFixture(name: string): Promise<ImportedConfig> {
  const folder = join(FIXTURES, name);
  const ownMetrics = ['metrics.yml', 'metrics.yaml'].some((file) => existsSync(join(folder, file)));
  const inFolder = join(folder, 'cloudkitty.conf.d');
  return importConfig({
    files: [join(folder, 'cloudkitty.conf')],
    folders: existsSync(inFolder) ? [inFolder] : [],
    metricsFile: ownMetrics || name === 'guide-2017' ? undefined : CURRENT_METRICS,
    checkExpression,
  });
}

/** Imports one file with this text, beside a metrics file. */
async function importText(context: TestContext, text: string): Promise<ImportedConfig> {
  const folder = await folderWith(context, {
    'cloudkitty.conf': text,
    'metrics.yml': readFileSync(CURRENT_METRICS),
  });
  return importConfig({ files: [join(folder, 'cloudkitty.conf')], folders: [], checkExpression });
}

async function resultOf(context: TestContext, text: string): Promise<ReturnType<typeof parse>> {
  return plain((await importText(context, text)).root);
}

async function faultsOf(context: TestContext, text: string): Promise<readonly string[]> {
  return (await problemsOf(() => importText(context, text))).map(brief);
}

function outcomeOf(imported: ImportedConfig, section: string, name: string): string {
  const outcome = imported.outcomes.find(({ entry }) => entry.section === section && entry.name === name);
  return `${outcome?.kind}: ${outcome?.targets.join(', ')} ${outcome?.note ?? ''}`.trim();
}

const LOGIN = '[keystone_authtoken]\nauth_url = http://ks/v3\nusername = u\npassword = keystone-secret\n';

describe('importConfig on typical configurations', () => {
  for (const name of TYPICAL) {
    it(`gives what is expected for ${name}`, async () => {
      const { root } = await importFixture(name);
      // Where the host has policies of a CloudKitty they are taken, too.
      const { policy_dirs: _folders, policy_file: _file, ...api } = root.api as Record<string, never>;
      const expected = parse(await readFile(join(FIXTURES, name, 'expected.yml'), 'utf8'));
      assert.deepEqual(plain({ ...root, api }), expected);
    });

    it(`says what became of every option of ${name}, once each, and knows all of them`, async () => {
      const imported = await importFixture(name);
      const written = imported.files.flatMap((file) => parseOslo(readFileSync(file, 'utf8'), file).entries);
      const place = ({ file, line }: { file: string; line: number }) => `${file}:${line}`;
      assert.deepEqual(imported.outcomes.map(({ entry }) => place(entry)).sort(), written.map(place).sort());
      assert.deepEqual(
        imported.outcomes.filter(({ kind }) => kind === 'unknown'),
        [],
      );
      for (const { kind, targets, note, entry } of imported.outcomes) {
        assert.equal(
          targets.length > 0,
          kind === 'used' || kind === 'mapped',
          `${entry.section}.${entry.name}`,
        );
        assert.ok(kind === 'used' || note !== undefined, `${entry.section}.${entry.name} has a reason`);
      }
    });

    it(`shows no secret of ${name}, and keeps each in a file that is marked so`, async () => {
      const imported = await importFixture(name);
      const { text } = asText(imported);
      const files = asFiles(imported, '/out/ratecat.yml');
      const open = files.filter(({ holdsSecret }) => !holdsSecret).map((file) => file.text);
      for (const secret of SECRETS) {
        for (const shown of [text, reportOf(imported), ...open]) assert.ok(!shown.includes(secret), secret);
      }
      const kept = files.filter(({ holdsSecret }) => holdsSecret).map((file) => file.text);
      assert.ok(kept.some((content) => /keystone-secret|credential-secret/.test(content)));
    });
  }
});

describe('importConfig', () => {
  it('knows every option of every release and deployment tool', async () => {
    const file = join(FIXTURES, 'every-option.conf');
    const imported = await importConfig({
      files: [file],
      folders: [],
      metricsFile: CURRENT_METRICS,
      checkExpression,
    });
    assert.deepEqual(
      imported.outcomes.filter(({ kind }) => kind === 'unknown').map(({ entry }) => entry.name),
      [],
    );
    assert.deepEqual(
      plain(imported.root),
      parse(await readFile(join(FIXTURES, 'every-option.expected.yml'), 'utf8')),
    );
    for (const secret of SECRETS) assert.ok(!reportOf(imported).includes(secret), secret);
  });

  it('lists unknown options with what was probably meant', async (context) => {
    const text =
      `${LOGIN}usrname = x\n[collect]\nperiode = 1\nzzz = 1\nbackend = x\n[colect]\nperiod = 1\n[nothing]\nmax_threads = 1\n` +
      '[nowhere]\nqqq = 1\nMIIEvQIBADANBgkq+x=\n';
    const imported = await importText(context, text);
    const unknown = imported.outcomes
      .filter(({ kind }) => kind === 'unknown')
      .map(({ entry, note }) => `${entry.line} ${entry.name}: ${note}`);
    assert.deepEqual(unknown, [
      "5 usrname: did you mean 'username'?",
      "7 periode: did you mean 'period'?",
      '8 zzz: undefined',
      '9 backend: undefined',
      "11 period: the section is not known; did you mean 'collect'?",
      '13 max_threads: the section is not known; it is an option of [orchestrator]',
      '15 qqq: undefined',
      '16 MIIEvQIBADANBgkq+x: undefined',
    ]);
    assert.match(reportOf(imported), /cloudkitty\.conf:8:7: \[collect\] zzz: no option has a name like this/);
    assert.doesNotMatch(reportOf(imported), /MIIEvQ/, 'a line of a key that lost its indentation');
  });

  it('reports all faults of values at once, with their places', async (context) => {
    const text =
      '[DEFAULT]\ndebug = perhaps\nauth_strategy = magic\n[api]\nport = 99999\n[collect]\nperiod = 1h\nwait_periods = -1\n' +
      'collector = monasca\n[fetcher]\nbackend = fake\n[fetcher_prometheus]\ntimeout = soon\n[oslo_middleware]\nmax_request_body_size = 1k\n';
    assert.deepEqual(await faultsOf(context, text), [
      "2:9 [DEFAULT] debug: must be true or false, got 'perhaps'",
      "3:17 [DEFAULT] auth_strategy: must be keystone or noauth, got 'magic'",
      "7:10 [collect] period: must be a whole number from 1 to 2678400, got '1h'",
      "8:16 [collect] wait_periods: must be a whole number from 0 to 10000, got '-1'",
      "9:13 [collect] collector: Ratecat has no collector 'monasca' (Monasca is no longer developed: set collector to gnocchi or prometheus, where the measures are today)",
      "11:11 [fetcher] backend: Ratecat has no fetcher 'fake' (set it to keystone, gnocchi, prometheus or source)",
      "15:25 [oslo_middleware] max_request_body_size: must be a number of bytes, got '1k'",
    ]);
  });

  it('stops at broken syntax, before its consequences', async (context) => {
    assert.deepEqual(await faultsOf(context, '[DEFAULT\ndebug = perhaps\noops\n'), [
      "1:9 : a section's name must end with ] (write [name] alone on the line; a comment stands on a line of its own)",
      "3:1 : the line has neither '=' nor ':' (write name = value; begin a comment with #, and a further line of the value above with a blank)",
    ]);
  });

  it('names the section that auth_section misses', async (context) => {
    const text = '[keystone_authtoken]\nauth_section = ks_aut\n[ks_auth]\nusername = u\n';
    assert.deepEqual(await faultsOf(context, text), [
      "2:16 [keystone_authtoken] auth_section: there is no section [ks_aut] (did you mean 'ks_auth'?)",
    ]);
  });

  it('takes credentials from the section that auth_section names, and certificates from the section itself', async (context) => {
    const text =
      '[keystone_authtoken]\nauth_section = KS_auth\ncafile = /own.pem\n' +
      '[ks_auth]\nauth_url = http://ks/v2.0\nauth_type = v2password\nusername = u\npassword = p\ntenant_name = t\n' +
      'insecure = true\ndefault_domain_name = D\nuser_domain_id = i\n';
    const imported = await importText(context, text);
    const login = {
      auth_url: 'http://ks/v3',
      auth_type: 'v3password',
      username: 'u',
      password: 'secret:p',
      project_name: 't',
      user_domain_id: 'i',
      project_domain_name: 'D',
    };
    const { api, fetcher } = plain(imported.root) as Record<string, Record<string, unknown>>;
    assert.deepEqual(api?.keystone, { ...login, cafile: '/own.pem' });
    assert.deepEqual(fetcher?.options, { ...login, cafile: '/own.pem' }, 'logs in as another does');
    assert.match(
      outcomeOf(imported, 'ks_auth', 'insecure'),
      /^ignored: .*are read from the section with auth_section/,
    );
    assert.ok(imported.advice.some((text) => text.startsWith('[fetcher_keystone] has no credentials')));
  });

  it('keeps user and project out of an application credential', async (context) => {
    const text =
      '[keystone_authtoken]\nauth_url = http://ks\napplication_credential_id = i\napplication_credential_secret = s\n' +
      'username = u\nproject_name = p\n';
    const imported = await importText(context, text);
    const { api } = plain(imported.root) as Record<string, Record<string, unknown>>;
    assert.deepEqual(api?.keystone, {
      auth_url: 'http://ks',
      auth_type: 'v3applicationcredential',
      application_credential_id: 'i',
      application_credential_secret: 'secret:s',
    });
    assert.match(outcomeOf(imported, 'keystone_authtoken', 'username'), /^ignored: .*built in/);
  });

  it('refuses ways to log in that Ratecat does not know, and secrets of several lines', async (context) => {
    assert.deepEqual(
      await faultsOf(
        context,
        `${LOGIN}auth_type = v3token\n[collector_gnocchi]\nusername = u\npassword = a\n  b\n`,
      ),
      [
        "5:13 [keystone_authtoken] auth_type: Ratecat cannot log in with 'v3token' (use password, v3password or v3applicationcredential)",
        '8:12 [collector_gnocchi] password: a secret has one line (remove the line breaks, or the blanks before the next option)',
      ],
    );
  });

  it('listens on this machine only when nobody is asked who they are', async (context) => {
    for (const host of ['', '[api]\nhost_ip = 0.0.0.0\n']) {
      const { api } = await resultOf(context, `[DEFAULT]\nauth_strategy = noauth\n${host}${LOGIN}`);
      assert.deepEqual(api, { host: '127.0.0.1', auth: 'noauth' });
    }
    const { api } = await resultOf(
      context,
      `[DEFAULT]\nauth_strategy = noauth\n[api]\nhost_ip = ::1\n${LOGIN}`,
    );
    assert.equal(api.host, '::1');
  });

  it('takes user and password out of the URL of a Prometheus', async (context) => {
    const text =
      '[DEFAULT]\nauth_strategy = noauth\n[fetcher]\nbackend = source\n[fetcher_source]\nsources = a, b\n' +
      '[collect]\ncollector = prometheus\n[collector_prometheus]\nprometheus_url = https://me:p%40ss@prom:9090/api/v1\n';
    const { collector, fetcher } = await resultOf(context, text);
    assert.deepEqual(collector.options, {
      prometheus_url: 'https://prom:9090/api/v1',
      prometheus_user: 'me',
      prometheus_password: 'secret:p@ss',
    });
    assert.deepEqual(fetcher, { plugin: 'source', options: { sources: ['a', 'b'] } });
  });

  const urls: readonly (readonly [url: string, options: Readonly<Record<string, string>>])[] = [
    ['https://me:p@ss@prom:9090/', { url: 'https://prom:9090/', user: 'me', password: 'p@ss' }],
    ['HTTPS://me:prometheus-secret@prom', { url: 'HTTPS://prom', user: 'me', password: 'prometheus-secret' }],
    [
      'http://me@dom:prometheus-secret@prom',
      { url: 'http://prom', user: 'me@dom', password: 'prometheus-secret' },
    ],
    ['http://prom/a@b', { url: 'http://prom/a@b' }],
    ['http://me@prom', { url: 'http://prom', user: 'me' }],
  ];
  for (const [url, { url: rest, user, password }] of urls) {
    it(`takes ${url} of a Prometheus apart at the last @ before its path`, async (context) => {
      const text =
        '[DEFAULT]\nauth_strategy = noauth\n[fetcher]\nbackend = source\n[fetcher_source]\nsources = a\n' +
        `[collect]\ncollector = prometheus\n[collector_prometheus]\nprometheus_url = ${url}\n`;
      const imported = await importText(context, text);
      assert.deepEqual((plain(imported.root) as { collector: unknown }).collector, {
        plugin: 'prometheus',
        options: {
          prometheus_url: rest,
          ...(user === undefined ? {} : { prometheus_user: user }),
          ...(password === undefined ? {} : { prometheus_password: `secret:${password}` }),
        },
      });
      if (password !== undefined) assert.ok(!asText(imported).text.includes(password));
    });
  }

  it('refuses the URL of a Prometheus whose password cannot be told from the rest', async (context) => {
    const text =
      '[DEFAULT]\nauth_strategy = noauth\n[fetcher]\nbackend = source\n[fetcher_source]\nsources = a\n' +
      '[collect]\ncollector = prometheus\n[collector_prometheus]\nprometheus_url = http://me:prometheus/secret@prom\n';
    const [fault = ''] = await faultsOf(context, text);
    assert.match(fault, /^10:18 \[collector_prometheus\] prometheus_url: holds a password in a URL/);
    assert.ok(!fault.includes('secret@'));
  });

  it('refuses passwords in other URLs without showing them', async (context) => {
    const text = `${LOGIN}[collector_gnocchi]\ngnocchi_auth_type = basic\ngnocchi_endpoint = http://u:p4ss@gnocchi:8041\n`;
    assert.deepEqual(await faultsOf(context, text), [
      '7:20 [collector_gnocchi] gnocchi_endpoint: holds a password in a URL (write the URL without user and password)',
    ]);
  });

  it('keeps a skip expression that Ratecat understands and warns of one that it does not', async (context) => {
    const expression = 'datapoint["vol"]["qty"] == 0';
    const text = (value: string) => `${LOGIN}[orchestrator]\nskip_datapoints_expression = ${value}\n`;
    const { collect } = await resultOf(context, text(expression));
    assert.equal(collect.skip_datapoints_expression, expression);
    const python = await importText(context, text('__import__("os").system("x")'));
    assert.equal((python.root.collect as Record<string, unknown>).skip_datapoints_expression, undefined);
    assert.match(
      brief(python.warnings[0]!),
      /^6:30 \[orchestrator\] skip_datapoints_expression: no point is skipped: /,
    );
    const off = await importText(context, text('False'));
    assert.match(
      outcomeOf(off, 'orchestrator', 'skip_datapoints_expression'),
      /^ignored: .*nothing is skipped/,
    );
  });

  it('uses the policy files of oslo.policy that exist, named or not', async (context) => {
    const folder = await folderWith(context, {
      'cloudkitty.conf': LOGIN,
      'metrics.yml': readFileSync(CURRENT_METRICS),
      'policy.json': '{}',
      'other.yaml': '{}',
    });
    await mkdir(join(folder, 'rules.d'));
    await writeFile(join(folder, 'rules.d', '1.yaml'), '{}');
    const file = join(folder, 'cloudkitty.conf');
    const api = async () => {
      const { root, outcomes } = await importConfig({ files: [file], folders: [], checkExpression });
      const { policy_file, policy_dirs } = root.api as Record<string, unknown>;
      return {
        policy_file,
        policy_dirs,
        kinds: outcomes.filter(({ entry }) => entry.section === 'oslo_policy').map(({ kind }) => kind),
      };
    };
    assert.deepEqual(await api(), {
      policy_file: join(folder, 'policy.json'),
      policy_dirs: undefined,
      kinds: [],
    });
    await writeFile(file, `${LOGIN}[oslo_policy]\npolicy_file = other.yaml\npolicy_dirs = rules.d\n`);
    assert.deepEqual(await api(), {
      policy_file: join(folder, 'other.yaml'),
      policy_dirs: [join(folder, 'rules.d')],
      kinds: ['used', 'used'],
    });
    await writeFile(file, `${LOGIN}[oslo_policy]\npolicy_file = missing.yaml\npolicy_dirs = missing.d\n`);
    assert.deepEqual(await api(), {
      policy_file: undefined,
      policy_dirs: undefined,
      kinds: ['ignored', 'ignored'],
    });
  });

  describe('of a storage', () => {
    const influxdbSection = '[storage_influxdb]\nhost = influx\nuser = u\npassword = influx-secret\n';

    it('goes on with InfluxDB 1, with the points that CloudKitty stored there', async (context) => {
      const text =
        `${LOGIN}[storage]\nbackend = influxdb\n${influxdbSection}port = 18086\ndatabase = ck\nretention_policy = long\n` +
        'use_ssl = true\ninsecure = false\ncafile = /ca.pem\nversion = 1\n[collect]\nscope_key = domain_id\n';
      const imported = await importText(context, text);
      assert.deepEqual(plain(imported.root).storage, {
        plugin: 'influxdb',
        options: {
          host: 'influx',
          username: 'u',
          password: 'secret:influx-secret',
          database: 'ck',
          retention_policy: 'long',
          cafile: '/ca.pem',
          port: 18086,
          use_ssl: true,
          insecure: false,
          reference: { source: 'openstack', scope_key: 'domain_id' },
        },
      });
      assert.equal(outcomeOf(imported, 'storage_influxdb', 'port'), 'used: storage.options.port');
      assert.ok(imported.advice.some((advice) => /must not rate any more/.test(advice)));
    });

    it('takes InfluxDB where nothing else is named, as CloudKitty does', async (context) => {
      const storage = async (text: string) => (await resultOf(context, `${LOGIN}${text}`)).storage.plugin;
      assert.equal(await storage(`${influxdbSection}database = ck\n`), 'influxdb');
      assert.equal(await storage('[storage_influxdb]\nhost = left-over\n'), 'sql');
      assert.equal(await storage(''), 'sql');
      assert.equal(
        await storage(`[storage]\nbackend = sqlalchemy\n${influxdbSection}database = ck\n`),
        'sql',
      );
    });

    it('puts rated data into the database in place of InfluxDB 2, and says so', async (context) => {
      const text = `${LOGIN}[storage]\nbackend = influxdb\n${influxdbSection}version = 2\ntoken = influx-secret\nbucket = b\n`;
      const imported = await importText(context, text);
      assert.deepEqual(plain(imported.root).storage, { plugin: 'sql' });
      for (const name of ['version', 'host', 'user', 'password', 'token', 'bucket'])
        assert.match(outcomeOf(imported, 'storage_influxdb', name), /^ignored: .*InfluxDB 1/, name);
      assert.ok(!reportOf(imported).includes('influx-secret'));
    });

    for (const backend of ['elasticsearch', 'opensearch'] as const) {
      const section = `[storage]\nbackend = ${backend}\n[storage_${backend}]\n`;

      it(`goes on with ${backend} in the index that is there`, async (context) => {
        const text =
          `${LOGIN}${section}host = https://u:influx-secret@search:9200\nindex_name = ck\ninsecure = true\n` +
          'cafile = /ca.pem\nscroll_duration = 0\nuse_datastream = false\n';
        const imported = await importText(context, text);
        assert.deepEqual(plain(imported.root).storage, {
          plugin: backend,
          options: {
            host: 'https://search:9200',
            username: 'u',
            password: 'secret:influx-secret',
            insecure: true,
            cafile: '/ca.pem',
            scroll_duration: 1,
            reference: { source: 'openstack', scope_key: 'project_id' },
            index_name: 'ck',
          },
        });
        assert.ok(!asText(imported).text.includes('influx-secret'));
      });

      it(`reads a data stream of ${backend}, and writes beside it`, async (context) => {
        const imported = await importText(context, `${LOGIN}${section}use_datastream = true\n`);
        assert.deepEqual(plain(imported.root).storage, {
          plugin: backend,
          options: {
            reference: { source: 'openstack', scope_key: 'project_id', index_name: 'cloudkitty' },
            index_name: 'cloudkitty-ratecat',
          },
        });
        assert.match(outcomeOf(imported, `storage_${backend}`, 'use_datastream'), /^mapped: .*reference/);
      });
    }

    it('goes on with Loki, and reads the stream that is there', async (context) => {
      const text =
        `${LOGIN}[collect]\nperiod = 1800\n[storage]\nbackend = loki\n[storage_loki]\nurl = https://loki:3100/loki/api/v1\n` +
        'tenant = t\nstream = service:cloudkitty, env : prod,region:eu:1\nshard_days = 7\ninsecure = no\nca_file = /ca.pem\n' +
        'cert_file = /c.pem\nkey_file = /k.pem\ntimeout = 5.5\nbuffer_size = 100\nuse_structured_metadata = true\n';
      const faulty = await faultsOf(context, text);
      assert.equal(faulty.length, 1);
      assert.match(
        faulty[0]!,
        /\[storage_loki\] stream: must be name:value, name:value, got 'service:cloudkitty, env : prod/,
      );
      const imported = await importText(context, text.replace('env : prod', 'env:prod'));
      assert.deepEqual(plain(imported.root).storage, {
        plugin: 'loki',
        options: {
          url: 'https://loki:3100/loki/api/v1',
          tenant: 't',
          cafile: '/ca.pem',
          certfile: '/c.pem',
          keyfile: '/k.pem',
          insecure: false,
          timeout: 5.5,
          shard_days: 7,
          reference: {
            source: 'openstack',
            scope_key: 'project_id',
            period: 1800,
            stream: { service: 'cloudkitty', env: 'prod', region: 'eu:1' },
          },
        },
      });
      assert.match(outcomeOf(imported, 'storage_loki', 'stream'), /^mapped: .*service=ratecat/);
      assert.match(outcomeOf(imported, 'storage_loki', 'buffer_size'), /^ignored: .*whole/);
      assert.match(outcomeOf(imported, 'storage_loki', 'use_structured_metadata'), /^ignored/);
    });

    it('has options that the plugins take', async (context) => {
      const plugins = { influxdb, elasticsearch, opensearch, loki };
      const parts = [
        `influxdb\n${influxdbSection}database = ck\nport = 1\nuse_ssl = on\ncafile = /c\nretention_policy = r\n`,
        'opensearch\n[storage_opensearch]\nhost = http://u:p@h\nuse_datastream = true\nscroll_duration = 300\n',
        'elasticsearch\n[storage_elasticsearch]\nhost = http://h\nindex_name = i\ncafile = /c\ninsecure = off\n',
        'loki\n[storage_loki]\nurl = http://h/loki/api/v1\ntenant = a\nstream = a:b\nca_file = /c\nshard_days = 30\n[collect]\nperiod = 60\n',
      ];
      for (const part of parts) {
        const imported = await importText(context, `${LOGIN}[storage]\nbackend = ${part}`);
        const { plugin, options } = plain(imported.root).storage as {
          plugin: keyof typeof plugins;
          options: unknown;
        };
        const checked = await plugins[plugin].options['~standard'].validate(options);
        assert.equal(checked.issues, undefined, `${plugin}: ${JSON.stringify(checked.issues)}`);
      }
    });

    it('names the place of a port that is none', async (context) => {
      const text = `${LOGIN}[storage]\nbackend = influxdb\n${influxdbSection}port = 0\n`;
      assert.deepEqual(await faultsOf(context, text), [
        "11:8 [storage_influxdb] port: must be a whole number from 1 to 65535, got '0'",
      ]);
    });
  });

  it('writes values that look like variables so that they stay values', async (context) => {
    const imported = await importText(context, `${LOGIN}project_name = a$\${b}\n`);
    assert.match(asText(imported).text, /project_name: a\$\$\{b\}/);
  });

  it('gives one name to one secret, and different ones to different secrets', async (context) => {
    const text =
      '[a.b]\nusername = u\npassword = one\n[a_b]\nusername = u\npassword = two\n[keystone_authtoken]\nauth_section = a.b\nauth_url = http://k\n' +
      '[fetcher_keystone]\nauth_section = a_b\n[collector_gnocchi]\nauth_section = a.b\n';
    const imported = await importText(context, text);
    assert.deepEqual(asText(imported).variables, ['RATECAT_A_B_PASSWORD', 'RATECAT_A_B_PASSWORD_2']);
    const files = asFiles(imported, '/etc/ratecat/mine.yaml').map(({ path }) => path);
    assert.deepEqual(files, [
      '/etc/ratecat/mine.secrets/a.b.password',
      '/etc/ratecat/mine.secrets/a_b.password',
      '/etc/ratecat/mine.metrics.yml',
      '/etc/ratecat/mine.yaml',
    ]);
  });
});
