import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { Decimal, isRatecatError, type StrictArithmetic } from '../../../core/plugin-api/index.js';
import {
  type ConversionSpec,
  compileConversion,
  type MutateMapEntry,
  Rational,
} from '../../../core/processing/quantity-conversion.js';
import { sampleSeed } from '../../../core/testkit/samples.js';

const GNOCCHI: StrictArithmetic = {
  significantDigits: 28,
  rounding: 'half-even',
  roundsSample: false,
  binarySample: true,
};
const PROMETHEUS: StrictArithmetic = {
  significantDigits: 9,
  rounding: 'half-up',
  roundsSample: true,
  binarySample: false,
};

const decimal = (text: string) => Decimal.parse(text);

/** As the metrics file has it: integers are numbers, all else is text. */
function spec(factor: string, offset = '0', more: Partial<ConversionSpec> = {}): ConversionSpec {
  return {
    factor: Rational.parse(factor),
    factorIsText: !/^-?\d+$/.test(factor),
    offset: Rational.parse(offset),
    offsetIsText: !/^-?\d+$/.test(offset),
    mutate: 'NONE',
    ...more,
  };
}

function map(entries: Readonly<Record<string, string>>): readonly MutateMapEntry[] {
  return Object.entries(entries).map(([from, to]) => ({ from: decimal(from), to: decimal(to) }));
}

function gnocchi(raw: string, conversion: ConversionSpec): string {
  return compileConversion(conversion, 'strict', GNOCCHI)(decimal(raw)).toReferenceNotation();
}

function prometheus(raw: string, conversion: ConversionSpec): string {
  return compileConversion(conversion, 'strict', PROMETHEUS)(decimal(raw)).toReferenceNotation();
}

function fixed(raw: string, conversion: ConversionSpec): string {
  return compileConversion(conversion, 'fixed', GNOCCHI)(decimal(raw)).toString();
}

// ------------------------------------------------------------------------------------------- the reference's values

const REFERENCE_VALUES = [
  ['13267968.0', '1/1048576', '12.65332031250000000000', '12.6533203', '12.6533203125'],
  ['1.0', '0.1', '0.1000000000000000055511151231', '0.100000000', '0.1'],
  ['0.3', '1', '0.2999999999999999888977697537', '0.3', '0.3'],
  ['1234.5', '3600/1000000', '4.444199999999999878361883754', '4.44420000', '4.4442'],
  ['9.9', '10', '99.00000000000000355271367880', '99.0', '99'],
  ['1', '1/3', '0.3333333333333333148296162562', '0.333333333', '0.3333333333333333333333333333'],
] as const;

for (const [raw, factor, byGnocchi, byPrometheus, exact] of REFERENCE_VALUES) {
  test(`${raw} × ${factor} is ${byGnocchi} with gnocchi, ${byPrometheus} with prometheus, ${exact} when fixed`, () => {
    assert.equal(gnocchi(raw, spec(factor)), byGnocchi);
    assert.equal(prometheus(raw, spec(factor)), byPrometheus);
    assert.equal(fixed(raw, spec(factor)), exact);
  });
}

test('the binary excess of a gnocchi sample makes CEIL answer 100 where 99 is right', () => {
  const ceil = spec('10', '0', { mutate: 'CEIL' });
  assert.equal(gnocchi('9.9', ceil), '100');
  assert.equal(prometheus('9.9', ceil), '99');
  assert.equal(fixed('9.9', ceil), '99');
});

interface Vector {
  readonly operation: string;
  readonly words: readonly string[];
  readonly expected: string;
  readonly line: string;
}

function readVectors(): readonly Vector[] {
  const file = new URL('../../golden/decimal-vectors-conversion.txt', import.meta.url);
  const lines = readFileSync(file, 'ascii').trimEnd().split('\n');
  return lines.map((line) => {
    const words = line.split(' ');
    return { operation: words[0]!, words: words.slice(1, -1), expected: words.at(-1)!, line };
  });
}

const vectors = readVectors();

