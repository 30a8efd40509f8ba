import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  Attributes,
  type AttributeValue,
  type CompiledRating,
  Decimal,
  type Descriptor,
  type Frame,
  isRatecatError,
  type JsonValue,
  type RatedPoint,
} from '../../../core/plugin-api/index.js';
import { fakeContext, RecordingLogger } from '../../../core/testkit/fakes.js';
import hashmap from '../../../plugins/rating/hashmap/index.js';

const signal = new AbortController().signal;
const scope = { key: 'project_id', id: 'alpha' };

function compile(document: JsonValue, context = fakeContext()): CompiledRating {
  const module = hashmap.create({}, context);
  return module.compile(module.rulesDocument!.toRules(document), scope);
}

function describe(metadata: Record<string, AttributeValue> = {}): Descriptor {
  return {
    metric: 'instance',
    unit: 'instance',
    groupby: Attributes.EMPTY,
    metadata: Attributes.of(Object.keys(metadata), Object.values(metadata)),
    description: 'kept',
  };
}

function point(descriptor: Descriptor, quantity = '1', price = '0'): RatedPoint {
  return { descriptor, quantity: Decimal.parse(quantity), price: Decimal.parse(price) };
}

function frame(points: readonly RatedPoint[], begin = 3600): Frame<RatedPoint> {
  return { source: 'test', scope, period: { begin, end: begin + 3600 }, points, gaps: [] };
}

async function prices(compiled: CompiledRating, points: readonly RatedPoint[], begin?: number) {
  return (await compiled.rate(frame(points, begin), signal)).points.map(({ price }) => price.toString());
}

test('one compiled object rates every period by the rules of its begin, in any order', async () => {
  const price = (cost: string, start?: string, end?: string) => ({
    cost,
    ...(start === undefined ? {} : { start }),
    ...(end === undefined ? {} : { end }),
  });
  const compiled = compile({
    services: {
      instance: {
        mappings: [
          price('1', undefined, '2026-01-01T00:00:00Z'),
          price('2', '2026-01-01T00:00:00Z', '2026-02-01T00:00:00Z'),
          price('3', '2026-03-01T00:00:00Z'),
        ],
      },
    },
  });
  const same = point(describe());
  const at = async (text: string) => (await prices(compiled, [same], Date.parse(text) / 1000))[0];
  const expected: readonly (readonly [string, string])[] = [
    ['2025-12-31T23:59:59Z', '1'],
    ['2026-01-01T00:00:00Z', '2'],
    ['2026-01-31T23:59:59Z', '2'],
    ['2026-02-01T00:00:00Z', '0'],
    ['2026-03-01T00:00:00Z', '3'],
    ['1969-12-31T23:59:59Z', '0'],
  ];
  for (const [text, price] of [...expected, ...expected.toReversed()])
    assert.equal(await at(text), price, text);
});

test('fields and values with the names of object internals are ordinary names', async () => {
  const names = ['__proto__', 'constructor', 'hasOwnProperty', 'toString'];
  const compiled = compile({
    services: [
      {
        name: 'instance',
        fields: names.map((name) => ({
          name,
          mappings: [{ value: '__proto__', cost: '1', group: name }],
          thresholds: [{ level: '5', cost: '10', group: name }],
        })),
      },
    ],
  });
  for (const name of names) {
    const attributes = Attributes.of([name], ['__proto__']);
    const matching = { ...describe(), metadata: attributes };
    assert.deepEqual(await prices(compiled, [point(matching)]), ['1'], name);
    const reaching = { ...describe(), metadata: Attributes.of([name], [Decimal.parse('6')]) };
    assert.deepEqual(await prices(compiled, [point(reaching)]), ['10'], name);
  }
  assert.deepEqual(await prices(compiled, [point(describe())]), ['0']);
});

