import type { Pipeline } from '../processing/pipeline.js';
import type { Examination, Say } from './examination.js';
import { labelOf } from './metrics.js';

export interface GranularityParts {
  readonly where: string | undefined;
  readonly pipeline: Pipeline | undefined;
  readonly metricsFile: string;
}

/** Whether the granularities that the metrics file asks for fit the period: needs no answer of the source. */
export async function lookAtGranularity(
  examination: Examination,
  { where, pipeline, metricsFile }: GranularityParts,
): Promise<void> {
  const check = { area: 'metrics', what: 'the granularities', where, needs: { pipeline } } as const;
  await examination.look(check, async (got, say) => {
    const { periodSeconds } = got.pipeline.settings.periods;
    for (const metric of got.pipeline.metrics) {
      const at = `${metricsFile}: ${labelOf(metric)}`;
      for (const [option, seconds] of granularitiesOf(metric.metric.options))
        judge({ option, seconds, periodSeconds }, say, at);
    }
  });
}

/** Options called `granularity`, or `force_granularity` as in CloudKitty's files, in seconds; 0 leaves it to the source. */
function granularitiesOf(options: unknown): readonly (readonly [option: string, seconds: number])[] {
  if (typeof options !== 'object' || options === null) return [];
  return Object.entries(options).flatMap(([name, value]) =>
    /(^|_)granularity$/.test(name) && typeof value === 'number' && value > 0 ? [[name, value] as const] : [],
  );
}

interface Granularity {
  readonly option: string;
  readonly seconds: number;
  readonly periodSeconds: number;
}

function judge({ option, seconds, periodSeconds }: Granularity, say: Say, where: string): void {
  if (periodSeconds % seconds === 0) return;
  const what =
    seconds > periodSeconds
      ? `${option} is ${seconds} s, longer than a period of ${periodSeconds} s: one value is counted in several periods`
      : `${option} is ${seconds} s, which does not divide a period of ${periodSeconds} s: values lie in two periods`;
  say.warn('granularity-unfit', what, {
    where,
    fix: `Set ${option} to a divisor of collect.period that the source keeps, or collect.period to a multiple of ${seconds}.`,
  });
}
