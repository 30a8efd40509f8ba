import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Problem } from '../../../core/config/problems.js';
import { isRatecatError } from '../../../core/plugin-api/index.js';

export const EXAMPLES = fileURLToPath(new URL('../../../config/', import.meta.url));

export const MINIMAL = `collect:
  metrics: metrics.yml
fetcher:
  plugin: source
collector:
  plugin: prometheus
`;

/** A folder that is removed when the test ends, holding the given files. */
export async function folderWith(
  context: { after(cleanup: () => Promise<void>): void },
  files: Readonly<Record<string, string | Uint8Array>>,
): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'ratecat-config-'));
  context.after(() => rm(folder, { recursive: true, force: true }));
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content);
  return folder;
}

/** Problems of a refused configuration; checks what holds for every refusal. */
export async function problemsOf(attempt: () => Promise<unknown>): Promise<readonly Problem[]> {
  const started = process.cpuUsage();
  const error = await attempt().then(
    () => assert.fail('the configuration was accepted'),
    (reason: unknown) => reason,
  );
  // Time of this process: what other work the machine has does not count.
  const { user, system } = process.cpuUsage(started);
  const elapsed = (user + system) / 1000;
  assert.ok(isRatecatError(error), String((error as Error)?.stack ?? error));
  assert.equal(error.code, 'RATECAT_CONFIG_INVALID');
  assert.doesNotMatch(error.message, /^\s+at .*\(?.*:\d+:\d+\)?$/m, 'no stack trace');
  const [, ...lines] = error.message.split('\n');
  for (const line of lines) assert.match(line, /^(\S.*:\d+:\d+: .+|… and \d+ more)$/);
  assert.ok(elapsed <= 1000, `took ${Math.round(elapsed)} ms`);
  const problems = error.details.problems as readonly Problem[];
  assert.ok(problems.length > 0);
  for (const problem of problems) assert.ok(problem.line >= 1 && problem.column >= 1);
  return problems;
}

/** `line:column path: message (hint)`, for comparisons. */
export function brief(problem: Problem): string {
  const hint = problem.hint === undefined ? '' : ` (${problem.hint})`;
  return `${problem.line}:${problem.column} ${problem.path}: ${problem.message}${hint}`;
}
