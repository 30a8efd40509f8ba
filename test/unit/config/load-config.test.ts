// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the syntax of the files under test.
import assert from 'node:assert/strict';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { Environment } from '../../../core/config/environment.js';
import { type LoadSettings, loadConfig } from '../../../core/config/load-config.js';
import type { JsonValue } from '../../../core/plugin-api/index.js';
import { brief, folderWith, MINIMAL, problemsOf } from './config-fixtures.js';

type Context = Parameters<typeof folderWith>[0];

/** Loads text as `ratecat.yml` of a folder that also holds `metrics.yml` and `rules.yml`. */
async function loader(context: Context, files: Readonly<Record<string, string>> = {}) {
  const folder = await folderWith(context, { 'metrics.yml': 'metrics: {}', 'rules.yml': '{}', ...files });
  const file = join(folder, 'ratecat.yml');
  const load = async (
    text: string | Uint8Array,
    environment: Environment = {},
    settings: LoadSettings = {},
  ) => {
    await writeFile(file, text);
    return loadConfig(file, environment, settings);
  };
  const refused = async (...given: Parameters<typeof load>) => {
    const problems = await problemsOf(() => load(...given));
    return problems.map((problem) => brief(problem).replaceAll(folder, '…'));
  };
  return { folder, file, load, refused };
}

