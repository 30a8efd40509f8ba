import { fork } from 'node:child_process';
import { type Config } from '../config/config.js';
import { loadConfig } from '../config/load-config.js';
import { formatProblem } from '../config/problems.js';
import { EXIT } from '../daemon/exit-codes.js';
import { LifeSigns, type SilenceLimit } from '../daemon/life-signs.js';
import { DaemonLogger } from '../daemon/logger.js';
import type { NeighbourMetrics } from '../daemon/measured-neighbours.js';
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
import {
  type ServiceEnvironment,
  ServiceManager,
  type ServiceManagerParts,
  systemdNotify,
  takeServiceEnvironment,
} from '../daemon/service-manager.js';
import { DaemonSignals } from '../daemon/signals.js';
import { systemClock } from '../daemon/system-clock.js';
import { obeyParent, WORKER_VARIABLE, WorkerHopeless, WorkerProcesses } from '../daemon/worker-processes.js';
import { sendPulses, WorkerPulses } from '../daemon/worker-pulses.js';
import { aboveBar, terminalBar } from './catch-up-bar.js';
import type { Cli } from './cli.js';
import { openConfig } from './open-config.js';
import { workStatus } from './service-status.js';

export interface ServeOptions {
  /** Brings the tables up to date; without, a database that needs it is refused. */
  readonly migrates: boolean;
  /** Serves the API too, unless the configuration says otherwise. */
  readonly servesApi: boolean;
  readonly prepared?: (config: Config) => DaemonEvents['prepared'];
}

