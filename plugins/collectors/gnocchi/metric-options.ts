import { z } from 'zod';
import type { CollectRequest } from '../../../core/plugin-api/index.js';

const BASIC = ['mean', 'sum', 'last', 'max', 'min', 'std', 'median', 'first', 'count'] as const;
const method = (percentiles: boolean) =>
  z.string().refine(
    (name) => {
      const plain = name.replace(/^rate:/, '');
      const percentile = percentiles && /^[1-9][0-9]?pct$/.test(plain);
      return percentile || (BASIC as readonly string[]).includes(plain);
    },
    `must be one of ${BASIC.join(', ')}${percentiles ? ', 1pct to 99pct' : ''}, or one of these after 'rate:'`,
  );

/** `extra_args` of a metric: metrics-conf.md §2. */
export const gnocchiMetricOptions = z.strictObject({
  resource_type: z.string().min(1),
  resource_key: z.string().min(1).default('id'),
  aggregation_method: method(true).default('max'),
  re_aggregation_method: method(false).default('max'),
  force_granularity: z.number().int().min(0).default(3600),
  use_all_resource_revisions: z.boolean().default(true),
  custom_query: z.string().default(''),
});

export type GnocchiMetricOptions = z.output<typeof gnocchiMetricOptions>;
export type GnocchiCollectRequest = CollectRequest<GnocchiMetricOptions>;
