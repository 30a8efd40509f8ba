import type { PipelineProcessor } from './pipeline-processor.js';
import type { StartClock } from './start-clock.js';
import type { Sweeper } from './sweeper.js';

/** Runs every pipeline of this process side by side, and cleans up after deletions. */
export class Processor {
  readonly #pipelines: readonly PipelineProcessor[];
  readonly #sweeper: Sweeper;
  readonly #clock: StartClock;

  constructor(pipelines: readonly PipelineProcessor[], sweeper: Sweeper, clock: StartClock) {
    this.#pipelines = pipelines;
    this.#sweeper = sweeper;
    this.#clock = clock;
  }

  /** Works until `stop` is aborted and everything under way is finished or abandoned whole. */
  async run(stop: AbortSignal): Promise<void> {
    await Promise.all([this.#rate(stop), this.#sweeper.run(stop)]);
  }

  async #rate(stop: AbortSignal): Promise<void> {
    await this.#clock.settled(stop);
    await Promise.all(this.#pipelines.map((pipeline) => pipeline.run(stop)));
  }
}
