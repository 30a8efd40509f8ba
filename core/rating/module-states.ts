import { rulesChanged } from '../notifications/events.js';
import type { Outbox } from '../notifications/outbox.js';
import type { RatingModule, SqlDatabase, SqlReader, SqlTransaction } from '../plugin-api/index.js';

export interface ModuleState {
  readonly enabled: boolean;
  readonly priority: number;
}

/** Who did what to the rules of a module. */
export interface RulesChangeBy {
  readonly module: string;
  /** `state`, `import`, or the call of the API: `POST /services`. */
  readonly action: string;
  readonly author: string | undefined;
}

/** A module that nobody has spoken of. */
const NEW_STATE: ModuleState = { enabled: false, priority: 1 };

/** Counter that every change of rules, modules or scopes raises; processors look at it before each period. */
const REVISION = 'rules';

/** On/off and order of the rating modules, kept in the database so that every processor sees a change. */
export class ModuleStates {
  readonly #database: SqlDatabase;
  readonly #outbox: Outbox | undefined;

  constructor(database: SqlDatabase, outbox?: Outbox) {
    this.#database = database;
    this.#outbox = outbox;
  }

  async all(reader: SqlReader = this.#database): Promise<ReadonlyMap<string, ModuleState>> {
    const rows = await reader.query('SELECT name, enabled, priority FROM ratecat_modules');
    return new Map(
      rows.map((row) => [
        String(row[0]),
        // A stored priority of 0 reads as 1, as in the reference (spec: rating modules, state table).
        { enabled: Number(row[1]) !== 0, priority: Number(row[2]) || 1 },
      ]),
    );
  }

  async set(name: string, state: ModuleState): Promise<void> {
    await this.#database.transaction(async (tx) => {
      await writeState(tx, name, state, ['enabled', 'priority']);
      await this.changed(tx, { module: name, action: 'state', author: undefined });
    });
  }

  /**
   * Changes what is given and leaves the rest to others who change it at the same time. Nothing is written, and no processor
   * looks again, when all is so already.
   */
  async change(name: string, change: Partial<ModuleState>): Promise<void> {
    await this.#database.transaction(async (tx) => {
      await writeState(tx, name, NEW_STATE, []);
      let changed = 0;
      for (const [column, value] of [
        ['enabled', change.enabled === undefined ? undefined : Number(change.enabled)],
        // Stored 0 reads as 1.
        ['priority', change.priority === undefined ? undefined : change.priority || 1],
      ] as const) {
        if (value === undefined) continue;
        const { affected } = await tx.execute(
          `UPDATE ratecat_modules SET ${column} = ? WHERE name = ? AND ${column} <> ?`,
          [value, name, value],
        );
        changed += affected;
      }
      if (changed > 0) await this.changed(tx, { module: name, action: 'state', author: undefined });
    });
  }

  /** Gives modules that have no row yet the state of the config. */
  async addMissing(defaults: ReadonlyMap<string, ModuleState>): Promise<void> {
    await this.#database.transaction(async (tx) => {
      for (const [name, state] of defaults) await writeState(tx, name, state, []);
    });
  }

  /** Tells processors, and whoever wants to be notified, that rules or the state of a module changed. */
  async changed(tx: SqlTransaction, change: RulesChangeBy): Promise<void> {
    await raiseRevision(tx);
    if (this.#outbox?.wants('rating.rules.changed') !== true) return;
    await this.#outbox.add(tx, rulesChanged({ ...change, revision: await this.revision(tx) }));
  }

  async revision(reader: SqlReader = this.#database): Promise<number> {
    const rows = await reader.query('SELECT value FROM ratecat_revisions WHERE name = ?', [REVISION]);
    return rows[0] === undefined ? 0 : Number(rows[0][0]);
  }
}

/** What people are shown: a module that is always on ignores what is stored. */
export function shownState(module: RatingModule, stored: ModuleState | undefined): ModuleState {
  if (module.alwaysEnabled === true) return { ...NEW_STATE, enabled: true };
  return stored ?? NEW_STATE;
}

/** Tells every processor that something about the rules changed; part of the changing transaction. */
export async function raiseRevision(tx: SqlTransaction): Promise<void> {
  await tx.insertRows({
    table: 'ratecat_revisions',
    columns: ['name', 'value'],
    rows: [[REVISION, 1]],
    onConflict: { key: ['name'], addInteger: ['value'] },
  });
}

function writeState(
  tx: SqlTransaction,
  name: string,
  state: ModuleState,
  replace: readonly string[],
): Promise<void> {
  return tx.insertRows({
    table: 'ratecat_modules',
    columns: ['name', 'enabled', 'priority'],
    rows: [[name, state.enabled ? 1 : 0, state.priority]],
    onConflict: { key: ['name'], replace },
  });
}
