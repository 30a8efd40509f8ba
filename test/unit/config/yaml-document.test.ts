import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { parseYaml, readYaml } from '../../../core/config/yaml-document.js';
import { Decimal, isDecimal } from '../../../core/plugin-api/index.js';
import { brief, folderWith, problemsOf } from './config-fixtures.js';

const TEXT = `services:
  - name: instance
    mappings:
      - {cost: 0.10, type: flat, big: 12345678901234567890.123456789}
"odd key": [1, text, true, null, 0x10]
`;

describe('readYaml', () => {
  it('gives plain data with numbers as exact decimals', async (context) => {
    const folder = await folderWith(context, { 'rules.yml': TEXT });
    const { value } = await readYaml(join(folder, 'rules.yml'));
    const shown = JSON.parse(
      JSON.stringify(value, (_, item) =>
        isDecimal(item) ? `#${Decimal.of(item.coefficient, item.exponent).toFixedScale()}` : item,
      ),
    );
    // A decimal turns itself into text before the replacer sees it.
    assert.deepEqual(shown, {
      services: [
        {
          name: 'instance',
          mappings: [{ cost: '0.1', type: 'flat', big: '12345678901234567890.123456789' }],
        },
      ],
      'odd key': ['1', 'text', true, null, '16'],
    });
    const { services } = value as unknown as { services: { mappings: { cost: Decimal }[] }[] };
    assert.equal(services[0]?.mappings[0]?.cost.toFixedScale(), '0.10');
  });

  it('tells where each value stands, or the nearest one above it', () => {
    const { locate } = parseYaml(TEXT, 'rules.yml');
    assert.deepEqual(locate(['services', 0, 'mappings', 0, 'type']), { line: 4, column: 28 });
    assert.deepEqual(locate(['services', 0, 'mappings']), { line: 3, column: 5 });
    assert.deepEqual(locate(['services', 0, 'mappings', 0, 'missing']), { line: 4, column: 9 });
    assert.deepEqual(locate(['services', 7, 'mappings']), { line: 1, column: 1 });
    assert.deepEqual(locate(['odd key', 1]), { line: 5, column: 16 });
    assert.deepEqual(locate([]), { line: 1, column: 1 });
  });

  it('reads JSON too', () => {
    assert.deepEqual(parseYaml('{"a": {"b": [true, "x"]}}', 'x.json').value, { a: { b: [true, 'x'] } });
  });

  it('merges mappings as YAML 1.1 does, own keys first', () => {
    const { value } = parseYaml(
      'a: &a {x: p, y: q}\nb: &b {y: r, z: s}\nc: {y: own, <<: [*a, *b]}\n',
      'x.yml',
    );
    assert.deepEqual((value as Record<string, unknown>).c, { y: 'own', x: 'p', z: 's' });
  });

  it('reads values as YAML 1.2 does, whatever version the file asks for', () => {
    const { value } = parseYaml('%YAML 1.1\n---\n{a: yes, b: 1_000, c: "10", d: 1:30}\n', 'x.yml');
    assert.deepEqual(value, { a: 'yes', b: '1_000', c: '10', d: '1:30' });
  });

  it('takes Windows line ends', () => {
    const document = parseYaml('a: b\r\nc:\r\n  d: e\r\n', 'x.yml');
    assert.deepEqual(document.value, { a: 'b', c: { d: 'e' } });
    assert.deepEqual(document.locate(['c', 'd']), { line: 3, column: 6 });
  });

  it('keeps control characters of a file out of the message', async () => {
    const problems = await problemsOf(async () =>
      parseYaml('"a\\e[31m\\n": 1\n"a\\e[31m\\n": 2\n', 'x\u001b.yml'),
    );
    assert.equal(problems.length, 1);
    const error = await Promise.resolve()
      .then(() => parseYaml('"a\\e[31m": 1\n"a\\e[31m": 2\n', 'x\u001b.yml'))
      .catch((reason: Error) => reason as Error);
    assert.ok(error instanceof Error);
    assert.ok(!error.message.includes('\u001b'), error.message);
  });

  it('refuses files above the size that its caller allows', async (context) => {
    const folder = await folderWith(context, { 'rules.yml': TEXT });
    const problems = await problemsOf(() => readYaml(join(folder, 'rules.yml'), { maxBytes: 10 }));
    assert.match(brief(problems[0]!), /^1:1 : the file has \d+ bytes, more than 10/);
  });

  it('reads a hundred thousand lines', () => {
    const rows = Array.from({ length: 50_000 }, (_, i) => `- {id: r${i}}`).join('\n');
    assert.equal((parseYaml(rows, 'big.yml').value as readonly unknown[]).length, 50_000);
  });
});
