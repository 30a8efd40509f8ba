import { z } from 'zod';

const DURATION = /^\s*(\d{1,4})\s*(months?|years?)\s*$/i;
const error = "must be whole months or years such as '13 months' or '2 years', or forever";
const MAX_MONTHS = 1200;

/** Months; infinity for `forever`. */
const duration = z.unknown().transform((value, context): number => {
  const text = typeof value === 'string' ? value : '';
  if (text.trim().toLowerCase() === 'forever') return Number.POSITIVE_INFINITY;
  const parts = DURATION.exec(text);
  const months = parts === null ? 0 : Number(parts[1]) * (parts[2]!.toLowerCase().startsWith('y') ? 12 : 1);
  if (months >= 1 && months <= MAX_MONTHS) return months;
  const hint = Number.isInteger(value) ? `write '${value} months'` : undefined;
  context.addIssue({ code: 'custom', message: error, params: { hint }, input: value });
  return z.NEVER;
});

const patterns = z
  .array(z.string().min(1, { error: 'must not be empty' }))
  .min(1, { error: 'must name at least one; leave the key out for all' });

const policy = z
  .strictObject({
    scopes: patterns.optional(),
    metrics: patterns.optional(),
    points: duration.prefault('forever'),
    daily_sums: duration.prefault('forever'),
    monthly_sums: duration.prefault('forever'),
  })
  .superRefine(({ points, daily_sums, monthly_sums }, context) => {
    const refuse = (path: string, message: string) =>
      context.addIssue({ code: 'custom', path: [path], message });
    if (points > daily_sums) refuse('daily_sums', 'must be kept at least as long as points');
    if (daily_sums > monthly_sums) refuse('monthly_sums', 'must be kept at least as long as daily_sums');
  });

/** The section `retention`. */
export const retentionSchema = z.strictObject({
  automatic: z.boolean().default(false),
  policies: z.array(policy).default([]),
});
