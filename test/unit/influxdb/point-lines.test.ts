import assert from 'node:assert/strict';
import { test } from 'node:test';
import { utcCalendar } from '../../../core/testkit/fakes.js';
import { hour, type SamplePoint, sampleFrame } from '../../../core/testkit/samples.js';
import { PointLines } from '../../../plugins/storage/influxdb/point-lines.js';

const CALENDAR = ',day_of_the_year=1,month=1,week_of_the_year=00,year=2026';

function lines(
  points: readonly SamplePoint[],
  take = '',
  lines = new PointLines(utcCalendar),
): readonly string[] {
  const requests = [...lines.requests(sampleFrame({ points }), { take, version: 'v' })];
  return requests.join('').trimEnd().split('\n');
}

/** Everything before the fields. */
function series(line: string): string {
  return /^(?:\\.|[^\\ ])*/s.exec(line)![0];
}

test('points that the reference would take for one are told apart by a tag', () => {
  const found = lines([{ price: '1' }, { metadata: {} }, { groupby: { id: 'other' } }, { price: '1' }]).map(
    series,
  );
  const own = `,type=instance,ratecat_source=openstack,ratecat_scope=project_id|alpha${CALENDAR}`;
  assert.deepEqual(found, [
    `dataframes,id=server-1${own}`,
    `dataframes,id=server-1${own},ratecat_twin=1`,
    `dataframes,id=other${own}`,
    `dataframes,id=server-1${own},ratecat_twin=2`,
  ]);
});

test('no attribute can pose as a tag or a field of the layout', () => {
  const names = [
    'time',
    'type',
    'qty',
    'price',
    'unit',
    'year',
    'ratecat_source',
    'ratecat_point',
    '',
    '__ck_collect_period',
  ];
  const record = Object.fromEntries(names.map((name) => [name, 'forged']));
  const [line] = lines([{ groupby: record, metadata: record }]);
  const [head] = line!.split(',ratecat_point=');
  assert.ok(!head!.includes('forged'), head);
  assert.ok(line!.includes(',qty=1,price=0.25,__ck_collect_period=3600i,'));
  assert.ok(line!.endsWith(` ${hour(0)}`));
});

test('a name in groupby and in metadata is a tag alone, and so are names that become the same', () => {
  const [line] = lines([
    { groupby: { id: 'a', 'a\n': '1', 'a ': '2' }, metadata: { id: 'b', 'm\n': '3', 'm ': '4' } },
  ]);
  assert.ok(line!.startsWith('dataframes,id=a,a\\ =1,type='), line);
  assert.ok(line!.includes(' m\\ ="3",unit='), line);
  assert.ok(line!.includes('metadata="m "'), line);
});

test('tags fit into a series however long attributes are', () => {
  const groupby = Object.fromEntries(
    Array.from({ length: 40 }, (_, index) => [`k${index}`, '日'.repeat(5_000)]),
  );
  const [line] = lines([{ groupby }]);
  assert.ok(Buffer.byteLength(series(line!)) < 65_535);
});

test('large frames are written in requests of some megabytes', () => {
  const frame = sampleFrame({
    points: Array.from({ length: 20_000 }, (_, index) => ({
      groupby: { id: `server-${index}` },
      metadata: { note: 'x'.repeat(100) },
    })),
  });
  const requests = [...new PointLines(utcCalendar).requests(frame, { take: 'b', version: 'v' })];
  assert.ok(requests.length > 1);
  for (const request of requests) assert.ok(request.length < 5 * 1024 * 1024);
  const all = requests.join('').trimEnd().split('\n');
  assert.equal(all.length, 20_000);
  assert.ok(all.every((line) => line.includes(',ratecat_take=b,')));
});

test('only metadata can be left out, once', () => {
  const writer = new PointLines(utcCalendar);
  const points = [{ metadata: { flavor: 'm1', size: 'large' } }];
  assert.ok(lines(points, '', writer)[0]!.includes(' flavor="m1",size="large",unit='));
  assert.equal(writer.leaveOut('flavor'), true);
  assert.equal(writer.leaveOut('flavor'), false);
  for (const name of ['qty', 'unit', 'ratecat_point', 'groupby']) assert.equal(writer.leaveOut(name), false);
  const [line] = lines(points, '', writer);
  assert.ok(line!.includes(' size="large",unit='));
  assert.ok(line!.includes('metadata="size"'));
  assert.ok(line!.includes('m1'), 'the exact point has all');
});
