import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { parse } from 'yaml';
import { bindMetrics } from '../../../core/config/bind-metrics.js';
import { loadMetrics } from '../../../core/config/load-metrics.js';
import {
  Attributes,
  type Collector,
  Decimal,
  type Frame,
  type JsonValue,
  type RatedPoint,
} from '../../../core/plugin-api/index.js';
import { fakeContext } from '../../../core/testkit/fakes.js';
import fileDefinition from '../../../plugins/collectors/file.js';
import { HOST_METRICS } from '../../../plugins/collectors/host/readings.js';
import hashmap from '../../../plugins/rating/hashmap/index.js';
import { FakeMachine } from './fake-machine.js';

const config = (name: string) => new URL(`../../../config/${name}`, import.meta.url).pathname;

async function hostMetrics() {
  const machine = await FakeMachine.create();
  await machine.startDaemon();
  const bound = await bindMetrics(await loadMetrics(config('host.metrics.yml')), machine.collector, 'host');
  return { machine, bound };
}

test('the shipped metrics file rates every metric of the host collector, with attributes that it has', async () => {
  const { machine, bound } = await hostMetrics();
  assert.deepEqual(bound.map(({ metric }) => metric.name).sort(), [...HOST_METRICS.keys()].sort());
  await machine.pass(10);
  const begin = machine.clock.now() / 1000 - 10;
  for (const { metric } of bound) {
    const request = { metric, scope: { key: 'host', id: 'box' }, period: { begin, end: begin + 10 } };
    const collected = await machine.collector.collect(request, new AbortController().signal);
    assert.equal(collected.kind, 'measured', metric.name);
  }
  await machine.stopDaemon();
});

test('the shipped price list prices every metric of the shipped metrics file as its comments say', async () => {
  const { machine, bound } = await hostMetrics();
  await machine.stopDaemon();
  const module = hashmap.create({}, fakeContext());
  const document = parse(await readFile(config('host.rules.yml'), 'utf8')) as JsonValue;
  const compiled = module.compile(module.rulesDocument!.toRules(document), { key: 'host', id: 'box' });
  const expected: Readonly<Record<string, string>> = {
    cpu: '0.04',
    memory: '0.005',
    'disk.used': '0.00005',
    'disk.read': '0.000001',
    'disk.written': '0.000002',
    'network.incoming': '0',
    'network.outgoing': '0.00005',
  };
  const price = async (metric: string, quantity: string, attributes: Readonly<Record<string, string>>) => {
    const descriptor = {
      metric,
      unit: 'u',
      groupby: Attributes.from(attributes),
      metadata: Attributes.EMPTY,
      description: undefined,
    };
    const frame: Frame<RatedPoint> = {
      source: 's',
      scope: { key: 'host', id: 'box' },
      period: { begin: 1_767_225_600, end: 1_767_225_610 },
      points: [{ descriptor, quantity: Decimal.parse(quantity), price: Decimal.ZERO }],
      gaps: [],
    };
    const rated = await compiled.rate(frame, new AbortController().signal);
    return rated.points[0]!.price.toString();
  };
  for (const { metric } of bound) {
    assert.equal(
      await price(metric.name, '1', { mountpoint: '/', filesystem: 'ext4' }),
      expected[metric.name],
      metric.name,
    );
  }
  assert.equal(await price('disk.used', '1', { mountpoint: '/srv', filesystem: 'zfs' }), '0.00012');
  assert.equal(await price('disk.written', '10000', {}), '0.018');
});

test('the shipped metrics file of the drop folder is taken by its collector', async () => {
  const parsed = fileDefinition.options['~standard'].validate({ folder: 'inbox' });
  assert.ok(!(parsed instanceof Promise) && parsed.issues === undefined);
  const collector = fileDefinition.create(parsed.value, fakeContext()) as Collector;
  const bound = await bindMetrics(await loadMetrics(config('file.metrics.yml')), collector, 'project_id');
  assert.deepEqual(
    bound.map(({ metric }) => metric.groupby),
    [
      ['id', 'project_id'],
      ['id', 'project_id'],
      ['id', 'project_id'],
    ],
  );
});
