import type { Problem } from '../config/problems.js';
import { maskUrls } from '../config/secret-names.js';
import { describeError, type ErrorKind, isRatecatError, type RatecatError } from '../plugin-api/index.js';
import type { Area, Details, Finding } from './finding.js';

/** Words that begin the advice at the end of an error's message. */
const ADVICE =
  /^(.+?[.)\]])\s+((?:Check|Correct|Create|Give|Free|Set|Install|Remove|Put|Restore|Find|Connect|Repair|Move|Name|Run|Report|End|Raise|Grant|List|Ask|Wait|'ratecat)\b.*)$/s;

/** For errors that give no advice of their own. */
const FIX: Readonly<Record<ErrorKind, string>> = {
  config: 'Correct the configuration.',
  plugin: "Report it to the plugin's author.",
  unavailable: 'See whether it runs and can be reached from this machine, then look again.',
  rejected: 'Check the credentials and what they are allowed to do.',
  data: 'Correct what the message names, then look again.',
  fenced: 'Look again.',
};

/** Everything that an error says: each problem of a configuration is a finding of its own. */
export function findingsOfError(area: Area, error: unknown, details: Details = {}): readonly Finding[] {
  if (!isRatecatError(error)) return [unexplained(area, error, details)];
  const problems = error.details.problems as readonly Problem[] | undefined;
  if (problems !== undefined && problems.length > 0)
    return problems.map((problem) => ({
      ...ofListed(area, problem, error, details),
      code: error.code,
      kind: error.kind,
    }));
  const { what, fix } = splitAdvice(maskUrls(describeError(error)));
  return [
    {
      area,
      level: 'fail',
      id: idOf(error.code),
      what,
      ...details,
      fix: fix ?? details.fix ?? FIX[error.kind],
      code: error.code,
      kind: error.kind,
    },
  ];
}

/** Plugins list problems of documents as well, which have a path and no line. */
function ofListed(area: Area, problem: Problem, { code, kind }: RatecatError, details: Details): Finding {
  if (Number.isInteger(problem.line)) return ofProblem(area, 'fail', problem);
  const what = problem.path === '' ? problem.message : `${problem.path}: ${problem.message}`;
  return { area, level: 'fail', id: idOf(code), what, fix: FIX[kind], ...details };
}

/** A problem of a file, with its place. */
export function ofProblem(area: Area, level: 'warn' | 'fail', problem: Problem): Finding {
  const { file, line, column, path, message, hint } = problem;
  return {
    area,
    level,
    id: level === 'fail' ? 'config-invalid' : 'config-suspicious',
    what: path === '' ? message : `${path}: ${message}`,
    where: `${file}:${line}:${column}`,
    fix:
      hint ?? (level === 'fail' ? 'Correct it in the file; `ratecat config check` looks again.' : undefined),
  };
}

/** `database-refused` for RATECAT_DATABASE_REFUSED. */
function idOf(code: string): string {
  return code
    .replace(/^RATECAT_/, '')
    .toLowerCase()
    .replaceAll('_', '-');
}

function unexplained(area: Area, error: unknown, details: Details): Finding {
  return {
    area,
    level: 'fail',
    id: 'unexpected-error',
    what: `an error that nobody foresaw: ${maskUrls(describeError(error))}`,
    fix: 'Report it, with what was being asked for.',
    kind: 'plugin',
    ...details,
  };
}

function splitAdvice(message: string): { readonly what: string; readonly fix: string | undefined } {
  const parts = ADVICE.exec(message);
  return parts === null ? { what: message, fix: undefined } : { what: parts[1]!, fix: parts[2]! };
}
