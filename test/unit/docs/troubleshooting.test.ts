import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const read = (file: string) => readFileSync(join(root, file), 'utf8');
const page = read('docs/troubleshooting.md');
const program = ['core', 'plugins', 'bin']
  .flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => /\.(ts|mjs)$/.test(name))
      .map((name) => read(join(folder, name))),
  )
  .join('\n');

function isWrittenByProgram(line: string): boolean {
  // Lines that end in an ellipsis are told by their beginning.
  return program.includes(`'${line.replace(/ ?…$/, '')}${line.endsWith('…') ? '' : "'"}`);
}

test('log lines that the page names are lines that the program writes', () => {
  const sentences = [...page.matchAll(/log lines? (`[^`]+`(?:(?:,? or|,) `[^`]+`)*)/g)];
  const lines = sentences.flatMap((match) => [...match[1]!.matchAll(/`([^`]+)`/g)].map((code) => code[1]!));
  assert.ok(lines.length >= 9, `${lines.length} log lines`);
  assert.deepEqual(
    lines.filter((line) => !isWrittenByProgram(line)),
    [],
  );
  assert.ok(!isWrittenByProgram('no such line is written'));
});

test('error codes that the page names have an entry in docs/errors.md', () => {
  const entries = read('docs/errors.md');
  const codes = [...new Set(page.match(/RATECAT_[A-Z_]+[A-Z]/g))];
  assert.ok(codes.length > 15);
  assert.deepEqual(
    codes.filter((code) => !entries.includes(`| \`${code}\` |`)),
    [],
  );
});

test('findings of the doctor that the page names are in docs/doctor.md', () => {
  const known = read('docs/doctor.md');
  const rows = [...page.matchAll(/^\|[^|]*\|([^|]*)\|[^|]*\|[^|]*\|$/gm)];
  const ids = rows.flatMap((row) => [...row[1]!.matchAll(/`([a-z-]+)`/g)].map((match) => match[1]!));
  assert.ok(ids.length > 20);
  const ofErrors = (id: string) => `RATECAT_${id.replace(/-/g, '_').toUpperCase()}`;
  assert.deepEqual(
    ids.filter((id) => !known.includes(`\`${id}\``) && !program.includes(`'${ofErrors(id)}'`)),
    [],
  );
});

test('metrics of the daemon that the page names exist', () => {
  const names = [...new Set(page.match(/`ratecat_[a-z_]+`/g))].map((name) => name.slice(1, -1));
  assert.ok(names.length > 2);
  assert.deepEqual(
    names.filter((name) => name !== 'ratecat_migrations' && !program.includes(`'${name}'`)),
    [],
  );
});
