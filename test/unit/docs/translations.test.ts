import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const PAGES = [
  ['README.md', 'README.ko.md'],
  ['docs/openstack.md', 'docs/openstack.ko.md'],
] as const;

interface Shape {
  /** Levels of the headings, in their order. */
  readonly headings: readonly string[];
  /** Code, without comments and placeholders, which are translated. */
  readonly code: readonly string[];
  /** Where links and pictures lead, the translation of a page taken for the page. */
  readonly links: readonly string[];
  /** Rows of tables between two headings. */
  readonly rows: readonly number[];
  /** Commands, options and names in the text. */
  readonly names: readonly string[];
}

function shapeOf(file: string): Shape {
  const text = readFileSync(join(root, file), 'utf8');
  const prose = text.replace(/^ *```[\s\S]*?^ *```$/gm, '');
  const links = [...prose.matchAll(/\]\(([^)]+)\)/g)].map((match) => match[1]!);
  return {
    headings: [...prose.matchAll(/^(#+) /gm)].map((match) => match[1]!),
    code: [...text.matchAll(/^ *```\w*\n([\s\S]*?)^ *```$/gm)].map((match) =>
      match[1]!.replace(/ *#.*$/gm, '').replace(/<[^>]*>/g, '<>'),
    ),
    links: links
      .map((link) => link.replace('.ko.md', '.md').replace(/openstack\.md#.*/, 'openstack.md'))
      .filter((link) => link !== file.replace('.ko', '').replace('docs/', ''))
      .filter((link) => !/^(README|openstack)\.md$/.test(link)),
    rows: prose
      .split(/^#+ .*$/m)
      .map((part) => part.split('\n').filter((line) => line.startsWith('|')).length),
    names: [...prose.matchAll(/`([^`]+)`/g)].map((match) => match[1]!.replace(/\s+/g, ' ')).sort(),
  };
}

for (const [original, translation] of PAGES)
  describe(`${translation}, the translation of ${original}`, () => {
    const [left, right] = [shapeOf(original), shapeOf(translation)];

    it('has the same headings, tables and code', () => {
      assert.ok(left.code.length >= 4 && left.headings.length > 5, 'the pages were read');
      assert.deepEqual(right.headings, left.headings);
      assert.deepEqual(right.rows, left.rows);
      assert.deepEqual(right.code, left.code);
    });

    it('leads to the same pages', () => {
      const only = (of: Shape, without: Shape) =>
        [...new Set(of.links)].filter((link) => !without.links.includes(link));
      assert.deepEqual(only(left, right), []);
      assert.deepEqual(only(right, left), []);
    });

    it('names the same commands, options and files', () => {
      const only = (of: Shape, without: Shape) =>
        [...new Set(of.names)].filter((name) => !without.names.includes(name));
      assert.deepEqual(only(left, right), []);
      assert.deepEqual(only(right, left), []);
    });

    it('is linked from the original, and links back', () => {
      const name = (file: string) => file.replace('docs/', '');
      assert.ok(readFileSync(join(root, original), 'utf8').includes(`](${name(translation)})`));
      assert.ok(readFileSync(join(root, translation), 'utf8').includes(`](${name(original)})`));
    });
  });
