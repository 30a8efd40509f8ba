import type { LoadedConfig } from '../config/load-config.js';
import { LifecycleStack } from '../daemon/lifecycle.js';
import type { DaemonLogger } from '../daemon/logger.js';
import { httpFactory } from '../loading/http-client.js';
import type { Clock, HttpFactory } from '../plugin-api/index.js';
import { scopeLag } from '../processing/scope-lag.js';
import { ReprocessTasks } from '../scopes/reprocess-tasks.js';
import type { ScopeState } from '../scopes/scope-states.js';
import { lookAtClocks } from './clocks.js';
import {
  type Configured,
  type ConfiguredPipeline,
  lookAtConfiguration,
  pipelineLabel,
} from './configuration.js';
import { type DatabaseFindings, lookAtDatabase } from './database.js';
import { type DiskSpace, lookAtDisk } from './disk.js';
import { Examination } from './examination.js';
import type { Finding } from './finding.js';
import { lookAtGranularity } from './granularity.js';
import { lookAtKeystone } from './keystone.js';
import { lookAtMetrics, type MetricPoints } from './metrics.js';
import { lookAtModules } from './modules.js';
import { isAsked, lookAtOwnFolder } from './own-data.js';
import { lookAtPrices } from './prices.js';
import { type IsAlive, lookAtProcessors, lookAtReprocessing } from './processors.js';
import { lookAtProgress } from './progress.js';
import { lookAtRules } from './rules.js';
import { lookAtScopes } from './scopes.js';
import { lookAtStored } from './stored.js';

export interface DoctorParts {
  /** Reads the configuration as every command does. */
  readonly load: () => Promise<LoadedConfig>;
  readonly clock: Clock;
  readonly logger: DaemonLogger;
  readonly signal: AbortSignal;
  readonly onFinding?: ((finding: Finding) => void) | undefined;
  readonly http?: HttpFactory | undefined;
  readonly measureDisk?: ((folder: string) => Promise<DiskSpace>) | undefined;
  readonly isAlive?: IsAlive | undefined;
}

/** Nobody waits longer for a plugin that will not start or end. */
const PLUGIN_LIMITS = { startMs: 20_000, stopMs: 5_000 };

/** Walks the whole chain, from the configuration to the prices, and says what it finds. Changes nothing. */
export async function examine(parts: DoctorParts): Promise<readonly Finding[]> {
  const examination = new Examination(parts);
  const stack = new LifecycleStack(parts.logger, parts.clock, PLUGIN_LIMITS);
  try {
    await walk(examination, stack, parts);
  } finally {
    await stack.stop();
  }
  return examination.findings;
}

async function walk(examination: Examination, stack: LifecycleStack, parts: DoctorParts): Promise<void> {
  const { clock, logger, http = httpFactory } = parts;
  const now = () => Math.floor(clock.now() / 1000);
  const configured = await lookAtConfiguration(examination, parts);
  const opened = await lookAtDatabase(examination, configured, { logger, clock, stack });
  const { services } = opened;
  const known = await listKnown(examination, opened);
  await lookAtDisk(examination, configured, parts.measureDisk);
  await lookAtClocks(examination, clock, configured, opened);
  await lookAtKeystone(examination, configured, { http, clock });
  if (configured === undefined) await skipPipelines(examination);
  const measured: Measured[] = [];
  for (const pipeline of configured?.pipelines ?? [])
    measured.push(
      await lookAtPipeline(examination, pipeline, { configured: configured!, opened, known, stack, clock }),
    );
  const rating = await lookAtModules(examination, configured, services);
  await lookAtRules(examination, { rating, pipelines: buildable(configured), now: now() });
  for (const { where, points } of measured) await lookAtPrices(examination, { where, points, rating });
  await lookAtProgress(examination, { configured, known, now: now() });
  const due = (state: ScopeState) => isDue(state, configured, now());
  await lookAtProcessors(examination, { services, before: known, due, isAlive: parts.isAlive });
  const tasks = services === undefined ? undefined : new ReprocessTasks(services.database, clock);
  await lookAtReprocessing(examination, { tasks, known, now: now() });
}

/** Without a configuration nobody knows which there are. */
async function skipPipelines(examination: Examination): Promise<void> {
  for (const area of ['scopes', 'collector', 'metrics', 'prices'] as const)
    await examination.look(
      { area, what: `the ${area}`, needs: { config: undefined } },
      async () => undefined,
    );
}

/** Read once, early: what moves afterwards shows that a processor is at work. */
function listKnown(
  examination: Examination,
  { services }: DatabaseFindings,
): Promise<readonly ScopeState[] | undefined> {
  if (services === undefined) return Promise.resolve(undefined);
  return examination.look(
    { area: 'database', what: 'the list of scopes', needs: { services } },
    async (got) => got.services.states.list(),
  );
}

interface Measured {
  readonly where: string | undefined;
  readonly points: readonly MetricPoints[] | undefined;
}

interface PipelineParts {
  readonly configured: Configured;
  readonly opened: DatabaseFindings;
  readonly known: readonly ScopeState[] | undefined;
  readonly stack: LifecycleStack;
  readonly clock: Clock;
}

async function lookAtPipeline(
  examination: Examination,
  { config, pipeline }: ConfiguredPipeline,
  { configured, opened, known, stack, clock }: PipelineParts,
): Promise<Measured> {
  const where = pipelineLabel(configured.config, config);
  const own = known?.filter(({ source }) => source === config.name);
  const scopes = await lookAtScopes(examination, { where, pipeline, known: own, stack });
  const { metricsFile } = config.collect;
  const points = await lookAtMetrics(examination, {
    where,
    pipeline,
    metricsFile,
    scopes,
    known: own,
    stack,
    clock,
    calendar: configured.context.calendar,
  });
  if (pipeline !== undefined) await lookAtGranularity(examination, { where, pipeline, metricsFile });
  if (points !== undefined || pipeline === undefined || isAsked('collector', pipeline.collectorName))
    return { where, points };
  await lookAtOwnFolder(examination, { where, config, configFolder: configured.config.folder, pipeline });
  const storage = opened.services?.storage;
  return { where, points: await lookAtStored(examination, { where, pipeline, known: own, storage }) };
}

/** The rules can only be compared with all metrics: a part of them would make the others look unknown. */
function buildable(configured: Configured | undefined) {
  const pipelines = configured?.pipelines.flatMap(({ pipeline }) => pipeline ?? []);
  return pipelines?.length === configured?.pipelines.length ? pipelines : undefined;
}

function isDue(state: ScopeState, configured: Configured | undefined, now: number): boolean {
  const pipeline = configured?.config.pipelines.find(({ name }) => name === state.source);
  if (pipeline === undefined) return false;
  const { periodSeconds, waitPeriods } = pipeline.collect;
  const rule = { periodSeconds, waitPeriods, compat: configured!.config.compat };
  // The newest period may be in work at this moment.
  return (scopeLag(state, rule, now).periods ?? 0) > 1;
}