test('a metric named as an object internal has no rules unless it is given some', async () => {
  const compiled = compile({ services: { instance: { mappings: [{ cost: '1' }] } } });
  for (const metric of ['__proto__', 'constructor', 'Instance', 'instance '])
    assert.deepEqual(await prices(compiled, [point({ ...describe(), metric })]), ['0'], metric);
});

const ramThreshold: JsonValue = {
  services: {
    instance: { mappings: [{ cost: '1' }], fields: { ram: { thresholds: [{ level: '0.3', cost: '10' }] } } },
  },
};

test('a value that is no number reaches no threshold and is reported once', async () => {
  const logger = new RecordingLogger();
  const compiled = compile(ramThreshold, fakeContext({ logger }));
  const points = ['2 GiB', '2 GiB', null, 'n/a'].map((ram) => point(describe({ ram })));
  assert.deepEqual(await prices(compiled, points), ['1', '1', '1', '1']);
  await prices(
    compiled,
    points.map(({ descriptor }) => point({ ...descriptor })),
  );
  assert.deepEqual(
    logger.lines.map(({ level, fields }) => [level, fields.metric, fields.field, fields.value]),
    [
      ['warn', 'instance', 'ram', '2 GiB'],
      ['warn', 'instance', 'ram', 'None'],
      ['warn', 'instance', 'ram', 'n/a'],
    ],
  );
});

test('strict mode refuses the frame and names metric, field and value', async () => {
  const compiled = compile(ramThreshold, fakeContext({ compat: 'strict' }));
  await assert.rejects(
    () => prices(compiled, [point(describe({ ram: '2 GiB' }))]),
    (error) => {
      assert.ok(isRatecatError(error));
      assert.equal(error.code, 'RATECAT_HASHMAP_FIELD_NOT_NUMERIC');
      assert.equal(error.kind, 'data');
      for (const word of ['instance', 'ram', '2 GiB']) assert.ok(error.message.includes(word), word);
      return true;
    },
  );
});

test('strict mode compares the binary value of a JSON number, fixed mode its literal', async () => {
  const points = [point(describe({ ram: Decimal.parse('0.3') })), point(describe({ ram: '0.3' }))];
  // The float nearest to 0.3 is below 0.3.
  assert.deepEqual(await prices(compile(ramThreshold, fakeContext({ compat: 'strict' })), points), [
    '1',
    '11',
  ]);
  assert.deepEqual(await prices(compile(ramThreshold), points), ['11', '11']);
});

test('a remembered amount is only used for the same quantity and a former price of zero', async () => {
  const compiled = compile({
    services: { instance: { mappings: [{ cost: '2' }], thresholds: [{ level: '10', cost: '5' }] } },
  });
  const descriptor = describe();
  const points = ['3', '3', '3.0', '4', '3', '10', '3'].map((quantity) => point(descriptor, quantity));
  assert.deepEqual(await prices(compiled, points), ['6', '6', '6', '8', '6', '25', '6']);
  const priced = [point(descriptor, '3', '1'), point(descriptor, '3'), point(descriptor, '3', '-6')];
  assert.deepEqual(await prices(compiled, priced), ['7', '6', '0']);
});

test('a point without rules is passed on as it is; a rated one keeps descriptor and quantity', async () => {
  const compiled = compile({ services: { instance: { mappings: [{ cost: '2' }] } } });
  const other = point({ ...describe(), metric: 'volume' }, '3', '1.25');
  const own = point(describe(), '3', '1.25');
  const rated = await compiled.rate(frame([other, own]), signal);
  assert.equal(rated.points[0], other);
  assert.equal(rated.points[1]!.descriptor, own.descriptor);
  assert.equal(rated.points[1]!.quantity, own.quantity);
  assert.equal(rated.points[1]!.price.toString(), '7.25');
});

