import { fork } from 'node:child_process';
import { type Config } from '../config/config.js';
import { loadConfig } from '../config/load-config.js';
import { formatProblem } from '../config/problems.js';
import { EXIT } from '../daemon/exit-codes.js';
import { DaemonLogger } from '../daemon/logger.js';
import { MetricsRegistry, metricsOfAll } from '../daemon/metrics-registry.js';
import { MetricsServer } from '../daemon/metrics-server.js';
import { CatchUp, toAll } from '../daemon/progress.js';
import {
  type DaemonEvents,
  type DaemonParts,
  prepareForWorkers,
  runApi,
  runDaemon,
} from '../daemon/run-daemon.js';
import { DaemonSignals } from '../daemon/signals.js';
import { systemClock } from '../daemon/system-clock.js';
import { obeyParent, WORKER_VARIABLE, WorkerHopeless, WorkerProcesses } from '../daemon/worker-processes.js';
import { aboveBar, terminalBar } from './catch-up-bar.js';
import type { Cli } from './cli.js';
import { openConfig } from './open-config.js';

export interface ServeOptions {
  /** Brings the tables up to date; without, a database that needs it is refused. */
  readonly migrates: boolean;
  /** Serves the API too, unless the configuration says otherwise. */
  readonly servesApi: boolean;
  readonly prepared?: (config: Config) => DaemonEvents['prepared'];
}

/** Runs the daemon in this process, or in as many workers as the configuration asks for. Gives the exit code. */
export async function serve(cli: Cli, options: ServeOptions): Promise<number> {
  const { config, plugins, warnings } = await openConfig(cli);
  const isWorker = cli.environment[WORKER_VARIABLE] !== undefined;
  const registry = new MetricsRegistry();
  if (!isWorker) registry.describeProcess(cli.version);
  const catchUp = isWorker ? undefined : catchUpOn(process.stderr, config);
  const logger = daemonLogger(config, catchUp);
  const leaveOnCrash = reportCrash(logger);
  process.on('uncaughtException', leaveOnCrash);
  for (const warning of isWorker ? [] : warnings)
    logger.warn('configuration', { problem: formatProblem(warning) });
  const workers = config.processor.workers > 1 && !isWorker ? workerProcesses(config, logger) : undefined;
  const signals = new DaemonSignals({
    logger,
    graceSeconds: config.processor.gracefulStopSeconds,
    isWorker,
    async reload() {
      await reloadLogLevel(cli, config, logger);
      workers?.tell('reload');
    },
    beforeExit() {
      catchUp?.end();
      workers?.kill();
    },
  });
  if (isWorker) {
    obeyParent({
      stop: () => signals.requestStop('parent'),
      reload: () => signals.reload(),
      metrics: () => registry.registry.getMetricsAsJSON(),
    });
  }
  const prepared = options.prepared?.(config);
  const listening = (url: string) => logger.info(`API on ${url}`, { auth: config.api.auth });
  const events: DaemonEvents = { listening, ...(prepared === undefined || isWorker ? {} : { prepared }) };
  const servesApi = options.servesApi && config.api.enabled && !isWorker;
  const parts: DaemonParts = {
    config,
    plugins,
    logger,
    migrates: options.migrates && !isWorker,
    servesApi: servesApi && workers === undefined,
    version: cli.version,
    onServed: (served) => registry.served(served),
    neighbours: registry,
    metrics: catchUp === undefined ? registry : toAll([registry, catchUp]),
  };
  const { enabled, host, port, processorPort } = config.metricsServer;
  const metricsServer = new MetricsServer({
    host,
    port: options.servesApi ? port : processorPort,
    logger,
    async metrics() {
      if (workers === undefined) return registry.registry.metrics();
      return metricsOfAll([await registry.registry.getMetricsAsJSON(), ...(await workers.metrics())]);
    },
  });
  try {
    if (enabled && !isWorker) await metricsServer.start();
    if (workers === undefined) await runDaemon(parts, events, signals.stop);
    else {
      await prepareForWorkers(parts, events, signals.stop);
      const api = servesApi ? runApi(parts, { listening }, signals.stop) : undefined;
      api?.catch(() => signals.requestStop('the API cannot be served'));
      await Promise.all([workers.run(signals.stop), api]);
    }
    logger.info('stopped');
    return EXIT.ok;
  } catch (error) {
    if (!(error instanceof WorkerHopeless)) throw error;
    logger.error('the workers cannot run', { exitCode: error.exitCode });
    return error.exitCode;
  } finally {
    catchUp?.end();
    await metricsServer.stop();
    signals.dispose();
    process.off('uncaughtException', leaveOnCrash);
  }
}

