import { createHash } from 'node:crypto';
import type { Calendar, Clock, Instant, SqlDatabase, Storage } from '../plugin-api/index.js';
import type { ModuleStates } from '../rating/module-states.js';
import type { LoadedModule } from '../rating/rule-sets.js';
import { FrameBuilder, type MetricAttributes } from './frame-builder.js';
import { type FrameFiles, openFrameFiles, sizeOfFiles } from './frame-files.js';
import { FramesImport, type FramesReport } from './import-frames.js';
import { RulesImport, type RulesReport } from './import-rules.js';
import { type Frontiers, StatesImport, type StatesReport, type TargetPipeline } from './import-states.js';
import { ProgressStore } from './progress-store.js';
import { type RatedRange, RatedRows, type RatedUnit } from './rated-rows.js';
import type { SourceDatabase } from './source-database.js';
import { SourceSchema } from './source-schema.js';
import { type VerifiedGroup, verify } from './verification.js';

/** What is shown while the work goes on. */
export interface MigrationProgress {
  begin(what: 'taking over' | 'verifying', points: number, done: number): void;
  begin(what: 'reading', bytes: number, done: 0): void;
  /** By points or bytes. */
  advance(amount: number): void;
  end(): void;
}

export interface MigrationParts {
  readonly source: SourceDatabase;
  /** Files with the rated frames, where CloudKitty kept them outside its database. */
  readonly frameFiles?: readonly string[] | undefined;
  /** For what has to be put in order first. */
  readonly folder: string;
  readonly database: SqlDatabase;
  readonly storage: Storage;
  readonly calendar: Calendar;
  readonly modules: readonly LoadedModule[];
  readonly moduleStates: ModuleStates;
  readonly pipeline: TargetPipeline;
  readonly metrics: readonly MetricAttributes[];
  readonly clock: Clock;
  readonly author: string;
  readonly progress: MigrationProgress;
}

export interface MigrationOrder {
  readonly rules: boolean;
  /** Scope states, reprocessing and rated frames. */
  readonly frames: boolean;
  readonly dryRun: boolean;
  /** Of frames. */
  readonly range: RatedRange;
}

export interface MigrationReport {
  readonly rules: RulesReport | undefined;
  readonly states: StatesReport | undefined;
  /** Absent when the database has no rated frames. */
  readonly frames: Omit<FramesReport, 'stateless'> | undefined;
  /** By month, scope and metric; empty without frames. */
  readonly groups: readonly VerifiedGroup[];
}

/** Takes over what a CloudKitty database holds. The database is only read; every run may be repeated. */
export async function migrateFromCloudkitty(
  parts: MigrationParts,
  order: MigrationOrder,
  signal: AbortSignal,
): Promise<MigrationReport> {
  const schema = await SourceSchema.read(parts.source);
  const { dryRun } = order;
  const rules = order.rules ? await new RulesImport({ ...parts, schema, dryRun }).run(signal) : undefined;
  if (!order.frames) return { rules, states: undefined, frames: undefined, groups: [] };
  if (parts.frameFiles === undefined)
    return {
      rules,
      ...(await takeOverFrames(parts, order, { schema, source: parts.source, rowsOf: schema }, signal)),
    };
  const files = await readFiles(parts, parts.frameFiles, signal);
  try {
    const rowsOf = await SourceSchema.read(files.source);
    return {
      rules,
      ...(await takeOverFrames(parts, order, { schema, source: files.source, rowsOf }, signal)),
    };
  } finally {
    await files.close();
  }
}

async function readFiles(
  { pipeline, folder, progress }: MigrationParts,
  files: readonly string[],
  signal: AbortSignal,
): Promise<FrameFiles> {
  progress.begin('reading', sizeOfFiles(files), 0);
  try {
    return await openFrameFiles(
      {
        files,
        folder,
        scopeKey: pipeline.scopeKey,
        periodSeconds: pipeline.periodSeconds,
        onBytes: (bytes) => progress.advance(bytes),
      },
      signal,
    );
  } finally {
    progress.end();
  }
}

interface FramesSource {
  /** Of the database with the states. */
  readonly schema: SourceSchema;
  /** The database with the frames. */
  readonly source: SourceDatabase;
  readonly rowsOf: SourceSchema;
}

