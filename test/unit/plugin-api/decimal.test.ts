import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { Decimal, divideRounded, isRatecatError, type RoundingMode } from '../../../core/plugin-api/index.js';
import { sampleSeed } from '../../../core/testkit/samples.js';

const SEED = sampleSeed();
const RUNS = 10_000;

/** Checks a property on RUNS random cases; RATECAT_SEED repeats a run. */
function check<T>(t: TestContext, arbitrary: fc.Arbitrary<T>, holds: (value: T) => void): void {
  t.diagnostic(`RATECAT_SEED=${SEED}`);
  fc.assert(
    fc.property(arbitrary, (value) => holds(value)),
    { seed: SEED, numRuns: RUNS },
  );
}

/** Short and long, coarse and fine, with many ties and trailing zeros. */
const coefficients = fc.oneof(
  fc.bigInt({ min: -1000n, max: 1000n }),
  fc.bigInt({ min: -(10n ** 18n), max: 10n ** 18n }),
  fc.bigInt({ min: -(10n ** 45n), max: 10n ** 45n }),
  fc
    .tuple(fc.bigInt({ min: -9999n, max: 9999n }), fc.nat(30))
    .map(([value, zeros]) => value * 10n ** BigInt(zeros)),
  fc.nat(40).map((nines) => 10n ** BigInt(nines) - 1n),
);
const decimals = fc
  .tuple(coefficients, fc.integer({ min: -40, max: 15 }))
  .map(([coefficient, exponent]) => Decimal.of(coefficient, exponent));
const modes = fc.constantFrom<RoundingMode>('half-even', 'half-up');

const decimal = (text: string) => Decimal.parse(text);

function sum(values: readonly Decimal[]): Decimal {
  return values.reduce((total, value) => total.plus(value), Decimal.ZERO);
}

function magnitude(value: Decimal): Decimal {
  return value.isNegative ? value.negated() : value;
}

function assertSame(actual: Decimal, expected: Decimal): void {
  assert.equal(actual.coefficient, expected.coefficient);
  assert.equal(actual.exponent, expected.exponent);
}

// ---------------------------------------------------------------------------------------------------- properties

test('a printed decimal reads back as the same value', (t) => {
  check(t, decimals, (value) => {
    const text = value.toString();
    assert.match(text, /^-?(0|[1-9]\d*)(\.\d*[1-9])?$/);
    assert.equal(decimal(text).compare(value), 0);
    assert.equal(decimal(text).toString(), text);
    if (value.exponent <= 0) assertSame(decimal(value.toFixedScale()), value);
    assertSame(decimal(value.toReferenceNotation()), value);
  });
});

test('plain digits and the same digits with an exponent of zero read alike', (t) => {
  const texts = fc
    .tuple(fc.constantFrom('', '-', '+'), fc.stringMatching(/^\d{0,40}\.?\d{0,40}$/))
    .map(([sign, digits]) => sign + digits);
  check(t, texts, (text) => {
    const fast = Decimal.tryParse(text);
    const general = Decimal.tryParse(`${text}e0`);
    if (/\d/.test(text)) assertSame(fast!, general!);
    else assert.deepEqual([fast, general], [undefined, undefined]);
  });
});

test('text that is no number is refused and nothing is guessed', (t) => {
  const soup = fc.oneof(
    fc.string({ unit: fc.constantFrom(...'0123456789.+-eE _,x٣½∞'), maxLength: 40 }),
    fc.string({ unit: 'binary', maxLength: 12 }),
  );
  check(t, soup, (text) => {
    const value = Decimal.tryParse(text);
    const [, exponent] = /^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE]([+-]?[0-9]+))?$/.exec(text) ?? [
      undefined,
      undefined,
    ];
    const isNumber = /^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$/.test(text);
    const isTooLarge = Math.abs(Number(exponent ?? 0)) > 6144;
    assert.equal(value !== undefined, isNumber && !isTooLarge);
    if (value !== undefined) assert.equal(Number(value.toString()) + 0, Number(text) + 0);
  });
});

