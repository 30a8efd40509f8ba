import { z } from 'zod';
import { Decimal, isDecimal } from '../plugin-api/index.js';

/** What is done with a converted quantity (the reference's names). */
export const MUTATIONS = ['NONE', 'NUMBOOL', 'NOTNUMBOOL', 'FLOOR', 'CEIL', 'MAP'] as const;
export type Mutation = (typeof MUTATIONS)[number];

const FRACTION = /^[+-]?\d{1,500}\/\d{1,500}$/;
const MAX_LITERAL = 1000;

const text = z.string().min(1, { error: 'must not be empty' });
const names = z.array(text).default([]);

/** An exact number, or text that is one: a decimal or a fraction of whole numbers. */
const rational = z
  .custom<Decimal | string>((value) => isDecimal(value) || (typeof value === 'string' && isRational(value)), {
    error: 'must be a number or a fraction of whole numbers',
    params: { hint: 'such as 0.5 or "1/1048576"' },
  })
  .optional();

/** True for `1`, `-0.5`, `1e-3`, `1/1048576`; blanks around it do not matter, a zero below the line does. */
export function isRational(value: string): boolean {
  const literal = value.trim();
  if (literal.length > MAX_LITERAL) return false;
  if (FRACTION.test(literal)) return !/\/0+$/.test(literal);
  return Decimal.tryParse(literal) !== undefined;
}

/** One rating of a metric. Keys and constraints are those of the reference; its numbers are read without loss. */
export const metricSchema = z.strictObject({
  unit: text,
  factor: rational,
  offset: rational,
  alt_name: text.optional(),
  groupby: names,
  metadata: names,
  mutate: z.enum(MUTATIONS).default('NONE'),
  mutate_map: z
    .record(z.string(), z.custom<Decimal>(isDecimal, { error: 'must be a number' }), {
      error: 'must be a mapping of number: number',
    })
    .optional(),
  description: text.optional(),
  skip_datapoints_expression: text.optional(),
  extra_args: z.record(z.string(), z.unknown()).nullish(),
});

export type WrittenMetric = z.output<typeof metricSchema>;
