import { createHash } from 'node:crypto';
import {
  type Clock,
  ConfigError,
  type Instant,
  isRatecatError,
  type SqlDatabase,
  type SqlTransaction,
  type Storage,
  UnavailableError,
} from '../plugin-api/index.js';
import { isoTime } from '../scopes/iso-time.js';
import { ReprocessTasks } from '../scopes/reprocess-tasks.js';
import { type ScopeState, ScopeStates } from '../scopes/scope-states.js';
import type { ProgressStore } from './progress-store.js';
import type { RatedRows } from './rated-rows.js';
import { readReprocesses, readScopes, type SourceScope } from './scope-source.js';
import type { SourceSchema } from './source-schema.js';

/** The pipeline that goes on where CloudKitty stopped. */
export interface TargetPipeline {
  readonly source: string;
  readonly scopeKey: string;
  readonly fetcher: string;
  readonly collector: string;
  readonly periodSeconds: number;
}

export interface StatesImportParts {
  readonly schema: SourceSchema;
  readonly rows: RatedRows;
  readonly database: SqlDatabase;
  readonly storage: Storage;
  readonly progress: ProgressStore;
  readonly pipeline: TargetPipeline;
  readonly clock: Clock;
  readonly author: string;
  readonly dryRun: boolean;
}

export interface StatesReport {
  readonly found: number;
  readonly inactive: number;
  /** Scopes whose state was written. */
  readonly written: number;
  /** Scopes that Ratecat has rated on: their state stays. */
  readonly kept: number;
  readonly ofOtherKeys: number;
  readonly reprocesses: number;
  readonly problems: readonly string[];
}

/** Frames of a scope that begin before the instant are CloudKitty's; from there on they are Ratecat's. */
export type Frontiers = ReadonlyMap<string, Instant>;

/** What was written for a scope, and where CloudKitty's frames end. */
interface Written {
  readonly id: string;
  readonly watermark: Instant;
  readonly lastBegin: Instant;
  readonly frontier: Instant;
}

interface Plan {
  readonly scope: SourceScope;
  readonly written: Written;
  readonly state: ScopeState | undefined;
  readonly action: 'write' | 'same' | 'keep';
}

const SCOPES_PER_TRANSACTION = 500;
const END_OF_TIME = 2 ** 52;
const REASON = 'taken over from CloudKitty; rated on as soon as the fetcher lists the scope';

/**
 * Takes over how far each scope is rated, so that the pipeline goes on with the very next period. CloudKitty rates a scope only
 * while its fetcher lists it: a scope that is new here waits as `gone` until the pipeline's fetcher does.
 */
export class StatesImport {
  readonly #parts: StatesImportParts;
  readonly #states: ScopeStates;

  constructor(parts: StatesImportParts) {
    this.#parts = parts;
    this.#states = new ScopeStates(parts.database);
  }

  /** @throws ConfigError RATECAT_MIGRATE_PERIOD_DIFFERS when CloudKitty's periods have another length than the pipeline's. */
  async run(signal: AbortSignal): Promise<{ readonly report: StatesReport; readonly frontiers: Frontiers }> {
    const { schema, rows, pipeline, dryRun } = this.#parts;
    const newest = await rows.newest();
    this.#checkPeriods(newest);
    const { scopes, ofOtherKeys } = await readScopes(schema, pipeline, newest);
    const remembered = await this.#remembered();
    const plans = await this.#plan(scopes, remembered, signal);
    if (!dryRun) await this.#write(plans);
    const tasks = await this.#reprocesses();
    const count = (action: Plan['action']) => plans.filter((plan) => plan.action === action).length;
    return {
      frontiers: new Map([
        ...[...remembered.values()].map(({ id, frontier }) => [id, frontier] as const),
        ...plans.map(({ scope, written }) => [scope.id, written.frontier] as const),
      ]),
      report: {
        found: scopes.length,
        inactive: scopes.filter(({ active }) => !active).length,
        written: count('write'),
        kept: count('keep'),
        ofOtherKeys,
        ...tasks,
      },
    };
  }