test('a sum does not depend on the order of its terms', (t) => {
  const lists = fc
    .array(decimals, { minLength: 2, maxLength: 12 })
    .chain((list) => fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length })));
  check(t, lists, ([list, shuffled]) => {
    assert.equal(sum(list).toString(), sum(shuffled).toString());
    const half = Math.floor(list.length / 2);
    assert.ok(
      sum(list.slice(0, half))
        .plus(sum(list.slice(half)))
        .equals(sum(list)),
    );
  });
});

test('adding and taking away again loses nothing', (t) => {
  check(t, fc.tuple(decimals, decimals), ([a, b]) => {
    assert.ok(a.plus(b).minus(b).equals(a));
    assert.ok(a.minus(b).plus(b).equals(a));
    assert.ok(a.minus(a).isZero);
  });
});

test('a product is spread exactly over a sum', (t) => {
  check(t, fc.tuple(decimals, decimals, decimals), ([a, b, c]) => {
    assert.ok(a.times(b.plus(c)).equals(a.times(b).plus(a.times(c))));
    assert.ok(a.times(b).equals(b.times(a)));
  });
});

test('comparison is the sign of the difference', (t) => {
  check(t, fc.tuple(decimals, decimals), ([a, b]) => {
    const difference = a.minus(b);
    assert.equal(a.compare(b), difference.isZero ? 0 : difference.isNegative ? -1 : 1);
    assert.equal(a.compare(b) + b.compare(a), 0);
    assert.equal(a.equals(b), difference.isZero);
  });
});

test('rounding keeps the promised digits and goes to the nearest neighbour', (t) => {
  check(t, fc.tuple(decimals, fc.integer({ min: 1, max: 34 }), modes), ([value, digits, mode]) => {
    const rounded = value.round(digits, mode);
    assert.ok(
      magnitude(Decimal.of(rounded.coefficient, 0)).compare(Decimal.of(10n ** BigInt(digits), 0)) < 0,
    );
    const error = magnitude(value.minus(rounded)).times(Decimal.of(2n, 0));
    const step = Decimal.of(1n, rounded.exponent);
    assert.ok(error.compare(step) <= 0);
    if (error.equals(step)) {
      if (mode === 'half-even') assert.ok(rounded.coefficient % 2n === 0n || digits === 1);
      else assert.ok(magnitude(rounded).compare(magnitude(value)) > 0);
    }
    assert.equal(rounded.round(digits, mode), rounded);
    assert.ok(value.negated().round(digits, mode).equals(rounded.negated()));
  });
});

test('quantising keeps the promised places and goes to the nearest neighbour', (t) => {
  check(t, fc.tuple(decimals, fc.integer({ min: 0, max: 34 }), modes), ([value, places, mode]) => {
    const rounded = value.quantize(places, mode);
    assert.ok(rounded.exponent >= -places);
    assert.ok(magnitude(value.minus(rounded)).times(Decimal.of(2n, 0)).compare(Decimal.of(1n, -places)) <= 0);
    assert.equal(rounded.quantize(places, mode), rounded);
    assert.equal(Decimal.of(rounded.scaled(places), -places).toString(), rounded.toString());
  });
});

test('floor and ceil enclose the value and what is stored is its value to 28 places', (t) => {
  check(t, decimals, (value) => {
    const floor = Decimal.of(value.floor(), 0);
    const ceil = Decimal.of(value.ceil(), 0);
    assert.ok(floor.compare(value) <= 0 && value.minus(floor).compare(Decimal.ONE) < 0);
    assert.ok(ceil.compare(value) >= 0 && ceil.minus(value).compare(Decimal.ONE) < 0);
    if (magnitude(ceil).compare(decimal('1e30')) < 0 && magnitude(floor).compare(decimal('1e30')) < 0) {
      assert.ok(value.toStored().equals(value.quantize(28)));
    }
  });
});

test('the value through a binary float is the value of that float', (t) => {
  const floats = fc.oneof(
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.float({ noNaN: true, noDefaultInfinity: true }),
  );
  check(t, fc.tuple(floats, decimals), ([float, value]) => {
    const exact = decimal(String(float)).throughBinary();
    assert.equal(Number(exact.toString()), float + 0);
    assertSame(exact.throughBinary(), exact);
    assert.equal(Number(value.throughBinary().toString()), Number(value.toString()));
  });
});

