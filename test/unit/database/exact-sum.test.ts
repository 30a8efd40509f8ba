import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { addDecimalText, ExactSum } from '../../../core/database/exact-sum.js';
import { Decimal } from '../../../core/plugin-api/index.js';
import { sampleSeed } from '../../../core/testkit/samples.js';

/** Decimals as storages keep them: up to 29 digits before and 28 after the point. */
const stored = fc
  .tuple(fc.bigInt({ min: -(10n ** 29n), max: 10n ** 29n }), fc.integer({ min: -28, max: 0 }), fc.boolean())
  .map(([coefficient, exponent, isSmall]) =>
    Decimal.of(isSmall ? coefficient / 10n ** 20n : coefficient, exponent),
  );

function sumOf(texts: readonly string[]): string | null {
  const sum = new ExactSum();
  for (const text of texts) sum.add(text);
  return sum.result();
}

test('the sum of any decimals in any order is the exact one', () => {
  fc.assert(
    fc.property(fc.array(stored, { maxLength: 60 }), (values) => {
      const expected = values.reduce((total, value) => total.plus(value), Decimal.ZERO).toString();
      const texts = values.map(String);
      assert.equal(sumOf(texts), values.length === 0 ? null : expected);
      assert.equal(sumOf(texts.toReversed()), values.length === 0 ? null : expected);
    }),
    { seed: sampleSeed(), numRuns: 2_000 },
  );
});

test('a sum of a million values that fill every limb loses nothing', () => {
  const text = '9999999999.9999999999999999999999999999';
  const sum = new ExactSum();
  for (let count = 0; count < 1_000_000; count++) sum.add(text);
  assert.equal(sum.result(), Decimal.parse(text).times(Decimal.fromInteger(1_000_000)).toString());
});

test('the sum of nothing is null and the sum of opposites is 0', () => {
  assert.equal(sumOf([]), null);
  assert.equal(sumOf(['0.1', '-0.1']), '0');
  assert.equal(
    sumOf(['-0.0000000000000000000000000001', '123456789012345678901234567890']),
    '123456789012345678901234567889.9999999999999999999999999999',
  );
});

test('notations that are not canonical are summed as well', () => {
  assert.equal(sumOf(['1e3', '+2', '.5', '3.', '-1.50', '1E-30']), '1004.000000000000000000000000000001');
  assert.equal(sumOf(['10.0000000000000000000000000000']), '10');
});

test('text that is no number is refused', () => {
  for (const text of ['', '-', '.', '1,5', 'NaN', '1.2.3', '1.0x', '12345678901x', ' 1']) {
    assert.throws(() => sumOf(['1', text]), { code: 'RATECAT_NUMBER_MALFORMED' }, `'${text}'`);
  }
});

test('adding two decimals is exact and canonical', () => {
  fc.assert(
    fc.property(stored, stored, (left, right) => {
      assert.equal(addDecimalText(left.toString(), right.toString()), left.plus(right).toString());
    }),
    { seed: sampleSeed(), numRuns: 2_000 },
  );
});

test('a sum that storages cannot keep is refused', () => {
  assert.throws(() => addDecimalText('9'.repeat(30), '1'), { code: 'RATECAT_NUMBER_OVERFLOW' });
});
