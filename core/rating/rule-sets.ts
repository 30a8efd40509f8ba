import { createHash } from 'node:crypto';
import {
  type Clock,
  type CompiledRating,
  compareText,
  type JsonValue,
  type RatingModule,
  type Scope,
  type SqlDatabase,
} from '../plugin-api/index.js';
import { type Bound, unbounded } from './bound.js';
import type { ModuleStates } from './module-states.js';

export interface LoadedModule {
  readonly name: string;
  readonly module: RatingModule;
}

/** One enabled module of a snapshot, in rating order. */
interface SnapshotModule {
  readonly name: string;
  readonly priority: number;
  readonly rules: JsonValue;
}

/** What decides prices besides the rules: metrics file, expressions, plugin versions of a pipeline. */
export interface PipelineRules {
  readonly source: string;
  readonly content: JsonValue;
}

/** What a period is rated with: immutable, named by the hash of its content. */
export interface RuleSnapshot {
  readonly hash: string;
  readonly pipeline: JsonValue;
  readonly modules: readonly SnapshotModule[];
}

/** A compiled module of a snapshot for one scope. */
export interface CompiledModule {
  readonly name: string;
  readonly rating: CompiledRating;
}

/** Scopes whose compiled rules are kept; compiling again costs milliseconds. */
const COMPILED_SCOPES = 256;

/**
 * Loads rules as snapshots and compiles them per scope. A counter in the database says when to look again; loading takes a
 * constant number of queries.
 */
export class RuleSets {
  readonly #database: SqlDatabase;
  readonly #states: ModuleStates;
  readonly #modules: readonly LoadedModule[];
  readonly #clock: Clock;
  readonly #bound: Bound;
  #revision: number | undefined;
  readonly #current = new Map<string, RuleSnapshot>();
  readonly #compiled = new Map<string, readonly CompiledModule[]>();

  /** @param bound ends the wait for a module that does not give its rules. */
  constructor(
    database: SqlDatabase,
    states: ModuleStates,
    modules: readonly LoadedModule[],
    clock: Clock,
    bound: Bound = unbounded,
  ) {
    this.#database = database;
    this.#states = states;
    this.#modules = modules;
    this.#clock = clock;
    this.#bound = bound;
  }

  get modules(): readonly LoadedModule[] {
    return this.#modules;
  }

  /** The snapshot in force now, stored in the database before it is given out. */
  async current(pipeline: PipelineRules, signal: AbortSignal): Promise<RuleSnapshot> {
    const revision = await this.#states.revision();
    if (revision !== this.#revision) this.#current.clear();
    // A change after this read raises the counter again, so the older number leads to another look.
    this.#revision = revision;
    const known = this.#current.get(pipeline.source);
    if (known !== undefined) return known;
    const snapshot = makeSnapshot(pipeline.content, await this.#load(signal));
    await this.#store(snapshot);
    if (this.#revision === revision) this.#current.set(pipeline.source, snapshot);
    return snapshot;
  }

  /** Compiled modules of a snapshot for a scope; undefined scope for quotes. */
  compile(snapshot: RuleSnapshot, scope: Scope | undefined): readonly CompiledModule[] {
    const key = `${snapshot.hash}${scope === undefined ? '' : JSON.stringify([scope.key, scope.id])}`;
    const known = this.#compiled.get(key);
    const compiled = known ?? this.compileFresh(snapshot, scope);
    this.#compiled.delete(key);
    this.#compiled.set(key, compiled);
    if (this.#compiled.size > COMPILED_SCOPES) this.#compiled.delete(this.#compiled.keys().next().value!);
    return compiled;
  }

  /** As `compile`, without the cache: for snapshots of the past. */
  compileFresh(snapshot: RuleSnapshot, scope: Scope | undefined): readonly CompiledModule[] {
    return snapshot.modules.map(({ name, rules }) => {
      const loaded = this.#modules.find((module) => module.name === name);
      if (loaded === undefined) throw new Error(`rating module '${name}' of the snapshot is not loaded`);
      return { name, rating: loaded.module.compile(rules, scope) };
    });
  }

  /** A snapshot of the past; undefined when it was never stored. */
  async byHash(hash: string): Promise<RuleSnapshot | undefined> {
    const rows = await this.#database.query('SELECT content FROM ratecat_snapshots WHERE hash = ?', [hash]);
    if (rows[0] === undefined) return undefined;
    const content = JSON.parse(String(rows[0][0])) as Omit<RuleSnapshot, 'hash'>;
    return { hash, ...content };
  }

  async #load(signal: AbortSignal): Promise<readonly SnapshotModule[]> {
    const states = await this.#states.all();
    const modules: SnapshotModule[] = [];
    for (const { name, module } of this.#modules) {
      const state = states.get(name);
      const enabled = module.alwaysEnabled === true || state?.enabled === true;
      if (!enabled) continue;
      const rules = await this.#rulesOf(name, module, signal);
      modules.push({ name, priority: module.alwaysEnabled === true ? 1 : (state?.priority ?? 1), rules });
    }
    return modules;
  }

  async #rulesOf(name: string, module: RatingModule, signal: AbortSignal): Promise<JsonValue> {
    if (module.loadRules === undefined) return null;
    const load = async (limited: AbortSignal) => module.loadRules!(this.#database, limited);
    return this.#bound(`Rating module '${name}'`, signal, load);
  }

  async #store(snapshot: RuleSnapshot): Promise<void> {
    const content = JSON.stringify({ pipeline: snapshot.pipeline, modules: snapshot.modules });
    await this.#database.transaction((tx) =>
      tx.insertRows({
        table: 'ratecat_snapshots',
        columns: ['hash', 'created_at', 'content'],
        rows: [[snapshot.hash, Math.floor(this.#clock.now() / 1000), content]],
        onConflict: { key: ['hash'] },
      }),
    );
  }
}

/** Puts modules into rating order: highest priority first, ties in the order of their names. */
export function makeSnapshot(pipeline: JsonValue, modules: readonly SnapshotModule[]): RuleSnapshot {
  const ordered = [...modules].sort((a, b) => b.priority - a.priority || compareText(a.name, b.name));
  const hash = createHash('sha256')
    .update(JSON.stringify({ pipeline, modules: ordered }))
    .digest('hex');
  return { hash, pipeline, modules: ordered };
}
