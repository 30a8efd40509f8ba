import type { ChildProcess } from 'node:child_process';
import type { Clock, Logger } from '../plugin-api/index.js';
import type { PipelineWork } from './life-signs.js';

/** What a worker tells its parent as long as its work goes on. */
interface Pulse {
  readonly pulse: readonly PipelineWork[];
}

const PULSE_MS = 2_000;

/** Tells the parent of this worker that the work goes on, from now on. */
export function sendPulses(stalled: () => string | undefined, work: () => readonly PipelineWork[]): void {
  const send = () => {
    // A parent that is gone, or busy, needs no answer.
    if (process.connected && stalled() === undefined)
      process.send?.({ pulse: work() } satisfies Pulse, () => undefined);
  };
  send();
  setInterval(send, PULSE_MS).unref();
}

export interface WorkerPulsesParts {
  readonly count: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

interface Heard {
  readonly child: ChildProcess;
  /** Undefined until the first pulse: a start has time limits of its own. */
  last: number | undefined;
}

/** The pulses of all workers, as their parent hears them. */
export class WorkerPulses {
  readonly #parts: WorkerPulsesParts;
  readonly #heard = new Map<number, Heard>();
  readonly #works = new Map<number, readonly PipelineWork[]>();
  readonly #begun = new Set<number>();
  /** Resolved when every worker has begun its work. */
  readonly allBegun: Promise<void>;
  #announce: () => void = () => undefined;

  constructor(parts: WorkerPulsesParts) {
    this.#parts = parts;
    this.allBegun = new Promise((resolve) => {
      this.#announce = resolve;
    });
  }

  /** Listens to worker number `index`, instead of the one that had the number before. */
  listen(index: number, child: ChildProcess): void {
    const heard: Heard = { child, last: undefined };
    this.#heard.set(index, heard);
    child.on('message', (message) => {
      if (!isPulse(message)) return;
      heard.last = this.#parts.clock.monotonic();
      this.#works.set(index, message.pulse);
      this.#begun.add(index);
      if (this.#begun.size === this.#parts.count) this.#announce();
    });
    child.once('exit', () => {
      if (this.#heard.get(index) === heard) this.#heard.delete(index);
    });
  }

  /** Ends workers without a pulse for so long; whoever keeps them starts them again. */
  killSilent(limitMs: number): void {
    const { clock, logger } = this.#parts;
    for (const [index, { child, last }] of this.#heard) {
      const silentMs = last === undefined ? 0 : clock.monotonic() - last;
      if (silentMs <= limitMs) continue;
      logger.error('a worker does not go on and is killed', {
        worker: index,
        seconds: Math.round(silentMs / 1000),
      });
      child.kill('SIGKILL');
    }
  }

  /** How far every pipeline is: each worker sees what is due for all of them, and counts what it rated itself. */
  work(): readonly PipelineWork[] {
    const merged = new Map<string, PipelineWork>();
    for (const work of [...this.#works.values()].flat()) {
      const other = merged.get(work.source);
      merged.set(work.source, other === undefined ? work : together(work, other));
    }
    return [...merged.values()];
  }
}

function together(left: PipelineWork, right: PipelineWork): PipelineWork {
  return {
    source: left.source,
    scopes:
      left.scopes === undefined || right.scopes === undefined
        ? (left.scopes ?? right.scopes)
        : Math.max(left.scopes, right.scopes),
    duePeriods: Math.max(left.duePeriods, right.duePeriods),
    lagSeconds: Math.max(left.lagSeconds, right.lagSeconds),
    ratedPeriods: left.ratedPeriods + right.ratedPeriods,
  };
}

function isPulse(message: unknown): message is Pulse {
  return typeof message === 'object' && message !== null && 'pulse' in message;
}