/** Runs the daemon in this process, or in as many workers as the configuration asks for. Gives the exit code. */
export async function serve(cli: Cli, options: ServeOptions): Promise<number> {
  const isWorker = cli.environment[WORKER_VARIABLE] !== undefined;
  const service = takeServiceEnvironment(process.env);
  const { config, plugins, warnings } = await openConfig(cli);
  const registry = new MetricsRegistry();
  if (!isWorker) registry.describeProcess(cli.version);
  const catchUp = isWorker ? undefined : catchUpOn(process.stderr, config);
  const logger = daemonLogger(config, catchUp);
  const leaveOnCrash = reportCrash(logger);
  process.on('uncaughtException', leaveOnCrash);
  for (const warning of isWorker ? [] : warnings)
    logger.warn('configuration', { problem: formatProblem(warning) });
  const signs = new LifeSigns(systemClock, silenceLimits(config));
  const pulses = new WorkerPulses({ count: config.processor.workers, clock: systemClock, logger });
  const workers =
    config.processor.workers > 1 && !isWorker ? workerProcesses(config, logger, pulses) : undefined;
  const manager = serviceManager(service, logger, {
    status: () => workStatus(workers === undefined ? signs.work() : pulses.work()),
    stalled() {
      if (workers === undefined) return signs.stalled();
      // One that hangs is started again alone; the others go on.
      if (service.watchdogMs !== undefined) pulses.killSilent(service.watchdogMs);
      return undefined;
    },
  });
  const signals = new DaemonSignals({
    logger,
    graceSeconds: config.processor.gracefulStopSeconds,
    isWorker,
    reload: () =>
      manager.reload(async () => {
        await reloadLogLevel(cli, config, logger);
        workers?.tell('reload');
      }),
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
  announceStop(signals, manager, config);
  const prepared = options.prepared?.(config);
  const listening = (url: string) => logger.info(`API on ${url}`, { auth: config.api.auth });
  const ready = () => {
    if (isWorker)
      sendPulses(
        () => signs.stalled(),
        () => signs.work(),
      );
    else manager.ready();
  };
  const events: DaemonEvents = {
    listening,
    ready,
    ...(prepared === undefined || isWorker ? {} : { prepared }),
  };
  const servesApi = options.servesApi && config.api.enabled && !isWorker;
  const parts: DaemonParts = {
    config,
    plugins: signs.watch(plugins),
    logger,
    migrates: options.migrates && !isWorker,
    servesApi: servesApi && workers === undefined,
    version: cli.version,
    onServed: (served) => registry.served(served),
    neighbours: alsoTelling(registry, signs),
    notifications: registry,
    metrics: toAll([registry, signs, ...(catchUp === undefined ? [] : [catchUp])]),
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
      let serves: (() => void) | undefined;
      const serving = new Promise<void>((resolve) => {
        serves = resolve;
      });
      const api = servesApi ? runApi(parts, { listening, ready: () => serves?.() }, signals.stop) : undefined;
      api?.catch(() => signals.requestStop('the API cannot be served'));
      void Promise.all([pulses.allBegun, ...(servesApi ? [serving] : [])]).then(ready);
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
    await manager.end();
    signals.dispose();
    process.off('uncaughtException', leaveOnCrash);
  }
}

/** Runs the API alone, until it is asked to stop. Gives the exit code. */
export async function serveApi(cli: Cli): Promise<number> {
  const service = takeServiceEnvironment(process.env);
  const { config, plugins, warnings } = await openConfig(cli);
  const logger = DaemonLogger.create(config.log);
  const leaveOnCrash = reportCrash(logger);
  process.on('uncaughtException', leaveOnCrash);
  for (const warning of warnings) logger.warn('configuration', { problem: formatProblem(warning) });
  let status = 'starting';
  // It has no work but requests: as long as the event loop turns, they are answered.
  const manager = serviceManager(service, logger, { status: () => status, stalled: () => undefined });
  const signals = new DaemonSignals({
    logger,
    graceSeconds: config.processor.gracefulStopSeconds,
    isWorker: false,
    reload: () => manager.reload(() => reloadLogLevel(cli, config, logger)),
    beforeExit: () => undefined,
  });
  announceStop(signals, manager, config);
  const registry = new MetricsRegistry();
  registry.describeProcess(cli.version);
  const { enabled, host, port } = config.metricsServer;
  const metricsServer = new MetricsServer({ host, port, logger, metrics: () => registry.registry.metrics() });
  const listening = (url: string) => {
    status = `API on ${url}`;
    logger.info(status, { auth: config.api.auth });
  };
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
    await runApi(parts, { listening, ready: () => manager.ready() }, signals.stop);
    logger.info('stopped');
    return EXIT.ok;
  } finally {
    await metricsServer.stop();
    await manager.end();
    signals.dispose();
    process.off('uncaughtException', leaveOnCrash);
  }
}

function serviceManager(
  { socket, watchdogMs }: ServiceEnvironment,
  logger: DaemonLogger,
  health: Pick<ServiceManagerParts, 'status' | 'stalled'>,
): ServiceManager {
  const notify = socket === undefined ? undefined : systemdNotify(socket);
  return new ServiceManager({ notify, watchdogMs, clock: systemClock, logger, ...health });
}

function announceStop({ stop }: DaemonSignals, manager: ServiceManager, { processor }: Config): void {
  stop.addEventListener('abort', () => manager.stopping(processor.gracefulStopSeconds), { once: true });
}

/** For start and margin, beyond what the limits of plugins add up to. */
const SILENCE_MARGIN_SECONDS = 60;

/** A metric has its limit, and so has every rating module for its rules and for its prices. */
function silenceLimits({ processor, rating, pipelines }: Config): ReadonlyMap<string, SilenceLimit> {
  const busySeconds = processor.metricTimeoutSeconds * (1 + 2 * rating.length) + SILENCE_MARGIN_SECONDS;
  return new Map(
    pipelines.map(({ name, collect: { periodSeconds } }) => [name, { periodSeconds, busySeconds }]),
  );
}

function alsoTelling(registry: NeighbourMetrics, signs: LifeSigns): NeighbourMetrics {
  return {
    upstreamAsked: (host, outcome, seconds) => registry.upstreamAsked(host, outcome, seconds),
    databaseAsked(kind, outcome, seconds) {
      registry.databaseAsked(kind, outcome, seconds);
      signs.databaseAsked(kind, outcome);
    },
  };
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

function workerProcesses(config: Config, logger: DaemonLogger, pulses: WorkerPulses): WorkerProcesses {
  const args = ['processor', '--config', config.file, '--data-dir', config.dataFolder];
  return new WorkerProcesses({
    count: config.processor.workers,
    logger,
    clock: systemClock,
    fork(index) {
      const child = fork(process.argv[1]!, args, {
        env: { ...process.env, [WORKER_VARIABLE]: String(index + 1) },
        stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      });
      pulses.listen(index, child);
      return child;
    },
  });
}
