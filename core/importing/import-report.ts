import { formatProblem, formatProblems } from '../config/problems.js';
import type { ImportedConfig } from './import-config.js';
import type { Outcome } from './import-session.js';
import { pathOf } from './oslo-file.js';

/** What became of every option, for people. Holds no value of any option. */
export function reportOf(imported: ImportedConfig): string {
  const { files, outcomes, warnings, advice, metrics } = imported;
  const of = (kind: Outcome['kind']) => outcomes.filter((outcome) => outcome.kind === kind);
  const read = [...files, ...(metrics.source === undefined ? [] : [metrics.source])];
  return [
    ...section('Read', read.map(visible)),
    ...section('Used as they are', of('used').map(taken)),
    ...section('Mapped', of('mapped').map(taken)),
    ...section('Ignored', of('ignored').map(passedOver)),
    ...section('Unknown, and ignored by CloudKitty too', of('unknown').map(passedOver)),
    ...(warnings.length === 0 ? [] : ['Warnings:', ...formatProblems(warnings).split('\n').map(indented)]),
    ...section('Please note', advice.map(visible)),
  ].join('\n');
}

function section(title: string, lines: readonly string[]): readonly string[] {
  return lines.length === 0 ? [] : [`${title}:`, ...lines.map(indented)];
}

function indented(line: string): string {
  return `  ${line}`;
}

function taken({ entry, targets, note }: Outcome): string {
  const why = note === undefined ? '' : `  (${note})`;
  return visible(`${pathOf(entry.section, entry.name)} → ${targets.join(', ')}${why}`);
}

function passedOver({ entry, note }: Outcome): string {
  const { file, line, column, section: written, name } = entry;
  const path = pathOf(written, name);
  return formatProblem({
    file,
    line,
    column,
    path,
    message: note ?? 'no option has a name like this',
    hint: undefined,
  });
}

/** A file's content must not steer the terminal. */
function visible(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}]/gu, '?');
}
