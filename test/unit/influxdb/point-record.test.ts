import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Attributes, canonicalDescriptor, Decimal, isRatecatError } from '../../../core/plugin-api/index.js';
import { HOSTILE_TEXTS } from '../../../core/testkit/hostile-texts.js';
import { sampleDescriptor } from '../../../core/testkit/samples.js';
import { sumsOf } from '../../../plugins/shared/outside-storage/committed.js';
import {
  descriptorJson,
  readRecord,
  recordText,
} from '../../../plugins/shared/outside-storage/point-record.js';
import { damaged } from '../../../plugins/storage/influxdb/damaged.js';
import { readMarker, stateText } from '../../../plugins/storage/influxdb/marker.js';

function isDamage(error: unknown): boolean {
  return isRatecatError(error) && error.code === 'RATECAT_INFLUXDB_DAMAGED' && error.kind === 'data';
}

test('a record holds a point with types, scales and the order of names', () => {
  const texts = HOSTILE_TEXTS.slice(0, 40);
  const descriptor = sampleDescriptor({
    metric: 'a "metric"\n',
    unit: '',
    description: '',
    groupby: Attributes.of(['z', '1', '__proto__', ...texts], ['1', Decimal.parse('1.50'), null, ...texts]),
    metadata: {
      on: true,
      size: Decimal.parse('5e3'),
      list: ['x', [Decimal.parse('-0.0')], { d: 'x', o: 'y' }],
      nested: { d: '1', o: [], ['__proto__']: 'p' },
    },
  });
  const exact = { qty: '1', price: `-0.${'0'.repeat(27)}1` };
  const text = recordText(descriptorJson(descriptor), { version: 'v"1', ordinal: 7 }, exact);
  const { version, ordinal, point } = readRecord(text, damaged);
  assert.deepEqual([version, ordinal], ['v"1', 7]);
  assert.deepEqual([point.quantity.toString(), point.price.toString()], [exact.qty, exact.price]);
  assert.equal(canonicalDescriptor(point.descriptor), canonicalDescriptor(descriptor));
  assert.deepEqual(point.descriptor.groupby.names, descriptor.groupby.names);
  assert.equal((point.descriptor.metadata.get('size') as Decimal).exponent, 3);
});

test('what is no record or no marker is damage, not a point', () => {
  const record = recordText(
    descriptorJson(sampleDescriptor()),
    { version: 'v', ordinal: 0 },
    { qty: '1', price: '1' },
  );
  for (const text of ['', '{}', 'null', record.slice(0, -1), record.replace('"qty":"1"', '"qty":"NaN"')])
    assert.throws(() => readRecord(text, damaged), isDamage, text);
  for (const text of ['', 'null', '{"committed":{}}', 5])
    assert.throws(() => readMarker(0, text, 'openstack', 'project_id|alpha'), isDamage, String(text));
  for (const scope of [null, '', 'alpha', 'a|b|c'])
    assert.throws(() => readMarker(0, '{}', 'openstack', scope), isDamage, String(scope));
});

test('a marker comes back as it was written', () => {
  const points = ['0.1', '0.2'].map((price) => ({
    descriptor: sampleDescriptor(),
    quantity: Decimal.parse('1'),
    price: Decimal.parse(price),
  }));
  const committed = {
    take: 'b',
    version: 'v1',
    end: 3600,
    scopeName: 'Alpha "&Co"',
    snapshot: 's',
    gaps: [{ metric: 'cpu', reason: 'gone\n' }],
    metrics: sumsOf(points),
  };
  for (const state of [
    { leftovers: [] },
    { committed, leftovers: [] },
    { committed, pending: { take: 'c', version: 'v2' }, leftovers: ['', 'c'] },
  ]) {
    const text = stateText(state);
    const marker = readMarker(0, text, 'open%007cstack', 'project_id|%');
    assert.equal(stateText(marker.state), text);
    assert.deepEqual([marker.source, marker.scope], ['open|stack', { key: 'project_id', id: '' }]);
    assert.equal(marker.text, text);
  }
  assert.equal(committed.metrics[0]!.price.toString(), '0.3');
});
