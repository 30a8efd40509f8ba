import {
  type Alias,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  type LineCounter,
  type Scalar,
} from 'yaml';
import { Decimal } from '../plugin-api/index.js';
import { type Environment, expandEnvironment } from './environment.js';
import type { ConfigPath, Position } from './problems.js';

/**
 * A YAML document as it is written: every value knows its place, numbers keep the text of their literal, aliases point at
 * the node of their anchor.
 */
export type SourceNode = ScalarNode | ListNode | MapNode;

export interface ScalarNode {
  readonly kind: 'scalar';
  readonly at: Position;
  readonly type: 'string' | 'number' | 'boolean' | 'null';
  /** The value: for numbers a decimal literal, for the rest its text. */
  readonly text: string;
  /** What stands in the file; never a value from the environment or a secret file. */
  readonly written: string;
  /** Comes from a variable, unquoted: may also be read as a number or truth value. */
  readonly untyped: boolean;
}

export interface ListNode {
  readonly kind: 'list';
  readonly at: Position;
  readonly items: readonly SourceNode[];
  readonly size: number;
}

export interface MapEntry {
  readonly keyAt: Position;
  readonly value: SourceNode;
}

export interface MapNode {
  readonly kind: 'map';
  readonly at: Position;
  readonly entries: ReadonlyMap<string, MapEntry>;
  readonly size: number;
}

export interface TreeProblem {
  readonly at: Position;
  readonly path: ConfigPath;
  readonly message: string;
  readonly hint: string | undefined;
}

/** Values that all aliases of a document may stand for together: far above any real file, far below a bomb. */
export const MAX_ALIASED_VALUES = 20_000;

/** Builds the tree of a document that has no syntax errors. `environment` absent: `${…}` stays as it is. */
export function buildTree(
  document: Document,
  lines: LineCounter,
  environment: Environment | undefined,
): { readonly root: SourceNode; readonly problems: readonly TreeProblem[] } {
  const builder = new TreeBuilder(lines, environment);
  const root = builder.build(document.contents, []);
  return { root, problems: builder.problems };
}

class TreeBuilder {
  readonly problems: TreeProblem[] = [];
  readonly #lines: LineCounter;
  readonly #environment: Environment | undefined;
  readonly #anchors = new Map<string, SourceNode | 'open'>();
  /** Stand-ins for aliases that were reported. */
  readonly #broken = new Set<SourceNode>();
  #aliased = 0;

  constructor(lines: LineCounter, environment: Environment | undefined) {
    this.#lines = lines;
    this.#environment = environment;
  }

  build(node: unknown, path: ConfigPath): SourceNode {
    if (isAlias(node)) return this.#alias(node, path);
    const anchor = (node as { anchor?: string } | null)?.anchor;
    if (anchor !== undefined) this.#anchors.set(anchor, 'open');
    const built = this.#value(node, path);
    if (anchor !== undefined) this.#anchors.set(anchor, built);
    return built;
  }

