import { z } from 'zod';
import { documented } from './query.js';

/** Numbers of which every digit counts travel as texts. */
export const decimal = z
  .string()
  .describe('A decimal with every digit, without exponent: 0.3333333333333333');
export const instant = z.string().describe('An instant in UTC: 2026-01-31T12:00:00Z');
export const nextOffset = z.int().nullable().describe('The offset of the next page; null on the last one.');
/** Numbers among the values are JSON numbers with every digit. */
export const attributes = z.record(z.string(), z.unknown());

const POINT = {
  begin: instant,
  end: instant,
  source: z.string().describe('The pipeline, or api for points that were pushed.'),
  scope_key: z.string(),
  scope: z.string(),
  metric: z.string(),
  unit: z.string(),
  description: z.string().nullable(),
  quantity: decimal,
  price: decimal,
  groupby: attributes,
  metadata: attributes,
};

export const DATAFRAMES_ANSWER = documented(
  z.object({
    begin: instant,
    end: instant,
    dataframes: z.array(z.object(POINT)),
    next_offset: nextOffset,
  }),
);

export const SUMMARY_ANSWER = documented(
  z.object({
    begin: instant,
    end: instant,
    group_by: z.array(z.string()),
    total_rows: z.int(),
    rows: z.array(
      z.object({
        group: z
          .array(z.string())
          .describe('One text for each key of group_by; empty where points lack the attribute.'),
        begin: instant,
        end: instant,
        quantity: decimal,
        price: decimal,
        points: z.int(),
      }),
    ),
    next_offset: nextOffset,
  }),
);

const STEP = z.object({ text: z.string(), rule: z.unknown().optional(), price: decimal });

export const EXPLAIN_ANSWER = documented(
  z.object({
    begin: instant.describe('Without end in the question: where the explained period begins.'),
    end: instant.describe('Without end in the question: where the explained period ends.'),
    points: z.array(
      z.object({
        ...POINT,
        snapshot: z.string().describe('Names the rules of the time.'),
        modules: z.array(z.object({ module: z.string(), price: decimal, steps: z.array(STEP) })),
        recomputed: decimal,
        agrees: z.boolean().describe('Whether the rules of the time give the stored price.'),
      }),
    ),
    is_complete: z.boolean().describe('False when there are more points than limit.'),
  }),
);

export const SCOPES_ANSWER = documented(
  z.object({
    scopes: z.array(
      z.object({
        source: z.string(),
        scope_key: z.string(),
        scope: z.string(),
        name: z.string().nullable(),
        condition: z.enum(['active', 'stuck', 'gone']),
        active: z.boolean().describe('False: an operator switched it off.'),
        rated_up_to: instant.nullable(),
        periods_behind: z
          .int()
          .nullable()
          .describe('Due periods that are not rated; null when nobody can say.'),
        seconds_behind: z.int(),
        failures: z.int().describe('Failures in a row.'),
        last_error_at: instant.nullable(),
        retry_at: instant.nullable(),
        first_seen: instant,
        missing_since: instant.nullable(),
        last_error: z.string().nullable().describe('For administrators; null for others.'),
        owner: z.string().nullable().describe('For administrators; null for others.'),
      }),
    ),
    next_offset: nextOffset,
  }),
);

export const PRICES_ANSWER = documented(
  z.object({
    modules: z.array(
      z.object({
        module: z.string(),
        description: z.string(),
        priority: z.int(),
        price_list: z.unknown().describe('As ratecat rules export gives it; null: nothing to show.'),
      }),
    ),
  }),
);

const PRICES = { price: decimal, per_hour: decimal, per_30_days: decimal };

export const QUOTE_ANSWER = documented(
  z.object({
    source: z.string(),
    period_seconds: z.int(),
    resources: z.array(z.object({ metric: z.string(), quantity: decimal, ...PRICES })),
    total: z.object(PRICES),
  }),
);
