import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { COMMANDS } from '../../core/cli/commands.js';
import { ROOT } from '../support/daemon.js';
import { serviceInstalled } from '../support/require-service.js';

const folder = join(ROOT, 'dist/man');

function complaints(program: string, ...args: readonly string[]): string {
  const { stdout, stderr, error } = spawnSync(program, args, { encoding: 'utf8' });
  assert.equal(error, undefined);
  return `${stdout}${stderr}`;
}

function lint(page: string): string {
  return complaints('mandoc', '-T', 'lint', '-W', 'warning', page);
}

function typeset(page: string): string {
  // -z: no output but complaints; -ww: all of them.
  return complaints('groff', '-man', '-Tutf8', '-ww', '-z', page);
}

describe('the man pages of the build', () => {
  it('are those of the commands', () => {
    const names = COMMANDS.map(({ name }) => `ratecat-${name}.1`);
    assert.deepEqual(readdirSync(folder).sort(), [...names, 'ratecat.1', 'ratecat.yml.5'].sort());
  });

  if (!serviceInstalled('mandoc', 'groff')) return;

  for (const page of readdirSync(folder)) {
    it(`give mandoc and groff nothing to complain about: ${page}`, () => {
      assert.equal(lint(join(folder, page)), '');
      assert.equal(typeset(join(folder, page)), '');
    });
  }

  it('are shown with text and options as they are written', () => {
    const { stdout } = spawnSync(
      'mandoc',
      ['-T', 'utf8', '-O', 'width=100', join(folder, 'ratecat-rules.1')],
      {
        encoding: 'utf8',
      },
    );
    const text = stdout.replace(/.[\b]/g, '');
    assert.match(text, /^ +ratecat rules import \[options\] <file>$/m);
    assert.match(text, /^ +--dry-run\n +say what would change, and change nothing$/m);
    assert.match(text, /^ +\$ ratecat rules import prices\.yml --replace$/m);
  });

  it('would be complained about if they were wrong', () => {
    assert.notEqual(lint(join(ROOT, 'README.md')), '');
  });
});
