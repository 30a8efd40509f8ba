import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { DEFAULT_RULES } from '../../../core/api/auth/policy-defaults.js';
import { POLICY_ROLES } from '../../../core/setup/keystone-setup.js';
import { newPassword, readSecret, writeSecret } from '../../../core/setup/secret-file.js';
import { Steps } from '../../../core/setup/setup-steps.js';
import { openstackCommand, shellWord } from '../../../core/setup/shell-command.js';

describe('openstackCommand', () => {
  it('keeps names from being taken for options', () => {
    assert.equal(
      openstackCommand({
        command: 'role add',
        options: { user: '-u', project: 'p', enable: true },
        values: ['-r'],
      }),
      'openstack role add --user=-u --project p --enable -- -r',
    );
  });

  it('quotes what a shell would read differently', () => {
    assert.equal(shellWord("it's $HOME"), `'it'\\''s $HOME'`);
    assert.equal(shellWord('a\x1bb\n'), `$'a\\x1bb\\x0a'`);
    assert.equal(shellWord(''), `''`);
  });
});

describe('the roles that a set-up makes', () => {
  it('are those that the default policy names', () => {
    const named = Object.values(DEFAULT_RULES).flatMap((rule) => rule.match(/(?<=role:)\w+/g) ?? []);
    assert.deepEqual([...new Set(named)].sort(), [...POLICY_ROLES].sort());
  });
});

describe('Steps', () => {
  const record = (isDryRun: boolean) => {
    const lines: string[] = [];
    const steps = new Steps({ isDryRun, comment: '#', print: async (line) => void lines.push(line) });
    return { lines, steps };
  };
  const step = { what: 'a\x1b[2J', outcome: 'changed', script: ['run'], apply: async () => 'made' } as const;

  it('applies, and says what became of each', async () => {
    const { lines, steps } = record(false);
    await steps.already('b\n');
    assert.equal(await steps.perform(step), 'made');
    assert.deepEqual(lines, ['already there  b\\u000a', 'changed        a\\u001b[2J']);
  });

  it('prints the scripts alone in a dry run', async () => {
    const { lines, steps } = record(true);
    await steps.already('b\n');
    const apply = () => assert.fail('applied');
    assert.equal(await steps.perform({ ...step, apply }), undefined);
    assert.deepEqual(lines, ['# already there: b\\u000a', 'run']);
  });

  it('says nothing of a step that failed', async () => {
    const { lines, steps } = record(false);
    await assert.rejects(steps.perform({ ...step, apply: () => Promise.reject(new Error('no')) }), /no/);
    assert.deepEqual(lines, []);
  });
});

describe('secret files', () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ratecat-secret-'));
  });
  after(() => rm(folder, { recursive: true, force: true }));

  it('are for their owner only, and never replaced', async () => {
    const file = join(folder, 'new/secret');
    await writeSecret(file, 'one');
    assert.equal(await readFile(file, 'utf8'), 'one\n');
    assert.equal((await stat(file)).mode & 0o777, 0o600);
    await assert.rejects(writeSecret(file, 'two'), { code: 'RATECAT_OUTPUT_FAILED' });
    assert.equal(await readSecret(file), 'one');
    assert.deepEqual(await readdir(join(folder, 'new')), ['secret']);
  });

  it('that cannot be one are refused without a word of what they hold', async () => {
    for (const [name, content] of [
      ['empty', ''],
      ['blank', '\nsecond'],
      ['binary', Buffer.from([0xff, 0xfe, 0x41])],
      ['large', 'x'.repeat(70_000)],
    ] as const) {
      await writeFile(join(folder, name), content);
      await assert.rejects(readSecret(join(folder, name)), (error: Error & { code?: string }) => {
        assert.equal(error.code, 'RATECAT_SECRET_FILE', name);
        assert.doesNotMatch(error.message, /second|xx/);
        return true;
      });
    }
    await assert.rejects(readSecret(folder), { code: 'RATECAT_SECRET_FILE' });
  });

  it('get passwords that begin with a letter, with both cases, digits and signs, each another one', () => {
    const passwords = Array.from({ length: 200 }, newPassword);
    for (const password of passwords)
      assert.match(password, /^(?=.*[a-z])(?=.*[A-Z])(?=.*\d)(?=.*[-_])[A-Za-z][\w-]{31}$/);
    assert.equal(new Set(passwords).size, 200);
  });
});
