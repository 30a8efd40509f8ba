import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const read = (file: string) => readFileSync(join(root, file), 'utf8');
const { dependencies } = JSON.parse(read('package.json')) as {
  readonly dependencies: Readonly<Record<string, string>>;
};
const declared = Object.keys(dependencies).sort();

const sources = ['core', 'plugins', 'bin'].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => read(join(folder, name))),
);

/** `name` or `@scope/name` of everything that the program imports and that is neither its own nor Node's. */
function imported(): readonly string[] {
  const specifiers = sources.flatMap((text) =>
    [...text.matchAll(/(?:\bfrom|^import|\bimport\(|\brequire\() ?'([@\w][\w./@-]*)'/gm)].map(
      (match) => match[1]!,
    ),
  );
  const packages = specifiers.filter((name) => !name.startsWith('.') && !name.startsWith('node:'));
  return [...new Set(packages.map((name) => name.split('/', name.startsWith('@') ? 2 : 1).join('/')))].sort();
}

test('everything that is imported is a declared runtime dependency', () => {
  const undeclared = imported().filter((name) => !declared.includes(name));
  assert.deepEqual(undeclared, []);
});

test('every runtime dependency is named somewhere in the program', () => {
  const unused = declared.filter((name) => !sources.some((text) => text.includes(`'${name}'`)));
  assert.deepEqual(unused, []);
});

test('docs/dependencies.md has one row, with a reason, for every runtime dependency', () => {
  const rows = [...read('docs/dependencies.md').matchAll(/^\| `([^`]+)` \| (.*) \|$/gm)];
  const reasons = new Map(rows.map((match) => [match[1]!, match[2]!] as const));
  assert.deepEqual([...reasons.keys()].sort(), declared);
  assert.equal(rows.length, reasons.size, 'a dependency has two rows');
  for (const [name, reason] of reasons) assert.ok(reason.length > 20, name);
});
