import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type AttributeValue, Decimal, isDecimal } from '../../../core/plugin-api/index.js';
import { fieldNumber, fieldText } from '../../../plugins/rating/hashmap/field-value.js';

const number = (literal: string) => Decimal.parse(literal);

test('numbers have the text that Python gives them', () => {
  const texts: Record<string, string> = {
    '4': '4',
    '-0': '0',
    '123456789012345678901234567890': '123456789012345678901234567890',
    '1.0': '1.0',
    '-0.5': '-0.5',
    '2.50': '2.5',
    '0.1': '0.1',
    '1e3': '1000.0',
    '1E5': '100000.0',
    '1e16': '1e+16',
    '9999999999999998.0': '9999999999999998.0',
    '1234567890123456.7': '1234567890123456.8',
    '123456789012345680.0': '1.2345678901234568e+17',
    '100000000000000000000.0': '1e+20',
    '1e22': '1e+22',
    '0.0001': '0.0001',
    '0.00001': '1e-05',
    '1.5e-7': '1.5e-07',
    '5e-324': '5e-324',
    '1.7976931348623157e308': '1.7976931348623157e+308',
    '1e400': 'inf',
    '-1e400': '-inf',
  };
  for (const [literal, text] of Object.entries(texts))
    assert.equal(fieldText(number(literal)), text, literal);
});

test('everything else has the text of its Python literal, and text stays as it is', () => {
  const texts: readonly (readonly [AttributeValue, string])[] = [
    [' m1.small ', ' m1.small '],
    ["it's", "it's"],
    [true, 'True'],
    [false, 'False'],
    [null, 'None'],
    [[], '[]'],
    [{}, '{}'],
    [[number('1'), 'a'], "[1, 'a']"],
    [{ a: null }, "{'a': None}"],
    [[true, number('1.0'), { k: "it's" }], "[True, 1.0, {'k': \"it's\"}]"],
    [['a"b\'c'], "['a\"b\\'c']"],
    [['tab\there\n\u00a0\u200b😀é\\'], "['tab\\there\\n\\xa0\\u200b😀é\\\\']"],
    [['\u0007\u2028\ud83d'], "['\\x07\\u2028\\ud83d']"],
    [['\ue000', '\u{e0001}'], "['\\ue000', '\\U000e0001']"],
  ];
  for (const [value, text] of texts) assert.equal(fieldText(value), text);
});

test('texts are numbers where Python reads them as decimals', () => {
  const numbers: Record<string, string | undefined> = {
    '2048': '2048',
    ' 2048 ': '2048',
    '2e3': '2000',
    '1E+2': '100',
    '2_048': '2048',
    _1_: '1',
    '1__0': '10',
    '٤٢': '42',
    '２０４８': '2048',
    '𝟙𝟚': '12',
    '.5': '0.5',
    '5.': '5',
    '+5': '5',
    '-5': '-5',
    '5\n': '5',
    '\x1c7\x1f': '7',
    inf: 'infinity',
    iNf: 'infinity',
    INFINITY: 'infinity',
    in_f: 'infinity',
    '-Infinity': '-infinity',
    '1e999999999': 'infinity',
    '-1e999999': '-infinity',
    '0e99999': '0',
    '\ufeff7': undefined,
    '': undefined,
    '  ': undefined,
    '2 GiB': undefined,
    '1,5': undefined,
    '0x10': undefined,
    '−5': undefined,
    NaN: undefined,
    '1e': undefined,
    e5: undefined,
    '.': undefined,
    '1 0': undefined,
  };
  for (const [text, expected] of Object.entries(numbers))
    assert.equal(fieldNumber(text, 'binary')?.toString(), expected, JSON.stringify(text));
});

test('a magnitude too small to write out is on its side of zero', () => {
  const tiny = fieldNumber('1e-999999', 'binary');
  const negative = fieldNumber('-1e-999999', 'binary');
  assert.ok(isDecimal(tiny) && tiny.compare(Decimal.ZERO) > 0);
  assert.ok(isDecimal(negative) && negative.compare(Decimal.ZERO) < 0);
});

test('booleans count as one and zero; null, lists and maps are no numbers', () => {
  assert.equal(String(fieldNumber(true, 'binary')), '1');
  assert.equal(String(fieldNumber(false, 'binary')), '0');
  for (const value of [null, [], [number('1')], {}]) assert.equal(fieldNumber(value, 'binary'), undefined);
});

test('a JSON number with a fraction is its binary value or its literal, as asked', () => {
  assert.equal(String(fieldNumber(number('0.1'), 'literal')), '0.1');
  assert.equal(
    String(fieldNumber(number('0.1'), 'binary')),
    '0.1000000000000000055511151231257827021181583404541015625',
  );
  assert.equal(String(fieldNumber(number('9007199254740993'), 'binary')), '9007199254740993');
  assert.equal(fieldNumber(number('1e400'), 'binary'), 'infinity');
});