function compareWithVectors(operation: string, compute: (words: readonly string[]) => string): void {
  const chosen = vectors.filter((vector) => vector.operation === operation);
  assert.ok(chosen.length >= 400, `only ${chosen.length} cases of ${operation}`);
  for (const { words, expected, line } of chosen) {
    const actual = compute(words);
    if (actual !== expected) assert.fail(`${line}\nRatecat: ${actual}`);
  }
}

test("strict conversion with gnocchi's arithmetic gives what Python gives", () => {
  compareWithVectors('gnocchi', ([raw, factor, offset]) => gnocchi(raw!, spec(factor!, offset)));
});

test("strict conversion with prometheus' arithmetic gives what Python gives", () => {
  compareWithVectors('prometheus', ([raw, factor, offset]) => prometheus(raw!, spec(factor!, offset)));
});

test('fixed conversion gives the exact fraction rounded once', () => {
  compareWithVectors('exact', ([raw, factor, offset]) => fixed(raw!, spec(factor!, offset)));
});

test('a fraction becomes the same binary float as in Python, subnormal ones and ties included', () => {
  compareWithVectors('float', ([text]) => Rational.parse(text!).throughBinary().toReferenceNotation());
});

// ------------------------------------------------------------------------------------------------------- conversion

test('the identity hands back the very same decimal', () => {
  const identity = compileConversion(spec('1'), 'fixed');
  for (const text of ['0', '1', '0.25', '-3.50', '9999999999999999999999999999', '1e30']) {
    const value = decimal(text);
    assert.equal(identity(value), value);
  }
});

test('the identity rounds what has more than 28 digits', () => {
  assert.equal(fixed('0.33333333333333333333333333335', spec('1')), '0.3333333333333333333333333334');
  assert.equal(fixed('12345678901234567890123456785', spec('1')), '12345678901234567890123456780');
});

test('factor and offset are applied exactly and rounded once', () => {
  assert.equal(fixed('3', spec('1/3')), '1');
  assert.equal(fixed('1', spec('1/3', '2/3')), '1');
  assert.equal(fixed('0', spec('1/3')), '0');
  assert.equal(fixed('-1', spec('1/3', '-1/7')), '-0.4761904761904761904761904762');
  assert.equal(fixed('20', spec('1.8', '32')), '68');
  assert.equal(fixed('1e20', spec('1e-20', '-1')), '0');
  assert.equal(fixed('0.0000000000000000000000000001', spec('5', '1')), '1');
  assert.equal(fixed('0.6', spec('1', '9999999999999999999999999998')), '9999999999999999999999999999');
});

test('an integer factor is exact in strict mode and the same digits as text are a binary float', () => {
  const factor = Rational.parse('9007199254740993');
  const asInteger = spec('1', '0', { factor, factorIsText: false });
  const asText = spec('1', '0', { factor, factorIsText: true });
  assert.equal(gnocchi('1', asInteger), '9007199254740993');
  assert.equal(gnocchi('1', asText), '9007199254740992');
  assert.equal(fixed('1', asText), '9007199254740993');
});

test('an offset written as text is a binary float in strict mode', () => {
  assert.equal(gnocchi('0', spec('1', '0.1')), '0.1000000000000000055511151231');
  assert.equal(prometheus('0', spec('1', '0.1')), '0.100000000');
  assert.equal(fixed('0', spec('1', '0.1')), '0.1');
});

test('a collector without reference arithmetic is computed exactly in strict mode too', () => {
  assert.equal(compileConversion(spec('0.1'), 'strict')(decimal('1.0')).toString(), '0.1');
});

test('a gnocchi sample beyond every binary float fails instead of becoming infinite', () => {
  assert.throws(
    () => gnocchi('1e309', spec('1')),
    (error) => isRatecatError(error) && error.kind === 'data',
  );
});

// -------------------------------------------------------------------------------------------------------- mutations

