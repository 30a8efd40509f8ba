import { stat } from 'node:fs/promises';
import type { Position, Problem } from '../config/problems.js';
import { fileError, forbiddenCharacters, readText } from '../config/yaml-text.js';

/** One `name = value` of a file, as written: nothing is substituted yet. */
export interface OsloEntry extends Position {
  readonly file: string;
  /** `DEFAULT`, or the section's name in small letters. */
  readonly section: string;
  /** With `_` in place of `-`. */
  readonly name: string;
  /** Continuation lines are joined by line breaks. May be a secret. */
  readonly value: string;
}

export interface OsloFile {
  readonly file: string;
  readonly entries: readonly OsloEntry[];
  /** What is wrong: the file cannot be read as it was meant. */
  readonly problems: readonly Problem[];
  /** What was read, but differently from what CloudKitty or the writer takes it for. */
  readonly warnings: readonly Problem[];
}

const MAX_BYTES = 1024 * 1024;
/** One slip often makes many faults; the first ones tell. */
const MAX_PROBLEMS = 20;
const LEFT_OUT = 'a line that begins with // was left out';

/**
 * Reads a file of oslo.config.
 * @throws ConfigError RATECAT_CONFIG_INVALID when it is missing, unreadable, a folder, too large or not UTF-8.
 */
export async function readOsloFile(file: string): Promise<OsloFile> {
  const facts = await stat(file).catch(() => undefined);
  if (facts?.isDirectory()) {
    throw fileError(file, 'is a folder', 'name the file in it; --config-dir is for folders of *.conf files');
  }
  return parseOslo(await readText(file, MAX_BYTES), file);
}

/** Reads text in the syntax of oslo.config. No message holds a value: any of them may be a secret. */
export function parseOslo(text: string, file: string): OsloFile {
  // The key that YAML would have on that line may be a piece of a secret here.
  const invisible = forbiddenCharacters(text, file).map((problem) => ({ ...problem, path: '' }));
  if (invisible.length > 0) return { file, entries: [], problems: invisible, warnings: [] };
  const reader = new OsloReader(file);
  for (const [index, line] of text.split('\n').entries()) reader.take(line.trimEnd(), index + 1);
  return reader.end();
}

interface Assignment extends Position {
  readonly section: string;
  readonly name: string;
  readonly lines: string[];
}

class OsloReader {
  readonly #file: string;
  readonly #entries: OsloEntry[] = [];
  readonly #problems: Problem[] = [];
  readonly #warnings: Problem[] = [];
  #section: string | undefined;
  #assignment: Assignment | undefined;
  /** After a faulty assignment its continuation lines are not faults of their own. */
  #skipsContinuation = false;

  constructor(file: string) {
    this.#file = file;
  }

  take(line: string, number: number): void {
    if (/^[ \t]/.test(line)) {
      this.#continue(line, number);
      return;
    }
    this.#finish();
    if (line === '' || line.startsWith('#') || line.startsWith(';')) return;
    if (line.startsWith('//')) this.#slashes(number, 1, LEFT_OUT);
    else if (line.startsWith('[')) this.#begin(line, number);
    else this.#assign(line, number);
  }

  end(): OsloFile {
    this.#finish();
    return {
      file: this.#file,
      entries: this.#entries,
      problems: this.#problems.slice(0, MAX_PROBLEMS),
      warnings: this.#warnings,
    };
  }

