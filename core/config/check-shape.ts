import type { Decimal, JsonValue, Schema, SchemaIssue } from '../plugin-api/index.js';
import { knownKeys } from './known-keys.js';
import { didYouMean, nearestKey } from './nearest-key.js';
import { type ConfigPath, formatPath, type Position, type Problem, shorten } from './problems.js';
import { isSecretName, maskUrls, secretOfFileName } from './secret-names.js';
import { keyPositionOf, nodeAt, plainValue, positionOf } from './yaml-document.js';
import type { ScalarNode, SourceNode } from './yaml-tree.js';

/** A value of a file together with its place. `node` is absent when the file leaves it out. */
export interface Located {
  readonly file: string;
  readonly path: ConfigPath;
  /** Place of the key, or of the nearest one above it. */
  readonly at: Position;
  readonly node: SourceNode | undefined;
}

export interface ShapeSettings {
  /** Names below the value whose content must not be shown, beside those that look like secrets. */
  readonly secretNames?: readonly string[] | undefined;
  /** Exact numbers instead of JavaScript's. */
  readonly number?: ((text: string) => number | Decimal) | undefined;
}

export type Checked<T> =
  | { readonly value: T; readonly problems?: undefined; readonly issues?: undefined }
  | {
      readonly value?: undefined;
      readonly problems: readonly Problem[];
      readonly issues: readonly DetailedIssue[];
    };

const MAX_UNKNOWN_KEYS = 100;
/** More allowed values than this are not listed. */
const LISTED_VALUES = 30;

/** Issues of zod carry more than Standard Schema promises; whatever is there makes better messages. */
export interface DetailedIssue extends SchemaIssue {
  readonly code?: string | undefined;
  readonly keys?: readonly string[] | undefined;
  readonly values?: readonly unknown[] | undefined;
  readonly expected?: string | undefined;
  readonly origin?: string | undefined;
  readonly errors?: readonly (readonly DetailedIssue[])[] | undefined;
}

/** Validates a value with a schema; each issue becomes a problem at its line and column. */
export async function checkShape<T>(
  schema: Schema<T>,
  source: Located,
  settings: ShapeSettings = {},
): Promise<Checked<T>> {
  const first = await check(schema, source, source.node, settings);
  if (first.problems === undefined) return first;
  const retyped = retype(source.node, first.issues);
  if (retyped === source.node) return first;
  const second = await check(schema, source, retyped, settings);
  return (second.problems?.length ?? 0) < first.problems.length ? second : first;
}

/** JSON of a node, for options that only their plugin understands. */
export function jsonValue(node: SourceNode | undefined): JsonValue {
  return node === undefined ? {} : (plainValue(node, Number) as JsonValue);
}

async function check<T>(
  schema: Schema<T>,
  source: Located,
  node: SourceNode | undefined,
  settings: ShapeSettings,
): Promise<Checked<T>> {
  const input = node === undefined ? {} : plainValue(node, settings.number ?? Number);
  const result = await schema['~standard'].validate(input);
  if (result.issues === undefined) return { value: result.value };
  const issues = result.issues.flatMap((issue) => flatten(issue as DetailedIssue, []));
  return { issues, problems: new Reporter(schema, source, settings).problems(issues) };
}

/** Of a union the branch that fits best: deepest faults, then fewest. */
function flatten(issue: DetailedIssue, above: ConfigPath): readonly DetailedIssue[] {
  const path = [...above, ...plainPath(issue)];
  const branches = (issue.errors ?? [])
    .filter((branch) => branch.length > 0)
    .map((branch) => branch.flatMap((inner) => flatten(inner, path)));
  const rank = (branch: readonly DetailedIssue[]) =>
    Math.max(...branch.map((inner) => inner.path?.length ?? 0)) * 1000 - branch.length;
  const best = branches.sort((a, b) => rank(b) - rank(a))[0];
  const nothingDeeper = best?.every((inner) => (inner.path?.length ?? 0) === path.length && !inner.keys);
  return best === undefined || nothingDeeper ? [{ ...issue, path }] : best;
}

