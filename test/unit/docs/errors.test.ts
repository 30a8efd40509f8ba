import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../..', import.meta.url));

/** Names with the same beginning that are environment variables. */
const VARIABLES: readonly string[] = [
  'RATECAT_ADMIN_URL',
  'RATECAT_CONFIG',
  'RATECAT_DATA',
  'RATECAT_SEED',
  'RATECAT_WORKER',
];

function sources(folder: string): readonly string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.(ts|mjs)$/.test(name))
    .map((name) => readFileSync(join(root, folder, name), 'utf8'));
}

function codesOfProgram(): readonly string[] {
  const words = ['core', 'plugins', 'bin']
    .flatMap(sources)
    .flatMap((text) => text.match(/\bRATECAT_[A-Z0-9_]*[A-Z0-9]\b/g) ?? []);
  return [...new Set(words)].filter((word) => !VARIABLES.includes(word)).sort();
}

/** Each entry is a row of a table that begins with the code. */
function entriesOfDocs(): readonly (readonly [code: string, cells: readonly string[]])[] {
  const text = readFileSync(join(root, 'docs/errors.md'), 'utf8');
  return [...text.matchAll(/^\| `(RATECAT_[A-Z0-9_]+)` \|(.*)\|$/gm)].map(
    (match) => [match[1]!, match[2]!.split(' | ').map((cell) => cell.trim())] as const,
  );
}

test('every error code of the program has an entry in docs/errors.md, and every entry is a code', () => {
  const entries = entriesOfDocs().map(([code]) => code);
  assert.deepEqual([...entries].sort(), codesOfProgram());
});

test('every entry says what it means, what the daemon does and what to do', () => {
  for (const [code, cells] of entriesOfDocs()) {
    assert.equal(cells.length, 3, code);
    for (const cell of cells) assert.ok(cell.length > 3, `${code}: '${cell}'`);
  }
});

test('the search for codes finds one that is known to be there', () => {
  assert.ok(codesOfProgram().includes('RATECAT_CONFIG_INVALID'));
});
