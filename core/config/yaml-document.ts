import { LineCounter } from 'yaml';
import { Decimal } from '../plugin-api/index.js';
import type { Environment } from './environment.js';
import { type ConfigPath, configError, formatPath, type Position, type Problem, TOP } from './problems.js';
import { compose } from './yaml-syntax.js';
import { fileError, forbiddenCharacters, readText } from './yaml-text.js';
import { buildTree, type MapNode, type SourceNode, type TreeProblem } from './yaml-tree.js';

/** A YAML value with numbers as exact decimals that keep the scale of their literal. */
export type YamlValue =
  | string
  | boolean
  | null
  | Decimal
  | readonly YamlValue[]
  | { readonly [name: string]: YamlValue };

export interface YamlSettings {
  /** Larger files are refused before they are read. Default 16 MiB. */
  readonly maxBytes?: number | undefined;
  /** Where `${NAME}` looks; absent: such text is left alone. */
  readonly environment?: Environment | undefined;
}

/** A document without syntax errors. */
export interface YamlDocument {
  readonly file: string;
  readonly root: SourceNode;
  /** The document as plain data, numbers exact. Made on each call. */
  readonly value: YamlValue;
  /** Place of a path, or of the nearest key above it that exists. */
  locate(path: ConfigPath): Position;
  /** A problem at a path. */
  problem(path: ConfigPath, message: string, hint?: string): Problem;
}

const DEFAULT_MAX_BYTES = 16 * 1024 * 1024;

/**
 * Reads a YAML (or JSON) file.
 * @throws ConfigError RATECAT_CONFIG_INVALID with file, line and column for anything that is not one clean document.
 */
export async function readYaml(file: string, settings: YamlSettings = {}): Promise<YamlDocument> {
  return clean(await inspectYaml(file, settings));
}

/** As `readYaml`, for text that is already there; `file` is what problems call it. */
export function parseYaml(text: string, file: string, settings: YamlSettings = {}): YamlDocument {
  return clean(inspectYamlText(text, file, settings));
}

/** A document whose syntax is right. `problems` are what is wrong with single keys and values of it. */
export interface InspectedYaml {
  readonly document: YamlDocument;
  readonly problems: readonly Problem[];
}

/** As `readYaml`, for readers that want to report problems of single values beside their own. */
export async function inspectYaml(file: string, settings: YamlSettings = {}): Promise<InspectedYaml> {
  const text = await readText(file, settings.maxBytes ?? DEFAULT_MAX_BYTES);
  return inspectYamlText(text, file, settings);
}

/** As `inspectYaml`, for text that is already there. */
export function inspectYamlText(text: string, file: string, settings: YamlSettings = {}): InspectedYaml {
  const invisible = forbiddenCharacters(text, file);
  if (invisible.length > 0) throw configError(invisible);
  const lines = new LineCounter();
  const document = compose(text, file, lines);
  if (document.contents === null) {
    throw fileError(file, 'the file is empty', 'the examples in the config folder show what belongs here');
  }
  const { root, problems } = buildTree(document, lines, settings.environment);
  return {
    document: yamlDocument(file, root),
    problems: problems.map((problem) => located(file, problem)),
  };
}

function clean({ document, problems }: InspectedYaml): YamlDocument {
  if (problems.length > 0) throw configError(problems);
  return document;
}

/** Problems of values first; what others say about the same paths and places only follows from them. */
export function withFollowing(first: readonly Problem[], others: readonly Problem[]): readonly Problem[] {
  const place = ({ line, column }: Problem) => `${line}:${column}`;
  const known = new Set(first.flatMap((problem) => [problem.path, place(problem)]));
  const follows = (problem: Problem) => known.has(problem.path) || known.has(place(problem));
  return [...first, ...others.filter((problem) => !follows(problem))];
}

/** A document around a tree, which may be one that was changed after reading. */
export function yamlDocument(file: string, root: SourceNode): YamlDocument {
  const locate = (path: ConfigPath) => positionOf(root, path, TOP);
  return {
    file,
    root,
    locate,
    problem: (path, message, hint) => ({ file, ...locate(path), path: formatPath(path), message, hint }),
    get value() {
      return plainValue<Decimal>(root, (text) => Decimal.parse(text));
    },
  };
}

export type Plain<N> =
  | string
  | boolean
  | null
  | N
  | readonly Plain<N>[]
  | { readonly [name: string]: Plain<N> };

/** Plain data; `number` turns the text of each number literal into a value. */
export function plainValue<N>(node: SourceNode, number: (text: string) => N): Plain<N> {
  if (node.kind === 'list') return node.items.map((item) => plainValue(item, number));
  if (node.kind === 'map') {
    return Object.fromEntries([...node.entries].map(([key, { value }]) => [key, plainValue(value, number)]));
  }
  if (node.type === 'number') return number(node.text);
  return node.type === 'string' ? node.text : node.type === 'null' ? null : node.text === 'true';
}

/** The node at a path, or undefined. */
export function nodeAt(root: SourceNode | undefined, path: ConfigPath): SourceNode | undefined {
  let node = root;
  for (const part of path) {
    if (node?.kind === 'map') node = node.entries.get(String(part))?.value;
    else if (node?.kind === 'list') node = node.items[Number(part)];
    else return undefined;
  }
  return node;
}

/** Scalars and items of lists are found at their value, everything else at its key. */
export function positionOf(root: SourceNode | undefined, path: ConfigPath, fallback: Position): Position {
  let node = root;
  let best = fallback;
  for (const part of path) {
    if (node?.kind === 'map') {
      const entry = node.entries.get(String(part));
      if (entry === undefined) return best;
      node = entry.value;
      best = node.kind === 'scalar' && node.type !== 'null' ? node.at : entry.keyAt;
    } else if (node?.kind === 'list') {
      node = node.items[Number(part)];
      if (node === undefined) return best;
      best = node.at;
    } else return best;
  }
  return best;
}

/** Where a key stands, also when its value is a scalar. */
export function keyPositionOf(root: SourceNode | undefined, path: ConfigPath, fallback: Position): Position {
  const parent = nodeAt(root, path.slice(0, -1)) as MapNode | undefined;
  const entry = parent?.kind === 'map' ? parent.entries.get(String(path.at(-1))) : undefined;
  return entry?.keyAt ?? positionOf(root, path, fallback);
}

function located(file: string, { at, path, message, hint }: TreeProblem): Problem {
  const { line, column } = at.line === 0 ? TOP : at;
  return { file, line, column, path: formatPath(path), message, hint };
}
