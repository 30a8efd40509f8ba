import { setMaxListeners } from 'node:events';
import { setImmediate as turn } from 'node:timers/promises';
import { migrate } from '../../core/database/migrate.js';
import { CORE_MIGRATIONS } from '../../core/database/migrations/core.js';
import { type ClosableDatabase, openDatabase } from '../../core/database/open-database.js';
import {
  type Clock,
  type Collected,
  type Collector,
  type CollectRequest,
  type CompiledRating,
  DataError,
  Decimal,
  type Fetcher,
  type Frame,
  isRatecatError,
  type Migration,
  type RatedPoint,
  type RatingModule,
  type Scope,
  type SqlDatabase,
  type SqlTransaction,
  type Storage,
  UnavailableError,
} from '../../core/plugin-api/index.js';
import { metricFacts } from '../../core/processing/descriptor-dictionary.js';
import { dueAt, type PeriodRule } from '../../core/processing/due-periods.js';
import { PeriodProcessor } from '../../core/processing/period-processor.js';
import type { Pipeline } from '../../core/processing/pipeline.js';
import { PipelineProcessor } from '../../core/processing/pipeline-processor.js';
import { noMetrics } from '../../core/processing/processing-metrics.js';
import { Reprocessor } from '../../core/processing/reprocessor.js';
import { ScopeWorker } from '../../core/processing/scope-worker.js';
import { periodSchedule } from '../../core/processing/tick-schedule.js';
import { boundedBy } from '../../core/processing/time-limit.js';
import { TrustedTime } from '../../core/processing/trusted-time.js';
import { ModuleStates, raiseRevision } from '../../core/rating/module-states.js';
import { RuleSets } from '../../core/rating/rule-sets.js';
import { Leases } from '../../core/scopes/leases.js';
import { type ReprocessTask, ReprocessTasks } from '../../core/scopes/reprocess-tasks.js';
import { type ScopeState, ScopeStates } from '../../core/scopes/scope-states.js';
import { fakeContext, RecordingLogger, utcCalendar, VirtualClock } from '../../core/testkit/fakes.js';
import sql from '../../plugins/storage/sql/index.js';
import { METRICS, pointLine, Truth, violation } from './model.js';
import { SeededRandom } from './seeded-random.js';

export interface WorldOptions {
  readonly seed: number;
  readonly scopes: number;
  readonly processors: number;
  readonly hours: number;
  /** 0: nothing goes wrong; 1: as wrong as it gets. */
  readonly faults: number;
  /** Scopes whose collection always fails. */
  readonly broken?: readonly string[];
  readonly periodSeconds?: number;
  readonly collectAhead?: number;
  readonly lookBack?: number;
  /** Takes the place of the true usage where it answers. */
  readonly collect?: (request: CollectRequest, world: World) => Collected | undefined;
  /** Takes the place of the scopes of the seed. */
  readonly listed?: (world: World) => readonly Scope[];
  readonly earliest?: number;
  readonly compat?: PeriodRule['compat'];
  /** Takes the place of the module that prices every unit alike. */
  readonly rating?: RatingModule;
  /** Fails one await: the n-th guarded call of the first processor. */
  readonly failAt?: { readonly call: number; readonly how: Failure };
}

export type Failure = 'error' | 'hang' | 'crash' | 'crash-after';

const START = Date.UTC(2026, 2, 1);
const SIM_MIGRATION: Migration = {
  name: '0001-sim',
  statements: (dialect) => [
    `CREATE TABLE IF NOT EXISTS ratecat_sim_rules (id ${dialect.autoId}, rate ${dialect.decimal} NOT NULL) ${dialect.tableOptions()}`,
  ],
};

/** Thrown inside a transaction of a processor that was killed: the engine rolls back, the processor never hears of it. */
class Killed extends Error {}

const never = new Promise<never>(() => undefined);
const forEver = new AbortController().signal;
// Who sleeps on it when its world ends stays there.
setMaxListeners(0, forEver);

