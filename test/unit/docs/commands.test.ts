import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type Command, CommanderError } from 'commander';
import { describedProgram } from '../../../core/cli/main.js';
import { type Call, shellCalls } from './shell-words.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));

function pages(): readonly string[] {
  const docs = readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' });
  const all = [...readdirSync(root), ...docs.map((name) => join('docs', name))];
  return all.filter((name) => name.endsWith('.md') && !name.includes('node_modules'));
}

interface Written {
  readonly place: string;
  readonly words: Call;
}

/** `ratecat …` as a person types it in this project: also through npx, sudo or node, and with variables before it. */
function argumentsOf(words: Call): Call | undefined {
  const start = words.findIndex(
    (word, index) => (word === 'ratecat' && words[index - 1] !== '-u') || word.endsWith('bin/ratecat.js'),
  );
  if (start === -1) return undefined;
  const before = words.slice(0, start);
  const isPrefix = (word: string, index: number) =>
    /^(npx|sudo|node|timeout|exec|-u|\d+)$/.test(word) ||
    /^[A-Z_]+=/.test(word) ||
    before[index - 1] === '-u';
  return before.every(isPrefix) ? words.slice(start + 1) : undefined;
}

/** Lines after a prompt, or all lines of a block for a shell, with continued lines joined. */
function shellLines(language: string, block: string): readonly string[] {
  const lines = block.replace(/\\\n\s*/g, ' ').split('\n');
  if (language === 'sh' || language === 'bash') return lines;
  return lines.flatMap((line) => /^\s*[$#] (.*)$/.exec(line)?.[1] ?? []);
}

function inFences(page: string): readonly Written[] {
  const text = readFileSync(join(root, page), 'utf8');
  return [...text.matchAll(/^ *```(\w*)\n([\s\S]*?)^ *```$/gm)].flatMap(([, language = '', block = '']) =>
    shellLines(language, block)
      .flatMap(shellCalls)
      .flatMap((call) => {
        const words = argumentsOf(call);
        return words === undefined ? [] : [{ place: `${page}: ratecat ${words.join(' ')}`, words }];
      }),
  );
}

function inText(page: string): readonly Written[] {
  const text = readFileSync(join(root, page), 'utf8').replace(/^ *```[\s\S]*?^ *```$/gm, '');
  return [...text.matchAll(/`(?:npx )?ratecat\s+([a-z][^`]*)`/g)].map(([code, rest = '']) => ({
    place: `${page}: ${code}`,
    words: shellCalls(rest.replace(/\s+/g, ' '))[0] ?? [],
  }));
}

/** What the program says to a command line, without doing what it asks. */
async function refusal(words: Call): Promise<string | undefined> {
  let said = '';
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const stderr = new Writable({
    write(chunk, _encoding, done) {
      said += String(chunk);
      done();
    },
  });
  const program = await describedProgram({
    stdout: nowhere,
    stderr,
    stdin: Readable.from([]),
    environment: {},
  });
  try {
    await program.parseAsync([...words], { from: 'user' });
    return undefined;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return undefined;
    return said === '' ? String(error) : said.trim().split('\n')[0];
  }
}

const program = await describedProgram();

/** A mention need not be complete; what it names has to exist. */
function unknownName(words: Call): string | undefined {
  let command: Command = program;
  const known: Command[] = [program];
  for (const word of words) {
    if (word.startsWith('-')) {
      const flag = word.split('=')[0]!;
      const isKnown = known.some((one) =>
        one.options.some(({ short, long }) => flag === short || flag === long),
      );
      if (!isKnown && flag !== '--help' && flag !== '-h') return `no option ${flag}`;
      continue;
    }
    const sub = command.commands.find((one) => one.name() === word);
    if (sub !== undefined) {
      command = sub;
      known.push(sub);
    } else if (command === program) return `no command '${word}'`;
    else if (command.commands.length > 0 && /^[a-z-]+$/.test(word))
      return `no command '${word}' of '${command.name()}'`;
  }
  return undefined;
}

describe('the commands in the documentation', () => {
  const fenced = pages()
    .flatMap(inFences)
    .filter(({ words }) => !words.includes('COMMAND'));
  const mentioned = pages().flatMap(inText);

  it('are found in the pages', () => {
    assert.ok(fenced.length > 50, `${fenced.length} in fences`);
    assert.ok(mentioned.length > 100, `${mentioned.length} in the text`);
  });

  it('are understood by the program, where they can be typed as they stand', async () => {
    const wrong: string[] = [];
    for (const { place, words } of fenced) {
      const said = await refusal(words);
      if (said !== undefined) wrong.push(`${place}: ${said}`);
    }
    assert.deepEqual(wrong, []);
  });

  it('have names and options that exist, where they are mentioned', () => {
    const wrong = mentioned.flatMap(({ place, words }) => {
      const unknown = unknownName(words);
      return unknown === undefined ? [] : [`${place}: ${unknown}`];
    });
    assert.deepEqual(wrong, []);
  });

  it('are understood where help texts give them as examples', async () => {
    const examples = (command: Command): readonly string[] => [
      ...[...helpOf(command).matchAll(/^ {2}\$ (.*)$/gm)].map((match) => match[1]!),
      ...command.commands.flatMap(examples),
    ];
    const all = examples(program)
      .flatMap(shellCalls)
      .flatMap((call) => argumentsOf(call) ?? []);
    assert.ok(all.length > 40);
    const wrong: string[] = [];
    for (const example of examples(program)) {
      for (const call of shellCalls(example)) {
        const words = argumentsOf(call);
        const said = words === undefined || words.includes('COMMAND') ? undefined : await refusal(words);
        if (said !== undefined) wrong.push(`${example}: ${said}`);
      }
    }
    assert.deepEqual(wrong, []);
  });

  it('would be refused if they were wrong', async () => {
    assert.match((await refusal(['sumary'])) ?? '', /unknown command 'sumary'/);
    assert.match((await refusal(['status', '--jsno'])) ?? '', /unknown option '--jsno'/);
    assert.match((await refusal(['rules', 'import'])) ?? '', /missing required argument 'file'/);
    assert.equal(await refusal(['status', '--json']), undefined);
    assert.equal(unknownName(['rules', 'improt', 'FILE']), "no command 'improt' of 'rules'");
    assert.equal(unknownName(['rules', 'import', '--drynrun']), 'no option --drynrun');
    assert.equal(unknownName(['rules', 'import', 'prices.yml', '--dry-run']), undefined);
  });
});

describe('reading a shell line', () => {
  it('finds each command of it, without quotes, redirections and comments', () => {
    assert.deepEqual(
      shellCalls(`printf 'a b\\n' | npx ratecat rate -u - > x.csv && ratecat status  # fine?`),
      [
        ['printf', 'a b\\n'],
        ['npx', 'ratecat', 'rate', '-u', '-'],
        ['ratecat', 'status'],
      ],
    );
    assert.deepEqual(shellCalls('ratecat backup "/b/$(date +%u).db" 2>&1; (umask 077; cat > x)'), [
      ['ratecat', 'backup', '/b/$(date +%u).db'],
      ['umask', '077'],
      ['cat'],
    ]);
  });
});

function helpOf(command: Command): string {
  const written: string[] = [];
  const before = command.configureOutput();
  command.configureOutput({ ...before, writeOut: (text) => void written.push(text) });
  command.outputHelp();
  command.configureOutput(before);
  return written.join('');
}
