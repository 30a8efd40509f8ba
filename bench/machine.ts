import { cpus, loadavg, release, totalmem } from 'node:os';

/** The shape of the machine: figures mean nothing without it. */
export interface Machine {
  readonly cores: number;
  readonly model: string;
  readonly memoryGiB: number;
  readonly node: string;
  readonly kernel: string;
  /** Runnable processes over the last minute before the run: above 1 the machine was not ours alone. */
  readonly loadBefore: number;
}

export function describeMachine(): Machine {
  const all = cpus();
  return {
    cores: all.length,
    model: all[0]?.model.trim() ?? 'unknown',
    memoryGiB: Math.round((totalmem() / 2 ** 30) * 10) / 10,
    node: process.version,
    kernel: `${process.platform} ${release()} ${process.arch}`,
    loadBefore: Math.round((loadavg()[0] ?? 0) * 10) / 10,
  };
}

export function machineLine(machine: Machine): string {
  const { cores, model, memoryGiB, node, kernel, loadBefore } = machine;
  return `${cores} cores of ${model}, ${memoryGiB} GiB, Node ${node}, ${kernel}; load before the run ${loadBefore}`;
}
