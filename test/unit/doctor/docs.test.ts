import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { AREAS } from '../../../core/doctor/finding.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const page = readFileSync(join(root, 'docs/doctor.md'), 'utf8');

/** Names of warnings and failures. Those after errors are made from their codes. */
function idsOfProgram(): readonly string[] {
  const text = readdirSync(join(root, 'core/doctor'))
    .map((name) => readFileSync(join(root, 'core/doctor', name), 'utf8'))
    .join('\n');
  const said =
    /say\.(?:warn|fail)\(\s*'([a-z-]+)'|\bid: (?:level === 'fail' \? )?'([a-z-]+)'(?: : '([a-z-]+)')?/g;
  const ids = [...text.matchAll(said)].flatMap((match) => match.slice(1).filter((id) => id !== undefined));
  // A price that somebody set to 0 is shown as right.
  return [...new Set(ids)].filter((id) => id !== 'price-zero-meant').sort();
}

test('every finding of the doctor has a row in docs/doctor.md, and every row is a finding', () => {
  const rows = [...page.matchAll(/^\| `([a-z-]+)` \| .{10,} \|$/gm)].map((match) => match[1]!);
  assert.equal(new Set(rows).size, rows.length, 'a finding has two rows');
  assert.deepEqual([...rows, 'unexpected-error'].sort(), idsOfProgram());
  assert.match(page, /`unexpected-error` is one that nobody foresaw/);
});

test('every area of the doctor has a row in docs/doctor.md', () => {
  const areas = [...page.matchAll(/^\| ([a-z]+) \| /gm)].map((match) => match[1]!);
  assert.deepEqual(areas, AREAS);
});
