import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { capture } from '../cli/capture.js';
import { HOUR, lastHour, listed, Patient } from './patient.js';

interface Case {
  readonly name: string;
  /** Breaks one thing. */
  readonly breaks: (patient: Patient) => Promise<void> | void;
  readonly id: string;
  readonly area: string;
  readonly level: 'warn' | 'fail';
  readonly what: RegExp;
  readonly where?: RegExp;
  readonly fix: RegExp;
  readonly code: number;
  /** Before there is a database. */
  readonly early?: true;
}

function sub(patient: Patient, key: string): Record<string, unknown> {
  return patient.config[key] as Record<string, unknown>;
}

function collect(patient: Patient, change: object): void {
  patient.config.collect = { ...sub(patient, 'collect'), ...change };
}

function metric(patient: Patient, change: object, name = 'vm_cores'): void {
  patient.metrics = {
    metrics: { [name]: { unit: 'core', alt_name: 'cpu', groupby: ['id'], metadata: ['flavor'], ...change } },
  };
}

function dropFolder(patient: Patient, folder: string): void {
  patient.config.fetcher = { plugin: 'file', options: { folder } };
  patient.config.collector = { plugin: 'file', options: { folder } };
}

/** Replaces all rules of hashmap. */
async function rules(patient: Patient, services: object): Promise<void> {
  patient.rules = { services };
  const config = await patient.write();
  const file = `${patient.folder}/rules.yml`;
  const { code, stderr } = await capture(['rules', 'import', '--replace', file, '--config', config]);
  assert.equal(code, 0, stderr);
}

const FLAT = { type: 'flat', cost: '0.5', start: '2000-01-01' };
/** A port on which nobody listens. */
const NOBODY = '127.0.0.1:1';