test('NUMBOOL answers one for everything but zero and NOTNUMBOOL the opposite', () => {
  for (const [raw, isZero] of [
    ['0', true],
    ['0.000', true],
    ['-0', true],
    ['5', false],
    ['-0.1', false],
    ['1e-300', false],
  ] as const) {
    assert.equal(fixed(raw, spec('1', '0', { mutate: 'NUMBOOL' })), isZero ? '0' : '1');
    assert.equal(fixed(raw, spec('1', '0', { mutate: 'NOTNUMBOOL' })), isZero ? '1' : '0');
    assert.equal(gnocchi(raw, spec('1', '0', { mutate: 'NUMBOOL' })), isZero ? '0.0' : '1.0');
    assert.equal(prometheus(raw, spec('1', '0', { mutate: 'NOTNUMBOOL' })), isZero ? '1.0' : '0.0');
  }
});

test('the mutation sees the quantity after factor and offset', () => {
  assert.equal(fixed('5', spec('2', '-10', { mutate: 'NUMBOOL' })), '0');
  assert.equal(fixed('5', spec('1/3', '0', { mutate: 'CEIL' })), '2');
});

test('FLOOR and CEIL go to whole numbers, also below zero', () => {
  for (const [raw, floor, ceil] of [
    ['1.2', '1', '2'],
    ['-1.2', '-2', '-1'],
    ['3', '3', '3'],
    ['3.000', '3', '3'],
    ['1e3', '1000', '1000'],
    ['-0.1', '-1', '0'],
  ] as const) {
    for (const convert of [fixed, gnocchi, prometheus]) {
      assert.equal(convert(raw, spec('1', '0', { mutate: 'FLOOR' })), floor);
      assert.equal(convert(raw, spec('1', '0', { mutate: 'CEIL' })), ceil);
    }
  }
});

test('MAP finds equal numbers whatever their scale and gives zero for the others', () => {
  const active = spec('1', '0', {
    mutate: 'MAP',
    mutateMap: map({ '0.0': '1.0', '11.0': '2.50', '12': '3' }),
  });
  for (const [raw, expected] of [
    ['0', '1'],
    ['0.00', '1'],
    ['11', '2.5'],
    ['12.0', '3'],
    ['1.2e1', '3'],
    ['13', '0'],
    ['-12', '0'],
  ] as const) {
    assert.equal(fixed(raw, active), expected);
  }
  assert.equal(gnocchi('0', active), '1.0');
  assert.equal(prometheus('11', active), '2.50');
  assert.equal(prometheus('13', active), '0.0');
});

test('a fraction as key of MAP is matched exactly when fixed and as a binary float when strict', () => {
  const tenth = spec('1', '0', { mutate: 'MAP', mutateMap: map({ '0.1': '7', '0.5': '8' }) });
  assert.equal(fixed('0.1', tenth), '7');
  assert.equal(gnocchi('0.1', tenth), '0.0');
  assert.equal(prometheus('0.1', tenth), '0.0');
  assert.equal(prometheus('0.5', tenth), '8');
});

test('the last of equal keys of MAP counts and a missing map is an empty one', () => {
  const twice = [...map({ '1': '5' }), ...map({ '1.0': '6' })];
  assert.equal(fixed('1', spec('1', '0', { mutate: 'MAP', mutateMap: twice })), '6');
  assert.equal(fixed('1', spec('1', '0', { mutate: 'MAP' })), '0');
  assert.equal(gnocchi('1', spec('1', '0', { mutate: 'MAP' })), '0.0');
});

// -------------------------------------------------------------------------------------------------------- rationals

test('rationals are read from fractions and decimals, in lowest terms', () => {
  for (const [text, printed] of [
    ['1/1048576', '1/1048576'],
    ['3600/1000000', '9/2500'],
    ['0.5', '1/2'],
    ['-0.5', '-1/2'],
    ['3', '3'],
    ['-6/4', '-3/2'],
    ['+4/2', '2'],
    ['0/7', '0'],
    ['1e-3', '1/1000'],
    ['1.50E2', '150'],
    [' 1/2 ', '1/2'],
    ['.25', '1/4'],
  ] as const) {
    const value = Rational.parse(text);
    assert.equal(value.toString(), printed);
    assert.ok(Rational.parse(printed).equals(value));
  }
  assert.ok(!Rational.parse('1/2').equals(Rational.parse('1/3')));
  assert.equal(Rational.of(3n, -6n).toString(), '-1/2');
});

