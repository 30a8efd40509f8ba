import type { PipelineProcessor } from './pipeline-processor.js';
import type { Sweeper } from './sweeper.js';

/** Runs every pipeline of this process side by side, and cleans up after deletions. */
export class Processor {
  readonly #pipelines: readonly PipelineProcessor[];

  readonly #sweeper: Sweeper;

  constructor(pipelines: readonly PipelineProcessor[], sweeper: Sweeper) {
    this.#pipelines = pipelines;
    this.#sweeper = sweeper;
  }

  /** Works until `stop` is aborted and everything under way is finished or abandoned whole. */
  async run(stop: AbortSignal): Promise<void> {
    await Promise.all([...this.#pipelines.map((pipeline) => pipeline.run(stop)), this.#sweeper.run(stop)]);
  }
}