describe('loadConfig', () => {
  it('keeps an API without authentication to this machine, unless told otherwise', async (context) => {
    const { load, refused } = await loader(context);
    assert.deepEqual(await refused(`${MINIMAL}api: {host: 0.0.0.0}\n`), [
      `${MINIMAL.split('\n').length}:13 api.host: without authentication everybody who reaches 0.0.0.0 is an administrator (set api.auth to keystone, keep 127.0.0.1, or set api.allow_insecure_bind to true)`,
    ]);
    for (const api of ['{host: "::1"}', '{host: 127.0.0.2}', '{host: 0.0.0.0, allow_insecure_bind: true}'])
      await load(`${MINIMAL}api: ${api}\n`);
    const [missing] = await refused(`${MINIMAL}api: {auth: keystone}\n`);
    assert.match(missing!, /section 'api\.keystone' is required/);
    const [incomplete] = await refused(`${MINIMAL}api: {auth: keystone, keystone: {username: x}}\n`);
    assert.match(incomplete!, /api\.keystone\.auth_url: is required/);
  });

  it('fills in every default', async (context) => {
    const { load, folder, file } = await loader(context);
    const { config, warnings } = await load(MINIMAL);
    assert.deepEqual(warnings, []);
    const plain = JSON.parse(
      JSON.stringify(config, (key, value) => (key === 'options' ? value.value : value)),
    );
    assert.deepEqual(plain, {
      file,
      folder,
      compat: 'fixed',
      dataFolder: join(folder, 'data'),
      database: { url: 'sqlite:ratecat.db' },
      billing: { timeZone: 'UTC' },
      log: { level: 'info', format: 'text' },
      api: {
        enabled: true,
        host: '127.0.0.1',
        port: 8889,
        auth: 'noauth',
        allowInsecureBind: false,
        policyFolders: [],
        cors: { allowedOrigins: [], allowCredentials: true, maxAgeSeconds: 3600 },
        trustedProxies: [],
        healthcheckDisableFile: '/etc/ratecat/healthcheck_disable',
        maxBodyBytes: 67_108_864,
        maxHeaderBytes: 65_536,
        requestTimeoutSeconds: 60,
        rateLimitPerMinute: 0,
        refusedRateLimitPerMinute: 0,
        anonymousQuotes: false,
      },
      metricsServer: { enabled: true, host: '127.0.0.1', port: 9889, processorPort: 9890 },
      processor: {
        workers: 1,
        concurrentScopes: 8,
        concurrentMetrics: 8,
        leaseSeconds: 60,
        collectAhead: 4,
        maxPointsAhead: 200000,
        metricTimeoutSeconds: 300,
        scopeListMaxShrink: 0.5,
        gracefulStopSeconds: 30,
      },
      retry: { firstSeconds: 5, maxSeconds: 900, stuckAfter: 5 },
      storage: { plugin: 'sql', options: {} },
      rating: [
        { plugin: 'hashmap', options: {}, enabled: true, priority: 1 },
        { plugin: 'noop', options: {}, enabled: true, priority: 1 },
        { plugin: 'pyscripts', options: {}, enabled: false, priority: 1 },
      ],
      retention: { automatic: false, policies: [] },
      notifications: [],
      budgets: [],
      pipelines: [
        {
          path: [],
          name: 'default',
          collect: {
            periodSeconds: 3600,
            waitPeriods: 2,
            scopeKey: 'project_id',
            metricsFile: join(folder, 'metrics.yml'),
            lookBackPeriods: 0,
          },
          fetcher: { plugin: 'source', options: {} },
          collector: { plugin: 'prometheus', options: {} },
        },
      ],
    });
  });

  it('maps every written key to its name in the code', async (context) => {
    const { load, folder } = await loader(context);
    const { config } = await load(`compat: strict
data_folder: elsewhere
database: { url: "mysql://u:p@a:1,b:2/d" }
billing: { timezone: Europe/Berlin }
log: { level: debug, format: json }
processor: { workers: 2, concurrent_scopes: 3, concurrent_metrics: 4, lease_seconds: 5, collect_ahead: 6,
  max_points_ahead: 7, metric_timeout: 8, scope_list_max_shrink: 0.9, graceful_stop: 10 }
retry: { first_seconds: 11, max_seconds: 12, stuck_after: 13 }
storage: { plugin: influxdb, options: { bucket: b } }
rating: [ { plugin: ./mine.js, options: { a: [1, null] }, enabled: false, priority: 14, rules: rules.yml } ]
pipelines:
  - name: a.b-c_1
    collect: { period: 900, wait_periods: 0, scope_key: ns, metrics: metrics.yml, look_back: 15,
      start: "2025-01-01T01:00:00+01:00", skip_datapoints_expression: "x" }
    fetcher: { plugin: f, options: { f: 1 } }
    collector: { plugin: c, options: { c: true } }
  - { name: second, collect: { metrics: metrics.yml }, fetcher: { plugin: f }, collector: { plugin: c, options: } }
`);
    assert.equal(config.compat, 'strict');
    assert.equal(config.dataFolder, join(folder, 'elsewhere'));
    assert.equal(config.database.url, 'mysql://u:p@a:1,b:2/d');
    assert.deepEqual(config.billing, { timeZone: 'Europe/Berlin' });
    assert.deepEqual(config.log, { level: 'debug', format: 'json' });
    assert.deepEqual(Object.values(config.processor), [2, 3, 4, 5, 6, 7, 8, 0.9, 10]);
    assert.deepEqual(config.retry, { firstSeconds: 11, maxSeconds: 12, stuckAfter: 13 });
    assert.deepEqual(config.storage.options.value, { bucket: 'b' });
    const [module] = config.rating;
    assert.deepEqual(
      [module?.plugin, module?.options.value, module?.enabled, module?.priority, module?.rulesFile],
      ['./mine.js', { a: [1, null] }, false, 14, join(folder, 'rules.yml')],
    );
    const [first, second] = config.pipelines;
    assert.equal(first?.name, 'a.b-c_1');
    assert.deepEqual(first?.path, ['pipelines', 0]);
    assert.deepEqual(first?.collect, {
      periodSeconds: 900,
      waitPeriods: 0,
      scopeKey: 'ns',
      metricsFile: join(folder, 'metrics.yml'),
      lookBackPeriods: 15,
      start: Date.UTC(2025, 0, 1) / 1000,
      skipExpression: 'x',
    });
    assert.deepEqual(first?.collector.options.value, { c: true });
    assert.deepEqual(first?.collector.options.path, ['pipelines', 0, 'collector', 'options']);
    assert.deepEqual(second?.collector.options.value, {});
  });

  it('prints all problems of a file at once, in order', async (context) => {
    const { refused } = await loader(context);
    const problems = await refused(
      `nmae: default
collect:
  metrics: nowhere.yml
  period: 1h
  wait_period: 1
  start: 2025-01-01
fetcher:
  plugin: 5
billing:
log: {level: debu, format: 5}
processor: {lease_secs: 3, workers: 0, scope_list_max_shrink: 2, collect_ahead: 1.5}
retry: {first_seconds: 1000}
database: {url: "mysq://u:hunter2@h/d"}
rating: [{plugin: hashmap, rules: r.yml}, {plugin: hashmap, enabled: yes, options: 3}]
data_folder: \${NOT_SET}
what: .nan
`,
    );
    assert.deepEqual(problems, [
      "1:1 nmae: unknown key 'nmae' (did you mean 'name'?)",
      '1:1 collector: is required',
      '3:12 collect.metrics: there is no file …/nowhere.yml (paths are relative to the folder of this file)',
      "4:11 collect.period: must be a whole number of seconds from 1 to 2678400, got '1h' (write 3600)",
      "5:3 collect.wait_period: unknown key 'wait_period' (did you mean 'wait_periods'?)",
      "6:10 collect.start: must be an instant in whole seconds with its offset, such as 2025-01-01T00:00:00Z, got '2025-01-01'",
      "8:11 fetcher.plugin: must be text, got '5' (put it in quotes: '5')",
      '9:1 billing: has no value (give it one, or remove the key to use the default)',
      "10:14 log.level: must be one of error, warn, info, debug, got 'debu' (did you mean 'debug'?)",
      "10:28 log.format: must be one of text, json, got '5'",
      "11:13 processor.lease_secs: unknown key 'lease_secs' (did you mean 'lease_seconds'?)",
      "11:37 processor.workers: must be a whole number of processes from 1 to 256, got '0'",
      "11:63 processor.scope_list_max_shrink: must be a share from 0 to 1, got '2'",
      "11:81 processor.collect_ahead: must be a whole number of periods from 0 to 1000, got '1.5'",
      '12:24 retry.first_seconds: first_seconds 1000 is more than max_seconds 900',
      '13:17 database.url: must be the URL of a database: sqlite:file or mysql://user:password@host:3306/database',
      '14:35 rating[0].rules: there is no file …/r.yml (paths are relative to the folder of this file)',
      "14:52 rating[1].plugin: 'hashmap' is already used in line 14 (list each rating module once)",
      "14:70 rating[1].enabled: must be true or false, got 'yes' (write true)",
      "14:84 rating[1].options: must be a mapping of `key: value` lines, got '3'",
      '15:14 data_folder: environment variable NOT_SET is not set (set it, or give a default: ${NOT_SET:-…})',
      "16:7 what: '.nan' is not a finite number (quote it if it is meant as text)",
    ]);
  });
});