/** Price per unit is the newest row of a table, so that rule edits are visible in prices. */
export const simRating: RatingModule = {
  description: 'one price per unit',
  hotConfig: true,
  async loadRules(database) {
    const rows = await database.query('SELECT rate FROM ratecat_sim_rules ORDER BY id DESC LIMIT 1');
    return { rate: String(rows[0]?.[0] ?? '1') };
  },
  compile(rules): CompiledRating {
    const rate = Decimal.parse((rules as { rate: string }).rate);
    return {
      rate: (frame: Frame<RatedPoint>) => ({
        ...frame,
        points: frame.points.map((point) => ({ ...point, price: point.quantity.times(rate).round() })),
      }),
    };
  },
};

/** Several processors on one database and one virtual clock, with everything that may go wrong drawn from a seed. */
export class World {
  readonly options: WorldOptions;
  readonly clock = new VirtualClock(START);
  readonly truth: Truth;
  readonly random: SeededRandom;
  readonly logger = new RecordingLogger();
  readonly scopes: readonly Scope[];
  readonly database: ClosableDatabase;
  readonly storage: Storage;
  readonly states: ScopeStates;
  readonly tasks: ReprocessTasks;
  readonly periods: PeriodRule;
  readonly processors: SimulatedProcessor[] = [];
  readonly #watermarks = new Map<number, number>();
  readonly #rates = new Map<string, Decimal>();
  /** Every price there ever was, in order. */
  readonly #prices = ['1'];
  /** Number of the price that held when a task was ordered. */
  readonly #priceAtOrder = new Map<number, number>();
  /** Snapshots that periods were first rated with, by scope and begin. */
  readonly #firstSnapshots = new Map<string, string>();
  /** Engine calls under way: virtual time stands still until they are done. */
  pending = 0;
  dirty = false;
  faultsOn = true;
  step = 0;
  faultsFired = 0;

  private constructor(options: WorldOptions, database: ClosableDatabase) {
    this.options = options;
    this.database = database;
    this.truth = new Truth(options.seed);
    this.random = new SeededRandom(options.seed);
    this.scopes = Array.from({ length: options.scopes }, (_, index) => ({
      key: 'project_id',
      id: `scope-${index}`,
    }));
    const { periodSeconds = 3600, compat = 'fixed' } = options;
    this.periods = { periodSeconds, waitPeriods: 2, compat };
    this.states = new ScopeStates(database);
    this.tasks = new ReprocessTasks(database, this.clock);
    this.storage = newStorage(database);
  }

  static async create(options: WorldOptions): Promise<World> {
    const database = await openDatabase('sqlite::memory:');
    await migrate(database, [
      { module: 'core', migrations: CORE_MIGRATIONS },
      { module: 'sql', migrations: sql.migrations ?? [] },
      { module: 'sim', migrations: [SIM_MIGRATION] },
    ]);
    await new ModuleStates(database).set('sim', { enabled: true, priority: 1 });
    return new World(options, database);
  }

  get now(): number {
    return Math.floor(this.clock.now() / 1000);
  }

  /** Runs until `hours` have passed, then heals everything and runs until nothing is due. */
  async run(): Promise<void> {
    for (let index = 0; index < this.options.processors; index++) this.startProcessor(index);
    const end = this.clock.monotonic() + this.options.hours * 3_600_000;
    await this.runUntil(end);
    this.faultsOn = false;
    for (const processor of this.processors) {
      processor.wallOffset = 0;
      if (processor.dead) this.startProcessor(processor.index);
    }
    // Retries wait up to 15 minutes, doubtful clocks ten, dead leases one; six hours heal everything.
    await this.runUntil(end + 6 * 3_600_000);
    await this.checkEverything();
    await this.close();
  }

  async runUntil(monotonic: number): Promise<void> {
    for (;;) {
      await this.settle();
      if (this.dirty) await this.checkTouched();
      this.step++;
      if (!this.clock.wakeNext(monotonic)) return;
      if (this.faultsOn) await this.#maybeDisturb();
    }
  }

  /** Waits until every processor sleeps on the virtual clock. */
  async settle(): Promise<void> {
    do {
      await turn();
      await turn();
    } while (this.pending > 0);
  }

  startProcessor(index: number): SimulatedProcessor {
    const processor = new SimulatedProcessor(this, index);
    this.processors[index] = processor;
    processor.start();
    return processor;
  }

