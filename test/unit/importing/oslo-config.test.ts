// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the syntax of the files under test.
import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { OsloConfig } from '../../../core/importing/oslo-config.js';
import { parseOslo } from '../../../core/importing/oslo-file.js';
import { brief, folderWith, problemsOf } from '../config/config-fixtures.js';

function config(...texts: readonly string[]): OsloConfig {
  return OsloConfig.of(...texts.map((text, index) => parseOslo(text, `${index + 1}.conf`)));
}

function value(text: string, section: string, name: string): string | undefined {
  return config(text).find(section, name)?.text;
}

describe('OsloConfig', () => {
  it('lets later files and later lines win, and remembers what they replace', () => {
    const merged = config('[api]\nport = 1\nport = 2\n[api]\nport = 3\n', '[api]\nport = 4\nhost_ip = ::\n');
    assert.equal(merged.find('api', 'port')?.text, '4');
    assert.equal(merged.find('api', 'host_ip')?.text, '::');
    assert.deepEqual(
      merged.superseded.map(({ entry, by }) => [entry.value, `${by.file}:${by.line}`]),
      [
        ['1', '1.conf:3'],
        ['2', '1.conf:5'],
        ['3', '2.conf:2'],
      ],
    );
  });

  it('knows options under the names and in the sections of older releases', () => {
    for (const [text, section, name] of [
      ['[tenant_fetcher]\nbackend = x', 'fetcher', 'backend'],
      ['[keystone_fetcher]\ntenant = x', 'fetcher_keystone', 'project_name'],
      ['[keystone_fetcher]\nurl = x', 'fetcher_keystone', 'auth_url'],
      ['[keystone_fetcher]\nregion = x', 'fetcher_keystone', 'region_name'],
      ['[gnocchi_collector]\nauth-section = x', 'collector_gnocchi', 'auth_section'],
      ['[prometheus_collector]\nprometheus_url = x', 'collector_prometheus', 'prometheus_url'],
      ['[source_fetcher]\nsources = x', 'fetcher_source', 'sources'],
      ['[hybrid_storage]\nbackend = x', 'storage_hybrid', 'backend'],
      ['[keystone_authtoken]\nauth_plugin = x', 'keystone_authtoken', 'auth_type'],
      ['[keystone_authtoken]\nauth_uri = x', 'keystone_authtoken', 'www_authenticate_uri'],
      ['[keystone_authtoken]\nadmin_user = x', 'keystone_authtoken', 'username'],
      ['[keystone_authtoken]\nadmin_password = x', 'keystone_authtoken', 'password'],
      ['[keystone_authtoken]\nadmin_tenant_name = x', 'keystone_authtoken', 'project_name'],
      ['[orchestrator]\nmax_greenthreads = x', 'orchestrator', 'max_threads'],
      ['[storage_influxdb]\nuser = x', 'storage_influxdb', 'username'],
      ['[DEFAULT]\nsql_connection = x', 'database', 'connection'],
      ['[DEFAULT]\npolicy_file = x', 'oslo_policy', 'policy_file'],
    ] as const) {
      assert.equal(value(text, section, name), 'x', text);
    }
  });

  it('takes old names of credentials only in sections that hold some', () => {
    const text =
      '[keystone_fetcher]\nauth_section = ks_auth\n[ks_auth]\nuser_name = a\n[other]\nuser_name = b\n';
    assert.equal(value(text, 'ks_auth', 'username'), 'a');
    assert.equal(value(text, 'other', 'username'), undefined);
    assert.equal(value(text, 'other', 'user_name'), 'b');
  });

  it('lets the name of today win over an old one, in whatever order they stand', () => {
    for (const text of [
      '[fetcher]\nbackend = new\n[tenant_fetcher]\nbackend = old\n',
      '[tenant_fetcher]\nbackend = old\n[fetcher]\nbackend = new\n',
    ]) {
      const merged = config(text);
      assert.equal(merged.find('fetcher', 'backend')?.text, 'new');
      assert.deepEqual(
        merged.superseded.map(({ entry }) => entry.section),
        ['tenant_fetcher'],
      );
    }
  });

  it('takes an empty value for none', () => {
    assert.equal(value('[keystone_authtoken]\ncafile =\n', 'keystone_authtoken', 'cafile'), undefined);
  });

  it('fills in references to other options', () => {
    const text =
      '[DEFAULT]\nroot = /srv\nfolder = $root/${name}\nname = ck\n[api]\nport = 8889\n[collect]\n' +
      'a = $folder\nb = ${api.port}\nc = $api.port\nd = a$$b\ne = \\$root\nf = $5\ng = $nothing\n' +
      '[oslo_messaging_rabbit]\nhosts = $rabbit_host:$rabbit_port\n[tenant_fetcher]\nbackend = x\n[fetcher]\ny = $fetcher.backend\n';
    const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g'];
    const merged = config(text);
    assert.deepEqual(
      names.map((name) => merged.find('collect', name)?.text),
      ['/srv/ck', '8889', '8889', 'a$b', '$root', '$5', '$nothing'],
    );
    assert.equal(merged.find('oslo_messaging_rabbit', 'hosts')?.text, 'localhost:5672');
    assert.equal(merged.find('fetcher', 'y')?.text, 'x');
    assert.deepEqual(merged.warnings.map(brief), [
      '14:5 [collect] g: $nothing refers to no option of these files and was left as it is (write $$ for a dollar sign)',
    ]);
  });

  it('does not show what looks like a reference within a secret', () => {
    const merged = config(
      '[keystone_authtoken]\npassword = pa$secretpart\n[database]\nconnection = mysql://u:$x@h/d\n',
    );
    assert.equal(merged.find('keystone_authtoken', 'password')?.text, 'pa$secretpart');
    assert.deepEqual(merged.warnings.map(brief), [
      '2:12 [keystone_authtoken] password: a $ with a name behind it refers to no option of these files and was left as it is (write $$ for a dollar sign)',
      '4:14 [database] connection: a $ with a name behind it refers to no option of these files and was left as it is (write $$ for a dollar sign)',
    ]);
  });

  it('reports references in a circle in place of following them', () => {
    const { problems } = config('[a]\nx = $y\ny = $z\nz = $x\n');
    assert.ok(problems.length > 0);
    for (const problem of problems) assert.match(brief(problem), /refers to itself/);
  });

  it('takes its time neither for long lines nor for references that multiply', () => {
    const blanks = ' '.repeat(200_000);
    const doubling = Array.from(
      { length: 60 },
      (_, index) => `o${index} = $o${index + 1}$o${index + 1}\n`,
    ).join('');
    const merged = config(`[a]\nx = a${blanks}b${'//'.repeat(100_000)}\n${doubling}o60 = ab\n`);
    assert.equal(merged.find('a', 'x')?.text.length, 65_536);
    assert.equal(merged.find('a', 'o57')?.text, 'ab'.repeat(8));
    assert.match(brief(merged.problems[0]!), /is longer than 65536 characters/);
  });

  it('reads the *.conf files of a folder by name, after the files', async (context) => {
    const folder = await folderWith(context, { 'c.conf': '[api]\nport = 1\nhost_ip = a\n' });
    const inside = join(folder, 'c.conf.d');
    await mkdir(inside);
    await writeFile(join(inside, '20-b.conf'), '[api]\nport = 3\n');
    await writeFile(join(inside, '10-a.conf'), '[api]\nport = 2\n');
    await writeFile(join(inside, '30-no.conf.bak'), '[api]\nport = 9\n');
    const merged = await OsloConfig.read({ files: [join(folder, 'c.conf')], folders: [inside] });
    assert.equal(merged.find('api', 'port')?.text, '3');
    assert.equal(merged.find('api', 'host_ip')?.text, 'a');
    const problems = await problemsOf(() => OsloConfig.read({ files: [], folders: [join(folder, 'none')] }));
    assert.match(
      brief(problems[0]!),
      /the folder cannot be read \(ENOENT\) \(check the path given with --config-dir\)/,
    );
  });
});
