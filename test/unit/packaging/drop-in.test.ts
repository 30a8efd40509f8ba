import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { after, beforeEach, describe, it } from 'node:test';
import { dropIn } from '../../../core/cli/drop-in/drop-in.js';

const folders: string[] = [];
after(() => {
  for (const folder of folders) rmSync(folder, { recursive: true });
});

const CLOUDKITTY = `[DEFAULT]
auth_strategy = noauth
[api]
port = 18889
[collect]
collector = prometheus
metrics_conf = metrics.yml
[collector_prometheus]
prometheus_url = http://127.0.0.1:1/api/v1
[fetcher]
backend = source
[fetcher_source]
sources = alpha
`;
const METRICS = 'metrics:\n  up:\n    unit: instance\n    groupby: [id]\n    metadata: []\n';

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

describe("CloudKitty's commands", () => {
  let folder: string;
  let conf: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'ratecat-drop-in-'));
    folders.push(folder);
    conf = join(folder, 'cloudkitty.conf');
    writeFileSync(conf, CLOUDKITTY);
    writeFileSync(join(folder, 'metrics.yml'), METRICS);
  });

  /** One command line; `ratecat.yml` and `cloudkitty.conf` of the folder are the usual places. */
  async function run(name: string, args: readonly string[] = [], environment = {}): Promise<Ended> {
    const said = { stdout: '', stderr: '' };
    const collecting = (stream: 'stdout' | 'stderr') =>
      new Writable({
        write(chunk, _encoding, done) {
          said[stream] += String(chunk);
          done();
        },
      });
    const world = {
      stdout: collecting('stdout'),
      stderr: collecting('stderr'),
      stdin: Readable.from([]),
      environment,
    };
    const places = { ratecat: join(folder, 'ratecat.yml'), cloudkitty: conf };
    return { code: await dropIn(name, args, world, places), ...said };
  }

  /** The result of an import, with its data below the folder. */
  function withOwnData(file: string): void {
    const text = readFileSync(file, 'utf8').replace(
      /^data_folder: .*$/m,
      `data_folder: ${join(folder, 'data')}`,
    );
    writeFileSync(file, text);
  }

  for (const name of ['api', 'processor', 'dbsync', 'storage-init', 'status'].map(
    (one) => `cloudkitty-${one}`,
  )) {
    it(`explains ${name} and tells its version`, async () => {
      const { code, stdout } = await run(name, ['--help']);
      assert.equal(code, 0);
      assert.match(stdout, new RegExp(`^Usage: ${name} \\[--config-file FILE\\]`));
      assert.match((await run(name, ['--version'])).stdout, /^\d+\.\d+\.\d+\n$/);
    });
  }

  for (const [name, args, says] of [
    ['cloudkitty-writer', [], /no program 'cloudkitty-writer'/],
    ['cloudkitty-api', ['--prot', '1'], /unknown option '--prot'/],
    ['cloudkitty-processor', ['--port', '1'], /unknown option '--port'/],
    ['cloudkitty-processor', ['start'], /unexpected 'start'/],
    ['cloudkitty-dbsync', [], /say 'upgrade' or 'version'/],
    ['cloudkitty-dbsync', ['downgrade'], /tables know no 'downgrade'/],
    ['cloudkitty-dbsync', ['upgrade', 'more'], /say 'upgrade'/],
    ['cloudkitty-status', ['upgrade'], /say 'upgrade check'/],
    ['cloudkitty-status', ['upgrade', 'check', '--config-file'], /--config-file needs a value/],
    ['cloudkitty-dbsync', ['upgrade', '--config-file', 'a.yml', '--config-file', 'b.conf'], /name it alone/],
  ] as const) {
    it(`refuses '${[name, ...args].join(' ')}' with exit code 64`, async () => {
      const { code, stderr } = await run(name, args);
      assert.equal(code, 64, stderr);
      assert.match(stderr, says);
    });
  }

  it("imports CloudKitty's configuration once, leaves it as it is, and keeps stdout for the result", async () => {
    const before = statSync(conf).mtimeMs;
    assert.deepEqual((await run('import-configuration')).stdout, '');
    const file = join(folder, 'ratecat.yml');
    assert.match(readFileSync(file, 'utf8'), /port: 18889/);
    assert.equal(readFileSync(conf, 'utf8'), CLOUDKITTY);
    assert.equal(statSync(conf).mtimeMs, before);
    writeFileSync(file, `${readFileSync(file, 'utf8')}# mine\n`);
    const { code } = await run('import-configuration');
    assert.equal(code, 0);
    assert.match(readFileSync(file, 'utf8'), /# mine\n$/);
  });

  it('says that a change of the original after the import has no effect, and how to take it over', async () => {
    await run('import-configuration');
    assert.doesNotMatch((await run('import-configuration')).stderr, /has no effect/);
    const later = new Date(Date.now() + 60_000);
    utimesSync(conf, later, later);
    assert.match(
      (await run('import-configuration')).stderr,
      /changed after .*ratecat\.yml was made of it, which has no effect; .*'ratecat config import .* --force'/,
    );
    writeFileSync(join(folder, 'ratecat.yml'), 'not: imported\n');
    assert.doesNotMatch((await run('import-configuration')).stderr, /has no effect/);
  });

  it('imports a file in another place beside it, so that two never meet', async () => {
    const other = join(folder, 'other.conf');
    writeFileSync(other, CLOUDKITTY.replace('18889', '18890'));
    await run('import-configuration', ['--config-file', other]);
    assert.match(readFileSync(join(folder, 'other.ratecat.yml'), 'utf8'), /port: 18890/);
    assert.throws(() => statSync(join(folder, 'ratecat.yml')), /ENOENT/);
  });

  it('prepares the database in any order, any number of times, and finds what is missing', async () => {
    await run('import-configuration');
    withOwnData(join(folder, 'ratecat.yml'));
    const missing = await run('cloudkitty-status', ['upgrade', 'check']);
    assert.equal(missing.code, 2, missing.stdout);
    assert.match(missing.stdout, /\| Check: Database +\|\n\| Result: Failure +\|/);
    for (const [name, ...args] of [
      ['cloudkitty-storage-init', '--config-file', conf],
      ['cloudkitty-dbsync', 'upgrade', '--module', 'hashmap'],
      ['cloudkitty-dbsync', '--config-file', conf, '--', 'upgrade'],
      ['cloudkitty-storage-init', '--log-file=/dev/null'],
      ['cloudkitty-dbsync', 'version'],
    ] as const) {
      const { code, stderr } = await run(name, args);
      assert.equal(code, 0, `${name} ${args.join(' ')}: ${stderr}`);
    }
    const { code, stdout } = await run('cloudkitty-status', ['upgrade', 'check']);
    assert.equal(code, 0, stdout);
    const widths = new Set(
      stdout
        .trimEnd()
        .split('\n')
        .map((line) => line.length),
    );
    assert.equal(widths.size, 1, stdout);
  });

  it('tells what is wrong with the configuration in the check of the upgrade, with exit code 2', async () => {
    const file = join(folder, 'wrong.yml');
    writeFileSync(file, 'colect: {}\n');
    const { code, stdout } = await run('cloudkitty-status', ['upgrade', 'check', '--config-file', file]);
    assert.equal(code, 2);
    assert.match(stdout, /Check: Configuration +\|\n\| Result: Failure/);
    assert.match(stdout, /colect/);
    assert.doesNotMatch(stdout, /Check: Database/);
  });

  it('refuses an address that is not the one of the configuration, and says where to set it', async () => {
    await run('import-configuration');
    withOwnData(join(folder, 'ratecat.yml'));
    const port = await run('cloudkitty-api', ['--port', '9999']);
    assert.equal(port.code, 64);
    assert.match(port.stderr, /--port is 9999, but api\.port of .*ratecat\.yml is 18889: set it there/);
    assert.match((await run('cloudkitty-api', ['--host=0.0.0.0'])).stderr, /--host is 0\.0\.0\.0/);
    // The same address is no reason to refuse; the database is, which is not prepared.
    const same = await run('cloudkitty-api', ['-p', '18889', '--host', '127.0.0.1']);
    assert.equal(same.code, 78, same.stderr);
  });

  it('warns of options without effect', async () => {
    const { stderr } = await run('import-configuration', ['--debug', '--log-file', 'x']);
    assert.match(stderr, /warning: --debug has no effect: set 'log\.level'/);
    assert.match(stderr, /warning: --log-file has no effect: logs go to stderr/);
  });

  it('takes $RATECAT_CONFIG, unless a file is named', async () => {
    const named = { RATECAT_CONFIG: join(folder, 'absent.yml') };
    assert.match((await run('cloudkitty-dbsync', ['upgrade'], named)).stderr, /absent\.yml/);
    assert.doesNotMatch((await run('import-configuration', ['--config-file', conf], named)).stderr, /absent/);
  });

  it('says where it looked when there is no configuration at all', async () => {
    rmSync(conf);
    const { code, stderr } = await run('cloudkitty-processor');
    assert.equal(code, 78);
    assert.match(stderr, /neither .*ratecat\.yml nor .*cloudkitty\.conf can be read.*RATECAT_CONFIG_INVALID/);
  });

  it('ends with the code of an import that fails, and writes nothing', async () => {
    writeFileSync(conf, CLOUDKITTY.replace('backend = source', 'backend = fake'));
    const { code, stderr } = await run('cloudkitty-dbsync', ['upgrade']);
    assert.equal(code, 78);
    assert.match(stderr, /no fetcher 'fake'/);
    assert.throws(() => statSync(join(folder, 'ratecat.yml')), /ENOENT/);
  });
});
