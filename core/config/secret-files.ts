import { readFile, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { type ConfigPath, formatPath, type Position, type Problem } from './problems.js';
import { isSecretName, MASK, secretOfFileName } from './secret-names.js';
import { type MapEntry, type MapNode, type ScalarNode, type SourceNode, scalar } from './yaml-tree.js';

export interface SecretContext {
  readonly file: string;
  /** Relative paths start here. */
  readonly folder: string;
  /** Path of the node in its file. */
  readonly path: ConfigPath;
  /** Whether a key at a path names a secret. Default: by the look of its name. */
  readonly isSecret?: ((path: ConfigPath) => boolean) | undefined;
}

export interface WithSecrets<N extends SourceNode = SourceNode> {
  readonly node: N;
  readonly problems: readonly Problem[];
}

/** A secret is a line of text; anything larger is the wrong file. */
const MAX_SECRET_BYTES = 64 * 1024;

/** Replaces every `<secret>_file: path` below a node by `<secret>: first line of that file`. */
export async function withSecretFiles(node: SourceNode, context: SecretContext): Promise<WithSecrets> {
  if (node.kind === 'scalar' || !mentionsFile(node)) return { node, problems: [] };
  if (node.kind === 'map') return secretsOfMap(node, context);
  const items = await Promise.all(
    node.items.map((item, index) => withSecretFiles(item, { ...context, path: [...context.path, index] })),
  );
  return {
    node: { ...node, items: items.map((item) => item.node) },
    problems: items.flatMap((item) => item.problems),
  };
}

/** Most parts of a document name no file: they are passed over without waiting for anything. */
function mentionsFile(node: SourceNode): boolean {
  if (node.kind === 'list') return node.items.some(mentionsFile);
  if (node.kind === 'scalar') return false;
  return [...node.entries].some(
    ([key, { value }]) => secretOfFileName(key) !== undefined || mentionsFile(value),
  );
}

async function secretsOfMap(node: MapNode, context: SecretContext): Promise<WithSecrets<MapNode>> {
  const results = await Promise.all(
    [...node.entries].map(([key, entry]) => secretsOfEntry(node, key, entry, context)),
  );
  const entries = new Map(results.flatMap((result) => result.entries));
  return { node: { ...node, entries }, problems: results.flatMap((result) => result.problems) };
}

interface EntryResult {
  readonly entries: readonly (readonly [string, MapEntry])[];
  readonly problems: readonly Problem[];
}

async function secretsOfEntry(
  node: MapNode,
  key: string,
  entry: MapEntry,
  context: SecretContext,
): Promise<EntryResult> {
  const path = [...context.path, key];
  const secret = secretOfFileName(key);
  const isSecret = context.isSecret ?? ((candidate) => isSecretName(String(candidate.at(-1))));
  if (secret === undefined || !isSecret([...context.path, secret])) {
    const inner = await withSecretFiles(entry.value, { ...context, path });
    return { entries: [[key, { ...entry, value: inner.node }]], problems: inner.problems };
  }
  const problem = (at: Position, message: string, hint: string): EntryResult => ({
    entries: [],
    problems: [{ file: context.file, ...at, path: formatPath(path), message, hint }],
  });
  if (node.entries.has(secret)) {
    return problem(entry.keyAt, `'${secret}' and '${key}' are both given`, 'keep one of them');
  }
  if (entry.value.kind !== 'scalar' || entry.value.type !== 'string') {
    return problem(entry.keyAt, 'must be the path of a file', `the first line of the file is the ${secret}`);
  }
  const answer = await firstLine(resolve(context.folder, entry.value.text));
  if ('fault' in answer) {
    return { ...problem(entry.value.at, answer.fault, answer.hint), entries: [[secret, placeholder(entry)]] };
  }
  return { entries: [[secret, { ...entry, value: hidden(entry.value, answer.text) }]], problems: [] };
}

/** Keeps a secret that could not be read from being reported as missing too. */
function placeholder(entry: MapEntry): MapEntry {
  return { ...entry, value: hidden(entry.value as ScalarNode, MASK) };
}

function hidden(node: ScalarNode, text: string): ScalarNode {
  return scalar(node.at, 'string', text, MASK);
}

async function firstLine(file: string): Promise<{ text: string } | { fault: string; hint: string }> {
  const hint = 'the first line of the file is the secret';
  try {
    const facts = await stat(file);
    if (!facts.isFile()) return { fault: `${file} is not a regular file`, hint };
    if (facts.size > MAX_SECRET_BYTES) return { fault: `${file} is too large for a secret`, hint };
    const text = (await readFile(file, 'utf8')).split('\n', 1)[0]!.replace(/\r$/, '');
    return text === '' ? { fault: `the first line of ${file} is empty`, hint } : { text };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const reason = code === 'ENOENT' ? 'does not exist' : `cannot be read (${code})`;
    return { fault: `${file} ${reason}`, hint };
  }
}
