import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import * as contract from '../../../core/plugin-api/index.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const committed = join(root, 'docs/plugins/contract.d.ts');

function node(...args: readonly string[]) {
  return spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8' });
}

test('the committed contract is what the sources say', () => {
  const { status, stderr } = node('bin/emit-contract.mjs', '--check');
  assert.equal(status, 0, stderr);
});

test('the committed contract is complete: it compiles on its own, without skipping the check of declarations', () => {
  const options = '--ignoreConfig --noEmit --strict --target ES2023 --module NodeNext --types node'.split(
    ' ',
  );
  const { status, stdout } = node('node_modules/typescript/bin/tsc', ...options, committed);
  assert.equal(status, 0, stdout);
});

test('everything that plugins can import at run time is declared in it, and nothing else', () => {
  const text = readFileSync(committed, 'utf8');
  const declared = [...text.matchAll(/^export declare (?:abstract )?(?:class|const|function) (\w+)/gm)].map(
    (match) => match[1]!,
  );
  assert.deepEqual(declared.sort(), Object.keys(contract).sort());
});
