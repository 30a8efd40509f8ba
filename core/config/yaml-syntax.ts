import {
  Composer,
  type Document,
  isCollection,
  isMap,
  isScalar,
  type LineCounter,
  Parser,
  type YAMLError,
} from 'yaml';
import { type ConfigPath, configError, formatPath, type Problem, TOP } from './problems.js';

/** The composer is recursive, and V8 ends the process when the stack overflows inside a regular expression. */
const MAX_DEPTH = 100;
/** One slip often makes many syntax errors; the first ones tell. */
const MAX_SYNTAX_PROBLEMS = 20;

/**
 * The one document of a text. `lines` learns where its lines begin.
 * @throws ConfigError RATECAT_CONFIG_INVALID with the place of each syntax error.
 */
export function compose(text: string, file: string, lines: LineCounter): Document {
  const tokens = [...new Parser(lines.addNewLine).parse(text)];
  const deep = tooDeep(tokens);
  if (deep !== undefined) {
    const { line, col } = lines.linePos(deep);
    const message = `values are nested more than ${MAX_DEPTH} deep`;
    throw configError([{ file, line, column: col, path: '', message, hint: 'is it the right file?' }]);
  }
  const composer = new Composer({
    uniqueKeys: false,
    merge: false,
    schema: 'core',
    prettyErrors: false,
    logLevel: 'silent',
    resolveKnownTags: false,
  });
  const [document, second] = withoutStacks(() => [...composer.compose(tokens, true, text.length)]);
  const errors = second === undefined ? [] : [multipleDocuments(second)];
  const found = [...(document?.errors ?? []), ...(document?.warnings ?? []), ...errors];
  if (document === undefined || found.length > 0)
    throw configError(syntaxProblems({ file, text, lines }, document, found));
  return document as Document;
}

/** Each syntax error is an Error; recording the stack of ten thousand of them takes most of the time. */
function withoutStacks<T>(work: () => T): T {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 0;
  try {
    return work();
  } finally {
    Error.stackTraceLimit = limit;
  }
}

interface Token {
  readonly offset?: number;
  readonly value?: unknown;
  readonly items?: readonly { readonly key?: unknown; readonly value?: unknown }[];
}

/** Offset of a value that lies too deep, without recursion. */
function tooDeep(tokens: readonly unknown[]): number | undefined {
  const open: { token: Token; depth: number; offset: number }[] = tokens.map((token) => ({
    token: token as Token,
    depth: 0,
    offset: 0,
  }));
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { token, depth } = next;
    const offset = token.offset ?? next.offset;
    if (depth > MAX_DEPTH) return offset;
    const children = [token.value, ...(token.items ?? []).flatMap((item) => [item.key, item.value])];
    for (const child of children) {
      if (typeof child === 'object' && child !== null) {
        open.push({ token: child as Token, depth: depth + 1, offset });
      }
    }
  }
  return undefined;
}

type SyntaxFault = Pick<YAMLError, 'code' | 'message' | 'pos'>;

function multipleDocuments(second: { readonly range: readonly [number, number, number] }): SyntaxFault {
  return { code: 'MULTIPLE_DOCS', message: '', pos: [second.range[0], second.range[0] + 1] };
}

/** One problem per line, in order. */
function syntaxProblems(
  { file, text, lines }: { readonly file: string; readonly text: string; readonly lines: LineCounter },
  document: { readonly contents: unknown } | undefined,
  faults: readonly SyntaxFault[],
): Problem[] {
  const byLine = new Map<number, Problem>();
  for (const fault of [...faults].sort((a, b) => a.pos[0] - b.pos[0])) {
    const { line, col } = lines.linePos(fault.pos[0]);
    if (byLine.size === MAX_SYNTAX_PROBLEMS) break;
    if (byLine.has(line)) continue;
    const path = formatPath(nearestPath(document?.contents, fault.pos[0]));
    byLine.set(line, { file, line, column: Math.max(1, col), path, ...wording(fault, text) });
  }
  if (byLine.size === 0)
    byLine.set(1, { file, ...TOP, path: '', message: 'not a YAML document', hint: undefined });
  return [...byLine.values()];
}

function wording(fault: SyntaxFault, document: string): { message: string; hint: string | undefined } {
  if (document.startsWith('${', fault.pos[0] - 1)) {
    return { message: "'${' cannot stand here unquoted", hint: 'put quotes around the whole value' };
  }
  const text = fault.message.split('\n')[0]!;
  const known: Partial<Record<YAMLError['code'], readonly [string, string]>> = {
    TAB_AS_INDENT: ['a tab is used for indentation', 'use spaces'],
    MULTIPLE_DOCS: ['the file holds more than one document', "remove the line '---' and what follows"],
    MULTILINE_IMPLICIT_KEY: [
      'this is not a `key: value` line',
      "is a ':' missing, or the indentation wrong?",
    ],
    BLOCK_AS_IMPLICIT_KEY: [text, "is the indentation right? Quote text that holds ': '"],
    BAD_INDENT: [text, 'are the indentation and all brackets right?'],
    BAD_SCALAR_START: [text, 'quote the value'],
    TAG_RESOLVE_FAILED: [text, "remove the tag, or quote text that begins with '!'"],
    MISSING_CHAR: [text, 'is the indentation right, and are all quotes and brackets closed?'],
  };
  const [message, hint] = known[fault.code] ?? [text, undefined];
  return { message, hint };
}

/** Path of the last key before an offset: where the reader should look first. */
function nearestPath(contents: unknown, offset: number): ConfigPath {
  const path: (string | number)[] = [];
  let node = contents;
  while (isCollection(node)) {
    const items: readonly unknown[] = node.items;
    const index = items.findLastIndex((item) => startOf(item) <= offset);
    const item = items[index];
    if (item === undefined) break;
    if (isMap(node)) {
      const { key, value } = item as { key: unknown; value: unknown };
      if (isScalar(key)) path.push(key.source ?? String(key.value));
      node = value;
    } else {
      path.push(index);
      node = item;
    }
    if (startOf(node) > offset) break;
  }
  return path;
}

function startOf(node: unknown): number {
  const ranged = node as {
    range?: readonly number[] | null;
    key?: { range?: readonly number[] | null };
  } | null;
  return ranged?.range?.[0] ?? ranged?.key?.range?.[0] ?? Number.POSITIVE_INFINITY;
}