for (const text of [
  '',
  ' ',
  '/',
  '1/',
  '/2',
  '1/0',
  '0/0',
  '1/2/3',
  '1 / 2',
  '1/-2',
  '1.5/2',
  '1/2.5',
  'a',
  'NaN',
  '1e',
  '٣/٤',
  '1'.repeat(1001),
  `1/${'3'.repeat(1e6)}`,
]) {
  test(`${JSON.stringify(text.slice(0, 20))} of ${text.length} characters is no rational`, () => {
    assert.throws(
      () => Rational.parse(text),
      (error: unknown) =>
        isRatecatError(error) &&
        error.kind === 'data' &&
        error.code === 'RATECAT_NUMBER_MALFORMED' &&
        error.message.length < 250,
    );
  });
}

test('a rational is a decimal exactly when its denominator divides a power of ten', () => {
  for (const [text, expected] of [
    ['1/8', '0.125'],
    ['-7/20', '-0.35'],
    ['3', '3'],
    ['1/3', undefined],
    ['5/6', undefined],
    ['1/1048576', '0.00000095367431640625'],
  ] as const) {
    assert.equal(Rational.parse(text).toDecimal()?.toString(), expected);
  }
});

// ------------------------------------------------------------------------------------------------------- properties

const SEED = sampleSeed();

function check<T>(t: TestContext, arbitrary: fc.Arbitrary<T>, holds: (value: T) => void): void {
  t.diagnostic(`RATECAT_SEED=${SEED}`);
  fc.assert(
    fc.property(arbitrary, (value) => holds(value)),
    { seed: SEED, numRuns: 5000 },
  );
}

const rationals = fc
  .tuple(fc.bigInt({ min: -(10n ** 9n), max: 10n ** 9n }), fc.bigInt({ min: 1n, max: 10n ** 7n }))
  .map(([numerator, denominator]) => Rational.of(numerator, denominator));
const samples = fc
  .tuple(fc.bigInt({ min: -(10n ** 20n), max: 10n ** 20n }), fc.integer({ min: -25, max: 5 }))
  .map(([coefficient, exponent]) => Decimal.of(coefficient, exponent));

test('a fixed conversion is off by no more than half a unit of its 28th digit', (t) => {
  check(t, fc.tuple(samples, rationals, rationals), ([sample, factor, offset]) => {
    const converted = compileConversion({ factor, offset, mutate: 'NONE' }, 'fixed')(sample);
    const result = Rational.fromDecimal(converted);
    const value = Rational.fromDecimal(sample);
    const denominator = value.denominator * factor.denominator * offset.denominator;
    const numerator =
      value.numerator * factor.numerator * offset.denominator +
      offset.numerator * value.denominator * factor.denominator;
    const error = numerator * result.denominator - result.numerator * denominator;
    const magnitude = numerator < 0n ? -numerator : numerator;
    // |error| ≤ |value| × 10^-27 / 2
    assert.ok((error < 0n ? -error : error) * 2n * 10n ** 27n <= magnitude * result.denominator);
  });
});

test('printed rationals read back, and decimals go through rationals unharmed', (t) => {
  check(t, fc.tuple(rationals, samples), ([rational, sample]) => {
    assert.ok(Rational.parse(rational.toString()).equals(rational));
    assert.ok(Rational.fromDecimal(sample).toDecimal()?.equals(sample));
  });
});

test('a rational through binary is the quotient of the two numbers', (t) => {
  // Both parts are exact floats here, so that JavaScript's division is the correctly rounded quotient.
  check(t, rationals, (rational) => {
    const float = Number(rational.numerator) / Number(rational.denominator);
    assert.equal(Number(rational.throughBinary().toString()), float + 0);
  });
});
