import type { PipelineProcessor } from './pipeline-processor.js';
import type { StartClock } from './start-clock.js';
import type { Sweeper } from './sweeper.js';

/** Something that goes on beside the rating until it is told to stop. */
export interface Companion {
  run(stop: AbortSignal): Promise<void>;
}

/** Runs every pipeline of this process side by side, cleans up after deletions, and delivers notifications. */
export class Processor {
  readonly #pipelines: readonly PipelineProcessor[];
  readonly #sweeper: Sweeper;
  readonly #clock: StartClock;
  readonly #companions: readonly Companion[];

  constructor(
    pipelines: readonly PipelineProcessor[],
    sweeper: Sweeper,
    clock: StartClock,
    companions: readonly Companion[] = [],
  ) {
    this.#pipelines = pipelines;
    this.#sweeper = sweeper;
    this.#clock = clock;
    this.#companions = companions;
  }

  /** Works until `stop` is aborted and everything under way is finished or abandoned whole. */
  async run(stop: AbortSignal): Promise<void> {
    await Promise.all([
      this.#rate(stop),
      this.#sweeper.run(stop),
      ...this.#companions.map((companion) => companion.run(stop)),
    ]);
  }

  async #rate(stop: AbortSignal): Promise<void> {
    await this.#clock.settled(stop);
    await Promise.all(this.#pipelines.map((pipeline) => pipeline.run(stop)));
  }
}
