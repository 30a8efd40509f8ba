import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { parse } from 'yaml';
import { parseMetrics } from '../../../core/config/load-metrics.js';
import { checkExpression } from '../../../core/daemon/build-pipelines.js';
import { type ImportedConfig, importConfig } from '../../../core/importing/import-config.js';
import { brief, folderWith, problemsOf } from '../config/config-fixtures.js';
import { FIXTURES } from './import-support.js';

const LOGIN = '[keystone_authtoken]\nauth_url = http://ks/v3\nusername = u\npassword = p\n';

async function importWith(
  context: TestContext,
  collect: string,
  files: Readonly<Record<string, string>> = {},
): Promise<ImportedConfig> {
  const folder = await folderWith(context, { 'cloudkitty.conf': `${LOGIN}[collect]\n${collect}`, ...files });
  return importConfig({ files: [join(folder, 'cloudkitty.conf')], folders: [], checkExpression });
}

function fixture(name: string): string {
  return readFileSync(join(FIXTURES, 'metrics', name), 'utf8');
}

const COMPUTE = {
  unit: 'instance',
  alt_name: 'compute',
  groupby: ['id', 'project_id', 'user_id'],
  metadata: ['flavor_name', 'flavor_id', 'vcpus'],
  mutate: 'NUMBOOL',
  extra_args: { resource_type: 'instance', aggregation_method: 'mean', force_granularity: 300 },
};

