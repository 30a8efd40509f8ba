import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { didYouMean, editDistance, nearestKey } from '../../../core/config/nearest-key.js';
import { formatProblem } from '../../../core/config/problems.js';
import { sampleSeed } from '../../../core/testkit/samples.js';

const KEYS = [
  'period',
  'wait_periods',
  'scope_key',
  'metrics',
  'look_back',
  'start',
  'skip_datapoints_expression',
];

describe('nearestKey', () => {
  it('finds the key behind one slip', () => {
    const slip = fc.record({
      key: fc.constantFrom(...KEYS),
      at: fc.nat(30),
      kind: fc.constantFrom('drop', 'double', 'swap', 'replace'),
    });
    fc.assert(
      fc.property(slip, ({ key, at, kind }) => {
        const index = at % (key.length - 1);
        const [before, one, two] = [key.slice(0, index), key[index]!, key[index + 1]!];
        const middle = { drop: two, double: one + one + two, swap: two + one, replace: `q${two}` }[kind]!;
        const wrong = before + middle + key.slice(index + 2);
        fc.pre(wrong !== key);
        assert.equal(nearestKey(wrong, KEYS), key);
      }),
      { seed: sampleSeed() },
    );
  });

  it('knows other spellings and parts of a key', () => {
    assert.equal(nearestKey('waitPeriods', KEYS), 'wait_periods');
    assert.equal(nearestKey('wait-periods', KEYS), 'wait_periods');
    assert.equal(nearestKey('WAIT_PERIODS', KEYS), 'wait_periods');
    assert.equal(nearestKey('wait_period', KEYS), 'wait_periods');
    assert.equal(nearestKey('skip', KEYS), 'skip_datapoints_expression');
    assert.equal(nearestKey('\u200bperiod', KEYS), 'period');
  });

  it('stays silent when nothing is near', () => {
    assert.equal(nearestKey('colour', KEYS), undefined);
    assert.equal(nearestKey('', KEYS), undefined);
    assert.equal(didYouMean('zzz', KEYS), undefined);
    assert.equal(didYouMean('perod', KEYS), "did you mean 'period'?");
  });

  it('measures insertions, deletions, replacements and swaps', () => {
    assert.equal(editDistance('', 'abc'), 3);
    assert.equal(editDistance('abc', 'acb'), 1);
    assert.equal(editDistance('kitten', 'sitting'), 3);
    fc.assert(
      fc.property(fc.string({ maxLength: 12 }), fc.string({ maxLength: 12 }), (a, b) => {
        assert.equal(editDistance(a, b), editDistance(b, a));
        assert.equal(editDistance(a, b) === 0, a === b);
      }),
      { seed: sampleSeed() },
    );
  });

  it('compares names of any length in bounded time', () => {
    assert.equal(nearestKey('p'.repeat(1_000_000), KEYS), undefined);
  });
});

describe('formatProblem', () => {
  it('is one line of file, place, path, message and hint', () => {
    const problem = {
      file: 'a.yml',
      line: 3,
      column: 5,
      path: 'collect.period',
      message: 'is wrong',
      hint: 'mend it',
    };
    assert.equal(formatProblem(problem), 'a.yml:3:5: collect.period: is wrong (mend it)');
    assert.equal(formatProblem({ ...problem, path: '', hint: undefined }), 'a.yml:3:5: is wrong');
    assert.equal(
      formatProblem({ ...problem, message: 'two\nlines' }),
      'a.yml:3:5: collect.period: two\\u000alines (mend it)',
    );
    assert.ok(formatProblem({ ...problem, message: 'x'.repeat(10_000) }).length <= 600);
  });
});
