import { randomUUID } from 'node:crypto';
import {
  type Clock,
  type ConfigResponse,
  DataError,
  type Instant,
  type JsonValue,
  type RulesChange,
  type SqlDatabase,
  type SqlTransaction,
} from '../plugin-api/index.js';
import { type ModuleState, type ModuleStates, raiseRevision, shownState } from '../rating/module-states.js';
import type { LoadedModule } from '../rating/rule-sets.js';
import { readHashmap } from './hashmap-document.js';
import { readScripts, type SourceScript } from './scripts.js';
import type { SourceDatabase } from './source-database.js';
import type { SourceSchema } from './source-schema.js';

export interface RulesImportParts {
  readonly source: SourceDatabase;
  readonly schema: SourceSchema;
  readonly database: SqlDatabase;
  readonly modules: readonly LoadedModule[];
  readonly moduleStates: ModuleStates;
  readonly clock: Clock;
  /** Who is recorded where CloudKitty names nobody. */
  readonly author: string;
  readonly dryRun: boolean;
}

export interface RulesReport {
  readonly modules: readonly ModuleReport[];
  /** What somebody has to look at. */
  readonly problems: readonly string[];
}

export interface ModuleReport {
  readonly module: string;
  /** Rules or scripts that CloudKitty has. */
  readonly found: number;
  /** Deleted ones, which are left behind. */
  readonly deleted: number;
  readonly change: RulesChange;
}

const HASHMAP = 'hashmap';
const PYSCRIPTS = 'pyscripts';
const NOTHING: RulesChange = { added: 0, changed: 0, removed: 0 };

/** Takes rules over, in one transaction: they are all there, or none of them is. Rules that are only in Ratecat stay. */
export class RulesImport {
  readonly #parts: RulesImportParts;
  readonly #problems: string[] = [];

  constructor(parts: RulesImportParts) {
    this.#parts = parts;
  }

  /** @throws DataError RATECAT_MIGRATE_RULE_INVALID, and what the modules say of rules. */
  async run(signal: AbortSignal): Promise<RulesReport> {
    const modules = await this.#rules(signal);
    await this.#states();
    return { modules, problems: this.#problems };
  }

  async #rules(signal: AbortSignal): Promise<readonly ModuleReport[]> {
    const { database, dryRun } = this.#parts;
    try {
      return await database.transaction(async (tx) => {
        this.#problems.length = 0;
        const reports = [await this.#hashmap(tx), await this.#scripts(tx, signal)];
        const isChanged = reports.some(({ change }) => change.added + change.changed + change.removed > 0);
        if (dryRun || !isChanged) throw new RolledBack(reports);
        await raiseRevision(tx);
        await this.#audit(tx, reports);
        return reports;
      }, signal);
    } catch (error) {
      if (error instanceof RolledBack) return error.reports;
      throw error;
    }
  }

  async #hashmap(tx: SqlTransaction): Promise<ModuleReport> {
    const { source, schema, author, clock } = this.#parts;
    const { document, ids, rules, deleted } = await readHashmap(source, schema);
    const report = { module: HASHMAP, found: rules, deleted };
    const target = this.#module(HASHMAP, rules)?.module;
    if (target?.rulesDocument === undefined) return { ...report, change: NOTHING };
    // Contradictions are found here, not in the middle of a night.
    target.compile(target.rulesDocument.toRules(document), undefined);
    const now = seconds(clock);
    return {
      ...report,
      change: await target.rulesDocument.write(document, tx, {
        mode: 'merge',
        now,
        author,
        idOf: (path) => ids.get(path),
      }),
    };
  }

  async #scripts(tx: SqlTransaction, signal: AbortSignal): Promise<ModuleReport> {
    const { scripts, deleted } = await readScripts(this.#parts.schema);
    const report = { module: PYSCRIPTS, found: scripts.length, deleted };
    const target = this.#module(PYSCRIPTS, scripts.length);
    if (target === undefined || scripts.length === 0) return { ...report, change: NOTHING };
    const stored = await this.#call(target, tx, signal, { method: 'GET' });
    const present = new Map(storedScripts(stored).map((script) => [script.name, script]));
    let added = 0;
    for (const script of scripts) {
      const other = present.get(script.name);
      if (other === undefined) {
        await this.#addScript(target, tx, signal, script);
        added++;
      } else if (!isSame(script, other)) {
        this.#problems.push(`Ratecat has another script '${script.name}'; CloudKitty's was not taken over`);
      }
    }
    return { ...report, change: { ...NOTHING, added } };
  }