  #value(node: unknown, path: ConfigPath): SourceNode {
    const at = this.#position(node);
    if (isMap(node)) return this.#map(node.items, at, path);
    if (isSeq(node)) {
      const items = node.items.map((item, index) => this.build(item, [...path, index]));
      return { kind: 'list', at, items, size: 1 + sum(items) };
    }
    return isScalar(node) ? this.#scalar(node, at, path) : emptyScalar(at);
  }

  #map(pairs: readonly { key: unknown; value: unknown }[], at: Position, path: ConfigPath): MapNode {
    const entries = new Map<string, MapEntry>();
    const merged: MapEntry[] = [];
    for (const pair of pairs) {
      const keyAt = this.#position(pair.key);
      const key = this.#key(pair.key, keyAt, path);
      if (key === undefined) continue;
      const value = this.build(pair.value, [...path, key]);
      const entry = { keyAt, value: value.at.line === 0 ? { ...value, at: keyAt } : value };
      if (key === '<<' && isScalar(pair.key) && pair.key.type === 'PLAIN') merged.push(entry);
      else this.#add(entries, key, entry, path);
    }
    for (const entry of merged) this.#merge(entries, entry, path);
    return { kind: 'map', at, entries, size: 1 + sum([...entries.values()].map((entry) => entry.value)) };
  }

  #key(key: unknown, at: Position, path: ConfigPath): string | undefined {
    const name = isScalar(key) && key.value !== null ? (key.source ?? String(key.value)) : undefined;
    if (name === undefined) {
      this.#problem(at, path, 'a key must be plain text', 'write `name: value`');
    } else if (name === '__proto__') {
      this.#problem(at, path, `'${name}' cannot be used as a key`, undefined);
      return undefined;
    }
    return name;
  }

  #add(entries: Map<string, MapEntry>, key: string, entry: MapEntry, path: ConfigPath): void {
    const first = entries.get(key);
    if (first === undefined) {
      entries.set(key, entry);
      return;
    }
    const place = `line ${first.keyAt.line}`;
    this.#problem(entry.keyAt, [...path, key], `key '${key}' is given twice`, `first in ${place}; keep one`);
  }

  /** `<<: *anchor` as the reference's YAML reader knows it: keys of the map itself win, then the first merged one. */
  #merge(entries: Map<string, MapEntry>, { keyAt, value }: MapEntry, path: ConfigPath): void {
    const sources = value.kind === 'list' ? value.items : [value];
    for (const source of sources) {
      if (this.#broken.has(source)) continue;
      if (source.kind !== 'map') {
        this.#problem(
          keyAt,
          path,
          "'<<' merges mappings only",
          'write `<<: *anchor` with an anchored mapping',
        );
        return;
      }
      for (const [key, entry] of source.entries) if (!entries.has(key)) entries.set(key, entry);
    }
  }

  #alias(alias: Alias, path: ConfigPath): SourceNode {
    const at = this.#position(alias);
    const target = this.#anchors.get(alias.source);
    if (target === undefined || target === 'open') {
      const reason = target === 'open' ? 'refers to itself' : 'has no anchor before it';
      this.#problem(at, path, `alias *${alias.source} ${reason}`, 'quote the value if it is meant as text');
      return this.#standIn(at);
    }
    const before = this.#aliased;
    this.#aliased += sizeOf(target);
    if (this.#aliased <= MAX_ALIASED_VALUES) return target;
    if (before <= MAX_ALIASED_VALUES) {
      const message = `aliases stand for more than ${MAX_ALIASED_VALUES} values`;
      this.#problem(at, path, message, 'write the values out, or use fewer anchors');
    }
    return this.#standIn(at);
  }

  #standIn(at: Position): SourceNode {
    const node = emptyScalar(at);
    this.#broken.add(node);
    return node;
  }

  #scalar(node: Scalar, at: Position, path: ConfigPath): ScalarNode {
    const { value } = node;
    const source = node.source ?? String(value ?? '');
    if (value === null) return { ...emptyScalar(at), written: source };
    if (typeof value === 'boolean') return scalar(at, 'boolean', String(value), source);
    if (typeof value === 'number') return this.#number(source, at, path);
    return this.#text(String(value), { at, path, plain: node.type === 'PLAIN' });
  }

  #number(source: string, at: Position, path: ConfigPath): ScalarNode {
    const text = /^0[xo]/.test(source) ? BigInt(source).toString() : source;
    if (Decimal.tryParse(text) === undefined) {
      this.#problem(at, path, `'${source}' is not a finite number`, 'quote it if it is meant as text');
    }
    return scalar(at, 'number', text, source);
  }

  #text(written: string, place: { at: Position; path: ConfigPath; plain: boolean }): ScalarNode {
    const { at, path, plain } = place;
    if (this.#environment === undefined) return scalar(at, 'string', written, written);
    const { text, expanded, problems } = expandEnvironment(written, this.#environment);
    for (const { message, hint } of problems) this.#problem(at, path, message, hint);
    return { ...scalar(at, 'string', text, written), untyped: expanded && plain };
  }

  #problem(at: Position, path: ConfigPath, message: string, hint: string | undefined): void {
    this.problems.push({ at, path, message, hint });
  }

  #position(node: unknown): Position {
    const range = (node as { range?: readonly [number, number, number] | null } | null)?.range;
    if (range === undefined || range === null) return NOWHERE;
    const { line, col } = this.#lines.linePos(range[0]);
    return { line, column: col };
  }
}

const NOWHERE: Position = { line: 0, column: 0 };

/** A scalar that is not in a file, or whose value is not to be shown. */
export function scalar(at: Position, type: ScalarNode['type'], text: string, written: string): ScalarNode {
  return { kind: 'scalar', at, type, text, written, untyped: false };
}

function emptyScalar(at: Position): ScalarNode {
  return scalar(at, 'null', '', '');
}

function sizeOf(node: SourceNode): number {
  return node.kind === 'scalar' ? 1 : node.size;
}

function sum(nodes: readonly SourceNode[]): number {
  return nodes.reduce((total, node) => total + sizeOf(node), 0);
}