  async close(): Promise<void> {
    for (const processor of this.processors) processor.stop();
    await this.settle();
    await this.database.close();
  }

  async #maybeDisturb(): Promise<void> {
    const { faults } = this.options;
    if (this.random.chance(0.002 * faults)) await this.editRules();
    if (this.random.chance(0.003 * faults)) {
      if (this.random.chance(0.5)) await this.editRules();
      await this.orderAnything();
    }
    for (const processor of this.processors) {
      if (processor.dead && this.random.chance(0.02)) this.startProcessor(processor.index);
      if (this.random.chance(0.0005 * faults)) {
        const jumps = [1000, -1000, 3_600_000, -3_600_000, 31_536_000_000, -31_536_000_000];
        processor.wallOffset = jumps[this.random.below(jumps.length)]!;
        processor.clockHealsAt = this.clock.monotonic() + 1000 * this.random.below(500);
        this.faultsFired++;
      }
      // A process that stands still longer than its lease, as after SIGSTOP, and then goes on where it was.
      if (this.random.chance(0.003 * faults)) {
        processor.pausedUntil = this.clock.monotonic() + 1000 * (60 + this.random.below(400));
        this.faultsFired++;
      }
    }
  }

  async editRules(): Promise<void> {
    const rate = `0.${1 + this.random.below(99_999)}`;
    this.#prices.push(Decimal.parse(rate).toString());
    await this.database.transaction(async (tx) => {
      await tx.execute('INSERT INTO ratecat_sim_rules (rate) VALUES (?)', [rate]);
      await raiseRevision(tx);
    });
  }

  /** Orders any window of any scope to be rated anew; one that is refused changes nothing. */
  async orderAnything(): Promise<void> {
    const states = await this.states.list();
    const state = states[this.random.below(Math.max(1, states.length))];
    const { periodSeconds } = this.periods;
    const begin = START / 1000 + periodSeconds * this.random.below(30);
    const end = begin + periodSeconds * this.random.below(12);
    if (state?.watermark === undefined || end > state.watermark) return;
    try {
      await this.order(state.row, begin, end);
    } catch (error) {
      if (!isRatecatError(error) || error.code !== 'RATECAT_REPROCESS_OVERLAP') throw error;
    }
  }

  async order(row: number, begin: number, end: number): Promise<void> {
    await this.tasks.create([{ row, begin, end, reason: 'new price', author: 'operator' }]);
    const newest = { order: 'desc', offset: 0, limit: 1 } as const;
    this.#priceAtOrder.set((await this.tasks.list(newest))[0]!.id, this.#prices.length - 1);
  }

  /** Accepted orders to rate a window anew. */
  get orders(): number {
    return this.#priceAtOrder.size;
  }

  /** After an operator's order to go back, the watermark starts anew. */
  forgetWatermarks(): void {
    this.#watermarks.clear();
    this.#firstSnapshots.clear();
  }

  /** After an order that leaves a hole, only what comes after it is checked. */
  goOnFrom(row: number, watermark: number): void {
    this.#watermarks.set(row, watermark);
  }

  /** P1, P2, P5 for the scopes that were written since the last look. */
  async checkTouched(): Promise<void> {
    this.dirty = false;
    for (const state of await this.states.list()) {
      const before = this.#watermarks.get(state.row);
      if (state.watermark === undefined) {
        if (before !== undefined) this.#fail(`watermark of ${state.scope.id} was lost`);
        continue;
      }
      if (before !== undefined && state.watermark < before)
        this.#fail(`watermark of ${state.scope.id} moved back`);
      const from = before ?? START / 1000;
      // The reference, and so `strict`, rates the first period of a scope as soon as it has begun.
      const present = this.periods.compat === 'strict' ? this.now + this.periods.periodSeconds : this.now;
      if (state.watermark > present) this.#fail(`${state.scope.id} is rated beyond the present`);
      this.#watermarks.set(state.row, state.watermark);
      if (state.watermark > from) await this.#checkPeriods(state.scope, from, state.watermark);
    }
  }

  /** P1–P3 for every scope over its whole life. */
  async checkEverything(): Promise<void> {
    const states = await this.states.list();
    for (const scope of this.scopes) {
      const state = states.find((candidate) => candidate.scope.id === scope.id);
      if (state?.watermark === undefined) return this.#fail(`${scope.id} was never rated`);
      if (this.options.broken?.includes(scope.id)) {
        if (state.condition !== 'stuck') this.#fail(`${scope.id} fails for ever and is not stuck`);
        continue;
      }
      await this.#checkWrites(scope, state.commitSequence);
      const periods = (state.watermark - START / 1000) / this.periods.periodSeconds;
      const again = await this.#checkTasks(state);
      if (state.commitSequence !== periods + again) {
        this.#fail(
          `${scope.id}: ${state.commitSequence} commits made ${periods} periods, ${again} of them twice`,
        );
      }
      if (dueAt(state.watermark, this.periods) <= this.now - 1) {
        this.#fail(
          `${scope.id} stopped at ${new Date(state.watermark * 1000).toISOString()}: ${state.reason}`,
        );
      }
      await this.#checkPeriods(scope, START / 1000, state.watermark);
      await this.#checkSums(scope, state.watermark);
    }
  }

  async #checkPeriods(scope: Scope, begin: number, end: number): Promise<void> {
    let expected = begin;
    const query = { visible: [{ key: scope.key, id: scope.id }], begin, end };
    for await (const frame of this.storage.readPeriods(query, new AbortController().signal)) {
      if (frame.period.begin !== expected) {
        this.#fail(`${scope.id}: expected period ${expected}, found ${frame.period.begin}`);
      }
      expected = frame.period.end;
      if (this.options.collect !== undefined) continue;
      const rate = await this.#rateOf(frame.snapshot);
      const key = `${scope.id}/${frame.period.begin}`;
      if (!this.#firstSnapshots.has(key)) this.#firstSnapshots.set(key, frame.snapshot);
      const lines = frame.points
        .map(({ descriptor, quantity, price }) =>
          pointLine(descriptor.metric, descriptor.groupby, descriptor.metadata, quantity, price),
        )
        .sort();
      const wanted = this.truth.expectedLines(scope.id, frame.period, rate);
      if (lines.join('\n') !== wanted.join('\n')) {
        this.#fail(
          `${scope.id}, period ${frame.period.begin}: stored\n${lines.join('\n')}\nexpected\n${wanted.join('\n')}`,
        );
      }
    }
    if (expected !== end) this.#fail(`${scope.id}: periods end at ${expected}, the watermark is ${end}`);
  }

  /**
   * P7: every task is finished, has rated each period of its window exactly once, by a price that is not older than the order;
   * periods that no task asked for are as they were. Gives how many periods were rated again.
   */
  async #checkTasks({ row, scope }: ScopeState): Promise<number> {
    const everything = { scopeIds: [scope.id], order: 'asc', offset: 0, limit: 10_000 } as const;
    const tasks = await this.tasks.list(everything);
    let total = 0;
    for (const { id, begin, end, current } of tasks) {
      if (current !== end) this.#fail(`task ${id} of ${scope.id} stopped at ${current}`);
      const audit = await this.database.query(
        `SELECT detail FROM ratecat_audit WHERE scope = ? AND action = 'period.re-rated' AND detail LIKE ?`,
        [row, `%reprocessing task ${id} %`],
      );
      const periods = (end - begin) / this.periods.periodSeconds;
      const distinct = new Set(audit.map(([detail]) => detail)).size;
      if (distinct !== periods || audit.length !== periods) {
        this.#fail(`task ${id}: ${audit.length} commits rated ${distinct} of ${periods} periods again`);
      }
      total += periods;
    }
    if (this.options.collect === undefined) await this.#checkPrices(scope, tasks);
    return total;
  }

  async #checkPrices(scope: Scope, tasks: readonly ReprocessTask[]): Promise<void> {
    const query = { visible: [{ key: scope.key, id: scope.id }], begin: START / 1000, end: this.now };
    for await (const { period, snapshot } of this.storage.readPeriods(query, forEver)) {
      const asked = tasks.filter(({ begin, end }) => begin <= period.begin && period.begin < end);
      const what = `${scope.id}, period ${period.begin}`;
      if (asked.length === 0) {
        const first = this.#firstSnapshots.get(`${scope.id}/${period.begin}`);
        if (first !== snapshot) this.#fail(`${what} was rated again, and nobody had asked for it`);
      }
      const price = this.#prices.lastIndexOf((await this.#rateOf(snapshot)).toString());
      for (const { id } of asked) {
        const oldest = this.#priceAtOrder.get(id)!;
        if (price < oldest) this.#fail(`${what} has price ${price}, task ${id} was ordered under ${oldest}`);
      }
    }
  }

  /** P6: no frame is written but by the commit that moves the watermark. */
  async #checkWrites(scope: Scope, commits: number): Promise<void> {
    const rows = await this.database.query('SELECT writes FROM ratecat_sql_scopes WHERE scope_id = ?', [
      scope.id,
    ]);
    if (Number(rows[0]?.[0]) !== commits) {
      this.#fail(`${scope.id}: ${String(rows[0]?.[0])} frames were written by ${commits} commits`);
    }
  }

  async #checkSums(scope: Scope, end: number): Promise<void> {
    const signal = new AbortController().signal;
    const query = { visible: [{ key: scope.key, id: scope.id }], begin: START / 1000, end };
    let quantity = Decimal.ZERO;
    let price = Decimal.ZERO;
    for await (const frame of this.storage.readPeriods(query, signal)) {
      for (const point of frame.points) {
        quantity = quantity.plus(point.quantity);
        price = price.plus(point.price);
      }
    }
    for (const unit of ['period', 'day', 'month'] as const) {
      const { rows } = await this.storage.total({ ...query, groupby: [{ kind: 'time', unit }] }, signal);
      const total = rows.reduce((sum, row) => sum.plus(row.price), Decimal.ZERO);
      const amount = rows.reduce((sum, row) => sum.plus(row.quantity), Decimal.ZERO);
      if (!total.equals(price) || !amount.equals(quantity)) {
        this.#fail(`${scope.id}: sums by ${unit} give ${total}, the rows ${price}`);
      }
    }
  }

  async #rateOf(snapshot: string): Promise<Decimal> {
    const known = this.#rates.get(snapshot);
    if (known !== undefined) return known;
    const rows = await this.database.query('SELECT content FROM ratecat_snapshots WHERE hash = ?', [
      snapshot,
    ]);
    const content = JSON.parse(String(rows[0]?.[0])) as { modules: readonly { rules: { rate: string } }[] };
    const rate = Decimal.parse(content.modules[0]!.rules.rate);
    this.#rates.set(snapshot, rate);
    return rate;
  }

  #fail(text: string): never {
    return violation(this.options.seed, this.step, text);
  }
}

