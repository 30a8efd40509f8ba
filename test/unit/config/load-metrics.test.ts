import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { z } from 'zod';
import { bindMetrics } from '../../../core/config/bind-metrics.js';
import { loadMetrics, parseMetrics } from '../../../core/config/load-metrics.js';
import type { MetricChecks } from '../../../core/config/metric-definition.js';
import { isRational } from '../../../core/config/metrics-schema.js';
import { Decimal } from '../../../core/plugin-api/index.js';
import { sampleSeed } from '../../../core/testkit/samples.js';
import { brief, EXAMPLES, folderWith, problemsOf } from './config-fixtures.js';

async function refused(text: string, checks?: MetricChecks): Promise<readonly string[]> {
  return (await problemsOf(() => parseMetrics(text, 'metrics.yml', checks))).map(brief);
}

async function only(definition: string) {
  const { metrics } = await parseMetrics(`metrics:\n  m: ${definition}\n`);
  return metrics[0]!;
}

describe('loadMetrics', () => {
  it('reads every key of a definition', async () => {
    const { metrics, warnings } = await parseMetrics(
      `metrics:
  cpu:
    unit: instance
    factor: 0.10
    offset: " 1/3 "
    alt_name: instance
    groupby: [id, user_id]
    metadata: [flavor]
    mutate: MAP
    mutate_map: {0: 1.0, 11.0: 1e-3}
    description: Servers
    skip_datapoints_expression: x == 0
    extra_args: {resource_type: instance, n: 5}
`,
    );
    const { extraArgs, mutateMap, ...rest } = metrics[0]!;
    assert.deepEqual(rest, {
      name: 'cpu',
      ratedName: 'instance',
      key: 'cpu@#instance',
      unit: 'instance',
      factor: { text: '0.10', written: 'number' },
      offset: { text: '1/3', written: 'text' },
      groupby: ['id', 'user_id'],
      metadata: ['flavor'],
      mutate: 'MAP',
      description: 'Servers',
      skipExpression: 'x == 0',
    });
    assert.deepEqual(
      mutateMap?.map(({ from, to }) => [from.toFixedScale(), to.toFixedScale()]),
      [
        ['0', '1.0'],
        ['11.0', '0.001'],
      ],
    );
    assert.deepEqual(extraArgs.value, { resource_type: 'instance', n: 5 });
    assert.deepEqual(warnings, []);
  });

  it('fills in the defaults of the reference', async () => {
    const { extraArgs, ...rest } = await only('{unit: GiB}');
    assert.deepEqual(rest, {
      name: 'm',
      ratedName: 'm',
      key: 'm',
      unit: 'GiB',
      factor: { text: '1', written: 'number' },
      offset: { text: '0', written: 'number' },
      groupby: [],
      metadata: [],
      mutate: 'NONE',
      mutateMap: undefined,
      description: undefined,
      skipExpression: undefined,
    });
    assert.deepEqual(extraArgs.value, {});
  });

  it('keeps a list of definitions of one metric, in the order of the file', async () => {
    const { metrics } = await parseMetrics(`metrics:
  b: [{unit: x}, {unit: y, alt_name: c}]
  a: {unit: z}
`);
    assert.deepEqual(
      metrics.map(({ key, unit }) => [key, unit]),
      [
        ['b', 'x'],
        ['b@#c', 'y'],
        ['a', 'z'],
      ],
    );
  });

  it('keeps number literals exactly as they are written', async () => {
    const literal = fc
      .tuple(
        fc.constantFrom('', '-', '+'),
        fc.stringMatching(/^\d{1,40}$/),
        fc.option(fc.stringMatching(/^\d{1,40}$/)),
      )
      .map(([sign, whole, fraction]) => `${sign}${whole}${fraction === null ? '' : `.${fraction}`}`);
    await fc.assert(
      fc.asyncProperty(literal, fc.boolean(), async (text, quoted) => {
        const { factor } = await only(`{unit: x, factor: ${quoted ? `"${text}"` : text}}`);
        assert.deepEqual(factor, { text, written: quoted ? 'text' : 'number' });
        assert.ok(isRational(factor.text));
      }),
      { seed: sampleSeed(), numRuns: 200 },
    );
  });

  it('reads hexadecimal and octal numbers by their value', async () => {
    assert.equal((await only('{unit: x, factor: 0x1F}')).factor.text, '31');
    assert.equal((await only('{unit: x, factor: 0o17}')).factor.text, '15');
  });

  it('refuses factors that are no exact number', async () => {
    for (const [value, written] of [
      ['1/0', '1/0'],
      ['1 / 2', '1 / 2'],
      ['1/2/3', '1/2/3'],
      ['0.5/2', '0.5/2'],
      ['1_000', '1_000'],
      ['"0x1F"', '0x1F'],
      ['abc', 'abc'],
      ['true', 'true'],
      ['""', ''],
      ['NaN', 'NaN'],
      ['Infinity', 'Infinity'],
      ['"1e99999"', '1e99999'],
    ]) {
      assert.deepEqual(await refused(`metrics:\n  m: {unit: x, factor: ${value}}\n`), [
        `2:24 metrics.m.factor: must be a number or a fraction of whole numbers, got '${written}' (such as 0.5 or "1/1048576")`,
      ]);
    }
    for (const value of ['.nan', '.inf', '-.inf', '1e99999']) {
      assert.deepEqual(await refused(`metrics:\n  m: {unit: x, offset: ${value}}\n`), [
        `2:24 metrics.m.offset: '${value}' is not a finite number (quote it if it is meant as text)`,
      ]);
    }
  });

  it('prints all problems of a file at once', async () => {
    const problems = await refused(
      `metrics:
  a: {unit: x, alt_name: a1, groupby: [p], metadata: [q, p], mutate: MAP, skip_datapoints_expression: bad}
  b: {unit: x, alt_name: b1, mutate_map: {y: 1, 1: 2, 1.0: z}, factr: 1, mutate: floor}
  c: {unit: 5, groupby: x, metadata: [1, ""], description: , extra_args: 3}
  d: 7
  e: []
  f: [{unit: x}, 7]
  g@#h: {unit: x}
  i: {Unit: x}
other: 1
`,
      { checkExpression: (text) => (text === 'bad' ? 'is not an expression' : undefined) },
    );
    assert.deepEqual(problems, [
      "2:58 metrics.a.metadata[1]: 'p' is in groupby and in metadata (keep it in one of them)",
      '2:70 metrics.a.mutate: MAP needs a mutate_map (without it every quantity would become 0)',
      '2:103 metrics.a.skip_datapoints_expression: is not an expression',
      '3:30 metrics.b.mutate_map: is used with mutate: MAP only (add mutate: MAP, or remove it)',
      "3:43 metrics.b.mutate_map.y: the key 'y' is not a number (keys are measured values)",
      `3:55 metrics.b.mutate_map["1.0"]: '1.0' is the same number as '1' (keys are measured values)`,
      `3:60 metrics.b.mutate_map["1.0"]: must be a number, got 'z'`,
      "3:64 metrics.b.factr: unknown key 'factr' (did you mean 'factor'?)",
      "3:82 metrics.b.mutate: must be one of NONE, NUMBOOL, NOTNUMBOOL, FLOOR, CEIL, MAP, got 'floor' (did you mean 'FLOOR'?)",
      "4:13 metrics.c.unit: must be text, got '5' (put it in quotes: '5')",
      "4:25 metrics.c.groupby: must be a list, got 'x' (write [x])",
      "4:39 metrics.c.metadata[0]: must be text, got '1' (put it in quotes: '1')",
      '4:42 metrics.c.metadata[1]: must not be empty',
      '4:47 metrics.c.description: has no value (give it one, or remove the key to use the default)',
      "4:74 metrics.c.extra_args: must be a mapping of `key: value` lines, got '3'",
      '5:6 metrics.d: must be a definition or a list of definitions (a definition needs at least `unit: …`)',
      '6:3 metrics.e: must be a definition or a list of definitions (a definition needs at least `unit: …`)',
      '7:18 metrics.f[1]: must be a definition or a list of definitions (a definition needs at least `unit: …`)',
      `8:3 metrics["g@#h"]: a metric's name must not contain '@#' (use alt_name to rate one metric in several ways)`,
      "9:7 metrics.i.Unit: unknown key 'Unit' (did you mean 'unit'?)",
      "10:1 other: unknown key 'other' (only metrics is known here)",
    ]);
  });

  it('refuses one rated name for two definitions, within a metric and across metrics', async () => {
    assert.deepEqual(
      await refused(`metrics:
  a: {unit: x, alt_name: z}
  z: {unit: x}
  b:
    - {unit: x}
    - {unit: y}
  c: {unit: x, alt_name: z}
  d: [{unit: x}, {unit: x, alt_name: d}]
`),
      [
        "3:3 metrics.z: the rated name 'z' is already used by metric 'a' in line 2 (give each definition an alt_name of its own)",
        "6:7 metrics.b[1]: the rated name 'b' is already used by metric 'b' in line 5 (give each definition an alt_name of its own)",
        "7:26 metrics.c: the rated name 'z' is already used by metric 'a' in line 2 (give each definition an alt_name of its own)",
        "8:38 metrics.d[1]: the rated name 'd' is already used by metric 'd' in line 8 (give each definition an alt_name of its own)",
      ],
    );
  });

  it('refuses a file without metrics', async () => {
    const list =
      '1:1 metrics: must be a mapping of metric names with at least one metric (write `name:` and its keys below, indented)';
    assert.deepEqual(await refused('metrics: {}\n'), [list]);
    assert.deepEqual(await refused('metrics:\n'), [list]);
    assert.deepEqual(await refused('metrics:\n  - cpu: {unit: x}\n'), [list]);
    assert.deepEqual(await refused('metric:\n  cpu: {unit: x}\n'), [
      "1:1 metric: unknown key 'metric' (did you mean 'metrics'?)",
    ]);
    const hint = '(write `metrics:` and the metrics below it, indented)';
    assert.deepEqual(await refused('cpu: {unit: x}\n'), [
      "1:1 cpu: unknown key 'cpu' (only metrics is known here)",
      `1:1 metrics: is required ${hint}`,
    ]);
    assert.deepEqual(await refused('- cpu\n'), [
      `1:1 : the top level must be a mapping with the key metrics ${hint}`,
    ]);
    assert.match((await problemsOf(() => loadMetrics('/nowhere/metrics.yml')))[0]!.message, /does not exist/);
  });

  it('drops repetitions in a list with a warning', async () => {
    const { metrics, warnings } = await parseMetrics('metrics:\n  m: {unit: x, groupby: [b, a, b]}\n');
    assert.deepEqual(metrics[0]?.groupby, ['b', 'a']);
    assert.deepEqual(warnings.map(brief), [
      "2:32 metrics.m.groupby[2]: 'b' is listed twice (the second one is ignored)",
    ]);
  });

  it('leaves dollar signs alone and understands anchors', async () => {
    const { metrics } = await parseMetrics(`metrics:
  a: {unit: "\${UNIT}", extra_args: &args {resource_type: instance}}
  b: {unit: x, extra_args: *args}
  c: {unit: x, extra_args: {<<: *args, more: 1}}
`);
    assert.equal(metrics[0]?.unit, '$' + '{UNIT}');
    assert.deepEqual(metrics[1]?.extraArgs.value, { resource_type: 'instance' });
    assert.deepEqual(metrics[2]?.extraArgs.value, { more: 1, resource_type: 'instance' });
  });

  it('reads the shipped OpenStack metrics: names and factors', async () => {
    const { metrics } = await loadMetrics(join(EXAMPLES, 'openstack.metrics.yml'));
    assert.deepEqual(
      metrics.map(({ key, unit, factor, mutate }) => [key, unit, factor.text, mutate]),
      [
        ['cpu@#instance', 'instance', '1', 'NUMBOOL'],
        ['image.size', 'MiB', '1/1048576', 'NONE'],
        ['volume.size', 'GiB', '1', 'NONE'],
        ['network.outgoing.bytes', 'MB', '1/1000000', 'NONE'],
        ['network.incoming.bytes', 'MB', '1/1000000', 'NONE'],
        ['ip.floating', 'ip', '1', 'NUMBOOL'],
        ['radosgw.objects.size', 'GiB', '1/1073741824', 'NONE'],
      ],
    );
  });
});