test('a quote sees no rule of a tenant', async () => {
  const module = hashmap.create({}, fakeContext());
  const rules = module.rulesDocument!.toRules({
    services: { instance: { mappings: [{ cost: '1' }, { cost: '100', tenant: 'alpha' }] } },
  });
  assert.deepEqual(await prices(module.compile(rules, scope), [point(describe())]), ['100']);
  assert.deepEqual(await prices(module.compile(rules, undefined), [point(describe())]), ['1']);
});

test('a large frame lets other work run in between and stops when it is told to', async () => {
  const compiled = compile({ services: { instance: { mappings: [{ cost: '1' }] } } });
  const descriptor = describe();
  const large = frame(Array.from({ length: 50_000 }, (_, index) => point(descriptor, String(index))));
  const rated = await compiled.rate(large, signal);
  assert.equal(rated.points.length, 50_000);
  assert.ok(rated.points.every(({ price, quantity }) => price.equals(quantity)));

  const controller = new AbortController();
  const reason = new Error('shutting down');
  setImmediate(() => controller.abort(reason));
  await assert.rejects(
    async () => compiled.rate(large, controller.signal),
    (error) => error === reason,
  );
});

test('rules that are not rules are refused with their place', () => {
  const module = hashmap.create({}, fakeContext());
  const service = { name: 'a', mappings: [], thresholds: [], fields: [] };
  const refused: readonly (readonly [JsonValue, RegExp])[] = [
    [null, /rules is not an object/],
    [{ services: {} }, /services is not a list/],
    [{ services: [{ ...service, name: 1 }] }, /services\[0\]\.name is not text/],
    [{ services: [{ ...service, mappings: [{ type: 'flat', cost: 1, start: 0 }] }] }, /mappings\[0\]\.cost/],
    [{ services: [{ ...service, mappings: [{ type: 'x', cost: '1', start: 0 }] }] }, /mappings\[0\]\.type/],
    [{ services: [{ ...service, mappings: [{ type: 'flat', cost: '1' }] }] }, /mappings\[0\]\.start/],
    [{ services: [{ ...service, thresholds: [{ type: 'flat', cost: '1' }] }] }, /thresholds\[0\]\.level/],
  ];
  for (const [rules, text] of refused)
    assert.throws(
      () => module.compile(rules, undefined),
      (error) =>
        isRatecatError(error) && error.code === 'RATECAT_HASHMAP_RULES_MALFORMED' && text.test(error.message),
    );
});

test('an explanation names each rule that acted and what it came to', () => {
  const compiled = compile({
    services: {
      instance: {
        mappings: [{ cost: '0.5' }],
        thresholds: [{ level: '2', type: 'rate', cost: '0.9', group: 'volume' }],
        fields: {
          flavor: { mappings: [{ value: 'm1.gold', type: 'rate', cost: '1.5' }] },
          image: { mappings: [{ value: 'win', cost: '0.4' }] },
        },
      },
    },
  });
  const steps = compiled.explain!(point(describe({ flavor: 'm1.gold', image: 'win' }), '3', '1'), {
    begin: 0,
    end: 60,
  });
  assert.deepEqual(
    steps.map(({ text, price }) => [text, price.toString()]),
    [
      ['flat 0.5 for metric instance (group default)', '1'],
      ['rate 0.9 from level 2 for quantity 3 (group volume)', '1'],
      ['rate 1.5 for flavor=m1.gold (group default)', '1'],
      ['flat 0.4 for image=win (group default): not above the flat of its group', '1'],
      ['group default: rate 1.5 × flat 0.5 × quantity 3 = 2.25', '3.25'],
      ['group volume: rate 1 × flat 0 × quantity 3 × 0.9 = 0', '3.25'],
    ],
  );
  assert.deepEqual(steps[2]!.rule, { value: 'm1.gold', type: 'rate', cost: '1.5', start: 0 });
  const other = compiled.explain!(point({ ...describe(), metric: 'volume' }, '3', '1'), {
    begin: 0,
    end: 60,
  });
  assert.deepEqual(
    other.map(({ text }) => text),
    ["no rules for metric 'volume': the price stays"],
  );
});
