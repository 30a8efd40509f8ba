import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { writeWhole } from '../../../core/setup/whole-file.js';

describe('writeWhole', () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ratecat-whole-'));
  });
  after(() => rm(folder, { recursive: true, force: true }));

  const modeOf = async (path: string) => ((await stat(path)).mode & 0o777).toString(8);

  it('keeps a secret, and the folder that it makes for it, from others', async () => {
    const before = process.umask(0o000);
    try {
      const path = join(folder, 'a/b/secret');
      await writeWhole({ path, text: 'x', isSecret: true, replaces: false });
      assert.deepEqual(
        [await modeOf(path), await modeOf(join(folder, 'a/b')), await modeOf(join(folder, 'a'))],
        ['600', '700', '700'],
      );
      const open = join(folder, 'c/open');
      await writeWhole({ path: open, text: 'x', isSecret: false, replaces: false });
      assert.deepEqual([await modeOf(open), await modeOf(join(folder, 'c'))], ['666', '777']);
    } finally {
      process.umask(before);
    }
  });

  it('makes a secret of a file that others could read', async () => {
    const path = join(folder, 'was-open');
    await writeFile(path, 'old', { mode: 0o644 });
    await writeWhole({ path, text: 'new', isSecret: true, replaces: true });
    assert.deepEqual([await readFile(path, 'utf8'), await modeOf(path)], ['new', '600']);
  });

  it('replaces nothing unless it is told to, and leaves nothing behind', async () => {
    const path = join(folder, 'd/mine');
    const write = (text: string, replaces: boolean) =>
      writeWhole({ path, text, isSecret: false, replaces, advice: 'Take another one.' });
    await write('one', false);
    await assert.rejects(write('two', false), {
      code: 'RATECAT_OUTPUT_FAILED',
      message: `${path} exists and was not replaced. Take another one.`,
    });
    assert.equal(await readFile(path, 'utf8'), 'one');
    await write('three', true);
    assert.equal(await readFile(path, 'utf8'), 'three');
    assert.deepEqual(await readdir(join(folder, 'd')), ['mine']);
  });

  it('says why it cannot write, and leaves nothing behind', async () => {
    const file = join(folder, 'no-folder');
    await writeFile(file, '');
    await assert.rejects(
      writeWhole({ path: join(file, 'x'), text: 'secret', isSecret: true, replaces: true }),
      {
        code: 'RATECAT_OUTPUT_FAILED',
        message: `${join(file, 'x')} cannot be written (EEXIST). Check the folder and its permissions.`,
      },
    );
    const occupied = join(folder, 'e/taken');
    await writeWhole({ path: join(occupied, 'inside'), text: '', isSecret: false, replaces: false });
    await assert.rejects(writeWhole({ path: occupied, text: '', isSecret: false, replaces: true }), {
      code: 'RATECAT_OUTPUT_FAILED',
    });
    assert.deepEqual(await readdir(join(folder, 'e')), ['taken']);
  });
});