  /** Scopes that nothing but their frames told of: the pipeline must not begin them anew. */
  async addLate(newest: ReadonlyMap<string, Instant>, signal: AbortSignal): Promise<void> {
    const scopes = [...newest].map(([id, lastBegin]) => ({
      id,
      lastBegin,
      active: true,
      toggledAt: undefined,
    }));
    await this.#write(await this.#plan(scopes, await this.#remembered(), signal));
  }

  /** What earlier runs wrote, by scope id. */
  async #remembered(): Promise<ReadonlyMap<string, Written>> {
    const items = await this.#parts.progress.all<Written>(this.#parts.database);
    return new Map([...items.values()].filter(({ id }) => id !== undefined).map((item) => [item.id, item]));
  }

  #checkPeriods(newest: readonly { readonly begin: Instant; readonly end: Instant }[]): void {
    const { periodSeconds, source } = this.#parts.pipeline;
    const last = newest.reduce((max, { begin }) => Math.max(max, begin), Number.NEGATIVE_INFINITY);
    const frame = newest.find(({ begin }) => begin === last);
    if (frame === undefined || frame.end - frame.begin === periodSeconds) return;
    throw new ConfigError(
      'RATECAT_MIGRATE_PERIOD_DIFFERS',
      `CloudKitty's newest period, from ${isoTime(frame.begin)}, has ${frame.end - frame.begin} s, and those of pipeline ` +
        `'${source}' have ${periodSeconds} s: usage would be rated twice or not at all. Set collect.period to ${frame.end - frame.begin}.`,
    );
  }

  async #plan(
    scopes: readonly SourceScope[],
    remembered: ReadonlyMap<string, Written>,
    signal: AbortSignal,
  ): Promise<readonly Plan[]> {
    const { pipeline } = this.#parts;
    const known = new Map(
      (await this.#states.list(pipeline.source))
        .filter(({ scope }) => scope.key === pipeline.scopeKey)
        .map((state) => [state.scope.id, state]),
    );
    const plans: Plan[] = [];
    for (const scope of scopes) {
      const before = remembered.get(scope.id);
      plans.push(await this.#planScope(scope, known.get(scope.id), before, signal));
    }
    return plans;
  }

  async #planScope(
    scope: SourceScope,
    state: ScopeState | undefined,
    before: Written | undefined,
    signal: AbortSignal,
  ): Promise<Plan> {
    const watermark = scope.lastBegin + this.#parts.pipeline.periodSeconds;
    const wanted = { id: scope.id, watermark, lastBegin: scope.lastBegin, frontier: watermark };
    if (state === undefined || isUnrated(state)) return { scope, state, written: wanted, action: 'write' };
    if (
      before !== undefined &&
      state.watermark === before.watermark &&
      state.lastBegin === before.lastBegin
    ) {
      const isSame = watermark === before.watermark && before.frontier === watermark;
      return { scope, state, written: wanted, action: isSame ? 'same' : 'write' };
    }
    const frontier = before?.frontier ?? (await this.#firstOwn(scope.id, watermark, signal));
    return { scope, state, written: { ...wanted, frontier }, action: 'keep' };
  }

  /** Begin of the first period that Ratecat has rated itself, at most `limit`. */
  async #firstOwn(id: string, limit: Instant, signal: AbortSignal): Promise<Instant> {
    const { source, scopeKey } = this.#parts.pipeline;
    const visible = [{ source, key: scopeKey, id }];
    const frames = this.#parts.storage.readPeriods({ visible, begin: 0, end: END_OF_TIME }, signal);
    for await (const frame of frames) {
      if (frame.period.begin >= limit) return limit;
      if (frame.snapshot !== '') return frame.period.begin;
    }
    return limit;
  }

  async #write(plans: readonly Plan[]): Promise<void> {
    const { database, progress } = this.#parts;
    const pending = plans.filter(({ action }) => action === 'write');
    for (let start = 0; start < pending.length; start += SCOPES_PER_TRANSACTION) {
      const some = pending.slice(start, start + SCOPES_PER_TRANSACTION);
      await database.transaction(async (tx) => {
        await this.#insert(
          tx,
          some.filter(({ state }) => state === undefined),
        );
        for (const { state, scope, written } of some)
          if (state !== undefined) await this.#move(tx, state, scope, written);
        await progress.write(tx, new Map(some.map(({ scope, written }) => [itemOf(scope.id), written])));
      });
    }
  }

  async #insert(tx: SqlTransaction, plans: readonly Plan[]): Promise<void> {
    const { pipeline, clock } = this.#parts;
    const now = Math.floor(clock.now() / 1000);
    await tx.insertRows({
      table: 'ratecat_scopes',
      columns: [
        'source',
        'scope_key',
        'scope_id',
        'fetcher',
        'collector',
        'watermark',
        'last_begin',
        'active',
        'toggled_at',
        'state',
        'reason',
        'first_seen',
        'missing_since',
      ],
      rows: plans.map(({ scope, written }) => [
        pipeline.source,
        pipeline.scopeKey,
        scope.id,
        pipeline.fetcher,
        pipeline.collector,
        written.watermark,
        written.lastBegin,
        scope.active ? 1 : 0,
        scope.toggledAt ?? now,
        'gone',
        REASON,
        now,
        now,
      ]),
    });
  }

  /** The fence is raised: who works on the scope at this moment must not write any more. */
  async #move(tx: SqlTransaction, state: ScopeState, scope: SourceScope, written: Written): Promise<void> {
    const { author, clock } = this.#parts;
    const now = Math.floor(clock.now() / 1000);
    const { affected } = await tx.execute(
      `UPDATE ratecat_scopes SET fence = fence + 1, owner = NULL, commit_seq = commit_seq + 1, watermark = ?, last_begin = ?,
       active = ?, toggled_at = ? WHERE id = ? AND commit_seq = ?`,
      [
        written.watermark,
        written.lastBegin,
        scope.active ? 1 : 0,
        scope.toggledAt ?? state.toggledAt,
        state.row,
        state.commitSequence,
      ],
    );
    if (affected !== 1) throw busy(scope.id);
    const detail = JSON.stringify({
      from: state.watermark ?? null,
      watermark: written.watermark,
      active: scope.active,
    });
    await this.#states.audit({ at: now, row: state.row, action: 'scope.migrated', author, detail }, tx);
  }

  /** Windows that CloudKitty has not rated anew yet become tasks; one that has become a task once is left alone. */
  async #reprocesses(): Promise<{ readonly reprocesses: number; readonly problems: readonly string[] }> {
    const { schema, pipeline, database, clock, author, dryRun } = this.#parts;
    const wanted = await readReprocesses(schema, pipeline.periodSeconds);
    const tasks = new ReprocessTasks(database, clock);
    const all = await tasks.list({ order: 'asc', offset: 0, limit: Number.MAX_SAFE_INTEGER });
    const known = new Set(all.map(({ scope, end, reason }) => JSON.stringify([scope.id, end, reason])));
    const states = new Map(
      (await this.#states.list(pipeline.source)).map((state) => [state.scope.id, state]),
    );
    const problems: string[] = [];
    let created = 0;
    for (const { scopeId, begin, end, reason } of wanted) {
      if (known.has(JSON.stringify([scopeId, end, reason]))) continue;
      const state = states.get(scopeId);
      if (state === undefined && !dryRun) {
        problems.push(
          `the reprocessing of scope '${scopeId}' was left out: CloudKitty has no state of the scope`,
        );
        continue;
      }
      created++;
      if (dryRun || state === undefined) continue;
      try {
        await tasks.create([{ row: state.row, begin, end, reason, author }]);
      } catch (error) {
        if (!isRatecatError(error) || error.code !== 'RATECAT_REPROCESS_OVERLAP') throw error;
        created--;
        problems.push(error.message);
      }
    }
    return { reprocesses: created, problems };
  }
}

/** Nothing was rated yet, whatever the watermark says. */
function isUnrated(state: ScopeState): boolean {
  return state.lastBegin === undefined;
}

function itemOf(scopeId: string): string {
  return createHash('sha256').update(scopeId).digest('hex');
}

function busy(scopeId: string): UnavailableError {
  return new UnavailableError(
    'RATECAT_MIGRATE_SCOPE_BUSY',
    `A processor has just rated scope '${scopeId}'; its state was not taken over. Stop the processors and start again.`,
  );
}
