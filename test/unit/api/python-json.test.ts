import assert from 'node:assert/strict';
import { test } from 'node:test';
import { attributeJson, pythonFloat, pythonJson, RawJson } from '../../../core/api/python-json.js';
import { Decimal } from '../../../core/plugin-api/index.js';

test('floats look as Python prints them', () => {
  // Literals and what `repr(float(literal))` of Python 3 gives.
  const expected: readonly (readonly [string, string])[] = [
    ['0', '0.0'],
    ['-0.0', '0.0'],
    ['1', '1.0'],
    ['2.50', '2.5'],
    ['-12', '-12.0'],
    ['100', '100.0'],
    ['0.1', '0.1'],
    ['0.0001', '0.0001'],
    ['0.00001', '1e-05'],
    ['0.00012345', '0.00012345'],
    ['0.0000001', '1e-07'],
    ['-1.5e-10', '-1.5e-10'],
    ['0.12345678901234567890', '0.12345678901234568'],
    ['20.000000001', '20.000000001'],
    ['4.6813703670370370367', '4.6813703670370375'],
    ['9007199254740993', '9007199254740992.0'],
    ['999999999999999', '999999999999999.0'],
    ['9999999999999998', '9999999999999998.0'],
    ['10000000000000000', '1e+16'],
    ['123456789012345678901234567890', '1.2345678901234568e+29'],
    ['1e22', '1e+22'],
    ['1e100', '1e+100'],
    ['5e-324', '5e-324'],
  ];
  for (const [literal, float] of expected) assert.equal(pythonFloat(Decimal.parse(literal)), float, literal);
});

test('a number beyond floats stays a number of JSON', () => {
  assert.equal(JSON.parse(pythonFloat(Decimal.parse('1e400'))), Number.POSITIVE_INFINITY);
});

test('parts are separated as json.dumps separates them', () => {
  const value = { a: [1, Decimal.parse('2'), null], b: {}, c: [], d: undefined, e: new Map([['2', true]]) };
  assert.equal(pythonJson(value), '{"a": [1, 2.0, null], "b": {}, "c": [], "e": {"2": true}}');
});

test('text is escaped down to printable ASCII', () => {
  assert.equal(
    pythonJson('é\u007f\u2028"\\\n\t\u0001😀/\ud800'),
    '"\\u00e9\\u007f\\u2028\\"\\\\\\n\\t\\u0001\\ud83d\\ude00/\\ud800"',
  );
});

test('maps keep the order of names that look like numbers', () => {
  assert.equal(
    pythonJson(
      new Map([
        ['b', 1],
        ['1', 2],
        ['__proto__', 3],
      ]),
    ),
    '{"b": 1, "1": 2, "__proto__": 3}',
  );
});

test('attributes keep the type of their literal', () => {
  const literal = (text: string) => pythonJson(attributeJson(Decimal.parse(text)));
  assert.deepEqual(['1', '1.0', '1.50', '1e2', '-3', '12345678901234567890'].map(literal), [
    '1',
    '1.0',
    '1.5',
    '100.0',
    '-3',
    '12345678901234567890',
  ]);
  assert.equal(
    pythonJson(attributeJson({ b: [Decimal.ONE, 'x', null, false], a: { c: Decimal.parse('0.5') } })),
    '{"b": [1, "x", null, false], "a": {"c": 0.5}}',
  );
});

test('what is JSON already goes in as it is', () => {
  assert.equal(pythonJson({ a: new RawJson('{"x":1}') }), '{"a": {"x":1}}');
});
