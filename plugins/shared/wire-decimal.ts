import { Decimal, isDecimal } from '../../core/plugin-api/index.js';

/** Integer digits of costs and levels, as CloudKitty's columns have them. */
export const INTEGER_DIGITS = 12;

/** Text, a decimal, or a number in its shortest notation; never a binary expansion. */
export function readDecimal(value: unknown): Decimal | undefined {
  if (isDecimal(value)) return value;
  if (typeof value === 'string') return Decimal.tryParse(value.trim());
  if (typeof value === 'number' && Number.isFinite(value)) return Decimal.tryParse(String(value));
  return undefined;
}

/** True when there are at most 12 digits before the point. */
export function fitsDigits(number: Decimal): boolean {
  const limit = Decimal.of(1n, INTEGER_DIGITS);
  return number.compare(limit) < 0 && number.compare(limit.negated()) > 0;
}
