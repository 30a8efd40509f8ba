import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { openDatabase } from '../../../core/database/open-database.js';
import { AREAS } from '../../../core/doctor/finding.js';
import { capture } from '../cli/capture.js';
import { listed, Patient, problemsOf } from './patient.js';

describe('ratecat doctor on an installation in which everything is right', () => {
  let patient: Patient;

  beforeEach(async () => {
    patient = await Patient.admit(capture);
    await patient.prepare();
  });
  afterEach(() => patient.discharge());

  it('finds nothing, looks at every area and ends with 0', async () => {
    const examined = await patient.examine();
    assert.equal(listed(problemsOf(examined)), '');
    assert.equal(examined.code, 0);
    assert.equal(examined.exit_code, 0);
    assert.equal(examined.worst, 'ok', listed(examined.findings));
    const areas = new Set(examined.findings.map(({ area }) => area));
    assert.deepEqual(
      AREAS.filter((area) => !areas.has(area)),
      ['catalogue'],
      'there is no Keystone',
    );
  });

  it('changes no row, and no file beside those of the database engine', async () => {
    const before = await everything(patient);
    await patient.examine();
    assert.deepEqual(await everything(patient), before);
    assert.ok(before.tables.length > 10, before.tables.join());
  });

  it('leaves a drop folder and its files alone', async () => {
    const inbox = join(patient.folder, 'inbox');
    await mkdir(inbox);
    await writeFile(join(inbox, 'usage.csv'), 'project_id,metric,begin,end,quantity\n');
    const options = { folder: './inbox' };
    patient.config.fetcher = { plugin: 'file', options };
    patient.config.collector = { plugin: 'file', options };
    patient.metrics = { metrics: { cpu: { unit: 'core' } } };
    const { findings } = await patient.examine();
    const ids = findings.map(({ id }) => id);
    assert.ok(ids.includes('fetcher-not-asked') && ids.includes('collector-not-asked'), listed(findings));
    assert.deepEqual(await readdir(inbox), ['usage.csv']);
  });

  it('looks at every pipeline, also where another cannot be built', async () => {
    const { name: _, collect, fetcher, collector, ...common } = patient.config;
    const sky = {
      name: 'sky',
      collect: { ...(collect as object), metrics: './sky.yml' },
      fetcher,
      collector,
    };
    patient.config = { ...common, pipelines: [{ name: 'cloud', collect, fetcher, collector }, sky] };
    await writeFile(join(patient.folder, 'sky.yml'), 'metrics:\n  vm_cores: {}\n');
    const examined = await patient.examine();
    const [broken, ...others] = problemsOf(examined);
    assert.match(listed([broken!]), /^configuration fail config-invalid: .*unit.* @ .*sky\.yml:2:\d+$/);
    assert.deepEqual(others, []);
    assert.equal(examined.code, 78);
    const of = (pipeline: string) =>
      examined.findings.filter(({ where }) => where === `pipeline '${pipeline}'`);
    assert.deepEqual(
      of('cloud').map(({ id }) => id),
      ['scopes-listed', 'collector-answers', 'metric-measured'],
    );
    assert.ok(of('sky').length > 0 && of('sky').every(({ id }) => id === 'not-looked-at'), listed(of('sky')));
  });

  it('takes a price of 0 that somebody wrote for what it is', async () => {
    await patient.execute("UPDATE ratecat_hashmap_mappings SET cost = '0'");
    const examined = await patient.examine();
    assert.equal(listed(problemsOf(examined)), '');
    assert.ok(
      examined.findings.some(({ id }) => id === 'price-zero-meant'),
      listed(examined.findings),
    );
  });

  it('shows areas, findings and a summary to people', async () => {
    const { code, stdout, stderr } = await capture(['doctor', '--config', await patient.write()]);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^configuration\n {2}OK {4}pipeline 'cloud'/);
    assert.match(stdout, /\n\nprices\n {2}OK {4}'vm_cores' \(cpu\): 1 point costs 0\.5 \(scope 'alpha', /);
    assert.match(stdout, /\nNothing is wrong\.\n$/);
  });

  it('shows only what is wrong when asked to, each with its fix below', async () => {
    patient.rules = { services: { cpuu: { mappings: [{ type: 'flat', cost: '1' }] } } };
    await patient.execute('DELETE FROM ratecat_hashmap_mappings');
    const { code, stdout } = await capture(['doctor', '--problems', '--config', await patient.write()]);
    assert.equal(code, 1);
    assert.doesNotMatch(stdout, /^ {2}OK/m);
    assert.match(stdout, /^ {2}WARN {2}.*\[metric-without-rule\]\n {8}fix: Add rules for the service 'cpu'/m);
    assert.match(stdout, /\n\d WARN, \d+ OK\n$/);
  });
});

async function everything(patient: Patient) {
  const database = await openDatabase(`sqlite://${patient.databaseFile}`);
  try {
    const tables = await database.query("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name");
    const rows: unknown[] = [];
    for (const [table] of tables)
      rows.push([table, await database.query(`SELECT * FROM "${String(table)}"`)]);
    const files = (await readdir(patient.folder, { recursive: true })).filter(
      (name) => !/-(wal|shm)$/.test(name),
    );
    const config = await readFile(join(patient.folder, 'ratecat.yml'), 'utf8');
    return { tables: tables.map(([name]) => String(name)), rows, files: files.sort(), config };
  } finally {
    await database.close();
  }
}
