import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import {
  Attributes,
  type AttributeValue,
  canonicalJson,
  compareText,
  Decimal,
  isDecimal,
} from '../../../core/plugin-api/index.js';
import { sampleSeed } from '../../../core/testkit/samples.js';

const SEED = sampleSeed();

function check<T>(t: TestContext, arbitrary: fc.Arbitrary<T>, holds: (value: T) => void): void {
  t.diagnostic(`RATECAT_SEED=${SEED}`);
  fc.assert(
    fc.property(arbitrary, (value) => holds(value)),
    { seed: SEED, numRuns: 2000 },
  );
}

const decimal = (text: string) => Decimal.parse(text);

/** Names that would mean something on a plain object. */
const HOSTILE_NAMES = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'length', '0', ''];

const names = fc.oneof(fc.string({ maxLength: 8 }), fc.constantFrom(...HOSTILE_NAMES));
const scalars: fc.Arbitrary<AttributeValue> = fc.oneof(
  fc.string({ maxLength: 8 }),
  fc.boolean(),
  fc.constant(null),
  fc.tuple(fc.bigInt(-999n, 999n), fc.integer({ min: -5, max: 5 })).map(([c, e]) => Decimal.of(c, e)),
);
const values: fc.Arbitrary<AttributeValue> = fc.oneof(
  scalars,
  fc.array(scalars, { maxLength: 3 }),
  fc.array(fc.tuple(names, scalars), { maxLength: 3 }).map((entries) => Object.fromEntries(entries)),
);
const entryLists = fc.uniqueArray(fc.tuple(names, values), { selector: ([name]) => name, maxLength: 6 });

function attributesOf(entries: readonly (readonly [string, AttributeValue])[]): Attributes {
  return Attributes.of(
    entries.map(([name]) => name),
    entries.map(([, value]) => value),
  );
}

test('attributes give back what was put in, in the same order', (t) => {
  check(t, entryLists, (entries) => {
    const attributes = attributesOf(entries);
    assert.equal(attributes.size, entries.length);
    assert.deepEqual([...attributes], entries);
    for (const [name, value] of entries) {
      assert.equal(attributes.has(name), true);
      assert.equal(attributes.get(name), value);
    }
  });
});

test('names that plain objects inherit are absent until they are set', () => {
  for (const name of HOSTILE_NAMES) {
    assert.equal(Attributes.EMPTY.get(name), undefined);
    assert.equal(Attributes.EMPTY.has(name), false);
    const set = Attributes.EMPTY.with(name, 'x');
    assert.equal(set.get(name), 'x');
    assert.deepEqual(set.names, [name]);
  }
});

test('an attribute whose value is null is there', () => {
  const attributes = Attributes.from({ flavor: null });
  assert.equal(attributes.has('flavor'), true);
  assert.equal(attributes.get('flavor'), null);
});

test('setting a value makes a copy, in place for a known name and at the end for a new one', () => {
  const original = Attributes.from({ a: '1', b: '2' });
  assert.deepEqual(
    [...original.with('a', 'x')],
    [
      ['a', 'x'],
      ['b', '2'],
    ],
  );
  assert.deepEqual(
    [...original.with('c', '3')],
    [
      ['a', '1'],
      ['b', '2'],
      ['c', '3'],
    ],
  );
  assert.deepEqual(
    [...original],
    [
      ['a', '1'],
      ['b', '2'],
    ],
  );
});

test('a copy with a value of a known name shares the names', () => {
  const original = Attributes.from({ a: '1', b: '2' });
  assert.equal(original.with('b', '3').names, original.names);
});

test('names and values of different length are refused', () => {
  assert.throws(() => Attributes.of(['a'], []), RangeError);
  assert.throws(() => Attributes.of([], ['a']), RangeError);
});

test('no attributes are always the same object', () => {
  assert.equal(Attributes.of([], []), Attributes.EMPTY);
  assert.equal(Attributes.from({}), Attributes.EMPTY);
});

test('canonical text does not depend on the order of names', (t) => {
  const lists = entryLists.chain((list) =>
    fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length })),
  );
  check(t, lists, ([list, shuffled]) => {
    assert.equal(attributesOf(list).canonical(), attributesOf(shuffled).canonical());
  });
});

test('different attributes have different canonical text', (t) => {
  check(t, fc.tuple(entryLists, entryLists), ([left, right]) => {
    const isEqual = describe(left) === describe(right);
    assert.equal(attributesOf(left).canonical() === attributesOf(right).canonical(), isEqual);
  });
});

/** Tells values apart in another way than canonical text does: types are spelled out, decimals by their parts. */
function describe(entries: readonly (readonly [string, AttributeValue])[]): string {
  const parts = entries.map(([name, value]) => JSON.stringify([name, describeValue(value)]));
  return parts.sort().join('\n');
}

function describeValue(value: AttributeValue): unknown {
  if (value === null || typeof value !== 'object') return [typeof value, value];
  if (isDecimal(value)) return ['decimal', String(value.coefficient), value.exponent];
  if (Array.isArray(value)) return ['list', value.map(describeValue)];
  return ['object', describe(Object.entries(value))];
}

test('canonical text is JSON that keeps the literals of numbers', () => {
  const attributes = Attributes.from({
    z: decimal('1.0'),
    a: decimal('1'),
    m: { y: [true, null, 'é"'], b: decimal('1e3') },
    k: decimal('-0.050'),
  });
  assert.equal(attributes.canonical(), '{"a":1,"k":-0.050,"m":{"b":1e3,"y":[true,null,"é\\""]},"z":1.0}');
});

test('canonical text of any value is valid JSON', (t) => {
  check(t, values, (value) => {
    assert.doesNotThrow(() => JSON.parse(canonicalJson(value)));
  });
});

test('text is ordered by code units, whatever the locale', () => {
  assert.deepEqual(['é', 'a', 'Z', 'z', 'ab', ''].sort(compareText), ['', 'Z', 'a', 'ab', 'z', 'é']);
  assert.equal(compareText('a', 'a'), 0);
});

test('a decimal of another copy of the package is recognised and other objects are not', () => {
  assert.equal(isDecimal(decimal('1')), true);
  assert.equal(isDecimal({ coefficient: 1n, exponent: 0 }), true);
  for (const value of [
    null,
    undefined,
    1,
    1n,
    '1',
    {},
    [],
    { coefficient: 1, exponent: 0 },
    { coefficient: 1n },
  ]) {
    assert.equal(isDecimal(value), false);
  }
});
