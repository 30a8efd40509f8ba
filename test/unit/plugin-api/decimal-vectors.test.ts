import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Decimal } from '../../../core/plugin-api/index.js';

/** What Python's decimal module answered; written by test/golden/decimal-vectors.py. */
const VECTORS = new URL('../../golden/decimal-vectors.txt', import.meta.url);

const PROMETHEUS_DIGITS = 9;

/** Operations by their name in the file. All but `plain` print in the reference's notation, so the scale is compared too. */
const OPERATIONS: Readonly<Record<string, (a: Decimal, b: Decimal) => string>> = {
  plus: (a, b) => a.plus(b).toReferenceNotation(),
  plus28: (a, b) => a.plus(b).round().toReferenceNotation(),
  plus9: (a, b) => a.plus(b).round(PROMETHEUS_DIGITS, 'half-up').toReferenceNotation(),
  minus28: (a, b) => a.minus(b).round().toReferenceNotation(),
  times: (a, b) => a.times(b).toReferenceNotation(),
  times28: (a, b) => a.times(b).round().toReferenceNotation(),
  times9: (a, b) => a.times(b).round(PROMETHEUS_DIGITS, 'half-up').toReferenceNotation(),
  compare: (a, b) => String(a.compare(b)),
  round28: (a) => a.round().toReferenceNotation(),
  round9: (a) => a.round(PROMETHEUS_DIGITS, 'half-up').toReferenceNotation(),
  quantize: (a) => a.quantize(28).toReferenceNotation(),
  floor: (a) => String(a.floor()),
  ceil: (a) => String(a.ceil()),
  reference: (a) => a.toReferenceNotation(),
  plain: (a) => a.toString(),
  binary: (a) => a.throughBinary().toReferenceNotation(),
};

interface Vector {
  readonly operation: string;
  readonly operands: readonly Decimal[];
  readonly expected: string;
  readonly line: string;
}

function readVectors(): readonly Vector[] {
  return readFileSync(VECTORS, 'ascii').trimEnd().split('\n').map(parseVector);
}

function parseVector(line: string): Vector {
  const words = line.split(' ');
  return {
    operation: words[0]!,
    operands: words.slice(1, -1).map((word) => Decimal.parse(word)),
    expected: words.at(-1)!,
    line,
  };
}

const vectors = readVectors();

for (const [operation, compute] of Object.entries(OPERATIONS)) {
  test(`${operation} answers what Python's decimal module answers`, () => {
    const chosen = vectors.filter((vector) => vector.operation === operation);
    assert.ok(chosen.length >= 1000, `only ${chosen.length} cases of ${operation}`);
    for (const { operands, expected, line } of chosen) {
      const actual = compute(operands[0]!, operands[1] ?? Decimal.ZERO);
      if (actual !== expected) assert.fail(`${line}\nRatecat: ${actual}`);
    }
  });
}

test('the vector file holds at least 20,000 cases and no operation that is not checked', () => {
  assert.ok(vectors.length >= 20_000);
  const unknown = vectors.filter((vector) => OPERATIONS[vector.operation] === undefined);
  assert.deepEqual(unknown, []);
});
