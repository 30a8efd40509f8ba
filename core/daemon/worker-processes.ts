import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { type Clock, type Logger } from '../plugin-api/index.js';
import { EXIT } from './exit-codes.js';
import type { ProcessMetrics } from './metrics-registry.js';

/** What a parent tells its workers. */
export type WorkerMessage = 'stop' | 'reload' | 'metrics';

/** What a worker answers to `metrics`. */
interface MetricsAnswer {
  readonly metrics: ProcessMetrics;
}

/** Set in the environment of a worker. */
export const WORKER_VARIABLE = 'RATECAT_WORKER';

export interface WorkerOptions {
  readonly count: number;
  /** Starts worker number `index`, with a channel for messages. */
  fork(index: number): ChildProcess;
  readonly logger: Logger;
  readonly clock: Clock;
}

/** Prometheus waits ten seconds by default. */
const METRICS_MS = 2_000;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 60_000;
/** A worker that lived this long was well: its next death starts the back-off anew. */
const HEALTHY_MS = 60_000;
/** Starting again does not help against these. */
const HOPELESS: ReadonlySet<number | null> = new Set([EXIT.usage, EXIT.config]);

/** A worker cannot start, and neither will the next one. Its own message is on stderr. */
export class WorkerHopeless extends Error {
  readonly exitCode: number;

  constructor(exitCode: number) {
    super(`a worker ended with exit code ${exitCode}, which starting it again does not change`);
    this.exitCode = exitCode;
  }
}

/** Keeps a number of worker processes running. Leases in the database share the work out among them. */
export class WorkerProcesses {
  readonly #options: WorkerOptions;
  readonly #alive = new Set<ChildProcess>();

  constructor(options: WorkerOptions) {
    this.#options = options;
  }

  /** Runs until `stop` is aborted and every worker has ended. @throws WorkerHopeless */
  async run(stop: AbortSignal): Promise<void> {
    const giveUp = new AbortController();
    const either = AbortSignal.any([stop, giveUp.signal]);
    either.addEventListener('abort', () => this.tell('stop'), { once: true });
    const slots = Array.from({ length: this.#options.count }, (_, index) =>
      this.#keep(index, either).catch((error: unknown) => {
        giveUp.abort(error);
        throw error;
      }),
    );
    const ends = await Promise.allSettled(slots);
    const failed = ends.find((end) => end.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  tell(message: WorkerMessage): void {
    for (const child of this.#alive) if (child.connected) child.send(message);
  }

  /** What the workers count; one that does not answer in time is left out. */
  async metrics(): Promise<readonly ProcessMetrics[]> {
    const answers = [...this.#alive].map(
      (child) =>
        new Promise<ProcessMetrics | undefined>((resolve) => {
          const settle = (answer?: ProcessMetrics) => {
            clearTimeout(timer);
            child.off('message', hear);
            resolve(answer);
          };
          const hear = (message: unknown) => {
            if (isMetricsAnswer(message)) settle(message.metrics);
          };
          const timer = setTimeout(settle, METRICS_MS);
          child.on('message', hear);
          if (child.connected) child.send('metrics', (error) => (error === null ? undefined : settle()));
          else settle();
        }),
    );
    return (await Promise.all(answers)).filter((answer) => answer !== undefined);
  }

  /** Ends all workers at once. */
  kill(): void {
    for (const child of this.#alive) child.kill('SIGKILL');
  }

  async #keep(index: number, stop: AbortSignal): Promise<void> {
    const { clock, logger } = this.#options;
    for (let deaths = 0; !stop.aborted; ) {
      const began = clock.monotonic();
      const [code, signal] = await this.#runOnce(index);
      if (stop.aborted) return;
      if (HOPELESS.has(code)) throw new WorkerHopeless(code!);
      deaths = clock.monotonic() - began >= HEALTHY_MS ? 1 : deaths + 1;
      const pauseMs = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (deaths - 1));
      logger.error('a worker ended and is started again', {
        worker: index,
        ...(signal === null ? { exitCode: code } : { signal }),
        pauseSeconds: pauseMs / 1000,
      });
      await clock.sleep(pauseMs, stop).catch(() => undefined);
    }
  }

  async #runOnce(index: number): Promise<readonly [code: number | null, signal: NodeJS.Signals | null]> {
    const child = this.#options.fork(index);
    this.#alive.add(child);
    try {
      // A message to a worker that is just ending is lost, and does no harm.
      child.on('error', () => undefined);
      const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
      return [code, signal];
    } catch {
      return [EXIT.unavailable, null];
    } finally {
      this.#alive.delete(child);
    }
  }
}

export interface ParentOrders {
  stop(): void;
  reload(): void;
  metrics(): Promise<ProcessMetrics>;
}

function isMetricsAnswer(message: unknown): message is MetricsAnswer {
  return typeof message === 'object' && message !== null && 'metrics' in message;
}

/** Lets the parent of this worker steer it. A parent that is gone counts as an order to stop. */
export function obeyParent(orders: ParentOrders): void {
  process.on('message', (message) => {
    if (message === 'stop' || message === 'reload') orders[message]();
    // A parent that left meanwhile needs no answer.
    if (message === 'metrics')
      orders.metrics().then(
        (metrics) => process.send?.({ metrics }, () => undefined),
        () => undefined,
      );
  });
  process.once('disconnect', () => orders.stop());
  // It may have gone while this worker was starting.
  if (!process.connected) orders.stop();
  // The channel alone must not keep a finished worker alive.
  process.channel?.unref();
}