function newStorage(database: SqlDatabase): Storage {
  return sql.create({} as never, fakeContext({ database, calendar: utcCalendar }));
}

/** One daemon: the real processing code, with every call to the outside guarded by the seed. */
export class SimulatedProcessor {
  readonly index: number;
  readonly #world: World;
  readonly #stop = new AbortController();
  dead = false;
  wallOffset = 0;
  clockHealsAt = Number.POSITIVE_INFINITY;
  pausedUntil = 0;
  calls = 0;
  finished: Promise<void> | undefined;

  constructor(world: World, index: number) {
    this.#world = world;
    this.index = index;
  }

  start(): void {
    this.finished = this.#build().run(this.#stop.signal);
  }

  stop(): void {
    this.#stop.abort(new Error('stopping'));
  }

  kill(): void {
    this.dead = true;
    this.#world.faultsFired++;
  }

  #build(): PipelineProcessor {
    const world = this.#world;
    const database = this.#guardedDatabase(world.database);
    const clock = this.#clock();
    const pipeline = this.#pipeline();
    // Each daemon has caches of its own.
    const storage = newStorage(database);
    const states = new ScopeStates(database);
    const leases = new Leases(
      database,
      clock,
      `p${this.index}-${world.step}`,
      pipeline.settings.leaseSeconds,
    );
    const rules = new RuleSets(
      database,
      new ModuleStates(database),
      [{ name: 'sim', module: world.options.rating ?? simRating }],
      clock,
      boundedBy(pipeline.settings.metricTimeoutMs, clock),
    );
    const time = new TrustedTime(clock, world.logger);
    const tasks = new ReprocessTasks(database, clock);
    const periods = new PeriodProcessor(pipeline, rules, database, storage, clock);
    const random = () => world.random.next();
    const { logger } = world;
    const worker = new ScopeWorker({
      pipeline,
      periods,
      reprocessor: new Reprocessor({ pipeline, periods, tasks, storage, clock, logger, random }),
      states,
      leases,
      database,
      clock,
      time,
      calendar: utcCalendar,
      logger,
      metrics: noMetrics,
      random,
    });
    return new PipelineProcessor({
      pipeline,
      worker,
      states,
      tasks,
      leases,
      schedule: periodSchedule(pipeline.settings.periods.periodSeconds),
      clock,
      time,
      logger,
      metrics: noMetrics,
      // Looking every half minute of two days would be most of what a run does.
      lookForTasksMs: 1_200_000,
    });
  }

  #pipeline(): Pipeline {
    const world = this.#world;
    return {
      source: 'sim',
      scopeKey: 'project_id',
      fetcherName: 'sim',
      collectorName: 'sim',
      fetcher: this.#fetcher(),
      collector: this.#collector(),
      metrics: METRICS.map((name) => ({
        metric: {
          name,
          ratedName: name,
          unit: 'unit',
          groupby: ['project_id', 'id'],
          metadata: ['flavor'],
          description: undefined,
          options: {},
        },
        facts: metricFacts(name, 'unit', undefined),
        convert: (value) => value,
        skip: undefined,
      })),
      settings: {
        periods: world.periods,
        start: START / 1000,
        concurrentScopes: 2,
        concurrentMetrics: 4,
        metricTimeoutMs: 300_000,
        collectAhead: world.options.collectAhead ?? 3,
        maxPointsAhead: 1000,
        lookBack: world.options.lookBack ?? 0,
        leaseSeconds: 60,
        retry: { firstSeconds: 5, maxSeconds: 900, stuckAfter: 5 },
        maxShrink: 0.5,
      },
      rules: { source: 'sim', content: {} },
    };
  }

  #fetcher(): Fetcher {
    const world = this.#world;
    return {
      fetchScopes: (signal) =>
        this.#guard(signal, async () => {
          if (world.options.listed !== undefined) return world.options.listed(world);
          if (this.#fault(0.03)) throw new UnavailableError('RATECAT_SIMULATED', 'the fetcher is down');
          // A source that lost its memory for a moment: an answer not to be believed.
          if (world.scopes.length > 1 && this.#fault(0.02)) return [];
          return world.scopes;
        }),
    };
  }

  #collector(): Collector {
    const world = this.#world;
    return {
      ...this.#earliest(),
      metricOptions: { '~standard': { version: 1, vendor: 'sim', validate: (value) => ({ value }) } },
      collect: (request, signal) =>
        this.#guard(signal, async () => {
          const instead = world.options.collect?.(request, world);
          if (instead !== undefined) return instead;
          if (world.options.broken?.includes(request.scope.id)) {
            throw new UnavailableError('RATECAT_SIMULATED', 'always down');
          }
          if (this.#fault(0.04)) throw new UnavailableError('RATECAT_SIMULATED', 'the collector is down');
          if (this.#fault(0.004)) throw new DataError('RATECAT_SIMULATED', 'the collector answered NaN');
          if (this.#fault(0.01)) return hang(signal);
          if (this.#fault(0.05)) await world.clock.sleep(1000 * world.random.below(200), signal);
          return this.#measure(request);
        }),
    };
  }

  #earliest(): Pick<Collector, 'earliest'> {
    const { earliest } = this.#world.options;
    return earliest === undefined ? {} : { earliest: async () => earliest };
  }

  #measure({ metric, scope, period }: CollectRequest): Collected {
    const samples = this.#world.truth.samples(scope.id, metric.name, period);
    // A period that is not over has not been used to its end: half the truth.
    const known = period.end > this.#world.now ? samples.slice(1) : samples;
    return known.length === 0 ? { kind: 'nothing' } : { kind: 'measured', samples: known };
  }

  #clock(): Clock {
    const { clock } = this.#world;
    return {
      now: () => {
        if (clock.monotonic() >= this.clockHealsAt) this.wallOffset = 0;
        return clock.now() + this.wallOffset;
      },
      monotonic: () => clock.monotonic(),
      sleep: async (milliseconds, signal) => {
        if (this.dead) return never;
        await clock.sleep(milliseconds, signal);
        await this.#standStill();
      },
    };
  }

  async #standStill(): Promise<void> {
    const { clock } = this.#world;
    while (clock.monotonic() < this.pausedUntil) {
      await clock.sleep(this.pausedUntil - clock.monotonic(), forEver);
    }
  }

  #guardedDatabase(real: SqlDatabase): SqlDatabase {
    const world = this.#world;
    const refuse = () => {
      if (this.#fault(0.002))
        throw new UnavailableError('RATECAT_DATABASE_UNAVAILABLE', 'the database is down');
    };
    return {
      dialect: real.dialect,
      query: (text, parameters) =>
        this.#guard(undefined, async () => {
          refuse();
          return await real.query(text, parameters);
        }),
      transaction: async (work) => {
        // The worst moment to stand still: everything is ready to be written.
        if (this.#fault(0.01))
          this.pausedUntil = world.clock.monotonic() + 1000 * (60 + world.random.below(400));
        return this.#guard(undefined, async () => {
          refuse();
          const fate = this.#fault(0.003)
            ? world.random.chance(0.5)
              ? 'lost before'
              : 'lost after'
            : 'kept';
          world.dirty = true;
          const unknown = () =>
            new UnavailableError('RATECAT_COMMIT_UNKNOWN', 'the connection broke at COMMIT');
          const result = await real.transaction(async (tx) => {
            const value = await work(this.#guardedTransaction(tx));
            if (fate === 'lost before') throw unknown();
            return value;
          });
          if (fate === 'lost after') throw unknown();
          return result;
        });
      },
      iterate: (text, parameters, signal) => real.iterate(text, parameters, signal),
    };
  }

  #guardedTransaction(real: SqlTransaction): SqlTransaction {
    const guard = async <T>(work: () => Promise<T>): Promise<T> => {
      if (this.dead) throw new Killed();
      this.#countCall(true);
      if (this.#fault(0.0005)) this.kill();
      if (this.dead) throw new Killed();
      return await work();
    };
    return {
      dialect: real.dialect,
      query: (text, parameters) => guard(() => real.query(text, parameters)),
      execute: (text, parameters) => guard(() => real.execute(text, parameters)),
      insertRows: (insert) => guard(() => real.insertRows(insert)),
    };
  }

  /** A call that leaves the process: it may fail, and the process may die before, during or after it. */
  async #guard<T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    if (this.dead) return never;
    signal?.throwIfAborted();
    const after = this.#countCall(false);
    if (this.#fault(0.0005)) this.kill();
    if (this.dead) return never;
    const engine = signal === undefined;
    await this.#standStill();
    if (engine) this.#world.pending++;
    try {
      return await work();
    } catch (error) {
      if (error instanceof Killed || this.dead) return never;
      throw error;
    } finally {
      if (engine) this.#world.pending--;
      if (after === 'crash-after' || this.#fault(0.0005)) this.kill();
      // biome-ignore lint/correctness/noUnsafeFinally: a dead process neither returns nor throws
      if (this.dead) return never;
    }
  }

  /** Lets the chosen call fail in the chosen way. */
  #countCall(inTransaction: boolean): Failure | undefined {
    const failAt = this.#world.options.failAt;
    this.calls++;
    if (failAt === undefined || this.index !== 0 || failAt.call !== this.calls || !this.#world.faultsOn)
      return undefined;
    this.#world.faultsFired++;
    if (failAt.how === 'error') throw new UnavailableError('RATECAT_SIMULATED', `call ${this.calls} fails`);
    // Inside a transaction a hanging process and a dead one look the same: the engine drops the connection.
    if (failAt.how === 'crash' || failAt.how === 'hang' || inTransaction) this.dead = true;
    return failAt.how;
  }

  #fault(probability: number): boolean {
    const { random, options, faultsOn } = this.#world;
    if (!faultsOn || options.faults === 0) return false;
    const fires = random.chance(probability * options.faults);
    if (fires) this.#world.faultsFired++;
    return fires;
  }
}

function hang(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}
