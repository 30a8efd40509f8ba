import type { Descriptor, SqlDatabase } from '../../../core/plugin-api/index.js';
import { Conditions, chunks } from '../../shared/sql-conditions.js';
import { DESCRIPTOR_COLUMNS, describedText, toDescriptor } from './descriptor-reader.js';
import type { ScopeRows } from './scopes.js';

/** Scopes that are remembered; of others the descriptors are read again. */
const MAX_SCOPES = 10_000;
/** Names of one metric beyond which nothing is remembered of it, and text that is worth to be remembered. */
const MAX_NAMES = 256;
const MAX_LENGTH = 256;
const SCOPES_PER_QUERY = 64;

const VARIES = Symbol('varies');

type Texts = ReadonlyMap<string, string | typeof VARIES>;

/** What an attribute is in all descriptors of one scope and metric, if it is always the same. */
export class MetricAttributes {
  readonly #texts = new Map<string, string | typeof VARIES>();
  #isKnown = true;
  #isEmpty = true;

  add(descriptor: Descriptor): void {
    this.#merge(new Map(namesOf(descriptor).map((name) => [name, describedText(descriptor, name)])));
  }

  /** Adds what `toText` said of descriptors that are gone. */
  addText(text: string): void {
    const stored = JSON.parse(text) as readonly (readonly [string, string | null])[] | null;
    if (stored !== null) this.#merge(new Map(stored.map(([name, value]) => [name, value ?? VARIES])));
    else this.#forget();
  }

  toText(): string {
    if (!this.#isKnown) return 'null';
    return JSON.stringify([...this.#texts].map(([name, text]) => [name, text === VARIES ? null : text]));
  }

  #merge(texts: Texts): void {
    const isFirst = this.#isEmpty;
    this.#isEmpty = false;
    for (const name of new Set([...this.#texts.keys(), ...texts.keys()])) {
      if (!this.#isKnown) return;
      // An absent attribute is an empty one.
      const text = texts.get(name) ?? '';
      if (isFirst) this.#put(name, text);
      else if (text !== (this.#texts.get(name) ?? '')) this.#put(name, VARIES);
    }
  }

  #forget(): void {
    this.#isEmpty = false;
    this.#isKnown = false;
    this.#texts.clear();
  }

  get(name: string): string | undefined {
    if (!this.#isKnown) return undefined;
    const text = this.#texts.get(name) ?? '';
    return text === VARIES ? undefined : text;
  }

  #put(name: string, text: string | typeof VARIES): void {
    this.#texts.set(name, text !== VARIES && text.length > MAX_LENGTH ? VARIES : text);
    if (this.#texts.size > MAX_NAMES) this.#forget();
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
      attributesOf(scope, descriptor.metric).add(descriptor);
      newest.set(scope, Math.max(newest.get(scope) ?? -1, Number(found[0])));
    }
    await this.#readDropped(scopes);
    // Only now: what an aborted read has seen is read again.
    for (const [scope, id] of newest) scope.newest = Math.max(scope.newest, id);
  }

  /** Descriptors that retention removed still say what sums of metrics consist of. Read last: each is seen here or there. */
  async #readDropped(scopes: ReadonlyMap<number, KnownScope>): Promise<void> {
    const conditions = new Conditions().addIn('scope', [...scopes.keys()]);
    const rows = await this.#database.query(
      `SELECT scope, metric, attributes FROM ratecat_sql_dropped ${conditions.where}`,
      conditions.parameters,
    );
    for (const [scope, metric, attributes] of rows)
      attributesOf(scopes.get(Number(scope))!, String(metric)).addText(String(attributes));
  }
}

function attributesOf({ metrics }: KnownScope, metric: string): MetricAttributes {
  let attributes = metrics.get(metric);
  if (attributes === undefined) {
    attributes = new MetricAttributes();
    metrics.set(metric, attributes);
  }
  return attributes;
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
