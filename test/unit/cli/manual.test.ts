import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import type { z } from 'zod';
import { COMMANDS } from '../../../core/cli/commands.js';
import { describedProgram } from '../../../core/cli/main.js';
import { manualPages } from '../../../core/cli/manual.js';
import { literal, markdown, prose } from '../../../core/cli/manual-roff.js';
import { shortFormSchema } from '../../../core/config/config-schema.js';
import { keystoneShape } from '../../../core/upstream/index.js';

const docs = (name: string) =>
  readFileSync(fileURLToPath(new URL(`../../../docs/${name}`, import.meta.url)), 'utf8');
const SOURCES = {
  commandLine: docs('cli.md'),
  configuration: docs('configuration.md'),
  version: '1.2.3',
  date: '2026-01-31',
};

const program = await describedProgram();
const pages = manualPages(program, SOURCES);

/** The words of a page, as a reader sees them. */
function words(roff: string): string {
  return roff
    .replace(/^\.[A-Z]{2} ?/gm, '')
    .replace(/\\f[BR]|\\&/g, '')
    .replace(/\\([-e])/g, (_, sign: string) => (sign === 'e' ? '\\' : sign))
    .replace(
      /\\\((aq|dq|ga|ha|ti)/g,
      (_, name: string) => ({ aq: "'", dq: '"', ga: '`', ha: '^', ti: '~' })[name]!,
    )
    .replace(/\\\[u([0-9A-F]+)\]/g, (_, code: string) => String.fromCodePoint(Number.parseInt(code, 16)))
    .replace(/\s+/g, ' ');
}

function pageOf(command: Command): string {
  let top = command;
  while (top.parent !== null && top.parent !== program) top = top.parent;
  const file = top === program ? 'ratecat.1' : `ratecat-${top.name()}.1`;
  return words(pages.get(file) ?? assert.fail(`there is no page ${file}`));
}

function everyCommand(command: Command): readonly Command[] {
  return [command, ...command.commands.flatMap(everyCommand)];
}

describe('the man pages', () => {
  it('are one for the program, one for each of its commands, and one for the configuration', () => {
    const commands = COMMANDS.map(({ name }) => `ratecat-${name}.1`);
    assert.deepEqual([...pages.keys()], ['ratecat.1', ...commands, 'ratecat.yml.5']);
  });

  for (const command of everyCommand(program)) {
    const path = pathOf(command);
    it(`tell everything that 'ratecat ${path} --help' tells`, () => {
      const text = pageOf(command);
      const help = command.createHelp();
      assert.ok(text.toLowerCase().includes(command.description().toLowerCase().replace(/\s+/g, ' ')));
      const called = command.parent === null || command.commands.length === 0 ? [command] : command.commands;
      for (const one of called) assert.ok(text.includes(help.commandUsage(one)), help.commandUsage(one));
      for (const option of command.options) {
        assert.ok(text.includes(option.flags), option.flags);
        assert.ok(text.includes(help.optionDescription(option)), option.flags);
      }
      for (const argument of command.registeredArguments)
        assert.ok(text.includes(help.argumentDescription(argument)), argument.name());
      for (const example of examplesOf(command)) assert.ok(text.includes(example), example);
    });
  }

  it('list every command on the page of the program, with what it is for', () => {
    const text = pageOf(program);
    for (const { name, summary } of COMMANDS) {
      assert.ok(text.toLowerCase().includes(`ratecat-${name}(1) ${summary.toLowerCase()}`), name);
    }
  });

  it('name every exit code of the documentation', () => {
    const text = pages.get('ratecat.1')!;
    for (const code of [0, 1, 64, 65, 69, 70, 75, 77, 78])
      assert.match(text, new RegExp(`^\\\\fB${code}\\\\fR$`, 'm'));
  });

  it('describe every key of the configuration', () => {
    const text = words(pages.get('ratecat.yml.5')!);
    // How to log in to Keystone is told by the page of its fetcher.
    const logIn = Object.keys(keystoneShape).map((name) => `api.keystone.${name}`);
    const keys = leaves(shortFormSchema).filter((key) => !logIn.includes(key));
    assert.ok(keys.length > 40, 'the walk found the keys');
    // Keys of one section may stand in the text of their section, as those of api.keystone do.
    const missing = keys.filter(
      (key) => !text.includes(key) && !(text.includes(key.replace(/\.\w+$/, '')) && isWord(text, key)),
    );
    assert.deepEqual(missing, []);
  });

  it('say version and day', () => {
    for (const [file, text] of pages)
      assert.match(text, /^\.TH "[^"]+" [15] 2026-01-31 "Ratecat 1\.2\.3" "Ratecat"\n/, file);
  });

  it('fold long lines, so that they can be compared', () => {
    for (const [file, text] of pages) {
      const long = text
        .replace(/^\.nf$[\s\S]*?^\.fi$/gm, '')
        .split('\n')
        .filter((line) => line.length > 80 && line.includes(' ') && !line.startsWith('.TH'));
      assert.deepEqual(long, [], file);
    }
  });

  it('refuse documentation that has lost a section they are made of', () => {
    assert.throws(
      () => manualPages(program, { ...SOURCES, commandLine: '# nothing' }),
      /no section 'Exit codes'/,
    );
  });
});

describe('roff', () => {
  it('keeps signs that mean something to it', () => {
    assert.equal(literal('.PP'), '\\&.PP');
    assert.equal(literal("'x' \\n ~ ^ ` -- \""), '\\(aqx\\(aq \\en \\(ti \\(ha \\(ga \\-\\- \\(dq');
    assert.equal(prose('요금'), '\\[uC694]\\[uAE08]');
  });

  it('keeps hyphens of options, and leaves those of words', () => {
    assert.equal(prose('built-in, with --dry-run or (-n)'), 'built-in, with \\-\\-dry\\-run or (\\-n)');
  });

  it('takes code, strong text and links of Markdown', () => {
    assert.equal(
      markdown('set `a-b` to **one** of [the `list`](x.md#y), `***`'),
      'set \\fBa\\-b\\fR to \\fBone\\fR of the \\fBlist\\fR, \\fB***\\fR',
    );
  });

  it('lets no text of a command become a request', () => {
    const small = new Command('ratecat').description('x').exitOverride();
    small.command('evil').summary('.so /etc/passwd').description(".so /etc/passwd\n.sy id\n'br");
    const [, page = ''] = [...manualPages(small, SOURCES)].find(([file]) => file === 'ratecat-evil.1')!;
    assert.doesNotMatch(page, /^[.'](so|sy|br\b)/m);
    assert.match(words(page), /\.so \/etc\/passwd \.sy id/);
  });
});

function pathOf(command: Command): string {
  return command.parent === null ? '' : `${pathOf(command.parent)} ${command.name()}`.trim();
}

function examplesOf(command: Command): readonly string[] {
  const written: string[] = [];
  const before = command.configureOutput();
  command.configureOutput({ ...before, writeOut: (text) => void written.push(text) });
  command.outputHelp();
  command.configureOutput(before);
  const examples = [...written.join('').matchAll(/^ {2}\$ (.*)$/gm)].map((match) => match[1]!);
  if (command.commands.length === 0) assert.ok(examples.length > 0, `${pathOf(command)} has no example`);
  return examples;
}

function isWord(text: string, key: string): boolean {
  return new RegExp(`\\b${key.split('.').at(-1)}\\b`).test(text);
}

/** Dotted paths of all keys below an object schema, through defaults and optional ones. */
function leaves(schema: z.ZodType, path = ''): readonly string[] {
  const { def } = schema as unknown as { def: { type: string; innerType?: z.ZodType; shape?: object } };
  if (def.innerType !== undefined) return leaves(def.innerType, path);
  if (def.type === 'never') return [];
  if (def.shape === undefined) return [path];
  return Object.entries(def.shape as Record<string, z.ZodType>).flatMap(([key, inner]) =>
    leaves(inner, path === '' ? key : `${path}.${key}`),
  );
}
