import assert from 'node:assert/strict';
import { Readable, Writable } from 'node:stream';
import { describe, it } from 'node:test';
import { COMMANDS } from '../../../core/cli/commands.js';
import { main } from '../../../core/cli/main.js';
import { capture } from './capture.js';

const NESTED: Readonly<Record<string, readonly string[]>> = {
  rules: ['import', 'export', 'list'],
  modules: ['list', 'enable', 'disable', 'priority'],
  config: ['check', 'import'],
  plugins: ['list'],
  scopes: ['reset', 'erase'],
  retention: ['plan', 'apply'],
  dbsync: ['create', 'upgrade', 'status'],
  keystone: ['setup', 'rate-project'],
  migrate: ['from-cloudkitty'],
};

describe('the command line', () => {
  const all = COMMANDS.flatMap(({ name }) => (NESTED[name] ?? []).map((sub) => [name, sub]).concat([[name]]));
  for (const words of all) {
    it(`explains '${words.join(' ')}'`, async () => {
      const { code, stdout, stderr } = await capture([...words, '--help']);
      assert.equal(code, 0, stderr);
      assert.match(stdout, new RegExp(`^Usage: ratecat ${words.join(' ')} `));
      assert.match(stdout, /--config <file>/);
      const isGroup = words.length === 1 && NESTED[words[0]!] !== undefined;
      assert.match(stdout, isGroup ? /\nCommands:\n/ : /\nExamples:\n {2}\$ /);
      const asked = [...words.slice(0, -1), 'help', ...words.slice(-1)];
      assert.equal(stdout, (await capture(asked)).stdout);
    });
  }

  it('lists every command in its help', async () => {
    const { code, stdout } = await capture(['--help']);
    assert.equal(code, 0);
    for (const { name, summary } of COMMANDS) {
      assert.match(stdout, new RegExp(`\\n {2}${name} +${summary.split(' ').slice(0, 3).join(' ')}`));
    }
  });

  it('prints the version of the package', async () => {
    const { code, stdout } = await capture(['--version']);
    assert.equal(code, 0);
    assert.match(stdout, /^\d+\.\d+\.\d+/);
  });

  for (const [args, says] of [
    [[], /Usage: ratecat/],
    [['summry'], /unknown command 'summry'\n\(Did you mean summary\?\)/],
    [['rules', 'imprt'], /unknown command 'imprt'\n\(Did you mean import\?\)/],
    [['up', '--datadir', 'x'], /unknown option '--datadir'\n\(Did you mean --data-dir\?\)/],
    [['rate', '--rules', 'x'], /required option '-u, --usage <file>' not specified/],
    [['dataframes', '--limit', 'many'], /'many' is invalid.*whole number/],
    [['dataframes', '--csv', '--json'], /'--csv' cannot be used with option '--json'/],
    [['summary', '--group-by', 'time-x'], /time groups are time, time-d/],
    [['summary', '--filter', 'flavor'], /NAME=VALUE/],
    [['modules', 'priority', 'hashmap', '0'], /whole number from 1/],
  ] as const) {
    it(`refuses 'ratecat ${args.join(' ')}' with exit code 64 and a hint`, async () => {
      const { code, stdout, stderr } = await capture(args);
      assert.equal(code, 64);
      assert.match(stderr, says);
      assert.equal(stdout, '');
    });
  }

  it('tells an error of the configuration by its message, without a stack', async () => {
    const { code, stderr } = await capture(['status', '--config', '/nonexistent/ratecat.yml']);
    assert.equal(code, 78);
    assert.match(
      stderr,
      /^error: .*\n\/nonexistent\/ratecat\.yml:1:1: .*not exist.* \[RATECAT_CONFIG_INVALID\]\n$/,
    );
  });

  it('takes a reader that has gone for the end, and a full disk for a failure', async () => {
    const failing = (code: string) =>
      new Writable({
        write: (_chunk, _encoding, done) => done(Object.assign(new Error(code), { code })),
      });
    for (const [reason, expected] of [
      ['EPIPE', 0],
      ['ENOSPC', 69],
    ] as const) {
      let said = '';
      const stderr = new Writable({
        write(chunk, _encoding, done) {
          said += String(chunk);
          done();
        },
      });
      const stdin = Readable.from([]);
      const code = await main(['plugins', 'list'], {
        stdout: failing(reason),
        stderr,
        stdin,
        environment: {},
      });
      assert.equal(code, expected);
      assert.equal(/ENOSPC.*RATECAT_OUTPUT_FAILED/.test(said), reason === 'ENOSPC', said);
    }
  });
});
