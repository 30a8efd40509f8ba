import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { parseOslo, readOsloFile } from '../../../core/importing/oslo-file.js';
import { sampleSeed } from '../../../core/testkit/samples.js';
import { brief, folderWith, problemsOf } from '../config/config-fixtures.js';

function read(text: string) {
  const { entries, problems, warnings } = parseOslo(text, 'c.conf');
  return {
    entries: entries.map(({ section, name, value }) => [section, name, value]),
    problems: problems.map(brief),
    warnings: warnings.map(brief),
  };
}

function oneValue(text: string): string | undefined {
  return parseOslo(`[a]\n${text}\n`, 'c.conf').entries.at(-1)?.value;
}

describe('parseOslo', () => {
  it('reads sections, both signs, comments and blank lines', () => {
    const { entries, problems, warnings } = read(
      '# top\n; also\n\n[DEFAULT]\ndebug = True\n\n[Storage]\nback-end: sqlalchemy\nempty =\n[api]\r\nport=8889\r\n',
    );
    assert.deepEqual(entries, [
      ['DEFAULT', 'debug', 'True'],
      ['storage', 'back_end', 'sqlalchemy'],
      ['storage', 'empty', ''],
      ['api', 'port', '8889'],
    ]);
    assert.deepEqual([...problems, ...warnings], []);
  });

  it('keeps sections DEFAULT and default apart, as oslo.config does', () => {
    assert.deepEqual(read('[DEFAULT]\na=1\n[default]\na=2\n').entries, [
      ['DEFAULT', 'a', '1'],
      ['default', 'a', '2'],
    ]);
  });

  it('takes the first sign that stands in a line', () => {
    assert.equal(oneValue('url = http://host:5000/v3?a=b'), 'http://host:5000/v3?a=b');
    assert.equal(oneValue('url: a=b'), 'a=b');
  });

  it('strips one pair of quotes and nothing else', () => {
    assert.equal(oneValue('password = "a b "'), 'a b ');
    assert.equal(oneValue("password = 'a\"'"), 'a"');
    assert.equal(oneValue('password = "a'), '"a');
    assert.equal(oneValue('password = "'), '"');
  });

  it('joins lines that begin with blanks, until an empty line or another option', () => {
    assert.equal(oneValue('services = compute,\n  volume,\n\timage\n[b]'), 'compute,\nvolume,\nimage');
    assert.deepEqual(read('[a]\nb = 1\n\n  2\n').problems, [
      '4:1 : nothing stands above that this line could continue (a line that begins with blanks continues the value above it; remove the blanks)',
    ]);
  });

  it('gives the place of each value', () => {
    const [first] = parseOslo('[a]\nname =   value\n', 'c.conf').entries;
    assert.deepEqual([first?.file, first?.line, first?.column], ['c.conf', 2, 10]);
  });

  it('leaves out what stands behind // with a warning, but not within a URL', () => {
    const { entries, problems, warnings } = read(
      '// head\n[a] // section\nurl = http://host/ // comment\n  // indented\nrest = x //\nkeep = a//b\n',
    );
    assert.deepEqual(entries, [
      ['a', 'url', 'http://host/'],
      ['a', 'rest', 'x'],
      ['a', 'keep', 'a//b'],
    ]);
    assert.deepEqual(problems, []);
    const hint = '(comments begin with # and stand on lines of their own)';
    assert.deepEqual(warnings, [
      `1:1 : a line that begins with // was left out ${hint}`,
      `2:4 : the text behind // was left out ${hint}`,
      `3:19 [a] url: the text behind // was left out ${hint}`,
      `4:3 : a line that begins with // was left out ${hint}`,
      `5:9 [a] rest: the text behind // was left out ${hint}`,
    ]);
  });

  it('warns of a # behind a value, which belongs to the value', () => {
    const { entries, warnings } = read('[a]\nb = 1 # one\nc = x#y\n');
    assert.deepEqual(entries, [
      ['a', 'b', '1 # one'],
      ['a', 'c', 'x#y'],
    ]);
    assert.deepEqual(warnings, [
      "2:5 [a] b: the text behind '#' was taken as part of the value (comments stand on lines of their own, as CloudKitty reads it too)",
    ]);
  });

  for (const [text, place] of [
    ['[api\nport = 1\n', "1:5 : a section's name must end with ] "],
    ['[api] # comment\nport = 1\n', "1:16 : a section's name must end with ] "],
    ['[]\n', '1:2 : the section has no name '],
    ['[ ]\n', '1:2 : the section has no name '],
    ['port = 1\n', '1:6 : no section stands above it '],
    ['[a]\n= 1\n', "2:1 : no name stands before the '=' "],
    ['[a]\nport 1\n', "2:1 : the line has neither '=' nor ':' "],
    ['  port = 1\n', '1:1 : nothing stands above that this line could continue '],
    ['[a]\nport: 1\u0000\n', '2:8 : the control character U+0000 '],
    ['\ufeff[a]\n', '1:1 : an invisible byte order mark '],
  ] as const) {
    it(`refuses ${JSON.stringify(text)} with its place and what to do`, () => {
      const { problems } = read(text);
      assert.equal(problems.length, 1, problems.join('\n'));
      assert.ok(`${problems[0]} `.startsWith(place), problems[0]);
      assert.match(problems[0]!, /\(.+\)$/);
    });
  }

  it('reports every fault at once, one for each slip', () => {
    const { problems, entries } = read('[a\nx = 1\noops\n  continued\ny = 2\nagain\n');
    assert.deepEqual(
      problems.map((problem) => problem.split(' ')[0]),
      ['1:3', '3:1', '6:1'],
    );
    assert.deepEqual(entries, [
      ['a', 'x', '1'],
      ['a', 'y', '2'],
    ]);
  });

  it('shows no value, whatever the file looks like', () => {
    const pieces = fc.constantFrom(
      '[a]',
      '[',
      ']',
      '=',
      ':',
      ' ',
      '\n',
      '\n  ',
      '//',
      ' // ',
      '#',
      ';',
      '"',
      'name',
      'S3CR3T',
    );
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 40 }), (parts) => {
        const { problems, warnings } = parseOslo(parts.join(''), 'c.conf');
        for (const problem of [...problems, ...warnings]) assert.doesNotMatch(brief(problem), /S3CR3T/);
      }),
      { seed: sampleSeed(), numRuns: 2000, verbose: true },
    );
  });
});

describe('readOsloFile', () => {
  it('says what is wrong with a file that cannot be read', async (context) => {
    const folder = await folderWith(context, { 'latin.conf': Buffer.from('[a]\nb = \xe9\n', 'latin1') });
    const fault = async (name: string) =>
      brief((await problemsOf(() => readOsloFile(join(folder, name))))[0]!);
    assert.equal(await fault('missing.conf'), '1:1 : the file does not exist (check the path)');
    assert.equal(await fault('latin.conf'), '2:5 : invalid UTF-8 (save the file as UTF-8)');
    assert.match(await fault('.'), /is a folder \(name the file in it; --config-dir/);
  });
});