describe('bindMetrics', () => {
  const text = `metrics:
  a: {unit: x, groupby: [z], extra_args: {kind: one, size: 3}}
  b: {unit: y, groupby: [id, project_id]}
`;
  const options = z.strictObject({ kind: z.string().default('none'), size: z.number().default(1) });

  it("appends the scope key and the collector's keys and fills in options", async () => {
    const collector = { metricOptions: options, requiredGroupby: () => ['id'] };
    const bound = await bindMetrics(await parseMetrics(text), collector, 'project_id');
    assert.deepEqual(
      bound.map(({ metric }) => [metric.name, metric.groupby, metric.options]),
      [
        ['a', ['z', 'project_id', 'id'], { kind: 'one', size: 3 }],
        ['b', ['id', 'project_id'], { kind: 'none', size: 1 }],
      ],
    );
    assert.equal(bound[0]?.definition.ratedName, 'a');
  });

  it('reports faults in extra_args of all metrics at their places', async (context) => {
    const folder = await folderWith(context, {
      'm.yml': `metrics:
  a:
    unit: x
    extra_args:
      knid: one
  b:
    - unit: y
      extra_args: {size: "3"}
`,
    });
    const file = await loadMetrics(join(folder, 'm.yml'));
    const problems = await problemsOf(() => bindMetrics(file, { metricOptions: options }, 'id'));
    assert.deepEqual(problems.map(brief), [
      "5:7 metrics.a.extra_args.knid: unknown key 'knid' (did you mean 'kind'?)",
      "8:26 metrics.b[0].extra_args.size: must be a number, got '3' (remove the quotes)",
    ]);
  });

  it('locates a missing option at the metric', async () => {
    const file = await parseMetrics('metrics:\n  a: {unit: x}\n  b:\n    unit: x\n    extra_args: {}\n');
    const schema = z.strictObject({ resource_type: z.string() });
    const problems = await problemsOf(() => bindMetrics(file, { metricOptions: schema }, 'id'));
    assert.deepEqual(problems.map(brief), [
      '2:3 metrics.a.extra_args.resource_type: is required',
      '5:5 metrics.b.extra_args.resource_type: is required',
    ]);
  });

  it('gives mutate maps that find numbers by value', async () => {
    const { mutateMap } = await only('{unit: x, mutate: MAP, mutate_map: {0.0: 1, 11: 0.5}}');
    const found = mutateMap?.find(({ from }) => from.equals(Decimal.parse('11.00')));
    assert.equal(found?.to.toString(), '0.5');
  });
});
