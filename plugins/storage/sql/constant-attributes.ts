import type { Descriptor, SqlDatabase } from '../../../core/plugin-api/index.js';
import { Conditions, chunks } from './conditions.js';
import { DESCRIPTOR_COLUMNS, describedText, toDescriptor } from './descriptor-reader.js';
import type { ScopeRows } from './scopes.js';

/** Scopes that are remembered; of others the descriptors are read again. */
const MAX_SCOPES = 10_000;
/** Names of one metric beyond which nothing is remembered of it, and text that is worth to be remembered. */
const MAX_NAMES = 256;
const MAX_LENGTH = 256;
const SCOPES_PER_QUERY = 64;

const VARIES = Symbol('varies');

/** What an attribute is in all descriptors of one scope and metric, if it is always the same. */
class MetricAttributes {
  readonly #texts = new Map<string, string | typeof VARIES>();
  #isKnown = true;

  constructor(first: Descriptor) {
    for (const name of namesOf(first)) this.#put(name, describedText(first, name));
  }

  add(descriptor: Descriptor): void {
    for (const name of new Set([...this.#texts.keys(), ...namesOf(descriptor)])) {
      // An absent attribute is an empty one.
      if (this.#isKnown && describedText(descriptor, name) !== (this.#texts.get(name) ?? ''))
        this.#put(name, VARIES);
    }
  }

  get(name: string): string | undefined {
    if (!this.#isKnown) return undefined;
    const text = this.#texts.get(name) ?? '';
    return text === VARIES ? undefined : text;
  }

  #put(name: string, text: string | typeof VARIES): void {
    this.#texts.set(name, text !== VARIES && text.length > MAX_LENGTH ? VARIES : text);
    if (this.#texts.size <= MAX_NAMES) return;
    this.#isKnown = false;
    this.#texts.clear();
  }
}

interface KnownScope {
  revision: number;
  newest: number;
  readonly metrics: Map<string, MetricAttributes>;
}

/** Texts of attributes by scope row and metric. */
export interface ConstantTexts {
  /** Undefined for what was added meanwhile; then `isStillTrue` is false. */
  get(scope: number, metric: string): readonly string[] | undefined;
  /** False when descriptors were added meanwhile: sums that were read since may hold other texts. */
  isStillTrue(): Promise<boolean>;
}

/**
 * Knows which attributes have one value in a whole metric of a scope, as the project's id has: groups by these need no sums
 * by descriptor. Descriptors never change and their scope's revision tells when there are new ones, so only these are read.
 */
export class ConstantAttributes {
  readonly #database: SqlDatabase;
  readonly #scopes = new Map<number, KnownScope>();

  constructor(database: SqlDatabase) {
    this.#database = database;
  }

  /** Undefined when one of the attributes has several values in a metric of one of the scopes. */
  async find(
    scopes: ScopeRows,
    metrics: readonly string[] | undefined,
    names: readonly string[],
    signal: AbortSignal,
  ): Promise<ConstantTexts | undefined> {
    const revisions = await this.#revisions(scopes);
    const known = new Map<number, KnownScope>();
    for (const some of chunks([...revisions], SCOPES_PER_QUERY)) {
      signal.throwIfAborted();
      for (const [row, scope] of await this.#upToDate(some, signal)) {
        if (!isConstant(scope, metrics, names)) return undefined;
        known.set(row, scope);
      }
    }
    return {
      get: (scope, metric) => {
        const attributes = known.get(scope)?.metrics.get(metric);
        return attributes && names.map((name) => attributes.get(name)!);
      },
      isStillTrue: async () => {
        const now = await this.#revisions(scopes);
        return now.size === revisions.size && [...now].every(([row, value]) => revisions.get(row) === value);
      },
    };
  }

  async #revisions(scopes: ScopeRows): Promise<ReadonlyMap<number, number>> {
    const conditions = new Conditions();
    if (scopes !== 'all') conditions.addIn('id', scopes);
    const rows = await this.#database.query(
      `SELECT id, revision FROM ratecat_sql_scopes ${conditions.where}`,
      conditions.parameters,
    );
    return new Map(rows.map(([id, revision]) => [Number(id), Number(revision)]));
  }

  /** Each with its revision. */
  async #upToDate(
    scopes: readonly (readonly [number, number])[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<number, KnownScope>> {
    const found = new Map<number, KnownScope>();
    const outdated = new Map<number, KnownScope>();
    for (const [row, revision] of scopes) {
      const scope = this.#scopes.get(row) ?? { revision: -1, newest: -1, metrics: new Map() };
      found.set(row, scope);
      if (scope.revision !== revision) outdated.set(row, scope);
    }
    if (outdated.size > 0) await this.#readNew(outdated, signal);
    for (const [row, revision] of scopes) {
      if (outdated.has(row)) this.#remember(row, revision, outdated.get(row)!);
    }
    return found;
  }

  #remember(row: number, revision: number, scope: KnownScope): void {
    scope.revision = revision;
    if (!this.#scopes.has(row) && this.#scopes.size >= MAX_SCOPES)
      this.#scopes.delete(this.#scopes.keys().next().value!);
    this.#scopes.set(row, scope);
  }

  /** Within a scope ids ascend in the order of commits: its row is locked when they are drawn. */
  async #readNew(scopes: ReadonlyMap<number, KnownScope>, signal: AbortSignal): Promise<void> {
    const terms = [...scopes].map(() => '(d.scope = ? AND d.id > ?)').join(' OR ');
    const rows = this.#database.iterate(
      `SELECT ${DESCRIPTOR_COLUMNS}, d.scope FROM ratecat_sql_descriptors d WHERE ${terms}`,
      [...scopes].flatMap(([row, { newest }]) => [row, newest]),
      signal,
    );
    const newest = new Map<KnownScope, number>();
    for await (const found of rows) {
      const scope = scopes.get(Number(found.at(-1)))!;
      const descriptor = toDescriptor(found);
      const metric = scope.metrics.get(descriptor.metric);
      if (metric === undefined) scope.metrics.set(descriptor.metric, new MetricAttributes(descriptor));
      else metric.add(descriptor);
      newest.set(scope, Math.max(newest.get(scope) ?? -1, Number(found[0])));
    }
    // Only now: what an aborted read has seen is read again.
    for (const [scope, id] of newest) scope.newest = Math.max(scope.newest, id);
  }
}

function namesOf({ groupby, metadata }: Descriptor): readonly string[] {
  return [...groupby.names, ...metadata.names];
}

function isConstant(
  scope: KnownScope,
  metrics: readonly string[] | undefined,
  names: readonly string[],
): boolean {
  for (const [metric, attributes] of scope.metrics) {
    if (metrics !== undefined && !metrics.includes(metric)) continue;
    if (names.some((name) => attributes.get(name) === undefined)) return false;
  }
  return true;
}
