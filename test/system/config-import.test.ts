import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Command, type Finished, ROOT, ratecat } from '../support/daemon.js';

const FIXTURES = join(ROOT, 'test/fixtures/cloudkitty-conf');
const METRICS = join(FIXTURES, 'metrics/current.yml');
const TYPICAL: Readonly<Record<string, readonly string[]>> = {
  kolla: ['--metrics', METRICS],
  stackhpc: [],
  'openstack-helm': ['--metrics', METRICS],
  'red-hat': [],
  charm: ['--metrics', METRICS],
  devstack: ['--metrics', METRICS],
  debian: ['--metrics', METRICS],
  'guide-2017': [],
};
const SECRET = /(broker|database|keystone|memcache|prometheus|influx|credential)-secret/;

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ratecat-import-'));
});
after(() => rm(folder, { recursive: true, force: true }));

async function newFolder(): Promise<string> {
  return mkdtemp(join(folder, 'in-'));
}

function confOf(name: string): string {
  return join(FIXTURES, name, 'cloudkitty.conf');
}

async function filesBelow(path: string): Promise<readonly string[]> {
  const entries = await readdir(path, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

function hasNoSecret({ stdout, stderr }: Finished): void {
  assert.doesNotMatch(stdout, SECRET);
  assert.doesNotMatch(stderr, SECRET);
}

describe('ratecat config import', () => {
  for (const [name, more] of Object.entries(TYPICAL)) {
    it(`makes a configuration of ${name} that 'config check' finds right`, async () => {
      const output = join(await newFolder(), 'new', 'ratecat.yml');
      const imported = await ratecat('config', 'import', confOf(name), ...more, '-o', output);
      assert.equal(imported.code, 0, imported.stderr + imported.stdout);
      assert.equal(imported.stdout, `${output} is right.\n`);
      assert.match(
        imported.stderr,
        /^Read:\n.*cloudkitty\.conf\n[\s\S]*Used as they are:\n[\s\S]*Mapped:\n[\s\S]*Written:\n/,
      );
      hasNoSecret(imported);
      for (const file of await filesBelow(join(output, '..'))) {
        const isSecret = SECRET.test(await readFile(file, 'utf8'));
        const { mode } = await stat(file);
        assert.equal(isSecret, file.includes('ratecat.secrets/'), file);
        if (isSecret) assert.equal((mode & 0o777).toString(8), '600', file);
      }
      const checked = await ratecat('config', 'check', '--config', output, '--print');
      assert.equal(checked.code, 0, checked.stdout + checked.stderr);
      hasNoSecret(checked);
    });
  }

  it('prints a configuration that is right once the variables it names are set', async () => {
    const printed = await ratecat('config', 'import', confOf('kolla'), '--metrics', METRICS);
    assert.equal(printed.code, 0, printed.stderr);
    hasNoSecret(printed);
    assert.match(
      printed.stderr,
      /Set before the start:\n {2}RATECAT_DATABASE_URL\n {2}RATECAT_KEYSTONE_AUTHTOKEN_PASSWORD\n/,
    );
    const file = join(await newFolder(), 'ratecat.yml');
    await writeFile(file, printed.stdout);
    const check = (environment: NodeJS.ProcessEnv) =>
      new Command(['config', 'check', '--config', file], environment).finished;
    const url = { RATECAT_DATABASE_URL: 'mysql://u:p@db/ck' };
    const right = await check({ ...url, RATECAT_KEYSTONE_AUTHTOKEN_PASSWORD: 'x' });
    assert.equal(right.code, 0, right.stdout + right.stderr);
    assert.match(
      (await check(url)).stdout,
      /environment variable RATECAT_KEYSTONE_AUTHTOKEN_PASSWORD is not set/,
    );
  });

  it('replaces existing files with --force only, and says which', async () => {
    const into = await newFolder();
    const output = join(into, 'ratecat.yml');
    const secrets = join(into, 'ratecat.secrets');
    const url = join(secrets, 'database-url');
    await mkdir(secrets);
    await writeFile(url, 'mine\n');
    await chmod(url, 0o644);
    const command = ['config', 'import', confOf('charm'), '--metrics', METRICS, '-o', output];
    const refused = await ratecat(...command);
    assert.equal(refused.code, 64);
    assert.equal(refused.stderr, `error: nothing was written: ${url} exists; --force replaces it\n`);
    assert.deepEqual(await filesBelow(into), [url]);
    assert.equal(await readFile(url, 'utf8'), 'mine\n');
    const forced = await ratecat(...command, '--force');
    assert.equal(forced.code, 0, forced.stderr);
    assert.match(await readFile(url, 'utf8'), /^mysql:\/\/cloudkitty:database-secret@/);
    assert.equal((await stat(url)).mode & 0o777, 0o600);
  });

  it('reads several files and folders, later ones first of all', async () => {
    const into = await newFolder();
    const parts = join(into, 'parts');
    await mkdir(parts);
    await writeFile(join(into, 'last.conf'), '[api]\nport = 1\n[collect]\nscope_key = last\n');
    await writeFile(join(parts, '1.conf'), '[api]\nport = 2\n');
    const output = join(into, 'ratecat.yml');
    const { code, stderr } = await ratecat(
      ...['config', 'import', confOf('openstack-helm'), '--config-file', join(into, 'last.conf')],
      ...['--config-dir', parts, '--config-dir', join(FIXTURES, 'openstack-helm/cloudkitty.conf.d')],
      ...['--metrics', METRICS, '--output', output],
    );
    assert.equal(code, 0, stderr);
    const text = await readFile(output, 'utf8');
    assert.match(text, /port: 2\n/);
    assert.match(text, /scope_key: last\n/);
    assert.match(
      stderr,
      /last\.conf:2:8: \[api\] port: given again as \[api\] port in .*1\.conf:2, which counts/,
    );
  });

  it('refuses a broken file with every place and what to do, and writes nothing', async () => {
    const into = await newFolder();
    const file = join(into, 'cloudkitty.conf');
    await writeFile(file, '[DEFAULT\ndebug = true\npassword keystone-secret\n');
    const output = join(into, 'out', 'ratecat.yml');
    const refused = await ratecat('config', 'import', file, '-o', output);
    assert.equal(refused.code, 78);
    assert.equal(
      refused.stderr,
      `error: The configuration has 2 problems:\n` +
        `${file}:1:9: a section's name must end with ] (write [name] alone on the line; a comment stands on a line of its own)\n` +
        `${file}:3:1: the line has neither '=' nor ':' (write name = value; begin a comment with #, and a further line of the value above with a blank) [RATECAT_CONFIG_INVALID]\n`,
    );
    assert.deepEqual(await filesBelow(into), [file]);
  });

  it('says what is missing: a file to read, a folder that can be written', async () => {
    const none = await ratecat('config', 'import');
    assert.equal(none.code, 64);
    assert.match(none.stderr, /name the file to import, such as \/etc\/cloudkitty\/cloudkitty\.conf/);
    const missing = await ratecat('config', 'import', '/nowhere/cloudkitty.conf');
    assert.equal(missing.code, 78);
    assert.match(missing.stderr, /\/nowhere\/cloudkitty\.conf:1:1: the file does not exist/);
    const output = join(confOf('kolla'), 'ratecat.yml');
    const blocked = await ratecat('config', 'import', confOf('kolla'), '--metrics', METRICS, '-o', output);
    assert.equal(blocked.code, 69);
    assert.match(
      blocked.stderr,
      /database-url cannot be written \(ENOTDIR\)\. Check the folder and its permissions\..* \[RATECAT_OUTPUT_FAILED\]/,
    );
  });

  it('leaves its result and names what is missing when the old configuration was not complete', async () => {
    const into = await newFolder();
    const file = join(into, 'cloudkitty.conf');
    await writeFile(file, '[collect]\ncollector = gnocchi\n');
    const output = join(into, 'ratecat.yml');
    const { code, stdout, stderr } = await ratecat(
      'config',
      'import',
      file,
      '--metrics',
      METRICS,
      '-o',
      output,
    );
    assert.equal(code, 78);
    assert.match(
      stderr,
      /\[keystone_authtoken\] has no credentials: write into the result how the API logs in/,
    );
    assert.match(stdout, /ratecat\.yml:\d+:\d+: fetcher\.options\.auth_url: is required|api\.keystone/);
    assert.ok((await stat(output)).isFile());
  });
});
