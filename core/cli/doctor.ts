import type { Command } from 'commander';
import { visibleText } from '../config/human-text.js';
import { EXIT, exitCodeOf } from '../daemon/exit-codes.js';
import { DaemonLogger } from '../daemon/logger.js';
import { systemClock } from '../daemon/system-clock.js';
import { examine } from '../doctor/doctor.js';
import { type Area, type Finding, type Level, worstLevel } from '../doctor/finding.js';
import { RatecatError } from '../plugin-api/index.js';
import { type Cli, examples } from './cli.js';
import { findConfig, loadOnly } from './open-config.js';

interface Options {
  readonly json?: true;
  readonly problems?: true;
}

export function define(command: Command, cli: Cli): void {
  command
    .description(
      'Walks the whole chain: configuration, database, clock, Keystone, scopes, collector, metrics, rating modules, rules, ' +
        'prices and progress; names each finding with what to do about it. Changes nothing. Exit code 0 when nothing is ' +
        'wrong, 1 with warnings only; otherwise that of the first failure: 65 data, 69 something does not answer, 77 ' +
        'credentials or rights, 78 configuration.',
    )
    .option('--problems', 'leave out what is right')
    .option('--json', 'one JSON document')
    .addHelpText(
      'after',
      examples(
        ['ratecat doctor', 'what is wrong, and what to do about it?'],
        ['ratecat doctor --json | jq -r \'.findings[] | select(.level == "fail") | .id\'', 'for a script'],
      ),
    )
    .action((options: Options) => cli.run(() => doctor(cli, options)));
}

async function doctor(cli: Cli, options: Options): Promise<number> {
  const lines = new Report(options.problems === true);
  let written = Promise.resolve();
  const write = (text: string) => {
    written = written.then(() => (text === '' ? undefined : cli.output.line(text)));
    // Whoever waits for the end hears of it.
    written.catch(() => undefined);
  };
  const findings = await examine({
    load: () => loadOnly(cli),
    clock: systemClock,
    logger: DaemonLogger.create({ level: 'error', format: 'text' }),
    signal: new AbortController().signal,
    onFinding: options.json ? undefined : (finding) => write(lines.of(finding)),
  });
  const code = exitCodeOfFindings(findings);
  if (options.json)
    await cli.output.line(JSON.stringify(toJson(findings, code, findConfig(cli).file), null, 2));
  else write(summary(findings));
  await written;
  return code;
}

/** 0, 1 for warnings, or what the first failure of the chain means: those after it may follow from it. */
export function exitCodeOfFindings(findings: readonly Finding[]): number {
  const failed = findings.find(({ level }) => level === 'fail');
  if (failed !== undefined) return exitCodeOf(new RatecatError(failed.kind ?? 'data', false, '', ''));
  return worstLevel(findings) === 'warn' ? EXIT.no : EXIT.ok;
}

const WORDS: Readonly<Record<Level, string>> = { ok: 'OK', skipped: '--', warn: 'WARN', fail: 'FAIL' };

/** Findings as they come, below the name of their area. */
class Report {
  readonly #problemsOnly: boolean;
  #area: Area | undefined;

  constructor(problemsOnly: boolean) {
    this.#problemsOnly = problemsOnly;
  }

  /** Empty for what is not shown. */
  of({ area, level, id, what, where, fix }: Finding): string {
    if (this.#problemsOnly && (level === 'ok' || level === 'skipped')) return '';
    const head = area === this.#area ? [] : [`${this.#area === undefined ? '' : '\n'}${area}`];
    this.#area = area;
    const isProblem = level === 'warn' || level === 'fail';
    const more = [
      ...(where === undefined ? [] : [`at:  ${where}`]),
      ...(fix === undefined ? [] : [`fix: ${fix}`]),
    ];
    const besides = where === undefined ? '' : ` (${where})`;
    return [
      ...head,
      `  ${WORDS[level].padEnd(4)}  ${visibleText(what)}${isProblem ? ` [${id}]` : visibleText(besides)}`,
      ...(isProblem ? more : []).map((line) => `        ${visibleText(line)}`),
    ].join('\n');
  }
}

function summary(findings: readonly Finding[]): string {
  const count = (level: Level) => findings.filter((finding) => finding.level === level).length;
  const [failed, warned] = [count('fail'), count('warn')];
  if (failed + warned === 0) return '\nNothing is wrong.';
  const parts = [failed > 0 ? `${failed} FAIL` : '', warned > 0 ? `${warned} WARN` : '', `${count('ok')} OK`];
  return `\n${parts.filter((part) => part !== '').join(', ')}`;
}

function toJson(findings: readonly Finding[], exitCode: number, config: string) {
  return {
    config,
    worst: worstLevel(findings),
    exit_code: exitCode,
    findings: findings.map(({ area, level, id, what, where, fix, code }) => ({
      area,
      level,
      id,
      what,
      where: where ?? null,
      fix: fix ?? null,
      code: code ?? null,
    })),
  };
}
