import { dirname, resolve } from 'node:path';
import { describeError, type JsonValue, type Schema } from '../plugin-api/index.js';
import { type Checked, checkShape, type DetailedIssue, jsonValue, type Located } from './check-shape.js';
import { knownKeys } from './known-keys.js';
import { formatPath, type Problem } from './problems.js';
import { withSecretFiles } from './secret-files.js';
import { secretOfFileName } from './secret-names.js';
import { parseYaml } from './yaml-document.js';

/** Options of a plugin or a metric, as the file has them, until the one who understands them validates them. */
export interface OptionsSource extends Located {
  /** The options as JSON; `{}` when the file leaves them out. */
  readonly value: JsonValue;
  /** Folder that relative `*_file` paths start from. */
  readonly folder: string;
}

export type ValidatedOptions<T> =
  | { readonly value: T; readonly problems?: undefined }
  | { readonly value?: undefined; readonly problems: readonly Problem[] };

/** Options at a place of a file. An empty value (`options:` alone) counts as `{}`. */
export function optionsSource(located: Located, folder: string): OptionsSource {
  const empty = located.node?.kind === 'scalar' && located.node.type === 'null';
  const node = empty ? undefined : located.node;
  return { ...located, node, value: jsonValue(node), folder };
}

/** Options that come from code, not from a file; `name` is what problems call them. */
export function optionsFromValue(value: JsonValue, name = 'options'): OptionsSource {
  const { root } = parseYaml(JSON.stringify(value), name);
  return optionsSource({ file: name, path: [], at: { line: 1, column: 1 }, node: root }, resolve('.'));
}

/**
 * Validates options with the schema of their plugin. Every issue becomes a problem at its line and column, with the
 * nearest known key for an unknown one. An option `x_file` that the plugin does not know itself stands for the first line
 * of that file as `x`. Never throws for bad options: the caller gathers the problems of all plugins.
 * @param secretNames options whose values must not be shown, beside those that look like secrets.
 */
export async function validateOptions<T>(
  schema: Schema<T>,
  source: OptionsSource,
  secretNames: readonly string[] = [],
): Promise<ValidatedOptions<T>> {
  try {
    const named = await substitute(source, secretNames);
    if (named.problems.length > 0) return { problems: named.problems };
    const first = await checkShape(schema, named.source, { secretNames });
    const unknown = first.problems === undefined ? [] : secretsAmongUnknown(schema, first);
    if (unknown.length === 0) return first;
    const again = await substitute(named.source, unknown);
    if (again.problems.length > 0) return { problems: again.problems };
    return await checkShape(schema, again.source, { secretNames: [...secretNames, ...unknown] });
  } catch (error) {
    return { problems: [brokenSchema(source, error)] };
  }
}

async function substitute(
  source: OptionsSource,
  names: readonly string[],
): Promise<{ readonly source: OptionsSource; readonly problems: readonly Problem[] }> {
  if (source.node === undefined || names.length === 0) return { source, problems: [] };
  const depth = source.path.length + 1;
  const { node, problems } = await withSecretFiles(source.node, {
    ...source,
    isSecret: (path) => path.length === depth && names.includes(String(path.at(-1))),
  });
  return { source: { ...source, node }, problems };
}

/** `x` for every unknown option `x_file` where `x` is known, or where the schema does not tell what it knows. */
function secretsAmongUnknown(
  schema: Schema,
  checked: Extract<Checked<unknown>, { issues: readonly DetailedIssue[] }>,
): string[] {
  const known = knownKeys(schema, []);
  return checked.issues
    .filter((issue) => (issue.path ?? []).length === 0)
    .flatMap((issue) => issue.keys ?? [])
    .map(secretOfFileName)
    .filter((name) => name !== undefined)
    .filter((name) => known.length === 0 || known.includes(name));
}

function brokenSchema(source: OptionsSource, error: unknown): Problem {
  const message = `the plugin's check of its options failed: ${describeError(error)}`;
  return {
    file: source.file,
    ...source.at,
    path: formatPath(source.path),
    message,
    hint: 'report it to its author',
  };
}

/** Folder of a file, absolute. */
export function folderOf(file: string): string {
  return dirname(resolve(file));
}
