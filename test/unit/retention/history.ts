import type { Config, RetentionPolicy } from '../../../core/config/config.js';
import { migrate } from '../../../core/database/migrate.js';
import { CORE_MIGRATIONS } from '../../../core/database/migrations/core.js';
import { type ClosableDatabase, openDatabase } from '../../../core/database/open-database.js';
import {
  type Clock,
  type Period,
  type SqlDatabase,
  type SqlTransaction,
  type Storage,
  UnavailableError,
} from '../../../core/plugin-api/index.js';
import { Retention } from '../../../core/retention/retention.js';
import { ReprocessTasks } from '../../../core/scopes/reprocess-tasks.js';
import { ScopeStates } from '../../../core/scopes/scope-states.js';
import { fakeContext, utcCalendar } from '../../../core/testkit/fakes.js';
import { type SampleFrame, sampleFrame } from '../../../core/testkit/samples.js';
import sql from '../../../plugins/storage/sql/index.js';

export const never = new AbortController().signal;
export const WRITE = { fence: 1, generation: 1, snapshot: 'a'.repeat(64) };
export const EVERYTHING = { visible: 'all', begin: 0, end: 4_102_444_800 } as const;
export const PIPELINE = { source: 'openstack', fetcher: 'static', collector: 'file' };
export const FOREVER: RetentionPolicy = {
  scopes: undefined,
  metrics: undefined,
  points: Number.POSITIVE_INFINITY,
  dailySums: Number.POSITIVE_INFINITY,
  monthlySums: Number.POSITIVE_INFINITY,
};

/** Begin of a month; 0 is January 2026. */
export function month(index: number): number {
  return Date.UTC(2026, index) / 1000;
}

export function hourOf(index: number, hours = 0): number {
  return (month(index) - month(0)) / 3600 + hours;
}

/** A clock whose sleepers do not wait. */
export function clockAt(seconds: number): Clock {
  let monotonic = 0;
  return {
    now: () => seconds * 1000 + monotonic,
    monotonic: () => monotonic,
    sleep: async (milliseconds) => {
      monotonic += milliseconds;
    },
  };
}

export interface History {
  readonly database: ClosableDatabase;
  readonly storage: Storage;
  readonly states: ScopeStates;
  readonly tasks: ReprocessTasks;
  store(...samples: readonly SampleFrame[]): Promise<void>;
  /** A scope of the pipeline that is rated up to an instant. */
  rated(scope: string, watermark: number): Promise<number>;
  retention(policies: readonly Partial<RetentionPolicy>[], settings?: Settings): Retention;
  close(): Promise<void>;
}

interface Settings {
  readonly now?: number;
  readonly lookBackPeriods?: number;
  readonly storage?: Storage;
}

export async function openHistory(url = 'sqlite::memory:'): Promise<History> {
  const database = await openDatabase(url);
  await migrate(database, [
    { module: 'core', migrations: CORE_MIGRATIONS },
    { module: 'storage/sql', migrations: sql.migrations! },
  ]);
  const storage = storageOn(database);
  const states = new ScopeStates(database);
  const tasks = new ReprocessTasks(database, clockAt(month(12)));
  return {
    database,
    storage,
    states,
    tasks,
    async store(...samples) {
      for (const sample of samples) await storage.replacePeriod(sampleFrame(sample), WRITE, never);
    },
    async rated(scope, watermark) {
      await states.add(PIPELINE, [{ key: 'project_id', id: scope }], month(0));
      const [state] = await states.find({ ids: [scope] });
      await database.transaction((tx) =>
        tx.execute('UPDATE ratecat_scopes SET watermark = ? WHERE id = ?', [watermark, state!.row]),
      );
      return state!.row;
    },
    retention(policies, { now = month(12), lookBackPeriods = 0, storage: other } = {}) {
      const retention = { automatic: true, policies: policies.map((policy) => ({ ...FOREVER, ...policy })) };
      const pipelines = [{ name: PIPELINE.source, collect: { lookBackPeriods, periodSeconds: 3600 } }];
      const config = { retention, pipelines } as unknown as Config;
      const clock = clockAt(now);
      return new Retention({
        config,
        storage: other ?? storage,
        states,
        tasks,
        calendar: utcCalendar,
        clock,
      });
    },
    close: () => database.close(),
  };
}

export function storageOn(database: SqlDatabase): Storage {
  return sql.create({}, fakeContext({ database }));
}

/** Loses its connection before the statement with this number, counted over all transactions. */
export function dyingDatabase(
  database: SqlDatabase,
  after: number,
): SqlDatabase & { readonly isDead: boolean } {
  let left = after;
  const count = () => {
    if (left-- <= 0) throw new UnavailableError('RATECAT_DATABASE_UNAVAILABLE', 'killed');
  };
  return {
    dialect: database.dialect,
    get isDead() {
      return left < 0;
    },
    query(text, parameters) {
      count();
      return database.query(text, parameters);
    },
    async *iterate(text, parameters, signal) {
      count();
      yield* database.iterate(text, parameters, signal);
    },
    transaction: (work, signal) =>
      database.transaction((tx) => {
        const dying: SqlTransaction = {
          dialect: tx.dialect,
          query: async (text, parameters) => {
            count();
            return tx.query(text, parameters);
          },
          execute: async (text, parameters) => {
            count();
            return tx.execute(text, parameters);
          },
          insertRows: async (insert) => {
            count();
            return tx.insertRows(insert);
          },
        };
        return work(dying);
      }, signal),
  };
}

/** Every sum that is kept when all points before an instant are gone, as text. */
export async function keptSums(storage: Storage, range: Period = EVERYTHING): Promise<string> {
  const groups = [
    [{ kind: 'scope' }, { kind: 'type' }, { kind: 'time', unit: 'day' }],
    [{ kind: 'type' }, { kind: 'time', unit: 'month' }],
    [],
  ] as const;
  const answers: unknown[] = [];
  for (const groupby of groups) {
    const { rows } = await storage.total({ ...EVERYTHING, ...range, groupby }, never);
    answers.push(rows.map((row) => [row.group, row.quantity.toString(), row.price.toString(), row.points]));
  }
  return JSON.stringify(answers);
}

export async function count(database: SqlDatabase, table: string, where = '1 = 1'): Promise<number> {
  const rows = await database.query(`SELECT COUNT(*) FROM ${table} WHERE ${where}`);
  return Number(rows[0]![0]);
}
