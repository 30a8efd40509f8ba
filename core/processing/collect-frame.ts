import { createHash } from 'node:crypto';
import pLimit, { type LimitFunction } from 'p-limit';
import {
  type Clock,
  type Collected,
  canonicalJson,
  compareText,
  describeError,
  type Frame,
  type Gap,
  isRatecatError,
  type MeasuredPoint,
  mapInSlices,
  type Period,
  RatecatError,
  type Sample,
  type Scope,
} from '../plugin-api/index.js';
import type { DescriptorDictionary } from './descriptor-dictionary.js';
import type { Pipeline, ProcessingMetric } from './pipeline.js';
import { checkCollected } from './plugin-answers.js';
import { LimitedWork } from './time-limit.js';

export interface CollectedFrame {
  readonly frame: Frame<MeasuredPoint>;
  /** Hash of what each metric answered; only made when periods are read again for late data. */
  readonly fingerprint: string | undefined;
}

/** The first stage: asks for every metric of a period and builds the frame, or fails as a whole. */
export class FrameCollector {
  readonly #pipeline: Pipeline;
  readonly #clock: Clock;
  readonly #limit: LimitFunction;
  readonly #metrics: readonly ProcessingMetric[];

  constructor(pipeline: Pipeline, clock: Clock) {
    this.#pipeline = pipeline;
    this.#clock = clock;
    this.#limit = pLimit(pipeline.settings.concurrentMetrics);
    this.#metrics = [...pipeline.metrics].sort((a, b) => compareText(a.metric.ratedName, b.metric.ratedName));
  }

  /** @throws the error of the first metric that failed; the others are aborted. */
  async collect(
    scope: Scope,
    period: Period,
    dictionary: DescriptorDictionary,
    signal: AbortSignal,
  ): Promise<CollectedFrame> {
    const together = new LimitedWork(this.#clock, signal);
    try {
      const parts = await Promise.all(
        this.#metrics.map((metric) =>
          this.#limit(async () =>
            this.#part(metric, await this.#ask(metric, scope, period, together), dictionary, signal),
          ),
        ),
      );
      return this.#join(scope, period, parts);
    } catch (error) {
      const reason = signal.aborted ? signal.reason : error;
      together.end(reason);
      throw reason;
    } finally {
      together.end();
    }
  }

  async #ask(
    { metric }: ProcessingMetric,
    scope: Scope,
    period: Period,
    together: LimitedWork,
  ): Promise<Collected> {
    const { collector, collectorName, settings } = this.#pipeline;
    try {
      const answer = await together.run(`Collector '${collectorName}'`, settings.metricTimeoutMs, (limited) =>
        collector.collect({ metric, scope, period }, limited),
      );
      return checkCollected(collectorName, answer);
    } catch (error) {
      throw withMetric(metric.ratedName, error);
    }
  }

  /** Made as soon as the answer is there, so that the answer of a large scope need not be kept until all are. */
  async #part(
    metric: ProcessingMetric,
    answer: Collected,
    dictionary: DescriptorDictionary,
    signal: AbortSignal,
  ): Promise<Part> {
    const fingerprint = this.#pipeline.settings.lookBack > 0 ? fingerprintText(metric, answer) : undefined;
    if (answer.kind !== 'unmeasurable')
      return {
        points: answer.kind === 'measured' ? await toPoints(metric, answer.samples, dictionary, signal) : [],
        fingerprint,
      };
    return { points: [], gap: { metric: metric.metric.ratedName, reason: answer.reason }, fingerprint };
  }

  #join(scope: Scope, period: Period, parts: readonly Part[]): CollectedFrame {
    const points = parts.flatMap((part) => part.points);
    const gaps = parts.flatMap(({ gap }) => gap ?? []);
    const fingerprint = this.#pipeline.settings.lookBack > 0 ? createHash('sha256') : undefined;
    for (const part of parts) fingerprint?.update(part.fingerprint ?? '');
    return {
      frame: { source: this.#pipeline.source, scope, period, points, gaps },
      fingerprint: fingerprint?.digest('hex'),
    };
  }
}

/** What one metric gives to a frame. */
interface Part {
  readonly points: readonly MeasuredPoint[];
  readonly gap?: Gap;
  readonly fingerprint: string | undefined;
}

function toPoints(
  metric: ProcessingMetric,
  samples: readonly Sample[],
  dictionary: DescriptorDictionary,
  signal: AbortSignal,
): Promise<readonly MeasuredPoint[]> {
  return mapInSlices(
    samples,
    (sample) => ({
      descriptor: dictionary.intern(metric.facts, sample.groupby, sample.metadata),
      quantity: metric.convert(sample.value),
    }),
    signal,
  );
}

/** Text of an answer that does not depend on the order in which a source lists its series. */
function fingerprintText(metric: ProcessingMetric, answer: Collected): string {
  const name = metric.metric.ratedName;
  if (answer.kind !== 'measured') return JSON.stringify([name, answer.kind]);
  const lines = answer.samples.map(
    (sample) => `${sample.groupby.canonical()}${sample.metadata.canonical()}${canonicalJson(sample.value)}`,
  );
  return JSON.stringify([name, ...lines.sort(compareText)]);
}

function withMetric(metric: string, error: unknown): unknown {
  const message = `Metric '${metric}': ${describeError(error)}`;
  if (!isRatecatError(error)) return new Error(message, { cause: error });
  return new RatecatError(error.kind, error.retryable, error.code, message, {
    cause: error,
    details: { ...error.details, metric },
  });
}