// ------------------------------------------------------------------------------------------------- hostile input

const REFUSED = [
  ...[
    '',
    ' ',
    '.',
    '+',
    '-',
    '+.',
    '-.',
    'e',
    'e5',
    '.e5',
    '1e',
    '1e+',
    '1e-',
    '1.2.3',
    '1..2',
    '..5',
    '.5.',
    '.5.5',
    '--1',
    '+-1',
    '1-',
    '1e5.0',
  ],
  ...[
    'NaN',
    'nan',
    'sNaN',
    'Infinity',
    '-inf',
    '∞',
    '0x10',
    '0b1',
    '1_000',
    '1,5',
    '1 000',
    ' 1',
    '1 ',
    '1\n',
    '\t1',
    '1\0',
    '1n',
  ],
  ...[
    '١٢٣',
    '１２',
    '½',
    '²',
    '−1',
    '1e²',
    '1e400000',
    '1e-400000',
    '1e6145',
    '0e99999999999999999999',
    '1e999999999999999999999',
  ],
  ...['null', 'true', '[object Object]', '1;DROP TABLE', "'1'", '"1"'],
];

for (const text of REFUSED) {
  test(`${JSON.stringify(text)} is not a decimal`, () => {
    assert.equal(Decimal.tryParse(text), undefined);
    assert.throws(
      () => Decimal.parse(text),
      (error) => isRatecatError(error) && error.kind === 'data' && error.code === 'RATECAT_NUMBER_MALFORMED',
    );
  });
}

const ACCEPTED: readonly (readonly [string, bigint, number, string])[] = [
  ['0', 0n, 0, '0'],
  ['-0', 0n, 0, '0'],
  ['-0.00', 0n, -2, '0'],
  ['+1', 1n, 0, '1'],
  ['1.', 1n, 0, '1'],
  ['.5', 5n, -1, '0.5'],
  ['-.5', -5n, -1, '-0.5'],
  ['007', 7n, 0, '7'],
  ['2.50', 250n, -2, '2.5'],
  ['100', 100n, 0, '100'],
  ['1e3', 1n, 3, '1000'],
  ['-1.5E-07', -15n, -8, '-0.00000015'],
  ['1E+0', 1n, 0, '1'],
  ['1e-0', 1n, 0, '1'],
  ['999999999999999', 999999999999999n, 0, '999999999999999'],
  ['9999999999999999', 9999999999999999n, 0, '9999999999999999'],
  ['-9007199254740993', -9007199254740993n, 0, '-9007199254740993'],
  [
    '-123456789012345.678901234567890',
    -123456789012345678901234567890n,
    -15,
    '-123456789012345.67890123456789',
  ],
  ['1234567890123456789012345678901', 1234567890123456789012345678901n, 0, '1234567890123456789012345678901'],
];

for (const [text, coefficient, exponent, printed] of ACCEPTED) {
  test(`${text} reads as ${coefficient} × 10^${exponent} and prints as ${printed}`, () => {
    const value = decimal(text);
    assert.equal(value.coefficient, coefficient);
    assert.equal(value.exponent, exponent);
    assert.equal(value.toString(), printed);
    assert.equal(JSON.stringify(value), `"${printed}"`);
  });
}

test('numbers of any size that fits the limits stay exact', () => {
  assert.equal(decimal('1e400').toString(), `1${'0'.repeat(400)}`);
  assert.equal(decimal('1e-6144').toString(), `0.${'0'.repeat(6143)}1`);
  const long = '7'.repeat(16_384);
  assert.equal(decimal(long).toString(), long);
});

test('a text of ten megabytes is refused without reading it as a number', () => {
  for (const text of ['9'.repeat(1e7), `0.${'0'.repeat(1e7)}`, `1e${'9'.repeat(1e7)}`, '-'.repeat(1e7)]) {
    assert.equal(Decimal.tryParse(text), undefined);
  }
});

test('the message of a refused number quotes no more than its beginning', () => {
  assert.throws(
    () => Decimal.parse('x'.repeat(1e6)),
    (error: Error) => error.message.length < 200,
  );
});

