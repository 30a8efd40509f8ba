import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseOpenrc } from '../../../core/setup/openrc.js';
import { sampleSeed } from '../../../core/testkit/samples.js';

const parse = (text: string, environment: Record<string, string> = {}) => {
  const { values, unknown } = parseOpenrc(text, environment);
  return { values: Object.fromEntries(values), unknown: [...unknown.values()] };
};

describe('parseOpenrc', () => {
  const words: readonly (readonly [written: string, read: string])[] = [
    ['plain', 'plain'],
    [`"two words"`, 'two words'],
    [`'a $b \`c\` "d" \\'`, 'a $b `c` "d" \\'],
    [`"a \\$b \\"c\\" \\d"`, 'a $b "c" \\d'],
    ['a\\ b\\#c', 'a b#c'],
    [`a'b'"c"d`, 'abcd'],
    ['a#b # comment', 'a#b'],
    ['', ''],
    [`"price $"`, 'price $'],
    ['a=b=c', 'a=b=c'],
    ['a;', 'a'],
    ['~/ca.pem', '/home/me/ca.pem'],
    ['$HOME/ca.pem', '/home/me/ca.pem'],
    [`"\${HOME}x"`, '/home/mex'],
  ];
  for (const [written, read] of words) {
    it(`reads ${written === '' ? 'nothing' : written} as a shell does`, () => {
      const { values, unknown } = parse(`export OS_X=${written}\n`, { HOME: '/home/me' });
      assert.deepEqual({ values, unknown }, { values: { OS_X: read }, unknown: [] });
    });
  }

  it('takes assignments with and without export, several on a line, and the last one of a name', () => {
    const text = 'A=1\nexport B=2 C="3 4"\n  declare -x D=5; E=6\r\nA=7\nunset B # gone\n';
    assert.deepEqual(parse(text).values, { A: '7', C: '3 4', D: '5', E: '6' });
  });

  it('lets an assignment refer to one above it before the environment', () => {
    assert.deepEqual(parse(`A=1\nB=$A-\${C}\n`, { A: 'outside', C: '3' }).values, { A: '1', B: '1-3' });
  });

  const harmless: readonly string[] = [
    'A=1 # only for admins, if any',
    'export A=1 # the case of { braces',
    `A='wait for it'`,
    'A="if ; for {"',
    'A=1; echo "for you: {"',
    `A=x\\ if\\ y`,
    'echo while you wait',
  ];
  for (const line of harmless) {
    it(`sees no condition in ${line}`, () => {
      const { values, unknown } = parse(`${line}\nB=2\n`);
      assert.deepEqual({ B: values.B, unknown }, { B: '2', unknown: [] });
    });
  }

  it('passes over what is no assignment', () => {
    const text = `#!/bin/sh\n# A=1\nA=1 command\necho "A=2"\nread -sr A\nif [ -z "$A" ]; then unset A; fi\nB=3\n`;
    assert.deepEqual(parse(text), { values: { B: '3' }, unknown: [] });
  });

  const unknown: readonly (readonly [text: string, reason: RegExp])[] = [
    ['A=$(rm -rf /)', /line 1: A is computed by a command/],
    ['A="x`id`"', /computed/],
    [`A=\${B:-c}`, /computed/],
    ['A=$B', /refers to \$B, which is not set/],
    ['A="two\nlines"', /quote that does not end/],
    [`A='two\nlines'`, /quote that does not end/],
    ['A=one\\\ntwo', /goes on on the next line/],
    ['if true; then\nA=1\nfi\n', /line 2: A stands in a condition/],
    ['f() {\n  A=1\n}\n', /line 2: A stands in a condition/],
    ['f() { # comment\n  A=1\n}\n', /line 2: A stands in a condition/],
    ['[ -n "$B" ] && for B in 1; do\nA=1\ndone', /line 2: A stands in a condition/],
    ['if a; then if b; then c; fi\nA=1\nfi', /line 2: A stands in a condition/],
  ];
  for (const [text, reason] of unknown) {
    it(`does not guess the value of ${JSON.stringify(text)}`, () => {
      const result = parse(text);
      assert.equal('A' in result.values, false);
      assert.match(result.unknown.join(), reason);
    });
  }

  it('forgets what it could not read when the name is assigned again', () => {
    assert.deepEqual(parse('A=$(x)\nA=1\n'), { values: { A: '1' }, unknown: [] });
    assert.deepEqual(Object.keys(parse('A=1\nA=$(x)\n').values), []);
  });

  it('takes any text without failing', () => {
    const seed = sampleSeed();
    const pieces = [
      'export ',
      'A=',
      '"',
      "'",
      '\\',
      '$',
      '{',
      '}',
      '`',
      '(',
      '#',
      '\n',
      ' ',
      'if ',
      'fi',
      ';',
      'x',
      '\0',
    ];
    let random = seed;
    for (let round = 0; round < 2_000; round++) {
      const text = Array.from({ length: 12 }, () => {
        random = (random * 1_103_515_245 + 12_345) % 2_147_483_648;
        return pieces[Math.floor((random / 2_147_483_648) * pieces.length)];
      }).join('');
      assert.doesNotThrow(() => parse(text), `seed ${seed}: ${JSON.stringify(text)}`);
    }
  });
});
