import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { ANONYMOUS, type Identity } from '../../../core/api/auth/identity.js';
import { DEFAULT_RULES } from '../../../core/api/auth/policy-defaults.js';
import { FilePolicy } from '../../../core/api/auth/policy-file.js';
import type { RatecatError } from '../../../core/plugin-api/index.js';
import { RecordingLogger, VirtualClock } from '../../../core/testkit/fakes.js';

const base: Identity = {
  ...ANONYMOUS,
  userId: 'u',
  projectId: 'p1',
  isAdminProject: true,
  isAnonymous: false,
};
const admin: Identity = { ...base, roles: ['admin'], isAdmin: true };
const member: Identity = { ...base, roles: ['member', 'reader'] };
const roleless: Identity = { ...base, roles: ['rating'] };
const unscoped: Identity = { ...base, projectId: undefined };
const system: Identity = { ...admin, projectId: undefined, systemScope: 'all' };
const domain: Identity = { ...admin, projectId: undefined, domainId: 'd' };
const own = { project_id: 'p1' };

describe('the policy', () => {
  let folder: string;
  let file: string;
  let clock: VirtualClock;
  let logger: RecordingLogger;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ratecat-policy-'));
  });
  after(() => rm(folder, { recursive: true, force: true }));
  beforeEach(async () => {
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder);
    file = join(folder, 'policy.yaml');
    clock = new VirtualClock();
    logger = new RecordingLogger();
  });

  const open = (folders: readonly string[] = [], name: string | undefined = file) =>
    FilePolicy.open({ file: name, folders }, { clock, logger });
  const defaults = () => FilePolicy.open({ file: undefined, folders: [] }, { clock, logger });
  const write = (text: string, name = file) => writeFile(name, text);
  const passTime = (milliseconds: number) => void clock.wakeNext(clock.monotonic() + milliseconds);
  async function refused(text: string | Uint8Array): Promise<string> {
    await writeFile(file, text);
    let message = 'accepted';
    assert.throws(open, (error: RatecatError) => {
      assert.equal(error.code, 'RATECAT_CONFIG_INVALID');
      message = error.message;
      return true;
    });
    return message.replaceAll(file, 'FILE');
  }

  test('lets with its defaults in whom the reference lets in', () => {
    const policy = defaults();
    const open = Object.keys(DEFAULT_RULES).filter(
      (name) => name.includes(':') && DEFAULT_RULES[name] === '',
    );
    const readers = Object.keys(DEFAULT_RULES).filter((name) =>
      DEFAULT_RULES[name]?.endsWith('reader_or_admin'),
    );
    assert.equal(open.length, 6);
    assert.equal(readers.length, 5);
    for (const name of Object.keys(DEFAULT_RULES).filter((name) => name.includes(':'))) {
      const isOpen = open.includes(name);
      const isReaders = readers.includes(name);
      assert.equal(policy.allows(name, admin, own), true, name);
      assert.equal(policy.allows(name, member, own), isOpen || isReaders, name);
      assert.equal(policy.allows(name, member, { project_id: 'p2' }), isOpen, name);
      assert.equal(policy.allows(name, member, { project_id: null }), isOpen, name);
      assert.equal(policy.allows(name, roleless, own), isOpen, name);
      assert.equal(policy.allows(name, unscoped, { project_id: null }), isOpen, name);
      assert.equal(policy.allows(name, system, own), false, name);
      assert.equal(policy.allows(name, domain, own), false, name);
      assert.equal(policy.allows(name, ANONYMOUS, own), false, name);
    }
    assert.equal(policy.allows('no:such_rule', admin, own), false);
  });

  test('calls an admin whom context_is_admin calls one, whatever the scope of the token', async () => {
    assert.deepEqual(
      [admin, member, system, domain, ANONYMOUS].map((who) => defaults().isAdmin(who)),
      [true, false, true, true, false],
    );
    await write('context_is_admin: "role:reader"');
    assert.deepEqual(
      [admin, member].map((who) => open().isAdmin(who)),
      [false, true],
    );
  });

  test('is changed by name in YAML', async () => {
    await write('# ours\n"rating:list_modules": "rule:project_reader_or_admin"\n"rating:quote": "!"\n');
    const policy = open();
    assert.equal(policy.allows('rating:list_modules', member, own), true);
    assert.equal(policy.allows('rating:quote', admin, own), false);
    assert.equal(policy.allows('rating:get_module', member, own), false);
    assert.deepEqual(logger.lines, []);
  });

  test('is changed by name in JSON, with lists of lists and rules of its own', async () => {
    await write(
      '{\n\t"ours": [["role:reader", "project_id:%(project_id)s"], ["role:admin"]],\n\t"rating:quote": "rule:ours"\n}',
    );
    const policy = open();
    assert.equal(policy.allows('rating:quote', member, own), true);
    assert.equal(policy.allows('rating:quote', member, { project_id: 'p2' }), false);
  });

  test('is the default one for a generated sample, where everything is a comment', async () => {
    for (const text of ['', '\n\n', '# "rating:quote": "!"\n#\n', '---\n# nothing\n', '{}', '\r\n# x\r\n']) {
      await write(text);
      assert.equal(open().allows('rating:quote', member, own), true, JSON.stringify(text));
    }
  });

  test('is changed by folders after the file, in the order of names, hidden files and copies left out', async () => {
    const more = join(folder, 'policy.d');
    await mkdir(join(more, 'folder'), { recursive: true });
    await write('"rating:quote": "!"\n"rating:get_module": "@"');
    await write('"rating:quote": "!"', join(more, '10-first.yaml'));
    await write('"rating:quote": "role:reader"', join(more, '20-second.json'));
    await write('"rating:quote": "!"', join(more, '.hidden.yaml'));
    await write('"rating:quote": "!"', join(more, '30-copy.yaml~'));
    const policy = open([more]);
    assert.equal(policy.allows('rating:quote', member, own), true);
    assert.equal(policy.allows('rating:get_module', roleless, own), true);
  });

  test('that has names nothing asks for says so', async () => {
    await write('"rating:qoute": "!"\nhelper: "@"');
    open();
    assert.deepEqual(
      logger.lines.map(({ level, fields }) => [level, fields.rules]),
      [['warn', 'rating:qoute']],
    );
  });

  test('with faults is refused at the start, each fault with its place', async () => {
    const message = await refused(
      [
        '"rating:quote": "role:admin or"',
        'helper: "http://policy.example/"',
        '"info:get_config": true',
        '',
      ].join('\n') +
        ['"rating:get_module": "rule:hepler"', 'a: "rule:b"', 'b: "rule:a"', 'c:', '  - [role:x, {}]'].join(
          '\n',
        ),
    );
    assert.match(message, /FILE:1:17: \["rating:quote"\]: ends where a check is expected/);
    assert.match(message, /FILE:2:9: helper: asks another server .*which Ratecat does not do/);
    assert.match(message, /FILE:3:20: .*must be text, or a list of lists/);
    assert.match(message, /FILE:4:22: .*the rule 'hepler', which does not exist \(did you mean 'helper'\?\)/);
    assert.match(message, /FILE:5:4: a: leans on itself \(a → b → a\)/);
    assert.match(message, /FILE:6:4: b: leans on itself/);
    assert.match(message, /FILE:7:1: c: must be text, or a list of lists/);
  });

  test('that is no policy file at all is refused', async () => {
    assert.match(await refused('- a\n- b\n'), /FILE:1:1: must be a mapping of rules/);
    assert.match(await refused('"rating:quote": @'), /FILE:1:\d+: /);
    assert.match(await refused('"rating:quote": [unclosed'), /FILE:1:\d+: /);
    assert.match(await refused('a: "@"\na: "!"'), /FILE:2:1: a: key 'a' is given twice/);
    assert.match(await refused(Uint8Array.of(0x61, 0x3a, 0x20, 0xff)), /is not valid UTF-8/);
    assert.match(await refused('#'.repeat(1024 * 1024 + 1)), /has 1048577 bytes/);
    assert.match(await refused(`a: ${'['.repeat(5000)}`), /FILE:1:/);
    assert.match(await refused('context_is_admin: "rule:project_reader_or_admin"'), /leans on itself/);
  });

  test('that is not there, although the configuration names it, is refused', async () => {
    assert.throws(open, /does not exist \(check api.policy_file and api.policy_dirs\)/);
    await write('');
    assert.throws(() => open([join(folder, 'nowhere')]), /nowhere.* does not exist/);
    assert.throws(() => open([], folder), /is not a regular file/);
  });

  test('follows its files within a second', async () => {
    await write('"rating:quote": "@"');
    const policy = open();
    await write('"rating:quote": "!"');
    passTime(999);
    assert.equal(policy.allows('rating:quote', member, own), true);
    passTime(1);
    assert.equal(policy.allows('rating:quote', member, own), false);
  });

  test('notices replaced, added and removed files and changes that keep size and time', async () => {
    const more = join(folder, 'policy.d');
    await mkdir(more);
    await write('"rating:quote": "@"');
    const policy = open([more]);
    const quote = () => {
      passTime(1000);
      return policy.allows('rating:quote', member, own);
    };
    await write('"rating:quote": "!"', join(folder, 'new'));
    await rename(join(folder, 'new'), file);
    assert.equal(quote(), false);
    await write('"rating:quote": "@"', join(more, 'a.yaml'));
    assert.equal(quote(), true);
    await rm(join(more, 'a.yaml'));
    assert.equal(quote(), false);
    await write('"rating:quote": "@"', join(more, '.target'));
    await symlink(join(more, '.target'), join(more, 'link.yaml'));
    assert.equal(quote(), true);
    await write('"rating:quote": "!"', join(more, '.target'));
    assert.equal(quote(), false);
  });

  test('keeps its last good rules when an edit is broken, and says so once', async () => {
    await write('"rating:quote": "!"');
    const policy = open();
    const quote = () => {
      passTime(1000);
      return policy.allows('rating:quote', member, own);
    };
    await write('"rating:quote": "role:"x');
    assert.deepEqual([quote(), quote(), quote()], [false, false, false]);
    await rm(file);
    assert.deepEqual([quote(), quote()], [false, false]);
    await write('"rating:quote": "role:reader"');
    assert.equal(quote(), true);
    const said = logger.lines.map(({ level, message }) => `${level} ${message}`);
    const broken = 'error changed policy files are not used: the rules read before stay in force';
    assert.deepEqual(said, [broken, broken, 'info policy files were read again']);
    assert.match(String(logger.lines[0]!.fields.reason), /policy.yaml:1:\d+/);
  });
});