describe('a configuration file that is no configuration', () => {
  const cases: Readonly<Record<string, readonly [string | Uint8Array, string]>> = {
    empty: ['', '1:1 : the file is empty (the examples in the config folder show what belongs here)'],
    'only comments': [
      '# nothing\n',
      '1:1 : the file is empty (the examples in the config folder show what belongs here)',
    ],
    'a list': [
      '- collect\n',
      '1:1 : the top level must be a mapping of `key: value` lines (the examples in the config folder show what belongs here)',
    ],
    'a word': [
      'hello\n',
      '1:1 : the top level must be a mapping of `key: value` lines (the examples in the config folder show what belongs here)',
    ],
    'two documents': [
      'a: 1\n---\nb: 2\n',
      "2:1 a: the file holds more than one document (remove the line '---' and what follows)",
    ],
    'invalid UTF-8': [
      Buffer.from('a: 1\nname: caf\xe9\n', 'latin1'),
      '2:10 : invalid UTF-8 (save the file as UTF-8)',
    ],
    'UTF-16': [Buffer.from('\ufeffname: a\n', 'utf16le'), '1:1 : the file is UTF-16 (save it as UTF-8)'],
    'a byte order mark': [
      `\ufeff${MINIMAL}`,
      '1:1 collect: an invisible byte order mark (save the file as UTF-8 without BOM)',
    ],
    'a control character': ['name: "a\u0007"\n', '1:9 name: the control character U+0007 (remove it)'],
    'a tab': [`${MINIMAL}log:\n\tlevel: info\n`, '8:1 log: a tab is used for indentation (use spaces)'],
    'an open quote': [
      `${MINIMAL}name: "abc\n`,
      '8:1 name: Missing closing "quote (is the indentation right, and are all quotes and brackets closed?)',
    ],
    'a line without colon': [
      `collect\n${MINIMAL}`,
      '1:1 ["collect collect"]: this is not a `key: value` line (is a \':\' missing, or the indentation wrong?)',
    ],
    'a custom tag': [
      `${MINIMAL}name: !secret abc\n`,
      "7:7 name: Unresolved tag: !secret (remove the tag, or quote text that begins with '!')",
    ],
    'deep nesting': [
      '['.repeat(100_000),
      '1:101 : values are nested more than 100 deep (is it the right file?)',
    ],
    'an unquoted variable between brackets': [
      `${MINIMAL}log: {level: ${'${LEVEL}'}}\n`,
      "7:15 log.level: '${' cannot stand here unquoted (put quotes around the whole value)",
    ],
    'an alias without anchor': [
      `${MINIMAL}name: *other\n`,
      '7:7 name: alias *other has no anchor before it (quote the value if it is meant as text)',
    ],
    'a circle': [
      `${MINIMAL}storage: &s\n  plugin: sql\n  options: {s: *s}\n`,
      '9:16 storage.options.s: alias *s refers to itself (quote the value if it is meant as text)',
    ],
    'a key that is a list': [
      `${MINIMAL}? [a]\n: 1\n`,
      '7:3 : a key must be plain text (write `name: value`)',
    ],
    'a dangerous key': [
      `${MINIMAL}storage: {plugin: sql, options: {__proto__: {a: 1}}}\n`,
      "7:34 storage.options: '__proto__' cannot be used as a key",
    ],
  };
  for (const [name, [text, expected]] of Object.entries(cases)) {
    it(`is refused with its place: ${name}`, async (context) => {
      const { refused } = await loader(context);
      assert.deepEqual(await refused(text), [expected]);
    });
  }

  it('is refused when it is missing, a folder, too large or unreadable', async (context) => {
    const { folder, file, refused } = await loader(context, { 'secret.yml': MINIMAL });
    const at = (name: string) => problemsOf(() => loadConfig(join(folder, name), {}));
    assert.deepEqual((await at('none.yml')).map(brief), ['1:1 : the file does not exist (check the path)']);
    assert.deepEqual((await at('ratecat.yml/x')).map(brief), [
      '1:1 : the file does not exist (check the path)',
    ]);
    await mkdir(join(folder, 'folder.yml'));
    assert.deepEqual((await at('folder.yml')).map(brief), ['1:1 : is not a regular file (name a YAML file)']);
    assert.deepEqual(await refused(`# ${'x'.repeat(600_000)}\n${MINIMAL}`), [
      '1:1 : the file has 600093 bytes, more than 131072 (is it the right file?)',
    ]);
    await chmod(join(folder, 'secret.yml'), 0);
    // Root reads everything.
    if (process.getuid?.() !== 0) {
      assert.match(brief((await at('secret.yml'))[0]!), /permission denied \(let the user/);
    }
    assert.ok(file.endsWith('ratecat.yml'));
  });

  it('is refused within a second, however it is made', async (context) => {
    const { refused } = await loader(context);
    const hostile = [
      `a:\n${'\tb: 1\n'.repeat(20_000)}`,
      `a: ${'{'.repeat(130_000)}`,
      `a: "${'x\n'.repeat(65_000)}"`,
      'a: '.repeat(40_000),
      '? '.repeat(65_000),
      Array.from({ length: 8_000 }, (_, i) => `key${i}: ${i}`).join('\n'),
      'same: 1\n'.repeat(16_000),
      `${'x'.repeat(130_000)}: 1`,
      Array.from({ length: 450 }, (_, i) => `${' '.repeat(i)}a:`).join('\n'),
    ];
    for (const text of hostile) {
      assert.ok(text.length < 131_072);
      assert.doesNotMatch((await refused(text))[0]!, /bytes/);
    }
  });
});

describe('pipelines', () => {
  const item = (name: string) =>
    `  - { name: ${name}, collect: { metrics: metrics.yml }, fetcher: { plugin: f }, collector: { plugin: c } }\n`;

  it('cannot stand beside the short form', async (context) => {
    const { refused } = await loader(context);
    const problems = await refused(`name: x\n${MINIMAL}pipelines:\n${item('a')}`);
    assert.deepEqual(problems, [
      "1:1 name: 'name' cannot stand beside 'pipelines' (move it into the list, or remove the list)",
      "2:1 collect: 'collect' cannot stand beside 'pipelines' (move it into the list, or remove the list)",
      "4:1 fetcher: 'fetcher' cannot stand beside 'pipelines' (move it into the list, or remove the list)",
      "6:1 collector: 'collector' cannot stand beside 'pipelines' (move it into the list, or remove the list)",
    ]);
  });

  it('have names of their own', async (context) => {
    const { refused } = await loader(context);
    assert.deepEqual(await refused(`pipelines:\n${item('a')}${item('b')}${item('a')}`), [
      "4:13 pipelines[2].name: 'a' is already used in line 2 (each pipeline needs a name of its own)",
    ]);
    for (const name of ['A', '-a', 'a b', '"a/b"', '""', 'a'.repeat(41), 'ä']) {
      assert.match(
        (await refused(`pipelines:\n${item(name)}`))[0]!,
        /^2:13 pipelines\[0\]\.name: must be up to 40 of a-z/,
      );
    }
    assert.deepEqual(await refused(`pipelines:\n${item('api')}`), [
      "2:13 pipelines[0].name: 'api' is reserved for frames pushed through the API",
    ]);
  });

  it('are at least one', async (context) => {
    const { refused } = await loader(context);
    assert.deepEqual(await refused('pipelines: []\n'), ['1:1 pipelines: must hold at least one pipeline']);
    assert.deepEqual(await refused('pipelines: {}\n'), ['1:1 pipelines: must be a list, got a mapping']);
    assert.deepEqual(await refused('pipeline: []\ncompat: fixed\n'), [
      "1:1 pipeline: unknown key 'pipeline' (did you mean 'pipelines'?)",
      '1:1 collect: is required',
      '1:1 fetcher: is required',
      '1:1 collector: is required',
    ]);
  });

  it('need a fetcher, a collector and a metrics file each', async (context) => {
    const { refused } = await loader(context);
    assert.deepEqual(
      await refused('pipelines:\n  - name: a\n    collect: {}\n    fetcher: {options: {}}\n'),
      [
        '2:5 pipelines[0].collector: is required',
        '3:5 pipelines[0].collect.metrics: is required',
        '4:5 pipelines[0].fetcher.plugin: is required',
      ],
    );
  });
});

describe('values', () => {
  it('periods are whole seconds above zero', async (context) => {
    const { refused } = await loader(context);
    const range = 'must be a whole number of seconds from 1 to 2678400';
    const cases: Readonly<Record<string, string>> = {
      '1h': `got '1h' (write 3600)`,
      '"15 min"': `got '15 min' (write 900)`,
      '1d': `got '1d' (write 86400)`,
      "'3600'": `got '3600' (write 3600)`,
      '0': `got '0'`,
      '-3600': `got '-3600'`,
      '0.5': `got '0.5'`,
      '3000000': `got '3000000'`,
      '5000h': `got '5000h'`,
      true: `got 'true'`,
      PT1H: `got 'PT1H'`,
    };
    for (const [value, expected] of Object.entries(cases)) {
      const problems = await refused(MINIMAL.replace('metrics.yml', `metrics.yml\n  period: ${value}`));
      assert.deepEqual(problems, [`3:11 collect.period: ${range}, ${expected}`]);
    }
  });

  it('a period that does not divide a day is a warning', async (context) => {
    const { load } = await loader(context);
    const { config, warnings } = await load(MINIMAL.replace('metrics.yml', 'metrics.yml\n  period: 7000'));
    assert.equal(config.pipelines[0]?.collect.periodSeconds, 7000);
    assert.deepEqual(warnings.map(brief), [
      '3:11 collect.period: periods of 7000 s do not divide a day, so they straddle midnight (a period is counted to the day of its begin; 3600, 900 or 300 are usual)',
    ]);
  });

  it('time zones are those of the tz database', async (context) => {
    const { refused } = await loader(context);
    assert.deepEqual(await refused(`${MINIMAL}billing: {timezone: Europe/Berln}\n`), [
      "7:21 billing.timezone: unknown time zone, got 'Europe/Berln' (did you mean 'Europe/Berlin'?)",
    ]);
    assert.deepEqual(await refused(`${MINIMAL}billing: {timezone: Utopia/Nowhere}\n`), [
      "7:21 billing.timezone: unknown time zone, got 'Utopia/Nowhere'",
    ]);
  });

  it('skip expressions and database URLs are checked by those who understand them', async (context) => {
    const { refused, load } = await loader(context);
    const text = `${MINIMAL.replace('metrics.yml', 'metrics.yml\n  skip_datapoints_expression: "os.system()"')}database: {url: "mysql://u:hunter2@h"}\n`;
    const seen: string[] = [];
    const settings: LoadSettings = {
      checkExpression: (expression) => {
        seen.push(expression);
        return 'is not an expression';
      },
      checkDatabaseUrl: (url) => {
        seen.push(url);
        return 'names no database';
      },
    };
    assert.deepEqual(await refused(text, {}, settings), [
      '3:31 collect.skip_datapoints_expression: is not an expression',
      '8:17 database.url: names no database',
    ]);
    assert.deepEqual(seen, ['os.system()', 'mysql://u:hunter2@h']);
    await load(text, {}, { checkExpression: () => undefined, checkDatabaseUrl: () => undefined });
  });

  it('dataFolder of the caller takes the place of the one in the file', async (context) => {
    const { load } = await loader(context);
    const { config } = await load(MINIMAL, {}, { dataFolder: '/tmp/somewhere' });
    assert.equal(config.dataFolder, '/tmp/somewhere');
  });
});

describe('the environment', () => {
  it('fills references in, with defaults and a way to write them literally', async (context) => {
    const { load } = await loader(context);
    const text = `${MINIMAL.replace('prometheus', () => 'prometheus\n  options:\n    url: "http://${HOST:-localhost}:${PORT}/$${x}"\n    empty: ${EMPTY:-none}\n    plain: $HOME')}`;
    const { config } = await load(text, { PORT: '9090', EMPTY: '' });
    assert.deepEqual(config.pipelines[0]?.collector.options.value, {
      url: 'http://localhost:9090/${x}',
      empty: 'none',
      plain: '$HOME',
    });
  });

  it('cannot add structure, and unquoted values are typed as if they were written', async (context) => {
    const { load, refused } = await loader(context);
    const text = `${MINIMAL}name: \${NAME}\nlog:\n  level: \${LEVEL}\nprocessor:\n  workers: \${WORKERS}\n`;
    const { config } = await load(text, { NAME: 'a', LEVEL: 'warn', WORKERS: '3' });
    assert.equal(config.processor.workers, 3);
    assert.deepEqual(await refused(text, { NAME: 'a\nlog: {level: debug}', LEVEL: 'warn', WORKERS: '3x' }), [
      "7:7 name: must be up to 40 of a-z, 0-9, '.', '_', '-', beginning with a letter or digit, got '${NAME}'",
      "11:12 processor.workers: must be a whole number of processes from 1 to 256, got '${WORKERS}'",
    ]);
  });

  it('is asked for names only', async (context) => {
    const { refused } = await loader(context);
    assert.deepEqual(
      await refused(`${MINIMAL}name: "\${a.b}"\ndata_folder: "\${A:-\${B}}"\ncompat: "\${open"\n`),
      [
        "7:7 name: '${a.b}' is not a reference like ${NAME} or ${NAME:-default} (write $${ for a literal ${)",
        "8:14 data_folder: '${A:-${B}' is not a reference like ${NAME} or ${NAME:-default} (write $${ for a literal ${)",
        "9:9 compat: '${open' is not a reference like ${NAME} or ${NAME:-default} (write $${ for a literal ${)",
      ],
    );
  });
});

describe('secrets in files', () => {
  it('are the first line of the file, relative to the configuration', async (context) => {
    const { load } = await loader(context, { 'db-url': 'mysql://u:p@h/d\n', pw: 's3cret \r\nsecond\n' });
    const text = `${MINIMAL.replace('source', 'source\n  options: {password_file: pw, ca_file: pw, nested: {client_secret_file: "${DIR}/pw"}}')}database: {url_file: db-url}\n`;
    const { config } = await load(text, { DIR: '.' });
    assert.equal(config.database.url, 'mysql://u:p@h/d');
    assert.deepEqual(config.pipelines[0]?.fetcher.options.value as JsonValue, {
      password: 's3cret ',
      ca_file: 'pw',
      nested: { client_secret: 's3cret ' },
    });
  });

  it('are refused when given twice, missing, empty, too large or not a file', async (context) => {
    const { refused, folder } = await loader(context, { pw: 'x', empty: '\nx\n', large: 'x'.repeat(70_000) });
    await mkdir(join(folder, 'folder'));
    const text = `${MINIMAL}storage:
  plugin: x
  options:
    password: a
    password_file: pw
    token_file: none
    secret_file: empty
    api_key_file: large
    passphrase_file: folder
    access_key_file: [pw]
database:
  url: sqlite:x
  url_file: pw
`;
    const hint = (name: string) => `(the first line of the file is the ${name})`;
    assert.deepEqual(await refused(text), [
      "11:5 storage.options.password_file: 'password' and 'password_file' are both given (keep one of them)",
      `12:17 storage.options.token_file: …/none does not exist ${hint('secret')}`,
      `13:18 storage.options.secret_file: the first line of …/empty is empty ${hint('secret')}`,
      `14:19 storage.options.api_key_file: …/large is too large for a secret ${hint('secret')}`,
      `15:22 storage.options.passphrase_file: …/folder is not a regular file ${hint('secret')}`,
      `16:5 storage.options.access_key_file: must be the path of a file ${hint('access_key')}`,
      "19:3 database.url_file: 'url' and 'url_file' are both given (keep one of them)",
    ]);
  });

  it('are never shown in a message', async (context) => {
    const { load } = await loader(context, { pw: 'mysq://u:hunter2@h/d' });
    for (const text of [
      `${MINIMAL}database: {url_file: pw}\n`,
      `${MINIMAL}database: {url: "mysq://u:hunter2@h/d"}\n`,
      `${MINIMAL}database: {url: "\${URL}"}\nname: "\${PASSWORD}"\n`,
    ]) {
      const error = await load(text, { URL: 'x:hunter2', PASSWORD: 'Hunter2 hunter2' }).catch(
        (reason: Error) => reason,
      );
      assert.ok(error instanceof Error);
      assert.doesNotMatch(error.message, /hunter2/);
    }
  });
});