describe('metrics files', () => {
  it('of today are taken as they are, to the last character', async (context) => {
    for (const name of ['current.yml', 'release-8.yml']) {
      const text = `${fixture(name)}# the end`;
      const { metrics } = await importWith(context, 'metrics_conf = metrics.yml\n', { 'metrics.yml': text });
      assert.equal(metrics.text, text);
      assert.equal(metrics.isConverted, false);
    }
  });

  it('are looked for beside the configuration, with either ending, and at --metrics before', async (context) => {
    const files = { 'metrics.yaml': fixture('current.yml') };
    const { metrics } = await importWith(context, 'metrics_conf = metrics.yml\n', files);
    assert.match(metrics.source ?? '', /metrics\.yaml$/);
    const other = join(FIXTURES, 'metrics/release-8.yml');
    const folder = await folderWith(context, { 'c.conf': LOGIN, 'metrics.yml': fixture('current.yml') });
    const given = await importConfig({
      files: [join(folder, 'c.conf')],
      folders: [],
      metricsFile: other,
      checkExpression,
    });
    assert.equal(given.metrics.source, other);
  });

  it('that do not exist are a problem that says what to do', async (context) => {
    const problems = await problemsOf(() => importWith(context, 'metrics_conf = /nowhere/m.yml\n'));
    assert.deepEqual(problems.map(brief), [
      '1:1 : the metrics file does not exist (give its place with --metrics FILE)',
    ]);
    assert.equal(problems[0]?.file, '/nowhere/m.yml');
  });

  it('with faults are refused with the place in the file', async (context) => {
    const files = {
      'metrics.yml': 'metrics:\n  a:\n    unit: x\n    groupby: [id]\n    metadata: [id]\n  b: {factor: x}\n',
    };
    const problems = await problemsOf(() => importWith(context, 'metrics_conf = metrics.yml\n', files));
    assert.deepEqual(
      problems.map(({ line, path }) => [line, path]),
      [
        [5, 'metrics.a.metadata[0]'],
        [6, 'metrics.b.unit'],
        [6, 'metrics.b.factor'],
      ].sort((a, b) => Number(a[0]) - Number(b[0])),
    );
  });

  it('of release 8 for Prometheus name a query that has to be taken apart', async (context) => {
    const files = {
      'metrics.yml': 'metrics:\n  a:\n    unit: x\n    extra_args:\n      query: sum(a[$period])\n',
    };
    const problems = await problemsOf(() =>
      importWith(context, 'collector = prometheus\nmetrics_conf = metrics.yml\n', files),
    );
    assert.deepEqual(problems.map(brief), [
      '4:5 metrics.a: extra_args.query is of release 8 only (write the parts of the query as aggregation_method, query_function, range_function, query_prefix and query_suffix)',
    ]);
  });

  it('draw attention to factors for another period, to counters and to the default granularity', async (context) => {
    const files = {
      'metrics.yml': `${fixture('release-8.yml')}  x.rate:\n    unit: MB\n    factor: 3600/1000000\n    extra_args: {resource_type: y}\n`,
    };
    const { warnings, advice } = await importWith(
      context,
      'period = 600\nmetrics_conf = metrics.yml\n',
      files,
    );
    assert.deepEqual(
      warnings.map((warning) => brief(warning).replace(/^\d+:\d+ /, '')),
      [
        'metrics.network.outgoing.bytes: is a counter that never falls: each period is charged for everything since the instance started (network.outgoing.bytes.rate with the factor 600/1000000 counts what flowed in the period)',
        'metrics.x.rate: the factor 3600/1000000 is made for periods of 3600 s, and the period is 600 s (for bytes per second write 600/1000000)',
      ],
    );
    assert.ok(
      advice.some((text) => text.startsWith('cpu, image.size: without force_granularity')),
      advice.join('\n'),
    );
  });

  it('of release 7 are converted, every service under its own name', async (context) => {
    const files = { 'metrics.yml': fixture('release-7.yml') };
    const { metrics, root } = await importWith(context, 'period = 3600\nmetrics_conf = metrics.yml\n', files);
    assert.equal(metrics.isConverted, true);
    const base = { groupby: COMPUTE.groupby };
    assert.deepEqual(parse(metrics.text), {
      metrics: {
        cpu: COMPUTE,
        'volume.size': {
          ...base,
          unit: 'GiB',
          alt_name: 'volume',
          metadata: ['volume_type'],
          extra_args: { resource_type: 'volume', aggregation_method: 'mean', force_granularity: 300 },
        },
        'network.incoming.bytes.rate': {
          ...base,
          unit: 'MB',
          alt_name: 'network.bw.in',
          factor: '1800/1000000',
          metadata: ['instance_id'],
          extra_args: { resource_type: 'instance_network_interface', aggregation_method: 'mean' },
        },
        'ip.floating': {
          ...base,
          unit: 'ip',
          alt_name: 'network.floating',
          metadata: ['state'],
          mutate: 'NUMBOOL',
          extra_args: { resource_type: 'network', aggregation_method: 'mean' },
        },
        'image.size': {
          ...base,
          unit: 'MiB',
          alt_name: 'image',
          factor: '1/1048576',
          metadata: ['container_format', 'disk_format'],
          extra_args: { resource_type: 'image', aggregation_method: 'max', force_granularity: 300 },
        },
        'network.services.lb.active.connections': {
          ...base,
          unit: 'connection',
          alt_name: 'load.balancer',
          factor: '0.5',
          offset: '-1',
          extra_args: { resource_type: 'loadbalancer', aggregation_method: 'mean' },
        },
      },
    });
    const { period, wait_periods } = root.collect as Record<string, unknown>;
    assert.deepEqual([period, wait_periods], [1800, 3], 'the metrics file counts');
    assert.equal((await parseMetrics(metrics.text)).metrics.length, 6);
  });

  it('of release 7 for Ceilometer keep units, factors and the names of attributes of their time', async (context) => {
    const files = { 'metrics.yml': fixture('release-7-units.yml') };
    const { metrics, root } = await importWith(
      context,
      'collector = gnocchi\nmetrics_conf = metrics.yml\n',
      files,
    );
    assert.deepEqual(parse(metrics.text).metrics, {
      cpu: {
        unit: 'instance',
        alt_name: 'compute',
        groupby: ['instance_id', 'user_id'],
        metadata: ['name', 'flavor', 'vcpus', 'memory', 'image_id', 'availability_zone', 'metadata'],
      },
      'image.size': {
        unit: 'MB',
        alt_name: 'image',
        factor: '1/1048576',
        groupby: ['image_id', 'user_id'],
        metadata: [
          'container_format',
          'deleted',
          'disk_format',
          'is_public',
          'name',
          'protected',
          'size',
          'status',
        ],
      },
    });
    assert.equal((root.collector as Record<string, unknown>).plugin, 'ceilometer', 'the metrics file counts');
    assert.equal((root.collect as Record<string, unknown>).wait_periods, 2);
  });

  it('of release 7 for other collectors are refused with the place', async (context) => {
    const text = '- name: x\n  collector: monasca\n  services: [compute]\n';
    const problems = await problemsOf(() =>
      importWith(context, 'collector = gnocchi\nmetrics_conf = metrics.yml\n', { 'metrics.yml': text }),
    );
    assert.deepEqual(problems.map(brief), [
      '2:14 [0].collector: only lists for gnocchi and ceilometer can be converted (write the metrics in the form that docs/configuration.md shows)',
    ]);
  });

  it('of release 7 that say too little are refused with the place', async (context) => {
    const text =
      '- name: x\n  collector: gnocchi\n  services: [compute, mine]\n  metrics_units:\n    compute:\n      1: {unit: instance, factor: x}\n- name: y\n';
    const problems = await problemsOf(() =>
      importWith(context, 'metrics_conf = metrics.yml\n', { 'metrics.yml': text }),
    );
    assert.deepEqual(problems.map(brief), [
      '1:1 : the list has 2 entries in place of one (import a file with one entry; each further one becomes a pipeline of its own)',
      "3:23 [0].services[1]: too little is said about 'mine' (give services_objects, services_metrics and metrics_units for it)",
      '6:35 [0].metrics_units.compute["1"].factor: must be a number or a fraction of whole numbers (such as 0.5 or "1/1048576")',
    ]);
  });

  it('are made of [collect] services where there was no such file, in the order of the list', async (context) => {
    const { metrics, outcomes } = await importWith(
      context,
      'collector = gnocchi\nperiod = 900\nservices = network.bw.out, compute,\n  radosgw.usage, compute\n',
    );
    const { metrics: definitions } = parse(metrics.text);
    assert.deepEqual(Object.keys(definitions), [
      'network.outgoing.bytes.rate',
      'cpu',
      'radosgw.objects.size',
    ]);
    assert.equal(definitions['network.outgoing.bytes.rate'].factor, '900/1000000');
    assert.deepEqual(definitions.cpu, COMPUTE);
    assert.equal(metrics.source, undefined);
    assert.equal(outcomes.find(({ entry }) => entry.name === 'services')?.kind, 'mapped');
  });

  it('are made of the six services of Ceilometer when nothing is said', async (context) => {
    const { metrics, warnings, advice } = await importWith(context, 'collector = ceilometer\n');
    const definitions = (await parseMetrics(metrics.text)).metrics;
    assert.deepEqual(
      definitions.map(({ ratedName }) => ratedName),
      ['compute', 'image', 'volume', 'network.bw.in', 'network.bw.out', 'network.floating'],
    );
    assert.ok(
      !advice.some((text) => text.includes('flavor_name')),
      'attributes have their names of that time',
    );
    assert.match(
      warnings.map(brief).join('\n'),
      /6:13 \[collect\] collector: the API of Ceilometer that this asks was removed from OpenStack at the end of 2017 \(for a newer cloud write collector = gnocchi/,
    );
  });

  it('cannot be made of services that nobody knows', async (context) => {
    const problems = await problemsOf(() => importWith(context, 'services = compute, monasca.x\n'));
    assert.match(
      brief(problems[0]!),
      /^6:12 \[collect\] services: the service 'monasca\.x' is not known \(known are compute, /,
    );
  });
});