const CASES: readonly Case[] = [
  // ------------------------------------------------------------------------------------------------- configuration
  {
    name: 'a misspelt key of the configuration',
    breaks: (patient) => {
      patient.config.procesor = { workers: 2 };
    },
    id: 'config-invalid',
    area: 'configuration',
    level: 'fail',
    what: /procesor/,
    where: /ratecat\.yml:\d+:\d+$/,
    fix: /processor/,
    code: 78,
  },
  {
    name: 'a plugin that does not exist',
    breaks: (patient) => {
      patient.config.collector = { plugin: 'prometeus' };
    },
    id: 'config-invalid',
    area: 'configuration',
    level: 'fail',
    what: /No collector plugin 'prometeus'.*did you mean 'prometheus'/,
    where: /ratecat\.yml:\d+:\d+$/,
    fix: /\w/,
    code: 78,
  },
  {
    name: 'a metrics file that is not there',
    breaks: (patient) => collect(patient, { metrics: './metric.yml' }),
    id: 'config-invalid',
    area: 'configuration',
    level: 'fail',
    what: /collect\.metrics: there is no file .*metric\.yml/,
    where: /ratecat\.yml:\d+:\d+$/,
    fix: /relative to the folder/,
    code: 78,
  },
  {
    name: 'extra_args that the collector does not know',
    breaks: (patient) => metric(patient, { extra_args: { agregation_method: 'max' } }),
    id: 'config-invalid',
    area: 'configuration',
    level: 'fail',
    what: /agregation_method/,
    where: /metrics\.yml:\d+:\d+$/,
    fix: /aggregation_method/,
    code: 78,
  },
  {
    name: 'a skip expression that does not parse',
    breaks: (patient) => metric(patient, { skip_datapoints_expression: 'datapoint.get(' }),
    id: 'config-invalid',
    area: 'configuration',
    level: 'fail',
    what: /skip_datapoints_expression/,
    where: /metrics\.yml:\d+:\d+$/,
    fix: /\w/,
    code: 78,
  },
  {
    name: 'periods that straddle midnight',
    breaks: (patient) => collect(patient, { period: 7000 }),
    id: 'config-suspicious',
    area: 'configuration',
    level: 'warn',
    what: /periods of 7000 s do not divide a day/,
    where: /ratecat\.yml:\d+:\d+$/,
    fix: /3600/,
    code: 1,
  },
  {
    name: 'a start in the future',
    breaks: (patient) => collect(patient, { start: '2999-01-01T00:00:00Z' }),
    id: 'start-in-future',
    area: 'configuration',
    level: 'warn',
    what: /'cloud' rates nothing before 2999-01-01/,
    fix: /collect\.start/,
    code: 1,
  },
  // ------------------------------------------------------------------------------------------------------ database
  {
    name: 'a database that nobody has made',
    early: true,
    breaks: () => undefined,
    id: 'database-absent',
    area: 'database',
    level: 'fail',
    what: /there is no database at .*ratecat\.db yet/,
    fix: /ratecat dbsync upgrade/,
    code: 69,
  },
  {
    name: 'a database server that does not answer',
    breaks: (patient) => {
      patient.config.database = { url: `mysql://ratecat:sesame@${NOBODY}/ratecat` };
    },
    id: 'database-unavailable',
    area: 'database',
    level: 'fail',
    what: /does not answer \(127\.0\.0\.1:1: connection refused\)/,
    fix: /^Check that it runs/,
    code: 69,
  },
  {
    name: 'a file that is no database',
    early: true,
    breaks: async (patient) => {
      await mkdir(dirname(patient.databaseFile), { recursive: true });
      await writeFile(
        patient.databaseFile,
        'a text of more than a few bytes, and no database at all\n'.repeat(20),
      );
    },
    id: 'database-refused',
    area: 'database',
    level: 'fail',
    what: /is not an SQLite database/,
    fix: /^Check the path in database\.url/,
    code: 77,
  },
  {
    name: 'tables of an older version',
    breaks: (patient) => patient.execute("DELETE FROM ratecat_migrations WHERE name = '0004-idempotency'"),
    id: 'schema-old',
    area: 'database',
    level: 'fail',
    what: /missing: core 0004-idempotency/,
    fix: /ratecat dbsync upgrade/,
    code: 78,
  },
  {
    name: 'tables of a newer version',
    breaks: (patient) =>
      patient.execute(
        "INSERT INTO ratecat_migrations (module, name, applied_at) VALUES ('core', '9999-later', 0)",
      ),
    id: 'database-newer',
    area: 'database',
    level: 'fail',
    what: /newer ratecat.*core\/9999-later/,
    fix: /^Install the newer ratecat/,
    code: 78,
  },
  // --------------------------------------------------------------------------------------------------------- clock
  {
    name: 'a clock that was ahead when a scope was rated',
    breaks: (patient) => patient.rated('gamma', lastHour() + 30 * 24 * HOUR),
    id: 'rated-beyond-clock',
    area: 'clock',
    level: 'fail',
    what: /after this machine's time/,
    where: /scope 'gamma' of cloud/,
    fix: /ratecat scopes reset --scope gamma/,
    code: 69,
  },
  // -------------------------------------------------------------------------------------------------------- scopes
  {
    name: 'a fetcher whose source does not answer',
    breaks: (patient) => {
      patient.config.fetcher = {
        plugin: 'prometheus',
        options: { url: `http://${NOBODY}`, metric: 'vm_cores' },
      };
    },
    id: 'upstream-unreachable',
    area: 'scopes',
    level: 'fail',
    what: /127\.0\.0\.1:1/,
    fix: /\w/,
    code: 69,
  },
  {
    name: 'a fetcher that looks at a label which nothing has',
    breaks: (patient) => {
      const options = { url: patient.prometheus.url, metric: 'vm_cores', scope_attribute: 'tenant' };
      patient.config.fetcher = { plugin: 'prometheus', options };
    },
    id: 'no-scopes',
    area: 'scopes',
    level: 'fail',
    what: /'prometheus' answers, and lists no scope/,
    fix: /fetcher's options/,
    code: 65,
  },
  {
    name: 'scopes that are no longer listed',
    breaks: async (patient) => {
      for (const scope of ['gamma', 'delta', 'epsilon']) await patient.rated(scope, lastHour());
    },
    id: 'scopes-vanished',
    area: 'scopes',
    level: 'warn',
    what: /3 of 5 known scopes are no longer listed: gamma, delta, epsilon; .*does not believe it/,
    fix: /scope_list_max_shrink/,
    code: 1,
  },
  // ------------------------------------------------------------------------------------------- collector and metrics
  {
    name: 'a collector whose source does not answer',
    breaks: (patient) => {
      patient.config.fetcher = { plugin: 'static', options: { scopes: ['alpha', 'beta'] } };
      patient.config.collector = { plugin: 'prometheus', options: { url: `http://${NOBODY}` } };
    },
    id: 'upstream-unreachable',
    area: 'collector',
    level: 'fail',
    what: /127\.0\.0\.1:1/,
    fix: /\w/,
    code: 69,
  },
  {
    name: 'a collector with a wrong password',
    breaks: (patient) => {
      patient.prometheus.credentials = 'rating:sesame';
      patient.config.fetcher = { plugin: 'static', options: { scopes: ['alpha', 'beta'] } };
      const options = { url: patient.prometheus.url, user: 'rating', password: 'open' };
      patient.config.collector = { plugin: 'prometheus', options };
    },
    id: 'auth-rejected',
    area: 'collector',
    level: 'fail',
    what: /refused the credentials of 'rating' \(401\)/,
    fix: /^Check options\.user and options\.password/,
    code: 77,
  },
  {
    name: 'a misspelt metric',
    breaks: (patient) => metric(patient, {}, 'vm_core'),
    id: 'metric-nothing',
    area: 'metrics',
    level: 'warn',
    what: /'vm_core' gave nothing for 2 scopes/,
    where: /metrics\.yml: 'vm_core' \(cpu\)/,
    fix: /Check the spelling of 'vm_core'/,
    code: 65,
  },
  {
    name: 'series without the label that tells scopes apart',
    breaks: (patient) => {
      patient.config.fetcher = { plugin: 'static', options: { scopes: ['alpha', 'beta'] } };
      patient.prometheus.series = [
        { name: 'vm_cores', labels: { id: 'vm-1', tenant: 'alpha', flavor: 'small' } },
      ];
    },
    id: 'scope-label-missing',
    area: 'metrics',
    level: 'warn',
    what: /'vm_cores' exists upstream, but 1 of its series have no 'project_id'/,
    fix: /collect\.scope_key/,
    code: 65,
  },
  {
    name: 'a source that records less often than a period lasts',
    breaks: (patient) => {
      collect(patient, { period: 900 });
      patient.config.fetcher = { plugin: 'static', options: { scopes: ['alpha', 'beta'] } };
      patient.prometheus.series = patient.prometheus.series.map((series) => ({
        ...series,
        interval: 2 * 900,
      }));
    },
    id: 'granularity-too-coarse',
    area: 'metrics',
    level: 'warn',
    what: /in 3 of 6 successive periods: the source records it less often than every 900 s/,
    fix: /multiple of the interval/,
    code: 1,
  },
  ...[
    { period: 900, what: /force_granularity is 3600 s, longer than a period of 900 s/ },
    { period: 5400, what: /force_granularity is 3600 s, which does not divide a period of 5400 s/ },
  ].map(
    ({ period, what }): Case => ({
      name: `a granularity that does not fit periods of ${period} s, although nobody can be asked`,
      breaks: (patient) => {
        collect(patient, { period });
        metric(patient, { extra_args: { resource_type: 'instance', force_granularity: 3600 } });
        patient.config.collector = {
          plugin: 'gnocchi',
          options: { auth_url: `http://${NOBODY}/v3`, username: 'ratecat', password: 'sesame' },
        };
      },
      id: 'granularity-unfit',
      area: 'metrics',
      level: 'warn',
      what,
      where: /metrics\.yml: 'vm_cores' \(cpu\)/,
      fix: /Set force_granularity to a divisor of collect\.period/,
      code: 69,
    }),
  ),
  {
    name: 'a drop folder that is not there',
    breaks: (patient) => dropFolder(patient, './inbux'),
    id: 'folder-absent',
    area: 'collector',
    level: 'warn',
    what: /there is no folder .*\/inbux yet/,
    fix: /Correct options\.folder/,
    code: 1,
  },
  {
    name: 'a drop folder that is a file',
    breaks: (patient) => dropFolder(patient, './ratecat.yml'),
    id: 'folder-unusable',
    area: 'collector',
    level: 'fail',
    what: /ratecat\.yml cannot be used: it is no folder/,
    fix: /right to read and write/,
    code: 78,
  },
  {
    name: 'a metric whose samples ended hours ago',
    breaks: (patient) => {
      const fetched = { name: 'vm_info', labels: { project_id: 'alpha' } };
      const ended = { name: 'vm_cores', labels: { project_id: 'alpha', id: 'vm-1', flavor: 'small' } };
      patient.prometheus.series = [fetched, { ...ended, until: lastHour() - 3 * HOUR - 1 }];
      patient.config.fetcher = { plugin: 'static', options: { scopes: ['alpha'] } };
    },
    id: 'metric-stale',
    area: 'metrics',
    level: 'warn',
    what: /no sample in the newest period; the newest is of the period /,
    fix: /still runs/,
    code: 1,
  },
  {
    name: 'a label in groupby that no series has',
    breaks: (patient) => metric(patient, { groupby: ['id', 'flavour'] }),
    id: 'attribute-missing',
    area: 'metrics',
    level: 'warn',
    what: /no sample of 'vm_cores' has 'flavour'/,
    fix: /Correct 'flavour'/,
    code: 1,
  },
  {
    name: 'a source that has forgotten what is due',
    breaks: (patient) => {
      patient.prometheus.begins = Math.floor(Date.now() / 1000) - 1;
      patient.prometheus.series = [];
      patient.config.fetcher = { plugin: 'static', options: { scopes: ['alpha', 'beta'] } };
    },
    id: 'metric-unmeasurable',
    area: 'metrics',
    level: 'warn',
    what: /'vm_cores' cannot be measured: Prometheus has no data from before /,
    fix: /become gaps, never zeros/,
    code: 65,
  },
  {
    name: 'a source in which nothing is found',
    breaks: (patient) => {
      patient.config.fetcher = { plugin: 'static', options: { scopes: ['alpha', 'beta'] } };
      patient.prometheus.series = [];
    },
    id: 'no-metric-measured',
    area: 'metrics',
    level: 'fail',
    what: /nothing will be billed/,
    fix: /collect\.scope_key/,
    code: 65,
  },
  {
    name: 'a metric whose values are no numbers',
    breaks: (patient) => {
      patient.prometheus.series = patient.prometheus.series.map((series) => ({ ...series, value: 'NaN' }));
    },
    id: 'sample-not-a-number',
    area: 'metrics',
    level: 'fail',
    what: /has the value 'NaN'/,
    where: /metrics\.yml: 'vm_cores' \(cpu\)/,
    fix: /^Repair the exporter/,
    code: 65,
  },
  // ------------------------------------------------------------------------------------------------ modules and rules
  {
    name: 'a module that somebody disabled',
    breaks: (patient) => patient.execute("UPDATE ratecat_modules SET enabled = 0 WHERE name = 'hashmap'"),
    id: 'module-disabled',
    area: 'modules',
    level: 'warn',
    what: /'hashmap' is enabled in the configuration, but was disabled in the database/,
    fix: /ratecat modules enable hashmap/,
    code: 78,
  },
  {
    name: 'no module that could price anything',
    breaks: (patient) => {
      patient.config.rating = [{ plugin: 'noop' }];
    },
    id: 'no-module-enabled',
    area: 'modules',
    level: 'fail',
    what: /everything costs 0/,
    fix: /ratecat modules enable hashmap/,
    code: 78,
  },
  {
    name: 'an enabled module that is gone from the configuration',
    breaks: (patient) => {
      patient.config.rating = [{ plugin: 'noop' }];
    },
    id: 'module-not-configured',
    area: 'modules',
    level: 'warn',
    what: /'hashmap' is enabled in the database, but the configuration does not have it/,
    fix: /plugin: hashmap/,
    code: 78,
  },
  {
    name: 'a module that the database does not know',
    breaks: (patient) => patient.execute("DELETE FROM ratecat_modules WHERE name = 'hashmap'"),
    id: 'module-without-state',
    area: 'modules',
    level: 'warn',
    what: /does not know the module 'hashmap' yet/,
    fix: /ratecat dbsync upgrade/,
    code: 78,
  },
  {
    name: 'a module without rules',
    breaks: (patient) => rules(patient, {}),
    id: 'module-without-rules',
    area: 'modules',
    level: 'warn',
    what: /'hashmap' is enabled and has no rules/,
    fix: /ratecat rules import FILE/,
    code: 1,
  },
  {
    name: 'a rules file with a mistake',
    breaks: (patient) => {
      patient.rules = { services: { cpu: { mappings: [{ type: 'flatt', cost: '1' }] } } };
    },
    id: 'hashmap-document-invalid',
    area: 'modules',
    level: 'fail',
    what: /type/,
    where: /rules\.yml$/,
    fix: /\w/,
    code: 65,
  },
  {
    name: 'an alt_name that no rule matches',
    breaks: (patient) => metric(patient, { alt_name: 'cpus' }),
    id: 'metric-without-rule',
    area: 'rules',
    level: 'warn',
    what: /no rule applies to 'vm_cores' \(cpus\)/,
    fix: /rules for 'cpu'.*call the service 'cpus'/,
    code: 1,
  },
  {
    name: 'rules for a service that is no metric',
    breaks: (patient) => rules(patient, { cpu: { mappings: [FLAT] }, storage: { mappings: [FLAT] } }),
    id: 'rule-without-metric',
    area: 'rules',
    level: 'warn',
    what: /rules for 'storage', which no metric is called/,
    where: /hashmap: service 'storage'/,
    fix: /Correct the name of the service/,
    code: 1,
  },
  {
    name: 'rules by the name of the source in place of alt_name',
    breaks: (patient) => rules(patient, { vm_cores: { mappings: [FLAT] } }),
    id: 'rule-without-metric',
    area: 'rules',
    level: 'warn',
    what: /rules for 'vm_cores', which no metric is called/,
    fix: /Rules go by alt_name: call the service 'cpu'/,
    code: 1,
  },
  {
    name: 'rules on a field that is not collected',
    breaks: (patient) =>
      rules(patient, {
        cpu: { mappings: [FLAT], fields: { flavour: { mappings: [{ ...FLAT, value: 'small' }] } } },
      }),
    id: 'field-not-collected',
    area: 'rules',
    level: 'warn',
    what: /the field 'flavour', which no metric called 'cpu' collects; did you mean 'flavor'\?/,
    fix: /Add 'flavour' to groupby or metadata/,
    code: 1,
  },
  {
    name: 'rules that have ended',
    breaks: (patient) => rules(patient, { cpu: { mappings: [{ ...FLAT, end: '2001-01-01' }] } }),
    id: 'rules-not-valid-now',
    area: 'rules',
    level: 'warn',
    what: /no rule of 'cpu' is valid now: the last one ended at 2001-01-01T/,
    fix: /dates/,
    code: 1,
  },
  // -------------------------------------------------------------------------------------------------------- prices
  {
    name: 'prices of zero, because the rules begin later',
    breaks: (patient) => rules(patient, { cpu: { mappings: [{ ...FLAT, start: '2998-01-01' }] } }),
    id: 'price-zero-not-valid',
    area: 'prices',
    level: 'warn',
    what: /'vm_cores' \(cpu\) costs 0: none of its 1 rules is valid at /,
    fix: /begin of a period/,
    code: 1,
  },
  {
    name: 'prices of zero, because no rule is for the metric',
    breaks: (patient) => rules(patient, { cpus: { mappings: [FLAT] } }),
    id: 'price-zero-no-rule',
    area: 'prices',
    level: 'warn',
    what: /no rule is for 'cpu'; did you mean 'cpus'\?/,
    fix: /Add rules for the service 'cpu'/,
    code: 1,
  },
  {
    name: 'prices of zero, because the rules are for another tenant',
    breaks: (patient) => rules(patient, { cpu: { mappings: [{ ...FLAT, tenant: 'omega' }] } }),
    id: 'price-zero-other-tenant',
    area: 'prices',
    level: 'warn',
    what: /for other tenants only \('omega'\)/,
    fix: /without a tenant/,
    code: 1,
  },
  {
    name: 'prices of zero, because there are rates without a flat price',
    breaks: (patient) => rules(patient, { cpu: { mappings: [{ ...FLAT, type: 'rate' }] } }),
    id: 'price-zero-rates-only',
    area: 'prices',
    level: 'warn',
    what: /rates only/,
    fix: /flat rule/,
    code: 1,
  },
  {
    name: 'prices of zero, because no rule is for the value of a field',
    breaks: (patient) =>
      rules(patient, { cpu: { fields: { flavor: { mappings: [{ ...FLAT, value: 'smal' }] } } } }),
    id: 'price-zero-value-without-rule',
    area: 'prices',
    level: 'warn',
    what: /no rule on 'flavor' is for 'small'; there are rules for 'smal'; did you mean 'smal'\?/,
    fix: /Add rules for these values of 'flavor'/,
    code: 1,
  },
  {
    name: 'prices of zero, because no point has the field of the rules',
    breaks: async (patient) => {
      metric(patient, { metadata: ['zone'] });
      await rules(patient, { cpu: { fields: { zone: { mappings: [{ ...FLAT, value: 'north' }] } } } });
    },
    id: 'price-zero-field-missing',
    area: 'prices',
    level: 'warn',
    what: /its rules go by 'zone', which no point has/,
    fix: /Add 'zone' to groupby or metadata/,
    code: 1,
  },
  {
    name: 'a skip expression that leaves out everything',
    breaks: (patient) =>
      metric(patient, { skip_datapoints_expression: 'datapoint.get("vol", {}).get("qty", 0) > 0' }),
    id: 'points-left-out',
    area: 'prices',
    level: 'warn',
    what: /skip_datapoints_expression leaves out every point/,
    fix: /Nothing of this metric is stored/,
    code: 1,
  },
  {
    name: 'a script in force, which is not run',
    breaks: async (patient) => {
      patient.config.rating = [{ plugin: 'hashmap' }, { plugin: 'pyscripts' }];
      const { code, stderr } = await capture(['dbsync', 'upgrade', '--config', await patient.write()]);
      assert.equal(code, 0, stderr);
      await patient.execute(
        `INSERT INTO ratecat_pyscripts_scripts (script_id, name, data, checksum, created_at, starts_at, created_by)
         VALUES ('11111111-1111-1111-1111-111111111111', 'half price', '', '', 0, 0, 'somebody')`,
      );
    },
    id: 'scripts-unsupported',
    area: 'prices',
    level: 'fail',
    what: /Script 'half price'/,
    fix: /ratecat modules disable pyscripts/,
    code: 65,
  },
  // ----------------------------------------------------------------------------------------------------- progress
  {
    name: 'a scope that is stuck',
    breaks: (patient) =>
      patient.execute(
        "UPDATE ratecat_scopes SET state = 'stuck', failures = 7, reason = 'NaN' WHERE scope_id = 'beta'",
      ),
    id: 'scope-stuck',
    area: 'progress',
    level: 'fail',
    what: /after 7 failures: NaN/,
    where: /scope 'beta' of cloud/,
    fix: /catches up by itself/,
    code: 65,
  },
  {
    name: 'a scope that is far behind',
    breaks: (patient) =>
      patient.execute('UPDATE ratecat_scopes SET watermark = ? WHERE scope_id = ?', [
        lastHour() - 50 * HOUR,
        'beta',
      ]),
    id: 'scope-behind',
    area: 'progress',
    level: 'warn',
    what: /5\d due periods are not rated, the oldest for 2 d \d h/,
    where: /scope 'beta' of cloud/,
    fix: /whether a processor runs/,
    code: 1,
  },
  {
    name: 'due scopes and no processor',
    breaks: (patient) => patient.execute('UPDATE ratecat_scopes SET watermark = ?', [lastHour() - 50 * HOUR]),
    id: 'no-processor',
    area: 'processors',
    level: 'warn',
    what: /no processor has touched any of them/,
    fix: /ratecat processor/,
    code: 1,
  },
  {
    name: 'no processor ever',
    breaks: (patient) => patient.execute('DELETE FROM ratecat_scopes'),
    id: 'nothing-rated-yet',
    area: 'progress',
    level: 'warn',
    what: /no processor has seen a scope yet/,
    fix: /ratecat up/,
    code: 1,
  },
  {
    name: 'a pipeline that was renamed',
    breaks: (patient) => {
      patient.config.name = 'sky';
    },
    id: 'source-not-configured',
    area: 'progress',
    level: 'warn',
    what: /2 scopes belong to the pipeline 'cloud'/,
    fix: /name: cloud/,
    code: 1,
  },
  {
    name: 'a lease of a process that died',
    breaks: (patient) =>
      // Beyond the largest process id that the kernel gives.
      patient.execute('UPDATE ratecat_scopes SET owner = ?', [`${hostname().slice(0, 60)}:4999999:abcdef`]),
    id: 'processor-dead',
    area: 'processors',
    level: 'warn',
    what: /2 scopes held by process 4999999 of this machine/,
    fix: /lease_seconds/,
    code: 1,
  },
  {
    name: 'more stuck scopes than anybody reads',
    breaks: async (patient) => {
      for (let i = 0; i < 11; i++) await patient.rated(`stuck-${i}`, lastHour());
      await patient.execute("UPDATE ratecat_scopes SET state = 'stuck' WHERE scope_id LIKE 'stuck-%'");
    },
    id: 'more-scopes',
    area: 'progress',
    level: 'warn',
    what: /and 1 more scopes in the same state/,
    fix: /ratecat status/,
    code: 65,
  },
  {
    name: 'reprocessing of a scope that is switched off',
    breaks: async (patient) => {
      await patient.execute("UPDATE ratecat_scopes SET active = 0 WHERE scope_id = 'beta'");
      await patient.execute(
        `INSERT INTO ratecat_reprocess_tasks (scope, begin_at, end_at, reason, author, created_at, finished, failures)
         SELECT id, 0, 3600, 'new prices', 'somebody', 0, 0, 0 FROM ratecat_scopes WHERE scope_id = 'beta'`,
      );
    },
    id: 'reprocessing-waits',
    area: 'reprocessing',
    level: 'warn',
    what: /waits, because the scope is switched off/,
    where: /scope 'beta' of cloud/,
    fix: /Switch the scope on/,
    code: 1,
  },
  {
    name: 'reprocessing that fails',
    breaks: (patient) =>
      patient.execute(
        `INSERT INTO ratecat_reprocess_tasks (scope, begin_at, end_at, reason, author, created_at, finished, failures, failure)
         SELECT id, 0, 3600, 'new prices', 'somebody', 0, 0, 3, 'the source is down' FROM ratecat_scopes WHERE scope_id = 'beta'`,
      ),
    id: 'reprocessing-fails',
    area: 'reprocessing',
    level: 'warn',
    what: /failed 3 times: the source is down/,
    where: /scope 'beta' of cloud/,
    fix: /tried again by itself/,
    code: 1,
  },
];