function plainPath(issue: SchemaIssue): ConfigPath {
  return (issue.path ?? []).map((part) => {
    const key = typeof part === 'object' ? part.key : part;
    return typeof key === 'number' ? key : String(key);
  });
}

/** Unquoted text from a variable at the place of an issue is read as YAML would read it. */
function retype(node: SourceNode | undefined, issues: readonly DetailedIssue[]): SourceNode | undefined {
  let result = node;
  for (const issue of issues) {
    const path = plainPath(issue);
    const target = nodeAt(result, path);
    if (result !== undefined && target?.kind === 'scalar' && target.untyped) {
      result = replaced(result, path, typed(target));
    }
  }
  return result;
}

function typed(node: ScalarNode): ScalarNode {
  if (node.text === 'true' || node.text === 'false') return { ...node, type: 'boolean' };
  return /^[-+]?(\d+(\.\d*)?|\.\d+)(e[-+]?\d{1,3})?$/i.test(node.text) ? { ...node, type: 'number' } : node;
}

function replaced(node: SourceNode, path: ConfigPath, value: ScalarNode): SourceNode {
  const [part, ...rest] = path;
  if (part === undefined) return value;
  if (node.kind === 'list') {
    return { ...node, items: node.items.map((item, i) => (i === part ? replaced(item, rest, value) : item)) };
  }
  if (node.kind === 'scalar') return node;
  const entries = [...node.entries].map(
    ([key, entry]) =>
      [key, key === part ? { ...entry, value: replaced(entry.value, rest, value) } : entry] as const,
  );
  return { ...node, entries: new Map(entries) };
}

/** Words issues for the operator. */
class Reporter {
  readonly #schema: Schema;
  readonly #source: Located;
  readonly #settings: ShapeSettings;

  constructor(schema: Schema, source: Located, settings: ShapeSettings) {
    this.#schema = schema;
    this.#source = source;
    this.#settings = settings;
  }

