import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Attributes, type AttributeValue, Decimal } from '../../../core/plugin-api/index.js';
import { HOSTILE_TEXTS } from '../../../core/testkit/hostile-texts.js';
import { sampleSeed } from '../../../core/testkit/samples.js';
import {
  attributesFromText,
  attributesToText,
  decimalText,
} from '../../../plugins/storage/sql/stored-values.js';

const { value } = fc.letrec<{ value: AttributeValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.string({ unit: 'grapheme' }),
    fc.constantFrom(...HOSTILE_TEXTS),
    fc.boolean(),
    fc.constant(null),
    fc
      .tuple(fc.bigInt({ min: -(10n ** 40n), max: 10n ** 40n }), fc.integer({ min: -40, max: 40 }))
      .map(([coefficient, exponent]) => Decimal.of(coefficient, exponent)),
    fc.array(tie('value'), { maxLength: 3 }),
    fc
      .array(fc.tuple(fc.constantFrom('__proto__', 'a', '1', 'b'), tie('value')), { maxLength: 3 })
      .map((entries) => Object.fromEntries(entries)),
  ),
}));

describe('stored attributes', () => {
  const seed = sampleSeed();
  it(`come back with their order, their types and the scale of their numbers (RATECAT_SEED=${seed})`, () => {
    const names = fc.uniqueArray(fc.oneof(fc.string(), fc.constantFrom(...HOSTILE_TEXTS)), { maxLength: 6 });
    fc.assert(
      fc.property(names, fc.array(value, { minLength: 6, maxLength: 6 }), (given, values) => {
        const attributes = Attributes.of(given, values.slice(0, given.length));
        const read = attributesFromText(attributesToText(attributes));
        assert.deepEqual(read.names, attributes.names);
        assert.equal(read.canonical(), attributes.canonical());
      }),
      { seed, numRuns: 2_000 },
    );
  });

  it('keep members called like those of every object', () => {
    const text = '["__proto__",{"__proto__":{"polluted":"yes"}},"constructor",1.0]';
    const read = attributesFromText(text);
    assert.equal(attributesToText(read), text);
    assert.equal(({} as { polluted?: string }).polluted, undefined);
  });

  it('are refused when the text was cut or changed', () => {
    const text = attributesToText(
      Attributes.from({ id: 'a"b\\', size: Decimal.parse('1.50'), tags: ['x', { y: true }] }),
    );
    for (let length = 0; length < text.length; length++) {
      assert.throws(
        () => attributesFromText(text.slice(0, length)),
        { code: 'RATECAT_STORAGE_CORRUPT' },
        `${length}`,
      );
    }
    for (const broken of [
      '{}',
      '["a"]',
      '[1',
      '["a",tru]',
      '["a",-]',
      `${text} `,
      '["a",{"b"}]',
      '["a","\\',
    ]) {
      assert.throws(() => attributesFromText(broken), { code: 'RATECAT_STORAGE_CORRUPT' }, broken);
    }
  });
});

describe('stored decimals', () => {
  it('read alike from engines that pad them and engines that do not', () => {
    const cases = {
      '2.5000000000000000000000000000': '2.5',
      '0.0000000000000000000000000000': '0',
      '100': '100',
      '-3.10': '-3.1',
    };
    for (const [stored, text] of Object.entries(cases)) assert.equal(decimalText(stored), text);
  });
});