async function takeOverFrames(
  parts: MigrationParts,
  order: MigrationOrder,
  { schema, source, rowsOf }: FramesSource,
  signal: AbortSignal,
): Promise<Omit<MigrationReport, 'rules'>> {
  const { dryRun } = order;
  const rows = new RatedRows(source, rowsOf);
  const progress = new ProgressStore(originOf(parts));
  const states = new StatesImport({ ...parts, schema, rows, progress, dryRun });
  const { report, frontiers } = await states.run(signal);
  if (!rows.exists) return { states: report, frames: undefined, groups: [] };
  // How far frames were read says nothing about those of the database.
  const store = source === parts.source ? progress : new ProgressStore(originOf(parts, 'files'));
  const migration = new FramesMigration({ ...parts, rows, states, store, frontiers }, order);
  return { states: report, ...(await migration.run(signal)) };
}

function originOf({ source, pipeline }: MigrationParts, ...more: readonly string[]): string {
  return createHash('sha256')
    .update(JSON.stringify([source.identity, pipeline.source, pipeline.scopeKey, ...more]))
    .digest('hex');
}

interface FramesParts extends MigrationParts {
  readonly rows: RatedRows;
  readonly states: StatesImport;
  readonly store: ProgressStore;
  readonly frontiers: Frontiers;
}

type FramesResult = Pick<MigrationReport, 'frames' | 'groups'>;

/** Takes frames over and compares; where they differ, the months in question are taken over once more. */
class FramesMigration {
  readonly #parts: FramesParts;
  readonly #order: MigrationOrder;
  readonly #frames: FramesImport;

  constructor(parts: FramesParts, order: MigrationOrder) {
    this.#parts = parts;
    this.#order = order;
    const { pipeline, metrics, store } = parts;
    const place = { source: pipeline.source, scopeKey: pipeline.scopeKey, metrics };
    this.#frames = new FramesImport({
      ...parts,
      progress: store,
      builder: new FrameBuilder(place),
      range: order.range,
      onPoints: (points) => parts.progress.advance(points),
    });
  }

  async run(signal: AbortSignal): Promise<FramesResult> {
    if (this.#order.dryRun) return { frames: undefined, groups: await this.#verify(signal) };
    const first = (await this.#frames.isDone())
      ? NOTHING
      : await this.#takeOver(() => this.#frames.all(signal));
    await this.#addStates(first.stateless, signal);
    const groups = await this.#verify(signal);
    const wanted = differing(groups, this.#parts.calendar);
    if (wanted === undefined) return { frames: first, groups };
    const second = await this.#takeOver(() => this.#frames.again(wanted, signal));
    await this.#addStates(second.stateless, signal);
    return { frames: sum(first, second), groups: await this.#verify(signal) };
  }

  async #takeOver(work: () => Promise<FramesReport>): Promise<FramesReport> {
    const { rows, progress } = this.#parts;
    const { range } = this.#order;
    const stoppedAt = await this.#frames.stoppedAt();
    const done = stoppedAt === undefined ? 0 : await rows.count({ ...range, end: stoppedAt });
    progress.begin('taking over', await rows.count(range), done);
    try {
      return await work();
    } finally {
      progress.end();
    }
  }

  async #addStates(stateless: ReadonlyMap<string, Instant>, signal: AbortSignal): Promise<void> {
    // With an end, frames beyond it may tell that more is rated.
    if (stateless.size > 0 && this.#order.range.end === undefined)
      await this.#parts.states.addLate(stateless, signal);
  }

  async #verify(signal: AbortSignal): Promise<readonly VerifiedGroup[]> {
    const { rows, storage, calendar, pipeline, frontiers, progress } = this.#parts;
    progress.begin('verifying', await rows.count(this.#order.range), 0);
    try {
      return await verify(
        {
          rows,
          storage,
          calendar,
          frontiers,
          source: pipeline.source,
          scopeKey: pipeline.scopeKey,
          range: this.#order.range,
          onPoints: (points) => progress.advance(points),
        },
        signal,
      );
    } finally {
      progress.end();
    }
  }
}

const NOTHING: FramesReport = { periods: 0, points: 0, beyond: 0, stateless: new Map() };

function sum(first: FramesReport, second: FramesReport): FramesReport {
  return {
    periods: first.periods + second.periods,
    points: first.points + second.points,
    beyond: Math.max(first.beyond, second.beyond),
    stateless: new Map(),
  };
}

/** Tells the units of scopes and months that differ; undefined when none does. */
function differing(
  groups: readonly VerifiedGroup[],
  calendar: Calendar,
): ((unit: RatedUnit) => boolean) | undefined {
  const wanted = new Set(
    groups
      .filter(({ verdict }) => verdict === 'different')
      .map(({ scopeId, month }) => `${month} ${scopeId}`),
  );
  if (wanted.size === 0) return undefined;
  return ({ scopeId, period }) =>
    wanted.has(`${calendar.month(period.begin)} ${scopeId}`) || wanted.has(`0 ${scopeId}`);
}