  problems(issues: readonly DetailedIssue[]): readonly Problem[] {
    const unknown = issues
      .flatMap((issue) => (issue.keys ?? []).map((key) => ({ issue, key })))
      // The wrong file altogether: a suggestion for each of its keys helps nobody.
      .slice(0, MAX_UNKNOWN_KEYS)
      .map(({ issue, key }) => this.#unknownKey(issue, key));
    const meant = new Set(unknown.flatMap(({ meant }) => meant));
    const others = issues
      .filter((issue) => issue.keys === undefined)
      // A misspelt required key is one slip, not two.
      .filter((issue) => !(this.#isMissing(issue) && meant.has(formatPath(plainPath(issue)))))
      .map((issue) => this.#problem(issue));
    return [...unknown.map(({ problem }) => problem), ...others];
  }

  #unknownKey(issue: DetailedIssue, key: string): { problem: Problem; meant: readonly string[] } {
    const parent = plainPath(issue);
    const known = knownKeys(this.#schema, parent);
    const files = known.filter((name) => this.#isSecret([name])).map((name) => `${name}_file`);
    const nearest = nearestKey(key, [...known, ...files]);
    const list = known.length > 0 && known.length <= 30 ? `known keys: ${known.join(', ')}` : undefined;
    const hint = nearest === undefined ? list : `did you mean '${nearest}'?`;
    const path = [...parent, key];
    const position = keyPositionOf(this.#source.node, path, this.#source.at);
    return {
      problem: this.#at(path, position, `unknown key '${shorten(key, 80)}'`, hint),
      meant: [nearest ?? '', secretOfFileName(nearest ?? '') ?? ''].map((name) =>
        formatPath([...parent, name]),
      ),
    };
  }

  #problem(issue: DetailedIssue): Problem {
    const path = plainPath(issue);
    const position = positionOf(this.#source.node, path, this.#source.at);
    const node = nodeAt(this.#source.node, path);
    // A schema's own words about a missing value say more than ours.
    if (node === undefined && path.length > 0 && issue.code !== 'custom') {
      return this.#at(path, position, 'is required', hintOf(issue));
    }
    if (node?.kind === 'scalar' && node.type === 'null') {
      return this.#at(path, position, 'has no value', 'give it one, or remove the key to use the default');
    }
    const secret = this.#isSecret(path);
    const { message, hint } = this.#wording(issue, secret ? undefined : node);
    return this.#at(path, position, `${message}${secret || isSize(issue) ? '' : got(node, message)}`, hint);
  }

  #isMissing(issue: DetailedIssue): boolean {
    return nodeAt(this.#source.node, plainPath(issue)) === undefined;
  }

  #wording(
    issue: DetailedIssue,
    node: SourceNode | undefined,
  ): { message: string; hint: string | undefined } {
    const scalar = node?.kind === 'scalar' ? node : undefined;
    if (issue.values !== undefined) {
      const names = issue.values.map(String);
      const hint = scalar === undefined ? undefined : didYouMean(scalar.written, names);
      if (names.length > LISTED_VALUES) return { message: issue.message, hint };
      return { message: `must be ${names.length === 1 ? '' : 'one of '}${names.join(', ')}`, hint };
    }
    if (issue.errors !== undefined) return this.#alternatives(issue.errors, node);
    if (issue.expected === undefined) return { message: issue.message, hint: hintOf(issue) };
    const generic = issue.message.startsWith('Invalid input');
    const message = generic ? `must be ${EXPECTED[issue.expected] ?? issue.expected}` : issue.message;
    return { message, hint: hintOf(issue) ?? typeHint(issue.expected, scalar) };
  }

  /** Several forms are allowed and none was met. */
  #alternatives(
    branches: readonly (readonly DetailedIssue[])[],
    node: SourceNode | undefined,
  ): { message: string; hint: string | undefined } {
    const texts = branches
      .flatMap((branch) => branch.slice(0, 1))
      .map((issue) => this.#wording(issue, node).message);
    const [first = 'has a wrong form', ...more] = [...new Set(texts)];
    return {
      message: [first, ...more.map((text) => text.replace(/^must be /, ''))].join(' or '),
      hint: undefined,
    };
  }

  #isSecret(path: ConfigPath): boolean {
    const names = this.#settings.secretNames ?? [];
    return path.some((part) => isSecretName(String(part)) || names.includes(String(part)));
  }

  #at(path: ConfigPath, position: Position, message: string, hint: string | undefined): Problem {
    const full = formatPath([...this.#source.path, ...path]);
    return { file: this.#source.file, ...position, path: full, message, hint };
  }
}

/** The length of a list or text is what is wrong, and the message says so. */
function isSize(issue: DetailedIssue): boolean {
  return (issue.code === 'too_small' || issue.code === 'too_big') && issue.origin !== 'number';
}

/** `, got '1h'`: what stands in the file, unless the message says it already. */
function got(node: SourceNode | undefined, message: string): string {
  if (node === undefined) return '';
  if (node.kind !== 'scalar') return `, got a ${node.kind === 'list' ? 'list' : 'mapping'}`;
  const written = maskUrls(node.written);
  return message.includes(`'${written}'`) ? '' : `, got '${shorten(written, 60)}'`;
}

const EXPECTED: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a mapping of `key: value` lines',
  record: 'a mapping of `key: value` lines',
};

function typeHint(expected: string, scalar: ScalarNode | undefined): string | undefined {
  if (scalar === undefined) return undefined;
  if (expected === 'string' && scalar.type !== 'null')
    return `put it in quotes: '${shorten(scalar.written, 40)}'`;
  if (expected === 'boolean' && /^(yes|on)$/i.test(scalar.text)) return 'write true';
  if (expected === 'boolean' && /^(no|off)$/i.test(scalar.text)) return 'write false';
  if (expected === 'number' && scalar.type === 'string' && Number.isFinite(Number(scalar.text || 'x'))) {
    return 'remove the quotes';
  }
  if (expected === 'array') return `write [${shorten(scalar.written, 40)}]`;
  return undefined;
}

/** Our own schemas may bring a remedy along with a message. */
function hintOf(issue: DetailedIssue): string | undefined {
  const hint = (issue as { params?: { hint?: unknown } }).params?.hint;
  return typeof hint === 'string' ? hint : undefined;
}