  async #addScript(
    target: LoadedModule,
    tx: SqlTransaction,
    signal: AbortSignal,
    script: SourceScript,
  ): Promise<void> {
    const { id, name, data, description, start, end } = script;
    const answer = await this.#call(target, tx, signal, {
      method: 'POST',
      body: {
        name,
        data,
        start: dateOf(start),
        ...(end === undefined ? {} : { end: dateOf(end) }),
        ...(description === undefined ? {} : { description }),
      },
      now: script.createdAt,
      userId: script.createdBy,
      id,
    });
    if (answer.status < 300) return;
    const { faultstring } = (answer.body ?? {}) as { readonly faultstring?: string };
    throw new DataError(
      'RATECAT_MIGRATE_RULE_INVALID',
      `The script '${name}' of CloudKitty was refused: ${faultstring ?? answer.status}. No rule was taken over. Correct or ` +
        'delete it in CloudKitty and start again.',
    );
  }

  /** One call of the module's configuration; who and when are CloudKitty's, so that the record stays true. */
  async #call(
    { name, module }: LoadedModule,
    tx: SqlTransaction,
    signal: AbortSignal,
    call: {
      readonly method: 'GET' | 'POST';
      readonly body?: JsonValue;
      readonly now?: Instant | undefined;
      readonly userId?: string | undefined;
      /** Of what is created, unless it is taken. */
      readonly id?: string | undefined;
    },
  ): Promise<ConfigResponse> {
    const route = module.configRoutes?.find(
      ({ method, path }) => method === call.method && path === '/scripts',
    );
    if (route === undefined) throw new Error(`the module '${name}' has no route for scripts`);
    return route.handle(
      {
        parameters: {},
        query: new Map(call.method === 'POST' ? [['force', ['true']]] : []),
        body: call.body,
        url: `/v1/rating/module_config/${name}/scripts`,
        caller: { userId: call.userId ?? this.#parts.author, projectId: undefined },
        now: call.now ?? seconds(this.#parts.clock),
        newId: firstOf(call.id),
        tx,
      },
      signal,
    );
  }

  #module(name: string, rules: number): LoadedModule | undefined {
    const found = this.#parts.modules.find((module) => module.name === name);
    if (found === undefined && rules > 0)
      this.#problems.push(
        `CloudKitty has ${rules} rules of '${name}', and the configuration has no such rating module`,
      );
    return found;
  }

  async #states(): Promise<void> {
    const { schema, modules, moduleStates, dryRun } = this.#parts;
    const table = 'modules_state';
    const rows = await schema.rows(table, ['name', 'state', schema.column(table, 'priority', '1')], 'name');
    const stored = await moduleStates.all();
    for (const [name, state, priority] of rows) {
      const wanted: ModuleState = { enabled: Number(state) !== 0, priority: Number(priority) || 1 };
      const found = modules.find((module) => module.name === name);
      if (found?.module.alwaysEnabled === true) continue;
      if (found === undefined) {
        if (wanted.enabled && !String(name).startsWith('collector_') && name !== 'noop')
          this.#problems.push(
            `the rating module '${String(name)}' is enabled in CloudKitty and not configured here`,
          );
        continue;
      }
      const { enabled, priority: present } = shownState(found.module, stored.get(found.name));
      if (enabled === wanted.enabled && present === wanted.priority) continue;
      if (!dryRun) await moduleStates.change(found.name, wanted);
    }
  }

  async #audit(tx: SqlTransaction, reports: readonly ModuleReport[]): Promise<void> {
    const parts = reports.map(
      ({ module, change }) => `${module}: ${change.added} added, ${change.changed} changed`,
    );
    await tx.execute('INSERT INTO ratecat_audit (at, scope, action, author, detail) VALUES (?, ?, ?, ?, ?)', [
      seconds(this.#parts.clock),
      null,
      'rules.migrated',
      this.#parts.author,
      parts.join('; '),
    ]);
  }
}

/** Ends a transaction that is to leave nothing behind. */
class RolledBack extends Error {
  readonly reports: readonly ModuleReport[];

  constructor(reports: readonly ModuleReport[]) {
    super('rolled back');
    this.reports = reports;
  }
}

interface StoredScript {
  readonly name: string;
  readonly data: string;
  readonly description: string | null;
  readonly start: string;
  readonly end: string | null;
}

function storedScripts({ body }: ConfigResponse): readonly StoredScript[] {
  return (body as unknown as { readonly scripts: readonly StoredScript[] }).scripts;
}

function isSame(script: SourceScript, stored: StoredScript): boolean {
  return (
    script.data === stored.data &&
    (script.description ?? null) === stored.description &&
    dateOf(script.start) === `${stored.start}Z` &&
    (script.end === undefined ? null : dateOf(script.end)) === (stored.end === null ? null : `${stored.end}Z`)
  );
}

/** The given id, then new ones. */
function firstOf(id: string | undefined): () => string {
  let first = id;
  return () => {
    const next = first ?? randomUUID();
    first = undefined;
    return next;
  };
}

function dateOf(instant: Instant): string {
  return new Date(instant * 1000).toISOString().replace('.000Z', 'Z');
}

function seconds(clock: Clock): Instant {
  return Math.floor(clock.now() / 1000);
}