test('arithmetic between the largest and smallest numbers that text can give stays exact', () => {
  const large = decimal('9e6144');
  const small = decimal('1e-6144');
  assert.ok(large.plus(small).minus(large).equals(small));
  assert.equal(large.times(small).toString(), '9');
  assert.equal(large.compare(small), 1);
  assert.equal(large.plus(small).round().toReferenceNotation(), `9.${'0'.repeat(27)}E+6144`);
});

test('a value with more than thirty digits before the point cannot be stored', () => {
  const largest = decimal(`${'9'.repeat(30)}.${'9'.repeat(28)}`);
  assertSame(largest.toStored(), largest);
  assertSame(decimal('1e29').toStored(), decimal('1e29'));
  for (const text of [
    '1e30',
    '-1e30',
    `1${'0'.repeat(30)}`,
    `${'9'.repeat(30)}.${'9'.repeat(29)}`,
    '1e6144',
  ]) {
    assert.throws(
      () => decimal(text).toStored(),
      (error) => isRatecatError(error) && error.code === 'RATECAT_NUMBER_OVERFLOW',
    );
  }
});

test('a value beyond every binary float has no value through one', () => {
  for (const text of ['1.8e308', '-1.8e308', '1e400']) {
    assert.throws(
      () => decimal(text).throughBinary(),
      (error) => isRatecatError(error) && error.code === 'RATECAT_NUMBER_MALFORMED',
    );
  }
  assertSame(decimal('1e-400').throughBinary(), Decimal.ZERO);
});

test('an integer that a JavaScript number does not hold exactly is refused', () => {
  assert.equal(Decimal.fromInteger(-42).toString(), '-42');
  assert.equal(Decimal.fromInteger(2n ** 70n).toString(), '1180591620717411303424');
  for (const value of [0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) {
    assert.throws(() => Decimal.fromInteger(value), /not an exact integer/);
  }
});

test('equal results of different operations are deeply equal', () => {
  const one = decimal('1');
  for (const other of [
    decimal('1e-0'),
    decimal('1.0').quantize(0),
    decimal('1.2').throughBinary().quantize(0),
  ]) {
    assert.deepEqual(other, one);
  }
  assert.deepEqual(decimal('0.0').throughBinary(), Decimal.ZERO);
});

test('powers of ten and their neighbours round right at every size', () => {
  for (let size = 1; size <= 400; size++) {
    const power = 10n ** BigInt(size);
    for (const digits of [1, 9, 28]) {
      const isWhole = size < digits;
      assertSame(Decimal.of(power, 0).round(digits), shortened(power, isWhole ? 0 : size + 1 - digits));
      assertSame(
        Decimal.of(power + 1n, 0).round(digits),
        shortened(power + 1n, isWhole ? 0 : size + 1 - digits),
      );
      const nines = size <= digits ? Decimal.of(power - 1n, 0) : shortened(power, size + 1 - digits);
      assertSame(Decimal.of(power - 1n, 0).round(digits), nines);
    }
  }
});

/** The value without its last digits. */
function shortened(value: bigint, digits: number): Decimal {
  return Decimal.of(value / 10n ** BigInt(digits), digits);
}

test('zero and one are what they are called', () => {
  assert.equal(Decimal.ZERO.toString(), '0');
  assert.equal(Decimal.ONE.toString(), '1');
});

test('only what is below zero is negative', () => {
  const signs = ['-1', '-0.001', '-0', '0', '0.001'].map((text) => decimal(text).isNegative);
  assert.deepEqual(signs, [true, true, false, false, false]);
});

test('a value is scaled only to places that hold it', () => {
  assert.equal(decimal('2.50').scaled(1), 25n);
  assert.equal(decimal('3e2').scaled(2), 30000n);
  assert.throws(() => decimal('2.55').scaled(1), RangeError);
});

test('ties of a division go to the even neighbour or up', () => {
  const rounded = (mode: RoundingMode) =>
    [1n, 3n, 5n, 7n].map((dividend) => divideRounded(dividend, 2n, mode));
  assert.deepEqual(rounded('half-even'), [0n, 2n, 2n, 4n]);
  assert.deepEqual(rounded('half-up'), [1n, 2n, 3n, 4n]);
});