describe('ratecat doctor finds by name', () => {
  let patient: Patient;
  beforeEach(async () => {
    patient = await Patient.admit(capture);
  });
  afterEach(() => patient.discharge());

  for (const { name, breaks, early, id, area, level, what, where, fix, code } of CASES) {
    it(`${name}: ${id}`, async () => {
      if (early !== true) await patient.prepare();
      await breaks(patient);
      const examined = await patient.examine();
      const found = examined.findings.filter((finding) => finding.id === id && finding.area === area);
      assert.ok(found.length > 0, listed(examined.findings));
      const fitting = found.find((finding) => what.test(finding.what)) ?? found[0]!;
      assert.match(fitting.what, what);
      assert.equal(fitting.level, level);
      assert.match(fitting.fix ?? '', fix);
      if (where !== undefined) assert.match(fitting.where ?? '', where);
      assert.equal(examined.code, code, listed(examined.findings));
      assert.equal(examined.exit_code, code);
      for (const finding of examined.findings) {
        assert.doesNotMatch(JSON.stringify(finding), /sesame/);
        if (finding.level === 'warn' || finding.level === 'fail') assert.ok(finding.fix, listed([finding]));
      }
    });
  }

  it('has at least twenty of them', () => {
    assert.ok(CASES.length >= 20);
    assert.ok(new Set(CASES.map(({ id }) => id)).size >= 20);
  });
});
