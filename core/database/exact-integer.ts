import { DataError } from '../plugin-api/index.js';

/**
 * The value itself. One engine would keep a fraction as floating point, the other would round it.
 * @throws DataError RATECAT_NUMBER_MALFORMED for fractions, and for integers that a number does not hold exactly.
 */
export function exactInteger(value: number): number {
  if (Number.isSafeInteger(value)) return value;
  throw new DataError(
    'RATECAT_NUMBER_MALFORMED',
    `${value} is not an exact integer. Decimals go to the database as text, great integers as bigint.`,
  );
}