/** Runs the API alone, until it is asked to stop. Gives the exit code. */
export async function serveApi(cli: Cli): Promise<number> {
  const { config, plugins, warnings } = await openConfig(cli);
  const logger = DaemonLogger.create(config.log);
  const leaveOnCrash = reportCrash(logger);
  process.on('uncaughtException', leaveOnCrash);
  for (const warning of warnings) logger.warn('configuration', { problem: formatProblem(warning) });
  const signals = new DaemonSignals({
    logger,
    graceSeconds: config.processor.gracefulStopSeconds,
    isWorker: false,
    reload: () => reloadLogLevel(cli, config, logger),
    beforeExit: () => undefined,
  });
  const registry = new MetricsRegistry();
  registry.describeProcess(cli.version);
  const { enabled, host, port } = config.metricsServer;
  const metricsServer = new MetricsServer({ host, port, logger, metrics: () => registry.registry.metrics() });
  const listening = (url: string) => logger.info(`API on ${url}`, { auth: config.api.auth });
  const parts: DaemonParts = {
    config,
    plugins,
    logger,
    migrates: false,
    version: cli.version,
    onServed: (served) => registry.served(served),
    neighbours: registry,
  };
  try {
    if (enabled) await metricsServer.start();
    await runApi(parts, { listening }, signals.stop);
    logger.info('stopped');
    return EXIT.ok;
  } finally {
    await metricsServer.stop();
    signals.dispose();
    process.off('uncaughtException', leaveOnCrash);
  }
}

/** Bars are for people at a terminal. */
function catchUpOn(stream: NodeJS.WriteStream, config: Config): CatchUp | undefined {
  const isForPeople = stream.isTTY && config.log.format === 'text' && config.processor.workers === 1;
  if (!isForPeople) return undefined;
  const rules = config.pipelines.map(({ name, collect }) => {
    const { periodSeconds, waitPeriods } = collect;
    return [name, { periodSeconds, waitPeriods, compat: config.compat }] as const;
  });
  return new CatchUp(terminalBar(stream), systemClock, new Map(rules));
}

function daemonLogger(config: Config, catchUp: CatchUp | undefined): DaemonLogger {
  if (catchUp === undefined) return DaemonLogger.create(config.log);
  return DaemonLogger.create(config.log, {
    stream: aboveBar(process.stderr, () => catchUp.isActive),
    // The bar says it already.
    hides: (message) => catchUp.isActive && message === 'period rated',
  });
}

function reportCrash(logger: DaemonLogger): (error: unknown) => void {
  return (error) => {
    logger.error('internal error, please report it', {
      stack: error instanceof Error ? error.stack : String(error),
    });
    process.exit(EXIT.internal);
  };
}

async function reloadLogLevel(cli: Cli, config: Config, logger: DaemonLogger): Promise<void> {
  const { level } = (await loadConfig(config.file, cli.environment)).config.log;
  // Told at the former level: a quieter one would hide it.
  logger.info('log level reloaded', { now: level });
  logger.setLevel(level);
}

function workerProcesses(config: Config, logger: DaemonLogger): WorkerProcesses {
  const args = ['processor', '--config', config.file, '--data-dir', config.dataFolder];
  return new WorkerProcesses({
    count: config.processor.workers,
    logger,
    clock: systemClock,
    fork: (index) =>
      fork(process.argv[1]!, args, {
        env: { ...process.env, [WORKER_VARIABLE]: String(index + 1) },
        stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      }),
  });
}
