import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FrameBuilder } from '../../../core/migrating/frame-builder.js';
import type { RatedRow } from '../../../core/migrating/rated-rows.js';
import { Decimal } from '../../../core/plugin-api/index.js';

const PERIOD = { begin: 0, end: 3600 };

function builder() {
  const metrics = [{ ratedName: 'instance', groupby: ['id', 'flavor'] }];
  return new FrameBuilder({ source: 'default', scopeKey: 'project_id', metrics });
}

function row(metric: string, description: string): RatedRow {
  const [quantity, price] = [Decimal.parse('2.50000'), Decimal.parse('0.1')];
  return { metric, unit: 'unit', quantity, price, description };
}

function pointsOf(rows: readonly RatedRow[], scopeId = 'shop') {
  return builder().frame({ scopeId, period: PERIOD, rows }).points;
}

describe('frames of old rows', () => {
  it('belong to the pipeline, sorted by metric', () => {
    const rows = [
      row('volume', '{"id": "v"}'),
      row('instance', '{"id": "b"}'),
      row('instance', '{"id": "a"}'),
    ];
    const frame = builder().frame({ scopeId: 'shop', period: PERIOD, rows });
    assert.deepEqual(
      [frame.source, frame.scope, frame.period],
      ['default', { key: 'project_id', id: 'shop' }, PERIOD],
    );
    assert.deepEqual(
      frame.points.map(({ descriptor }) => [descriptor.metric, descriptor.groupby.get('id')]),
      [
        ['instance', 'b'],
        ['instance', 'a'],
        ['volume', 'v'],
      ],
    );
  });

  it('take apart what tells resources apart, as the metrics of the pipeline do', () => {
    const [point] = pointsOf([
      row('instance', '{"memory": 512, "flavor": "small", "id": "vm", "project_id": "shop"}'),
    ]);
    assert.equal(point?.descriptor.groupby.canonical(), '{"flavor":"small","id":"vm","project_id":"shop"}');
    assert.deepEqual(point.descriptor.groupby.names, ['id', 'flavor', 'project_id']);
    assert.equal(point.descriptor.metadata.canonical(), '{"memory":512}');
  });

  it('have identifiers in groupby where the pipeline knows no such metric', () => {
    const [point] = pointsOf([row('old', '{"user_id": "u", "flavor": "small", "resource_id": "r"}')]);
    assert.equal(
      point?.descriptor.groupby.canonical(),
      '{"project_id":"shop","resource_id":"r","user_id":"u"}',
    );
    assert.equal(point.descriptor.metadata.canonical(), '{"flavor":"small"}');
  });

  it('keep numbers of the description to the last digit', () => {
    const [point] = pointsOf([row('old', '{"size": 0.10000000000000000001, "count": 12345678901234567890}')]);
    assert.equal(
      point?.descriptor.metadata.canonical(),
      '{"count":12345678901234567890,"size":0.10000000000000000001}',
    );
  });

  it('keep a description that is no JSON object as text', () => {
    for (const text of ['not json', '{"size": NaN}', '[1]', '"text"'])
      assert.equal(pointsOf([row('old', text)])[0]?.descriptor.metadata.get('desc'), text);
    for (const text of ['', '""', '{}'])
      assert.equal(pointsOf([row('old', text)])[0]?.descriptor.metadata.size, 0);
  });

  it('share descriptors from period to period, but not between scopes', () => {
    const frames = builder();
    const of = (scopeId: string) =>
      frames.frame({ scopeId, period: PERIOD, rows: [row('old', '{"id": "r"}')] }).points[0]?.descriptor;
    assert.equal(of('shop'), of('shop'));
    assert.notEqual(of('shop'), of('lab'));
  });
});
