import { ConfigError } from '../plugin-api/index.js';

/** Keys and list indexes from the top of a document. */
export type ConfigPath = readonly (string | number)[];

/** One-based; columns count UTF-16 units. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** Begin of a file: the place of what is wrong with it as a whole. */
export const TOP: Position = { line: 1, column: 1 };

/** One thing that is wrong in a file, where it stands and what to do about it. */
export interface Problem extends Position {
  readonly file: string;
  /** Dotted path of the nearest key, empty for the file as a whole. */
  readonly path: string;
  readonly message: string;
  readonly hint: string | undefined;
}

/** More lines than this help nobody; the error's details hold all problems. */
const PRINTED_PROBLEMS = 200;
const PRINTED_CHARACTERS = 600;

/** `file:line:column: path: message (hint)`, always one line. */
export function formatProblem(problem: Problem): string {
  const where = `${problem.file}:${problem.line}:${problem.column}`;
  const path = problem.path === '' ? '' : ` ${problem.path}:`;
  const hint = problem.hint === undefined ? '' : ` (${problem.hint})`;
  return shorten(visible(`${where}:${path} ${problem.message}${hint}`), PRINTED_CHARACTERS);
}

/** All problems in order of file and place, one a line. */
export function formatProblems(problems: readonly Problem[]): string {
  const lines = inOrder(problems).slice(0, PRINTED_PROBLEMS).map(formatProblem);
  const more = problems.length - lines.length;
  return more > 0 ? [...lines, `… and ${more} more`].join('\n') : lines.join('\n');
}

/** RATECAT_CONFIG_INVALID with every problem in the message and in `details.problems`. */
export function configError(problems: readonly Problem[]): ConfigError {
  const count = problems.length === 1 ? 'a problem' : `${problems.length} problems`;
  const message = `The configuration has ${count}:\n${formatProblems(problems)}`;
  return new ConfigError('RATECAT_CONFIG_INVALID', message, { details: { problems: inOrder(problems) } });
}

/** `pipelines[0].collect.period`; names that a dot would tear apart stand in brackets. */
export function formatPath(path: ConfigPath): string {
  return path.map((part, index) => formatStep(part, index === 0)).join('');
}

function formatStep(part: string | number, first: boolean): string {
  if (typeof part === 'number') return `[${part}]`;
  if (!/^[A-Za-z_][\w-]*$/.test(part)) return `[${JSON.stringify(shorten(part, 80))}]`;
  return first ? part : `.${part}`;
}

/** Text cut to a length that fits a terminal line. */
export function shorten(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}

/** Control and invisible characters as escapes: a file's content must not steer the terminal. */
function visible(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}\u2028\u2029]/gu,
    (character) => `\\u${character.codePointAt(0)!.toString(16).padStart(4, '0')}`,
  );
}

function inOrder(problems: readonly Problem[]): readonly Problem[] {
  return [...problems].sort(
    (a, b) => (a.file < b.file ? -1 : a.file > b.file ? 1 : 0) || a.line - b.line || a.column - b.column,
  );
}