  #finish(): void {
    const assignment = this.#assignment;
    this.#assignment = undefined;
    this.#skipsContinuation = false;
    if (assignment === undefined) return;
    const { lines, ...place } = assignment;
    this.#entries.push({ file: this.#file, ...place, value: lines.join('\n') });
  }

  #continue(line: string, number: number): void {
    const text = line.trimStart();
    const column = line.length - text.length + 1;
    if (text.startsWith('//')) {
      this.#slashes(number, column, LEFT_OUT);
      return;
    }
    if (this.#assignment !== undefined) {
      this.#assignment.lines.push(text);
    } else if (!this.#skipsContinuation) {
      const hint = 'a line that begins with blanks continues the value above it; remove the blanks';
      this.#problem(
        { line: number, column: 1 },
        '',
        'nothing stands above that this line could continue',
        hint,
      );
    }
  }

  #begin(line: string, number: number): void {
    const header = this.#withoutSlashes(line, number, '');
    const name = header.endsWith(']') ? header.slice(1, -1).trim() : undefined;
    if (name === undefined) {
      const hint = 'write [name] alone on the line; a comment stands on a line of its own';
      this.#problem({ line: number, column: line.length + 1 }, '', "a section's name must end with ]", hint);
    } else if (name === '') {
      this.#problem({ line: number, column: 2 }, '', 'the section has no name', 'write it between [ and ]');
    }
    // What follows must not be reported once more for want of a section.
    this.#section = sectionName(name ?? header.slice(1).replace(/\].*$/, ''));
  }

  #assign(line: string, number: number): void {
    const sign = line.search(/[:=]/);
    const name = (sign < 0 ? '' : line.slice(0, sign)).trim().replaceAll('-', '_');
    const fault = this.#assignmentFault(sign, name);
    if (fault !== undefined) {
      this.#skipsContinuation = true;
      this.#problem({ line: number, column: Math.max(sign, 0) + 1 }, '', ...fault);
      return;
    }
    const section = this.#section!;
    const path = pathOf(section, name);
    const rest = line.slice(sign + 1);
    const value = unquoted(this.#withoutSlashes(rest, number, path, sign + 2).trim());
    const column = sign + 2 + (rest.length - rest.trimStart().length);
    if (/\s#/.test(value)) {
      const hint = 'comments stand on lines of their own, as CloudKitty reads it too';
      this.#warn({ line: number, column }, path, "the text behind '#' was taken as part of the value", hint);
    }
    this.#assignment = { line: number, column, section, name, lines: [value] };
  }

  #assignmentFault(sign: number, name: string): readonly [message: string, hint: string] | undefined {
    if (sign < 0) {
      const hint =
        'write name = value; begin a comment with #, and a further line of the value above with a blank';
      return ["the line has neither '=' nor ':'", hint];
    }
    if (name === '') return ["no name stands before the '='", 'write name = value'];
    if (this.#section === undefined)
      return ['no section stands above it', 'write [DEFAULT] or its section above'];
    return undefined;
  }

  /** Guides of 2017 explain options behind `//`; oslo.config takes that as part of the value. */
  #withoutSlashes(text: string, number: number, path: string, begin = 1): string {
    const place = commentPlace(text);
    if (place === undefined) return text;
    const kept = text.slice(0, place).trimEnd();
    this.#slashes(number, begin + kept.length, 'the text behind // was left out', path);
    return kept;
  }

  #slashes(line: number, column: number, message: string, path = ''): void {
    this.#warn({ line, column }, path, message, 'comments begin with # and stand on lines of their own');
  }

  #warn(at: Position, path: string, message: string, hint: string): void {
    this.#warnings.push({ file: this.#file, ...at, path, message, hint });
  }

  #problem(at: Position, path: string, message: string, hint: string): void {
    this.#problems.push({ file: this.#file, ...at, path, message, hint });
  }
}

/** Sections are the same in capital and small letters, DEFAULT excepted. */
export function sectionName(name: string): string {
  return name === 'DEFAULT' ? name : name.toLowerCase();
}

/** How reports and messages call an option. A line of a secret that lost its indentation looks like an option, too. */
export function pathOf(section: string, name: string): string {
  return `[${section}] ${/^[a-z][a-z0-9_]{0,59}$/.test(name) ? name : '…'}`;
}

/** Where a `//` between blanks begins; one within a word is part of it, as in a URL. */
function commentPlace(text: string): number | undefined {
  for (let place = text.indexOf('//'); place >= 0; place = text.indexOf('//', place + 2)) {
    if (isBlank(text[place - 1] ?? '') && isBlank(text[place + 2] ?? ' ')) return place;
  }
  return undefined;
}

function isBlank(character: string): boolean {
  return character === ' ' || character === '\t';
}

function unquoted(value: string): string {
  const first = value[0];
  return value.length > 1 && (first === '"' || first === "'") && value.endsWith(first)
    ? value.slice(1, -1)
    : value;
}
